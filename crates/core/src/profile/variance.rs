//! Where a metric's variance over architectures comes from.
//!
//! Depths, widths and blocks are drawn independently, so the variances of their main effects add up: Var(y) is
//! the sum over units of Var(depth effect) and Var(width effect), plus the sum over placements of P(active) times
//! the mean squared block effect, plus the rest (interactions between layers, and noise). Block effects split
//! further, within a placement, into kernel, expansion beyond kernel, and what else the blocks are.

use nalgebra::{DMatrix, DVector};

use super::residual::Residuals;
use super::{Estimate, Layout, Means, Uncertainty, VarianceShare, VarianceSource};
use crate::seed::Seed;
use crate::space::{Block, DesignSpace};
use crate::stats::max_t::root;
use crate::stats::{chi_squared_ratio, critical_t, quantile, standard_normal};

/// Draws from the joint distribution of the means behind every interval.
const DRAWS: usize = 1_000;

const PARTS: [VarianceSource; 5] = [
    VarianceSource::Depth,
    VarianceSource::Width,
    VarianceSource::Kernel,
    VarianceSource::Expansion,
    VarianceSource::Block,
];

/// Variance by unit (rows) and part (columns).
type Table = Vec<[f64; PARTS.len()]>;

/// What the variance shares are parts of.
#[derive(Clone, Copy)]
pub(super) enum Total {
    /// The sum of the explained part and of this residual variance, which has so many degrees of freedom.
    Residual {
        variance: f64,
        degrees_of_freedom: f64,
    },
    /// This, with so many degrees of freedom.
    Known {
        variance: f64,
        degrees_of_freedom: f64,
    },
}

impl Total {
    /// With shrunken estimates the residuals tell what is not explained, however the few networks happened to vary.
    /// Others come from so many networks that their plain variance is known well enough.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn new(means: &Means, residuals: Option<&Residuals>, evaluations: usize) -> Self {
        match residuals {
            Some(r) if means.uncertainty == Uncertainty::Posterior => Self::Residual {
                variance: r.variance,
                degrees_of_freedom: r.degrees_of_freedom,
            },
            _ => Self::Known {
                variance: means.sd * means.sd,
                degrees_of_freedom: evaluations as f64,
            },
        }
    }

    fn point(self, explained: f64) -> f64 {
        match self {
            Self::Residual { variance, .. } => explained + variance,
            Self::Known { variance, .. } => variance,
        }
    }

    /// One draw of what it may truly be: a variance over its own estimate's distribution.
    fn drawn(self, explained: f64, rng: &mut crate::seed::Rng) -> f64 {
        let (of_explained, variance, degrees) = match self {
            Self::Residual {
                variance,
                degrees_of_freedom,
            } => (explained, variance, degrees_of_freedom),
            Self::Known {
                variance,
                degrees_of_freedom,
            } => (0.0, variance, degrees_of_freedom),
        };
        of_explained + variance / chi_squared_ratio(degrees, rng)
    }
}

/// Shares of the metric's variance: for the whole network, then for every unit.
///
/// Squares of noisy estimates are corrected for the noise, and shares end at 0 and 1.
pub(super) fn variance_shares(
    space: &DesignSpace,
    layout: &Layout,
    means: &Means,
    draws: &JointDraws,
    total: Total,
) -> Vec<VarianceShare> {
    if means.sd <= 0.0 {
        return Vec::new();
    }
    let all = |table: &Table| table.iter().flatten().sum::<f64>();
    let plain = decompose(space, layout, &means.values);
    let plain_total = total.point(all(&plain));
    let mut rng = Seed(0).stream("variance totals").rng();
    let drawn: Vec<(Table, f64)> = (0..draws.len())
        .map(|i| {
            let table = decompose(space, layout, draws.get(i));
            let total = total.drawn(all(&table), &mut rng);
            (table, total)
        })
        .collect();
    let share = |of: &dyn Fn(&Table) -> f64| {
        let point = of(&plain) / plain_total;
        let drawn: Vec<f64> = drawn
            .iter()
            .map(|(table, total)| of(table) / total)
            .collect();
        corrected(point, &drawn, means)
    };
    let has_widths = space.units().iter().any(|unit| unit.widths().len() > 1);
    let mut shares = Vec::new();
    for unit in std::iter::once(None).chain((0..layout.units()).map(Some)) {
        let pick = |table: &Table, part: usize| match unit {
            Some(u) => table[u][part],
            None => table.iter().map(|row| row[part]).sum(),
        };
        let shown = unit.map(|u| u + 1);
        for (part, source) in PARTS.into_iter().enumerate() {
            if source == VarianceSource::Width && !has_widths {
                continue;
            }
            shares.push(VarianceShare {
                source,
                unit: shown,
                share: share(&|table| pick(table, part)),
            });
        }
        if unit.is_none() {
            let all = share(&all);
            let rest = Estimate {
                value: 1.0 - all.value,
                se: all.se,
                low: 1.0 - all.high,
                high: 1.0 - all.low,
            };
            shares.push(VarianceShare {
                source: VarianceSource::Rest,
                unit: None,
                share: clamp(rest),
            });
        }
    }
    shares
}

/// The metric's variance over architectures, and the standard deviation, relative, of what it may be.
pub(super) fn total_variance(
    space: &DesignSpace,
    layout: &Layout,
    draws: &JointDraws,
    total: Total,
) -> (f64, f64) {
    let mut rng = Seed(0).stream("total variance").rng();
    let explained = |i| {
        let table = decompose(space, layout, draws.get(i));
        table.iter().flatten().sum::<f64>()
    };
    let explained: Vec<f64> = (0..draws.len()).map(explained).collect();
    let value = total.point(crate::stats::mean(&explained));
    let drawn: Vec<f64> = explained
        .iter()
        .map(|&e| total.drawn(e, &mut rng))
        .collect();
    (value, crate::stats::variance(&drawn).sqrt() / value)
}

/// Removes what noise does to squares. Draws around an unbiased estimate lie above its square as far as
/// that lies above the truth's, so that excess is taken off once. Draws from a posterior are draws of the
/// truth itself: their mean is the answer. The interval has the draws' own shape, which is skewed near 0, and the width
/// that the degrees of freedom ask for.
fn corrected(point: f64, drawn: &[f64], means: &Means) -> Estimate {
    let average = crate::stats::mean(drawn);
    let value = match means.uncertainty {
        Uncertainty::Sampling => 2.0 * point - average,
        Uncertainty::Posterior => average,
    };
    let stretch = critical_t(0.05, means.degrees_of_freedom) / critical_t(0.05, f64::INFINITY);
    let end = |q| quantile(drawn, q).map_or(value, |x| value + stretch * (x - average));
    clamp(Estimate {
        value,
        se: crate::stats::variance(drawn).sqrt(),
        low: end(0.025),
        high: end(0.975),
    })
}

fn clamp(e: Estimate) -> Estimate {
    let unit = |x: f64| x.clamp(0.0, 1.0);
    Estimate {
        value: unit(e.value),
        se: e.se,
        low: unit(e.low),
        high: unit(e.high),
    }
}

fn decompose(space: &DesignSpace, layout: &Layout, values: &[f64]) -> Table {
    let mut table: Table = vec![[0.0; PARTS.len()]; layout.units()];
    for (unit, row) in table.iter_mut().enumerate() {
        let depths: Vec<f64> = layout
            .depths(unit)
            .map(|d| values[layout.depth(unit, d)])
            .collect();
        let widths: Vec<f64> = layout
            .widths(unit)
            .map(|w| values[layout.width(unit, w)])
            .collect();
        row[0] = mean_square_deviation(&depths);
        row[1] = mean_square_deviation(&widths);
    }
    for placement in layout.placements() {
        let blocks = space.blocks(placement);
        let means: Vec<f64> = layout
            .block_ids(placement)
            .map(|b| values[layout.block(placement, b)])
            .collect();
        let kernels: Vec<_> = blocks.iter().map(Block::kernel).collect();
        let expansions: Vec<_> = blocks.iter().map(Block::expansion).collect();
        let kernel = mean_square_deviation(&group_means(&means, &kernels));
        let additive = mean_square_deviation(&additive_fit(&means, &kernels, &expansions));
        let expansion = (additive - kernel).max(0.0);
        let rest = (mean_square_deviation(&means) - kernel - expansion).max(0.0);
        let active = layout.active_probability(placement);
        let row = &mut table[placement.unit];
        row.iter_mut()
            .skip(2)
            .zip([kernel, expansion, rest])
            .for_each(|(sum, v)| *sum += active * v);
    }
    table
}

fn mean_square_deviation(values: &[f64]) -> f64 {
    let center = crate::stats::mean(values);
    crate::stats::mean(
        &values
            .iter()
            .map(|v| (v - center).powi(2))
            .collect::<Vec<_>>(),
    )
}

/// For every value, the mean of those that share its label.
fn group_means<L: PartialEq>(values: &[f64], labels: &[L]) -> Vec<f64> {
    let of_group = |label: &L| -> Vec<f64> {
        let members = values.iter().zip(labels).filter(|(_, l)| *l == label);
        members.map(|(v, _)| *v).collect()
    };
    labels
        .iter()
        .map(|label| crate::stats::mean(&of_group(label)))
        .collect()
}

/// The least-squares fit of `values` by a sum of an effect of one label and an effect of another, centred, found
/// by fitting each to what the other leaves (backfitting).
fn additive_fit<A: PartialEq, B: PartialEq>(values: &[f64], a: &[A], b: &[B]) -> Vec<f64> {
    // Where every pair of labels occurs equally often, the first round is exact; lists with gaps need more.
    const ROUNDS: usize = 30;
    let minus =
        |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x - y).collect() };
    let centre = crate::stats::mean(values);
    let centred: Vec<f64> = values.iter().map(|v| v - centre).collect();
    let mut by_b = vec![0.0; values.len()];
    let mut by_a = by_b.clone();
    for _ in 0..ROUNDS {
        by_a = group_means(&minus(&centred, &by_b), a);
        let next = group_means(&minus(&centred, &by_a), b);
        let change = minus(&next, &by_b).iter().map(|d| d * d).sum::<f64>();
        by_b = next;
        if change <= 1e-18 * centred.iter().map(|c| c * c).sum::<f64>() {
            break;
        }
    }
    by_a.iter().zip(&by_b).map(|(x, y)| x + y).collect()
}

/// Seeded draws of all means from their joint normal distribution.
pub(super) struct JointDraws {
    drawn: Vec<Vec<f64>>,
}

impl JointDraws {
    pub(super) fn new(means: &Means) -> Self {
        let n = means.values.len();
        let root = root(&DMatrix::from_row_slice(n, n, &means.covariance));
        let mut rng = Seed(0).stream("variance shares").rng();
        let drawn = (0..DRAWS).map(|_| {
            let z = DVector::from_fn(root.ncols(), |_, _| standard_normal(&mut rng));
            let deviations = &root * z;
            let values = deviations.iter().zip(&means.values);
            values.map(|(d, v)| v + d).collect()
        });
        Self {
            drawn: drawn.collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.drawn.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.drawn.is_empty()
    }

    /// The `index`-th draw, in the order of the layout.
    pub(super) fn get(&self, index: usize) -> &[f64] {
        &self.drawn[index]
    }
}
