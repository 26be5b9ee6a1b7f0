//! Devices: engines that are programs of their own and speak device/1 (`docs/device-protocol.md`). Adapters for some
//! come with blocklens; `device:COMMAND` is anybody's.
//!
//! One process runs all sessions of a job, so that a network and its reference take turns inside it. Times are taken
//! there, by its clock; what blocklens and the device say to each other is between inferences.

pub(in crate::engine) mod message;
mod shipped;
pub(in crate::engine) mod ssh;
mod talk;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use blocklens_core::measurement::Failure;
use blocklens_core::network::{onnx, tflite};
use blocklens_core::seed::Seed;

use self::message::{Failed, FailedKind, Files, Format, Hello, Loaded};
use self::shipped::Shipped;
use self::ssh::Remote;
pub(crate) use self::talk::sweep;
use self::talk::{Folder, Talk, Trouble};
pub(in crate::engine) use self::talk::{bytes, numbers};
use super::{
    Availability, Engine, EngineError, EngineOptions, EngineSpecError, Executor, Kind, LoadOptions,
    Machine, Model, NetworkFile, Session, Simulation, Timing, check_input, check_threads,
};
use crate::conversation::Conversation;
use crate::locked;

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
pub(super) const PYTHON_VARIABLE: &str = "BLOCKLENS_PYTHON";

/// What a device is asked first, for people who look for what is wrong.
const HELLO_LINE: &str = r#"`{"id": 1, "op": "hello", "protocol": "device/1", "options": {}}`"#;

/// The seed of the image that activations' ranges are taken from: the same for all, so that a network has one file.
const CALIBRATION: Seed = Seed(0);

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
    talk: Mutex<Weak<Mutex<Talk>>>,
}

/// What is started.
enum Program {
    Shipped {
        adapter: &'static Shipped,
        python: String,
    },
    Own(Vec<String>),
    /// On another machine, with the kind that its name says.
    Behind(Remote, Kind),
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
            if told
                .insert(key.trim().to_owned(), value.trim().to_owned())
                .is_some()
            {
                return Some(Err(BadOption(format!("{key} a second time"))));
            }
        }
        let python = told.remove("python");
        let variable = || {
            std::env::var(PYTHON_VARIABLE)
                .ok()
                .filter(|python| !python.is_empty())
        };
        let python = python.or_else(variable);
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

    /// An engine on another machine, `[USER@]HOST[:PORT]/ENGINE`; `kind` is that of an engine's name.
    pub(super) fn behind(
        place: &str,
        kind: impl FnOnce(&str) -> Result<Kind, EngineSpecError>,
    ) -> Result<Self, EngineSpecError> {
        let remote = Remote::parse(place).map_err(|BadOption(reason)| EngineSpecError::Host {
            place: place.to_owned(),
            reason,
        })?;
        let kind = kind(&remote.engine)?;
        Ok(Self::new(
            format!("{}:{place}", ssh::NAME),
            Program::Behind(remote, kind),
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
    fn start(&self) -> Result<(Talk, Hello), Trouble> {
        let folder = Folder::new()?;
        let command = match &self.program {
            Program::Own(words) => words.clone(),
            Program::Behind(remote, _) => remote.command()?,
            Program::Shipped { adapter, python } => {
                let path = adapter.unpack(folder.path());
                let path =
                    path.map_err(|e| Trouble::Room(format!("cannot write the adapter: {e}")))?;
                vec![
                    python.clone(),
                    path.display().to_string(),
                    adapter.name.to_owned(),
                ]
            }
        };
        let process = Conversation::spawn_with(&command, message::follows)
            .map_err(|failure| self.not_started(&failure))?;
        let mut talk = Talk::new(
            process,
            folder,
            self.behind_ssh().map(|remote| remote.destination.clone()),
        );
        let hello = talk.hello(&self.options)?;
        Ok((talk, hello))
    }

    /// Where it is, where ssh is between.
    fn behind_ssh(&self) -> Option<&Remote> {
        match &self.program {
            Program::Behind(remote, _) => Some(remote),
            _ => None,
        }
    }

    fn not_started(&self, failure: &Failure) -> Trouble {
        let message = match failure {
            Failure::Crash { message } => message.clone(),
            other => other.to_string(),
        };
        match &self.program {
            Program::Own(_) | Program::Behind(..) => Trouble::Broken(message),
            Program::Shipped { .. } => Trouble::Said(Failed {
                kind: FailedKind::Unavailable,
                message,
                remedy: Some("install Python 3".into()),
            }),
        }
    }

    /// The process that sessions live in: the one that is there, or a new one.
    fn talk(&self) -> Result<Arc<Mutex<Talk>>, Trouble> {
        let mut there = locked(&self.talk);
        if let Some(talk) = there.upgrade() {
            return Ok(talk);
        }
        let (talk, hello) = self.start()?;
        let _ = self.hello.set(Ok(hello));
        let talk = Arc::new(Mutex::new(talk));
        *there = Arc::downgrade(&talk);
        Ok(talk)
    }

    fn hello(&self) -> Result<&Hello, &Trouble> {
        let hello = || self.start().map(|(_, hello)| hello);
        self.hello.get_or_init(hello).as_ref()
    }

    /// What would make a device work that does not.
    fn remedy(&self, failed: Option<&Failed>) -> String {
        let said = failed.and_then(|failed| failed.remedy.clone());
        if let Some(remote) = self.behind_ssh() {
            let by_hand = || format!("see what `ssh {}` leads to", remote.destination);
            return said.unwrap_or_else(by_hand);
        }
        let Program::Shipped { adapter, python } = &self.program else {
            return said.unwrap_or_else(|| {
                format!("give it the line {HELLO_LINE} by hand to see what is wrong (docs/device-protocol.md)")
            });
        };
        if failed.is_some_and(|failed| failed.kind != FailedKind::Unavailable) {
            return "docs/device-protocol.md has the options of each adapter".into();
        }
        match said {
            Some(said) => format!("{said}, or name a Python that has it with {PYTHON_VARIABLE}"),
            None => format!(
                "see that `{python}` is a Python 3, or name one with {PYTHON_VARIABLE}; the adapter needs `pip install \
                 {}`",
                adapter.packages
            ),
        }
    }

    fn error(&self, trouble: &Trouble) -> EngineError {
        match trouble {
            Trouble::Said(failed) if failed.kind == FailedKind::Unavailable => {
                EngineError::Unavailable {
                    engine: self.name.clone(),
                    reason: failed.message.clone(),
                    remedy: self.remedy(Some(failed)),
                }
            }
            other => other.error(&self.name),
        }
    }

    /// The process for a session of so many threads.
    fn talk_for(&self, options: &EngineOptions) -> Result<Arc<Mutex<Talk>>, EngineError> {
        check_threads(&self.name, options.threads)?;
        let talk = self.talk().map_err(|trouble| self.error(&trouble))?;
        if self
            .most_threads()
            .is_some_and(|most| options.threads > most)
        {
            return Err(EngineError::Threads {
                engine: self.name.clone(),
                asked: options.threads,
                remedy: "ask for fewer, or for 1",
            });
        }
        Ok(talk)
    }

    /// Begins a session on a file, with the input as it is given.
    fn begin(
        &self,
        talk: Arc<Mutex<Talk>>,
        file: &NetworkFile<'_>,
        threads: usize,
    ) -> Result<DeviceSession, EngineError> {
        let loaded = locked(&talk).load(file, threads, &self.precision());
        let (id, loaded) = loaded.map_err(|trouble| self.error(&trouble))?;
        Ok(DeviceSession {
            engine: self.name.clone(),
            held: Held { id, talk },
            loaded,
            shape: file.shape,
            last: false,
            kind: self.kind(),
            outputs: file.outputs,
            input: file.input.to_vec(),
            output: Vec::new(),
        })
    }

    /// The file that the device takes.
    fn model(&self, model: &Model<'_>, format: Format) -> Result<(Vec<u8>, &str), EngineError> {
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
            Format::TfliteInt8 | Format::TfliteInt8Whole => {
                let export = match format {
                    Format::TfliteInt8 => tflite::export_int8,
                    _ => tflite::export_int8_whole,
                };
                let image = super::input(network, CALIBRATION);
                let observed = tflite::Calibration::observe(network, weights, [image.as_slice()]);
                let observed = observed.map_err(|e| failed(e.to_string()))?;
                let file = export(network, weights, "network", &observed);
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
                    Some(chip) => {
                        let host = hello.host.as_ref();
                        let host = host.map_or(String::new(), |host| format!(" of {host}"));
                        format!("{}, {}, {chip}{host}", hello.name, hello.precision)
                    }
                    None => format!("{}, {}, a program of its own", hello.name, hello.precision),
                },
            },
            Err(Trouble::Said(failed)) => Availability::Unavailable {
                reason: failed.message.clone(),
                remedy: self.remedy(Some(failed)),
            },
            Err(Trouble::Broken(reason)) => Availability::Unavailable {
                reason: reason.clone(),
                remedy: self.remedy(None),
            },
            Err(Trouble::Room(reason)) => Availability::Unavailable {
                reason: reason.clone(),
                remedy: "make room, or name another folder for temporary files with TMPDIR".into(),
            },
            Err(Trouble::Lost { message, remedy }) => Availability::Unavailable {
                reason: message.clone(),
                remedy: remedy.clone(),
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

    fn machine(&self) -> Option<Machine> {
        let hello = self.hello().ok()?;
        (hello.files == Files::Inline).then(|| Machine {
            host: hello.host.clone().unwrap_or_else(|| self.name.clone()),
            chip: hello.chip.clone(),
            cpus: hello.cpus,
            system: hello.system.clone(),
            governor: hello.governor.clone(),
        })
    }

    fn for_workers(&self) -> Vec<(String, String)> {
        let remote = self.behind_ssh().and_then(Remote::for_workers);
        remote.into_iter().collect()
    }

    fn kind(&self) -> Kind {
        match (&self.program, self.hello.get()) {
            (Program::Shipped { adapter, .. }, _) => adapter.kind,
            (Program::Behind(_, kind), _) => *kind,
            // Who only reads what is stored starts nothing.
            (Program::Own(_), Some(Ok(hello))) => hello.kind,
            (Program::Own(_), _) => Kind::Measured,
        }
    }

    fn format(&self) -> Format {
        self.hello().map(|hello| hello.format).unwrap_or_default()
    }

    fn most_threads(&self) -> Option<usize> {
        self.hello().ok()?.most_threads
    }

    fn takes_graphs(&self) -> bool {
        false
    }

    fn prepare(
        &self,
        model: &Model<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        let talk = self.talk_for(options)?;
        let format = self.format();
        let (file, name) = self.model(model, format)?;
        let input = super::input(model.network, options.seed);
        let shape = model.network.input();
        let shape = match format {
            Format::Onnx => [1, shape.channels, shape.height, shape.width],
            _ => [1, shape.height, shape.width, shape.channels],
        };
        let last = format != Format::Onnx;
        let simulates = self.kind() == Kind::Simulated;
        let given = NetworkFile {
            bytes: &file,
            name,
            input: &laid_out(&input, shape, last),
            shape,
            outputs: usize::try_from(model.network.output().elements()).unwrap_or(usize::MAX),
            simulation: simulates.then(|| Simulation::new(model.network, options)),
        };
        let session = self.begin(talk, &given, options.threads)?;
        Ok(Box::new(DeviceSession {
            last,
            input,
            ..session
        }))
    }

    fn prepare_file(
        &self,
        file: &NetworkFile<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        let talk = self.talk_for(options)?;
        Ok(Box::new(self.begin(talk, file, options.threads)?))
    }

    fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn Executor>, EngineError> {
        Err(EngineError::NoGraphs {
            engine: self.name.clone(),
        })
    }
}

/// A session's place in a device's process, which is let go of with this value.
struct Held {
    id: u64,
    talk: Arc<Mutex<Talk>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        locked(&self.talk).release(self.id);
    }
}

/// A network in a device's process.
struct DeviceSession {
    engine: String,
    held: Held,
    /// What the device said of it.
    loaded: Loaded,
    /// Of the input as the device takes it.
    shape: [u32; 4],
    /// Whether channels come last there, and first in the inputs that are given here.
    last: bool,
    /// A device that estimates times computes nothing.
    kind: Kind,
    outputs: usize,
    input: Vec<f32>,
    output: Vec<f32>,
}

/// Channels, rows, columns in the order of a device with this shape.
fn laid_out(input: &[f32], shape: [u32; 4], last: bool) -> Vec<f32> {
    if !last {
        return input.to_vec();
    }
    let [_, rows, columns, channels] = shape.map(|n| n as usize);
    let pixels = rows * columns;
    (0..pixels * channels)
        .map(|i| input[(i % channels) * pixels + i / channels])
        .collect()
}

impl Session for DeviceSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        let timing = locked(&self.held.talk).run(self.held.id, self.kind);
        let timing = timing.map_err(|trouble| trouble.error(&self.engine))?;
        if self.output.is_empty() && self.kind != Kind::Estimated {
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
        let input = laid_out(input, self.shape, self.last);
        let Held { id, talk } = &self.held;
        let output = locked(talk).infer(*id, &input, self.shape, self.outputs);
        output.map_err(|trouble| trouble.error(&self.engine))
    }

    fn not_pinned(&self) -> Option<&str> {
        self.loaded.not_pinned.as_deref()
    }
}
