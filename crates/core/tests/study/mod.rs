//! A simulated device with known true effects, and campaigns on it.

use blocklens_core::profile::{Estimator, Layout, Means, Observation, exact_means};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, BlockId, DesignSpace};
use blocklens_core::stats::critical_t;
use blocklens_core::surrogate::SimulatedDevice;
use rand::RngExt;

pub const RESOLUTION: u32 = 224;

/// What many campaigns of one kind came to.
pub struct Outcome {
    /// Root mean square error of the 180 effects, in ms.
    pub rmse: f64,
    /// Correlation of estimated with true effects.
    pub pearson: f64,
    /// Share of the 95 % intervals that hold the truth.
    pub coverage: f64,
}

/// A simulated device, its true effects, and the time of every configuration of every unit.
pub struct Study {
    space: DesignSpace,
    layout: Layout,
    truth: Vec<f64>,
    device: SimulatedDevice,
    noise: f64,
}

impl Study {
    pub fn new(interaction: f64, noise: f64) -> Self {
        let space = DesignSpace::builtin("ofa-mbv3", None).expect("built in");
        let device = SimulatedDevice { interaction };
        let truth = truth(&space, device);
        Self {
            layout: Layout::new(&space),
            space,
            truth,
            device,
            noise,
        }
    }

    /// Simulates `campaigns` campaigns of `networks` networks each.
    pub fn run(&self, estimator: &dyn Estimator, networks: u64, campaigns: u64) -> Outcome {
        let (mut squares, mut covered, mut count, mut pearson) = (0.0, 0.0, 0.0, 0.0);
        for campaign in 0..campaigns {
            let means = self.campaign(estimator, networks, campaign);
            let effects = self.effects(&means);
            for (estimate, se, truth) in &effects {
                squares += (estimate - truth).powi(2);
                let half = critical_t(0.05, means.degrees_of_freedom) * se;
                covered += f64::from(u8::from((estimate - truth).abs() <= half));
                count += 1.0;
            }
            pearson += correlation(&effects);
        }
        Outcome {
            rmse: f64::sqrt(squares / count),
            pearson: pearson / campaigns as f64,
            coverage: covered / count,
        }
    }

    fn campaign(&self, estimator: &dyn Estimator, networks: u64, campaign: u64) -> Means {
        let seed = Seed(campaign).stream(estimator.name());
        let mut noise = seed.stream("noise").rng();
        let observe = |index| {
            let draw = estimator
                .draw(&self.space, RESOLUTION, seed, index)
                .expect("a resolution of the space");
            let value = self.latency(&draw.arch) * (1.0 + self.noise * normal(&mut noise));
            Observation { draw, value }
        };
        let observations: Vec<Observation> = (0..networks).map(observe).collect();
        estimator
            .estimate(&self.space, &observations)
            .expect("enough data")
    }

    fn latency(&self, arch: &Architecture) -> f64 {
        self.device.latency_ms(&self.space.network(arch))
    }

    /// (estimate, standard error, truth) of every effect.
    fn effects(&self, means: &Means) -> Vec<(f64, f64, f64)> {
        let n = self.layout.len();
        let mut effects = Vec::new();
        for placement in self.layout.placements() {
            let rows: Vec<usize> = (0..self.layout.blocks(placement.unit))
                .map(|b| self.layout.block(placement, b as BlockId))
                .collect();
            for &row in &rows {
                let weight = |i: usize| f64::from(u8::from(i == row)) - 1.0 / rows.len() as f64;
                let sum = |v: &[f64]| rows.iter().map(|&i| weight(i) * v[i]).sum::<f64>();
                let mut square = 0.0;
                for &i in &rows {
                    for &j in &rows {
                        square += weight(i) * weight(j) * means.covariance[i * n + j];
                    }
                }
                effects.push((sum(&means.values), square.max(0.0).sqrt(), sum(&self.truth)));
            }
        }
        effects
    }
}

/// The true means: the device's latency is a sum over units, also with interactions within them.
fn truth(space: &DesignSpace, device: SimulatedDevice) -> Vec<f64> {
    let smallest = space
        .smallest(RESOLUTION)
        .expect("a resolution of the space");
    let base = device.latency_ms(&space.network(&smallest));
    let term = |unit: usize, blocks: &[BlockId]| {
        let mut units = smallest.units().to_vec();
        units[unit] = blocks.to_vec();
        let arch = space.architecture(RESOLUTION, units).expect("in the space");
        device.latency_ms(&space.network(&arch)) - base
    };
    exact_means(space, term, base)
}

fn correlation(effects: &[(f64, f64, f64)]) -> f64 {
    let product = |f: &dyn Fn(&(f64, f64, f64)) -> f64| effects.iter().map(f).sum::<f64>();
    // Effects sum to zero within every placement: their means are zero already.
    product(&|e| e.0 * e.2) / (product(&|e| e.0 * e.0) * product(&|e| e.2 * e.2)).sqrt()
}

/// Close to a standard normal number: the sum of twelve uniform ones.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random_range(-0.5..0.5)).sum()
}
