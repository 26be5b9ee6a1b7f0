//! What an algorithm sees when it is asked, and how proposals are collected.

use std::collections::HashSet;

use super::feasible::approach;
use super::{History, Problem};
use crate::seed::{Rng, Seed};
use crate::space::Architecture;

/// Carries out a number of pieces of work, which may be at the same time: the caller's threads.
pub type ForEach<'a> = &'a (dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Sync);

/// Work without threads.
pub fn one_after_the_other(count: usize, work: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(work);
}

/// Attempts at something new in a row before giving up.
const ATTEMPTS: usize = 200;
/// Draws that may be beyond the limits before one of them is led to the allowed side.
const DRAWS: usize = 20;

/// The situation of a search.
pub struct Context<'a> {
    /// What is sought.
    pub problem: &'a Problem<'a>,
    /// What is known.
    pub history: &'a History,
    /// Where long computations can be spread over threads.
    pub each: ForEach<'a>,
    pub(super) seed: Seed,
}

impl Context<'_> {
    /// The seed of this batch: differs between batches and between searches.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// A generator of this batch for one purpose.
    #[must_use]
    pub fn rng(&self, purpose: &str) -> Rng {
        self.seed.stream(purpose).rng()
    }

    /// Collects proposals.
    #[must_use]
    pub fn proposals(&self) -> Proposals<'_> {
        Proposals {
            context: self,
            archs: Vec::new(),
            taken: HashSet::new(),
        }
    }

    /// A random architecture that keeps the limits that cost nothing to check, new or not. Where these are hard to
    /// keep, a random one that is led to them.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng) -> Option<Architecture> {
        let mut drawn = None;
        for _ in 0..DRAWS {
            let arch = self.problem.draw(rng)?;
            if self.problem.is_allowed(&arch) {
                return Some(arch);
            }
            drawn = Some(arch);
        }
        approach(self.problem, drawn?, rng)
    }
}

/// Architectures to evaluate next: new ones only, each once, none beyond limits that cost nothing to check.
pub struct Proposals<'a> {
    context: &'a Context<'a>,
    archs: Vec<Architecture>,
    taken: HashSet<Architecture>,
}

impl Proposals<'_> {
    /// Takes an architecture if it is new and allowed.
    pub fn offer(&mut self, arch: Architecture) -> bool {
        let problem = self.context.problem;
        let new = !self.context.history.knows(&arch) && !self.taken.contains(&arch);
        if !new || !problem.has(&arch) || !problem.is_allowed(&arch) {
            return false;
        }
        self.taken.insert(arch.clone());
        self.archs.push(arch);
        true
    }

    /// Takes what `make` makes until there are `size` proposals, or nothing new came for many attempts.
    pub fn fill(&mut self, size: usize, mut make: impl FnMut() -> Option<Architecture>) {
        let mut attempts = 0;
        while self.archs.len() < size && attempts < ATTEMPTS {
            let taken = make().is_some_and(|arch| self.offer(arch));
            attempts = if taken { 0 } else { attempts + 1 };
        }
    }

    /// Takes random architectures until there are `size` proposals, or none are new for many attempts.
    pub fn fill_randomly(&mut self, size: usize, rng: &mut Rng) {
        let context = self.context;
        self.fill(size, || context.draw(rng));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.archs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.archs.is_empty()
    }

    /// The proposals, in the order in which they were taken.
    #[must_use]
    pub fn take(self) -> Vec<Architecture> {
        self.archs
    }
}
