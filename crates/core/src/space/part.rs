//! Whether a space is a part of another: the same networks, with fewer or equal choices; and architectures of both.

use super::{Architecture, Block, BlockId, Choice, DesignSpace, Placement, Unit};

impl DesignSpace {
    /// Checks that every architecture of this space is one of `whole` too: the same layers around the units, and in
    /// every unit no choice that `whole` lacks. Names and titles do not matter, so what holds for a space also holds
    /// for its reductions.
    ///
    /// # Errors
    /// The first thing that differs, as a phrase.
    pub fn check_part_of(&self, whole: &DesignSpace) -> Result<(), String> {
        #[allow(clippy::float_cmp)] // decimals from files
        let same_networks = self.stem == whole.stem
            && self.head == whole.head
            && self.classes == whole.classes
            && self.batch_norm_epsilon == whole.batch_norm_epsilon;
        if !same_networks {
            return Err("its stem, head or number of classes is another".into());
        }
        if self.units.len() != whole.units.len() {
            return Err(format!(
                "it has {} units and not {}",
                self.units.len(),
                whole.units.len()
            ));
        }
        for (index, (unit, other)) in self.units.iter().zip(&whole.units).enumerate() {
            part_of_unit(unit, other).map_err(|what| format!("in unit {}, {what}", index + 1))?;
        }
        Ok(())
    }
}

fn part_of_unit(unit: &Unit, whole: &Unit) -> Result<(), String> {
    let alike = unit.before == whole.before
        && unit.stride == whole.stride
        && unit.activation == whole.activation
        && unit.squeeze_excite == whole.squeeze_excite;
    if !alike {
        return Err("the stride, activation or squeeze-and-excitation is another".into());
    }
    if unit.min_depth < whole.min_depth || unit.max_depth > whole.max_depth {
        return Err(format!(
            "depths {} to {} are not all among {} to {}",
            unit.min_depth, unit.max_depth, whole.min_depth, whole.max_depth
        ));
    }
    let channels = |u: &Unit| u.widths.iter().map(|w| w.channels).collect::<Vec<_>>();
    let (widths, others) = (channels(unit), channels(whole));
    if widths.is_empty() != others.is_empty() || widths.iter().any(|c| !others.contains(c)) {
        return Err(format!("{widths:?} channels are not all among {others:?}"));
    }
    for layer in 0..unit.max_depth {
        let known = whole.blocks(layer);
        let missing = |block: &&Block| !known.contains(block);
        if let Some(block) = unit.blocks(layer).iter().find(missing) {
            return Err(format!("{block} is not a candidate of layer {}", layer + 1));
        }
    }
    Ok(())
}

/// How the choices of a part of a space are called in the whole.
#[derive(Clone, Debug)]
pub struct PartOf {
    units: Vec<PartUnit>,
    resolutions: Vec<u32>,
}

#[derive(Clone, Debug)]
struct PartUnit {
    min_depth: usize,
    /// By width of the part: that of the whole.
    widths: Vec<u8>,
    /// By layer, then block of the part: that of the whole.
    blocks: Vec<Vec<BlockId>>,
}

impl PartOf {
    /// What `part` is called in `whole`.
    ///
    /// # Errors
    /// The first thing that `whole` lacks, as a phrase ([`DesignSpace::check_part_of`]).
    pub fn new(part: &DesignSpace, whole: &DesignSpace) -> Result<Self, String> {
        part.check_part_of(whole)?;
        let units = part.units.iter().zip(&whole.units).enumerate();
        let units = units.map(|(index, (unit, other))| {
            let width = |channels: u32| {
                let found = other.widths.iter().position(|w| w.channels == channels);
                found.and_then(|i| u8::try_from(i).ok())
            };
            let blocks = |layer: usize| {
                let placement = Placement { unit: index, layer };
                let names = unit.blocks(layer).iter();
                let ids = names.map(|b| whole.find_block(placement, |c| c == b, || b.to_string()));
                ids.collect::<Result<Vec<_>, _>>()
            };
            let layers = (0..unit.max_depth).map(blocks);
            Ok(PartUnit {
                min_depth: unit.min_depth,
                widths: unit
                    .widths
                    .iter()
                    .filter_map(|w| width(w.channels))
                    .collect(),
                blocks: layers
                    .collect::<Result<_, _>>()
                    .map_err(|error| error.to_string())?,
            })
        });
        Ok(Self {
            units: units.collect::<Result<_, String>>()?,
            resolutions: part.resolutions.clone(),
        })
    }

    /// An architecture of the part as one of the whole.
    ///
    /// # Panics
    /// When it is not one of the part.
    #[must_use]
    pub fn to_whole(&self, arch: &Architecture) -> Architecture {
        let choice = |(unit, choice): (&PartUnit, super::UnitChoice<'_>)| Choice {
            width: *unit.widths.get(usize::from(choice.width)).unwrap_or(&0),
            blocks: choice
                .blocks
                .iter()
                .zip(&unit.blocks)
                .map(|(block, ids)| ids[usize::from(*block)])
                .collect(),
        };
        let choices: Vec<Choice> = self.units.iter().zip(arch.units()).map(choice).collect();
        Architecture::assemble(arch.resolution(), &choices)
    }

    /// An architecture of the whole as one of the part; `None` where the part has no such architecture.
    #[must_use]
    pub fn to_part(&self, arch: &Architecture) -> Option<Architecture> {
        if !self.resolutions.contains(&arch.resolution()) {
            return None;
        }
        let place = |ids: &[u8], id: u8| {
            let found = ids.iter().position(|i| *i == id)?;
            u8::try_from(found).ok()
        };
        let choice = |(unit, choice): (&PartUnit, super::UnitChoice<'_>)| {
            let depth = choice.blocks.len();
            if depth < unit.min_depth || depth > unit.blocks.len() {
                return None;
            }
            let blocks = choice.blocks.iter().zip(&unit.blocks);
            Some(Choice {
                width: if unit.widths.is_empty() {
                    0
                } else {
                    place(&unit.widths, choice.width)?
                },
                blocks: blocks
                    .map(|(id, ids)| place(ids, *id))
                    .collect::<Option<_>>()?,
            })
        };
        let choices: Option<Vec<Choice>> =
            self.units.iter().zip(arch.units()).map(choice).collect();
        Some(Architecture::assemble(arch.resolution(), &choices?))
    }
}

#[cfg(test)]
mod tests {
    use super::PartOf;
    use crate::network::cost;
    use crate::seed::Seed;
    use crate::space::{DesignSpace, random_part_like};

    #[test]
    fn parts_are_told_from_other_spaces() {
        let whole = DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap();
        let source = DesignSpace::builtin_source("ofa-mbv3").unwrap();
        let changed = |from: &str, to: &str| {
            assert!(source.contains(from), "{from}");
            let text = source.replacen(from, to, 1);
            DesignSpace::from_toml("other.toml", &text, Some(1.2)).unwrap()
        };
        assert_eq!(whole.check_part_of(&whole), Ok(()));
        for (from, to) in [
            ("name = \"ofa-mbv3\"", "name = \"mine\""),
            ("depth = [2, 4]", "depth = 3"),
            ("{3,4,6}", "{3,6}"),
        ] {
            let part = changed(from, to);
            assert_eq!(part.check_part_of(&whole), Ok(()), "{to}");
        }
        for (from, to, why) in [
            ("depth = [2, 4]", "depth = [1, 4]", "depths 1 to 4"),
            ("{3,4,6}", "{3,5}", "mbconv3_e5_k3 is not a candidate"),
            ("channels = 160", "channels = 168", "channels are not all"),
            ("stride = 2", "stride = 1", "the stride"),
            ("c16", "c24", "its stem"),
        ] {
            let error = changed(from, to).check_part_of(&whole).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
        let narrow = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
        assert!(narrow.check_part_of(&whole).is_err());
        let resnet = DesignSpace::builtin("ofa-resnet50", None).unwrap();
        assert!(resnet.check_part_of(&whole).is_err());
    }

    #[test]
    fn the_part_that_the_pixel_table_has_is_one() {
        let text = include_str!("../../../../examples/proxyless-pixel.toml");
        let part = DesignSpace::from_toml("proxyless-pixel.toml", text, None).unwrap();
        let whole = DesignSpace::builtin("ofa-proxyless", Some(1.0)).unwrap();
        part.check_part_of(&whole).unwrap();
        assert!(whole.check_part_of(&part).is_err());
        let arch = part.smallest(224).unwrap();
        let there = PartOf::new(&part, &whole).unwrap().to_whole(&arch);
        assert_eq!(part.print(&arch), whole.print(&there));
    }

    #[test]
    fn architectures_of_a_part_are_the_same_networks_in_the_whole() {
        for name in ["ofa-mbv3", "ofa-resnet50"] {
            let whole = DesignSpace::builtin(name, None).unwrap();
            let like = random_halves(&whole);
            let part = random_part_like(&whole, &like, "part", Seed(5)).unwrap();
            let map = PartOf::new(&part, &whole).unwrap();
            let resolution = part.default_resolution();
            let mut rng = Seed(1).rng();
            let mut inside = 0;
            for _ in 0..200 {
                let arch = part.sample(resolution, &mut rng).unwrap();
                let there = map.to_whole(&arch);
                let costs = [part.network(&arch), whole.network(&there)].map(|n| cost(&n));
                assert_eq!(costs[0], costs[1]);
                assert_eq!(map.to_part(&there), Some(arch));
                let any = whole.sample(resolution, &mut rng).unwrap();
                if let Some(arch) = map.to_part(&any) {
                    inside += 1;
                    assert_eq!(map.to_whole(&arch), any);
                }
            }
            assert!(inside < 200, "{inside}");
        }
    }

    /// About half of the blocks of every layer, the first of them.
    fn random_halves(whole: &DesignSpace) -> DesignSpace {
        let mut text = whole.source().text.clone();
        for (from, to) in [
            ("{3,5,7}", "{3,5}"),
            ("{0.2,0.25,0.35}", "{0.2,0.35}"),
            ("depth = [2, 4]", "depth = [2, 3]"),
        ] {
            text = text.replace(from, to);
        }
        assert_ne!(text, whole.source().text);
        DesignSpace::from_toml("half.toml", &text, Some(whole.width())).unwrap()
    }
}
