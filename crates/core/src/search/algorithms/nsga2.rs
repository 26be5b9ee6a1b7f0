//! NSGA-II (Deb, Pratap, Agarwal, Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm", 2002).

use std::ops::Range;

use rand::RngExt;

use crate::search::history::Ranked;
use crate::search::{Context, SearchAlgorithm};
use crate::seed::Rng;
use crate::space::Architecture;

/// Parents win binary tournaments by rank and crowding distance; children come from uniform crossover of units and one
/// random change; parents and children together survive by rank and crowding distance. Limits come first, as in the
/// paper's constrained domination.
#[derive(Clone, Debug)]
pub struct Nsga2 {
    /// Size of the population, and children in a generation.
    pub population: usize,
    /// The probability of crossover; a child is otherwise a copy of one parent before it is changed.
    pub crossover: f64,
    /// The probability of a random change to a child. A child that is known is changed anyway.
    pub mutation: f64,
    survivors: Vec<usize>,
}

impl Default for Nsga2 {
    fn default() -> Self {
        Self::new(100, 0.9, 0.9)
    }
}

impl Nsga2 {
    /// With these settings.
    #[must_use]
    pub fn new(population: usize, crossover: f64, mutation: f64) -> Self {
        Self {
            population,
            crossover,
            mutation,
            survivors: Vec::new(),
        }
    }

    fn child(
        &self,
        context: &Context<'_>,
        ranked: &[Ranked],
        rng: &mut Rng,
    ) -> Option<Architecture> {
        let entries = context.history.entries();
        let mut parent = || {
            let (a, b) = (
                rng.random_range(0..ranked.len()),
                rng.random_range(0..ranked.len()),
            );
            &entries[ranked[winner(ranked, a, b)].number].arch
        };
        let (mother, father) = (parent(), parent());
        let space = context.problem.space();
        let mut child = if rng.random_bool(self.crossover) {
            space.crossover(mother, father, rng)
        } else {
            mother.clone()
        };
        if rng.random_bool(self.mutation) || context.history.knows(&child) {
            child = context.problem.mutate(&child, rng)?;
        }
        Some(child)
    }
}

/// The place of the better of two; they are sorted by rank, and by crowding within a rank.
fn winner(ranked: &[Ranked], a: usize, b: usize) -> usize {
    let (x, y) = (&ranked[a], &ranked[b]);
    let worse = y.rank.cmp(&x.rank).then(x.crowding.total_cmp(&y.crowding));
    if worse.is_lt() { b } else { a }
}

impl SearchAlgorithm for Nsga2 {
    fn name(&self) -> &'static str {
        "nsga2"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let mut rng = context.rng("breed");
        let mut proposals = context.proposals();
        if self.survivors.len() < self.population {
            // At the start, and where evaluating failed often.
            proposals.fill_randomly(self.population - self.survivors.len(), &mut rng);
            if !proposals.is_empty() || self.survivors.is_empty() {
                return proposals.take();
            }
        }
        let ranked = context.history.best_first(self.survivors.iter().copied());
        proposals.fill(self.population, || self.child(context, &ranked, &mut rng));
        proposals.take()
    }

    fn tell(&mut self, context: &Context<'_>, new: Range<usize>) {
        let all = self.survivors.iter().copied().chain(new);
        let best = context.history.best_first(all).into_iter();
        self.survivors = best.take(self.population).map(|r| r.number).collect();
    }
}
