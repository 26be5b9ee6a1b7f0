//! From jointly estimated means to the profile of one metric.

use super::means::{Contrast, average};
use super::variance::variance_shares;
use super::{AveragedEffect, BlockEffect, DepthEffect, Layout, Means, MetricProfile, Observation};
use crate::metric::MetricInfo;
use crate::space::{BlockId, DesignSpace, Placement, Unit};

impl MetricProfile {
    /// The profile of one metric: effects, averages, variance shares.
    ///
    /// `observations` are those that `means` were estimated from, `failures` the number of
    /// architectures that have no value.
    #[must_use]
    pub fn from_means(
        space: &DesignSpace,
        metric: MetricInfo,
        estimator: &str,
        observations: &[Observation],
        failures: usize,
        means: &Means,
    ) -> Self {
        let layout = Layout::new(space);
        let values = || observations.iter().map(|o| o.value);
        Self {
            metric,
            estimator: estimator.to_owned(),
            evaluations: observations.len(),
            failures,
            mean: means.contrast(&[(layout.overall(), 1.0)]),
            sd: means.sd,
            range: [
                values().fold(f64::INFINITY, f64::min),
                values().fold(f64::NEG_INFINITY, f64::max),
            ],
            held_out_r2: means.held_out_r2,
            blocks: means.block_effects(space),
            depths: depth_effects(&layout, means),
            averages: means.averages(space),
            variance: variance_shares(space, &layout, means),
        }
    }
}

fn depth_effects(layout: &Layout, means: &Means) -> Vec<DepthEffect> {
    let all =
        (0..layout.units()).flat_map(|unit| layout.depths(unit).map(move |depth| (unit, depth)));
    all.map(|(unit, depth)| DepthEffect {
        unit: unit + 1,
        depth,
        mean: means.contrast(&[(layout.depth(unit, depth), 1.0)]),
        effect: means.contrast(&layout.depth_effect(unit, depth)),
    })
    .collect()
}

/// The kernels and expansions that occur in a space, ascending.
pub(super) fn attributes(space: &DesignSpace) -> (Vec<u32>, Vec<u32>) {
    let blocks = || space.units().iter().flat_map(Unit::blocks);
    let sorted = |mut values: Vec<u32>| {
        values.sort_unstable();
        values.dedup();
        values
    };
    (
        sorted(blocks().map(|b| b.kernel).collect()),
        sorted(blocks().map(|b| b.expansion).collect()),
    )
}

/// The mean effect, over the placements of `unit` (of all units when `None`), of the blocks with this
/// kernel and this expansion; `None` stands for any. Empty when no placement has such a block.
pub(super) fn averaged(
    space: &DesignSpace,
    layout: &Layout,
    unit: Option<usize>,
    kernel: Option<u32>,
    expansion: Option<u32>,
) -> Contrast {
    let chosen = |p: Placement, b: BlockId| {
        let block = space.block(p.unit, b);
        kernel.is_none_or(|k| block.kernel == k) && expansion.is_none_or(|e| block.expansion == e)
    };
    let contrasts: Vec<Contrast> = layout
        .placements()
        .filter(|p| unit.is_none_or(|u| p.unit == u))
        .map(|p| layout.subset_effect(p, &|b| chosen(p, b)))
        .filter(|contrast| !contrast.is_empty())
        .collect();
    average(&contrasts)
}

impl Means {
    /// The effect of every block at every placement, placement by placement.
    #[must_use]
    pub fn block_effects(&self, space: &DesignSpace) -> Vec<BlockEffect> {
        let (layout, means) = (&Layout::new(space), self);
        let claims = space.combinations();
        let all = layout
            .placements()
            .flat_map(|p| layout.block_ids(p.unit).map(move |b| (p, b)));
        all.enumerate()
            .map(|(index, (placement, id))| {
                let block = space.block(placement.unit, id);
                let effect = means.contrast(&layout.block_effect(placement, id));
                BlockEffect {
                    unit: placement.unit + 1,
                    layer: placement.layer + 1,
                    block: block.to_string(),
                    kernel: block.kernel,
                    expansion: block.expansion,
                    mean: means.contrast(&[(layout.block(placement, id), 1.0)]),
                    significant: means.differs_from_zero(&effect, claims),
                    effect,
                    spread: means.spreads.as_ref().and_then(|s| s.get(index).copied()),
                }
            })
            .collect()
    }

    /// Effects averaged over placements, each counting once: cells and margins of the kernel-by-expansion
    /// table, for the whole network and for every unit.
    #[must_use]
    pub fn averages(&self, space: &DesignSpace) -> Vec<AveragedEffect> {
        let (layout, means) = (&Layout::new(space), self);
        let (kernels, expansions) = attributes(space);
        let mut all = Vec::new();
        for unit in std::iter::once(None).chain((0..layout.units()).map(Some)) {
            let mut cells: Vec<(Option<u32>, Option<u32>)> = Vec::new();
            cells.extend(
                kernels
                    .iter()
                    .flat_map(|&k| expansions.iter().map(move |&e| (Some(k), Some(e)))),
            );
            cells.extend(kernels.iter().map(|&k| (Some(k), None)));
            cells.extend(expansions.iter().map(|&e| (None, Some(e))));
            for (kernel, expansion) in cells {
                let contrast = averaged(space, layout, unit, kernel, expansion);
                if !contrast.is_empty() {
                    let effect = means.contrast(&contrast);
                    all.push(AveragedEffect {
                        unit: unit.map(|u| u + 1),
                        kernel,
                        expansion,
                        effect,
                    });
                }
            }
        }
        all
    }
}
