//! The default estimator: one set of random architectures serves every placement at once.
//!
//! The metric is modelled as an intercept, a depth effect per unit, and an effect of the block at every
//! active placement. All block columns are centred within their placement; since depths and blocks are
//! drawn independently, these columns are uncorrelated with everything else in the metric, and the
//! coefficients estimate the main effects of the functional ANOVA, which are the estimand, even
//! where the metric is not additive: interactions enter the residual, and so the intervals.
//!
//! There are more effects than measurements, so they are shrunk towards a structure ([`features`]):
//! the block's work, its kernel and its expansion, over the whole network, per unit, per placement, and
//! finally each block at each placement by itself. How much each level contributes is estimated from the
//! data ([`variance_components`]): a level that explains nothing gets the variance 0, and one that does
//! is hardly shrunk.

mod features;
mod variance_components;

use nalgebra::{DMatrix, DVector};

use super::{
    Draw, EstimateError, Estimator, Layout, Means, Observation, Uncertainty, check_finite,
};
use crate::seed::Seed;
use crate::space::{ArchitectureError, DesignSpace};
use crate::stats::{mean, variance};
use features::Features;
use variance_components::{Problem, fit};

/// What standard errors are multiplied by because the variance components are estimates themselves: in
/// simulated campaigns (`docs/statistics.md`) intervals without it were too short by 1 to 11 %, most so for averages
/// over placements and few networks. One number for all; chosen on those simulations.
const WIDENING: f64 = 1.06;

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
        check_finite(observations)?;
        let features = Features::new(space, observations);
        let needed = features.fixed() + 3;
        if observations.len() < needed {
            let found = observations.len();
            return Err(EstimateError::TooFew {
                estimator: self.name(),
                found,
                needed,
            });
        }
        // Sums of floats depend on their order: with one order, equal data give equal results.
        let mut ordered: Vec<&Observation> = observations.iter().collect();
        ordered.sort_by(|a, b| {
            a.draw
                .arch
                .cmp(&b.draw.arch)
                .then(a.value.total_cmp(&b.value))
        });
        let values: Vec<f64> = ordered.iter().map(|o| o.value).collect();
        let (center, scale) = (mean(&values), variance(&values).sqrt());
        if scale <= 1e-12 * center.abs() {
            return Ok(constant(&features.layout, center));
        }
        let z = features.design(ordered.iter().map(|o| &o.draw.arch));
        let y = DVector::from_iterator(values.len(), values.iter().map(|v| (v - center) / scale));
        let posterior = fit(&Problem {
            z: &z,
            y: &y,
            features: &features,
        })
        .ok_or_else(|| EstimateError::Degenerate("the covariance has no Cholesky factor".into()))?;
        Ok(means(&features, &posterior, center, scale))
    }
}

/// The distribution of the coefficients given the data, in units of the metric's standard deviation.
struct Posterior {
    coefficients: DVector<f64>,
    covariance: DMatrix<f64>,
    degrees_of_freedom: f64,
    held_out_r2: f64,
}

/// Every mean is a linear function of the coefficients.
fn means(features: &Features, posterior: &Posterior, center: f64, scale: f64) -> Means {
    let map = features.means_map();
    let values = (&map * &posterior.coefficients).map(|v| center + scale * v);
    let covariance =
        &map * &posterior.covariance * map.transpose() * (scale * scale * WIDENING * WIDENING);
    Means {
        values: values.iter().copied().collect(),
        covariance: covariance.iter().copied().collect(),
        uncertainty: Uncertainty::Posterior,
        degrees_of_freedom: posterior.degrees_of_freedom,
        sd: scale,
        held_out_r2: Some(posterior.held_out_r2),
        spreads: None,
    }
}

/// A metric that never varies: all effects are exactly 0.
fn constant(layout: &Layout, value: f64) -> Means {
    let n = layout.len();
    Means {
        values: vec![value; n],
        covariance: vec![0.0; n * n],
        uncertainty: Uncertainty::Posterior,
        degrees_of_freedom: f64::INFINITY,
        sd: 0.0,
        held_out_r2: None,
        spreads: None,
    }
}
