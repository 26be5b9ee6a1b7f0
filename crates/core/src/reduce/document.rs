//! A reduction as a document: what was taken away, why, and what it cost.

use serde::{Deserialize, Serialize};

use crate::metric::MetricInfo;
use crate::profile::Estimate;

/// Version of [`Reduction`]'s JSON format.
pub const REDUCTION_FORMAT: u32 = 2;

/// A space reduced by what was profiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    /// Version of this document's format: [`REDUCTION_FORMAT`].
    pub format: u32,
    /// The program and version that made it.
    pub generated_by: String,
    /// The space that was reduced.
    pub space: String,
    /// Its width multiplier.
    pub width: f64,
    /// Its digest.
    pub space_digest: String,
    /// The resolutions that were profiled, ascending, in pixels.
    pub resolutions: Vec<u32>,
    /// Those of them that are kept; the reduced space has no other.
    pub resolutions_left: Vec<u32>,
    /// The reduced space's name.
    pub reduced: String,
    /// Its digest.
    pub reduced_digest: String,
    /// What the reduction is for, as it is typed: `pareto`, `max-accuracy`, `max-latency=25`.
    pub goal: String,
    /// The metrics that decided, and what counted as a difference.
    pub metrics: Vec<Deciding>,
    /// Probability that any claim is wrong.
    pub level: f64,
    /// Share of the best trade-offs' area that might be lost.
    pub allowance: f64,
    /// What was found, and what it took away.
    pub insights: Vec<Insight>,
    /// Why less was looked for than could be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// How many architectures there are, at each resolution.
    pub size: Size,
    /// What the profile's own model says is lost; `None` where one metric decides.
    pub predicted_loss: Option<PredictedLoss>,
    /// What is lost of the best of the architectures that were evaluated; `None` where none were.
    pub known_front: Option<KnownFront>,
    /// What is left of every unit.
    pub left: Vec<Left>,
}

/// A metric that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deciding {
    /// The metric.
    pub metric: MetricInfo,
    /// Where its profile comes from.
    pub source: String,
    /// The resolution that it is of, in pixels.
    pub resolution: u32,
    /// Its standard deviation over architectures.
    pub sd: f64,
    /// Losses below this are none, in the metric's unit.
    pub allowed_loss: f64,
    /// Gains count beyond this, in the metric's unit.
    pub needed_gain: f64,
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InsightKind {
    /// Another choice is not worse in any metric, and better in one.
    Dominated,
    /// What it earns for what it costs is beaten elsewhere in the network.
    BeatenElsewhere,
    /// No network with it keeps the limit.
    BeyondLimit,
}

/// A statement that a profile supports, and what it takes away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Insight {
    /// Why something goes.
    pub kind: InsightKind,
    /// The statement with its numbers.
    pub text: String,
    /// The unit that the statement is about, counted from 1; `None` for the whole network.
    pub unit: Option<usize>,
    /// What goes.
    pub removes: Removes,
    /// What stays instead, where the statement compares two choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// The numbers behind it, one for each metric at each resolution that is kept; for a resolution, at that.
    pub evidence: Vec<Evidence>,
    /// For two choices that are compared: p value adjusted for all claims that could have been made. Otherwise:
    /// probability that more than the allowance is lost with this and all that went before.
    pub p: f64,
    /// For [`InsightKind::BeatenElsewhere`] and [`InsightKind::BeyondLimit`]: the share of the best trade-offs' area
    /// that is lost with this and all that went before, as few draws exceed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

/// What an insight takes away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removes {
    /// A block at these layers.
    Block {
        /// Its name.
        block: String,
        /// (unit, layer), both counted from 1.
        layers: Vec<(usize, usize)>,
    },
    /// A depth of a unit.
    Depth {
        /// The unit, counted from 1.
        unit: usize,
        /// The depth.
        depth: usize,
    },
    /// A width of a unit.
    Width {
        /// The unit, counted from 1.
        unit: usize,
        /// Its output channels.
        channels: u32,
    },
    /// A resolution of the whole network.
    Resolution {
        /// The resolution, in pixels.
        resolution: u32,
    },
}

/// A number behind an insight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The metric's name.
    pub metric: String,
    /// The resolution that it is of, in pixels.
    pub resolution: u32,
    /// Its unit.
    pub unit: String,
    /// For two choices that are compared: what stays minus what goes. Otherwise the effect of what goes; for a
    /// resolution, the mean over its architectures. With its own 95 % interval.
    pub difference: Estimate,
}

/// Numbers of architectures, as text: they may be larger than any machine word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Of the space.
    pub before: String,
    /// Of the reduced space.
    pub after: String,
}

/// What the sum of all effects says of the best trade-offs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedLoss {
    /// Share of their area that is lost, on average over where the effects may lie.
    pub loss: f64,
    /// What it exceeds with a probability of half of the level only.
    pub upper: f64,
}

/// The best of the architectures that were evaluated in all metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownFront {
    /// Architectures evaluated.
    pub evaluated: usize,
    /// Of these, those in the reduced space.
    pub evaluated_kept: usize,
    /// Architectures that no other evaluated one dominates.
    pub front: usize,
    /// Of these, those in the reduced space.
    pub front_kept: usize,
    /// Share of the front's hypervolume that is lost when only what the reduced space holds counts; the reference is
    /// the worst evaluated value of every metric.
    pub hypervolume_lost: f64,
}

/// What is left of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The unit, counted from 1.
    pub unit: usize,
    /// Its shallowest and its deepest depth.
    pub depths: [usize; 2],
    /// Output channels to choose from; empty where they follow the input.
    pub channels: Vec<u32>,
    /// The candidate blocks of every layer.
    pub blocks: Vec<Vec<String>>,
}
