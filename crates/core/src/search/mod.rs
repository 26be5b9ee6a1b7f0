//! Searching a space for the architectures that no other dominates.
//!
//! A [`Problem`] says what is sought: a space, metrics, and limits on them. A [`SearchAlgorithm`] proposes
//! architectures; a [`Search`] asks it, counts unique architectures, and hands back what they came to. Evaluating is
//! the caller's part. All randomness follows from a seed and the number of the batch, and all knowledge from what was
//! told, so a search is the same whether it was interrupted or not: tell it again what is known, and ask on.

mod algorithms;
mod batch;
pub mod contest;
mod feasible;
pub mod front;
mod history;
mod mlp;
mod problem;
mod run;

pub use algorithms::{
    ALGORITHMS, AlgorithmError, AlgorithmInfo, Bananas, Guided, LocalSearch, Nsga2, ParetoMutation,
    Random, RegularisedEvolution, TopK, algorithm,
};
pub use batch::{Context, ForEach, Proposals, one_after_the_other};
pub use feasible::Infeasible;
pub use history::{Entry, History, Score, constrained_ranks};
pub use mlp::{Mlp, Training};
pub use problem::{Bound, Limit, Problem, ProblemError};
pub use run::{Search, TellError};

use std::ops::Range;

use crate::space::Architecture;

/// Proposes architectures, and learns from their values.
///
/// What it proposes must follow from what it was told, the context's problem, history and generator, and nothing else;
/// what it remembers, from what it was told. Asking twice gives the same answer. Then a search can be killed at any
/// time and goes on by telling again.
pub trait SearchAlgorithm: Send + Sync {
    /// Its name, as used on the command line.
    fn name(&self) -> &str;

    /// The next architectures to evaluate, best collected with [`Context::proposals`], which refuses what is known.
    /// Fewer than usual, or none, when it has no more ideas: the search then goes on with architectures of its own.
    fn ask(&self, context: &Context<'_>) -> Vec<Architecture>;

    /// Learns what the entries `new` of the context's history came to: those of one whole batch, failures included.
    fn tell(&mut self, context: &Context<'_>, new: Range<usize>) {
        let _ = (context, new);
    }
}
