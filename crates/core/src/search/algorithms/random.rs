//! Random search: what every other algorithm has to beat.

use crate::search::{Context, SearchAlgorithm};
use crate::space::Architecture;

/// Draws from the space's own distribution.
#[derive(Clone, Debug)]
pub struct Random {
    /// Architectures in a batch.
    pub batch: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self { batch: 100 }
    }
}

impl SearchAlgorithm for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let mut proposals = context.proposals();
        proposals.fill_randomly(self.batch, &mut context.rng("draw"));
        proposals.take()
    }
}
