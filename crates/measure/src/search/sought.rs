//! What is sought, in words: the part that `search.json` and `compare.json` share.

use blocklens_core::metric::MetricInfo;
use blocklens_core::report::InputHash;
use blocklens_core::search::{Bound, Limit, Problem};
use blocklens_core::space::DesignSpace;
use serde::{Deserialize, Serialize};

/// A space, by name and content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpaceRef {
    /// Its name.
    pub name: String,
    /// Its width multiplier.
    pub width: f64,
    /// The hash of its file and width.
    pub digest: String,
}

impl SpaceRef {
    /// That of a space.
    #[must_use]
    pub fn of(space: &DesignSpace) -> Self {
        Self {
            name: space.name().to_owned(),
            width: space.width(),
            digest: space.digest().to_owned(),
        }
    }
}

/// A limit by its metric's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitText {
    /// The metric's name.
    pub metric: String,
    /// Which side is allowed.
    pub bound: Bound,
    /// The limit, in the metric's unit.
    pub value: f64,
}

/// A problem in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sought {
    /// The space; in a comparison the whole one.
    pub space: SpaceRef,
    /// The resolutions that architectures may have.
    pub resolutions: Vec<u32>,
    /// Every metric that is evaluated.
    pub metrics: Vec<MetricInfo>,
    /// The names of those that are improved.
    pub objectives: Vec<String>,
    /// What is allowed.
    pub limits: Vec<LimitText>,
    /// The files that metrics were made from.
    pub inputs: Vec<InputHash>,
}

impl Sought {
    /// What `problem` seeks, with metrics made from `inputs`.
    #[must_use]
    pub fn new(problem: &Problem<'_>, inputs: Vec<InputHash>) -> Self {
        let name = |index: usize| problem.metrics()[index].name.clone();
        let limit = |limit: &Limit| LimitText {
            metric: name(limit.metric),
            bound: limit.bound,
            value: limit.value,
        };
        Self {
            space: SpaceRef::of(problem.space()),
            resolutions: problem.resolutions().to_vec(),
            metrics: problem.metrics().to_vec(),
            objectives: problem.objectives().iter().map(|i| name(*i)).collect(),
            limits: problem.limits().iter().map(limit).collect(),
            inputs,
        }
    }

    /// What makes another problem of this one, each with what it is called. Metrics are told apart by their names and
    /// files.
    pub(crate) fn decisive(&self) -> Vec<(&'static str, String)> {
        let hashes: Vec<&str> = self.inputs.iter().map(|i| i.hash.as_str()).collect();
        let names: Vec<&str> = self.metrics.iter().map(|m| m.name.as_str()).collect();
        let limit = |l: &LimitText| format!("{} {:?} {}", l.metric, l.bound, l.value);
        let limits: Vec<String> = self.limits.iter().map(limit).collect();
        let space = format!("{} ({})", self.space.name, self.space.digest);
        vec![
            ("the space", space),
            ("the resolution", format!("{:?}", self.resolutions)),
            ("what is improved", self.objectives.join(", ")),
            ("what is evaluated", names.join(", ")),
            ("what is allowed", format!("[{}]", limits.join(", "))),
            ("the metrics' files", hashes.join(", ")),
        ]
    }
}

/// What differs first between two lists of what decides, and both sides of it.
pub(crate) fn first_difference(
    there: Vec<(&'static str, String)>,
    here: Vec<(&'static str, String)>,
) -> Option<(&'static str, String, String)> {
    let mut pairs = there.into_iter().zip(here);
    let (there, here) = pairs.find(|(there, here)| there != here)?;
    Some((there.0, there.1, here.1))
}
