//! A search: an algorithm, what it was told, and the batch that it waits for.

use super::batch::ForEach;
use super::{Context, History, Problem, SearchAlgorithm};
use crate::seed::Seed;
use crate::space::Architecture;

/// Architectures taken at once where the algorithm has no ideas.
const SPARE_BATCH: usize = 32;
/// Architectures that are looked through for a new one, besides those that are known, before a space counts as
/// exhausted though it may not be: only with limits that almost nothing keeps.
const LOOKED_THROUGH: usize = 200_000;

/// Values that do not fit to what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// More architectures than were asked for.
    #[error("values for {told} architectures, and {asked} are waited for")]
    TooMany {
        /// Those told.
        told: usize,
        /// Those waited for.
        asked: usize,
    },
    /// What is told again was not new.
    #[error("an architecture of batch {batch} was told before")]
    Known {
        /// The batch, counted from 0.
        batch: u64,
    },
}

/// A search in progress.
pub struct Search<'a> {
    problem: &'a Problem<'a>,
    algorithm: Box<dyn SearchAlgorithm>,
    seed: Seed,
    history: History,
    batch: u64,
    /// The length of the history at the end of each batch.
    ends: Vec<usize>,
    asked: Vec<Architecture>,
    /// How many of those asked for are told.
    told: usize,
}

impl<'a> Search<'a> {
    /// A search that knows nothing yet.
    #[must_use]
    pub fn new(problem: &'a Problem<'a>, algorithm: Box<dyn SearchAlgorithm>, seed: Seed) -> Self {
        Self {
            problem,
            algorithm,
            seed: seed.stream("search"),
            history: History::default(),
            batch: 0,
            ends: Vec::new(),
            asked: Vec::new(),
            told: 0,
        }
    }

    /// What is known.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What is sought.
    #[must_use]
    pub fn problem(&self) -> &'a Problem<'a> {
        self.problem
    }

    /// The number of the batch that is asked for now, counted from 0.
    #[must_use]
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The length of the history at the end of each batch that is complete.
    #[must_use]
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The architectures of the current batch that are waited for, none of which was evaluated before. Empty when there
    /// is nothing left to evaluate.
    pub fn ask(&mut self, each: ForEach<'_>) -> &[Architecture] {
        if self.told == self.asked.len() {
            self.asked = self.propose(each);
            self.told = 0;
        }
        &self.asked[self.told..]
    }

    /// Says what the next architectures of the batch came to: for each a value for every metric, or none where it
    /// failed. When the batch is complete the algorithm learns it.
    ///
    /// # Errors
    /// [`TellError::TooMany`].
    pub fn tell(
        &mut self,
        values: Vec<Vec<Option<f64>>>,
        each: ForEach<'_>,
    ) -> Result<(), TellError> {
        let waited = self.asked.len() - self.told;
        if values.len() > waited {
            return Err(TellError::TooMany {
                told: values.len(),
                asked: waited,
            });
        }
        for values in values {
            let arch = self.asked[self.told].clone();
            self.history.push(self.problem, arch, values);
            self.told += 1;
        }
        if self.told == self.asked.len() {
            self.learn(self.told, each);
        }
        Ok(())
    }

    /// Tells a whole batch again that this search's like was told before, without asking for it.
    ///
    /// # Errors
    /// [`TellError::Known`] when one of its architectures is there already.
    pub fn replay(
        &mut self,
        batch: Vec<(Architecture, Vec<Option<f64>>)>,
        each: ForEach<'_>,
    ) -> Result<(), TellError> {
        let size = batch.len();
        for (arch, values) in batch {
            if !self.history.push(self.problem, arch, values) {
                return Err(TellError::Known { batch: self.batch });
            }
        }
        self.learn(size, each);
        Ok(())
    }

    fn learn(&mut self, size: usize, each: ForEach<'_>) {
        let all = self.history.len();
        let context = Context {
            problem: self.problem,
            history: &self.history,
            each,
            seed: self.seed.index(self.batch),
        };
        self.algorithm.tell(&context, all - size..all);
        self.batch += 1;
        self.ends.push(all);
    }

    fn propose(&self, each: ForEach<'_>) -> Vec<Architecture> {
        let context = Context {
            problem: self.problem,
            history: &self.history,
            each,
            seed: self.seed.index(self.batch),
        };
        let mut proposals = context.proposals();
        for arch in self.algorithm.ask(&context) {
            proposals.offer(arch);
        }
        if proposals.is_empty() {
            let mut rng = context.rng("spare");
            proposals.fill_randomly(SPARE_BATCH, &mut rng);
        }
        if proposals.is_empty() {
            for entry in self.history.entries().iter().rev().take(SPARE_BATCH) {
                for arch in self.problem.neighbours(&entry.arch) {
                    proposals.offer(arch);
                }
            }
        }
        if proposals.is_empty() {
            let most = self.history.len() + LOOKED_THROUGH;
            for arch in self.problem.enumerate().take(most) {
                proposals.offer(arch);
                if proposals.len() == SPARE_BATCH {
                    break;
                }
            }
        }
        proposals.take()
    }
}
