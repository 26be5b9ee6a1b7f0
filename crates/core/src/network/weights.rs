//! Weights of a network: seeded random ones, with batch-norm folded as an engine would see it; and weights
//! with the batch-norms still apart, as they are trained.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{Bias, Conv, Network, Op};
use crate::fragment::FragmentWeights;
use crate::seed::{Rng, Seed};

/// Batch-norm's epsilon in the `ofa` package.
const BN_EPSILON: f32 = 1e-5;

/// Weights and bias of one node, in the layout of PyTorch and ONNX (output channels first).
#[derive(Clone, Debug, PartialEq)]
pub struct NodeWeights {
    /// The weights: `[out, in / groups, k, k]` for a convolution, `[out, in]` for a linear layer.
    pub weight: Vec<f32>,
    /// One number per output channel; empty where the operator adds nothing.
    pub bias: Vec<f32>,
}

/// The weights of every node of a network, by node index; `None` for nodes without any.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    nodes: Vec<Option<NodeWeights>>,
    /// Of blocks of the user's own, by node index.
    fragments: BTreeMap<usize, FragmentWeights>,
}

impl Weights {
    /// Random weights: He-uniform products (He et al. 2015) followed, where the network has
    /// batch-norm, by a random but well-behaved normalisation that is folded in. The same seed and node
    /// name give the same weights in every network.
    #[must_use]
    pub fn random(network: &Network, seed: Seed) -> Self {
        let seed = seed.stream("weights");
        let draw = |name: &str, op: &Op| {
            let mut rng = seed.stream(name).rng();
            match op {
                Op::Conv(conv) => Some(random_conv(conv, &mut rng)),
                Op::Linear { inputs, outputs } => Some(NodeWeights {
                    weight: uniform(*inputs as usize * *outputs as usize, *inputs, &mut rng),
                    bias: uniform(*outputs as usize, *inputs, &mut rng),
                }),
                _ => None,
            }
        };
        let nodes = network.nodes().iter();
        let fragments = nodes
            .clone()
            .enumerate()
            .filter_map(|(i, node)| match &node.op {
                Op::Fragment(instance) => Some((i, instance.weights(seed.stream(&node.name)))),
                _ => None,
            });
        Self {
            fragments: fragments.collect(),
            nodes: nodes.map(|node| draw(&node.name, &node.op)).collect(),
        }
    }

    /// Weights of a network's nodes, one entry per node, in order; `None` for nodes that need none.
    #[must_use]
    pub fn from_nodes(nodes: Vec<Option<NodeWeights>>) -> Self {
        Self {
            nodes,
            fragments: BTreeMap::new(),
        }
    }

    /// The same with weights for the blocks of the user's own, by node index.
    #[must_use]
    pub fn with_fragments(self, fragments: BTreeMap<usize, FragmentWeights>) -> Self {
        Self { fragments, ..self }
    }

    /// The weights of node `index`.
    #[must_use]
    pub fn of(&self, index: usize) -> Option<&NodeWeights> {
        self.nodes.get(index)?.as_ref()
    }

    /// The weights of the block of the user's own that is node `index`.
    #[must_use]
    pub fn fragment(&self, index: usize) -> Option<&FragmentWeights> {
        self.fragments.get(&index)
    }
}

/// A batch-norm behind a convolution, one number per output channel each:
/// y = scale * (x - mean) / sqrt(variance + epsilon) + shift.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Factor behind the normalisation (PyTorch: `weight`).
    pub scale: Vec<f32>,
    /// What is added at the end (PyTorch: `bias`).
    pub shift: Vec<f32>,
    /// Mean of the convolution's output, as it was found in training or recalibration.
    pub mean: Vec<f32>,
    /// Biased variance of the convolution's output.
    pub variance: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// Scale 1, shift 0, and the statistics of numbers that are normal already.
    #[must_use]
    pub fn identity(channels: usize, epsilon: f64) -> Self {
        Self {
            scale: vec![1.0; channels],
            shift: vec![0.0; channels],
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
            epsilon,
        }
    }

    /// Its four vectors, with the names that they have in files.
    pub(super) fn vectors(&self) -> [(&'static str, &[f32]); 4] {
        [
            ("scale", &self.scale),
            ("shift", &self.shift),
            ("mean", &self.mean),
            ("variance", &self.variance),
        ]
    }

    /// Scales every filter as this batch-norm would scale its output, and returns the biases that remain.
    #[allow(clippy::cast_possible_truncation)] // back to the precision of the weights
    fn fold(&self, weight: &mut [f32]) -> Vec<f32> {
        let filter = weight.len() / self.scale.len().max(1);
        let rows = weight.chunks_exact_mut(filter.max(1));
        let vectors = self.scale.iter().zip(&self.shift);
        let statistics = self.mean.iter().zip(&self.variance);
        rows.zip(vectors.zip(statistics))
            .map(|(row, ((scale, shift), (mean, variance)))| {
                let factor = f64::from(*scale) / (f64::from(*variance) + self.epsilon).sqrt();
                row.iter_mut()
                    .for_each(|w| *w = (f64::from(*w) * factor) as f32);
                (f64::from(*shift) - f64::from(*mean) * factor) as f32
            })
            .collect()
    }
}

/// Weights with the batch-norms behind the convolutions still apart, so that their statistics can be
/// taken from a batch or set anew. A type of its own: whoever runs [`Weights`] need not think of it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnfoldedWeights {
    /// Those of convolutions without their batch-norms, which have no bias, and all others.
    weights: Weights,
    /// By node index.
    norms: BTreeMap<usize, BatchNorm>,
}

impl UnfoldedWeights {
    /// These weights, and the batch-norms behind some of the convolutions, by node index. That both
    /// belong to a network is checked when they are written.
    #[must_use]
    pub fn new(weights: Weights, norms: BTreeMap<usize, BatchNorm>) -> Self {
        Self { weights, norms }
    }

    /// Everything but the batch-norms.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The batch-norms, by node index.
    #[must_use]
    pub fn norms(&self) -> &BTreeMap<usize, BatchNorm> {
        &self.norms
    }

    /// The batch-norms, by node index: to set their statistics.
    #[must_use]
    pub fn norms_mut(&mut self) -> &mut BTreeMap<usize, BatchNorm> {
        &mut self.norms
    }

    /// The same with every batch-norm folded into its convolution.
    #[must_use]
    pub fn fold(&self) -> Weights {
        let mut folded = self.weights.clone();
        for (index, norm) in &self.norms {
            if let Some(Some(node)) = folded.nodes.get_mut(*index) {
                node.bias = norm.fold(&mut node.weight);
            }
        }
        folded
    }
}

impl From<Weights> for UnfoldedWeights {
    /// Weights in which nothing is left to fold.
    fn from(weights: Weights) -> Self {
        Self::new(weights, BTreeMap::new())
    }
}

/// `n` numbers, uniform with the variance 2 / `fan_in`.
#[allow(clippy::cast_precision_loss)]
fn uniform(n: usize, fan_in: u32, rng: &mut Rng) -> Vec<f32> {
    let bound = (6.0 / fan_in as f32).sqrt();
    (0..n).map(|_| rng.random_range(-bound..bound)).collect()
}

fn random_conv(conv: &Conv, rng: &mut Rng) -> NodeWeights {
    let [out, per_group, h, w] = conv.weight_shape();
    let fan_in = per_group * h * w;
    let (channels, per_channel) = (out as usize, fan_in as usize);
    let mut weight = uniform(channels * per_channel, fan_in, rng);
    let bias = match conv.bias {
        Bias::None => Vec::new(),
        Bias::Plain => uniform(channels, fan_in, rng),
        Bias::BatchNorm => weight
            .chunks_exact_mut(per_channel)
            .map(|row| fold_random_batch_norm(row, rng))
            .collect(),
    };
    NodeWeights { weight, bias }
}

/// Scales one output channel as y = scale * (x - mean) / sqrt(variance + eps) + shift would, and
/// returns the bias that remains.
fn fold_random_batch_norm(row: &mut [f32], rng: &mut Rng) -> f32 {
    let scale = rng.random_range(0.8..1.2_f32);
    let shift = rng.random_range(-0.2..0.2_f32);
    let mean = rng.random_range(-0.2..0.2_f32);
    let variance = rng.random_range(0.8..1.2_f32);
    let factor = scale / (variance + BN_EPSILON).sqrt();
    row.iter_mut().for_each(|w| *w *= factor);
    shift - mean * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::DesignSpace;

    #[test]
    fn same_seed_same_weights_and_shapes_fit() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let network = space.network(&space.smallest(128).unwrap());
        let weights = Weights::random(&network, Seed(3));
        assert_eq!(weights, Weights::random(&network, Seed(3)));
        assert_ne!(weights, Weights::random(&network, Seed(4)));
        for (i, node) in network.nodes().iter().enumerate() {
            let counted = weights.of(i).map_or(0, |w| w.weight.len() + w.bias.len());
            let expected = match &node.op {
                // Folding leaves one number per channel of batch-norm's two.
                Op::Conv(c) if c.bias == Bias::BatchNorm => {
                    node.params().0 - u64::from(c.out_channels)
                }
                _ => node.params().0,
            };
            assert_eq!(counted as u64, expected, "{}", node.name);
        }
    }
}
