//! The words of device/1 (`docs/device-protocol.md`): what is asked, and what is answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blocklens_core::model::{InputSpec, ModelFormat};
use serde::{Deserialize, Serialize};

use crate::engine::{Kind, Simulation};

/// The version of the protocol.
pub(in crate::engine) const PROTOCOL: &str = "device/1";

/// A request; `id` comes back with the answer.
#[derive(Serialize)]
pub(super) struct Asked<'a> {
    pub id: u64,
    #[serde(flatten)]
    pub request: Request<'a>,
}

/// What a device is asked to do.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(super) enum Request<'a> {
    /// Who are you? The first request.
    Hello {
        protocol: &'static str,
        options: &'a BTreeMap<String, String>,
    },
    /// Make a network ready, with the inputs that it is timed on.
    Load {
        session: u64,
        model: Sent,
        inputs: &'a [Tensor<'a>],
        /// Numbers that the network gives, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        outputs: Option<usize>,
        threads: usize,
        /// For devices that simulate.
        #[serde(skip_serializing_if = "Option::is_none")]
        simulation: Option<&'a Simulation>,
    },
    /// Time inferences of sessions in turn.
    Turns { sessions: &'a [u64], count: u32 },
    /// Compute the first output for inputs.
    Infer {
        session: u64,
        inputs: &'a [Tensor<'a>],
        /// Where the outputs go, where they do not follow the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<&'a Path>,
    },
    /// Forget a session.
    Release { session: u64 },
}

/// An input: what it is, and the file with its numbers.
#[derive(Serialize)]
pub(super) struct Tensor<'a> {
    #[serde(flatten)]
    pub spec: &'a InputSpec,
    pub file: Sent,
}

/// How a device gets a file.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Sent {
    /// It is there.
    Path(PathBuf),
    /// So many bytes follow the line.
    Inline { name: String, bytes: u64 },
}

/// What is asked of a device that takes files inline, as it reads it.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(in crate::engine) enum Order {
    Hello {
        protocol: String,
        #[serde(default)]
        options: BTreeMap<String, String>,
    },
    Load {
        session: u64,
        model: Announced,
        inputs: Vec<AnnouncedTensor>,
        #[serde(default)]
        outputs: Option<usize>,
        threads: usize,
        #[serde(default)]
        simulation: Option<Simulation>,
    },
    Turns {
        sessions: Vec<u64>,
        count: u32,
    },
    Infer {
        session: u64,
        inputs: Vec<AnnouncedTensor>,
    },
    Release {
        session: u64,
    },
}

/// An input whose numbers follow the line.
#[derive(Debug, Deserialize)]
pub(in crate::engine) struct AnnouncedTensor {
    #[serde(flatten)]
    pub spec: InputSpec,
    /// Read before any order is.
    #[serde(rename = "file")]
    pub _file: Announced,
}

/// A file whose bytes follow the line.
#[derive(Debug, Deserialize)]
pub(in crate::engine) struct Announced {
    #[serde(default)]
    pub name: String,
    pub bytes: u64,
}

/// An answer to a request.
#[derive(Deserialize)]
pub(super) struct Answered {
    pub id: u64,
    /// What was asked for.
    #[serde(default)]
    pub ok: Option<serde_json::Value>,
    /// Why not.
    #[serde(default)]
    pub failed: Option<Failed>,
}

/// How many bytes follow an answer, as it says itself: `{"ok": {"output": {"bytes": 4000}}}`.
pub(super) fn follows(line: &str) -> u64 {
    #[derive(Deserialize)]
    struct Answer {
        ok: Outputs,
    }
    #[derive(Deserialize)]
    struct Outputs {
        output: Announced,
    }
    serde_json::from_str::<Answer>(line).map_or(0, |answer| answer.ok.output.bytes)
}

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Failed {
    pub kind: FailedKind,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum FailedKind {
    /// The engine is not here.
    Unavailable,
    /// It cannot do this, and never will: an option, an operator, a request.
    Unsupported,
    /// The network could not be converted.
    Convert,
    /// It could not be loaded or compiled.
    Load,
    /// An inference failed.
    Run,
    /// Something would run elsewhere than on the device.
    Fallback,
    /// Out of memory.
    Memory,
    /// The machine that the device's program runs on has no room for what it is given.
    Room,
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Hello {
    /// Its name.
    pub name: String,
    /// The engine's version.
    pub version: String,
    /// Number format of weights and activations.
    pub precision: String,
    /// What it takes.
    #[serde(default)]
    pub format: Format,
    /// Where its times come from.
    #[serde(default)]
    pub kind: Kind,
    /// How it gets files.
    #[serde(default)]
    pub files: Files,
    /// The largest file that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_bytes: Option<u64>,
    /// Most threads that it computes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_threads: Option<usize>,
    /// What computes, where it is not the processor of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip: Option<String>,
    /// The name of the machine that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its logical CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<usize>,
    /// Its operating system and architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Its frequency governor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
}

/// How a device gets files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum Files {
    /// By their paths: it runs where blocklens does.
    #[default]
    Paths,
    /// Behind the line that speaks of them: it may run anywhere.
    Inline,
}

/// The file that a device takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// ONNX, float32; inputs are batch, channels, rows, columns.
    #[default]
    Onnx,
    /// TensorFlow Lite, float32; inputs are batch, rows, columns, channels.
    Tflite,
    /// TensorFlow Lite, whole numbers of eight bits inside and float32 outside.
    TfliteInt8,
    /// The same with whole numbers outside, too.
    TfliteInt8Whole,
}

impl Format {
    /// The formats of files that a device takes that takes this.
    pub(in crate::engine) fn of_files(self) -> ModelFormat {
        match self {
            Self::Onnx => ModelFormat::Onnx,
            Self::Tflite => ModelFormat::Tflite,
            // What is outside is written in the file.
            Self::TfliteInt8 | Self::TfliteInt8Whole => ModelFormat::TfliteInt8,
        }
    }
}

/// A network that is ready.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct Loaded {
    /// Number format in effect, where it is not the one that the device said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Operators that run elsewhere than on the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fell_back: Vec<String>,
    /// Why its threads are not pinned to CPUs, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_pinned: Option<String>,
}

/// Times of inferences that took turns: one entry for each session.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine) struct Turned {
    pub turns: Vec<Times>,
}

/// The times of one session's inferences.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct Times {
    /// Wall time in ns.
    pub wall_ns: Vec<u64>,
    /// CPU time in ns, where the device knows it.
    #[serde(default)]
    pub cpu_ns: Vec<u64>,
    /// Involuntary context switches, where it knows them.
    #[serde(default)]
    pub preemptions: Vec<u32>,
}
