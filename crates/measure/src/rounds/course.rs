//! The course of a run: the trial, the rounds, and whose fault a failure is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use blocklens_core::measurement::{Failure, Sample, Warning, summarise};
use blocklens_core::rounds::{
    DeviceReport, Doubt, Ending, EntryReport, FEWEST_ROUNDS, Reading, Report, Round, Session,
    log_ratio, precision,
};
use blocklens_core::stats::mean;
use rand::seq::SliceRandom as _;

use super::outputs::{self, Output};
use super::session::{Broken, Ended, Seat, SessionJob, Sessions, Taken, Whose};
use super::{Event, Plan};
use crate::engine::Kind;

/// Engines of the same processor take turns; nothing else on the machine is told apart from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// All devices that share this machine's processor, or its simulation.
    Shared(bool),
    /// One device, which has a pace of its own.
    Device(usize),
}

/// How often each of two networks is tried by itself to see which of them ended their process, and how many such
/// processes an entry may lose.
const TRIES: usize = 3;

/// What is known of an entry.
#[derive(Default)]
struct State {
    failure: Option<Failure>,
    sessions: Vec<Session>,
    /// Its samples where others were timed beside it, a list for each of their sessions.
    beside: Vec<Vec<Sample>>,
    /// What it computed in the trial.
    output: Vec<f32>,
    trial: Option<Reading>,
    /// Processes that ended without a word, for no reason that could be found.
    lost: usize,
}

/// Nothing more is to be measured.
struct Stop(Ending);

pub(super) struct Course<'a> {
    plan: &'a Plan,
    sessions: &'a dyn Sessions,
    interrupted: &'a AtomicBool,
    on_event: &'a mut dyn FnMut(&Event<'_>),
    entries: Vec<State>,
    rounds: Vec<Round>,
    /// Of this round: bases, and the logarithms of their times beside others.
    of_base: Vec<(usize, f64)>,
    complete: usize,
    begun: Instant,
    done: usize,
    position: u64,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        sessions: &'a dyn Sessions,
        interrupted: &'a AtomicBool,
        on_event: &'a mut dyn FnMut(&Event<'_>),
    ) -> Self {
        let count = plan.networks.len() * plan.devices.len();
        Self {
            plan,
            sessions,
            interrupted,
            on_event,
            entries: (0..count).map(|_| State::default()).collect(),
            rounds: Vec::new(),
            of_base: Vec::new(),
            complete: 0,
            begun: Instant::now(),
            done: 0,
            position: 0,
        }
    }

    pub(super) fn run(mut self) -> Report {
        let machine = self.plan.machine();
        let ended = match self.measure() {
            Ok(ended) | Err(Stop(ended)) => ended,
        };
        self.report(machine, ended)
    }

    fn measure(&mut self) -> Result<Ending, Stop> {
        self.trial()?;
        if self.working().is_empty() {
            return Ok(Ending::NothingWorks);
        }
        for round in 1..=self.plan.settings.most_rounds {
            self.round(round)?;
            self.complete = round;
            let wanted = self.plan.settings.precision;
            let enough = self.precision().is_some_and(|reached| reached <= wanted);
            if round >= FEWEST_ROUNDS && enough {
                return Ok(Ending::Precise);
            }
            if self.working().is_empty() {
                return Ok(Ending::NothingWorks);
            }
        }
        Ok(Ending::Rounds)
    }

    fn precision(&self) -> Option<f64> {
        precision(&self.rounds, &self.working())
    }

    fn working(&self) -> Vec<usize> {
        let all = 0..self.entries.len();
        all.filter(|&entry| self.entries[entry].failure.is_none())
            .collect()
    }

    fn network(&self, entry: usize) -> usize {
        entry / self.plan.devices.len()
    }

    fn device(&self, entry: usize) -> usize {
        entry % self.plan.devices.len()
    }

    fn label(&self, entry: usize) -> String {
        let network = &self.plan.networks[self.network(entry)].report.name;
        format!(
            "{network} on {}",
            self.plan.devices[self.device(entry)].name
        )
    }

    fn kind(&self, entry: usize) -> Kind {
        self.plan.devices[self.device(entry)].kind
    }

    /// With several threads, those of one engine wait for work while another one computes, and would disturb it.
    fn place(&self, entry: usize) -> Place {
        let device = &self.plan.devices[self.device(entry)];
        match (device.kind, device.elsewhere) {
            (Kind::Simulated, _) => Place::Shared(true),
            (Kind::Measured, false) if self.plan.settings.threads == 1 => Place::Shared(false),
            _ => Place::Device(self.device(entry)),
        }
    }

    /// Entries in a random order of their own.
    fn shuffled(&self, mut entries: Vec<usize>, round: usize) -> Vec<usize> {
        let seed = self.plan.seed().stream("order").index(round as u64);
        entries.shuffle(&mut seed.rng());
        entries
    }

    /// Every entry alone, once.
    fn trial(&mut self) -> Result<(), Stop> {
        for entry in self.shuffled((0..self.entries.len()).collect(), 0) {
            match self.alone(entry, 0)? {
                Ok(taken) => {
                    let log_ms = taken.summary.latency.get().ln();
                    let beside = None;
                    self.entries[entry].trial = Some(Reading { log_ms, beside });
                    self.entries[entry].output.clone_from(&taken.output);
                    self.keep(entry, None, 0, taken);
                }
                Err(failure) => self.entries[entry].failure = Some(failure),
            }
            self.tell(entry);
        }
        Ok(())
    }

    /// One session of each entry that works, in random order.
    fn round(&mut self, round: usize) -> Result<(), Stop> {
        self.of_base.clear();
        let mut subjects = self.working();
        // An estimate is the same each time.
        let estimate = |entry: usize| match self.kind(entry) {
            Kind::Estimated => self.entries[entry].trial,
            _ => None,
        };
        let estimates = (0..self.entries.len()).map(estimate).collect();
        self.rounds.push(estimates);
        subjects.retain(|&entry| self.is_timed(entry));
        for entry in self.shuffled(subjects, round) {
            if self.entries[entry].failure.is_some() {
                continue;
            }
            self.check_time()?;
            match self.base(entry).filter(|&base| base != entry) {
                Some(base) => self.in_turn(entry, base, round)?,
                None => self.by_itself(entry, round)?,
            }
            self.tell(entry);
        }
        Ok(())
    }

    /// The entry that others of the place take turns with: the one that was fastest when it was tried, which costs
    /// least.
    fn base(&self, entry: usize) -> Option<usize> {
        let same = |other: &usize| self.place(*other) == self.place(entry);
        let time = |other: &usize| {
            self.entries[*other]
                .trial
                .map_or(f64::INFINITY, |t| t.log_ms)
        };
        let place = self.working().into_iter().filter(same);
        place.min_by(|a, b| time(a).total_cmp(&time(b)))
    }

    fn is_alone(&self, entry: usize) -> bool {
        let same = |other: &&usize| self.place(**other) == self.place(entry);
        self.working().iter().filter(same).count() == 1
    }

    /// Whether an entry has a session of its own in a round: a base is timed in those of others.
    fn is_timed(&self, entry: usize) -> bool {
        let estimated = self.kind(entry) == Kind::Estimated;
        !estimated && (self.base(entry) != Some(entry) || self.is_alone(entry))
    }

    fn by_itself(&mut self, entry: usize, round: usize) -> Result<(), Stop> {
        match self.alone(entry, round)? {
            Ok(taken) => {
                let log_ms = taken.summary.latency.get().ln();
                let beside = None;
                self.note(entry, Reading { log_ms, beside });
                self.keep(entry, None, round, taken);
            }
            Err(failure) => self.entries[entry].failure = Some(failure),
        }
        Ok(())
    }

    fn in_turn(&mut self, entry: usize, base: usize, round: usize) -> Result<(), Stop> {
        let job = self.job(entry, Some(base), round);
        match self.carry_out(&job)? {
            Ok(Ok(taken)) => self.took(entry, base, round, taken),
            Ok(Err(Broken { whose, failure })) => match whose {
                Whose::Subject => self.entries[entry].failure = Some(failure),
                Whose::Partner => self.entries[base].failure = Some(failure),
                Whose::Either => self.blame(entry, base, round, failure)?,
            },
            Err(failure) => self.blame(entry, base, round, failure)?,
        }
        Ok(())
    }

    fn took(&mut self, entry: usize, base: usize, round: usize, taken: Taken) {
        let single = self.plan.settings.threads == 1;
        let times = log_ratio(&taken.samples, &taken.reference, single);
        let Some((log, of_base)) = times.zip(summarise(&taken.reference, single)) else {
            return;
        };
        let log_ms = taken.summary.latency.get().ln();
        let beside = Some((base, log));
        self.note(entry, Reading { log_ms, beside });
        self.entries[base].beside.push(taken.reference.clone());
        self.note_base(base, of_base.latency.get().ln());
        self.keep(entry, Some(base), round, taken);
    }

    /// Two networks were in a process that failed, and one of them is why: each is tried again by itself. Where neither
    /// fails so, the session is lost, and what loses too many has failed.
    fn blame(
        &mut self,
        entry: usize,
        base: usize,
        round: usize,
        failure: Failure,
    ) -> Result<(), Stop> {
        for _ in 0..TRIES {
            for whose in [entry, base] {
                if let Err(again) = self.alone(whose, round)? {
                    self.entries[whose].failure = Some(again);
                    return Ok(());
                }
            }
        }
        self.entries[entry].lost += 1;
        if self.entries[entry].lost >= TRIES {
            self.entries[entry].failure = Some(match failure {
                Failure::Crash { message } => Failure::Crash {
                    message: format!(
                        "in turn with {}, though not alone: {message}",
                        self.label(base)
                    ),
                },
                other => other,
            });
        }
        Ok(())
    }

    /// A session by itself.
    fn alone(&mut self, entry: usize, round: usize) -> Result<Result<Taken, Failure>, Stop> {
        let job = self.job(entry, None, round);
        Ok(match self.carry_out(&job)? {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(broken)) => Err(broken.failure),
            Err(failure) => Err(failure),
        })
    }

    fn carry_out(&mut self, job: &SessionJob) -> Result<Ended, Stop> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Stop(Ending::Interrupted));
        }
        self.position += 1;
        let ended = self.sessions.carry_out(job);
        ended.ok_or(Stop(Ending::Interrupted))
    }

    fn check_time(&self) -> Result<(), Stop> {
        match self
            .plan
            .most_time()
            .is_some_and(|most| self.begun.elapsed() >= most)
        {
            true => Err(Stop(Ending::Time)),
            false => Ok(()),
        }
    }

    fn job(&self, entry: usize, base: Option<usize>, round: usize) -> SessionJob {
        let plan = self.plan;
        let seed = plan.seed().stream("session").index(self.position);
        let seat = |entry: usize, of: &str| Seat {
            source: plan.networks[self.network(entry)].source.clone(),
            engine: plan.devices[self.device(entry)].engine.clone(),
            seed: seed.stream(of),
        };
        // Each of the two is first in every other round.
        let begins = plan.seed().stream("first").index(entry as u64).0 % 2;
        SessionJob {
            subject: seat(entry, "subject"),
            partner: base.map(|base| seat(base, "partner")),
            partner_first: (round as u64 + begins).is_multiple_of(2),
            threads: plan.settings.threads,
            seed: plan.seed(),
            position: self.position,
            protocol: crate::protocol::Protocol {
                paired: base.is_some(),
                ..plan.protocol
            },
        }
    }

    fn note(&mut self, entry: usize, reading: Reading) {
        if let Some(round) = self.rounds.last_mut() {
            round[entry] = Some(reading);
        }
    }

    /// The base's time is the mean over the sessions beside it, of this round.
    fn note_base(&mut self, base: usize, log_ms: f64) {
        self.of_base.push((base, log_ms));
        let own = self.of_base.iter().filter(|(of, _)| *of == base);
        let logs: Vec<f64> = own.map(|(_, log_ms)| *log_ms).collect();
        let log_ms = mean(&logs);
        let beside = Some((base, 0.0));
        self.note(base, Reading { log_ms, beside });
    }

    fn keep(&mut self, entry: usize, beside: Option<usize>, round: usize, taken: Taken) {
        self.entries[entry].sessions.push(Session {
            round,
            beside,
            samples: taken.samples,
            reference: taken.reference,
            summary: taken.summary,
            phases: taken.phases,
            warnings: taken.warnings,
        });
    }

    fn tell(&mut self, entry: usize) {
        self.done += 1;
        let working = self.working();
        let each = working
            .iter()
            .filter(|&&entry| self.is_timed(entry))
            .count();
        let event = Event {
            done: self.done,
            most: self.entries.len() + self.plan.settings.most_rounds * each,
            entry: &self.label(entry),
            failure: self.entries[entry].failure.as_ref(),
            precision: self.precision(),
        };
        (self.on_event)(&event);
    }

    fn report(mut self, machine: Vec<Warning>, ended: Ending) -> Report {
        if self.complete == 0 {
            // Nothing but the trial tells something of every entry.
            self.rounds = vec![self.entries.iter().map(|entry| entry.trial).collect()];
        }
        let doubts = self.doubts(machine, ended);
        let devices = self.plan.devices.iter().map(|device| DeviceReport {
            name: device.name.clone(),
            asked: device.engine.clone(),
            times: times(device.kind).to_owned(),
            description: device.description.clone(),
        });
        let places: Vec<(usize, usize)> = (0..self.entries.len())
            .map(|entry| (self.network(entry), self.device(entry)))
            .collect();
        let entries = std::mem::take(&mut self.entries).into_iter().zip(places);
        let report = Report {
            program: concat!("blocklens measure ", env!("CARGO_PKG_VERSION")).into(),
            answer: Vec::new(),
            ended,
            rounds: self.complete,
            settings: self.plan.settings.clone(),
            networks: self
                .plan
                .networks
                .iter()
                .map(|n| n.report.clone())
                .collect(),
            devices: devices.collect(),
            entries: entries
                .map(|(entry, (network, device))| entry.report(network, device))
                .collect(),
            doubts,
        };
        report.with_rounds(&self.rounds)
    }

    fn doubts(&self, machine: Vec<Warning>, ended: Ending) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if ended == Ending::Interrupted {
            let rounds = self.complete;
            doubts.push(Doubt::Interrupted { rounds });
        }
        doubts.extend(self.plan.devices.iter().filter_map(|device| {
            let device_name = device.name.clone();
            (device.kind != Kind::Measured).then(|| Doubt::NotMeasured {
                device: device_name,
                times: times(device.kind).to_owned(),
            })
        }));
        doubts.extend(outputs::compare(&self.outputs()));
        doubts.extend(self.disturbances());
        let pinned = self.entries.iter().flat_map(|entry| &entry.sessions);
        let pinned = pinned.flat_map(|session| &session.warnings);
        let pinned = pinned
            .filter(|w| matches!(w, Warning::NotPinned { .. }))
            .take(1);
        let machine = machine.into_iter().chain(pinned.cloned());
        doubts.extend(machine.map(|warning| Doubt::Machine { warning }));
        doubts
    }

    fn outputs(&self) -> Vec<Output<'_>> {
        let real = |entry: &usize| self.kind(*entry) == Kind::Measured;
        let all = (0..self.entries.len()).filter(real);
        all.map(|entry| {
            let device = &self.plan.devices[self.device(entry)];
            Output {
                network: &self.plan.networks[self.network(entry)].report.name,
                device: device.name.clone(),
                precision: &device.description.precision,
                numbers: &self.entries[entry].output,
            }
        })
        .collect()
    }

    /// What more than a quarter of all sessions have in common.
    fn disturbances(&self) -> Vec<Doubt> {
        let all: Vec<&Session> = self.entries.iter().flat_map(|e| &e.sessions).collect();
        let of = all.len();
        let with = |is: fn(&Warning) -> bool| {
            let count = all.iter().filter(|s| s.warnings.iter().any(is)).count();
            (4 * count > of).then_some(count)
        };
        let disturbed = with(|w| matches!(w, Warning::Disturbed { .. }));
        let moving = with(|w| matches!(w, Warning::NotStationary));
        let disturbed = disturbed.map(|sessions| Doubt::Disturbed { sessions, of });
        let moving = moving.map(|sessions| Doubt::NotStationary { sessions, of });
        disturbed.into_iter().chain(moving).collect()
    }
}

impl State {
    fn report(self, network: usize, device: usize) -> EntryReport {
        let trial = self.sessions.first().map(|session| session.phases);
        let mut report = EntryReport {
            network,
            device,
            failure: self.failure,
            ms: None,
            ms_interval: None,
            p90_ms: None,
            first_ms: trial.map(|phases| phases.first_ms),
            prepare_ms: trial.map(|phases| phases.prepare_ms),
            relative: None,
            sessions: self.sessions,
        };
        let beside: Vec<&[Sample]> = self.beside.iter().map(Vec::as_slice).collect();
        report.set_p90(&beside);
        report
    }
}

fn times(kind: Kind) -> &'static str {
    match kind {
        Kind::Measured => "measured",
        Kind::Estimated => "estimated",
        Kind::Simulated => "simulated",
    }
}
