//! From the store to observations: what a campaign measured, corrected for drift.

use std::collections::BTreeMap;

use blocklens_core::measurement::{DeviceDescription, Failure, Measurement, Warning};
use blocklens_core::profile::{Draw, Estimator, Observation};
use blocklens_core::report::{
    DriftPoint, FailureCount, MeasurementSection, NetworkRow, PhaseMedians, Reference,
    SentinelReading, WarningCount,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_core::stats::drift::Drift;
use blocklens_core::stats::pace::PaceResponse;
use blocklens_core::stats::quantile;

use crate::campaign::{CampaignError, CampaignSpec};
use crate::store::{Record, Store};

/// A drift correction above this is worth a warning: it is as large as the effects of many blocks.
const NOTABLE_DRIFT: f64 = 0.05;
/// A noise floor above this is worth a warning.
const NOTABLE_NOISE: f64 = 0.03;

/// The text form of a network's architecture and its other metrics, by name.
pub type Describe<'a> = &'a dyn Fn(&Reading) -> (String, BTreeMap<String, f64>);

/// A network of the plan with its latency.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The draw.
    pub draw: Draw,
    /// Position in the schedule.
    pub position: u64,
    /// Latency as measured, in ms.
    pub raw_ms: f64,
    /// Latency after drift correction, in ms.
    pub corrected_ms: f64,
    /// The whole measurement.
    pub measurement: Measurement,
}

/// What raw latencies of a campaign are corrected by.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The reference, in whose multiples latencies are counted; `None` where networks were timed alone.
    pub reference: Option<Reference>,
    /// By how much more than the reference large networks feel the machine's pace, where that is sure.
    response: Option<PaceResponse>,
    /// The drift that is left, from the sentinel.
    pub drift: Drift,
}

impl Scale {
    /// That of a campaign's records.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let sentinels = records.iter().filter(|r| r.plan_index.is_none());
        let sentinels: Vec<(f64, &Measurement)> = sentinels
            .filter_map(|r| Some((r.position as f64, r.outcome.as_ref().ok()?)))
            .collect();
        let mut scale = Self {
            reference: reference(records),
            response: None,
            drift: Drift::estimate(&[]),
        };
        if let Some(reference) = &mut scale.reference {
            scale.response = response(&sentinels, reference);
            reference.response = scale.response.map(|r| r.exponent);
        }
        let readings = sentinels
            .iter()
            .map(|(position, m)| (*position, scale.undisturbed_ms(m)));
        scale.drift = Drift::estimate(&readings.collect::<Vec<_>>());
        scale
    }

    /// The latency in ms at the machine's undisturbed pace, as far as a reference tells.
    fn undisturbed_ms(&self, measurement: &Measurement) -> f64 {
        let summary = &measurement.summary;
        let paired = summary.relative.zip(self.reference.as_ref());
        paired.map_or(summary.latency.get(), |(relative, reference)| {
            let response = self.response.zip(pace_ms(measurement));
            let factor = response.map_or(1.0, |(response, pace)| response.factor(pace, relative));
            relative / factor * reference.fast_ms
        })
    }

    /// The latency in ms, corrected by everything that is known.
    #[must_use]
    pub fn corrected_ms(&self, position: u64, measurement: &Measurement) -> f64 {
        self.undisturbed_ms(measurement) / self.drift.factor(position as f64)
    }

    /// The largest correction for drift at some positions, relative.
    pub fn largest_drift(&self, positions: impl Iterator<Item = u64>) -> f64 {
        positions
            .map(|position| (self.drift.factor(position as f64) - 1.0).abs())
            .fold(0.0, f64::max)
    }
}

/// The median time of the reference in a session, in ms; `None` where there was none.
fn pace_ms(measurement: &Measurement) -> Option<f64> {
    let walls = measurement.reference.iter().map(|s| s.wall.get());
    quantile(&walls.collect::<Vec<f64>>(), 0.5)
}

/// What the sentinel's sessions (position, measurement) say of how the pace is felt.
fn response(sentinels: &[(f64, &Measurement)], reference: &Reference) -> Option<PaceResponse> {
    let readings = sentinels
        .iter()
        .filter_map(|(_, m)| Some((pace_ms(m)?, m.summary.relative?)));
    PaceResponse::estimate(&readings.collect::<Vec<_>>(), reference.fast_ms)
}

/// What the sessions of a campaign say of their reference; `None` where none had one.
fn reference(records: &[Record]) -> Option<Reference> {
    let sessions = records
        .iter()
        .filter_map(|record| pace_ms(record.outcome.as_ref().ok()?));
    let medians: Vec<f64> = sessions.collect();
    Some(Reference {
        fast_ms: quantile(&medians, 0.05)?,
        median_ms: quantile(&medians, 0.5)?,
        slow_ms: quantile(&medians, 0.95)?,
        response: None,
    })
}

/// Everything that a campaign measured.
#[derive(Clone, Debug)]
pub struct Readout {
    /// Networks with a latency, by position.
    pub networks: Vec<Reading>,
    /// Failed networks.
    pub failures: Vec<(String, Failure)>,
    /// Measurements of the sentinel.
    pub sentinels: Vec<SentinelReading>,
    /// What was divided out.
    pub scale: Scale,
    /// Runs of the campaign, oldest first.
    pub runs: Vec<(DeviceDescription, Vec<Warning>)>,
    sentinel_failures: usize,
    last_position: u64,
}

impl Readout {
    /// Reads a campaign and corrects it for the drift of its sentinel.
    ///
    /// # Errors
    /// [`CampaignError`] when the store or the plan cannot be read.
    pub fn read(
        store: &Store,
        campaign: i64,
        spec: &CampaignSpec,
        space: &DesignSpace,
        estimator: &dyn Estimator,
    ) -> Result<Self, CampaignError> {
        let records = store.records(campaign)?;
        let mut readout = Self {
            networks: Vec::new(),
            failures: Vec::new(),
            sentinels: Vec::new(),
            runs: store.runs(campaign)?,
            last_position: records.last().map_or(0, |r| r.position),
            sentinel_failures: 0,
            scale: Scale::of(&records),
        };
        for record in records {
            readout.take(record, spec, space, estimator)?;
        }
        Ok(readout)
    }

    fn take(
        &mut self,
        record: Record,
        spec: &CampaignSpec,
        space: &DesignSpace,
        estimator: &dyn Estimator,
    ) -> Result<(), CampaignError> {
        let position = record.position;
        let corrected = |m: &Measurement| self.scale.corrected_ms(position, m);
        match (record.plan_index, record.outcome) {
            (None, Ok(m)) => {
                let raw_ms = m.summary.latency.get();
                let corrected_ms = corrected(&m);
                let position = usize::try_from(position).unwrap_or(usize::MAX);
                self.sentinels.push(SentinelReading {
                    position,
                    raw_ms,
                    corrected_ms,
                });
            }
            (None, Err(_)) => self.sentinel_failures += 1,
            (Some(index), Ok(measurement)) => {
                let planned = estimator.draw(space, spec.resolution, Seed(spec.seed), index)?;
                let draw = measured(planned, &record.arch, position, space)?;
                let raw_ms = measurement.summary.latency.get();
                let corrected_ms = corrected(&measurement);
                self.networks.push(Reading {
                    draw,
                    position,
                    raw_ms,
                    corrected_ms,
                    measurement,
                });
            }
            (Some(_), Err(failure)) => self.failures.push((record.arch, failure)),
        }
        Ok(())
    }

    /// The corrected latencies as observations, in ms.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        self.networks
            .iter()
            .map(|r| Observation {
                draw: r.draw.clone(),
                value: r.corrected_ms,
            })
            .collect()
    }

    /// Doubts about the campaign as a whole; `planned` is the number of networks asked for.
    #[must_use]
    pub fn warnings(&self, planned: usize) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for warning in self.runs.iter().flat_map(|(_, warnings)| warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        let tried = self.networks.len() + self.failures.len();
        if tried < planned {
            warnings.push(Warning::Incomplete {
                done: tried,
                planned,
            });
        }
        if !self.failures.is_empty() {
            warnings.push(Warning::Failures {
                failed: self.failures.len(),
                of: tried,
            });
        }
        let relative = self.largest_correction();
        if relative > NOTABLE_DRIFT {
            warnings.push(Warning::Drift { relative });
        }
        if let Some(floor) = self
            .scale
            .drift
            .noise_floor()
            .filter(|&floor| floor > NOTABLE_NOISE)
        {
            warnings.push(Warning::Noisy { floor });
        }
        warnings
    }

    fn largest_correction(&self) -> f64 {
        let positions = self.networks.iter().map(|r| r.position);
        self.scale.largest_drift(positions)
    }

    /// How the campaign went, for the report. `values` gives a network's other metrics.
    #[must_use]
    pub fn section(
        &self,
        planned: usize,
        statistic: &str,
        describe: Describe<'_>,
    ) -> Option<MeasurementSection> {
        let (device, _) = self.runs.last()?;
        let measurements: Vec<&Measurement> =
            self.networks.iter().map(|r| &r.measurement).collect();
        let count =
            |f: &dyn Fn(&Measurement) -> usize| measurements.iter().map(|m| f(m)).sum::<usize>();
        let samples = count(&|m| m.summary.samples);
        let set_aside = count(&|m| m.summary.set_aside);
        let unconverged = count(&|m| {
            usize::from(
                m.warnings
                    .iter()
                    .any(|w| matches!(w, Warning::NotConverged { .. })),
            )
        });
        let share = |part: usize, whole: usize| {
            if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            }
        };
        Some(MeasurementSection {
            device: device.clone(),
            planned,
            measured: self.networks.len(),
            failed: self.failures.len(),
            noise_floor: self.scale.drift.noise_floor(),
            reference: self.scale.reference,
            sentinels: self.sentinels.clone(),
            drift: self.drift_curve(),
            largest_correction: self.largest_correction(),
            converged: 1.0 - share(unconverged, measurements.len()),
            set_aside: share(set_aside, samples),
            samples,
            statistic: statistic.to_owned(),
            phases: phase_medians(&measurements),
            failures: count_failures(&self.failures),
            wall_s: measurements.iter().map(|m| measured_s(m)).sum(),
            warnings: count_warnings(&measurements),
            networks: self
                .networks
                .iter()
                .map(|r| network_row(r, describe))
                .collect(),
        })
    }

    fn drift_curve(&self) -> Vec<DriftPoint> {
        (0..=self.last_position)
            .map(|p| DriftPoint {
                position: p as f64,
                factor: self.scale.drift.factor(p as f64),
            })
            .collect()
    }
}

fn network_row(reading: &Reading, describe: Describe<'_>) -> NetworkRow {
    let (arch, values) = describe(reading);
    NetworkRow {
        arch,
        raw_ms: reading.raw_ms,
        corrected_ms: reading.corrected_ms,
        values,
    }
}

/// Seconds that a measurement took, from building the network to its last sample.
fn measured_s(m: &Measurement) -> f64 {
    let samples = m.samples.iter().chain(&m.reference);
    let sampling: f64 = samples.map(|s| s.wall.get()).sum();
    let p = &m.phases;
    let before = p.build_ms + p.prepare_ms + p.first_ms + p.warm_up_ms + p.reference_ms;
    (before + sampling) / 1e3
}

fn phase_medians(measurements: &[&Measurement]) -> PhaseMedians {
    let median = |f: &dyn Fn(&Measurement) -> f64| {
        let values: Vec<f64> = measurements.iter().map(|m| f(m)).collect();
        quantile(&values, 0.5).unwrap_or(0.0)
    };
    PhaseMedians {
        build_ms: median(&|m| m.phases.build_ms),
        prepare_ms: median(&|m| m.phases.prepare_ms),
        first_ms: median(&|m| m.phases.first_ms),
        warm_up_ms: median(&|m| m.phases.warm_up_ms),
    }
}

fn count_failures(failures: &[(String, Failure)]) -> Vec<FailureCount> {
    let mut kinds: BTreeMap<&str, FailureCount> = BTreeMap::new();
    for (arch, failure) in failures {
        let example = || FailureCount {
            kind: failure.kind().into(),
            count: 0,
            example: format!("{arch}: {failure}"),
        };
        kinds.entry(failure.kind()).or_insert_with(example).count += 1;
    }
    kinds.into_values().collect()
}

fn count_warnings(measurements: &[&Measurement]) -> Vec<WarningCount> {
    let mut kinds: Vec<(std::mem::Discriminant<Warning>, WarningCount)> = Vec::new();
    for warning in measurements.iter().flat_map(|m| &m.warnings) {
        let kind = std::mem::discriminant(warning);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, counted)) => counted.count += 1,
            None => kinds.push((
                kind,
                WarningCount {
                    warning: warning.to_string(),
                    count: 1,
                },
            )),
        }
    }
    kinds.into_iter().map(|(_, counted)| counted).collect()
}

/// The draw that was measured at a place of the plan: the planned one, or the network that another version had planned there.
fn measured(
    planned: Draw,
    recorded: &str,
    position: u64,
    space: &DesignSpace,
) -> Result<Draw, CampaignError> {
    let label = space.print(&planned.arch);
    if label == recorded {
        return Ok(planned);
    }
    match (planned.stratum, space.parse(recorded)) {
        (None, Ok(arch)) => Ok(Draw {
            arch,
            stratum: None,
        }),
        _ => Err(CampaignError::PlanChanged {
            position,
            stored: recorded.to_owned(),
            planned: label,
        }),
    }
}
