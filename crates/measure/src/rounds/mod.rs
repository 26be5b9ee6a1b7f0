//! Networks on devices, timed in rounds until it is known which is fastest, and by how much.
//!
//! A [`Plan`] has networks and devices; every pair is an entry. First each entry is tried alone, in a process of its
//! own: whether it works, how long it takes to prepare, what it computes. What works is then timed in rounds
//! ([`blocklens_core::rounds`]), each session in a fresh process whose crash is the entry's failure and nobody else's.

mod course;
mod outputs;
mod session;

pub use session::{Broken, Ended, LARGEST_MODEL, Seat, SessionJob, Sessions, Source, Taken, Whose};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use blocklens_core::measurement::{DeviceDescription, Failure, Warning};
use blocklens_core::model::ModelFormat;
use blocklens_core::rounds::{NetworkReport, Report, Settings};
use blocklens_core::seed::Seed;

use crate::campaign::machine_warnings;
use crate::engine::{self, Availability, Engine, EngineSpecError, Kind, host};
use crate::protocol::Protocol;

/// A network that is to be measured.
#[derive(Clone, Debug)]
pub struct PlannedNetwork {
    /// What reports say of it.
    pub report: NetworkReport,
    /// Where it comes from.
    pub source: Source,
}

/// A device to measure on, which is here.
#[derive(Clone, Debug)]
pub struct PlannedDevice {
    /// What it is called: as it was asked for, with a number where it was asked for twice.
    pub name: String,
    /// The engine, as written on the command line.
    pub engine: String,
    /// Where its times come from.
    pub kind: Kind,
    /// Whether it computes elsewhere than on this machine's processor.
    pub elsewhere: bool,
    /// The formats of files that it takes; none where it is for architectures only.
    pub formats: Vec<ModelFormat>,
    /// What it is.
    pub description: DeviceDescription,
    /// Held for as long as it is measured on: it may keep a connection open.
    pub held: Arc<dyn Engine>,
}

/// What is to be measured, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The networks.
    pub networks: Vec<PlannedNetwork>,
    /// The devices.
    pub devices: Vec<PlannedDevice>,
    /// Precision, rounds, seed.
    pub settings: Settings,
    /// Warm-up and sampling of each session.
    pub protocol: Protocol,
}

/// Why a plan cannot be carried out: known before anything is measured.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A device's name means nothing.
    #[error(transparent)]
    Spec(#[from] EngineSpecError),
    /// A device that is not here.
    #[error("the device `{device}` cannot be used here: {reason}; {remedy}")]
    Unavailable {
        /// As it was asked for.
        device: String,
        /// Why not.
        reason: String,
        /// What would change that.
        remedy: String,
    },
    /// A device that takes no such files.
    #[error(
        "`{device}` takes no {format} files, and {network} is one: {takes}. Measure it on another device (`blocklens \
         devices` lists them), or export it in the other format"
    )]
    Format {
        /// The device.
        device: String,
        /// The network.
        network: String,
        /// The file's format.
        format: String,
        /// What it takes.
        takes: String,
    },
}

/// The devices that were asked for, in order: whether they are here, and what they are.
///
/// # Errors
/// [`PlanError`] for the first that is not.
pub fn devices(asked: &[String], threads: usize) -> Result<Vec<PlannedDevice>, PlanError> {
    let mut planned: Vec<PlannedDevice> = Vec::new();
    for spec in asked {
        let engine = engine::by_name(spec)?;
        let same = planned
            .iter()
            .filter(|device| device.engine == *spec)
            .count();
        // Some engines' names leave out what follows them on the command line.
        let taken = |name: &str| planned.iter().any(|device| device.name == name);
        let plain = match same == 0 && taken(engine.name()) || engine.kind() == Kind::Simulated {
            true => spec.trim(),
            false => engine.name(),
        };
        let name = match same {
            0 => plain.to_owned(),
            n => format!("{plain} ({})", n + 1),
        };
        planned.push(device(spec, name, Arc::from(engine), threads)?);
    }
    Ok(planned)
}

fn device(
    spec: &str,
    name: String,
    engine: Arc<dyn Engine>,
    threads: usize,
) -> Result<PlannedDevice, PlanError> {
    let availability = engine.availability();
    if let Availability::Unavailable { reason, remedy } = availability {
        return Err(PlanError::Unavailable {
            device: spec.to_owned(),
            reason,
            remedy,
        });
    }
    Ok(PlannedDevice {
        name,
        engine: spec.to_owned(),
        kind: engine.kind(),
        elsewhere: engine.chip().is_some(),
        formats: engine.formats(),
        description: host::describe(engine.as_ref(), &availability, threads),
        held: engine,
    })
}

impl Plan {
    /// Refuses files on devices that do not take them.
    ///
    /// # Errors
    /// [`PlanError::Format`] for the first such pair.
    pub fn check(&self) -> Result<(), PlanError> {
        for device in &self.devices {
            for network in &self.networks {
                let Source::File { format, .. } = &network.source else {
                    continue;
                };
                if !device.formats.contains(format) {
                    let takes: Vec<String> =
                        device.formats.iter().map(ToString::to_string).collect();
                    return Err(PlanError::Format {
                        device: device.name.clone(),
                        network: network.report.name.clone(),
                        format: format.to_string(),
                        takes: match takes.as_slice() {
                            [] => "it is for architectures of a space only".into(),
                            takes => format!("it takes {}", takes.join(", ")),
                        },
                    });
                }
            }
        }
        Ok(())
    }

    /// Measures until every ratio is known as well as asked for, or the rounds or the time are over, or `interrupted`
    /// is set; what was measured until then is in the report.
    pub fn run(
        &self,
        sessions: &dyn Sessions,
        interrupted: &AtomicBool,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Report {
        course::Course::new(self, sessions, interrupted, on_event).run()
    }

    /// Doubts about the machine before measuring begins.
    fn machine(&self) -> Vec<Warning> {
        let here = |device: &&PlannedDevice| device.kind == Kind::Measured && !device.elsewhere;
        let device = self.devices.iter().find(here);
        device.map_or_else(Vec::new, |device| {
            machine_warnings(&device.description, false)
        })
    }

    /// Longest time for all rounds.
    fn most_time(&self) -> Option<Duration> {
        self.settings.most_seconds.map(Duration::from_secs)
    }

    fn seed(&self) -> Seed {
        Seed(self.settings.seed)
    }
}

/// What happens while rounds run, for whoever shows progress.
#[derive(Debug)]
pub struct Event<'a> {
    /// Sessions done.
    pub done: usize,
    /// Sessions in all, where the rounds are not over before.
    pub most: usize,
    /// The network and the device that were just measured.
    pub entry: &'a str,
    /// Why that failed, if it did.
    pub failure: Option<&'a Failure>,
    /// How well ratios are known so far: half of the widest interval, relative.
    pub precision: Option<f64>,
}
