//! The two searches published with "Profiling Neural Blocks and Design Spaces for Mobile Neural Architecture Search"
//! (Mills et al., CIKM 2021), without their traps: architectures that are known are not evaluated again (and not
//! counted twice), and a space that has nothing new ends the search.

use rand::seq::SliceRandom;

use crate::search::{Context, Proposals, SearchAlgorithm};
use crate::seed::Rng;
use crate::space::Architecture;

/// Attempts at a new mutation of one parent, as published.
const ATTEMPTS: usize = 100;
/// Parents where nothing keeps the limits yet.
const NEAREST: usize = 10;

/// The Pareto search: some random architectures, then rounds of random mutations of the whole front.
#[derive(Clone, Debug)]
pub struct ParetoMutation {
    /// Random architectures at the start.
    pub start: usize,
    /// Mutations in a round.
    pub round: usize,
    /// The probability that a unit is changed.
    pub probability: f64,
}

impl Default for ParetoMutation {
    fn default() -> Self {
        Self {
            start: 100,
            round: 200,
            probability: 0.5,
        }
    }
}

impl SearchAlgorithm for ParetoMutation {
    fn name(&self) -> &'static str {
        "mutation"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let history = context.history;
        let parents = history.front_or_nearest(0..history.len(), NEAREST);
        mutations(context, &parents, self.start, self.round, self.probability)
    }
}

/// The search for the best value of one metric within limits: some random architectures, then rounds of random
/// mutations of the best.
#[derive(Clone, Debug)]
pub struct TopK {
    /// How many of the best have mutations.
    pub k: usize,
    /// Random architectures at the start.
    pub start: usize,
    /// Mutations in a round.
    pub round: usize,
    /// The probability that a unit is changed.
    pub probability: f64,
}

impl Default for TopK {
    fn default() -> Self {
        Self {
            k: 10,
            start: 20,
            round: 50,
            probability: 0.5,
        }
    }
}

impl SearchAlgorithm for TopK {
    fn name(&self) -> &'static str {
        "top-k"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let history = context.history;
        let best = history.best_first(0..history.len()).into_iter();
        let parents: Vec<usize> = best.take(self.k).map(|r| r.number).collect();
        mutations(context, &parents, self.start, self.round, self.probability)
    }
}

/// A round: every parent has one new mutation after the other, and a random choice of them is taken; random
/// architectures as long as there are no parents.
fn mutations(
    context: &Context<'_>,
    parents: &[usize],
    start: usize,
    round: usize,
    probability: f64,
) -> Vec<Architecture> {
    let mut rng = context.rng("mutate");
    let mut proposals = context.proposals();
    if parents.is_empty() {
        proposals.fill_randomly(start, &mut rng);
        return proposals.take();
    }
    while proposals.len() < round {
        let before = proposals.len();
        for parent in parents {
            offer_one(context, *parent, probability, &mut proposals, &mut rng);
        }
        if proposals.len() == before {
            break;
        }
    }
    let mut archs = proposals.take();
    archs.shuffle(&mut rng);
    archs.truncate(round);
    archs
}

fn offer_one(
    context: &Context<'_>,
    parent: usize,
    probability: f64,
    proposals: &mut Proposals<'_>,
    rng: &mut Rng,
) {
    let problem = context.problem;
    let arch = &context.history.entries()[parent].arch;
    for _ in 0..ATTEMPTS {
        let child = problem
            .space()
            .mutate_units(arch, problem.resolutions(), probability, rng);
        if child.is_some_and(|child| proposals.offer(child)) {
            return;
        }
    }
}
