//! Which quantities a profile estimates, and their order in a vector.

use std::ops::RangeInclusive;

use crate::space::{BlockId, DesignSpace, Placement, Unit};

/// The order of the estimated means: the overall mean, then E[y | depth of unit u is d] for
/// every (u, d), then E[y | placement p is active and holds b] for every (p, b).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    units: Vec<UnitLayout>,
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UnitLayout {
    min_depth: usize,
    max_depth: usize,
    blocks: usize,
    first_depth: usize,
    first_block: usize,
}

impl Layout {
    /// The layout for `space`.
    #[must_use]
    pub fn new(space: &DesignSpace) -> Self {
        let mut next = 1;
        let mut take = |n: usize| {
            next += n;
            next - n
        };
        let depths: Vec<usize> = space
            .units()
            .iter()
            .map(|u| take(u.depths().count()))
            .collect();
        let blocks: Vec<usize> = space
            .units()
            .iter()
            .map(|u| take(u.max_depth() * u.blocks().len()))
            .collect();
        let unit = |(u, (first_depth, first_block)): (&Unit, (usize, usize))| UnitLayout {
            min_depth: u.min_depth(),
            max_depth: u.max_depth(),
            blocks: u.blocks().len(),
            first_depth,
            first_block,
        };
        let units = space
            .units()
            .iter()
            .zip(depths.into_iter().zip(blocks))
            .map(unit)
            .collect();
        Self { units, len: next }
    }

    /// Length of the vector.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // never empty: the overall mean is always there
    pub fn len(&self) -> usize {
        self.len
    }

    /// Index of the overall mean `E[y]`.
    #[must_use]
    pub fn overall(&self) -> usize {
        0
    }

    /// Index of E[y | depth of `unit` is `depth`].
    ///
    /// # Panics
    /// When the unit cannot have that depth.
    #[must_use]
    pub fn depth(&self, unit: usize, depth: usize) -> usize {
        let u = &self.units[unit];
        assert!(
            (u.min_depth..=u.max_depth).contains(&depth),
            "unit {unit} has no depth {depth}"
        );
        u.first_depth + depth - u.min_depth
    }

    /// Index of E[y | `placement` is active and holds `block`].
    ///
    /// # Panics
    /// When there is no such placement or block.
    #[must_use]
    pub fn block(&self, placement: Placement, block: BlockId) -> usize {
        let u = &self.units[placement.unit];
        let block = usize::from(block);
        assert!(
            placement.layer < u.max_depth && block < u.blocks,
            "no block {block} at {placement}"
        );
        u.first_block + placement.layer * u.blocks + block
    }

    /// Number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// The depths of `unit`.
    #[must_use]
    pub fn depths(&self, unit: usize) -> RangeInclusive<usize> {
        self.units[unit].min_depth..=self.units[unit].max_depth
    }

    /// Number of candidate blocks in `unit`.
    #[must_use]
    pub fn blocks(&self, unit: usize) -> usize {
        self.units[unit].blocks
    }

    /// Number of candidate blocks of every unit.
    pub(super) fn block_counts(&self) -> impl Iterator<Item = usize> + '_ {
        self.units.iter().map(|u| u.blocks)
    }

    /// Probability that a placement is active in an architecture drawn from the space.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn active_probability(&self, placement: Placement) -> f64 {
        let depths = self.depths(placement.unit);
        let reaching = depths.clone().filter(|&d| d > placement.layer).count();
        reaching as f64 / depths.count() as f64
    }

    /// Every placement, unit by unit.
    pub fn placements(&self) -> impl Iterator<Item = Placement> + '_ {
        self.units
            .iter()
            .enumerate()
            .flat_map(|(unit, u)| (0..u.max_depth).map(move |layer| Placement { unit, layer }))
    }
}
