//! What is known about a tensor before a network runs, and what an operator sees of its inputs.

use super::attributes::Attributes;
use super::decode::{Constant, MAX_RANK};
use super::tensors::Data;

/// Most numbers of a constant whose values are followed: shapes are short.
pub(super) const MAX_KNOWN: usize = 256;
/// Most elements of a tensor.
pub(super) const MAX_ELEMENTS: u64 = 1 << 32;

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Float,
    Int,
    Bool,
}

impl Element {
    pub fn bytes(self) -> u64 {
        match self {
            Self::Float => 4,
            Self::Int => 8,
            Self::Bool => 1,
        }
    }
}

/// Where a tensor's contents come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Fixed numbers that nobody trains, and shapes.
    Constant,
    /// Weights, or what follows from weights alone.
    Parameter,
    /// Computed from the block's input.
    Activation,
}

/// Small contents that shapes depend on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    Ints(Vec<i64>),
    Floats(Vec<f32>),
}

/// What is known about a tensor.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub element: Element,
    pub dims: Vec<u64>,
    pub known: Option<Known>,
    pub source: Source,
}

impl Fact {
    pub fn new(element: Element, dims: Vec<u64>) -> Self {
        Self {
            element,
            dims,
            known: None,
            source: Source::Activation,
        }
    }

    pub fn float(dims: Vec<u64>) -> Self {
        Self::new(Element::Float, dims)
    }

    /// A list of integers, or a single one when `scalar`.
    pub fn ints(values: Vec<i64>, scalar: bool) -> Self {
        let dims = if scalar {
            vec![]
        } else {
            vec![values.len() as u64]
        };
        Self {
            known: (values.len() <= MAX_KNOWN).then_some(Known::Ints(values)),
            ..Self::new(Element::Int, dims)
        }
    }

    /// What is known about a stored tensor of these dimensions.
    pub fn constant(constant: &Constant, dims: Vec<u64>, ints: Option<&[i64]>) -> Self {
        let (element, known) = match &constant.data {
            Data::Float(v) if v.len() <= MAX_KNOWN => {
                (Element::Float, Some(Known::Floats(v.to_vec())))
            }
            Data::Float(_) => (Element::Float, None),
            Data::Int(v) => {
                let v = ints.unwrap_or(v);
                let known = (v.len() <= MAX_KNOWN).then(|| Known::Ints(v.to_vec()));
                (Element::Int, known)
            }
            Data::Bool(_) => (Element::Bool, None),
        };
        Self {
            element,
            dims,
            known,
            source: Source::Constant,
        }
    }

    /// How many elements it has. Facts in the inference have been checked by [`Fact::check`].
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    pub fn bytes(&self) -> u64 {
        self.elements() * self.element.bytes()
    }

    pub fn known_ints(&self) -> Option<&[i64]> {
        match &self.known {
            Some(Known::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// That it is of a size that can be handled.
    pub fn check(&self) -> Result<(), String> {
        if self.dims.len() > MAX_RANK {
            return Err(format!("the result has {} dimensions", self.dims.len()));
        }
        let elements = self.dims.iter().try_fold(1_u64, |n, &d| {
            n.checked_mul(d).filter(|&n| n <= MAX_ELEMENTS)
        });
        match elements {
            None => Err(format!(
                "the result {} has more than {MAX_ELEMENTS} elements",
                written(&self.dims)
            )),
            Some(0) if self.known.is_none() => {
                Err(format!("the result {} is empty", written(&self.dims)))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Dimensions as errors write them.
pub(super) fn written(dims: &[u64]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// An operator with what is known about its inputs.
pub(super) struct Call<'a> {
    pub opset: i64,
    pub attributes: &'a Attributes,
    pub inputs: Vec<Option<&'a Fact>>,
    pub outputs: usize,
}

impl<'a> Call<'a> {
    pub fn optional(&self, index: usize) -> Option<&'a Fact> {
        self.inputs.get(index).copied().flatten()
    }

    pub fn input(&self, index: usize) -> Result<&'a Fact, String> {
        self.optional(index)
            .ok_or_else(|| format!("input {} is missing", index + 1))
    }

    /// The first input, with at least `rank` dimensions.
    pub fn ranked(&self, rank: usize) -> Result<&'a Fact, String> {
        let input = self.input(0)?;
        if input.dims.len() < rank {
            return Err(format!(
                "the input {} needs at least {rank} dimensions",
                written(&input.dims)
            ));
        }
        Ok(input)
    }

    /// The integers of an input, which must follow from constants and shapes.
    pub fn sizes(&self, index: usize) -> Result<&'a [i64], String> {
        self.input(index)?.known_ints().ok_or_else(|| {
            format!(
                "input {} must be a short list of integers known in advance",
                index + 1
            )
        })
    }

    /// As [`Call::sizes`], of an input that may be left out.
    pub fn optional_sizes(&self, index: usize) -> Result<Option<&'a [i64]>, String> {
        self.optional(index).map(|_| self.sizes(index)).transpose()
    }

    /// An axis given by an attribute, counted from 0.
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, String> {
        axis(self.attributes.int(name, default), rank)
    }
}

/// An axis counted from 0; negative ones count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let rank = i64::try_from(rank).unwrap_or(0);
    let counted = if axis < 0 {
        axis.saturating_add(rank)
    } else {
        axis
    };
    if !(0..rank).contains(&counted) {
        return Err(format!("axis {axis} does not exist among {rank}"));
    }
    usize::try_from(counted).map_err(|e| e.to_string())
}
