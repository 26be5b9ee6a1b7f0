//! Any program as a metric: JSON lines on its standard input and output (`docs/program-metrics.md`).
//!
//! A program runs in a process group of its own, beside the guard that was lent (`crate::processes::lend`), which ends
//! it, and is started again after a crash or a hang, so that what one architecture does to it is a failure of that
//! architecture alone.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use blocklens_core::measurement::Failure;
use blocklens_core::metric::{Direction, Metric, MetricError, MetricInfo, Origin};
use blocklens_core::network::{Weights, onnx};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::conversation::{Conversation, Problem, beginning, clip};
use crate::{files, locked};

/// The version of the protocol.
const PROTOCOL: &str = "metric/1";
/// Answers that are kept, so that several metrics of a program ask it once for an architecture, also when one metric is
/// evaluated for very many before the next: at some 500 bytes each, about 130 MB.
const REMEMBERED: usize = 1 << 18;
/// Largest file of a command that is hashed, in bytes: larger ones are known by size and time of change.
const LARGEST_HASHED: u64 = 256 << 20;
/// After so many crashes, hangs and unusable answers in a row, a program is given up.
const HOPELESS: usize = 5;

/// How a program is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Processes that work at the same time.
    pub jobs: usize,
    /// Longest wait for the program's description of itself, and for an answer.
    pub time_limit: Duration,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
}

/// Why a program gives no metrics.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command is empty, or its quotes do not match.
    #[error("`{command}` is not a command: {reason}")]
    Command {
        /// What was asked for.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It did not say which metrics it has.
    #[error("`{command}` does not work as a metric: {failure}")]
    Start {
        /// What was asked for.
        command: String,
        /// How it failed.
        failure: Failure,
    },
    /// It has other metrics.
    #[error("`{command}` has no metric `{wanted}`; it has {}", known.join(", "))]
    NoMetric {
        /// What was asked for.
        command: String,
        /// The metric.
        wanted: String,
        /// Those that it has.
        known: Vec<String>,
    },
}

/// What a program says of itself.
#[derive(Debug, Deserialize)]
struct Description {
    metrics: Vec<Declared>,
    #[serde(default)]
    wants: Wants,
}

/// A metric that a program has.
#[derive(Debug, Deserialize)]
struct Declared {
    name: String,
    #[serde(default)]
    unit: String,
    direction: Direction,
    #[serde(default)]
    about: String,
    /// Where its numbers come from.
    origin: Option<Origin>,
}

/// What a program is given besides the architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wants {
    #[default]
    Arch,
    /// A file with its network, with random weights.
    Onnx,
}

/// What came of asking about an architecture: for each metric that is wanted of the program, its value.
type Answer = Arc<[Result<f64, Wrong>]>;

/// Why a metric has no value.
#[derive(Clone, Debug)]
enum Wrong {
    /// A number that is not finite, as it was written.
    NotFinite(String),
    Failed(Failure),
}

/// The newest answers.
#[derive(Default)]
struct Memory {
    answers: HashMap<Architecture, Answer>,
    /// Oldest first.
    order: VecDeque<Architecture>,
}

impl Memory {
    fn keep(&mut self, arch: &Architecture, answer: &Answer) {
        if self
            .answers
            .insert(arch.clone(), Arc::clone(answer))
            .is_none()
        {
            self.order.push_back(arch.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

/// A running program with the metrics that it declares.
struct Program {
    command: Vec<String>,
    space: DesignSpace,
    options: Options,
    wants: Wants,
    /// Holds the networks that the program is given.
    folder: Option<tempfile::TempDir>,
    workers: Mutex<Workers>,
    free: Condvar,
    next_id: AtomicUsize,
    /// Crashes, hangs and unusable answers since the last answer.
    deaths: AtomicUsize,
    /// The program's own names of the metrics that are wanted.
    keys: Vec<String>,
    memory: Mutex<Memory>,
}

/// Processes that wait for work, and how many more may be started.
struct Workers {
    idle: Vec<Conversation>,
    more: usize,
}

/// One metric of a program.
pub struct ProgramMetric {
    info: MetricInfo,
    /// Its place among the program's keys.
    index: usize,
    identity: String,
    program: Arc<Program>,
}

/// Starts a program and gives the metrics of it that are asked for, each as (its name there, what it is to be called).
///
/// # Errors
/// [`ProgramError`].
pub fn metrics(
    command: &str,
    wanted: &[(&str, &str)],
    space: &DesignSpace,
    options: Options,
) -> Result<Vec<ProgramMetric>, ProgramError> {
    let parts = shell_words::split(command).map_err(|e| e.to_string());
    let parts = parts.and_then(|parts| match parts.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(parts),
    });
    let parts = parts.map_err(|reason| ProgramError::Command {
        command: command.to_owned(),
        reason,
    })?;
    let start_error = |failure| ProgramError::Start {
        command: command.to_owned(),
        failure,
    };
    let (first, description) = start(&parts, space, &options).map_err(start_error)?;
    let folder = match description.wants {
        Wants::Arch => None,
        Wants::Onnx => Some(tempfile::tempdir().map_err(|e| {
            start_error(Failure::Engine {
                message: format!("there is no room for its networks: {e}"),
            })
        })?),
    };
    let program = Arc::new(Program {
        command: parts,
        space: space.clone(),
        wants: description.wants,
        folder,
        workers: Mutex::new(Workers {
            idle: vec![first],
            more: options.jobs.saturating_sub(1),
        }),
        options,
        free: Condvar::new(),
        next_id: AtomicUsize::new(0),
        deaths: AtomicUsize::new(0),
        keys: wanted.iter().map(|(key, _)| (*key).to_owned()).collect(),
        memory: Mutex::default(),
    });
    let files = files_of(&program.command);
    let metric = |(index, (key, name)): (usize, &(&str, &str))| {
        let declared = description.metrics.iter().find(|m| m.name == *key);
        let declared = declared.ok_or_else(|| ProgramError::NoMetric {
            command: command.to_owned(),
            wanted: (*key).to_owned(),
            known: description.metrics.iter().map(|m| m.name.clone()).collect(),
        })?;
        Ok(ProgramMetric {
            info: MetricInfo {
                name: (*name).to_owned(),
                unit: declared.unit.clone(),
                direction: declared.direction,
                origin: declared.origin.unwrap_or(Origin::Unstated),
                about: format!("From the program `{command}`. {}", declared.about)
                    .trim_end()
                    .to_owned(),
            },
            index,
            identity: json!({
                "metric": key,
                "unit": declared.unit,
                "command": program.command,
                "files": files,
            })
            .to_string(),
            program: Arc::clone(&program),
        })
    };
    wanted.iter().enumerate().map(metric).collect()
}

/// The files that a command names, each with its hash: what they hold decides what the program says.
fn files_of(command: &[String]) -> Map<String, Value> {
    let hash = |word: &String| {
        let path = std::path::Path::new(word);
        let about = std::fs::metadata(path)
            .ok()
            .filter(std::fs::Metadata::is_file)?;
        let hash = match files::read(path, LARGEST_HASHED) {
            Ok(bytes) => format!("sha256:{}", files::sha256(&bytes)),
            Err(_) => format!("{} bytes, changed {:?}", about.len(), about.modified().ok()),
        };
        Some((word.clone(), json!(hash)))
    };
    // A program without a slash is looked for elsewhere than here.
    let program = command.first().filter(|word| word.contains('/'));
    program
        .into_iter()
        .chain(command.iter().skip(1))
        .filter_map(hash)
        .collect()
}

/// Starts a process and reads what it says of itself.
fn start(
    command: &[String],
    space: &DesignSpace,
    options: &Options,
) -> Result<(Conversation, Description), Failure> {
    let mut worker = Conversation::spawn(command)?;
    let greeting = json!({
        "blocklens": PROTOCOL,
        "space": {
            "name": space.name(),
            "width": space.width(),
            "digest": space.digest(),
            "resolutions": space.resolutions(),
        },
    });
    let line = worker
        .ask(
            &greeting.to_string(),
            options.time_limit,
            &options.interrupted,
        )
        .map_err(Problem::into_failure)?;
    let description: Description =
        serde_json::from_str(&line).map_err(|e| Failure::Answer {
            message: format!(
                "the first line must describe its metrics \
                 ({{\"metrics\": [{{\"name\": ..., \"unit\": ..., \"direction\": \"lower-is-better\"}}]}}): {e}: {}",
                beginning(&line)
            ),
        })?;
    Ok((worker, description))
}

impl Program {
    fn answer(&self, arch: &Architecture) -> Answer {
        if let Some(known) = locked(&self.memory).answers.get(arch) {
            return Arc::clone(known);
        }
        let asked = self.ask(arch);
        let tried = !matches!(asked, Err(Failure::NotTried { .. }));
        let value = |key: &String| match &asked {
            Ok(values) => number(key, values),
            Err(failure) => Err(Wrong::Failed(failure.clone())),
        };
        let answer: Answer = self.keys.iter().map(value).collect();
        if tried {
            locked(&self.memory).keep(arch, &answer);
        }
        answer
    }

    fn ask(&self, arch: &Architecture) -> Result<Map<String, Value>, Failure> {
        let mut worker = self.take()?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let asked = self.question(id, arch).map(|(question, file)| {
            let limit = self.options.time_limit;
            let line = worker.ask(&question, limit, &self.options.interrupted);
            drop(file);
            line
        });
        match asked {
            Ok(Ok(line)) => {
                let read = read_answer(id, &line);
                if let Err(Failure::Answer { .. }) = read {
                    // It lost the thread: what comes next could be another's answer.
                    self.deaths.fetch_add(1, Ordering::Relaxed);
                    self.give_up(worker);
                } else {
                    self.deaths.store(0, Ordering::Relaxed);
                    self.give_back(worker);
                }
                read
            }
            Ok(Err(problem)) => {
                if !matches!(problem, Problem::Interrupted) {
                    self.deaths.fetch_add(1, Ordering::Relaxed);
                }
                self.give_up(worker);
                Err(problem.into_failure())
            }
            Err(failure) => {
                self.give_back(worker);
                Err(failure)
            }
        }
    }

    /// A process that waits, or a new one; waits for one where all are busy.
    fn take(&self) -> Result<Conversation, Failure> {
        let mut workers = locked(&self.workers);
        loop {
            if self.deaths.load(Ordering::Relaxed) >= HOPELESS {
                return Err(Failure::NotTried {
                    message: format!(
                        "given up after {HOPELESS} times in a row without an answer: {}",
                        self.command.join(" ")
                    ),
                });
            }
            if let Some(worker) = workers.idle.pop() {
                return Ok(worker);
            }
            if workers.more > 0 {
                workers.more -= 1;
                drop(workers);
                let started = start(&self.command, &self.space, &self.options);
                return started.map(|(worker, _)| worker).inspect_err(|failure| {
                    if !matches!(failure, Failure::NotTried { .. }) {
                        self.deaths.fetch_add(1, Ordering::Relaxed);
                    }
                    locked(&self.workers).more += 1;
                    self.free.notify_all();
                });
            }
            workers = self
                .free
                .wait(workers)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, worker: Conversation) {
        locked(&self.workers).idle.push(worker);
        self.free.notify_all();
    }

    /// Ends a process; another may take its place.
    fn give_up(&self, worker: Conversation) {
        drop(worker);
        locked(&self.workers).more += 1;
        self.free.notify_all();
    }

    /// A question, and the file that it names, which goes when it is answered.
    fn question(
        &self,
        id: usize,
        arch: &Architecture,
    ) -> Result<(String, Option<NetworkFile>), Failure> {
        let mut question = json!({ "id": id, "arch": self.space.print(arch) });
        if let Ok(dictionary) = self.space.to_ofa(arch) {
            question["ofa"] = json!(dictionary);
        }
        let mut file = None;
        if let (Wants::Onnx, Some(folder)) = (self.wants, &self.folder) {
            let path = folder.path().join(format!("{id}.onnx"));
            self.write_network(arch, &path)?;
            question["onnx"] = json!(path);
            file = Some(NetworkFile(path));
        }
        Ok((question.to_string(), file))
    }

    fn write_network(&self, arch: &Architecture, path: &std::path::Path) -> Result<(), Failure> {
        let failed = |message: String| Failure::Engine { message };
        let network = self.space.network(arch);
        let weights = Weights::random(&network, Seed(1));
        let name = self.space.print(arch);
        let bytes = onnx::export(&network, &weights, &name).map_err(|e| failed(e.to_string()))?;
        std::fs::write(path, bytes)
            .map_err(|e| failed(format!("cannot write {}: {e}", path.display())))
    }
}

/// A network's file, which is removed with this value.
struct NetworkFile(PathBuf);

impl Drop for NetworkFile {
    fn drop(&mut self) {
        // What stays goes with the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a program answers.
#[derive(Deserialize)]
struct Reply {
    id: usize,
    values: Option<Map<String, Value>>,
    failure: Option<String>,
}

fn read_answer(id: usize, line: &str) -> Result<Map<String, Value>, Failure> {
    let wrong = |reason: &str| Failure::Answer {
        message: format!("{reason}: {}", beginning(line)),
    };
    let reply: Reply = serde_json::from_str(line).map_err(|e| wrong(&e.to_string()))?;
    if reply.id != id {
        return Err(wrong(&format!("the answer must have the id {id}")));
    }
    match (reply.values, reply.failure) {
        (Some(values), None) => Ok(values),
        (None, Some(message)) => Err(Failure::Engine { message }),
        _ => Err(wrong("an answer has either `values` or `failure`")),
    }
}

impl Metric for ProgramMetric {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let failed = |failure| MetricError::Failed {
            metric: self.info.name.clone(),
            failure,
        };
        self.program.answer(arch)[self.index]
            .clone()
            .map_err(|wrong| match wrong {
                Wrong::Failed(failure) => failed(failure),
                Wrong::NotFinite(value) => MetricError::NotFinite {
                    metric: self.info.name.clone(),
                    value,
                },
            })
    }

    fn is_costly(&self) -> bool {
        true
    }

    fn identity(&self) -> Option<String> {
        Some(self.identity.clone())
    }
}

/// The number that a program gave for a metric.
fn number(key: &str, values: &Map<String, Value>) -> Result<f64, Wrong> {
    match values.get(key) {
        Some(Value::Number(number)) => {
            let value = number.as_f64().filter(|value| value.is_finite());
            value.ok_or_else(|| Wrong::NotFinite(number.to_string()))
        }
        other => Err(Wrong::Failed(Failure::Answer {
            message: format!(
                "`{key}` must be a number in `values`, not {}",
                other.map_or_else(|| "missing".into(), |v| clip(&v.to_string()))
            ),
        })),
    }
}
