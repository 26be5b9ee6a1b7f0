//! A metric whose level is known up to a factor: ms of a machine whose pace is not known exactly.

use super::{Estimate, MetricProfile};

/// Two-sided 95 % of the normal distribution.
const NORMAL: f64 = 1.96;

impl Estimate {
    /// The same where it may also be off by a factor that is known to `relative` (a standard deviation).
    #[must_use]
    pub fn with_uncertain_level(self, relative: f64) -> Self {
        let se = self.se.hypot(relative * self.value);
        let times = match self.se > 0.0 {
            true => (self.high - self.low) / 2.0 / self.se,
            false => NORMAL,
        };
        Self {
            value: self.value,
            se,
            low: self.value - times * se,
            high: self.value + times * se,
        }
    }
}

impl MetricProfile {
    /// The same profile where all values may be off by one common factor, known to `relative` (a standard deviation,
    /// 0.02 for 2 %): intervals in the metric's unit hold that. What no factor changes stays as it is: signs, and so
    /// p values and ranks, and shares.
    #[must_use]
    pub fn with_uncertain_level(mut self, relative: f64) -> Self {
        let values = self.documented_values();
        self.joint = self
            .joint
            .map(|joint| joint.with_uncertain_level(&values, relative));
        let blocks = self.blocks.iter_mut();
        let depths = self.depths.iter_mut();
        let widths = self.widths.iter_mut();
        let all = std::iter::once(&mut self.mean)
            .chain(blocks.flat_map(|b| [&mut b.mean, &mut b.effect]))
            .chain(depths.flat_map(|d| [&mut d.mean, &mut d.effect]))
            .chain(widths.flat_map(|w| [&mut w.mean, &mut w.effect]))
            .chain(self.averages.iter_mut().map(|a| &mut a.effect));
        for estimate in all {
            *estimate = estimate.with_uncertain_level(relative);
        }
        self
    }

    /// The estimates in the order of the joint covariance.
    pub(crate) fn documented_values(&self) -> Vec<f64> {
        let effects = self.blocks.iter().map(|b| b.effect.value);
        let depths = self.depths.iter().map(|d| d.effect.value);
        let widths = self.widths.iter().map(|w| w.effect.value);
        std::iter::once(self.mean.value)
            .chain(effects)
            .chain(depths)
            .chain(widths)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Direction, MetricInfo, Origin};
    use crate::profile::{Estimator, Observation, Pooled};
    use crate::seed::Seed;
    use crate::space::DesignSpace;

    fn profile() -> MetricProfile {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let observe = |index| {
            let draw = Pooled.draw(&space, 128, Seed(1), index).unwrap();
            let value = draw
                .arch
                .active()
                .map(|(_, b)| 1.0 + f64::from(b) / 9.0)
                .sum();
            Observation { draw, value }
        };
        let observations: Vec<Observation> = (0..30).map(observe).collect();
        let means = Pooled.estimate(&space, &observations).unwrap();
        let info = MetricInfo {
            name: "latency".into(),
            unit: "ms".into(),
            direction: Direction::LowerIsBetter,
            origin: Origin::Measured,
            about: String::new(),
        };
        MetricProfile::from_means(&space, info, "pooled", &observations, 0, &means)
    }

    /// Intervals in ms hold the level's error; what is relative to the mean does not feel it.
    #[test]
    fn a_factor_widens_values_and_leaves_relations() {
        let known = profile();
        let wide = known.clone().with_uncertain_level(0.1);
        let (mean, before) = (wide.mean, known.mean);
        assert_eq!(mean.value, before.value);
        assert!((mean.se - before.se.hypot(0.1 * before.value)).abs() < 1e-12);
        assert!(mean.low < 0.85 * mean.value && mean.high > 1.15 * mean.value);
        for (a, b) in wide.blocks.iter().zip(&known.blocks) {
            assert_eq!(
                (a.p, a.adjusted_p, a.significant),
                (b.p, b.adjusted_p, b.significant)
            );
            assert!(a.effect.se >= b.effect.se);
        }
        assert_eq!(
            (&wide.ranks, &wide.variance),
            (&known.ranks, &known.variance)
        );
        // The variance of an effect over the mean, to first order.
        let relative = |profile: &MetricProfile, i: usize| {
            let (v, c) = (profile.documented_values(), profile.joint.as_ref().unwrap());
            let (c, r) = (c.matrix().unwrap(), v[i] / v[0]);
            (c[(i, i)] - 2.0 * r * c[(i, 0)] + r * r * c[(0, 0)]) / (v[0] * v[0])
        };
        for i in [1, 50, 150] {
            let (a, b) = (relative(&wide, i), relative(&known, i));
            assert!((a - b).abs() < 1e-3 * b + 1e-9, "{i}: {a} {b}");
        }
    }
}
