//! The operators and weights of a network, one after the other.

use std::collections::BTreeMap;

use prost::bytes::Bytes;

use super::{ExportError, INPUT, OUTPUT};
use crate::fragment::{FragmentWeights, Instance, Place};
use crate::network::{
    BatchNorm, Conv, Network, Node, NodeWeights, Op, Shape, TensorId, Weights, padding,
};
use crate::onnx::OPSET;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};
use crate::space::Activation;

/// `HardSigmoid` is max(0, min(1, alpha x + beta)); relu6(x + 3) / 6 has these.
const HARD_SIGMOID: [(&str, f32); 2] = [("alpha", 1.0 / 6.0), ("beta", 0.5)];

/// What the name of a convolution's batch-norm ends in.
pub(super) const BATCH_NORM: &str = "batch-norm";

/// The graph as far as it is written.
pub(super) struct Graph<'a> {
    network: &'a Network,
    pub opset: i64,
    pub nodes: Vec<NodeProto>,
    pub initializers: Vec<TensorProto>,
}

impl<'a> Graph<'a> {
    /// The network with these weights, and these batch-norms by node index.
    ///
    /// # Errors
    /// [`ExportError`] when the weights belong to another network.
    pub fn of(
        network: &'a Network,
        weights: &Weights,
        norms: &BTreeMap<usize, BatchNorm>,
    ) -> Result<Self, ExportError> {
        let mut graph = Self::new(network);
        for (index, node) in network.nodes().iter().enumerate() {
            graph.node(index, node, weights, norms.get(&index))?;
        }
        Ok(graph)
    }

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
    pub fn tensor_name(&self, tensor: TensorId) -> String {
        match tensor.checked_sub(1) {
            None => INPUT.to_owned(),
            Some(last) if last + 1 == self.network.nodes().len() => OUTPUT.to_owned(),
            Some(node) => self.network.nodes()[node].name.clone(),
        }
    }

    fn node(
        &mut self,
        index: usize,
        node: &Node,
        all: &Weights,
        norm: Option<&BatchNorm>,
    ) -> Result<(), ExportError> {
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
                let input = self.network.shape(node.inputs[0]);
                ("Conv", conv_attributes(conv, input))
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
            Op::MaxPool { kernel, stride } => {
                let input = self.network.shape(node.inputs[0]);
                ("MaxPool", max_pool_attributes(*kernel, *stride, input))
            }
            Op::AveragePool { size } => ("AveragePool", average_pool_attributes(*size)),
            Op::Add => ("Add", Vec::new()),
            Op::Scale => ("Mul", Vec::new()),
            // Returned above: a fragment is many operators.
            Op::Fragment(_) => return Ok(()),
        };
        let output = self.tensor_name(index + 1);
        match (&node.op, norm) {
            (Op::Conv(conv), Some(norm)) => {
                let products = format!("{}.products", node.name);
                self.push(&node.name, operator, inputs, products.clone(), attributes);
                self.batch_norm(node, i64::from(conv.out_channels), norm, products, output)?;
            }
            _ => self.push(&node.name, operator, inputs, output, attributes),
        }
        Ok(())
    }

    /// A batch-norm of its own behind a convolution.
    fn batch_norm(
        &mut self,
        node: &Node,
        channels: i64,
        norm: &BatchNorm,
        input: String,
        output: String,
    ) -> Result<(), ExportError> {
        let name = format!("{}.{BATCH_NORM}", node.name);
        let mut inputs = vec![input];
        for (kind, values) in norm.vectors() {
            inputs.push(self.initializer(&name, kind, &[channels], values)?);
        }
        #[allow(clippy::cast_possible_truncation)] // the format's attributes are f32
        let attributes = vec![float("epsilon", norm.epsilon as f32)];
        self.push(&name, "BatchNormalization", inputs, output, attributes);
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

    pub fn push(
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
            Activation::Gelu => self.gelu(name, inputs),
            Activation::Hsigmoid => {
                let attributes = HARD_SIGMOID.map(|(name, value)| float(name, value));
                ("HardSigmoid", attributes.into())
            }
            Activation::Sigmoid => ("Sigmoid", Vec::new()),
        }
    }

    /// x / 2 * (1 + erf(x / sqrt(2))), all but the last product: `Gelu` itself came with operator set 20.
    fn gelu(
        &mut self,
        name: &str,
        inputs: &mut Vec<String>,
    ) -> (&'static str, Vec<AttributeProto>) {
        let root = self.scalar(name, "root", std::f32::consts::SQRT_2);
        let one = self.scalar(name, "one", 1.0);
        let half = self.scalar(name, "half", 0.5);
        let mut step =
            |part: &str, operator: &str, mut inputs: Vec<String>, more: Option<String>| {
                let made = format!("{name}.{part}");
                inputs.extend(more);
                self.push(&made, operator, inputs, made.clone(), Vec::new());
                made
            };
        let scaled = step("scaled", "Div", inputs.clone(), Some(root));
        let erf = step("erf", "Erf", vec![scaled], None);
        let raised = step("raised", "Add", vec![erf], Some(one));
        let gate = step("gate", "Mul", vec![raised], Some(half));
        inputs.push(gate);
        ("Mul", Vec::new())
    }

    /// Stores one number; returns its name.
    pub fn scalar(&mut self, node: &str, kind: &str, value: f32) -> String {
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

/// Padding as ONNX has it: before rows, before columns, behind rows, behind columns.
fn pads(kernel: u32, stride: u32, input: Shape) -> AttributeProto {
    let sides = [input.height, input.width];
    let [rows, columns] = sides.map(|side| padding(kernel, stride, side).map(i64::from));
    ints("pads", &[rows[0], columns[0], rows[1], columns[1]])
}

fn conv_attributes(conv: &Conv, input: Shape) -> Vec<AttributeProto> {
    let [kernel, stride] = [conv.kernel, conv.stride].map(i64::from);
    vec![
        ints("dilations", &[1, 1]),
        int("group", i64::from(conv.groups)),
        ints("kernel_shape", &[kernel; 2]),
        pads(conv.kernel, conv.stride, input),
        ints("strides", &[stride; 2]),
    ]
}

fn max_pool_attributes(kernel: u32, stride: u32, input: Shape) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &[i64::from(kernel); 2]),
        pads(kernel, stride, input),
        ints("strides", &[i64::from(stride); 2]),
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

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Ints.into()),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Float.into()),
        f: Some(value),
        ..AttributeProto::default()
    }
}
