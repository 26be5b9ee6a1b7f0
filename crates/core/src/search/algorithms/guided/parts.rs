//! What two architectures have in common.

use std::collections::BTreeMap;

use crate::space::{Architecture, Block, DesignSpace, Placement};

/// An architecture as a set of parts, one bit each.
pub(super) type Row = Vec<u64>;

/// The parts of a space's architectures: for every layer the kernel, the expansion and whatever else its candidates
/// differ in (or that it is not there), for every unit the width, and the resolution. What never varies is no part.
/// Every architecture has one part of each kind, so that the number of parts that two have in common says how alike
/// they are.
pub(super) struct Parts {
    units: Vec<UnitParts>,
    resolutions: BTreeMap<u32, u32>,
    words: usize,
    kinds: usize,
}

struct UnitParts {
    /// By width; empty where there is one only.
    widths: Vec<u32>,
    layers: Vec<LayerParts>,
}

struct LayerParts {
    /// By block: the bits of its parts.
    blocks: Vec<Vec<u32>>,
    /// The bits where the layer is not active.
    absent: Vec<u32>,
}

/// Gives out bits.
#[derive(Default)]
struct Bits {
    next: u32,
    kinds: usize,
}

impl Bits {
    /// Bits for the values of one kind of part; none where there is one value only.
    fn kind(&mut self, values: usize) -> Vec<u32> {
        if values < 2 {
            return Vec::new();
        }
        self.kinds += 1;
        let first = self.next;
        self.next += u32::try_from(values).unwrap_or(u32::MAX);
        (first..self.next).collect()
    }
}

impl Parts {
    pub(super) fn new(space: &DesignSpace, resolutions: &[u32]) -> Self {
        let mut bits = Bits::default();
        let mut units = Vec::new();
        for (index, unit) in space.units().iter().enumerate() {
            let widths = bits.kind(unit.width_choices());
            let layer = |layer: usize| {
                let placement = Placement { unit: index, layer };
                let optional = layer >= unit.min_depth();
                LayerParts::new(space.blocks(placement), optional, &mut bits)
            };
            let layers = (0..unit.max_depth()).map(layer).collect();
            units.push(UnitParts { widths, layers });
        }
        let of_resolution = bits.kind(resolutions.len());
        Self {
            units,
            resolutions: resolutions.iter().copied().zip(of_resolution).collect(),
            words: (bits.next as usize).div_ceil(64).max(1),
            kinds: bits.kinds,
        }
    }

    /// How many parts an architecture has.
    pub(super) fn kinds(&self) -> usize {
        self.kinds
    }

    /// The parts of an architecture.
    pub(super) fn row(&self, arch: &Architecture) -> Row {
        let mut row = vec![0; self.words];
        let mut set = |bit: u32| row[bit as usize / 64] |= 1 << (bit % 64);
        for (unit, choice) in self.units.iter().zip(arch.units()) {
            if let Some(bit) = unit.widths.get(usize::from(choice.width)) {
                set(*bit);
            }
            for (number, layer) in unit.layers.iter().enumerate() {
                let bits = match choice.blocks.get(number) {
                    Some(block) => &layer.blocks[usize::from(*block)],
                    None => &layer.absent,
                };
                bits.iter().for_each(|bit| set(*bit));
            }
        }
        if let Some(bit) = self.resolutions.get(&arch.resolution()) {
            set(*bit);
        }
        row
    }
}

impl LayerParts {
    /// Blocks differ in what the parameters of their names say; where these do not tell two apart, the names themselves
    /// are a kind of part too.
    fn new(blocks: &[Block], optional: bool, bits: &mut Bits) -> Self {
        let described: Vec<BTreeMap<String, String>> = blocks.iter().map(parameters).collect();
        let mut keys: Vec<&str> = described
            .iter()
            .flat_map(|d| d.keys().map(String::as_str))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut layer = Self {
            blocks: vec![Vec::new(); blocks.len()],
            absent: Vec::new(),
        };
        let told_apart = (1..blocks.len()).all(|i| !described[..i].contains(&described[i]));
        for key in keys {
            let values: Vec<Option<&String>> = described.iter().map(|d| d.get(key)).collect();
            layer.push(&values, optional, bits);
        }
        if optional {
            layer.push_presence(bits);
        }
        if !told_apart {
            let names: Vec<String> = blocks.iter().map(ToString::to_string).collect();
            layer.push(&names, optional, bits);
        }
        layer
    }

    /// A kind of part with a value for each block.
    fn push<T: PartialEq>(&mut self, values: &[T], optional: bool, bits: &mut Bits) {
        let mut different: Vec<&T> = Vec::new();
        for value in values {
            if !different.contains(&value) {
                different.push(value);
            }
        }
        if different.len() < 2 {
            return;
        }
        let kind = bits.kind(different.len() + usize::from(optional));
        for (block, value) in self.blocks.iter_mut().zip(values) {
            let index = different.iter().position(|d| *d == value);
            block.extend(index.map(|i| kind[i]));
        }
        self.absent
            .extend(kind.get(different.len()).filter(|_| optional));
    }
}

impl LayerParts {
    /// Whether the layer is there.
    fn push_presence(&mut self, bits: &mut Bits) {
        let kind = bits.kind(2);
        self.blocks.iter_mut().for_each(|block| block.push(kind[0]));
        self.absent.push(kind[1]);
    }
}

/// The parameters of a block by their letters, its kind by none.
fn parameters(block: &Block) -> BTreeMap<String, String> {
    let name = block.to_string();
    let mut parts = name.split('_');
    let kind = parts.next().unwrap_or_default().to_owned();
    let mut parameters = BTreeMap::from([(String::new(), kind)]);
    for part in parts {
        let digits = part.find(|c: char| c.is_ascii_digit());
        let (letters, value) = part.split_at(digits.unwrap_or(part.len()));
        parameters.insert(letters.to_owned(), value.to_owned());
    }
    parameters
}

/// How many parts an architecture has in common with each of some others.
pub(super) struct Rows {
    /// By word, then architecture: neighbours in memory are counted together.
    words: Vec<Vec<u64>>,
    len: usize,
}

impl Rows {
    pub(super) fn new(rows: &[Row]) -> Self {
        let words = rows.first().map_or(0, Vec::len);
        Self {
            words: (0..words)
                .map(|w| rows.iter().map(|row| row[w]).collect())
                .collect(),
            len: rows.len(),
        }
    }

    /// Writes the numbers of common parts into `common`.
    pub(super) fn common(&self, row: &[u64], common: &mut Vec<u32>) {
        common.clear();
        common.resize(self.len, 0);
        for (word, column) in row.iter().zip(&self.words) {
            for (count, other) in common.iter_mut().zip(column) {
                *count += (word & other).count_ones();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::test_spaces;

    fn common(parts: &Parts, a: &Architecture, b: &Architecture) -> usize {
        let mut counts = Vec::new();
        Rows::new(&[parts.row(a)]).common(&parts.row(b), &mut counts);
        counts[0] as usize
    }

    #[test]
    fn every_architecture_has_one_part_of_each_kind() {
        for space in test_spaces() {
            let resolutions: Vec<u32> = space.resolutions().iter().copied().take(3).collect();
            let parts = Parts::new(&space, &resolutions);
            let mut rng = Seed(1).rng();
            let archs: Vec<Architecture> = (0..40)
                .map(|i| {
                    let resolution = resolutions[i % resolutions.len()];
                    space.sample(resolution, &mut rng).unwrap()
                })
                .collect();
            for a in &archs {
                assert_eq!(common(&parts, a, a), parts.kinds(), "{}", space.name());
                for b in &archs {
                    let alike = common(&parts, a, b);
                    assert_eq!(alike == parts.kinds(), a == b, "{}", space.name());
                    assert_eq!(alike, common(&parts, b, a));
                }
            }
        }
    }

    #[test]
    fn blocks_share_what_their_names_share() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let parts = Parts::new(&space, &[224]);
        // Kernel and expansion of every layer, and whether the third and fourth of each unit are there.
        assert_eq!(parts.kinds(), 50);
        let arch = |first: &str| {
            let rest = ["e3k3,e3k3"; 4].join("/");
            space.parse(&format!("r224/{first}/{rest}")).unwrap()
        };
        let base = arch("e3k3,e3k3");
        assert_eq!(common(&parts, &base, &arch("e3k5,e3k3")), 49);
        assert_eq!(common(&parts, &base, &arch("e6k5,e3k3")), 48);
        assert_eq!(common(&parts, &base, &arch("e3k3,e3k3,e3k3")), 47);
    }
}
