//! The algorithms, by name.

mod bananas;
mod evolution;
mod guided;
mod local;
mod mutation;
mod nsga2;
mod random;

use std::collections::HashSet;

use super::front::Points;
use super::{Problem, Score, SearchAlgorithm, constrained_ranks};
use crate::metric::Direction;

pub use bananas::Bananas;
pub use evolution::RegularisedEvolution;
pub use guided::Guided;
pub use local::LocalSearch;
pub use mutation::{ParetoMutation, TopK};
pub use nsga2::Nsga2;
pub use random::Random;

/// An algorithm as a user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AlgorithmInfo {
    /// The name to ask for it by.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Whether it can improve several metrics at once.
    pub several: bool,
}

/// All algorithms.
pub const ALGORITHMS: [AlgorithmInfo; 8] = [
    AlgorithmInfo {
        name: "random",
        about: "architectures from the space's own distribution",
        several: true,
    },
    AlgorithmInfo {
        name: "mutation",
        about: "the Pareto search of Mills et al. 2021: random mutations of the front, 100 and then 200 a round",
        several: true,
    },
    AlgorithmInfo {
        name: "top-k",
        about: "the accuracy search of Mills et al. 2021: random mutations of the 10 best that keep the limits",
        several: false,
    },
    AlgorithmInfo {
        name: "evolution",
        about: "regularised evolution (Real et al. 2019): the best of a sample has a child, the oldest goes",
        several: true,
    },
    AlgorithmInfo {
        name: "nsga2",
        about: "NSGA-II (Deb et al. 2002): crossover and mutation, survival by rank and crowding",
        several: true,
    },
    AlgorithmInfo {
        name: "local",
        about: "Pareto local search: neighbours of the front until all are known, then again from elsewhere",
        several: true,
    },
    AlgorithmInfo {
        name: "bananas",
        about: "BANANAS (White et al. 2021): an ensemble of predictors, independent Thompson sampling",
        several: true,
    },
    AlgorithmInfo {
        name: "guided",
        about: "profile-guided: the profile's model of every metric proposes, real evaluations correct it",
        several: true,
    },
];

/// Why there is no such algorithm for a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// The name means nothing.
    #[error("there is no search algorithm `{name}`; there are {}", names())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// It improves one metric.
    #[error("`{name}` improves one metric, and there are {objectives}: make limits of the others")]
    OneObjective {
        /// The algorithm.
        name: &'static str,
        /// How many metrics the problem has.
        objectives: usize,
    },
}

fn names() -> String {
    let names: Vec<&str> = ALGORITHMS.iter().map(|a| a.name).collect();
    names.join(", ")
}

/// The algorithm called `name`, with its usual settings.
///
/// # Errors
/// [`AlgorithmError`].
pub fn algorithm(
    name: &str,
    problem: &Problem<'_>,
) -> Result<Box<dyn SearchAlgorithm>, AlgorithmError> {
    let info = ALGORITHMS.iter().find(|a| a.name == name);
    let info = info.ok_or_else(|| AlgorithmError::Unknown {
        name: name.to_owned(),
    })?;
    let objectives = problem.objectives().len();
    if objectives > 1 && !info.several {
        return Err(AlgorithmError::OneObjective {
            name: info.name,
            objectives,
        });
    }
    Ok(match info.name {
        "mutation" => Box::new(ParetoMutation::default()),
        "top-k" => Box::new(TopK::default()),
        "evolution" => Box::new(RegularisedEvolution::default()),
        "nsga2" => Box::new(Nsga2::default()),
        "local" => Box::new(LocalSearch::default()),
        "bananas" => Box::new(Bananas::default()),
        "guided" => Box::new(Guided::default()),
        _ => Box::new(Random::default()),
    })
}

/// Places by rank, then by crowding distance within the rank.
fn best_first(scores: &[Score]) -> Vec<usize> {
    let all: Vec<&Score> = scores.iter().collect();
    let ranks = constrained_ranks(&all);
    let levels: HashSet<usize> = ranks.iter().copied().collect();
    let mut levels: Vec<usize> = levels.into_iter().collect();
    levels.sort_unstable();
    let mut order = Vec::with_capacity(scores.len());
    for level in levels {
        let members: Vec<usize> = (0..scores.len()).filter(|i| ranks[*i] == level).collect();
        let objectives = scores[members[0]].costs.len();
        let mut points = Points::new(&vec![Direction::LowerIsBetter; objectives]);
        for member in &members {
            // A prediction that is no number stays without a place among the others.
            let _ = points.push(&scores[*member].costs);
        }
        let mut crowded: Vec<(usize, f64)> = members.into_iter().zip(points.crowding()).collect();
        crowded.sort_by(|a, b| b.1.total_cmp(&a.1));
        order.extend(crowded.into_iter().map(|(member, _)| member));
    }
    order
}
