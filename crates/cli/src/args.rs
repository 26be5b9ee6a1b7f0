//! What can be typed. What it means is worked out by the commands.

use std::path::PathBuf;

use blocklens_core::reduce::Goal;
use blocklens_measure::{metrics, proxies};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::images::ImageArgs;
use crate::timing::TimingArgs;

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

    #[command(subcommand)]
    pub command: Command,
}

/// What was typed; lists of metrics are taken apart.
pub fn parse() -> Cli {
    let mut cli = Cli::parse();
    match &mut cli.command {
        Command::Profile(args) => args.metric = metrics::names(&args.metric),
        Command::Report(args) => args.metric = metrics::names(&args.metric),
        Command::Evaluate(args) => args.metric = metrics::names(&args.metric),
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
    Devices,
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
}

const PROFILE_HELP: &str = "\
What happens: random networks of the space are built with random weights and timed one after the other, each \
in a process of its own, with a small sentinel network in between that shows drift and noise. Every measurement \
is on disk before the next begins: stop with Ctrl-C (or pull the plug) and run the same command to go on. A \
larger --budget continues a smaller one.

What comes out, in the --out folder: report.html (open it in a browser), report.json, blocks.csv, summary.md, and \
the measurements themselves in measurements.db.

Examples:
  blocklens profile                                   this CPU, embedded engine, about two minutes
  blocklens profile --engine ort --budget 200         ONNX Runtime, tighter intervals
  blocklens profile --engine mock:noise=0.02          a simulated device, in seconds
  blocklens profile --metric latency@tables/note10,accuracy@acc_predictor.pth
                                                      nothing measured: a phone's latency table, a predictor";

const COMPARE_HELP: &str = "\
Every algorithm searches every space once for each seed, with nothing else changed; what it has found is looked at when each budget is \
spent. Every finished run is on disk: stop with Ctrl-C and run the same command to go on. More seeds, algorithms or reductions \
are added to what is there.

Examples:
  blocklens compare --algorithms random,mutation,guided --seeds 20 --budgets 300,2100
  blocklens compare --reduced reduced.toml --random-reductions 20 --seeds 20   does a reduction pay?";

const DIFF_HELP: &str = "\
Effects of blocks, depths, widths and their averages are compared in the metric's unit, and relative to each profile's own \
mean: a device that is merely faster differs in the first and not in the second. Only differences that survive the correction for \
the number of comparisons are claimed. The exit status says whether the comparison could be made, not what it found.

Examples:
  blocklens diff before after
  blocklens diff cpu phone/report.json --metric latency --output diff.html
  blocklens --format json diff before after --control bh > diff.json";

const EVALUATE_HELP: &str = "\
Architectures come one a line, as text (r224/e4k3,e6k5/...), as the dictionary of the `ofa` package, or as \
{\"arch\": \"r224/...\"}: whatever `blocklens arch sample` prints. Lines go out in the order in which they came in, as soon as \
they are known; what has no value gets a line that says why, and the others go on.

Examples:
  blocklens arch sample -n 1000 | blocklens evaluate --metric accuracy,macs
  blocklens evaluate --metric naswot,zen archs.txt          training-free proxies, not accuracies (docs/proxies.md)
  blocklens --format json evaluate --metric latency@note10,accuracy@ofa archs.jsonl
  blocklens evaluate --metric accuracy@supernet.pth --images imagenet/val archs.txt
                                                      subnets sliced from a checkpoint, on images
  blocklens evaluate --metric \"energy@program:python3 examples/program-metric/energy.py\" archs.txt
  blocklens evaluate --metric accuracy archs.txt --output values.jsonl      go on after an interruption: the same again";

const TABLE_HELP: &str = "\
Every distinct layer (a block with its shapes) runs as a network of its own, each in a process of its own, and is on disk before \
the next begins: stop with Ctrl-C and run the same command to go on. The table is in the format of the `ofa` package, one \
entry a layer. Sums of layers are not latencies of networks: --check N measures N whole networks in the same campaign and says \
how far the sums are from them (check.json).

Examples:
  blocklens table --check 20                                    this CPU, embedded engine
  blocklens table --engine ort --resolution 160 --check 40      ONNX Runtime; a larger --check goes on from a smaller one
  blocklens profile --metric latency@blocklens-table/224_lookup_table.yaml";
const SEARCH_HELP: &str = "\
What happens: the algorithm proposes architectures, every metric is evaluated for them, and so on until the budget of unique \
architectures is spent. What is evaluated is on disk before the next are proposed: stop with Ctrl-C (or pull the plug) and run the \
same command to go on, to the same result. A larger --budget continues a smaller one.

What comes out, in the --out folder: front.csv and front.json (the front, ready for `blocklens arch export`), evaluations.jsonl \
(everything that was evaluated) and search.json (what was sought and how).

Algorithms:
  random     architectures from the space's own distribution
  mutation   the Pareto search of Mills et al. 2021: random mutations of the front
  top-k      the accuracy search of Mills et al. 2021, for one metric: random mutations of the 10 best
  evolution  regularised evolution (Real et al. 2019)
  nsga2      NSGA-II (Deb et al. 2002)
  local      Pareto local search, begun again wherever it ends
  bananas    an ensemble of predictors with independent Thompson sampling (White et al. 2021)

Examples:
  blocklens search --metric accuracy,macs --budget 1000
  blocklens search --metric accuracy@ofa,latency@note10 --algorithm mutation --reference accuracy=78,latency=65ms
  blocklens search --metric accuracy --max macs=300MMACs --algorithm top-k
  blocklens search --metric accuracy,macs --max macs=400 --min accuracy=76% --seed 2 --out second";

const REDUCE_HELP: &str = "\
What goes: blocks, depths and widths that are shown to be dominated (another choice is not worse in any metric, and better in one), and \
those that the best trade-offs can do without, because what they earn for what they cost is beaten elsewhere. What is not sure stays. \
The reduced space keeps profiled resolutions only; of several, those go that the best networks of the others make up for.

What comes out, in the --out folder: space.toml (every --space takes it), reduction.json and reduction.md (every statement with its \
evidence, the sizes, and what would have been lost of the best networks known so far).

Examples:
  blocklens reduce blocklens-out
  blocklens reduce latency-profile accuracy-profile --goal max-latency=25ms
  blocklens reduce blocklens-out --goal max-accuracy --known found
  blocklens reduce at-192 at-208 at-224                               profiles of three resolutions: which can go?
  blocklens profile --space blocklens-reduced/space.toml --metric latency@note10,accuracy@ofa --out second
  blocklens reduce second --space blocklens-reduced/space.toml --out blocklens-reduced-2      and so on, as long as something goes";

const DATA_HELP: &str = "\
Data sets are kept in your folder for data, or in the one that BLOCKLENS_DATA names. Every file is checked against its \
size and SHA-256 when it comes and whenever it is used.

Examples:
  blocklens data list
  blocklens data fetch note10 ofa                then: blocklens profile --metric latency@note10,accuracy@ofa
  blocklens data fetch note10 --from /media/usb  without network
  blocklens data add my-board table.yaml --note \"latency of my board\"    then: --metric latency@my-board";

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

#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolution in pixels; the space's default when not given
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,

    /// What runs the networks: tract (embedded), ort (ONNX Runtime), mock (simulated; mock:noise=0.02,drift=0.1,...)
    /// [default: tract where it is compiled in]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,

    /// Threads that the engine computes with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,

    #[command(flatten)]
    pub timing: TimingArgs,

    /// Measure until the latency effect of every block is known to so many percent of the mean latency (half of its 95 % interval), or
    /// --budget [default: 1000 then] is spent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub precision: Option<f64>,

    /// How many networks to measure [default: 56; with `--estimator sampled` or `legacy`: 10 for every combination.
    /// Where nothing is measured: 2000, or 100 for every combination]
    #[arg(long, value_name = "NETWORKS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub budget: Option<u64>,

    /// For how many architectures of the plan to evaluate metrics that take long (programs) beside a measured latency
    /// [default: as many as --budget]
    #[arg(long, value_name = "ARCHITECTURES", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub evaluations: Option<u64>,

    /// How effects are estimated
    #[arg(long, value_enum, default_value_t = EstimatorChoice::Designed)]
    pub estimator: EstimatorChoice,

    /// Metrics, separated by commas outside of a program's quotes (the option may also be repeated): accuracy, macs, params,
    /// memory, the training-free proxies naswot and zen, and those with a source, such as latency@note10 or accuracy@FILE.pth. Latency is measured on the engine besides, unless one with a source takes its
    /// place [default: accuracy,macs, as far as they are for this space and resolution]
    #[arg(long, value_name = "METRICS")]
    pub metric: Vec<String>,

    /// How training-free proxies are computed, such as engine=tract,batch=32,repeats=4,seed=1 [default: ONNX Runtime where
    /// it is found, else tract; 16 images of noise, one draw of weights, seed 1]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "OPTIONS"
    )]
    pub proxy: proxies::Options,

    /// Seed of everything random: the networks drawn, their weights and inputs
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Folder for the report and the measurements
    #[arg(long, default_value = "blocklens-out", value_name = "FOLDER")]
    pub out: PathBuf,

    /// Go on with a stored campaign, and fail if there is none (without this, the same command goes on where
    /// one is stored and begins one otherwise)
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,

    /// Begin a new campaign even if the same one is stored
    #[arg(long)]
    pub fresh: bool,

    /// Try again networks whose measurement failed, and architectures for which a metric that takes long failed
    #[arg(long)]
    pub retry_failed: bool,

    /// A measurement that takes longer than this many seconds has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// Most memory that a measuring process may map, in MiB (Linux)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..))]
    pub memory_limit: Option<u64>,

    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,

    #[command(flatten)]
    pub images: ImageArgs,
}

/// The embedded engine where it is compiled in; otherwise the next best that may be there.
pub fn default_engine() -> &'static str {
    if cfg!(feature = "tract") {
        "tract"
    } else if cfg!(feature = "ort") {
        "ort"
    } else {
        "mock"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EstimatorChoice {
    /// `pooled` from networks that are chosen to tell the most
    Designed,
    /// One set of random networks serves every combination, through a model whose error is part of the intervals
    Pooled,
    /// The published method: networks of its own for every (unit, layer, block), averaged
    Sampled,
    /// The published code, which misses the block in many networks of deep layers: to reproduce published figures
    Legacy,
}

/// `0.25%` or `0.25` as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("give a percentage above 0 and up to 100, such as 0.25%".into()),
    }
}

impl EstimatorChoice {
    /// The estimator's name in the library.
    pub fn name(self) -> &'static str {
        match self {
            Self::Designed => "designed",
            Self::Pooled => "pooled",
            Self::Sampled => "sampled",
            Self::Legacy => "legacy",
        }
    }
}

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
        #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        time_limit: u64,
        /// No progress bar
        #[arg(long, short)]
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

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Metrics, separated by commas outside of a program's quotes (the option may also be repeated): accuracy, macs, params,
    /// memory, the training-free proxies naswot and zen, and those with a source, such as latency@note10 or accuracy@FILE.pth
    #[arg(long, value_name = "METRICS", default_value = "accuracy,macs")]
    pub metric: Vec<String>,

    /// How training-free proxies are computed, such as engine=tract,batch=32,repeats=4,seed=1 [default: ONNX Runtime where
    /// it is found, else tract; 16 images of noise, one draw of weights, seed 1]
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

    /// Write JSON lines to this file, after those that it holds already: architectures that have all their values there
    /// are left out
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Threads, and processes of a program that is a metric; as many as the machine has CPUs when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// A program that takes longer than this many seconds for an answer has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    #[command(flatten)]
    pub images: ImageArgs,
}

#[derive(Debug, Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolution in pixels; the space's default when not given
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,

    /// What runs the layers: tract (embedded), ort (ONNX Runtime), mock (simulated) [default: tract where it is compiled in]
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
    #[arg(long, default_value = "blocklens-table", value_name = "FOLDER")]
    pub out: PathBuf,

    /// Begin anew even if the same table is stored
    #[arg(long)]
    pub fresh: bool,

    /// Try again what failed
    #[arg(long)]
    pub retry_failed: bool,

    /// A measurement that takes longer than this many seconds has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolutions in pixels, separated by commas; the space's default when not given
    #[arg(long, value_delimiter = ',', value_name = "PIXELS")]
    pub resolution: Vec<u32>,

    /// The metrics to improve, separated by commas: accuracy, macs, params, memory, and those with a source, such as
    /// latency@note10 or accuracy@FILE.pth
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "METRICS",
        default_value = "accuracy,macs"
    )]
    pub metric: Vec<String>,

    /// How training-free proxies are computed, such as engine=tract,batch=32,repeats=4,seed=1 [default: ONNX Runtime where
    /// it is found, else tract; 16 images of noise, one draw of weights, seed 1]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "OPTIONS"
    )]
    pub proxy: proxies::Options,

    /// The most that a metric may be, such as latency=25ms; the metric need not be one to improve. Can be given several
    /// times
    #[arg(long, value_name = "METRIC=VALUE")]
    pub max: Vec<String>,

    /// The least that a metric may be, such as accuracy=76. Can be given several times
    #[arg(long, value_name = "METRIC=VALUE")]
    pub min: Vec<String>,

    /// How to search: random, mutation, top-k, evolution, nsga2, local, bananas, guided
    #[arg(long, default_value = "nsga2", value_name = "NAME")]
    pub algorithm: String,

    /// Unique architectures to evaluate
    #[arg(long, default_value_t = 2_100, value_name = "ARCHITECTURES", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub budget: u64,

    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// The reference point of the hypervolume, a value for every metric to improve, such as accuracy=78,latency=65ms [default:
    /// the worst values of the first batch]
    #[arg(long, value_name = "METRIC=VALUE,...", value_delimiter = ',')]
    pub reference: Vec<String>,

    /// Folder for the front and everything that was evaluated
    #[arg(long, default_value = "blocklens-search", value_name = "FOLDER")]
    pub out: PathBuf,

    /// Begin again even if the folder holds a search
    #[arg(long)]
    pub fresh: bool,

    /// Threads, and processes of a program that is a metric; as many as the machine has CPUs when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// A program that takes longer than this many seconds for an answer has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// A part of the space to compare with the whole: a space file. Can be given several times
    #[arg(long, value_name = "FILE.toml")]
    pub reduced: Vec<String>,

    /// So many random parts of the size of each reduced space, which the seeds take in turn
    #[arg(long, default_value_t = 0, value_name = "PARTS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub random_reductions: u64,

    /// Input resolutions in pixels, separated by commas; the space's default when not given
    #[arg(long, value_delimiter = ',', value_name = "PIXELS")]
    pub resolution: Vec<u32>,

    /// The metrics to improve, separated by commas, as in `search`
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "METRICS",
        default_value = "accuracy,macs"
    )]
    pub metric: Vec<String>,

    /// How training-free proxies are computed, as in `search`
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "OPTIONS"
    )]
    pub proxy: proxies::Options,

    /// The most that a metric may be, such as latency=25ms. Can be given several times
    #[arg(long, value_name = "METRIC=VALUE")]
    pub max: Vec<String>,

    /// The least that a metric may be, such as accuracy=76. Can be given several times
    #[arg(long, value_name = "METRIC=VALUE")]
    pub min: Vec<String>,

    /// The algorithms, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "random,mutation,nsga2,guided"
    )]
    pub algorithms: Vec<String>,

    /// Numbers of unique architectures after which runs are compared, ascending; the last is where they end
    #[arg(long, value_delimiter = ',', value_name = "ARCHITECTURES", default_value = "300,600,1200,2100", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub budgets: Vec<u64>,

    /// Runs of every algorithm in every space, with the seeds 1, 2, ...
    #[arg(long, default_value_t = 20, value_name = "RUNS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub seeds: u64,

    /// The reference point of the hypervolume, a value for every metric to improve, such as accuracy=78,latency=65ms [default:
    /// the worst values on any front]
    #[arg(long, value_name = "METRIC=VALUE,...", value_delimiter = ',')]
    pub reference: Vec<String>,

    /// Folder for the results and all finished runs
    #[arg(long, default_value = "blocklens-compare", value_name = "FOLDER")]
    pub out: PathBuf,

    /// Begin again even if the folder holds a comparison
    #[arg(long)]
    pub fresh: bool,

    /// Runs at the same time; as many as the machine has CPUs when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// A program that takes longer than this many seconds for an answer has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder with measurements.db, where the report is written too
    #[arg(long, default_value = "blocklens-out", value_name = "FOLDER")]
    pub out: PathBuf,

    /// The campaign's number; the one measured last when not given
    #[arg(long)]
    pub campaign: Option<i64>,

    /// Metrics besides latency, as in `profile`
    #[arg(long, value_name = "METRICS")]
    pub metric: Vec<String>,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The first profile: a folder that `profile` wrote, or a report.json
    #[arg(value_name = "A")]
    pub a: PathBuf,

    /// The second: differences are B minus A
    #[arg(value_name = "B")]
    pub b: PathBuf,

    /// Metrics, separated by commas; a name without source also finds the one metric of that quantity (latency finds
    /// latency@note10) [default: all that both have, but counted ones]
    #[arg(long, value_delimiter = ',', value_name = "METRICS")]
    pub metric: Vec<String>,

    /// Compare what different spaces, widths or resolutions have in common instead of refusing
    #[arg(long)]
    pub common: bool,

    /// How claims are corrected for their number
    #[arg(long, value_enum, default_value_t = ControlChoice::Holm)]
    pub control: ControlChoice,

    /// Most differences of a metric that are printed
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub top: usize,

    /// Write the comparison to this file too; its ending says how: .html, .md or .json
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ControlChoice {
    /// No claim is wrong, with 95 % probability
    Holm,
    /// At most 5 % of the claims are wrong on average (Benjamini and Hochberg)
    Bh,
    /// The same whatever the dependence between them (Benjamini and Yekutieli)
    By,
}

#[derive(Debug, Args)]
pub struct ReduceArgs {
    /// Profiles of one space: folders that `profile` wrote, or their report.json. Those of one resolution are put together;
    /// those of several resolutions, of the same metrics, also tell which resolutions can go
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<PathBuf>,

    /// The space that was profiled, where it is not built in: a file that ends in .toml
    #[arg(long, value_name = "NAME|FILE")]
    pub space: Option<String>,

    /// Width multiplier; the profile's when not given
    #[arg(long)]
    pub width: Option<f64>,

    /// What for: pareto (the best trade-offs), max-accuracy (latency does not count), or max-latency=25ms (what makes sense up to that
    /// latency)
    #[arg(long, default_value = "pareto", value_name = "GOAL")]
    pub goal: Goal,

    /// The metrics that decide, separated by commas, as the profiles call them [default: the first that is better when larger and
    /// the first that is better when smaller; latency before others, counts last]
    #[arg(long, value_delimiter = ',', value_name = "METRICS")]
    pub metric: Vec<String>,

    /// Probability that any statement is wrong
    #[arg(long, default_value_t = 0.05, value_name = "PROBABILITY")]
    pub level: f64,

    /// Losses below so many percent of a metric's standard deviation over architectures are none
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    pub margin: f64,

    /// Gains count beyond so many times what the same exchange usually differs by from network to network
    #[arg(long, default_value_t = 1.0, value_name = "TIMES")]
    pub caution: f64,

    /// How many percent of the area below the best trade-offs may be lost; 0 takes only away what is dominated
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    pub allowance: f64,

    /// More evaluated architectures, for the account of what would be lost: folders of searches, or files of JSON lines
    #[arg(long, value_name = "FOLDER|FILE")]
    pub known: Vec<PathBuf>,

    /// Name of the reduced space [default: the space's with -reduced behind it]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Folder for the reduced space and the reasons
    #[arg(long, default_value = "blocklens-reduced", value_name = "FOLDER")]
    pub out: PathBuf,
}

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

const EXPORT_HELP: &str = "\
Without --weights the weights are random, which is all that latency needs. An ONNX file takes [1, 3, rows, columns], \
a TFLite file [1, rows, columns, 3]; both take normalised images. A checkpoint is parsed, never executed. From numpy, \
samples are written by images.astype('<f4').tofile('samples.f32') for images of shape [n, 3, rows, columns].";

const ARCH_HELP: &str = "\
An architecture is written r224/e4k3,e6k5/e3k7,e3k3/... (resolution, then for each unit the expansion and kernel of \
its active layers), or as the dictionary of the `ofa` package: {\"ks\": [...], \"e\": [...], \"d\": [...], \"r\": [224]} \
(ResNet: e, d, w and r).";
