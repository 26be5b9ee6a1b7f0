//! `profile`, and what reads what it wrote: `report`, `diff` and `reduce`.

use std::path::PathBuf;

use blocklens_core::reduce::Goal;
use blocklens_measure::proxies;
use clap::{Args, ValueEnum};

use super::SpaceChoice;
use crate::images::ImageArgs;
use crate::timing::TimingArgs;

pub(super) const PROFILE_HELP: &str = "\
What happens: random networks of the space are built with random weights and timed one after the other, each \
in a process of its own, with a small sentinel network in between that shows drift and noise. Every measurement \
is on disk before the next begins: stop with Ctrl-C (or pull the plug) and run the same command to go on. A \
larger --budget continues a smaller one.

What comes out, in the --out folder: report.html (open it in a browser), report.json, blocks.csv, summary.md, and \
the measurements themselves in measurements.db. With several devices, devices.html, devices.json and devices.md \
compare them, and each has a folder of its own for its report.

Examples:
  blocklens profile                                   this CPU, embedded engine, about two minutes
  blocklens profile --engine ort --budget 200         ONNX Runtime, tighter intervals
  blocklens profile --engine mock:noise=0.02          a simulated device, in seconds
  blocklens profile --device ort --device openvino    the same networks on both in turn: what each likes
  blocklens profile --engine ssh:pi@board/tract       the CPU of another machine
  blocklens profile --metric latency@tables/note10,accuracy@acc_predictor.pth
                                                      nothing measured: a phone's latency table, a predictor";

#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    pub space: SpaceChoice,

    /// Input resolution in pixels; the space's default when not given
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<u32>,

    /// What runs the networks: tract (embedded), ort (ONNX Runtime), mock (simulated; mock:noise=0.02,drift=0.1,...),
    /// an adapter (openvino, ncnn, mnn, litert, onnxruntime, with options as in litert:precision=int8; see `blocklens
    /// devices`), device:COMMAND, a program of your own, or ssh:USER@HOST:PORT/ENGINE, any of these on another machine
    /// (docs/ssh.md; user and port may be left away) [default: tract where it is compiled in]. Given several times, all
    /// measure the same networks in turn and are compared; `all` is every one that can be used here
    #[arg(long, visible_alias = "device", value_name = "ENGINE")]
    pub engine: Vec<String>,

    /// Threads that the engine computes with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,

    #[command(flatten)]
    pub timing: TimingArgs,

    /// Measure until the latency effect of every block is known to so many percent of the mean latency (half of its 95
    /// % interval), or --budget [default: 1000 then] is spent
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

    /// Metrics, separated by commas outside of a program's quotes (the option may also be repeated): accuracy, macs,
    /// params, memory, the training-free proxies naswot and zen, and those with a source, such as latency@note10 or
    /// accuracy@FILE.pth. Latency is measured on the engine besides, unless numbers come from elsewhere: a latency with
    /// a source, a table of values, a program, a proxy, images [default: accuracy,macs, as far as they are for this
    /// space and resolution]
    #[arg(long, value_name = "METRICS")]
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

    /// Seed of everything random: the networks drawn, their weights and inputs
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Folder for the report and the measurements
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "blocklens-out",
        value_name = "FOLDER"
    )]
    pub out: PathBuf,

    /// Go on with a stored campaign, and fail if there is none (without this, the same command goes on where
    /// one is stored and begins one otherwise); a report of another campaign of the folder is replaced
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,

    /// Begin a new campaign even if the same one is stored, and replace the folder's report even if it is of other
    /// conditions
    #[arg(long)]
    pub fresh: bool,

    /// Try again networks whose measurement failed, and architectures for which a metric that takes long failed
    #[arg(long)]
    pub retry_failed: bool,

    /// Profile what works where most architectures fail, or where they fail because of what they are: the report says
    /// so
    #[arg(long)]
    pub allow_failures: bool,

    /// A measurement that takes longer than this many seconds has hung
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub time_limit: u64,

    /// Most memory that a measuring process may map, in MiB (Linux)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..))]
    pub memory_limit: Option<u64>,

    /// Whether there is no progress bar, as said for all commands
    #[arg(skip)]
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

/// `0.25%` or `0.25` as a share.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("give a percentage above 0 and up to 100, such as 0.25%".into()),
    }
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder with measurements.db, where the report is written too
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "blocklens-out",
        value_name = "FOLDER"
    )]
    pub out: PathBuf,

    /// The campaign's number; the one measured last when not given
    #[arg(long)]
    pub campaign: Option<i64>,

    /// Metrics besides latency, as in `profile` [default: those that the profile was asked for]
    #[arg(long, value_name = "METRICS")]
    pub metric: Vec<String>,

    /// Report what works where most networks fail, or where they fail because of what they are: the report says so
    #[arg(long)]
    pub allow_failures: bool,
}

pub(super) const DIFF_HELP: &str = "\
Effects of blocks, depths, widths and their averages are compared in the metric's unit, and relative to each profile's \
own \
mean: a device that is merely faster differs in the first and not in the second. Only differences that survive the \
correction for \
the number of comparisons are claimed. The exit status says whether the comparison could be made, not what it found.

Examples:
  blocklens diff before after
  blocklens diff cpu phone/report.json --metric latency --output diff.html
  blocklens diff cpu phone npu --output devices.html         which blocks does each like that the others do not?
  blocklens --format json diff before after --control bh > diff.json";

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Profiles: folders that `profile` wrote, or a report.json. Of two, differences are the second minus the first;
    /// more are compared as devices, in what a choice costs each relative to its own mean
    #[arg(required = true, num_args = 2.., value_name = "PROFILE")]
    pub profiles: Vec<PathBuf>,

    /// Metrics, separated by commas; a name without source also finds the one metric of that quantity (latency finds
    /// latency@note10) [default: all that both have, but counted ones]
    #[arg(long, value_name = "METRICS")]
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
    #[arg(long, short, visible_alias = "out", value_name = "FILE")]
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

pub(super) const REDUCE_HELP: &str = "\
What goes: blocks, depths and widths that are shown to be dominated (another choice is not worse in any metric, and \
better in one), and \
those that the best trade-offs can do without, because what they earn for what they cost is beaten elsewhere. What is \
not sure stays. \
The reduced space keeps profiled resolutions only; of several, those go that the best networks of the others make up \
for.

What comes out, in the --out folder: space.toml (every --space takes it), reduction.json and reduction.md (every \
statement with its \
evidence, the sizes, and what would have been lost of the best networks known so far).

Examples:
  blocklens reduce blocklens-out
  blocklens reduce latency-profile accuracy-profile --goal max-latency=25ms
  blocklens reduce blocklens-out --goal max-accuracy --known found
  blocklens reduce at-192 at-208 at-224                               profiles of three resolutions: which can go?
  blocklens profile --space blocklens-reduced/space.toml --metric latency@note10,accuracy@ofa --out second
  blocklens reduce second --space blocklens-reduced/space.toml --out blocklens-reduced-2      and so on, as long as \
  something goes";

#[derive(Debug, Args)]
pub struct ReduceArgs {
    /// Profiles of one space: folders that `profile` wrote, or their report.json. Those of one resolution are put
    /// together; those of several resolutions, of the same metrics, also tell which resolutions can go
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<PathBuf>,

    /// The space that was profiled, where it is not built in: a file that ends in .toml
    #[arg(long, value_name = "NAME|FILE")]
    pub space: Option<String>,

    /// Width multiplier; the profile's when not given
    #[arg(long)]
    pub width: Option<f64>,

    /// What for: pareto (the best trade-offs), max-accuracy (latency does not count), or max-latency=25ms (what makes
    /// sense up to that latency)
    #[arg(long, default_value = "pareto", value_name = "GOAL")]
    pub goal: Goal,

    /// The metrics that decide, separated by commas, as the profiles call them [default: the first that is better when
    /// larger and the first that is better when smaller; latency before others, counts last]
    #[arg(long, value_name = "METRICS")]
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
    #[arg(
        long,
        short,
        visible_alias = "output",
        default_value = "blocklens-reduced",
        value_name = "FOLDER"
    )]
    pub out: PathBuf,
}
