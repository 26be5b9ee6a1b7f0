//! Metrics with known effects, and the noise with which they are observed.

use std::error::Error;
use std::path::Path;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::metric::Metric;
use blocklens_core::profile::{
    Draw, Estimator, Means, Observation, Pooled, Uncertainty, exact_means,
};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace, UnitChoice};
use blocklens_core::stats::drift::Drift;
use blocklens_core::surrogate::{
    AccuracyPredictor, LookupLatency, LookupTable, SimulatedDevice, SimulatedLatency,
};
use rand::RngExt;

const RESOLUTION: u32 = 224;
/// The truth of a predictor is the average of so many fits of so many architectures each.
const TRUTH_FITS: u64 = 12;
const TRUTH_ARCHITECTURES: u64 = 50_000;
/// Every so many observations, a campaign times its sentinel.
const SENTINEL_PERIOD: usize = 6;

const SENTINEL_MS: f64 = 20.0;

const ALL: [&str; 6] = [
    "note10-0",
    "note10-1",
    "note10-3",
    "accuracy-mbv3",
    "accuracy-resnet50",
    "hostile",
];

/// The settings named, or all.
pub fn settings(wanted: &[String]) -> Vec<&'static str> {
    let chosen = |name: &&str| wanted.is_empty() || wanted.iter().any(|w| name.starts_with(&**w));
    ALL.into_iter().filter(chosen).collect()
}

/// How values are observed.
#[derive(Clone, Copy)]
enum Noise {
    /// Normal, of so many percent of the value.
    Relative(f64),
    /// Student's t with 3 degrees of freedom (scaled to 2 % where it were normal), one in fifty observations up to half
    /// as slow again, and a speed that walks at random by 0.5 % from one observation to the next, corrected by a
    /// sentinel as campaigns do it.
    Hostile,
}

pub struct Setting {
    pub name: &'static str,
    pub space: DesignSpace,
    pub truth: Means,
    metric: Box<dyn Metric>,
    noise: Noise,
}

impl Setting {
    /// The setting called `name`; `None` when its data are not in the folder.
    pub fn new(name: &'static str, data: Option<&Path>) -> Result<Option<Self>, Box<dyn Error>> {
        let file = |file: &str| data.map(|d| d.join(file)).filter(|path| path.exists());
        let mbv3 = || DesignSpace::builtin("ofa-mbv3", Some(1.2));
        if name == "hostile" {
            let (space, device) = (
                mbv3()?,
                SimulatedDevice {
                    interaction: 0.3,
                    ..SimulatedDevice::default()
                },
            );
            let metric = SimulatedLatency::new(space.clone(), device);
            let truth = sum_truth(&space, &metric);
            let metric = Box::new(metric);
            return Ok(Some(Self {
                name,
                space,
                truth,
                metric,
                noise: Noise::Hostile,
            }));
        }
        if let Some(percent) = name.strip_prefix("note10-") {
            let Some(path) = file("note10/224_lookup_table.yaml") else {
                return Ok(None);
            };
            let space = mbv3()?;
            let table = LookupTable::read(
                &path.display().to_string(),
                &std::fs::read_to_string(&path)?,
            )?;
            let metric = LookupLatency::new("latency@note10", &space, &[table])?;
            let truth = sum_truth(&space, &metric);
            let noise = Noise::Relative(percent.parse::<f64>()? / 100.0);
            let metric = Box::new(metric);
            return Ok(Some(Self {
                name,
                space,
                truth,
                metric,
                noise,
            }));
        }
        let (file_name, space) = match name {
            "accuracy-mbv3" => ("acc_predictor.pth", mbv3()?),
            _ => (
                "ofa_resnet50_acc_predictor.pth",
                DesignSpace::builtin("ofa-resnet50", None)?,
            ),
        };
        let Some(path) = file(file_name) else {
            return Ok(None);
        };
        let checkpoint = Checkpoint::read(file_name, &std::fs::read(&path)?)?;
        let metric = AccuracyPredictor::new("accuracy", &space, &checkpoint)?;
        let truth = brute_force(&space, &metric)?;
        let metric = Box::new(metric);
        Ok(Some(Self {
            name,
            space,
            truth,
            metric,
            noise: Noise::Relative(0.0),
        }))
    }

    /// Number of (placement, block) combinations.
    pub fn combinations(&self) -> u64 {
        self.space.combinations() as u64
    }

    /// One campaign.
    pub fn campaign(&self, estimator: &dyn Estimator, budget: u64, campaign: u64) -> Means {
        let seed = Seed(campaign).stream(estimator.name());
        let draw = |index| estimator.draw(&self.space, RESOLUTION, seed, index);
        let draws: Vec<Draw> = (0..budget)
            .map(|i| draw(i).expect("a resolution of the space"))
            .collect();
        let archs: Vec<Architecture> = draws.iter().map(|d| d.arch.clone()).collect();
        let values: Vec<f64> = self
            .metric
            .evaluate_many(&archs)
            .into_iter()
            .map(|v| v.expect("judges its own space"))
            .collect();
        let values = self.noise.observe(&values, &mut seed.stream("noise").rng());
        let observations: Vec<Observation> = draws
            .into_iter()
            .zip(values)
            .map(|(draw, value)| Observation { draw, value })
            .collect();
        estimator
            .estimate(&self.space, &observations)
            .expect("enough data")
    }
}

impl Noise {
    fn observe(self, values: &[f64], rng: &mut Rng) -> Vec<f64> {
        match self {
            Self::Relative(sd) => values
                .iter()
                .map(|v| v * (1.0 + sd * normal(rng)))
                .collect(),
            Self::Hostile => hostile(values, rng),
        }
    }
}

fn hostile(values: &[f64], rng: &mut Rng) -> Vec<f64> {
    let mut level = 0.0;
    let walk = |level: &mut f64, rng: &mut Rng| {
        *level += 0.005 * normal(rng);
        *level
    };
    let levels: Vec<f64> = values.iter().map(|_| walk(&mut level, rng)).collect();
    // What is estimated is the device at its average speed.
    let average = levels.iter().sum::<f64>() / levels.len() as f64;
    let (mut raw, mut readings) = (Vec::new(), Vec::new());
    for (index, (value, level)) in values.iter().zip(&levels).enumerate() {
        let factor = |rng: &mut Rng| {
            let outlier = if rng.random_range(0..50) == 0 {
                rng.random_range(0.0..0.5)
            } else {
                0.0
            };
            ((level - average).exp() + outlier) * (0.02 * student(rng)).exp()
        };
        if index.is_multiple_of(SENTINEL_PERIOD) {
            readings.push((index as f64, SENTINEL_MS * factor(rng)));
        }
        raw.push(value * factor(rng));
    }
    let drift = Drift::estimate(&readings);
    raw.iter()
        .enumerate()
        .map(|(i, y)| y / drift.factor(i as f64))
        .collect()
}

/// Close to a standard normal number: the sum of twelve uniform ones.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random_range(-0.5..0.5)).sum()
}

/// Student's t with three degrees of freedom.
fn student(rng: &mut Rng) -> f64 {
    let square: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
    normal(rng) / (square / 3.0).sqrt()
}

/// The exact means of a metric that is a sum over units.
fn sum_truth(space: &DesignSpace, metric: &dyn Metric) -> Means {
    let smallest = space
        .smallest(RESOLUTION)
        .expect("a resolution of the space");
    let value = |arch: &Architecture| metric.evaluate(arch).expect("judges its own space");
    let base = value(&smallest);
    let term = |unit: usize, choice: UnitChoice<'_>| {
        let mut units = smallest.choices();
        units[unit].blocks = choice.blocks.to_vec();
        value(
            &space
                .architecture(RESOLUTION, &units)
                .expect("in the space"),
        ) - base
    };
    known(exact_means(space, term, base))
}

/// The means by brute force: with so many architectures, `pooled` shrinks nothing, and its effects are main effects.
fn brute_force(space: &DesignSpace, metric: &dyn Metric) -> Result<Means, Box<dyn Error>> {
    let mut sum: Vec<f64> = Vec::new();
    for fit in 0..TRUTH_FITS {
        let seed = Seed(fit).stream("truth");
        let draws: Vec<Draw> = (0..TRUTH_ARCHITECTURES)
            .map(|i| Pooled.draw(space, RESOLUTION, seed, i))
            .collect::<Result<_, _>>()?;
        let archs: Vec<Architecture> = draws.iter().map(|d| d.arch.clone()).collect();
        let values = metric.evaluate_many(&archs);
        let observations: Vec<Observation> = draws
            .into_iter()
            .zip(values)
            .map(|(draw, value)| {
                Ok(Observation {
                    draw,
                    value: value?,
                })
            })
            .collect::<Result<_, Box<dyn Error>>>()?;
        let means = Pooled.estimate(space, &observations)?;
        sum.resize(means.values.len(), 0.0);
        sum.iter_mut()
            .zip(&means.values)
            .for_each(|(s, v)| *s += v / TRUTH_FITS as f64);
    }
    Ok(known(sum))
}

fn known(values: Vec<f64>) -> Means {
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
