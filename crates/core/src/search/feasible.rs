//! Whether limits can be kept at all: a directed search on the limited metrics alone, where these cost nothing.

use rand::RngExt;

use super::{Bound, Limit, Problem};
use crate::seed::{Rng, Seed};
use crate::shown;
use crate::space::Architecture;

/// Random places from which the best reachable value is sought, besides the smallest architectures.
const STARTS: usize = 8;
/// Most steps of one descent; one from anywhere in a published space takes a tenth of them.
const STEPS: usize = 500;

/// Limits that no architecture was found to keep.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Infeasible {
    /// One limit alone is out of reach.
    #[error(
        "no architecture has {metric} of {} {limit} {unit}: the {} that a directed search reached is {} {unit}, \
         by {arch}",
        match bound { Bound::Max => "at most", Bound::Min => "at least" },
        match bound { Bound::Max => "least", Bound::Min => "most" },
        shown::number(*best),
    )]
    Limit {
        /// The metric's name.
        metric: String,
        /// Its unit.
        unit: String,
        /// Which side is allowed.
        bound: Bound,
        /// The limit.
        limit: f64,
        /// The best value that was reached.
        best: f64,
        /// The architecture that has it.
        arch: String,
    },
    /// Each can be kept, but no architecture was found that keeps all.
    #[error("no architecture was found that keeps all limits together; the nearest is {arch} with \
        {}", values.join(", "))]
    Together {
        /// The nearest architecture.
        arch: String,
        /// Its values, such as `latency@note10 26.1 ms`.
        values: Vec<String>,
    },
    /// The metric has a value for none of the architectures that were tried.
    #[error("{metric} has no value for any of the architectures that were tried: {reason}")]
    NoValue {
        /// The metric's name.
        metric: String,
        /// What it said of one of them.
        reason: String,
    },
}

impl Problem<'_> {
    /// Looks whether the limits on metrics that cost nothing can be kept; of others nothing is known before they are
    /// evaluated. Exact for listed architectures, and where the best of a metric can be had by single improvements, as
    /// for sums over layers.
    ///
    /// # Errors
    /// [`Infeasible`], with the best that was reached.
    pub fn check_feasible(&self, seed: Seed) -> Result<(), Infeasible> {
        let limits: Vec<(Limit, _)> = self.free_limits().collect();
        if limits.is_empty() {
            return Ok(());
        }
        let starts = self.starts(seed);
        let together = |archs: &[Architecture]| self.free_violations(archs);
        let nearest = self.lowest(&starts, &together);
        if nearest
            .as_ref()
            .is_some_and(|(_, violation)| *violation <= 0.0)
        {
            return Ok(());
        }
        for (limit, metric) in &limits {
            let info = metric.info();
            let distance = |archs: &[Architecture]| {
                let values = metric.evaluate_many(archs).into_iter();
                values.map(|v| v.ok().map(|v| limit.distance(v))).collect()
            };
            let Some((arch, distance)) = self.lowest(&starts, &distance) else {
                let reason = starts.first().map(|arch| metric.evaluate(arch));
                return Err(Infeasible::NoValue {
                    metric: info.name.clone(),
                    reason: match reason {
                        Some(Err(error)) => error.to_string(),
                        _ => "there are no architectures".into(),
                    },
                });
            };
            // The distance is the value or its negative, and so is its distance.
            let best = limit.distance(distance);
            if limit.violation(best) > 0.0 {
                return Err(Infeasible::Limit {
                    metric: info.name.clone(),
                    unit: info.unit.clone(),
                    bound: limit.bound,
                    limit: limit.value,
                    best,
                    arch: self.space().print(&arch),
                });
            }
        }
        let arch = nearest.map_or_else(|| starts[0].clone(), |(arch, _)| arch);
        let value = |(_, metric): &(Limit, &dyn crate::metric::Metric)| {
            let info = metric.info();
            match metric.evaluate(&arch) {
                Ok(value) => format!("{} {} {}", info.name, shown::number(value), info.unit),
                Err(error) => error.to_string(),
            }
        };
        Err(Infeasible::Together {
            values: limits.iter().map(value).collect(),
            arch: self.space().print(&arch),
        })
    }

    /// Where descents begin: of listed architectures all, as they need not be neighbours.
    fn starts(&self, seed: Seed) -> Vec<Architecture> {
        if self.is_listed() {
            return self.enumerate().collect();
        }
        let mut rng = seed.stream("feasible").rng();
        let resolutions = self.resolutions().iter();
        let mut starts: Vec<Architecture> = resolutions
            .filter_map(|r| self.space().smallest(*r).ok())
            .collect();
        starts.extend((0..STARTS).filter_map(|_| self.draw(&mut rng)));
        starts
    }

    /// The lowest score that descents from the starts reach; `None` when none of these has a score.
    fn lowest(
        &self,
        starts: &[Architecture],
        score: &dyn Fn(&[Architecture]) -> Vec<Option<f64>>,
    ) -> Option<(Architecture, f64)> {
        let mut best: Option<(Architecture, f64)> = None;
        for (arch, value) in starts.iter().zip(score(starts)) {
            let Some(value) = value else { continue };
            let (arch, value) = if self.is_listed() {
                (arch.clone(), value)
            } else {
                descend(self, arch.clone(), value, score)
            };
            if best.as_ref().is_none_or(|(_, least)| value < *least) {
                best = Some((arch, value));
            }
        }
        best
    }
}

/// Goes to the best neighbour as long as it is better.
fn descend(
    problem: &Problem<'_>,
    mut arch: Architecture,
    mut value: f64,
    score: &dyn Fn(&[Architecture]) -> Vec<Option<f64>>,
) -> (Architecture, f64) {
    for _ in 0..STEPS {
        let neighbours = problem.neighbours(&arch);
        let scores = score(&neighbours);
        let scored = neighbours.into_iter().zip(scores);
        let scored = scored.filter_map(|(arch, score)| Some((arch, score?)));
        match scored.min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((next, least)) if least < value => (arch, value) = (next, least),
            _ => break,
        }
    }
    (arch, value)
}

/// Leads an architecture to the allowed side by random improving changes; `None` when it gets stuck.
pub(super) fn approach(
    problem: &Problem<'_>,
    mut arch: Architecture,
    rng: &mut Rng,
) -> Option<Architecture> {
    let one = |arch: &Architecture| problem.free_violations(std::slice::from_ref(arch))[0];
    let mut violation = one(&arch)?;
    for _ in 0..STEPS {
        if violation <= 0.0 {
            return Some(arch);
        }
        let neighbours = problem.neighbours(&arch);
        let scores = problem.free_violations(&neighbours);
        let mut better: Vec<(Architecture, f64)> = neighbours
            .into_iter()
            .zip(scores)
            .filter_map(|(arch, score)| Some((arch, score?)))
            .filter(|(_, score)| *score < violation)
            .collect();
        if better.is_empty() {
            return None;
        }
        (arch, violation) = better.swap_remove(rng.random_range(0..better.len()));
    }
    None
}
