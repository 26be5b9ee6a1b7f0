//! Exact means of metrics that are sums over units: the oracle of the estimators.

use super::Layout;
use crate::space::{BlockId, DesignSpace};

/// The exact means, in the order of [`Layout`], of the metric
/// `fixed + sum over units u of term(u, blocks of u's active layers)`, by going through every
/// configuration of every unit under the space's own distribution.
///
/// Lookup tables, MACs and the simulated device are such metrics.
#[must_use]
pub fn exact_means(
    space: &DesignSpace,
    term: impl Fn(usize, &[BlockId]) -> f64,
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
        for placement in layout.placements().filter(|p| p.unit == u) {
            for block in (0..layout.blocks(u)).filter_map(|b| BlockId::try_from(b).ok()) {
                let index = placement.layer * layout.blocks(u) + usize::from(block);
                values[layout.block(placement, block)] = others + unit.by_block[index];
            }
        }
    }
    values
}

/// Conditional means of one unit's term.
struct UnitMeans {
    /// By depth, shallowest first.
    by_depth: Vec<f64>,
    /// By (layer, block), given that the layer is active.
    by_block: Vec<f64>,
}

impl UnitMeans {
    #[allow(clippy::cast_precision_loss)]
    fn new(layout: &Layout, unit: usize, term: &impl Fn(usize, &[BlockId]) -> f64) -> Self {
        let blocks = layout.blocks(unit);
        let deepest = *layout.depths(unit).end();
        let mut by_depth = Vec::new();
        let mut sums = vec![0.0; deepest * blocks];
        let mut weights = vec![0.0; deepest];
        for depth in layout.depths(unit) {
            // Each depth is equally likely, and so is each configuration of a depth.
            let weight = 1.0 / (blocks as f64).powi(i32::try_from(depth).unwrap_or(i32::MAX));
            let mut mean = 0.0;
            for_each_configuration(depth, blocks, &mut |configuration| {
                let value = weight * term(unit, configuration);
                mean += value;
                for (layer, &block) in configuration.iter().enumerate() {
                    sums[layer * blocks + usize::from(block)] += value;
                }
            });
            weights
                .iter_mut()
                .take(depth)
                .for_each(|w| *w += 1.0 / blocks as f64);
            by_depth.push(mean);
        }
        let by_block = sums
            .iter()
            .enumerate()
            .map(|(i, sum)| sum / weights[i / blocks])
            .collect();
        Self { by_depth, by_block }
    }

    fn overall(&self) -> f64 {
        crate::stats::mean(&self.by_depth)
    }
}

fn for_each_configuration(depth: usize, blocks: usize, visit: &mut impl FnMut(&[BlockId])) {
    let mut configuration = vec![0 as BlockId; depth];
    loop {
        visit(&configuration);
        // Counts upwards like an odometer; done when every wheel has turned over.
        let Some(wheel) = configuration
            .iter()
            .position(|&b| usize::from(b) + 1 < blocks)
        else {
            return;
        };
        configuration[..wheel].fill(0);
        configuration[wheel] += 1;
    }
}
