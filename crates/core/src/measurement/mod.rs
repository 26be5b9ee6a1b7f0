//! Measurements as plain data: what was timed, how, with what doubts, or why it failed.
//!
//! The statistics and the report see only these values, never the store or the device.

mod failing;
mod summary;

pub use failing::FailingWith;
pub use summary::{LATENCY_QUANTILE, statistic, summarise, summarise_paired};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Millis;

/// One timed inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Wall-clock time.
    pub wall: Millis,
    /// CPU time of the measuring process during the inference, in ms, where the system tells.
    pub cpu_ms: Option<f64>,
    /// Involuntary context switches during the inference, where the system tells.
    pub preemptions: Option<u32>,
}

/// The steady state of a network in one session, summarised. All times in ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The statistic that enters a profile: see `docs/measuring.md` for the choice.
    pub latency: Millis,
    /// The same statistic of the samples' multiples of the reference inferences around them, where there are such: what
    /// a machine's changing speed does to both is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// Half-width of the 95 % interval of the median (of [`Self::relative`], where that is there), relative to it.
    pub median_half_width: f64,
    /// Median of all samples.
    pub median: Millis,
    /// 90 % quantile of all samples.
    pub p90: Millis,
    /// 99 % quantile of all samples.
    pub p99: Millis,
    /// Shortest sample.
    pub min: Millis,
    /// Median absolute deviation from the median, in ms.
    pub mad: f64,
    /// Number of samples.
    pub samples: usize,
    /// Samples that were disturbed (preempted, or short of CPU time) and set aside.
    pub set_aside: usize,
}

/// The phases before the steady state, in ms; they never enter a profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Building the network and drawing its weights.
    pub build_ms: f64,
    /// The engine's preparation (parsing, optimising, compiling).
    pub prepare_ms: f64,
    /// The first inference.
    pub first_ms: f64,
    /// All warm-up inferences together.
    pub warm_up_ms: f64,
    /// Number of warm-up inferences.
    pub warm_up_runs: usize,
    /// The same for the reference network: building, preparing, warming up; 0 without one.
    #[serde(default)]
    pub reference_ms: f64,
}

/// Why a network has no latency. Stored as such, never as a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Failure {
    /// The engine refused the network or returned an error.
    Engine {
        /// What it said.
        message: String,
    },
    /// The measuring process ended without a result.
    Crash {
        /// How it ended (exit code or signal) and the end of what it wrote to its error stream.
        message: String,
    },
    /// Out of memory: the allocation failed, or the system killed the process.
    OutOfMemory {
        /// How it showed.
        message: String,
    },
    /// Not finished within the time limit.
    Hang {
        /// The limit in seconds.
        limit_s: u64,
    },
    /// The network's output held NaN or infinity.
    NotFinite,
    /// The clock or the engine gave a time that is not finite and positive.
    BadTime {
        /// What it gave.
        message: String,
    },
    /// A program answered, but not with what was asked for.
    Answer {
        /// What it said, and what was expected.
        message: String,
    },
    /// It was never asked, or interrupted: says nothing about the architecture, and is not recorded.
    NotTried {
        /// Why not.
        message: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Engine { message } => write!(f, "engine error: {message}"),
            Failure::Crash { message } => write!(f, "crash: {message}"),
            Failure::OutOfMemory { message } => write!(f, "out of memory: {message}"),
            Failure::Hang { limit_s } => write!(f, "no result within {limit_s} s"),
            Failure::NotFinite => f.write_str("the output holds NaN or infinity"),
            Failure::BadTime { message } => write!(f, "bad time: {message}"),
            Failure::Answer { message } => write!(f, "no usable answer: {message}"),
            Failure::NotTried { message } => write!(f, "not tried: {message}"),
        }
    }
}

impl Failure {
    /// The variant's name, as stored and counted.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Engine { .. } => "engine",
            Failure::Crash { .. } => "crash",
            Failure::OutOfMemory { .. } => "out-of-memory",
            Failure::Hang { .. } => "hang",
            Failure::NotFinite => "not-finite",
            Failure::BadTime { .. } => "bad-time",
            Failure::Answer { .. } => "answer",
            Failure::NotTried { .. } => "not-tried",
        }
    }
}

/// A doubt about a measurement or a campaign. Shown in the terminal, in JSON and in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Warning {
    /// The median's interval was still wider than the target when the limits were reached.
    NotConverged {
        /// Half-width reached, relative.
        half_width: f64,
        /// Half-width wanted, relative.
        target: f64,
    },
    /// Warm-up reached its limit while times were still falling or rising.
    NotStationary,
    /// Many samples were disturbed by other work on the machine.
    Disturbed {
        /// Share of the samples that were set aside.
        share: f64,
    },
    /// The machine was busy when the campaign ran.
    Busy {
        /// Load average over one minute.
        load: f64,
        /// Logical CPUs.
        cpus: usize,
    },
    /// The clock governor lets the frequency vary.
    Governor {
        /// Its name.
        name: String,
    },
    /// Threads could not be pinned to CPUs.
    NotPinned {
        /// Why.
        reason: String,
    },
    /// The clock is coarse compared with the times measured.
    CoarseClock {
        /// Its resolution in ns.
        resolution_ns: f64,
    },
    /// The sentinel drifted by more than the profile's precision can ignore.
    Drift {
        /// Largest correction applied, relative.
        relative: f64,
    },
    /// The sentinel's spread is large: small effects drown in it.
    Noisy {
        /// Noise floor, relative.
        floor: f64,
    },
    /// A part of the networks has no latency.
    Failures {
        /// How many failed.
        failed: usize,
        /// Out of how many.
        of: usize,
    },
    /// A part of the architectures has no value of a metric.
    NoValue {
        /// The metric's name.
        metric: String,
        /// How many failed.
        failed: usize,
        /// Out of how many.
        of: usize,
    },
    /// Failures go with what architectures are, so that the others are not a sample of the space.
    FailuresDepend {
        /// The metric's name.
        metric: String,
        /// How many failed.
        failed: usize,
        /// Out of how many.
        of: usize,
        /// What they go with.
        with: FailingWith,
    },
    /// Most samples of the campaign were disturbed.
    MostlyDisturbed {
        /// Share of all samples that were set aside.
        share: f64,
    },
    /// Most measurements did not become as precise as was asked for.
    FewConverged {
        /// Share of the measurements that did.
        share: f64,
    },
    /// In many sessions too few samples were undisturbed, so that the disturbed ones count.
    FellBack {
        /// Sessions in which they do.
        sessions: usize,
        /// Out of how many.
        of: usize,
    },
    /// Other programs took part while the campaign ran.
    Shared {
        /// How many times as long inferences took as they computed, in the typical session.
        wall_over_cpu: f64,
    },
    /// Other programs took part all the time, so that the level of latencies is not known.
    LevelUnknown {
        /// How many times as long the reference took as it computed, in its fast sessions.
        wall_over_cpu: f64,
    },
    /// What was recorded is not in the store any more.
    Lost {
        /// Measurements and evaluations that are missing.
        rows: u64,
    },
    /// The campaign is not finished.
    Incomplete {
        /// Networks measured.
        done: usize,
        /// Networks planned.
        planned: usize,
    },
    /// An engine that is known to be faster was found and not used.
    FasterEngine {
        /// Its name on the command line.
        engine: String,
    },
    /// The estimator reproduces a mistake.
    Legacy,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pct = |x: &f64| format!("{:.1} %", x * 100.0);
        match self {
            Warning::NotConverged { half_width, target } => write!(
                f,
                "the median is known to +-{} only (wanted +-{})",
                pct(half_width),
                pct(target)
            ),
            Warning::NotStationary => {
                f.write_str("times were still changing when warm-up reached its limit")
            }
            Warning::Disturbed { share } => {
                write!(
                    f,
                    "{} of the samples were disturbed by other work and set aside",
                    pct(share)
                )
            }
            Warning::Busy { load, cpus } => write!(
                f,
                "the machine was busy: load average {load:.1} on {cpus} CPUs; close other programs for tighter \
                 intervals"
            ),
            Warning::Governor { name } => write!(
                f,
                "the clock governor is `{name}`; `performance` gives steadier times"
            ),
            Warning::NotPinned { reason } => write!(f, "threads are not pinned: {reason}"),
            Warning::CoarseClock { resolution_ns } => {
                write!(
                    f,
                    "the clock ticks every {resolution_ns:.0} ns, coarse for these times"
                )
            }
            Warning::Drift { relative } => write!(
                f,
                "the device drifted by up to {} and was corrected for it; raw times are kept",
                pct(relative)
            ),
            Warning::Noisy { floor } => write!(
                f,
                "the noise floor is {}: the sentinel network did not repeat better than that",
                pct(floor)
            ),
            Warning::Failures { failed, of } => {
                write!(
                    f,
                    "{failed} of {of} networks have no latency; they are left out, not counted as 0"
                )
            }
            Warning::NoValue { metric, failed, of } => write!(
                f,
                "{failed} of {of} architectures have no value of {metric}; they are left out, not counted as 0"
            ),
            Warning::FailuresDepend { metric, failed, of, with } => write!(
                f,
                "the figures of {metric} are about the architectures that work, not about the space: {failed} \
                 of {of} failed, and {with}"
            ),
            Warning::MostlyDisturbed { share } => write!(
                f,
                "{} of the samples were disturbed by other work and set aside: measure again on a machine that \
                 does nothing else",
                pct(share)
            ),
            Warning::FewConverged { share } => write!(
                f,
                "only {} of the measurements became as precise as the protocol asks (--sampling-time gives them more \
                 time)",
                pct(share)
            ),
            Warning::FellBack { sessions, of } => write!(
                f,
                "in {sessions} of {of} sessions nearly all samples were disturbed, so that disturbed ones count"
            ),
            Warning::Shared { wall_over_cpu } => write!(
                f,
                "other programs took part: in the typical session inferences took {wall_over_cpu:.2} times as \
                 long as they computed; CPU time stands for wall time where most samples were disturbed"
            ),
            Warning::LevelUnknown { wall_over_cpu } => write!(
                f,
                "the level in ms is not known: other programs took part all the time, and even in fast sessions \
                 inferences took {wall_over_cpu:.2} times as long as they computed. Shares of the mean stand; \
                 for ms measure on a machine that does nothing else"
            ),
            Warning::Lost { rows } => write!(
                f,
                "{rows} of the values that were recorded are not in the store: the file `measurements.db-wal`, \
                 in which the newest lie after a kill, is missing beside it or damaged, or rows were deleted; put the \
                 file back, or measure them again with the same command"
            ),
            Warning::Incomplete { done, planned } => write!(
                f,
                "{done} of {planned} networks are measured; the same command goes on from here"
            ),
            Warning::FasterEngine { engine } => write!(
                f,
                "ONNX Runtime is installed here and usually faster than the embedded engine; `--engine {engine}` \
                 profiles it"
            ),
            Warning::Legacy => f.write_str(
                "the estimator `legacy` averages networks that lack the block at deep layers, so that effects come out \
                 too small; it is for reproducing published figures only",
            ),
        }
    }
}

impl Warning {
    /// Whether it questions the figures as they stand, and so belongs above them; others say how to get better ones.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        !matches!(
            self,
            Warning::Busy { .. }
                | Warning::Governor { .. }
                | Warning::NotPinned { .. }
                | Warning::CoarseClock { .. }
                | Warning::FasterEngine { .. }
        )
    }
}

/// A network's measurement in one session, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Raw samples in the order of time.
    pub samples: Vec<Sample>,
    /// Inferences of the reference network, run in turn with the samples: one before each and one after the last. Empty
    /// where the network was timed alone.
    pub reference: Vec<Sample>,
    /// The samples' summary.
    pub summary: Summary,
    /// Build, preparation, first inference and warm-up.
    pub phases: Phases,
    /// Doubts about this measurement.
    pub warnings: Vec<Warning>,
    /// A hash of the network and its weights, as given to the engine.
    pub model_hash: String,
}

/// What measured, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDescription {
    /// The engine's name on the command line.
    pub engine: String,
    /// The engine's own version.
    pub engine_version: String,
    /// Threads that it computes with.
    pub threads: usize,
    /// Number format of weights and activations.
    pub precision: String,
    /// The processor, as the system names it.
    pub cpu: String,
    /// Logical CPUs of the machine; 0 where a device elsewhere does not say.
    pub cpus: usize,
    /// Operating system and architecture.
    pub system: String,
    /// The frequency governor, where the system tells.
    pub governor: Option<String>,
    /// The name of the machine, where it is not the one that blocklens ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}
