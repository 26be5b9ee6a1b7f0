//! The door through which values come in from elsewhere.

use super::{Metric, MetricError, MetricInfo};
use crate::quantity::Nature;
use crate::space::Architecture;

/// A metric of which only values are taken that its quantity can have: a latency of 0 or below is a failure, whoever
/// tells it.
pub struct Guarded {
    metric: Box<dyn Metric>,
    nature: Nature,
}

impl Guarded {
    /// The metric behind its guard.
    #[must_use]
    pub fn new(metric: Box<dyn Metric>) -> Self {
        let nature = metric.info().nature();
        Self { metric, nature }
    }

    fn check(&self, value: f64) -> Result<f64, MetricError> {
        self.info().check_as(self.nature, value)
    }
}

impl Metric for Guarded {
    fn info(&self) -> &MetricInfo {
        self.metric.info()
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        self.metric
            .evaluate(arch)
            .and_then(|value| self.check(value))
    }

    fn listed(&self) -> Option<Vec<Architecture>> {
        self.metric.listed()
    }

    fn is_costly(&self) -> bool {
        self.metric.is_costly()
    }

    fn identity(&self) -> Option<String> {
        self.metric.identity()
    }

    fn notes(&self) -> Vec<String> {
        self.metric.notes()
    }

    fn evaluate_many(&self, archs: &[Architecture]) -> Vec<Result<f64, MetricError>> {
        let values = self.metric.evaluate_many(archs).into_iter();
        values
            .map(|value| value.and_then(|value| self.check(value)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Direction, Origin};
    use crate::space::DesignSpace;

    /// Gives one number for everything.
    struct Always(MetricInfo, f64);

    impl Metric for Always {
        fn info(&self) -> &MetricInfo {
            &self.0
        }

        fn evaluate(&self, _: &Architecture) -> Result<f64, MetricError> {
            Ok(self.1)
        }
    }

    #[test]
    fn only_values_that_the_quantity_can_have_come_in() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let arch = space.smallest(224).unwrap();
        let kind = |name: &str, origin: Origin, value: f64| {
            let info = MetricInfo {
                name: name.into(),
                unit: String::new(),
                direction: Direction::LowerIsBetter,
                origin,
                about: String::new(),
            };
            let metric = Guarded::new(Box::new(Always(info, value)));
            let one = metric.evaluate(&arch);
            let many = metric.evaluate_many(std::slice::from_ref(&arch));
            assert_eq!(many.as_slice(), std::slice::from_ref(&one));
            one.err().map(|error| error.kind())
        };
        assert_eq!(kind("latency@x", Origin::Measured, 0.0), Some("impossible"));
        assert_eq!(kind("energy@x", Origin::Unstated, -1.0), Some("impossible"));
        assert_eq!(
            kind("latency@x", Origin::Measured, f64::NAN),
            Some("not-finite")
        );
        assert_eq!(kind("latency@x", Origin::Measured, 1e-9), None);
        assert_eq!(kind("accuracy@x", Origin::Measured, 0.0), None);
        assert_eq!(
            kind("accuracy@x", Origin::Measured, -1.0),
            Some("impossible")
        );
        assert_eq!(kind("loss@x", Origin::Measured, -1.0), None);
        assert_eq!(kind("macs", Origin::Counted, 0.0), None);
    }
}
