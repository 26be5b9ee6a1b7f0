//! `net.config`: a subnet as the `ofa` package writes it to a file and builds it again
//! (`build_from_config` of `MobileNetV3`, `ProxylessNASNets` and `ResNets`).

use serde::{Deserialize, Serialize};

use super::layers::{
    BatchNorm, BottleneckConfig, ConvConfig, IdentityConfig, LinearConfig, MbConvConfig, Residual,
};
use super::{OfaNetwork, RESNET_STEM};
use crate::space::{
    Activation, Architecture, Block, BlockKind, Choice, DesignSpace, FixedLayer, Flag, Placement,
    Unit,
};

/// A subnet as the `ofa` package writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub enum NetConfig {
    /// `MobileNetV3`.
    #[serde(rename = "MobileNetV3")]
    MobileNetV3 {
        /// Batch-norm's settings.
        #[serde(default)]
        bn: Option<BatchNorm>,
        /// The first convolution.
        first_conv: ConvConfig,
        /// The blocks, the fixed one included.
        blocks: Vec<Residual<MbConvConfig>>,
        /// 1x1 convolution before pooling.
        final_expand_layer: ConvConfig,
        /// 1x1 convolution after pooling.
        feature_mix_layer: ConvConfig,
        /// The classifier.
        classifier: LinearConfig,
    },
    /// `ProxylessNASNets`.
    #[serde(rename = "ProxylessNASNets")]
    ProxylessNas {
        /// Batch-norm's settings.
        #[serde(default)]
        bn: Option<BatchNorm>,
        /// The first convolution.
        first_conv: ConvConfig,
        /// The blocks, the fixed one included.
        blocks: Vec<Residual<MbConvConfig>>,
        /// 1x1 convolution before pooling.
        feature_mix_layer: ConvConfig,
        /// The classifier.
        classifier: LinearConfig,
    },
    /// `ResNets`.
    #[serde(rename = "ResNets")]
    ResNets {
        /// Batch-norm's settings.
        #[serde(default)]
        bn: Option<BatchNorm>,
        /// Two or three convolutions.
        input_stem: Vec<StemConfig>,
        /// The bottlenecks.
        blocks: Vec<BottleneckConfig>,
        /// The classifier.
        classifier: LinearConfig,
    },
}

/// A layer of ResNet's stem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StemConfig {
    /// A convolution.
    Conv(ConvConfig),
    /// A convolution with a shortcut.
    Residual(Residual<ConvConfig>),
}

/// Why a subnet cannot be written as, or read from, a `net.config`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetConfigError {
    /// The space's file does not say which supernet of the `ofa` package it corresponds to.
    #[error("`{0}` has no [ofa] table that says which supernet it corresponds to")]
    NoOfa(String),
    /// A part of the space that the package's classes cannot express.
    #[error("{place}: the `ofa` package has no way to write {what}")]
    NotExpressible {
        /// Where in the space.
        place: String,
        /// What stands there.
        what: String,
    },
    /// The file is of another class of network.
    #[error("a `{found}` where `{space}` has subnets of class `{expected}`")]
    Class {
        /// The space's name.
        space: String,
        /// The class in the file.
        found: &'static str,
        /// The class of the space's subnets.
        expected: &'static str,
    },
    /// A layer that no architecture of the space has there.
    #[error("`{place}`: {reason}")]
    NotInSpace {
        /// The key in the file.
        place: String,
        /// Why it is not in the space.
        reason: String,
    },
    /// A resolution that the space does not have, or another choice outside it.
    #[error(transparent)]
    Architecture(#[from] crate::space::ArchitectureError),
}

impl NetConfig {
    fn class(&self) -> &'static str {
        match self {
            Self::MobileNetV3 { .. } => "MobileNetV3",
            Self::ProxylessNas { .. } => "ProxylessNASNets",
            Self::ResNets { .. } => "ResNets",
        }
    }
}

/// The class of a supernet's subnets.
fn class_of(network: OfaNetwork) -> &'static str {
    match network {
        OfaNetwork::MobileNetV3 => "MobileNetV3",
        OfaNetwork::ProxylessNas => "ProxylessNASNets",
        OfaNetwork::ResNets => "ResNets",
    }
}

impl DesignSpace {
    /// The `net.config` of an architecture (which says nothing about the resolution).
    ///
    /// # Errors
    /// [`NetConfigError`] when the space's file has no `[ofa]` table, or has layers that the package's
    /// classes cannot express.
    pub fn to_net_config(&self, arch: &Architecture) -> Result<NetConfig, NetConfigError> {
        let layout = self.ofa.as_ref();
        let layout = layout.ok_or_else(|| NetConfigError::NoOfa(self.name.clone()))?;
        let bn = Some(BatchNorm::with_epsilon(self.batch_norm_epsilon));
        let writer = Writer { space: self, arch };
        match layout.network {
            OfaNetwork::MobileNetV3 => {
                let (first_conv, blocks, channels) = writer.mobile()?;
                let [
                    FixedLayer::Block { .. },
                    FixedLayer::Pool,
                    FixedLayer::Block { .. },
                    FixedLayer::Classifier,
                ] = self.head.as_slice()
                else {
                    return Err(not_expressible(
                        "head",
                        "other layers than convolution, pool, convolution, classifier",
                    ));
                };
                let final_expand_layer = fixed_conv(&self.head[0], channels, "head")?;
                let feature_mix_layer =
                    fixed_conv(&self.head[2], final_expand_layer.out_channels, "head")?;
                Ok(NetConfig::MobileNetV3 {
                    bn,
                    first_conv,
                    blocks,
                    classifier: LinearConfig::new(feature_mix_layer.out_channels, self.classes),
                    final_expand_layer,
                    feature_mix_layer,
                })
            }
            OfaNetwork::ProxylessNas => {
                let (first_conv, blocks, channels) = writer.mobile()?;
                let [
                    FixedLayer::Block { .. },
                    FixedLayer::Pool,
                    FixedLayer::Classifier,
                ] = self.head.as_slice()
                else {
                    return Err(not_expressible(
                        "head",
                        "other layers than convolution, pool, classifier",
                    ));
                };
                let feature_mix_layer = fixed_conv(&self.head[0], channels, "head")?;
                Ok(NetConfig::ProxylessNas {
                    bn,
                    first_conv,
                    blocks,
                    classifier: LinearConfig::new(feature_mix_layer.out_channels, self.classes),
                    feature_mix_layer,
                })
            }
            OfaNetwork::ResNets => {
                let (input_stem, blocks, channels) = writer.resnet()?;
                if self.head != [FixedLayer::Pool, FixedLayer::Classifier] {
                    return Err(not_expressible(
                        "head",
                        "other layers than pool, classifier",
                    ));
                }
                Ok(NetConfig::ResNets {
                    bn,
                    input_stem,
                    blocks,
                    classifier: LinearConfig::new(channels, self.classes),
                })
            }
        }
    }

    /// The architecture of a `net.config`, at `resolution`.
    ///
    /// # Errors
    /// [`NetConfigError`] when it is not a subnet of this space at this width.
    pub fn from_net_config(
        &self,
        config: &NetConfig,
        resolution: u32,
    ) -> Result<Architecture, NetConfigError> {
        let layout = self.ofa.as_ref();
        let layout = layout.ok_or_else(|| NetConfigError::NoOfa(self.name.clone()))?;
        if class_of(layout.network) != config.class() {
            return Err(NetConfigError::Class {
                space: self.name.clone(),
                found: config.class(),
                expected: class_of(layout.network),
            });
        }
        let choices = match config {
            NetConfig::MobileNetV3 { blocks, .. } | NetConfig::ProxylessNas { blocks, .. } => {
                let blocks: Vec<Seen> = blocks.iter().skip(1).map(Seen::of_mbconv).collect();
                Reader::new(self, 0, 1, &blocks).choices()?
            }
            NetConfig::ResNets {
                input_stem, blocks, ..
            } => {
                let mut choices = self.stem_of(input_stem)?;
                let blocks: Vec<Seen> = blocks.iter().map(Seen::of_bottleneck).collect();
                choices.extend(Reader::new(self, RESNET_STEM, 0, &blocks).choices()?);
                choices
            }
        };
        let arch = self.architecture(resolution, &choices)?;
        // What was not read above (stem, head, non-linearities) must be what the space has.
        same_parts(&self.to_net_config(&arch)?, config)?;
        Ok(arch)
    }

    /// The three units of ResNet's stem.
    fn stem_of(&self, layers: &[StemConfig]) -> Result<Vec<Choice>, NetConfigError> {
        let wrong = |reason: &str| NetConfigError::NotInSpace {
            place: "input_stem".into(),
            reason: reason.into(),
        };
        let (first, depth, last) = match layers {
            [StemConfig::Conv(first), StemConfig::Conv(last)] => (first, 0, last),
            [
                StemConfig::Conv(first),
                StemConfig::Residual(_),
                StemConfig::Conv(last),
            ] => (first, 1, last),
            _ => {
                return Err(wrong(
                    "needs a convolution, perhaps one with a shortcut, and a convolution",
                ));
            }
        };
        let width = |unit: usize, conv: &ConvConfig| {
            let mut widths = self.units[unit].widths().iter();
            let index = widths.position(|w| w.channels == conv.out_channels);
            index.and_then(|i| u8::try_from(i).ok()).ok_or_else(|| {
                wrong(&format!(
                    "{} channels are no width of unit {}",
                    conv.out_channels,
                    unit + 1
                ))
            })
        };
        self.check_depth(1, depth)?;
        let choice = |width, depth| Choice {
            width,
            blocks: vec![0; depth],
        };
        Ok(vec![
            choice(width(0, first)?, 1),
            choice(0, depth),
            choice(width(2, last)?, 1),
        ])
    }
}

/// Writes an architecture part by part.
struct Writer<'a> {
    space: &'a DesignSpace,
    arch: &'a Architecture,
}

/// First convolution, blocks, and the channels that come out.
type Mobile = (ConvConfig, Vec<Residual<MbConvConfig>>, u32);
/// Stem, blocks, and the channels that come out.
type ResNet = (Vec<StemConfig>, Vec<BottleneckConfig>, u32);

impl Writer<'_> {
    fn mobile(&self) -> Result<Mobile, NetConfigError> {
        let [
            first,
            FixedLayer::Block {
                block,
                stride,
                channels,
            },
        ] = self.space.stem.as_slice()
        else {
            return Err(not_expressible(
                "stem",
                "other layers than a convolution and a block",
            ));
        };
        let first_conv = fixed_conv(first, super::IMAGE_CHANNELS, "stem")?;
        let activation = block.activation().unwrap_or(Activation::Relu);
        let mut blocks = vec![mbconv(
            "stem",
            block,
            activation,
            [first_conv.out_channels, *channels, *stride],
        )?];
        let mut input = *channels;
        for (u, (unit, choice)) in self.space.units().iter().zip(self.arch.units()).enumerate() {
            check_plain(u, unit)?;
            let output = unit.channels(choice.width, input);
            for (layer, &id) in choice.blocks.iter().enumerate() {
                let placement = Placement { unit: u, layer };
                let stride = if layer == 0 { unit.stride() } else { 1 };
                let block = self.space.block(placement, id);
                let activation = block.activation().unwrap_or(unit.activation());
                let mut written = mbconv(
                    &placement.to_string(),
                    block,
                    activation,
                    [input, output, stride],
                )?;
                written.conv.use_se = block.squeeze_excite().or(unit.squeeze_excite()).is_some();
                blocks.push(written);
                input = output;
            }
        }
        Ok((first_conv, blocks, input))
    }

    fn resnet(&self) -> Result<ResNet, NetConfigError> {
        if !self.space.stem.is_empty() {
            return Err(not_expressible("stem", "layers before the first unit"));
        }
        let (mut stem, mut blocks, mut input) = (Vec::new(), Vec::new(), super::IMAGE_CHANNELS);
        for (u, (unit, choice)) in self.space.units().iter().zip(self.arch.units()).enumerate() {
            let output = unit.channels(choice.width, input);
            for (layer, &id) in choice.blocks.iter().enumerate() {
                let placement = Placement { unit: u, layer };
                let stride = if layer == 0 { unit.stride() } else { 1 };
                let block = self.space.block(placement, id);
                let activation = block.activation().unwrap_or(unit.activation());
                let channels = [input, output, stride];
                if u < RESNET_STEM {
                    let conv = conv(&placement.to_string(), block, activation, channels)?;
                    stem.push(if u == 1 {
                        StemConfig::Residual(Residual::new(conv, Some(IdentityConfig::new(output))))
                    } else {
                        StemConfig::Conv(conv)
                    });
                } else {
                    blocks.push(bottleneck(
                        &placement.to_string(),
                        block,
                        activation,
                        channels,
                    )?);
                }
                input = output;
            }
        }
        let pooled = [FixedLayer::MaxPool {
            kernel: 3,
            stride: 2,
        }];
        let before: Vec<&[FixedLayer]> = self
            .space
            .units()
            .iter()
            .map(|u| u.before.as_slice())
            .collect();
        let expected = before.iter().enumerate().all(|(u, layers)| {
            if u == RESNET_STEM {
                **layers == pooled
            } else {
                layers.is_empty()
            }
        });
        if !expected {
            return Err(not_expressible(
                "units",
                "layers before a unit, but for maxpool_k3_s2 behind the stem",
            ));
        }
        Ok((stem, blocks, input))
    }
}

fn not_expressible(place: &str, what: &str) -> NetConfigError {
    NetConfigError::NotExpressible {
        place: place.to_owned(),
        what: what.to_owned(),
    }
}

fn check_plain(index: usize, unit: &Unit) -> Result<(), NetConfigError> {
    if unit.before.is_empty() {
        return Ok(());
    }
    Err(not_expressible(
        &format!("unit {}", index + 1),
        "layers before the unit",
    ))
}

fn activation_name(place: &str, activation: Activation) -> Result<String, NetConfigError> {
    let name = match activation {
        Activation::Relu => "relu",
        Activation::Relu6 => "relu6",
        Activation::Hswish => "h_swish",
        other => return Err(not_expressible(place, other.name())),
    };
    Ok(name.to_owned())
}

fn fixed_conv(layer: &FixedLayer, input: u32, place: &str) -> Result<ConvConfig, NetConfigError> {
    let FixedLayer::Block {
        block,
        stride,
        channels,
    } = layer
    else {
        return Err(not_expressible(place, "other layers than convolutions"));
    };
    let activation = block.activation().unwrap_or(Activation::Relu);
    conv(place, block, activation, [input, *channels, *stride])
}

/// `channels`: input, output, stride.
fn conv(
    place: &str,
    block: &Block,
    activation: Activation,
    channels: [u32; 3],
) -> Result<ConvConfig, NetConfigError> {
    if *block.kind() != BlockKind::Conv {
        return Err(not_expressible(place, &block.to_string()));
    }
    let kernel = block.kernel().unwrap_or(1);
    let activation = activation_name(place, activation)?;
    Ok(ConvConfig::new(
        kernel,
        channels,
        !block.has(Flag::NoBatchNorm),
        activation,
    ))
}

fn mbconv(
    place: &str,
    block: &Block,
    activation: Activation,
    [input, output, stride]: [u32; 3],
) -> Result<Residual<MbConvConfig>, NetConfigError> {
    let (Some(kernel), Some(expansion)) = (block.kernel(), block.expansion()) else {
        return Err(not_expressible(place, &block.to_string()));
    };
    let inverted = matches!(block.kind(), BlockKind::MbConv | BlockKind::MbConv3);
    if !inverted {
        return Err(not_expressible(place, &block.to_string()));
    }
    let activation = activation_name(place, activation)?;
    let config = MbConvConfig::new(kernel, expansion, [input, output, stride], activation);
    let skips = stride == 1 && input == output && !block.has(Flag::NoSkip);
    let shortcut = skips.then(|| IdentityConfig::new(output));
    Ok(Residual::new(config, shortcut))
}

fn bottleneck(
    place: &str,
    block: &Block,
    activation: Activation,
    channels: [u32; 3],
) -> Result<BottleneckConfig, NetConfigError> {
    let (BlockKind::Bottleneck, Some(kernel), Some(expansion)) =
        (block.kind(), block.kernel(), block.expansion())
    else {
        return Err(not_expressible(place, &block.to_string()));
    };
    let shortcut = if block.has(Flag::AverageDown) {
        "avgpool_conv"
    } else {
        "conv"
    };
    let activation = activation_name(place, activation)?;
    Ok(BottleneckConfig::new(
        kernel, expansion, channels, activation, shortcut,
    ))
}

/// What a block of a file says that an architecture chooses.
#[derive(Clone, Copy, Debug)]
struct Seen {
    kernel: u32,
    expansion: f64,
    channels: u32,
    stride: u32,
}

impl Seen {
    fn of_mbconv(block: &Residual<MbConvConfig>) -> Self {
        let conv = &block.conv;
        Self {
            kernel: conv.kernel_size,
            expansion: conv.expand_ratio,
            channels: conv.out_channels,
            stride: conv.stride,
        }
    }

    fn of_bottleneck(block: &BottleneckConfig) -> Self {
        Self {
            kernel: block.kernel_size,
            expansion: block.expand_ratio,
            channels: block.out_channels,
            stride: block.stride,
        }
    }
}

/// Deals a file's blocks out to the units of a space.
struct Reader<'a> {
    space: &'a DesignSpace,
    first_unit: usize,
    /// Index in the file of the first of the blocks.
    first_block: usize,
    blocks: &'a [Seen],
    /// By unit and position: already known to lead nowhere.
    dead: std::collections::HashSet<(usize, usize)>,
    /// The furthest block that fitted nowhere, and why.
    furthest: (usize, String),
}

impl<'a> Reader<'a> {
    fn new(
        space: &'a DesignSpace,
        first_unit: usize,
        first_block: usize,
        blocks: &'a [Seen],
    ) -> Self {
        Self {
            space,
            first_unit,
            first_block,
            blocks,
            dead: std::collections::HashSet::new(),
            furthest: (0, "there are no blocks".into()),
        }
    }

    fn choices(mut self) -> Result<Vec<Choice>, NetConfigError> {
        match self.deal(self.first_unit, 0) {
            Some(mut choices) => {
                choices.reverse();
                Ok(choices)
            }
            None => Err(NetConfigError::NotInSpace {
                place: format!("blocks[{}]", self.first_block + self.furthest.0),
                reason: self.furthest.1,
            }),
        }
    }

    /// The choices of `unit` and those behind it, last unit first, when the blocks from `at` on are theirs.
    fn deal(&mut self, unit: usize, at: usize) -> Option<Vec<Choice>> {
        if unit == self.space.units().len() {
            if at == self.blocks.len() {
                return Some(Vec::new());
            }
            self.failed(at, "the space has no layer for it: an earlier unit ended too soon, or there are too many".into());
            return None;
        }
        if self.dead.contains(&(unit, at)) {
            return None;
        }
        let spec = &self.space.units()[unit];
        for (width, channels) in spec.widths().iter().map(|w| w.channels).enumerate() {
            let longest = self.run(unit, at, channels);
            for depth in spec.depths().rev().filter(|d| *d <= longest.len()) {
                if let Some(mut rest) = self.deal(unit + 1, at + depth) {
                    let width = u8::try_from(width).unwrap_or(u8::MAX);
                    let blocks = longest[..depth].to_vec();
                    rest.push(Choice { width, blocks });
                    return Some(rest);
                }
            }
        }
        self.dead.insert((unit, at));
        None
    }

    /// The blocks from `at` on that can stand in `unit`, as far as they reach.
    fn run(&mut self, unit: usize, at: usize, channels: u32) -> Vec<u8> {
        let spec = &self.space.units()[unit];
        let mut ids = Vec::new();
        for layer in 0..spec.max_depth() {
            let index = at + layer;
            let Some(seen) = self.blocks.get(index) else {
                self.failed(
                    index,
                    format!(
                        "unit {} needs at least {} layers",
                        unit + 1,
                        spec.min_depth()
                    ),
                );
                break;
            };
            let stride = if layer == 0 { spec.stride() } else { 1 };
            let placement = Placement { unit, layer };
            let fits = |b: &Block| {
                b.kernel() == Some(seen.kernel)
                    && b.expansion().is_some_and(|e| e.value() == seen.expansion)
            };
            let shape_fits = seen.channels == channels && seen.stride == stride;
            let position = self.space.blocks(placement).iter().position(fits);
            match position
                .and_then(|id| u8::try_from(id).ok())
                .filter(|_| shape_fits)
            {
                Some(id) => ids.push(id),
                None => {
                    self.failed(index, format!(
                        "expansion {}, kernel {}, stride {} and {} channels are not those of {placement}",
                        seen.expansion, seen.kernel, seen.stride, seen.channels
                    ));
                    break;
                }
            }
        }
        ids
    }

    fn failed(&mut self, at: usize, reason: String) {
        if at >= self.furthest.0 {
            self.furthest = (at, reason);
        }
    }
}

/// Compares a file with what the space writes for the architecture that was read from it.
fn same_parts(ours: &NetConfig, theirs: &NetConfig) -> Result<(), NetConfigError> {
    let check = |place: &str, same: bool| {
        if same {
            return Ok(());
        }
        Err(NetConfigError::NotInSpace {
            place: place.to_owned(),
            reason:
                "is not what the space has there (another width, or another number of classes?)"
                    .into(),
        })
    };
    match (ours, theirs) {
        (
            NetConfig::MobileNetV3 {
                first_conv: a,
                blocks: b,
                final_expand_layer: c,
                feature_mix_layer: d,
                classifier: e,
                ..
            },
            NetConfig::MobileNetV3 {
                first_conv,
                blocks,
                final_expand_layer,
                feature_mix_layer,
                classifier,
                ..
            },
        ) => {
            check("first_conv", a.same(first_conv))?;
            check_blocks(b, blocks)?;
            check("final_expand_layer", c.same(final_expand_layer))?;
            check("feature_mix_layer", d.same(feature_mix_layer))?;
            check("classifier", e.same(classifier))
        }
        (
            NetConfig::ProxylessNas {
                first_conv: a,
                blocks: b,
                feature_mix_layer: c,
                classifier: d,
                ..
            },
            NetConfig::ProxylessNas {
                first_conv,
                blocks,
                feature_mix_layer,
                classifier,
                ..
            },
        ) => {
            check("first_conv", a.same(first_conv))?;
            check_blocks(b, blocks)?;
            check("feature_mix_layer", c.same(feature_mix_layer))?;
            check("classifier", d.same(classifier))
        }
        (
            NetConfig::ResNets {
                input_stem: a,
                blocks: b,
                classifier: c,
                ..
            },
            NetConfig::ResNets {
                input_stem,
                blocks,
                classifier,
                ..
            },
        ) => {
            let stems = a.iter().zip(input_stem).all(|(a, b)| match (a, b) {
                (StemConfig::Conv(a), StemConfig::Conv(b)) => a.same(b),
                (StemConfig::Residual(a), StemConfig::Residual(b)) => {
                    a.conv.same(&b.conv) && b.shortcut.is_some()
                }
                _ => false,
            });
            check("input_stem", stems)?;
            for (i, (a, b)) in b.iter().zip(blocks).enumerate() {
                check(&format!("blocks[{i}]"), a.same(b))?;
            }
            check("classifier", c.same(classifier))
        }
        _ => check("name", false),
    }
}

fn check_blocks(
    ours: &[Residual<MbConvConfig>],
    theirs: &[Residual<MbConvConfig>],
) -> Result<(), NetConfigError> {
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        if !a.conv.same(&b.conv) || a.shortcut.is_some() != b.shortcut.is_some() {
            return Err(NetConfigError::NotInSpace {
                place: format!("blocks[{i}]"),
                reason: "is not what the space has there (channels, non-linearity, squeeze-and-excitation or shortcut differ)".into(),
            });
        }
    }
    Ok(())
}
