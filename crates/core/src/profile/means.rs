//! Contrasts of jointly estimated means, with their intervals.

use nalgebra::DMatrix;

use super::{Estimate, Layout, Means};
use crate::space::{BlockId, DesignSpace, Placement};
use crate::stats::{critical_t, p_value};

/// A linear combination of means: (index in the layout, weight).
pub(super) type Contrast = Vec<(usize, f64)>;

/// Probability that a 95 % interval misses.
const ALPHA: f64 = 0.05;

impl Means {
    /// The estimate of a linear combination of means, with its 95 % interval.
    pub(super) fn contrast(&self, contrast: &[(usize, f64)]) -> Estimate {
        let n = self.values.len();
        let value = contrast.iter().map(|&(i, w)| w * self.values[i]).sum();
        let mut square = 0.0;
        for &(i, wi) in contrast {
            for &(j, wj) in contrast {
                square += wi * wj * self.covariance[i * n + j];
            }
        }
        self.estimate(value, square.max(0.0).sqrt())
    }

    /// A value with a standard error as an estimate.
    pub(super) fn estimate(&self, value: f64, se: f64) -> Estimate {
        let half = critical_t(ALPHA, self.degrees_of_freedom) * se;
        Estimate {
            value,
            se,
            low: value - half,
            high: value + half,
        }
    }

    /// Half the widest 95 % interval of a block's effect, in the metric's unit; 0 in a space without a choice of
    /// blocks.
    #[must_use]
    pub fn widest_block_interval(&self, space: &DesignSpace) -> f64 {
        let layout = Layout::new(space);
        let half = |placement: Placement, block: BlockId| {
            let effect = self.contrast(&layout.block_effect(placement, block));
            (effect.high - effect.low) / 2.0
        };
        let chosen = layout.placements().filter(|p| layout.blocks(*p) > 1);
        let all = chosen.flat_map(|p| layout.block_ids(p).map(move |b| half(p, b)));
        all.fold(0.0, f64::max)
    }

    /// The joint covariance of linear combinations of means.
    pub(super) fn joint(&self, contrasts: &[Contrast]) -> DMatrix<f64> {
        let n = self.values.len();
        let mut half: DMatrix<f64> = DMatrix::zeros(n, contrasts.len());
        for (column, contrast) in contrasts.iter().enumerate() {
            for &(i, w) in contrast {
                for row in 0..n {
                    half[(row, column)] += w * self.covariance[i * n + row];
                }
            }
        }
        let mut joint = DMatrix::zeros(contrasts.len(), contrasts.len());
        for (row, contrast) in contrasts.iter().enumerate() {
            for column in 0..contrasts.len() {
                joint[(row, column)] = contrast.iter().map(|&(i, w)| w * half[(i, column)]).sum();
            }
        }
        joint
    }

    /// The two-sided p value of "the quantity is 0", for this quantity alone. A standard error of exactly 0 (a metric
    /// that never varies) leaves no doubt.
    pub(super) fn p_value(&self, estimate: &Estimate) -> f64 {
        match estimate.statistic() {
            Some(t) => p_value(t, self.degrees_of_freedom),
            None => f64::from(u8::from(estimate.value == 0.0)),
        }
    }

    /// Whether an estimate differs from 0 when `claims` of its kind are made at once (Bonferroni). A
    /// standard error of exactly 0 (a metric that never varies) supports a claim only of what is not 0.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn differs_from_zero(&self, estimate: &Estimate, claims: usize) -> bool {
        let critical = critical_t(ALPHA / claims.max(1) as f64, self.degrees_of_freedom);
        estimate.value.abs() > critical * estimate.se
    }
}

impl Estimate {
    /// The estimate in standard errors; `None` for one without error.
    pub(crate) fn statistic(&self) -> Option<f64> {
        (self.se > 0.0).then(|| self.value / self.se)
    }
}

impl Layout {
    /// Ids of all candidate blocks of a placement.
    pub(super) fn block_ids(&self, placement: Placement) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.blocks(placement)).filter_map(|b| BlockId::try_from(b).ok())
    }

    /// Mean with a block minus the mean over all blocks of the placement.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn block_effect(&self, placement: Placement, block: BlockId) -> Contrast {
        self.subset_effect(placement, &|b| b == block)
    }

    /// Mean over the blocks that `chosen` picks minus the mean over all blocks of the placement; empty
    /// where it picks none.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn subset_effect(
        &self,
        placement: Placement,
        chosen: &dyn Fn(BlockId) -> bool,
    ) -> Contrast {
        let all = self.blocks(placement) as f64;
        let picked = self.block_ids(placement).filter(|&b| chosen(b)).count();
        if picked == 0 {
            return Contrast::new();
        }
        let weight = |b| f64::from(u8::from(chosen(b))) / picked as f64 - 1.0 / all;
        self.block_ids(placement)
            .map(|b| (self.block(placement, b), weight(b)))
            .collect()
    }

    /// Mean at a depth minus the mean over all depths of the unit.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn depth_effect(&self, unit: usize, depth: usize) -> Contrast {
        let all = self.depths(unit).count() as f64;
        let weight = |d| f64::from(u8::from(d == depth)) - 1.0 / all;
        self.depths(unit)
            .map(|d| (self.depth(unit, d), weight(d)))
            .collect()
    }

    /// Mean at a width minus the mean over all widths of the unit.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn width_effect(&self, unit: usize, width: u8) -> Contrast {
        let all = self.widths(unit).count() as f64;
        let weight = |w| f64::from(u8::from(w == width)) - 1.0 / all;
        self.widths(unit)
            .map(|w| (self.width(unit, w), weight(w)))
            .collect()
    }
}

/// The average of contrasts.
#[allow(clippy::cast_precision_loss)]
pub(super) fn average(contrasts: &[Contrast]) -> Contrast {
    let n = contrasts.len() as f64;
    contrasts
        .iter()
        .flatten()
        .map(|&(i, w)| (i, w / n))
        .collect()
}
