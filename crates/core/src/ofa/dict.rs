//! The architecture dictionaries of the `ofa` package: `{"ks": [20], "e": [20], "d": [5], "r": [224]}` of the
//! MobileNets and `{"d": [5], "e": [18], "w": [6], "r": [224]}` of ResNet.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{OfaLayout, OfaNetwork, RESNET_STEM};
use crate::space::{
    Architecture, ArchitectureError, Block, BlockId, Choice, DesignSpace, Placement, Ratio, Unit,
};

/// An architecture as `set_active_subnet` and the accuracy predictors of `ofa` take it, and as it is written here. What
/// others write is read more freely: [`DesignSpace::read_dictionary`].
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
    /// The resolution, as a list of one.
    pub r: Vec<u32>,
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
    /// As [`Self::read_dictionary`].
    pub fn from_ofa(&self, dict: &OfaDict) -> Result<Architecture, ArchitectureError> {
        match serde_json::to_value(dict) {
            Ok(Value::Object(dict)) => self.read_dictionary(&dict, None),
            // Numbers and lists of them are always JSON.
            _ => self.read_dictionary(&Map::new(), None),
        }
    }

    /// The architecture of a dictionary as the package and those who use it write them: entries of inactive layers
    /// may be anything, one value may stand for a whole list, the resolution is `r` or `image_size` (a number, or a
    /// list of one), and keys that choose nothing here (such as `wid`, when it is null) are left alone. `resolution`
    /// is that of dictionaries that do not say theirs; one that is said must agree with it.
    ///
    /// # Errors
    /// [`ArchitectureError`] when a list is missing or has the wrong length, an entry of an active layer is not in the
    /// space, or the space's file has no `[ofa]` table.
    pub fn read_dictionary(
        &self,
        dict: &Map<String, Value>,
        resolution: Option<u32>,
    ) -> Result<Architecture, ArchitectureError> {
        let layout = self.layout()?;
        let resnet = layout.network == OfaNetwork::ResNets;
        let layers: usize = layout.layers.iter().sum();
        let lists = Lists { space: self, dict };
        let e = lists.of("e", layers)?;
        let ks = if resnet {
            lists.choose_nothing("ks", &[3.0])?;
            None
        } else {
            Some(lists.of("ks", layers)?)
        };
        let d = lists.of("d", layout.layers.len() + usize::from(resnet))?;
        let w = if resnet {
            Some(lists.of("w", layout.layers.len() + 2)?)
        } else {
            lists.choose_nothing("w", &[])?;
            None
        };
        lists.choose_nothing("wid", &[])?;
        let resolution = self.given_resolution(lists.resolution()?, resolution)?;
        let mut choices = Vec::with_capacity(self.units.len());
        if let Some(w) = &w {
            choices.extend(self.stem_choices(layout, &d, w)?);
        }
        let (stem, mut start) = (choices.len(), 0);
        for (stage, &layers) in layout.layers.iter().enumerate() {
            let unit = stem + stage;
            let extra = d.whole(stage + usize::from(resnet), "depth")?;
            // Beyond the last layer the package takes the deepest: its sampler writes such depths.
            let depth = extra.saturating_add(layout.base_depth(layers)).min(layers);
            self.check_depth(unit, depth)?;
            let block = |layer| {
                let placement = Placement { unit, layer };
                self.chosen_block(placement, start + layer, &e, ks.as_ref())
            };
            let blocks = (0..depth).map(block).collect::<Result<_, _>>()?;
            let width = match &w {
                Some(w) => self.width_choice(layout, unit, w.whole(stage + 2, "width")?)?,
                None => 0,
            };
            choices.push(Choice { width, blocks });
            start += layers;
        }
        self.architecture(resolution, &choices)
    }

    /// The block of an active layer, by entry `index` of the lists.
    fn chosen_block(
        &self,
        placement: Placement,
        index: usize,
        e: &List<'_>,
        ks: Option<&List<'_>>,
    ) -> Result<BlockId, ArchitectureError> {
        let same =
            |entry: &Value, number: Option<f64>| number.is_some() && entry.as_f64() == number;
        let fits = |block: &Block| {
            same(e.entry(index), block.expansion().map(Ratio::value))
                && ks.is_none_or(|ks| same(ks.entry(index), block.kernel().map(f64::from)))
        };
        let name = || {
            let kernel = |ks: &List<'_>| format!(", kernel {} (`ks[{index}]`)", ks.entry(index));
            format!("expansion {} (`e[{index}]`)", e.entry(index))
                + &ks.map_or(String::new(), kernel)
        };
        self.find_block(placement, fits, name)
    }

    /// The resolution of something that says `said`, where `given` is that of what says none.
    pub(crate) fn given_resolution(
        &self,
        said: Option<u32>,
        given: Option<u32>,
    ) -> Result<u32, ArchitectureError> {
        let found = said.or(given).ok_or(ArchitectureError::NoResolution)?;
        self.check_given(found, given)?;
        Ok(found)
    }

    /// Checks that a resolution is the one that was given, where one was.
    pub(crate) fn check_given(
        &self,
        found: u32,
        given: Option<u32>,
    ) -> Result<(), ArchitectureError> {
        match given {
            Some(given) if given != found => {
                Err(ArchitectureError::OtherResolution { found, given })
            }
            _ => Ok(()),
        }
    }

    fn layout(&self) -> Result<&OfaLayout, ArchitectureError> {
        self.ofa.as_ref().ok_or_else(|| ArchitectureError::NoOfa {
            space: self.name.clone(),
        })
    }

    /// The three units of ResNet's stem.
    fn stem_choices(
        &self,
        layout: &OfaLayout,
        d: &List<'_>,
        w: &List<'_>,
    ) -> Result<[Choice; RESNET_STEM], ArchitectureError> {
        let width = |unit, index| self.width_choice(layout, unit, w.whole(index, "width")?);
        // The package leaves the layer out unless the entry is the largest extra depth.
        let depth = usize::from(d.whole(0, "depth")? == layout.extra_depth);
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

/// A dictionary that is read for a space.
struct Lists<'a> {
    space: &'a DesignSpace,
    dict: &'a Map<String, Value>,
}

/// One of its lists.
struct List<'a> {
    field: &'static str,
    entries: &'a [Value],
}

impl<'a> Lists<'a> {
    /// The list of a field, one entry for each of `expected`; a value that is no list stands for all of them.
    fn of(&self, field: &'static str, expected: usize) -> Result<List<'a>, ArchitectureError> {
        let wrong = |reason| Err(ArchitectureError::Field { field, reason });
        let space = &self.space.name;
        match self.dict.get(field) {
            None | Some(Value::Null) => wrong(format!(
                "is missing; `{space}` needs its {expected} entries"
            )),
            Some(Value::Array(entries)) if entries.len() == expected => Ok(List { field, entries }),
            Some(Value::Array(entries)) => Err(ArchitectureError::Length {
                field,
                found: entries.len(),
                expected,
                space: space.clone(),
            }),
            Some(one @ Value::Number(_)) => Ok(List {
                field,
                entries: std::slice::from_ref(one),
            }),
            Some(_) => wrong("is neither a list of numbers nor a number".into()),
        }
    }

    /// Checks that a field that the space has no use for chooses nothing: it is not there, or null, or the first of its
    /// choices, or one of `only`, which is what the space has.
    fn choose_nothing(&self, field: &'static str, only: &[f64]) -> Result<(), ArchitectureError> {
        let nothing = |value: &Value| match value.as_f64() {
            Some(number) => number <= 0.0 || only.contains(&number),
            None => value.is_null(),
        };
        let found = match self.dict.get(field) {
            None => return Ok(()),
            Some(Value::Array(entries)) => entries.iter().find(|value| !nothing(value)),
            Some(value) => Some(value).filter(|value| !nothing(value)),
        };
        match found {
            None => Ok(()),
            Some(found) => Err(ArchitectureError::Field {
                field,
                reason: format!(
                    "means nothing to `{}` and holds {found}: leave it out if nothing is chosen by it",
                    self.space.name
                ),
            }),
        }
    }

    /// What the dictionary says of its resolution.
    fn resolution(&self) -> Result<Option<u32>, ArchitectureError> {
        let (r, size) = (self.pixels("r")?, self.pixels("image_size")?);
        match (r, size) {
            (Some(r), Some(size)) if r != size => Err(ArchitectureError::Field {
                field: "image_size",
                reason: format!("is {size}, and `r` is {r}: which is meant?"),
            }),
            _ => Ok(r.or(size)),
        }
    }

    /// A number, or a list of one.
    fn pixels(&self, field: &'static str) -> Result<Option<u32>, ArchitectureError> {
        let entries = match self.dict.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(entries)) => entries.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if entries.len() != 1 {
            return Err(ArchitectureError::Length {
                field,
                found: entries.len(),
                expected: 1,
                space: self.space.name.clone(),
            });
        }
        let list = List { field, entries };
        let pixels = list.whole(0, "resolution")?;
        Ok(Some(u32::try_from(pixels).unwrap_or(u32::MAX)))
    }
}

impl List<'_> {
    /// An entry; where one value stands for all, that.
    fn entry(&self, index: usize) -> &Value {
        match self.entries {
            [one] => one,
            entries => entries.get(index).unwrap_or(&Value::Null),
        }
    }

    /// An entry that is a whole number, which is a `what`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn whole(&self, index: usize, what: &str) -> Result<usize, ArchitectureError> {
        let entry = self.entry(index);
        match entry.as_f64() {
            Some(number) if number.fract() == 0.0 && (0.0..1e9).contains(&number) => {
                Ok(number as usize)
            }
            _ => Err(ArchitectureError::Field {
                field: self.field,
                reason: format!("holds {entry} at index {index}, where a {what} is due"),
            }),
        }
    }
}
