//! The architecture dictionary of the `ofa` package: `{"ks": [20], "e": [20], "d": [5], "r": [224]}`.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Architecture, ArchitectureError, Block, DesignSpace, Placement};

/// An architecture as `set_active_subnet` and the accuracy predictor of `ofa` take it.
///
/// `ks` and `e` have one entry for *every* layer of the deepest network, unit by unit; entries of
/// inactive layers carry no meaning and are ignored when read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfaDict {
    /// Kernel size of every layer.
    pub ks: Vec<u32>,
    /// Expansion of every layer.
    pub e: Vec<u32>,
    /// Depth of every unit.
    pub d: Vec<usize>,
    /// The resolution, as a list of one; a bare number is read too.
    #[serde(deserialize_with = "one_or_list")]
    pub r: Vec<u32>,
}

fn one_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
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
    /// The dictionary of an architecture. Inactive layers get the unit's first candidate block.
    #[must_use]
    pub fn to_ofa(&self, arch: &Architecture) -> OfaDict {
        let mut dict = OfaDict {
            ks: Vec::new(),
            e: Vec::new(),
            d: (0..self.units.len()).map(|u| arch.depth(u)).collect(),
            r: vec![arch.resolution()],
        };
        for placement in self.placements() {
            let block = self.block(placement.unit, arch.block_at(placement).unwrap_or(0));
            dict.ks.push(block.kernel);
            dict.e.push(block.expansion);
        }
        dict
    }

    /// The architecture of a dictionary.
    ///
    /// # Errors
    /// [`ArchitectureError`] when a list has the wrong length or a choice is not in the space.
    pub fn from_ofa(&self, dict: &OfaDict) -> Result<Architecture, ArchitectureError> {
        let layers = self.placements().count();
        for (field, found, expected) in [
            ("ks", dict.ks.len(), layers),
            ("e", dict.e.len(), layers),
            ("d", dict.d.len(), self.units.len()),
            ("r", dict.r.len(), 1),
        ] {
            if found != expected {
                return Err(ArchitectureError::Length {
                    field,
                    found,
                    expected,
                    space: self.name.clone(),
                });
            }
        }
        let mut units = Vec::with_capacity(self.units.len());
        let mut start = 0;
        for (unit, spec) in self.units.iter().enumerate() {
            let depth = dict.d[unit];
            self.check_depth(unit, depth)?;
            let blocks = (0..depth)
                .map(|layer| {
                    let (expansion, kernel) = (dict.e[start + layer], dict.ks[start + layer]);
                    self.find_block(Placement { unit, layer }, Block { expansion, kernel })
                })
                .collect::<Result<_, _>>()?;
            units.push(blocks);
            start += spec.max_depth;
        }
        self.architecture(dict.r[0], units)
    }
}
