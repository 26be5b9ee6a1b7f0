//! One form for what operator sets write in several. What follows the file's operator set in other ways (reductions
//! and `Softmax`) is known where shapes are inferred and files written.

use std::collections::HashSet;

use super::decode::unsupported;
use super::error::Problem;
use super::tensors::{Data, canonical_type, tensor_data};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Attributes that became inputs before the operator set of any file that is written here: operator, attribute and
/// the operator set that has the input.
const BECAME_INPUTS: [(&str, &str, i64); 4] = [
    ("Squeeze", "axes", 13),
    ("Unsqueeze", "axes", 13),
    ("ReduceSum", "axes", 13),
    ("Split", "split", 13),
];
/// From this operator set on, `GroupNormalization` scales channels; before, it scaled groups.
const SCALES_CHANNELS: i64 = 21;

/// Rewrites a graph of operator set `opset`.
pub(super) fn rewrite(graph: &mut GraphProto, opset: i64) -> Result<(), Problem> {
    remove_unread_outputs(graph);
    let old = std::mem::take(&mut graph.node);
    for (index, mut node) in old.into_iter().enumerate() {
        match node.op_type() {
            "GroupNormalization" if opset < SCALES_CHANNELS => {
                graph.node.extend(norm_of_groups(&node, index));
                continue;
            }
            // Nothing is dropped when a network runs.
            "Dropout" => {
                node.input.truncate(1);
                node.attribute.clear();
            }
            "Cast" => canonical_cast(&mut node),
            "ConstantOfShape" => canonical_value(&mut node)?,
            _ => {}
        }
        if let Some(constant) = attribute_as_input(&mut node, index, opset) {
            graph.node.push(constant);
        }
        graph.node.push(node);
    }
    Ok(())
}

/// Outputs after the first that nobody reads, such as the mask of `Dropout`; those of `Split` are parts.
fn remove_unread_outputs(graph: &mut GraphProto) {
    let inputs = graph.node.iter().flat_map(|node| &node.input);
    let outputs = graph.output.iter().map(|output| output.name().to_owned());
    let read: HashSet<String> = inputs.cloned().chain(outputs).collect();
    for node in graph.node.iter_mut().filter(|n| n.op_type() != "Split") {
        while let [_, .., last] = node.output.as_slice()
            && !read.contains(last)
        {
            node.output.pop();
        }
    }
}

/// A name that no other tensor has.
fn fresh(node: &NodeProto, index: usize, part: &str) -> String {
    let output = node.output.first().map_or("", String::as_str);
    format!("{output}.{part}{index}")
}

/// Gives an operator the list that it has as an attribute as an input; returns the constant.
fn attribute_as_input(node: &mut NodeProto, index: usize, opset: i64) -> Option<NodeProto> {
    let (_, attribute, _) = BECAME_INPUTS
        .into_iter()
        .find(|(operator, _, since)| *operator == node.op_type() && opset < *since)?;
    let place = node.attribute.iter().position(|a| a.name() == attribute)?;
    let list = node.attribute.remove(place).ints;
    let name = fresh(node, index, attribute);
    node.input.truncate(1);
    node.input.push(name.clone());
    Some(NodeProto {
        op_type: Some("Constant".to_owned()),
        output: vec![name],
        attribute: vec![ints("value_ints", list)],
        ..NodeProto::default()
    })
}

fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Ints.into()),
        ints: values,
        ..AttributeProto::default()
    }
}

/// Numbers have one type here whatever their precision, so that they are cast to that type.
fn canonical_cast(node: &mut NodeProto) {
    for to in node.attribute.iter_mut().filter(|a| a.name() == "to") {
        to.i = Some(canonical_type(to.i()));
    }
}

/// The one number of a `ConstantOfShape`, in the type that stands for its type.
fn canonical_value(node: &mut NodeProto) -> Result<(), Problem> {
    let values = node.attribute.iter_mut().filter_map(|a| a.t.as_mut());
    for tensor in values {
        let plain = |kind: DataType| TensorProto {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            data_type: Some(kind.into()),
            ..TensorProto::default()
        };
        *tensor = match tensor_data(tensor)?.1 {
            Data::Float(values) => TensorProto {
                float_data: values.to_vec(),
                ..plain(DataType::Float)
            },
            Data::Int(values) => TensorProto {
                int64_data: values,
                ..plain(DataType::Int64)
            },
            Data::Bool(values) => TensorProto {
                int32_data: values.into_iter().map(i32::from).collect(),
                ..plain(DataType::Bool)
            },
        };
    }
    match node.attribute.len() {
        0 | 1 => Ok(()),
        _ => Err(unsupported(
            "ConstantOfShape with several attributes",
            "it has one value",
        )),
    }
}

/// Normalisation of groups with a scale and a shift for each group: that of instances, where groups stand in the place
/// of channels.
fn norm_of_groups(node: &NodeProto, index: usize) -> Vec<NodeProto> {
    let [joined, normed, shape, grouped] =
        ["joined", "normed", "shape", "grouped"].map(|part| fresh(node, index, part));
    let (mut groups, mut rest) = (1, Vec::new());
    for attribute in &node.attribute {
        match attribute.name() {
            "num_groups" => groups = attribute.i(),
            "stash_type" => {}
            _ => rest.push(attribute.clone()),
        }
    }
    let input = node.input.first().cloned().unwrap_or_default();
    let name = match node.name() {
        "" => format!("GroupNormalization_{index}"),
        name => name.to_owned(),
    };
    let step = |operator: &str, input: Vec<String>, output: String, attribute| NodeProto {
        name: Some(format!("{name}/{operator}")),
        op_type: Some(operator.to_owned()),
        input,
        output: vec![output],
        attribute,
        ..NodeProto::default()
    };
    let mut scaled = vec![joined.clone()];
    scaled.extend(node.input.iter().skip(1).cloned());
    let target = vec![ints("value_ints", vec![0, groups, -1])];
    let result = node.output.first().cloned().unwrap_or_default();
    vec![
        step("Constant", Vec::new(), grouped.clone(), target),
        step("Shape", vec![input.clone()], shape.clone(), Vec::new()),
        NodeProto {
            name: Some(format!("{name}/join")),
            ..step("Reshape", vec![input, grouped], joined, Vec::new())
        },
        step("InstanceNormalization", scaled, normed.clone(), rest),
        step("Reshape", vec![normed, shape], result, Vec::new()),
    ]
}
