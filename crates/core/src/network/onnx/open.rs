//! Graphs that do more than the plain file: batches, statistics, tensors inside as outputs.

use super::graph::{BATCH_NORM, Graph};
use super::{ExportError, INPUT, OUTPUT, batch, codes, file};
use crate::network::{Conv, Network, Op, Shape, TensorId, UnfoldedWeights};
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::{TensorShapeProto, ValueInfoProto, type_proto};
use crate::onnx::{image_dims, value_info};

/// Name of the open batch dimension.
const BATCH: &str = "batch";

/// How many images a graph takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// So many; at least 1. Engines plan best for a known number.
    Fixed(u32),
    /// Any number.
    Open,
}

/// Where batch-norms take mean and variance from. Those inside blocks of the user's own are meant too;
/// those that are folded into weights are none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// From the weights.
    Stored,
    /// From the batch that is run, over images, rows and columns, with the biased variance, as PyTorch's
    /// `BatchNorm2d` does in training.
    Batch {
        /// Whether the statistics are outputs, each `[1, channels, 1, 1]`.
        shown: bool,
    },
}

/// What a graph does besides computing the network's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphOptions {
    /// How many images it takes at once.
    pub batch: Batch,
    /// Where batch-norms take their statistics from.
    pub norms: Norms,
    /// Tensors that are outputs, too; the network's output always is.
    pub tensors: Vec<TensorId>,
    /// Whether the binary codes of activation functions are outputs, too: [`GraphOutput::Code`].
    pub codes: bool,
}

impl Default for GraphOptions {
    /// What the plain file does.
    fn default() -> Self {
        Self {
            batch: Batch::Fixed(1),
            norms: Norms::Stored,
            tensors: Vec::new(),
            codes: false,
        }
    }
}

/// What an output of a graph is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphOutput {
    /// The network's output.
    Network,
    /// A tensor inside the network.
    Tensor(TensorId),
    /// The batch's mean at a batch-norm.
    Mean(NormName),
    /// The batch's biased variance at a batch-norm.
    Variance(NormName),
    /// At the activation function that reads this tensor of the file: for images i and j, on how many of
    /// its units both are above zero or both are not, minus on how many they differ; `[images, images]`, exact up to
    /// 2^24 units. Functions that rectify have codes (ReLU and its kin, h-swish, SiLU, GELU), gates have none.
    Code(String),
}

/// Which batch-norm is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NormName {
    /// That behind the convolution with this node index.
    Node(usize),
    /// One inside a block of the user's own, by its name in the file.
    Inner(String),
}

/// A graph as a file, and what its outputs are.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphFile {
    /// The ONNX file. Its input is [`INPUT`](super::INPUT).
    pub bytes: Vec<u8>,
    /// What the outputs are, in the file's order; the first is the network's output.
    pub outputs: Vec<GraphOutput>,
}

/// The file of a graph that computes this network as `options` say; `name` becomes the graph's name. The
/// same arguments give the same bytes.
///
/// # Errors
/// [`ExportError`] when the weights belong to another network, a tensor does not exist, or a block of
/// the user's own takes one image only and `options` ask for more.
pub fn export_graph(
    network: &Network,
    weights: &UnfoldedWeights,
    options: &GraphOptions,
    name: &str,
) -> Result<GraphFile, ExportError> {
    check_norms(network, weights)?;
    let mut graph = Graph::of(network, weights.weights(), weights.norms())?;
    let mut outputs = Outputs::of(network, options.batch);
    for &tensor in &options.tensors {
        outputs.tensor(tensor, &mut graph)?;
    }
    if options.batch != Batch::Fixed(1) {
        batch::open(&mut graph, options.batch)?;
    }
    if let Norms::Batch { shown } = options.norms {
        let statistics = batch::take_statistics(&mut graph);
        if shown {
            statistics.iter().for_each(|s| outputs.statistics(s));
        }
    }
    if options.codes {
        codes::append(&mut graph)
            .iter()
            .for_each(|c| outputs.code(c));
    }
    let input = batched(INPUT, &image_dims(network.input()), options.batch);
    Ok(GraphFile {
        bytes: file(
            name,
            graph.opset,
            graph.nodes,
            graph.initializers,
            input,
            outputs.infos,
        ),
        outputs: outputs.kinds,
    })
}

/// That every batch-norm belongs to a convolution.
fn check_norms(network: &Network, weights: &UnfoldedWeights) -> Result<(), ExportError> {
    for &index in weights.norms().keys() {
        let node = network.nodes().get(index);
        if !node.is_some_and(|node| matches!(node.op, Op::Conv(Conv { .. }))) {
            return Err(ExportError::NoBatchNorm {
                index,
                node: node.map_or_else(String::new, |node| node.name.clone()),
            });
        }
    }
    Ok(())
}

/// The outputs of a graph: what they are, and how the file describes them.
struct Outputs<'a> {
    network: &'a Network,
    batch: Batch,
    kinds: Vec<GraphOutput>,
    infos: Vec<ValueInfoProto>,
}

impl<'a> Outputs<'a> {
    fn of(network: &'a Network, batch: Batch) -> Self {
        Self {
            network,
            batch,
            kinds: vec![GraphOutput::Network],
            infos: vec![batched(OUTPUT, &super::output_dims(network), batch)],
        }
    }

    /// A tensor inside; one that is an output already is left as it is.
    fn tensor(&mut self, tensor: TensorId, graph: &mut Graph<'_>) -> Result<(), ExportError> {
        let last = self.network.nodes().len();
        if tensor > last {
            return Err(ExportError::NoTensor { tensor, last });
        }
        let kind = GraphOutput::Tensor(tensor);
        if tensor == last || self.kinds.contains(&kind) {
            return Ok(());
        }
        let mut name = graph.tensor_name(tensor);
        if tensor == 0 {
            // An input cannot be an output as well.
            name = format!("{INPUT}.copy");
            graph.push(
                &name,
                "Identity",
                vec![INPUT.to_owned()],
                name.clone(),
                Vec::new(),
            );
        }
        let info = self.tensor_info(&name, tensor);
        self.add(kind, info);
        Ok(())
    }

    fn tensor_info(&self, name: &str, tensor: TensorId) -> ValueInfoProto {
        let node = tensor.checked_sub(1).map(|n| &self.network.nodes()[n].op);
        let shape: Shape = self.network.shape(tensor);
        let dims = match node {
            Some(Op::Linear { .. }) => vec![1, i64::from(shape.channels)],
            _ => image_dims(shape),
        };
        batched(name, &dims, self.batch)
    }

    fn statistics(&mut self, statistics: &batch::Statistics) {
        let name = self.norm_name(&statistics.norm);
        self.add(GraphOutput::Mean(name.clone()), shapeless(&statistics.mean));
        self.add(GraphOutput::Variance(name), shapeless(&statistics.variance));
    }

    fn code(&mut self, code: &codes::Code) {
        let kind = GraphOutput::Code(code.input.clone());
        self.add(kind, shapeless(&code.agreements));
    }

    fn norm_name(&self, name: &str) -> NormName {
        let node = name
            .strip_suffix(BATCH_NORM)
            .and_then(|n| n.strip_suffix('.'));
        let index = node.and_then(|n| self.network.nodes().iter().position(|node| node.name == n));
        index.map_or_else(|| NormName::Inner(name.to_owned()), NormName::Node)
    }

    fn add(&mut self, kind: GraphOutput, info: ValueInfoProto) {
        self.kinds.push(kind);
        self.infos.push(info);
    }
}

/// A float32 input or output whose first dimension is the batch.
fn batched(name: &str, dims: &[i64], batch: Batch) -> ValueInfoProto {
    let mut info = value_info(name, dims);
    let value = match batch {
        Batch::Fixed(images) => dimension::Value::DimValue(i64::from(images)),
        Batch::Open => dimension::Value::DimParam(BATCH.to_owned()),
    };
    if let Some(first) = shape_of(&mut info).and_then(|shape| shape.dim.first_mut()) {
        *first = Dimension {
            value: Some(value),
            ..Dimension::default()
        };
    }
    info
}

fn shape_of(info: &mut ValueInfoProto) -> Option<&mut TensorShapeProto> {
    match info.r#type.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(tensor) => tensor.shape.as_mut(),
        _ => None,
    }
}

/// A float32 output whose shape follows from the operators.
fn shapeless(name: &str) -> ValueInfoProto {
    let mut info = value_info(name, &[]);
    if let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_mut().and_then(|t| t.value.as_mut())
    {
        tensor.shape = None;
    }
    info
}
