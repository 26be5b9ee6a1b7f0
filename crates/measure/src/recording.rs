//! Costly metrics with a record: every value is on disk before the next begins, and is not asked for again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use blocklens_core::measurement::Failure;
use blocklens_core::metric::{Metric, MetricError, MetricInfo};
use blocklens_core::profile::{Draw, Observation};
use blocklens_core::report::InputHash;
use blocklens_core::space::{Architecture, DesignSpace};
use serde_json::{Value as Json, json};

use crate::evaluate::{Value, run_on};
use crate::locked;
use crate::store::{Evaluation, Evaluator, Recorded, Store, StoreError};

/// What is to be evaluated, and how.
pub struct Order<'a> {
    /// The space of the architectures.
    pub space: &'a DesignSpace,
    /// The metrics; cheap ones are better evaluated without a record.
    pub metrics: &'a [&'a dyn Metric],
    /// Files that they were made from.
    pub inputs: &'a [InputHash],
    /// The campaign along whose plan they are evaluated; `None` where nothing is timed.
    pub campaign: Option<i64>,
    /// Begin anew, whatever is recorded.
    pub fresh: bool,
    /// Try again what failed.
    pub retry_failed: bool,
    /// Architectures of the plan that are to have a value.
    pub planned: u64,
}

/// A record that is open for values.
pub struct Recording<'a> {
    order: Order<'a>,
    store: &'a mut Store,
    /// By metric.
    evaluators: Vec<Evaluator>,
    /// By metric, then the text form of the architecture.
    known: Vec<HashMap<String, Recorded>>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// What came of evaluating: by metric, then in the order of the architectures. What was not reached is
/// [`Failure::NotTried`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The values.
    pub values: Vec<Vec<Value>>,
    /// Whether nothing interrupted it.
    pub complete: bool,
}

impl<'a> Recording<'a> {
    /// Opens the record of some metrics in a store that is locked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: &'a mut Store, order: Order<'a>) -> Result<Self, StoreError> {
        let (mut evaluators, mut known, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for metric in order.metrics {
            let (info, digest) = (metric.info(), order.space.digest());
            let identity = metric.identity();
            let identity = identity.unwrap_or_else(|| default_identity(info, order.inputs));
            let others = store.evaluators(&info.name, digest)?;
            let evaluator = store.evaluator(info, &identity, digest, order.fresh)?;
            store.begin_evaluating(evaluator.id, order.campaign, order.planned)?;
            let recorded = recorded_values(store, &evaluator)?;
            if recorded.is_empty() && !order.fresh {
                notes.extend(set_aside(store, &others, &evaluator)?);
            }
            evaluators.push(evaluator);
            known.push(recorded);
        }
        Ok(Self {
            order,
            store,
            evaluators,
            known,
            notes,
        })
    }

    /// How many of some architectures have everything recorded already.
    #[must_use]
    pub fn done(&self, archs: &[Architecture]) -> usize {
        let texts = archs.iter().map(|arch| self.order.space.print(arch));
        texts.filter(|text| self.missing(text).is_empty()).count()
    }

    /// Indices of the metrics that an architecture is to be evaluated for.
    fn missing(&self, arch: &str) -> Vec<usize> {
        let retry = |r: &Recorded| self.order.retry_failed && r.value.is_err();
        let wanted = |metric: &usize| self.known[*metric].get(arch).is_none_or(retry);
        (0..self.known.len()).filter(wanted).collect()
    }

    /// Evaluates what is not recorded yet, on several threads. `progress` is called with the number of architectures
    /// just done.
    ///
    /// # Errors
    /// [`StoreError`]; everything recorded before stays.
    pub fn evaluate(
        mut self,
        archs: &[Architecture],
        threads: usize,
        interrupted: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Evaluated, StoreError> {
        let texts: Vec<String> = archs.iter().map(|a| self.order.space.print(a)).collect();
        let pending = self.pending(archs, &texts);
        let store = Mutex::new(&mut *self.store);
        let (next, stop) = (AtomicUsize::new(0), Mutex::new(None));
        let (metrics, evaluators, known) = (self.order.metrics, &self.evaluators, &self.known);
        let work = || {
            let mut done: Vec<(usize, String, Value)> = Vec::new();
            loop {
                let task = pending.get(next.fetch_add(1, Ordering::Relaxed));
                let stopped = locked(&stop).is_some();
                let Some(task) = task.filter(|_| !stopped && !interrupted.load(Ordering::Relaxed))
                else {
                    return done;
                };
                let values = task
                    .missing
                    .iter()
                    .map(|&m| (m, value(metrics[m], task.arch)));
                let values: Vec<(usize, Value)> = values.collect();
                // A value is one; a failure may be of the interruption.
                let over = interrupted.load(Ordering::Relaxed);
                let tried =
                    |(_, value): &&(usize, Value)| was_tried(value) && !(over && value.is_err());
                let tried = values.iter().filter(tried);
                let row = |(m, value): &'_ (usize, Value)| {
                    let attempt = known[*m].get(task.text).map_or(0, |r| r.attempts);
                    (evaluators[*m].id, attempt, value.clone())
                };
                let rows: Vec<(i64, u32, Value)> = tried.map(row).collect();
                let evaluations: Vec<Evaluation<'_>> = rows
                    .iter()
                    .map(|(evaluator, attempt, value)| Evaluation {
                        evaluator: *evaluator,
                        arch: task.text,
                        attempt: *attempt,
                        value,
                    })
                    .collect();
                if let Err(error) = locked(&store).append_evaluations(&evaluations) {
                    locked(&stop).get_or_insert(error);
                    return done;
                }
                done.extend(
                    values
                        .into_iter()
                        .map(|(m, v)| (m, task.text.to_owned(), v)),
                );
                progress(1);
            }
        };
        let new = run_on(threads, &work);
        if let Some(error) = stop.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        for (metric, text, value) in new {
            let attempts = 0;
            self.known[metric].insert(text, Recorded { attempts, value });
        }
        let complete = !interrupted.load(Ordering::Relaxed);
        let values = (0..metrics.len()).map(|metric| self.values(metric, &texts));
        let values = values.collect();
        Ok(Evaluated { values, complete })
    }

    /// What is left to do, every architecture once.
    fn pending<'t>(&self, archs: &'t [Architecture], texts: &'t [String]) -> Vec<Task<'t>> {
        let mut seen = HashSet::new();
        let tasks = archs.iter().zip(texts).filter_map(|(arch, text)| {
            let missing = self.missing(text);
            (!missing.is_empty() && seen.insert(text)).then_some(Task {
                arch,
                text,
                missing,
            })
        });
        tasks.collect()
    }

    fn values(&self, metric: usize, texts: &[String]) -> Vec<Value> {
        let absent = || MetricError::Failed {
            metric: self.evaluators[metric].info.name.clone(),
            failure: Failure::NotTried {
                message: "interrupted before".into(),
            },
        };
        let value = |text: &String| match self.known[metric].get(text) {
            Some(recorded) => recorded.value.clone(),
            None => Err(absent()),
        };
        texts.iter().map(value).collect()
    }
}

/// An architecture with the metrics that it lacks.
struct Task<'a> {
    arch: &'a Architecture,
    text: &'a str,
    missing: Vec<usize>,
}

/// A metric's value, which is possible or a failure whatever the metric promises.
fn value(metric: &dyn Metric, arch: &Architecture) -> Value {
    let value = metric.evaluate(arch);
    value.and_then(|value| metric.info().check(value))
}

/// What is recorded of a metric; a number that it cannot have was a failure when it was recorded, too.
fn recorded_values(
    store: &Store,
    evaluator: &Evaluator,
) -> Result<HashMap<String, Recorded>, StoreError> {
    let mut all = store.evaluations(evaluator.id)?;
    for recorded in all.values_mut() {
        if let Ok(value) = recorded.value {
            recorded.value = evaluator.info.check(value);
        }
    }
    Ok(all)
}

/// Whether a failure says something about the architecture, and not about the moment.
fn was_tried(value: &Value) -> bool {
    !matches!(
        value,
        Err(MetricError::Failed {
            failure: Failure::NotTried { .. },
            ..
        })
    )
}

/// The identity of a metric that does not state one.
fn default_identity(info: &MetricInfo, inputs: &[InputHash]) -> String {
    let files = inputs
        .iter()
        .map(|file| (file.name.clone(), json!(file.hash)));
    let files: serde_json::Map<String, Json> = files.collect();
    json!({ "about": info.about, "unit": info.unit, "files": files }).to_string()
}

/// A sentence about values of the same name that are not used, because something else gave them.
fn set_aside(
    store: &Store,
    others: &[Evaluator],
    now: &Evaluator,
) -> Result<Option<String>, StoreError> {
    for other in others.iter().rev().filter(|other| other.id != now.id) {
        let count = store.evaluations(other.id)?.len();
        if count > 0 {
            let differing = differing(&other.identity, &now.identity);
            return Ok(Some(format!(
                "{count} values of {} are recorded, but something else gave them ({differing} changed): they are kept, \
                 and not used",
                now.info.name
            )));
        }
    }
    Ok(None)
}

/// Which parts of two identities differ, in words.
fn differing(before: &str, now: &str) -> String {
    let parse = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_default();
    let (before, now) = (parse(before), parse(now));
    let names = |value: &Json| -> Vec<String> {
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, _)| name.clone()).collect()
    };
    let all: BTreeSet<String> = names(&before).into_iter().chain(names(&now)).collect();
    let mut found: Vec<String> = Vec::new();
    for name in all.iter().filter(|name| before[*name] != now[*name]) {
        let (was, is) = (&before[name], &now[name]);
        if !was.is_object() || !is.is_object() {
            found.push(format!("its {name}"));
            continue;
        }
        let files: BTreeSet<String> = names(was).into_iter().chain(names(is)).collect();
        found.extend(files.into_iter().filter(|file| was[file] != is[file]));
    }
    match found.as_slice() {
        [] => "its description".into(),
        found => found.join(", "),
    }
}

/// A metric as a record knows it: nothing is asked any more.
#[derive(Debug)]
pub struct RecordedMetric {
    info: MetricInfo,
    /// Architectures of the campaign's plan that were to have a value.
    pub planned: u64,
    values: HashMap<Architecture, Value>,
    space: DesignSpace,
}

impl RecordedMetric {
    /// The metrics that were evaluated along a campaign's plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of_campaign(
        store: &Store,
        campaign: i64,
        space: &DesignSpace,
    ) -> Result<Vec<Self>, StoreError> {
        let all = store.evaluators_of(campaign)?;
        let read = |(evaluator, planned): (Evaluator, u64)| {
            let recorded = recorded_values(store, &evaluator)?;
            // Text that is no architecture of this space was not asked for by this campaign either.
            let parsed = |(text, recorded): (String, Recorded)| {
                Some((space.parse(&text).ok()?, recorded.value))
            };
            Ok(Self {
                info: evaluator.info,
                planned,
                values: recorded.into_iter().filter_map(parsed).collect(),
                space: space.clone(),
            })
        };
        all.into_iter().map(read).collect()
    }

    /// What is known of some draws, and those that failed; what was never tried is neither.
    pub fn observe(&self, draws: impl Iterator<Item = Draw>) -> (Vec<Observation>, Vec<Draw>) {
        let (mut observations, mut failed) = (Vec::new(), Vec::new());
        for draw in draws {
            match self.values.get(&draw.arch) {
                Some(Ok(value)) => observations.push(Observation {
                    value: *value,
                    draw,
                }),
                Some(Err(_)) => failed.push(draw),
                None => {}
            }
        }
        (observations, failed)
    }
}

impl Metric for RecordedMetric {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let absent = || MetricError::NoValue {
            metric: self.info.name.clone(),
            arch: self.space.print(arch),
        };
        let found = self.values.get(arch).cloned();
        found.unwrap_or_else(|| Err(absent()))
    }
}
