//! The words of device/1 (`docs/device-protocol.md`): what is asked, and what is answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blocklens_core::model::{InputSpec, ModelFormat};
use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub(super) const PROTOCOL: &str = "device/1";

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
        model: &'a Path,
        inputs: &'a [Tensor<'a>],
        threads: usize,
    },
    /// Time inferences of sessions in turn.
    Turns { sessions: &'a [u64], count: u32 },
    /// Compute the first output for inputs.
    Infer {
        session: u64,
        inputs: &'a [Tensor<'a>],
        output: &'a Path,
    },
    /// Forget a session.
    Release { session: u64 },
}

/// An input: what it is, and the file with its numbers.
#[derive(Serialize)]
pub(super) struct Tensor<'a> {
    #[serde(flatten)]
    pub spec: &'a InputSpec,
    pub file: PathBuf,
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

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Failed {
    pub kind: FailedKind,
    pub message: String,
    #[serde(default)]
    pub remedy: Option<String>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailedKind {
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
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Hello {
    /// Its name.
    pub name: String,
    /// The engine's version.
    pub version: String,
    /// Number format of weights and activations.
    pub precision: String,
    /// What it takes.
    #[serde(default)]
    pub format: Format,
    /// What computes, where it is not the processor of this machine.
    #[serde(default)]
    pub chip: Option<String>,
    /// Most threads that it computes with.
    #[serde(default)]
    pub most_threads: Option<usize>,
}

/// The file that a device takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Format {
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
    pub(super) fn of_files(self) -> ModelFormat {
        match self {
            Self::Onnx => ModelFormat::Onnx,
            Self::Tflite => ModelFormat::Tflite,
            // What is outside is written in the file.
            Self::TfliteInt8 | Self::TfliteInt8Whole => ModelFormat::TfliteInt8,
        }
    }
}

/// A network that is ready.
#[derive(Debug, Deserialize)]
pub(super) struct Loaded {
    /// Number format in effect, where it is not the one that the device said.
    #[serde(default)]
    pub precision: Option<String>,
    /// Operators that run elsewhere than on the device.
    #[serde(default)]
    pub fell_back: Vec<String>,
}

/// Times of inferences that took turns: one entry for each session.
#[derive(Debug, Deserialize)]
pub(super) struct Turned {
    pub turns: Vec<Times>,
}

/// The times of one session's inferences.
#[derive(Debug, Deserialize)]
pub(super) struct Times {
    /// Wall time in ns.
    pub wall_ns: Vec<u64>,
    /// CPU time in ns, where the device knows it.
    #[serde(default)]
    pub cpu_ns: Vec<u64>,
    /// Involuntary context switches, where it knows them.
    #[serde(default)]
    pub preemptions: Vec<u32>,
}
