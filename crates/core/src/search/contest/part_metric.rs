//! A metric of a space, asked about architectures of a part of it.

use std::sync::Arc;

use crate::metric::{Metric, MetricError, MetricInfo};
use crate::space::{Architecture, PartOf};

/// A metric that was opened for a whole space, for architectures of a part: each is evaluated as what it is in the
/// whole, so that the same network has the same value wherever it was found.
pub struct PartMetric {
    whole: Arc<dyn Metric>,
    part: PartOf,
}

impl PartMetric {
    /// The metric for the architectures of a part of its space.
    #[must_use]
    pub fn new(whole: Arc<dyn Metric>, part: PartOf) -> Self {
        Self { whole, part }
    }
}

impl Metric for PartMetric {
    fn info(&self) -> &MetricInfo {
        self.whole.info()
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        self.whole.evaluate(&self.part.to_whole(arch))
    }

    fn listed(&self) -> Option<Vec<Architecture>> {
        let all = self.whole.listed()?.into_iter();
        Some(all.filter_map(|arch| self.part.to_part(&arch)).collect())
    }

    fn is_costly(&self) -> bool {
        self.whole.is_costly()
    }

    fn identity(&self) -> Option<String> {
        self.whole.identity()
    }

    fn notes(&self) -> Vec<String> {
        self.whole.notes()
    }

    fn evaluate_many(&self, archs: &[Architecture]) -> Vec<Result<f64, MetricError>> {
        let there: Vec<Architecture> = archs.iter().map(|a| self.part.to_whole(a)).collect();
        self.whole.evaluate_many(&there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{CostKind, CostMetric};
    use crate::seed::Seed;
    use crate::space::{DesignSpace, random_part_like};

    #[test]
    fn a_network_has_one_value_wherever_it_was_found() {
        let whole = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let text = whole.source().text.replace("{3,5,7}", "{3,7}");
        let like = DesignSpace::from_toml("like.toml", &text, None).unwrap();
        let part = random_part_like(&whole, &like, "random", Seed(1)).unwrap();
        let macs = |space: &DesignSpace| CostMetric::new(space.clone(), CostKind::Macs);
        let map = PartOf::new(&part, &whole).unwrap();
        let metric = PartMetric::new(Arc::new(macs(&whole)), map);
        let mut rng = Seed(2).rng();
        let archs: Vec<Architecture> = (0..50)
            .map(|_| part.sample(224, &mut rng).unwrap())
            .collect();
        let own = macs(&part);
        for (arch, value) in archs.iter().zip(metric.evaluate_many(&archs)) {
            assert_eq!(value, own.evaluate(arch));
            assert_eq!(value, metric.evaluate(arch));
        }
    }
}
