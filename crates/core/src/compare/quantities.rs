//! What two profiles are compared in: linear functions of their estimates, matched by name.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::profile::MetricProfile;
use crate::space::Ratio;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOf {
    /// The effect of a block at a placement.
    Block,
    /// The effect of a unit's depth.
    Depth,
    /// The effect of a unit's width.
    Width,
    /// An effect averaged over placements.
    Average,
}

/// A quantity by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is.
    pub of: ChangeOf,
    /// The unit, counted from 1; `None` for the whole network.
    pub unit: Option<usize>,
    /// The layer, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer: Option<usize>,
    /// The block, depth (`3 layers`), width (`48 channels`), or which blocks are averaged (`5x5, expansion 3`).
    pub name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.unit, self.layer) {
            (Some(unit), Some(layer)) => write!(f, "unit {unit}, layer {layer}, {}", self.name),
            (Some(unit), None) => write!(f, "unit {unit}, {}", self.name),
            _ => write!(f, "whole network, {}", self.name),
        }
    }
}

/// Weights on a profile's estimates: the mean, then the effects of blocks, depths and widths.
pub(super) type Weights = Vec<(usize, f64)>;

/// What a quantity is one alternative of, with the others of its unit, or of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alternatives {
    Kernels,
    Expansions,
    /// Blocks that have neither a kernel nor an expansion, by their names.
    Blocks,
    Depths,
    Widths,
}

/// A quantity in both profiles.
pub(super) struct Quantity {
    pub subject: Subject,
    /// `None` for a block at one place, and for kernel and expansion together.
    pub alternatives: Option<Alternatives>,
    pub a: Weights,
    pub b: Weights,
}

/// Everything that both have, in the order of the first. Effects are relative to the mean over what both offer.
pub(super) fn quantities(a: &MetricProfile, b: &MetricProfile) -> Vec<Quantity> {
    let (first, second) = (choices(a), choices(b));
    let mut groups: Vec<(ChangeOf, usize, Option<usize>)> = Vec::new();
    for choice in &first {
        if groups.last() != Some(&choice.group) {
            groups.push(choice.group);
        }
    }
    let mut all = Vec::new();
    let mut blocks = Vec::new();
    for group in groups {
        let matched: Vec<(&Choice, &Choice)> = first
            .iter()
            .filter(|c| c.group == group)
            .filter_map(|c| {
                Some((
                    c,
                    second
                        .iter()
                        .find(|d| d.group == group && d.name == c.name)?,
                ))
            })
            .collect();
        if matched.len() < 2 {
            continue;
        }
        for &(c, d) in &matched {
            let (of, unit, layer) = group;
            let quantity = Quantity {
                subject: Subject {
                    of,
                    unit: Some(unit),
                    layer,
                    name: c.name.clone(),
                },
                alternatives: match of {
                    ChangeOf::Depth => Some(Alternatives::Depths),
                    ChangeOf::Width => Some(Alternatives::Widths),
                    ChangeOf::Block | ChangeOf::Average => None,
                },
                a: centred(c.index, matched.iter().map(|(c, _)| c.index)),
                b: centred(d.index, matched.iter().map(|(_, d)| d.index)),
            };
            if of == ChangeOf::Block {
                blocks.push(Placed {
                    name: c.name.clone(),
                    kernel: c.kernel,
                    expansion: c.expansion,
                    place: (unit, layer),
                    index: all.len(),
                });
            }
            all.push(quantity);
        }
    }
    let averages = averages(&blocks, &all);
    all.extend(averages);
    all
}

/// A block's quantity at its place.
struct Placed {
    name: String,
    kernel: Option<u32>,
    expansion: Option<Ratio>,
    place: (usize, Option<usize>),
    /// Of the quantity.
    index: usize,
}

/// Which blocks are averaged.
#[derive(Clone, PartialEq)]
enum Cell {
    Kernel(u32),
    Expansion(Ratio),
    Both(u32, Ratio),
    /// The block of this name, which has neither.
    Named(String),
}

impl Cell {
    fn holds(&self, block: &Placed) -> bool {
        match self {
            Self::Kernel(k) => block.kernel == Some(*k),
            Self::Expansion(e) => block.expansion == Some(*e),
            Self::Both(k, e) => block.kernel == Some(*k) && block.expansion == Some(*e),
            Self::Named(name) => block.is_plain() && block.name == *name,
        }
    }

    fn alternatives(&self) -> Option<Alternatives> {
        match self {
            Self::Kernel(_) => Some(Alternatives::Kernels),
            Self::Expansion(_) => Some(Alternatives::Expansions),
            Self::Both(..) => None,
            Self::Named(_) => Some(Alternatives::Blocks),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Kernel(k) => format!("{k}x{k}"),
            Self::Expansion(e) => format!("expansion {e}"),
            Self::Both(k, e) => format!("{k}x{k}, expansion {e}"),
            Self::Named(name) => name.clone(),
        }
    }
}

impl Placed {
    /// Whether it has nothing but its name.
    fn is_plain(&self) -> bool {
        self.kernel.is_none() && self.expansion.is_none()
    }
}

/// Kernels, expansions, both together and blocks that have neither, averaged over the placements of the network and of
/// every unit.
fn averages(blocks: &[Placed], quantities: &[Quantity]) -> Vec<Quantity> {
    let cells = cells(blocks);
    let units: BTreeSet<usize> = blocks.iter().map(|b| b.place.0).collect();
    let mut found = Vec::new();
    for unit in std::iter::once(None).chain(units.into_iter().map(Some)) {
        let here = || {
            blocks
                .iter()
                .filter(|b| unit.is_none_or(|u| u == b.place.0))
        };
        for cell in &cells {
            let chosen: Vec<&Placed> = here().filter(|b| cell.holds(b)).collect();
            // What every block of the network has is no choice.
            if !chosen.is_empty() && chosen.len() < here().count() {
                found.push(average(unit, cell, &chosen, quantities));
            }
        }
    }
    found
}

/// Everything that is averaged: expansions, then each kernel with all expansions and with each, then names.
fn cells(blocks: &[Placed]) -> Vec<Cell> {
    let kernels: BTreeSet<u32> = blocks.iter().filter_map(|b| b.kernel).collect();
    let expansions: BTreeSet<Ratio> = blocks.iter().filter_map(|b| b.expansion).collect();
    let mut cells: Vec<Cell> = expansions.iter().copied().map(Cell::Expansion).collect();
    for &k in &kernels {
        cells.push(Cell::Kernel(k));
        cells.extend(expansions.iter().map(|&e| Cell::Both(k, e)));
    }
    for block in blocks.iter().filter(|block| block.is_plain()) {
        let cell = Cell::Named(block.name.clone());
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}

/// The mean over placements of the mean over their chosen blocks.
#[allow(clippy::cast_precision_loss)]
fn average(
    unit: Option<usize>,
    cell: &Cell,
    chosen: &[&Placed],
    quantities: &[Quantity],
) -> Quantity {
    let places: BTreeSet<(usize, Option<usize>)> = chosen.iter().map(|b| b.place).collect();
    let weight = |b: &Placed| {
        let here = chosen.iter().filter(|c| c.place == b.place).count();
        1.0 / (here * places.len()) as f64
    };
    let sum = |of: &dyn Fn(&Quantity) -> &Weights| -> Weights {
        let parts = chosen.iter().flat_map(|b| {
            let weight = weight(b);
            of(&quantities[b.index])
                .iter()
                .map(move |&(i, w)| (i, weight * w))
        });
        merged(parts.collect())
    };
    Quantity {
        subject: Subject {
            of: ChangeOf::Average,
            unit,
            layer: None,
            name: cell.name(),
        },
        alternatives: cell.alternatives(),
        a: sum(&|q| &q.a),
        b: sum(&|q| &q.b),
    }
}

/// One of `all` minus their mean.
#[allow(clippy::cast_precision_loss)]
fn centred(one: usize, all: impl Iterator<Item = usize>) -> Weights {
    let mut weights: Weights = all.map(|i| (i, 0.0)).collect();
    let n = weights.len() as f64;
    for (i, w) in &mut weights {
        *w = f64::from(u8::from(*i == one)) - 1.0 / n;
    }
    weights
}

/// The weights with one entry for each index.
pub(super) fn merged(mut weights: Weights) -> Weights {
    weights.sort_by_key(|(i, _)| *i);
    weights.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    weights
}

/// One alternative at a placement, of a depth or of a width.
struct Choice {
    group: (ChangeOf, usize, Option<usize>),
    name: String,
    kernel: Option<u32>,
    expansion: Option<Ratio>,
    index: usize,
}

fn choices(profile: &MetricProfile) -> Vec<Choice> {
    let blocks = profile.blocks.iter().map(|b| {
        let group = (ChangeOf::Block, b.unit, Some(b.layer));
        (group, b.block.clone(), b.kernel, b.expansion)
    });
    let depths = profile.depths.iter().map(|d| {
        let layers = if d.depth == 1 { "layer" } else { "layers" };
        let name = format!("{} {layers}", d.depth);
        ((ChangeOf::Depth, d.unit, None), name, None, None)
    });
    let widths = profile.widths.iter().map(|w| {
        let name = format!("{} channels", w.channels);
        ((ChangeOf::Width, w.unit, None), name, None, None)
    });
    let all = blocks.chain(depths).chain(widths).enumerate();
    all.map(|(i, (group, name, kernel, expansion))| Choice {
        group,
        name,
        kernel,
        expansion,
        // The mean comes first.
        index: i + 1,
    })
    .collect()
}
