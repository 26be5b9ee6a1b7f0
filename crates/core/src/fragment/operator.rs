//! The table of operators that can be counted.

use super::facts::{Call, Fact};
use super::{einsum, elementwise as e, products as p, structure as s, windows as w};

/// What the shape of an operator's outputs follows from.
pub(super) type Infer = fn(&Call<'_>) -> Result<Vec<Fact>, String>;
/// Multiply-accumulates, given inputs and output.
pub(super) type Products = fn(&Call<'_>, &Fact) -> u64;

/// What an input of an operator is for, which says how weights for it are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Data.
    Data,
    /// Factors of a sum of products, `fan_in` of them for one result.
    Product(FanIn),
    /// A factor for each channel.
    Scale,
    /// A summand for each channel.
    Shift,
    /// Batch-norm's running mean, which is not trained.
    Mean,
    /// Batch-norm's running variance, which is not trained.
    Variance,
    /// Slope of negative numbers.
    Slope,
}

/// How many products make up one result, from the dimensions of the factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FanIn {
    /// All dimensions after the first: a convolution.
    AfterFirst,
    /// All but the second: a transposed convolution.
    AllButSecond,
    /// The last dimension: the left factor of a matrix product.
    Last,
    /// The last dimension but one: the right factor of a matrix product.
    LastButOne,
    /// The right factor of `Gemm`, which may be transposed.
    Gemm,
    /// The indices of an `Einsum` that its result does not have.
    Summed,
}

/// What an operator needs of memory beside its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// A new tensor.
    Fresh,
    /// None, where the input is not needed any more: an activation function.
    InPlace,
    /// None, and nothing is moved: the same numbers under another shape.
    View,
}

/// One kind of operator.
#[derive(Debug)]
pub(super) struct Operator {
    pub name: &'static str,
    /// First operator set that has it.
    pub since: i64,
    /// Fewest and most inputs.
    pub arity: (usize, usize),
    pub infer: Infer,
    pub products: Products,
    pub memory: Memory,
    /// Roles of the inputs; those beyond are [`Role::Data`].
    pub roles: &'static [Role],
    /// Inputs that hold sizes.
    pub sizes: &'static [usize],
    /// How many leading inputs hold sizes where the output does.
    pub passes_sizes: usize,
    /// Whether its strides may be the block's stride.
    pub strided: bool,
}

const ANY: usize = 256;

const fn op(name: &'static str, fewest: usize, most: usize, infer: Infer) -> Operator {
    Operator {
        name,
        since: 11,
        arity: (fewest, most),
        infer,
        products: p::none,
        memory: Memory::Fresh,
        roles: &[],
        sizes: &[],
        passes_sizes: 0,
        strided: false,
    }
}

/// A function of each element.
const fn unary(name: &'static str) -> Operator {
    Operator {
        memory: Memory::InPlace,
        ..op(name, 1, 1, e::same)
    }
}

const fn reduce(name: &'static str) -> Operator {
    op(name, 1, 2, s::reduce)
}

impl Operator {
    const fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }
    const fn inputs(self, fewest: usize, most: usize) -> Self {
        Self {
            arity: (fewest, most),
            ..self
        }
    }
    const fn products(self, products: Products) -> Self {
        Self { products, ..self }
    }
    const fn view(self) -> Self {
        Self {
            memory: Memory::View,
            ..self
        }
    }
    const fn roles(self, roles: &'static [Role]) -> Self {
        Self { roles, ..self }
    }
    const fn sizes(self, sizes: &'static [usize]) -> Self {
        Self { sizes, ..self }
    }
    const fn passes(self, passes_sizes: usize) -> Self {
        Self {
            passes_sizes,
            ..self
        }
    }
    const fn strided(self) -> Self {
        Self {
            strided: true,
            ..self
        }
    }

    /// Whether it multiplies its input with weights: a convolution, a matrix product.
    pub fn multiplies(&self) -> bool {
        let weight = |role: &Role| matches!(role, Role::Product(_) | Role::Slope);
        self.roles.iter().any(weight)
    }

    /// Whether it normalises.
    pub fn normalises(&self) -> bool {
        self.name.ends_with("Normalization")
    }

    /// What input `index` is for.
    pub fn role(&self, index: usize) -> Role {
        self.roles.get(index).copied().unwrap_or(Role::Data)
    }
}

const CONV: &[Role] = &[Role::Data, Role::Product(FanIn::AfterFirst), Role::Shift];
const CONV_TRANSPOSE: &[Role] = &[Role::Data, Role::Product(FanIn::AllButSecond), Role::Shift];
const GEMM: &[Role] = &[
    Role::Product(FanIn::Last),
    Role::Product(FanIn::Gemm),
    Role::Shift,
];
const MATMUL: &[Role] = &[Role::Product(FanIn::Last), Role::Product(FanIn::LastButOne)];
const EINSUM: &[Role] = &[Role::Product(FanIn::Summed), Role::Product(FanIn::Summed)];
const BATCH_NORM: &[Role] = &[
    Role::Data,
    Role::Scale,
    Role::Shift,
    Role::Mean,
    Role::Variance,
];
const NORM: &[Role] = &[Role::Data, Role::Scale, Role::Shift];
const SLOPE: &[Role] = &[Role::Data, Role::Slope];
const FACTOR: &[Role] = &[Role::Scale, Role::Scale];
const SUMMAND: &[Role] = &[Role::Shift, Role::Shift];

/// Every operator that can be counted. Definitions: ONNX operator sets 11 to 23.
static OPERATORS: &[Operator] = &[
    // Sums of products.
    op("Conv", 2, 3, w::conv)
        .products(p::conv)
        .roles(CONV)
        .strided(),
    op("ConvTranspose", 2, 3, w::conv_transpose)
        .products(p::conv_transpose)
        .roles(CONV_TRANSPOSE),
    op("Gemm", 2, 3, p::gemm)
        .products(p::gemm_products)
        .roles(GEMM),
    op("MatMul", 2, 2, p::matmul)
        .products(p::matmul_products)
        .roles(MATMUL),
    op("Einsum", 1, 2, einsum::einsum)
        .products(einsum::products)
        .roles(EINSUM)
        .since(12),
    // Normalisation.
    op("BatchNormalization", 5, 5, e::batch_norm).roles(BATCH_NORM),
    op("InstanceNormalization", 3, 3, e::instance_norm).roles(NORM),
    op("LayerNormalization", 2, 3, e::layer_norm)
        .roles(NORM)
        .since(17),
    op("GroupNormalization", 3, 3, e::group_norm)
        .roles(NORM)
        .since(18),
    op("RMSNormalization", 2, 2, e::layer_norm)
        .roles(NORM)
        .since(23),
    op("LpNormalization", 1, 1, e::same),
    op("Softmax", 1, 1, e::softmax),
    op("LogSoftmax", 1, 1, e::softmax),
    // Functions of each element.
    unary("Relu"),
    unary("LeakyRelu"),
    unary("PRelu").inputs(2, 2).roles(SLOPE),
    unary("Elu"),
    unary("Selu"),
    unary("Celu").since(12),
    unary("Gelu").since(20),
    unary("Erf"),
    unary("Sigmoid"),
    unary("Tanh"),
    unary("HardSigmoid"),
    unary("HardSwish").since(14),
    unary("Softplus"),
    unary("Softsign"),
    unary("Mish").since(18),
    unary("ThresholdedRelu"),
    unary("Clip").inputs(1, 3),
    unary("Exp"),
    unary("Log"),
    unary("Sqrt"),
    unary("Reciprocal"),
    unary("Abs"),
    unary("Neg"),
    unary("Floor"),
    unary("Ceil"),
    unary("Round"),
    unary("Sign"),
    unary("Sin"),
    unary("Cos"),
    op("Cast", 1, 1, e::cast).passes(1),
    op("CastLike", 2, 2, e::cast_like).passes(1).since(15),
    // Functions of several tensors, element by element.
    op("Pow", 2, 2, e::broadcast),
    op("Add", 2, 2, e::broadcast).roles(SUMMAND).passes(2),
    op("Sub", 2, 2, e::broadcast).roles(SUMMAND).passes(2),
    op("Mul", 2, 2, e::broadcast).roles(FACTOR).passes(2),
    op("Div", 2, 2, e::broadcast).roles(FACTOR).passes(2),
    op("Max", 1, ANY, e::broadcast),
    op("Min", 1, ANY, e::broadcast),
    op("Sum", 1, ANY, e::broadcast).roles(SUMMAND),
    op("Mean", 1, ANY, e::broadcast),
    op("Where", 3, 3, e::choose),
    op("Equal", 2, 2, e::compare),
    op("Greater", 2, 2, e::compare),
    op("GreaterOrEqual", 2, 2, e::compare).since(12),
    op("Less", 2, 2, e::compare),
    op("LessOrEqual", 2, 2, e::compare).since(12),
    // Other shapes of the same numbers.
    op("Identity", 1, 1, e::identity).view().passes(1),
    op("Dropout", 1, 3, e::dropout).view(),
    op("Reshape", 2, 2, s::reshape).view().sizes(&[1]).passes(1),
    op("Flatten", 1, 1, s::flatten).view(),
    op("Squeeze", 1, 2, s::squeeze).view().passes(1),
    op("Unsqueeze", 2, 2, s::unsqueeze).view().passes(1),
    // Moving numbers.
    op("Concat", 1, ANY, s::concat).passes(ANY),
    op("Split", 1, 2, s::split).sizes(&[1]),
    op("Slice", 3, 5, s::slice).sizes(&[1, 2]).passes(1),
    op("Transpose", 1, 1, s::transpose),
    op("Expand", 2, 2, s::expand).sizes(&[1]),
    op("Tile", 2, 2, s::tile),
    op("Pad", 2, 4, s::pad).sizes(&[1]),
    op("Gather", 2, 2, s::gather).passes(1),
    op("DepthToSpace", 1, 1, s::depth_to_space),
    op("SpaceToDepth", 1, 1, s::space_to_depth),
    op("Resize", 1, 4, s::resize).sizes(&[3]),
    // Windows and reductions.
    op("GlobalAveragePool", 1, 1, w::global_pool),
    op("GlobalMaxPool", 1, 1, w::global_pool),
    op("AveragePool", 1, 1, w::pool).strided(),
    op("MaxPool", 1, 1, w::pool).strided(),
    reduce("ReduceMean"),
    reduce("ReduceSum"),
    reduce("ReduceMax"),
    reduce("ReduceMin"),
    reduce("ReduceL1"),
    reduce("ReduceL2"),
    reduce("ReduceSumSquare"),
    reduce("ReduceLogSumExp"),
    reduce("ReduceProd"),
    // Shapes as values.
    op("Shape", 1, 1, s::shape),
    op("ConstantOfShape", 1, 1, s::constant_of_shape).sizes(&[0]),
];

/// The operator called `name`.
pub(super) fn find(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

/// The names of all operators.
pub(super) fn names() -> Vec<&'static str> {
    OPERATORS.iter().map(|operator| operator.name).collect()
}

/// The names of all operators, for errors.
pub(super) fn supported() -> String {
    format!("Constant, {}", names().join(", "))
}
