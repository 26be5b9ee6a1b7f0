//! What a sum over blocks leaves of a metric, from architectures that are alike.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::parts::{Row, Rows};

/// Most examples that the likeness is chosen by: more would choose the same.
const JUDGES: usize = 256;
/// How many parts must differ for architectures to be as good as strangers, as shares of all parts.
const REACHES: [f64; 5] = [1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0, 1.0];
/// Noise, as shares of what likeness explains.
const NOISES: [f64; 4] = [1e-4, 1e-2, 0.1, 1.0];

/// A Gaussian process whose covariance falls exponentially with the number of parts that differ. That is a product over
/// kinds of parts, and so holds interactions of every order, those of few parts first.
pub(super) struct Likeness {
    rows: Rows,
    /// Covariance by number of common parts, where the variance is 1.
    covariance: Vec<f64>,
    weights: Vec<f64>,
    factor: Cholesky<f64, Dyn>,
    variance: f64,
}

impl Likeness {
    /// Learns values that scatter around 0. `None` where there is nothing to learn.
    pub(super) fn learn(kinds: usize, rows: &[Row], values: &[f64]) -> Option<Self> {
        if values.len() < 2 || values.iter().all(|v| *v == 0.0) {
            return None;
        }
        let step = rows.len().div_ceil(JUDGES);
        let pick = |i: &usize| i.is_multiple_of(step);
        let judges: Vec<usize> = (0..rows.len()).filter(pick).collect();
        let some: Vec<Row> = judges.iter().map(|i| rows[*i].clone()).collect();
        let of_some = DVector::from_iterator(judges.len(), judges.iter().map(|i| values[*i]));
        let common = common(&Rows::new(&some), &some);
        let mut best: Option<(f64, f64, f64)> = None;
        for reach in REACHES {
            for noise in NOISES {
                let covariance = covariance(kinds, reach);
                let Some(score) = log_likelihood(&common, &covariance, noise, &of_some) else {
                    continue;
                };
                if best.is_none_or(|(most, ..)| score > most) {
                    best = Some((score, reach, noise));
                }
            }
        }
        let (_, reach, noise) = best?;
        Self::with(covariance(kinds, reach), noise, rows, values)
    }

    fn with(covariance: Vec<f64>, noise: f64, rows: &[Row], values: &[f64]) -> Option<Self> {
        let all = Rows::new(rows);
        let factor = factor(&common(&all, rows), &covariance, noise)?;
        let values = DVector::from_row_slice(values);
        let weights = factor.solve(&values);
        Some(Self {
            variance: values.dot(&weights) / values.len() as f64,
            weights: weights.as_slice().to_vec(),
            rows: all,
            covariance,
            factor,
        })
    }

    /// The expected value; `common` is memory to work in.
    pub(super) fn mean(&self, row: &Row, common: &mut Vec<u32>) -> f64 {
        self.rows.common(row, common);
        let terms = common.iter().zip(&self.weights);
        terms
            .map(|(count, weight)| self.covariance[*count as usize] * weight)
            .sum()
    }

    /// The variance of the value without noise, for each of some architectures.
    pub(super) fn variances(&self, rows: &[Row]) -> Vec<f64> {
        let mut counts = Vec::new();
        let mut cross = DMatrix::zeros(self.weights.len(), rows.len());
        for (mut column, row) in cross.column_iter_mut().zip(rows) {
            self.rows.common(row, &mut counts);
            let pairs = column.iter_mut().zip(&counts);
            pairs.for_each(|(value, count)| *value = self.covariance[*count as usize]);
        }
        self.factor.l_dirty().solve_lower_triangular_mut(&mut cross);
        let known = cross.column_iter().map(|column| column.norm_squared());
        known
            .map(|known| self.variance * (1.0 - known).max(0.0))
            .collect()
    }
}

/// Covariance by number of common parts.
fn covariance(kinds: usize, reach: f64) -> Vec<f64> {
    let scale = reach * kinds.max(1) as f64;
    let value = |alike: usize| (-((kinds - alike) as f64) / scale).exp();
    (0..=kinds).map(value).collect()
}

/// Numbers of common parts between all of some architectures.
fn common(all: &Rows, rows: &[Row]) -> DMatrix<u32> {
    let mut counts = Vec::new();
    let mut matrix = DMatrix::zeros(rows.len(), rows.len());
    for (mut column, row) in matrix.column_iter_mut().zip(rows) {
        all.common(row, &mut counts);
        column.copy_from_slice(&counts);
    }
    matrix
}

fn factor(common: &DMatrix<u32>, covariance: &[f64], noise: f64) -> Option<Cholesky<f64, Dyn>> {
    let mut matrix = common.map(|count| covariance[count as usize]);
    (0..matrix.nrows()).for_each(|i| matrix[(i, i)] += noise);
    Cholesky::new(matrix)
}

/// Up to a constant, with the most likely variance.
fn log_likelihood(
    common: &DMatrix<u32>,
    covariance: &[f64],
    noise: f64,
    values: &DVector<f64>,
) -> Option<f64> {
    let factor = factor(common, covariance, noise)?;
    let n = values.len() as f64;
    let variance = values.dot(&factor.solve(values)) / n;
    let volume: f64 = (0..values.len())
        .map(|i| factor.l_dirty()[(i, i)].ln())
        .sum();
    Some(-0.5 * n * variance.ln() - volume)
}

#[cfg(test)]
mod tests {
    use super::super::parts::Parts;
    use super::*;
    use crate::seed::Seed;
    use crate::space::{Architecture, DesignSpace};

    fn drawn(space: &DesignSpace, count: usize, seed: u64) -> Vec<Architecture> {
        let mut rng = Seed(seed).rng();
        (0..count)
            .map(|_| space.sample(224, &mut rng).unwrap())
            .collect()
    }

    /// Mean and variance against their definitions, with an explicit inverse.
    #[test]
    fn predictions_are_those_of_the_textbook() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let parts = Parts::new(&space, &[224]);
        let rows: Vec<Row> = drawn(&space, 12, 1).iter().map(|a| parts.row(a)).collect();
        let values: Vec<f64> = (0..12).map(|i| f64::from((i * 7) % 5) - 2.0).collect();
        let (table, noise) = (covariance(parts.kinds(), 0.3), 0.05);
        let learnt = Likeness::with(table.clone(), noise, &rows, &values).unwrap();
        let alike = |a: &Row, b: &Row| -> f64 {
            let pairs = a.iter().zip(b);
            table[pairs
                .map(|(x, y)| (x & y).count_ones() as usize)
                .sum::<usize>()]
        };
        let k = DMatrix::from_fn(12, 12, |i, j| {
            alike(&rows[i], &rows[j]) + if i == j { noise } else { 0.0 }
        });
        let inverse = k.try_inverse().unwrap();
        let y = DVector::from_vec(values);
        let variance = (y.transpose() * &inverse * &y)[0] / 12.0;
        for arch in drawn(&space, 5, 2) {
            let row = parts.row(&arch);
            let cross = DVector::from_fn(12, |i, _| alike(&rows[i], &row));
            let mean = (cross.transpose() * &inverse * &y)[0];
            let left = variance * (1.0 - (cross.transpose() * &inverse * &cross)[0]);
            assert!((learnt.mean(&row, &mut Vec::new()) - mean).abs() < 1e-9);
            assert!((learnt.variances(&[row])[0] - left).abs() < 1e-9);
        }
    }

    /// Products of two parts, which no sum over parts can say.
    #[test]
    fn interactions_are_learnt() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let parts = Parts::new(&space, &[224]);
        let value = |arch: &Architecture| {
            let sign = |unit: usize| if arch.depth(unit) > 2 { 1.0 } else { -1.0 };
            sign(0) * sign(1) + sign(2) * sign(3)
        };
        let (known, unknown) = (drawn(&space, 400, 1), drawn(&space, 200, 2));
        let rows: Vec<Row> = known.iter().map(|a| parts.row(a)).collect();
        let values: Vec<f64> = known.iter().map(value).collect();
        let learnt = Likeness::learn(parts.kinds(), &rows, &values).unwrap();
        let errors = unknown.iter().map(|a| {
            let error = learnt.mean(&parts.row(a), &mut Vec::new()) - value(a);
            error * error
        });
        let truth: Vec<f64> = unknown.iter().map(value).collect();
        let left = errors.sum::<f64>() / 200.0 / crate::stats::variance(&truth);
        assert!(left < 0.5, "{left}");
        assert!(Likeness::learn(parts.kinds(), &rows, &[0.0; 400]).is_none());
    }
}
