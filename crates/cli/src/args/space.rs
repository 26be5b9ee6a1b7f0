//! `space` and `arch`.

use std::path::PathBuf;

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
its active layers), or as the dictionary of the `ofa` package: {\"ks\": [...], \"e\": [...], \"d\": [...], \"r\": [224]} \
(ResNet: e, d, w and r).";

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
        /// The architectures; `-` reads them from standard input, one a line
        #[arg(required = true, value_name = "ARCH")]
        archs: Vec<String>,
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
        /// Input resolution in pixels, which the file does not say; the space's default when not given
        #[arg(long, value_name = "PIXELS")]
        resolution: Option<u32>,
    },
}

const EXPORT_HELP: &str = "\
Without --weights the weights are random, which is all that latency needs. An ONNX file takes [1, 3, rows, columns], \
a TFLite file [1, rows, columns, 3]; both take normalised images. A checkpoint is parsed, never executed. From numpy, \
samples are written by images.astype('<f4').tofile('samples.f32') for images of shape [n, 3, rows, columns].";

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub space: SpaceChoice,
    /// The architecture
    #[arg(value_name = "ARCH")]
    pub arch: String,
    /// The file to write; its ending says what: .onnx, .tflite or .json (net.config)
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
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
