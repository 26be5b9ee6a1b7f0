//! ONNX files: a network and its weights as engines read them.
//!
//! Operator set 14 (the first with `HardSwish`) and file version 8, which every ONNX Runtime since 1.10
//! and tract read. The batch is fixed at 1, the input is called [`INPUT`], the output [`OUTPUT`]; every
//! operator and every weight carries the name of its node, so that a profile of an engine can be read back.

use prost::Message;
use prost::bytes::Bytes;

use super::{Conv, Network, Node, NodeWeights, Op, TensorId, Weights};
use crate::fragment::{FragmentError, FragmentWeights, Instance, Place};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use crate::onnx::{IR_VERSION, OPSET, image_dims, value_info};
use crate::space::Activation;

/// Name of the input: a normalised image, `[1, 3, rows, columns]`.
pub const INPUT: &str = "image";
/// Name of the output, `[1, classes]`.
pub const OUTPUT: &str = "logits";

/// `HardSigmoid` is max(0, min(1, alpha x + beta)); relu6(x + 3) / 6 has these.
const HARD_SIGMOID: [(&str, f32); 2] = [("alpha", 1.0 / 6.0), ("beta", 0.5)];

/// A network and weights that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A node that needs weights has none.
    #[error("node `{node}` has no weights: these weights belong to another network")]
    MissingWeights {
        /// The node's name.
        node: String,
    },
    /// A node's weights or bias have the wrong length.
    #[error(
        "`{tensor}` has {found} numbers where its shape needs {expected}: these weights belong to another network"
    )]
    Length {
        /// The tensor's name.
        tensor: String,
        /// Numbers there are.
        found: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// A block of the user's own and its weights do not belong together.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

/// The bytes of an ONNX file with this network and these weights; `name` becomes the graph's name. The
/// same arguments give the same bytes.
///
/// # Errors
/// [`ExportError`] when the weights belong to another network.
pub fn export(network: &Network, weights: &Weights, name: &str) -> Result<Vec<u8>, ExportError> {
    let mut graph = Graph::new(network);
    for (index, node) in network.nodes().iter().enumerate() {
        graph.node(index, node, weights)?;
    }
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(graph.opset),
        }],
        producer_name: Some("blocklens".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(GraphProto {
            name: Some(name.to_owned()),
            node: graph.nodes,
            initializer: graph.initializers,
            input: vec![value_info(INPUT, &image_dims(network.input()))],
            output: vec![value_info(OUTPUT, &output_dims(network))],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

/// The graph as far as it is written.
struct Graph<'a> {
    network: &'a Network,
    opset: i64,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl<'a> Graph<'a> {
    fn new(network: &'a Network) -> Self {
        let fragments = network.nodes().iter().filter_map(|node| match &node.op {
            Op::Fragment(instance) => Some(instance.fragment().opset()),
            _ => None,
        });
        Self {
            network,
            opset: fragments.fold(OPSET, i64::max),
            nodes: Vec::with_capacity(network.nodes().len() + 1),
            initializers: Vec::new(),
        }
    }

    /// What a tensor is called in the file.
    fn tensor_name(&self, tensor: TensorId) -> String {
        match tensor.checked_sub(1) {
            None => INPUT.to_owned(),
            Some(last) if last + 1 == self.network.nodes().len() => OUTPUT.to_owned(),
            Some(node) => self.network.nodes()[node].name.clone(),
        }
    }

    fn node(&mut self, index: usize, node: &Node, all: &Weights) -> Result<(), ExportError> {
        if let Op::Fragment(instance) = &node.op {
            return self.fragment(index, node, instance, all.fragment(index));
        }
        let weights = all.of(index);
        let mut inputs: Vec<String> = node.inputs.iter().map(|&t| self.tensor_name(t)).collect();
        let (operator, attributes) = match &node.op {
            Op::Conv(conv) => {
                let outputs = [i64::from(conv.out_channels)];
                let dims = conv.weight_shape().map(i64::from);
                inputs.extend(self.weights(node, weights, &dims, &outputs)?);
                ("Conv", conv_attributes(conv))
            }
            Op::Linear {
                inputs: n,
                outputs: m,
            } => {
                let (n, m) = (i64::from(*n), i64::from(*m));
                inputs = vec![self.flatten(&node.name, inputs)];
                inputs.extend(self.weights(node, weights, &[m, n], &[m])?);
                ("Gemm", vec![int("transB", 1)])
            }
            Op::Activation(function) => self.activation(&node.name, *function, &mut inputs),
            Op::GlobalAveragePool => ("GlobalAveragePool", Vec::new()),
            Op::MaxPool { kernel, stride } => ("MaxPool", max_pool_attributes(*kernel, *stride)),
            Op::AveragePool { size } => ("AveragePool", average_pool_attributes(*size)),
            Op::Add => ("Add", Vec::new()),
            Op::Scale => ("Mul", Vec::new()),
            // Returned above: a fragment is many operators.
            Op::Fragment(_) => return Ok(()),
        };
        let output = self.tensor_name(index + 1);
        self.push(&node.name, operator, inputs, output, attributes);
        Ok(())
    }

    /// Splices in a block of the user's own.
    fn fragment(
        &mut self,
        index: usize,
        node: &Node,
        instance: &Instance,
        weights: Option<&FragmentWeights>,
    ) -> Result<(), ExportError> {
        let weights = weights.ok_or_else(|| ExportError::MissingWeights {
            node: node.name.clone(),
        })?;
        let place = Place {
            prefix: &node.name,
            input: &self.tensor_name(node.inputs[0]),
            output: &self.tensor_name(index + 1),
            opset: self.opset,
        };
        instance.append_to(&place, weights, &mut self.nodes, &mut self.initializers)?;
        Ok(())
    }

    fn push(
        &mut self,
        name: &str,
        operator: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            name: Some(name.to_owned()),
            op_type: Some(operator.to_owned()),
            input,
            output: vec![output],
            attribute,
            ..NodeProto::default()
        });
    }

    /// The operator of an activation function, after those that it needs before it.
    fn activation(
        &mut self,
        name: &str,
        function: Activation,
        inputs: &mut Vec<String>,
    ) -> (&'static str, Vec<AttributeProto>) {
        match function {
            Activation::Relu => ("Relu", Vec::new()),
            Activation::Relu6 => {
                for (bound, value) in [("min", 0.0), ("max", 6.0)] {
                    inputs.push(self.scalar(name, bound, value));
                }
                ("Clip", Vec::new())
            }
            Activation::Hswish => ("HardSwish", Vec::new()),
            Activation::Silu => {
                let gate = format!("{name}.sigmoid");
                self.push(&gate, "Sigmoid", inputs.clone(), gate.clone(), Vec::new());
                inputs.push(gate);
                ("Mul", Vec::new())
            }
            Activation::Hsigmoid => {
                let attributes = HARD_SIGMOID.map(|(name, value)| float(name, value));
                ("HardSigmoid", attributes.into())
            }
            Activation::Sigmoid => ("Sigmoid", Vec::new()),
        }
    }

    /// Stores one number; returns its name.
    fn scalar(&mut self, node: &str, kind: &str, value: f32) -> String {
        let name = format!("{node}.{kind}");
        self.initializers.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(DataType::Float.into()),
            raw_data: Some(Bytes::from(value.to_le_bytes().to_vec())),
            ..TensorProto::default()
        });
        name
    }

    /// Puts a `Flatten` before a linear layer; returns its output.
    fn flatten(&mut self, name: &str, inputs: Vec<String>) -> String {
        let flat = format!("{name}.flatten");
        self.push(&flat, "Flatten", inputs, flat.clone(), vec![int("axis", 1)]);
        flat
    }

    /// Stores a node's weight and, where it has one, its bias; returns their names.
    fn weights(
        &mut self,
        node: &Node,
        weights: Option<&NodeWeights>,
        weight_dims: &[i64],
        bias_dims: &[i64],
    ) -> Result<Vec<String>, ExportError> {
        let weights = weights.ok_or_else(|| ExportError::MissingWeights {
            node: node.name.clone(),
        })?;
        let mut names =
            vec![self.initializer(&node.name, "weight", weight_dims, &weights.weight)?];
        if !weights.bias.is_empty() {
            names.push(self.initializer(&node.name, "bias", bias_dims, &weights.bias)?);
        }
        Ok(names)
    }

    fn initializer(
        &mut self,
        node: &str,
        kind: &str,
        dims: &[i64],
        values: &[f32],
    ) -> Result<String, ExportError> {
        let name = format!("{node}.{kind}");
        let expected = usize::try_from(dims.iter().product::<i64>()).unwrap_or(usize::MAX);
        if values.len() != expected {
            return Err(ExportError::Length {
                tensor: name,
                found: values.len(),
                expected,
            });
        }
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializers.push(TensorProto {
            name: Some(name.clone()),
            dims: dims.to_vec(),
            data_type: Some(DataType::Float.into()),
            raw_data: Some(Bytes::from(bytes)),
            ..TensorProto::default()
        });
        Ok(name)
    }
}

fn conv_attributes(conv: &Conv) -> Vec<AttributeProto> {
    let [kernel, stride, pad] = [conv.kernel, conv.stride, conv.kernel / 2].map(i64::from);
    vec![
        ints("dilations", &[1, 1]),
        int("group", i64::from(conv.groups)),
        ints("kernel_shape", &[kernel; 2]),
        ints("pads", &[pad; 4]),
        ints("strides", &[stride; 2]),
    ]
}

fn max_pool_attributes(kernel: u32, stride: u32) -> Vec<AttributeProto> {
    let [kernel, stride, pad] = [kernel, stride, kernel / 2].map(i64::from);
    vec![
        ints("kernel_shape", &[kernel; 2]),
        ints("pads", &[pad; 4]),
        ints("strides", &[stride; 2]),
    ]
}

fn average_pool_attributes(size: u32) -> Vec<AttributeProto> {
    let size = i64::from(size);
    vec![
        int("ceil_mode", 1),
        ints("kernel_shape", &[size; 2]),
        ints("strides", &[size; 2]),
    ]
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Ints.into()),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Float.into()),
        f: Some(value),
        ..AttributeProto::default()
    }
}

/// A linear layer ends in a matrix of one row; everything else in an image.
fn output_dims(network: &Network) -> Vec<i64> {
    let shape = network.output();
    match network.nodes().last().map(|node| &node.op) {
        Some(Op::Linear { .. }) => vec![1, i64::from(shape.channels)],
        _ => image_dims(shape),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::seed::Seed;
    use crate::space::DesignSpace;

    fn example(seed: u64) -> (Network, Weights) {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let arch = space.sample(160, &mut Seed(seed).rng()).unwrap();
        let network = space.network(&arch);
        let weights = Weights::random(&network, Seed(seed));
        (network, weights)
    }

    fn decoded(network: &Network, weights: &Weights) -> GraphProto {
        let bytes = export(network, weights, "example").unwrap();
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!(model.ir_version, Some(IR_VERSION));
        assert_eq!(model.opset_import[0].version, Some(OPSET));
        model.graph.unwrap()
    }

    #[test]
    fn every_node_and_every_weight_is_in_the_file() {
        for seed in 0..5 {
            let (network, weights) = example(seed);
            let graph = decoded(&network, &weights);
            // One `Flatten` before the one linear layer.
            assert_eq!(graph.node.len(), network.nodes().len() + 1);
            let expected: usize = (0..network.nodes().len())
                .filter_map(|i| weights.of(i))
                .map(|w| w.weight.len() + w.bias.len())
                .sum();
            let stored: i64 = graph
                .initializer
                .iter()
                .map(|t| t.dims.iter().product::<i64>())
                .sum();
            assert_eq!(usize::try_from(stored).unwrap(), expected);
            let bytes: usize = graph
                .initializer
                .iter()
                .map(|t| t.raw_data.as_ref().unwrap().len())
                .sum();
            assert_eq!(bytes, 4 * expected);
        }
    }

    #[test]
    fn every_tensor_is_made_once_and_before_it_is_read() {
        let (network, weights) = example(7);
        let graph = decoded(&network, &weights);
        let mut known: HashSet<&str> = HashSet::from([INPUT]);
        for initializer in &graph.initializer {
            assert!(known.insert(initializer.name()));
        }
        for node in &graph.node {
            assert!(node.input.iter().all(|name| known.contains(name.as_str())));
            assert!(known.insert(&node.output[0]), "{}", node.output[0]);
        }
        assert_eq!(graph.node.last().unwrap().output, [OUTPUT]);
    }

    #[test]
    fn values_survive_bit_for_bit_and_files_repeat() {
        let (network, weights) = example(3);
        let graph = decoded(&network, &weights);
        let first = weights.of(0).unwrap();
        let values: Vec<f32> = graph.initializer[0]
            .raw_data
            .as_ref()
            .unwrap()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(values, first.weight);
        assert_eq!(
            export(&network, &weights, "a").unwrap(),
            export(&network, &weights, "a").unwrap()
        );
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let small = space.network(&space.smallest(128).unwrap());
        let weights = Weights::random(&small, Seed(1));
        let (network, _) = example(0);
        let error = export(&network, &weights, "x").unwrap_err().to_string();
        assert!(error.contains("belong to another network"), "{error}");
    }
}
