//! `search` and `compare`.

use std::path::PathBuf;

use blocklens_measure::proxies;
use clap::Args;

use super::SpaceChoice;

pub(super) const SEARCH_HELP: &str = "\
What happens: the algorithm proposes architectures, every metric is evaluated for them, and so on until the budget of \
unique \
architectures is spent. What is evaluated is on disk before the next are proposed: stop with Ctrl-C (or pull the plug) \
and run the \
same command to go on, to the same result. A larger --budget continues a smaller one.

What comes out, in the --out folder: front.csv and front.json (the front, ready for `blocklens arch export`), \
evaluations.jsonl \
(everything that was evaluated) and search.json (what was sought and how).

Algorithms:
  random     architectures from the space's own distribution
  mutation   the Pareto search of Mills et al. 2021: random mutations of the front
  top-k      the accuracy search of Mills et al. 2021, for one metric: random mutations of the 10 best
  evolution  regularised evolution (Real et al. 2019)
  nsga2      NSGA-II (Deb et al. 2002)
  local      Pareto local search, begun again wherever it ends
  bananas    an ensemble of predictors with independent Thompson sampling (White et al. 2021)
  guided     the profile's model with its uncertainty proposes, evaluations correct it

Examples:
  blocklens search --metric accuracy,macs --budget 1000
  blocklens search --metric accuracy@ofa,latency@note10 --algorithm mutation --reference accuracy=78,latency=65ms
  blocklens search --metric accuracy --max macs=300MMACs --algorithm top-k
  blocklens search --metric accuracy,macs --max macs=400 --min accuracy=76% --seed 2 --out second";

/// What is sought, among what, and how it is evaluated.
#[derive(Debug, Args)]
pub struct GoalArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolutions in pixels, separated by commas; the space's default when not given
    #[arg(long, value_delimiter = ',', value_name = "PIXELS")]
    pub resolution: Vec<u32>,

    /// The metrics to improve, separated by commas: accuracy, macs, params, memory, and those with a source, such as
    /// latency@note10 or accuracy@FILE.pth
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

    /// The most that a metric may be, such as latency=25ms; the metric need not be one to improve. Can be given several
    /// times
    #[arg(long, value_name = "METRIC=VALUE")]
    pub max: Vec<String>,

    /// The least that a metric may be, such as accuracy=76. Can be given several times
    #[arg(long, value_name = "METRIC=VALUE")]
    pub min: Vec<String>,

    /// The reference point of the hypervolume, a value for every metric to improve, such as accuracy=78,latency=65ms
    /// [default: the worst values of a search's first batch; of a comparison, those on any front]
    #[arg(long, value_name = "METRIC=VALUE,...", value_delimiter = ',')]
    pub reference: Vec<String>,

    /// A program that takes longer than this many seconds for an answer has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub goal: GoalArgs,

    /// How to search: random, mutation, top-k, evolution, nsga2, local, bananas, guided
    #[arg(long, default_value = "nsga2", value_name = "NAME")]
    pub algorithm: String,

    /// Unique architectures to evaluate
    #[arg(long, default_value_t = 2_100, value_name = "ARCHITECTURES")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub budget: u64,

    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Folder for the front and everything that was evaluated
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "blocklens-search",
        value_name = "FOLDER"
    )]
    pub out: PathBuf,

    /// Begin again even if the folder holds a search
    #[arg(long)]
    pub fresh: bool,

    /// Threads, and processes of a program that is a metric; as many as the machine has CPUs when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Whether there is no progress bar, as said for all commands
    #[arg(skip)]
    pub quiet: bool,
}

pub(super) const COMPARE_HELP: &str = "\
Every algorithm searches every space once for each seed, with nothing else changed; what it has found is looked at \
when each budget is \
spent. Every finished run is on disk: stop with Ctrl-C and run the same command to go on. More seeds, algorithms or \
reductions \
are added to what is there.

Examples:
  blocklens compare --algorithms random,mutation,guided --seeds 20 --budgets 300,2100
  blocklens compare --reduced reduced.toml --random-reductions 20 --seeds 20   does a reduction pay?";

#[derive(Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub goal: GoalArgs,

    /// A part of the space to compare with the whole: a space file. Can be given several times
    #[arg(long, value_name = "FILE.toml")]
    pub reduced: Vec<String>,

    /// So many random parts of the size of each reduced space, which the seeds take in turn
    #[arg(long, default_value_t = 0, value_name = "PARTS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub random_reductions: u64,

    /// The algorithms, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "random,mutation,nsga2,guided"
    )]
    pub algorithms: Vec<String>,

    /// Numbers of unique architectures after which runs are compared, ascending; the last is where they end
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ARCHITECTURES",
        default_value = "300,600,1200,2100"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub budgets: Vec<u64>,

    /// Runs of every algorithm in every space, with the seeds 1, 2, ...
    #[arg(long, default_value_t = 20, value_name = "RUNS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub seeds: u64,

    /// Folder for the results and all finished runs
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "blocklens-compare",
        value_name = "FOLDER"
    )]
    pub out: PathBuf,

    /// Begin again even if the folder holds a comparison
    #[arg(long)]
    pub fresh: bool,

    /// Runs at the same time; as many as the machine has CPUs when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Whether there is no progress bar, as said for all commands
    #[arg(skip)]
    pub quiet: bool,
}
