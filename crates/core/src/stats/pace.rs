//! What a machine's pace does to some networks more than to others.
//!
//! A network that takes turns with a reference is counted in multiples of it, which takes out what slows both down alike. A slow spell need not be
//! alike: a tenant that takes away memory bandwidth or a shared core's units slows a large network down by more, or by less, than a small
//! one. The sentinel, the largest network, is measured again and again at whatever pace there is, so its multiples tell.

use super::quantile;

/// Fewest readings from which a response is estimated.
const FEWEST: usize = 8;
/// Standard errors by which concordant pairs must outnumber discordant ones, or the other way round, before a response is believed: a
/// steady machine must not be corrected by its own noise.
const BELIEVED: f64 = 1.96;
/// The sentinel must take so many times as long as the reference: between equals there is nothing to interpolate.
const LEAST_MULTIPLE: f64 = 1.2;

/// How multiples of the reference respond to the machine's pace.
///
/// Where the reference takes p times as long as at the machine's fast pace, a network that takes m times as long as the reference
/// takes p^(e ln m / ln s) times more, with s the multiple of the sentinel. The exponent e is the sentinel's own; the reference itself has none, and networks
/// between the two stand where their size is.
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
    /// From (the reference's median time in ms, the sentinel's multiple of it) of every session of the sentinel; `fast_ms` is the reference's time at
    /// the pace to correct to. `None` for fewer than eight sessions, and where the sentinel's multiple does not surely (95 %) rise or fall with the
    /// pace.
    ///
    /// The slope is the median of those between all pairs of readings, and the test counts pairs (Theil 1950, Sen 1968; Kendall): single bad readings
    /// change neither.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn estimate(readings: &[(f64, f64)], fast_ms: f64) -> Option<Self> {
        if readings.len() < FEWEST {
            return None;
        }
        let logs: Vec<(f64, f64)> = readings.iter().map(|r| (r.0.ln(), r.1.ln())).collect();
        let multiples: Vec<f64> = logs.iter().map(|l| l.1).collect();
        let log_multiple = quantile(&multiples, 0.5)?;
        if log_multiple < LEAST_MULTIPLE.ln() {
            return None;
        }
        let pairs = (0..logs.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let steps = pairs.map(|(i, j)| (logs[i].0 - logs[j].0, logs[i].1 - logs[j].1));
        let slopes: Vec<f64> = steps.filter(|s| s.0 != 0.0).map(|s| s.1 / s.0).collect();
        let balance: f64 = slopes
            .iter()
            .filter(|s| **s != 0.0)
            .map(|s| s.signum())
            .sum();
        let n = logs.len() as f64;
        // Kendall's statistic without ties: its variance where neither depends on the other.
        let sd = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        (balance.abs() > BELIEVED * sd).then_some(Self {
            exponent: quantile(&slopes, 0.5)?,
            log_multiple,
            fast_ms,
        })
    }

    /// What to divide a network's multiple of the reference by, where the reference took `pace_ms` in the same session: above 1 where it
    /// was slowed down by more than the reference.
    #[must_use]
    pub fn factor(&self, pace_ms: f64, multiple: f64) -> f64 {
        // Nothing is known of networks beyond the two that tell.
        let size = (multiple.ln() / self.log_multiple).clamp(0.0, 1.0);
        (self.exponent * size * (pace_ms / self.fast_ms).ln()).exp()
    }
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
            assert!(found < 80, "{found} of 1000 with {n} readings");
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
}
