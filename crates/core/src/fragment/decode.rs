//! From the bytes of an ONNX file to a checked list of operators.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost::bytes::Bytes;

use super::attributes::Attributes;
use super::error::Problem;
use super::operator::{Operator, find};
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, type_proto,
};

/// Largest file: blocks exported at probe sizes have kilobytes.
const MAX_FILE: usize = 16 << 20;
/// Most operators of a block.
const MAX_NODES: usize = 4096;
/// Most inputs or outputs of one operator.
const MAX_ARITY: usize = 256;
/// Longest name.
const MAX_NAME: usize = 1024;
/// Most dimensions of a tensor.
pub(super) const MAX_RANK: usize = 8;
/// Operator sets whose definitions the table of operators follows.
const OPSETS: std::ops::RangeInclusive<i64> = 13..=21;

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

/// Contents of a tensor, row by row.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Float(std::sync::Arc<[f32]>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }
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
    let model = ModelProto::decode(bytes.clone()).map_err(|e| Problem::Decode(e.to_string()))?;
    let opset = opset(&model)?;
    if !model.functions.is_empty() {
        return Err(unsupported(
            "a function",
            "export with functions written out",
        ));
    }
    let graph = model
        .graph
        .ok_or_else(|| Problem::Decode("it holds no graph".to_owned()))?;
    check_operators(&graph, opset)?;
    Builder::default().graph(&graph, opset)
}

fn unsupported(what: impl Into<String>, remedy: &'static str) -> Problem {
    Problem::Unsupported {
        what: what.into(),
        remedy,
    }
}

/// The operator set; the only one must be that of the default domain. Other domains may be imported as
/// long as no operator is from them.
fn opset(model: &ModelProto) -> Result<i64, Problem> {
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let versions: Vec<i64> = model
        .opset_import
        .iter()
        .filter(|set| default(set.domain()))
        .map(OperatorSetIdProto::version)
        .collect();
    match versions.as_slice() {
        [version] if OPSETS.contains(version) => Ok(*version),
        [] => Err(Problem::Decode("it names no operator set".to_owned())),
        _ => Err(unsupported(
            format!("operator set {versions:?}"),
            "export with `opset_version` between 13 and 21",
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
        let known = node.domain().is_empty() || node.domain() == "ai.onnx";
        if node.attribute.iter().any(has_graph) {
            return Err(unsupported(
                format!("operator {} with a subgraph", short(node.op_type())),
                "export without control flow (trace the module)",
            ));
        }
        let supported = node.op_type() == "Constant"
            || find(node.op_type()).is_some_and(|operator| operator.since <= opset);
        if !known || !supported {
            let domain = if known { "" } else { node.domain() };
            let separator = if known { "" } else { "::" };
            unknown.push(format!(
                "{}{separator}{}",
                short(domain),
                short(node.op_type())
            ));
        }
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

fn has_graph(attribute: &AttributeProto) -> bool {
    attribute.g.is_some()
        || !attribute.graphs.is_empty()
        || attribute.sparse_tensor.is_some()
        || !attribute.sparse_tensors.is_empty()
        || attribute.ref_attr_name.is_some()
}

/// The beginning of a name, for errors.
fn short(name: &str) -> String {
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
                format!("{} with {} outputs", operator.name, outputs.len()),
                "operators other than Split must have one output",
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
            "the input must be float32 [1, channels, rows, columns], and {what}"
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

/// The type of a graph's input or output, which must be a float32 tensor.
fn element_type(info: &ValueInfoProto) -> Result<&type_proto::Tensor, Problem> {
    match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(t)) if t.elem_type() == DataType::Float as i32 => Ok(t),
        _ => Err(unsupported(
            format!("`{}`, which is not a float32 tensor,", short(info.name())),
            "export the block in float32",
        )),
    }
}

/// Dimensions and contents of a stored tensor.
fn tensor_data(tensor: &TensorProto) -> Result<(Vec<u64>, Data), Problem> {
    if tensor.data_location() == DataLocation::External || !tensor.external_data.is_empty() {
        return Err(unsupported(
            format!(
                "`{}`, whose data are in another file,",
                short(tensor.name())
            ),
            "export with `external_data=False`",
        ));
    }
    if tensor.segment.is_some() {
        return Err(unsupported("a tensor in segments", "store it in one piece"));
    }
    let broken = |what: &str| Problem::Graph(what.to_owned());
    if tensor.dims.len() > MAX_RANK {
        return Err(broken("it has too many dimensions"));
    }
    let mut elements = 1_u64;
    let mut dims = Vec::with_capacity(tensor.dims.len());
    for &dim in &tensor.dims {
        let dim = u64::try_from(dim).map_err(|_| broken("a dimension is negative"))?;
        elements = elements
            .checked_mul(dim)
            .filter(|&n| n <= MAX_FILE as u64)
            .ok_or_else(|| broken("its dimensions are larger than its data"))?;
        dims.push(dim);
    }
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    let data = match DataType::try_from(tensor.data_type()) {
        Ok(DataType::Float) if raw.is_empty() => Data::Float(tensor.float_data.as_slice().into()),
        Ok(DataType::Float) => Data::Float(chunks(raw)?.map(f32::from_le_bytes).collect()),
        Ok(DataType::Int64) if raw.is_empty() => Data::Int(tensor.int64_data.clone()),
        Ok(DataType::Int64) => Data::Int(chunks(raw)?.map(i64::from_le_bytes).collect()),
        Ok(DataType::Bool) if raw.is_empty() => {
            Data::Bool(tensor.int32_data.iter().map(|&b| b != 0).collect())
        }
        Ok(DataType::Bool) => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
        _ => {
            return Err(unsupported(
                format!(
                    "`{}`, whose elements have type {},",
                    short(tensor.name()),
                    tensor.data_type()
                ),
                "weights are float32, shapes int64",
            ));
        }
    };
    if data.len() as u64 == elements {
        Ok((dims, data))
    } else {
        Err(broken("its dimensions and its data have different sizes"))
    }
}

fn chunks<const N: usize>(raw: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, Problem> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if rest.is_empty() {
        Ok(chunks.iter().copied())
    } else {
        Err(Problem::Graph("its data end within a number".to_owned()))
    }
}
