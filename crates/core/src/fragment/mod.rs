//! Blocks of the user's own: ONNX files with one input and one output.
//!
//! ONNX files have fixed shapes, but a block stands at many places of a network, with other channels,
//! strides and image sizes. So the block is exported once, with *probe sizes* that occur nowhere else in
//! it, and a [`Declaration`] says what each of them stands for:
//!
//! ```toml
//! in-channels = 10
//! out-channels = 14
//! stride = 2                       # strides of [2, 2] stand for the stride of the place
//! sizes = { 60 = "6 * in" }        # further sizes that follow the channels
//! ```
//!
//! [`Fragment::parse`] checks file and declaration; [`Fragment::instantiate`] puts the sizes of a place
//! where the probe sizes stood (dimensions of weights, numbers of groups, constant shapes, `strides`) and infers
//! every shape. Rows and columns in constant shapes follow the image by themselves. The resulting
//! [`Instance`] knows its costs, draws weights and is written into ONNX files.
//!
//! What is counted follows [`crate::network::cost()`]:
//!
//! - *Multiply-accumulates* are the products of `Conv`, `ConvTranspose`, `Gemm` and `MatMul`.
//! - *Parameters* are the tensors of floats with at least one dimension that an operator reads as its weights,
//!   wherever they are stored (initialisers, `Constant` operators, other files), except batch-norm's running mean
//!   and variance and the inputs of `Resize`. What is added to or multiplied with other tensors element by element
//!   is a parameter as an initialiser, and in a `Constant` operator where its dimensions follow the channels. Ones
//!   and zeros that a `Constant` gives to a normalisation, or such a factor or sum, are none.
//!   Numbers without dimensions and integers are constants, not parameters. An `Identity` of a weight is a weight
//!   of its own: exporters write weights with equal numbers so.
//! - Numbers of 16 or 64 bits are read as float32, and casts between precisions do nothing: blocks are counted,
//!   written and run in float32, as the networks around them are.
//! - *Traffic* is what operators read of activations and parameters plus what they write. Operators that
//!   depend on weights or shapes alone are carried out when a network is loaded and cost nothing; those
//!   that only give a tensor another shape (`Reshape`, `Identity`, ...) move nothing.
//! - *Peak activation memory*: operators one after the other, tensors freed after their last use;
//!   functions of each element and changes of shape work in place where their input is not needed any more.

mod attributes;
mod canonical;
mod count;
mod decode;
mod einsum;
mod elementwise;
pub(crate) mod emit;
mod error;
mod external;
mod facts;
mod formula;
mod functions;
mod instance;
mod operator;
mod products;
mod sizes;
mod structure;
mod tensors;
#[cfg(test)]
mod tests;
mod weights;
mod windows;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use prost::bytes::Bytes;

pub(crate) use emit::Place;
pub use error::{FragmentError, Problem};
pub use external::{external_files, with_external_data};
pub use formula::{Formula, FormulaError};
pub use instance::{Instance, WeightTensor};
pub use weights::FragmentWeights;

use crate::seed::Seed;
use crate::shape::Shape;
use decode::Source;
use sizes::Sizes;
use tensors::Data;

/// Largest number of channels that a formula may give.
const MAX_CHANNELS: u32 = sizes::MAX_EXTENT;
/// Rows and columns that a file is tried with where it leaves them open.
const TRIAL_IMAGE: u64 = 32;

/// What the sizes in a fragment's file stand for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Declaration {
    /// The number that stands for the input channels.
    pub in_channels: u32,
    /// The number that stands for the output channels. That of the input channels says that the block keeps
    /// them by construction, as a channel shuffle or pooling does: it stands only where channels stay.
    pub out_channels: u32,
    /// Strides of this number in both directions, and such steps of slices, stand for the stride of the
    /// place; without it, the block stands only at places with stride 1.
    pub stride: Option<u32>,
    /// Further numbers that follow the channels.
    pub sizes: BTreeMap<u32, Formula>,
    /// Whether the input is added to the output where both have one shape.
    pub skip: bool,
}

impl Declaration {
    /// Whether input and output channels are one number, so that the block stands only where channels stay.
    #[must_use]
    pub fn keeps_channels(&self) -> bool {
        self.in_channels == self.out_channels
    }
}

/// A block that can be put into networks. Cloning is cheap; equality is that of name, file and
/// declaration.
#[derive(Clone)]
pub struct Fragment(Arc<Parsed>);

struct Parsed {
    name: String,
    file: String,
    bytes: Bytes,
    declaration: Declaration,
    digest: u64,
    source: Source,
    /// Which values of the source hold sizes.
    sizes: Vec<bool>,
}

impl Fragment {
    /// Reads the ONNX file of a block and checks it against its declaration; `file` is what errors call the file.
    ///
    /// # Errors
    /// [`FragmentError`] for bytes that are no ONNX file, a graph with more than one input or output,
    /// operators that cannot be counted, a declaration that does not fit, or shapes that do not fit at
    /// the sizes of the file itself.
    pub fn parse(
        name: &str,
        file: &str,
        bytes: impl Into<Vec<u8>>,
        declaration: Declaration,
    ) -> Result<Self, FragmentError> {
        let bytes = Bytes::from(bytes.into());
        let parse = || {
            let source = decode::decode(&bytes)?;
            let sizes = sizes::size_values(&source);
            sizes::check(&source, &sizes, &declaration)?;
            Ok((source, sizes))
        };
        let (source, sizes) = parse().map_err(|problem: Problem| problem.of(name, file))?;
        let digest = digest(name, &bytes, &declaration);
        let fragment = Self(Arc::new(Parsed {
            name: name.to_owned(),
            file: file.to_owned(),
            bytes,
            declaration,
            digest,
            source,
            sizes,
        }));
        fragment.try_at_its_own_sizes()?;
        Ok(fragment)
    }

    /// That the shapes fit at the sizes of the file, and that no constant shape is ambiguous.
    fn try_at_its_own_sizes(&self) -> Result<(), FragmentError> {
        let (declaration, source) = (self.declaration(), self.source());
        let [height, width] = source
            .image
            .map(|n| u32::try_from(n.unwrap_or(TRIAL_IMAGE)).unwrap_or(u32::MAX));
        let input = Shape {
            channels: declaration.in_channels,
            height,
            width,
        };
        let stride = declaration.stride.unwrap_or(1);
        let outputs = declaration.out_channels;
        let check = || {
            let sizes = Sizes::new(source, declaration, input, outputs, stride)?;
            for constant in &source.constants {
                if let (Data::Int(numbers), true) = (&constant.data, self.0.sizes[constant.value]) {
                    sizes.check_shape(source, &source.values[constant.value], numbers)?;
                }
            }
            Ok(())
        };
        check().map_err(|problem: Problem| self.error(problem))?;
        self.instantiate(input, outputs, stride).map(|_| ())
    }

    /// The block at a place of a network: for an input of this shape, with this many output channels
    /// and this stride. The output has ceil(rows / stride) x ceil(columns / stride) pixels.
    ///
    /// # Errors
    /// [`FragmentError`] where the block cannot stand: at a stride that it does not declare, or where
    /// shapes inside or the output's shape do not fit.
    pub fn instantiate(
        &self,
        input: Shape,
        out_channels: u32,
        stride: u32,
    ) -> Result<Instance, FragmentError> {
        Instance::new(self, input, out_channels, stride).map_err(|problem| self.error(problem))
    }

    fn error(&self, problem: Problem) -> FragmentError {
        problem.of(self.name(), &self.0.file)
    }

    /// The block's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The file that it was read from.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What the sizes in the file stand for.
    #[must_use]
    pub fn declaration(&self) -> &Declaration {
        &self.0.declaration
    }

    /// ONNX operator set of the file.
    #[must_use]
    pub fn opset(&self) -> i64 {
        self.source().opset
    }

    /// A short name for (name, file, declaration), enough to notice a change.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("{:016x}", self.0.digest)
    }

    fn source(&self) -> &Source {
        &self.0.source
    }
}

/// 64 bits that depend on every byte.
fn digest(name: &str, bytes: &[u8], declaration: &Declaration) -> u64 {
    let start = Seed(bytes.len() as u64)
        .stream(name)
        .stream(&format!("{declaration:?}"));
    let word = |chunk: &[u8]| {
        chunk
            .iter()
            .fold(0_u64, |word, &byte| word << 8 | u64::from(byte))
    };
    bytes
        .chunks(8)
        .fold(start, |seed, chunk| seed.index(word(chunk)))
        .0
}

impl PartialEq for Fragment {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        Arc::ptr_eq(&self.0, &other.0)
            || (a.digest == b.digest
                && a.name == b.name
                && a.declaration == b.declaration
                && a.bytes == b.bytes)
    }
}

impl Eq for Fragment {}

impl Hash for Fragment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fragment({} {})", self.name(), self.digest())
    }
}
