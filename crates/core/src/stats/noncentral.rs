//! The noncentral F distribution: how far can the mean square of normal numbers be above that of noise alone?

use statrs::distribution::{ContinuousCDF, Discrete, Normal, Poisson};
use statrs::function::beta::beta_reg;

/// Weights of the mixture below this are left out.
const NEGLIGIBLE: f64 = 1e-10;
/// Beyond this noncentrality the mixture has too many terms to add up, and is nearly normal.
const LARGE: f64 = 1e4;
/// Noncentralities that differ by less, relatively, are the same.
const SAME: f64 = 1e-4;
/// So are smaller ones and 0.
const SMALLEST: f64 = 1e-6;

/// Probability that the sum of `signal` squared normal numbers of variance 1, whose squared means add up to
/// `noncentrality`, is at most `ratio` times the sum of `noise` squared ones with mean 0.
///
/// A noncentral chi-squared number is a central one with 2 J more degrees of freedom, J drawn from a Poisson
/// distribution.
fn cumulative(ratio: f64, signal: f64, noise: f64, noncentrality: f64) -> f64 {
    if noncentrality > LARGE {
        return nearly_normal(ratio, signal, noise, noncentrality);
    }
    let x = ratio / (1.0 + ratio);
    let given = |j: u64| beta_reg(0.5 * signal + j as f64, 0.5 * noise, x);
    let Ok(mixture) = Poisson::new(0.5 * noncentrality) else {
        return given(0);
    };
    let likeliest = (0.5 * noncentrality).floor() as u64;
    let term = |j: u64| {
        let weight = mixture.pmf(j);
        (weight > NEGLIGIBLE).then(|| weight * given(j))
    };
    let above: f64 = (likeliest..).map_while(term).sum();
    let below: f64 = (0..likeliest).rev().map_while(term).sum();
    above + below
}

/// The same by cube roots, which are nearly normal (Abramowitz and Stegun 1964, 26.6.27).
fn nearly_normal(ratio: f64, signal: f64, noise: f64, noncentrality: f64) -> f64 {
    let mean = signal + noncentrality;
    let root = (ratio * noise / mean).cbrt();
    let of_signal = 2.0 * (mean + noncentrality) / (9.0 * mean * mean);
    let of_noise = 2.0 / (9.0 * noise);
    let spread = (of_signal + of_noise * root * root).sqrt();
    Normal::standard().cdf(((1.0 - of_noise) * root - (1.0 - of_signal)) / spread)
}

/// The noncentrality with which a ratio of sums of squares (of `signal` numbers over `noise` ones) as large as this
/// one, or larger, has the probability `upper`: the lower end of a confidence interval for 0.025, the upper one for
/// 0.975, and an estimate that is too large as often as too small for a half. 0 where pure noise has such a ratio often
/// enough, and where the ratio is no positive number.
pub(crate) fn noncentrality(ratio: f64, signal: f64, noise: f64, upper: f64) -> f64 {
    let is_below =
        |noncentrality: f64| 1.0 - cumulative(ratio, signal, noise, noncentrality) < upper;
    let is_ratio = ratio.is_finite() && ratio > 0.0;
    if !is_ratio || !is_below(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while is_below(high) {
        (low, high) = (high, 2.0 * high);
    }
    while high - low > SAME * high && high > SMALLEST {
        let middle = 0.5 * (low + high);
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats.ncf and brentq, by the script beside the numbers.
    #[test]
    fn noncentralities_are_those_of_scipy() {
        let golden = include_str!("../../tests/golden/noncentralities.json");
        let cases: Vec<[f64; 5]> = serde_json::from_str(golden).expect("rows of five numbers");
        for [ratio, signal, noise, upper, expected] in cases {
            let found = noncentrality(ratio, signal, noise, upper);
            let tolerance = if expected > LARGE { 1e-3 } else { SAME };
            assert!(
                (found - expected).abs() <= tolerance * expected + SMALLEST,
                "ratio {ratio} of {signal} over {noise}, probability {upper}: {found}, scipy {expected}"
            );
        }
    }

    /// Hardly any noise is a large ratio, and takes no longer. The noise's sum of squares has the median 39.34.
    #[test]
    fn hardly_any_noise_is_no_trouble() {
        let found = noncentrality(1e12, 10.0, 40.0, 0.5);
        assert!((found / 39.34e12 - 1.0).abs() < 1e-3, "{found}");
        for no_ratio in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert!(noncentrality(no_ratio, 10.0, 40.0, 0.5) <= 0.0);
        }
    }
}
