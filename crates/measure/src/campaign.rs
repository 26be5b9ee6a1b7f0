//! Campaigns: a schedule of measurements that can be stopped at any instant and goes on where it was.
//!
//! The schedule is an endless, fixed sequence that follows from the specification alone: a sentinel, then
//! [`SENTINEL_PERIOD`] - 1 networks of the estimator's plan, and so on. A budget only says how far to go, so
//! a larger one continues a smaller one, and an interrupted campaign ends as an uninterrupted one does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use blocklens_core::measurement::{DeviceDescription, Failure, Warning};
use blocklens_core::profile::{Draw, Estimator};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, ArchitectureError, DesignSpace, SpaceSource};
use serde::{Deserialize, Serialize};

use crate::engine::{Kind, host};
use crate::job::{Job, Outcome, SpaceText};
use crate::protocol::Protocol;
use crate::runner::Runner;
use crate::store::{Progress, Record, Store, StoreError, StoredCampaign};

/// Every so many measurements, one is of the sentinel: often enough to follow a drift over minutes, at
/// the price of a small network each time.
pub const SENTINEL_PERIOD: u64 = 6;

/// Everything that decides what is measured, and how. Campaigns with equal specifications are one.
///
/// Stored ones are compared field by field: a new field has a default that says what earlier versions did, and is left
/// out where it has that. A field that this version does not know makes another campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignSpec {
    /// The design space's name.
    pub space: String,
    /// Its width multiplier.
    pub width: f64,
    /// Its digest.
    pub space_digest: String,
    /// Its file and the blocks that it brings, so that the campaign can be read without them.
    pub space_source: SpaceSource,
    /// Input resolution in pixels.
    pub resolution: u32,
    /// The estimator that draws the plan.
    pub estimator: String,
    /// Seed of plan, weights, inputs and simulated noise.
    pub seed: u64,
    /// The engine, as written on the command line.
    pub engine: String,
    /// Its version.
    pub engine_version: String,
    /// Threads that it computes with.
    pub threads: usize,
    /// The processor: measurements of two machines are never mixed.
    pub cpu: String,
    /// The name of the machine, where it is not the one that blocklens ran on: two may have the same processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where its times come from, where the engine's name does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Warm-up and sampling.
    pub protocol: Protocol,
    /// The statistic of the samples that stands for the steady state.
    pub statistic: String,
    /// Most memory that a measuring process may map, in MiB.
    pub memory_limit_mib: Option<u64>,
}

/// Why a campaign stopped. What was recorded stays recorded.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan cannot be drawn.
    #[error("the plan cannot be drawn: {0}")]
    Plan(#[from] ArchitectureError),
    /// What was recorded is not what the plan says, and tells nothing of it.
    #[error(
        "position {position} of the stored campaign holds {stored}, but the plan says {planned}: it was planned by \
         another version of blocklens; start a new campaign with --fresh"
    )]
    PlanChanged {
        /// The position.
        position: u64,
        /// The architecture in the store.
        stored: String,
        /// The architecture in the plan.
        planned: String,
    },
    /// A network could not even be tried.
    #[error("{message}. What is measured is kept: mend this, and the same command goes on")]
    NotTried {
        /// Why not.
        message: String,
    },
    /// Networks fail one after the other: something is wrong with the engine, not with a network.
    #[error(
        "the first {count} measurements all failed, the last one with: {last}; nothing is known about this device. \
         `blocklens devices` shows which engines are available"
    )]
    NothingWorks {
        /// How many failed.
        count: usize,
        /// The last failure.
        last: String,
    },
}

/// After so many failures without a single success, a campaign stops.
const HOPELESS: usize = 8;

/// One step of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The sentinel network.
    Sentinel,
    /// A network of the plan.
    Network {
        /// Index in the estimator's plan.
        plan_index: u64,
        /// The draw.
        draw: Draw,
    },
}

/// What happens while a campaign runs, for whoever shows progress.
#[derive(Debug)]
pub struct Event<'a> {
    /// Steps done, counting earlier runs.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// The architecture just measured.
    pub arch: &'a str,
    /// What came out.
    pub outcome: &'a Outcome,
}

/// How measuring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every step of the budget is recorded.
    Complete,
    /// Interrupted; the same command goes on.
    Interrupted,
}

/// A campaign in a store, ready to measure.
pub struct Campaign<'a> {
    space: &'a DesignSpace,
    estimator: &'a dyn Estimator,
    spec: CampaignSpec,
    /// Its row in the store.
    pub stored: StoredCampaign,
}

impl<'a> Campaign<'a> {
    /// The campaign with this specification: the stored one, or a new one (always, if `fresh`).
    ///
    /// # Errors
    /// [`CampaignError::Store`].
    pub fn open(
        store: &Store,
        space: &'a DesignSpace,
        estimator: &'a dyn Estimator,
        spec: CampaignSpec,
        fresh: bool,
    ) -> Result<Self, CampaignError> {
        let found = if fresh {
            None
        } else {
            store.find_campaign(&spec)?
        };
        let stored = match found {
            Some(stored) => stored,
            None => store.create_campaign(&spec.text())?,
        };
        Ok(Self {
            space,
            estimator,
            spec,
            stored,
        })
    }

    /// The number of steps that measures `budget` networks of the plan.
    #[must_use]
    pub fn steps(budget: u64) -> u64 {
        // Each period holds one sentinel; a last one closes the sequence when it is due.
        budget
            + budget.div_ceil(SENTINEL_PERIOD - 1)
            + u64::from(budget.is_multiple_of(SENTINEL_PERIOD - 1))
    }

    /// The step at `position`.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn step(&self, position: u64) -> Result<Step, ArchitectureError> {
        if position.is_multiple_of(SENTINEL_PERIOD) {
            return Ok(Step::Sentinel);
        }
        let plan_index = position - position / SENTINEL_PERIOD - 1;
        let draw = self.estimator.draw(
            self.space,
            self.spec.resolution,
            Seed(self.spec.seed),
            plan_index,
        )?;
        Ok(Step::Network { plan_index, draw })
    }
}

/// The network that is measured again and again: the smallest, which costs least. Where that is the reference of all
/// others, the largest: how a network's multiple of itself spreads would say nothing of theirs.
pub(crate) fn sentinel(
    space: &DesignSpace,
    spec: &CampaignSpec,
) -> Result<Architecture, ArchitectureError> {
    if spec.protocol.paired {
        space.largest(spec.resolution)
    } else {
        space.smallest(spec.resolution)
    }
}

impl Schedule for Campaign<'_> {
    fn job(&self, position: u64, attempt: u32) -> Result<Planned, CampaignError> {
        let (plan_index, draw) = match self.step(position)? {
            Step::Sentinel => (None, None),
            Step::Network { plan_index, draw } => (Some(plan_index), Some(draw)),
        };
        let exchangeable = draw.as_ref().is_some_and(|draw| draw.stratum.is_none());
        let arch = match draw {
            Some(draw) => draw.arch,
            None => sentinel(self.space, &self.spec)?,
        };
        let seed = Seed(self.spec.seed);
        let job = Job {
            space: SpaceText::of(self.space),
            arch: self.space.print(&arch),
            layer: None,
            engine: self.spec.engine.clone(),
            threads: self.spec.threads,
            weights_seed: seed,
            session_seed: seed.stream("session").index(position),
            position,
            attempt,
            protocol: self.spec.protocol,
            memory_limit_mib: self.spec.memory_limit_mib,
        };
        Ok(Planned {
            plan_index,
            label: job.arch.clone(),
            exchangeable,
            job,
        })
    }
}

/// A step of a schedule as an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Index in the plan; `None` for a sentinel.
    pub plan_index: Option<u64>,
    /// What is recorded as measured: an architecture, or the key of a layer.
    pub label: String,
    /// Whether another network in its place, of another version's plan, tells as much: one that was not drawn for a
    /// block of its own.
    pub exchangeable: bool,
    /// The order.
    pub job: Job,
}

/// A fixed, endless sequence of measurements.
pub trait Schedule {
    /// The order at `position`.
    ///
    /// # Errors
    /// [`CampaignError::Plan`].
    fn job(&self, position: u64, attempt: u32) -> Result<Planned, CampaignError>;
}

/// Whoever carries a schedule out, and where it is recorded.
#[derive(Clone, Copy)]
pub struct Carrier<'a> {
    /// The store.
    pub store: &'a Store,
    /// The campaign's row in it.
    pub campaign: i64,
    /// The run's row.
    pub run: i64,
    /// Try failed positions again.
    pub retry_failed: bool,
    /// Carries out jobs.
    pub runner: &'a dyn Runner,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

impl Carrier<'_> {
    /// Measures the first `steps` positions of a schedule, as far as they are not recorded.
    ///
    /// # Errors
    /// [`CampaignError`]; everything recorded before stays.
    pub fn measure(
        &self,
        schedule: &dyn Schedule,
        steps: u64,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Ending, CampaignError> {
        let lane = Lane {
            carrier: *self,
            schedule,
            steps,
        };
        let mut ends = in_turn(&[lane], &mut |_, event| on_event(event))?;
        ends.pop().unwrap_or(Ok(Ending::Complete))
    }
}

/// One of several schedules that are carried out in turn.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// Who carries it out.
    pub carrier: Carrier<'a>,
    /// What is measured.
    pub schedule: &'a dyn Schedule,
    /// How many positions of it.
    pub steps: u64,
}

/// Measures several schedules in turn: position by position, so that what the machine does over time does the same to
/// all, and at every position beginning with another. What makes one of them hopeless ends that one; the others go
/// on. Returns how each ended. Events come with the lane's number.
///
/// # Errors
/// [`CampaignError`] where it is not about one of them, such as a store that is full; everything recorded before stays.
pub fn in_turn(
    lanes: &[Lane<'_>],
    on_event: &mut dyn FnMut(usize, &Event<'_>),
) -> Result<Vec<Result<Ending, CampaignError>>, CampaignError> {
    let mut under_way = lanes
        .iter()
        .map(UnderWay::begin)
        .collect::<Result<Vec<_>, _>>()?;
    let mut ends: Vec<Option<Result<Ending, CampaignError>>> = lanes.iter().map(|_| None).collect();
    while let Some(lane) = next_lane(&under_way, &ends) {
        match under_way[lane].step(&lanes[lane], &mut |event| on_event(lane, event)) {
            Ok(None) => {}
            Ok(Some(ending)) => ends[lane] = Some(Ok(ending)),
            Err(error @ CampaignError::NothingWorks { .. }) => ends[lane] = Some(Err(error)),
            Err(error) => return Err(error),
        }
    }
    let ended = ends.into_iter();
    Ok(ended
        .map(|end| end.unwrap_or(Ok(Ending::Complete)))
        .collect())
}

/// The lane whose next position comes first.
fn next_lane(
    under_way: &[UnderWay],
    ends: &[Option<Result<Ending, CampaignError>>],
) -> Option<usize> {
    let lanes = under_way.len();
    let order = |(lane, position): &(usize, u64)| {
        let first = usize::try_from(position % lanes as u64).unwrap_or_default();
        (*position, (lane + lanes - first) % lanes)
    };
    let going = (0..lanes).filter(|lane| ends[*lane].is_none());
    let next = going.filter_map(|lane| Some((lane, under_way[lane].pending.front()?.0)));
    next.min_by_key(order).map(|(lane, _)| lane)
}

/// What is left of a schedule.
struct UnderWay {
    /// Positions without a success yet, each with the number of attempts made.
    pending: VecDeque<(u64, u32)>,
    done: usize,
    total: usize,
    /// Failures so far, until something succeeds.
    failures: Option<usize>,
}

impl UnderWay {
    fn begin(lane: &Lane<'_>) -> Result<Self, CampaignError> {
        let carrier = &lane.carrier;
        let progress = carrier.store.progress(carrier.campaign)?;
        check_plan(lane.schedule, &progress, lane.steps)?;
        let pending = pending(&progress, lane.steps, carrier.retry_failed);
        let total = usize::try_from(lane.steps).unwrap_or(usize::MAX);
        let known = progress.iter().any(|p| p.succeeded);
        Ok(Self {
            done: total - pending.len(),
            total,
            pending: pending.into(),
            // What failed before counts: a device on which nothing works is tried once more, and not as often again.
            failures: (!known).then_some(progress.len().min(HOPELESS - 1)),
        })
    }

    /// Measures the next position. Returns how the schedule ended, where it did.
    fn step(
        &mut self,
        lane: &Lane<'_>,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Option<Ending>, CampaignError> {
        let carrier = &lane.carrier;
        if carrier.interrupted.load(Ordering::Relaxed) {
            return Ok(Some(Ending::Interrupted));
        }
        let Some((position, attempt)) = self.pending.pop_front() else {
            return Ok(Some(Ending::Complete));
        };
        let planned = lane.schedule.job(position, attempt)?;
        let Some(outcome) = carrier.runner.run(&planned.job) else {
            return Ok(Some(Ending::Interrupted));
        };
        // A measurement that came to its end is one; a failure may be of the interruption.
        if outcome.is_err() && carrier.interrupted.load(Ordering::Relaxed) {
            return Ok(Some(Ending::Interrupted));
        }
        if let Err(Failure::NotTried { message }) = outcome {
            return Err(CampaignError::NotTried { message });
        }
        let record = Record {
            position,
            attempt,
            plan_index: planned.plan_index,
            arch: planned.label,
            outcome,
        };
        carrier
            .store
            .append(carrier.campaign, carrier.run, &record)?;
        self.done += 1;
        on_event(&Event {
            done: self.done,
            total: self.total,
            arch: &record.arch,
            outcome: &record.outcome,
        });
        self.failures = still_hopeless(self.failures, &record.outcome)?;
        Ok(None)
    }
}

/// Another version may have planned other networks. What is measured of them stays and counts, except where each was
/// drawn for its place in the plan.
fn check_plan(
    schedule: &dyn Schedule,
    progress: &[Progress],
    steps: u64,
) -> Result<(), CampaignError> {
    for recorded in progress.iter().filter(|p| p.position < steps) {
        let planned = schedule.job(recorded.position, 0)?;
        if planned.label != recorded.arch && !planned.exchangeable {
            return Err(CampaignError::PlanChanged {
                position: recorded.position,
                stored: recorded.arch.clone(),
                planned: planned.label,
            });
        }
    }
    Ok(())
}

/// Positions without a success yet, each with the number of attempts made.
fn pending(progress: &[Progress], steps: u64, retry_failed: bool) -> Vec<(u64, u32)> {
    let mut recorded = progress.iter().peekable();
    let mut pending = Vec::new();
    for position in 0..steps {
        match recorded.next_if(|p| p.position == position) {
            None => pending.push((position, 0)),
            Some(p) if retry_failed && !p.succeeded => pending.push((position, p.attempts)),
            Some(_) => {}
        }
    }
    pending
}

fn still_hopeless(
    failures: Option<usize>,
    outcome: &Outcome,
) -> Result<Option<usize>, CampaignError> {
    match (failures, outcome) {
        (Some(count), Err(failure)) if count + 1 >= HOPELESS => Err(CampaignError::NothingWorks {
            count: count + 1,
            last: failure.to_string(),
        }),
        (Some(count), Err(_)) => Ok(Some(count + 1)),
        _ => Ok(None),
    }
}

impl CampaignSpec {
    /// The text that is stored.
    #[must_use]
    pub fn text(&self) -> String {
        // Serialising plain numbers and strings cannot fail; an empty text would only match itself.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a stored specification.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Doubts about the machine before measuring begins.
#[must_use]
pub fn machine_warnings(device: &DeviceDescription, simulated: bool) -> Vec<Warning> {
    if simulated {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    if let Some(name) = device.governor.as_ref().filter(|g| *g != "performance") {
        warnings.push(Warning::Governor { name: name.clone() });
    }
    // The rest is about this machine.
    if device.host.is_some() {
        return warnings;
    }
    // The CPU time of one thread tells what other programs do while it is measured, and that of several does not. The
    // one-minute average counts what ran before; half a CPU of other work is felt.
    let felt = |load: &f64| device.threads > 1 && *load > 0.5 * device.cpus as f64;
    if let Some(load) = host::state(None).load.filter(felt) {
        warnings.push(Warning::Busy {
            load,
            cpus: device.cpus,
        });
    }
    let resolution_ns = crate::protocol::clock_resolution_ns();
    if resolution_ns > 10_000.0 {
        warnings.push(Warning::CoarseClock { resolution_ns });
    }
    warnings
}
