//! Networks: the concrete graph of an architecture at its resolution.
//!
//! A [`Network`] is a list of operators in execution order, each with its output shape and with the
//! place of the design space that it came from. It carries no weights: [`Weights`] are drawn (or, for a
//! trained supernet, sliced) separately, and [`onnx`] joins both into a file.

mod build;
mod cost;
mod cost_table;
mod initial;
mod main_path;
pub mod onnx;
mod parts;
pub mod run;
mod statistics;
pub mod tflite;
mod weights;

pub use crate::shape::Shape;
pub use cost::{NetworkCost, cost};
pub use cost_table::CostTable;
pub use initial::Init;
pub use parts::Part;
pub use statistics::{BatchStatistics, Pooling, pooled};
pub use weights::{BatchNorm, NodeWeights, UnfoldedWeights, Weights};

use crate::fragment::Instance;
use crate::space::{Activation, BlockId, Placement};

/// A tensor of a network: 0 is the input, `i + 1` the output of node `i`.
pub type TensorId = usize;

/// What a convolution adds after its products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bias {
    /// Nothing.
    None,
    /// A trained bias.
    Plain,
    /// Batch-norm, folded into weights and bias when weights are made.
    BatchNorm,
}

/// Padding before and behind one side of windows: `kernel / 2` where the kernel is odd, and has a centre; where it is
/// even, what ceil(side / stride) windows need, the smaller half of it before (TensorFlow's `SAME`), so that windows
/// side by side have none.
pub(crate) fn padding(kernel: u32, stride: u32, side: u32) -> [u32; 2] {
    if kernel % 2 == 1 {
        return [kernel / 2; 2];
    }
    let last = side.div_ceil(stride).saturating_sub(1) * stride;
    let total = (last + kernel).saturating_sub(side);
    [total / 2, total.div_ceil(2)]
}

/// A two-dimensional convolution with a square kernel, padded so that it gives ceil(side / stride) numbers for each
/// side: by `kernel / 2` everywhere where the kernel is odd, else as TensorFlow's `SAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Input channels.
    pub in_channels: u32,
    /// Output channels.
    pub out_channels: u32,
    /// Kernel width and height.
    pub kernel: u32,
    /// Stride in both directions.
    pub stride: u32,
    /// Groups; equal to the channels for a depthwise convolution.
    pub groups: u32,
    /// What is added after the products.
    pub bias: Bias,
}

impl Conv {
    /// Shape of the weights: output channels, input channels per group, kernel, kernel.
    #[must_use]
    pub fn weight_shape(&self) -> [u32; 4] {
        [
            self.out_channels,
            self.in_channels / self.groups,
            self.kernel,
            self.kernel,
        ]
    }
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Convolution.
    Conv(Conv),
    /// Element-wise non-linearity.
    Activation(Activation),
    /// Mean over height and width.
    GlobalAveragePool,
    /// Maximum over square windows, padded as convolutions are.
    MaxPool {
        /// Side of the window.
        kernel: u32,
        /// Stride in both directions.
        stride: u32,
    },
    /// Mean over square windows side by side; windows that reach over the edge take the mean of what is
    /// inside (PyTorch's `ceil_mode` without padding).
    AveragePool {
        /// Side of the window, and the stride.
        size: u32,
    },
    /// Sum of two tensors of one shape.
    Add,
    /// Product of a tensor and a per-channel factor (channels x 1 x 1).
    Scale,
    /// Flatten, matrix product and bias.
    Linear {
        /// Length of the input.
        inputs: u32,
        /// Length of the output.
        outputs: u32,
    },
    /// A block of the user's own: many operators, seen as one.
    Fragment(Instance),
}

/// Where in the design space a node comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The stem or the head: the same in every architecture.
    Fixed,
    /// The block at this placement.
    Choice(Placement, BlockId),
}

/// One operator of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique, stable name, such as `unit2.layer1.depthwise`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Which tensors it reads, in the operator's order.
    pub inputs: Vec<TensorId>,
    /// Shape of what it produces.
    pub output: Shape,
    /// Where it comes from.
    pub origin: Origin,
}

/// The concrete graph of an architecture: operators with shapes, in execution order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    input: Shape,
    nodes: Vec<Node>,
}

impl Network {
    /// A network that hands its input on.
    pub(crate) fn empty(input: Shape) -> Self {
        Self {
            input,
            nodes: Vec::new(),
        }
    }

    /// This network and another one behind it, which takes what this one gives.
    pub(crate) fn then(mut self, next: &Self) -> Self {
        let offset = self.nodes.len();
        self.nodes.extend(next.nodes.iter().map(|node| Node {
            name: format!("then{offset}.{}", node.name),
            inputs: node.inputs.iter().map(|input| input + offset).collect(),
            ..node.clone()
        }));
        self
    }

    /// Shape of the input image (3 channels).
    #[must_use]
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The operators in execution order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Shape of a tensor.
    ///
    /// # Panics
    /// When the tensor does not exist.
    #[must_use]
    pub fn shape(&self, tensor: TensorId) -> Shape {
        match tensor.checked_sub(1) {
            None => self.input,
            Some(node) => self.nodes[node].output,
        }
    }

    /// Shape of the network's output (the logits).
    #[must_use]
    pub fn output(&self) -> Shape {
        self.shape(self.nodes.len())
    }
}
