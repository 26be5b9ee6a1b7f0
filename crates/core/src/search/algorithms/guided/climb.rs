//! Climbing on what is believed: millions of predictions in the place of evaluations.

use rand::RngExt;

use super::Beliefs;
use crate::search::{Context, Score};
use crate::seed::Rng;
use crate::space::Architecture;

/// Steps of a climb at most.
const STEPS: usize = 60;
/// Neighbours of every step that are candidates.
const KEPT: usize = 24;
/// How much more one objective may weigh than another, when a weight is drawn.
const RATIO: f64 = 50.0;
/// The share of the sum in a weighted maximum: of two with one maximum, the better in the rest wins.
const SUM: f64 = 0.05;
/// Most random changes before a climb that does not begin at the best.
const CHANGES: usize = 16;
/// Known architectures among which a climb for one metric begins.
const BEST: usize = 10;

/// An architecture with what is expected of it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) arch: Architecture,
    pub(super) score: Score,
}

/// Where the values of the front lie, so that objectives can be weighed.
pub(super) struct Scale {
    pub(super) ideal: Vec<f64>,
    pub(super) range: Vec<f64>,
}

impl Scale {
    /// That of some scores.
    pub(super) fn of(scores: &[&Score]) -> Self {
        let objectives = scores.first().map_or(0, |s| s.costs.len());
        let end = |objective: usize, pick: fn(f64, f64) -> f64| {
            let costs = scores.iter().map(|s| s.costs[objective]);
            costs.reduce(pick).unwrap_or_default()
        };
        let ideal: Vec<f64> = (0..objectives).map(|o| end(o, f64::min)).collect();
        let range = (0..objectives).map(|o| {
            let range = end(o, f64::max) - ideal[o];
            if range > 0.0 { range } else { 1.0 }
        });
        Self {
            range: range.collect(),
            ideal,
        }
    }

    fn scaled(&self, score: &Score, objective: usize) -> f64 {
        (score.costs[objective] - self.ideal[objective]) / self.range[objective]
    }
}

/// What one climb improves: objectives weighed against each other, as their sum or as the largest of them. Sums find
/// the corners of a front's convex hull, maxima what lies between.
struct Goal<'a> {
    scale: &'a Scale,
    weights: Vec<f64>,
    of_sum: bool,
}

impl<'a> Goal<'a> {
    /// The goal of climb `number` of `count`.
    fn new(scale: &'a Scale, number: usize, count: usize, rng: &mut Rng) -> Self {
        let objectives = scale.range.len();
        let mut weights: Vec<f64> = if objectives == 2 {
            // Evenly over the ratios, so that no part of the front is left out.
            let share = (number as f64 + rng.random::<f64>()) / count as f64;
            vec![1.0, RATIO.powf(2.0 * share - 1.0)]
        } else {
            (0..objectives)
                .map(|_| -(1.0 - rng.random::<f64>()).ln())
                .collect()
        };
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        Self {
            scale,
            weights,
            of_sum: number.is_multiple_of(2),
        }
    }

    fn value(&self, score: &Score) -> f64 {
        let terms = self.weights.iter().enumerate();
        let terms = terms.map(|(o, weight)| weight * self.scale.scaled(score, o));
        if self.of_sum {
            return terms.sum();
        }
        let (most, sum) = terms.fold((f64::NEG_INFINITY, 0.0), |(most, sum), t| {
            (f64::max(most, t), sum + t)
        });
        most + SUM * sum
    }

    /// Limits first, as something of which less is better.
    fn key(&self, score: &Score) -> (f64, f64) {
        (score.violation, self.value(score))
    }
}

fn better(a: (f64, f64), b: (f64, f64)) -> bool {
    a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).is_lt()
}

/// Climb `number` of `count`: from what is known to be best for its goal, or from near it, to the best neighbour as
/// long as there is a better one. Returns the best neighbours of every step.
pub(super) fn climb(
    context: &Context<'_>,
    beliefs: &Beliefs<'_>,
    scale: &Scale,
    number: usize,
    count: usize,
) -> Vec<Candidate> {
    let mut rng = context.seed().stream("climb").index(number as u64).rng();
    let goal = Goal::new(scale, number, count, &mut rng);
    let Some(start) = start(context, &goal, number, &mut rng) else {
        return Vec::new();
    };
    let mut here = beliefs.expect(vec![start]);
    let mut found = here.clone();
    for _ in 0..STEPS {
        let Some(key) = here.first().map(|c| goal.key(&c.score)) else {
            break;
        };
        let neighbours = allowed(context, context.problem.neighbours(&here[0].arch));
        let mut next = beliefs.expect(neighbours);
        next.sort_by(|a, b| {
            let (a, b) = (goal.key(&a.score), goal.key(&b.score));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        next.truncate(KEPT);
        found.extend(next.iter().cloned());
        if next
            .first()
            .is_none_or(|c| !better(goal.key(&c.score), key))
        {
            break;
        }
        here = next;
    }
    found
}

/// The best known architecture for a goal; every second climb begins some random changes away from it, for what
/// no climb from the best leads to.
fn start(
    context: &Context<'_>,
    goal: &Goal<'_>,
    number: usize,
    rng: &mut Rng,
) -> Option<Architecture> {
    let (problem, history) = (context.problem, context.history);
    let mut known: Vec<((f64, f64), usize)> = history
        .scored(0..history.len())
        .map(|(i, score)| (goal.key(score), i))
        .collect();
    known.sort_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let alone = goal.weights.len() == 1;
    let place = if alone {
        rng.random_range(0..known.len().clamp(1, BEST))
    } else {
        0
    };
    let mut arch = history.entries()[known.get(place)?.1].arch.clone();
    // Of the sums and of the maxima one half each.
    if (number / 2) % 2 == 1 || (alone && number % 2 == 1) {
        for _ in 0..rng.random_range(1..=CHANGES) {
            let changed = problem.mutate(&arch, rng).filter(|arch| problem.has(arch));
            arch = changed
                .filter(|arch| problem.is_allowed(arch))
                .unwrap_or(arch);
        }
    }
    Some(arch)
}

/// Those that keep the limits that cost nothing to check.
fn allowed(context: &Context<'_>, archs: Vec<Architecture>) -> Vec<Architecture> {
    let violations = context.problem.free_violations(&archs);
    let kept = archs.into_iter().zip(violations);
    kept.filter(|(_, violation)| *violation == Some(0.0))
        .map(|(arch, _)| arch)
        .collect()
}
