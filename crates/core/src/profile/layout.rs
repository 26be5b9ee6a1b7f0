//! Which quantities a profile estimates, and their order in a vector.

use std::ops::RangeInclusive;

use crate::space::{BlockId, DesignSpace, Placement, Unit};

/// The order of the estimated means: the overall mean, then E[y | depth of unit u is d] for
/// every (u, d), then E[y | width of unit u is w] for every (u, w), then E[y | placement p is active and holds
/// b] for every (p, b).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    units: Vec<UnitLayout>,
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UnitLayout {
    min_depth: usize,
    max_depth: usize,
    first_depth: usize,
    widths: usize,
    first_width: usize,
    layers: Vec<LayerLayout>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LayerLayout {
    blocks: usize,
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
        let unit = |u: &Unit| UnitLayout {
            min_depth: u.min_depth(),
            max_depth: u.max_depth(),
            first_depth: take(u.depths().count()),
            widths: u.width_choices(),
            first_width: 0,
            layers: Vec::new(),
        };
        let mut units: Vec<UnitLayout> = space.units().iter().map(unit).collect();
        for unit in &mut units {
            unit.first_width = take(unit.widths);
        }
        for (unit, spec) in units.iter_mut().zip(space.units()) {
            for layer in 0..spec.max_depth() {
                let blocks = spec.blocks(layer).len();
                unit.layers.push(LayerLayout {
                    blocks,
                    first_block: take(blocks),
                });
            }
        }
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

    /// Index of E[y | width of `unit` is the one with index `width`].
    ///
    /// # Panics
    /// When the unit has no such width.
    #[must_use]
    pub fn width(&self, unit: usize, width: u8) -> usize {
        let u = &self.units[unit];
        let width = usize::from(width);
        assert!(width < u.widths, "unit {unit} has no width {width}");
        u.first_width + width
    }

    /// Index of E[y | `placement` is active and holds `block`].
    ///
    /// # Panics
    /// When there is no such placement or block.
    #[must_use]
    pub fn block(&self, placement: Placement, block: BlockId) -> usize {
        let layer = self.layer(placement);
        let block = usize::from(block);
        assert!(block < layer.blocks, "no block {block} at {placement}");
        layer.first_block + block
    }

    fn layer(&self, placement: Placement) -> LayerLayout {
        self.units[placement.unit].layers[placement.layer]
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

    /// Indices of the widths of `unit`: at least one.
    pub(super) fn widths(&self, unit: usize) -> impl Iterator<Item = u8> + use<> {
        (0..self.units[unit].widths).filter_map(|w| u8::try_from(w).ok())
    }

    /// Number of candidate blocks at a placement.
    ///
    /// # Panics
    /// When there is no such placement.
    #[must_use]
    pub fn blocks(&self, placement: Placement) -> usize {
        self.layer(placement).blocks
    }

    /// The most candidate blocks of any placement.
    pub(super) fn most_blocks(&self) -> usize {
        self.placements().map(|p| self.blocks(p)).max().unwrap_or(0)
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
