//! What is sought.

use std::collections::BTreeSet;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::front::Points;
use crate::metric::{Direction, Metric, MetricInfo};
use crate::seed::Rng;
use crate::space::{Architecture, ArchitectureError, DesignSpace};

/// Which side of a limit is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// The value must not be larger.
    Max,
    /// The value must not be smaller.
    Min,
}

/// A limit on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The metric, as an index into the problem's.
    pub metric: usize,
    /// Which side is allowed.
    pub bound: Bound,
    /// The limit, in the metric's unit.
    pub value: f64,
}

impl Limit {
    /// By how much a value is beyond the limit, relative to it; 0 when it is allowed.
    #[must_use]
    pub fn violation(&self, value: f64) -> f64 {
        let beyond = match self.bound {
            Bound::Max => value - self.value,
            Bound::Min => self.value - value,
        };
        let scale = if self.value == 0.0 {
            1.0
        } else {
            self.value.abs()
        };
        beyond.max(0.0) / scale
    }

    /// A value as something of which less is nearer to the allowed side.
    pub(super) fn distance(&self, value: f64) -> f64 {
        match self.bound {
            Bound::Max => value,
            Bound::Min => -value,
        }
    }
}

/// Why something cannot be sought.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProblemError {
    /// There is nothing to improve.
    #[error("there is no metric to search for")]
    NoObjective,
    /// A number is none of a metric's.
    #[error("there is no metric {index} among {count}")]
    NoMetric {
        /// The number, counted from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A limit is not a finite number.
    #[error("the limit on `{metric}` is {value}, which is not a finite number")]
    Limit {
        /// The metric's name.
        metric: String,
        /// The limit as text.
        value: String,
    },
    /// No resolution, or one that the space does not have.
    #[error(transparent)]
    Resolution(#[from] ArchitectureError),
}

/// A space, what is to be improved in it, and what is allowed.
#[derive(Clone)]
pub struct Problem<'a> {
    space: &'a DesignSpace,
    resolutions: Vec<u32>,
    metrics: Vec<MetricInfo>,
    objectives: Vec<usize>,
    limits: Vec<Limit>,
    /// Metrics that are computed at once, by the number of the metric.
    free: Vec<(usize, &'a dyn Metric)>,
    listed: Option<(Vec<Architecture>, BTreeSet<Architecture>)>,
}

impl<'a> Problem<'a> {
    /// Seeks architectures of `space` at one of `resolutions` (at the space's default one, for none) that are good in
    /// the `metrics` with these numbers.
    ///
    /// # Errors
    /// [`ProblemError`].
    pub fn new(
        space: &'a DesignSpace,
        resolutions: &[u32],
        metrics: &[MetricInfo],
        objectives: &[usize],
    ) -> Result<Self, ProblemError> {
        let mut resolutions: Vec<u32> = match resolutions {
            [] => vec![space.default_resolution()],
            some => some.to_vec(),
        };
        resolutions.sort_unstable();
        resolutions.dedup();
        for resolution in &resolutions {
            space.check_resolution(*resolution)?;
        }
        if objectives.is_empty() {
            return Err(ProblemError::NoObjective);
        }
        let problem = Self {
            space,
            resolutions,
            metrics: metrics.to_vec(),
            objectives: objectives.to_vec(),
            limits: Vec::new(),
            free: Vec::new(),
            listed: None,
        };
        for index in objectives {
            problem.check_metric(*index)?;
        }
        Ok(problem)
    }

    /// With a limit besides those that there are.
    ///
    /// # Errors
    /// [`ProblemError`].
    pub fn with_limit(mut self, limit: Limit) -> Result<Self, ProblemError> {
        self.check_metric(limit.metric)?;
        if !limit.value.is_finite() {
            return Err(ProblemError::Limit {
                metric: self.metrics[limit.metric].name.clone(),
                value: limit.value.to_string(),
            });
        }
        self.limits.push(limit);
        Ok(self)
    }

    /// Metric `index` costs nothing to ask: its limits are looked at before an architecture is proposed, and those
    /// beyond them never count as evaluated.
    ///
    /// # Errors
    /// [`ProblemError::NoMetric`].
    pub fn with_free(mut self, index: usize, metric: &'a dyn Metric) -> Result<Self, ProblemError> {
        self.check_metric(index)?;
        self.free.push((index, metric));
        Ok(self)
    }

    /// Only these architectures are sought among, as far as they have one of the resolutions.
    #[must_use]
    pub fn with_listed(mut self, archs: impl IntoIterator<Item = Architecture>) -> Self {
        let known = |arch: &Architecture| self.resolutions.contains(&arch.resolution());
        let set: BTreeSet<Architecture> = archs.into_iter().filter(known).collect();
        self.listed = Some((set.iter().cloned().collect(), set));
        self
    }

    fn check_metric(&self, index: usize) -> Result<(), ProblemError> {
        if index < self.metrics.len() {
            return Ok(());
        }
        Err(ProblemError::NoMetric {
            index,
            count: self.metrics.len(),
        })
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> &'a DesignSpace {
        self.space
    }

    /// The resolutions that architectures may have, ascending.
    #[must_use]
    pub fn resolutions(&self) -> &[u32] {
        &self.resolutions
    }

    /// Everything that is evaluated: objectives and what is only limited.
    #[must_use]
    pub fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }

    /// Which metrics are to be improved.
    #[must_use]
    pub fn objectives(&self) -> &[usize] {
        &self.objectives
    }

    /// The directions of the objectives.
    #[must_use]
    pub fn directions(&self) -> Vec<Direction> {
        let objectives = self.objectives.iter();
        objectives.map(|i| self.metrics[*i].direction).collect()
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// No points yet, with the problem's objectives.
    #[must_use]
    pub fn points(&self) -> Points {
        Points::new(&self.directions())
    }

    /// Whether nothing but the listed architectures can be sought among.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.is_some()
    }

    /// Whether an architecture belongs to what is sought among, limits aside.
    #[must_use]
    pub fn has(&self, arch: &Architecture) -> bool {
        match &self.listed {
            Some((_, set)) => set.contains(arch),
            None => self.resolutions.contains(&arch.resolution()),
        }
    }

    /// A random architecture: from the space's own distribution at a resolution chosen uniformly, or of the listed
    /// ones. `None` when there is none.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng) -> Option<Architecture> {
        if let Some((list, _)) = &self.listed {
            return (!list.is_empty()).then(|| list[rng.random_range(0..list.len())].clone());
        }
        let resolution = self.resolutions[rng.random_range(0..self.resolutions.len())];
        self.space.sample(resolution, rng).ok()
    }

    /// An architecture with one random change ([`DesignSpace::mutate`]).
    #[must_use]
    pub fn mutate(&self, arch: &Architecture, rng: &mut Rng) -> Option<Architecture> {
        self.space.mutate(arch, &self.resolutions, rng)
    }

    /// Every architecture that one change leads to and that is sought among.
    #[must_use]
    pub fn neighbours(&self, arch: &Architecture) -> Vec<Architecture> {
        let mut all = self.space.neighbours(arch, &self.resolutions);
        all.retain(|arch| self.has(arch));
        all
    }

    /// Every architecture, each once. Usually far too many to go through.
    pub fn enumerate(&self) -> Box<dyn Iterator<Item = Architecture> + '_> {
        if let Some((list, _)) = &self.listed {
            return Box::new(list.iter().cloned());
        }
        let of = |resolution: &u32| self.space.enumerate(*resolution).into_iter().flatten();
        Box::new(self.resolutions.iter().flat_map(of))
    }

    /// How far values (one for each metric) are beyond the limits, relative to these, summed; 0 when all are kept.
    #[must_use]
    pub fn violation(&self, values: &[f64]) -> f64 {
        let limits = self.limits.iter();
        limits
            .map(|limit| {
                values
                    .get(limit.metric)
                    .map_or(0.0, |v| limit.violation(*v))
            })
            .sum()
    }

    /// The limits on metrics that cost nothing, with these.
    pub(super) fn free_limits(&self) -> impl Iterator<Item = (Limit, &'a dyn Metric)> + '_ {
        self.limits.iter().filter_map(|limit| {
            let found = self.free.iter().find(|(index, _)| *index == limit.metric);
            found.map(|(_, metric)| (*limit, *metric))
        })
    }

    /// For each architecture how far it is beyond the limits on metrics that cost nothing; `None` where one of these
    /// has no value.
    #[must_use]
    pub fn free_violations(&self, archs: &[Architecture]) -> Vec<Option<f64>> {
        let mut sums = vec![Some(0.0); archs.len()];
        for (limit, metric) in self.free_limits() {
            for (sum, value) in sums.iter_mut().zip(metric.evaluate_many(archs)) {
                *sum = match (*sum, value) {
                    (Some(sum), Ok(value)) => Some(sum + limit.violation(value)),
                    _ => None,
                };
            }
        }
        sums
    }

    /// Whether an architecture keeps the limits on metrics that cost nothing.
    #[must_use]
    pub fn is_allowed(&self, arch: &Architecture) -> bool {
        let violation = self.free_violations(std::slice::from_ref(arch));
        violation.first().copied().flatten() == Some(0.0)
    }
}
