//! The inputs of an ONNX file.

use std::collections::HashSet;

use prost::Message as _;
use prost::bytes::Bytes;

use super::{Element, Inspected, ModelError, ModelFormat, OpenInput};
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto, type_proto};

pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, ModelError> {
    let unknown = |reason: String| ModelError::Unknown(reason);
    let model =
        ModelProto::decode(Bytes::copy_from_slice(bytes)).map_err(|e| unknown(e.to_string()))?;
    // Many a text happens to be a message without anything in it.
    let graph = model.graph.filter(|graph| !graph.node.is_empty());
    let graph = graph.ok_or_else(|| unknown("it holds no operators".into()))?;
    if let Some(file) = external(&graph) {
        return Err(ModelError::External(file));
    }
    // Files of old list weights among the inputs.
    let weights: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name()));
    Ok(Inspected {
        format: ModelFormat::Onnx,
        inputs: inputs.map(open).collect::<Result<_, _>>()?,
    })
}

/// Where weights are that the file does not hold.
fn external(graph: &GraphProto) -> Option<String> {
    let outside = |tensor: &&TensorProto| tensor.data_location() == DataLocation::External;
    let tensor = graph.initializer.iter().find(outside)?;
    let mut entries = tensor.external_data.iter();
    let location = entries.find(|entry| entry.key() == "location");
    Some(location.map_or_else(
        || tensor.name().to_owned(),
        |entry| entry.value().to_owned(),
    ))
}

fn open(input: &ValueInfoProto) -> Result<OpenInput, ModelError> {
    let refused = |kind: &str| ModelError::Element {
        input: input.name().to_owned(),
        kind: kind.to_owned(),
    };
    let kind = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else {
        return Err(refused("no tensor"));
    };
    let code = DataType::try_from(tensor.elem_type()).unwrap_or(DataType::Undefined);
    let element = element(code).ok_or_else(|| refused(&code.as_str_name().to_lowercase()))?;
    let dims = tensor
        .shape
        .as_ref()
        .map(|shape| shape.dim.iter().map(dim).collect());
    Ok(OpenInput {
        name: input.name().to_owned(),
        element,
        dims,
    })
}

fn element(code: DataType) -> Option<Element> {
    Some(match code {
        DataType::Float => Element::Float32,
        DataType::Int8 => Element::Int8,
        DataType::Uint8 => Element::Uint8,
        DataType::Int32 => Element::Int32,
        DataType::Int64 => Element::Int64,
        DataType::Bool => Element::Bool,
        _ => return None,
    })
}

fn dim(dim: &Dimension) -> Option<usize> {
    match dim.value {
        Some(dimension::Value::DimValue(size)) if size > 0 => usize::try_from(size).ok(),
        _ => None,
    }
}
