//! Regularised evolution (Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019).

use rand::RngExt;

use crate::search::{Context, SearchAlgorithm};
use crate::space::Architecture;

/// The population is what was evaluated last; the best of a random sample has a mutated child, and the oldest goes.
///
/// For several metrics, "best" is by non-dominated rank within the population, limits first, and within a rank by
/// crowding distance. Children of one batch have the same population, as on workers that do not wait for each other.
#[derive(Clone, Debug)]
pub struct RegularisedEvolution {
    /// Size of the population.
    pub population: usize,
    /// Size of the sample, drawn with replacement.
    pub sample: usize,
    /// Children in a batch.
    pub batch: usize,
}

impl Default for RegularisedEvolution {
    fn default() -> Self {
        Self {
            population: 100,
            sample: 25,
            batch: 10,
        }
    }
}

impl SearchAlgorithm for RegularisedEvolution {
    fn name(&self) -> &'static str {
        "evolution"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let (problem, history) = (context.problem, context.history);
        let mut proposals = context.proposals();
        let mut rng = context.rng("evolve");
        let alive = |number: &usize| history.entries()[*number].score.is_some();
        let newest = (0..history.len()).rev().filter(alive);
        let population: Vec<usize> = newest.take(self.population).collect();
        if population.len() < self.population {
            let missing = self.population - population.len();
            proposals.fill_randomly(missing, &mut rng);
            if !proposals.is_empty() || population.is_empty() {
                return proposals.take();
            }
        }
        let best_first = history.best_first(population);
        proposals.fill(self.batch, || {
            let places = (0..self.sample).map(|_| rng.random_range(0..best_first.len()));
            let parent = best_first[places.min()?].number;
            problem.mutate(&history.entries()[parent].arch, &mut rng)
        });
        proposals.take()
    }
}
