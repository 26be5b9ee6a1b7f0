//! Where things stand in a report: the columns and rows of its tables, and how blocks are ranked.

use std::collections::{BTreeMap, BTreeSet};

use super::view::View;
use crate::profile::{BlockEffect, Estimate, Friendliness, MetricProfile, Profile};
use crate::space::Ratio;

/// A column of a block table, ordered by expansion, then kernel, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    pub expansion: Option<Ratio>,
    pub kernel: Option<u32>,
    pub block: String,
}

/// Every block that any metric of the profile knows.
pub(super) fn columns(profile: &Profile) -> Vec<Column> {
    let all = profile.metrics.iter().flat_map(|m| &m.blocks);
    let unique: BTreeSet<Column> = all
        .map(|b| Column {
            expansion: b.expansion,
            kernel: b.kernel,
            block: b.block.clone(),
        })
        .collect();
    unique.into_iter().collect()
}

/// Values by (unit, layer), then by block.
pub(super) type Rows<'a, T> = BTreeMap<(usize, usize), BTreeMap<&'a str, &'a T>>;

/// A metric's effects, placement by placement.
pub(super) fn effect_rows(profile: &MetricProfile) -> Rows<'_, BlockEffect> {
    let mut rows = Rows::new();
    for b in &profile.blocks {
        let row: &mut BTreeMap<_, _> = rows.entry((b.unit, b.layer)).or_default();
        row.insert(b.block.as_str(), b);
    }
    rows
}

/// Friendliness, placement by placement.
pub(super) fn friendliness_rows(profile: &Profile) -> Rows<'_, Friendliness> {
    let mut rows = Rows::new();
    for f in &profile.friendliness {
        let row: &mut BTreeMap<_, _> = rows.entry((f.unit, f.layer)).or_default();
        row.insert(f.block.as_str(), f);
    }
    rows
}

/// How many rows each unit has, in order: the row spans of the unit headings.
pub(super) fn layers_per_unit<T>(rows: &Rows<'_, T>) -> BTreeMap<usize, usize> {
    let mut layers = BTreeMap::new();
    for (unit, _) in rows.keys() {
        *layers.entry(*unit).or_insert(0) += 1;
    }
    layers
}

/// The shallowest depth of every unit: deeper layers are optional.
pub(super) fn shallowest(profile: &Profile) -> BTreeMap<usize, usize> {
    let mut depths: BTreeMap<usize, usize> = BTreeMap::new();
    for d in profile.metrics.iter().flat_map(|m| &m.depths) {
        depths
            .entry(d.unit)
            .and_modify(|least| *least = d.depth.min(*least))
            .or_insert(d.depth);
    }
    depths
}

/// A block's relative rate, averaged over the optional layers of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct UnitRate {
    /// Mean of the rates, and of their interval ends. The interval is at least 95 % wide whatever the
    /// dependence between layers, because the error of a mean never exceeds the mean of the errors.
    pub rate: Estimate,
    /// Number of layers averaged.
    pub layers: usize,
}

/// Relative rates by unit and block; only optional layers have one.
pub(super) fn unit_rates(profile: &Profile) -> BTreeMap<usize, BTreeMap<&str, UnitRate>> {
    let mut found: BTreeMap<usize, BTreeMap<&str, Vec<Estimate>>> = BTreeMap::new();
    for f in &profile.friendliness {
        if let Some(rate) = f.relative_rate {
            let unit = found.entry(f.unit).or_default();
            unit.entry(f.block.as_str()).or_default().push(rate);
        }
    }
    found
        .into_iter()
        .map(|(unit, blocks)| {
            let means = blocks.into_iter().map(|(b, rates)| (b, mean_rate(&rates)));
            (unit, means.collect())
        })
        .collect()
}

#[allow(clippy::cast_precision_loss)]
fn mean_rate(rates: &[Estimate]) -> UnitRate {
    let mean = |part: fn(&Estimate) -> f64| {
        rates.iter().map(part).sum::<f64>() / rates.len().max(1) as f64
    };
    UnitRate {
        rate: Estimate {
            value: mean(|e| e.value),
            se: mean(|e| e.se),
            low: mean(|e| e.low),
            high: mean(|e| e.high),
        },
        layers: rates.len(),
    }
}

/// A block's effects on two metrics.
pub(super) struct Trade<'a> {
    pub x: &'a BlockEffect,
    pub y: &'a BlockEffect,
    /// Sum of both effects in standard deviations of their metrics, signed so that above zero is better.
    pub score: f64,
}

impl Trade<'_> {
    /// Whether either effect differs from 0 after correction.
    pub(super) fn is_sure(&self) -> bool {
        self.x.significant || self.y.significant
    }
}

/// Every (unit, layer, block) that both metrics know, best trade first.
pub(super) fn trades<'a>(x: &View<'a>, y: &View<'a>) -> Vec<Trade<'a>> {
    let others = effect_rows(y.profile);
    let mut trades: Vec<Trade<'a>> = x
        .profile
        .blocks
        .iter()
        .filter_map(|bx| {
            let by: &'a BlockEffect = others.get(&(bx.unit, bx.layer))?.get(bx.block.as_str())?;
            let score = standardised(x, bx) + standardised(y, by);
            Some(Trade {
                x: bx,
                y: by,
                score,
            })
        })
        .collect();
    trades.sort_by(|a, b| b.score.total_cmp(&a.score));
    trades
}

fn standardised(view: &View<'_>, block: &BlockEffect) -> f64 {
    let sd = view.profile.sd;
    let scale = if sd.is_finite() && sd > 0.0 { sd } else { 1.0 };
    view.goodness(block.effect.value) / scale
}

/// The kernels and expansions of a metric's averages, ascending.
pub(super) fn kernels_and_expansions(profile: &MetricProfile) -> (Vec<u32>, Vec<Ratio>) {
    let kernels: BTreeSet<u32> = profile.averages.iter().filter_map(|a| a.kernel).collect();
    let expansions: BTreeSet<Ratio> = profile
        .averages
        .iter()
        .filter_map(|a| a.expansion)
        .collect();
    (
        kernels.into_iter().collect(),
        expansions.into_iter().collect(),
    )
}

/// The averaged effect of a cell or margin.
pub(super) fn average(
    profile: &MetricProfile,
    unit: Option<usize>,
    kernel: Option<u32>,
    expansion: Option<Ratio>,
) -> Option<&Estimate> {
    profile
        .averages
        .iter()
        .find(|a| (a.unit, a.kernel, a.expansion) == (unit, kernel, expansion))
        .map(|a| &a.effect)
}

/// The units for which a metric has averages of their own.
pub(super) fn units_with_averages(profile: &MetricProfile) -> Vec<usize> {
    let units: BTreeSet<usize> = profile.averages.iter().filter_map(|a| a.unit).collect();
    units.into_iter().collect()
}
