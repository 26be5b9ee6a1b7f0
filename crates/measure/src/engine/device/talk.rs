//! The conversation with a device's process, and the folder of the files that it is given.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::message::{
    Answered, Asked, Failed, FailedKind, Hello, Loaded, PROTOCOL, Request, Tensor, Times, Turned,
};
use crate::conversation::{Conversation, Problem, beginning};
use crate::engine::{EngineError, Input, Kind, Timing};
use crate::processes;

/// Longest wait for a device to say who it is: some import for long.
const HELLO: Duration = Duration::from_secs(60);
/// Longest wait for a session to be forgotten, which nobody needs any more.
const RELEASE: Duration = Duration::from_secs(1);
/// Longest wait for anything else: whoever runs the job has a limit of its own, and ends this process with the device.
const ANSWER: Duration = Duration::from_secs(86_400);

/// Largest output of a file that does not say how many numbers it gives, in bytes.
const LARGEST_OUTPUT: u64 = 1 << 30;

/// The beginning of the names of temporary folders.
const FOLDER: &str = "blocklens-device-";
/// The file in each that its process holds locked for as long as it lives.
const LOCK: &str = "lock";

/// Why a device gave no usable answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// It said so.
    Said(Failed),
    /// It ended, did not answer in time, or said what nobody asked for.
    Broken(String),
    /// There is no room for what it is given: not its fault.
    Room(String),
}

impl Trouble {
    pub(super) fn error(&self, engine: &str) -> EngineError {
        let engine = engine.to_owned();
        match self {
            Self::Room(message) => EngineError::Room {
                engine,
                message: message.clone(),
            },
            Self::Broken(message) => EngineError::Run {
                engine,
                message: message.clone(),
            },
            Self::Said(failed) => {
                let message = failed.told();
                match failed.kind {
                    FailedKind::Memory => EngineError::Memory { engine, message },
                    FailedKind::Run => EngineError::Run { engine, message },
                    _ => EngineError::Prepare { engine, message },
                }
            }
        }
    }
}

impl Failed {
    fn told(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.message),
            None => self.message.clone(),
        }
    }
}

/// A temporary folder for the files that a device is given. It goes with this value, or with [`sweep`] where this
/// process is killed.
pub(super) struct Folder {
    folder: TempDir,
    /// Held: the system lets go of it when this process ends.
    _lock: File,
}

impl Folder {
    pub(super) fn new() -> Result<Self, Trouble> {
        sweep();
        let make = || loop {
            let folder = tempfile::Builder::new().prefix(FOLDER).tempdir()?;
            let path = folder.path().join(LOCK);
            let lock = File::create(&path)?;
            lock.lock()?;
            // Who sweeps may have come between making and locking.
            if path.exists() {
                return Ok(Self {
                    folder,
                    _lock: lock,
                });
            }
        };
        make().map_err(|e: io::Error| Trouble::Room(format!("cannot make a temporary folder: {e}")))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the temporary folders of processes that are no more: who was killed could not.
pub(crate) fn sweep() {
    let entries = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten();
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(FOLDER));
        let lock = ours.then(|| File::open(entry.path().join(LOCK)));
        // Without a lock it is just being made.
        if let Some(Ok(lock)) = lock
            && lock.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What a session is made of.
pub(super) struct Model<'a> {
    pub file: &'a [u8],
    pub name: &'a str,
    /// The inputs that are timed, in the device's order.
    pub inputs: &'a [Input],
}

/// A process that is talked to.
pub(super) struct Talk {
    process: Conversation,
    folder: Folder,
    /// The last request's number; sessions are called by that of the request that began them.
    last: u64,
    /// Whether it gave an answer that is none, so that nothing more is asked.
    broken: bool,
}

impl Talk {
    pub(super) fn new(process: Conversation, folder: Folder) -> Self {
        Self {
            process,
            folder,
            last: 0,
            broken: false,
        }
    }

    /// Asks the device who it is.
    pub(super) fn hello(&mut self, options: &BTreeMap<String, String>) -> Result<Hello, Trouble> {
        let request = Request::Hello {
            protocol: PROTOCOL,
            options,
        };
        self.ask(request, HELLO)
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<T, Trouble> {
        if self.broken {
            return Err(Trouble::Broken("it gave no usable answer before".into()));
        }
        let answer = self.answer(request, limit);
        self.broken = matches!(answer, Err(Trouble::Broken(_)));
        answer
    }

    fn answer<T: DeserializeOwned>(
        &mut self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<T, Trouble> {
        self.last += 1;
        let id = self.last;
        let broken = |message: String| Trouble::Broken(message);
        let question =
            serde_json::to_string(&Asked { id, request }).map_err(|e| broken(e.to_string()))?;
        let line = self
            .process
            .ask(&question, limit, &processes::lent().interrupted);
        let line = line.map_err(|problem| broken(told(problem)))?;
        let unusable = |what: &str| broken(format!("{what}: {}", beginning(&line)));
        // A list of the fields' values would pass for an object.
        if !line.starts_with('{') {
            return Err(unusable("no answer"));
        }
        let answered: Answered =
            serde_json::from_str(&line).map_err(|e| unusable(&format!("no answer ({e})")))?;
        if answered.id != id {
            let what = format!("an answer to request {} and not to {id}", answered.id);
            return Err(unusable(&what));
        }
        match (answered.ok, answered.failed) {
            (Some(value), None) if value.is_object() => serde_json::from_value(value)
                .map_err(|e| unusable(&format!("an answer without ({e})"))),
            (None, Some(failed)) => Err(Trouble::Said(failed)),
            _ => Err(unusable(
                "no answer (it holds an object as `ok` or as `failed`, and one of them)",
            )),
        }
    }

    /// Makes a network ready; returns its session.
    pub(super) fn load(
        &mut self,
        model: &Model<'_>,
        threads: usize,
        precision: &str,
    ) -> Result<u64, Trouble> {
        let session = self.last + 1;
        let file = self.path(&format!("{session}-{}", model.name));
        write(&file, model.file)?;
        let request = Request::Load {
            session,
            model: &file,
            inputs: &self.tensors(model.inputs, &format!("{session}-input"))?,
            threads,
        };
        let loaded: Loaded = self.ask(request, ANSWER)?;
        check_effective(&loaded, precision)?;
        Ok(session)
    }

    /// Files with the numbers of inputs.
    fn tensors<'a>(&self, inputs: &'a [Input], name: &str) -> Result<Vec<Tensor<'a>>, Trouble> {
        let tensor = |(place, input): (usize, &'a Input)| {
            let file = self.path(&format!("{name}-{place}.bin"));
            write(&file, &input.values.bytes())?;
            let spec = &input.spec;
            Ok(Tensor { spec, file })
        };
        inputs.iter().enumerate().map(tensor).collect()
    }

    /// Times one inference. A clock's time is no longer than the answer took.
    pub(super) fn run(&mut self, session: u64, kind: Kind) -> Result<Timing, Trouble> {
        let request = Request::Turns {
            sessions: &[session],
            count: 1,
        };
        let begun = Instant::now();
        let turned: Turned = self.ask(request, ANSWER)?;
        let took = begun.elapsed();
        let none =
            || Trouble::Broken("not one time for the one inference that was asked for".into());
        let [times] = turned.turns.as_slice() else {
            return Err(none());
        };
        let timing = timing(times).ok_or_else(none)?;
        if kind == Kind::Measured && timing.wall > took {
            return Err(Trouble::Broken(format!(
                "a time of {:?} for an inference whose answer was there after {took:?}: are its times in ns?",
                timing.wall
            )));
        }
        Ok(timing)
    }

    /// The numbers of the first output that come of inputs in the device's order; `outputs` of them, where that is
    /// known.
    pub(super) fn infer(
        &mut self,
        session: u64,
        inputs: &[Input],
        outputs: Option<usize>,
    ) -> Result<Vec<f32>, Trouble> {
        let output = self.path("infer-output.f32");
        // What an inference before wrote is no output of this one.
        let _ = std::fs::remove_file(&output);
        let request = Request::Infer {
            session,
            inputs: &self.tensors(inputs, "infer-input")?,
            output: &output,
        };
        let _: serde_json::Value = self.ask(request, ANSWER)?;
        read(&output, outputs)
    }

    /// Has the device forget a session.
    pub(super) fn release(&mut self, session: u64) {
        let _: Result<serde_json::Value, Trouble> = self.ask(Request::Release { session }, RELEASE);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Refuses what would run elsewhere than on the device, or in another number format than it said.
fn check_effective(loaded: &Loaded, said: &str) -> Result<(), Trouble> {
    let message = match &loaded.precision {
        _ if !loaded.fell_back.is_empty() => {
            let operators = loaded.fell_back.join(", ");
            format!("some of it would not run on the device: {operators}")
        }
        Some(precision) if precision != said => {
            format!("it would run in {precision} and not in {said}")
        }
        _ => return Ok(()),
    };
    Err(Trouble::Said(Failed {
        kind: FailedKind::Fallback,
        message,
        remedy: None,
    }))
}

/// The only inference's times.
fn timing(times: &Times) -> Option<Timing> {
    let [wall] = times.wall_ns.as_slice() else {
        return None;
    };
    let (cpu, preemptions) = (only(&times.cpu_ns)?, only(&times.preemptions)?);
    Some(Timing {
        wall: Duration::from_nanos(*wall),
        cpu: cpu.map(Duration::from_nanos),
        preemptions,
    })
}

/// The one entry of a list that may be empty; `None` where there are more.
fn only<T: Copy>(list: &[T]) -> Option<Option<T>> {
    (list.len() <= 1).then(|| list.first().copied())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    std::fs::write(path, bytes)
        .map_err(|e| Trouble::Room(format!("cannot write {}: {e}", path.display())))
}

/// The numbers of a file that has as many (some, where it is not known how many), and that is not read where it has
/// not.
fn read(path: &Path, count: Option<usize>) -> Result<Vec<f32>, Trouble> {
    let none = |e: io::Error| Trouble::Broken(format!("no output: {e}"));
    let file = std::fs::symlink_metadata(path).map_err(none)?;
    let found = file.len();
    let expected = match count {
        Some(count) => found == 4 * count as u64,
        None => found > 0 && found.is_multiple_of(4) && found <= LARGEST_OUTPUT,
    };
    if !file.is_file() || !expected {
        let count = count.map(|count| format!("{count} ")).unwrap_or_default();
        return Err(Trouble::Broken(format!(
            "an output of {found} bytes, and not of {count}float32 numbers"
        )));
    }
    let bytes = std::fs::read(path).map_err(none)?;
    let numbers = bytes.as_chunks::<4>().0.iter();
    Ok(numbers.map(|x| f32::from_le_bytes(*x)).collect())
}

fn told(problem: Problem) -> String {
    match problem {
        Problem::Died(how) => format!("it ended ({how})"),
        Problem::Hang(limit) => format!("no answer within {} s", limit.as_secs()),
        Problem::Garbage(what) => what,
        Problem::Interrupted => "interrupted".into(),
    }
}
