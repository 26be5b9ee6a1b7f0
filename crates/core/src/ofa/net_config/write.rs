//! From an architecture to its `net.config`.

use super::{NetConfig, NetConfigError, StemConfig};
use crate::ofa::layers::{
    BatchNorm, BottleneckConfig, ConvConfig, IdentityConfig, LinearConfig, MbConvConfig, Residual,
};
use crate::ofa::{IMAGE_CHANNELS, OfaNetwork, RESNET_STEM};
use crate::space::{
    Activation, Architecture, Block, BlockKind, DesignSpace, FixedLayer, Flag, Placement, Unit,
};

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
                channels: Some(channels),
            },
        ] = self.space.stem.as_slice()
        else {
            return Err(not_expressible(
                "stem",
                "other layers than a convolution and a block",
            ));
        };
        let first_conv = fixed_conv(first, IMAGE_CHANNELS, "stem")?;
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
                let squeezed = block.squeeze_excite().or(unit.squeeze_excite()).is_some();
                if let Some(conv) = &mut written.conv {
                    conv.use_se = squeezed;
                }
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
        let (mut stem, mut blocks, mut input) = (Vec::new(), Vec::new(), IMAGE_CHANNELS);
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

/// The package pads by half the kernel, which must be odd.
fn check_kernel(place: &str, block: &Block) -> Result<(), NetConfigError> {
    match block.kernel() {
        Some(kernel) if kernel % 2 == 0 => Err(not_expressible(place, &block.to_string())),
        _ => Ok(()),
    }
}

fn fixed_conv(layer: &FixedLayer, input: u32, place: &str) -> Result<ConvConfig, NetConfigError> {
    let FixedLayer::Block {
        block,
        stride,
        channels: Some(channels),
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
    check_kernel(place, block)?;
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
    check_kernel(place, block)?;
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
    check_kernel(place, block)?;
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
