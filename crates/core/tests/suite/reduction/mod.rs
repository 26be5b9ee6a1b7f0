//! Spaces small enough to look at every architecture, metrics that are sums over layers with tables drawn at random,
//! and campaigns on them.
#![allow(dead_code)] // not every user needs everything

use blocklens_core::metric::{Direction, MetricInfo, Origin};
use blocklens_core::profile::{
    Estimator, Layout, Means, MetricProfile, Observation, Pooled, Profile, Uncertainty, exact_means,
};
use blocklens_core::reduce::{InsightKind, Reduction, Removes};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace, UnitChoice};
use rand::RngExt;

pub const RESOLUTION: u32 = 32;

/// 8,000 architectures: three units of one or two layers with four blocks each.
pub const SPACE: &str = r#"
format = 2
name = "cubes"
classes = 10
resolutions = [32, 48]
default-resolution = 32
stem = ["conv_k3_s2_c16"]
head = ["pool", "classifier"]

[[unit]]
channels = 16
depth = [1, 2]
blocks = ["mbconv_e{3,6}_k{3,5}"]

[[unit]]
channels = 24
stride = 2
depth = [1, 2]
blocks = ["mbconv_e{3,6}_k{3,5}"]

[[unit]]
channels = 32
stride = 2
depth = [1, 2]
blocks = ["mbconv_e{3,6}_k{3,5}"]
"#;

pub fn space() -> DesignSpace {
    DesignSpace::from_toml("cubes.toml", SPACE, None).unwrap()
}

/// What a layer with a block adds, by unit, layer and block.
pub type Table = Vec<Vec<Vec<f64>>>;

/// Metrics with known truths: a gain and a cost.
pub struct Truth {
    pub space: DesignSpace,
    pub tables: [Table; 2],
    pub means: [Means; 2],
}

/// What the tables are like.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Larger blocks cost and gain more, roughly.
    Usual,
    /// A faster block always loses a little accuracy: every claim would be wrong, and not by much.
    Treacherous,
}

impl Truth {
    pub fn new(kind: Kind, seed: u64) -> Self {
        let space = space();
        let mut rng = Seed(seed).stream("truth").rng();
        let tables = tables(&space, kind, &mut rng);
        let means = [0, 1].map(|m| {
            let term = |unit: usize, choice: UnitChoice<'_>| sum(&tables[m][unit], choice);
            known(exact_means(&space, term, 10.0))
        });
        Self {
            space,
            tables,
            means,
        }
    }

    /// Gain and cost of an architecture.
    pub fn values(&self, arch: &Architecture) -> [f64; 2] {
        [0, 1].map(|m| {
            let units = self.tables[m].iter().zip(arch.units());
            10.0 + units.map(|(table, choice)| sum(table, choice)).sum::<f64>()
        })
    }

    /// The profile of someone who knows the truth.
    pub fn exact(&self) -> Profile {
        let all: Vec<Architecture> = self.space.enumerate(RESOLUTION).unwrap().collect();
        let of = |m: usize| {
            let values: Vec<f64> = all.iter().map(|a| self.values(a)[m]).collect();
            let mut means = self.means[m].clone();
            means.sd = blocklens_core::stats::variance(&values).sqrt();
            means.held_out_r2 = Some(1.0);
            MetricProfile::from_means(&self.space, info(m), "exact", &[], 0, &means)
        };
        profile(&self.space, vec![of(0), of(1)])
    }

    /// What a campaign finds that measures `networks` architectures with this much noise, in standard deviations of the
    /// metric.
    pub fn campaign(&self, networks: u64, noise: f64, campaign: u64) -> Profile {
        let seed = Seed(campaign).stream("campaign");
        let mut rng = seed.stream("noise").rng();
        let draws: Vec<_> = (0..networks)
            .map(|i| Pooled.draw(&self.space, RESOLUTION, seed, i).unwrap())
            .collect();
        let of = |m: usize, rng: &mut Rng| {
            let values: Vec<f64> = draws.iter().map(|d| self.values(&d.arch)[m]).collect();
            let sd = blocklens_core::stats::variance(&values).sqrt();
            let observe = |(draw, value): (&blocklens_core::profile::Draw, &f64)| Observation {
                draw: draw.clone(),
                value: value + noise * sd * normal(rng),
            };
            let observations: Vec<Observation> = draws.iter().zip(&values).map(observe).collect();
            let means = Pooled.estimate(&self.space, &observations).unwrap();
            let info = info(m);
            MetricProfile::from_means(&self.space, info, "pooled", &observations, 0, &means)
        };
        let metrics = vec![of(0, &mut rng), of(1, &mut rng)];
        profile(&self.space, metrics)
    }

    /// How much a block instead of another truly adds to a metric, averaged over the layers of a unit (of all units).
    pub fn exchange(&self, m: usize, unit: Option<usize>, leave: &str, take: &str) -> f64 {
        let layout = Layout::new(&self.space);
        let places: Vec<_> = self
            .space
            .placements()
            .filter(|p| unit.is_none_or(|u| p.unit == u))
            .collect();
        let mean = |p, name: &str| {
            let blocks = self.space.blocks(p);
            let id = blocks.iter().position(|b| b.to_string() == name).unwrap();
            self.means[m].values[layout.block(p, u8::try_from(id).unwrap())]
        };
        let steps = places.iter().map(|p| mean(*p, take) - mean(*p, leave));
        steps.sum::<f64>() / places.len() as f64
    }

    /// Statements of domination that are not true: something is lost beyond the margin, or nothing is gained beyond
    /// caution.
    pub fn wrong(&self, reduction: &Reduction) -> usize {
        let dominated = reduction
            .insights
            .iter()
            .filter(|i| i.kind == InsightKind::Dominated);
        let wrong = dominated.filter(|insight| {
            let (Removes::Block { block, .. }, Some(take)) = (&insight.removes, &insight.instead)
            else {
                return self.wrong_depth(&insight.removes, insight.instead.as_deref(), reduction);
            };
            let unit = insight.unit.map(|u| u - 1);
            let gains: Vec<f64> = (0..reduction.metrics.len())
                .map(|m| self.exchange(m, unit, block, take) * sign(m))
                .collect();
            is_wrong(&gains, reduction)
        });
        wrong.count()
    }

    fn wrong_depth(&self, removes: &Removes, instead: Option<&str>, reduction: &Reduction) -> bool {
        let (Removes::Depth { unit, depth }, Some(take)) = (removes, instead) else {
            return false;
        };
        let take: usize = take.split(' ').next().unwrap().parse().unwrap();
        let layout = Layout::new(&self.space);
        let gains: Vec<f64> = (0..reduction.metrics.len())
            .map(|m| {
                let mean = |d| self.means[m].values[layout.depth(unit - 1, d)];
                (mean(take) - mean(*depth)) * sign(m)
            })
            .collect();
        is_wrong(&gains, reduction)
    }
}

fn is_wrong(gains: &[f64], reduction: &Reduction) -> bool {
    let pairs = || gains.iter().zip(&reduction.metrics);
    pairs().any(|(gain, m)| *gain < -m.allowed_loss)
        || pairs().all(|(gain, m)| *gain <= m.needed_gain)
}

pub fn sign(m: usize) -> f64 {
    if m == 0 { 1.0 } else { -1.0 }
}

fn tables(space: &DesignSpace, kind: Kind, rng: &mut Rng) -> [Table; 2] {
    let mut gains = Table::new();
    let mut costs = Table::new();
    for unit in space.units() {
        let (mut gain, mut cost) = (Vec::new(), Vec::new());
        let (price, worth) = (0.5 + 1.5 * uniform(rng), 0.3 + uniform(rng));
        for layer in 0..unit.max_depth() {
            let count = unit.blocks(layer).len();
            let size = |b: usize| 1.0 + b as f64 / count as f64;
            match kind {
                Kind::Usual => {
                    let noisy = |x: f64, rng: &mut Rng| x * (0.6 + 0.8 * uniform(rng));
                    cost.push((0..count).map(|b| noisy(price * size(b), rng)).collect());
                    let gain_of = |b: usize| worth * size(b).sqrt();
                    gain.push((0..count).map(|b| noisy(gain_of(b), rng)).collect());
                }
                Kind::Treacherous => {
                    cost.push((0..count).map(|b| price * size(b)).collect::<Vec<f64>>());
                    let step = 0.02;
                    gain.push(
                        (0..count)
                            .map(|b| worth + step * b as f64)
                            .collect::<Vec<f64>>(),
                    );
                }
            }
        }
        gains.push(gain);
        costs.push(cost);
    }
    [gains, costs]
}

fn sum(table: &[Vec<f64>], choice: UnitChoice<'_>) -> f64 {
    let layers = choice.blocks.iter().zip(table);
    layers
        .map(|(block, layer)| layer[usize::from(*block)])
        .sum()
}

fn known(values: Vec<f64>) -> Means {
    Means {
        covariance: vec![0.0; values.len() * values.len()],
        values,
        uncertainty: Uncertainty::Posterior,
        degrees_of_freedom: f64::INFINITY,
        joint_degrees_of_freedom: f64::INFINITY,
        sd: 1.0,
        held_out_r2: None,
        additive: None,
        spreads: None,
    }
}

fn info(m: usize) -> MetricInfo {
    let (name, unit, direction) = match m {
        0 => ("accuracy", "%", Direction::HigherIsBetter),
        _ => ("latency", "ms", Direction::LowerIsBetter),
    };
    MetricInfo {
        name: name.into(),
        unit: unit.into(),
        direction,
        origin: Origin::Simulated,
        about: String::new(),
    }
}

fn profile(space: &DesignSpace, metrics: Vec<MetricProfile>) -> Profile {
    Profile {
        format: 1,
        space: space.name().into(),
        width: space.width(),
        space_digest: space.digest().into(),
        resolution: RESOLUTION,
        seed: 0,
        metrics,
        friendliness: Vec::new(),
        findings: Vec::new(),
    }
}

fn uniform(rng: &mut Rng) -> f64 {
    rng.random_range(0.0..1.0)
}

fn normal(rng: &mut Rng) -> f64 {
    let (a, b): (f64, f64) = (1.0 - uniform(rng), uniform(rng));
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
