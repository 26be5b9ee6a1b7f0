//! Stored tensors: one type of numbers for each purpose, whatever the file has.

use half::{bf16, f16};

use super::decode::{MAX_FILE, MAX_RANK, short, unsupported};
use super::error::Problem;
use super::external;
use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::DataType;

/// Contents of a tensor, row by row.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Numbers of any precision, as float32.
    Float(std::sync::Arc<[f32]>),
    /// Whole numbers, as int64.
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }
}

/// The type that stands for a type of the file: float32 for numbers of any precision, int64 for whole numbers.
pub(super) fn canonical_type(kind: i64) -> i64 {
    let kind_of = |number: i64| i32::try_from(number).ok().map(DataType::try_from);
    match kind_of(kind) {
        Some(Ok(DataType::Float16 | DataType::Bfloat16 | DataType::Double)) => {
            i64::from(DataType::Float as i32)
        }
        Some(Ok(DataType::Int32)) => i64::from(DataType::Int64 as i32),
        _ => kind,
    }
}

/// Dimensions and contents of a stored tensor.
pub(super) fn tensor_data(tensor: &TensorProto) -> Result<(Vec<u64>, Data), Problem> {
    if external::is_external(tensor) {
        return Err(unsupported(
            format!(
                "tensor `{}`, whose data are in the file {}, which was not read with it,",
                short(tensor.name()),
                short(external::location(tensor))
            ),
            "put that file beside the block's, or export with `external_data=False`",
        ));
    }
    if tensor.segment.is_some() {
        return Err(unsupported("a tensor in segments", "store it in one piece"));
    }
    let (dims, elements) = dimensions(tensor)?;
    let data = contents(tensor)?;
    if data.len() as u64 == elements {
        Ok((dims, data))
    } else {
        Err(broken("its dimensions and its data have different sizes"))
    }
}

fn broken(what: &str) -> Problem {
    Problem::Graph(what.to_owned())
}

/// The dimensions, and how many numbers they make.
fn dimensions(tensor: &TensorProto) -> Result<(Vec<u64>, u64), Problem> {
    if tensor.dims.len() > MAX_RANK {
        return Err(broken("it has too many dimensions"));
    }
    let mut elements = 1_u64;
    let mut dims = Vec::with_capacity(tensor.dims.len());
    for &dim in &tensor.dims {
        let dim = u64::try_from(dim).map_err(|_| broken("a dimension is negative"))?;
        elements = elements
            .checked_mul(dim)
            .filter(|&n| n <= MAX_FILE as u64)
            .ok_or_else(|| broken("its dimensions are larger than its data"))?;
        dims.push(dim);
    }
    Ok((dims, elements))
}

fn contents(tensor: &TensorProto) -> Result<Data, Problem> {
    let raw = tensor.raw_data.as_deref().filter(|raw| !raw.is_empty());
    // Numbers of 16 bits without raw data stand in the lower halves of 32-bit ones.
    let lower = || tensor.int32_data.iter().map(|&n| lower_half(n));
    Ok(match (DataType::try_from(tensor.data_type()), raw) {
        (Ok(DataType::Float), None) => Data::Float(tensor.float_data.as_slice().into()),
        (Ok(DataType::Float), Some(raw)) => {
            Data::Float(chunks(raw)?.map(f32::from_le_bytes).collect())
        }
        (Ok(DataType::Float16), None) => {
            Data::Float(lower().map(|n| f16::from_bits(n).to_f32()).collect())
        }
        (Ok(DataType::Float16), Some(raw)) => Data::Float(
            chunks(raw)?
                .map(|b| f16::from_le_bytes(b).to_f32())
                .collect(),
        ),
        (Ok(DataType::Bfloat16), None) => {
            Data::Float(lower().map(|n| bf16::from_bits(n).to_f32()).collect())
        }
        (Ok(DataType::Bfloat16), Some(raw)) => Data::Float(
            chunks(raw)?
                .map(|b| bf16::from_le_bytes(b).to_f32())
                .collect(),
        ),
        (Ok(DataType::Double), None) => {
            Data::Float(tensor.double_data.iter().map(|&x| single(x)).collect())
        }
        (Ok(DataType::Double), Some(raw)) => Data::Float(
            chunks(raw)?
                .map(|b| single(f64::from_le_bytes(b)))
                .collect(),
        ),
        (Ok(DataType::Int64), None) => Data::Int(tensor.int64_data.clone()),
        (Ok(DataType::Int64), Some(raw)) => {
            Data::Int(chunks(raw)?.map(i64::from_le_bytes).collect())
        }
        (Ok(DataType::Int32), None) => {
            Data::Int(tensor.int32_data.iter().map(|&n| n.into()).collect())
        }
        (Ok(DataType::Int32), Some(raw)) => {
            Data::Int(chunks(raw)?.map(|b| i32::from_le_bytes(b).into()).collect())
        }
        (Ok(DataType::Bool), None) => {
            Data::Bool(tensor.int32_data.iter().map(|&b| b != 0).collect())
        }
        (Ok(DataType::Bool), Some(raw)) => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
        (kind, _) => return Err(unknown_type(tensor, kind.ok())),
    })
}

fn unknown_type(tensor: &TensorProto, kind: Option<DataType>) -> Problem {
    let kind = kind.map_or_else(
        || tensor.data_type().to_string(),
        |kind| kind.as_str_name().to_owned(),
    );
    unsupported(
        format!(
            "tensor `{}`, whose numbers have the type {kind},",
            short(tensor.name())
        ),
        "weights are float32, float16, bfloat16 or double, shapes int64 or int32",
    )
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn lower_half(number: i32) -> u16 {
    number as u16
}

#[allow(clippy::cast_possible_truncation)]
fn single(number: f64) -> f32 {
    number as f32
}

fn chunks<const N: usize>(raw: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, Problem> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if rest.is_empty() {
        Ok(chunks.iter().copied())
    } else {
        Err(Problem::Graph("its data end within a number".to_owned()))
    }
}
