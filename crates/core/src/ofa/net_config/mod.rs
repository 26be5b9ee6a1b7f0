//! `net.config`: a subnet as the `ofa` package writes it to a file and builds it again
//! (`build_from_config` of `MobileNetV3`, `ProxylessNASNets` and `ResNets`).

mod read;
mod write;

use serde::{Deserialize, Serialize};

use super::OfaNetwork;
use super::layers::{
    BatchNorm, BottleneckConfig, ConvConfig, LinearConfig, MbConvConfig, Residual,
};

/// A subnet as the `ofa` package writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub enum NetConfig {
    /// `MobileNetV3`.
    #[serde(rename = "MobileNetV3")]
    MobileNetV3 {
        /// Batch-norm's settings.
        #[serde(default)]
        bn: Option<BatchNorm>,
        /// The first convolution.
        first_conv: ConvConfig,
        /// The blocks, the fixed one included.
        blocks: Vec<Residual<MbConvConfig>>,
        /// 1x1 convolution before pooling.
        final_expand_layer: ConvConfig,
        /// 1x1 convolution after pooling.
        feature_mix_layer: ConvConfig,
        /// The classifier.
        classifier: LinearConfig,
    },
    /// `ProxylessNASNets`.
    #[serde(rename = "ProxylessNASNets")]
    ProxylessNas {
        /// Batch-norm's settings.
        #[serde(default)]
        bn: Option<BatchNorm>,
        /// The first convolution.
        first_conv: ConvConfig,
        /// The blocks, the fixed one included.
        blocks: Vec<Residual<MbConvConfig>>,
        /// 1x1 convolution before pooling.
        feature_mix_layer: ConvConfig,
        /// The classifier.
        classifier: LinearConfig,
    },
    /// `ResNets`.
    #[serde(rename = "ResNets")]
    ResNets {
        /// Batch-norm's settings.
        #[serde(default)]
        bn: Option<BatchNorm>,
        /// Two or three convolutions.
        input_stem: Vec<StemConfig>,
        /// The bottlenecks.
        blocks: Vec<BottleneckConfig>,
        /// The classifier.
        classifier: LinearConfig,
    },
}

/// A layer of ResNet's stem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StemConfig {
    /// A convolution.
    Conv(ConvConfig),
    /// A convolution with a shortcut.
    Residual(Residual<ConvConfig>),
}

/// Why a subnet cannot be written as, or read from, a `net.config`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetConfigError {
    /// The space's file does not say which supernet of the `ofa` package it corresponds to.
    #[error("`{0}` has no [ofa] table that says which supernet it corresponds to")]
    NoOfa(String),
    /// A part of the space that the package's classes cannot express.
    #[error("{place}: the `ofa` package has no way to write {what}")]
    NotExpressible {
        /// Where in the space.
        place: String,
        /// What stands there.
        what: String,
    },
    /// The file is of another class of network.
    #[error("a `{found}` where `{space}` has subnets of class `{expected}`")]
    Class {
        /// The space's name.
        space: String,
        /// The class in the file.
        found: &'static str,
        /// The class of the space's subnets.
        expected: &'static str,
    },
    /// A layer that no architecture of the space has there.
    #[error("`{place}`: {reason}")]
    NotInSpace {
        /// The key in the file.
        place: String,
        /// Why it is not in the space.
        reason: String,
    },
    /// A resolution that the space does not have, or another choice outside it.
    #[error(transparent)]
    Architecture(#[from] crate::space::ArchitectureError),
}

impl NetConfig {
    fn class(&self) -> &'static str {
        match self {
            Self::MobileNetV3 { .. } => "MobileNetV3",
            Self::ProxylessNas { .. } => "ProxylessNASNets",
            Self::ResNets { .. } => "ResNets",
        }
    }
}

/// The class of a supernet's subnets.
fn class_of(network: OfaNetwork) -> &'static str {
    match network {
        OfaNetwork::MobileNetV3 => "MobileNetV3",
        OfaNetwork::ProxylessNas => "ProxylessNASNets",
        OfaNetwork::ResNets => "ResNets",
    }
}
