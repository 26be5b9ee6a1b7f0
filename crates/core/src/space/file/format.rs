//! What a space file holds, as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::fragment::Formula;
use crate::ofa::OfaLayout;
use crate::space::block::Activation;
use crate::space::ratio::Ratio;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct File {
    pub(super) format: Spanned<u32>,
    pub(super) name: Spanned<String>,
    pub(super) title: Option<String>,
    #[serde(default = "thousand")]
    pub(super) classes: Spanned<u32>,
    #[serde(default = "only_one")]
    pub(super) widths: Spanned<Vec<f64>>,
    pub(super) default_width: Option<Spanned<f64>>,
    pub(super) resolutions: Spanned<Resolutions>,
    pub(super) default_resolution: Option<Spanned<u32>>,
    #[serde(default = "usual_epsilon")]
    pub(super) batch_norm_epsilon: Spanned<f64>,
    #[serde(default)]
    pub(super) stem: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) unit: Vec<Spanned<FileUnit>>,
    #[serde(default)]
    pub(super) head: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) block: BTreeMap<String, Spanned<FileBlock>>,
    pub(super) ofa: Option<Spanned<OfaLayout>>,
}

/// A block that the file brings.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileBlock {
    pub(super) onnx: String,
    pub(super) in_channels: u32,
    /// Left out, the block keeps its channels.
    pub(super) out_channels: Option<u32>,
    pub(super) stride: Option<u32>,
    #[serde(default)]
    pub(super) sizes: BTreeMap<String, Formula>,
    #[serde(default)]
    pub(super) skip: bool,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of resolutions, or { min, max, step } with the usual ones as `usual`"
)]
pub(super) enum Resolutions {
    List(Vec<u32>),
    Range(ResolutionRange),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolutionRange {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) step: u32,
    #[serde(default)]
    pub(super) usual: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileUnit {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) before: Vec<Spanned<String>>,
    pub(super) channels: Option<Spanned<u32>>,
    pub(super) width_choices: Option<Spanned<Vec<f64>>>,
    #[serde(default = "one")]
    pub(super) stride: Spanned<u32>,
    pub(super) depth: Spanned<Depth>,
    #[serde(default = "relu")]
    pub(super) activation: Activation,
    #[serde(default)]
    pub(super) squeeze_excite: SqueezeExcite,
    pub(super) blocks: Spanned<FileBlocks>,
    #[serde(default)]
    pub(super) full_names: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a depth, or [shallowest, deepest]")]
pub(super) enum Depth {
    Fixed(usize),
    Range([usize; 2]),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or a ratio such as 0.25")]
pub(super) enum SqueezeExcite {
    Switch(bool),
    Ratio(Ratio),
}

impl Default for SqueezeExcite {
    fn default() -> Self {
        Self::Switch(false)
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of blocks, or a list with one list of blocks for every layer"
)]
pub(super) enum FileBlocks {
    EveryLayer(Vec<String>),
    ByLayer(Vec<Vec<String>>),
}

fn default_at<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn thousand() -> Spanned<u32> {
    default_at(1000)
}

fn only_one() -> Spanned<Vec<f64>> {
    default_at(vec![1.0])
}

fn usual_epsilon() -> Spanned<f64> {
    default_at(1e-5)
}

fn one() -> Spanned<u32> {
    default_at(1)
}

fn relu() -> Activation {
    Activation::Relu
}
