//! Outliers: observations that lie so far out that they say little.
//!
//! Weights that follow the values themselves (noise of so many percent would call for them) are not used: where the
//! model is wrong, they would bend the effects towards the architectures that count most. Weights of outliers do the
//! same to what is left of interactions, so they need strong evidence.

use nalgebra::DVector;

/// Degrees of freedom of the noise's Student t distribution that are tried, besides normal noise.
const TAILS: [f64; 3] = [8.0, 4.0, 2.5];
/// By how much the log likelihood must rise before noise is taken as anything else than normal: at least this, and this
/// for every observation. Noise with three degrees of freedom raises it by 0.195 for each; what interactions leave,
/// which is no noise, has lighter tails (0.07 for those of a double exponential).
const CONVINCING: f64 = 3.0;
const CONVINCING_EACH: f64 = 0.15;
/// Rounds of estimating the scale of t-distributed residuals.
const SCALE_ROUNDS: usize = 30;

/// What is known of the noise of each observation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Noise {
    /// Inverse variances, relative: their mean is 1.
    pub(super) weights: DVector<f64>,
    /// By how much the covariance's noise exceeds what the weights say: 1 without outliers. A weight of an observation
    /// from its own residual knows too much; for Student's t with v degrees of freedom the information is (v + 1) /
    /// (v + 3).
    pub(super) factor: f64,
}

impl Noise {
    /// Normal and the same everywhere.
    pub(super) fn constant(n: usize) -> Self {
        Self {
            weights: DVector::repeat(n, 1.0),
            factor: 1.0,
        }
    }

    /// Of residuals of observations that were left out of the fit.
    pub(super) fn of_residuals(residuals: &DVector<f64>) -> Self {
        let n = residuals.len();
        let squares: Vec<f64> = residuals.iter().map(|r| r * r).collect();
        let needed = CONVINCING.max(CONVINCING_EACH * n as f64);
        let mut best = (log_likelihood(&squares, f64::INFINITY) + needed, None);
        for tail in TAILS {
            let likelihood = log_likelihood(&squares, tail);
            if likelihood > best.0 {
                best = (likelihood, Some(tail));
            }
        }
        match best.1 {
            Some(tail) => Self::with_tail(&squares, tail),
            None => Self::constant(n),
        }
    }

    fn with_tail(squares: &[f64], tail: f64) -> Self {
        let scale = scale(squares, tail);
        let weight = |square: &f64| (tail + 1.0) / (tail + square / scale);
        let weights = DVector::from_iterator(squares.len(), squares.iter().map(weight));
        let mean = weights.mean();
        Self {
            weights: weights / mean,
            factor: (tail + 3.0) / (tail + 1.0),
        }
    }
}

/// Of residuals with these squares, under Student's t distribution (normal for an infinite `tail`) of the likeliest
/// scale.
fn log_likelihood(squares: &[f64], tail: f64) -> f64 {
    let scale = scale(squares, tail);
    let density = |square: &f64| {
        let u = square / scale;
        if tail.is_finite() {
            -(tail + 1.0) / 2.0 * (u / tail).ln_1p()
        } else {
            -u / 2.0
        }
    };
    let each = log_constant(tail) - scale.ln() / 2.0;
    squares.len() as f64 * each + squares.iter().map(density).sum::<f64>()
}

/// The squared scale of greatest likelihood of residuals with these squares.
fn scale(squares: &[f64], tail: f64) -> f64 {
    let mut scale = crate::stats::mean(squares).max(f64::MIN_POSITIVE);
    if tail.is_infinite() {
        return scale;
    }
    for _ in 0..SCALE_ROUNDS {
        let weighted: Vec<f64> = squares
            .iter()
            .map(|s| (tail + 1.0) / (tail + s / scale) * s)
            .collect();
        scale = crate::stats::mean(&weighted).max(f64::MIN_POSITIVE);
    }
    scale
}

/// Logarithm of the density at 0 of a standard normal (infinite `tail`) or Student t distribution.
fn log_constant(tail: f64) -> f64 {
    use statrs::function::gamma::ln_gamma;
    let pi = std::f64::consts::PI;
    if tail.is_infinite() {
        return -(2.0 * pi).ln() / 2.0;
    }
    ln_gamma(f64::midpoint(tail, 1.0)) - ln_gamma(tail / 2.0) - (tail * pi).ln() / 2.0
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    #[test]
    fn densities_at_zero_are_those_of_scipy() {
        // scipy.stats.t.logpdf(0, 4), scipy.stats.norm.logpdf(0)
        assert!((log_constant(4.0) + 0.980_829_253_011_726).abs() < 1e-12);
        assert!((log_constant(f64::INFINITY) + 0.918_938_533_204_672_7).abs() < 1e-12);
    }

    #[test]
    fn normal_noise_stays_normal_and_outliers_lose_weight() {
        let n = 60;
        // Quantiles of a normal distribution, as even as noise can be.
        let normal = Normal::standard();
        let residual = |i: usize| normal.inverse_cdf(((i * 7 % n) as f64 + 0.5) / n as f64);
        let residuals = DVector::from_fn(n, |i, _| residual(i));
        assert_eq!(Noise::of_residuals(&residuals), Noise::constant(n));
        let mut wild = residuals;
        wild[5] = 30.0;
        wild[40] = -25.0;
        let noise = Noise::of_residuals(&wild);
        assert!(noise.factor > 1.0);
        assert!(
            noise.weights[5] < 0.1 * noise.weights[6],
            "{}",
            noise.weights[5]
        );
    }
}
