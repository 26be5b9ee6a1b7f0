//! A network without what goes beside its main path.

use std::collections::HashMap;

use super::{Network, Node, Op, TensorId};

impl Network {
    /// The network without skips (sums with an earlier tensor) and squeeze-and-excitation, up to the image before the
    /// last global average, or else before the classifier: what `Zen-score` (Lin et al. 2021, Algorithm 1) calls the
    /// pre-GAP feature map of a network from which residual links are removed. Skips inside blocks of the user's own
    /// stay.
    #[must_use]
    pub fn main_path(&self) -> Network {
        let aliases = self.aliases();
        let end = self.features(&aliases);
        let keep = self.ancestors(end, &aliases);
        let mut places: HashMap<TensorId, TensorId> = HashMap::from([(0, 0)]);
        let mut nodes = Vec::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(i, _)| keep[*i]) {
            let inputs = node.inputs.iter().map(|&t| places[&aliases[t]]).collect();
            nodes.push(Node {
                inputs,
                ..node.clone()
            });
            places.insert(index + 1, nodes.len());
        }
        Network {
            input: self.input,
            nodes,
        }
    }

    /// For every tensor, the one that stands for it once sums and gates are gone.
    fn aliases(&self) -> Vec<TensorId> {
        let mut aliases: Vec<TensorId> = vec![0];
        for (index, node) in self.nodes.iter().enumerate() {
            let alias = match node.op {
                // Shortcuts are built before the main path.
                Op::Add => node.inputs.iter().copied().max().map(|t| aliases[t]),
                Op::Scale => node.inputs.first().map(|&t| aliases[t]),
                _ => None,
            };
            aliases.push(alias.unwrap_or(index + 1));
        }
        aliases
    }

    /// The tensor before the last global average that is on the main path, or before the classifier.
    fn features(&self, aliases: &[TensorId]) -> TensorId {
        let end = aliases.last().copied().unwrap_or_default();
        let on_path = self.ancestors(end, aliases);
        let nodes = self.nodes.iter().enumerate().rev();
        let nodes = || nodes.clone().filter(|(i, _)| on_path[*i]);
        let is_pool = |op: &Op| matches!(op, Op::GlobalAveragePool);
        let is_linear = |op: &Op| matches!(op, Op::Linear { .. });
        let pool = nodes().find(|(_, node)| is_pool(&node.op));
        let cut = pool.or_else(|| nodes().rfind(|(_, n)| is_linear(&n.op)));
        cut.map_or(end, |(_, node)| aliases[node.inputs[0]])
    }

    /// Which nodes a tensor depends on, its own included.
    fn ancestors(&self, tensor: TensorId, aliases: &[TensorId]) -> Vec<bool> {
        let mut keep = vec![false; self.nodes.len()];
        let mut open = vec![aliases[tensor]];
        while let Some(tensor) = open.pop() {
            if let Some(node) = tensor.checked_sub(1).filter(|&n| !keep[n]) {
                keep[node] = true;
                open.extend(self.nodes[node].inputs.iter().map(|&t| aliases[t]));
            }
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::DesignSpace;

    #[test]
    fn skips_and_gates_are_gone_and_all_else_before_the_pool_is_there() {
        for name in ["ofa-mbv3", "ofa-proxyless", "ofa-resnet50"] {
            let space = DesignSpace::builtin(name, None).unwrap();
            for seed in 0..10 {
                let resolution = space.default_resolution();
                let arch = space.sample(resolution, &mut Seed(seed).rng()).unwrap();
                let (whole, path) = (space.network(&arch), space.network(&arch).main_path());
                let beside = |n: &Node| n.name.contains(".se.") || n.name.contains(".shortcut");
                let last_pool = whole
                    .nodes()
                    .iter()
                    .rposition(|n| n.op == Op::GlobalAveragePool);
                let expected: Vec<&str> = whole.nodes()[..last_pool.unwrap()]
                    .iter()
                    .filter(|n| !beside(n) && !matches!(n.op, Op::Add))
                    .map(|n| n.name.as_str())
                    .collect();
                let found: Vec<&str> = path.nodes().iter().map(|n| n.name.as_str()).collect();
                assert_eq!(found, expected, "{name}");
                for (index, node) in path.nodes().iter().enumerate() {
                    assert_eq!(node.inputs, [index], "{name}: a chain");
                }
                assert!(path.output().height > 1, "{name}");
            }
        }
    }
}
