//! Where a metric's variance over architectures comes from.
//!
//! Depths, widths and blocks are drawn independently, so the variances of their main effects add up: Var(y) is
//! the sum over units of Var(depth effect) and Var(width effect), plus the sum over placements of P(active) times
//! the mean squared block effect, plus the rest (interactions between layers, and noise). Block effects split
//! further, within a placement, into kernel, expansion beyond kernel, and what else the blocks are.

use nalgebra::{DMatrix, DVector};
use rand::RngExt;

use super::{Estimate, Layout, Means, Uncertainty, VarianceShare, VarianceSource};
use crate::seed::Seed;
use crate::space::{Block, DesignSpace};

/// Draws from the joint distribution of the means behind every interval.
const DRAWS: usize = 200;

const PARTS: [VarianceSource; 5] = [
    VarianceSource::Depth,
    VarianceSource::Width,
    VarianceSource::Kernel,
    VarianceSource::Expansion,
    VarianceSource::Block,
];

/// Variance by unit (rows) and part (columns).
type Table = Vec<[f64; PARTS.len()]>;

/// Shares of the metric's variance: for the whole network, then for every unit.
///
/// Squares of noisy estimates are corrected for the noise, and shares end at 0 and 1.
pub(super) fn variance_shares(
    space: &DesignSpace,
    layout: &Layout,
    means: &Means,
) -> Vec<VarianceShare> {
    let total = means.sd * means.sd;
    if total <= 0.0 {
        return Vec::new();
    }
    let plain = decompose(space, layout, &means.values);
    let draws: Vec<Table> = joint_draws(means)
        .iter()
        .map(|values| decompose(space, layout, values))
        .collect();
    let share = |of: &dyn Fn(&Table) -> f64| {
        let point = of(&plain) / total;
        let drawn: Vec<f64> = draws.iter().map(|table| of(table) / total).collect();
        corrected(point, &drawn, means.uncertainty)
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
            let explained = |table: &Table| table.iter().flatten().sum::<f64>();
            let all = share(&explained);
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

/// Removes what noise does to squares. Draws around an unbiased estimate lie above its square as far as
/// that lies above the truth's, so that excess is taken off once. Draws from a posterior are draws of the
/// truth itself: their mean is the answer.
fn corrected(point: f64, drawn: &[f64], uncertainty: Uncertainty) -> Estimate {
    let average = crate::stats::mean(drawn);
    let value = match uncertainty {
        Uncertainty::Sampling => 2.0 * point - average,
        Uncertainty::Posterior => average,
    };
    let se = crate::stats::variance(drawn).sqrt();
    clamp(Estimate {
        value,
        se,
        low: value - 1.96 * se,
        high: value + 1.96 * se,
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
fn joint_draws(means: &Means) -> Vec<Vec<f64>> {
    let n = means.values.len();
    let eigen = DMatrix::from_row_slice(n, n, &means.covariance).symmetric_eigen();
    // Only directions that carry variance cost anything.
    let largest = eigen.eigenvalues.max();
    let kept: Vec<usize> = (0..n)
        .filter(|&i| eigen.eigenvalues[i] > 1e-10 * largest)
        .collect();
    let root = DMatrix::from_fn(n, kept.len(), |row, column| {
        eigen.eigenvectors[(row, kept[column])] * eigen.eigenvalues[kept[column]].sqrt()
    });
    let mut rng = Seed(0).stream("variance shares").rng();
    let mut normal = || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
    (0..DRAWS)
        .map(|_| {
            let z = DVector::from_fn(kept.len(), |_, _| normal());
            (&root * z)
                .iter()
                .zip(&means.values)
                .map(|(d, v)| v + d)
                .collect()
        })
        .collect()
}
