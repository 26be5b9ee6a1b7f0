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

/// A quantity in both profiles.
pub(super) struct Quantity {
    pub subject: Subject,
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
                a: centred(c.index, matched.iter().map(|(c, _)| c.index)),
                b: centred(d.index, matched.iter().map(|(_, d)| d.index)),
            };
            if of == ChangeOf::Block {
                blocks.push((c.kernel, c.expansion, unit, layer, all.len()));
            }
            all.push(quantity);
        }
    }
    let averages = averages(&blocks, &all);
    all.extend(averages);
    all
}

/// The kernel, expansion, unit and layer of a block's quantity, and its index.
type Placed = (Option<u32>, Option<Ratio>, usize, Option<usize>, usize);

/// Kernels, expansions and both together, averaged over the placements of the network and of every unit.
fn averages(blocks: &[Placed], quantities: &[Quantity]) -> Vec<Quantity> {
    let kernels: BTreeSet<u32> = blocks.iter().filter_map(|b| b.0).collect();
    let expansions: BTreeSet<Ratio> = blocks.iter().filter_map(|b| b.1).collect();
    let units: BTreeSet<usize> = blocks.iter().map(|b| b.2).collect();
    let all_kernels = || std::iter::once(None).chain(kernels.iter().copied().map(Some));
    let cells = all_kernels().flat_map(|k| {
        let expansions = std::iter::once(None).chain(expansions.iter().copied().map(Some));
        expansions.map(move |e| (k, e))
    });
    let cells: Vec<_> = cells.filter(|(k, e)| k.is_some() || e.is_some()).collect();
    let mut found = Vec::new();
    for unit in std::iter::once(None).chain(units.iter().copied().map(Some)) {
        for &(kernel, expansion) in &cells {
            let chosen: Vec<&Placed> = blocks
                .iter()
                .filter(|b| unit.is_none_or(|u| u == b.2))
                .filter(|b| kernel.is_none() || kernel == b.0)
                .filter(|b| expansion.is_none() || expansion == b.1)
                .collect();
            // What every block of the network has is no choice.
            if !chosen.is_empty()
                && chosen.len()
                    < blocks
                        .iter()
                        .filter(|b| unit.is_none_or(|u| u == b.2))
                        .count()
            {
                found.push(average(unit, name(kernel, expansion), &chosen, quantities));
            }
        }
    }
    found
}

fn name(kernel: Option<u32>, expansion: Option<Ratio>) -> String {
    let kernel = kernel.map(|k| format!("{k}x{k}"));
    let expansion = expansion.map(|e| format!("expansion {e}"));
    let parts: Vec<String> = kernel.into_iter().chain(expansion).collect();
    parts.join(", ")
}

/// The mean over placements of the mean over their chosen blocks.
#[allow(clippy::cast_precision_loss)]
fn average(
    unit: Option<usize>,
    name: String,
    chosen: &[&Placed],
    quantities: &[Quantity],
) -> Quantity {
    let places: BTreeSet<(usize, Option<usize>)> = chosen.iter().map(|b| (b.2, b.3)).collect();
    let weight = |b: &Placed| {
        let here = chosen.iter().filter(|c| (c.2, c.3) == (b.2, b.3)).count();
        1.0 / (here * places.len()) as f64
    };
    let sum = |of: &dyn Fn(&Quantity) -> &Weights| -> Weights {
        let parts = chosen.iter().flat_map(|b| {
            let weight = weight(b);
            of(&quantities[b.4])
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
            name,
        },
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
fn merged(mut weights: Weights) -> Weights {
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
