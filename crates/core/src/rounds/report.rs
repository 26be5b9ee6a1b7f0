//! What a run of rounds leaves, as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Contrast, Round, comparisons, contrast, fastest, level};
use crate::measurement::{DeviceDescription, Failure, Phases, Sample, Summary, Warning};
use crate::model::{InputSpec, ModelFormat};
use crate::stats::quantile;

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Threads that engines compute with.
    pub threads: usize,
    /// Seed of everything random: order, inputs, weights of architectures.
    pub seed: u64,
    /// The precision wanted of every ratio: half of its interval's width, relative.
    pub precision: f64,
    /// Most rounds.
    pub most_rounds: usize,
    /// Most seconds for all rounds, where that was said.
    pub most_seconds: Option<u64>,
}

/// Why rounds ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every ratio is as precise as was asked for.
    Precise,
    /// The most rounds are done, or there is nothing to compare.
    Rounds,
    /// The time is spent.
    Time,
    /// Ctrl-C.
    Interrupted,
    /// No entry gave a time.
    NothingWorks,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// What it is called in tables: short, and different from all others.
    pub name: String,
    /// The architecture, of a network of a space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Its space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The path, of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Format of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ModelFormat>,
    /// What it was run on; empty for a network of a space, which takes an image.
    pub inputs: Vec<InputSpec>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// What it is called in tables.
    pub name: String,
    /// What it was asked for by.
    pub asked: String,
    /// Where its times come from: `measured`, `estimated` or `simulated`.
    pub times: String,
    /// What it is.
    pub description: DeviceDescription,
}

impl DeviceReport {
    /// Its name, and where times come from if not from a clock.
    #[must_use]
    pub fn label(&self) -> String {
        match &*self.times {
            "measured" => self.name.clone(),
            times => format!("{} ({times})", self.name),
        }
    }
}

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The round, counted from 1; 0 is the trial before them.
    pub round: usize,
    /// The entry that it took turns with.
    pub beside: Option<usize>,
    /// Raw samples.
    pub samples: Vec<Sample>,
    /// Those of the entry beside it: one before each sample and one after the last.
    pub reference: Vec<Sample>,
    /// The samples' summary.
    pub summary: Summary,
    /// Times before the steady state.
    pub phases: Phases,
    /// Doubts about this session.
    pub warnings: Vec<Warning>,
}

/// A network on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryReport {
    /// Which network.
    pub network: usize,
    /// Which device.
    pub device: usize,
    /// Why there is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The steady state in ms: the geometric mean over rounds ([`level`]).
    pub ms: Option<f64>,
    /// Where another round lies with 95 % probability.
    pub ms_interval: Option<[f64; 2]>,
    /// The 90 % quantile of inferences: the median over sessions.
    pub p90_ms: Option<f64>,
    /// The first inference of a process, in the trial, where nothing else ran beside it.
    pub first_ms: Option<f64>,
    /// Preparing (parsing, optimising, compiling), in the trial.
    pub prepare_ms: Option<f64>,
    /// How it compares with the fastest; `None` for that itself.
    pub relative: Option<Relative>,
    /// What was measured.
    pub sessions: Vec<Session>,
}

/// How an entry compares with the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relative {
    /// The fastest entry.
    pub to: usize,
    /// Its time is the entry's divided by so much.
    pub ratio: f64,
    /// Lower end of the interval, which holds for all ratios together with 95 % probability.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The rounds that it rests on.
    pub rounds: usize,
    /// What that says.
    pub verdict: Verdict,
}

/// What a ratio says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The entry is slower than the fastest.
    Slower,
    /// Any difference is smaller than twice the precision that was asked for.
    Same,
    /// There may be a difference or none.
    CannotTell,
}

impl Relative {
    /// What a contrast says, where differences below `precision` are none.
    #[must_use]
    pub fn of(contrast: &Contrast, to: usize, precision: f64) -> Self {
        let end = |sign: f64| contrast.half_width.map(|w| (contrast.log + sign * w).exp());
        let (low, high) = (end(-1.0), end(1.0));
        let verdict = match (low, high) {
            (Some(low), _) if low > 1.0 => Verdict::Slower,
            // An interval as narrow as was asked for, with 1 in it, reaches at most so far.
            (Some(low), Some(high)) if high.max(1.0 / low) <= (1.0 + precision).powi(2) => {
                Verdict::Same
            }
            _ => Verdict::CannotTell,
        };
        Self {
            to,
            ratio: contrast.log.exp(),
            low,
            high,
            rounds: contrast.rounds,
            verdict,
        }
    }
}

/// A reason to doubt a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Doubt {
    /// Of the machine.
    Machine {
        /// Which.
        warning: Warning,
    },
    /// Times that no clock gave.
    NotMeasured {
        /// The device.
        device: String,
        /// `estimated` or `simulated`.
        times: String,
    },
    /// Ratios are less precise than was asked for.
    NotPrecise {
        /// Half of the widest interval, relative; `None` where too few rounds are done to tell.
        reached: Option<f64>,
        /// What was asked for.
        wanted: f64,
    },
    /// Many inferences were disturbed by other programs.
    Disturbed {
        /// Sessions in which that is so.
        sessions: usize,
        /// Out of how many.
        of: usize,
    },
    /// Times were still changing when warm-up reached its limit.
    NotStationary {
        /// Sessions in which that is so.
        sessions: usize,
        /// Out of how many.
        of: usize,
    },
    /// Two devices that compute in float32 give different outputs.
    OutputsDiffer {
        /// The network.
        network: String,
        /// One device.
        a: String,
        /// The other.
        b: String,
        /// The largest difference, relative to the largest output; `None` where they are of another number.
        by: Option<f64>,
    },
    /// It was interrupted.
    Interrupted {
        /// Rounds that were complete.
        rounds: usize,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { warning } => write!(f, "{warning}"),
            Self::NotMeasured { device, times } if times == "estimated" => write!(
                f,
                "times of {device} are estimates of its compiler's cost model, and no clock's"
            ),
            Self::NotMeasured { device, .. } => {
                write!(f, "{device} is simulated: its times are a formula's, and no clock's")
            }
            Self::NotPrecise {
                reached: Some(reached),
                wanted,
            } => write!(
                f,
                "ratios are known to +-{:.1} % only (wanted +-{:.1} %): more --rounds, or a machine that does nothing \
                 else",
                100.0 * reached,
                100.0 * wanted
            ),
            Self::NotPrecise { reached: None, .. } => f.write_str(
                "a single round says nothing of how sessions spread: how well ratios are known is not known",
            ),
            Self::Disturbed { sessions, of } => write!(
                f,
                "other programs disturbed many inferences in {sessions} of {of} sessions; they are set aside"
            ),
            Self::NotStationary { sessions, of } => write!(
                f,
                "times were still falling after the longest warm-up in {sessions} of {of} sessions"
            ),
            Self::OutputsDiffer {
                network,
                a,
                b,
                by: Some(by),
            } => write!(
                f,
                "{network}: the outputs on {a} and {b} differ by up to {:.2} % of the largest: one of them does not \
                 compute this network",
                100.0 * by
            ),
            Self::OutputsDiffer { network, a, b, .. } => {
                write!(f, "{network}: the outputs on {a} and {b} are of another number")
            }
            Self::Interrupted { rounds } => {
                write!(f, "interrupted after {rounds} complete rounds")
            }
        }
    }
}

/// Everything that a run of rounds leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which program wrote this: `blocklens measure`, with its version.
    pub program: String,
    /// The answer in sentences.
    pub answer: Vec<String>,
    /// Why rounds ended.
    pub ended: Ending,
    /// Complete rounds.
    pub rounds: usize,
    /// How it was measured.
    pub settings: Settings,
    /// The networks.
    pub networks: Vec<NetworkReport>,
    /// The devices.
    pub devices: Vec<DeviceReport>,
    /// Every network on every device.
    pub entries: Vec<EntryReport>,
    /// Reasons to doubt figures.
    pub doubts: Vec<Doubt>,
}

impl Report {
    /// The entries that have a number.
    #[must_use]
    pub fn numbers(&self) -> Vec<usize> {
        let all = self.entries.iter().enumerate();
        let with = all.filter(|(_, entry)| entry.failure.is_none() && entry.ms.is_some());
        with.map(|(place, _)| place).collect()
    }

    /// The fastest entry that has a number.
    #[must_use]
    pub fn fastest(&self) -> Option<usize> {
        let numbers = self.numbers();
        let told = numbers
            .iter()
            .find_map(|&entry| self.entries[entry].relative);
        told.map(|relative| relative.to)
            .or_else(|| numbers.first().copied())
    }

    /// An entry's name: its network, and its device where there are several.
    #[must_use]
    pub fn label(&self, entry: usize) -> String {
        let EntryReport {
            network, device, ..
        } = &self.entries[entry];
        let (network, device) = (&self.networks[*network], &self.devices[*device]);
        match (self.networks.len(), self.devices.len()) {
            (_, 1) => network.name.clone(),
            (1, _) => device.label(),
            _ => format!("{} on {}", network.name, device.label()),
        }
    }

    /// Fills in what follows from the rounds: levels, ratios, doubts about their precision, and the answer.
    #[must_use]
    pub fn with_rounds(mut self, rounds: &[Round]) -> Self {
        for (place, entry) in self.entries.iter_mut().enumerate() {
            if entry.failure.is_none()
                && let Some((ms, interval)) = level(rounds, place)
            {
                entry.ms = Some(ms);
                entry.ms_interval = interval.map(|(low, high)| [low, high]);
            }
        }
        let numbers = self.numbers();
        if let Some(best) = fastest(rounds, &numbers) {
            let precision = self.settings.precision;
            for &entry in numbers.iter().filter(|&&entry| entry != best) {
                let told = contrast(rounds, entry, best, comparisons(numbers.len()));
                self.entries[entry].relative = told.map(|c| Relative::of(&c, best, precision));
            }
        }
        if numbers.len() > 1 && self.ended != Ending::Precise {
            let reached = super::precision(rounds, &numbers);
            let wanted = self.settings.precision;
            if reached.is_none_or(|reached| reached > wanted) {
                self.doubts.push(Doubt::NotPrecise { reached, wanted });
            }
        }
        self.answer = super::answer(&self);
        self
    }
}

/// The 90 % quantile of samples, in ms.
pub(super) fn p90(samples: &[Sample]) -> Option<f64> {
    let times: Vec<f64> = samples.iter().map(|s| s.wall.get()).collect();
    quantile(&times, 0.9)
}

impl EntryReport {
    /// Fills in the 90 % quantile: the median over sessions, and over those of others in which it was beside them.
    pub fn set_p90(&mut self, beside: &[&[Sample]]) {
        let own = self.sessions.iter().filter(|session| session.round > 0);
        let own = own.map(|session| session.samples.as_slice());
        let rounds: Vec<f64> = own.chain(beside.iter().copied()).filter_map(p90).collect();
        let trial = || {
            self.sessions
                .first()
                .and_then(|session| p90(&session.samples))
        };
        self.p90_ms = quantile(&rounds, 0.5).or_else(trial);
    }
}
