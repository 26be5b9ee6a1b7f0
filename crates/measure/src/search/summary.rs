//! What a search has found: `front.json`, `front.csv`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blocklens_core::metric::Direction;
use blocklens_core::search::front::Points;
use blocklens_core::search::{History, Problem, Search};
use blocklens_core::shown::csv_text;
use serde::{Deserialize, Serialize};

use super::Manifest;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// As many architectures were evaluated as was asked for.
    Budget,
    /// There is nothing left to evaluate.
    Exhausted,
    /// It was interrupted, and can go on.
    Interrupted,
}

/// An architecture that no other dominates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontMember {
    /// Its text form, for `blocklens arch`.
    pub arch: String,
    /// Its values, for each metric of the search.
    pub values: Vec<f64>,
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was sought and how.
    pub search: Manifest,
    /// How it ended.
    pub ending: Ending,
    /// Unique architectures that were evaluated, failures included.
    pub evaluated: usize,
    /// Architectures without a value, by metric; those without any are absent.
    pub failures: BTreeMap<String, usize>,
    /// Architectures that have all values but are beyond a limit.
    pub beyond_limits: usize,
    /// The reference point of the hypervolume, for each objective: the one asked for, or the worst values of the first
    /// batch.
    pub reference: Option<Vec<f64>>,
    /// The front's hypervolume.
    pub hypervolume: Option<f64>,
    /// The architectures that keep all limits and that no other such one dominates, best first in the first objective.
    pub front: Vec<FrontMember>,
    /// Where nothing keeps the limits: what is nearest to doing so.
    pub nearest: Option<FrontMember>,
}

impl Summary {
    pub(super) fn new(
        manifest: &Manifest,
        search: &Search<'_>,
        reference: Option<Vec<f64>>,
        ending: Ending,
    ) -> Self {
        let (problem, history) = (search.problem(), search.history());
        let mut failures = BTreeMap::new();
        for (index, metric) in problem.metrics().iter().enumerate() {
            let failed = history.entries().iter();
            let failed = failed.filter(|e| e.values.get(index).copied().flatten().is_none());
            let count = failed.count();
            if count > 0 {
                failures.insert(metric.name.clone(), count);
            }
        }
        let beyond = history.scored(0..history.len());
        let beyond = beyond.filter(|(_, score)| !score.is_feasible()).count();
        let points = front_points(problem, history);
        let nearest = history.front_or_nearest(0..history.len(), 1);
        let nearest = nearest.first().filter(|_| points.is_empty());
        Self {
            search: manifest.clone(),
            ending,
            evaluated: history.len(),
            failures,
            beyond_limits: beyond,
            hypervolume: reference.as_ref().and_then(|r| points.hypervolume(r).ok()),
            reference,
            front: front(problem, history),
            nearest: nearest.map(|number| member(problem, history, *number)),
        }
    }
}

fn member(problem: &Problem<'_>, history: &History, number: usize) -> FrontMember {
    let entry = &history.entries()[number];
    FrontMember {
        arch: problem.space().print(&entry.arch),
        values: entry.values.iter().map(|v| v.unwrap_or(f64::NAN)).collect(),
    }
}

/// The front, best first in the first objective.
fn front(problem: &Problem<'_>, history: &History) -> Vec<FrontMember> {
    let mut members: Vec<(Vec<f64>, usize)> = history
        .scored(history.front())
        .map(|(number, score)| (score.costs.clone(), number))
        .collect();
    members.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let numbers = members.into_iter().map(|(_, number)| number);
    numbers.map(|n| member(problem, history, n)).collect()
}

/// The objectives of the front's architectures.
pub(super) fn front_points(problem: &Problem<'_>, history: &History) -> Points {
    let mut points = problem.points();
    for number in history.front() {
        let values = &history.entries()[number].values;
        let objectives = problem.objectives().iter();
        let point: Vec<f64> = objectives.filter_map(|i| values[*i]).collect();
        // What is on a front has finite values.
        let _ = points.push(&point);
    }
    points
}

/// The worst value of each objective among the `first` entries; `None` when none of them has values.
pub(super) fn worst(problem: &Problem<'_>, history: &History, first: usize) -> Option<Vec<f64>> {
    let scores: Vec<_> = history.scored(0..first).collect();
    let directions = problem.directions();
    let worst = |objective: usize| {
        let costs = scores.iter().map(|(_, score)| score.costs[objective]);
        let cost = costs.reduce(f64::max)?;
        Some(match directions[objective] {
            Direction::LowerIsBetter => cost,
            Direction::HigherIsBetter => 0.0 - cost,
        })
    };
    (0..directions.len()).map(worst).collect()
}

/// The front as CSV: the architecture in quotes, then the value of each metric.
#[must_use]
pub fn front_csv(summary: &Summary) -> String {
    let quoted = |text: &str| format!("\"{}\"", csv_text(text).replace('"', "\"\""));
    let mut csv = String::from("arch");
    for metric in &summary.search.sought.metrics {
        csv += ",";
        csv += &quoted(&metric.head());
    }
    csv += "\n";
    for member in &summary.front {
        csv += &quoted(&member.arch);
        for value in &member.values {
            // Writing to memory cannot fail.
            let _ = write!(csv, ",{value}");
        }
        csv += "\n";
    }
    csv
}
