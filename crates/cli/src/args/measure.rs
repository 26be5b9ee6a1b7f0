//! `measure`: networks on devices, side by side.

use std::path::PathBuf;

use blocklens_core::model::AskedShape;
use blocklens_measure::protocol::Protocol;
use clap::Args;

use super::profile::percent;
use super::{BestArgs, SpaceChoice};
use crate::timing::seconds;

pub(super) const MEASURE_HELP: &str = "\
Every network is tried alone on every device, and then timed in rounds, in random order, each time in a process of \
its own, in turn with the fastest of them, inference by inference; until every ratio is known to --precision. What is \
told holds what differs from process to process, so that the same network given twice is told to be no different. \
Stop with Ctrl-C: what is known until then is told. docs/measure-networks.md says more.

The exit status is 0 if every network has a time on every device, and 1 if one failed.

Examples:
  blocklens measure a.onnx b.onnx                                       which is faster on the embedded engine?
  blocklens measure net.onnx --device ort --device openvino             and on which engine?
  blocklens measure a.tflite b.tflite --device litert --threads 4
  blocklens measure found/front.csv --best 3 --by accuracy --device ncnn:precision=bf16
  blocklens measure bert.onnx --shape ids=1x128 --shape mask=1x128 --device ort --export-markdown bert.md";

#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Networks: ONNX or TFLite files, architectures of --space, or files that list architectures, of which --best
    /// takes some (front.csv, evaluations.jsonl and the like)
    #[arg(required = true, value_name = "FILE|ARCH")]
    pub networks: Vec<String>,

    /// What runs them (repeat for several): tract (embedded), ort (ONNX Runtime), an adapter (openvino, ncnn, mnn,
    /// litert, onnxruntime, with options as in litert:precision=int8; see `blocklens devices`), device:COMMAND, a
    /// program of your own, or mock (simulated) [default: tract where it is compiled in]
    #[arg(long, visible_alias = "engine", value_name = "DEVICE")]
    pub device: Vec<String>,

    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolution in pixels, of architectures that do not say their own
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,

    #[command(flatten)]
    pub best: BestArgs,

    /// The shape of an input whose dimensions a file leaves open, such as 1x3x224x224, or INPUT=1x128 where there are
    /// several; an open batch alone is 1
    #[arg(long, value_name = "[INPUT=]SHAPE")]
    pub shape: Vec<AskedShape>,

    /// Threads that engines compute with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,

    /// Measure until every ratio to the fastest is known to so many percent (half of its 95 % interval)
    #[arg(long, default_value = "2%", value_name = "PERCENT", value_parser = percent)]
    pub precision: f64,

    /// Most rounds; in each, every network is timed once on every device
    #[arg(long, default_value_t = 30, value_name = "ROUNDS", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub rounds: u16,

    /// Stop after so many seconds, wherever rounds are then
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub time: Option<u64>,

    /// Most seconds for which a network is sampled in a session, if its median is not known to 1 % before
    #[arg(long, default_value_t = Protocol::default().max_s, value_name = "SECONDS", value_parser = seconds)]
    pub sampling_time: f64,

    /// Seed of everything random: the order, inputs, the weights of architectures
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// A session that takes longer than this many seconds has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// Write the answer and the table to this file too, as Markdown
    #[arg(long, value_name = "FILE")]
    pub export_markdown: Option<PathBuf>,

    /// Write everything to this file too, raw samples included, as JSON
    #[arg(long, value_name = "FILE")]
    pub export_json: Option<PathBuf>,

    /// Whether there is no progress bar, as said for all commands
    #[arg(skip)]
    pub quiet: bool,
}
