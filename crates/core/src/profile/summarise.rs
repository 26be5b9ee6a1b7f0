//! From jointly estimated means to the profile of one metric.

use std::collections::BTreeSet;

use super::additivity::additivity;
use super::joint::Joint;
use super::means::{Contrast, average};
use super::ranks::rankings;
use super::residual::Residuals;
use super::simultaneous::{FAMILY_ALPHA, Family};
use super::variance::{JointDraws, Total, total_variance, variance_shares};
use super::{
    AveragedEffect, BlockEffect, DepthEffect, Layout, Means, MetricProfile, Observation,
    Simultaneous, WidthEffect,
};
use crate::metric::MetricInfo;
use crate::space::{Block, BlockId, DesignSpace, Placement, Ratio};
use crate::stats::multiple::{Dependence, false_discovery};

impl MetricProfile {
    /// The profile of one metric: effects, averages, ranks, variance shares, additivity.
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
        let draws = JointDraws::new(means);
        let residuals = Residuals::new(&layout, observations, means);
        let total = Total::new(means, residuals.as_ref(), observations.len());
        let direction = metric.direction;
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
            widths: width_effects(space, &layout, means),
            averages: means.averages(space),
            variance: variance_shares(space, &layout, means, &draws, total),
            simultaneous: families(space, &layout, means),
            ranks: rankings(space, &layout, direction, means, &draws),
            additivity: residuals.and_then(|residuals| {
                let total = total_variance(space, &layout, &draws, total);
                additivity(space, &layout, observations, &residuals, total)
            }),
            joint: Some(Joint::new(means, &documented(space, &layout))),
        }
    }
}

/// What the joint covariance of a document is about: the overall mean, then the effects of blocks, depths and widths.
fn documented(space: &DesignSpace, layout: &Layout) -> Vec<Contrast> {
    let mut all = vec![vec![(layout.overall(), 1.0)]];
    all.extend(block_contrasts(layout));
    all.extend(depths(layout).map(|(unit, depth)| layout.depth_effect(unit, depth)));
    all.extend(widths(space, layout).map(|(unit, id, _)| layout.width_effect(unit, id)));
    all
}

/// The families of effects with their critical values.
fn families(space: &DesignSpace, layout: &Layout, means: &Means) -> Vec<Simultaneous> {
    let depths = depths(layout).map(|(unit, depth)| layout.depth_effect(unit, depth));
    let widths = widths(space, layout).map(|(unit, id, _)| layout.width_effect(unit, id));
    let averages = average_contrasts(space, layout);
    [
        (Family::Blocks, block_contrasts(layout)),
        (Family::Depths, depths.collect()),
        (Family::Widths, widths.collect()),
        (
            Family::Averages,
            averages.into_iter().map(|(_, c)| c).collect(),
        ),
    ]
    .into_iter()
    .filter_map(|(family, effects)| means.simultaneous(family, &effects))
    .collect()
}

/// Every (placement, block) of layers with a choice, with its index among all of them.
fn choices(layout: &Layout) -> impl Iterator<Item = (usize, Placement, BlockId)> + '_ {
    let all = layout
        .placements()
        .flat_map(|p| layout.block_ids(p).map(move |b| (p, b)));
    all.enumerate()
        .map(|(index, (p, b))| (index, p, b))
        .filter(|(_, p, _)| layout.blocks(*p) > 1)
}

fn block_contrasts(layout: &Layout) -> Vec<Contrast> {
    choices(layout)
        .map(|(_, p, b)| layout.block_effect(p, b))
        .collect()
}

/// Every depth of the units that have several.
fn depths(layout: &Layout) -> impl Iterator<Item = (usize, usize)> + '_ {
    let varying = (0..layout.units()).filter(|unit| layout.depths(*unit).count() > 1);
    varying.flat_map(|unit| layout.depths(unit).map(move |depth| (unit, depth)))
}

/// Every width of the units that have several: unit, index, channels.
fn widths<'a>(
    space: &'a DesignSpace,
    layout: &'a Layout,
) -> impl Iterator<Item = (usize, u8, u32)> + 'a {
    space.units().iter().enumerate().flat_map(|(u, unit)| {
        let several = unit
            .widths()
            .iter()
            .zip(layout.widths(u))
            .filter(|_| unit.widths().len() > 1);
        several.map(move |(width, id)| (u, id, width.channels))
    })
}

fn depth_effects(layout: &Layout, means: &Means) -> Vec<DepthEffect> {
    let effect = |(unit, depth)| DepthEffect {
        unit: unit + 1,
        depth,
        mean: means.contrast(&[(layout.depth(unit, depth), 1.0)]),
        effect: means.contrast(&layout.depth_effect(unit, depth)),
    };
    depths(layout).map(effect).collect()
}

/// Effects of the widths of every unit that has several.
fn width_effects(space: &DesignSpace, layout: &Layout, means: &Means) -> Vec<WidthEffect> {
    let effect = |(unit, id, channels)| WidthEffect {
        unit: unit + 1,
        channels,
        mean: means.contrast(&[(layout.width(unit, id), 1.0)]),
        effect: means.contrast(&layout.width_effect(unit, id)),
    };
    widths(space, layout).map(effect).collect()
}

/// The kernels and expansions that occur in a space, ascending.
pub(super) fn attributes(space: &DesignSpace) -> (Vec<u32>, Vec<Ratio>) {
    // A layer without a choice has no effects, so what is only there is nothing to compare.
    let chosen = || space.placements().filter(|p| space.blocks(*p).len() > 1);
    let blocks = || chosen().flat_map(|p| space.blocks(p));
    let kernels: BTreeSet<u32> = blocks().filter_map(Block::kernel).collect();
    let expansions: BTreeSet<Ratio> = blocks().filter_map(Block::expansion).collect();
    (
        kernels.into_iter().collect(),
        expansions.into_iter().collect(),
    )
}

/// The mean effect, over the placements of `unit` (of all units when `None`), of the blocks with this
/// kernel and this expansion; `None` stands for any. Empty when no placement has such a block.
pub(super) fn averaged(
    space: &DesignSpace,
    layout: &Layout,
    unit: Option<usize>,
    kernel: Option<u32>,
    expansion: Option<Ratio>,
) -> Contrast {
    let chosen = |p: Placement, b: BlockId| {
        let block = space.block(p, b);
        (kernel.is_none() || block.kernel() == kernel)
            && (expansion.is_none() || block.expansion() == expansion)
    };
    let contrasts: Vec<Contrast> = layout
        .placements()
        .filter(|p| layout.blocks(*p) > 1 && unit.is_none_or(|u| p.unit == u))
        .map(|p| layout.subset_effect(p, &|b| chosen(p, b)))
        .filter(|contrast| !contrast.is_empty())
        .collect();
    average(&contrasts)
}

/// The mean change, over the placements of `unit` (of all units when `None`), when a block gives way to the one
/// that `change` makes of it. Each placement that offers both counts once; empty where none does. So blocks
/// are only compared where they can stand for each other, even if layers differ in their candidates.
pub(super) fn exchanged(
    space: &DesignSpace,
    layout: &Layout,
    unit: Option<usize>,
    change: &dyn Fn(&Block) -> Option<Block>,
) -> Contrast {
    let at = |placement: Placement| -> Contrast {
        let index = |block: &Block| {
            let mut ids = layout.block_ids(placement);
            let id = ids.find(|id| space.block(placement, *id) == block)?;
            Some(layout.block(placement, id))
        };
        let pair = |id: BlockId| {
            let changed = index(&change(space.block(placement, id))?)?;
            Some(vec![(changed, 1.0), (layout.block(placement, id), -1.0)])
        };
        let pairs: Vec<Contrast> = layout.block_ids(placement).filter_map(pair).collect();
        average(&pairs)
    };
    let placements = layout
        .placements()
        .filter(|p| unit.is_none_or(|u| p.unit == u));
    let contrasts: Vec<Contrast> = placements.map(at).filter(|c| !c.is_empty()).collect();
    average(&contrasts)
}

/// Makes blocks with the kernel `large` of those with `small`, for [`exchanged`].
pub(super) fn kernel_change(small: u32, large: u32) -> impl Fn(&Block) -> Option<Block> {
    move |block| {
        (block.kernel() == Some(small)).then(|| block.with_sizes(block.expansion(), Some(large)))
    }
}

/// Makes blocks with the expansion `large` of those with `small`, for [`exchanged`].
pub(super) fn expansion_change(small: Ratio, large: Ratio) -> impl Fn(&Block) -> Option<Block> {
    move |block| {
        (block.expansion() == Some(small)).then(|| block.with_sizes(Some(large), block.kernel()))
    }
}

impl Means {
    /// The effect of every block at every placement, placement by placement. Layers with one candidate offer no
    /// choice and are left out.
    #[must_use]
    pub fn block_effects(&self, space: &DesignSpace) -> Vec<BlockEffect> {
        let (layout, means) = (&Layout::new(space), self);
        let effects = block_contrasts(layout);
        let adjusted = means.adjusted_p(&effects);
        let alone: Vec<f64> = effects
            .iter()
            .map(|e| means.p_value(&means.contrast(e)))
            .collect();
        let q = false_discovery(&alone, Dependence::Positive);
        let spread = |index| means.spreads.as_ref().and_then(|s| s.get(index).copied());
        choices(layout)
            .enumerate()
            .map(|(i, (index, placement, id))| {
                let block = space.block(placement, id);
                BlockEffect {
                    unit: placement.unit + 1,
                    layer: placement.layer + 1,
                    block: block.to_string(),
                    kernel: block.kernel(),
                    expansion: block.expansion(),
                    mean: means.contrast(&[(layout.block(placement, id), 1.0)]),
                    effect: means.contrast(&effects[i]),
                    p: alone[i],
                    adjusted_p: adjusted[i],
                    q: q[i],
                    significant: adjusted[i] < FAMILY_ALPHA,
                    spread: spread(index),
                }
            })
            .collect()
    }

    /// Effects averaged over placements, each counting once: cells and margins of the kernel-by-expansion
    /// table, for the whole network and for every unit.
    #[must_use]
    pub fn averages(&self, space: &DesignSpace) -> Vec<AveragedEffect> {
        let of = |(cell, contrast): (Cell, Contrast)| AveragedEffect {
            unit: cell.unit.map(|u| u + 1),
            kernel: cell.kernel,
            expansion: cell.expansion,
            effect: self.contrast(&contrast),
        };
        let cells = average_contrasts(space, &Layout::new(space));
        cells.into_iter().map(of).collect()
    }
}

/// A cell or margin of the kernel-by-expansion table.
struct Cell {
    unit: Option<usize>,
    kernel: Option<u32>,
    expansion: Option<Ratio>,
}

/// Every cell and margin that some placement has blocks for: of the whole network, then of every unit.
fn average_contrasts(space: &DesignSpace, layout: &Layout) -> Vec<(Cell, Contrast)> {
    let (kernels, expansions) = attributes(space);
    let mut all = Vec::new();
    for unit in std::iter::once(None).chain((0..layout.units()).map(Some)) {
        let mut cells: Vec<(Option<u32>, Option<Ratio>)> = Vec::new();
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
                let cell = Cell {
                    unit,
                    kernel,
                    expansion,
                };
                all.push((cell, contrast));
            }
        }
    }
    all
}
