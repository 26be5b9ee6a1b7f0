//! Small statistics that everything else stands on.

pub mod agreement;
pub mod drift;
pub mod groups;
pub mod max_t;
pub mod multiple;
pub(crate) mod noncentral;
pub mod pace;
pub mod rank;

use rand::RngExt;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::seed::Rng;

/// Quantile `q` of values in ascending order, by linear interpolation between order statistics
/// (type 7 of Hyndman and Fan 1996, numpy's default); `None` for no values.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
pub fn quantile_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (position - below as f64) * (sorted[above] - sorted[below]))
}

/// Quantile `q` of values in any order; `None` for no values.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_sorted(&sorted, q)
}

/// Arithmetic mean; 0 for no values.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// Sample variance (divisor n - 1); 0 for fewer than two values.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let m = mean(values);
    values.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// The two-sided critical value of Student's t: |T| exceeds it with probability `alpha`. Without a
/// usable number of degrees of freedom, that of the normal distribution.
#[must_use]
pub fn critical_t(alpha: f64, degrees_of_freedom: f64) -> f64 {
    let p = 1.0 - alpha / 2.0;
    match StudentsT::new(0.0, 1.0, degrees_of_freedom) {
        Ok(t) if degrees_of_freedom < 1e5 => t.inverse_cdf(p),
        _ => Normal::standard().inverse_cdf(p),
    }
}

/// The two-sided p value of a statistic that follows Student's t where there is nothing to find; normal without a
/// usable number of degrees of freedom.
#[must_use]
pub fn p_value(t: f64, degrees_of_freedom: f64) -> f64 {
    let beyond = match StudentsT::new(0.0, 1.0, degrees_of_freedom) {
        Ok(distribution) if degrees_of_freedom < 1e5 => distribution.sf(t.abs()),
        _ => Normal::standard().sf(t.abs()),
    };
    (2.0 * beyond).clamp(0.0, 1.0)
}

/// A standard normal number (Marsaglia's polar method).
pub(crate) fn standard_normal(rng: &mut Rng) -> f64 {
    loop {
        let (x, y) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
        let square: f64 = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

/// A number from the chi-squared distribution, over its degrees of freedom (Marsaglia and Tsang, ACM TOMS 2000); 1
/// where these are not a positive number.
pub(crate) fn chi_squared_ratio(degrees_of_freedom: f64, rng: &mut Rng) -> f64 {
    let shape = degrees_of_freedom / 2.0;
    if !(1.0 / 3.0..=1e8).contains(&shape) {
        return 1.0;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let z = standard_normal(rng);
        let v = (1.0 + c * z).powi(3);
        let u: f64 = rng.random_range(0.0..1.0);
        if v > 0.0 && u.max(f64::MIN_POSITIVE).ln() < 0.5 * z * z + d - d * v + d * v.ln() {
            return d * v / shape;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([3, 1, 2, 10], [0, .25, .5, .9, 1])
        let values = [3.0, 1.0, 2.0, 10.0];
        for (q, expected) in [
            (0.0, 1.0),
            (0.25, 1.75),
            (0.5, 2.5),
            (0.9, 7.9),
            (1.0, 10.0),
        ] {
            assert!(
                (quantile(&values, q).unwrap() - expected).abs() < 1e-12,
                "{q}"
            );
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn critical_values_are_those_of_scipy() {
        // scipy.stats.t.ppf(0.975, df), scipy.stats.norm.ppf(0.975)
        for (df, expected) in [
            (4.0, 2.776_445),
            (30.0, 2.042_272),
            (f64::INFINITY, 1.959_964),
        ] {
            assert!((critical_t(0.05, df) - expected).abs() < 1e-4, "{df}");
        }
        // scipy.stats.t.ppf(1 - 0.05 / 360, 40)
        assert!((critical_t(0.05 / 180.0, 40.0) - 3.988_065).abs() < 1e-2);
    }

    #[test]
    fn variance_has_its_small_sample_divisor() {
        assert_eq!(variance(&[1.0, 3.0]), 2.0);
        assert_eq!(variance(&[1.0]), 0.0);
    }
}
