//! The published code's estimator, with its slip of depth, so that published figures can be reproduced.

use rand::RngExt as _;

use super::sampled::stratum;
use super::{Draw, EstimateError, Estimator, Means, Observation, Sampled};
use crate::seed::Seed;
use crate::space::{ArchitectureError, DesignSpace, Placement};

/// The `legacy` estimator: [`Sampled`] as its published code draws (Mills et al., CIKM 2021).
///
/// To place a block at layer l, counted from 0, that code raises the depth of the unit to l and not to l + 1. Where the
/// drawn depth is not larger, the layer is inactive and the block is not in the network at all, but the network is
/// averaged as if it were. With depths 2 to 4, a third of the networks for the third layer lack the block, and two
/// thirds of those for the fourth. What it calls a mean is therefore a mixture, and its effects are too small at deep
/// layers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Legacy;

impl Estimator for Legacy {
    fn name(&self) -> &'static str {
        "legacy"
    }

    fn draw(
        &self,
        space: &DesignSpace,
        resolution: u32,
        seed: Seed,
        index: u64,
    ) -> Result<Draw, ArchitectureError> {
        let seed = seed.stream("legacy");
        let (placement, block) = stratum(space, seed, index);
        let mut rng = seed.stream("draw").index(index).rng();
        let mut choices = space.sample(resolution, &mut rng)?.choices();
        let unit = placement.unit;
        let known = choices[unit].blocks.len();
        if placement.layer > known {
            // The layers that this adds hold random blocks, as everywhere.
            let below = Placement {
                unit,
                layer: placement.layer - 1,
            };
            let blocks = u8::try_from(space.blocks(below).len()).unwrap_or(u8::MAX);
            let random = rng.random_range(0..blocks);
            let deeper = space.sample_with(resolution, below, random, &mut rng)?;
            let added = &deeper.unit(unit).blocks[known..placement.layer];
            choices[unit].blocks.extend_from_slice(added);
        }
        if let Some(slot) = choices[unit].blocks.get_mut(placement.layer) {
            *slot = block;
        }
        Ok(Draw {
            arch: space.architecture(resolution, &choices)?,
            stratum: Some((placement, block)),
        })
    }

    fn estimate(
        &self,
        space: &DesignSpace,
        observations: &[Observation],
    ) -> Result<Means, EstimateError> {
        Sampled.estimate(space, observations)
    }
}
