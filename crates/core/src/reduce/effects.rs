//! A profile's estimates with their joint covariance, turned so that more is better.

use nalgebra::{DMatrix, DVector};

use super::error::ReduceError;
use crate::metric::Direction;
use crate::profile::{Estimate, MetricProfile};
use crate::seed::Rng;
use crate::space::{Block, BlockId, DesignSpace, Placement};
use crate::stats::max_t::root;
use crate::stats::{chi_squared_ratio, critical_t, standard_normal};

/// Differences below this share of a metric's standard deviation are rounding.
const ROUNDING: f64 = 1e-6;

/// A linear function of the estimates: (index, weight).
pub(super) type Weights = Vec<(usize, f64)>;

/// Where every choice of a space stands among the estimates of a document: the mean over the space, the effects of
/// all blocks of layers that have a choice, of all depths of units that have several, and of their widths.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// By unit and layer: the first block, where there is a choice.
    blocks: Vec<Vec<Option<usize>>>,
    depths: Vec<Option<usize>>,
    widths: Vec<Option<usize>>,
    len: usize,
}

impl Index {
    pub(super) fn new(space: &DesignSpace) -> Self {
        let mut next = 1;
        let mut take = |choices: usize| {
            let first = next;
            next += if choices > 1 { choices } else { 0 };
            (choices > 1).then_some(first)
        };
        let units = space.units();
        let mut blocks = Vec::new();
        for unit in units {
            let layers = (0..unit.max_depth()).map(|layer| take(unit.blocks(layer).len()));
            blocks.push(layers.collect());
        }
        let depths = units.iter().map(|u| take(u.depths().count())).collect();
        let widths = units.iter().map(|u| take(u.widths().len())).collect();
        Self {
            blocks,
            depths,
            widths,
            len: next,
        }
    }

    /// The effect of a block; `None` where the layer has no choice.
    pub(super) fn block(&self, unit: usize, layer: usize, block: BlockId) -> Option<usize> {
        self.blocks[unit][layer].map(|first| first + usize::from(block))
    }

    /// The effect of the `nth` depth of a unit, shallowest first; `None` where it has one only.
    pub(super) fn depth(&self, unit: usize, nth: usize) -> Option<usize> {
        self.depths[unit].map(|first| first + nth)
    }

    /// The effect of a width of a unit; `None` where it has one only.
    pub(super) fn width(&self, unit: usize, width: u8) -> Option<usize> {
        self.widths[unit].map(|first| first + usize::from(width))
    }
}

/// One block instead of another, on average over the placements of `layers` that offer both: each counts once. Empty
/// where none does.
#[allow(clippy::cast_precision_loss)]
pub(super) fn exchange(
    space: &DesignSpace,
    index: &Index,
    placements: &[Placement],
    leave: &Block,
    take: &Block,
) -> (Weights, Vec<Placement>) {
    let at = |p: &Placement| {
        let id = |block: &Block| {
            let position = space.blocks(*p).iter().position(|b| b == block)?;
            index.block(p.unit, p.layer, BlockId::try_from(position).ok()?)
        };
        Some((*p, id(leave)?, id(take)?))
    };
    let found: Vec<(Placement, usize, usize)> = placements.iter().filter_map(at).collect();
    let share = 1.0 / found.len().max(1) as f64;
    let weights = found
        .iter()
        .flat_map(|&(_, l, t)| [(t, share), (l, -share)]);
    (weights.collect(), found.iter().map(|(p, ..)| *p).collect())
}

/// The estimates of one metric.
#[derive(Clone, Debug)]
pub(super) struct Effects {
    /// 1 where larger values are better, else -1.
    sign: f64,
    /// Standard deviation of the metric over architectures.
    pub sd: f64,
    /// How much exchanging one block may differ from what it does on average: what the sum of effects leaves
    /// unexplained of the metric's spread, as a standard deviation for one of the network's layers.
    pub interaction: f64,
    /// Share of the metric's variance that the sum of effects explains, where that is known.
    pub explained: Option<f64>,
    /// In the metric's own sign.
    pub values: Vec<f64>,
    covariance: DMatrix<f64>,
    degrees: f64,
    pub family_degrees: f64,
}

impl Effects {
    /// Those of a profile of `space`.
    pub(super) fn new(
        space: &DesignSpace,
        index: &Index,
        profile: &MetricProfile,
    ) -> Result<Self, ReduceError> {
        let metric = || profile.metric.name.clone();
        let Some(joint) = &profile.joint else {
            return Err(ReduceError::NoJoint { metric: metric() });
        };
        let covariance = joint.matrix();
        let values = profile.documented_values();
        let covariance = covariance
            .filter(|c| c.nrows() == index.len && values.len() == index.len)
            .ok_or_else(|| ReduceError::Damaged { metric: metric() })?;
        Ok(Self {
            sign: match profile.metric.direction {
                Direction::HigherIsBetter => 1.0,
                Direction::LowerIsBetter => -1.0,
            },
            sd: profile.sd,
            interaction: interaction(space, profile),
            explained: profile.held_out_r2,
            values,
            covariance,
            degrees: joint.degrees(),
            family_degrees: joint.family_degrees(),
        })
    }

    /// How much networks differ from what their effects add up to, as a standard deviation.
    pub(super) fn unexplained(&self) -> f64 {
        self.sd * (1.0 - self.explained.unwrap_or(0.0).clamp(0.0, 1.0)).sqrt()
    }

    /// What is rounding and no difference.
    pub(super) fn rounding(&self) -> f64 {
        ROUNDING * self.sd
    }

    /// Value of a linear function in the metric's own sign, with its 95 % interval.
    pub(super) fn estimate(&self, weights: &[(usize, f64)]) -> Estimate {
        let value = weights.iter().map(|&(i, w)| w * self.values[i]).sum();
        let mut square = 0.0;
        for &(i, wi) in weights {
            for &(j, wj) in weights {
                square += wi * wj * self.covariance[(i, j)];
            }
        }
        let se = f64::max(square, 0.0).sqrt().max(self.rounding());
        let half = critical_t(0.05, self.degrees) * se;
        Estimate {
            value,
            se,
            low: value - half,
            high: value + half,
        }
    }

    /// The estimate as a gain: more is better.
    pub(super) fn gain(&self, estimate: &Estimate) -> Estimate {
        if self.sign > 0.0 {
            return *estimate;
        }
        Estimate {
            value: -estimate.value,
            se: estimate.se,
            low: -estimate.high,
            high: -estimate.low,
        }
    }

    /// A root of the joint covariance of linear functions as gains: one row each.
    pub(super) fn root(&self, functions: &[&Weights]) -> DMatrix<f64> {
        let root = root(&self.covariance);
        let mut rows = DMatrix::zeros(functions.len(), root.ncols());
        for (row, weights) in functions.iter().enumerate() {
            for &(i, w) in *weights {
                let mut row = rows.row_mut(row);
                row += root.row(i) * (w * self.sign);
            }
        }
        rows
    }

    /// The estimates as gains, as they are.
    pub(super) fn gains(&self) -> Vec<f64> {
        self.values.iter().map(|v| self.sign * v).collect()
    }

    /// Draws of where the truth may lie, as gains.
    pub(super) fn draws(&self, count: usize, rng: &mut Rng) -> Vec<Vec<f64>> {
        let root = root(&self.covariance);
        let center = DVector::from_column_slice(&self.values);
        let draw = |_| {
            let z = DVector::from_fn(root.ncols(), |_, _| standard_normal(rng));
            let spread = 1.0 / chi_squared_ratio(self.family_degrees, rng).sqrt();
            let drawn = (&center + &root * z * spread) * self.sign;
            drawn.iter().copied().collect()
        };
        (0..count).map(draw).collect()
    }
}

/// See [`Effects::interaction`]. An estimator without a model says nothing about interactions: then all of the spread
/// may be.
#[allow(clippy::cast_precision_loss)]
fn interaction(space: &DesignSpace, profile: &MetricProfile) -> f64 {
    let unexplained = 1.0 - profile.held_out_r2.unwrap_or(0.0).clamp(0.0, 1.0);
    let deepness = |unit: &crate::space::Unit| (unit.min_depth() + unit.max_depth()) as f64 / 2.0;
    let layers: f64 = space.units().iter().map(deepness).sum();
    profile.sd * (unexplained / layers.max(1.0)).sqrt()
}
