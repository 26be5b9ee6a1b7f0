//! What changes in a graph that takes many images: constant shapes of blocks of the user's own, and batch-norms that
//! take their statistics from the batch.

use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use super::graph::{Graph, int, ints};
use super::open::Batch;
use super::{ExportError, INPUT};
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};

/// Epsilon of a `BatchNormalization` that does not say it.
const DEFAULT_EPSILON: f32 = 1e-5;
/// From this operator set on, reductions take their axes as an input.
const AXES_AS_INPUT: i64 = 18;
/// Shape of per-channel numbers beside images.
const COLUMN: &str = "batch-norm.column";
/// Images, rows and columns: everything but channels.
const AXES: &str = "batch-norm.axes";

/// Lets operators whose constant shape says "one image" take the batch. Only blocks of the user's own
/// have such constants; they are written for one image.
pub(super) fn open(graph: &mut Graph<'_>, batch: Batch) -> Result<(), ExportError> {
    let shapes = int_constants(&graph.initializers);
    let mut images: HashSet<String> = HashSet::from([INPUT.to_owned()]);
    let mut changed = Vec::new();
    for node in &mut graph.nodes {
        if !node.input.iter().any(|name| images.contains(name)) {
            continue;
        }
        images.extend(node.output.iter().cloned());
        if !node.input.first().is_some_and(|name| images.contains(name)) {
            continue;
        }
        let place = match node.op_type() {
            "Reshape" => 1,
            "Resize" => 3,
            _ => continue,
        };
        let Some(shape) = node.input.get(place).and_then(|name| shapes.get(name)) else {
            continue;
        };
        let Some((1, rest)) = shape.split_first() else {
            continue;
        };
        let first = match (node.op_type(), batch) {
            // 0 means "as the input's".
            ("Reshape", _) if int_attribute(node, "allowzero") != Some(1) => 0,
            (_, Batch::Fixed(images)) => i64::from(images),
            _ => return Err(one_image(node)),
        };
        let shape: Vec<i64> = std::iter::once(first).chain(rest.iter().copied()).collect();
        let name = format!("{}.batched", node.name());
        node.input[place].clone_from(&name);
        changed.push(int_constant(&name, &shape));
    }
    graph.initializers.extend(changed);
    remove_unread(graph);
    Ok(())
}

fn one_image(node: &NodeProto) -> ExportError {
    ExportError::OneImage {
        operator: node.name().to_owned(),
        kind: node.op_type().to_owned(),
    }
}

/// The statistics of a batch-norm, as tensors.
pub(super) struct Statistics {
    /// Name of the batch-norm's operator.
    pub norm: String,
    /// The batch's mean.
    pub mean: String,
    /// The batch's biased variance.
    pub variance: String,
}

/// Puts operators that compute mean and variance of the batch where batch-norms were; returns their
/// tensors, in execution order.
pub(super) fn take_statistics(graph: &mut Graph<'_>) -> Vec<Statistics> {
    let mut all = Vec::new();
    let old = std::mem::take(&mut graph.nodes);
    for node in old {
        if node.op_type() == "BatchNormalization" && node.input.len() == 5 {
            all.push(from_batch(graph, &node));
        } else {
            graph.nodes.push(node);
        }
    }
    if !all.is_empty() {
        graph.initializers.push(int_constant(COLUMN, &[-1, 1, 1]));
        if graph.opset >= AXES_AS_INPUT {
            graph.initializers.push(int_constant(AXES, &[0, 2, 3]));
        }
        remove_unread(graph);
    }
    all
}

/// y = (x - mean) * (scale / sqrt(variance + epsilon)) + shift, all from the batch but scale and shift.
fn from_batch(graph: &mut Graph<'_>, norm: &NodeProto) -> Statistics {
    let epsilon = float_attribute(norm, "epsilon").unwrap_or(DEFAULT_EPSILON);
    let mut steps = Steps {
        graph,
        prefix: norm.name(),
    };
    let scale = steps.push("scale-column", "Reshape", &[&norm.input[1], COLUMN]);
    let shift = steps.push("shift-column", "Reshape", &[&norm.input[2], COLUMN]);
    let mean = steps.mean("batch-mean", &norm.input[0]);
    let centred = steps.push("centred", "Sub", &[&norm.input[0], &mean]);
    let squares = steps.push("squares", "Mul", &[&centred, &centred]);
    let variance = steps.mean("batch-variance", &squares);
    let epsilon = steps.number("epsilon", epsilon);
    let raised = steps.push("raised", "Add", &[&variance, &epsilon]);
    let deviation = steps.push("deviation", "Sqrt", &[&raised]);
    let factor = steps.push("factor", "Div", &[&scale, &deviation]);
    let scaled = steps.push("scaled", "Mul", &[&centred, &factor]);
    let name = norm.name().to_owned();
    let inputs = vec![scaled, shift];
    steps
        .graph
        .push(&name, "Add", inputs, norm.output[0].clone(), Vec::new());
    Statistics {
        norm: name,
        mean,
        variance,
    }
}

/// Appends operators whose names and results begin with `prefix`.
struct Steps<'a, 'b> {
    graph: &'a mut Graph<'b>,
    prefix: &'a str,
}

impl Steps<'_, '_> {
    fn push(&mut self, part: &str, operator: &str, inputs: &[&str]) -> String {
        self.with(part, operator, inputs, Vec::new())
    }

    fn with(
        &mut self,
        part: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{}.{part}", self.prefix);
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.graph
            .push(&name, operator, inputs, name.clone(), attributes);
        name
    }

    /// The mean over images, rows and columns.
    fn mean(&mut self, part: &str, input: &str) -> String {
        let keep = int("keepdims", 1);
        if self.graph.opset >= AXES_AS_INPUT {
            self.with(part, "ReduceMean", &[input, AXES], vec![keep])
        } else {
            let axes = ints("axes", &[0, 2, 3]);
            self.with(part, "ReduceMean", &[input], vec![axes, keep])
        }
    }

    fn number(&mut self, part: &str, value: f32) -> String {
        self.graph.scalar(self.prefix, part, value)
    }
}

/// Removes constants that no operator reads: engines warn of them.
fn remove_unread(graph: &mut Graph<'_>) {
    let read = graph.nodes.iter().flat_map(|node| &node.input);
    let read: HashSet<&str> = read.map(String::as_str).collect();
    graph.initializers.retain(|c| read.contains(c.name()));
}

/// The constant shapes, by name.
fn int_constants(constants: &[TensorProto]) -> HashMap<String, Vec<i64>> {
    let is_int = |c: &&TensorProto| c.data_type == Some(DataType::Int64.into());
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u64, |all, &byte| all << 8 | u64::from(byte))
            .cast_signed()
    };
    let numbers = |c: &TensorProto| c.raw_data().chunks_exact(8).map(number).collect();
    let constants = constants.iter().filter(is_int);
    constants
        .map(|c| (c.name().to_owned(), numbers(c)))
        .collect()
}

fn int_constant(name: &str, values: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorProto {
        name: Some(name.to_owned()),
        dims: vec![i64::try_from(values.len()).unwrap_or(i64::MAX)],
        data_type: Some(DataType::Int64.into()),
        raw_data: Some(Bytes::from(bytes)),
        ..TensorProto::default()
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

fn int_attribute(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name)?.i
}

fn float_attribute(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name)?.f
}
