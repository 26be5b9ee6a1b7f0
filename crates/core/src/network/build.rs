//! From an architecture to its network.

use super::{Bias, Conv, Network, Node, Op, Origin, Shape, TensorId};
use crate::space::{
    Activation, Architecture, Block, DesignSpace, FixedLayer, Placement, make_divisible,
};

/// Hidden channels of squeeze-and-excitation: a quarter, rounded to a multiple of 8
/// (`SEModule.REDUCTION` of the `ofa` package).
const SQUEEZE_REDUCTION: u32 = 4;

impl DesignSpace {
    /// The network of an architecture of this space.
    #[must_use]
    pub fn network(&self, arch: &Architecture) -> Network {
        let side = arch.resolution();
        let mut builder = Builder::new(Shape {
            channels: 3,
            height: side,
            width: side,
        });
        for (i, layer) in self.stem.iter().enumerate() {
            builder.fixed(&format!("stem{}", i + 1), layer);
        }
        for (unit_index, (unit, blocks)) in self.units.iter().zip(arch.units()).enumerate() {
            for (layer, &id) in blocks.iter().enumerate() {
                builder.origin = Origin::Choice(
                    Placement {
                        unit: unit_index,
                        layer,
                    },
                    id,
                );
                builder.mbconv(&MbConv {
                    name: &format!("unit{}.layer{}", unit_index + 1, layer + 1),
                    block: unit.blocks[usize::from(id)],
                    stride: if layer == 0 { unit.stride } else { 1 },
                    channels: unit.channels,
                    activation: unit.activation,
                    squeeze_excite: unit.squeeze_excite,
                });
            }
        }
        builder.origin = Origin::Fixed;
        for (i, layer) in self.head.iter().enumerate() {
            builder.fixed(&format!("head{}", i + 1), layer);
        }
        builder.network
    }
}

/// Everything that an inverted bottleneck needs to know.
struct MbConv<'a> {
    name: &'a str,
    block: Block,
    stride: u32,
    channels: u32,
    activation: Activation,
    squeeze_excite: bool,
}

/// Appends operators; `at` is the tensor that the next one reads.
struct Builder {
    network: Network,
    at: TensorId,
    origin: Origin,
}

impl Builder {
    fn new(input: Shape) -> Self {
        Self {
            network: Network {
                input,
                nodes: Vec::new(),
            },
            at: 0,
            origin: Origin::Fixed,
        }
    }

    fn here(&self) -> Shape {
        self.network.shape(self.at)
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<TensorId>, output: Shape) {
        self.network.nodes.push(Node {
            name,
            op,
            inputs,
            output,
            origin: self.origin,
        });
        self.at = self.network.nodes.len();
    }

    fn conv(
        &mut self,
        name: String,
        out_channels: u32,
        kernel: u32,
        stride: u32,
        depthwise: bool,
        bias: Bias,
    ) {
        let shape = self.here();
        let conv = Conv {
            in_channels: shape.channels,
            out_channels,
            kernel,
            stride,
            groups: if depthwise { shape.channels } else { 1 },
            bias,
        };
        // With kernel / 2 padding an odd kernel gives ceil(side / stride).
        let output = Shape {
            channels: out_channels,
            height: shape.height.div_ceil(stride),
            width: shape.width.div_ceil(stride),
        };
        self.push(name, Op::Conv(conv), vec![self.at], output);
    }

    fn activation(&mut self, name: String, activation: Activation) {
        self.push(name, Op::Activation(activation), vec![self.at], self.here());
    }

    fn pool(&mut self, name: String) {
        let output = Shape::vector(self.here().channels);
        self.push(name, Op::GlobalAveragePool, vec![self.at], output);
    }

    fn fixed(&mut self, name: &str, layer: &FixedLayer) {
        match *layer {
            FixedLayer::Conv {
                kernel,
                stride,
                channels,
                activation,
                batch_norm,
            } => {
                let bias = if batch_norm {
                    Bias::BatchNorm
                } else {
                    Bias::None
                };
                self.conv(
                    format!("{name}.conv"),
                    channels,
                    kernel,
                    stride,
                    false,
                    bias,
                );
                self.activation(format!("{name}.act"), activation);
            }
            FixedLayer::MbConv {
                block,
                stride,
                channels,
                activation,
                squeeze_excite,
            } => {
                self.mbconv(&MbConv {
                    name,
                    block,
                    stride,
                    channels,
                    activation,
                    squeeze_excite,
                });
            }
            FixedLayer::Pool => self.pool(format!("{name}.pool")),
            FixedLayer::Classifier { classes } => {
                let inputs = u32::try_from(self.here().elements()).unwrap_or(u32::MAX);
                let op = Op::Linear {
                    inputs,
                    outputs: classes,
                };
                self.push(
                    format!("{name}.linear"),
                    op,
                    vec![self.at],
                    Shape::vector(classes),
                );
            }
        }
    }

    /// Inverted bottleneck: expand (unless the expansion is 1), depthwise, squeeze-and-excitation,
    /// project, and a residual sum where input and output have one shape.
    fn mbconv(&mut self, spec: &MbConv<'_>) {
        let name = spec.name;
        let (start, in_channels) = (self.at, self.here().channels);
        let hidden = if spec.block.expansion == 1 {
            in_channels
        } else {
            make_divisible(f64::from(in_channels) * f64::from(spec.block.expansion))
        };
        if spec.block.expansion != 1 {
            self.conv(
                format!("{name}.expand"),
                hidden,
                1,
                1,
                false,
                Bias::BatchNorm,
            );
            self.activation(format!("{name}.expand.act"), spec.activation);
        }
        self.conv(
            format!("{name}.depthwise"),
            hidden,
            spec.block.kernel,
            spec.stride,
            true,
            Bias::BatchNorm,
        );
        self.activation(format!("{name}.depthwise.act"), spec.activation);
        if spec.squeeze_excite {
            self.squeeze_excite(name, hidden);
        }
        self.conv(
            format!("{name}.project"),
            spec.channels,
            1,
            1,
            false,
            Bias::BatchNorm,
        );
        if spec.stride == 1 && in_channels == spec.channels {
            self.push(
                format!("{name}.add"),
                Op::Add,
                vec![start, self.at],
                self.here(),
            );
        }
    }

    fn squeeze_excite(&mut self, name: &str, channels: u32) {
        let (input, shape) = (self.at, self.here());
        let squeezed = make_divisible(f64::from(channels / SQUEEZE_REDUCTION));
        self.pool(format!("{name}.se.pool"));
        self.conv(
            format!("{name}.se.reduce"),
            squeezed,
            1,
            1,
            false,
            Bias::Plain,
        );
        self.activation(format!("{name}.se.relu"), Activation::Relu);
        self.conv(
            format!("{name}.se.expand"),
            channels,
            1,
            1,
            false,
            Bias::Plain,
        );
        self.activation(format!("{name}.se.gate"), Activation::Hsigmoid);
        self.push(
            format!("{name}.se.scale"),
            Op::Scale,
            vec![input, self.at],
            shape,
        );
    }
}
