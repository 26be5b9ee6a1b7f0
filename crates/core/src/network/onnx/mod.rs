//! ONNX files: a network and its weights as engines read them.
//!
//! Operator set 14 (the first with `HardSwish`) and file version 8, which every ONNX Runtime since 1.10 and tract read.
//! In the plain file ([`export`]) the batch is fixed at 1 and batch-norm is folded; with [`export_graph`] it is as
//! large as asked for or left open, batch-norms can stand apart and take their statistics from the batch, and tensors
//! inside can be outputs. The input is called [`INPUT`], the output [`OUTPUT`]; every operator and every weight carries
//! the name of its node, so that a profile of an engine can be read back.

mod batch;
mod codes;
mod graph;
mod open;

use std::collections::BTreeMap;

use prost::Message;

use super::{Network, Op, TensorId, Weights};
use crate::fragment::FragmentError;
use crate::onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use crate::onnx::{IR_VERSION, image_dims, value_info};
use graph::Graph;
pub use open::{Batch, GraphFile, GraphOptions, GraphOutput, NormName, Norms, export_graph};

/// Name of the input: a normalised image, `[1, 3, rows, columns]`.
pub const INPUT: &str = "image";
/// Name of the output, `[1, classes]`.
pub const OUTPUT: &str = "logits";

/// A network and weights that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A node that needs weights has none.
    #[error("node `{node}` has no weights: these weights belong to another network")]
    MissingWeights {
        /// The node's name.
        node: String,
    },
    /// A node's weights or bias have the wrong length.
    #[error(
        "`{tensor}` has {found} numbers where its shape needs {expected}: these weights belong to another network"
    )]
    Length {
        /// The tensor's name.
        tensor: String,
        /// Numbers there are.
        found: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// A batch-norm is given for a node that has none.
    #[error("node {index} (`{node}`) has no batch-norm: these weights belong to another network")]
    NoBatchNorm {
        /// The node's index.
        index: usize,
        /// Its name; empty where there is no such node.
        node: String,
    },
    /// A tensor that is to be an output does not exist.
    #[error("there is no tensor {tensor}: the network has 0 (the image) to {last}")]
    NoTensor {
        /// The tensor asked for.
        tensor: TensorId,
        /// The last that there is.
        last: TensorId,
    },
    /// A block of the user's own fixes the batch at 1.
    #[error("`{operator}` ({kind}) is fixed to one image, so the graph takes batches of 1 only")]
    OneImage {
        /// The operator's name.
        operator: String,
        /// What it does.
        kind: String,
    },
    /// A block of the user's own and its weights do not belong together.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

/// The bytes of an ONNX file with this network and these weights; `name` becomes the graph's name. The
/// same arguments give the same bytes.
///
/// # Errors
/// [`ExportError`] when the weights belong to another network.
pub fn export(network: &Network, weights: &Weights, name: &str) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of(network, weights, &BTreeMap::new())?;
    let input = value_info(INPUT, &image_dims(network.input()));
    let output = value_info(OUTPUT, &output_dims(network));
    Ok(file(
        name,
        graph.opset,
        graph.nodes,
        graph.initializers,
        input,
        vec![output],
    ))
}

/// The bytes of a file with this graph.
fn file(
    name: &str,
    opset: i64,
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: ValueInfoProto,
    output: Vec<ValueInfoProto>,
) -> Vec<u8> {
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(opset),
        }],
        producer_name: Some("blocklens".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(GraphProto {
            name: Some(name.to_owned()),
            node,
            initializer,
            input: vec![input],
            output,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// A linear layer ends in a matrix of one row; everything else in an image.
fn output_dims(network: &Network) -> Vec<i64> {
    let shape = network.output();
    match network.nodes().last().map(|node| &node.op) {
        Some(Op::Linear { .. }) => vec![1, i64::from(shape.channels)],
        _ => image_dims(shape),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::onnx::OPSET;
    use crate::seed::Seed;
    use crate::space::DesignSpace;

    fn example(seed: u64) -> (Network, Weights) {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let arch = space.sample(160, &mut Seed(seed).rng()).unwrap();
        let network = space.network(&arch);
        let weights = Weights::random(&network, Seed(seed));
        (network, weights)
    }

    fn decoded(network: &Network, weights: &Weights) -> GraphProto {
        let bytes = export(network, weights, "example").unwrap();
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!(model.ir_version, Some(IR_VERSION));
        assert_eq!(model.opset_import[0].version, Some(OPSET));
        model.graph.unwrap()
    }

    #[test]
    fn every_node_and_every_weight_is_in_the_file() {
        for seed in 0..5 {
            let (network, weights) = example(seed);
            let graph = decoded(&network, &weights);
            // One `Flatten` before the one linear layer.
            assert_eq!(graph.node.len(), network.nodes().len() + 1);
            let expected: usize = (0..network.nodes().len())
                .filter_map(|i| weights.of(i))
                .map(|w| w.weight.len() + w.bias.len())
                .sum();
            let stored: i64 = graph
                .initializer
                .iter()
                .map(|t| t.dims.iter().product::<i64>())
                .sum();
            assert_eq!(usize::try_from(stored).unwrap(), expected);
            let bytes: usize = graph
                .initializer
                .iter()
                .map(|t| t.raw_data.as_ref().unwrap().len())
                .sum();
            assert_eq!(bytes, 4 * expected);
        }
    }

    #[test]
    fn every_tensor_is_made_once_and_before_it_is_read() {
        let (network, weights) = example(7);
        let graph = decoded(&network, &weights);
        let mut known: HashSet<&str> = HashSet::from([INPUT]);
        for initializer in &graph.initializer {
            assert!(known.insert(initializer.name()));
        }
        for node in &graph.node {
            assert!(node.input.iter().all(|name| known.contains(name.as_str())));
            assert!(known.insert(&node.output[0]), "{}", node.output[0]);
        }
        assert_eq!(graph.node.last().unwrap().output, [OUTPUT]);
    }

    #[test]
    fn values_survive_bit_for_bit_and_files_repeat() {
        let (network, weights) = example(3);
        let graph = decoded(&network, &weights);
        let first = weights.of(0).unwrap();
        let values: Vec<f32> = graph.initializer[0]
            .raw_data
            .as_ref()
            .unwrap()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(values, first.weight);
        assert_eq!(
            export(&network, &weights, "a").unwrap(),
            export(&network, &weights, "a").unwrap()
        );
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let small = space.network(&space.smallest(128).unwrap());
        let weights = Weights::random(&small, Seed(1));
        let (network, _) = example(0);
        let error = export(&network, &weights, "x").unwrap_err().to_string();
        assert!(error.contains("belong to another network"), "{error}");
    }
}
