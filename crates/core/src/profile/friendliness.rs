//! Latency compared with work: which blocks are slow, or fast, for what they compute.

use super::means::Contrast;
use super::work::{MACS, block_work};
use super::{Friendliness, Layout, Means, Observation};
use crate::network::cost;
use crate::space::{BlockId, DesignSpace, Placement};
use crate::stats::{mean, variance};

/// MACs per million.
const MILLION: f64 = 1e6;
/// A layer's time must exceed this many standard errors before something is divided by it.
const CLEARLY_POSITIVE: f64 = 4.0;

/// The device's average price of work, in ms per million MACs: the slope of latency on MACs over the
/// measured architectures, and its standard error.
struct Price {
    slope: f64,
    se: f64,
}

/// Friendliness of every block at every placement, from measured latencies (in ms) and their means;
/// empty when latency does not rise with MACs.
#[must_use]
pub fn friendliness(
    space: &DesignSpace,
    resolution: u32,
    latencies: &[Observation],
    means: &Means,
) -> Vec<Friendliness> {
    let Some(price) = price(space, latencies) else {
        return Vec::new();
    };
    let layout = Layout::new(space);
    let work = block_work(space, resolution, &layout);
    let claims = space.combinations();
    let mmacs = |p: Placement, b: BlockId| work[layout.block(p, b)][MACS] / MILLION;
    let mut all = Vec::with_capacity(claims);
    // A layer with one candidate has nothing to be compared with.
    for placement in layout.placements().filter(|p| layout.blocks(*p) > 1) {
        let average = mean(
            &layout
                .block_ids(placement)
                .map(|b| mmacs(placement, b))
                .collect::<Vec<_>>(),
        );
        for block in layout.block_ids(placement) {
            let effect = means.contrast(&layout.block_effect(placement, block));
            let more_work = mmacs(placement, block) - average;
            let se = effect.se.hypot(more_work * price.se);
            let excess_ms = means.estimate(effect.value - price.slope * more_work, se);
            all.push(Friendliness {
                unit: placement.unit + 1,
                layer: placement.layer + 1,
                block: space.block(placement, block).to_string(),
                mmacs: mmacs(placement, block),
                significant: means.differs_from_zero(&excess_ms, claims),
                excess_ms,
                relative_rate: layer_time(&layout, placement, block).and_then(|time| {
                    relative_rate(means, &time, price.slope * mmacs(placement, block))
                }),
            });
        }
    }
    all
}

fn price(space: &DesignSpace, latencies: &[Observation]) -> Option<Price> {
    let macs: Vec<f64> = latencies
        .iter()
        .map(|o| cost(&space.network(&o.draw.arch)).macs.as_f64() / MILLION)
        .collect();
    let times: Vec<f64> = latencies.iter().map(|o| o.value).collect();
    let n = macs.len() as f64;
    let (mean_macs, mean_time) = (mean(&macs), mean(&times));
    let spread = variance(&macs) * (n - 1.0);
    if n < 4.0 || spread <= 0.0 {
        return None;
    }
    let products: f64 = macs
        .iter()
        .zip(&times)
        .map(|(m, t)| (m - mean_macs) * (t - mean_time))
        .sum();
    let slope = products / spread;
    let residuals: f64 = macs
        .iter()
        .zip(&times)
        .map(|(m, t)| (t - mean_time - slope * (m - mean_macs)).powi(2))
        .sum();
    (slope > 0.0).then(|| Price {
        slope,
        se: (residuals / (n - 2.0) / spread).sqrt(),
    })
}

/// The time of a layer that holds `block`: what the unit's mean gains when the layer is added, plus the
/// block's effect there. `None` for layers that are always there, whose time never shows.
fn layer_time(layout: &Layout, placement: Placement, block: BlockId) -> Option<Contrast> {
    let depths = layout.depths(placement.unit);
    if placement.layer < *depths.start() {
        return None;
    }
    let mut time = layout.block_effect(placement, block);
    time.push((layout.depth(placement.unit, placement.layer + 1), 1.0));
    time.push((layout.depth(placement.unit, placement.layer), -1.0));
    Some(time)
}

/// Expected over actual time, with the interval of the first-order approximation.
fn relative_rate(means: &Means, time: &Contrast, expected_ms: f64) -> Option<super::Estimate> {
    let time = means.contrast(time);
    if time.value <= CLEARLY_POSITIVE * time.se {
        return None;
    }
    let rate = expected_ms / time.value;
    Some(means.estimate(rate, rate * time.se / time.value))
}
