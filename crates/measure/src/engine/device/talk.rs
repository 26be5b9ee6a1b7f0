//! The conversation with a device's process, and the folder of the files that it is given.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::message::{
    Answered, Asked, Failed, FailedKind, Files, Hello, Loaded, PROTOCOL, Request, Sent, Tensor,
    Times, Turned,
};
use super::ssh::{self, Destination};
use crate::conversation::{Conversation, Problem, beginning};
use crate::engine::{EngineError, Input, Kind, SentFile, Timing, says_out_of_memory};
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
    /// The way to the machine that it runs on is cut, or was never there, with what would help.
    Lost { message: String, remedy: String },
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
            Self::Lost { message, remedy } => EngineError::Lost {
                engine,
                message: message.clone(),
                remedy: remedy.clone(),
            },
            Self::Said(failed) => {
                let message = failed.told();
                match failed.kind {
                    FailedKind::Memory => EngineError::Memory { engine, message },
                    FailedKind::Room => EngineError::Room { engine, message },
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

/// A process that is talked to.
pub(super) struct Talk {
    process: Conversation,
    folder: Folder,
    /// The last request's number; sessions are called by that of the request that began them.
    last: u64,
    /// Whether it gave an answer that is none, so that nothing more is asked.
    broken: bool,
    /// How it gets files, as it said.
    files: Files,
    /// The largest file that it takes, as it said.
    most_bytes: Option<u64>,
    /// Where it is, where ssh is between.
    behind: Option<Destination>,
}

impl Talk {
    pub(super) fn new(process: Conversation, folder: Folder, behind: Option<Destination>) -> Self {
        Self {
            process,
            folder,
            last: 0,
            broken: false,
            files: Files::Paths,
            most_bytes: None,
            behind,
        }
    }

    /// Asks the device who it is.
    pub(super) fn hello(&mut self, options: &BTreeMap<String, String>) -> Result<Hello, Trouble> {
        let request = Request::Hello {
            protocol: PROTOCOL,
            options,
        };
        let hello: Hello = self.ask(request, HELLO)?;
        self.files = hello.files;
        self.most_bytes = hello.most_bytes;
        Ok(hello)
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<T, Trouble> {
        let (answer, _) = self.ask_with(request, &[], 0, limit)?;
        Ok(answer)
    }

    /// Asks with bytes of files behind the line; no more than `most` bytes may follow the answer.
    fn ask_with<T: DeserializeOwned>(
        &mut self,
        request: Request<'_>,
        behind: &[u8],
        most: u64,
        limit: Duration,
    ) -> Result<(T, Vec<u8>), Trouble> {
        if self.broken {
            return Err(Trouble::Broken("it gave no usable answer before".into()));
        }
        let answer = self.answer(request, behind, most, limit);
        self.broken = matches!(answer, Err(Trouble::Broken(_)));
        answer
    }

    fn answer<T: DeserializeOwned>(
        &mut self,
        request: Request<'_>,
        behind: &[u8],
        most: u64,
        limit: Duration,
    ) -> Result<(T, Vec<u8>), Trouble> {
        self.last += 1;
        let id = self.last;
        let line = serde_json::to_string(&Asked { id, request });
        let line = line.map_err(|e| Trouble::Broken(e.to_string()))?;
        let mut question = format!("{line}\n").into_bytes();
        question.extend(behind);
        let interrupted = &processes::lent().interrupted;
        let answer = self.process.exchange(question, most, limit, interrupted);
        let answer = answer.map_err(|problem| trouble(problem, self.behind.as_ref()))?;
        Ok((read_answer(id, &answer.line)?, answer.bytes))
    }

    /// Makes a network ready; returns its session and what was said of it.
    pub(super) fn load(
        &mut self,
        sent: &SentFile<'_>,
        threads: usize,
        precision: &str,
    ) -> Result<(u64, Loaded), Trouble> {
        let session = self.last + 1;
        let mut behind = Vec::new();
        let model = self.sent(format!("{session}-{}", sent.name), &sent.file, &mut behind)?;
        let name = format!("{session}-input");
        let request = Request::Load {
            session,
            model,
            inputs: &self.tensors(&sent.inputs, &name, &mut behind)?,
            outputs: sent.outputs,
            threads,
            simulation: sent.simulation.as_ref(),
        };
        let (loaded, _) = self.ask_with(request, &behind, 0, ANSWER)?;
        check_effective(&loaded, precision)?;
        Ok((session, loaded))
    }

    /// A file for the device: written for it, or put to what follows the line.
    fn sent(&self, name: String, file: &[u8], behind: &mut Vec<u8>) -> Result<Sent, Trouble> {
        match self.files {
            Files::Inline => {
                let sent = announced(name, file, self.most_bytes)?;
                behind.extend(file);
                Ok(sent)
            }
            Files::Paths => {
                let path = self.folder.path().join(name);
                std::fs::write(&path, file)
                    .map_err(|e| Trouble::Room(format!("cannot write {}: {e}", path.display())))?;
                Ok(Sent::Path(path))
            }
        }
    }

    /// The numbers of inputs as files for the device.
    fn tensors<'a>(
        &self,
        inputs: &'a [Input],
        name: &str,
        behind: &mut Vec<u8>,
    ) -> Result<Vec<Tensor<'a>>, Trouble> {
        let tensor = |(place, input): (usize, &'a Input)| {
            let name = format!("{name}-{place}.bin");
            let file = self.sent(name, &input.values.bytes(), behind)?;
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
        let mut behind = Vec::new();
        let inputs = self.tensors(inputs, "infer-input", &mut behind)?;
        match self.files {
            Files::Inline => self.infer_inline(session, &inputs, &behind, outputs),
            Files::Paths => self.infer_by_path(session, &inputs, outputs),
        }
    }

    fn infer_by_path(
        &mut self,
        session: u64,
        inputs: &[Tensor<'_>],
        outputs: Option<usize>,
    ) -> Result<Vec<f32>, Trouble> {
        let output = self.folder.path().join("infer-output.f32");
        // What an inference before wrote is no output of this one.
        let _ = std::fs::remove_file(&output);
        let request = Request::Infer {
            session,
            inputs,
            output: Some(&output),
        };
        let _: serde_json::Value = self.ask(request, ANSWER)?;
        read(&output, outputs)
    }

    fn infer_inline(
        &mut self,
        session: u64,
        inputs: &[Tensor<'_>],
        behind: &[u8],
        outputs: Option<usize>,
    ) -> Result<Vec<f32>, Trouble> {
        let request = Request::Infer {
            session,
            inputs,
            output: None,
        };
        let most = outputs.map_or(LARGEST_OUTPUT, |outputs| 4 * outputs as u64);
        let (_, bytes): (serde_json::Value, _) = self.ask_with(request, behind, most, ANSWER)?;
        let found = bytes.len() as u64;
        if !is_output(found, outputs) {
            // A program that counts wrongly has lost the thread.
            self.broken = true;
            return Err(wrong_length(found, outputs));
        }
        Ok(numbers(&bytes))
    }

    /// Has the device forget a session.
    pub(super) fn release(&mut self, session: u64) {
        let _: Result<serde_json::Value, Trouble> = self.ask(Request::Release { session }, RELEASE);
    }
}

/// What a line holds as the answer to a request.
fn read_answer<T: DeserializeOwned>(id: u64, line: &str) -> Result<T, Trouble> {
    let unusable = |what: &str| Trouble::Broken(format!("{what}: {}", beginning(line)));
    // A list of the fields' values would pass for an object.
    if !line.starts_with('{') {
        return Err(unusable("no answer"));
    }
    let answered: Answered =
        serde_json::from_str(line).map_err(|e| unusable(&format!("no answer ({e})")))?;
    if answered.id != id {
        let what = format!("an answer to request {} and not to {id}", answered.id);
        return Err(unusable(&what));
    }
    match (answered.ok, answered.failed) {
        (Some(value), None) if value.is_object() => {
            serde_json::from_value(value).map_err(|e| unusable(&format!("an answer without ({e})")))
        }
        (None, Some(failed)) => Err(Trouble::Said(failed)),
        _ => Err(unusable(
            "no answer (it holds an object as `ok` or as `failed`, and one of them)",
        )),
    }
}

/// A file that follows the line, where the device takes one of its size.
fn announced(name: String, file: &[u8], most: Option<u64>) -> Result<Sent, Trouble> {
    let bytes = file.len() as u64;
    match most {
        Some(most) if bytes > most => Err(Trouble::Said(Failed {
            kind: FailedKind::Memory,
            message: format!("{name} has {bytes} bytes, and the device takes {most} at most"),
            remedy: None,
        })),
        _ => Ok(Sent::Inline { name, bytes }),
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

/// The numbers of a file that has as many, and that is not read where it has not.
fn read(path: &Path, count: Option<usize>) -> Result<Vec<f32>, Trouble> {
    let none = |e: io::Error| Trouble::Broken(format!("no output: {e}"));
    let file = std::fs::symlink_metadata(path).map_err(none)?;
    if !file.is_file() || !is_output(file.len(), count) {
        return Err(wrong_length(file.len(), count));
    }
    Ok(numbers(&std::fs::read(path).map_err(none)?))
}

/// Whether so many bytes are as many numbers, or some, where it is not known how many.
fn is_output(bytes: u64, count: Option<usize>) -> bool {
    match count {
        Some(count) => bytes == 4 * count as u64,
        None => bytes > 0 && bytes.is_multiple_of(4) && bytes <= LARGEST_OUTPUT,
    }
}

fn wrong_length(found: u64, count: Option<usize>) -> Trouble {
    let count = count.map(|count| format!("{count} ")).unwrap_or_default();
    Trouble::Broken(format!(
        "an output of {found} bytes, and not of {count}float32 numbers"
    ))
}

/// Numbers as they travel: float32, little-endian. What is left over is dropped.
fn numbers(bytes: &[u8]) -> Vec<f32> {
    let numbers = bytes.as_chunks::<4>().0.iter();
    numbers.map(|x| f32::from_le_bytes(*x)).collect()
}

/// [`numbers`] on their way.
pub(in crate::engine) fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// What comes of a process that gives no answer.
fn trouble(problem: Problem, behind: Option<&Destination>) -> Trouble {
    match problem {
        Problem::Died { how, code, signal } => {
            let message = format!("it ended ({how})");
            let lost = behind.and_then(|destination| ssh::cut(destination, code, &how));
            if let Some(lost) = lost {
                return lost;
            }
            match out_of_memory(&how, code, signal) {
                true => Trouble::Said(Failed {
                    kind: FailedKind::Memory,
                    message,
                    remedy: None,
                }),
                false => Trouble::Broken(message),
            }
        }
        Problem::Hang(limit) => Trouble::Broken(format!("no answer within {} s", limit.as_secs())),
        Problem::Garbage(what) => Trouble::Broken(what),
        Problem::Interrupted => Trouble::Broken("interrupted".into()),
    }
}

/// Whether a process ended as one does that gets no more memory: by its words, or by the signal of the system's killer,
/// which a shell between tells as an exit status.
fn out_of_memory(how: &str, code: Option<i32>, signal: Option<i32>) -> bool {
    says_out_of_memory(how) || signal == Some(9) || code == Some(128 + 9)
}
