//! From the store to observations: what a campaign measured, corrected for drift.

mod scale;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use blocklens_core::measurement::{DeviceDescription, Failure, Measurement, Warning};
use blocklens_core::profile::{Draw, Estimator, Observation};
use blocklens_core::report::{
    DriftPoint, FailureCount, MeasurementSection, NetworkRow, PhaseMedians, SentinelReading,
    WarningCount,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::stats::quantile;

pub use scale::Scale;

use crate::campaign::{CampaignError, CampaignSpec};
use crate::failures::{Failures, FailuresError};
use crate::job::hash_of;
use crate::store::{Record, Store};

/// A drift correction above this is worth a warning: it is as large as the effects of many blocks.
const NOTABLE_DRIFT: f64 = 0.05;
/// A noise floor above this is worth a warning.
const NOTABLE_NOISE: f64 = 0.03;
/// A share of samples set aside, or of measurements that did not converge, above this is worth a warning.
const MOST: f64 = 0.5;
/// A share of sessions that rest on disturbed samples from here on is worth a warning.
const MANY_FALLEN_BACK: f64 = 0.2;

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
    /// Positions whose networks are not the planned ones.
    unplanned: BTreeSet<u64>,
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
            unplanned: BTreeSet::new(),
            scale: Scale::of(&records, spec.threads == 1),
        };
        let sentinel = records.iter().find_map(|record| {
            let m = record.outcome.as_ref().ok()?;
            let arch = record.plan_index.is_none().then_some(&record.arch)?;
            Some((arch.clone(), m.model_hash.clone()))
        });
        for record in records {
            readout.take(record, spec, space, estimator)?;
        }
        readout.check_unplanned(store, campaign, space, spec, sentinel)?;
        Ok(readout)
    }

    /// Refuses networks that are not the planned ones and, by the hash of what was run, not what they are called
    /// either. That is looked at where no checksum vouches for the record, and this version makes the sentinel's hash
    /// again.
    fn check_unplanned(
        &self,
        store: &Store,
        campaign: i64,
        space: &DesignSpace,
        spec: &CampaignSpec,
        sentinel: Option<(String, String)>,
    ) -> Result<(), CampaignError> {
        if self.unplanned.is_empty() {
            return Ok(());
        }
        let is = |arch: &Architecture, hash: &str| hash_of(space, arch, Seed(spec.seed)) == hash;
        let reproduced = LazyCell::new(|| {
            sentinel.is_some_and(|(text, hash)| {
                let arch = space.parse(&text);
                arch.is_ok_and(|arch| is(&arch, &hash))
            })
        });
        let wrong = |position: u64| {
            let strange = self.unplanned.contains(&position);
            let mut all = self.networks.iter();
            let reading = all.find(|r| strange && r.position == position);
            reading.is_some_and(|r| *reproduced && !is(&r.draw.arch, &r.measurement.model_hash))
        };
        store.check_unsealed(campaign, &wrong)?;
        Ok(())
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
                if space.print(&planned.arch) != record.arch {
                    self.unplanned.insert(position);
                }
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
        warnings.extend(self.disturbances());
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

    /// Doubts about how the sessions went, all together.
    fn disturbances(&self) -> Vec<Warning> {
        let all = self.networks.iter().map(|r| &r.measurement);
        let (mut samples, mut set_aside, mut unconverged, mut sessions) = (0, 0, 0, 0);
        for measurement in all {
            samples += measurement.summary.samples;
            set_aside += measurement.summary.set_aside;
            unconverged += usize::from(is_unconverged(measurement));
            sessions += usize::from(measurement.summary.fell_back());
        }
        let of = self.networks.len();
        let mut found = Vec::new();
        let disturbed = share(set_aside, samples);
        if disturbed > MOST {
            found.push(Warning::MostlyDisturbed { share: disturbed });
        }
        if share(unconverged, of) > MOST {
            let share = 1.0 - share(unconverged, of);
            found.push(Warning::FewConverged { share });
        }
        if of > 0 && share(sessions, of) >= MANY_FALLEN_BACK {
            found.push(Warning::FellBack { sessions, of });
        }
        found.extend(self.scale.level.and_then(|level| level.doubt()));
        found
    }

    /// The architectures without a latency that are of the space, for telling what failures go with.
    fn failed(&self, space: &DesignSpace) -> Vec<Architecture> {
        let texts = self.failures.iter().map(|(text, _)| text);
        texts.filter_map(|text| space.parse(text).ok()).collect()
    }

    /// Refuses or doubts latencies that are of the networks that work only.
    ///
    /// # Errors
    /// [`FailuresError`], unless `allowed`.
    pub fn check_failures(
        &self,
        space: &DesignSpace,
        allowed: bool,
    ) -> Result<Option<Warning>, FailuresError> {
        let example = self.failures.last();
        let example = example.map(|(arch, failure)| format!("{arch}: {failure}"));
        let failed = self.failed(space);
        let worked: Vec<&Architecture> = self.networks.iter().map(|r| &r.draw.arch).collect();
        let failures = Failures {
            metric: "latency",
            space,
            failed: failed.iter().collect(),
            worked,
            example: example.unwrap_or_default(),
        };
        failures.check(allowed)
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
        let unconverged = count(&|m| usize::from(is_unconverged(m)));
        Some(MeasurementSection {
            device: device.clone(),
            planned,
            measured: self.networks.len(),
            failed: self.failures.len(),
            noise_floor: self.scale.drift.noise_floor(),
            reference: self.scale.reference,
            level: self.scale.level,
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

fn is_unconverged(measurement: &Measurement) -> bool {
    let mut warnings = measurement.warnings.iter();
    warnings.any(|w| matches!(w, Warning::NotConverged { .. }))
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
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

/// The draw that was measured at a place of the plan: the planned one, or the network that another version had planned
/// there.
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
