//! The profile as a document: what is written to `profile.json` and shown in the report.

use serde::{Deserialize, Serialize};

use super::additivity::Additivity;
use super::joint::Joint;
use super::ranks::Ranking;
use super::simultaneous::Simultaneous;
use crate::metric::MetricInfo;
use crate::space::Ratio;

/// An estimate with its standard error and 95 % interval, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

/// The spread of a metric over the architectures that hold a block at a placement
/// (what the published method reports). Only the `sampled` estimator has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Number of evaluations.
    pub n: usize,
    /// Standard deviation.
    pub sd: f64,
    /// Smallest value.
    pub min: f64,
    /// 1 % quantile.
    pub q01: f64,
    /// 5 % quantile.
    pub q05: f64,
    /// 95 % quantile.
    pub q95: f64,
    /// 99 % quantile.
    pub q99: f64,
    /// Largest value.
    pub max: f64,
}

/// The effect of one block at one placement on a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockEffect {
    /// The unit, counted from 1.
    pub unit: usize,
    /// The layer, counted from 1.
    pub layer: usize,
    /// The block's name, such as `mbconv3_e6_k7`.
    pub block: String,
    /// Kernel size, for blocks that have one.
    pub kernel: Option<u32>,
    /// Expansion, for blocks that have one.
    pub expansion: Option<Ratio>,
    /// E[y | the layer is active and holds the block].
    pub mean: Estimate,
    /// The mean minus the mean over all blocks at the placement.
    pub effect: Estimate,
    /// Two-sided p value of "no effect", for this effect alone.
    pub p: f64,
    /// The same corrected for all effects of this metric: claims with p below 0.05 hold together with 95 % probability
    /// (step-down maximum of the joint t distribution).
    pub adjusted_p: f64,
    /// Smallest false discovery rate at which this effect is among the discoveries (Benjamini and Hochberg).
    pub q: f64,
    /// Whether the effect differs from 0 after correction for all effects of this metric: `adjusted_p` is below 0.05.
    pub significant: bool,
    /// Spread over architectures, where the estimator knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spread: Option<Spread>,
}

/// The effect of a unit's depth on a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepthEffect {
    /// The unit, counted from 1.
    pub unit: usize,
    /// The depth (number of active layers).
    pub depth: usize,
    /// E[y | the unit has this depth].
    pub mean: Estimate,
    /// The mean minus the mean over all depths of the unit.
    pub effect: Estimate,
}

/// The effect of a unit's width on a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WidthEffect {
    /// The unit, counted from 1.
    pub unit: usize,
    /// Output channels of the unit at this width.
    pub channels: u32,
    /// E[y | the unit has this width].
    pub mean: Estimate,
    /// The mean minus the mean over all widths of the unit.
    pub effect: Estimate,
}

/// An effect averaged over placements: a cell of the published kernel-by-expansion table, one of its
/// margins, or the same for a single unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragedEffect {
    /// The unit, counted from 1; `None` for the whole network.
    pub unit: Option<usize>,
    /// The kernel; `None` where averaged over kernels.
    pub kernel: Option<u32>,
    /// The expansion; `None` where averaged over expansions.
    pub expansion: Option<Ratio>,
    /// Mean effect over the placements (each placement counts once), in the metric's unit.
    pub effect: Estimate,
}

/// What a share of a metric's variance is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VarianceSource {
    /// How deep the units are.
    Depth,
    /// How wide the units are.
    Width,
    /// Which kernels their blocks have.
    Kernel,
    /// Which expansions their blocks have.
    Expansion,
    /// What else their blocks are: kernel and expansion together, beyond the sum of both, and kinds of block.
    #[serde(alias = "kernel-by-expansion")]
    Block,
    /// Everything else: interactions between layers, and noise.
    Rest,
}

/// A share of the metric's variance over architectures, between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VarianceShare {
    /// What it is due to.
    pub source: VarianceSource,
    /// The unit, counted from 1; `None` for the whole network.
    pub unit: Option<usize>,
    /// The share, corrected for the estimates' own noise; interval from the estimates' joint
    /// distribution.
    pub share: Estimate,
}

/// How a block's time compares with its work on this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Friendliness {
    /// The unit, counted from 1.
    pub unit: usize,
    /// The layer, counted from 1.
    pub layer: usize,
    /// The block's name.
    pub block: String,
    /// Marginal MACs of the block at the placement, in millions: those of its layer.
    pub mmacs: f64,
    /// Latency effect beyond what the block's MAC effect costs at the device's average rate, in ms:
    /// positive means slow for its work.
    pub excess_ms: Estimate,
    /// The block's MACs per second relative to the device's average; above 1 is friendly. Only where
    /// the layer is optional: the time of a layer that is always there never varies, so it cannot be known.
    pub relative_rate: Option<Estimate>,
    /// Whether the excess differs from 0 after correction for all blocks (step-down maximum of the joint t
    /// distribution).
    pub significant: bool,
}

/// A claim that the profile supports after correction for the number of claims tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The metric's name.
    pub metric: String,
    /// The claim as a sentence, without its number.
    pub text: String,
    /// The unit of the evidence.
    pub unit: String,
    /// The quantity behind it.
    pub evidence: Estimate,
}

/// Everything estimated about one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricProfile {
    /// Name, unit, direction, origin.
    pub metric: MetricInfo,
    /// The estimator's name.
    pub estimator: String,
    /// Architectures with a value.
    pub evaluations: usize,
    /// Architectures without one.
    pub failures: usize,
    /// The mean over the design space.
    pub mean: Estimate,
    /// Standard deviation over architectures.
    pub sd: f64,
    /// Smallest and largest value seen.
    pub range: [f64; 2],
    /// How well the estimator's model predicts architectures that it was not fitted to
    /// (cross-validated R2); `None` for estimators without a model.
    pub held_out_r2: Option<f64>,
    /// Effects of every block at every placement, placement by placement.
    pub blocks: Vec<BlockEffect>,
    /// Effects of every depth of every unit.
    pub depths: Vec<DepthEffect>,
    /// Effects of every width of the units that have several.
    #[serde(default)]
    pub widths: Vec<WidthEffect>,
    /// Averages over placements: whole network and per unit, cells and margins.
    pub averages: Vec<AveragedEffect>,
    /// Where the metric's variance comes from.
    pub variance: Vec<VarianceShare>,
    /// Critical values that hold for all estimates of a kind at once.
    #[serde(default)]
    pub simultaneous: Vec<Simultaneous>,
    /// What is best, second, ...; and what cannot be told apart.
    #[serde(default)]
    pub ranks: Vec<Ranking>,
    /// How much neighbours interact; `None` where there are too few evaluations to tell.
    #[serde(default)]
    pub additivity: Option<Additivity>,
    /// The joint distribution of the estimates' errors, for comparing profiles.
    #[serde(default)]
    pub joint: Option<Joint>,
}

/// A block profile: for every (unit, layer, block), its effect on every metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Version of this document's format.
    pub format: u32,
    /// The design space's name.
    pub space: String,
    /// Its width multiplier.
    pub width: f64,
    /// Its digest: equal digests mean the same space.
    pub space_digest: String,
    /// Input resolution in pixels.
    pub resolution: u32,
    /// The seed of everything random.
    pub seed: u64,
    /// One entry per metric.
    pub metrics: Vec<MetricProfile>,
    /// Latency compared with work; empty where latency was not profiled.
    pub friendliness: Vec<Friendliness>,
    /// The strongest claims, strongest first.
    pub findings: Vec<Finding>,
}
