//! What raw latencies of a campaign are corrected by, and how well ms are known after that.

use blocklens_core::measurement::{Measurement, Sample};
use blocklens_core::report::{Level, Reference};
use blocklens_core::stats::drift::Drift;
use blocklens_core::stats::pace::PaceResponse;
use blocklens_core::stats::quantile;

use crate::store::Record;

/// The quantile of the sessions' paces that stands for the machine's fast pace.
const FAST: f64 = 0.05;
/// Of the same network and machine no better agreement between campaigns was seen than this, relative.
const BEST_LEVEL: f64 = 0.01;

/// What raw latencies of a campaign are corrected by.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The reference, in whose multiples latencies are counted; `None` where networks were timed alone.
    pub reference: Option<Reference>,
    /// How well ms are known; `None` where nothing tells.
    pub level: Option<Level>,
    /// By how much more than the reference large networks feel the machine's pace, where that is sure.
    response: Option<PaceResponse>,
    /// The drift that is left, from the sentinel.
    pub drift: Drift,
    /// Whether CPU time stands for the time of an inference: one thread computes, and the system tells.
    by_cpu: bool,
}

impl Scale {
    /// That of a campaign's records; `single_threaded` tells whether CPU time can be compared with wall time.
    #[must_use]
    pub fn of(records: &[Record], single_threaded: bool) -> Self {
        let sessions = records.iter().filter_map(|r| r.outcome.as_ref().ok());
        let sessions: Vec<&Measurement> = sessions.collect();
        let by_cpu = single_threaded && sessions.iter().all(|m| has_cpu(m));
        let reference = reference(&sessions, by_cpu);
        let sentinels = records.iter().filter(|r| r.plan_index.is_none());
        let sentinels: Vec<(f64, &Measurement)> = sentinels
            .filter_map(|r| Some((r.position as f64, r.outcome.as_ref().ok()?)))
            .collect();
        let mut scale = Self {
            reference,
            level: level(&sessions, by_cpu, reference.as_ref()),
            response: None,
            drift: Drift::estimate(&[]),
            by_cpu,
        };
        if let Some(mut reference) = reference {
            scale.response = scale.response(&sentinels, &reference);
            reference.response = scale.response.map(|r| r.exponent);
            scale.reference = Some(reference);
        }
        let readings = sentinels
            .iter()
            .map(|(position, m)| (*position, scale.undisturbed_ms(m)));
        scale.drift = Drift::estimate(&readings.collect::<Vec<_>>());
        scale
    }

    /// The latency in ms at the machine's undisturbed pace, as far as a reference tells.
    fn undisturbed_ms(&self, measurement: &Measurement) -> f64 {
        let paired = self.relative(measurement).zip(self.reference.as_ref());
        let Some((relative, reference)) = paired else {
            return self.alone_ms(measurement);
        };
        let response = self.response.zip(pace_ms(measurement, self.by_cpu));
        let factor = response.map_or(1.0, |(response, pace)| response.factor(pace, relative));
        relative / factor * reference.fast_ms
    }

    /// The latency of a network that was timed alone, in ms: CPU time where other work disturbed most samples.
    fn alone_ms(&self, measurement: &Measurement) -> f64 {
        let wall = measurement.summary.latency.get();
        match self.by_cpu && mostly_disturbed(measurement) {
            true => median_of(&measurement.samples, cpu_ms).unwrap_or(wall),
            false => wall,
        }
    }

    /// The multiple of the reference: of CPU times where other work disturbed most samples, since wall times then
    /// hold what the others did to the one and not to the other.
    fn relative(&self, measurement: &Measurement) -> Option<f64> {
        let relative = measurement.summary.relative?;
        if !self.by_cpu || !mostly_disturbed(measurement) {
            return Some(relative);
        }
        let around = measurement.reference.windows(2);
        let ratios = measurement.samples.iter().zip(around).filter_map(|(s, r)| {
            let base = (r[0].cpu_ms? + r[1].cpu_ms?) / 2.0;
            Some(s.cpu_ms? / base).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
        });
        quantile(&ratios.collect::<Vec<f64>>(), 0.5).or(Some(relative))
    }

    /// What the sentinel's sessions (position, measurement) say of how the pace is felt.
    fn response(
        &self,
        sentinels: &[(f64, &Measurement)],
        reference: &Reference,
    ) -> Option<PaceResponse> {
        let readings = sentinels
            .iter()
            .filter_map(|(_, m)| Some((pace_ms(m, self.by_cpu)?, self.relative(m)?)));
        PaceResponse::estimate(&readings.collect::<Vec<_>>(), reference.fast_ms)
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

/// Whether the CPU time of every inference is known.
fn has_cpu(measurement: &Measurement) -> bool {
    let mut all = measurement.samples.iter().chain(&measurement.reference);
    all.all(|sample| sample.cpu_ms.is_some_and(|ms| ms > 0.0))
}

fn mostly_disturbed(measurement: &Measurement) -> bool {
    let summary = &measurement.summary;
    2 * summary.set_aside > summary.samples || summary.fell_back()
}

fn wall_ms(sample: &Sample) -> Option<f64> {
    Some(sample.wall.get())
}

fn cpu_ms(sample: &Sample) -> Option<f64> {
    sample.cpu_ms
}

fn median_of(samples: &[Sample], of: fn(&Sample) -> Option<f64>) -> Option<f64> {
    let times: Option<Vec<f64>> = samples.iter().map(of).collect();
    quantile(&times?, 0.5)
}

/// The median time of the reference in a session, in ms; `None` where there was none.
fn pace_ms(measurement: &Measurement, by_cpu: bool) -> Option<f64> {
    median_of(
        &measurement.reference,
        if by_cpu { cpu_ms } else { wall_ms },
    )
}

/// What the sessions of a campaign say of their reference; `None` where none had one.
fn reference(sessions: &[&Measurement], by_cpu: bool) -> Option<Reference> {
    let medians: Vec<f64> = sessions.iter().filter_map(|m| pace_ms(m, by_cpu)).collect();
    Some(Reference {
        fast_ms: quantile(&medians, FAST)?,
        median_ms: quantile(&medians, 0.5)?,
        slow_ms: quantile(&medians, 0.95)?,
        response: None,
    })
}

/// How well ms are known.
///
/// Two campaigns on one machine agree as well as they find its fast pace. Half of the way from the median session to
/// the fast ones is taken for the standard deviation of that, and half of the way from CPU time to wall time, between
/// which the truth lies where other programs took part. Networks that were timed alone have their own spread for the
/// first.
fn level(sessions: &[&Measurement], by_cpu: bool, reference: Option<&Reference>) -> Option<Level> {
    let typical = by_cpu.then(|| typical_wall_over_cpu(sessions)).flatten();
    let fast = by_cpu.then(|| fast_wall_over_cpu(sessions)).flatten();
    let between = fast
        .or(typical)
        .map_or(0.0, |ratio| ratio.max(1.0).ln() / 2.0);
    let pace = reference.map(|r| (r.median_ms / r.fast_ms).ln() / 2.0);
    if pace.is_none() && between == 0.0 {
        return None;
    }
    Some(Level {
        wall_over_cpu: typical,
        fast_wall_over_cpu: fast,
        relative_error: BEST_LEVEL.hypot(pace.unwrap_or_default()).hypot(between),
    })
}

/// How many times as long the reference took as it computed, in its fast sessions by either clock.
fn fast_wall_over_cpu(sessions: &[&Measurement]) -> Option<f64> {
    let fast = |of: fn(&Sample) -> Option<f64>| {
        let medians = sessions.iter().filter_map(|m| median_of(&m.reference, of));
        quantile(&medians.collect::<Vec<f64>>(), FAST)
    };
    Some(fast(wall_ms)? / fast(cpu_ms)?)
}

/// How many times as long inferences took as they computed, in the typical session.
fn typical_wall_over_cpu(sessions: &[&Measurement]) -> Option<f64> {
    let ratios = sessions
        .iter()
        .filter_map(|m| Some(median_of(&m.samples, wall_ms)? / median_of(&m.samples, cpu_ms)?));
    quantile(&ratios.collect::<Vec<f64>>(), 0.5)
}

#[cfg(test)]
mod tests {
    use blocklens_core::measurement::{Phases, Warning, summarise_paired};
    use blocklens_core::units::Millis;

    use super::*;

    /// How much longer than it computes an inference takes: of the network and of the reference, by its number.
    type Load<'a> = &'a dyn Fn(usize) -> [f64; 2];

    fn sample(cpu: f64, load: f64) -> Sample {
        Sample {
            wall: Millis::new(cpu * load).unwrap(),
            cpu_ms: Some(cpu),
            preemptions: Some(u32::from(load > 1.01)),
        }
    }

    /// A session of a network that computes for `ms` beside a reference that computes for 10.
    fn session(position: u64, ms: f64, load: Load<'_>) -> Record {
        let reference: Vec<Sample> = (0..41).map(|i| sample(10.0, load(i)[1])).collect();
        let samples: Vec<Sample> = (0..40).map(|i| sample(ms, load(i)[0])).collect();
        let summary = summarise_paired(&samples, &reference, true).unwrap();
        let phases = Phases {
            build_ms: 0.0,
            prepare_ms: 0.0,
            first_ms: 0.0,
            warm_up_ms: 0.0,
            warm_up_runs: 0,
            reference_ms: 0.0,
        };
        Record {
            position,
            attempt: 0,
            plan_index: (!position.is_multiple_of(6)).then_some(position),
            arch: String::new(),
            outcome: Ok(Measurement {
                samples,
                reference,
                summary,
                phases,
                warnings: Vec::new(),
                model_hash: String::new(),
            }),
        }
    }

    fn campaign(load: Load<'_>) -> Vec<Record> {
        (0..30).map(|i| session(i, 20.0 + i as f64, load)).collect()
    }

    /// The largest error of the corrected latencies, relative.
    fn worst(scale: &Scale, records: &[Record]) -> f64 {
        let errors = records.iter().map(|r| {
            let truth = 20.0 + r.position as f64;
            let found = scale.undisturbed_ms(r.outcome.as_ref().unwrap());
            (found / truth - 1.0).abs()
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn a_quiet_machine_is_known_as_well_as_machines_are() {
        let records = campaign(&|_| [1.003, 1.003]);
        let scale = Scale::of(&records, true);
        let level = scale.level.unwrap();
        assert!(worst(&scale, &records) < 0.005);
        assert!(
            level.relative_error < 0.011 && level.doubt().is_none(),
            "{level:?}"
        );
    }

    /// Other programs take part in every inference, and more so in long ones: CPU time tells what wall time cannot.
    #[test]
    fn cpu_time_stands_in_where_other_programs_take_part() {
        let records = campaign(&|i| [1.5 + (i % 3) as f64 / 9.0, 1.3 + (i % 2) as f64 / 9.0]);
        let scale = Scale::of(&records, true);
        assert!(worst(&scale, &records) < 1e-9);
        let level = scale.level.unwrap();
        assert!(
            matches!(level.doubt(), Some(Warning::LevelUnknown { .. })),
            "{level:?}"
        );
        // From CPU time to wall time at the reference's fast pace it is two standard deviations.
        assert!(
            (2.0 * level.relative_error - 1.3_f64.ln()).abs() < 0.01,
            "{level:?}"
        );
        // Without it nothing can be told.
        let by_wall = Scale::of(&records, false);
        assert!(worst(&by_wall, &records) > 0.3);
        assert_eq!(by_wall.level.and_then(|l| l.doubt()), None);
    }

    /// A part of the time is enough to know the level, and not for the rest to pass unnoticed.
    #[test]
    fn load_in_most_sessions_is_told_where_the_level_is_known() {
        let quiet = |position: u64| position.is_multiple_of(4);
        let records: Vec<Record> = (0..30)
            .map(|i| match quiet(i) {
                true => session(i, 20.0 + i as f64, &|_| [1.0, 1.0]),
                false => session(i, 20.0 + i as f64, &|_| [1.6, 1.4]),
            })
            .collect();
        let scale = Scale::of(&records, true);
        assert!(worst(&scale, &records) < 1e-9);
        let doubt = scale.level.unwrap().doubt();
        assert!(matches!(doubt, Some(Warning::Shared { .. })), "{doubt:?}");
    }
}
