//! Latency compared with work: which blocks are slow, or fast, for what they compute.

use super::means::Contrast;
use super::simultaneous::FAMILY_ALPHA;
use super::work::{KINDS, MACS, block_work};
use super::{Estimate, Friendliness, Layout, Means};
use crate::space::{BlockId, DesignSpace, Placement};
use crate::stats::{critical_t, mean};

/// MACs per million.
const MILLION: f64 = 1e6;
/// A layer's time must exceed this many standard errors before something is divided by it.
const CLEARLY_POSITIVE: f64 = 4.0;

/// Friendliness of every block at every placement, from the joint means of a latency in ms; empty when latency does not
/// rise with MACs.
///
/// The device's average price of work is the slope of latency on MACs over the space. MACs are known exactly, so the
/// slope, and with it the time beyond what work costs, is a linear function of the means: its error is known jointly
/// with theirs.
#[must_use]
pub fn friendliness(space: &DesignSpace, resolution: u32, means: &Means) -> Vec<Friendliness> {
    let layout = Layout::new(space);
    let work = Work::new(space, resolution, &layout);
    let Some(price) = work.price(&layout) else {
        return Vec::new();
    };
    let slope = means.contrast(&price);
    if slope.value <= 0.0 {
        return Vec::new();
    }
    // A layer with one candidate has nothing to be compared with.
    let choices: Vec<(Placement, BlockId)> = layout
        .placements()
        .filter(|p| layout.blocks(*p) > 1)
        .flat_map(|p| layout.block_ids(p).map(move |b| (p, b)))
        .collect();
    let excess: Vec<Contrast> = choices
        .iter()
        .map(|&(p, b)| {
            let more_work = work.deviation(&layout, p, b);
            plus(layout.block_effect(p, b), -more_work, &price)
        })
        .collect();
    let adjusted = means.adjusted_p(&excess);
    choices
        .iter()
        .enumerate()
        .map(|(i, &(placement, block))| {
            let mmacs = work.mmacs(&layout, placement, block);
            Friendliness {
                unit: placement.unit + 1,
                layer: placement.layer + 1,
                block: space.block(placement, block).to_string(),
                mmacs,
                significant: adjusted[i] < FAMILY_ALPHA,
                excess_ms: means.contrast(&excess[i]),
                relative_rate: layer_time(&layout, placement, block)
                    .and_then(|time| relative_rate(means, &price, mmacs, &time)),
            }
        })
        .collect()
}

/// One contrast plus a multiple of another.
fn plus(mut contrast: Contrast, factor: f64, other: &Contrast) -> Contrast {
    contrast.extend(other.iter().map(|&(i, w)| (i, factor * w)));
    contrast
}

/// The MACs of every block at every placement.
struct Work(Vec<[f64; KINDS]>);

impl Work {
    fn new(space: &DesignSpace, resolution: u32, layout: &Layout) -> Self {
        Self(block_work(space, resolution, layout))
    }

    /// In millions.
    fn mmacs(&self, layout: &Layout, placement: Placement, block: BlockId) -> f64 {
        self.0[layout.block(placement, block)][MACS] / MILLION
    }

    /// Mean over the blocks of a placement, in millions.
    fn average(&self, layout: &Layout, placement: Placement) -> f64 {
        let all = layout.block_ids(placement);
        mean(
            &all.map(|b| self.mmacs(layout, placement, b))
                .collect::<Vec<_>>(),
        )
    }

    /// The main effect of a block on the MACs of the network, in millions.
    fn deviation(&self, layout: &Layout, placement: Placement, block: BlockId) -> f64 {
        self.mmacs(layout, placement, block) - self.average(layout, placement)
    }

    /// Main effects of a unit's depths on the MACs: a deeper unit has the average layer more.
    fn depth_deviations(&self, layout: &Layout, unit: usize) -> Vec<f64> {
        let layers = |depth: usize| {
            let layers = (0..depth).map(|layer| Placement { unit, layer });
            layers.map(|p| self.average(layout, p)).sum::<f64>()
        };
        let all: Vec<f64> = layout.depths(unit).map(layers).collect();
        let center = mean(&all);
        all.iter().map(|w| w - center).collect()
    }

    /// The slope of the metric on MACs over the space, per million, as a function of the means: the covariance of both
    /// over the variance of the MACs, through main effects, which depths and blocks give independently. `None` where
    /// MACs never vary.
    #[allow(clippy::cast_precision_loss)]
    fn price(&self, layout: &Layout) -> Option<Contrast> {
        let mut covariance = Contrast::new();
        let mut variance = 0.0;
        let mut add = |index: usize, deviation: f64, probability: f64| {
            covariance.push((index, probability * deviation));
            variance += probability * deviation * deviation;
        };
        for unit in 0..layout.units() {
            let deviations = self.depth_deviations(layout, unit);
            let share = 1.0 / deviations.len() as f64;
            for (depth, deviation) in layout.depths(unit).zip(deviations) {
                add(layout.depth(unit, depth), deviation, share);
            }
        }
        for placement in layout.placements() {
            let share = layout.active_probability(placement) / layout.blocks(placement) as f64;
            for block in layout.block_ids(placement) {
                let deviation = self.deviation(layout, placement, block);
                add(layout.block(placement, block), deviation, share);
            }
        }
        if variance <= 0.0 {
            return None;
        }
        covariance.iter_mut().for_each(|(_, w)| *w /= variance);
        Some(covariance)
    }
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

/// Expected over actual time, both uncertain and dependent: the interval holds every ratio r for which
/// `expected - r time` may be 0 (Fieller 1954). `None` where the time is not clearly above 0.
fn relative_rate(means: &Means, price: &Contrast, mmacs: f64, time: &Contrast) -> Option<Estimate> {
    let expected: Contrast = price.iter().map(|&(i, w)| (i, w * mmacs)).collect();
    let (up, down) = (means.contrast(&expected), means.contrast(time));
    let critical = critical_t(0.05, means.degrees_of_freedom);
    if down.value <= CLEARLY_POSITIVE.max(critical) * down.se {
        return None;
    }
    let joint = means.joint(&[expected, time.clone()]);
    let square = critical * critical;
    let a = down.value * down.value - square * joint[(1, 1)];
    let b = up.value * down.value - square * joint[(0, 1)];
    let c = up.value * up.value - square * joint[(0, 0)];
    let half = (b * b - a * c).max(0.0).sqrt();
    let value = up.value / down.value;
    let spread = joint[(0, 0)] - 2.0 * value * joint[(0, 1)] + value * value * joint[(1, 1)];
    (a > 0.0).then(|| Estimate {
        value,
        se: spread.max(0.0).sqrt() / down.value,
        low: (b - half) / a,
        high: (b + half) / a,
    })
}
