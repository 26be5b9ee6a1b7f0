//! The default estimator: one set of architectures serves every placement at once.
//!
//! The metric is modelled as an intercept, a depth effect per unit, and an effect of the block at every active
//! placement. All block columns are centred within their placement; since depths and blocks are drawn independently,
//! these columns are uncorrelated with everything else in the metric, and the coefficients estimate the main effects of
//! the functional ANOVA, which are the estimand, even where the metric is not additive: interactions enter the
//! residual, and so the intervals. Some of them (neighbouring layers, blocks in deep units) are columns of their own
//! ([`interactions`]), which takes them out of the residual again.
//!
//! There are more effects than measurements, so they are shrunk towards a structure ([`structure`]): slopes on kernel,
//! expansion and the block's work, over the whole network, per unit, per placement, and finally each block at each
//! placement by itself. How much each level contributes is estimated from the data ([`variance_components`]) and from
//! what levels usually do ([`prior`]): a level that explains little is nearly left out, and one that explains much is
//! hardly shrunk. How noisy each observation is follows from the residuals ([`noise`]), and that all of this is
//! estimated enters the intervals ([`posterior`]).

mod data;
mod features;
mod fit;
mod interactions;
mod inverse;
mod noise;
mod posterior;
mod prior;
mod structure;
mod tails;
#[cfg(test)]
mod tests;
mod variance_components;

pub use fit::{FEWEST, Fit, Prediction};

use nalgebra::{DMatrix, DVector};

use super::{Draw, EstimateError, Estimator, Means, Observation};
use crate::seed::Seed;
use crate::space::{Architecture, ArchitectureError, DesignSpace};
use features::Features;

/// The `pooled` estimator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pooled;

impl Estimator for Pooled {
    fn name(&self) -> &'static str {
        "pooled"
    }

    fn draw(
        &self,
        space: &DesignSpace,
        resolution: u32,
        seed: Seed,
        index: u64,
    ) -> Result<Draw, ArchitectureError> {
        let mut rng = seed.stream("pooled").index(index).rng();
        Ok(Draw {
            arch: space.sample(resolution, &mut rng)?,
            stratum: None,
        })
    }

    fn estimate(
        &self,
        space: &DesignSpace,
        observations: &[Observation],
    ) -> Result<Means, EstimateError> {
        Ok(Fit::new(space, observations)?.means())
    }
}

/// What is believed before anything is measured, for choosing what to measure.
#[derive(Debug)]
pub(super) struct Reference {
    features: Features,
    /// Prior covariance of the coefficients.
    pub(super) prior: DMatrix<f64>,
    /// Variance of an observation's noise, in the same units.
    pub(super) noise: f64,
    /// Weights of the coefficients' variances in what is wanted: the block effects.
    pub(super) wanted: DVector<f64>,
}

/// Share of an additive metric's variance that is noise or interaction, before anything is known.
const REFERENCE_NOISE: f64 = 0.1;

impl Reference {
    pub(super) fn new(space: &DesignSpace, resolution: u32) -> Self {
        let features = Features::new(space, resolution);
        let columns = features.columns();
        let mut prior = DMatrix::zeros(columns, columns);
        // Every level contributes as much as any other to the variance of a random architecture's metric.
        let levels = features.levels();
        for level in levels {
            let share = level.norm_squared();
            prior.gemm(
                1.0 / share / levels.len() as f64,
                level,
                &level.transpose(),
                1.0,
            );
        }
        prior /= prior.trace();
        prior[(0, 0)] = 1.0;
        Self {
            prior,
            noise: REFERENCE_NOISE,
            wanted: features.block_weights(),
            features,
        }
    }

    /// One row per architecture.
    pub(super) fn design(&self, archs: &[Architecture]) -> DMatrix<f64> {
        self.features.design(archs.iter())
    }
}
