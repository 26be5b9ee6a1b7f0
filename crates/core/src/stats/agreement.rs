//! How well predictions agree with what was measured.

use serde::{Deserialize, Serialize};

use super::{mean, quantile, variance};

/// Predictions against measurements of the same things, both positive and in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Number of pairs.
    pub pairs: usize,
    /// Mean of (prediction - measurement) / measurement: above 0 where predictions are too large.
    pub bias: f64,
    /// Mean of |prediction - measurement| / measurement.
    pub mape: f64,
    /// Median of the same.
    pub median_error: f64,
    /// Share of the predictions within 5 % of the measurement, from 0 to 1.
    pub within_5: f64,
    /// Share within 10 %.
    pub within_10: f64,
    /// Spearman's rank correlation (ties share their mean rank); `None` where one side does not vary.
    pub spearman: Option<f64>,
    /// Slope of the least-squares line of predictions over measurements: 1 where differences are predicted as they are.
    pub slope: Option<f64>,
    /// Share of the predictions' variance that this line explains.
    pub r2: Option<f64>,
}

impl Agreement {
    /// Compares (prediction, measurement) pairs; `None` where there are none, or one is not finite and positive.
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let usable = |x: f64| x.is_finite() && x > 0.0;
        if pairs.is_empty() || !pairs.iter().all(|&(p, m)| usable(p) && usable(m)) {
            return None;
        }
        let relative: Vec<f64> = pairs.iter().map(|(p, m)| (p - m) / m).collect();
        let errors: Vec<f64> = relative.iter().map(|error| error.abs()).collect();
        let within = |limit: f64| {
            let close = errors.iter().filter(|error| **error <= limit).count();
            close as f64 / errors.len() as f64
        };
        let (predicted, measured): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let varies = variance(&measured) > 0.0;
        let correlation = correlation(&predicted, &measured);
        Some(Self {
            pairs: pairs.len(),
            bias: mean(&relative),
            mape: mean(&errors),
            median_error: quantile(&errors, 0.5)?,
            within_5: within(0.05),
            within_10: within(0.10),
            spearman: self::correlation(&ranks(&predicted), &ranks(&measured)),
            slope: varies.then(|| covariance(&predicted, &measured) / variance(&measured)),
            r2: correlation.map(|r| r * r),
        })
    }
}

fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b));
    products.sum::<f64>() / (a.len().max(2) - 1) as f64
}

/// Pearson's correlation; `None` where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let scale = (variance(a) * variance(b)).sqrt();
    (scale > 0.0).then(|| (covariance(a, b) / scale).clamp(-1.0, 1.0))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        let below = order.partition_point(|&i| values[i].total_cmp(&values[tied[0]]).is_lt());
        for &i in tied {
            ranks[i] = below as f64 + (tied.len() + 1) as f64 / 2.0;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of scipy 1.x and numpy: `scipy.stats.spearmanr(p, m)`, `numpy.polyfit(m, p, 1)[0]`,
    /// `numpy.corrcoef(p, m)[0, 1] ** 2`, `numpy.mean(abs(p - m) / m)`.
    #[test]
    fn figures_are_those_of_scipy() {
        let p = [10.0, 12.5, 9.0, 20.0, 12.5, 31.0, 7.75];
        let m = [11.0, 12.0, 10.0, 19.0, 13.0, 28.5, 8.0];
        let pairs: Vec<(f64, f64)> = p.into_iter().zip(m).collect();
        let agreement = Agreement::of(&pairs).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(agreement.spearman.unwrap(), 0.991031208965115);
        close(agreement.slope.unwrap(), 1.1623539232053424);
        close(agreement.r2.unwrap(), 0.9958290368221554);
        close(agreement.mape, 0.06323402474718263);
        close(agreement.bias, -0.011229012215854326);
        close(agreement.within_5, 3.0 / 7.0);
        close(agreement.within_10, 1.0);
    }

    #[test]
    fn what_cannot_be_told_is_not_a_number() {
        assert_eq!(Agreement::of(&[]), None);
        assert_eq!(Agreement::of(&[(f64::NAN, 1.0)]), None);
        assert_eq!(Agreement::of(&[(1.0, 0.0)]), None);
        let one = Agreement::of(&[(1.1, 1.0)]).unwrap();
        assert_eq!((one.spearman, one.slope, one.r2), (None, None, None));
        let flat = Agreement::of(&[(1.0, 1.0), (1.0, 2.0)]).unwrap();
        assert_eq!((flat.spearman, flat.slope), (None, Some(0.0)));
    }
}
