//! A part of a space as a space of its own: fewer depths, widths, blocks or resolutions, written as an ordinary file.

use std::ops::RangeInclusive;

use toml_edit::{Array, DocumentMut, Item, TableLike, Value, value};

use super::unit::Candidates;
use super::{Architecture, BlockId, DesignSpace, SpaceError, SpaceSource, Unit};

/// The choices of a space that are kept. It begins with all of them ([`DesignSpace::whole`]) and never becomes empty:
/// what would leave nothing is not taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// Input resolutions, ascending.
    resolutions: Vec<u32>,
    units: Vec<Kept>,
}

/// What is kept of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    depths: RangeInclusive<usize>,
    widths: Vec<u8>,
    /// For every layer of the space's unit, those beyond the deepest kept depth included.
    blocks: Vec<Vec<BlockId>>,
}

impl DesignSpace {
    /// All choices of the space.
    #[must_use]
    pub fn whole(&self) -> Restriction {
        let ids = |count: usize| (0..count).filter_map(|i| BlockId::try_from(i).ok());
        let kept = |unit: &Unit| Kept {
            depths: unit.depths(),
            widths: ids(unit.width_choices()).collect(),
            blocks: (0..unit.max_depth())
                .map(|layer| ids(unit.blocks(layer).len()).collect())
                .collect(),
        };
        Restriction {
            resolutions: self.resolutions.clone(),
            units: self.units.iter().map(kept).collect(),
        }
    }

    /// The space that is left, called `name`: its source is this space's file with the choices changed, comments and
    /// all, and reads back to the same space. Its default width is the one that this space has.
    ///
    /// # Errors
    /// [`SpaceError`] when the changed file is no space, such as for a name that the format does not allow.
    pub fn restricted(&self, kept: &Restriction, name: &str) -> Result<DesignSpace, SpaceError> {
        let text = self.restricted_text(kept, name)?;
        let source = SpaceSource {
            text,
            files: self.source.files.clone(),
        };
        DesignSpace::read(&format!("{name}.toml"), &source, Some(self.width))
    }

    fn restricted_text(&self, kept: &Restriction, name: &str) -> Result<String, SpaceError> {
        let malformed = |message: String| SpaceError::Malformed {
            source_name: self.name.clone(),
            line: None,
            message,
        };
        let mut file: DocumentMut = self
            .source
            .text
            .parse()
            .map_err(|e: toml_edit::TomlError| malformed(e.message().to_owned()))?;
        put(file.as_table_mut(), "name", name.into());
        put(
            file.as_table_mut(),
            "title",
            format!("{}, reduced", self.title.trim_end_matches(", reduced")).into(),
        );
        put(file.as_table_mut(), "default-width", self.width.into());
        if kept.resolutions != self.resolutions {
            let list = kept.resolutions.iter().map(|r| i64::from(*r));
            put(
                file.as_table_mut(),
                "resolutions",
                Value::Array(list.collect()),
            );
            if !kept.resolutions.contains(&self.default_resolution) {
                file.remove("default-resolution");
            }
        }
        for (index, (unit, kept)) in self.units.iter().zip(&kept.units).enumerate() {
            let table = unit_table(&mut file, index)
                .ok_or_else(|| malformed(format!("unit {} is not found again", index + 1)))?;
            write_unit(table, unit, kept);
        }
        Ok(file.to_string())
    }
}

/// The table of a unit, however the file writes it.
fn unit_table(file: &mut DocumentMut, index: usize) -> Option<&mut dyn TableLike> {
    match file.get_mut("unit")? {
        Item::ArrayOfTables(tables) => {
            let table = tables.get_mut(index)?;
            Some(table)
        }
        Item::Value(Value::Array(tables)) => {
            let table = tables.get_mut(index)?.as_inline_table_mut()?;
            Some(table)
        }
        _ => None,
    }
}

/// Writes what is kept of a unit, where that is not everything.
fn write_unit(table: &mut dyn TableLike, unit: &Unit, kept: &Kept) {
    let deepest = *kept.depths.end();
    if kept.depths != unit.depths() {
        let ends = [*kept.depths.start(), deepest];
        let ends = ends.map(|d| i64::try_from(d).unwrap_or(i64::MAX));
        let depth = match ends {
            [a, b] if a == b => Value::from(a),
            _ => Value::Array(Array::from_iter(ends)),
        };
        put(table, "depth", depth);
    }
    if kept.widths.len() < unit.width_choices() {
        let stays =
            |m: &&super::unit::Multiplier| kept.widths.iter().any(|w| usize::from(*w) == m.width);
        let multipliers = unit.multipliers.iter().filter(stays).map(|m| m.value);
        put(table, "width-choices", Value::Array(multipliers.collect()));
    }
    let all = |(layer, ids): (usize, &Vec<BlockId>)| ids.len() == unit.blocks(layer).len();
    let kept_blocks = &kept.blocks[..deepest];
    // Lists by layer have one for each layer, so a smaller depth changes them too.
    if kept_blocks.iter().enumerate().all(all) && (deepest == unit.max_depth() || unit.uniform()) {
        return;
    }
    let names = |(layer, ids): (usize, &Vec<BlockId>)| -> Vec<String> {
        let blocks = ids.iter().map(|id| &unit.blocks(layer)[usize::from(*id)]);
        blocks.map(ToString::to_string).collect()
    };
    let lists: Vec<Vec<String>> = kept_blocks.iter().enumerate().map(names).collect();
    let list = |names: &Vec<String>| -> Array { names.iter().map(String::as_str).collect() };
    let blocks = if lists.windows(2).all(|pair| pair[0] == pair[1]) {
        list(&lists[0])
    } else {
        let mut by_layer: Array = lists.iter().map(|l| Value::Array(list(l))).collect();
        by_layer
            .iter_mut()
            .for_each(|l| l.decor_mut().set_prefix("\n    "));
        by_layer.set_trailing_comma(true);
        by_layer.set_trailing("\n");
        by_layer
    };
    put(table, "blocks", Value::Array(blocks));
    if kept_blocks
        .iter()
        .enumerate()
        .any(|(layer, ids)| loses_names(&unit.layers[layer], ids))
    {
        put(table, "full-names", Value::from(true));
    }
}

/// Whether a block would have a shorter code among those that are kept than it has among all: a code that the whole
/// space does not read.
fn loses_names(all: &Candidates, kept: &[BlockId]) -> bool {
    let kept: Vec<usize> = kept.iter().map(|id| usize::from(*id)).collect();
    let blocks = kept.iter().map(|&id| all.blocks[id].clone());
    let codes = Candidates::new(blocks.collect()).codes;
    codes
        .iter()
        .zip(kept)
        .any(|(code, id)| *code != all.codes[id])
}

/// Sets a field, and keeps the place and the comment of one that is there.
fn put(table: &mut dyn TableLike, key: &str, new: Value) {
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        _ => {
            table.insert(key, value(new));
        }
    }
}

impl Restriction {
    /// Whether an architecture of the space has only what is kept.
    #[must_use]
    pub fn allows(&self, arch: &Architecture) -> bool {
        self.resolutions.contains(&arch.resolution())
            && self.units.iter().zip(arch.units()).all(|(kept, choice)| {
                let layers = choice.blocks.iter().zip(&kept.blocks);
                kept.depths.contains(&choice.blocks.len())
                    && kept.widths.contains(&choice.width)
                    && layers.into_iter().all(|(block, ids)| ids.contains(block))
            })
    }

    /// The resolutions that are kept.
    #[must_use]
    pub fn resolutions(&self) -> &[u32] {
        &self.resolutions
    }

    /// The depths of a unit that are kept.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn depths(&self, unit: usize) -> RangeInclusive<usize> {
        self.units[unit].depths.clone()
    }

    /// Indices of the widths of a unit that are kept.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn widths(&self, unit: usize) -> &[u8] {
        &self.units[unit].widths
    }

    /// The blocks of a layer that are kept, those beyond the deepest kept depth included.
    ///
    /// # Panics
    /// When there is no such layer.
    #[must_use]
    pub fn blocks(&self, unit: usize, layer: usize) -> &[BlockId] {
        &self.units[unit].blocks[layer]
    }

    /// Keeps one resolution only; false where it is none of those kept.
    pub fn keep_resolution(&mut self, resolution: u32) -> bool {
        self.keep_resolutions(&[resolution])
    }

    /// Keeps these resolutions only; false, and nothing changes, where one of them is none of those kept, or there is
    /// none.
    pub fn keep_resolutions(&mut self, wanted: &[u32]) -> bool {
        let known = !wanted.is_empty() && wanted.iter().all(|r| self.resolutions.contains(r));
        if known {
            self.resolutions.retain(|r| wanted.contains(r));
        }
        known
    }

    /// Takes a resolution away; false where it is not there, or is the last.
    pub fn remove_resolution(&mut self, resolution: u32) -> bool {
        remove(&mut self.resolutions, resolution)
    }

    /// Takes a block away from a layer; false where it is not there, or is the last.
    pub fn remove_block(&mut self, unit: usize, layer: usize, block: BlockId) -> bool {
        remove(&mut self.units[unit].blocks[layer], block)
    }

    /// Takes a width away from a unit; false where it is not there, or is the last.
    pub fn remove_width(&mut self, unit: usize, width: u8) -> bool {
        remove(&mut self.units[unit].widths, width)
    }

    /// Takes a depth away from a unit; false where it is neither its deepest nor its shallowest, or is the last.
    pub fn remove_depth(&mut self, unit: usize, depth: usize) -> bool {
        let depths = &mut self.units[unit].depths;
        let (shallow, deep) = (*depths.start(), *depths.end());
        // A unit of no layers at all is not what the format calls a unit.
        if shallow == deep || (depth == deep && deep <= 1) {
            return false;
        }
        if depth == deep {
            *depths = shallow..=deep - 1;
        } else if depth == shallow {
            *depths = shallow + 1..=deep;
        }
        depth == deep || depth == shallow
    }
}

fn remove<T: Copy + PartialEq>(list: &mut Vec<T>, one: T) -> bool {
    let known = list.len() > 1 && list.contains(&one);
    if known {
        list.retain(|other| *other != one);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::{Choice, UnitChoice, test_spaces};
    use rand::RngExt;

    /// Takes random choices away.
    fn thinned(space: &DesignSpace, seed: u64) -> Restriction {
        let mut rng = Seed(seed).rng();
        let mut kept = space.whole();
        for (u, unit) in space.units().iter().enumerate() {
            for layer in 0..unit.max_depth() {
                for id in 0..unit.blocks(layer).len() {
                    if rng.random_bool(0.4) {
                        kept.remove_block(u, layer, BlockId::try_from(id).unwrap());
                    }
                }
            }
            for width in 0..unit.width_choices() {
                if rng.random_bool(0.4) {
                    kept.remove_width(u, u8::try_from(width).unwrap());
                }
            }
            let ends = [unit.min_depth(), unit.max_depth()];
            kept.remove_depth(u, ends[usize::from(rng.random_bool(0.5))]);
        }
        kept
    }

    #[test]
    fn what_is_left_is_what_is_written_and_read_back() {
        let mut named_in_full = 0;
        for space in test_spaces() {
            for seed in 0..12 {
                let mut kept = thinned(&space, seed);
                if seed % 2 == 0 {
                    assert!(kept.keep_resolution(space.default_resolution()));
                }
                let part = space.restricted(&kept, "thin").unwrap();
                let again = DesignSpace::read("thin.toml", part.source(), None).unwrap();
                named_in_full += usize::from(part.source().text.contains("full-names = true"));
                assert_eq!(again, part, "the default width is the one reduced at");
                part.check_part_of(&space).unwrap();
                for (u, unit) in part.units().iter().enumerate() {
                    assert_eq!(unit.depths(), kept.depths(u));
                    assert_eq!(unit.width_choices(), kept.widths(u).len());
                    for layer in 0..unit.max_depth() {
                        let whole = space.units()[u].blocks(layer);
                        let names = kept.blocks(u, layer).iter();
                        let names: Vec<_> = names.map(|b| &whole[usize::from(*b)]).collect();
                        assert_eq!(unit.blocks(layer).iter().collect::<Vec<_>>(), names);
                    }
                }
                let mut rng = Seed(seed).rng();
                for _ in 0..20 {
                    let resolution = kept.resolutions()[0];
                    let inside = part.sample(resolution, &mut rng).unwrap();
                    let there = translated(&part, &inside, &space).unwrap();
                    assert!(kept.allows(&there));
                    assert_eq!(space.parse(&part.print(&inside)).unwrap(), there);
                    let any = space.sample(space.default_resolution(), &mut rng).unwrap();
                    let fits = translated(&space, &any, &part).is_some();
                    assert_eq!(kept.allows(&any), fits, "{}", space.print(&any));
                }
            }
        }
        assert!(
            named_in_full > 0,
            "some parts have codes that the whole lacks"
        );
    }

    /// The same network as an architecture of another space, if it is one there.
    fn translated(
        from: &DesignSpace,
        arch: &Architecture,
        to: &DesignSpace,
    ) -> Option<Architecture> {
        let units = from.units().iter().zip(to.units()).zip(arch.units());
        let choice = |((from, to), choice): ((&Unit, &Unit), UnitChoice<'_>)| {
            let width = match from.widths().get(usize::from(choice.width)) {
                Some(width) => to
                    .widths()
                    .iter()
                    .position(|w| w.channels == width.channels)?,
                None => 0,
            };
            let id = |(layer, block): (usize, &BlockId)| {
                let block = &from.blocks(layer)[usize::from(*block)];
                let candidates = (layer < to.max_depth()).then(|| to.blocks(layer))?;
                BlockId::try_from(candidates.iter().position(|b| b == block)?).ok()
            };
            let blocks = choice.blocks.iter().enumerate();
            Some(Choice {
                width: u8::try_from(width).ok()?,
                blocks: blocks.map(id).collect::<Option<_>>()?,
            })
        };
        let choices = units.map(choice).collect::<Option<Vec<Choice>>>()?;
        to.architecture(arch.resolution(), &choices).ok()
    }

    /// What was found in a part with one width left is found again in the whole, and in what older versions wrote of
    /// the part.
    #[test]
    fn the_only_width_that_is_left_is_named() {
        let space = DesignSpace::builtin("ofa-resnet50", None).unwrap();
        let mut kept = space.whole();
        assert!(kept.remove_width(3, 0) && kept.remove_width(3, 1));
        let part = space.restricted(&kept, "narrow").unwrap();
        let arch = part.smallest(224).unwrap();
        let text = part.print(&arch);
        let channels = part.units()[3].widths()[0].channels;
        let named = format!("/c{channels}:");
        assert!(text.contains(&named), "{text}");
        let there = space.parse(&text).unwrap();
        assert_eq!(space.print(&there), text);
        assert_eq!(part.parse(&text.replace(&named, "/")), Ok(arch));
        assert!(space.parse(&text.replace(&named, "/")).is_err());
    }

    #[test]
    fn nothing_becomes_empty() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let mut kept = space.whole();
        for id in 0..9 {
            assert_eq!(kept.remove_block(0, 0, id), id < 8);
        }
        assert!(kept.remove_depth(1, 4) && kept.remove_depth(1, 2));
        assert!(!kept.remove_depth(1, 3) && !kept.remove_depth(2, 3));
        assert!(!kept.remove_width(0, 0) && !kept.keep_resolution(225));
        assert!(!kept.keep_resolutions(&[]) && !kept.keep_resolutions(&[160, 225]));
        assert!(kept.keep_resolutions(&[224, 160]) && kept.resolutions() == [160, 224]);
        assert!(kept.remove_resolution(160) && !kept.remove_resolution(224));
        assert_eq!(kept.blocks(0, 0), [8]);
        assert_eq!(kept.depths(1), 3..=3);
    }

    #[test]
    fn comments_and_what_is_not_reduced_stay() {
        let space = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
        let mut kept = space.whole();
        kept.remove_block(0, 1, 0);
        kept.remove_depth(4, 4);
        let part = space.restricted(&kept, "less").unwrap();
        let text = &part.source().text;
        for line in [
            "default-width = 1.0 # the width that the published",
            "name = \"less\"",
            "depth = [2, 3]",
            "    [\"mbconv3_e3_k5\", ",
            "resolutions = { min = 128",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(text.matches("depth = [2, 4]").count(), 4);
    }
}
