//! Drift of a device, from repeated measurements of one network.
//!
//! The logarithm of the sentinel's time follows a local-level model: a level that walks at random,
//! plus independent noise (Durbin and Koopman, Time Series Analysis by State Space Methods, chapter 2).
//! The ratio of both variances is chosen by maximum likelihood from a grid that holds "no drift", so that
//! a steady device is left alone instead of being corrected by its own noise.

/// Ratios of the walk's variance per step to the noise variance that are tried.
const RATIOS: [f64; 9] = [0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0];
/// Readings farther from the median of their neighbourhood than this many robust standard
/// deviations are pulled in: one bad reading must not bend the curve.
const OUTLIER: f64 = 4.0;
/// Fewest readings from which a drift is estimated.
const FEWEST: usize = 4;
/// A drift is believed when it raises twice the log-likelihood by more than the 95 % quantile of
/// chi-square with one degree of freedom; the null value is at the edge, so this is conservative.
const BELIEVED: f64 = 3.84;

/// The drift of a device over the positions of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// (position, log level relative to the mean level), ascending.
    levels: Vec<(f64, f64)>,
    noise: Option<f64>,
}

impl Drift {
    /// Estimates the drift from (position, time in ms) of the sentinel, positions ascending. With
    /// fewer than four readings there is no correction.
    #[must_use]
    pub fn estimate(readings: &[(f64, f64)]) -> Self {
        if readings.len() < FEWEST {
            return Self {
                levels: Vec::new(),
                noise: None,
            };
        }
        let positions: Vec<f64> = readings.iter().map(|r| r.0).collect();
        let logs = clip_outliers(&readings.iter().map(|r| r.1.ln()).collect::<Vec<_>>());
        let still = Fit::new(&positions, &logs, 0.0);
        let best = RATIOS
            .iter()
            .map(|&ratio| Fit::new(&positions, &logs, ratio))
            .max_by(|a, b| a.log_likelihood.total_cmp(&b.log_likelihood))
            .filter(|fit| 2.0 * (fit.log_likelihood - still.log_likelihood) > BELIEVED)
            .unwrap_or(still);
        let center = super::mean(&best.smoothed);
        let levels = positions
            .into_iter()
            .zip(best.smoothed.iter().map(|l| l - center))
            .collect();
        Self {
            levels,
            noise: Some(best.noise_variance.sqrt()),
        }
    }

    /// What to divide a raw time at `position` by: above 1 where the device was slower than usual.
    #[must_use]
    pub fn factor(&self, position: f64) -> f64 {
        let after = self.levels.partition_point(|(p, _)| *p < position);
        let level = match (
            after.checked_sub(1).map(|i| self.levels[i]),
            self.levels.get(after),
        ) {
            (None, None) => 0.0,
            (Some((_, l)), None) | (None, Some(&(_, l))) => l,
            (Some((p0, l0)), Some(&(p1, l1))) => l0 + (l1 - l0) * (position - p0) / (p1 - p0),
        };
        level.exp()
    }

    /// Relative standard deviation of one sentinel reading around the drift: the noise floor.
    #[must_use]
    pub fn noise_floor(&self) -> Option<f64> {
        self.noise
    }
}

/// The local-level model at one ratio of variances.
struct Fit {
    smoothed: Vec<f64>,
    noise_variance: f64,
    log_likelihood: f64,
}

impl Fit {
    /// Kalman filter (diffuse start at the first reading) and fixed-interval smoother. All variances
    /// are in units of the noise variance, which is then estimated in closed form.
    #[allow(clippy::cast_precision_loss)]
    fn new(positions: &[f64], y: &[f64], ratio: f64) -> Self {
        let n = y.len();
        let mut level = vec![y[0]; n];
        let mut spread = vec![1.0; n];
        let (mut squares, mut log_determinant) = (0.0, 0.0);
        let walked = |i: usize| ratio * (positions[i] - positions[i - 1]);
        for i in 1..n {
            let predicted = spread[i - 1] + walked(i);
            let total = predicted + 1.0;
            let surprise = y[i] - level[i - 1];
            squares += surprise * surprise / total;
            log_determinant += f64::ln(total);
            let gain = predicted / total;
            level[i] = level[i - 1] + gain * surprise;
            spread[i] = predicted * (1.0 - gain);
        }
        let mut smoothed = level.clone();
        for i in (0..n - 1).rev() {
            let weight = spread[i] / (spread[i] + walked(i + 1));
            smoothed[i] = level[i] + weight * (smoothed[i + 1] - level[i]);
        }
        let degrees = (n - 1) as f64;
        // The floor keeps a noiseless device (a simulated one) from a logarithm of zero.
        let noise_variance = (squares / degrees).max(1e-12);
        let log_likelihood = -0.5 * (degrees * noise_variance.ln() + log_determinant);
        Self {
            smoothed,
            noise_variance,
            log_likelihood,
        }
    }
}

/// Pulls single readings that stand far out from both neighbours back to the edge of what is usual.
fn clip_outliers(logs: &[f64]) -> Vec<f64> {
    let neighbourhood = |i: usize| {
        let (from, to) = (i.saturating_sub(2), (i + 3).min(logs.len()));
        super::quantile(&logs[from..to], 0.5).unwrap_or(logs[i])
    };
    let centers: Vec<f64> = (0..logs.len()).map(neighbourhood).collect();
    let deviations: Vec<f64> = logs
        .iter()
        .zip(&centers)
        .map(|(y, c)| (y - c).abs())
        .collect();
    // 1.4826: the median absolute deviation of a normal distribution to its standard deviation.
    let sd = 1.4826 * super::quantile(&deviations, 0.5).unwrap_or(0.0);
    if sd == 0.0 {
        return logs.to_vec();
    }
    let limit = OUTLIER * sd;
    logs.iter()
        .zip(&centers)
        .map(|(y, c)| c + (y - c).clamp(-limit, limit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use nalgebra::{DMatrix, DVector};
    use rand::RngExt;

    /// Noise that is close to normal: the sum of twelve uniform numbers.
    fn readings(n: u32, noise: f64, drift: impl Fn(f64) -> f64, seed: u64) -> Vec<(f64, f64)> {
        let mut rng = Seed(seed).rng();
        (0..n)
            .map(|i| {
                let position = f64::from(6 * i);
                let normal: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum();
                (position, 20.0 * drift(position) * (noise * normal).exp())
            })
            .collect()
    }

    #[test]
    fn a_steady_device_is_left_alone() {
        let corrected = (0..100)
            .filter(|&seed| {
                let drift = Drift::estimate(&readings(12, 0.01, |_| 1.0, seed));
                (0..66).any(|p| (drift.factor(f64::from(p)) - 1.0).abs() > 1e-9)
            })
            .count();
        assert!(
            corrected <= 10,
            "{corrected} of 100 steady devices were corrected"
        );
    }

    #[test]
    fn linear_and_sudden_drifts_are_followed() {
        let linear = |p: f64| 1.0 + 0.1 * p / 120.0;
        let step = |p: f64| if p < 60.0 { 1.0 } else { 1.08 };
        let shapes: [&dyn Fn(f64) -> f64; 2] = [&linear, &step];
        for shape in shapes {
            let drift = Drift::estimate(&readings(21, 0.005, shape, 3));
            let relative = |p: f64| drift.factor(p) / drift.factor(0.0);
            for p in [24.0, 100.0, 120.0] {
                assert!(
                    (relative(p) - shape(p)).abs() < 0.015,
                    "{p}: {} {}",
                    relative(p),
                    shape(p)
                );
            }
            let floor = drift.noise_floor().unwrap();
            assert!((0.002..0.015).contains(&floor), "{floor}");
        }
    }

    #[test]
    fn one_bad_reading_does_not_bend_the_curve() {
        let mut bad = readings(15, 0.005, |_| 1.0, 5);
        bad[7].1 *= 1.5;
        let drift = Drift::estimate(&bad);
        assert!(
            (drift.factor(bad[7].0) - 1.0).abs() < 0.01,
            "{}",
            drift.factor(bad[7].0)
        );
    }

    #[test]
    fn too_few_readings_correct_nothing() {
        let drift = Drift::estimate(&[(0.0, 1.0), (6.0, 2.0), (12.0, 3.0)]);
        assert_eq!((drift.factor(3.0), drift.noise_floor()), (1.0, None));
    }

    /// The smoother's naive twin: generalised least squares with the full covariance matrix of a random
    /// walk with an unknown start.
    #[test]
    fn the_smoother_equals_the_direct_solution() {
        let data = readings(9, 0.01, |p| 1.0 + p / 500.0, 8);
        let (positions, y): (Vec<f64>, Vec<f64>) = data.iter().map(|(p, t)| (*p, t.ln())).unzip();
        let (ratio, n) = (0.03, y.len());
        let fit = Fit::new(&positions, &y, ratio);
        let walk = DMatrix::from_fn(n, n, |i, j| ratio * positions[i].min(positions[j]));
        let inverse = (&walk + DMatrix::identity(n, n)).try_inverse().unwrap();
        let ones = DVector::repeat(n, 1.0);
        let y = DVector::from_vec(y);
        let start = ones.dot(&(&inverse * &y)) / ones.dot(&(&inverse * &ones));
        let level = &walk * &inverse * (&y - &ones * start) + &ones * start;
        for i in 0..n {
            assert!(
                (level[i] - fit.smoothed[i]).abs() < 1e-9,
                "{i}: {} {}",
                level[i],
                fit.smoothed[i]
            );
        }
    }
}
