//! `net.config`: a subnet as the `ofa` package writes it to a file and builds it again
//! (`build_from_config` of `MobileNetV3`, `ProxylessNASNets` and `ResNets`).

mod read;
mod write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OfaNetwork;
use super::layers::{
    BatchNorm, BottleneckConfig, ConvConfig, LinearConfig, MbConvConfig, Residual, numbered,
};
use crate::notation::literal;

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
        #[serde(deserialize_with = "numbered")]
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
        #[serde(deserialize_with = "numbered")]
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
        #[serde(deserialize_with = "numbered")]
        input_stem: Vec<StemConfig>,
        /// The bottlenecks.
        #[serde(deserialize_with = "numbered")]
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

/// A `net.config`, and the resolution that files of others say beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct NetConfigFile {
    /// The subnet.
    pub config: NetConfig,
    /// The resolution, where the file has one: `resolution`, `image_size` or `r`.
    pub resolution: Option<u32>,
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
    /// The text is no `net.config`.
    #[error("not a net.config of the ofa package: {0}")]
    Text(String),
    /// A resolution that the space does not have, or another choice outside it.
    #[error(transparent)]
    Architecture(#[from] crate::space::ArchitectureError),
}

impl NetConfigFile {
    /// Reads a file: JSON, or what Python prints of a network's `config`.
    ///
    /// # Errors
    /// [`NetConfigError::Text`].
    pub fn read(text: &str) -> Result<Self, NetConfigError> {
        let wrong = |error: &dyn std::fmt::Display| NetConfigError::Text(error.to_string());
        let value = literal::parse(text).map_err(|e| wrong(&e))?;
        let resolution = resolution(&value)?;
        let config = serde_json::from_value(value).map_err(|e| wrong(&e))?;
        Ok(Self { config, resolution })
    }
}

/// What a file says of its resolution; keys that disagree say nothing.
fn resolution(file: &Value) -> Result<Option<u32>, NetConfigError> {
    let mut found = None;
    for key in ["resolution", "image_size", "r"] {
        let value = match file.get(key) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(list)) if list.len() == 1 => &list[0],
            Some(value) => value,
        };
        let pixels = value.as_u64().and_then(|pixels| u32::try_from(pixels).ok());
        let pixels = pixels.ok_or_else(|| {
            NetConfigError::Text(format!("`{key}` is {value}, where a resolution is due"))
        })?;
        match found.replace(pixels) {
            Some(other) if other != pixels => {
                return Err(NetConfigError::Text(format!(
                    "`{key}` is {pixels}, and another key says {other}: which resolution is meant?"
                )));
            }
            _ => {}
        }
    }
    Ok(found)
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
