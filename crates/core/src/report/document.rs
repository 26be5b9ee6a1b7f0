//! The report as a document: what is written to `report.json`, and what every output is made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measurement::{DeviceDescription, Warning};
use crate::profile::Profile;
use crate::sealed;

/// Version of [`Report`]'s JSON format that this version of blocklens writes.
pub const REPORT_FORMAT: u32 = 1;

/// Everything that a report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this document's format: [`REPORT_FORMAT`].
    pub format: u32,
    /// The headline.
    pub title: String,
    /// The program and version that made the report, such as `blocklens 0.1.0`.
    pub generated_by: String,
    /// The command that made it, ready to be pasted into a shell.
    pub command: String,
    /// The effects of every block on every metric.
    pub profile: Profile,
    /// How the device was measured; `None` where no metric was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<MeasurementSection>,
    /// What the figures were made from.
    pub provenance: Provenance,
    /// Doubts about the campaign as a whole.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// The report as indented JSON, with a digest that tells when it was changed.
    ///
    /// # Errors
    /// Only when serialisation itself fails, which plain data does not cause.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        sealed::to_json(self)
    }
}

/// How the campaign went that a profile's latencies come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasurementSection {
    /// What measured, and on what.
    pub device: DeviceDescription,
    /// Networks that were to be measured.
    pub planned: usize,
    /// Networks with a latency.
    pub measured: usize,
    /// Networks without one.
    pub failed: usize,
    /// Relative spread of the sentinel after drift was removed: what is smaller than this in a single
    /// measurement is noise. `None` where the sentinel was measured too rarely to tell.
    pub noise_floor: Option<f64>,
    /// The network in turn with which all others were timed; `None` where they were timed alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// How well ms are known, beside what is relative to the mean; `None` where nothing tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Every measurement of the sentinel network.
    pub sentinels: Vec<SentinelReading>,
    /// The drift curve that was divided out.
    pub drift: Vec<DriftPoint>,
    /// Largest drift correction applied to a network, relative.
    pub largest_correction: f64,
    /// Share of the measurements whose interval reached the target, between 0 and 1.
    pub converged: f64,
    /// Share of all samples that were disturbed and set aside, between 0 and 1.
    pub set_aside: f64,
    /// Number of timed inferences, those set aside included.
    pub samples: usize,
    /// The statistic of the samples that enters the profile, such as `25 % quantile of undisturbed samples`.
    pub statistic: String,
    /// What came before the steady state.
    pub phases: PhaseMedians,
    /// Failures by kind.
    pub failures: Vec<FailureCount>,
    /// Duration of the campaign in seconds.
    pub wall_s: f64,
    /// Doubts about single measurements, counted.
    pub warnings: Vec<WarningCount>,
    /// Every network that has a latency.
    pub networks: Vec<NetworkRow>,
}

/// The latency of the network in turn with which all others were timed, and how it changed with the machine's pace from
/// session to session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The 5 % quantile over sessions, in ms: at the pace of a machine with nothing else to do. Other networks'
    /// multiples are counted in it.
    pub fast_ms: f64,
    /// Median over sessions, in ms.
    pub median_ms: f64,
    /// The 95 % quantile over sessions, in ms.
    pub slow_ms: f64,
    /// Where the largest network is slowed down by more (above 0) or less than the reference when the machine's pace
    /// changes: the power of the reference's slowing-down by which its multiple grows. `None` where no such thing is
    /// sure, and nothing was corrected for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<f64>,
}

/// How well the level of a campaign's latencies is known: what all of them may be off by together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// How many times as long inferences took as they computed, in the typical session; `None` where the system does
    /// not tell, or several threads compute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_over_cpu: Option<f64>,
    /// The same at the pace that latencies are counted at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_wall_over_cpu: Option<f64>,
    /// Standard deviation of the level, relative; intervals in ms hold it.
    pub relative_error: f64,
}

impl Level {
    /// Other programs took part where inferences take so many times as long as they compute.
    const SHARED: f64 = 1.05;

    /// Whether ms are not known: even at the machine's fast pace other programs took part.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.fast_wall_over_cpu
            .is_some_and(|ratio| ratio > Self::SHARED)
    }

    /// What is doubtful of it.
    #[must_use]
    pub fn doubt(&self) -> Option<Warning> {
        let shared = self.wall_over_cpu.filter(|ratio| *ratio > Self::SHARED);
        let unknown = self.fast_wall_over_cpu.filter(|_| self.is_unknown());
        unknown
            .map(|wall_over_cpu| Warning::LevelUnknown { wall_over_cpu })
            .or(shared.map(|wall_over_cpu| Warning::Shared { wall_over_cpu }))
    }
}

/// One measurement of the sentinel network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentinelReading {
    /// Its place in the order of measurement, counted from 0 over networks and sentinels.
    pub position: usize,
    /// Latency as measured, in ms.
    pub raw_ms: f64,
    /// Latency after drift correction, in ms.
    pub corrected_ms: f64,
}

/// A point of the drift curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftPoint {
    /// A place in the order of measurement, counted from 0 over networks and sentinels.
    pub position: f64,
    /// Raw time divided by corrected time there; 1 where the device ran at its usual pace.
    pub factor: f64,
}

/// Medians over networks of the phases before the steady state, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseMedians {
    /// Building the network and drawing its weights.
    pub build_ms: f64,
    /// The engine's preparation (parsing, optimising, compiling).
    pub prepare_ms: f64,
    /// The first inference.
    pub first_ms: f64,
    /// All warm-up inferences together.
    pub warm_up_ms: f64,
}

/// How often networks failed in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The kind of failure, as [`crate::measurement::Failure::kind`] names it.
    pub kind: String,
    /// How many networks failed so.
    pub count: usize,
    /// The message of one of them.
    pub example: String,
}

/// How many measurements carry a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningCount {
    /// The warning as a sentence, or the sentence of a typical one.
    pub warning: String,
    /// How many measurements carry it.
    pub count: usize,
}

/// A measured network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRow {
    /// The architecture's text form.
    pub arch: String,
    /// Latency as measured, in ms.
    pub raw_ms: f64,
    /// Latency after drift correction, in ms.
    pub corrected_ms: f64,
    /// Its other metrics by name, each in the unit that the profile states for it.
    pub values: BTreeMap<String, f64>,
}

/// What the figures were made from: enough to make them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of blocklens.
    pub blocklens: String,
    /// Name and version of the engine; `None` where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The seed of everything random.
    pub seed: u64,
    /// The design space's digest.
    pub space_digest: String,
    /// The measurement store; `None` where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The campaign in that store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// When the report was made, such as `2025-03-01 14:02 UTC`; shown as it stands.
    pub created: String,
    /// Files that entered the figures.
    pub inputs: Vec<InputHash>,
}

/// An input file and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHash {
    /// The file, or what it is.
    pub name: String,
    /// Its hash, with the algorithm's name in front.
    pub hash: String,
}
