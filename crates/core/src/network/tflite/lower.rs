//! From a network to a float TFLite graph.

use super::TfliteError;
use super::graph::{
    Builtin, Content, Data, Element, Fused, Graph, Index, Operator, Options, Padding, Range, Role,
};
use crate::network::{Conv, Network, Node, NodeWeights, Op, Shape, TensorId, Weights};
use crate::space::Activation;

/// The float graph of a network.
pub(super) fn lower(network: &Network, weights: &Weights) -> Result<Graph, TfliteError> {
    let mut lowering = Lowering {
        network,
        graph: Graph::default(),
        tensors: vec![None; network.nodes().len() + 1],
    };
    let input = lowering.activation("image", nhwc(network.input()), Range::Observed(0));
    lowering.graph.input = input;
    lowering.tensors[0] = Some(input);
    for (index, node) in network.nodes().iter().enumerate() {
        // An activation function that its convolution has taken in is there already.
        if lowering.tensors[index + 1].is_none() {
            lowering.node(index, node, weights.of(index))?;
        }
    }
    let last = network.nodes().len();
    lowering.graph.output = lowering.tensor(last);
    let output = lowering.graph.output;
    "logits".clone_into(&mut lowering.graph.tensors[output].name);
    Ok(lowering.graph)
}

/// Rows, columns, channels: TFLite's order.
fn nhwc(shape: Shape) -> Vec<i32> {
    let mut dims = vec![1];
    dims.extend([shape.height, shape.width, shape.channels].map(dim));
    dims
}

fn dim(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

struct Lowering<'a> {
    network: &'a Network,
    graph: Graph,
    /// By tensor of the network.
    tensors: Vec<Option<Index>>,
}

impl Lowering<'_> {
    fn tensor(&self, tensor: TensorId) -> Index {
        self.tensors[tensor].unwrap_or(self.graph.input)
    }

    fn activation(&mut self, name: &str, shape: Vec<i32>, range: Range) -> Index {
        let element = Element::F32;
        self.graph.add(
            name.to_owned(),
            shape,
            Content::Activation { element, range },
        )
    }

    fn push(&mut self, code: Builtin, inputs: Vec<Index>, output: Index, options: Options) {
        self.graph.operators.push(Operator {
            code,
            inputs,
            output,
            options,
        });
    }

    /// The output of a node, to be made by the operator that is pushed next.
    fn output(&mut self, index: usize, node: &Node) -> Index {
        let tensor = self.activation(&node.name, nhwc(node.output), Range::Observed(index + 1));
        self.tensors[index + 1] = Some(tensor);
        tensor
    }

    fn node(
        &mut self,
        index: usize,
        node: &Node,
        weights: Option<&NodeWeights>,
    ) -> Result<(), TfliteError> {
        let missing = || TfliteError::MissingWeights {
            node: node.name.clone(),
        };
        let x = self.tensor(node.inputs[0]);
        match &node.op {
            Op::Conv(conv) => self.conv(index, node, conv, weights.ok_or_else(missing)?)?,
            Op::Linear { inputs, outputs } => {
                let shape = [*outputs, *inputs];
                self.linear(index, node, shape, weights.ok_or_else(missing)?)?;
            }
            Op::Activation(Activation::Gelu) => {
                return Err(TfliteError::Unsupported {
                    node: node.name.clone(),
                    what: "a GELU".into(),
                });
            }
            Op::Activation(function) => self.function(index, node, *function),
            Op::GlobalAveragePool => {
                let axes = Data::I32(vec![1, 2]);
                let axes =
                    self.graph
                        .constant(format!("{}.axes", node.name), vec![2], axes, Role::Sizes);
                let y = self.output(index, node);
                // MEAN and not AVERAGE_POOL_2D: it takes any size, and input and output may have scales of their own.
                self.push(Builtin::Mean, vec![x, axes], y, Options::KeepDims);
            }
            Op::Fragment(_) => {
                return Err(TfliteError::Unsupported {
                    node: node.name.clone(),
                    what: "a block of your own".into(),
                });
            }
            Op::MaxPool { kernel, stride } => self.max_pool(index, node, *kernel, *stride),
            Op::AveragePool { size } => self.average_pool(index, node, *size)?,
            Op::Add | Op::Scale => {
                let other = self.tensor(node.inputs[1]);
                let (fused, made) = self.fused(index);
                let y = self.output(made, &self.network.nodes()[made]);
                self.tensors[index + 1] = Some(y);
                let code = if node.op == Op::Add {
                    Builtin::Add
                } else {
                    Builtin::Mul
                };
                self.push(code, vec![x, other], y, Options::Fused(fused));
            }
        }
        Ok(())
    }

    /// The activation function that node `index` can take in, and the node whose output is then made: the one
    /// behind, if it is ReLU or ReLU6 and the only reader.
    fn fused(&self, index: usize) -> (Fused, usize) {
        let nodes = self.network.nodes();
        let readers = nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| n.inputs.contains(&(index + 1)));
        let readers: Vec<(usize, &Node)> = readers.collect();
        match readers.as_slice() {
            [
                (
                    next,
                    Node {
                        op: Op::Activation(Activation::Relu),
                        ..
                    },
                ),
            ] => (Fused::Relu, *next),
            [
                (
                    next,
                    Node {
                        op: Op::Activation(Activation::Relu6),
                        ..
                    },
                ),
            ] => (Fused::Relu6, *next),
            _ => (Fused::None, index),
        }
    }

    fn conv(
        &mut self,
        index: usize,
        node: &Node,
        conv: &Conv,
        weights: &NodeWeights,
    ) -> Result<(), TfliteError> {
        let depthwise = conv.groups > 1;
        if depthwise && (conv.groups != conv.in_channels || conv.out_channels != conv.in_channels) {
            return Err(TfliteError::Unsupported {
                node: node.name.clone(),
                what: format!("a convolution in {} groups", conv.groups),
            });
        }
        let shape = conv.weight_shape();
        check_length(node, &weights.weight, &shape)?;
        let [out, per_group, kernel, _] = shape.map(dim);
        // PyTorch's layout is OIHW; TFLite's OHWI, and 1HWO for depthwise ones.
        let (data, dims, dimension) = if depthwise {
            (
                permuted(&weights.weight, shape, [1, 2, 3, 0]),
                vec![1, kernel, kernel, out],
                3,
            )
        } else {
            (
                permuted(&weights.weight, shape, [0, 2, 3, 1]),
                vec![out, kernel, kernel, per_group],
                0,
            )
        };
        let role = Role::Weights { dimension };
        let w = self
            .graph
            .constant(format!("{}.weight", node.name), dims, Data::F32(data), role);
        let (x, padding) = self.padded(node, conv.kernel, conv.stride);
        let bias = if weights.bias.is_empty() {
            vec![0.0; conv.out_channels as usize]
        } else {
            weights.bias.clone()
        };
        check_length(node, &bias, &[conv.out_channels])?;
        let role = Role::Bias {
            input: x,
            weights: w,
        };
        let b = self.graph.constant(
            format!("{}.bias", node.name),
            vec![out],
            Data::F32(bias),
            role,
        );
        let (fused, made) = self.fused(index);
        let y = self.output(made, &self.network.nodes()[made]);
        self.tensors[index + 1] = Some(y);
        let code = if depthwise {
            Builtin::DepthwiseConv2d
        } else {
            Builtin::Conv2d
        };
        let stride = dim(conv.stride);
        self.push(
            code,
            vec![x, w, b],
            y,
            Options::Conv {
                padding,
                stride,
                fused,
            },
        );
        Ok(())
    }

    /// The padded input of a window. TFLite's SAME padding is that of even kernels; that of odd ones, `kernel / 2` on
    /// every side, only where the stride is 1: else the input is padded first.
    fn padded(&mut self, node: &Node, kernel: u32, stride: u32) -> (Index, Padding) {
        let x = self.tensor(node.inputs[0]);
        if kernel == 1 {
            return (x, Padding::Valid);
        }
        if stride == 1 || kernel.is_multiple_of(2) {
            return (x, Padding::Same);
        }
        let (sizes, shape) = self.padding(node, kernel);
        let y = self.activation(&format!("{}.pad", node.name), shape, Range::As(x));
        self.push(Builtin::Pad, vec![x, sizes], y, Options::None);
        (y, Padding::Valid)
    }

    /// The padding sizes as a constant, and the padded shape.
    fn padding(&mut self, node: &Node, kernel: u32) -> (Index, Vec<i32>) {
        let pad = dim(kernel / 2);
        let input = self.network.shape(node.inputs[0]);
        let padded = Shape {
            height: input.height + 2 * (kernel / 2),
            width: input.width + 2 * (kernel / 2),
            ..input
        };
        let sizes = Data::I32(vec![0, 0, pad, pad, pad, pad, 0, 0]);
        let name = format!("{}.padding", node.name);
        (
            self.graph.constant(name, vec![4, 2], sizes, Role::Sizes),
            nhwc(padded),
        )
    }

    fn max_pool(&mut self, index: usize, node: &Node, kernel: u32, stride: u32) {
        let mut x = self.tensor(node.inputs[0]);
        let mut padding = Padding::Valid;
        if kernel.is_multiple_of(2) {
            padding = Padding::Same;
        } else if kernel > 1 {
            let (sizes, shape) = self.padding(node, kernel);
            let role = Role::Lowest { like: x };
            let lowest = Data::F32(vec![f32::MIN]);
            let lowest =
                self.graph
                    .constant(format!("{}.lowest", node.name), Vec::new(), lowest, role);
            let padded = self.activation(&format!("{}.pad", node.name), shape, Range::As(x));
            self.push(
                Builtin::PadV2,
                vec![x, sizes, lowest],
                padded,
                Options::None,
            );
            x = padded;
        }
        let y = self.pooled(index, node, x);
        let (stride, filter) = (dim(stride), dim(kernel));
        self.push(
            Builtin::MaxPool2d,
            vec![x],
            y,
            Options::Pool {
                padding,
                stride,
                filter,
            },
        );
    }

    /// Windows over the edge take the mean of what is inside, as in TFLite's SAME padding, which however begins
    /// half of its padding before the image: the same only where there is at most one row too few.
    fn average_pool(&mut self, index: usize, node: &Node, size: u32) -> Result<(), TfliteError> {
        let input = self.network.shape(node.inputs[0]);
        let lacking = |length: u32| length.div_ceil(size) * size - length;
        if lacking(input.height) > 1 || lacking(input.width) > 1 {
            return Err(TfliteError::Unsupported {
                node: node.name.clone(),
                what: format!("average pooling of {size} on a side of {}", input.height),
            });
        }
        let x = self.tensor(node.inputs[0]);
        let y = self.pooled(index, node, x);
        let (stride, filter) = (dim(size), dim(size));
        self.push(
            Builtin::AveragePool2d,
            vec![x],
            y,
            Options::Pool {
                padding: Padding::Same,
                stride,
                filter,
            },
        );
        Ok(())
    }

    /// The output of a pooling operator, which keeps the scale of its input.
    fn pooled(&mut self, index: usize, node: &Node, x: Index) -> Index {
        let y = self.activation(&node.name, nhwc(node.output), Range::As(x));
        self.tensors[index + 1] = Some(y);
        y
    }

    fn function(&mut self, index: usize, node: &Node, function: Activation) {
        let x = self.tensor(node.inputs[0]);
        let shape = nhwc(node.output);
        match function {
            Activation::Relu => self.unary(index, node, Builtin::Relu),
            Activation::Relu6 => self.unary(index, node, Builtin::Relu6),
            Activation::Hswish => self.unary(index, node, Builtin::HardSwish),
            // Refused above.
            Activation::Gelu => {}
            Activation::Sigmoid => {
                let y = self.activation(&node.name, shape, Range::Logistic);
                self.tensors[index + 1] = Some(y);
                self.push(Builtin::Logistic, vec![x], y, Options::None);
            }
            Activation::Silu => {
                let gate =
                    self.activation(&format!("{}.sigmoid", node.name), shape, Range::Logistic);
                self.push(Builtin::Logistic, vec![x], gate, Options::None);
                let y = self.output(index, node);
                self.push(Builtin::Mul, vec![x, gate], y, Options::Fused(Fused::None));
            }
            Activation::Hsigmoid => {
                // relu6(x + 3) / 6.
                let three = self.scalar(node, "three", 3.0);
                let shifted = self.activation(
                    &format!("{}.shifted", node.name),
                    shape.clone(),
                    Range::Fixed(0.0, 6.0),
                );
                self.push(
                    Builtin::Add,
                    vec![x, three],
                    shifted,
                    Options::Fused(Fused::Relu6),
                );
                let sixth = self.scalar(node, "sixth", 1.0 / 6.0);
                let y = self.activation(&node.name, shape, Range::Fixed(0.0, 1.0));
                self.tensors[index + 1] = Some(y);
                self.push(
                    Builtin::Mul,
                    vec![shifted, sixth],
                    y,
                    Options::Fused(Fused::None),
                );
            }
        }
    }

    fn unary(&mut self, index: usize, node: &Node, code: Builtin) {
        let x = self.tensor(node.inputs[0]);
        let y = self.output(index, node);
        self.push(code, vec![x], y, Options::None);
    }

    fn scalar(&mut self, node: &Node, kind: &str, value: f32) -> Index {
        let name = format!("{}.{kind}", node.name);
        self.graph
            .constant(name, Vec::new(), Data::F32(vec![value]), Role::Scalar)
    }

    fn linear(
        &mut self,
        index: usize,
        node: &Node,
        [outputs, inputs]: [u32; 2],
        weights: &NodeWeights,
    ) -> Result<(), TfliteError> {
        check_length(node, &weights.weight, &[outputs, inputs])?;
        check_length(node, &weights.bias, &[outputs])?;
        let x = self.tensor(node.inputs[0]);
        let flat = vec![1, dim(inputs)];
        let vector = self.activation(
            &format!("{}.flatten", node.name),
            flat.clone(),
            Range::As(x),
        );
        self.push(Builtin::Reshape, vec![x], vector, Options::Reshape(flat));
        // Columns follow the order of the flattened image, which is NHWC here.
        let image = self.network.shape(node.inputs[0]);
        let columns = [outputs, image.channels, image.height, image.width];
        let data = permuted(&weights.weight, columns, [0, 2, 3, 1]);
        let dims = vec![dim(outputs), dim(inputs)];
        // One scale for all rows: the form that every runtime takes.
        let role = Role::Weights {
            dimension: usize::MAX,
        };
        let w = self
            .graph
            .constant(format!("{}.weight", node.name), dims, Data::F32(data), role);
        let role = Role::Bias {
            input: vector,
            weights: w,
        };
        let b = Data::F32(weights.bias.clone());
        let b = self
            .graph
            .constant(format!("{}.bias", node.name), vec![dim(outputs)], b, role);
        let y = self.activation(
            &node.name,
            vec![1, dim(outputs)],
            Range::Observed(index + 1),
        );
        self.tensors[index + 1] = Some(y);
        self.push(
            Builtin::FullyConnected,
            vec![vector, w, b],
            y,
            Options::Fused(Fused::None),
        );
        Ok(())
    }
}

fn check_length(node: &Node, values: &[f32], shape: &[u32]) -> Result<(), TfliteError> {
    let expected: usize = shape.iter().map(|d| *d as usize).product();
    if values.len() == expected {
        return Ok(());
    }
    Err(TfliteError::MissingWeights {
        node: node.name.clone(),
    })
}

/// The numbers of a four-dimensional tensor with its dimensions in another order.
fn permuted(values: &[f32], shape: [u32; 4], order: [usize; 4]) -> Vec<f32> {
    let shape = shape.map(|d| d as usize);
    let strides = [
        shape[1] * shape[2] * shape[3],
        shape[2] * shape[3],
        shape[3],
        1,
    ];
    let [a, b, c, d] = order;
    let mut out = Vec::with_capacity(values.len());
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            for k in 0..shape[c] {
                let start = i * strides[a] + j * strides[b] + k * strides[c];
                let line = (0..shape[d]).map(|l| values.get(start + l * strides[d]).copied());
                out.extend(line.map(|value| value.unwrap_or(0.0)));
            }
        }
    }
    out
}
