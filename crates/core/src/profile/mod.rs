//! From observations to a profile: for every placement and block, the mean and effect on a metric.
//!
//! Architectures are drawn from the space's own distribution. For placement p, block b and metric y
//! the estimand is mu(p, b) = E[y(A) | p active in A, A has b at p]; the effect is mu(p, b) minus the mean
//! of mu(p, b') over all blocks b' of the placement.

mod additivity;
mod designed;
mod document;
mod exact;
mod failing;
mod findings;
mod friendliness;
mod joint;
mod layout;
mod legacy;
mod level;
mod means;
mod pooled;
mod ranks;
mod residual;
mod sampled;
mod simultaneous;
mod summarise;
mod variance;
mod work;

pub use additivity::{Additivity, Interaction, InteractionTest};
pub use designed::Designed;
pub use document::{
    AveragedEffect, BlockEffect, DepthEffect, Estimate, Finding, Friendliness, MetricProfile,
    Profile, Spread, VarianceShare, VarianceSource, WidthEffect,
};
pub use exact::exact_means;
pub use failing::failing_with;
pub use findings::findings;
pub use friendliness::friendliness;
pub use joint::Joint;
pub use layout::Layout;
pub use legacy::Legacy;
pub use pooled::{FEWEST as FEWEST_POOLED, Fit, Pooled, Prediction};
pub use ranks::{RankOf, Ranked, Ranking};
pub use sampled::Sampled;
pub use simultaneous::{Family, Simultaneous};

use crate::seed::Seed;
use crate::space::{Architecture, ArchitectureError, BlockId, DesignSpace, Placement};

/// An architecture to evaluate, with the reason why it was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The architecture.
    pub arch: Architecture,
    /// The (placement, block) that it was drawn for; `None` when it serves all of them.
    pub stratum: Option<(Placement, BlockId)>,
}

/// An evaluated draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What was drawn.
    pub draw: Draw,
    /// The metric's value, in its unit.
    pub value: f64,
}

/// Joint estimates of all means of a [`Layout`]: a vector and its covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    /// The estimates, in the order of the layout.
    pub values: Vec<f64>,
    /// Their covariance, row by row (`values.len()` squared numbers, symmetric).
    pub covariance: Vec<f64>,
    /// What the covariance describes.
    pub uncertainty: Uncertainty,
    /// Degrees of freedom of Student's t for intervals.
    pub degrees_of_freedom: f64,
    /// Degrees of freedom for statements about many means at once, whose extremes feel most that variances are
    /// estimates.
    pub joint_degrees_of_freedom: f64,
    /// Standard deviation of the metric over architectures.
    pub sd: f64,
    /// Cross-validated R2 of the model behind the estimates, where there is one.
    pub held_out_r2: Option<f64>,
    /// Spread of every (placement, block) in the order of the layout's blocks, where known.
    pub spreads: Option<Vec<Spread>>,
    /// What the observations say of the means as a sum, variances taken as known: residuals are read by it. `None`
    /// where estimates are not shrunken, which need none.
    pub additive: Option<Additive>,
}

/// The model without interactions, whose variances are known: under it, the means given the data have this
/// distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Additive {
    /// The means, in the order of the layout and the metric's unit.
    pub values: Vec<f64>,
    /// Their covariance, row by row as in [`Means`], in the unit's square.
    pub covariance: Vec<f64>,
}

/// What the covariance of [`Means`] describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncertainty {
    /// How unbiased estimates scatter around the truth.
    Sampling,
    /// Where the truth lies, given the data.
    Posterior,
}

/// Why observations give no estimate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EstimateError {
    /// Not enough observations.
    #[error(
        "{found} evaluations are too few for the `{estimator}` estimator, which needs {needed}"
    )]
    TooFew {
        /// The estimator's name.
        estimator: &'static str,
        /// How many there are.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// A (placement, block) has fewer than two evaluations of its own.
    #[error(
        "{placement} with {block} has {found} evaluations of its own; this estimator needs 2 for every combination"
    )]
    EmptyStratum {
        /// The placement.
        placement: Placement,
        /// The block.
        block: String,
        /// How many there are.
        found: usize,
    },
    /// An observation is not a finite number.
    #[error("the value of {arch} is {value}, which is not a finite number")]
    NotFinite {
        /// The architecture.
        arch: String,
        /// Its value.
        value: f64,
    },
    /// The covariance could not be factored: the data are degenerate.
    #[error("the fit is degenerate: {0}")]
    Degenerate(String),
}

/// A way of drawing architectures and of estimating all means from their values.
pub trait Estimator: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// The `index`-th architecture to evaluate: a fixed, endless sequence, so that a larger budget
    /// continues a smaller one.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    fn draw(
        &self,
        space: &DesignSpace,
        resolution: u32,
        seed: Seed,
        index: u64,
    ) -> Result<Draw, ArchitectureError>;

    /// Estimates all means of `Layout::new(space)` from observations, in any order.
    ///
    /// # Errors
    /// [`EstimateError`] when the observations carry no estimate.
    fn estimate(
        &self,
        space: &DesignSpace,
        observations: &[Observation],
    ) -> Result<Means, EstimateError>;
}

fn check_finite(observations: &[Observation]) -> Result<(), EstimateError> {
    match observations.iter().find(|o| !o.value.is_finite()) {
        Some(o) => Err(EstimateError::NotFinite {
            arch: o.draw.arch.to_string(),
            value: o.value,
        }),
        None => Ok(()),
    }
}
