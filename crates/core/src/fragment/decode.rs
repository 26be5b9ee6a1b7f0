//! From the bytes of an ONNX file to a checked list of operators.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost::bytes::Bytes;

use super::attributes::Attributes;
use super::error::Problem;
use super::operator::{Operator, find};
use super::tensors::{Data, canonical_type, tensor_data};
use super::{canonical, functions};
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, type_proto,
};

/// Largest file: blocks exported at probe sizes have kilobytes.
pub(super) const MAX_FILE: usize = 16 << 20;
/// Most operators of a block.
pub(super) const MAX_NODES: usize = 4096;
/// Most inputs or outputs of one operator.
const MAX_ARITY: usize = 256;
/// Longest name.
const MAX_NAME: usize = 1024;
/// Most dimensions of a tensor.
pub(super) const MAX_RANK: usize = 8;
/// Operator sets whose definitions the table of operators follows.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=23;

/// A value of the graph: an index into [`Source::values`].
pub(super) type ValueId = usize;

/// A block as the file describes it.
#[derive(Debug)]
pub(super) struct Source {
    pub opset: i64,
    /// Names of all values.
    pub values: Vec<String>,
    /// Constants and weights, in the order of the file.
    pub constants: Vec<Constant>,
    /// Operators in execution order.
    pub nodes: Vec<Step>,
    pub input: ValueId,
    pub output: ValueId,
    /// Channels of the file's input.
    pub channels: u64,
    /// Rows and columns of the file's input, where they are fixed.
    pub image: [Option<u64>; 2],
}

/// A tensor whose contents are in the file.
#[derive(Debug)]
pub(super) struct Constant {
    pub value: ValueId,
    pub dims: Vec<u64>,
    pub data: Data,
    /// Whether it stands among the initialisers, as weights do, and not in a `Constant` operator.
    pub initializer: bool,
}

/// An operator of a graph.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: String,
    pub operator: &'static Operator,
    /// What it reads; `None` where an optional input is left out.
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: Vec<ValueId>,
    pub attributes: Attributes,
}

/// Reads and checks a file.
pub(super) fn decode(bytes: &Bytes) -> Result<Source, Problem> {
    if bytes.len() > MAX_FILE {
        return Err(Problem::too_large("the file's size", MAX_FILE as u64));
    }
    let mut model =
        ModelProto::decode(bytes.clone()).map_err(|e| Problem::Decode(e.to_string()))?;
    let opset = opset(&model)?;
    functions::write_out(&mut model, opset)?;
    let mut graph = model
        .graph
        .ok_or_else(|| Problem::Decode("it holds no graph".to_owned()))?;
    check_operators(&graph, opset)?;
    canonical::rewrite(&mut graph, opset)?;
    Builder::default().graph(&graph, opset)
}

/// Whether a domain is that of ONNX's own operators.
pub(super) fn default_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

pub(super) fn unsupported(what: impl Into<String>, remedy: &'static str) -> Problem {
    Problem::Unsupported {
        what: what.into(),
        remedy,
    }
}

/// The operator set; the only one must be that of the default domain. Other domains may be imported as
/// long as no operator is from them.
fn opset(model: &ModelProto) -> Result<i64, Problem> {
    let versions: Vec<i64> = model
        .opset_import
        .iter()
        .filter(|set| default_domain(set.domain()))
        .map(OperatorSetIdProto::version)
        .collect();
    match versions.as_slice() {
        [version] if OPSETS.contains(version) => Ok(*version),
        [] => Err(Problem::Decode("it names no operator set".to_owned())),
        _ => Err(unsupported(
            format!("operator set {versions:?}"),
            "export with `opset_version` between 11 and 23",
        )),
    }
}

/// Every operator must be in the table, in the default domain, without subgraphs.
fn check_operators(graph: &GraphProto, opset: i64) -> Result<(), Problem> {
    if graph.node.len() > MAX_NODES {
        return Err(Problem::too_large(
            "the number of operators",
            MAX_NODES as u64,
        ));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(unsupported("a sparse tensor", "store it densely"));
    }
    let mut unknown: Vec<String> = Vec::new();
    for node in &graph.node {
        if node.attribute.iter().any(has_graph) {
            return Err(unsupported(
                format!("{} with a subgraph", node_in_words(node)),
                "export without control flow (trace the module)",
            ));
        }
        unknown.extend(unknown_operator(node, opset));
    }
    unknown.sort();
    unknown.dedup();
    unknown.truncate(16);
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Problem::Operators(unknown))
    }
}

/// An operator of a file, in words that find it there.
fn node_in_words(node: &NodeProto) -> String {
    let operator = short(node.op_type());
    let output = node.output.first().map_or("", String::as_str);
    match node.name() {
        "" => format!("{operator} (which makes `{}`)", short(output)),
        name => format!("{operator} `{}`", short(name)),
    }
}

/// What to say of an operator that cannot be counted.
fn unknown_operator(node: &NodeProto, opset: i64) -> Option<String> {
    let words = node_in_words(node);
    if !default_domain(node.domain()) {
        return Some(format!("{}::{words}", short(node.domain())));
    }
    match find(node.op_type()) {
        _ if node.op_type() == "Constant" => None,
        Some(operator) if operator.since <= opset => None,
        Some(operator) => Some(format!(
            "{words}, which came with operator set {} (the file has {opset})",
            operator.since
        )),
        None => Some(words),
    }
}

fn has_graph(attribute: &AttributeProto) -> bool {
    attribute.g.is_some()
        || !attribute.graphs.is_empty()
        || attribute.sparse_tensor.is_some()
        || !attribute.sparse_tensors.is_empty()
        || attribute.ref_attr_name.is_some()
}

/// The beginning of a name, for errors.
pub(super) fn short(name: &str) -> String {
    name.chars().take(60).collect()
}

/// The values as far as they are known.
#[derive(Default)]
struct Builder {
    ids: HashMap<String, ValueId>,
    values: Vec<String>,
    constants: Vec<Constant>,
    nodes: Vec<Step>,
}

impl Builder {
    fn graph(mut self, graph: &GraphProto, opset: i64) -> Result<Source, Problem> {
        let initializers: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        let inputs: Vec<&ValueInfoProto> = graph
            .input
            .iter()
            .filter(|input| !initializers.contains(input.name()))
            .collect();
        let [input] = inputs.as_slice() else {
            return Err(Problem::Graph(format!(
                "a block has one input besides its weights, this graph has {}",
                inputs.len()
            )));
        };
        let [output] = graph.output.as_slice() else {
            return Err(Problem::Graph(format!(
                "a block has one output, this graph has {}",
                graph.output.len()
            )));
        };
        let (channels, image) = input_shape(input)?;
        element_type(output)?;
        let input = self.define(input.name())?;
        for tensor in &graph.initializer {
            let value = self.define(tensor.name())?;
            self.constant(value, tensor, true)?;
        }
        for (index, node) in graph.node.iter().enumerate() {
            self.node(index, node)?;
        }
        let output = self.lookup(output.name())?;
        if !self.nodes.iter().any(|node| node.outputs.contains(&output)) {
            return Err(Problem::Graph("no operator makes the output".to_owned()));
        }
        Ok(Source {
            opset,
            values: self.values,
            constants: self.constants,
            nodes: self.nodes,
            input,
            output,
            channels,
            image,
        })
    }

    fn define(&mut self, name: &str) -> Result<ValueId, Problem> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Problem::Graph(format!(
                "`{}` is not a tensor's name: it is empty or longer than {MAX_NAME} bytes",
                short(name)
            )));
        }
        let id = self.values.len();
        if self.ids.insert(name.to_owned(), id).is_some() {
            return Err(Problem::Graph(format!(
                "tensor `{}` is made twice",
                short(name)
            )));
        }
        self.values.push(name.to_owned());
        Ok(id)
    }

    fn lookup(&self, name: &str) -> Result<ValueId, Problem> {
        self.ids.get(name).copied().ok_or_else(|| {
            Problem::Graph(format!(
                "tensor `{}` is read before it is made",
                short(name)
            ))
        })
    }

    fn constant(
        &mut self,
        value: ValueId,
        tensor: &TensorProto,
        initializer: bool,
    ) -> Result<(), Problem> {
        let (dims, data) = tensor_data(tensor).map_err(|problem| match problem {
            Problem::Graph(what) => {
                Problem::Graph(format!("tensor `{}`: {what}", short(&self.values[value])))
            }
            other => other,
        })?;
        self.constants.push(Constant {
            value,
            dims,
            data,
            initializer,
        });
        Ok(())
    }

    fn node(&mut self, index: usize, node: &NodeProto) -> Result<(), Problem> {
        if node.input.len() > MAX_ARITY || node.output.len() > MAX_ARITY {
            return Err(Problem::too_large(
                format!(
                    "the number of inputs or outputs of `{}`",
                    short(node.name())
                ),
                MAX_ARITY as u64,
            ));
        }
        let inputs = node
            .input
            .iter()
            .map(|name| match name.as_str() {
                "" => Ok(None),
                name => self.lookup(name).map(Some),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if node.op_type() == "Constant" {
            return self.constant_node(node);
        }
        if let Some((dims, data, initializer)) = self.copied_weight(node, &inputs)
            && let [output] = node.output.as_slice()
        {
            // Exporters store weights of equal numbers once and make the others with `Identity`.
            let value = self.define(output)?;
            self.constants.push(Constant {
                value,
                dims,
                data,
                initializer,
            });
            return Ok(());
        }
        let operator =
            find(node.op_type()).ok_or_else(|| Problem::Operators(vec![short(node.op_type())]))?;
        let outputs = node
            .output
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| self.define(name))
            .collect::<Result<Vec<_>, _>>()?;
        let several = operator.name == "Split";
        if outputs.is_empty() || (outputs.len() > 1 && !several) {
            return Err(unsupported(
                format!("{} with {} outputs", node_in_words(node), outputs.len()),
                "operators other than Split must have one output that is read",
            ));
        }
        let name = match node.name() {
            "" => format!("{}_{index}", operator.name),
            name if name.len() > MAX_NAME => format!("{}_{index}", operator.name),
            name => name.to_owned(),
        };
        self.nodes.push(Step {
            name,
            operator,
            inputs,
            outputs,
            attributes: Attributes::new(&node.attribute),
        });
        Ok(())
    }

    /// The weight that an `Identity` copies.
    fn copied_weight(
        &self,
        node: &NodeProto,
        inputs: &[Option<ValueId>],
    ) -> Option<(Vec<u64>, Data, bool)> {
        let ("Identity", [Some(input)]) = (node.op_type(), inputs) else {
            return None;
        };
        let weight = self.constants.iter().find(|c| c.value == *input)?;
        match &weight.data {
            Data::Float(v) => Some((
                weight.dims.clone(),
                Data::Float(v.clone()),
                weight.initializer,
            )),
            Data::Int(_) | Data::Bool(_) => None,
        }
    }

    fn constant_node(&mut self, node: &NodeProto) -> Result<(), Problem> {
        let ([output], [attribute]) = (node.output.as_slice(), node.attribute.as_slice()) else {
            return Err(Problem::Graph(format!(
                "Constant `{}` needs one value and one output",
                short(node.name())
            )));
        };
        let value = self.define(output)?;
        if let Some(tensor) = &attribute.t {
            return self.constant(value, tensor, false);
        }
        let (dims, data) = match attribute.name() {
            "value_int" => (vec![], Data::Int(vec![attribute.i()])),
            "value_ints" => (
                vec![attribute.ints.len() as u64],
                Data::Int(attribute.ints.clone()),
            ),
            "value_float" => (vec![], Data::Float([attribute.f()].into())),
            "value_floats" => (
                vec![attribute.floats.len() as u64],
                Data::Float(attribute.floats.as_slice().into()),
            ),
            other => {
                return Err(unsupported(
                    format!("a constant with the attribute `{}`", short(other)),
                    "constants hold numbers",
                ));
            }
        };
        self.constants.push(Constant {
            value,
            dims,
            data,
            initializer: false,
        });
        Ok(())
    }
}

/// Channels, and rows and columns where they are fixed, of the block's input.
fn input_shape(input: &ValueInfoProto) -> Result<(u64, [Option<u64>; 2]), Problem> {
    let wrong = |what: &str| {
        Problem::Graph(format!(
            "the input must be floats [1, channels, rows, columns], and {what}"
        ))
    };
    let tensor = element_type(input)?;
    let dims = tensor
        .shape
        .as_ref()
        .map_or(&[][..], |shape| shape.dim.as_slice());
    let fixed: Vec<Option<i64>> = dims
        .iter()
        .map(|dim| match dim.value {
            Some(dimension::Value::DimValue(n)) => Some(n),
            _ => None,
        })
        .collect();
    let [batch, channels, rows, columns] = fixed.as_slice() else {
        return Err(wrong(&format!("it has {} dimensions", fixed.len())));
    };
    if !matches!(batch, None | Some(1)) {
        return Err(wrong("the batch is not 1"));
    }
    let size = |n: i64| u64::try_from(n).ok().filter(|n| (1..=1 << 16).contains(n));
    let channels = channels
        .and_then(size)
        .ok_or_else(|| wrong("its channels are not a number"))?;
    let image = [rows, columns].map(|n| match n {
        None => Ok(None),
        Some(n) => size(*n).map(Some).ok_or(*n),
    });
    match image {
        [Ok(rows), Ok(columns)] => Ok((channels, [rows, columns])),
        _ => Err(wrong("its rows or columns are not 1 to 65536")),
    }
}

/// The type of a graph's input or output, which must be a tensor of numbers; those of other precisions are read as
/// float32.
fn element_type(info: &ValueInfoProto) -> Result<&type_proto::Tensor, Problem> {
    match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(t))
            if canonical_type(t.elem_type().into()) == i64::from(DataType::Float as i32) =>
        {
            Ok(t)
        }
        _ => Err(unsupported(
            format!("`{}`, which is not a float tensor,", short(info.name())),
            "export the block in float32, float16 or bfloat16",
        )),
    }
}
