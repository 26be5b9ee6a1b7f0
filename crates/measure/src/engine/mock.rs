//! `mock`: a device that exists only as a formula.
//!
//! Its latency is [`SimulatedDevice`]'s, times drift, times noise, in virtual time: a campaign of hours
//! takes seconds, and repeats to the last bit for the same seed. Crashes, hangs and exhausted memory are
//! real, so that whatever must survive them can be tested. Its true effects are known, so it tests the
//! statistics too.

use std::f64::consts::TAU;
use std::thread;
use std::time::Duration;

use blocklens_core::model::ModelFormat;
use blocklens_core::network::Network;
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::surrogate::SimulatedDevice;
use rand::RngExt;

use super::artefact::{Artefact, Input, SentFile, Values};
use super::{
    Availability, Engine, EngineError, EngineOptions, EngineSpecError, Executor, Kind, LoadOptions,
    Session, Simulation, Timing, check_input, check_threads,
};

/// How the simulated device misbehaves. Written `mock:noise=0.02,crash=0.01`.
#[derive(Clone, Debug, PartialEq)]
pub struct MockSettings {
    /// `noise`: relative standard deviation from session to session. Samples of one session spread
    /// half as much around it.
    pub noise: f64,
    /// `drift`: relative slowing-down per 100 sessions, with a slow wave of a quarter of it on top, so that
    /// no straight line corrects it.
    pub drift: f64,
    /// `neighbour`: how much longer inferences take while another tenant of the machine computes, relative. It comes
    /// and goes every few dozen inferences, for all networks of a session together.
    pub neighbour: f64,
    /// `contention`: how much more the neighbour slows down large networks than small ones: what it does is raised to
    /// the power of 1 plus so much for every factor e by which a network takes longer than 1 ms.
    pub contention: f64,
    /// `heavy`: probability that a sample takes up to several times as long. Half of these are
    /// marked as preempted, as a scheduler's would be.
    pub heavy: f64,
    /// `warm-up`: how much longer the first inference takes, relative; every further one halves it.
    pub warm_up: f64,
    /// `interaction`: extra cost of a layer that repeats the block before it, relative.
    pub interaction: f64,
    /// `large-kernels`: extra cost of depthwise convolutions of 7x7 and larger, relative: another device's taste.
    pub large_kernels: f64,
    /// `crash`: probability that the process aborts.
    pub crash: f64,
    /// `hang`: probability that an inference never ends.
    pub hang: f64,
    /// `oom`: probability that memory runs out, which aborts the process with the message of a failed
    /// allocation.
    pub oom: f64,
    /// `nan`: probability that the output holds NaN.
    pub nan: f64,
    /// `error`: probability of an engine error.
    pub error: f64,
    /// `delay-ms`: time that every inference really takes, in ms; the time that it reports stays the
    /// formula's.
    pub delay_ms: f64,
}

impl Default for MockSettings {
    /// 1 % noise and no mishaps.
    fn default() -> Self {
        Self {
            noise: 0.01,
            drift: 0.0,
            neighbour: 0.0,
            contention: 0.0,
            heavy: 0.0,
            warm_up: 0.0,
            interaction: 0.0,
            large_kernels: 0.0,
            crash: 0.0,
            hang: 0.0,
            oom: 0.0,
            nan: 0.0,
            error: 0.0,
            delay_ms: 0.0,
        }
    }
}

/// What a key accepts.
#[derive(Clone, Copy)]
enum Range {
    Probability,
    /// 0 to 1, but not a probability.
    Relative,
    /// -1 to 1.
    Signed,
    /// 0 to 10.
    Factor,
    /// 0 to one hour.
    DelayMs,
}

impl Range {
    fn contains(self, x: f64) -> bool {
        match self {
            Range::Probability | Range::Relative => (0.0..=1.0).contains(&x),
            Range::Signed => (-1.0..=1.0).contains(&x),
            Range::Factor => (0.0..=10.0).contains(&x),
            Range::DelayMs => (0.0..=3_600_000.0).contains(&x),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Range::Probability => "it is a probability from 0 to 1",
            Range::Relative => "it is a share from 0 to 1, such as 0.02 for 2 %",
            Range::Signed => "it is a share from -1 to 1, such as 0.05 for 5 % per 100 sessions",
            Range::Factor => "it is a number from 0 to 10",
            Range::DelayMs => "it is a time in ms, at most one hour",
        }
    }
}

/// A key of the text form: its name, its range, and where its value goes.
type Key = (&'static str, Range, fn(&mut MockSettings) -> &mut f64);

const KEYS: [Key; 14] = [
    ("noise", Range::Relative, |s| &mut s.noise),
    ("drift", Range::Signed, |s| &mut s.drift),
    ("neighbour", Range::Factor, |s| &mut s.neighbour),
    ("contention", Range::Relative, |s| &mut s.contention),
    ("heavy", Range::Probability, |s| &mut s.heavy),
    ("warm-up", Range::Factor, |s| &mut s.warm_up),
    ("interaction", Range::Factor, |s| &mut s.interaction),
    ("large-kernels", Range::Factor, |s| &mut s.large_kernels),
    ("crash", Range::Probability, |s| &mut s.crash),
    ("hang", Range::Probability, |s| &mut s.hang),
    ("oom", Range::Probability, |s| &mut s.oom),
    ("nan", Range::Probability, |s| &mut s.nan),
    ("error", Range::Probability, |s| &mut s.error),
    ("delay-ms", Range::DelayMs, |s| &mut s.delay_ms),
];

/// The keys of the text form, for error messages.
pub(super) fn known_keys() -> String {
    KEYS.map(|(name, ..)| name).join(", ")
}

impl MockSettings {
    /// Reads `key=value,key=value`; what is not named keeps its default.
    ///
    /// # Errors
    /// [`EngineSpecError`] for an unknown key (with the list of those known) or a value out of range.
    pub fn parse(text: &str) -> Result<Self, EngineSpecError> {
        let mut settings = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, range, field) = KEYS
                .into_iter()
                .find(|(key, ..)| *key == name.trim())
                .ok_or_else(|| EngineSpecError::MockKey {
                    key: name.trim().to_owned(),
                })?;
            *field(&mut settings) = value
                .trim()
                .parse()
                .ok()
                .filter(|&x| range.contains(x))
                .ok_or_else(|| EngineSpecError::MockValue {
                    key,
                    value: value.trim().to_owned(),
                    expected: range.expected(),
                })?;
        }
        Ok(settings)
    }
}

/// The mock engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Mock {
    settings: MockSettings,
}

impl Mock {
    /// A mock with these settings.
    #[must_use]
    pub fn new(settings: MockSettings) -> Self {
        Self { settings }
    }

    /// The latency of a network in ms without drift and noise: the truth that a profile should find.
    #[must_use]
    pub fn true_latency_ms(&self, network: &Network) -> f64 {
        let device = SimulatedDevice {
            interaction: self.settings.interaction,
            large_kernels: self.settings.large_kernels,
        };
        device.latency_ms(network)
    }

    /// The same of a network that came as a file.
    fn latency_ms(&self, simulation: &Simulation) -> f64 {
        let MockSettings {
            interaction,
            large_kernels,
            ..
        } = self.settings;
        simulation.latency_ms
            + interaction * simulation.interaction_ms
            + large_kernels * simulation.large_kernels_ms
            + interaction * large_kernels * simulation.both_ms
    }

    /// By how much the device is slower at this position of a campaign than at its start.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn drift_at(&self, position: u64) -> f64 {
        let position = position as f64;
        let wave = 0.25 * (TAU * position / WAVE_SESSIONS).sin();
        (1.0 + self.settings.drift * (position / 100.0 + wave)).max(SLOWEST_DRIFT)
    }
}

/// Sessions in one wave of the drift.
const WAVE_SESSIONS: f64 = 40.0;
/// A device that gets faster does not get faster than this factor.
const SLOWEST_DRIFT: f64 = 0.1;
/// How much samples spread within a session, relative to how sessions spread.
const SAMPLE_NOISE: f64 = 0.5;

/// What goes wrong in a session, decided before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Crash,
    Hang,
    OutOfMemory,
    NotANumber,
    Error,
}

impl MockSettings {
    /// Decides by seed and attempt alone. One draw per kind, so that raising one probability does not
    /// change which sessions suffer from another.
    fn mishap(&self, seed: Seed) -> Option<Mishap> {
        [
            ("crash", self.crash, Mishap::Crash),
            ("hang", self.hang, Mishap::Hang),
            ("oom", self.oom, Mishap::OutOfMemory),
            ("nan", self.nan, Mishap::NotANumber),
            ("error", self.error, Mishap::Error),
        ]
        .into_iter()
        .find(|&(label, probability, _)| unit(&mut seed.stream(label).rng()) < probability)
        .map(|(.., mishap)| mishap)
    }
}

impl Engine for Mock {
    fn name(&self) -> &str {
        NAME
    }

    fn availability(&self) -> Availability {
        Availability::Available {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            detail: "a simulated device: a formula with seeded noise, not a measurement".to_owned(),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Simulated
    }

    fn takes_graphs(&self) -> bool {
        false
    }

    /// None: its formula is about the operators of networks that it can see.
    fn formats(&self) -> Vec<ModelFormat> {
        Vec::new()
    }

    /// Threads do not change the simulated times.
    fn prepare(
        &self,
        artefact: &Artefact<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        check_threads(NAME, options.threads)?;
        let failed = |message: &str| EngineError::Prepare {
            engine: NAME.into(),
            message: message.to_owned(),
        };
        let (simulation, input, outputs) = match artefact {
            Artefact::Network { network, .. } => (
                Simulation::new(network, options),
                super::input(network, options.seed),
                super::artefact::outputs(network),
            ),
            Artefact::File(file) => {
                return Err(EngineError::Format {
                    engine: NAME.into(),
                    format: file.format,
                    takes: self.formats(),
                });
            }
            Artefact::Sent(sent) => sent_to(sent).map_err(failed)?,
        };
        let seed = simulation.seed.stream("mock");
        let seed = seed.index(u64::from(simulation.attempt));
        let mishap = self.settings.mishap(seed);
        if mishap == Some(Mishap::Error) {
            return Err(failed("simulated error"));
        }
        let session_noise = noise(self.settings.noise, &mut seed.stream("session").rng());
        Ok(Box::new(MockSession {
            settings: self.settings.clone(),
            steady_ms: self.latency_ms(&simulation)
                * self.drift_at(simulation.position)
                * session_noise,
            mishap,
            rng: seed.stream("samples").rng(),
            // The same for whatever runs beside this session, so it cannot come from the session's own seed.
            neighbour: Neighbour::new(simulation.position, simulation.attempt),
            transient: self.settings.warm_up,
            input,
            outputs,
            output: Vec::new(),
        }))
    }

    fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn Executor>, EngineError> {
        Err(EngineError::NoGraphs {
            engine: NAME.into(),
        })
    }
}

/// What is known of a network that came as a file.
fn sent_to(sent: &SentFile<'_>) -> Result<(Simulation, Vec<f32>, usize), &'static str> {
    let simulation = sent
        .simulation
        .ok_or("a formula is about a graph, and this is a file without `simulation`")?;
    match (sent.inputs.as_slice(), sent.outputs) {
        (
            [
                Input {
                    values: Values::Float32(input),
                    ..
                },
            ],
            Some(outputs),
        ) => Ok((simulation, input.clone(), outputs)),
        _ => Err("a network of a space has one input of float32 numbers, and `outputs`"),
    }
}

const NAME: &str = "mock";

/// A session of the simulated device.
struct MockSession {
    settings: MockSettings,
    /// Latency in ms before warm-up and sample noise.
    steady_ms: f64,
    mishap: Option<Mishap>,
    rng: Rng,
    neighbour: Neighbour,
    /// What warm-up still adds, relative.
    transient: f64,
    input: Vec<f32>,
    outputs: usize,
    output: Vec<f32>,
}

/// Another tenant of the simulated machine: computes at some inferences of a session, and not at others.
struct Neighbour {
    rng: Rng,
    computes: bool,
}

impl Neighbour {
    /// Probability that it begins or ends at an inference.
    const CHANGES: f64 = 1.0 / 40.0;

    fn new(position: u64, attempt: u32) -> Self {
        let seed = Seed(0).stream("neighbour").index(position);
        let mut rng = seed.index(u64::from(attempt)).rng();
        let computes = unit(&mut rng) < 0.5;
        Self { rng, computes }
    }

    /// 1 where it computes at the next inference, else 0.
    fn next_load(&mut self) -> f64 {
        self.computes ^= unit(&mut self.rng) < Self::CHANGES;
        f64::from(u8::from(self.computes))
    }
}

impl Session for MockSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        suffer(self.mishap);
        thread::sleep(Duration::from_secs_f64(self.settings.delay_ms / 1e3));
        self.output = self.logits(&self.input);
        Ok(self.sample())
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        check_input(NAME, self.input.len(), input)?;
        suffer(self.mishap);
        Ok(self.logits(input))
    }
}

impl MockSession {
    /// Draws the time of one inference. CPU time leaves out what a preemption added.
    fn sample(&mut self) -> Timing {
        let undisturbed = self.steady_ms
            * noise(SAMPLE_NOISE * self.settings.noise, &mut self.rng)
            * (1.0 + self.transient)
            * self.slowed_by_neighbour();
        self.transient *= 0.5;
        // Always three draws, so that the noise of later samples does not depend on earlier tails.
        let [is_heavy, is_preempted, length] = [(); 3].map(|()| unit(&mut self.rng));
        let is_heavy = is_heavy < self.settings.heavy;
        let is_preempted = is_heavy && is_preempted < 0.5;
        let factor = if is_heavy {
            1.1 - (1.0 - length).ln()
        } else {
            1.0
        };
        let wall_ms = undisturbed * factor;
        let cpu_ms = if is_preempted { undisturbed } else { wall_ms };
        Timing {
            wall: Duration::from_secs_f64(wall_ms / 1e3),
            cpu: Some(Duration::from_secs_f64(cpu_ms / 1e3)),
            preemptions: Some(u32::from(is_preempted)),
        }
    }

    /// By which factor the neighbour slows down the next inference.
    fn slowed_by_neighbour(&mut self) -> f64 {
        let small = 1.0 + self.settings.neighbour * self.neighbour.next_load();
        let power = 1.0 + self.settings.contention * self.steady_ms.max(1.0).ln();
        small.powf(power)
    }

    /// Numbers that depend on the input and nothing else.
    fn logits(&self, input: &[f32]) -> Vec<f32> {
        if self.mishap == Some(Mishap::NotANumber) {
            return vec![f32::NAN; self.outputs];
        }
        let digest = input.iter().fold(Seed(0), |digest, x| {
            Seed(digest.0.rotate_left(5) ^ u64::from(x.to_bits()))
        });
        let mut rng = digest.stream("logits").rng();
        (0..self.outputs)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect()
    }
}

/// Lets the process die or hang, for real.
fn suffer(mishap: Option<Mishap>) {
    match mishap {
        Some(Mishap::Crash) => {
            eprintln!("mock: simulated crash");
            std::process::abort();
        }
        Some(Mishap::OutOfMemory) => {
            // The words of Rust's own allocation failure, which ends in an abort too.
            eprintln!("memory allocation of 1099511627776 bytes failed");
            std::process::abort();
        }
        Some(Mishap::Hang) => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Some(Mishap::NotANumber | Mishap::Error) | None => {}
    }
}

/// A number from [0, 1).
fn unit(rng: &mut Rng) -> f64 {
    rng.random_range(0.0..1.0)
}

/// A log-normal factor with mean 1 and this relative standard deviation.
fn noise(relative_sd: f64, rng: &mut Rng) -> f64 {
    let variance = relative_sd.mul_add(relative_sd, 1.0).ln();
    (variance.sqrt() * standard_normal(rng) - variance / 2.0).exp()
}

/// Box and Muller's transform, one of the pair.
fn standard_normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (TAU * unit(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use blocklens_core::network::Weights;
    use blocklens_core::space::DesignSpace;

    fn network() -> Network {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        space.network(&space.smallest(128).unwrap())
    }

    fn sessions(spec: &str, n: u64, position: fn(u64) -> u64) -> Vec<Box<dyn Session>> {
        let mock = Mock::new(MockSettings::parse(spec).unwrap());
        let network = network();
        let weights = Weights::random(&network, Seed(0));
        let model = Artefact::Network {
            network: &network,
            weights: &weights,
        };
        (0..n)
            .map(|i| EngineOptions {
                position: position(i),
                ..EngineOptions::new(Seed(1).index(i))
            })
            .map(|options| mock.prepare(&model, &options).unwrap())
            .collect()
    }

    fn ms(timing: Timing) -> f64 {
        timing.wall.as_secs_f64() * 1e3
    }

    fn mean_sd(x: &[f64]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance.sqrt())
    }

    #[test]
    fn noise_has_the_size_asked_for_within_and_between_sessions() {
        let truth = Mock::new(MockSettings::default()).true_latency_ms(&network());
        let means: Vec<f64> = sessions("noise=0.04", 400, |_| 0)
            .iter_mut()
            .map(|session| {
                let samples: Vec<f64> = (0..100).map(|_| ms(session.run().unwrap())).collect();
                let (mean, sd) = mean_sd(&samples);
                assert!((0.012..0.03).contains(&(sd / mean)), "{sd}");
                mean
            })
            .collect();
        let (mean, sd) = mean_sd(&means);
        assert!((mean / truth - 1.0).abs() < 0.006, "{mean} {truth}");
        assert!((sd / truth - 0.04).abs() < 0.005, "{sd}");
    }

    #[test]
    fn drift_follows_the_position() {
        let mut times: Vec<f64> = sessions("noise=0,drift=0.05", 3, |i| i * 200)
            .iter_mut()
            .map(|session| ms(session.run().unwrap()))
            .collect();
        let first = times.remove(0);
        for (time, expected) in times.into_iter().zip([1.1, 1.2]) {
            assert!((time / first - expected).abs() < 1e-4, "{time} {first}");
        }
    }

    #[test]
    fn a_session_repeats_exactly() {
        let all = || -> Vec<Timing> {
            sessions("noise=0.02,drift=0.1,heavy=0.2", 5, |i| i)
                .iter_mut()
                .flat_map(|session| [(); 20].map(|()| session.run().unwrap()))
                .collect()
        };
        assert_eq!(all(), all());
    }

    #[test]
    fn warm_up_fades_and_preempted_samples_show() {
        let mut session = sessions("noise=0,warm-up=0.5", 1, |_| 0).remove(0);
        let first = ms(session.run().unwrap());
        let later = [(); 30].map(|()| ms(session.run().unwrap()))[29];
        assert!((first / later - 1.5).abs() < 1e-4);

        let mut session = sessions("heavy=0.3,noise=0.001", 1, |_| 0).remove(0);
        let samples: Vec<Timing> = (0..1000).map(|_| session.run().unwrap()).collect();
        let preempted = samples.iter().filter(|s| s.preemptions == Some(1)).count();
        assert!((100..200).contains(&preempted), "{preempted}");
        assert!(
            samples
                .iter()
                .all(|s| (s.cpu < Some(s.wall)) == (s.preemptions == Some(1)))
        );
    }

    #[test]
    fn mishaps_have_the_probability_asked_for_and_depend_on_the_attempt() {
        let settings = MockSettings::parse("crash=0.1,nan=0.2").unwrap();
        let decide = |attempt: u64| -> Vec<Option<Mishap>> {
            (0..2000)
                .map(|i| settings.mishap(Seed(3).index(i).stream("mock").index(attempt)))
                .collect()
        };
        let first = decide(0);
        assert_eq!(first, decide(0));
        assert_ne!(first, decide(1));
        let count = |mishap| first.iter().filter(|m| **m == Some(mishap)).count();
        assert!((150..250).contains(&count(Mishap::Crash)));
        assert!((300..420).contains(&count(Mishap::NotANumber)));
    }

    #[test]
    fn bad_settings_name_the_key_and_what_is_known() {
        let error = |text: &str| MockSettings::parse(text).unwrap_err().to_string();
        assert!(error("nosie=0.1").contains("no option `nosie`; its options are noise, drift"));
        assert!(error("noise=-1").contains("`noise` cannot be `-1`"));
        assert!(error("crash").contains("a probability from 0 to 1"));
        assert!(error("noise=nan").contains("`nan`"));
        assert_eq!(MockSettings::parse(" ").unwrap(), MockSettings::default());
        let settings = MockSettings::parse("noise = 0.5, delay-ms=3").unwrap();
        assert_eq!((settings.noise, settings.delay_ms), (0.5, 3.0));
    }
}
