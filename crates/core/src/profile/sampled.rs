//! The published method: architectures of its own for every (placement, block), averaged.
//!
//! Mills et al., CIKM 2021 (arXiv 2109.12426), without the slip of depth in its code: the placement
//! is active in every architecture drawn for it.

use rand::seq::SliceRandom;

use super::{
    Draw, EstimateError, Estimator, Layout, Means, Observation, Spread, Uncertainty, check_finite,
};
use crate::seed::Seed;
use crate::space::{Architecture, ArchitectureError, BlockId, DesignSpace, Placement};
use crate::stats::{mean, quantile_sorted, variance};

/// Fewest evaluations of every (placement, block).
const FEWEST: usize = 2;

/// The `sampled` estimator. Its draws come in rounds that hold every (placement, block) once, in a
/// shuffled order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampled;

impl Estimator for Sampled {
    fn name(&self) -> &'static str {
        "sampled"
    }

    fn draw(
        &self,
        space: &DesignSpace,
        resolution: u32,
        seed: Seed,
        index: u64,
    ) -> Result<Draw, ArchitectureError> {
        let seed = seed.stream("sampled");
        let (placement, block) = stratum(space, seed, index);
        let mut rng = seed.stream("draw").index(index).rng();
        let arch = space.sample_with(resolution, placement, block, &mut rng)?;
        Ok(Draw {
            arch,
            stratum: Some((placement, block)),
        })
    }

    fn estimate(
        &self,
        space: &DesignSpace,
        observations: &[Observation],
    ) -> Result<Means, EstimateError> {
        check_finite(observations)?;
        let layout = Layout::new(space);
        let strata = Strata::group(space, &layout, observations)?;
        Ok(strata.means(&layout, observations))
    }
}

/// The (placement, block) of the `index`-th draw: every round has each of them once, in an order of its own.
pub(super) fn stratum(space: &DesignSpace, seed: Seed, index: u64) -> (Placement, BlockId) {
    let mut strata = strata(space);
    let size = strata.len() as u64;
    strata.shuffle(&mut seed.stream("round").index(index / size).rng());
    strata[usize::try_from(index % size).unwrap_or(0)]
}

/// Every (placement, block), in the order of the layout.
fn strata(space: &DesignSpace) -> Vec<(Placement, BlockId)> {
    let blocks = |p: Placement| {
        let count = space.blocks(p).len();
        (0..count).filter_map(move |b| Some((p, BlockId::try_from(b).ok()?)))
    };
    space.placements().flat_map(blocks).collect()
}

/// Values by (placement, block), ascending.
struct Strata(Vec<((Placement, BlockId), Vec<f64>)>);

impl Strata {
    fn group(
        space: &DesignSpace,
        layout: &Layout,
        observations: &[Observation],
    ) -> Result<Self, EstimateError> {
        let all = strata(space);
        let mut by_index: Vec<Vec<f64>> = vec![Vec::new(); layout.len()];
        for observation in observations {
            if let Some((placement, block)) = observation.draw.stratum {
                by_index[layout.block(placement, block)].push(observation.value);
            }
        }
        let mut groups = Vec::with_capacity(all.len());
        for (placement, block) in all {
            let mut values = std::mem::take(&mut by_index[layout.block(placement, block)]);
            if values.len() < FEWEST {
                let block = space.block(placement, block).to_string();
                return Err(EstimateError::EmptyStratum {
                    placement,
                    block,
                    found: values.len(),
                });
            }
            values.sort_unstable_by(f64::total_cmp);
            groups.push(((placement, block), values));
        }
        Ok(Self(groups))
    }

    #[allow(clippy::cast_precision_loss)]
    fn means(&self, layout: &Layout, observations: &[Observation]) -> Means {
        let n = layout.len();
        let mut values = vec![0.0; n];
        let mut covariance = vec![0.0; n * n];
        let mut fewest = usize::MAX;
        for placement in layout.placements() {
            let here = || self.0.iter().filter(move |((p, _), _)| *p == placement);
            // The blocks of a placement share one error variance: with few evaluations each, pooling
            // it is what makes the intervals trustworthy.
            let degrees: usize = here().map(|(_, v)| v.len() - 1).sum();
            let squares: f64 = here()
                .map(|(_, v)| variance(v) * (v.len() - 1) as f64)
                .sum();
            fewest = fewest.min(degrees);
            for ((_, block), v) in here() {
                let i = layout.block(placement, *block);
                values[i] = mean(v);
                covariance[i * n + i] = squares / degrees as f64 / v.len() as f64;
            }
        }
        self.overall(layout, &mut values, &mut covariance);
        depths_and_widths(layout, observations, &mut values, &mut covariance);
        let sd = population_sd(observations, layout);
        Means {
            values,
            covariance,
            uncertainty: Uncertainty::Sampling,
            degrees_of_freedom: fewest as f64,
            joint_degrees_of_freedom: fewest as f64,
            sd,
            held_out_r2: None,
            additive: None,
            spreads: Some(self.0.iter().filter_map(|(_, v)| spread(v)).collect()),
        }
    }

    /// Where layer 0 of a unit is active in every architecture, its block is uniform, so the mean over
    /// its blocks is the overall mean; all such units say the same, and their average says it best.
    #[allow(clippy::cast_precision_loss)]
    fn overall(&self, layout: &Layout, values: &mut [f64], covariance: &mut [f64]) {
        let n = layout.len();
        let always = |p: &Placement| p.layer == 0 && *layout.depths(p.unit).start() > 0;
        let units = layout.placements().filter(always).count();
        let first: Vec<(usize, f64)> = self
            .0
            .iter()
            .filter(|((p, _), _)| always(p))
            .map(|((p, b), _)| {
                (
                    layout.block(*p, *b),
                    1.0 / (units * layout.blocks(*p)) as f64,
                )
            })
            .collect();
        let o = layout.overall();
        values[o] = first.iter().map(|&(i, w)| w * values[i]).sum();
        for &(i, w) in &first {
            covariance[o * n + i] = w * covariance[i * n + i];
            covariance[i * n + o] = covariance[o * n + i];
        }
        covariance[o * n + o] = first
            .iter()
            .map(|&(i, w)| w * w * covariance[i * n + i])
            .sum();
    }
}

/// Values of draws whose stratum says nothing about `unit`'s depth: that of another unit.
fn elsewhere(
    observations: &[Observation],
    unit: usize,
) -> impl Iterator<Item = (&Architecture, f64)> {
    observations
        .iter()
        .filter(move |o| o.draw.stratum.is_some_and(|(p, _)| p.unit != unit))
        .map(|o| (&o.draw.arch, o.value))
}

/// Depth means, from draws that fix something in another unit, and width means, from all draws.
fn depths_and_widths(
    layout: &Layout,
    observations: &[Observation],
    values: &mut [f64],
    covariance: &mut [f64],
) {
    for unit in 0..layout.units() {
        let all: Vec<f64> = elsewhere(observations, unit).map(|(_, y)| y).collect();
        for depth in layout.depths(unit) {
            let here = elsewhere(observations, unit).filter(|(a, _)| a.depth(unit) == depth);
            let here: Vec<f64> = here.map(|(_, y)| y).collect();
            difference(
                layout,
                layout.depth(unit, depth),
                &here,
                &all,
                values,
                covariance,
            );
        }
        let all: Vec<f64> = observations.iter().map(|o| o.value).collect();
        for width in layout.widths(unit) {
            let here = observations
                .iter()
                .filter(|o| o.draw.arch.unit(unit).width == width);
            let here: Vec<f64> = here.map(|o| o.value).collect();
            difference(
                layout,
                layout.width(unit, width),
                &here,
                &all,
                values,
                covariance,
            );
        }
    }
}

/// The mean at `index`: the difference of some draws from the mean of all comparable ones, added to the
/// overall mean. (Fixing a deep layer elsewhere raises all of them alike.)
#[allow(clippy::cast_precision_loss)]
fn difference(
    layout: &Layout,
    index: usize,
    here: &[f64],
    all: &[f64],
    values: &mut [f64],
    covariance: &mut [f64],
) {
    let n = layout.len();
    values[index] = values[layout.overall()];
    covariance[index * n + index] = if here.len() >= FEWEST {
        values[index] += mean(here) - mean(all);
        variance(here) / here.len() as f64
    } else {
        // A space of one unit, or unlucky draws: the effect stays open.
        variance(all)
    };
}

/// Standard deviation over the space: of draws whose placement is active anyway, within strata.
fn population_sd(observations: &[Observation], layout: &Layout) -> f64 {
    let natural: Vec<f64> = observations
        .iter()
        .filter(|o| {
            o.draw
                .stratum
                .is_some_and(|(p, _)| layout.active_probability(p) >= 1.0)
        })
        .map(|o| o.value)
        .collect();
    variance(&natural).sqrt()
}

fn spread(sorted: &[f64]) -> Option<Spread> {
    Some(Spread {
        n: sorted.len(),
        sd: variance(sorted).sqrt(),
        min: *sorted.first()?,
        q01: quantile_sorted(sorted, 0.01)?,
        q05: quantile_sorted(sorted, 0.05)?,
        q95: quantile_sorted(sorted, 0.95)?,
        q99: quantile_sorted(sorted, 0.99)?,
        max: *sorted.last()?,
    })
}
