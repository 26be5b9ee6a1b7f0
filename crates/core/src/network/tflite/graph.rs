//! A TFLite graph before it is written: tensors, operators, and where quantised ranges come from.

use crate::network::TensorId;

/// Index of a tensor in a [`Graph`].
pub(super) type Index = usize;

/// The numbers of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I8(Vec<i8>),
}

/// The type of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    I8,
}

/// real = scale * (stored - zero point), for the whole tensor or by index of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantization {
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    pub dimension: i32,
}

/// Where the range of an activation is known from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Range {
    /// From calibration of a tensor of the network.
    Observed(TensorId),
    /// From the operator that makes it.
    Fixed(f32, f32),
    /// The operator asks for the scale of another tensor.
    As(Index),
    /// The scale that TFLite prescribes for the logistic function: 1/256, zero point -128.
    Logistic,
}

/// What stands behind a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Activation { element: Element, range: Range },
    Constant { data: Data, role: Role },
}

/// How a constant is quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Per index of a dimension, symmetric.
    Weights { dimension: usize },
    /// With the scales of an input and of weights.
    Bias { input: Index, weights: Index },
    /// A number that an activation meets.
    Scalar,
    /// The lowest number, in the scale of an activation.
    Lowest { like: Index },
    /// Never: sizes and axes.
    Sizes,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub name: String,
    pub shape: Vec<i32>,
    pub content: Content,
    pub quantization: Option<Quantization>,
}

/// Operators, by their codes in the schema (`BuiltinOperator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Builtin {
    Add = 0,
    AveragePool2d = 1,
    Conv2d = 3,
    DepthwiseConv2d = 4,
    Dequantize = 6,
    FullyConnected = 9,
    Logistic = 14,
    MaxPool2d = 17,
    Mul = 18,
    Relu = 19,
    Relu6 = 21,
    Reshape = 22,
    Pad = 34,
    Mean = 40,
    PadV2 = 60,
    Quantize = 114,
    HardSwish = 117,
}

impl Builtin {
    /// The version of the operator that takes int8.
    pub(super) fn int8_version(self) -> i32 {
        match self {
            Self::FullyConnected => 4,
            Self::Conv2d | Self::DepthwiseConv2d => 3,
            Self::Quantize | Self::HardSwish | Self::Reshape => 1,
            _ => 2,
        }
    }
}

/// What an operator does to its result (`ActivationFunctionType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Fused {
    #[default]
    None = 0,
    Relu = 1,
    Relu6 = 3,
}

/// `Padding` of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Padding {
    Same = 0,
    Valid = 1,
}

/// The options of operators that have any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Options {
    None,
    /// Of full and depthwise convolutions.
    Conv {
        padding: Padding,
        stride: i32,
        fused: Fused,
    },
    Pool {
        padding: Padding,
        stride: i32,
        filter: i32,
    },
    /// Of additions, products and matrix products.
    Fused(Fused),
    /// Of means: the dimensions stay.
    KeepDims,
    Reshape(Vec<i32>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operator {
    pub code: Builtin,
    pub inputs: Vec<Index>,
    pub output: Index,
    pub options: Options,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Graph {
    pub tensors: Vec<Tensor>,
    pub operators: Vec<Operator>,
    pub input: Index,
    pub output: Index,
}

impl Graph {
    pub(super) fn add(&mut self, name: String, shape: Vec<i32>, content: Content) -> Index {
        self.tensors.push(Tensor {
            name,
            shape,
            content,
            quantization: None,
        });
        self.tensors.len() - 1
    }

    pub(super) fn constant(
        &mut self,
        name: String,
        shape: Vec<i32>,
        data: Data,
        role: Role,
    ) -> Index {
        self.add(name, shape, Content::Constant { data, role })
    }
}
