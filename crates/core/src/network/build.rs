//! From an architecture to its network.

use super::{Bias, Conv, Network, Node, Op, Origin, Shape, TensorId};
use crate::shape::make_divisible;
use crate::space::{
    Activation, Architecture, Block, BlockKind, DesignSpace, FixedLayer, Flag, IMAGE_CHANNELS,
    Instances, Placement, Ratio, Unit,
};

impl DesignSpace {
    /// The network of an architecture of this space.
    #[must_use]
    pub fn network(&self, arch: &Architecture) -> Network {
        let image = Shape::square(IMAGE_CHANNELS, arch.resolution());
        let mut builder = Builder::new(&self.instances, image);
        builder.fixed_layers("stem", &self.stem, self.classes);
        for (index, (unit, choice)) in self.units.iter().zip(arch.units()).enumerate() {
            let name = format!("unit{}", index + 1);
            builder.fixed_layers(&format!("{name}.before"), &unit.before, self.classes);
            let channels = unit.channels(choice.width, builder.here().channels);
            for (layer, &id) in choice.blocks.iter().enumerate() {
                let placement = Placement { unit: index, layer };
                builder.origin = Origin::Choice(placement, id);
                let stride = if layer == 0 { unit.stride() } else { 1 };
                let part = Part::of_unit(unit, self.block(placement, id), stride, channels);
                builder.block(&format!("{name}.layer{}", layer + 1), &part);
            }
            builder.origin = Origin::Fixed;
        }
        builder.fixed_layers("head", &self.head, self.classes);
        builder.network
    }
}

/// Fixed layers by themselves, as a network that begins with `input`.
pub(super) fn fixed_part(space: &DesignSpace, layers: &[FixedLayer], input: Shape) -> Network {
    let mut builder = Builder::new(&space.instances, input);
    builder.fixed_layers("part", layers, space.classes);
    builder.network
}

/// A layer of a unit by itself, as a network that begins with `input`.
pub(super) fn layer_part(
    space: &DesignSpace,
    unit: &Unit,
    block: &Block,
    input: Shape,
    stride: u32,
    channels: u32,
) -> Network {
    let mut builder = Builder::new(&space.instances, input);
    builder.block("part", &Part::of_unit(unit, block, stride, channels));
    builder.network
}

/// A block with everything that its place decides.
struct Part<'a> {
    block: &'a Block,
    stride: u32,
    channels: u32,
    activation: Activation,
    squeeze_excite: Option<Ratio>,
}

impl<'a> Part<'a> {
    fn of_unit(unit: &Unit, block: &'a Block, stride: u32, channels: u32) -> Self {
        Self {
            block,
            stride,
            channels,
            activation: block.activation().unwrap_or(unit.activation()),
            squeeze_excite: block.squeeze_excite().or(unit.squeeze_excite()),
        }
    }

    fn fixed(block: &'a Block, stride: u32, channels: u32) -> Self {
        Self {
            block,
            stride,
            channels,
            activation: block.activation().unwrap_or(Activation::Relu),
            squeeze_excite: block.squeeze_excite(),
        }
    }

    fn expansion(&self) -> f64 {
        self.block.expansion().map_or(1.0, Ratio::value)
    }

    fn kernel(&self) -> u32 {
        self.block.kernel().unwrap_or(1)
    }

    fn expands(&self) -> bool {
        self.block.expansion().is_some_and(|e| !e.is_one())
    }

    /// Hidden channels of an inverted bottleneck (`round`, then `make_divisible`, as in the `ofa` package).
    fn hidden(&self, in_channels: u32) -> u32 {
        if self.expands() {
            make_divisible((f64::from(in_channels) * self.expansion()).round_ties_even())
        } else {
            in_channels
        }
    }
}

/// How a squeeze-and-excitation is sized and gated.
struct Squeeze {
    channels: u32,
    activation: Activation,
    gate: Activation,
}

impl Squeeze {
    /// MobileNetV3: a share of the hidden channels in multiples of 8 (`SEModule` of the `ofa` package).
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn of_mobilenet_v3(hidden: u32, ratio: Ratio) -> Self {
        Self {
            channels: make_divisible((f64::from(hidden) * ratio.value()).floor()),
            activation: Activation::Relu,
            gate: Activation::Hsigmoid,
        }
    }

    /// EfficientNet: a share of the block's input channels (torchvision's `efficientnet`).
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn of_efficient_net(in_channels: u32, ratio: Ratio, activation: Activation) -> Self {
        Self {
            channels: ((f64::from(in_channels) * ratio.value()) as u32).max(1),
            activation,
            gate: Activation::Sigmoid,
        }
    }
}

/// Appends operators; `at` is the tensor that the next one reads.
struct Builder<'a> {
    instances: &'a Instances,
    network: Network,
    at: TensorId,
    origin: Origin,
}

impl<'a> Builder<'a> {
    fn new(instances: &'a Instances, input: Shape) -> Self {
        Self {
            instances,
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

    fn conv(&mut self, name: String, conv: Conv) {
        let output = self.here().strided(conv.out_channels, conv.stride);
        self.push(name, Op::Conv(conv), vec![self.at], output);
    }

    /// A full convolution with batch-norm.
    fn dense(&mut self, name: String, out_channels: u32, kernel: u32, stride: u32) {
        let conv = Conv {
            in_channels: self.here().channels,
            out_channels,
            kernel,
            stride,
            groups: 1,
            bias: Bias::BatchNorm,
        };
        self.conv(name, conv);
    }

    /// A 1x1 convolution with batch-norm.
    fn pointwise(&mut self, name: String, out_channels: u32) {
        self.dense(name, out_channels, 1, 1);
    }

    /// A depthwise convolution with batch-norm.
    fn depthwise(&mut self, name: String, kernel: u32, stride: u32) {
        let channels = self.here().channels;
        let conv = Conv {
            in_channels: channels,
            out_channels: channels,
            kernel,
            stride,
            groups: channels,
            bias: Bias::BatchNorm,
        };
        self.conv(name, conv);
    }

    fn activation(&mut self, name: String, activation: Activation) {
        self.push(name, Op::Activation(activation), vec![self.at], self.here());
    }

    fn global_pool(&mut self, name: String) {
        let output = Shape::vector(self.here().channels);
        self.push(name, Op::GlobalAveragePool, vec![self.at], output);
    }

    fn fixed_layers(&mut self, place: &str, layers: &[FixedLayer], classes: u32) {
        for (i, layer) in layers.iter().enumerate() {
            self.fixed(&format!("{place}{}", i + 1), layer, classes);
        }
    }

    fn fixed(&mut self, name: &str, layer: &FixedLayer, classes: u32) {
        match layer {
            FixedLayer::Block {
                block,
                stride,
                channels,
            } => {
                let channels = channels.unwrap_or(self.here().channels);
                self.block(name, &Part::fixed(block, *stride, channels));
            }
            FixedLayer::MaxPool { kernel, stride } => {
                let (kernel, stride) = (*kernel, *stride);
                let output = self.here().strided(self.here().channels, stride);
                let op = Op::MaxPool { kernel, stride };
                self.push(format!("{name}.pool"), op, vec![self.at], output);
            }
            FixedLayer::Pool => self.global_pool(format!("{name}.pool")),
            FixedLayer::Classifier => {
                let op = Op::Linear {
                    inputs: u32::try_from(self.here().elements()).unwrap_or(u32::MAX),
                    outputs: classes,
                };
                let output = Shape::vector(classes);
                self.push(format!("{name}.linear"), op, vec![self.at], output);
            }
        }
    }

    fn block(&mut self, name: &str, part: &Part<'_>) {
        let start = self.at;
        match part.block.kind() {
            BlockKind::MbConv3 | BlockKind::MbConv => self.mbconv(name, part),
            BlockKind::FusedMbConv => self.fused_mbconv(name, part),
            BlockKind::DepthwiseSeparable => self.depthwise_separable(name, part),
            BlockKind::Conv => self.plain_conv(name, part),
            BlockKind::Bottleneck => return self.bottleneck(name, part),
            BlockKind::Basic => return self.basic(name, part),
            BlockKind::Skip => return,
            BlockKind::Custom(block) => return self.custom(name, block, part),
        }
        let skips = match part.block.kind() {
            BlockKind::Conv => part.block.has(Flag::Skip),
            _ => !part.block.has(Flag::NoSkip),
        };
        if skips && self.network.shape(start) == self.here() {
            self.push(
                format!("{name}.add"),
                Op::Add,
                vec![start, self.at],
                self.here(),
            );
        }
    }

    /// A block of the user's own; what its file declares with `skip` is inside.
    ///
    /// # Panics
    /// When the block was not tried at this place while the space was read.
    fn custom(&mut self, name: &str, block: &str, part: &Part<'_>) {
        let (input, channels) = (self.here(), part.channels);
        let found = self.instances.get(block, input, channels, part.stride);
        let instance = found
            .expect("a place that was tried when the space was read")
            .clone();
        let output = instance.output();
        self.push(
            format!("{name}.{block}"),
            Op::Fragment(instance),
            vec![self.at],
            output,
        );
    }

    /// Inverted bottleneck: expand (unless the expansion is 1), depthwise, squeeze-and-excitation, project.
    fn mbconv(&mut self, name: &str, part: &Part<'_>) {
        let in_channels = self.here().channels;
        let hidden = part.hidden(in_channels);
        if part.expands() {
            self.pointwise(format!("{name}.expand"), hidden);
            self.activation(format!("{name}.expand.act"), part.activation);
        }
        self.depthwise(format!("{name}.depthwise"), part.kernel(), part.stride);
        self.activation(format!("{name}.depthwise.act"), part.activation);
        self.squeeze_excite(name, part, in_channels);
        self.pointwise(format!("{name}.project"), part.channels);
    }

    /// One full convolution to the hidden channels, squeeze-and-excitation, project; with expansion 1, the full
    /// convolution alone.
    fn fused_mbconv(&mut self, name: &str, part: &Part<'_>) {
        let in_channels = self.here().channels;
        let expands = part.expands();
        let first = if expands {
            part.hidden(in_channels)
        } else {
            part.channels
        };
        self.dense(format!("{name}.fused"), first, part.kernel(), part.stride);
        self.activation(format!("{name}.fused.act"), part.activation);
        self.squeeze_excite(name, part, in_channels);
        if expands {
            self.pointwise(format!("{name}.project"), part.channels);
        }
    }

    fn depthwise_separable(&mut self, name: &str, part: &Part<'_>) {
        let in_channels = self.here().channels;
        self.depthwise(format!("{name}.depthwise"), part.kernel(), part.stride);
        self.activation(format!("{name}.depthwise.act"), part.activation);
        self.squeeze_excite(name, part, in_channels);
        self.pointwise(format!("{name}.pointwise"), part.channels);
        if part.block.has(Flag::PointwiseActivation) {
            self.activation(format!("{name}.pointwise.act"), part.activation);
        }
    }

    fn plain_conv(&mut self, name: &str, part: &Part<'_>) {
        let conv = Conv {
            in_channels: self.here().channels,
            out_channels: part.channels,
            kernel: part.kernel(),
            stride: part.stride,
            groups: 1,
            bias: if part.block.has(Flag::NoBatchNorm) {
                Bias::None
            } else {
                Bias::BatchNorm
            },
        };
        self.conv(format!("{name}.conv"), conv);
        self.activation(format!("{name}.act"), part.activation);
    }

    /// ResNet's bottleneck.
    fn bottleneck(&mut self, name: &str, part: &Part<'_>) {
        let mid = make_divisible((f64::from(part.channels) * part.expansion()).round_ties_even());
        self.residual(name, part, |this| {
            this.pointwise(format!("{name}.reduce"), mid);
            this.activation(format!("{name}.reduce.act"), part.activation);
            this.dense(format!("{name}.spatial"), mid, part.kernel(), part.stride);
            this.activation(format!("{name}.spatial.act"), part.activation);
            this.pointwise(format!("{name}.expand"), part.channels);
        });
    }

    /// The block of ResNet-18.
    fn basic(&mut self, name: &str, part: &Part<'_>) {
        let (kernel, channels) = (part.kernel(), part.channels);
        self.residual(name, part, |this| {
            this.dense(format!("{name}.first"), channels, kernel, part.stride);
            this.activation(format!("{name}.first.act"), part.activation);
            this.dense(format!("{name}.second"), channels, kernel, 1);
        });
    }

    /// What `branch` appends, plus the shortcut, and the non-linearity behind the sum; the shortcut comes first, as in
    /// `forward` of the `ofa` package.
    fn residual(&mut self, name: &str, part: &Part<'_>, branch: impl FnOnce(&mut Self)) {
        let (start, input) = (self.at, self.here());
        if part.stride != 1 || input.channels != part.channels {
            self.shortcut(name, part);
        }
        let residual = self.at;
        self.at = start;
        branch(self);
        let output = self.here();
        let inputs = vec![self.at, residual];
        self.push(format!("{name}.add"), Op::Add, inputs, output);
        self.activation(format!("{name}.act"), part.activation);
    }

    fn shortcut(&mut self, name: &str, part: &Part<'_>) {
        if !part.block.has(Flag::AverageDown) {
            return self.dense(format!("{name}.shortcut"), part.channels, 1, part.stride);
        }
        if part.stride > 1 {
            let output = self.here().strided(self.here().channels, part.stride);
            let op = Op::AveragePool { size: part.stride };
            self.push(format!("{name}.shortcut.pool"), op, vec![self.at], output);
        }
        self.pointwise(format!("{name}.shortcut"), part.channels);
    }

    fn squeeze_excite(&mut self, name: &str, part: &Part<'_>, in_channels: u32) {
        let Some(ratio) = part.squeeze_excite else {
            return;
        };
        let (input, shape) = (self.at, self.here());
        let squeeze = match part.block.kind() {
            BlockKind::MbConv3 => Squeeze::of_mobilenet_v3(shape.channels, ratio),
            _ => Squeeze::of_efficient_net(in_channels, ratio, part.activation),
        };
        self.global_pool(format!("{name}.se.pool"));
        self.gate_conv(format!("{name}.se.reduce"), squeeze.channels);
        self.activation(format!("{name}.se.act"), squeeze.activation);
        self.gate_conv(format!("{name}.se.expand"), shape.channels);
        self.activation(format!("{name}.se.gate"), squeeze.gate);
        self.push(
            format!("{name}.se.scale"),
            Op::Scale,
            vec![input, self.at],
            shape,
        );
    }

    /// A 1x1 convolution with a bias and no batch-norm.
    fn gate_conv(&mut self, name: String, out_channels: u32) {
        let conv = Conv {
            in_channels: self.here().channels,
            out_channels,
            kernel: 1,
            stride: 1,
            groups: 1,
            bias: Bias::Plain,
        };
        self.conv(name, conv);
    }
}
