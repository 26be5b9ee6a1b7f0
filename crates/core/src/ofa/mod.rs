//! The formats of the `ofa` package (Cai et al., "Once-for-All", ICLR 2020), read and written: the
//! architecture dictionaries that its supernets and predictors take, the `net.config` files
//! of its subnets, and the checkpoints that subnets are sliced from.
//!
//! A space says in its file which supernet it is a part of ([`OfaLayout`]); nothing else ties a space to the
//! package.

mod dict;
mod layers;
mod net_config;
mod supernet;

pub use dict::OfaDict;
pub use layers::{
    BatchNorm, BottleneckConfig, Channels, ConvConfig, IdentityConfig, LinearConfig, MbConvConfig,
    Residual,
};
pub use net_config::{NetConfig, NetConfigError, NetConfigFile, StemConfig};
pub use supernet::{SliceError, Supernet};

use serde::{Deserialize, Serialize};

use crate::space::{Ratio, Unit};

/// A supernet class of the `ofa` package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfaNetwork {
    /// `OFAMobileNetV3`.
    #[serde(rename = "OFAMobileNetV3")]
    MobileNetV3,
    /// `OFAProxylessNASNets`.
    #[serde(rename = "OFAProxylessNASNets")]
    ProxylessNas,
    /// `OFAResNets`: its first three units are the stem (convolution, optional residual convolution,
    /// convolution).
    #[serde(rename = "OFAResNets")]
    ResNets,
}

/// Channels of the input image.
const IMAGE_CHANNELS: u32 = 3;
/// Units of the stem of [`OfaNetwork::ResNets`].
pub(crate) const RESNET_STEM: usize = 3;

/// Which supernet of the `ofa` package a space is a part of: the `[ofa]` table of its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OfaLayout {
    /// The supernet's class.
    pub network: OfaNetwork,
    /// Layers of every unit of the supernet (for ResNets of every stage, without the stem).
    pub layers: Vec<usize>,
    /// `width_mult_list` of ResNets, ascending: what `w` of a dictionary counts through.
    #[serde(default)]
    pub widths: Vec<f64>,
    /// `max(depth_list)` of ResNets: how much deeper than its base a stage can be.
    #[serde(default)]
    pub extra_depth: usize,
}

impl OfaLayout {
    /// Checks that the units fit into the supernet.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn check(&self, units: &[Unit]) -> Result<(), String> {
        let stem = self.stem_units();
        if units.len() != stem + self.layers.len() {
            let (found, needed) = (self.layers.len(), units.len().saturating_sub(stem));
            return Err(format!(
                "field `layers`: {found} numbers where the space has {needed} units behind the stem"
            ));
        }
        for (i, (unit, &layers)) in units[stem..].iter().zip(&self.layers).enumerate() {
            if unit.max_depth() > layers || layers > 64 {
                let unit = stem + i + 1;
                return Err(format!(
                    "field `layers`: unit {unit} can be deeper than the supernet's {layers} layers"
                ));
            }
        }
        match self.network {
            OfaNetwork::MobileNetV3 | OfaNetwork::ProxylessNas => self.check_mobile(units),
            OfaNetwork::ResNets => self.check_resnet(units),
        }
    }

    fn check_mobile(&self, units: &[Unit]) -> Result<(), String> {
        if !self.widths.is_empty() || self.extra_depth > 0 {
            return Err("fields `widths` and `extra-depth` are for OFAResNets".into());
        }
        if units.iter().any(|unit| unit.widths().len() != 1) {
            return Err("the units of this supernet have one width each".into());
        }
        let whole = |block: &crate::space::Block| {
            block.kernel().is_some() && block.expansion().is_some_and(Ratio::is_whole)
        };
        check_blocks(units, whole, "a kernel and a whole expansion")
    }

    fn check_resnet(&self, units: &[Unit]) -> Result<(), String> {
        if self.widths.is_empty() || self.widths.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("field `widths`: OFAResNets needs its width_mult_list, ascending".into());
        }
        if let Some(layers) = self.layers.iter().find(|l| **l <= self.extra_depth) {
            return Err(format!(
                "field `extra-depth`: {} is not below the {layers} layers of a stage",
                self.extra_depth
            ));
        }
        let [first, optional, last, stages @ ..] = units else {
            return Err("OFAResNets has three units of stem".into());
        };
        let plain = |unit: &Unit| unit.depths() == (1..=1);
        if !plain(first)
            || !plain(last)
            || optional.max_depth() != 1
            || !optional.widths().is_empty()
        {
            return Err("the stem of OFAResNets is a layer, a layer that may be left out and keeps the shape, and a \
                layer".into());
        }
        let widths = [first, last]
            .into_iter()
            .chain(stages)
            .flat_map(Unit::widths);
        for width in widths {
            if !self.widths.contains(&width.multiplier) {
                return Err(format!(
                    "field `widths`: lacks {}, which a unit has",
                    width.multiplier
                ));
            }
        }
        check_blocks(stages, |block| block.expansion().is_some(), "an expansion")
    }

    /// Units before those that `layers` counts.
    pub(crate) fn stem_units(&self) -> usize {
        match self.network {
            OfaNetwork::MobileNetV3 | OfaNetwork::ProxylessNas => 0,
            OfaNetwork::ResNets => RESNET_STEM,
        }
    }
}

fn check_blocks(
    units: &[Unit],
    fits: impl Fn(&crate::space::Block) -> bool,
    needs: &str,
) -> Result<(), String> {
    let mut blocks = units
        .iter()
        .flat_map(|unit| (0..unit.max_depth()).flat_map(|layer| unit.blocks(layer)));
    match blocks.find(|block| !fits(block)) {
        Some(block) => Err(format!(
            "the blocks of this supernet have {needs}, unlike {block}"
        )),
        None => Ok(()),
    }
}
