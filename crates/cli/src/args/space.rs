//! `space` and `arch`.

use std::path::PathBuf;

use blocklens_core::metric::Direction;
use clap::{Args, Subcommand};

use super::SpaceChoice;

#[derive(Debug, Args)]
pub struct SpaceArgs {
    #[command(subcommand)]
    pub command: SpaceCommand,
}

#[derive(Debug, Subcommand)]
pub enum SpaceCommand {
    /// The design spaces that are built in
    List,
    /// A space as a table: units, depths, candidate blocks
    Show {
        /// The space: a name or a file that ends in .toml
        #[arg(default_value = "ofa-mbv3")]
        name: String,
        /// Width multiplier; the space's default when not given
        #[arg(long)]
        width: Option<f64>,
        /// Print the space's file instead
        #[arg(long)]
        source: bool,
    },
    /// How many architectures a space has, exactly
    Count {
        /// The space: a name or a file that ends in .toml
        #[arg(default_value = "ofa-mbv3")]
        name: String,
    },
}

const ARCH_HELP: &str = "\
An architecture is written r224/e4k3,e6k5/e3k7,e3k3/... (resolution, then for each unit the expansion and kernel of \
its active layers), or as the dictionary of the `ofa` package, in JSON or as Python prints it: {\"ks\": [...], \
\"e\": [...], \"d\": [...], \"r\": [224]} (ResNet: e, d, w and r). Entries of layers that are not active may be \
anything.";

#[derive(Debug, Args)]
pub struct ArchArgs {
    #[command(subcommand)]
    pub command: ArchCommand,
}

#[derive(Debug, Subcommand)]
pub enum ArchCommand {
    /// Draw random architectures, one a line
    Sample {
        #[command(flatten)]
        space: SpaceChoice,
        /// How many
        #[arg(short, long, default_value_t = 1)]
        n: u64,
        /// Input resolution in pixels; the space's default when not given
        #[arg(long, value_name = "PIXELS")]
        resolution: Option<u32>,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// MACs, parameters, activation memory and other computed metrics of architectures
    #[command(after_help = ARCH_HELP)]
    Cost {
        #[command(flatten)]
        space: SpaceChoice,
        /// The architectures, or files that list some, as `evaluate` reads them; `-` for standard input
        #[arg(required = true, value_name = "ARCH|FILE")]
        archs: Vec<String>,
        /// Input resolution in pixels, of dictionaries that do not say theirs; those that do must agree with it
        #[arg(long, value_name = "PIXELS")]
        resolution: Option<u32>,
    },
    /// Write the network of an architecture as a file: ONNX, TFLite or the net.config of the ofa package
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Read a net.config of the ofa package as an architecture
    Import {
        #[command(flatten)]
        space: SpaceChoice,
        /// The file
        #[arg(value_name = "NET_CONFIG")]
        file: PathBuf,
        /// Input resolution in pixels, where the file does not say it; the space's default when not given
        #[arg(long, value_name = "PIXELS")]
        resolution: Option<u32>,
    },
}

const EXPORT_HELP: &str = "\
Without --weights the weights are random, which is all that latency needs. An ONNX file takes [1, 3, rows, columns], \
a TFLite file [1, rows, columns, 3]; both take normalised images. A checkpoint is parsed, never executed. From numpy, \
samples are written by images.astype('<f4').tofile('samples.f32') for images of shape [n, 3, rows, columns].

Examples:
  blocklens arch export r224/e4k3,e6k5/... --output net.onnx
  blocklens arch export found/front.csv --best 5 --by accuracy --output nets.tflite     nets-1.tflite is the best";

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub space: SpaceChoice,
    /// The architecture, or a file that lists one, or of which --best takes some: front.csv, evaluations.jsonl and
    /// the like
    #[arg(value_name = "ARCH|FILE")]
    pub arch: String,
    /// The file to write; its ending says what: .onnx, .tflite or .json (net.config). With --best, files get numbers
    /// (net-1.onnx is the best for net.onnx), and a folder may be given [default then: the folder blocklens-export]
    #[arg(short, long, visible_alias = "out", value_name = "FILE|FOLDER")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub best: BestArgs,
    /// Input resolution in pixels, of a dictionary that does not say its own; one that does must agree with it
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,
    /// Take the weights from a supernet's checkpoint (.pth as OFA publishes them, or .safetensors)
    #[arg(long, value_name = "CHECKPOINT")]
    pub weights: Option<PathBuf>,
    /// Weights and arithmetic in 8-bit integers (.tflite)
    #[arg(long)]
    pub int8: bool,
    /// Images to calibrate the integers on: float32, little-endian, channels x rows x columns each, normalised
    #[arg(long, value_name = "FILE.f32")]
    pub samples: Option<PathBuf>,
    /// Seed of random weights
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Which of a file's architectures are meant.
#[derive(Debug, Args)]
pub struct BestArgs {
    /// So many of the architectures of a file: the best by one metric
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub best: Option<u16>,
    /// The metric that says which are best, as the file calls it [default: its first]
    #[arg(long, value_name = "METRIC", requires = "best")]
    pub by: Option<String>,
    /// Larger values of it are better, where its name does not say so
    #[arg(long, requires = "best", conflicts_with = "lower_is_better")]
    pub higher_is_better: bool,
    /// Smaller values of it are better, where its name does not say so
    #[arg(long, requires = "best")]
    pub lower_is_better: bool,
}

impl BestArgs {
    /// Which way the metric improves, where that was said.
    pub fn direction(&self) -> Option<Direction> {
        match (self.higher_is_better, self.lower_is_better) {
            (true, _) => Some(Direction::HigherIsBetter),
            (_, true) => Some(Direction::LowerIsBetter),
            _ => None,
        }
    }
}
