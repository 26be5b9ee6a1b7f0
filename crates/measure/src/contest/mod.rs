//! Contests carried out: many runs at once, each finished one on disk, stop and go on.
//!
//! A contest's folder holds `compare.json` (what is compared and how), `runs.jsonl` (every finished run with what it
//! had found when each budget was spent, a JSON object a line) and, written again at every end, the results. A run that
//! is logged is never carried out again; one that was killed begins anew.

mod log;
mod manifest;
mod results;

pub use manifest::{AskedContest, CONTEST_FORMAT, ContestManifest};
pub use results::{contest_csv, write_contest};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use blocklens_core::metric::Metric;
use blocklens_core::search::contest::{Arm, Contender, Member, RunOf, Snapshot};
use blocklens_core::search::{
    AlgorithmError, Problem, Search, TellError, algorithm, one_after_the_other,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace, PartOf};

use crate::evaluate::{evaluate_some, run_on};
use crate::files::LogError;
use log::{Log, Row};

/// Why a contest did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum ContestRunError {
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
    /// Another contest is in the folder.
    #[error(
        "{} holds a comparison that differs: {field} is {there} there and {here} here; give another folder with --out, \
         or begin again with --fresh",
        path.display()
    )]
    Other {
        /// The folder's `compare.json`.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// What is stored.
        there: String,
        /// What is asked for.
        here: String,
    },
    /// A file of the folder is none of a comparison's.
    #[error("{}{}: {reason}; begin again with --fresh, or give another folder with \
        --out", path.display(), line.map_or_else(String::new, |n| format!(", line {n}")))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where one is to blame.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// The folder has a file of a comparison's name that no comparison wrote.
    #[error(
        "{} was not written by `blocklens compare`, and stays as it is; give another folder with --out, \
         or move it away",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The log cannot be opened, read or written.
    #[error(transparent)]
    Log(LogError),
    /// There is no such algorithm for the problem.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// What was told does not fit to what was asked.
    #[error(transparent)]
    Tell(#[from] TellError),
}

impl From<LogError> for ContestRunError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Line { path, line, reason } => Self::Malformed {
                path,
                line: Some(line),
                reason,
            },
            other => Self::Log(other),
        }
    }
}

/// A space to search, with what evaluates its architectures.
pub struct Ground<'a> {
    /// What is sought in it.
    pub problem: &'a Problem<'a>,
    /// The problem's metrics, in their order.
    pub metrics: &'a [Box<dyn Metric>],
    /// What its architectures are in the whole space.
    pub part: &'a PartOf,
}

/// A run to carry out.
pub struct Planned<'a> {
    /// The arm that it belongs to.
    pub arm: Arm,
    /// Its seed.
    pub seed: u64,
    /// Where it searches.
    pub ground: &'a Ground<'a>,
}

impl Planned<'_> {
    /// The hash of the space that it searches.
    fn digest(&self) -> &str {
        self.ground.problem.space().digest()
    }
}

/// Runs to carry out.
pub struct ContestRun<'a> {
    /// The whole space, in whose words architectures are written.
    pub space: &'a DesignSpace,
    /// All runs, arm by arm.
    pub planned: Vec<Planned<'a>>,
    /// The comparison in words.
    pub manifest: ContestManifest,
    /// Runs at the same time.
    pub threads: usize,
    /// The comparison's folder.
    pub folder: &'a Path,
    /// Whether what the folder holds is thrown away.
    pub fresh: bool,
}

impl ContestRun<'_> {
    /// Carries out what is not logged yet. `None` when `interrupted` was set before the end: what was finished is kept.
    /// `progress` is called with the number of architectures just evaluated or found in the log.
    ///
    /// # Errors
    /// [`ContestRunError`].
    pub fn carry_out(
        self,
        interrupted: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Option<Vec<Contender>>, ContestRunError> {
        let mut log = Log::open(self.folder, &self.manifest, self.fresh)?;
        let known = log.take_rows();
        let logged = |planned: &Planned<'_>| known.iter().position(|row| row.is_of(planned));
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for (number, planned) in self.planned.iter().enumerate() {
            match logged(planned) {
                Some(row) => {
                    let run = known[row].run.clone();
                    progress(run.snapshots.last().map_or(0, |s| s.evaluated));
                    done.push((number, run));
                }
                None => open.push(number),
            }
        }
        let log = Mutex::new(log);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut finished = Vec::new();
            while let Some(number) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                let planned = &self.planned[*number];
                let run = self.one(planned, interrupted, progress);
                let logged = run.and_then(|run| {
                    let Some(run) = run else { return Ok(None) };
                    let row = Row::new(planned, run);
                    // A panic elsewhere cannot leave half a line: lines are written at once.
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.append(&row)?;
                    Ok(Some((*number, row.run)))
                });
                let ended = !matches!(logged, Ok(Some(_)));
                finished.push(logged);
                if ended {
                    break;
                }
            }
            finished
        };
        let mut complete = true;
        for run in run_on(self.threads, &work) {
            match run? {
                Some(run) => done.push(run),
                None => complete = false,
            }
        }
        Ok((complete && done.len() == self.planned.len()).then(|| self.contenders(done)))
    }

    /// One run; `None` when it was interrupted.
    fn one(
        &self,
        planned: &Planned<'_>,
        interrupted: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Option<RunOf>, ContestRunError> {
        let ground = planned.ground;
        let proposes = algorithm(&planned.arm.algorithm, ground.problem)?;
        let mut search = Search::new(ground.problem, proposes, Seed(planned.seed));
        let mut snapshots = Vec::new();
        for budget in &self.manifest.budgets {
            let most = usize::try_from(*budget).unwrap_or(usize::MAX);
            while search.history().len() < most {
                let left = most - search.history().len();
                let asked = search.ask(&one_after_the_other);
                let archs = &asked[..asked.len().min(left)];
                if archs.is_empty() {
                    break;
                }
                let Some(values) = evaluate(ground.metrics, archs, interrupted) else {
                    return Ok(None);
                };
                progress(values.len());
                search.tell(values, &one_after_the_other)?;
            }
            snapshots.push(self.snapshot(*budget, &search, ground));
        }
        Ok(Some(RunOf {
            seed: planned.seed,
            snapshots,
        }))
    }

    /// What a search has found, in the words of the whole space.
    fn snapshot(&self, budget: u64, search: &Search<'_>, ground: &Ground<'_>) -> Snapshot {
        let (history, objectives) = (search.history(), ground.problem.objectives());
        let member = |number: usize| {
            let entry = &history.entries()[number];
            Member {
                arch: self.space.print(&ground.part.to_whole(&entry.arch)),
                // What is on a front has values.
                values: objectives.iter().filter_map(|i| entry.values[*i]).collect(),
            }
        };
        Snapshot {
            budget,
            evaluated: history.len(),
            failures: history.failures(),
            front: history.front().into_iter().map(member).collect(),
        }
    }

    /// The runs by arm, in the order of the plan.
    fn contenders(&self, mut done: Vec<(usize, RunOf)>) -> Vec<Contender> {
        done.sort_by_key(|(number, _)| *number);
        let mut contenders: Vec<Contender> = Vec::new();
        for (number, run) in done {
            let arm = &self.planned[number].arm;
            match contenders.iter_mut().find(|c| c.arm == *arm) {
                Some(contender) => contender.runs.push(run),
                None => contenders.push(Contender {
                    arm: arm.clone(),
                    runs: vec![run],
                }),
            }
        }
        contenders
    }
}

/// The values of every metric for each of some architectures; `None` when it was interrupted.
fn evaluate(
    metrics: &[Box<dyn Metric>],
    archs: &[Architecture],
    interrupted: &AtomicBool,
) -> Option<Vec<Vec<Option<f64>>>> {
    let mut rows: Vec<Vec<Option<f64>>> = vec![Vec::with_capacity(metrics.len()); archs.len()];
    let at_once = if metrics.iter().any(|m| m.is_costly()) {
        1
    } else {
        archs.len()
    };
    for (rows, archs) in rows.chunks_mut(at_once).zip(archs.chunks(at_once)) {
        for values in evaluate_some(metrics, archs) {
            let pairs = rows.iter_mut().zip(values);
            pairs.for_each(|(row, value)| row.push(value.ok()));
        }
        // What an interruption cut short would look like a failure.
        if interrupted.load(Ordering::Relaxed) {
            return None;
        }
    }
    Some(rows)
}
