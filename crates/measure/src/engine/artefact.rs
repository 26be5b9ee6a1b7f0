//! What engines are given: a network of a design space, which every engine exports into the format that it takes, a
//! file as it is, or what another program exported for this engine.

use std::borrow::Cow;

use blocklens_core::model::{Element, InputSpec, ModelFormat};
use blocklens_core::network::{Network, Weights, onnx};
use blocklens_core::seed::Seed;
use rand::RngExt;

use super::{EngineError, Simulation};

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub enum Artefact<'a> {
    /// A network of a design space.
    Network {
        /// The graph.
        network: &'a Network,
        /// The weights of its nodes.
        weights: &'a Weights,
    },
    /// A file that somebody else may have written.
    File(&'a ModelFile),
    /// What a program elsewhere made for this engine, with the inputs that it is timed on.
    Sent(&'a SentFile<'a>),
}

/// A network as a file in the form that an engine takes, with the inputs that it is timed on.
#[derive(Clone, Debug)]
pub struct SentFile<'a> {
    /// Its name, without a folder.
    pub name: Cow<'a, str>,
    /// The file.
    pub file: Cow<'a, [u8]>,
    /// The inputs, in the file's order.
    pub inputs: Vec<Input>,
    /// How many numbers its first output has, where that is known.
    pub outputs: Option<usize>,
    /// What an engine that simulates needs to know, where it is for one.
    pub simulation: Option<Simulation>,
}

/// A file that holds a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Its format.
    pub format: ModelFormat,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// The inputs that it is to be run on, in its own order.
    pub inputs: Vec<InputSpec>,
}

/// The numbers of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// [`Element::Float32`].
    Float32(Vec<f32>),
    /// [`Element::Int8`].
    Int8(Vec<i8>),
    /// [`Element::Uint8`].
    Uint8(Vec<u8>),
    /// [`Element::Int32`].
    Int32(Vec<i32>),
    /// [`Element::Int64`].
    Int64(Vec<i64>),
    /// [`Element::Bool`].
    Bool(Vec<bool>),
}

/// An input with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Name, type and shape.
    pub spec: InputSpec,
    /// As many numbers as the shape has, the last dimension fastest.
    pub values: Values,
}

/// Half the width of the interval that inputs are drawn from: normalised images lie within about
/// -2.2 and 2.7.
const INPUT_BOUND: f32 = 2.0;

/// The input of every engine for this network and seed: uniform between -2 and 2, like a normalised
/// image. A constant input would let engines and caches shine that no real image lets.
#[must_use]
pub fn input(network: &Network, seed: Seed) -> Vec<f32> {
    let numbers = usize::try_from(network.input().elements()).unwrap_or(usize::MAX);
    drawn(numbers, seed.stream("input"))
}

fn drawn(numbers: usize, seed: Seed) -> Vec<f32> {
    let mut rng = seed.rng();
    (0..numbers)
        .map(|_| rng.random_range(-INPUT_BOUND..INPUT_BOUND))
        .collect()
}

/// The inputs of a file for this seed. Numbers of floating point are drawn as [`input`] draws them, the first input's
/// as it does for a network of a space. Whole numbers and truth values are 1: a token that every vocabulary has, a mask
/// that hides nothing. Those of eight bits are drawn over their whole range, as pixels are.
#[must_use]
pub fn inputs(specs: &[InputSpec], seed: Seed) -> Vec<Input> {
    let stream = |place: usize| match place {
        0 => seed.stream("input"),
        place => seed.stream("input").index(place as u64),
    };
    let input = |(place, spec): (usize, &InputSpec)| Input {
        spec: spec.clone(),
        values: Values::draw(spec, stream(place)),
    };
    specs.iter().enumerate().map(input).collect()
}

impl Values {
    fn draw(spec: &InputSpec, seed: Seed) -> Self {
        let numbers = spec.numbers();
        match spec.element {
            Element::Float32 => Self::Float32(drawn(numbers, seed)),
            Element::Int8 => {
                let mut rng = seed.rng();
                Self::Int8((0..numbers).map(|_| rng.random()).collect())
            }
            Element::Uint8 => {
                let mut rng = seed.rng();
                Self::Uint8((0..numbers).map(|_| rng.random()).collect())
            }
            Element::Int32 => Self::Int32(vec![1; numbers]),
            Element::Int64 => Self::Int64(vec![1; numbers]),
            Element::Bool => Self::Bool(vec![true; numbers]),
        }
    }

    /// The numbers of an input that travelled as [`Self::bytes`]; `None` where they are not as many as it has.
    #[must_use]
    pub fn read(spec: &InputSpec, bytes: &[u8]) -> Option<Self> {
        fn of<const N: usize, T>(bytes: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|chunk| number(*chunk))
                .collect()
        }
        let numbers = spec
            .shape
            .iter()
            .try_fold(1_usize, |n, &dim| n.checked_mul(dim))?;
        let size = match spec.element {
            Element::Int8 | Element::Uint8 | Element::Bool => 1,
            Element::Float32 | Element::Int32 => 4,
            Element::Int64 => 8,
        };
        if numbers.checked_mul(size)? != bytes.len() {
            return None;
        }
        Some(match spec.element {
            Element::Float32 => Self::Float32(of(bytes, f32::from_le_bytes)),
            Element::Int8 => Self::Int8(of(bytes, i8::from_le_bytes)),
            Element::Uint8 => Self::Uint8(bytes.to_vec()),
            Element::Int32 => Self::Int32(of(bytes, i32::from_le_bytes)),
            Element::Int64 => Self::Int64(of(bytes, i64::from_le_bytes)),
            Element::Bool => Self::Bool(bytes.iter().map(|&x| x != 0).collect()),
        })
    }

    /// Little-endian bytes, one byte for a truth value.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Float32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Int8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Uint8(v) => v.clone(),
            Self::Int32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Int64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Bool(v) => v.iter().map(|&x| u8::from(x)).collect(),
        }
    }
}

/// An ONNX file with the inputs that it is run on.
pub(super) struct Onnx<'a> {
    pub file: Cow<'a, [u8]>,
    pub inputs: Vec<Input>,
    /// How many numbers its first output has, where that is known.
    pub outputs: Option<usize>,
}

impl<'a> Artefact<'a> {
    /// The artefact for an engine that takes ONNX and nothing else.
    pub(super) fn onnx(&self, engine: &str, seed: Seed) -> Result<Onnx<'a>, EngineError> {
        match *self {
            Self::Network { network, weights } => {
                let file = onnx::export(network, weights, "network");
                let file = file.map_err(|e| EngineError::Prepare {
                    engine: engine.to_owned(),
                    message: e.to_string(),
                })?;
                Ok(Onnx {
                    file: Cow::Owned(file),
                    inputs: vec![image(network, seed)],
                    outputs: Some(outputs(network)),
                })
            }
            Self::File(file) if file.format == ModelFormat::Onnx => Ok(Onnx {
                file: Cow::Borrowed(&file.bytes),
                inputs: inputs(&file.inputs, seed),
                outputs: None,
            }),
            Self::File(file) => Err(EngineError::Format {
                engine: engine.to_owned(),
                format: file.format,
                takes: vec![ModelFormat::Onnx],
            }),
            Self::Sent(sent) => Ok(Onnx {
                file: Cow::Borrowed(&sent.file),
                inputs: sent.inputs.clone(),
                outputs: sent.outputs,
            }),
        }
    }
}

/// The input of a network's ONNX file.
fn image(network: &Network, seed: Seed) -> Input {
    let shape = network.input();
    Input {
        spec: InputSpec {
            name: onnx::INPUT.to_owned(),
            element: Element::Float32,
            shape: [1, shape.channels, shape.height, shape.width]
                .map(|n| n as usize)
                .to_vec(),
        },
        values: Values::Float32(input(network, seed)),
    }
}

/// How many numbers a network gives.
pub(super) fn outputs(network: &Network) -> usize {
    usize::try_from(network.output().elements()).unwrap_or(usize::MAX)
}

/// The only input, of floating point, with other numbers in it.
pub(super) fn replaced(
    engine: &str,
    inputs: &[Input],
    numbers: &[f32],
) -> Result<Vec<Input>, EngineError> {
    let [
        Input {
            spec,
            values: Values::Float32(own),
        },
    ] = inputs
    else {
        return Err(EngineError::Inputs {
            engine: engine.to_owned(),
            found: vec!["one input of float32 numbers".into()],
            expected: inputs.iter().map(|input| input.spec.name.clone()).collect(),
        });
    };
    super::check_input(engine, own.len(), numbers)?;
    Ok(vec![Input {
        spec: spec.clone(),
        values: Values::Float32(numbers.to_vec()),
    }])
}
