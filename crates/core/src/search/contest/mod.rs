//! Several runs of several searches, compared: algorithms with each other, and a space with its reductions.
//!
//! A [`Contender`] is an algorithm in a space with what its runs had found when some budgets were spent. A [`Contest`]
//! says how good these were (hypervolume, additive epsilon to the best known front, attainment surfaces) and which
//! differences the runs carry (Mann and Whitney's test with its effect size, corrected by Holm).

mod judge;
mod part_metric;
mod tests_of_runs;

pub use part_metric::PartMetric;

use serde::{Deserialize, Serialize};

use crate::metric::MetricInfo;
use crate::stats::groups::Effect;

/// The space that a contender searches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arena {
    /// The whole space.
    Full,
    /// A part of it, by name.
    Reduced(String),
    /// Random parts as large as the reduced one of this name.
    RandomLike(String),
}

impl std::fmt::Display for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Reduced(name) => f.write_str(name),
            Self::RandomLike(name) => write!(f, "random like {name}"),
        }
    }
}

/// An algorithm in a space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Arm {
    /// The algorithm's name.
    pub algorithm: String,
    /// Where it searches.
    pub arena: Arena,
}

/// An architecture on a front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its text form in the whole space, for `blocklens arch`.
    pub arch: String,
    /// The values of the objectives.
    pub values: Vec<f64>,
}

/// What a run had found when a budget was spent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The budget, in unique architectures.
    pub budget: u64,
    /// Architectures that were evaluated: fewer than the budget where the space has no more.
    pub evaluated: usize,
    /// Those of them that lack a value.
    pub failures: usize,
    /// The architectures that keep all limits and that no other such one dominates.
    pub front: Vec<Member>,
}

/// One run of an arm: a snapshot for each budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOf {
    /// Its seed.
    pub seed: u64,
    /// By budget.
    pub snapshots: Vec<Snapshot>,
}

/// An arm with its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Which.
    pub arm: Arm,
    /// Its runs.
    pub runs: Vec<RunOf>,
}

/// How some numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; 0 for a single one.
    pub sd: f64,
    /// The least.
    pub least: f64,
    /// A quarter is below.
    pub lower_quartile: f64,
    /// Half of them are below.
    pub median: f64,
    /// A quarter is above.
    pub upper_quartile: f64,
    /// The most.
    pub most: f64,
}

/// What shares of the runs attain: corners of surfaces, by ascending cost in the first objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attainment {
    /// The better quarter of the runs.
    pub best_quarter: Vec<[f64; 2]>,
    /// Half of them.
    pub median: Vec<[f64; 2]>,
    /// Three quarters.
    pub three_quarters: Vec<[f64; 2]>,
}

/// An arm's runs at one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The budget.
    pub budget: u64,
    /// The hypervolume of every run's front.
    pub hypervolumes: Vec<f64>,
    /// How they lie.
    pub hypervolume: Spread,
    /// The additive epsilon of every run's front to the best known one, in shares of its range; `None` for a run
    /// without a front.
    pub epsilons: Vec<Option<f64>>,
    /// How those that there are lie; `None` for none.
    pub epsilon: Option<Spread>,
    /// For two objectives.
    pub attainment: Option<Attainment>,
}

/// An arm with what its runs came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// Which.
    pub arm: Arm,
    /// The seeds of its runs.
    pub seeds: Vec<u64>,
    /// By budget.
    pub standings: Vec<Standing>,
    /// The seed of the run whose hypervolume at the largest budget is the median (of an even number the lower of both).
    pub median_seed: u64,
    /// Its front at the largest budget.
    pub median_front: Vec<Member>,
}

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Two algorithms in one space.
    Algorithms,
    /// Two spaces with one algorithm.
    Spaces,
}

/// Whether the hypervolumes of two arms differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// What it is about.
    pub question: Question,
    /// The budget.
    pub budget: u64,
    /// One arm.
    pub first: Arm,
    /// The other.
    pub second: Arm,
    /// The mean of the first minus that of the second.
    pub difference: f64,
    /// The probability of such ranks if there is no difference (Mann and Whitney, two-sided).
    pub p: f64,
    /// The same after Holm's correction for all tests of the contest.
    pub adjusted_p: f64,
    /// How large the difference is, whatever its significance.
    pub effect: Effect,
}

/// What the runs of all arms come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// What is improved.
    pub objectives: Vec<MetricInfo>,
    /// The reference point of all hypervolumes, for each objective.
    pub reference: Vec<f64>,
    /// The budgets, ascending.
    pub budgets: Vec<u64>,
    /// The hypervolume of the best known front.
    pub best_hypervolume: f64,
    /// The architectures that none of any run dominates, best first in the first objective.
    pub best_front: Vec<Member>,
    /// All arms.
    pub arms: Vec<ArmResult>,
    /// All tests.
    pub tests: Vec<Test>,
}

/// Why runs cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContestError {
    /// No run of any arm has found anything.
    #[error("no run has found an architecture that has all values and keeps the limits")]
    Nothing,
    /// An arm has no runs, or one with other budgets.
    #[error("the runs of {algorithm} in {arena} are not complete")]
    Incomplete {
        /// The algorithm.
        algorithm: String,
        /// The space.
        arena: String,
    },
    /// The reference is no point of the objectives.
    #[error("the reference point is not one finite number for every metric to improve")]
    Reference,
}
