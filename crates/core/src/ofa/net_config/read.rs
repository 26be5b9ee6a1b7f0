//! From a `net.config` to the architecture.

use super::{NetConfig, NetConfigError, StemConfig, class_of};
use crate::ofa::RESNET_STEM;
use crate::ofa::layers::{BottleneckConfig, ConvConfig, MbConvConfig, Residual};
use crate::space::{Architecture, Block, Choice, DesignSpace, Placement};

impl DesignSpace {
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
                let blocks = blocks.iter().enumerate().skip(1);
                let blocks: Vec<Seen> = blocks.filter_map(Seen::of_mbconv).collect();
                Reader::new(self, 0, &blocks).choices()?
            }
            NetConfig::ResNets {
                input_stem, blocks, ..
            } => {
                let mut choices = self.stem_of(input_stem)?;
                let blocks = blocks.iter().enumerate();
                let blocks: Vec<Seen> = blocks.map(Seen::of_bottleneck).collect();
                choices.extend(Reader::new(self, RESNET_STEM, &blocks).choices()?);
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
        let layers: Vec<&StemConfig> = layers.iter().filter(|layer| layer.is_there()).collect();
        let (first, depth, last) = match layers.as_slice() {
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

/// What a block of a file says that an architecture chooses.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Its index in the file.
    index: usize,
    kernel: u32,
    expansion: f64,
    channels: u32,
    stride: u32,
}

impl Seen {
    /// `None` for a layer that is not there.
    fn of_mbconv((index, block): (usize, &Residual<MbConvConfig>)) -> Option<Self> {
        let conv = block.conv.as_ref()?;
        Some(Self {
            index,
            kernel: conv.kernel_size,
            expansion: conv.expand_ratio,
            channels: conv.out_channels,
            stride: conv.stride,
        })
    }

    fn of_bottleneck((index, block): (usize, &BottleneckConfig)) -> Self {
        Self {
            index,
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
    blocks: &'a [Seen],
    /// By unit and position: already known to lead nowhere.
    dead: std::collections::HashSet<(usize, usize)>,
    /// The furthest block that fitted nowhere, and why.
    furthest: (usize, String),
}

impl<'a> Reader<'a> {
    fn new(space: &'a DesignSpace, first_unit: usize, blocks: &'a [Seen]) -> Self {
        Self {
            space,
            first_unit,
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
                place: match self.blocks.get(self.furthest.0) {
                    Some(seen) => format!("blocks[{}]", seen.index),
                    None => "blocks, behind the last".into(),
                },
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
            self.failed(
                at,
                "the space has no layer for it: an earlier unit ended too soon, or there are too \
                many"
                    .into(),
            );
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
            let there = input_stem.iter().filter(|layer| layer.is_there());
            let stems = a.iter().zip(there).all(|(a, b)| match (a, b) {
                (StemConfig::Conv(a), StemConfig::Conv(b)) => a.same(b),
                (StemConfig::Residual(a), StemConfig::Residual(b)) => same_residual(a, b),
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
    let fixed = |i: &usize| *i == 0;
    let there = theirs.iter().enumerate();
    let there = there.filter(|(i, block)| fixed(i) || block.conv.is_some());
    for (a, (i, b)) in ours.iter().zip(there) {
        let same = match (&a.conv, &b.conv) {
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        };
        if !same || a.shortcut.is_some() != b.shortcut.is_some() {
            return Err(NetConfigError::NotInSpace {
                place: format!("blocks[{i}]"),
                reason: "is not what the space has there (channels, non-linearity, squeeze-and-excitation or shortcut \
                    differ)".into(),
            });
        }
    }
    Ok(())
}

fn same_residual(ours: &Residual<ConvConfig>, theirs: &Residual<ConvConfig>) -> bool {
    match (&ours.conv, &theirs.conv) {
        (Some(a), Some(b)) => a.same(b) && theirs.shortcut.is_some(),
        _ => false,
    }
}

impl StemConfig {
    /// Whether the package computes anything there.
    fn is_there(&self) -> bool {
        match self {
            Self::Conv(_) => true,
            Self::Residual(residual) => residual.conv.is_some(),
        }
    }
}
