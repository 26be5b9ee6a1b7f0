//! Engines: what runs a network on this machine.
//!
//! Four ideas are kept apart. Is the engine *available* here, and if not, why and what to do
//! ([`Engine::availability`]); *prepare* a network, which parses, optimises and compiles
//! ([`Engine::prepare`]); *run* it once and time it ([`Session::run`]); *describe* what ran
//! ([`Engine::name`], [`Engine::precision`], [`host::describe`]).
//!
//! | engine | what it is | feature |
//! |---|---|---|
//! | `mock` | a formula with noise, drift, crashes and hangs on demand; its true effects are known | always there |
//! | `tract` | the embedded engine: pure Rust, one thread, nothing to install | `tract` |
//! | `ort` | ONNX Runtime, found at run time | `ort` |
//! | `openvino`, `ncnn`, ... | programs behind adapters that come along (`docs/device-protocol.md`) | always there |
//! | `device:COMMAND` | anybody's program that speaks device/1 | always there |
//! | `ssh:HOST/ENGINE` | any of these on another machine | always there |
//!
//! Engine code can crash, hang or exhaust memory. Nothing here protects the caller from that: a
//! measurement that must survive it runs in a process of its own.

mod artefact;
mod check;
mod choice;
mod device;
mod error;
mod executor;
pub mod host;
#[cfg(not(all(feature = "tract", feature = "ort")))]
mod missing;
mod mock;
#[cfg(feature = "ort")]
mod ort;
mod serve;
pub mod stopwatch;
#[cfg(feature = "tract")]
mod tract;

use std::collections::BTreeMap;

use blocklens_core::model::ModelFormat;
use blocklens_core::network::Network;
use blocklens_core::seed::Seed;
use blocklens_core::surrogate::SimulatedDevice;
use serde::{Deserialize, Serialize};

pub use artefact::{Artefact, Input, ModelFile, SentFile, Values, input, inputs};
pub use check::{Check, check};
pub use choice::{ComputingError, computing};
pub use device::message::Format;
pub(crate) use device::sweep;
pub use error::{EngineError, EngineSpecError};
pub use executor::{Executor, LoadOptions, Tensor, TensorError};
pub use mock::{Mock, MockSettings};
pub use serve::{ServeError, serve};
pub use stopwatch::{Stopwatch, Timing};

/// Whether an engine can be used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Availability {
    /// It can.
    Available {
        /// The engine's own version, such as `1.17.3`.
        version: String,
        /// Where it was found, or what else sets it apart, for people.
        detail: String,
    },
    /// It cannot.
    Unavailable {
        /// Why not, for people.
        reason: String,
        /// What would change that, for people.
        remedy: String,
    },
}

impl Availability {
    /// Whether the engine can be used.
    #[must_use]
    pub fn is_available(&self) -> bool {
        matches!(self, Availability::Available { .. })
    }

    /// That of an engine whose check ended without an answer.
    #[must_use]
    pub fn gone() -> Self {
        Self::Unavailable {
            reason: "asking it failed".into(),
            remedy: "report this with the engine's version".into(),
        }
    }

    /// The engine's version, where it is available.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self {
            Availability::Available { version, .. } => Some(version),
            Availability::Unavailable { .. } => None,
        }
    }
}

/// What a simulated device needs to know of a network that it gets as a file: its formula is of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// The formula's latency in ms, without noise and what settings add.
    pub latency_ms: f64,
    /// What an interaction of 1 adds, in ms.
    pub interaction_ms: f64,
    /// What an extra cost of large kernels of 1 adds, in ms.
    pub large_kernels_ms: f64,
    /// What both add beyond what each does, in ms.
    pub both_ms: f64,
    /// Of this measurement.
    pub seed: Seed,
    /// Index of this session in the campaign.
    pub position: u64,
    /// How often this measurement was tried before.
    pub attempt: u32,
}

impl Simulation {
    /// Of a network in a session.
    #[must_use]
    pub fn new(network: &Network, options: &EngineOptions) -> Self {
        let latency = |interaction, large_kernels| {
            let device = SimulatedDevice {
                interaction,
                large_kernels,
            };
            device.latency_ms(network)
        };
        let plain = latency(0.0, 0.0);
        let [interaction_ms, large_kernels_ms] =
            [latency(1.0, 0.0) - plain, latency(0.0, 1.0) - plain];
        Self {
            latency_ms: plain,
            interaction_ms,
            large_kernels_ms,
            both_ms: latency(1.0, 1.0) - plain - interaction_ms - large_kernels_ms,
            seed: options.seed,
            position: options.position,
            attempt: options.attempt,
        }
    }
}

/// What a device elsewhere says of the machine that it runs on. What it does not say is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The name that tells it from others.
    pub host: String,
    /// What computes.
    pub chip: Option<String>,
    /// Its logical CPUs.
    pub cpus: Option<usize>,
    /// Operating system and architecture.
    pub system: Option<String>,
    /// The frequency governor.
    pub governor: Option<String>,
}

/// How it is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// Threads that the engine may compute with; at least 1.
    pub threads: usize,
    /// The seed of this measurement: it makes the input, and everything random of a simulated engine.
    pub seed: Seed,
    /// Index of this session in the campaign. Simulated drift follows it; real engines ignore it.
    pub position: u64,
    /// How often this measurement was tried before. Simulated crashes depend on it.
    pub attempt: u32,
}

impl EngineOptions {
    /// One thread, the campaign's first session, first attempt.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            threads: 1,
            seed,
            position: 0,
            attempt: 0,
        }
    }
}

/// Where an engine's times come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A clock.
    #[default]
    Measured,
    /// A model of the device, such as the cost model of its compiler: the same each time.
    Estimated,
    /// A formula that imitates a device, for tests and demonstrations.
    Simulated,
}

/// An engine. Every implementation passes the suite in `tests/suite/engines.rs`.
pub trait Engine: Send + Sync {
    /// The name on the command line and in stored measurements.
    fn name(&self) -> &str;

    /// Whether the engine can be used here. May load a library, so it can be slow the first time; it
    /// never panics.
    fn availability(&self) -> Availability;

    /// Number format of weights and activations.
    fn precision(&self) -> String {
        "fp32".into()
    }

    /// What computes, where it is not this machine's processor.
    fn chip(&self) -> Option<String> {
        None
    }

    /// The machine that it runs on, where that is another than this one: it alone can tell.
    fn machine(&self) -> Option<Machine> {
        None
    }

    /// Where its times come from.
    fn kind(&self) -> Kind {
        Kind::Measured
    }

    /// What processes that measure on the same engine are to find in their environment.
    fn for_workers(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether times come from a formula or a model instead of a clock.
    fn is_simulated(&self) -> bool {
        self.kind() != Kind::Measured
    }

    /// Whether [`Engine::load`] takes graphs: an engine that only tells times of networks is complete without.
    fn takes_graphs(&self) -> bool {
        true
    }

    /// The formats of files that it takes as they are; none where it takes networks of design spaces only. Networks of
    /// design spaces are taken by every engine.
    fn formats(&self) -> Vec<ModelFormat> {
        vec![self.format().of_files()]
    }

    /// What networks of design spaces are exported to for it.
    fn format(&self) -> Format {
        Format::Onnx
    }

    /// Most threads that it computes with, where there is such a number.
    fn most_threads(&self) -> Option<usize> {
        None
    }

    /// Makes a network ready to run: parses, optimises, compiles. Its duration is the caller's to time.
    ///
    /// # Errors
    /// [`EngineError`] when the engine is not available, refuses the options or cannot take the network.
    fn prepare(
        &self,
        artefact: &Artefact<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError>;

    /// Makes any ONNX graph with float32 inputs and outputs ready to run, untimed.
    ///
    /// # Errors
    /// [`EngineError`] when the engine is not available, computes no graphs (a formula), refuses the options or
    /// cannot take the graph.
    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Executor>, EngineError>;
}

impl std::fmt::Debug for dyn Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.name())
    }
}

/// What workers that measure on any of these engines find in their environment: of each variable, what every engine
/// has for it, one a line.
#[must_use]
pub fn for_workers<'a>(engines: impl IntoIterator<Item = &'a dyn Engine>) -> Vec<(String, String)> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in engines.into_iter().flat_map(Engine::for_workers) {
        let lines = variables.entry(name).or_default();
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(&value);
    }
    variables.into_iter().collect()
}

/// A network that is ready to run.
pub trait Session {
    /// Runs one timed inference on the session's own inputs, [`input`] or [`inputs`] of its seed.
    ///
    /// # Errors
    /// [`EngineError`] when the engine fails or its output has the wrong length.
    fn run(&mut self) -> Result<Timing, EngineError>;

    /// The first output (of a network of a space: the logits) of the last [`Session::run`]; empty before the first.
    fn output(&self) -> &[f32];

    /// Runs one inference on `input` (of a network of a space: channels, rows, columns), untimed; returns the first
    /// output.
    ///
    /// # Errors
    /// [`EngineError`] when `input` has the wrong length or is not all that the network takes, or the engine fails.
    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError>;

    /// Why its threads are not pinned to CPUs, where it runs on another machine and they are not.
    fn not_pinned(&self) -> Option<&str> {
        None
    }
}

impl std::fmt::Debug for dyn Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// The names of all engines, in the order in which they are listed.
pub const NAMES: [&str; BUILT_IN.len() + device::SHIPPED.len()] = {
    let mut names = [""; BUILT_IN.len() + device::SHIPPED.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = if i < BUILT_IN.len() {
            BUILT_IN[i]
        } else {
            device::SHIPPED[i - BUILT_IN.len()]
        };
        i += 1;
    }
    names
};

/// Those that run in this process.
const BUILT_IN: [&str; 3] = ["tract", "ort", "mock"];

/// The engine that `spec` names: `tract`, `ort`, `ort:<path of the library>`, `mock`,
/// `mock:<key>=<value>,...` (see [`MockSettings`]), an adapter (`ncnn`, `ncnn:precision=fp16`),
/// `device:<command>` or `ssh:<host>/<engine>`. An engine that was not built in is returned all the same and says so in
/// its [`Engine::availability`].
///
/// # Errors
/// [`EngineSpecError`] when the words mean nothing; it lists what would.
pub fn by_name(spec: &str) -> Result<Box<dyn Engine>, EngineSpecError> {
    let spec = spec.trim();
    let (name, options) = match spec.split_once(':') {
        Some((name, options)) => (name, Some(options)),
        None => (spec, None),
    };
    match name {
        "mock" => Ok(Box::new(Mock::new(MockSettings::parse(
            options.unwrap_or_default(),
        )?))),
        "tract" => match options {
            None => Ok(tract_engine()),
            Some(options) => Err(EngineSpecError::NoOptions {
                engine: "tract",
                options: options.to_owned(),
            }),
        },
        "ort" => Ok(ort_engine(options)),
        device::OWN => own_device(options.unwrap_or_default()),
        device::ssh::NAME => {
            let place = options.unwrap_or_default();
            let device = device::Device::behind(place, |engine| kind_elsewhere(place, engine));
            Ok(Box::new(device?))
        }
        _ => shipped_device(name, options.unwrap_or_default()),
    }
}

/// Where the times of an engine on another machine come from; here its name is all that is looked at.
fn kind_elsewhere(place: &str, engine: &str) -> Result<Kind, EngineSpecError> {
    if engine.split(':').next() == Some(device::ssh::NAME) {
        return Err(EngineSpecError::Host {
            place: place.to_owned(),
            reason: "one machine behind another is for ProxyJump in ~/.ssh/config".into(),
        });
    }
    Ok(by_name(engine)?.kind())
}

fn own_device(command: &str) -> Result<Box<dyn Engine>, EngineSpecError> {
    let engine = device::Device::own(command);
    let engine = engine.map_err(|device::BadOption(reason)| EngineSpecError::Command {
        command: command.to_owned(),
        reason,
    })?;
    Ok(Box::new(engine))
}

fn shipped_device(name: &str, options: &str) -> Result<Box<dyn Engine>, EngineSpecError> {
    let unknown = || EngineSpecError::Unknown {
        name: name.to_owned(),
    };
    let engine = device::Device::shipped(name, options).ok_or_else(unknown)?;
    let engine = engine.map_err(|device::BadOption(option)| EngineSpecError::NotAnOption {
        engine: name.to_owned(),
        option,
    })?;
    Ok(Box::new(engine))
}

/// Where an engine's times come from, where its name does not say so.
#[must_use]
pub fn unnamed_kind(spec: &str, engine: &dyn Engine) -> Option<Kind> {
    let named = by_name(spec).map_or(Kind::Measured, |engine| engine.kind());
    Some(engine.kind()).filter(|kind| *kind != named)
}

/// Every engine with its default settings, in the order of [`NAMES`]; those that were not built in are
/// there too and are unavailable.
#[must_use]
pub fn all() -> Vec<Box<dyn Engine>> {
    let built_in: [Box<dyn Engine>; BUILT_IN.len()] = [
        tract_engine(),
        ort_engine(None),
        Box::new(Mock::new(MockSettings::default())),
    ];
    let shipped = device::SHIPPED
        .iter()
        .filter_map(|name| shipped_device(name, "").ok());
    built_in.into_iter().chain(shipped).collect()
}

/// Whether the engine that `spec` names can be used here.
///
/// Loading a foreign library runs its code, which no check can rule out to crash or hang. A caller
/// that must survive this calls it in a process of its own, with a time limit, and passes the answer on:
/// [`Availability`] can be serialised.
///
/// # Errors
/// [`EngineSpecError`] when `spec` names no engine.
pub fn probe(spec: &str) -> Result<Availability, EngineSpecError> {
    Ok(by_name(spec)?.availability())
}

#[cfg(feature = "tract")]
fn tract_engine() -> Box<dyn Engine> {
    Box::new(tract::Tract)
}

#[cfg(not(feature = "tract"))]
fn tract_engine() -> Box<dyn Engine> {
    Box::new(missing::Missing("tract"))
}

#[cfg(feature = "ort")]
fn ort_engine(library: Option<&str>) -> Box<dyn Engine> {
    Box::new(ort::Ort::new(library))
}

#[cfg(not(feature = "ort"))]
fn ort_engine(_library: Option<&str>) -> Box<dyn Engine> {
    Box::new(missing::Missing("ort"))
}

/// Whether every number is finite.
#[must_use]
pub fn all_finite(output: &[f32]) -> bool {
    output.iter().all(|x| x.is_finite())
}

/// Whether what an engine says is that memory ran out, in the words of Rust, of C++ or of their libraries.
fn says_out_of_memory(message: &str) -> bool {
    let words = ["out of memory", "memory allocation of", "bad_alloc"];
    words.iter().any(|words| message.contains(words))
}

/// Why a network is not ready.
#[cfg(any(feature = "tract", feature = "ort"))]
fn not_prepared(engine: &str, message: String) -> EngineError {
    let engine = engine.to_owned();
    match says_out_of_memory(&message) {
        true => EngineError::Memory { engine, message },
        false => EngineError::Prepare { engine, message },
    }
}

/// Refuses zero threads, in the same words for every engine.
fn check_threads(engine: &str, asked: usize) -> Result<(), EngineError> {
    if asked > 0 {
        return Ok(());
    }
    Err(EngineError::Threads {
        engine: engine.to_owned(),
        asked,
        remedy: "ask for at least 1",
    })
}

/// Refuses an input of the wrong length, in the same words for every engine.
fn check_input(engine: &str, expected: usize, input: &[f32]) -> Result<(), EngineError> {
    if input.len() == expected {
        return Ok(());
    }
    Err(EngineError::InputLength {
        engine: engine.to_owned(),
        found: input.len(),
        expected,
    })
}

/// Refuses an output of the wrong length where the right one is known, in the same words for every engine.
#[cfg(any(feature = "tract", feature = "ort"))]
fn check_output(engine: &str, expected: Option<usize>, output: &[f32]) -> Result<(), EngineError> {
    let Some(expected) = expected.filter(|&expected| output.len() != expected) else {
        return Ok(());
    };
    Err(EngineError::OutputLength {
        engine: engine.to_owned(),
        found: output.len(),
        expected,
    })
}
