//! `evaluate`, `table` and `data`: values of single architectures and where they come from.

use std::path::PathBuf;

use blocklens_core::seed::Seed;
use blocklens_measure::proxies;
use clap::{Args, Subcommand};

use super::SpaceChoice;
use crate::images::ImageArgs;

pub(super) const EVALUATE_HELP: &str = "\
Architectures come one a line, as text (r224/e4k3,e6k5/...), as the dictionary of the `ofa` package (JSON, or as \
Python prints it), or as {\"arch\": \"r224/...\", ...}. What other commands write is read too: front.csv, \
evaluations.jsonl, front.json, the networks of a report.json, and any CSV with a column arch. Lines go out in the \
order \
in which they came in, as soon as they are known; what has no value gets a line that says why, and the others go on. \
Where no line is an architecture, the exit status is 1.

Examples:
  blocklens arch sample -n 1000 | blocklens evaluate --metric accuracy,macs
  blocklens evaluate --metric naswot,zen archs.txt          training-free proxies, not accuracies (docs/proxies.md)
  blocklens --format json evaluate --metric latency@note10,accuracy@ofa archs.jsonl
  blocklens evaluate --metric accuracy@supernet.pth --images imagenet/val archs.txt
                                                      subnets sliced from a checkpoint, on images
  blocklens evaluate --metric \"energy@program:python3 examples/program-metric/energy.py\" archs.txt
  blocklens evaluate --metric accuracy archs.txt --output values.jsonl      go on after an interruption: the same \
  again";

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Metrics, separated by commas outside of a program's quotes (the option may also be repeated): accuracy, macs,
    /// params, memory, the training-free proxies naswot and zen, and those with a source, such as latency@note10 or
    /// accuracy@FILE.pth
    #[arg(long, value_name = "METRICS", default_value = "accuracy,macs")]
    pub metric: Vec<String>,

    /// How training-free proxies are computed, such as engine=tract,batch=32,repeats=4,seed=1 [default: ONNX Runtime
    /// where it is found, else tract; 16 images of noise, one draw of weights, seed 1]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "OPTIONS"
    )]
    pub proxy: proxies::Options,

    /// The file with the architectures; - for standard input
    #[arg(default_value = "-", value_name = "FILE")]
    pub archs: PathBuf,

    /// Input resolution in pixels, of dictionaries that do not say theirs; architectures that do must agree with it
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,

    /// Write JSON lines to this file, after those that it holds already: architectures that have all their values there
    /// are left out
    #[arg(long, short, visible_alias = "out", value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Threads, and processes of a program that is a metric; as many as the machine has CPUs when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Seed of everything random that is not told its own: which image is for what (--image-seed), and the weights
    /// and images of training-free proxies (--proxy seed=1)
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// A program that takes longer than this many seconds for an answer has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    #[command(flatten)]
    pub images: ImageArgs,
}

impl EvaluateArgs {
    /// Hands the seed to what is not told its own.
    pub(super) fn spread_seed(&mut self) {
        self.images.image_seed.get_or_insert(self.seed);
        let proxies = &mut self.proxy.settings.seed;
        if *proxies == proxies::Options::default().settings.seed {
            *proxies = Seed(self.seed);
        }
    }
}

pub(super) const TABLE_HELP: &str = "\
Every distinct layer (a block with its shapes) runs as a network of its own, each in a process of its own, and is on \
disk before \
the next begins: stop with Ctrl-C and run the same command to go on. The table is in the format of the `ofa` package, \
one \
entry a layer. Sums of layers are not latencies of networks: --check N measures N whole networks in the same campaign \
and says \
how far the sums are from them (check.json).

Examples:
  blocklens table --check 20                                    this CPU, embedded engine
  blocklens table --engine ort --resolution 160 --check 40      ONNX Runtime; a larger --check goes on from a smaller \
  one
  blocklens profile --metric latency@blocklens-table/224_lookup_table.yaml";
#[derive(Debug, Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolution in pixels; the space's default when not given
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,

    /// What runs the layers: tract (embedded), ort (ONNX Runtime), mock (simulated) [default: tract where it is
    /// compiled in]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,

    /// Threads that the engine computes with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,

    /// Measure so many whole networks too, and say how far the sums of their layers are from them
    #[arg(long, value_name = "NETWORKS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub check: Option<u64>,

    /// How often every layer is measured, each time in a fresh session; the table has the mean
    #[arg(long, default_value_t = 1, value_name = "SESSIONS", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rounds: u64,

    /// Seed of everything random: the order, weights and inputs, the networks of the check
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Folder for the table and the measurements
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "blocklens-table",
        value_name = "FOLDER"
    )]
    pub out: PathBuf,

    /// Begin anew even if the same table is stored
    #[arg(long)]
    pub fresh: bool,

    /// Try again what failed
    #[arg(long)]
    pub retry_failed: bool,

    /// A measurement that takes longer than this many seconds has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// Whether there is no progress bar, as said for all commands
    #[arg(skip)]
    pub quiet: bool,
}

pub(super) const DATA_HELP: &str = "\
Data sets are kept in your folder for data, or in the one that BLOCKLENS_DATA names. Every file is checked against its \
size and SHA-256 when it comes and whenever it is used.

Examples:
  blocklens data list
  blocklens data fetch note10 ofa                then: blocklens profile --metric latency@note10,accuracy@ofa
  blocklens data fetch note10 --from /media/usb  without network
  blocklens data add my-board table.yaml --note \"latency of my board\"    then: --metric latency@my-board";

#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    pub command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Which data sets there are, and which are here
    List,
    /// Fetch data sets: from where they are published, from a mirror or from a folder
    Fetch {
        /// The data sets; see `blocklens data list`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// A mirror's address (http:// or https://) or a folder to take the files from
        #[arg(long, value_name = "ADDRESS|FOLDER")]
        from: Option<String>,
        /// Fetch again what is here already
        #[arg(long)]
        again: bool,
        /// Longest wait for a server's answer, and for a file, in seconds
        #[arg(long, default_value_t = 120, value_name = "SECONDS")]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
        time_limit: u64,
        /// Whether there is no progress bar, as said for all commands
        #[arg(skip)]
        quiet: bool,
    },
    /// Bring files of a known data set, or make one of your own
    Add {
        /// A known data set, whose files are recognised by their contents, or a new name
        #[arg(value_name = "NAME")]
        name: String,
        /// Files, or folders with them
        #[arg(required = true, value_name = "FILE|FOLDER")]
        files: Vec<PathBuf>,
        /// What a data set of your own is
        #[arg(long, default_value = "")]
        note: String,
        /// Its licence
        #[arg(long, default_value = "")]
        licence: String,
    },
}
