//! An instance as part of an ONNX graph, or as a file of its own.

use prost::Message;
use prost::bytes::Bytes;

use super::attributes::Attributes;
use super::decode::{Step, ValueId};
use super::elementwise::{SOFTMAX_OF_ONE_AXIS, softmax_axis};
use super::error::Problem;
use super::instance::Instance;
use super::tensors::Data;
use super::{FragmentError, FragmentWeights};
use crate::onnx;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

/// From this operator set on, reductions take their axes as an input.
const AXES_AS_INPUT: i64 = 18;

/// Where an instance goes in a graph.
pub(crate) struct Place<'a> {
    /// What every name begins with, such as `unit2.layer1`; no other name of the graph may begin with it
    /// and `/` or `.`.
    pub prefix: &'a str,
    /// The tensor that it reads.
    pub input: &'a str,
    /// The tensor that it makes.
    pub output: &'a str,
    /// Operator set of the graph: at least that of the fragment.
    pub opset: i64,
}

impl Instance {
    /// Appends operators and weights to a graph, in execution order.
    ///
    /// # Errors
    /// [`Problem::Weights`] for weights of another instance, [`Problem::Opset`] for a graph of an older
    /// operator set.
    pub(crate) fn append_to(
        &self,
        place: &Place<'_>,
        weights: &FragmentWeights,
        nodes: &mut Vec<NodeProto>,
        initializers: &mut Vec<TensorProto>,
    ) -> Result<(), FragmentError> {
        Emission::new(self, place)
            .write(weights)
            .map(|(own_nodes, own_initializers)| {
                nodes.extend(own_nodes);
                initializers.extend(own_initializers);
            })
            .map_err(|problem| self.fragment().error(problem))
    }

    /// The bytes of an ONNX file that holds only this instance; its input is called `input`, its output
    /// `output`. The same arguments give the same bytes.
    ///
    /// # Errors
    /// [`Problem::Weights`] for weights of another instance.
    pub fn to_onnx(&self, weights: &FragmentWeights) -> Result<Vec<u8>, FragmentError> {
        let opset = onnx::OPSET.max(self.fragment().opset());
        let place = Place {
            prefix: "block",
            input: "input",
            output: "output",
            opset,
        };
        let mut graph = GraphProto {
            name: Some(self.fragment().name().to_owned()),
            input: vec![onnx::value_info("input", &onnx::image_dims(self.input()))],
            output: vec![onnx::value_info("output", &onnx::image_dims(self.output()))],
            ..GraphProto::default()
        };
        self.append_to(&place, weights, &mut graph.node, &mut graph.initializer)?;
        let model = ModelProto {
            ir_version: Some(onnx::IR_VERSION),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(opset),
            }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        Ok(model.encode_to_vec())
    }
}

/// An instance on its way into a graph.
struct Emission<'a> {
    instance: &'a Instance,
    place: &'a Place<'a>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl<'a> Emission<'a> {
    fn new(instance: &'a Instance, place: &'a Place<'a>) -> Self {
        Self {
            instance,
            place,
            nodes: Vec::new(),
            initializers: Vec::new(),
        }
    }

    fn write(
        mut self,
        weights: &FragmentWeights,
    ) -> Result<(Vec<NodeProto>, Vec<TensorProto>), Problem> {
        let graph = self.instance.graph();
        let opset = self.instance.fragment().opset();
        if self.place.opset < opset {
            return Err(Problem::Opset {
                graph: self.place.opset,
                fragment: opset,
            });
        }
        let steps: Vec<&Step> = graph.steps.iter().filter(|s| !self.folded(s)).collect();
        let mut read = vec![false; graph.facts.len()];
        for value in steps.iter().flat_map(|step| step.inputs.iter().flatten()) {
            read[*value] = true;
        }
        self.weights(weights)?;
        self.constants(&read);
        for (index, step) in steps.into_iter().enumerate() {
            self.step(index, step);
        }
        Ok((self.nodes, self.initializers))
    }

    /// Whether a step computes a shape that is known: its result becomes a constant.
    fn folded(&self, step: &Step) -> bool {
        let known = |&value: &ValueId| self.instance.graph().facts[value].known_ints().is_some();
        step.outputs.iter().all(known)
    }

    fn name(&self, value: ValueId) -> String {
        let graph = self.instance.graph();
        let names = &self.instance.fragment().source().values;
        if value == graph.input {
            self.place.input.to_owned()
        } else if value == graph.output {
            self.place.output.to_owned()
        } else {
            let name = names.get(value).map_or("", String::as_str);
            format!("{}/{name}", self.place.prefix)
        }
    }

    fn weights(&mut self, weights: &FragmentWeights) -> Result<(), Problem> {
        let tensors = self.instance.weight_tensors();
        let fits = |(tensor, values): (&super::WeightTensor, &std::sync::Arc<[f32]>)| {
            values.len() as u64 == tensor.elements()
        };
        let values = weights.values();
        if values.len() != tensors.len() || !tensors.iter().zip(values).all(fits) {
            return Err(Problem::Weights);
        }
        for (tensor, values) in tensors.iter().zip(values) {
            let value = self.instance.fragment().source().constants[tensor.constant].value;
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.initializer(self.name(value), &tensor.dims, DataType::Float, bytes);
        }
        Ok(())
    }

    /// What is neither a weight nor computed from the input, as far as an operator reads it.
    fn constants(&mut self, read: &[bool]) {
        let (graph, source) = (self.instance.graph(), self.instance.fragment().source());
        let mut written = vec![false; graph.facts.len()];
        for tensor in self.instance.weight_tensors() {
            written[source.constants[tensor.constant].value] = true;
        }
        for constant in source
            .constants
            .iter()
            .filter(|c| read[c.value] && !written[c.value])
        {
            let (kind, bytes) = match &constant.data {
                Data::Float(v) => (
                    DataType::Float,
                    v.iter().flat_map(|x| x.to_le_bytes()).collect(),
                ),
                Data::Int(v) => {
                    let ints = graph.shapes.get(&constant.value).unwrap_or(v);
                    (DataType::Int64, int_bytes(ints))
                }
                Data::Bool(v) => (DataType::Bool, v.iter().map(|&b| u8::from(b)).collect()),
            };
            self.initializer(self.name(constant.value), &constant.dims, kind, bytes);
        }
        let shapes = graph.steps.iter().filter(|step| self.folded(step));
        let shapes: Vec<ValueId> = shapes.flat_map(|step| step.outputs.clone()).collect();
        for value in shapes.into_iter().filter(|&value| read[value]) {
            let fact = &graph.facts[value];
            let bytes = int_bytes(fact.known_ints().unwrap_or_default());
            self.initializer(self.name(value), &fact.dims, DataType::Int64, bytes);
        }
    }

    fn initializer(&mut self, name: String, dims: &[u64], kind: DataType, bytes: Vec<u8>) {
        self.initializers.push(TensorProto {
            name: Some(name),
            dims: dims
                .iter()
                .map(|&d| i64::try_from(d).unwrap_or(i64::MAX))
                .collect(),
            data_type: Some(kind.into()),
            raw_data: Some(Bytes::from(bytes)),
            ..TensorProto::default()
        });
    }

    fn step(&mut self, index: usize, step: &Step) {
        let mut attributes = step.attributes.clone();
        let mut input: Vec<String> = step
            .inputs
            .iter()
            .map(|value| value.map_or_else(String::new, |v| self.name(v)))
            .collect();
        input.extend(self.upgrade(index, step, &mut attributes));
        let name = match step.name.as_str() {
            "" => format!("{}.skip", self.place.prefix),
            name => format!("{}/{name}", self.place.prefix),
        };
        self.nodes.push(NodeProto {
            name: Some(name),
            op_type: Some(step.operator.name.to_owned()),
            input,
            output: step.outputs.iter().map(|&v| self.name(v)).collect(),
            attribute: attributes.into_protos(),
            ..NodeProto::default()
        });
    }

    /// What the graph's operator set wants as an input and the fragment's has as an attribute: the axes
    /// of reductions, and the sizes of `Split` where it has equal parts; and the axis of `Softmax`, which it had
    /// another default for. Every other operator of the table means the same in operator sets 11 to 23, or was
    /// rewritten when the file was read.
    fn upgrade(
        &mut self,
        index: usize,
        step: &Step,
        attributes: &mut Attributes,
    ) -> Option<String> {
        let facts = &self.instance.graph().facts;
        let opset = self.instance.fragment().opset();
        let (what, ints) = match step.operator.name {
            "Softmax" | "LogSoftmax" if opset < SOFTMAX_OF_ONE_AXIS => {
                attributes.set_int("axis", attributes.int("axis", softmax_axis(opset)));
                return None;
            }
            "Split" if step.inputs.len() == 1 => {
                let axis = attributes.int("axis", 0);
                let rank = facts[step.outputs[0]].dims.len();
                let along = super::facts::axis(axis, rank).ok()?;
                attributes.remove("num_outputs");
                let size = |&v: &ValueId| i64::try_from(facts[v].dims[along]).unwrap_or(i64::MAX);
                ("parts", step.outputs.iter().map(size).collect::<Vec<_>>())
            }
            name if name.starts_with("Reduce") && self.place.opset >= AXES_AS_INPUT => {
                let axes = attributes.ints("axes")?.to_vec();
                attributes.remove("axes");
                ("axes", axes)
            }
            _ => return None,
        };
        let name = format!("{}.{what}{index}", self.place.prefix);
        self.initializer(
            name.clone(),
            &[ints.len() as u64],
            DataType::Int64,
            int_bytes(&ints),
        );
        Some(name)
    }
}

fn int_bytes(ints: &[i64]) -> Vec<u8> {
    ints.iter().flat_map(|x| x.to_le_bytes()).collect()
}
