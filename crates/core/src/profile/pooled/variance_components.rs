//! How much each level of the structure contributes, by maximum likelihood, and what follows for the
//! coefficients.
//!
//! y = Z theta + noise, theta ~ N(0, P), P = sum over levels g of s_g A_g A_g', with a wide fixed variance
//! for the intercept. The variances s and that of the noise maximise the marginal likelihood,
//! found with the multiplicative updates of Zhou, Hu, Qiao, Cho and Zhou, "MM algorithms for variance component
//! models" (JCGS 2019): every step raises the likelihood and keeps variances positive.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::data::Compressed;
use super::features::Features;
use super::tails::Scales;

/// Variance of the intercept, in units of the metric's variance: its prior does not matter.
const WIDE: f64 = 10.0;
/// Smallest noise variance, in the same units: a metric without noise (MACs) stays solvable without loss of digits.
const LEAST_NOISE: f64 = 1e-6;
/// A level whose variance falls below this explains nothing.
const LEAST_LEVEL: f64 = 1e-12;
/// Most updates.
const MOST_UPDATES: usize = 200;
/// Updates end when no variance that matters changes by more than this, relatively.
const CONVERGED: f64 = 0.01;

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
    /// Z A_g A_g' Z' by level.
    pub(super) kernels: Vec<DMatrix<f64>>,
    /// What the intercept adds.
    fixed: DMatrix<f64>,
}

impl<'a> Model<'a> {
    pub(super) fn new(features: &'a Features, data: &'a Compressed, scales: &Scales) -> Self {
        let levels = features.levels().iter().zip(scales);
        let directions: Vec<DMatrix<f64>> = levels.map(|(level, s)| scaled(level, s)).collect();
        let kernel = |directions: &DMatrix<f64>| {
            let factor = &data.z * directions;
            &factor * factor.transpose()
        };
        let intercept = data.z.column(0);
        Self {
            features,
            data,
            kernels: directions.iter().map(kernel).collect(),
            directions,
            fixed: intercept * intercept.transpose() * WIDE,
        }
    }

    /// The covariance of y, factored; `None` when that fails.
    pub(super) fn marginal(&self, v: &Variances) -> Option<Cholesky<f64, Dyn>> {
        let mut h = self.fixed.clone();
        for (kernel, &s) in self.kernels.iter().zip(&v.levels) {
            if s > LEAST_LEVEL {
                h.zip_apply(kernel, |h, k| *h += s * k);
            }
        }
        (0..h.nrows()).for_each(|i| h[(i, i)] += v.noise);
        Cholesky::new(h)
    }

    /// Prior covariance of the coefficients.
    pub(super) fn prior(&self, v: &Variances) -> DMatrix<f64> {
        let columns = self.features.columns();
        let mut prior = DMatrix::zeros(columns, columns);
        prior[(0, 0)] = WIDE;
        for (directions, &s) in self.directions.iter().zip(&v.levels) {
            if s > LEAST_LEVEL {
                prior.gemm(s, directions, &directions.transpose(), 1.0);
            }
        }
        prior
    }

    /// The variances of greatest likelihood, from `start` on; `None` when a matrix cannot be factored.
    pub(super) fn maximise(&self, start: Option<Variances>) -> Option<Variances> {
        let mut v = start.unwrap_or_else(|| self.start());
        for _ in 0..MOST_UPDATES {
            if self.improve(&mut v)? < CONVERGED {
                break;
            }
        }
        Some(v)
    }

    /// A tenth of the variance as noise and the rest shared by all levels.
    fn start(&self) -> Variances {
        let levels = self.kernels.len() as f64;
        let share = |kernel: &DMatrix<f64>| {
            let mean_square = kernel.trace() / kernel.nrows() as f64;
            if mean_square > 0.0 {
                0.9 / levels / mean_square
            } else {
                0.0
            }
        };
        Variances {
            noise: 0.1,
            levels: self.kernels.iter().map(share).collect(),
        }
    }

    /// One round of updates; returns the largest change that matters.
    fn improve(&self, v: &mut Variances) -> Option<f64> {
        let inverse = self.marginal(v)?.inverse();
        let weighted = &inverse * &self.data.y;
        let mut change: f64 = 0.0;
        for (kernel, s) in self.kernels.iter().zip(&mut v.levels) {
            if *s > LEAST_LEVEL {
                let fit = quadratic(kernel, &weighted);
                change = change.max(update(s, fit, inverse.dot(kernel)));
            }
        }
        let (rest, degrees) = self.data.rest;
        let fit = weighted.norm_squared() + rest / (v.noise * v.noise);
        let expected = inverse.trace() + degrees / v.noise;
        change = change.max(update(&mut v.noise, fit, expected));
        v.noise = v.noise.max(LEAST_NOISE);
        Some(change)
    }
}

fn scaled(directions: &DMatrix<f64>, scales: &DVector<f64>) -> DMatrix<f64> {
    let mut scaled = directions.clone();
    let columns = scaled.column_iter_mut().zip(scales.iter());
    columns.for_each(|(mut column, scale)| column *= *scale);
    scaled
}

/// x' K x.
fn quadratic(kernel: &DMatrix<f64>, x: &DVector<f64>) -> f64 {
    kernel
        .column_iter()
        .zip(x.iter())
        .map(|(c, x_i)| x_i * c.dot(x))
        .sum()
}

/// One multiplicative update; returns how much it changed what the variance contributes.
fn update(s: &mut f64, fit: f64, expected: f64) -> f64 {
    if expected <= 0.0 || *s <= 0.0 {
        *s = 0.0;
        return 0.0;
    }
    let ratio = (fit / expected).sqrt();
    // A variance on its way to zero changes for ever, but its contribution vanishes.
    let matters = (*s * expected).min(1.0);
    *s *= ratio;
    (ratio - 1.0).abs() * matters
}
