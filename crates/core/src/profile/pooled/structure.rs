//! The structure that the coefficients are shrunk towards: from what the whole network shares down to the single block
//! at a single placement.

use std::collections::BTreeSet;

use nalgebra::DMatrix;

use super::features::Features;
use crate::profile::Layout;
use crate::profile::work::{KINDS, Work, unit_spread};
use crate::space::{Block, BlockId, DesignSpace, Placement};

/// Numeric attributes of blocks: logarithms of kernel and expansion.
pub(super) const NUMERIC: usize = 2;

/// The levels, those left out that cannot vary in this space: directions of the coefficients that share one variance,
/// one column per direction and as many rows as the model has columns.
pub(super) fn levels(features: &Features, space: &DesignSpace, work: &Work) -> Vec<DMatrix<f64>> {
    let mut all = depth_levels(features);
    all.extend(width_levels(features));
    all.extend(numeric_levels(features, space));
    all.extend(categorical_levels(features, space));
    all.extend(work_levels(features, work));
    all.push(optional_level(features, space));
    all.extend(interaction_levels(features));
    // What does not vary within any placement (the one kernel of all blocks, say) is no level.
    all.retain(|directions| directions.iter().any(|x| x.abs() > 1e-12));
    all
}

type Scope<'a> = &'a dyn Fn(Placement) -> usize;

fn whole(_: Placement) -> usize {
    0
}

fn unit(p: Placement) -> usize {
    p.unit
}

fn place(p: Placement) -> usize {
    (p.unit << 16) + p.layer
}

/// Units, with their first layers (which change shape) apart.
fn first(p: Placement) -> usize {
    2 * p.unit + usize::from(p.layer == 0)
}

/// The number of layers: one slope for the network, one for every unit, and every depth by itself.
fn depth_levels(features: &Features) -> Vec<DMatrix<f64>> {
    let layout = &features.layout;
    let slope = |unit: usize, depth: usize| {
        let depths = layout.depths(unit);
        depth as f64 - (depths.start() + depths.end()) as f64 / 2.0
    };
    let units = layout.units();
    let most = (0..units).map(|u| *layout.depths(u).end()).max();
    let most = most.unwrap_or(0) + 1;
    vec![
        features.depth_directions(1, &|_, u, d| slope(u, d)),
        features.depth_directions(units, &|i, u, d| on(i == u, slope(u, d))),
        features.depth_directions(units * most, &|i, u, d| on(i == u * most + d, 1.0)),
    ]
}

/// The same for widths.
fn width_levels(features: &Features) -> Vec<DMatrix<f64>> {
    let layout = &features.layout;
    let units = layout.units();
    let count = |u: usize| layout.widths(u).count();
    let slope = |u: usize, w: usize| w as f64 - (count(u) - 1) as f64 / 2.0;
    let most = (0..units).map(count).max().unwrap_or(1);
    vec![
        features.width_directions(1, &|_, u, w| slope(u, w)),
        features.width_directions(units, &|i, u, w| on(i == u, slope(u, w))),
        features.width_directions(units * most, &|i, u, w| on(i == u * most + w, 1.0)),
    ]
}

fn on(condition: bool, value: f64) -> f64 {
    if condition { value } else { 0.0 }
}

/// Slopes on the logarithms of kernel and expansion: few numbers that say most of what blocks differ in.
fn numeric_levels(features: &Features, space: &DesignSpace) -> Vec<DMatrix<f64>> {
    let numbers = numeric(&features.layout, space);
    let mut levels = Vec::new();
    for scope in [&whole as Scope<'_>, &unit, &place] {
        for attribute in &numbers {
            let value = |p: Placement, b: BlockId| attribute[features.layout.block(p, b)];
            levels.push(scoped(features, scope, &value));
        }
    }
    levels
}

/// Logarithms of kernel and expansion by layout index, centred within placements and scaled to unit spread. A block
/// that has none stands at the average of the others.
pub(super) fn numeric(layout: &Layout, space: &DesignSpace) -> [Vec<f64>; NUMERIC] {
    let of = |attribute: &dyn Fn(&Block) -> Option<f64>| {
        let mut values = vec![0.0; layout.len()];
        for placement in layout.placements() {
            let known: Vec<f64> = space
                .blocks(placement)
                .iter()
                .filter_map(attribute)
                .collect();
            let average = crate::stats::mean(&known);
            for id in layout.block_ids(placement) {
                let value = attribute(space.block(placement, id)).unwrap_or(average);
                values[layout.block(placement, id)] = value;
            }
        }
        unit_spread(layout, values)
    };
    [
        of(&|block| block.kernel().map(|k| f64::from(k).ln())),
        of(&|block| block.expansion().map(|e| e.value().ln())),
    ]
}

/// What is not a slope: every kernel, every expansion, every kind of block and every block by itself.
fn categorical_levels(features: &Features, space: &DesignSpace) -> Vec<DMatrix<f64>> {
    let kernel = |p: Placement, b: BlockId| u64::from(space.block(p, b).kernel().unwrap_or(0));
    let expansions = distinct(space, Block::expansion);
    let expansion =
        |p: Placement, b: BlockId| index_of(&expansions, &space.block(p, b).expansion());
    let styles = distinct(space, style);
    let style = |p: Placement, b: BlockId| index_of(&styles, &style(space.block(p, b)));
    let all = distinct(space, Block::clone);
    let block = |p: Placement, b: BlockId| index_of(&all, space.block(p, b));
    let mut levels = Vec::new();
    for scope in [&whole as Scope<'_>, &unit] {
        levels.push(indicator_level(features, scope, &kernel));
        levels.push(indicator_level(features, scope, &expansion));
        levels.push(indicator_level(features, scope, &style));
        levels.push(indicator_level(features, scope, &block));
    }
    levels.push(indicator_level(features, &place, &style));
    levels.push(indicator_level(features, &place, &block));
    levels
}

/// One direction for every (scope, attribute value) that occurs.
fn indicator_level(
    features: &Features,
    scope: Scope<'_>,
    attribute: &dyn Fn(Placement, BlockId) -> u64,
) -> DMatrix<f64> {
    let key = |p, b| (scope(p), attribute(p, b));
    let keys: BTreeSet<(usize, u64)> = features.combinations().map(|(p, b)| key(p, b)).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    features.block_directions(keys.len(), &|column, p, b| {
        on(keys[column] == key(p, b), 1.0)
    })
}

/// One direction for every scope.
fn scoped(
    features: &Features,
    scope: Scope<'_>,
    value: &dyn Fn(Placement, BlockId) -> f64,
) -> DMatrix<f64> {
    let scopes: BTreeSet<usize> = features.combinations().map(|(p, _)| scope(p)).collect();
    let scopes: Vec<_> = scopes.into_iter().collect();
    features.block_directions(scopes.len(), &|column, p, b| {
        on(scopes[column] == scope(p), value(p, b))
    })
}

/// The block's MACs and bytes, and both of its depthwise part.
fn work_levels(features: &Features, work: &Work) -> Vec<DMatrix<f64>> {
    let level = |scope: Scope<'_>| {
        let kinds: Vec<DMatrix<f64>> = (0..KINDS)
            .map(|kind| scoped(features, scope, &|p, b| work.scaled(kind, p, b)))
            .collect();
        let columns: Vec<_> = kinds.iter().flat_map(DMatrix::column_iter).collect();
        DMatrix::from_columns(&columns)
    };
    [&whole as Scope<'_>, &unit, &first]
        .into_iter()
        .map(level)
        .collect()
}

/// The same slopes for how often a layer is left out: in a supernet, what is often left out is trained less, and does
/// less.
fn optional_level(features: &Features, space: &DesignSpace) -> DMatrix<f64> {
    let layout = &features.layout;
    let left_out = |p: Placement| {
        let depths = layout.depths(p.unit);
        let without = depths.clone().filter(|&depth| depth <= p.layer).count();
        without as f64 / depths.count() as f64
    };
    let slope = |attribute: &Vec<f64>| {
        let value = |p: Placement, b: BlockId| attribute[layout.block(p, b)] * left_out(p);
        scoped(features, &whole, &value)
    };
    let slopes: Vec<DMatrix<f64>> = numeric(layout, space).iter().map(slope).collect();
    let columns: Vec<_> = slopes.iter().flat_map(DMatrix::column_iter).collect();
    DMatrix::from_columns(&columns)
}

/// What neighbours do to each other, and blocks to depths: one strength for the network, and one for every unit.
fn interaction_levels(features: &Features) -> Vec<DMatrix<f64>> {
    let interactions = &features.interactions;
    if interactions.len() == 0 {
        return Vec::new();
    }
    let kinds = interactions.kinds();
    let shared =
        features.interaction_directions(kinds, &|kind, i| on(interactions.kind(i) == kind, 1.0));
    let single = features.interaction_directions(interactions.len(), &|j, i| on(i == j, 1.0));
    vec![shared, single]
}

/// The different values of an attribute of the space's blocks.
fn distinct<T: Ord>(space: &DesignSpace, attribute: impl Fn(&Block) -> T) -> Vec<T> {
    let blocks = space.placements().flat_map(|p| space.blocks(p));
    let values: BTreeSet<T> = blocks.map(attribute).collect();
    values.into_iter().collect()
}

fn index_of<T: Ord>(values: &[T], value: &T) -> u64 {
    values.binary_search(value).unwrap_or(0) as u64
}

/// A block without kernel and expansion: its kind, non-linearity, squeeze-and-excitation and flags.
fn style(block: &Block) -> Block {
    block.with_sizes(None, None)
}
