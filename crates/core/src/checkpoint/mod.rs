//! Trained weights from files: PyTorch's `.pth` (today's zip format and the one before torch 1.6) and
//! safetensors.
//!
//! A `.pth` file is a pickle, which Python would *execute*. Here it is parsed: a small machine with a closed list of
//! what it understands builds plain data, and whatever else a file names stays a name. Memory stays within a small
//! multiple of the file's size, whatever the file says: at most [`NUMBERS_PER_BYTE`] decoded number for every byte of
//! the file.

mod dtype;
mod flatten;
mod pickle;
mod torch;

use std::collections::BTreeMap;

use dtype::Dtype;

/// How many numbers a file may decode to, for each of its bytes: tensors that share one storage can be more than
/// the file holds, but not without end.
pub const NUMBERS_PER_BYTE: usize = 1;

/// A dense tensor, decoded to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    /// A tensor of this shape with these values in row-major order; `None` when their number is another.
    #[must_use]
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Option<Self> {
        (elements(&shape) == Some(values.len())).then_some(Self { shape, values })
    }

    /// The length of every dimension; none for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, the last dimension fastest.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether every value is a finite number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }
}

/// The product of the dimensions, unless it overflows.
fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
}

/// Named tensors, as a state dict holds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    tensors: BTreeMap<String, Tensor>,
}

/// Why a file gives no weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The bytes are none of the formats.
    #[error(
        "{file} is neither a PyTorch file (.pth, .pt) nor a safetensors file; save weights with \
         torch.save(net.state_dict(), ...)"
    )]
    UnknownFormat {
        /// The file's name.
        file: String,
    },
    /// The file is of a format, but not whole or not well-formed.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The file's name.
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The file is well-formed, but uses something that is not read.
    #[error("{file} cannot be read: {reason}")]
    Unsupported {
        /// The file's name.
        file: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// Making the object would run code that the file names.
    #[error(
        "{file} holds an object of `{global}`, not a state dict; loading it would run code, which blocklens never \
         does. Load it where you trust it and save its weights alone: torch.save(net.state_dict(), ...)"
    )]
    Code {
        /// The file's name.
        file: String,
        /// What would run.
        global: String,
    },
}

/// An error before it is known which file it is about.
#[derive(Debug)]
enum Problem {
    Damaged(String),
    Unsupported(String),
    Code(String),
}

impl Problem {
    fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged(reason.into())
    }

    fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    fn of(self, file: &str) -> CheckpointError {
        let file = file.to_owned();
        match self {
            Self::Damaged(reason) => CheckpointError::Damaged { file, reason },
            Self::Unsupported(reason) => CheckpointError::Unsupported { file, reason },
            Self::Code(global) => CheckpointError::Code { file, global },
        }
    }
}

/// What a zip archive begins with.
const ZIP: &[u8] = b"PK\x03\x04";

impl Checkpoint {
    /// Reads a checkpoint; `name` is what errors call the file. The format is told by the content.
    ///
    /// A state dict inside `{"state_dict": ...}`, `{"model": ...}` or the like is found; other nested dictionaries
    /// become keys with dots. The prefix `module.` of `DataParallel` is taken off.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let tensors = if bytes.starts_with(ZIP) {
            torch::read_zip(bytes)
        } else if looks_like_safetensors(bytes) {
            read_safetensors(bytes)
        } else if bytes.first() == Some(&pickle::PROTO) {
            torch::read_legacy(bytes)
        } else {
            return Err(CheckpointError::UnknownFormat {
                file: name.to_owned(),
            });
        };
        let tensors = tensors.map_err(|problem| problem.of(name))?;
        Ok(Self::from_tensors(without_module(tensors)))
    }

    /// Whether a file begins as one of the formats.
    #[must_use]
    pub fn looks_like_one(bytes: &[u8]) -> bool {
        let pickled = bytes.first() == Some(&pickle::PROTO);
        bytes.starts_with(ZIP) || pickled || looks_like_safetensors(bytes)
    }

    /// A checkpoint of these tensors; of two with one name, the last stays.
    pub fn from_tensors(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        Self {
            tensors: tensors.into_iter().collect(),
        }
    }

    /// The tensor called `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Tensor> {
        self.tensors.get(key)
    }

    /// The names of all tensors, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// How many tensors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

/// Takes off the prefix that `DataParallel` gives every key.
fn without_module(tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    const PREFIX: &str = "module.";
    if !tensors.iter().all(|(key, _)| key.starts_with(PREFIX)) {
        return tensors;
    }
    let short = |(key, tensor): (String, Tensor)| (key[PREFIX.len()..].to_owned(), tensor);
    tensors.into_iter().map(short).collect()
}

/// The longest header that the safetensors format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// The length of a JSON header, then the header. A length may begin like a pickle, but the first eight bytes of a
/// pickle are no length that is allowed.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    rest.starts_with(b"{") && u64::from_le_bytes(*length) <= LONGEST_HEADER
}

fn read_safetensors(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, Problem> {
    use safetensors::Dtype as Kind;
    let file = safetensors::SafeTensors::deserialize(bytes)
        .map_err(|e| Problem::damaged(format!("as a safetensors file: {e}")))?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Kind::F32 => Dtype::F32,
            Kind::F64 => Dtype::F64,
            Kind::F16 => Dtype::F16,
            Kind::BF16 => Dtype::BF16,
            Kind::I64 => Dtype::I64,
            Kind::I32 => Dtype::I32,
            Kind::I16 => Dtype::I16,
            Kind::I8 => Dtype::I8,
            Kind::U8 => Dtype::U8,
            Kind::BOOL => Dtype::Bool,
            other => {
                return Err(Problem::unsupported(format!(
                    "`{name}` has numbers of type {other:?}; save them as float32"
                )));
            }
        };
        let tensor = Tensor::new(view.shape().to_vec(), dtype.decode(view.data()));
        let tensor = tensor.ok_or_else(|| {
            Problem::damaged(format!("`{name}` has other numbers than its shape says"))
        })?;
        tensors.push((name.to_owned(), tensor));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests;
