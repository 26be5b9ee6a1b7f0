//! How much each level of the structure contributes, by maximum likelihood, and what follows for the
//! coefficients.
//!
//! y = Z theta + noise, theta ~ N(0, P), P = sum over levels g of s_g A_g A_g', with wide fixed variances
//! for intercept and depths. The variances s and that of the noise maximise the marginal likelihood,
//! found with the multiplicative updates of Zhou, Hu, Qiao, Cho and Zhou, "MM algorithms for variance component
//! models" (JCGS 2019): every step raises the likelihood and keeps variances positive.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::Posterior;
use super::features::Features;

/// Variance of unshrunk coefficients, in units of the metric's variance: their prior does not matter.
const WIDE: f64 = 100.0;
/// Smallest noise variance, in the same units: a metric without noise (MACs) stays solvable.
const LEAST_NOISE: f64 = 1e-9;
/// A level whose variance falls below this explains nothing.
const LEAST_LEVEL: f64 = 1e-12;
/// Most updates.
const MOST_UPDATES: usize = 200;
/// Updates end when no variance that matters changes by more than this, relatively.
const CONVERGED: f64 = 0.01;

/// What is to be fitted: one row of `z` and one number of `y` per observation, `y` standardised.
pub(super) struct Problem<'a> {
    pub(super) z: &'a DMatrix<f64>,
    pub(super) y: &'a DVector<f64>,
    pub(super) features: &'a Features,
}

/// The same data in at most as many rows as there are columns.
struct Compressed {
    z: DMatrix<f64>,
    y: DVector<f64>,
    /// Sum of squares that no coefficient can explain, and its degrees of freedom.
    rest: (f64, f64),
}

impl Compressed {
    /// With more observations than columns, an orthogonal transformation leaves the columns'
    /// number of informative rows; the others hold noise only. Memory and time then no longer grow with n.
    fn new(z: &DMatrix<f64>, y: &DVector<f64>) -> Self {
        let (n, columns) = z.shape();
        if n <= columns {
            return Self {
                z: z.clone(),
                y: y.clone(),
                rest: (0.0, 0.0),
            };
        }
        let qr = z.clone().qr();
        let mut rotated = y.clone();
        qr.q_tr_mul(&mut rotated);
        let rest = rotated.rows(columns, n - columns).norm_squared();
        Self {
            z: qr.r(),
            y: rotated.rows(0, columns).into_owned(),
            rest: (rest, (n - columns) as f64),
        }
    }
}

/// Variances of the noise and of the levels.
struct Variances {
    noise: f64,
    levels: Vec<f64>,
}

/// Fits variances and coefficients; `None` when a matrix cannot be factored.
pub(super) fn fit(problem: &Problem<'_>) -> Option<Posterior> {
    let data = Compressed::new(problem.z, problem.y);
    let factors: Vec<DMatrix<f64>> = problem
        .features
        .levels()
        .iter()
        .map(|a| &data.z * a)
        .collect();
    let wide = wide_prior(problem.features);
    let fixed = &data.z * &wide * data.z.transpose();
    let variances = maximise(&data, &factors, &fixed)?;
    posterior(problem, &data, &factors, &fixed, &variances)
}

/// Prior covariance of the unshrunk coefficients.
fn wide_prior(features: &Features) -> DMatrix<f64> {
    let mut prior = DMatrix::zeros(features.columns(), features.columns());
    (0..features.fixed()).for_each(|i| prior[(i, i)] = WIDE);
    prior
}

fn marginal(
    fixed: &DMatrix<f64>,
    factors: &[DMatrix<f64>],
    v: &Variances,
) -> Option<Cholesky<f64, Dyn>> {
    let mut h = fixed.clone();
    for (factor, &s) in factors
        .iter()
        .zip(&v.levels)
        .filter(|(_, s)| **s > LEAST_LEVEL)
    {
        h.gemm(s, factor, &factor.transpose(), 1.0);
    }
    (0..h.nrows()).for_each(|i| h[(i, i)] += v.noise);
    Cholesky::new(h)
}

fn maximise(
    data: &Compressed,
    factors: &[DMatrix<f64>],
    fixed: &DMatrix<f64>,
) -> Option<Variances> {
    // Starts with a tenth of the variance as noise and the rest shared by all levels.
    let mut v = Variances {
        noise: 0.1,
        levels: factors.iter().map(|f| start(f, factors.len())).collect(),
    };
    for _ in 0..MOST_UPDATES {
        let factored = marginal(fixed, factors, &v)?;
        let inverse = factored.inverse();
        let weighted = &inverse * &data.y;
        let mut change: f64 = 0.0;
        for (factor, s) in factors
            .iter()
            .zip(&mut v.levels)
            .filter(|(_, s)| **s > LEAST_LEVEL)
        {
            let fit = factor.tr_mul(&weighted).norm_squared();
            // tr(F' H^-1 F), without forming more than one product.
            let expected = (&inverse * factor).component_mul(factor).sum();
            change = change.max(update(s, fit, expected));
        }
        let (rest, degrees) = data.rest;
        let fit = weighted.norm_squared() + rest / (v.noise * v.noise);
        let expected = inverse.trace() + degrees / v.noise;
        change = change.max(update(&mut v.noise, fit, expected));
        v.noise = v.noise.max(LEAST_NOISE);
        if change < CONVERGED {
            break;
        }
    }
    Some(v)
}

fn start(factor: &DMatrix<f64>, levels: usize) -> f64 {
    let mean_square = factor.norm_squared() / factor.nrows() as f64;
    if mean_square > 0.0 {
        0.9 / levels as f64 / mean_square
    } else {
        0.0
    }
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

fn posterior(
    problem: &Problem<'_>,
    data: &Compressed,
    factors: &[DMatrix<f64>],
    fixed: &DMatrix<f64>,
    v: &Variances,
) -> Option<Posterior> {
    let mut prior = wide_prior(problem.features);
    for (directions, &s) in problem.features.levels().iter().zip(&v.levels) {
        prior.gemm(s, directions, &directions.transpose(), 1.0);
    }
    let factored = marginal(fixed, factors, v)?;
    let gain = &prior * data.z.transpose();
    let coefficients = &gain * factored.solve(&data.y);
    let covariance = &prior - &gain * factored.solve(&gain.transpose());
    let covariance = (&covariance + covariance.transpose()) * 0.5;
    // The hat matrix's trace: how many parameters' worth of freedom the fit has used.
    let n = problem.y.len() as f64;
    let spread = &data.z * &covariance;
    let used = spread.component_mul(&data.z).sum() / v.noise;
    let degrees_of_freedom = (n - used).max(3.0);
    let held_out_r2 = leave_one_out_r2(problem, &coefficients, &covariance, v.noise);
    Some(Posterior {
        coefficients,
        covariance,
        degrees_of_freedom,
        held_out_r2,
    })
}

/// R2 of predictions for each observation from all others, variances kept: 1 - sum (e_i / (1 - h_i))^2 /
/// sum (y_i - mean)^2, with the leverages h of the ridge solution.
fn leave_one_out_r2(
    problem: &Problem<'_>,
    coefficients: &DVector<f64>,
    covariance: &DMatrix<f64>,
    noise: f64,
) -> f64 {
    let residuals = problem.y - problem.z * coefficients;
    let leverages = (problem.z * covariance)
        .component_mul(problem.z)
        .column_sum()
        / noise;
    let left_out: f64 = residuals
        .iter()
        .zip(leverages.iter())
        .map(|(e, h)| (e / (1.0 - h).max(1e-6)).powi(2))
        .sum();
    1.0 - left_out / problem.y.norm_squared()
}
