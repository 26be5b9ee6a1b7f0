//! Files of networks that somebody else wrote: what format they are of and what inputs they take, as far as that is
//! needed to run them. What a file is follows from what it holds, never from its name.

mod onnx;
mod tflite;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most numbers of one input: 1 GiB of float32.
const MOST_NUMBERS: usize = 1 << 28;

/// The format of a file that holds a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFormat {
    /// ONNX.
    Onnx,
    /// TensorFlow Lite that computes in floating point.
    Tflite,
    /// TensorFlow Lite that computes in whole numbers of eight bits.
    TfliteInt8,
}

impl fmt::Display for ModelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::Tflite => "TFLite",
            Self::TfliteInt8 => "TFLite of whole numbers (int8)",
        })
    }
}

/// What an input's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Element {
    /// Floating point, 32 bits.
    Float32,
    /// Whole numbers, 8 bits.
    Int8,
    /// Whole numbers without sign, 8 bits.
    Uint8,
    /// Whole numbers, 32 bits.
    Int32,
    /// Whole numbers, 64 bits.
    Int64,
    /// Truth values, a byte each.
    Bool,
}

/// An input as it is to be given: everything about it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Its name in the file.
    pub name: String,
    /// What its numbers are.
    #[serde(rename = "type")]
    pub element: Element,
    /// Its dimensions, the last one changes fastest; none for a single number.
    pub shape: Vec<usize>,
}

impl InputSpec {
    /// How many numbers it has.
    #[must_use]
    pub fn numbers(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An input as the file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenInput {
    /// Its name.
    pub name: String,
    /// What its numbers are.
    pub element: Element,
    /// Its dimensions, of which some may be left open; `None` where the file does not even say how many there are.
    pub dims: Option<Vec<Option<usize>>>,
}

/// What is to be known of a file before it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The format.
    pub format: ModelFormat,
    /// The inputs, in the file's order.
    pub inputs: Vec<OpenInput>,
}

/// A shape that was asked for an input, written `1x3x224x224` or `NAME=1x3x224x224`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedShape {
    /// The input's name; `None` for the only one that is open.
    pub input: Option<String>,
    /// The dimensions.
    pub shape: Vec<usize>,
}

impl std::str::FromStr for AskedShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (input, shape) = match text.rsplit_once('=') {
            Some((input, shape)) => (Some(input.trim().to_owned()), shape),
            None => (None, text),
        };
        let dims = shape.trim().split(['x', 'X', ',']);
        let shape: Result<Vec<usize>, _> = dims.map(|dim| dim.trim().parse()).collect();
        match shape {
            Ok(shape) if shape.iter().all(|&dim| dim > 0) => Ok(Self { input, shape }),
            _ => Err(
                "a shape is written 1x3x224x224, or input=1x3x224x224 for one of several".into(),
            ),
        }
    }
}

/// Why a file cannot be run, or not as it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// It holds no network of a known format.
    #[error("it is neither ONNX nor TFLite ({0})")]
    Unknown(String),
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It does not hold its weights.
    #[error(
        "it keeps weights in other files (`{0}`); save it as one file, such as by onnx.save(onnx.load(...), path)"
    )]
    External(String),
    /// It takes nothing, so that there is nothing to run it on.
    #[error("it has no inputs")]
    NoInputs,
    /// An input of a kind that is not supported.
    #[error(
        "its input `{input}` takes {kind}; inputs can be float32, int8, uint8, int32, int64 and bool tensors"
    )]
    Element {
        /// The input.
        input: String,
        /// What it takes.
        kind: String,
    },
    /// An input whose shape is not known.
    #[error(
        "the shape of its input `{input}` is open ({dims}): say it with --shape {input}={example}"
    )]
    Open {
        /// The input.
        input: String,
        /// What is known of its dimensions.
        dims: String,
        /// A shape as it could be given.
        example: String,
    },
    /// A shape was asked for that an input does not take.
    #[error("its input `{input}` cannot be {asked}: it is {dims}")]
    Shape {
        /// The input.
        input: String,
        /// What was asked for.
        asked: String,
        /// What the file says.
        dims: String,
    },
    /// An input that nobody could give.
    #[error("its input `{input}` has too many numbers ({shape})")]
    TooLarge {
        /// The input.
        input: String,
        /// Its shape.
        shape: String,
    },
}

/// Whether these bytes begin as a TFLite file does.
#[must_use]
pub fn is_tflite(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"TFL3")
}

/// What these bytes are.
///
/// # Errors
/// [`ModelError`] where they are no network, or one with inputs that are not supported.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, ModelError> {
    let found = match is_tflite(bytes) {
        true => tflite::inspect(bytes)?,
        false => onnx::inspect(bytes)?,
    };
    match found.inputs.is_empty() {
        true => Err(ModelError::NoInputs),
        false => Ok(found),
    }
}

impl Inspected {
    /// The inputs with shapes as they are known or asked for. An open first dimension is a batch, of 1.
    ///
    /// # Errors
    /// [`ModelError`] for an input that stays open, or that does not take what is asked.
    pub fn with_shapes(&self, asked: &[AskedShape]) -> Result<Vec<InputSpec>, ModelError> {
        self.inputs
            .iter()
            .map(|input| input.with_shape(self.asked_of(input, asked)))
            .collect()
    }

    /// Whether a shape that was asked for is that of one of the inputs.
    #[must_use]
    pub fn takes(&self, asked: &AskedShape) -> bool {
        let one = std::slice::from_ref(asked);
        self.inputs
            .iter()
            .any(|input| self.asked_of(input, one).is_some())
    }

    /// What was asked of an input: by its name, or without one where it is the only one that is open.
    fn asked_of<'a>(&self, input: &OpenInput, asked: &'a [AskedShape]) -> Option<&'a AskedShape> {
        let by_name = |asked: &&AskedShape| asked.input.as_ref() == Some(&input.name);
        let nameless = || {
            let open = self.inputs.iter().filter(|input| input.is_open()).count();
            let only = input.is_open() && open == 1 || self.inputs.len() == 1;
            asked.iter().find(|asked| only && asked.input.is_none())
        };
        asked.iter().find(by_name).or_else(nameless)
    }
}

impl OpenInput {
    fn is_open(&self) -> bool {
        let dims = self.dims.as_ref();
        dims.is_none_or(|dims| dims.iter().any(Option::is_none))
    }

    fn with_shape(&self, asked: Option<&AskedShape>) -> Result<InputSpec, ModelError> {
        let shape = match (asked, &self.dims) {
            (Some(asked), dims) if fits(&asked.shape, dims.as_deref()) => asked.shape.clone(),
            (Some(asked), _) => {
                return Err(ModelError::Shape {
                    input: self.name.clone(),
                    asked: joined(&asked.shape),
                    dims: self.dims_in_words(),
                });
            }
            (None, Some(dims)) => {
                let dims = dims.iter().enumerate();
                let known =
                    |(place, dim): (usize, &Option<usize>)| dim.or((place == 0).then_some(1));
                let shape: Option<Vec<usize>> = dims.map(known).collect();
                shape.ok_or_else(|| self.open())?
            }
            (None, None) => return Err(self.open()),
        };
        let numbers = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        if numbers.is_none_or(|numbers| numbers > MOST_NUMBERS) {
            return Err(ModelError::TooLarge {
                input: self.name.clone(),
                shape: joined(&shape),
            });
        }
        Ok(InputSpec {
            name: self.name.clone(),
            element: self.element,
            shape,
        })
    }

    fn open(&self) -> ModelError {
        let dims = self.dims.as_deref().unwrap_or(&[None, Some(3), None, None]);
        let example = |(place, dim): (usize, &Option<usize>)| match (place, dim) {
            (_, Some(dim)) => *dim,
            (0, None) => 1,
            // Images have four dimensions, sequences two or three.
            (_, None) if dims.len() == 4 => 224,
            (_, None) => 128,
        };
        let example: Vec<usize> = dims.iter().enumerate().map(example).collect();
        ModelError::Open {
            input: self.name.clone(),
            dims: self.dims_in_words(),
            example: joined(&example),
        }
    }

    fn dims_in_words(&self) -> String {
        let Some(dims) = &self.dims else {
            return "of no known number of dimensions".into();
        };
        let dims = dims.iter().map(|dim| match dim {
            Some(dim) => dim.to_string(),
            None => "?".to_owned(),
        });
        dims.collect::<Vec<_>>().join("x")
    }
}

fn fits(shape: &[usize], dims: Option<&[Option<usize>]>) -> bool {
    dims.is_none_or(|dims| {
        let same = |(a, b): (&usize, &Option<usize>)| b.is_none_or(|b| b == *a);
        dims.len() == shape.len() && shape.iter().zip(dims).all(same)
    })
}

fn joined(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    dims.join("x")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Weights, onnx, tflite};
    use crate::seed::Seed;
    use crate::space::DesignSpace;

    fn subnet() -> (crate::network::Network, Weights) {
        let space = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
        let network = space.network(&space.smallest(128).unwrap());
        let weights = Weights::random(&network, Seed(1));
        (network, weights)
    }

    #[test]
    fn our_own_files_are_what_they_are() {
        let (network, weights) = subnet();
        let file = onnx::export(&network, &weights, "x").unwrap();
        let found = inspect(&file).unwrap();
        assert_eq!(found.format, ModelFormat::Onnx);
        let specs = found.with_shapes(&[]).unwrap();
        assert_eq!(specs[0].shape, [1, 3, 128, 128]);
        assert_eq!((specs.len(), &*specs[0].name), (1, onnx::INPUT));
        let file = tflite::export(&network, &weights, "x").unwrap();
        let found = inspect(&file).unwrap();
        assert_eq!(found.format, ModelFormat::Tflite);
        let specs = found.with_shapes(&[]).unwrap();
        assert_eq!(
            (specs[0].element, &*specs[0].shape),
            (Element::Float32, &[1, 128, 128, 3][..])
        );
        let image = vec![0.5; 3 * 128 * 128];
        let ranges = tflite::Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
        let file = tflite::export_int8(&network, &weights, "x", &ranges).unwrap();
        let found = inspect(&file).unwrap();
        assert_eq!(found.format, ModelFormat::TfliteInt8);
        assert_eq!(found.inputs[0].element, Element::Float32);
        let file = tflite::export_int8_whole(&network, &weights, "x", &ranges).unwrap();
        assert_eq!(inspect(&file).unwrap().inputs[0].element, Element::Int8);
    }

    /// Whatever is cut off or changed is an error or another file, and never a panic.
    #[test]
    fn damaged_files_are_told() {
        let (network, weights) = subnet();
        let file = tflite::export(&network, &weights, "x").unwrap();
        for cut in [0, 7, 8, 9, 40, 400, 4_000, file.len() / 2] {
            let _ = inspect(&file[..cut]);
        }
        let mut changed = file.clone();
        for at in 0..4_000 {
            let place = (at * 7919) % changed.len().min(200_000);
            changed[place] = changed[place].wrapping_add(101);
            let _ = inspect(&changed);
        }
        for bytes in [
            &b""[..],
            b"hello",
            b"r224/e3k3",
            b"PK\x03\x04",
            &[0xff; 100],
        ] {
            assert!(inspect(bytes).is_err());
        }
        assert!(inspect(b"\x08\x00\x00\x00TFL3").is_err());
    }

    fn open(name: &str, dims: &[Option<usize>]) -> OpenInput {
        OpenInput {
            name: name.into(),
            element: Element::Float32,
            dims: Some(dims.to_vec()),
        }
    }

    fn file(inputs: Vec<OpenInput>) -> Inspected {
        let format = ModelFormat::Onnx;
        Inspected { format, inputs }
    }

    fn asked(text: &[&str]) -> Vec<AskedShape> {
        text.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn open_dimensions_are_a_batch_or_asked_for() {
        let image = file(vec![open("x", &[None, Some(3), None, None])]);
        let error = image.with_shapes(&[]).unwrap_err().to_string();
        assert!(
            error.contains("?x3x?x?") && error.contains("--shape x=1x3x224x224"),
            "{error}"
        );
        let shape = |text| {
            image
                .with_shapes(&asked(&[text]))
                .map(|specs| specs[0].shape.clone())
        };
        assert_eq!(shape("1x3x96x64").unwrap(), [1, 3, 96, 64]);
        assert_eq!(shape("x=2x3x8x8").unwrap(), [2, 3, 8, 8]);
        assert!(
            shape("1x4x96x64")
                .unwrap_err()
                .to_string()
                .contains("cannot be 1x4x96x64")
        );
        assert!(shape("3x96x64").is_err());
        let batch = file(vec![open("x", &[None, Some(10)])]);
        assert_eq!(batch.with_shapes(&[]).unwrap()[0].shape, [1, 10]);
        let huge = open("x", &[Some(1 << 40), Some(1 << 40)]);
        assert!(matches!(
            file(vec![huge]).with_shapes(&[]),
            Err(ModelError::TooLarge { .. })
        ));
        let unknown = OpenInput {
            dims: None,
            ..open("y", &[])
        };
        assert!(matches!(
            file(vec![unknown]).with_shapes(&[]),
            Err(ModelError::Open { .. })
        ));
    }

    #[test]
    fn a_shape_without_a_name_is_for_the_only_open_input() {
        let two = file(vec![open("ids", &[None, None]), open("scale", &[Some(4)])]);
        let specs = two.with_shapes(&asked(&["1x16"])).unwrap();
        assert_eq!(
            (&*specs[0].shape, &*specs[1].shape),
            (&[1, 16][..], &[4][..])
        );
        let three = file(vec![
            open("ids", &[None, None]),
            open("mask", &[None, None]),
        ]);
        assert!(three.with_shapes(&asked(&["1x16"])).is_err());
        let specs = three
            .with_shapes(&asked(&["ids=1x16", "mask=1x16"]))
            .unwrap();
        assert_eq!(specs[1].shape, [1, 16]);
        for text in ["", "a", "1x", "1x0x3", "x=", "-1x3"] {
            assert!(text.parse::<AskedShape>().is_err(), "{text}");
        }
    }
}
