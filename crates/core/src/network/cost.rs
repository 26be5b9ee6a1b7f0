//! What a network costs, counted from its graph.

use super::{Bias, Network, Node, Op};
use crate::units::{Bytes, Macs, Params};

/// Bytes of one fp32 number.
const F32: u64 = 4;

/// The counted costs of a network at batch 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NetworkCost {
    /// Multiply-accumulates of convolutions and linear layers (those of squeeze-and-excitation
    /// included), as `count_net_flops` of the `ofa` package counts them.
    pub macs: Macs,
    /// Parameters, batch-norm scale and shift included.
    pub params: Params,
    /// The most activation memory alive at once: operators run one after the other in graph order,
    /// tensors are freed after their last use, activation functions work in place, fp32.
    pub peak_activation_memory: Bytes,
}

/// Counts a network's costs.
#[must_use]
pub fn cost(network: &Network) -> NetworkCost {
    NetworkCost {
        macs: Macs(saturating_sum(network.nodes().iter().map(|n| n.macs().0))),
        params: Params(saturating_sum(network.nodes().iter().map(|n| n.params().0))),
        peak_activation_memory: peak_activation_memory(network),
    }
}

/// Spaces of absurd size exist; their costs end at the largest number instead of beginning again at 0.
fn saturating_sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

impl Node {
    /// Multiply-accumulates of this operator; zero for all but convolutions and linear layers.
    #[must_use]
    pub fn macs(&self) -> Macs {
        Macs(match &self.op {
            Op::Fragment(instance) => instance.macs().0,
            Op::Conv(c) => {
                let per_output = u64::from(c.in_channels / c.groups) * u64::from(c.kernel).pow(2);
                self.output.elements().saturating_mul(per_output)
            }
            Op::Linear { inputs, outputs } => u64::from(*inputs) * u64::from(*outputs),
            _ => 0,
        })
    }

    /// Trainable parameters of this operator.
    #[must_use]
    pub fn params(&self) -> Params {
        Params(match &self.op {
            Op::Fragment(instance) => instance.params().0,
            Op::Conv(c) => {
                let weights: u64 = c.weight_shape().iter().map(|&d| u64::from(d)).product();
                let extra = match c.bias {
                    Bias::None => 0,
                    Bias::Plain => 1,
                    Bias::BatchNorm => 2,
                };
                weights + extra * u64::from(c.out_channels)
            }
            Op::Linear { inputs, outputs } => (u64::from(*inputs) + 1) * u64::from(*outputs),
            _ => 0,
        })
    }

    /// Bytes that this operator reads and writes at fp32: inputs, parameters and output.
    #[must_use]
    pub fn traffic(&self, network: &Network) -> Bytes {
        if let Op::Fragment(instance) = &self.op {
            return instance.traffic();
        }
        let read: u64 = self
            .inputs
            .iter()
            .map(|&t| network.shape(t).elements())
            .sum();
        Bytes(F32 * (read + self.params().0 + self.output.elements()))
    }
}

fn peak_activation_memory(network: &Network) -> Bytes {
    let mut last_use = vec![0; network.nodes().len() + 1];
    for (step, node) in network.nodes().iter().enumerate() {
        for &tensor in &node.inputs {
            last_use[tensor] = step;
        }
    }
    let mut alive = network.input().elements();
    let mut peak = alive;
    for (step, node) in network.nodes().iter().enumerate() {
        let freed: u64 = node
            .inputs
            .iter()
            .filter(|&&tensor| last_use[tensor] == step)
            .map(|&tensor| network.shape(tensor).elements())
            .sum();
        if matches!(node.op, Op::Activation(_)) && freed > 0 {
            continue; // in place: one tensor becomes the other
        }
        if let Op::Fragment(instance) = &node.op {
            // Its input and output are in both numbers.
            let inside = instance.peak_activation_memory(freed == 0).0 / F32;
            let outside = alive - network.shape(node.inputs[0]).elements();
            peak = peak.max(outside + inside);
        }
        alive += node.output.elements();
        peak = peak.max(alive);
        alive -= freed;
    }
    Bytes(F32 * peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::DesignSpace;

    /// For every step, adds up all tensors that were made and are still needed: the plain reading
    /// of the definition, without running sums.
    fn naive_peak(network: &Network) -> Bytes {
        let n = network.nodes().len();
        let first = |t: usize| t.checked_sub(1);
        let last = |t: usize| {
            (0..n)
                .rev()
                .find(|&s| network.nodes()[s].inputs.contains(&t))
        };
        let peak = (0..n)
            .map(|step| {
                let in_place = matches!(network.nodes()[step].op, Op::Activation(_));
                (0..=n)
                    .filter(|&t| first(t).is_none_or(|made| made <= step))
                    .filter(|&t| match last(t) {
                        Some(used) if in_place => used > step,
                        Some(used) => used >= step,
                        None => true,
                    })
                    .map(|t| network.shape(t).elements())
                    .sum::<u64>()
            })
            .max();
        Bytes(F32 * peak.unwrap_or(0))
    }

    #[test]
    fn peak_memory_equals_the_plain_definition() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        for i in 0..30 {
            let arch = space.sample(160, &mut Seed(i).rng()).unwrap();
            let network = space.network(&arch);
            assert_eq!(
                peak_activation_memory(&network),
                naive_peak(&network),
                "{}",
                space.print(&arch)
            );
        }
    }

    /// Products counted one by one, by walking over every output element of every convolution.
    fn naive_macs(network: &Network) -> u64 {
        network
            .nodes()
            .iter()
            .map(|node| match &node.op {
                Op::Conv(c) => {
                    let mut products = 0;
                    for _row in 0..node.output.height {
                        for _column in 0..node.output.width {
                            let [out, per_group, h, w] = c.weight_shape().map(u64::from);
                            products += out * per_group * h * w;
                        }
                    }
                    products
                }
                Op::Linear { inputs, outputs } => u64::from(*inputs) * u64::from(*outputs),
                _ => 0,
            })
            .sum()
    }

    #[test]
    fn macs_equal_the_plain_definition() {
        let space = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
        for i in 0..30 {
            let arch = space.sample(132, &mut Seed(i).rng()).unwrap();
            let network = space.network(&arch);
            assert_eq!(cost(&network).macs.0, naive_macs(&network));
        }
    }
}
