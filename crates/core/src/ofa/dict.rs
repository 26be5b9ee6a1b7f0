//! The architecture dictionaries of the `ofa` package: `{"ks": [20], "e": [20], "d": [5], "r": [224]}` of the
//! MobileNets and `{"d": [5], "e": [18], "w": [6], "r": [224]}` of ResNet.

use serde::{Deserialize, Deserializer, Serialize};

use super::{OfaLayout, OfaNetwork, RESNET_STEM};
use crate::space::{
    Architecture, ArchitectureError, Block, Choice, DesignSpace, Placement, Ratio, Unit,
};

/// An architecture as `set_active_subnet` and the accuracy predictors of `ofa` take it.
///
/// `ks` and `e` have one entry for *every* layer of the supernet, unit by unit; entries of
/// inactive layers carry no meaning and are ignored when read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfaDict {
    /// Kernel size of every layer (not for ResNet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ks: Option<Vec<u32>>,
    /// Expansion of every layer.
    pub e: Vec<Ratio>,
    /// Depth of every unit. For ResNet: first the stem's optional layer (0, or `extra-depth` where it is there),
    /// then how much deeper than its base every stage is.
    pub d: Vec<usize>,
    /// Width of every unit of ResNet (both convolutions of the stem, then the stages), counted through the
    /// supernet's width multipliers from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<Vec<usize>>,
    /// The resolution, as a list of one; a bare number is read too, and so is the key `image_size`.
    #[serde(deserialize_with = "one_or_list", alias = "image_size")]
    pub r: Vec<u32>,
}

fn one_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a resolution, or a list of one")]
    enum OneOrList {
        One(u32),
        List(Vec<u32>),
    }
    Ok(match OneOrList::deserialize(deserializer)? {
        OneOrList::One(r) => vec![r],
        OneOrList::List(list) => list,
    })
}

impl DesignSpace {
    /// The dictionary of an architecture. Inactive layers get their first candidate block.
    ///
    /// # Errors
    /// [`ArchitectureError::NoOfa`] when the space's file has no `[ofa]` table.
    pub fn to_ofa(&self, arch: &Architecture) -> Result<OfaDict, ArchitectureError> {
        let layout = self.layout()?;
        let stem = layout.stem_units();
        let mut blocks: Vec<&Block> = Vec::new();
        for (u, (unit, &layers)) in self.units[stem..].iter().zip(&layout.layers).enumerate() {
            for layer in 0..layers {
                // The supernet may be deeper than this part of it.
                let layer = layer.min(unit.max_depth() - 1);
                let placement = Placement {
                    unit: stem + u,
                    layer,
                };
                blocks.push(self.block(placement, arch.block_at(placement).unwrap_or(0)));
            }
        }
        let mobile = layout.network != OfaNetwork::ResNets;
        let depths = (stem..self.units.len()).zip(&layout.layers);
        let depths = depths.map(|(unit, layers)| arch.depth(unit) - layout.base_depth(*layers));
        let optional = (!mobile).then(|| arch.depth(1) * layout.extra_depth);
        Ok(OfaDict {
            ks: mobile.then(|| blocks.iter().filter_map(|b| b.kernel()).collect()),
            e: blocks.iter().filter_map(|b| b.expansion()).collect(),
            d: optional.into_iter().chain(depths).collect(),
            w: (!mobile).then(|| self.width_indices(layout, arch)),
            r: vec![arch.resolution()],
        })
    }

    /// The architecture of a dictionary.
    ///
    /// # Errors
    /// [`ArchitectureError`] when a list is missing or has the wrong length, a choice is not in the space, or
    /// the space's file has no `[ofa]` table.
    pub fn from_ofa(&self, dict: &OfaDict) -> Result<Architecture, ArchitectureError> {
        let layout = self.layout()?;
        let resnet = layout.network == OfaNetwork::ResNets;
        let layers: usize = layout.layers.iter().sum();
        let stages = layout.layers.len();
        self.check_list(
            "ks",
            dict.ks.as_ref().map(Vec::len),
            (!resnet).then_some(layers),
        )?;
        self.check_list("e", Some(dict.e.len()), Some(layers))?;
        self.check_list("d", Some(dict.d.len()), Some(stages + usize::from(resnet)))?;
        self.check_list(
            "w",
            dict.w.as_ref().map(Vec::len),
            resnet.then_some(stages + 2),
        )?;
        self.check_list("r", Some(dict.r.len()), Some(1))?;
        let mut choices = Vec::with_capacity(self.units.len());
        if resnet {
            choices.extend(self.stem_choices(layout, dict)?);
        }
        let (stem, mut start) = (choices.len(), 0);
        for (stage, &layers) in layout.layers.iter().enumerate() {
            let unit = stem + stage;
            let depth = dict.d[stage + usize::from(resnet)];
            // Beyond the last layer the package takes the deepest: its sampler writes such depths.
            let depth = depth.saturating_add(layout.base_depth(layers)).min(layers);
            self.check_depth(unit, depth)?;
            let blocks = (0..depth)
                .map(|layer| {
                    let (e, k) = (
                        dict.e[start + layer],
                        dict.ks.as_ref().map(|ks| ks[start + layer]),
                    );
                    let fits =
                        |b: &Block| b.expansion() == Some(e) && (k.is_none() || b.kernel() == k);
                    let name = || {
                        format!("expansion {e}")
                            + &k.map_or(String::new(), |k| format!(", kernel {k}"))
                    };
                    self.find_block(Placement { unit, layer }, fits, name)
                })
                .collect::<Result<_, _>>()?;
            let width = match &dict.w {
                Some(w) => self.width_choice(layout, unit, w[stage + 2])?,
                None => 0,
            };
            choices.push(Choice { width, blocks });
            start += layers;
        }
        self.architecture(dict.r[0], &choices)
    }

    fn layout(&self) -> Result<&OfaLayout, ArchitectureError> {
        self.ofa.as_ref().ok_or_else(|| ArchitectureError::NoOfa {
            space: self.name.clone(),
        })
    }

    fn check_list(
        &self,
        field: &'static str,
        found: Option<usize>,
        expected: Option<usize>,
    ) -> Result<(), ArchitectureError> {
        match (found, expected) {
            (Some(found), Some(expected)) if found != expected => Err(ArchitectureError::Length {
                field,
                found,
                expected,
                space: self.name.clone(),
            }),
            (None, Some(expected)) => Err(ArchitectureError::Field {
                field,
                reason: format!("is missing; `{}` needs its {expected} entries", self.name),
            }),
            (Some(_), None) => Err(ArchitectureError::Field {
                field,
                reason: format!("means nothing to `{}`", self.name),
            }),
            _ => Ok(()),
        }
    }

    /// The three units of ResNet's stem.
    fn stem_choices(
        &self,
        layout: &OfaLayout,
        dict: &OfaDict,
    ) -> Result<[Choice; RESNET_STEM], ArchitectureError> {
        let width = |unit, index| {
            let w = dict.w.as_ref().map_or(0, |w| w[index]);
            self.width_choice(layout, unit, w)
        };
        // The package leaves the layer out unless the entry is the largest extra depth.
        let depth = usize::from(dict.d[0] == layout.extra_depth);
        self.check_depth(1, depth)?;
        let choice = |width, depth| Choice {
            width,
            blocks: vec![0; depth],
        };
        Ok([
            choice(width(0, 0)?, 1),
            choice(0, depth),
            choice(width(2, 1)?, 1),
        ])
    }

    /// The width of `unit` that entry `index` of the supernet's multipliers gives. Multipliers that give the same
    /// channels are one width.
    fn width_choice(
        &self,
        layout: &OfaLayout,
        unit: usize,
        index: usize,
    ) -> Result<u8, ArchitectureError> {
        let wrong = || self.not_a_width(unit, format!("width {index}"));
        let multiplier = *layout.widths.get(index).ok_or_else(wrong)?;
        let found = self.units[unit].width_of_multiplier(multiplier);
        found.and_then(|i| u8::try_from(i).ok()).ok_or_else(wrong)
    }

    /// For every unit with a width: its index among the supernet's multipliers.
    fn width_indices(&self, layout: &OfaLayout, arch: &Architecture) -> Vec<usize> {
        let chosen = |(unit, choice): (&Unit, crate::space::UnitChoice<'_>)| {
            let width = unit.widths().get(usize::from(choice.width))?;
            #[allow(clippy::float_cmp)] // both are decimals from one file
            layout.widths.iter().position(|w| *w == width.multiplier)
        };
        self.units
            .iter()
            .zip(arch.units())
            .filter_map(chosen)
            .collect()
    }
}

impl OfaLayout {
    /// Depth of a stage to which its entry of `d` is added.
    fn base_depth(&self, layers: usize) -> usize {
        match self.network {
            OfaNetwork::MobileNetV3 | OfaNetwork::ProxylessNas => 0,
            OfaNetwork::ResNets => layers - self.extra_depth,
        }
    }
}
