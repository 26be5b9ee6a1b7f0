//! Profile-guided search: what a profile knows of the blocks proposes, and real evaluations correct it.

mod belief;
mod choose;
mod climb;
mod likeness;
mod parts;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::best_first;
use crate::profile::{Designed, Estimator as _};
use crate::search::front::cost;
use crate::search::{Context, Problem, Score, SearchAlgorithm};
use crate::seed::{Rng, normals};
use crate::space::Architecture;
use belief::{Belief, Known, Model};
use choose::{DRAWS, Prospect, choose};
use climb::{Candidate, Scale, climb};
use parts::{Parts, Row, Rows};

/// Candidates among which a batch is chosen, at least; otherwise twice as many as it has.
const LEAST_CANDIDATES: usize = 400;
/// How many parts, as a share of all, must differ for a failure to say little of another architecture.
const FAILURES_REACH: f64 = 1.0 / 16.0;

/// Begins with architectures that are chosen to tell the most of all blocks at once ([`Designed`]), as a profile does.
/// To these it fits the profile's model of every metric ([`crate::profile::Fit`]: effects of blocks at their places, of
/// depths and widths, of neighbours, each shrunk as the data ask), and again whenever twice as much is known, up to
/// [`Self::profiled`]. What the model leaves of the best known architectures is learnt from their likeness (a Gaussian
/// process). It climbs on the predictions from the known front in many directions, and of what the climbs come by a
/// batch is chosen whose expected addition to the front's hypervolume is largest, uncertainty being part of the
/// expectation (expected hypervolume improvement: Emmerich, Giannakoglou, Naujoks 2006).
///
/// Batches grow with what is known, so that the time for thinking stays in proportion. Failures make neighbours of what
/// failed less attractive, and are no values.
#[derive(Clone)]
pub struct Guided {
    /// Architectures with values before the model is asked.
    pub start: usize,
    /// Smallest batch.
    pub batch: usize,
    /// A batch is at least the known architectures divided by this.
    pub growth: usize,
    /// Climbs for every batch.
    pub climbs: usize,
    /// Examples of the correction: the best known.
    pub examples: usize,
    /// Most architectures that the model is fitted to.
    pub profiled: usize,
    /// The models of all metrics, once there are any.
    models: Vec<Arc<Model>>,
    /// How many architectures they were fitted to.
    fitted: usize,
}

impl Default for Guided {
    fn default() -> Self {
        Self {
            start: 60,
            batch: 20,
            growth: 16,
            climbs: 96,
            examples: 1_400,
            profiled: 480,
            models: Vec::new(),
            fitted: 0,
        }
    }
}

impl SearchAlgorithm for Guided {
    fn name(&self) -> &'static str {
        "guided"
    }

    fn ask(&self, context: &Context<'_>) -> Vec<Architecture> {
        let history = context.history;
        let known = history.scored(0..history.len()).count();
        if known < self.start {
            let begin = self.begin(context, self.start - known);
            if !begin.is_empty() || known == 0 {
                return begin;
            }
        }
        let size = self.batch.max(history.len() / self.growth);
        self.propose(context, size)
    }

    fn tell(&mut self, context: &Context<'_>, _new: Range<usize>) {
        let history = context.history;
        let known: Vec<usize> = history.scored(0..history.len()).map(|(i, _)| i).collect();
        let mut due = self.start.max(1);
        while 2 * due <= known.len().min(self.profiled) {
            due *= 2;
        }
        if due > self.fitted && due <= known.len() {
            self.models = fit(context, &known[..due]);
            self.fitted = due;
        }
    }
}

/// The profile's model of every metric, from some entries.
fn fit(context: &Context<'_>, numbers: &[usize]) -> Vec<Arc<Model>> {
    let entries = context.history.entries();
    let archs: Vec<&Architecture> = numbers.iter().map(|i| &entries[*i].arch).collect();
    let count = context.problem.metrics().len();
    let models: Vec<OnceLock<Arc<Model>>> = (0..count).map(|_| OnceLock::new()).collect();
    (context.each)(count, &|metric| {
        let values = numbers.iter().filter_map(|i| entries[*i].values[metric]);
        let values: Vec<f64> = values.collect();
        let model = Model::fit(context.problem.space(), &archs, &values);
        let _ = models[metric].set(Arc::new(model));
    });
    models
        .into_iter()
        .filter_map(OnceLock::into_inner)
        .collect()
}

impl Guided {
    /// Architectures that tell the most, resolutions in turn; random ones where these are not allowed.
    fn begin(&self, context: &Context<'_>, count: usize) -> Vec<Architecture> {
        let problem = context.problem;
        let (space, resolutions) = (problem.space(), problem.resolutions());
        let mut proposals = context.proposals();
        if !problem.is_listed() {
            let designed = Designed::default();
            let seed = context.seed().stream("design");
            for index in 0..count {
                let drawn = designed.draw(space, resolutions[0], seed, index as u64);
                let turn = resolutions[index % resolutions.len()];
                let arch = drawn.and_then(|draw| space.at_resolution(&draw.arch, turn));
                // Resolutions of a problem are checked.
                let _ = arch.map(|arch| proposals.offer(arch));
            }
        }
        proposals.fill_randomly(count, &mut context.rng("begin"));
        proposals.take()
    }

    /// The batch that is expected to add most.
    fn propose(&self, context: &Context<'_>, size: usize) -> Vec<Architecture> {
        let beliefs = self.beliefs(context);
        let candidates = self.candidates(context, &beliefs, LEAST_CANDIDATES.max(2 * size));
        let front = context.history.front();
        let front: Vec<&Score> = context.history.scored(front).map(|(_, s)| s).collect();
        let prospects = beliefs.prospects(context, &candidates);
        let mut proposals = context.proposals();
        let chosen = choose(&front, &prospects, size);
        // Where nothing is expected to add, the best come first.
        for number in chosen.into_iter().chain(0..candidates.len()) {
            if proposals.len() == size {
                break;
            }
            proposals.offer(candidates[number].arch.clone());
        }
        proposals.take()
    }

    /// The most promising architectures that climbs come by and that are not known, the best first.
    fn candidates(
        &self,
        context: &Context<'_>,
        beliefs: &Beliefs<'_>,
        most: usize,
    ) -> Vec<Candidate> {
        let history = context.history;
        let best = history.front_or_nearest(0..history.len(), self.batch);
        let best: Vec<&Score> = history.scored(best).map(|(_, s)| s).collect();
        let scale = Scale::of(&best);
        let climbs: Vec<OnceLock<Vec<Candidate>>> =
            (0..self.climbs).map(|_| OnceLock::new()).collect();
        (context.each)(self.climbs, &|number| {
            let found = climb(context, beliefs, &scale, number, self.climbs);
            let _ = climbs[number].set(found);
        });
        let mut seen: HashSet<Architecture> = HashSet::new();
        let mut all: Vec<Candidate> = Vec::new();
        for candidate in climbs
            .into_iter()
            .filter_map(OnceLock::into_inner)
            .flatten()
        {
            if !history.knows(&candidate.arch) && seen.insert(candidate.arch.clone()) {
                all.push(candidate);
            }
        }
        let scores: Vec<Score> = all.iter().map(|c| c.score.clone()).collect();
        let best = best_first(&scores).into_iter().take(most);
        best.map(|i| all[i].clone()).collect()
    }

    /// What is believed from all that is known.
    fn beliefs<'a>(&self, context: &Context<'a>) -> Beliefs<'a> {
        let (problem, history) = (context.problem, context.history);
        let parts = Parts::new(problem.space(), problem.resolutions());
        let entries = history.entries();
        let best = history.best_first(0..entries.len()).into_iter();
        let mut numbers: Vec<usize> = best.take(self.examples).map(|r| r.number).collect();
        numbers.sort_unstable();
        let known = Known {
            archs: numbers.iter().map(|i| &entries[*i].arch).collect(),
            rows: numbers
                .iter()
                .map(|i| parts.row(&entries[*i].arch))
                .collect(),
        };
        // Without a profile, as in a space that is smaller than one, the mean takes its place.
        let models = match self.models.as_slice() {
            [] => fit(context, &numbers),
            models => models.to_vec(),
        };
        let learnt: Vec<OnceLock<Belief<'a>>> = models.iter().map(|_| OnceLock::new()).collect();
        (context.each)(models.len(), &|metric| {
            let values = numbers.iter().filter_map(|i| entries[*i].values[metric]);
            let values: Vec<f64> = values.collect();
            let model = Arc::clone(&models[metric]);
            let belief = Belief::learn(problem.space(), &parts, model, &known, &values);
            let _ = learnt[metric].set(belief);
        });
        let has_values: Vec<bool> = entries.iter().map(|e| e.score.is_some()).collect();
        let failures = has_values.contains(&false).then(|| {
            let rows: Vec<Row> = entries.iter().map(|e| parts.row(&e.arch)).collect();
            (Rows::new(&rows), has_values)
        });
        Beliefs {
            problem,
            metrics: learnt
                .into_iter()
                .filter_map(OnceLock::into_inner)
                .collect(),
            parts,
            failures,
        }
    }
}

/// What is believed of all metrics of a problem.
struct Beliefs<'a> {
    problem: &'a Problem<'a>,
    parts: Parts,
    metrics: Vec<Belief<'a>>,
    /// Everything that was evaluated, and whether it has values; nothing where all has.
    failures: Option<(Rows, Vec<bool>)>,
}

impl Beliefs<'_> {
    /// What values come to.
    fn score(&self, values: &[f64]) -> Score {
        let metrics = self.problem.metrics();
        let objectives = self.problem.objectives().iter();
        Score {
            costs: objectives
                .map(|i| cost(values[*i], metrics[*i].direction))
                .collect(),
            violation: self.problem.violation(values),
        }
    }

    /// Architectures with what is expected of them.
    fn expect(&self, archs: Vec<Architecture>) -> Vec<Candidate> {
        let mut common = Vec::new();
        let candidate = |arch: Architecture| {
            let row = self.parts.row(&arch);
            let metrics = self.metrics.iter();
            let values: Vec<f64> = metrics
                .map(|belief| belief.mean(&arch, &row, &mut common))
                .collect();
            Candidate {
                score: self.score(&values),
                arch,
            }
        };
        archs.into_iter().map(candidate).collect()
    }

    /// What candidates may turn out to be.
    fn prospects(&self, context: &Context<'_>, candidates: &[Candidate]) -> Vec<Prospect> {
        let archs: Vec<Architecture> = candidates.iter().map(|c| c.arch.clone()).collect();
        let rows: Vec<Row> = archs.iter().map(|arch| self.parts.row(arch)).collect();
        let metrics = self.metrics.iter();
        let deviations: Vec<Vec<f64>> = metrics.map(|m| m.deviations(&archs, &rows)).collect();
        let numbers = standard_normals(self.metrics.len(), &mut context.rng("draws"));
        let mut common = Vec::new();
        let prospect = |(at, (arch, row)): (usize, (&Architecture, &Row))| {
            let metrics = self.metrics.iter();
            let means: Vec<f64> = metrics.map(|m| m.mean(arch, row, &mut common)).collect();
            let draw = |numbers: &Vec<f64>| {
                let metrics = means.iter().zip(&deviations).zip(numbers);
                let values: Vec<f64> = metrics
                    .map(|((mean, deviations), number)| mean + deviations[at] * number)
                    .collect();
                self.score(&values)
            };
            Prospect {
                expected: self.score(&means),
                draws: numbers.iter().map(draw).collect(),
                reliable: self.reliable(row, &mut common),
            }
        };
        archs.iter().zip(&rows).enumerate().map(prospect).collect()
    }

    /// The probability that an architecture has values, from those that are alike: their shares, and one success
    /// that is always there.
    fn reliable(&self, row: &Row, common: &mut Vec<u32>) -> f64 {
        let Some((rows, has_values)) = &self.failures else {
            return 1.0;
        };
        rows.common(row, common);
        let scale = FAILURES_REACH * self.parts.kinds().max(1) as f64;
        let (mut all, mut good) = (1.0, 1.0);
        for (count, has_values) in common.iter().zip(has_values) {
            let alike = (-(self.parts.kinds() as f64 - f64::from(*count)) / scale).exp();
            all += alike;
            good += if *has_values { alike } else { 0.0 };
        }
        good / all
    }
}

/// Numbers for the draws, by draw and then metric; each has its opposite, so that means stay what they are.
fn standard_normals(metrics: usize, rng: &mut Rng) -> Vec<Vec<f64>> {
    let half: Vec<f64> = normals(metrics * DRAWS / 2, rng)
        .into_iter()
        .map(f64::from)
        .collect();
    let opposite = half.iter().map(|number| -number);
    let all: Vec<f64> = half.iter().copied().chain(opposite).collect();
    all.chunks(metrics.max(1)).map(<[f64]>::to_vec).collect()
}
