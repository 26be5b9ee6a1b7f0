//! BANANAS (White, Neiswanger, Savani, "BANANAS: Bayesian Optimization with Neural Architectures for Neural
//! Architecture Search", AAAI 2021).

use std::sync::OnceLock;

use rand::RngExt;

use super::best_first;
use crate::metric::Direction;
use crate::search::mlp::{Mlp, Training};
use crate::search::{Context, Score, SearchAlgorithm};
use crate::seed::Rng;
use crate::space::Architecture;

/// An ensemble of small networks predicts every metric; candidates are mutations of the best; of each candidate's
/// predictions one value is drawn (independent Thompson sampling), and those with the best draws are evaluated.
///
/// The paper encodes a cell by the paths through it, truncated to short ones. A network here is one path, so this one
/// sees its parts of one block, at their place ([`crate::space::Encoding`]).
///
/// For several metrics each has its own ensemble and its own draw, and candidates are compared by non-dominated rank,
/// limits first, then by crowding distance.
#[derive(Clone, Debug)]
pub struct Bananas {
    /// Random architectures at the start.
    pub start: usize,
    /// Architectures in a batch.
    pub batch: usize,
    /// Networks in an ensemble.
    pub ensemble: usize,
    /// How many of the best have mutations.
    pub parents: usize,
    /// Candidates.
    pub candidates: usize,
    /// How the networks are trained.
    pub training: Training,
}

impl Default for Bananas {
    fn default() -> Self {
        Self {
            start: 100,
            batch: 20,
            ensemble: 5,
            parents: 100,
            candidates: 1_000,
            training: Training::default(),
        }
    }
}

/// Mean and standard deviation of an ensemble's predictions, for every candidate.
type Beliefs = Vec<(f64, f64)>;

impl SearchAlgorithm for Bananas {
    fn name(&self) -> &'static str {
        "bananas"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let history = context.history;
        let known: Vec<usize> = history.scored(0..history.len()).map(|(i, _)| i).collect();
        let mut rng = context.rng("candidates");
        let mut proposals = context.proposals();
        if known.len() < self.start {
            proposals.fill_randomly(self.start - known.len(), &mut rng);
            if !proposals.is_empty() || known.is_empty() {
                return proposals.take();
            }
        }
        let candidates = self.mutations(context, &mut rng);
        let beliefs = self.beliefs(context, &known, &candidates);
        let scores = draw_scores(context, candidates.len(), &beliefs, &mut rng);
        for at in best_first(&scores) {
            if proposals.len() == self.batch {
                break;
            }
            proposals.offer(candidates[at].clone());
        }
        proposals.take()
    }
}

impl Bananas {
    /// Architectures one or two random changes away from the best.
    fn mutations(&self, context: &Context<'_>, rng: &mut Rng) -> Vec<Architecture> {
        let (problem, history) = (context.problem, context.history);
        let best = history.best_first(0..history.len()).into_iter();
        let parents: Vec<usize> = best.take(self.parents).map(|r| r.number).collect();
        let mut candidates = context.proposals();
        candidates.fill(self.candidates, || {
            let parent = parents[rng.random_range(0..parents.len())];
            let once = problem.mutate(&history.entries()[parent].arch, rng)?;
            if rng.random_bool(0.5) {
                return problem.mutate(&once, rng);
            }
            Some(once)
        });
        candidates.take()
    }

    /// What the ensembles predict, by metric.
    fn beliefs(
        &self,
        context: &Context<'_>,
        known: &[usize],
        candidates: &[Architecture],
    ) -> Vec<Beliefs> {
        let encoding = context.problem.space().encoding();
        let input = |arch: &Architecture| {
            let mut ones = Vec::new();
            encoding.each(arch, |index| {
                ones.push(u32::try_from(index).unwrap_or(u32::MAX));
            });
            ones
        };
        let entries = context.history.entries();
        let inputs: Vec<Vec<u32>> = known.iter().map(|i| input(&entries[*i].arch)).collect();
        let asked: Vec<Vec<u32>> = candidates.iter().map(input).collect();
        let metrics = context.problem.metrics().len();
        let targets: Vec<Vec<f64>> = (0..metrics)
            .map(|m| {
                let values = known.iter().map(|i| entries[*i].values[m]);
                values.map(Option::unwrap_or_default).collect()
            })
            .collect();
        let jobs = metrics * self.ensemble;
        let outputs: Vec<OnceLock<Vec<f64>>> = (0..jobs).map(|_| OnceLock::new()).collect();
        (context.each)(jobs, &|job| {
            let seed = context.seed().stream("ensemble").index(job as u64);
            let values = &targets[job / self.ensemble];
            let network = Mlp::train(encoding.len(), &inputs, values, &self.training, seed);
            let _ = outputs[job].set(asked.iter().map(|input| network.predict(input)).collect());
        });
        let outputs: Vec<Vec<f64>> = outputs
            .into_iter()
            .map(|cell| cell.into_inner().unwrap_or_default())
            .collect();
        outputs
            .chunks(self.ensemble)
            .map(|ensemble| agree(ensemble, candidates.len()))
            .collect()
    }
}

/// Mean and standard deviation over an ensemble.
fn agree(ensemble: &[Vec<f64>], candidates: usize) -> Beliefs {
    let belief = |at: usize| {
        let predictions: Vec<f64> = ensemble.iter().filter_map(|p| p.get(at).copied()).collect();
        let mean = crate::stats::mean(&predictions);
        (mean, crate::stats::variance(&predictions).sqrt())
    };
    (0..candidates).map(belief).collect()
}

/// One value of each metric for each candidate from what is believed of it.
fn draw_scores(
    context: &Context<'_>,
    candidates: usize,
    beliefs: &[Beliefs],
    rng: &mut Rng,
) -> Vec<Score> {
    let problem = context.problem;
    let score = |at: usize| {
        let draws: Vec<f64> = beliefs
            .iter()
            .map(|of_metric| of_metric[at].0 + of_metric[at].1 * normal(rng))
            .collect();
        let cost = |metric: &usize| match problem.metrics()[*metric].direction {
            Direction::LowerIsBetter => draws[*metric],
            Direction::HigherIsBetter => -draws[*metric],
        };
        Score {
            costs: problem.objectives().iter().map(cost).collect(),
            violation: problem.violation(&draws),
        }
    };
    (0..candidates).map(score).collect()
}

/// A standard normal draw (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
