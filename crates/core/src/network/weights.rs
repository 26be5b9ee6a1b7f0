//! Weights of a network: seeded random ones, with batch-norm folded as an engine would see it.

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
