//! What every ONNX file here has in common: operator set, version and the description of tensors.

#[allow(clippy::all, clippy::pedantic, dead_code, unused_qualifications)]
pub(crate) mod proto;

use proto::tensor_proto::DataType;
use proto::tensor_shape_proto::{Dimension, dimension};
use proto::{TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

use crate::shape::Shape;

/// Operator set of the files; 14 is the first with `HardSwish`.
pub(crate) const OPSET: i64 = 14;
/// Version of the file format; 8 is read by ONNX Runtime 1.10 and later.
pub(crate) const IR_VERSION: i64 = 8;

/// Batch 1, channels, rows, columns.
pub(crate) fn image_dims(shape: Shape) -> Vec<i64> {
    let mut dims = vec![1];
    dims.extend([shape.channels, shape.height, shape.width].map(i64::from));
    dims
}

/// A float32 input or output.
pub(crate) fn value_info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dimension = |&dim: &i64| Dimension {
        value: Some(dimension::Value::DimValue(dim)),
        ..Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(DataType::Float.into()),
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(dimension).collect(),
        }),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
