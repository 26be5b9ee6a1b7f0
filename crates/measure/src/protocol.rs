//! The measuring protocol: warm up until stationary, then sample until the median is known.

use std::time::{Duration, Instant};

use blocklens_core::measurement::{Failure, Sample, Summary, Warning, summarise, summarise_paired};
use blocklens_core::units::Millis;
use serde::{Deserialize, Serialize};

use crate::engine::{Session, Timing};

/// How long to warm up and to sample. Part of a campaign's identity: campaigns with different
/// settings are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Fewest warm-up inferences after the first one.
    pub warm_up_runs: usize,
    /// Shortest warm-up, in seconds of inference, the reference's included.
    pub warm_up_s: f64,
    /// Longest warm-up, in seconds of inference, if times do not become stationary before.
    pub max_warm_up_s: f64,
    /// Fewest samples.
    pub min_samples: usize,
    /// Most samples.
    pub max_samples: usize,
    /// Most seconds of sampling, once `min_samples` are there.
    pub max_s: f64,
    /// Wanted half-width of the median's 95 % interval, relative to the median.
    pub target_half_width: f64,
    /// Whether every inference is followed by one of a reference network, in whose multiples latencies are then
    /// counted: what the machine does to both is no difference between networks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paired: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            // Two windows of the stationarity check.
            warm_up_runs: 2 * WINDOW,
            // Long enough for a clock that sleeps between sessions to reach its working frequency.
            warm_up_s: 0.1,
            max_warm_up_s: 1.0,
            // The order-statistic interval of 15 samples leaves out the three outermost on each side.
            min_samples: 15,
            max_samples: 100,
            max_s: 1.0,
            target_half_width: 0.01,
            paired: false,
        }
    }
}

/// Inferences in one window of the stationarity check.
const WINDOW: usize = 3;
/// Warm-up ends when the newest window's median is within this of the one before.
const STATIONARY: f64 = 0.02;
/// Share of disturbed samples above which a measurement is marked as doubtful.
const DISTURBED_SHARE: f64 = 0.25;

/// What a session gave: the steady state and the time before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The first inference, in ms.
    pub first_ms: f64,
    /// Warm-up after the first inference.
    pub warm_up: WarmUp,
    /// Samples of the steady state.
    pub samples: Vec<Sample>,
    /// Inferences of the reference: one before each sample and one after the last; empty without one.
    pub reference: Vec<Sample>,
    /// The samples' summary.
    pub summary: Summary,
    /// Doubts.
    pub warnings: Vec<Warning>,
}

/// What warmed up before samples were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WarmUp {
    /// Inferences of the network.
    pub runs: usize,
    /// Their time in ms.
    pub total_ms: f64,
    /// The time of the reference's between them, in ms.
    pub reference_ms: f64,
}

/// A prepared session, and that of the reference with which it takes turns.
pub struct Turns<'a> {
    /// What is timed.
    pub session: &'a mut dyn Session,
    /// The reference; `None` where the network is timed alone.
    pub reference: Option<&'a mut dyn Session>,
}

impl Turns<'_> {
    /// The next inference of the reference, where there is one.
    fn reference(&mut self) -> Result<Option<Sample>, Failure> {
        match &mut self.reference {
            Some(session) => timed_run(*session).map(Some),
            None => Ok(None),
        }
    }
}

/// Runs the protocol on a prepared session.
///
/// # Errors
/// A typed [`Failure`] when the engine fails, a time is not a time, or the output is not finite.
pub fn time_session(
    mut turns: Turns<'_>,
    protocol: &Protocol,
    single_threaded: bool,
) -> Result<Timed, Failure> {
    let first = timed_run(turns.session)?;
    if !turns.session.output().iter().all(|x| x.is_finite()) {
        return Err(Failure::NotFinite);
    }
    let mut warnings = Vec::new();
    let warm_up = warm_up(&mut turns, protocol, &mut warnings)?;
    let Samples {
        of_network: samples,
        of_reference: reference,
    } = sample(&mut turns, protocol, single_threaded)?;
    let no_samples = || Failure::BadTime {
        message: "no samples were taken".into(),
    };
    let summary = summary(&samples, &reference, single_threaded).ok_or_else(no_samples)?;
    if summary.median_half_width > protocol.target_half_width {
        warnings.push(Warning::NotConverged {
            half_width: summary.median_half_width,
            target: protocol.target_half_width,
        });
    }
    let share = summary.set_aside as f64 / summary.samples as f64;
    if share > DISTURBED_SHARE {
        warnings.push(Warning::Disturbed { share });
    }
    Ok(Timed {
        first_ms: first.wall.get(),
        warm_up,
        samples,
        reference,
        summary,
        warnings,
    })
}

fn summary(samples: &[Sample], reference: &[Sample], single_threaded: bool) -> Option<Summary> {
    if reference.is_empty() {
        summarise(samples, single_threaded)
    } else {
        summarise_paired(samples, reference, single_threaded)
    }
}

fn timed_run(session: &mut dyn Session) -> Result<Sample, Failure> {
    let timing = session.run()?;
    to_sample(timing)
}

fn to_sample(timing: Timing) -> Result<Sample, Failure> {
    let wall = Millis::try_from(timing.wall).map_err(|e| Failure::BadTime {
        message: e.to_string(),
    })?;
    Ok(Sample {
        wall,
        cpu_ms: timing.cpu.map(|d| d.as_secs_f64() * 1e3),
        preemptions: timing.preemptions,
    })
}

fn warm_up(
    turns: &mut Turns<'_>,
    protocol: &Protocol,
    warnings: &mut Vec<Warning>,
) -> Result<WarmUp, Failure> {
    let mut times = Vec::new();
    let mut done = WarmUp::default();
    loop {
        let spent_s = (done.total_ms + done.reference_ms) / 1e3;
        let enough = done.runs >= protocol.warm_up_runs && spent_s >= protocol.warm_up_s;
        if enough && stationary(&times) {
            break;
        }
        if enough && spent_s >= protocol.max_warm_up_s {
            warnings.push(Warning::NotStationary);
            break;
        }
        let reference = turns.reference()?;
        let ms = timed_run(turns.session)?.wall.get();
        times.push(ms);
        done.runs += 1;
        done.total_ms += ms;
        done.reference_ms += reference.map_or(0.0, |r| r.wall.get());
    }
    Ok(done)
}

/// Whether the newest window is no faster than the one before, up to [`STATIONARY`]. Only
/// getting faster means that warm-up is still at work; a slower window is noise.
fn stationary(times: &[f64]) -> bool {
    let [.., a, b, c, d, e, f] = *times else {
        return times.is_empty();
    };
    middle(d, e, f) >= (1.0 - STATIONARY) * middle(a, b, c)
}

fn middle(a: f64, b: f64, c: f64) -> f64 {
    a.max(b).min(a.min(b).max(c))
}

/// What was timed in the steady state.
struct Samples {
    of_network: Vec<Sample>,
    /// One before each of the network and one after the last; empty without a reference.
    of_reference: Vec<Sample>,
}

fn sample(
    turns: &mut Turns<'_>,
    protocol: &Protocol,
    single_threaded: bool,
) -> Result<Samples, Failure> {
    let mut samples = Samples {
        of_network: Vec::with_capacity(protocol.max_samples),
        of_reference: Vec::new(),
    };
    samples.of_reference.extend(turns.reference()?);
    let mut spent_s = 0.0;
    while samples.of_network.len() < protocol.max_samples {
        if samples.of_network.len() >= protocol.min_samples {
            let converged = summary(&samples.of_network, &samples.of_reference, single_threaded)
                .is_some_and(|s| s.median_half_width <= protocol.target_half_width);
            if converged || spent_s >= protocol.max_s {
                break;
            }
        }
        let taken = timed_run(turns.session)?;
        let reference = turns.reference()?;
        spent_s += taken.wall.get() / 1e3;
        spent_s += reference.map_or(0.0, |r| r.wall.get() / 1e3);
        samples.of_network.push(taken);
        samples.of_reference.extend(reference);
    }
    Ok(samples)
}

/// The smallest step of the monotonic clock that was seen, in ns.
#[must_use]
pub fn clock_resolution_ns() -> f64 {
    let step = || {
        let start = Instant::now();
        loop {
            let passed = start.elapsed();
            if passed > Duration::ZERO {
                return passed;
            }
        }
    };
    (0..100)
        .map(|_| step())
        .min()
        .map_or(f64::NAN, |d| d.as_secs_f64() * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;

    /// A session that follows a script of times in ms, then repeats the last one.
    struct Scripted {
        times: Vec<f64>,
        at: usize,
        output: Vec<f32>,
    }

    impl Scripted {
        fn new(times: &[f64]) -> Self {
            Self {
                times: times.to_vec(),
                at: 0,
                output: vec![1.0],
            }
        }
    }

    impl Session for Scripted {
        fn run(&mut self) -> Result<Timing, EngineError> {
            let ms = self.times[self.at.min(self.times.len() - 1)];
            self.at += 1;
            let wall = Duration::from_secs_f64(ms / 1e3);
            Ok(Timing {
                wall,
                cpu: Some(wall),
                preemptions: Some(0),
            })
        }
        fn output(&self) -> &[f32] {
            &self.output
        }
        fn infer(&mut self, _input: &[f32]) -> Result<Vec<f32>, EngineError> {
            Ok(self.output.clone())
        }
    }

    fn time_alone(session: &mut Scripted) -> Result<Timed, Failure> {
        let turns = Turns {
            session,
            reference: None,
        };
        time_session(turns, &Protocol::default(), true)
    }

    #[test]
    fn steady_times_need_the_fewest_samples() {
        let timed = time_alone(&mut Scripted::new(&[100.0, 20.0])).unwrap();
        assert_eq!(timed.first_ms, 100.0);
        assert_eq!(timed.warm_up.runs, 6);
        assert_eq!(timed.summary.samples, Protocol::default().min_samples);
        assert_eq!(timed.summary.latency.get(), 20.0);
        assert!(timed.warnings.is_empty());
    }

    #[test]
    fn warm_up_goes_on_while_times_fall() {
        let falling: Vec<f64> = (0..14).map(|i| 40.0 - 2.0 * f64::from(i)).collect();
        let timed = time_alone(&mut Scripted::new(&falling)).unwrap();
        assert!(timed.warm_up.runs >= 15, "{}", timed.warm_up.runs);
        assert_eq!(timed.summary.min.get(), 14.0);
        assert_eq!(timed.summary.p99.get(), 14.0);
    }

    #[test]
    fn what_does_not_converge_is_marked() {
        let noisy: Vec<f64> = (0..500)
            .map(|i| if i % 2 == 0 { 10.0 } else { 15.0 })
            .collect();
        let timed = time_alone(&mut Scripted::new(&noisy)).unwrap();
        assert!(
            timed
                .warnings
                .iter()
                .any(|w| matches!(w, Warning::NotConverged { .. }))
        );
        assert!(timed.summary.samples >= 50);
    }

    #[test]
    fn zero_times_and_bad_outputs_are_failures() {
        let failure = time_alone(&mut Scripted::new(&[0.0])).unwrap_err();
        assert_eq!(failure.kind(), "bad-time");
        let mut session = Scripted::new(&[1.0]);
        session.output = vec![f32::NAN];
        assert_eq!(time_alone(&mut session), Err(Failure::NotFinite));
    }

    /// A machine that changes its pace every five inferences: alone, the median is not known; in turn with a reference
    /// it is at once, and nothing of the pace is left in it.
    #[test]
    fn turns_with_a_reference_take_out_the_machines_pace() {
        let at = |ms: f64| -> Vec<f64> {
            let pace = |i: usize| if (i / 5).is_multiple_of(2) { 1.0 } else { 1.6 };
            (0..400).map(|i| ms * pace(i)).collect()
        };
        let alone = time_alone(&mut Scripted::new(&at(10.0))).unwrap();
        assert!(!alone.warnings.is_empty() && alone.reference.is_empty());
        // The very first inference is the network's.
        let first_then = [vec![10.0], at(10.0)].concat();
        let (mut session, mut reference) = (Scripted::new(&first_then), Scripted::new(&at(4.0)));
        let turns = Turns {
            session: &mut session,
            reference: Some(&mut reference),
        };
        let paired = time_session(turns, &Protocol::default(), true).unwrap();
        assert!(paired.warnings.is_empty(), "{:?}", paired.warnings);
        assert_eq!(paired.samples.len() + 1, paired.reference.len());
        assert!((paired.summary.relative.unwrap() - 2.5).abs() < 0.01);
    }
}
