//! Profiles of metrics that need no device: every metric is evaluated for one plan of architectures.

use std::sync::atomic::AtomicBool;

use blocklens_core::measurement::Warning;
use blocklens_core::metric::{Metric, MetricInfo};
use blocklens_core::profile::{
    Draw, Estimator, Friendliness, Means, MetricProfile, Observation, friendliness,
};
use blocklens_core::report::{Provenance, REPORT_FORMAT, Report};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::surrogate::{BlockModel, BlockModelError};
use serde_json::{Map, Value as Json};

use crate::analysis::{
    AnalysisError, assemble, estimator_warning, listed_draws, lost, missing_values, observations,
};
use crate::campaign::CampaignError;
use crate::coverage;
use crate::evaluate::{Value, evaluate_all};
use crate::metrics::Chosen;
use crate::recording::{Order, Recording};
use crate::search::field_names;
use crate::store::Store;

/// Where the values of costly metrics are recorded.
pub struct Record<'a> {
    /// A store that is locked.
    pub store: &'a mut Store,
    /// Begin anew, whatever is recorded.
    pub fresh: bool,
    /// Try again what failed.
    pub retry_failed: bool,
}

/// Who is told how it goes.
#[derive(Clone, Copy)]
pub struct Telling<'a> {
    /// Called with the number of architectures just evaluated.
    pub progress: &'a (dyn Fn(usize) + Sync),
    /// Called with a sentence for the user.
    pub note: &'a dyn Fn(&str),
}

/// What is to be profiled.
pub struct Plan<'a> {
    /// The space.
    pub space: &'a DesignSpace,
    /// Input resolution in pixels.
    pub resolution: u32,
    /// Draws the architectures and estimates their effects.
    pub estimator: &'a dyn Estimator,
    /// Seed of the draws.
    pub seed: u64,
    /// Number of architectures; where a metric has values for some only, all of these are taken.
    pub budget: u64,
    /// The metrics.
    pub chosen: &'a Chosen,
    /// Threads to evaluate them on.
    pub threads: usize,
    /// Profile also where failures make it one of what works, with a doubt.
    pub allow_failures: bool,
    /// The command that asked, for the report.
    pub command: String,
    /// Now (UTC), for the report's head.
    pub created: String,
}

/// What a plan came to.
pub struct Profiled {
    /// The report.
    pub report: Report,
    /// Every architecture with its values, a JSON object a line: what `blocklens search` writes as `evaluations.jsonl`,
    /// without batches.
    pub values: String,
    /// What was learnt of the metric that has values for some architectures only (a latency, where one of several is),
    /// as a metric for the others; why nothing was, where they are too few. `None` where every metric is for all.
    pub model: Option<Result<BlockModel, BlockModelError>>,
}

impl Plan<'_> {
    /// Whether it has metrics whose values are worth a record.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        self.chosen.metrics.iter().any(|metric| metric.is_costly())
    }

    /// Evaluates every metric and reports; `None` when `interrupted` was set before the end. Values of costly metrics
    /// are recorded one by one, where there is a record, and taken from there.
    ///
    /// # Errors
    /// [`AnalysisError::Metric`] when a metric is not for some of the architectures: what is estimated without them
    /// would be about another space. Other failures are counted, and their architectures left out.
    pub fn report(
        &self,
        record: Option<Record<'_>>,
        interrupted: &AtomicBool,
        telling: Telling<'_>,
    ) -> Result<Option<Profiled>, AnalysisError> {
        let draws = self.draws()?;
        let archs: Vec<Architecture> = draws.iter().map(|d| d.arch.clone()).collect();
        let metrics = &self.chosen.metrics;
        let mut warnings = record.as_ref().map_or_else(Vec::new, |r| lost(&*r.store));
        let Some(values) = self.values(&archs, record, interrupted, telling)? else {
            return Ok(None);
        };
        let lines = self.lines(&archs, &values);
        let learnt = self.learnt();
        let (mut estimated, mut speed, mut model) = (Vec::new(), Vec::new(), None);
        for (metric, values) in metrics.iter().zip(values) {
            let (observations, failed, example) = observations(&draws, values)?;
            let allowed = self.allow_failures;
            let name = &metric.info().name;
            let doubts = missing_values(self.space, name, &observations, &failed, example, allowed);
            warnings.extend(doubts?);
            let failures = failed.len();
            let means = self.estimate(metric.info(), &observations)?;
            if metric.info().quantity() == "latency" && speed.is_empty() {
                speed = friendliness(self.space, self.resolution, &means);
            }
            let info = coverage::described(metric.info(), &self.chosen.tables, self.resolution);
            if learnt == Some(name) {
                model = Some(BlockModel::learn(self.space, &info, &observations));
            }
            let name = self.estimator.name();
            let profile =
                MetricProfile::from_means(self.space, info, name, &observations, failures, &means);
            estimated.push((profile, means));
        }
        Ok(Some(Profiled {
            report: self.assemble(estimated, speed, warnings),
            values: lines,
            model,
        }))
    }

    /// The values that there are, a JSON object for each architecture.
    fn lines(&self, archs: &[Architecture], values: &[Vec<Value>]) -> String {
        let infos: Vec<&MetricInfo> = self.chosen.metrics.iter().map(|m| m.info()).collect();
        let names = field_names(&infos);
        let line = |(number, arch): (usize, &Architecture)| {
            let mut object = Map::new();
            object.insert("arch".into(), self.space.print(arch).into());
            for (name, values) in names.iter().zip(values) {
                if let Some(Ok(value)) = values.get(number) {
                    object.insert(name.clone(), (*value).into());
                }
            }
            format!("{}\n", Json::Object(object))
        };
        archs.iter().enumerate().map(line).collect()
    }

    /// By metric, then architecture.
    fn values(
        &self,
        archs: &[Architecture],
        record: Option<Record<'_>>,
        interrupted: &AtomicBool,
        telling: Telling<'_>,
    ) -> Result<Option<Vec<Vec<Value>>>, AnalysisError> {
        let all: Vec<&dyn Metric> = self.chosen.metrics.iter().map(|m| &**m).collect();
        let Some(record) = record else {
            let values = evaluate_all(&all, archs, self.threads, interrupted, telling.progress);
            return Ok(values);
        };
        let (costly, cheap): (Vec<&dyn Metric>, Vec<&dyn Metric>) =
            all.iter().partition(|metric| metric.is_costly());
        let order = Order {
            space: self.space,
            metrics: &costly,
            inputs: &self.chosen.inputs,
            campaign: None,
            fresh: record.fresh,
            retry_failed: record.retry_failed,
            planned: archs.len() as u64,
        };
        let recording = Recording::open(record.store, order)?;
        recording.notes.iter().for_each(|note| (telling.note)(note));
        let done = recording.done(archs);
        (telling.progress)(done);
        if done > 0 {
            (telling.note)(&format!(
                "{done} of {} architectures are recorded already",
                archs.len()
            ));
        }
        let evaluated = recording.evaluate(archs, self.threads, interrupted, telling.progress)?;
        if !evaluated.complete {
            return Ok(None);
        }
        let quiet = |_| {};
        let Some(others) = evaluate_all(&cheap, archs, self.threads, interrupted, &quiet) else {
            return Ok(None);
        };
        // Back into the order in which they were asked for.
        let (mut costly, mut cheap) = (evaluated.values.into_iter(), others.into_iter());
        let next = |metric: &&dyn Metric| match metric.is_costly() {
            true => costly.next(),
            false => cheap.next(),
        };
        Ok(Some(all.iter().filter_map(next).collect()))
    }

    fn draws(&self) -> Result<Vec<Draw>, AnalysisError> {
        if let Some(listed) = self.listed() {
            coverage::check_estimator(&self.chosen.metrics, self.estimator.name())?;
            return Ok(listed);
        }
        let draw = |index| {
            let seed = Seed(self.seed);
            self.estimator
                .draw(self.space, self.resolution, seed, index)
        };
        let draws = (0..self.budget).map(draw).collect::<Result<Vec<_>, _>>();
        draws.map_err(|e| CampaignError::from(e).into())
    }

    /// Where metrics have values for some architectures only: those of the first such metric, as far as they are of the
    /// resolution.
    fn listed(&self) -> Option<Vec<Draw>> {
        let listed = self.chosen.metrics.iter().find_map(|m| m.listed())?;
        Some(listed_draws(listed, self.resolution))
    }

    /// The metric that a model is learnt of.
    fn learnt(&self) -> Option<&String> {
        let listed = || self.chosen.metrics.iter().filter(|m| m.listed().is_some());
        let latency = listed().find(|metric| metric.info().quantity() == "latency");
        let metric = latency.or_else(|| listed().next())?;
        Some(&metric.info().name)
    }

    fn estimate(
        &self,
        info: &MetricInfo,
        observations: &[Observation],
    ) -> Result<Means, AnalysisError> {
        let means = self.estimator.estimate(self.space, observations);
        means.map_err(|reason| AnalysisError::Estimate {
            metric: info.name.clone(),
            reason,
        })
    }

    fn assemble(
        &self,
        estimated: Vec<(MetricProfile, Means)>,
        friendliness: Vec<Friendliness>,
        mut warnings: Vec<Warning>,
    ) -> Report {
        warnings.extend(estimator_warning(self.estimator));
        let names: Vec<&str> = estimated.iter().map(|(p, _)| &*p.metric.name).collect();
        let title = format!("Block profile of {}: {}", self.space.title(), list(&names));
        Report {
            format: REPORT_FORMAT,
            title,
            generated_by: concat!("blocklens ", env!("CARGO_PKG_VERSION")).into(),
            command: self.command.clone(),
            profile: assemble(
                self.space,
                self.resolution,
                self.seed,
                estimated,
                friendliness,
            ),
            measurement: None,
            provenance: Provenance {
                blocklens: env!("CARGO_PKG_VERSION").into(),
                engine: None,
                seed: self.seed,
                space_digest: self.space.digest().into(),
                store: None,
                campaign: None,
                created: self.created.clone(),
                inputs: self.chosen.inputs.clone(),
            },
            warnings,
        }
    }
}

/// `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".into(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
