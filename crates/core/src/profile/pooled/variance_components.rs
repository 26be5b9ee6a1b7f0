//! How much each level of the structure contributes.
//!
//! y = Z theta + noise, theta ~ N(0, P), P = sum over levels g of s_g A_g A_g', with a wide fixed variance for the
//! intercept. The variances s have a prior ([`super::prior`]): with it and the marginal likelihood, they and that of
//! the noise are the likeliest on a logarithmic scale, found with the updates of Zhou, Hu, Qiao, Cho and Zhou, "MM
//! algorithms for variance component models" (JCGS 2019), to which the prior adds a term: every step raises the
//! posterior density and keeps variances positive.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::data::Compressed;
use super::features::Features;
use super::inverse::inverse;
use super::prior::Prior;
use super::tails::Scales;

/// Variance of the intercept, in units of the metric's variance: its prior does not matter.
const WIDE: f64 = 10.0;
/// Smallest noise variance, in the same units: a metric without noise (MACs) stays solvable without loss of digits.
const LEAST_NOISE: f64 = 1e-6;
/// Updates end when no variance that matters changes by more than this, relatively.
const CONVERGED: f64 = 0.02;

/// Variances of the noise and of the levels.
#[derive(Clone, Debug)]
pub(super) struct Variances {
    pub(super) noise: f64,
    pub(super) levels: Vec<f64>,
}

/// The model of compressed data: what every level adds to the covariance of `y`.
pub(super) struct Model<'a> {
    pub(super) features: &'a Features,
    pub(super) data: &'a Compressed,
    /// A_g by level: its directions, each times its scale.
    pub(super) directions: Vec<DMatrix<f64>>,
    /// Z A_g by level.
    factors: Vec<DMatrix<f64>>,
    /// Z A_g A_g' Z' by level.
    kernels: Vec<DMatrix<f64>>,
    /// What a variance of 1 adds to that of an observation, by level, on average over the observations; 0 for levels
    /// that do not vary in them.
    pub(super) reach: Vec<f64>,
    /// What the intercept adds.
    pub(super) fixed: DMatrix<f64>,
}

impl<'a> Model<'a> {
    pub(super) fn new(features: &'a Features, data: &'a Compressed, scales: &Scales) -> Self {
        let levels = features.levels().iter().zip(scales);
        let directions: Vec<DMatrix<f64>> = levels.map(|(level, s)| scaled(level, s)).collect();
        let factors: Vec<DMatrix<f64>> = directions.iter().map(|d| &data.z * d).collect();
        let intercept = data.z.column(0);
        Self {
            features,
            data,
            kernels: factors.iter().map(|f| f * f.transpose()).collect(),
            reach: factors
                .iter()
                .map(|f| f.norm_squared() / data.observations())
                .collect(),
            factors,
            directions,
            fixed: intercept * intercept.transpose() * WIDE,
        }
    }

    /// The covariance of y, factored; `None` when that fails.
    pub(super) fn marginal(&self, v: &Variances) -> Option<Cholesky<f64, Dyn>> {
        let mut h = self.fixed.clone();
        for (kernel, &s) in self.kernels.iter().zip(&v.levels) {
            h.zip_apply(kernel, |h, k| *h += s * k);
        }
        (0..h.nrows()).for_each(|i| h[(i, i)] += v.noise);
        Cholesky::new(h)
    }

    /// A root of the prior covariance of the coefficients: the intercept, then all directions of all levels, each times
    /// its standard deviation.
    pub(super) fn prior_root(&self, v: &Variances) -> DMatrix<f64> {
        let mut intercept = DVector::zeros(self.features.columns());
        intercept[0] = WIDE.sqrt();
        let levels = self.directions.iter().zip(&v.levels);
        let levels: Vec<DMatrix<f64>> = levels.map(|(d, s)| d * s.sqrt()).collect();
        let columns = levels.iter().flat_map(DMatrix::column_iter);
        let columns = std::iter::once(intercept.column(0)).chain(columns);
        DMatrix::from_columns(&columns.collect::<Vec<_>>())
    }

    /// The likeliest variances under a prior, from `start` on, with at most so many updates; `None` when a matrix
    /// cannot be factored.
    pub(super) fn maximise(
        &self,
        prior: Prior,
        start: Variances,
        most: usize,
    ) -> Option<Variances> {
        let mut v = start;
        for _ in 0..most {
            if self.improve(prior, &mut v)? < CONVERGED {
                break;
            }
        }
        Some(v)
    }

    /// A tenth of the variance as noise, and levels as they usually are.
    pub(super) fn begin(&self, prior: Prior) -> Variances {
        Variances {
            noise: 0.1,
            levels: self.reach.iter().map(|&r| prior.levels.usual(r)).collect(),
        }
    }

    /// One round of updates; returns the largest change that matters.
    pub(super) fn improve(&self, prior: Prior, v: &mut Variances) -> Option<f64> {
        let inverse = inverse(&self.marginal(v)?);
        let weighted = &inverse * &self.data.y;
        let mut change: f64 = 0.0;
        let levels = self.factors.iter().zip(&self.kernels).zip(&self.reach);
        for (((factor, kernel), &reach), s) in levels.zip(&mut v.levels) {
            if reach > 0.0 {
                let fit = factor.tr_mul(&weighted).norm_squared();
                let expected = inverse.dot(kernel);
                let next = prior.levels.update(*s, reach, fit, expected);
                // What hardly contributes may change as it likes.
                change = change.max((next / *s).ln().abs() * (*s * expected).min(1.0));
                *s = next;
            }
        }
        let (rest, degrees) = self.data.rest;
        let fit = weighted.norm_squared() + rest / (v.noise * v.noise);
        let expected = inverse.trace() + degrees / v.noise;
        let next = prior.noise.update(v.noise, 1.0, fit, expected);
        let next = next.max(LEAST_NOISE);
        change = change.max((next / v.noise).ln().abs() * (v.noise * expected).min(1.0));
        v.noise = next;
        Some(change)
    }

    /// Logarithm of the marginal likelihood, but for a constant; `None` when a matrix cannot be factored.
    pub(super) fn log_likelihood(&self, v: &Variances) -> Option<f64> {
        let h = self.marginal(v)?;
        let fit = self.data.y.dot(&h.solve(&self.data.y));
        let log_determinant: f64 = h.l_dirty().diagonal().iter().map(|d| 2.0 * d.ln()).sum();
        let (rest, degrees) = self.data.rest;
        let beyond = rest / v.noise + degrees * v.noise.ln();
        Some(-0.5 * (fit + log_determinant + beyond))
    }

    /// The expected information on the logarithms of all variances, levels first and noise last: tr(H^-1 K_g H^-1 K_h)
    /// / 2 times both variances. `inverse` is that of the covariance of y.
    pub(super) fn information(&self, v: &Variances, inverse: &DMatrix<f64>) -> DMatrix<f64> {
        let weighted: Vec<DMatrix<f64>> = self.factors.iter().map(|f| inverse * f).collect();
        let levels = v.levels.len();
        let mut information = DMatrix::zeros(levels + 1, levels + 1);
        let mut put = |i: usize, j: usize, value: f64| {
            information[(i, j)] = value;
            information[(j, i)] = value;
        };
        for (g, (factor, &s)) in self.factors.iter().zip(&v.levels).enumerate() {
            for (h, (other, &r)) in weighted.iter().zip(&v.levels).enumerate().take(g + 1) {
                put(g, h, factor.tr_mul(other).norm_squared() * s * r / 2.0);
            }
            put(g, levels, weighted[g].norm_squared() * s * v.noise / 2.0);
        }
        let rest = self.data.rest.1 / (v.noise * v.noise);
        let noise = (inverse.norm_squared() + rest) * v.noise * v.noise / 2.0;
        put(levels, levels, noise);
        information
    }
}

fn scaled(directions: &DMatrix<f64>, scales: &DVector<f64>) -> DMatrix<f64> {
    let mut scaled = directions.clone();
    let columns = scaled.column_iter_mut().zip(scales.iter());
    columns.for_each(|(mut column, scale)| column *= *scale);
    scaled
}
