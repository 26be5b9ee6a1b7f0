//! What a machine's pace does to some networks more than to others.
//!
//! A network that takes turns with a reference is counted in multiples of it, which takes out what slows both down
//! alike. A slow spell need not be alike: a tenant that takes away memory bandwidth or a shared core's units slows a
//! large network down by more, or by less, than a small one. The sentinel, the largest network, is measured again and
//! again at whatever pace there is, so its multiples tell.

use super::{critical_t, quantile};

/// Fewest readings from which a response is estimated.
const FEWEST: usize = 8;
/// Probability of believing in a response where there is none: a steady machine must not be corrected by its own noise.
const ALPHA: f64 = 0.05;
/// Readings farther than this many robust standard deviations from the line count as if they were that far.
const OUTLIER: f64 = 6.0;
/// The sentinel must take so many times as long as the reference: between equals there is nothing to interpolate.
const LEAST_MULTIPLE: f64 = 1.2;

/// How multiples of the reference respond to the machine's pace.
///
/// Where the reference takes p times as long as at the machine's fast pace, a network that takes m times as long as the
/// reference takes p^(e ln m / ln s) times more, with s the multiple of the sentinel. The exponent e is the sentinel's
/// own; the reference itself has none, and networks between the two stand where their size is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaceResponse {
    /// The sentinel's exponent e: above 0 where it is slowed down by more than the reference.
    pub exponent: f64,
    /// Logarithm of the sentinel's multiple of the reference.
    log_multiple: f64,
    /// The reference's time at the fast pace, in ms.
    fast_ms: f64,
}

impl PaceResponse {
    /// From (the reference's median time in ms, the sentinel's multiple of it) of every session of the sentinel;
    /// `fast_ms` is the reference's time at the pace to correct to. `None` for fewer than eight sessions, and where the
    /// sentinel's multiple does not surely (95 %) rise or fall with the pace.
    ///
    /// The slope is the median of those between all pairs of readings (Theil 1950, Sen 1968), each counting as much as
    /// its readings' paces are apart (Jaeckel 1972), since a machine often has two paces and nothing between; single
    /// bad readings do not change it.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn estimate(readings: &[(f64, f64)], fast_ms: f64) -> Option<Self> {
        if readings.len() < FEWEST {
            return None;
        }
        let paces: Vec<f64> = readings.iter().map(|r| r.0.ln()).collect();
        let multiples: Vec<f64> = readings.iter().map(|r| r.1.ln()).collect();
        let log_multiple = quantile(&multiples, 0.5)?;
        if log_multiple < LEAST_MULTIPLE.ln() {
            return None;
        }
        let exponent = median_slope(&paces, &multiples)?;
        let error = standard_error(&paces, &multiples, exponent)?;
        let believed = exponent.abs() > critical_t(ALPHA, paces.len() as f64 - 2.0) * error;
        believed.then_some(Self {
            exponent,
            log_multiple,
            fast_ms,
        })
    }

    /// What to divide a network's multiple of the reference by, where the reference took `pace_ms` in the same session:
    /// above 1 where it was slowed down by more than the reference.
    #[must_use]
    pub fn factor(&self, pace_ms: f64, multiple: f64) -> f64 {
        // Nothing is known of networks beyond the two that tell.
        let size = (multiple.ln() / self.log_multiple).clamp(0.0, 1.0);
        (self.exponent * size * (pace_ms / self.fast_ms).ln()).exp()
    }
}

/// The median of the slopes between all pairs of points, weighted by their distance in `x`; `None` where all `x` are
/// equal.
fn median_slope(x: &[f64], y: &[f64]) -> Option<f64> {
    let pairs = (0..x.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let steps = pairs.map(|(i, j)| (x[i] - x[j], y[i] - y[j]));
    let slope = |(dx, dy): (f64, f64)| (dx != 0.0).then(|| (dy / dx, dx.abs()));
    let mut slopes: Vec<(f64, f64)> = steps.filter_map(slope).collect();
    slopes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = slopes.iter().map(|s| s.1).sum::<f64>() / 2.0;
    let mut passed = 0.0;
    let median = slopes.into_iter().find(|s| {
        passed += s.1;
        passed >= half
    });
    median.map(|s| s.0)
}

/// The standard error of a slope, from what it leaves of `y`.
#[allow(clippy::cast_precision_loss)]
fn standard_error(x: &[f64], y: &[f64], slope: f64) -> Option<f64> {
    let left: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - slope * x).collect();
    let level = quantile(&left, 0.5)?;
    let apart: Vec<f64> = left.iter().map(|l| (l - level).abs()).collect();
    // 1.4826: the median absolute deviation of a normal distribution to its standard deviation.
    let limit = OUTLIER * 1.4826 * quantile(&apart, 0.5)?;
    let squares: f64 = apart.iter().map(|a| a.min(limit).powi(2)).sum();
    let center = super::mean(x);
    let spread: f64 = x.iter().map(|x| (x - center).powi(2)).sum();
    Some((squares / (x.len() as f64 - 2.0) / spread).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Rng, Seed};
    use crate::stats::standard_normal;
    use rand::RngExt;

    /// Sessions of a sentinel of 6 times the reference's 10 ms, at paces from 1 to 1.6.
    fn readings(n: usize, exponent: f64, noise: f64, rng: &mut Rng) -> Vec<(f64, f64)> {
        let reading = |rng: &mut Rng| {
            let pace: f64 = rng.random_range(1.0..1.6);
            let multiple = 6.0 * pace.powf(exponent) * (noise * standard_normal(rng)).exp();
            (10.0 * pace, multiple)
        };
        (0..n).map(|_| reading(rng)).collect()
    }

    #[test]
    fn the_response_is_found_and_taken_out_in_proportion_to_size() {
        let mut rng = Seed(1).rng();
        let mut data = readings(40, 0.2, 0.01, &mut rng);
        data[7].1 *= 1.5;
        let response = PaceResponse::estimate(&data, 10.0).unwrap();
        assert!((response.exponent - 0.2).abs() < 0.03, "{response:?}");
        // The reference itself is left alone, the sentinel corrected whole, what lies half way by half.
        let factor = |multiple: f64| response.factor(16.0, multiple).ln();
        let whole = factor(6.0 * 1.6_f64.powf(0.2));
        assert_eq!(factor(1.0), 0.0);
        assert!((whole / 1.6_f64.ln() - 0.2).abs() < 0.03, "{whole}");
        assert!((factor(response.log_multiple.exp().sqrt()) / factor(1e9) - 0.5).abs() < 1e-9);
        assert!((response.factor(10.0, 4.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn where_there_is_none_it_is_seldom_believed() {
        let believed = |n: usize| {
            let found = |seed: u64| {
                let data = readings(n, 0.0, 0.03, &mut Seed(seed).rng());
                PaceResponse::estimate(&data, 10.0).is_some()
            };
            (0..1_000).filter(|&seed| found(seed)).count()
        };
        for n in [FEWEST, 20] {
            let found = believed(n);
            assert!(found < 100, "{found} of 1000 with {n} readings");
        }
    }

    #[test]
    fn too_little_is_no_response() {
        let mut rng = Seed(2).rng();
        let data = readings(FEWEST - 1, 0.5, 0.001, &mut rng);
        assert_eq!(PaceResponse::estimate(&data, 10.0), None);
        let alike: Vec<(f64, f64)> = (1..20)
            .map(|i| (f64::from(i), 1.0 + f64::from(i) / 1e3))
            .collect();
        assert_eq!(PaceResponse::estimate(&alike, 1.0), None);
        let steady = vec![(10.0, 6.0); 20];
        assert_eq!(PaceResponse::estimate(&steady, 10.0), None);
    }

    /// Two slow sessions among eleven fast ones, as machines with two paces have them.
    #[test]
    fn two_paces_are_enough() {
        let mut rng = Seed(4).rng();
        let reading = |i: u32, rng: &mut Rng| {
            let pace: f64 = if i % 6 == 3 { 1.6 } else { 1.0 };
            let jitter = |rng: &mut Rng| (0.005 * standard_normal(rng)).exp();
            (
                10.0 * pace * jitter(rng),
                6.0 * pace.powf(0.15) * jitter(rng),
            )
        };
        let data: Vec<(f64, f64)> = (0..13).map(|i| reading(i, &mut rng)).collect();
        let response = PaceResponse::estimate(&data, 10.0).unwrap();
        assert!((response.exponent - 0.15).abs() < 0.02, "{response:?}");
    }
}
