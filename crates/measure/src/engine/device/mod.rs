//! Devices: engines that are programs of their own and speak device/1 (`docs/device-protocol.md`). Adapters for some
//! come with blocklens; `device:COMMAND` is anybody's.
//!
//! One process runs all sessions of a job, so that a network and its reference take turns inside it. Times are taken
//! there, by its clock; what blocklens and the device say to each other is between inferences.

pub(in crate::engine) mod message;
mod shipped;
pub(in crate::engine) mod ssh;
mod talk;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use blocklens_core::measurement::Failure;
use blocklens_core::model::{Element, InputSpec};
use blocklens_core::network::tflite::{self, TfliteError};
use blocklens_core::network::{Network, Weights, onnx};
use blocklens_core::seed::Seed;

use self::message::{Failed, FailedKind, Files, Format, Hello, Loaded};
use self::shipped::Shipped;
use self::ssh::Remote;
pub(in crate::engine) use self::talk::bytes;
pub(crate) use self::talk::sweep;
use self::talk::{Folder, Talk, Trouble};
use super::artefact::{
    Artefact, Input, ModelFile, Onnx, SentFile, Values, inputs, outputs, replaced,
};
use super::{
    Availability, Engine, EngineError, EngineOptions, EngineSpecError, Executor, Kind, LoadOptions,
    Machine, Session, Simulation, Timing, check_threads,
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

    /// What the device is given, in its format, and how its inputs are ordered.
    fn given<'a>(
        &self,
        artefact: &Artefact<'a>,
        options: &EngineOptions,
    ) -> Result<(SentFile<'a>, Order), EngineError> {
        let (format, seed) = (self.format(), options.seed);
        let simulates = self.kind() == Kind::Simulated;
        match *artefact {
            Artefact::Network { network, weights } if format != Format::Onnx => {
                let sent = self.tflite(network, weights, format, seed)?;
                Ok((sent, Order::ChannelsLast))
            }
            Artefact::File(file) if format != Format::Onnx => {
                Ok((self.tflite_as_it_is(file, format, seed)?, Order::AsGiven))
            }
            Artefact::Sent(sent) => Ok((sent.clone(), Order::AsGiven)),
            Artefact::Network { network, .. } => {
                let sent = SentFile {
                    simulation: simulates.then(|| Simulation::new(network, options)),
                    ..self.onnx(artefact, seed)?
                };
                Ok((sent, Order::AsGiven))
            }
            Artefact::File(_) => Ok((self.onnx(artefact, seed)?, Order::AsGiven)),
        }
    }

    fn onnx<'a>(&self, artefact: &Artefact<'a>, seed: Seed) -> Result<SentFile<'a>, EngineError> {
        let Onnx {
            file,
            inputs,
            outputs,
        } = artefact.onnx(&self.name, seed)?;
        Ok(SentFile {
            name: Cow::Borrowed("network.onnx"),
            file,
            inputs,
            outputs,
            simulation: None,
        })
    }

    /// A TFLite file that somebody else may have written, for a device that takes such.
    fn tflite_as_it_is<'a>(
        &self,
        file: &'a ModelFile,
        format: Format,
        seed: Seed,
    ) -> Result<SentFile<'a>, EngineError> {
        if file.format != format.of_files() {
            return Err(EngineError::Format {
                engine: self.name.clone(),
                format: file.format,
                takes: vec![format.of_files()],
            });
        }
        Ok(SentFile {
            name: Cow::Borrowed("network.tflite"),
            file: Cow::Borrowed(&file.bytes),
            inputs: inputs(&file.inputs, seed),
            outputs: None,
            simulation: None,
        })
    }

    /// A network of a space for a device that takes TFLite.
    fn tflite<'a>(
        &self,
        network: &Network,
        weights: &Weights,
        format: Format,
        seed: Seed,
    ) -> Result<SentFile<'a>, EngineError> {
        let file = tflite_file(network, weights, format);
        let file = file.map_err(|message| EngineError::Prepare {
            engine: self.name.clone(),
            message,
        })?;
        let shape = network.input();
        let spec = InputSpec {
            name: onnx::INPUT.to_owned(),
            element: Element::Float32,
            shape: [1, shape.height, shape.width, shape.channels]
                .map(|n| n as usize)
                .to_vec(),
        };
        let image = super::input(network, seed);
        let values = Values::Float32(Order::ChannelsLast.laid_out(&image, &spec.shape));
        Ok(SentFile {
            name: Cow::Borrowed("network.tflite"),
            file: Cow::Owned(file),
            inputs: vec![Input { spec, values }],
            outputs: Some(outputs(network)),
            simulation: None,
        })
    }
}

/// In which order a device takes the numbers of images.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Batch, channels, rows, columns: as blocklens gives them; or as a file that is taken as it is has them.
    AsGiven,
    /// Batch, rows, columns, channels.
    ChannelsLast,
}

impl Order {
    /// Channels, rows and columns in the device's order, of this shape.
    fn laid_out(self, image: &[f32], shape: &[usize]) -> Vec<f32> {
        let (Self::ChannelsLast, [_, rows, columns, channels]) = (self, shape) else {
            return image.to_vec();
        };
        let pixels = rows * columns;
        (0..pixels * channels)
            .map(|i| image[(i % channels) * pixels + i / channels])
            .collect()
    }
}

/// A network as a TFLite file.
fn tflite_file(network: &Network, weights: &Weights, format: Format) -> Result<Vec<u8>, String> {
    let told = |e: TfliteError| e.to_string();
    let export = match format {
        Format::Onnx | Format::Tflite => {
            return tflite::export(network, weights, "network").map_err(told);
        }
        Format::TfliteInt8 => tflite::export_int8,
        Format::TfliteInt8Whole => tflite::export_int8_whole,
    };
    let image = super::input(network, CALIBRATION);
    let observed = tflite::Calibration::observe(network, weights, [image.as_slice()]);
    let observed = observed.map_err(|e| e.to_string())?;
    export(network, weights, "network", &observed).map_err(told)
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

    /// What it says; ONNX where it does not answer.
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
        artefact: &Artefact<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        let talk = self.talk_for(options)?;
        let (sent, order) = self.given(artefact, options)?;
        let loaded = locked(&talk).load(&sent, options.threads, &self.precision());
        let (id, loaded) = loaded.map_err(|trouble| self.error(&trouble))?;
        Ok(Box::new(DeviceSession {
            engine: self.name.clone(),
            held: Held { id, talk },
            loaded,
            kind: self.kind(),
            inputs: sent.inputs,
            order,
            outputs: sent.outputs,
            output: Vec::new(),
        }))
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
    /// A device that estimates times computes nothing.
    kind: Kind,
    /// In the device's order.
    inputs: Vec<Input>,
    order: Order,
    /// Numbers of the first output, where they are known.
    outputs: Option<usize>,
    output: Vec<f32>,
}

impl DeviceSession {
    fn outputs_of(&self, inputs: &[Input]) -> Result<Vec<f32>, EngineError> {
        let Held { id, talk } = &self.held;
        let output = locked(talk).infer(*id, inputs, self.outputs);
        output.map_err(|trouble| trouble.error(&self.engine))
    }
}

impl Session for DeviceSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        let timing = locked(&self.held.talk).run(self.held.id, self.kind);
        let timing = timing.map_err(|trouble| trouble.error(&self.engine))?;
        if self.output.is_empty() && self.kind != Kind::Estimated {
            // The output is the same each time, and getting it takes longer than some inferences.
            self.output = self.outputs_of(&self.inputs)?;
        }
        Ok(timing)
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let mut inputs = replaced(&self.engine, &self.inputs, input)?;
        for Input { spec, values } in &mut inputs {
            if let Values::Float32(numbers) = values {
                *numbers = self.order.laid_out(numbers, &spec.shape);
            }
        }
        self.outputs_of(&inputs)
    }

    fn not_pinned(&self) -> Option<&str> {
        self.loaded.not_pinned.as_deref()
    }
}
