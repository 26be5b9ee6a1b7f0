//! What every block costs at every placement: a function of the space and the resolution alone.

use super::Layout;
use crate::network::{Node, Op, Origin};
use crate::space::{BlockId, DesignSpace};

/// Kinds of work that are told apart.
pub(super) const KINDS: usize = 4;
/// Index of the MACs among the kinds.
pub(super) const MACS: usize = 0;

/// MACs, bytes moved, depthwise MACs and bytes moved by depthwise convolutions, by layout index; zero at
/// indices that are not blocks.
pub(super) fn block_work(
    space: &DesignSpace,
    resolution: u32,
    layout: &Layout,
) -> Vec<[f64; KINDS]> {
    let mut work = vec![[0.0; KINDS]; layout.len()];
    for block in 0..layout.block_counts().max().unwrap_or(0) {
        // The deepest network with this block everywhere shows its work at every placement.
        let everywhere = space
            .units()
            .iter()
            .map(|u| {
                vec![BlockId::try_from(block.min(u.blocks().len() - 1)).unwrap_or(0); u.max_depth()]
            })
            .collect();
        let Ok(arch) = space.architecture(resolution, everywhere) else {
            continue;
        };
        let network = space.network(&arch);
        let mut seen = vec![[0.0; KINDS]; layout.len()];
        for node in network.nodes() {
            if let Origin::Choice(placement, id) = node.origin {
                let traffic = node.traffic(&network).as_f64();
                let row = &mut seen[layout.block(placement, id)];
                row.iter_mut()
                    .zip(node_work(node, traffic))
                    .for_each(|(sum, w)| *sum += w);
            }
        }
        work.iter_mut()
            .zip(seen)
            .filter(|(_, s)| s[MACS] > 0.0)
            .for_each(|(w, s)| *w = s);
    }
    work
}

fn node_work(node: &Node, traffic: f64) -> [f64; KINDS] {
    let macs = node.macs().as_f64();
    let depthwise = matches!(node.op, Op::Conv(c) if c.groups > 1);
    let only = |x: f64| if depthwise { x } else { 0.0 };
    [macs, traffic, only(macs), only(traffic)]
}
