//! What was evaluated, and what it came to.

use std::collections::HashMap;

use super::Problem;
use super::front::{Points, cost};
use crate::space::Architecture;

/// An architecture that was evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The architecture.
    pub arch: Architecture,
    /// The value of each metric of the problem, where it has one.
    pub values: Vec<Option<f64>>,
    /// What the values come to; `None` when one is missing.
    pub score: Option<Score>,
}

/// What a search looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The objectives as values of which smaller ones are better.
    pub costs: Vec<f64>,
    /// How far it is beyond the limits ([`Problem::violation`]); 0 when it keeps all.
    pub violation: f64,
}

impl Score {
    /// Whether all limits are kept.
    #[must_use]
    pub fn is_feasible(&self) -> bool {
        self.violation <= 0.0
    }
}

/// Everything that was evaluated, in order; each architecture once.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
    index: HashMap<Architecture, usize>,
}

impl History {
    /// Adds what an architecture came to; false when it was there already.
    pub(super) fn push(
        &mut self,
        problem: &Problem<'_>,
        arch: Architecture,
        values: Vec<Option<f64>>,
    ) -> bool {
        if self.index.contains_key(&arch) {
            return false;
        }
        let score = score(problem, &values);
        self.index.insert(arch.clone(), self.entries.len());
        self.entries.push(Entry {
            arch,
            values,
            score,
        });
        true
    }

    /// Everything, in the order in which it was evaluated.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many architectures were evaluated, failures included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an architecture was evaluated.
    #[must_use]
    pub fn knows(&self, arch: &Architecture) -> bool {
        self.index.contains_key(arch)
    }

    /// How many architectures lack a value.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.entries.iter().filter(|e| e.score.is_none()).count()
    }

    /// The entries with these numbers that have values, with their scores.
    pub fn scored(
        &self,
        numbers: impl IntoIterator<Item = usize>,
    ) -> impl Iterator<Item = (usize, &Score)> {
        let score = |number: usize| Some((number, self.entries[number].score.as_ref()?));
        numbers.into_iter().filter_map(score)
    }

    /// The numbers of the entries that keep all limits and that no other such entry dominates.
    #[must_use]
    pub fn front(&self) -> Vec<usize> {
        self.front_of(0..self.len())
    }

    /// As [`Self::front`], among some entries.
    #[must_use]
    pub fn front_of(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let scored = self.scored(numbers);
        let feasible: Vec<(usize, &Score)> = scored.filter(|(_, s)| s.is_feasible()).collect();
        let points = points(feasible.iter().map(|(_, s)| *s));
        points.front().into_iter().map(|i| feasible[i].0).collect()
    }

    /// The front, or where nothing keeps the limits the `most` entries that are nearest to doing so.
    #[must_use]
    pub fn front_or_nearest(
        &self,
        numbers: impl IntoIterator<Item = usize> + Clone,
        most: usize,
    ) -> Vec<usize> {
        let front = self.front_of(numbers.clone());
        if !front.is_empty() {
            return front;
        }
        let mut nearest: Vec<(usize, &Score)> = self.scored(numbers).collect();
        nearest.sort_by(|a, b| a.1.violation.total_cmp(&b.1.violation));
        nearest.into_iter().take(most).map(|(i, _)| i).collect()
    }

    /// The entries with values, best first: by rank ([`constrained_ranks`]), then by crowding distance within the
    /// rank (more space around it first), then in order.
    #[must_use]
    pub fn best_first(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Ranked> {
        let scored: Vec<(usize, &Score)> = self.scored(numbers).collect();
        let scores: Vec<&Score> = scored.iter().map(|(_, s)| *s).collect();
        let ranks = constrained_ranks(&scores);
        let mut by_rank: Vec<Vec<usize>> = Vec::new();
        for (at, rank) in ranks.iter().enumerate() {
            by_rank.resize(by_rank.len().max(rank + 1), Vec::new());
            by_rank[*rank].push(at);
        }
        let mut all = Vec::with_capacity(scored.len());
        for (rank, members) in by_rank.into_iter().enumerate() {
            let crowding = points(members.iter().map(|at| scores[*at])).crowding();
            let mut ranked: Vec<Ranked> = members
                .into_iter()
                .zip(crowding)
                .map(|(at, crowding)| Ranked {
                    number: scored[at].0,
                    rank,
                    crowding,
                })
                .collect();
            ranked.sort_by(|a, b| b.crowding.total_cmp(&a.crowding));
            all.extend(ranked);
        }
        all
    }
}

/// An entry among others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Its number in the history.
    pub number: usize,
    /// Its rank among those that it was compared with.
    pub rank: usize,
    /// Its crowding distance within the rank.
    pub crowding: f64,
}

fn score(problem: &Problem<'_>, values: &[Option<f64>]) -> Option<Score> {
    let values: Vec<f64> = values.iter().copied().collect::<Option<_>>()?;
    if values.len() != problem.metrics().len() || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let objectives = problem.objectives().iter();
    Some(Score {
        costs: objectives
            .map(|i| cost(values[*i], problem.metrics()[*i].direction))
            .collect(),
        violation: problem.violation(&values),
    })
}

/// Scores as points; they are costs already.
fn points<'s>(scores: impl Iterator<Item = &'s Score>) -> Points {
    let mut scores = scores.peekable();
    let objectives = scores.peek().map_or(0, |s| s.costs.len());
    let mut points = Points::new(&vec![crate::metric::Direction::LowerIsBetter; objectives]);
    for score in scores {
        // Values without a finite number have no score.
        let _ = points.push(&score.costs);
    }
    points
}

/// Ranks where limits come first (Deb et al. 2002): what keeps them is ranked by dominance, and all that does not comes
/// after it, the nearest first.
#[must_use]
pub fn constrained_ranks(scores: &[&Score]) -> Vec<usize> {
    let feasible: Vec<usize> = (0..scores.len())
        .filter(|i| scores[*i].is_feasible())
        .collect();
    let mut ranks = vec![0; scores.len()];
    let mut next = 0;
    for (i, rank) in feasible
        .iter()
        .zip(points(feasible.iter().map(|i| scores[*i])).ranks())
    {
        ranks[*i] = rank;
        next = next.max(rank + 1);
    }
    let mut beyond: Vec<usize> = (0..scores.len())
        .filter(|i| !scores[*i].is_feasible())
        .collect();
    beyond.sort_by(|a, b| scores[*a].violation.total_cmp(&scores[*b].violation));
    for equal in beyond.chunk_by(|a, b| {
        scores[*a]
            .violation
            .total_cmp(&scores[*b].violation)
            .is_eq()
    }) {
        for i in equal {
            ranks[*i] = next;
        }
        next += 1;
    }
    ranks
}
