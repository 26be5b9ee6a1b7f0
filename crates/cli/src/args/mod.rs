//! What can be typed. What it means is worked out by the commands.

mod evaluate;
mod measure;
mod profile;
mod search;
mod space;

use std::ffi::OsString;

use blocklens_measure::metrics;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use evaluate::{DataArgs, DataCommand, EvaluateArgs, TableArgs};
pub use measure::MeasureArgs;
pub use profile::{
    ControlChoice, DiffArgs, EstimatorChoice, ProfileArgs, ReduceArgs, ReportArgs, default_engine,
};
pub use search::{CompareArgs, GoalArgs, SearchArgs};
pub use space::{ArchArgs, ArchCommand, BestArgs, ExportArgs, SpaceArgs, SpaceCommand};

use evaluate::{DATA_HELP, EVALUATE_HELP, TABLE_HELP};
use measure::MEASURE_HELP;
use profile::{DIFF_HELP, PROFILE_HELP, REDUCE_HELP};
use search::{COMPARE_HELP, SEARCH_HELP};

const SERVE_DEVICE_HELP: &str = "\
Requests come on standard input and answers go to standard output (device/1, docs/device-protocol.md), files inline, \
so that any line that carries bytes will do. It ends when standard input ends.

Examples:
  blocklens devices --check \"device:blocklens serve-device tract\"
  blocklens profile --engine \"device:ssh pi@board blocklens serve-device ncnn:precision=bf16\"
  blocklens profile --engine ssh:pi@board/ncnn:precision=bf16       the same, and finds or copies blocklens there";

#[derive(Debug, Parser)]
#[command(
    name = "blocklens",
    version,
    about = "Which neural blocks does this hardware like, where in the network, and what accuracy do they buy?",
    after_help = "Start with `blocklens profile`: about two minutes later you have a report on your own CPU.",
    propagate_version = true
)]
pub struct Cli {
    /// How results are printed; files and progress are not affected
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// No progress bar
    #[arg(long, short, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

/// What was typed; lists of metrics are taken apart, and what is said for all commands is handed to those that it
/// concerns.
pub fn parse() -> Cli {
    let mut cli = Cli::parse();
    let quiet = cli.quiet;
    match &mut cli.command {
        Command::Profile(args) => {
            args.metric = metrics::names(&args.metric);
            args.quiet = quiet;
        }
        Command::Report(args) => args.metric = metrics::names(&args.metric),
        Command::Evaluate(args) => {
            args.metric = metrics::names(&args.metric);
            args.spread_seed();
        }
        Command::Search(args) => {
            args.goal.metric = metrics::names(&args.goal.metric);
            args.quiet = quiet;
        }
        Command::Compare(args) => {
            args.goal.metric = metrics::names(&args.goal.metric);
            args.quiet = quiet;
        }
        Command::Measure(args) => args.quiet = quiet,
        Command::Table(args) => args.quiet = quiet,
        Command::Data(args) => {
            if let DataCommand::Fetch { quiet: here, .. } = &mut args.command {
                *here = quiet;
            }
        }
        _ => {}
    }
    cli
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one JSON document, or one JSON object a line where results stream
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure networks and estimate the effect of every block at every place
    #[command(after_help = PROFILE_HELP)]
    Profile(ProfileArgs),
    /// Write the report of a campaign again from what is stored
    Report(ReportArgs),
    /// Compare two profiles: two devices, two engines, or before and after a change
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// Time networks on devices side by side: ONNX and TFLite files, architectures; which is faster, by how much?
    #[command(after_help = MEASURE_HELP)]
    Measure(MeasureArgs),
    /// Give architectures numbers: one line for every architecture and metric
    #[command(after_help = EVALUATE_HELP)]
    Evaluate(EvaluateArgs),
    /// Time every layer of a space by itself and write the block-wise latency table that `latency@FILE` reads
    #[command(after_help = TABLE_HELP)]
    Table(TableArgs),
    /// Make a space smaller by what profiles of it show
    #[command(after_help = REDUCE_HELP)]
    Reduce(ReduceArgs),
    /// Search a space for the architectures that no other dominates
    #[command(after_help = SEARCH_HELP)]
    Search(SearchArgs),
    /// Compare searches over many seeds: algorithms with each other, and a space with its reductions
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
    /// Fetch and add the data sets that metrics name, such as latency@note10
    #[command(after_help = DATA_HELP)]
    Data(DataArgs),
    /// Show which engines can be used here, and why the others cannot
    Devices {
        /// Check one instead: whether it does what every engine must, such as "device:python3 my_board.py"
        #[arg(long, value_name = "ENGINE")]
        check: Option<String>,
    },
    /// Serve an engine to whoever asks on standard input, as `--engine ssh:HOST/ENGINE` does on the other machine
    #[command(after_help = SERVE_DEVICE_HELP)]
    ServeDevice {
        /// The engine, as in `profile`: tract, ort, mock, an adapter with its options
        engine: String,
        /// Most memory that it may map, in MiB (Linux)
        #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..))]
        memory_limit: Option<u64>,
    },
    /// List, show and count design spaces
    Space(SpaceArgs),
    /// Draw architectures, count their costs, export their networks
    Arch(ArchArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "For bash: blocklens completions bash > ~/.local/share/bash-completion/completions/blocklens"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Carry out one measurement that is given on standard input (used by `profile`)
    #[command(hide = true)]
    Worker,
    /// Run a program and end it, with all that it started, when standard input has no other end any more (used for
    /// programs that are metrics)
    #[command(hide = true)]
    Guard {
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Become a program that ends with its guard (used by `guard`)
    #[command(hide = true)]
    Guarded {
        /// The guard's process
        guard: i32,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// A design space, as asked for.
#[derive(Debug, Args)]
pub struct SpaceChoice {
    /// The design space: a name (see `blocklens space list`) or a file that ends in .toml
    #[arg(long, default_value = "ofa-mbv3", value_name = "NAME|FILE")]
    pub space: String,

    /// Width multiplier; the space's default when not given
    #[arg(long)]
    pub width: Option<f64>,
}
