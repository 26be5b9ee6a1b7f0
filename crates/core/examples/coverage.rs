//! How close both estimators come to known effects, and how often their intervals hold them.
//!
//! Campaigns are simulated on a device that is a formula, with multiplicative noise. `interaction` makes
//! the device's latency non-additive, so that the model behind `pooled` is wrong.
//!
//! `cargo run --release -p blocklens-core --example coverage -- 200`

use std::time::Instant;

use blocklens_core::profile::{
    Estimator, Layout, Means, Observation, Pooled, Sampled, exact_means,
};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, BlockId, DesignSpace};
use blocklens_core::surrogate::SimulatedDevice;
use rand::RngExt;

const RESOLUTION: u32 = 224;

fn main() {
    let campaigns = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    println!(
        "{campaigns} campaigns each; errors of the 180 effects in ms; coverage of their 95 % intervals"
    );
    println!("estimator  networks  noise  interaction   RMSE    Pearson  coverage  s per fit");
    for (interaction, noise) in [(0.0, 0.01), (0.0, 0.03), (0.3, 0.01), (0.3, 0.03)] {
        let study = Study::new(interaction, noise);
        for networks in [40, 60, 90, 250] {
            study.print(&Pooled, networks, campaigns);
        }
        for rounds in [5, 10, 100] {
            study.print(&Sampled, 180 * rounds, campaigns.min(40));
        }
    }
}

/// A simulated device, its true effects, and the time of every configuration of every unit.
struct Study {
    space: DesignSpace,
    layout: Layout,
    truth: Vec<f64>,
    device: SimulatedDevice,
    noise: f64,
    interaction: f64,
}

impl Study {
    fn new(interaction: f64, noise: f64) -> Self {
        let space = DesignSpace::builtin("ofa-mbv3", None).expect("built in");
        let device = SimulatedDevice { interaction };
        let truth = truth(&space, device);
        Self {
            layout: Layout::new(&space),
            space,
            truth,
            device,
            noise,
            interaction,
        }
    }

    fn print(&self, estimator: &dyn Estimator, networks: u64, campaigns: u64) {
        let (mut squares, mut covered, mut count) = (0.0, 0.0, 0.0);
        let mut pearson = 0.0;
        let started = Instant::now();
        for campaign in 0..campaigns {
            let seed = Seed(campaign).stream(estimator.name());
            let mut noise = seed.stream("noise").rng();
            let observations: Vec<Observation> = (0..networks)
                .map(|i| {
                    let draw = estimator
                        .draw(&self.space, RESOLUTION, seed, i)
                        .expect("a resolution of the space");
                    let value = self.latency(&draw.arch) * (1.0 + self.noise * normal(&mut noise));
                    Observation { draw, value }
                })
                .collect();
            let means = estimator
                .estimate(&self.space, &observations)
                .expect("enough data");
            let effects = self.effects(&means);
            for (estimate, se, truth) in &effects {
                squares += (estimate - truth).powi(2);
                let half = blocklens_core::stats::critical_t(0.05, means.degrees_of_freedom) * se;
                covered += f64::from(u8::from((estimate - truth).abs() <= half));
                count += 1.0;
            }
            pearson += correlation(&effects);
        }
        println!(
            "{:<9} {networks:>9} {:>6} {:>12} {:>8.4} {:>9.3} {:>8.1} % {:>8.3}",
            estimator.name(),
            self.noise,
            self.interaction,
            f64::sqrt(squares / count),
            pearson / campaigns as f64,
            100.0 * covered / count,
            started.elapsed().as_secs_f64() / campaigns as f64
        );
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
