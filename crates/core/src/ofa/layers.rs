//! Layers of a `net.config`, field for field and in the order in which the `ofa` package writes them. Fields
//! that older versions of the package did not write may be missing when read.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::shape::make_divisible;
use crate::space::Ratio;

/// Settings of batch-norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// How fast running statistics follow the batches.
    pub momentum: f64,
    /// What is added to the variance before the square root.
    pub eps: f64,
    /// The same for weight standardisation, where it is used.
    #[serde(default)]
    pub ws_eps: Option<f64>,
}

impl BatchNorm {
    /// The package's settings with another epsilon.
    pub(super) fn with_epsilon(eps: f64) -> Self {
        Self {
            momentum: 0.1,
            eps,
            ws_eps: None,
        }
    }
}

/// `ConvLayer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "ConvLayer")]
#[allow(missing_docs)] // the package's names
pub struct ConvConfig {
    pub kernel_size: u32,
    pub stride: u32,
    #[serde(default = "one")]
    pub dilation: u32,
    #[serde(default = "one")]
    pub groups: u32,
    #[serde(default)]
    pub bias: bool,
    #[serde(default)]
    pub has_shuffle: bool,
    #[serde(default)]
    pub use_se: bool,
    pub in_channels: u32,
    pub out_channels: u32,
    #[serde(default = "yes")]
    pub use_bn: bool,
    pub act_func: Option<String>,
    #[serde(default, serialize_with = "as_number")]
    pub dropout_rate: f64,
    #[serde(default = "usual_order")]
    pub ops_order: String,
}

impl ConvConfig {
    /// `channels`: input, output, stride.
    pub(super) fn new(
        kernel_size: u32,
        [in_channels, out_channels, stride]: [u32; 3],
        use_bn: bool,
        activation: String,
    ) -> Self {
        Self {
            kernel_size,
            stride,
            dilation: 1,
            groups: 1,
            bias: false,
            has_shuffle: false,
            use_se: false,
            in_channels,
            out_channels,
            use_bn,
            act_func: Some(activation),
            dropout_rate: 0.0,
            ops_order: usual_order(),
        }
    }

    /// Whether both are the same computation.
    pub(super) fn same(&self, other: &Self) -> bool {
        let without_training = |conv: &Self| Self {
            dropout_rate: 0.0,
            ..conv.clone()
        };
        without_training(self) == without_training(other)
    }
}

/// `MBConvLayer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "MBConvLayer")]
#[allow(missing_docs)] // the package's names
pub struct MbConvConfig {
    pub in_channels: u32,
    pub out_channels: u32,
    pub kernel_size: u32,
    pub stride: u32,
    #[serde(serialize_with = "as_number")]
    pub expand_ratio: f64,
    #[serde(default)]
    pub mid_channels: Option<u32>,
    pub act_func: Option<String>,
    #[serde(default)]
    pub use_se: bool,
    #[serde(default)]
    pub groups: Option<u32>,
}

impl MbConvConfig {
    /// `channels`: input, output, stride.
    pub(super) fn new(
        kernel_size: u32,
        expansion: Ratio,
        [in_channels, out_channels, stride]: [u32; 3],
        activation: String,
    ) -> Self {
        let hidden = (f64::from(in_channels) * expansion.value()).round_ties_even();
        Self {
            in_channels,
            out_channels,
            kernel_size,
            stride,
            expand_ratio: expansion.value(),
            // The package's fixed blocks have none; those that it slices have theirs.
            mid_channels: (!expansion.is_one()).then(|| make_divisible(hidden)),
            act_func: Some(activation),
            use_se: false,
            groups: None,
        }
    }

    /// Hidden channels: those given, or what the package computes.
    fn hidden(&self) -> u32 {
        let computed = (f64::from(self.in_channels) * self.expand_ratio).round_ties_even();
        #[allow(clippy::float_cmp)] // an exact 1 in the file
        if self.expand_ratio == 1.0 {
            return self.mid_channels.unwrap_or(self.in_channels);
        }
        self.mid_channels
            .unwrap_or_else(|| make_divisible(computed))
    }

    /// Whether both are the same computation.
    pub(super) fn same(&self, other: &Self) -> bool {
        let plain = |conv: &Self| Self {
            mid_channels: Some(conv.hidden()),
            groups: conv.groups.filter(|g| *g != conv.hidden()),
            ..conv.clone()
        };
        plain(self) == plain(other)
    }
}

/// `ResNetBottleneckBlock`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "ResNetBottleneckBlock")]
#[allow(missing_docs)] // the package's names
pub struct BottleneckConfig {
    pub in_channels: u32,
    pub out_channels: u32,
    pub kernel_size: u32,
    pub stride: u32,
    pub expand_ratio: f64,
    #[serde(default)]
    pub mid_channels: Option<u32>,
    pub act_func: Option<String>,
    #[serde(default = "one")]
    pub groups: u32,
    pub downsample_mode: String,
}

impl BottleneckConfig {
    /// `channels`: input, output, stride.
    pub(super) fn new(
        kernel_size: u32,
        expansion: Ratio,
        [in_channels, out_channels, stride]: [u32; 3],
        activation: String,
        shortcut: &str,
    ) -> Self {
        let hidden = (f64::from(out_channels) * expansion.value()).round_ties_even();
        Self {
            in_channels,
            out_channels,
            kernel_size,
            stride,
            expand_ratio: expansion.value(),
            mid_channels: Some(make_divisible(hidden)),
            act_func: Some(activation),
            groups: 1,
            downsample_mode: shortcut.to_owned(),
        }
    }

    /// Whether both are the same computation.
    pub(super) fn same(&self, other: &Self) -> bool {
        let plain = |block: &Self| {
            let hidden = (f64::from(block.out_channels) * block.expand_ratio).round_ties_even();
            let hidden = block.mid_channels.map_or(hidden, f64::from);
            Self {
                mid_channels: Some(make_divisible(hidden)),
                ..block.clone()
            }
        };
        plain(self) == plain(other)
    }
}

/// `ResidualBlock`: a layer and its shortcut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "name",
    rename = "ResidualBlock",
    bound(deserialize = "T: DeserializeOwned")
)]
pub struct Residual<T> {
    /// The layer; `None` where the file has a `ZeroLayer` or none, and the package then passes the input on.
    #[serde(alias = "mobile_inverted_conv", deserialize_with = "layer_or_zero")]
    pub conv: Option<T>,
    /// The shortcut, where there is one.
    #[serde(default, deserialize_with = "layer_or_zero")]
    pub shortcut: Option<IdentityConfig>,
}

impl<T> Residual<T> {
    pub(super) fn new(conv: T, shortcut: Option<IdentityConfig>) -> Self {
        Self {
            conv: Some(conv),
            shortcut,
        }
    }
}

/// A layer, or `None` for none and for `ZeroLayer`.
fn layer_or_zero<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    let name = value.get("name").and_then(Value::as_str);
    match name {
        _ if value.is_null() => return Ok(None),
        Some("ZeroLayer") => return Ok(None),
        _ => {}
    }
    let name = name.unwrap_or("a layer without a `name`").to_owned();
    let layer = serde_json::from_value(value);
    layer.map_err(|error| D::Error::custom(format!("{name}: {error}")))
}

/// A list of layers; errors say which is meant.
pub(super) fn numbered<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let values = Vec::<Value>::deserialize(deserializer)?;
    let layer = |(index, value): (usize, Value)| {
        let name = value.get("name").and_then(Value::as_str);
        let name = name.unwrap_or("without a `name`").to_owned();
        let layer = serde_json::from_value(value);
        layer.map_err(|error| {
            D::Error::custom(format!("layer {index} of the list ({name}): {error}"))
        })
    };
    values.into_iter().enumerate().map(layer).collect()
}

/// `IdentityLayer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "IdentityLayer")]
#[allow(missing_docs)] // the package's names
pub struct IdentityConfig {
    #[serde(default)]
    pub in_channels: Option<Channels>,
    #[serde(default)]
    pub out_channels: Option<Channels>,
    #[serde(default)]
    pub use_bn: bool,
    #[serde(default)]
    pub act_func: Option<String>,
    #[serde(default, serialize_with = "as_number")]
    pub dropout_rate: f64,
    #[serde(default = "usual_order")]
    pub ops_order: String,
}

/// Channels of an identity: the package writes lists of the supernet's here and there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Channels {
    /// A number.
    One(u32),
    /// A list of numbers.
    Many(Vec<u32>),
}

impl IdentityConfig {
    pub(super) fn new(channels: u32) -> Self {
        Self {
            in_channels: Some(Channels::One(channels)),
            out_channels: Some(Channels::One(channels)),
            use_bn: false,
            act_func: None,
            dropout_rate: 0.0,
            ops_order: usual_order(),
        }
    }
}

/// `LinearLayer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "LinearLayer")]
#[allow(missing_docs)] // the package's names
pub struct LinearConfig {
    pub in_features: u32,
    pub out_features: u32,
    #[serde(default = "yes")]
    pub bias: bool,
    #[serde(default)]
    pub use_bn: bool,
    #[serde(default)]
    pub act_func: Option<String>,
    #[serde(default, serialize_with = "as_number")]
    pub dropout_rate: f64,
    #[serde(default = "usual_order")]
    pub ops_order: String,
}

impl LinearConfig {
    pub(super) fn new(in_features: u32, out_features: u32) -> Self {
        Self {
            in_features,
            out_features,
            bias: true,
            use_bn: false,
            act_func: None,
            dropout_rate: 0.0,
            ops_order: usual_order(),
        }
    }

    /// Whether both are the same computation.
    pub(super) fn same(&self, other: &Self) -> bool {
        let without_training = |linear: &Self| Self {
            dropout_rate: 0.0,
            ..linear.clone()
        };
        without_training(self) == without_training(other)
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn usual_order() -> String {
    "weight_bn_act".to_owned()
}

/// Whole numbers without a decimal point, as Python writes them.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::trivially_copy_pass_by_ref
)]
fn as_number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && (0.0..1e9).contains(value) {
        serializer.serialize_u64(*value as u64)
    } else {
        serializer.serialize_f64(*value)
    }
}
