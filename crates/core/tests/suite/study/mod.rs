//! A simulated device with known true effects, and campaigns on it.
#![allow(dead_code)] // not every study uses everything

pub mod claims;

use blocklens_core::metric::{Direction, MetricInfo, Origin};
use blocklens_core::profile::{
    Estimate, Estimator, Layout, Means, MetricProfile, Observation, Uncertainty, exact_means,
};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace, UnitChoice};
use blocklens_core::surrogate::SimulatedDevice;
use rand::RngExt;

pub const RESOLUTION: u32 = 224;

/// What many campaigns of one kind came to.
#[derive(Default)]
pub struct Outcome {
    /// Root mean square error of the 180 effects, in ms.
    pub rmse: f64,
    /// Correlation of estimated with true effects.
    pub pearson: f64,
    /// Share of the 95 % intervals that hold the truth.
    pub coverage: f64,
    /// The same for effects averaged over placements (tables and their margins, whole network and per unit).
    pub averages_coverage: f64,
}

/// A simulated device, its true effects, and the time of every configuration of every unit.
pub struct Study {
    space: DesignSpace,
    truth: Means,
    device: SimulatedDevice,
    noise: f64,
}

impl Study {
    pub fn new(interaction: f64, noise: f64) -> Self {
        let device = SimulatedDevice {
            interaction,
            ..SimulatedDevice::default()
        };
        Self::of(device, noise)
    }

    pub fn of(device: SimulatedDevice, noise: f64) -> Self {
        let space = DesignSpace::builtin("ofa-mbv3", None).expect("built in");
        let truth = truth(&space, device);
        Self {
            space,
            truth,
            device,
            noise,
        }
    }

    /// Simulates `campaigns` campaigns of `networks` networks each.
    pub fn run(&self, estimator: &dyn Estimator, networks: u64, campaigns: u64) -> Outcome {
        let mut sum = Outcome::default();
        for campaign in 0..campaigns {
            let means = self.campaign(estimator, networks, campaign);
            let effects = self.effects(&means);
            let squares: f64 = effects
                .iter()
                .map(|(e, truth)| (e.value - truth).powi(2))
                .sum();
            sum.rmse += squares / effects.len() as f64;
            sum.pearson += correlation(&effects);
            sum.coverage += coverage(&effects);
            sum.averages_coverage += coverage(&self.averages(&means));
        }
        let n = campaigns as f64;
        Outcome {
            rmse: (sum.rmse / n).sqrt(),
            pearson: sum.pearson / n,
            coverage: sum.coverage / n,
            averages_coverage: sum.averages_coverage / n,
        }
    }

    fn campaign(&self, estimator: &dyn Estimator, networks: u64, campaign: u64) -> Means {
        estimator
            .estimate(
                &self.space,
                &self.observations(estimator, networks, campaign),
            )
            .expect("enough data")
    }

    /// What one campaign measures.
    pub fn observations(
        &self,
        estimator: &dyn Estimator,
        networks: u64,
        campaign: u64,
    ) -> Vec<Observation> {
        let seed = Seed(campaign).stream(estimator.name());
        let mut noise = seed.stream("noise").rng();
        let observe = |index| {
            let draw = estimator
                .draw(&self.space, RESOLUTION, seed, index)
                .expect("a resolution of the space");
            let value = self.latency(&draw.arch) * (1.0 + self.noise * normal(&mut noise));
            Observation { draw, value }
        };
        (0..networks).map(observe).collect()
    }

    /// The profile and the means that one campaign gives.
    pub fn profile(
        &self,
        estimator: &dyn Estimator,
        networks: u64,
        campaign: u64,
    ) -> (MetricProfile, Means) {
        let observations = self.observations(estimator, networks, campaign);
        let means = estimator
            .estimate(&self.space, &observations)
            .expect("enough data");
        (self.summarise(&observations, &means), means)
    }

    fn summarise(&self, observations: &[Observation], means: &Means) -> MetricProfile {
        MetricProfile::from_means(&self.space, latency(), "study", observations, 0, means)
    }

    pub fn space(&self) -> &DesignSpace {
        &self.space
    }

    /// The true means.
    pub fn truth(&self) -> &Means {
        &self.truth
    }

    /// The profile of someone who knows the truth, and the share of the variance that is interaction.
    pub fn true_profile(&self) -> (MetricProfile, f64) {
        let mut rng = Seed(0).stream("truth").rng();
        let (mut squares, mut interaction) = (0.0, 0.0);
        let layout = Layout::new(&self.space);
        let draws = 3_000;
        for _ in 0..draws {
            let arch = self.space.sample(RESOLUTION, &mut rng).expect("drawn");
            let y = self.latency(&arch);
            interaction += (y - additive(&layout, &self.truth.values, &arch)).powi(2);
            squares += (self.noise * y).powi(2);
        }
        let n = f64::from(draws);
        let (interaction, noise) = (interaction / n, squares / n);
        // Shares of means without error are exact. They end at 1, so the explained variance is read off as parts of a
        // total that is surely larger.
        let with_sd = |sd| {
            let truth = Means {
                sd,
                ..self.truth.clone()
            };
            self.summarise(&[], &truth)
        };
        let parts = with_sd(1e3)
            .variance
            .into_iter()
            .filter(|v| v.unit.is_some());
        let explained = parts.map(|v| v.share.value).sum::<f64>() * 1e6;
        let total = explained + interaction + noise;
        (with_sd(total.sqrt()), interaction / total)
    }

    fn latency(&self, arch: &Architecture) -> f64 {
        self.device.latency_ms(&self.space.network(arch))
    }

    /// Estimated and true effects of every block at every placement.
    fn effects(&self, means: &Means) -> Vec<(Estimate, f64)> {
        let truth = self.truth.block_effects(&self.space);
        let estimated = means.block_effects(&self.space);
        estimated
            .iter()
            .zip(truth)
            .map(|(e, t)| (e.effect, t.effect.value))
            .collect()
    }

    /// Estimated and true averages over placements.
    fn averages(&self, means: &Means) -> Vec<(Estimate, f64)> {
        let truth = self.truth.averages(&self.space);
        let estimated = means.averages(&self.space);
        estimated
            .iter()
            .zip(truth)
            .map(|(e, t)| (e.effect, t.effect.value))
            .collect()
    }
}

/// The sum of all main effects of an architecture.
fn additive(layout: &Layout, means: &[f64], arch: &Architecture) -> f64 {
    let overall = means[layout.overall()];
    let mut sum = overall;
    for unit in 0..layout.units() {
        sum += means[layout.depth(unit, arch.depth(unit))] - overall;
    }
    for (placement, block) in arch.active() {
        let blocks = layout.blocks(placement);
        let ids = (0..blocks).map(|b| u8::try_from(b).expect("few blocks"));
        let average = ids.map(|b| means[layout.block(placement, b)]).sum::<f64>() / blocks as f64;
        sum += means[layout.block(placement, block)] - average;
    }
    sum
}

/// A latency of a simulated device.
pub fn latency() -> MetricInfo {
    MetricInfo {
        name: "latency".into(),
        unit: "ms".into(),
        direction: Direction::LowerIsBetter,
        origin: Origin::Simulated,
        about: String::new(),
    }
}

/// Share of the intervals that hold the truth.
pub fn coverage(effects: &[(Estimate, f64)]) -> f64 {
    let held = effects
        .iter()
        .filter(|(e, truth)| (e.low..=e.high).contains(truth))
        .count();
    held as f64 / effects.len() as f64
}

/// The true means: the device's latency is a sum over units, also with interactions within them.
fn truth(space: &DesignSpace, device: SimulatedDevice) -> Means {
    let smallest = space
        .smallest(RESOLUTION)
        .expect("a resolution of the space");
    let base = device.latency_ms(&space.network(&smallest));
    let term = |unit: usize, choice: UnitChoice<'_>| {
        let mut units = smallest.choices();
        units[unit].blocks = choice.blocks.to_vec();
        let arch = space
            .architecture(RESOLUTION, &units)
            .expect("in the space");
        device.latency_ms(&space.network(&arch)) - base
    };
    let values = exact_means(space, term, base);
    Means {
        covariance: vec![0.0; values.len() * values.len()],
        values,
        uncertainty: Uncertainty::Sampling,
        degrees_of_freedom: f64::INFINITY,
        joint_degrees_of_freedom: f64::INFINITY,
        sd: 0.0,
        held_out_r2: None,
        additive: None,
        spreads: None,
    }
}

fn correlation(effects: &[(Estimate, f64)]) -> f64 {
    let product = |f: &dyn Fn(&(Estimate, f64)) -> f64| effects.iter().map(f).sum::<f64>();
    // Effects sum to zero within every placement: their means are zero already.
    product(&|e| e.0.value * e.1)
        / (product(&|e| e.0.value * e.0.value) * product(&|e| e.1 * e.1)).sqrt()
}

/// Close to a standard normal number: the sum of twelve uniform ones.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random_range(-0.5..0.5)).sum()
}
