//! Why a fragment cannot be used.

use super::operator::supported;

/// A fragment that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block `{block}` ({file}): {problem}")]
pub struct FragmentError {
    /// The block's name.
    pub block: String,
    /// The ONNX file that it is read from, as its space calls it.
    pub file: String,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What is wrong with a fragment, its declaration or the sizes asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are not an ONNX model.
    #[error("not an ONNX file: {0}")]
    Decode(String),
    /// The declaration contradicts itself or the file.
    #[error("the declaration does not fit: {0}")]
    Declaration(String),
    /// The model uses something that a fragment must not have.
    #[error("{what} cannot be part of a block: {remedy}")]
    Unsupported {
        /// What was found.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Operators that cannot be counted.
    #[error("these operators cannot be counted: {}; those that can: {}", .0.join(", "), supported())]
    Operators(Vec<String>),
    /// The graph contradicts itself.
    #[error("the graph is broken: {0}")]
    Graph(String),
    /// An operator does not accept its inputs.
    #[error(
        "operator {operator} `{node}`, {at}: {message} (is a size that follows the channels missing in `sizes`?)"
    )]
    Shape {
        /// The operator's type.
        operator: String,
        /// The node's name.
        node: String,
        /// The sizes asked for.
        at: String,
        /// What is wrong.
        message: String,
    },
    /// The block does not produce the shape that its place in the network needs.
    #[error(
        "{at}: the output is {found} where the place in the network needs {expected} (is a size missing in `sizes`, or \
         the padding not half the kernel?)"
    )]
    Output {
        /// The sizes asked for.
        at: String,
        /// Shape that was inferred.
        found: String,
        /// Shape that is needed.
        expected: String,
    },
    /// The block keeps its channels, and its place does not.
    #[error(
        "in-channels and out-channels are both {declared}, so the block keeps its channels and cannot stand \
         where {input} become {output}: give the unit one list of candidates for every layer (`blocks = [[...], \
         [...]]`), or, if the block can change its channels, export it with two different numbers"
    )]
    KeepsChannels {
        /// The number that stands for the channels.
        declared: u32,
        /// Channels that come in.
        input: u32,
        /// Channels that are needed.
        output: u32,
    },
    /// Data of a tensor that are in another file cannot be had.
    #[error("the data of tensor `{tensor}` are in `{file}`: {message}")]
    External {
        /// The tensor.
        tensor: String,
        /// What the ONNX file calls the other file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// The block stands at a stride that it does not have.
    #[error(
        "a stride of {0} is asked for, but the declaration has no `stride`: export the block with a stride of 2 and \
         declare it, or allow the block only where the stride is 1"
    )]
    Stride(u32),
    /// A number in a constant shape may stand for several sizes, which differ here.
    #[error(
        "the constant shape `{tensor}` has the number {number}, which may stand for {first} or for {second}: export \
         the block with other sizes ({remedy})"
    )]
    Ambiguous {
        /// The constant.
        tensor: String,
        /// The number.
        number: i64,
        /// One meaning.
        first: String,
        /// Another meaning.
        second: String,
        /// Sizes that would do.
        remedy: String,
    },
    /// Weights that belong to another instance.
    #[error("these weights belong to another block or to other sizes")]
    Weights,
    /// The graph that the block is written into has an older operator set.
    #[error("the block has operator set {fragment}, the graph that it is written into {graph}")]
    Opset {
        /// Operator set of the graph.
        graph: i64,
        /// Operator set of the block.
        fragment: i64,
    },
    /// Something is larger than this module is willing to handle.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
}

impl Problem {
    pub(super) fn of(self, block: &str, file: &str) -> FragmentError {
        FragmentError {
            block: block.to_owned(),
            file: file.to_owned(),
            problem: Box::new(self),
        }
    }

    pub(super) fn too_large(what: impl Into<String>, limit: u64) -> Self {
        Self::TooLarge {
            what: what.into(),
            limit,
        }
    }
}
