//! Weights of networks that are not trained, batch-norms apart.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{BatchNorm, Bias, Network, NodeWeights, Op, UnfoldedWeights, Weights};
use crate::seed::{Rng, Seed, normals};

/// How weights are drawn before any training. Batch-norms begin with scale 1 and shift 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// As PyTorch's layers do by themselves (`Conv2d`, `Linear`: `kaiming_uniform_(a=sqrt(5))`): weights and
    /// biases uniform within 1 / sqrt(fan-in).
    PyTorch,
    /// Weights from N(0, 1), no biases: what Zen-score asks for (Lin et al. 2021).
    Gaussian,
}

impl Init {
    /// Numbers that are multiplied, `fan_in` of them for every sum.
    fn weights(self, count: usize, fan_in: u64, rng: &mut Rng) -> Vec<f32> {
        match self {
            Self::PyTorch => uniform(count, fan_in, rng),
            Self::Gaussian => normals(count, rng),
        }
    }

    fn biases(self, count: usize, fan_in: u64, rng: &mut Rng) -> Vec<f32> {
        match self {
            Self::PyTorch => uniform(count, fan_in, rng),
            Self::Gaussian => vec![0.0; count],
        }
    }
}

impl UnfoldedWeights {
    /// Weights before any training; `epsilon` is that of the batch-norms. Blocks of the user's own keep the
    /// numbers of their file where these have the right dimensions, and have no biases elsewhere. The same seed and
    /// node name give the same weights in every network.
    #[must_use]
    pub fn initial(network: &Network, init: Init, epsilon: f64, seed: Seed) -> Self {
        let mut norms = BTreeMap::new();
        let mut fragments = BTreeMap::new();
        let mut nodes = Vec::with_capacity(network.nodes().len());
        for (index, node) in network.nodes().iter().enumerate() {
            let seed = seed.stream(&node.name);
            let mut drawn = None;
            match &node.op {
                Op::Conv(conv) => {
                    let [out, per_group, kernel, _] = conv.weight_shape();
                    let fan_in = per_group * kernel * kernel;
                    let shape = [out, fan_in].map(|n| n as usize);
                    let biased = conv.bias == Bias::Plain;
                    drawn = Some(layer(init, shape, biased, &mut seed.rng()));
                    if conv.bias == Bias::BatchNorm {
                        norms.insert(index, BatchNorm::identity(out as usize, epsilon));
                    }
                }
                Op::Linear { inputs, outputs } => {
                    let shape = [*outputs, *inputs].map(|n| n as usize);
                    drawn = Some(layer(init, shape, true, &mut seed.rng()));
                }
                Op::Fragment(instance) => {
                    let draw = |n, fan_in, rng: &mut Rng| init.weights(n, fan_in, rng);
                    fragments.insert(index, instance.initial_weights(seed, &draw));
                }
                _ => {}
            }
            nodes.push(drawn);
        }
        Self::new(Weights::from_nodes(nodes).with_fragments(fragments), norms)
    }
}

fn layer(init: Init, [out, fan_in]: [usize; 2], biased: bool, rng: &mut Rng) -> NodeWeights {
    let products = fan_in as u64;
    NodeWeights {
        weight: init.weights(out * fan_in, products, rng),
        bias: if biased {
            init.biases(out, products, rng)
        } else {
            Vec::new()
        },
    }
}

/// Uniform within 1 / sqrt(`fan_in`).
#[allow(clippy::cast_precision_loss)]
fn uniform(count: usize, fan_in: u64, rng: &mut Rng) -> Vec<f32> {
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    (0..count)
        .map(|_| rng.random_range(-bound..bound))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::DesignSpace;

    #[test]
    fn weights_have_the_spread_that_the_papers_ask_for() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let network = space.network(&space.smallest(128).unwrap());
        for init in [Init::PyTorch, Init::Gaussian] {
            let weights = UnfoldedWeights::initial(&network, init, 1e-5, Seed(1));
            for (index, node) in network.nodes().iter().enumerate() {
                let Some(drawn) = weights.weights().of(index) else {
                    continue;
                };
                let variance = |numbers: &[f32]| {
                    let squares = numbers.iter().map(|&x| f64::from(x).powi(2));
                    squares.sum::<f64>() / numbers.len() as f64
                };
                let fan_in = (drawn.weight.len() as f64) / f64::from(node.output.channels);
                let expected = match init {
                    Init::PyTorch => 1.0 / (3.0 * fan_in),
                    Init::Gaussian => 1.0,
                };
                if drawn.weight.len() > 5_000 {
                    let ratio = variance(&drawn.weight) / expected;
                    assert!((ratio - 1.0).abs() < 0.1, "{}: {ratio}", node.name);
                }
                let is_norm = weights.norms().contains_key(&index);
                assert!(!is_norm || drawn.bias.is_empty(), "{}", node.name);
                if init == Init::Gaussian {
                    assert!(drawn.bias.iter().all(|b| *b == 0.0));
                }
            }
        }
    }
}
