//! What every block costs at every placement: a function of the space and the resolution alone.

use super::Layout;
use crate::network::{Network, Node, Op, Origin};
use crate::space::{BlockId, Choice, DesignSpace, Placement, Unit};

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
    let widest = space.units().iter().map(Unit::width_choices).max();
    let widths = widest.unwrap_or(1);
    for block in 0..layout.most_blocks() {
        for width in 0..widths {
            // The deepest network with this block everywhere shows its work at every placement; where units
            // have several widths, the average over networks of one relative width stands for all.
            let choices: Vec<Choice> = space
                .units()
                .iter()
                .map(|unit| everywhere(unit, block, width))
                .collect();
            let Ok(arch) = space.architecture(resolution, &choices) else {
                continue;
            };
            add_work(&space.network(&arch), block, layout, &mut work);
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let share = 1.0 / widths as f64;
    work.iter_mut().flatten().for_each(|w| *w *= share);
    work
}

/// The deepest configuration of a unit with candidate `block`, or the last there is, in every layer.
fn everywhere(unit: &Unit, block: usize, width: usize) -> Choice {
    let id = |index: usize, count: usize| u8::try_from(index.min(count - 1)).unwrap_or(0);
    Choice {
        width: id(width, unit.width_choices()),
        blocks: (0..unit.max_depth())
            .map(|layer| id(block, unit.blocks(layer).len()))
            .collect(),
    }
}

/// Adds the work of every layer that holds `block` by choice, not because its list is shorter.
fn add_work(network: &Network, block: usize, layout: &Layout, work: &mut [[f64; KINDS]]) {
    for node in network.nodes() {
        if let Origin::Choice(placement, id) = node.origin
            && usize::from(id) == block
        {
            let traffic = node.traffic(network).as_f64();
            let row = &mut work[layout.block(placement, id)];
            row.iter_mut()
                .zip(node_work(node, traffic))
                .for_each(|(sum, w)| *sum += w);
        }
    }
}

fn node_work(node: &Node, traffic: f64) -> [f64; KINDS] {
    let macs = node.macs().as_f64();
    let depthwise = matches!(node.op, Op::Conv(c) if c.groups > 1);
    let only = |x: f64| if depthwise { x } else { 0.0 };
    [macs, traffic, only(macs), only(traffic)]
}

/// [`block_work`], centred within placements and scaled to unit spread, as regressions want it.
pub(super) struct Work {
    layout: Layout,
    /// By kind of work, then by layout index.
    scaled: Vec<Vec<f64>>,
}

impl Work {
    pub(super) fn new(space: &DesignSpace, resolution: u32, layout: &Layout) -> Self {
        let work = block_work(space, resolution, layout);
        let scaled = (0..KINDS)
            .map(|kind| unit_spread(layout, work.iter().map(|w| w[kind]).collect()))
            .collect();
        Self {
            layout: layout.clone(),
            scaled,
        }
    }

    /// One kind of work by layout index.
    pub(super) fn kind(&self, kind: usize) -> &[f64] {
        &self.scaled[kind]
    }

    pub(super) fn scaled(&self, kind: usize, placement: Placement, block: BlockId) -> f64 {
        self.scaled[kind][self.layout.block(placement, block)]
    }
}

/// Centres within placements and scales to a root mean square of 1, so that all variances of a structure have one
/// meaning.
pub(super) fn unit_spread(layout: &Layout, mut values: Vec<f64>) -> Vec<f64> {
    let (mut squares, mut count) = (0.0, 0.0);
    for placement in layout.placements() {
        let rows = || {
            layout
                .block_ids(placement)
                .map(|b| layout.block(placement, b))
        };
        let here: Vec<f64> = rows().map(|i| values[i]).collect();
        let center = crate::stats::mean(&here);
        for i in rows() {
            values[i] -= center;
            squares += values[i] * values[i];
            count += 1.0;
        }
    }
    let scale = f64::sqrt(squares / count);
    if scale > 1e-12 {
        values.iter_mut().for_each(|v| *v /= scale);
    }
    values
}
