//! Searches carried out: metrics on threads, a log on disk, stop and go on.
//!
//! A search's folder holds `search.json` (what is sought and how), `evaluations.jsonl` (every architecture with what it
//! came to, on disk before the next are proposed) and, written again at every end, `front.json` and `front.csv`. What
//! is logged is never evaluated again: a search that was killed asks its algorithm where it was, and goes on with the
//! same architectures as if nothing had happened.

mod log;
mod plan;
mod sought;
mod summary;

pub use log::LogError;
pub(crate) use log::field_names;
pub use plan::{Asked, Manifest, SEARCH_FORMAT};
pub(crate) use sought::first_difference;
pub use sought::{LimitText, Sought, SpaceRef};
pub use summary::{Ending, FrontMember, Summary, front_csv};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use blocklens_core::metric::{Metric, MetricError};
use blocklens_core::search::{ForEach, Problem, Search, SearchAlgorithm, TellError};
use blocklens_core::seed::Seed;
use blocklens_core::space::Architecture;

use crate::evaluate::{Value, evaluate_all};
use log::Row;

/// Why a search did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Its folder cannot be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another search is in the folder.
    #[error(
        "{} holds a search that differs: {field} is {there} there and {here} here; give another folder with --out, or \
         begin again with --fresh",
        path.display()
    )]
    Other {
        /// The folder's `search.json`.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// What is stored.
        there: String,
        /// What is asked for.
        here: String,
    },
    /// The folder has a file of a search's name that no search wrote.
    #[error(
        "{} was not written by `blocklens search`, and stays as it is; give another folder with --out, \
         or move it away",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// `search.json` is not one.
    #[error("{} is not the description of a search: {reason}; begin again with --fresh", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log cannot be continued.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nothing has a value.
    #[error("none of the first {count} architectures has all values: {message}")]
    AllFailed {
        /// How many were tried.
        count: usize,
        /// What was said of the first.
        message: String,
    },
    /// What was told does not fit to what was asked.
    #[error(transparent)]
    Tell(#[from] TellError),
}

/// How far a search is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Unique architectures that were evaluated, failures included.
    pub evaluated: usize,
    /// Those that lack a value.
    pub failures: usize,
    /// Architectures on the front.
    pub front: usize,
    /// The front's hypervolume, once there is a reference.
    pub hypervolume: Option<f64>,
}

/// A search to carry out.
pub struct Run<'a> {
    /// What is sought; its metrics are `metrics`, in their order.
    pub problem: &'a Problem<'a>,
    /// What evaluates.
    pub metrics: &'a [Box<dyn Metric>],
    /// What proposes.
    pub algorithm: Box<dyn SearchAlgorithm>,
    /// The search in words, for `search.json`.
    pub manifest: Manifest,
    /// Threads, and processes of a program that is a metric.
    pub threads: usize,
    /// The search's folder.
    pub folder: &'a Path,
    /// Whether what the folder holds is thrown away.
    pub fresh: bool,
}

impl Run<'_> {
    /// Goes on with what the folder holds until the budget is spent, everything is evaluated, or `interrupted` is set.
    /// `progress` is called whenever something was evaluated.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn carry_out(
        self,
        interrupted: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Summary, SearchError> {
        let mut log = plan::open(self.folder, &self.manifest, self.fresh, self.problem)?;
        let threads = self.threads;
        let each = |count: usize, work: &(dyn Fn(usize) + Sync)| on_threads(threads, count, work);
        let mut search = Search::new(self.problem, self.algorithm, Seed(self.manifest.seed));
        let started = replay(&mut search, log.take_rows(), &each)?;
        if !started.is_empty() {
            log.check(&started, search.ask(&each), self.problem.space())?;
            tell(&mut search, started, &each)?;
        }
        let budget = usize::try_from(self.manifest.budget).unwrap_or(usize::MAX);
        let costly = self.metrics.iter().any(|m| m.is_costly());
        let mut reference = self.manifest.reference.clone();
        let ending = loop {
            if let (None, Some(first)) = (&reference, search.ends().first()) {
                reference = summary::worst(self.problem, search.history(), *first);
            }
            progress(&how_far(&search, reference.as_deref()));
            let left = budget.saturating_sub(search.history().len());
            if left == 0 {
                break Ending::Budget;
            }
            let batch = search.batch();
            let asked = search.ask(&each);
            if asked.is_empty() {
                break Ending::Exhausted;
            }
            // What a costly metric gives is on disk before the next is begun.
            let at_once = if costly { threads } else { asked.len() };
            let archs = &asked[..asked.len().min(at_once).min(left)];
            let values = evaluate_all(self.metrics, archs, threads, interrupted, &|_| ());
            let Some(values) = values else {
                break Ending::Interrupted;
            };
            let rows = rows(batch, archs, values);
            log.append(&rows, self.problem)?;
            tell(&mut search, rows, &each)?;
        };
        let reference = reference.or_else(|| {
            let history = search.history();
            summary::worst(self.problem, history, history.len())
        });
        let summary = Summary::new(&self.manifest, &search, reference, ending);
        plan::write_results(self.folder, &summary)?;
        Ok(summary)
    }
}

/// Tells the whole batches that an earlier run logged; returns the rows of the last, which may not be whole.
fn replay(
    search: &mut Search<'_>,
    rows: Vec<Row>,
    each: ForEach<'_>,
) -> Result<Vec<Row>, SearchError> {
    let last = rows.last().map_or(0, |row| row.batch);
    let (last, before): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|r| r.batch == last);
    for batch in before.chunk_by(|a, b| a.batch == b.batch) {
        let told = batch.iter().map(|r| (r.arch.clone(), r.values.clone()));
        search.replay(told.collect(), each)?;
    }
    Ok(last)
}

/// Tells what some architectures came to. When the whole first batch came to nothing, the next would not come to more.
fn tell(search: &mut Search<'_>, rows: Vec<Row>, each: ForEach<'_>) -> Result<(), SearchError> {
    let message = rows.iter().find_map(Row::message);
    search.tell(rows.into_iter().map(|row| row.values).collect(), each)?;
    let history = search.history();
    if search.batch() == 1 && history.failures() == history.len() {
        return Err(SearchError::AllFailed {
            count: history.len(),
            message: message.unwrap_or_default(),
        });
    }
    Ok(())
}

/// What metrics gave for some architectures, as lines of the log.
fn rows(batch: u64, archs: &[Architecture], values: Vec<Vec<Value>>) -> Vec<Row> {
    let mut rows: Vec<Row> = archs.iter().map(|arch| Row::new(batch, arch)).collect();
    for of_metric in values {
        for (row, value) in rows.iter_mut().zip(of_metric) {
            row.push(value.map_err(|error: MetricError| error.to_string()));
        }
    }
    rows
}

fn how_far(search: &Search<'_>, reference: Option<&[f64]>) -> Progress {
    let history = search.history();
    let front = summary::front_points(search.problem(), history);
    Progress {
        evaluated: history.len(),
        failures: history.failures(),
        front: front.len(),
        hypervolume: reference.and_then(|r| front.hypervolume(r).ok()),
    }
}

/// Carries out `count` pieces of work on `threads` threads, this one among them.
fn on_threads(threads: usize, count: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let run = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return;
        }
        work(index);
    };
    // A panic on one of them ends the scope with it.
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(run);
        }
        run();
    });
}
