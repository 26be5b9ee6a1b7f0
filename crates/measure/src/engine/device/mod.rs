//! Devices: engines that are programs of their own and speak device/1 (`docs/device-protocol.md`). Adapters for some
//! come with blocklens; `device:COMMAND` is anybody's.
//!
//! One process runs all sessions of a job, so that a network and its reference take turns inside it. Times are taken
//! there, by its clock; what blocklens and the device say to each other is between inferences.

mod message;
mod shipped;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use blocklens_core::measurement::Failure;
use blocklens_core::network::{onnx, tflite};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use self::message::{
    Answer, Answered, Asked, Failed, FailedKind, Format, Hello, Loaded, PROTOCOL, Request, Times,
    Turned,
};
use self::shipped::Shipped;
use super::{
    Availability, Engine, EngineError, EngineOptions, Executor, LoadOptions, Model, Session,
    Timing, check_input, check_output, check_threads,
};
use crate::conversation::{Conversation, Place, Problem, beginning, locked};

/// The name before a command of one's own.
pub(super) const OWN: &str = "device";

/// The names of the adapters that come with the program.
pub(super) const SHIPPED: [&str; shipped::SHIPPED.len()] = {
    let mut names = [""; shipped::SHIPPED.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = shipped::SHIPPED[i].name;
        i += 1;
    }
    names
};

/// The Python that runs adapters, where neither an option nor this variable names another.
const PYTHON: &str = "python3";
const PYTHON_VARIABLE: &str = "BLOCKLENS_PYTHON";

/// Longest wait for a device to say who it is: some import for long.
const HELLO: Duration = Duration::from_secs(120);
/// Longest wait for anything else: whoever runs the job has a limit of its own, and ends this process with the device.
const ANSWER: Duration = Duration::from_secs(86_400);

/// An engine that is a program of its own.
pub(super) struct Device {
    /// As on the command line.
    name: String,
    program: Program,
    /// What the adapter is told.
    options: BTreeMap<String, String>,
    /// What it said of itself.
    hello: OnceLock<Result<Hello, Trouble>>,
    /// The process that sessions live in, while there are any.
    talk: Mutex<std::sync::Weak<Mutex<Talk>>>,
}

/// What is started.
enum Program {
    Shipped {
        adapter: &'static Shipped,
        python: String,
    },
    Own(Vec<String>),
}

/// Words after an adapter's name that mean nothing.
#[derive(Debug)]
pub(super) struct BadOption(pub String);

impl Device {
    /// The adapter `name` with `options`, such as `precision=fp16,python=/opt/venv/bin/python`; `None` where none has
    /// this name.
    pub(super) fn shipped(name: &str, options: &str) -> Option<Result<Self, BadOption>> {
        let adapter = shipped::find(name)?;
        let mut told = BTreeMap::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let Some((key, value)) = option.split_once('=') else {
                return Some(Err(BadOption(option.to_owned())));
            };
            told.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        let python = told.remove("python");
        let python = python.or_else(|| std::env::var(PYTHON_VARIABLE).ok());
        let said: Vec<String> = told
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let name = match said.as_slice() {
            [] => name.to_owned(),
            said => format!("{name}:{}", said.join(",")),
        };
        let python = python.unwrap_or_else(|| PYTHON.to_owned());
        Some(Ok(Self::new(
            name,
            Program::Shipped { adapter, python },
            told,
        )))
    }

    /// A command of one's own.
    pub(super) fn own(command: &str) -> Result<Self, BadOption> {
        let words = shell_words::split(command).map_err(|e| BadOption(e.to_string()))?;
        if words.is_empty() {
            return Err(BadOption("no command".into()));
        }
        Ok(Self::new(
            format!("{OWN}:{command}"),
            Program::Own(words),
            BTreeMap::new(),
        ))
    }

    fn new(name: String, program: Program, options: BTreeMap<String, String>) -> Self {
        Self {
            name,
            program,
            options,
            hello: OnceLock::new(),
            talk: Mutex::default(),
        }
    }

    /// Starts a process and asks who it is.
    fn start(&self, place: Place<'_>) -> Result<(Talk, Hello), Trouble> {
        let folder = tempfile::Builder::new()
            .prefix("blocklens-device-")
            .tempdir();
        let folder =
            folder.map_err(|e| Trouble::Broken(format!("cannot make a temporary folder: {e}")))?;
        let command = match &self.program {
            Program::Own(words) => words.clone(),
            Program::Shipped { adapter, python } => {
                let path = adapter.unpack(folder.path());
                let path =
                    path.map_err(|e| Trouble::Broken(format!("cannot write the adapter: {e}")))?;
                vec![python.clone(), path.display().to_string()]
            }
        };
        let process =
            Conversation::spawn(&command, place).map_err(|failure| self.not_started(&failure))?;
        let mut talk = Talk {
            process,
            folder,
            next: 0,
        };
        let request = Request::Hello {
            protocol: PROTOCOL,
            options: &self.options,
        };
        let hello: Hello = talk.ask(request, HELLO)?;
        Ok((talk, hello))
    }

    fn not_started(&self, failure: &Failure) -> Trouble {
        let remedy = match &self.program {
            Program::Own(_) => None,
            Program::Shipped { .. } => Some(format!(
                "install Python 3, or name it with {PYTHON_VARIABLE} or `python=` behind the engine's name"
            )),
        };
        Trouble::Said(Failed {
            kind: FailedKind::Unavailable,
            message: failure.to_string(),
            remedy,
        })
    }

    /// The process that sessions live in: the one that is there, or a new one.
    fn talk(&self) -> Result<Arc<Mutex<Talk>>, Trouble> {
        let mut there = locked(&self.talk);
        if let Some(talk) = there.upgrade() {
            return Ok(talk);
        }
        let (talk, hello) = self.start(Place::Here)?;
        let _ = self.hello.set(Ok(hello));
        let talk = Arc::new(Mutex::new(talk));
        *there = Arc::downgrade(&talk);
        Ok(talk)
    }

    fn hello(&self) -> Result<&Hello, &Trouble> {
        let hello = || self.start(Place::Apart).map(|(_, hello)| hello);
        self.hello.get_or_init(hello).as_ref()
    }

    /// What would make an adapter work that does not.
    fn remedy(&self, said: Option<&String>) -> String {
        match (said, &self.program) {
            (Some(remedy), _) => format!("run `{remedy}`"),
            (None, Program::Shipped { adapter, python }) => {
                format!("run `{python} -m pip install {}`", adapter.packages)
            }
            (None, Program::Own(_)) => {
                "start it by hand to see what is wrong (docs/device-protocol.md)".into()
            }
        }
    }

    fn error(&self, trouble: &Trouble) -> EngineError {
        let engine = self.name.clone();
        match trouble {
            Trouble::Said(failed) => match failed.kind {
                FailedKind::Unavailable => EngineError::Unavailable {
                    engine,
                    reason: failed.message.clone(),
                    remedy: self.remedy(failed.remedy.as_ref()),
                },
                FailedKind::Run => EngineError::Run {
                    engine,
                    message: failed.told(),
                },
                _ => EngineError::Prepare {
                    engine,
                    message: failed.told(),
                },
            },
            Trouble::Broken(message) => EngineError::Run {
                engine,
                message: message.clone(),
            },
        }
    }

    /// The file that the device takes.
    fn model(
        &self,
        model: &Model<'_>,
        format: Format,
        seed: blocklens_core::seed::Seed,
    ) -> Result<(Vec<u8>, &str), EngineError> {
        let Model { network, weights } = *model;
        let failed = |message: String| EngineError::Prepare {
            engine: self.name.clone(),
            message,
        };
        Ok(match format {
            Format::Onnx => {
                let file =
                    onnx::export(network, weights, "network").map_err(|e| failed(e.to_string()))?;
                (file, "network.onnx")
            }
            Format::Tflite => {
                let file = tflite::export(network, weights, "network")
                    .map_err(|e| failed(e.to_string()))?;
                (file, "network.tflite")
            }
            Format::TfliteInt8 => {
                let image = super::input(network, seed);
                let observed = tflite::Calibration::observe(network, weights, [image.as_slice()]);
                let observed = observed.map_err(|e| failed(e.to_string()))?;
                let file = tflite::export_int8(network, weights, "network", &observed);
                (
                    file.map_err(|e| failed(e.to_string()))?,
                    "network-int8.tflite",
                )
            }
        })
    }
}

impl Engine for Device {
    fn name(&self) -> &str {
        &self.name
    }

    fn availability(&self) -> Availability {
        match self.hello() {
            Ok(hello) => Availability::Available {
                version: hello.version.clone(),
                detail: match &hello.chip {
                    Some(chip) => format!("{}, {chip}", hello.precision),
                    None => format!("{}, a program of its own", hello.precision),
                },
            },
            Err(Trouble::Said(failed)) => Availability::Unavailable {
                reason: failed.message.clone(),
                remedy: self.remedy(failed.remedy.as_ref()),
            },
            Err(Trouble::Broken(reason)) => Availability::Unavailable {
                reason: reason.clone(),
                remedy: self.remedy(None),
            },
        }
    }

    fn precision(&self) -> String {
        self.hello()
            .map(|hello| hello.precision.clone())
            .unwrap_or_default()
    }

    fn chip(&self) -> Option<String> {
        self.hello().ok()?.chip.clone()
    }

    fn takes_graphs(&self) -> bool {
        false
    }

    fn prepare(
        &self,
        model: &Model<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        check_threads(&self.name, options.threads)?;
        let talk = self.talk().map_err(|trouble| self.error(&trouble))?;
        let hello = self.hello().map_err(|trouble| self.error(trouble))?;
        if hello
            .most_threads
            .is_some_and(|most| options.threads > most)
        {
            return Err(EngineError::Threads {
                engine: self.name.clone(),
                asked: options.threads,
                remedy: "ask for fewer, or for 1",
            });
        }
        let (file, name) = self.model(model, hello.format, options.seed)?;
        let input = super::input(model.network, options.seed);
        let shape = model.network.input();
        let shape = match hello.format {
            Format::Onnx => [1, shape.channels, shape.height, shape.width],
            Format::Tflite | Format::TfliteInt8 => [1, shape.height, shape.width, shape.channels],
        };
        let mut session = DeviceSession {
            engine: self.name.clone(),
            id: 0,
            talk: Arc::clone(&talk),
            shape,
            last: matches!(hello.format, Format::Tflite | Format::TfliteInt8),
            outputs: usize::try_from(model.network.output().elements()).unwrap_or(usize::MAX),
            input,
            output: Vec::new(),
        };
        let artefact = Artefact {
            file: &file,
            name,
            input: &session.laid_out(&session.input),
            shape,
        };
        session.id = locked(&talk)
            .load(&artefact, options.threads, &hello.precision)
            .map_err(|trouble| self.error(&trouble))?;
        Ok(Box::new(session))
    }

    fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn Executor>, EngineError> {
        Err(EngineError::NoGraphs {
            engine: self.name.clone(),
        })
    }
}

/// Why a device gave no usable answer.
#[derive(Clone, Debug)]
enum Trouble {
    /// It said so.
    Said(Failed),
    /// It ended, did not answer in time, or said what nobody asked for.
    Broken(String),
}

impl Failed {
    fn told(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.message),
            None => self.message.clone(),
        }
    }
}

/// What a session is made of.
struct Artefact<'a> {
    file: &'a [u8],
    name: &'a str,
    /// The input that is timed, in the device's order, and its shape.
    input: &'a [f32],
    shape: [u32; 4],
}

/// A process that is talked to, and the folder of what it is given.
struct Talk {
    process: Conversation,
    folder: TempDir,
    /// The next request's number, and the next session's.
    next: u64,
}

impl Talk {
    fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<T, Trouble> {
        self.next += 1;
        let id = self.next;
        let question = serde_json::to_string(&Asked { id, request });
        let question = question.map_err(|e| Trouble::Broken(e.to_string()))?;
        let line = self.process.ask(&question, limit, &AtomicBool::new(false));
        let line = line.map_err(|problem| Trouble::Broken(told(problem)))?;
        let unusable = |what: &str| Trouble::Broken(format!("{what}: {}", beginning(&line)));
        let answered: Answered =
            serde_json::from_str(&line).map_err(|e| unusable(&format!("no answer ({e})")))?;
        if answered.id != id {
            return Err(unusable(&format!(
                "an answer to request {} and not to {id}",
                answered.id
            )));
        }
        match answered.answer {
            Answer::Ok(value) => serde_json::from_value(value)
                .map_err(|e| unusable(&format!("an answer without ({e})"))),
            Answer::Failed(failed) => Err(Trouble::Said(failed)),
        }
    }

    /// Makes a network ready; returns its session.
    fn load(
        &mut self,
        artefact: &Artefact<'_>,
        threads: usize,
        precision: &str,
    ) -> Result<u64, Trouble> {
        let session = self.next + 1;
        let model = self
            .folder
            .path()
            .join(format!("{session}-{}", artefact.name));
        let tensor = self.folder.path().join(format!("{session}-input.f32"));
        write(&model, artefact.file)?;
        write(&tensor, &bytes(artefact.input))?;
        let request = Request::Load {
            session,
            model: &model,
            input: &tensor,
            shape: artefact.shape,
            threads,
        };
        let loaded: Loaded = self.ask(request, ANSWER)?;
        check_effective(&loaded, precision)?;
        Ok(session)
    }

    /// Times one inference.
    fn run(&mut self, session: u64) -> Result<Timing, Trouble> {
        let request = Request::Turns {
            sessions: &[session],
            count: 1,
        };
        let turned: Turned = self.ask(request, ANSWER)?;
        let none = || Trouble::Broken("no time for the one inference that was asked for".into());
        let [times] = turned.turns.as_slice() else {
            return Err(none());
        };
        timing(times).ok_or_else(none)
    }

    fn infer(&mut self, session: u64, input: &[f32], shape: [u32; 4]) -> Result<Vec<f32>, Trouble> {
        let tensor = self.folder.path().join("infer-input.f32");
        let output = self.folder.path().join("infer-output.f32");
        write(&tensor, &bytes(input))?;
        let request = Request::Infer {
            session,
            input: &tensor,
            shape,
            output: &output,
        };
        let _: serde_json::Value = self.ask(request, ANSWER)?;
        let read =
            std::fs::read(&output).map_err(|e| Trouble::Broken(format!("no output: {e}")))?;
        Ok(read
            .as_chunks::<4>()
            .0
            .iter()
            .map(|x| f32::from_le_bytes(*x))
            .collect())
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
    Some(Timing {
        wall: Duration::from_nanos(*wall),
        cpu: times.cpu_ns.first().map(|&ns| Duration::from_nanos(ns)),
        preemptions: times.preemptions.first().copied(),
    })
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), Trouble> {
    std::fs::write(path, bytes)
        .map_err(|e| Trouble::Broken(format!("cannot write {}: {e}", path.display())))
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn told(problem: Problem) -> String {
    match problem {
        Problem::Died(how) => format!("it ended ({how})"),
        Problem::Hang(limit) => format!("no answer within {} s", limit.as_secs()),
        Problem::Garbage(what) => what,
        Problem::Interrupted => "interrupted".into(),
    }
}

/// A network in a device's process.
struct DeviceSession {
    engine: String,
    id: u64,
    talk: Arc<Mutex<Talk>>,
    /// Of the input as the device takes it.
    shape: [u32; 4],
    /// Whether channels come last there.
    last: bool,
    outputs: usize,
    /// Channels, rows, columns.
    input: Vec<f32>,
    output: Vec<f32>,
}

impl DeviceSession {
    /// An input in the device's order.
    fn laid_out(&self, input: &[f32]) -> Vec<f32> {
        if !self.last {
            return input.to_vec();
        }
        let [_, rows, columns, channels] = self.shape.map(|n| n as usize);
        let pixels = rows * columns;
        (0..pixels * channels)
            .map(|i| input[(i % channels) * pixels + i / channels])
            .collect()
    }

    fn error(&self, trouble: Trouble) -> EngineError {
        let message = match trouble {
            Trouble::Said(failed) => failed.told(),
            Trouble::Broken(message) => message,
        };
        EngineError::Run {
            engine: self.engine.clone(),
            message,
        }
    }
}

impl Session for DeviceSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        let timing = locked(&self.talk)
            .run(self.id)
            .map_err(|trouble| self.error(trouble))?;
        if self.output.is_empty() {
            // The output is the same each time, and getting it takes longer than some inferences.
            self.output = self.infer(&self.input.clone())?;
        }
        Ok(timing)
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        check_input(&self.engine, self.input.len(), input)?;
        let laid_out = self.laid_out(input);
        let output = locked(&self.talk).infer(self.id, &laid_out, self.shape);
        let output = output.map_err(|trouble| self.error(trouble))?;
        check_output(&self.engine, self.outputs, &output)?;
        Ok(output)
    }
}

impl Drop for DeviceSession {
    fn drop(&mut self) {
        let _ = locked(&self.talk)
            .ask::<serde_json::Value>(Request::Release { session: self.id }, HELLO);
    }
}
