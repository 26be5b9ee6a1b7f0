//! Exact means of metrics that are sums over units: the oracle of the estimators.

use super::Layout;
use crate::space::{BlockId, DesignSpace, UnitChoice};

/// The exact means, in the order of [`Layout`], of the metric
/// `fixed + sum over units u of term(u, what is chosen in u)`, by going through every
/// configuration of every unit under the space's own distribution.
///
/// Lookup tables, MACs and the simulated device are such metrics where no unit changes its width.
#[must_use]
pub fn exact_means(
    space: &DesignSpace,
    term: impl Fn(usize, UnitChoice<'_>) -> f64,
    fixed: f64,
) -> Vec<f64> {
    let layout = Layout::new(space);
    let units: Vec<UnitMeans> = (0..layout.units())
        .map(|u| UnitMeans::new(&layout, u, &term))
        .collect();
    let overall = fixed + units.iter().map(UnitMeans::overall).sum::<f64>();
    let mut values = vec![overall; layout.len()];
    for (u, unit) in units.iter().enumerate() {
        let others = overall - unit.overall();
        for (depth, mean) in layout.depths(u).zip(&unit.by_depth) {
            values[layout.depth(u, depth)] = others + mean;
        }
        for (width, mean) in layout.widths(u).zip(&unit.by_width) {
            values[layout.width(u, width)] = others + mean;
        }
        for placement in layout.placements().filter(|p| p.unit == u) {
            for block in layout.block_ids(placement) {
                let mean = unit.by_block[placement.layer][usize::from(block)];
                values[layout.block(placement, block)] = others + mean;
            }
        }
    }
    values
}

/// Conditional means of one unit's term.
struct UnitMeans {
    /// By depth, shallowest first.
    by_depth: Vec<f64>,
    /// By width.
    by_width: Vec<f64>,
    /// By layer and block, given that the layer is active.
    by_block: Vec<Vec<f64>>,
}

impl UnitMeans {
    #[allow(clippy::cast_precision_loss)]
    fn new(layout: &Layout, unit: usize, term: &impl Fn(usize, UnitChoice<'_>) -> f64) -> Self {
        let blocks: Vec<usize> = layout
            .placements()
            .filter(|p| p.unit == unit)
            .map(|p| layout.blocks(p))
            .collect();
        let (depths, widths) = (layout.depths(unit).count(), layout.widths(unit).count());
        let mut means = Self {
            by_depth: Vec::new(),
            by_width: vec![0.0; widths],
            by_block: blocks.iter().map(|n| vec![0.0; *n]).collect(),
        };
        let mut weights = vec![0.0; blocks.len()];
        for depth in layout.depths(unit) {
            // Each depth and width is equally likely, and so is each configuration of a depth.
            let configurations: f64 = blocks[..depth].iter().map(|n| *n as f64).product();
            let weight = 1.0 / (configurations * widths as f64);
            let mut mean = 0.0;
            for width in layout.widths(unit) {
                for_each_configuration(&blocks[..depth], &mut |blocks| {
                    let value = weight * term(unit, UnitChoice { width, blocks });
                    mean += value;
                    means.by_width[usize::from(width)] += value * widths as f64 / depths as f64;
                    for (layer, &block) in blocks.iter().enumerate() {
                        means.by_block[layer][usize::from(block)] += value;
                    }
                });
            }
            weights.iter_mut().take(depth).for_each(|w| *w += 1.0);
            means.by_depth.push(mean);
        }
        for (layer, weight) in means.by_block.iter_mut().zip(weights) {
            let share = layer.len() as f64 / weight;
            layer.iter_mut().for_each(|sum| *sum *= share);
        }
        means
    }

    fn overall(&self) -> f64 {
        crate::stats::mean(&self.by_depth)
    }
}

fn for_each_configuration(blocks: &[usize], visit: &mut impl FnMut(&[BlockId])) {
    let mut configuration = vec![0 as BlockId; blocks.len()];
    loop {
        visit(&configuration);
        // Counts upwards like an odometer; done when every wheel has turned over.
        let mut wheels = configuration.iter().zip(blocks);
        let Some(wheel) = wheels.position(|(&b, &n)| usize::from(b) + 1 < n) else {
            return;
        };
        configuration[..wheel].fill(0);
        configuration[wheel] += 1;
    }
}
