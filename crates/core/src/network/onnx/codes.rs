//! Binary codes of activations, as outputs of a graph: which of them are on, image by image.

use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use super::graph::{Graph, int};
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};

/// Numbers 1, 0 and -1.
const ON: &str = "code.on";
const ZERO: &str = "code.zero";
const OFF: &str = "code.off";

/// Operators that let through what is above zero and dampen what is below, by themselves. `Erf` stands for the GELU
/// that exporters write with it; it has the sign of its input.
const RECTIFIERS: [&str; 13] = [
    "Relu",
    "Clip",
    "LeakyRelu",
    "PRelu",
    "ThresholdedRelu",
    "Elu",
    "Selu",
    "Celu",
    "HardSwish",
    "Gelu",
    "Mish",
    "Erf",
    "Swish",
];
/// Gates that make one when their input is multiplied by them.
const GATES: [&str; 2] = ["Sigmoid", "HardSigmoid"];

/// The codes of one activation function.
pub(super) struct Code {
    /// What it reads.
    pub input: String,
    /// The output.
    pub agreements: String,
}

/// For every activation function, appends the matrix of agreements of its codes: for images i and j, on how many
/// activations they agree minus on how many they do not.
pub(super) fn append(graph: &mut Graph<'_>) -> Vec<Code> {
    let inputs = rectified(&graph.nodes);
    if !inputs.is_empty() {
        for (name, value) in [(ON, 1.0), (ZERO, 0.0), (OFF, -1.0)] {
            graph.initializers.push(number(name, value));
        }
    }
    let code = |input: String| Code {
        agreements: agreements(graph, &input),
        input,
    };
    inputs.into_iter().map(code).collect()
}

/// What activation functions read, each once, in execution order.
fn rectified(nodes: &[NodeProto]) -> Vec<String> {
    let makers: HashMap<&str, &NodeProto> = nodes
        .iter()
        .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
        .collect();
    let is_gate_of = |gate: &str, input: &str| {
        let maker = makers.get(gate);
        maker.is_some_and(|m| GATES.contains(&m.op_type()) && m.input.iter().any(|i| i == input))
    };
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for node in nodes {
        let input = match (node.op_type(), node.input.as_slice()) {
            (operator, [input, ..]) if RECTIFIERS.contains(&operator) => input,
            ("Mul", [input, gate]) if is_gate_of(gate, input) => input,
            ("Mul", [gate, input]) if is_gate_of(gate, input) => input,
            _ => continue,
        };
        if seen.insert(input.clone()) {
            all.push(input.clone());
        }
    }
    all
}

/// Codes of 1 and -1, times themselves.
fn agreements(graph: &mut Graph<'_>, input: &str) -> String {
    let name = |part: &str| format!("{input}.code.{part}");
    let owned = |inputs: &[&str]| inputs.iter().map(|&i| i.to_owned()).collect::<Vec<_>>();
    let (flat, on, code, result) = (
        name("flat"),
        name("above"),
        name("signs"),
        name("agreements"),
    );
    graph.push(
        &flat,
        "Flatten",
        owned(&[input]),
        flat.clone(),
        vec![int("axis", 1)],
    );
    graph.push(
        &on,
        "Greater",
        owned(&[&flat, ZERO]),
        on.clone(),
        Vec::new(),
    );
    graph.push(
        &code,
        "Where",
        owned(&[&on, ON, OFF]),
        code.clone(),
        Vec::new(),
    );
    let transposed = vec![int("transB", 1)];
    graph.push(
        &result,
        "Gemm",
        owned(&[&code, &code]),
        result.clone(),
        transposed,
    );
    result
}

fn number(name: &str, value: f32) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Float.into()),
        raw_data: Some(Bytes::from(value.to_le_bytes().to_vec())),
        ..TensorProto::default()
    }
}
