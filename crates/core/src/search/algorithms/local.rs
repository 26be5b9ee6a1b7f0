//! Local search, which White, Nolen and Savani ("Exploring the Loss Landscape in Neural Architecture Search", UAI 2021)
//! found hard to beat; for several metrics as Pareto local search (Paquete, Chiarandini, Stützle 2004).

use std::ops::Range;

use rand::seq::SliceRandom;

use crate::search::{Context, SearchAlgorithm};
use crate::space::Architecture;

/// Climbs by neighbours of the front until all of these are known, and starts again from random architectures. In a
/// batch members of the front take turns, each with random neighbours that are not known yet: nobody waits for a whole
/// neighbourhood before a better one is followed.
#[derive(Clone, Debug)]
pub struct LocalSearch {
    /// Random architectures at every start.
    pub start: usize,
    /// Neighbours in a batch.
    pub batch: usize,
    /// The entry of the history with which the current climb began.
    began: usize,
}

impl Default for LocalSearch {
    fn default() -> Self {
        Self::new(100, 20)
    }
}

impl LocalSearch {
    /// With these settings.
    #[must_use]
    pub fn new(start: usize, batch: usize) -> Self {
        Self {
            start,
            batch,
            began: 0,
        }
    }

    /// The architectures whose neighbours are looked at.
    fn climbers(&self, context: &Context<'_>) -> Vec<usize> {
        let climb = self.began..context.history.len();
        context.history.front_or_nearest(climb, 1)
    }
}

impl SearchAlgorithm for LocalSearch {
    fn name(&self) -> &'static str {
        "local"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let mut rng = context.rng("climb");
        let mut proposals = context.proposals();
        let mut turns: Vec<Vec<Architecture>> = Vec::new();
        for climber in self.climbers(context) {
            let arch = &context.history.entries()[climber].arch;
            let mut neighbours = context.problem.neighbours(arch);
            neighbours.retain(|n| !context.history.knows(n));
            neighbours.shuffle(&mut rng);
            turns.push(neighbours);
        }
        // Of a large front, not always the same have their turn.
        turns.shuffle(&mut rng);
        while proposals.len() < self.batch {
            turns.retain(|neighbours| !neighbours.is_empty());
            if turns.is_empty() {
                break;
            }
            for neighbours in &mut turns {
                while proposals.len() < self.batch
                    && let Some(next) = neighbours.pop()
                {
                    if proposals.offer(next) {
                        break;
                    }
                }
            }
        }
        if proposals.is_empty() {
            proposals.fill_randomly(self.start, &mut rng);
        }
        proposals.take()
    }

    fn tell(&mut self, context: &Context<'_>, new: Range<usize>) {
        // What is no neighbour of a climber begins a climb of its own.
        let before = self.began..new.start;
        let climbers = context.history.front_or_nearest(before, 1);
        let entries = context.history.entries();
        let Some(first) = entries.get(new.start) else {
            return;
        };
        let climbed = climbers.into_iter().any(|climber| {
            let neighbours = context.problem.neighbours(&entries[climber].arch);
            neighbours.contains(&first.arch)
        });
        if !climbed {
            self.began = new.start;
        }
    }
}
