//! A plausible report on `ofa-mbv3`, made from formulas: a simulated device's latency with noise, an
//! invented accuracy, and exact MACs.
//!
//! Effects are estimated the plain way: every block is put at every placement of the same few base
//! architectures, so that the differences are paired. That is for demonstration; the estimators of
//! `profile` are the real thing.

use std::collections::BTreeMap;
use std::error::Error;

use blocklens_core::measurement::{DeviceDescription, Warning};
use blocklens_core::metric::{CostKind, CostMetric, Direction, Metric, MetricInfo, Origin};
use blocklens_core::profile::{
    AveragedEffect, BlockEffect, DepthEffect, Estimate, Estimator, Finding, Friendliness,
    MetricProfile, Observation, Pooled, Profile, VarianceShare, VarianceSource,
};
use blocklens_core::report::{
    DriftPoint, FailureCount, InputHash, MeasurementSection, NetworkRow, PhaseMedians, Provenance,
    REPORT_FORMAT, Report, SentinelReading, WarningCount,
};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, BlockId, DesignSpace, Placement, Ratio};
use blocklens_core::stats::multiple::{Dependence, false_discovery, holm};
use blocklens_core::stats::p_value;
use blocklens_core::surrogate::{SimulatedDevice, SimulatedLatency};
use rand::RngExt;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RESOLUTION: u32 = 224;
const SEED: Seed = Seed(20_260_101);
/// Standard deviation of the simulated measurement noise, relative.
const NOISE: f64 = 0.008;
const NETWORKS: usize = 250;
const SENTINEL_EVERY: usize = 10;

/// The report, from `bases` base architectures.
pub fn demo_report(bases: usize) -> Result<Report> {
    let space = DesignSpace::builtin("ofa-mbv3", None)?;
    let demo = Demo::new(&space, bases)?;
    let metrics = vec![demo.metric(0)?, demo.metric(1)?, demo.metric(2)?];
    let profile = Profile {
        format: 1,
        space: space.name().to_owned(),
        width: space.width(),
        space_digest: space.digest().to_owned(),
        resolution: RESOLUTION,
        seed: SEED.0,
        findings: findings(&metrics),
        friendliness: demo.friendliness(&metrics)?,
        metrics,
    };
    Ok(Report {
        format: REPORT_FORMAT,
        title: "Block profile of OFA-MobileNetV3 on a simulated device".to_owned(),
        generated_by: "blocklens 0.1.0 (demo_report)".to_owned(),
        command: "cargo run -p blocklens-core --example demo_report -- report.html".to_owned(),
        measurement: Some(demo.measurement()?),
        provenance: provenance(&profile),
        profile,
        warnings: vec![
            Warning::Governor {
                name: "schedutil".to_owned(),
            },
            Warning::Drift { relative: 0.031 },
            Warning::Failures {
                failed: 3,
                of: NETWORKS,
            },
        ],
    })
}

/// Values of one metric with each block at each placement of each base: `[placement, block][base]`.
type Grid = BTreeMap<(usize, usize, BlockId), Vec<f64>>;

struct Demo<'a> {
    space: &'a DesignSpace,
    bases: Vec<Architecture>,
    latency: SimulatedLatency,
    macs: CostMetric,
    infos: [MetricInfo; 3],
    grids: [Grid; 3],
}

impl<'a> Demo<'a> {
    fn new(space: &'a DesignSpace, bases: usize) -> Result<Self> {
        let latency = SimulatedLatency::new(space.clone(), SimulatedDevice { interaction: 0.1 });
        let macs = CostMetric::new(space.clone(), CostKind::Macs);
        let bases = (0..bases as u64)
            .map(|i| space.sample(RESOLUTION, &mut SEED.stream("bases").index(i).rng()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let infos = [latency_info(), accuracy_info(), macs.info().clone()];
        let mut demo = Self {
            space,
            bases,
            latency,
            macs,
            infos,
            grids: Default::default(),
        };
        demo.fill()?;
        Ok(demo)
    }

    /// Latency with noise, accuracy with noise, and MACs.
    fn evaluate(&self, arch: &Architecture, rng: &mut Rng) -> Result<[f64; 3]> {
        Ok([
            self.latency.evaluate(arch)? * (1.0 + NOISE * normal(rng)),
            accuracy(self.space, arch) + 0.04 * normal(rng),
            self.macs.evaluate(arch)?,
        ])
    }

    fn fill(&mut self) -> Result<()> {
        let mut rng = SEED.stream("noise").rng();
        for base in &self.bases {
            for placement in self.space.placements() {
                for block in self.candidates(placement.unit) {
                    let arch = with_block(self.space, base, placement, block)?;
                    let values = self.evaluate(&arch, &mut rng)?;
                    let key = (placement.unit, placement.layer, block);
                    for (grid, value) in self.grids.iter_mut().zip(values) {
                        grid.entry(key).or_insert_with(Vec::new).push(value);
                    }
                }
            }
        }
        Ok(())
    }

    fn candidates(&self, unit: usize) -> std::ops::Range<BlockId> {
        0..BlockId::try_from(self.space.units()[unit].blocks(0).len()).unwrap_or(BlockId::MAX)
    }

    /// Per base: the value with the block there minus the mean over all blocks there.
    fn effects(&self, metric: usize, (unit, layer, block): (usize, usize, BlockId)) -> Vec<f64> {
        let grid = &self.grids[metric];
        let own = &grid[&(unit, layer, block)];
        let all: Vec<&Vec<f64>> = self
            .candidates(unit)
            .map(|b| &grid[&(unit, layer, b)])
            .collect();
        let mean_of = |base: usize| all.iter().map(|v| v[base]).sum::<f64>() / all.len() as f64;
        own.iter()
            .enumerate()
            .map(|(i, v)| v - mean_of(i))
            .collect()
    }

    fn metric(&self, index: usize) -> Result<MetricProfile> {
        let (mean, sd, range) = self.overall(index)?;
        let blocks = self.block_effects(index);
        let depths = self.depth_effects(index)?;
        let pooled = self.pooled(index)?;
        Ok(MetricProfile {
            metric: self.infos[index].clone(),
            estimator: "paired".to_owned(),
            evaluations: NETWORKS - 3,
            failures: if index == 0 { 3 } else { 0 },
            mean,
            sd,
            range,
            held_out_r2: None,
            averages: self.averages(index),
            variance: self.variance(index, sd),
            blocks,
            depths,
            widths: Vec::new(),
            simultaneous: pooled.simultaneous,
            ranks: pooled.ranks,
            additivity: pooled.additivity,
            joint: pooled.joint,
        })
    }

    /// What needs the joint distribution of all estimates is the default estimator's.
    fn pooled(&self, index: usize) -> Result<MetricProfile> {
        let mut rng = SEED.stream("pooled").rng();
        let observations = (0..NETWORKS as u64)
            .map(|i| {
                let draw = Pooled.draw(self.space, RESOLUTION, SEED, i)?;
                let value = self.evaluate(&draw.arch, &mut rng)?[index];
                Ok(Observation { draw, value })
            })
            .collect::<Result<Vec<_>>>()?;
        let means = Pooled.estimate(self.space, &observations)?;
        let info = self.infos[index].clone();
        Ok(MetricProfile::from_means(
            self.space,
            info,
            Pooled.name(),
            &observations,
            0,
            &means,
        ))
    }

    fn overall(&self, index: usize) -> Result<(Estimate, f64, [f64; 2])> {
        let mut rng = SEED.stream("overall").rng();
        let values = (0..NETWORKS)
            .map(|_| {
                let arch = self.space.sample(RESOLUTION, &mut rng)?;
                Ok(self.evaluate(&arch, &mut rng)?[index])
            })
            .collect::<Result<Vec<f64>>>()?;
        let estimate = estimate(&values);
        let sd = estimate.se * (NETWORKS as f64).sqrt();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok((estimate, sd, [least, most]))
    }

    fn block_effects(&self, index: usize) -> Vec<BlockEffect> {
        let mut effects: Vec<BlockEffect> = self.grids[index]
            .iter()
            .map(|(&(unit, layer, id), values)| {
                let block = self.space.block(Placement { unit, layer }, id);
                let effect = estimate(&self.effects(index, (unit, layer, id)));
                BlockEffect {
                    unit: unit + 1,
                    layer: layer + 1,
                    block: block.to_string(),
                    kernel: block.kernel(),
                    expansion: block.expansion(),
                    mean: estimate(values),
                    p: p_value(effect.value / effect.se.max(1e-9), f64::INFINITY),
                    adjusted_p: 1.0,
                    q: 1.0,
                    significant: false,
                    effect,
                    spread: None,
                }
            })
            .collect();
        let p: Vec<f64> = effects.iter().map(|e| e.p).collect();
        let adjusted = holm(&p)
            .into_iter()
            .zip(false_discovery(&p, Dependence::Any));
        for (effect, (adjusted_p, q)) in effects.iter_mut().zip(adjusted) {
            (effect.adjusted_p, effect.q) = (adjusted_p, q);
            effect.significant = adjusted_p < 0.05;
        }
        effects
    }

    fn depth_effects(&self, index: usize) -> Result<Vec<DepthEffect>> {
        let mut rng = SEED.stream("depths").rng();
        let mut all = Vec::new();
        for (unit, spec) in self.space.units().iter().enumerate() {
            let mut values: Vec<Vec<f64>> = Vec::new();
            for depth in spec.depths() {
                let archs = self
                    .bases
                    .iter()
                    .map(|b| with_depth(self.space, b, unit, depth));
                let row = archs.map(|a| Ok(self.evaluate(&a?, &mut rng)?[index]));
                values.push(row.collect::<Result<Vec<f64>>>()?);
            }
            for (depth, row) in spec.depths().zip(&values) {
                let mean_of =
                    |i: usize| values.iter().map(|v| v[i]).sum::<f64>() / values.len() as f64;
                let effects: Vec<f64> = row
                    .iter()
                    .enumerate()
                    .map(|(i, v)| v - mean_of(i))
                    .collect();
                all.push(DepthEffect {
                    unit: unit + 1,
                    depth,
                    mean: estimate(row),
                    effect: estimate(&effects),
                });
            }
        }
        Ok(all)
    }

    fn averages(&self, index: usize) -> Vec<AveragedEffect> {
        let units = [None]
            .into_iter()
            .chain((0..self.space.units().len()).map(Some));
        let choices = |of: [u32; 3]| [None].into_iter().chain(of.map(Some));
        let mut all = Vec::new();
        for unit in units {
            for kernel in choices([3, 5, 7]) {
                for expansion in choices([3, 4, 6]) {
                    if kernel.is_some() || expansion.is_some() {
                        let expansion = expansion.and_then(Ratio::whole);
                        all.push(self.average(index, unit, kernel, expansion));
                    }
                }
            }
        }
        all
    }

    fn average(
        &self,
        index: usize,
        unit: Option<usize>,
        kernel: Option<u32>,
        expansion: Option<Ratio>,
    ) -> AveragedEffect {
        let matches = |(u, layer, id): &&(usize, usize, BlockId)| {
            let placement = Placement {
                unit: *u,
                layer: *layer,
            };
            let b = self.space.block(placement, *id);
            unit.is_none_or(|want| want == *u)
                && (kernel.is_none() || kernel == b.kernel())
                && (expansion.is_none() || expansion == b.expansion())
        };
        let chosen: Vec<Vec<f64>> = self.grids[index]
            .keys()
            .filter(matches)
            .map(|&key| self.effects(index, key))
            .collect();
        let per_base: Vec<f64> = (0..self.bases.len())
            .map(|i| chosen.iter().map(|e| e[i]).sum::<f64>() / chosen.len() as f64)
            .collect();
        AveragedEffect {
            unit: unit.map(|u| u + 1),
            kernel,
            expansion,
            effect: estimate(&per_base),
        }
    }

    /// Shares of variance, with intervals from quarters of the bases.
    fn variance(&self, index: usize, sd: f64) -> Vec<VarianceShare> {
        let sources = [
            VarianceSource::Kernel,
            VarianceSource::Expansion,
            VarianceSource::Block,
        ];
        let mut all = Vec::new();
        let mut explained = 0.0;
        for unit in 0..self.space.units().len() {
            for (part, source) in sources.into_iter().enumerate() {
                let share = self.unit_share(index, unit, part, sd);
                explained += share.value;
                all.push(VarianceShare {
                    source,
                    unit: Some(unit + 1),
                    share,
                });
            }
        }
        for source in sources {
            let of_source: Vec<Estimate> = all
                .iter()
                .filter(|s| s.source == source)
                .map(|s| s.share)
                .collect();
            let value = of_source.iter().map(|e| e.value).sum();
            let se = of_source.iter().map(|e| e.se.powi(2)).sum::<f64>().sqrt();
            all.push(VarianceShare {
                source,
                unit: None,
                share: around(value, se),
            });
        }
        let left = (1.0 - explained).max(0.0);
        let depth = [0.72, 0.55, 0.9][index] * left;
        all.push(VarianceShare {
            source: VarianceSource::Depth,
            unit: None,
            share: around(depth, 0.01),
        });
        all.push(VarianceShare {
            source: VarianceSource::Rest,
            unit: None,
            share: around(left - depth, 0.01),
        });
        all
    }

    fn unit_share(&self, index: usize, unit: usize, part: usize, sd: f64) -> Estimate {
        let quarter = (self.bases.len() / 4).max(1);
        let shares: Vec<f64> = (0..self.bases.len() / quarter)
            .map(|q| {
                self.share_of_bases(index, unit, part, q * quarter..(q + 1) * quarter) / (sd * sd)
            })
            .collect();
        estimate(&shares)
    }

    fn share_of_bases(
        &self,
        index: usize,
        unit: usize,
        part: usize,
        bases: std::ops::Range<usize>,
    ) -> f64 {
        let spec = &self.space.units()[unit];
        let depths = spec.depths().count() as f64;
        let mut total = 0.0;
        for layer in 0..spec.max_depth() {
            let active = spec.depths().filter(|&d| d > layer).count() as f64 / depths;
            let effect = |id: BlockId| {
                let all = self.effects(index, (unit, layer, id));
                bases.clone().map(|i| all[i]).sum::<f64>() / bases.len() as f64
            };
            let means: Vec<f64> = self.candidates(unit).map(effect).collect();
            total += active * parts(self.space, unit, &means)[part];
        }
        total
    }

    fn friendliness(&self, metrics: &[MetricProfile]) -> Result<Vec<Friendliness>> {
        let pace = metrics[0].mean.value / metrics[2].mean.value;
        let mut all = Vec::new();
        for &(unit, layer, id) in self.grids[0].keys() {
            let key = (unit, layer, id);
            let (ms, mmacs) = (self.effects(0, key), self.effects(2, key));
            let excess: Vec<f64> = ms.iter().zip(&mmacs).map(|(t, m)| t - m * pace).collect();
            let excess_ms = estimate(&excess);
            let (mmacs, relative_rate) = self.rate(key, pace)?;
            all.push(Friendliness {
                unit: unit + 1,
                layer: layer + 1,
                block: self.space.block(Placement { unit, layer }, id).to_string(),
                mmacs,
                significant: is_significant(&excess_ms),
                excess_ms,
                relative_rate,
            });
        }
        Ok(all)
    }

    /// MACs of the block's layer, and its rate relative to the device's where the layer is optional.
    fn rate(
        &self,
        (unit, layer, id): (usize, usize, BlockId),
        pace: f64,
    ) -> Result<(f64, Option<Estimate>)> {
        let optional = layer >= self.space.units()[unit].min_depth();
        let (mut mmacs, mut rates) = (0.0, Vec::new());
        for base in &self.bases {
            let placement = Placement { unit, layer };
            let full = with_block(
                self.space,
                &with_depth(self.space, base, unit, layer.max(1) + 1)?,
                placement,
                id,
            )?;
            if !optional {
                mmacs += self.macs.evaluate(&full)? / 30.0;
                continue;
            }
            let without = with_depth(self.space, &full, unit, layer)?;
            let work = self.macs.evaluate(&full)? - self.macs.evaluate(&without)?;
            let time = self.latency.evaluate(&full)? - self.latency.evaluate(&without)?;
            mmacs += work;
            rates.push(work / time * pace);
        }
        let mut rate = optional.then(|| estimate(&rates));
        if let Some(rate) = &mut rate {
            *rate = around(rate.value, (rate.se + 0.03) * rate.value);
        }
        Ok((mmacs / self.bases.len() as f64, rate))
    }

    fn measurement(&self) -> Result<MeasurementSection> {
        let mut rng = SEED.stream("networks").rng();
        let mut networks = Vec::new();
        for i in 0..NETWORKS - 3 {
            let arch = self.space.sample(RESOLUTION, &mut rng)?;
            let [ms, accuracy, macs] = self.evaluate(&arch, &mut rng)?;
            networks.push(NetworkRow {
                arch: self.space.print(&arch),
                raw_ms: rounded(ms * drift(i as f64 * 1.1)),
                corrected_ms: rounded(ms),
                values: BTreeMap::from([
                    ("accuracy".to_owned(), rounded(accuracy)),
                    ("macs".to_owned(), rounded(macs)),
                ]),
            });
        }
        let sentinels: Vec<SentinelReading> = (0..=NETWORKS / SENTINEL_EVERY)
            .map(|i| reading(i * (SENTINEL_EVERY + 1), &mut rng))
            .collect();
        Ok(section(networks, sentinels))
    }
}

fn reading(position: usize, rng: &mut Rng) -> SentinelReading {
    let corrected_ms = rounded(21.4 * (1.0 + 0.0045 * normal(rng)));
    let raw_ms = rounded(corrected_ms * drift(position as f64));
    SentinelReading {
        position,
        raw_ms,
        corrected_ms,
    }
}

/// The simulated device warms up, and slows down after two thirds of the campaign.
fn drift(position: f64) -> f64 {
    1.0 - 0.022 * (-position / 35.0).exp() + 0.026 / (1.0 + ((190.0 - position) / 9.0).exp())
}

fn section(networks: Vec<NetworkRow>, sentinels: Vec<SentinelReading>) -> MeasurementSection {
    let last = sentinels.last().map_or(0, |s| s.position);
    MeasurementSection {
        device: DeviceDescription {
            engine: "mock".to_owned(),
            engine_version: "1".to_owned(),
            threads: 1,
            precision: "fp32".to_owned(),
            cpu: "a formula (simulated device)".to_owned(),
            cpus: 2,
            system: "linux x86_64".to_owned(),
            governor: Some("schedutil".to_owned()),
        },
        planned: NETWORKS,
        measured: networks.len(),
        failed: 3,
        reference: None,
        noise_floor: Some(0.0045),
        drift: (0..=last)
            .step_by(5)
            .map(|p| DriftPoint {
                position: p as f64,
                factor: drift(p as f64),
            })
            .collect(),
        sentinels,
        largest_correction: 0.026,
        converged: 0.976,
        set_aside: 0.0132,
        samples: 41_870,
        statistic: "25 % quantile of undisturbed samples".to_owned(),
        phases: PhaseMedians {
            build_ms: 41.0,
            prepare_ms: 87.5,
            first_ms: 38.2,
            warm_up_ms: 512.0,
        },
        failures: vec![
            FailureCount {
                kind: "hang".to_owned(),
                count: 2,
                example: "no result within 60 s".to_owned(),
            },
            FailureCount {
                kind: "crash".to_owned(),
                count: 1,
                example: "crash: signal 11".to_owned(),
            },
        ],
        wall_s: 1_934.0,
        warnings: vec![
            WarningCount {
                warning: "the median is known to +-1.4 % only (wanted +-1.0 %)".to_owned(),
                count: 6,
            },
            WarningCount {
                warning: "11.2 % of the samples were disturbed by other work and set aside"
                    .to_owned(),
                count: 4,
            },
        ],
        networks,
    }
}

fn provenance(profile: &Profile) -> Provenance {
    Provenance {
        blocklens: "0.1.0".to_owned(),
        engine: Some("mock 1".to_owned()),
        seed: profile.seed,
        space_digest: profile.space_digest.clone(),
        store: Some("blocklens-out/measurements.db".to_owned()),
        campaign: Some("demo".to_owned()),
        created: "demonstration, no date".to_owned(),
        inputs: vec![InputHash {
            name: "ofa-mbv3.toml".to_owned(),
            hash: format!("digest:{}", profile.space_digest),
        }],
    }
}

fn findings(metrics: &[MetricProfile]) -> Vec<Finding> {
    let mut all = Vec::new();
    for metric in &metrics[..2] {
        let name = &metric.metric.name;
        let unit = if name == "latency" { "ms" } else { "pp top-1" };
        let margin = |kernel, expansion| {
            metric
                .averages
                .iter()
                .find(|a| (a.unit, a.kernel, a.expansion) == (None, kernel, expansion))
        };
        for (label, found) in [
            ("7\u{d7}7 kernels", margin(Some(7), None)),
            ("5\u{d7}5 kernels", margin(Some(5), None)),
            ("Blocks of expansion 6", margin(None, Ratio::whole(6))),
        ] {
            if let Some(a) = found.filter(|a| is_significant(&a.effect)) {
                all.push(claim(name, unit, label, a.effect));
            }
        }
        let strongest = metric
            .blocks
            .iter()
            .filter(|b| b.significant)
            .max_by(|a, b| a.effect.value.total_cmp(&b.effect.value));
        if let Some(b) = strongest {
            let label = format!("{} at unit {}, layer {},", b.block, b.unit, b.layer);
            all.push(claim(name, unit, &label, b.effect));
        }
    }
    all
}

fn claim(metric: &str, unit: &str, label: &str, evidence: Estimate) -> Finding {
    let verb = if label.ends_with(',') {
        "changes"
    } else {
        "change"
    };
    Finding {
        metric: metric.to_owned(),
        text: format!("{label} {verb} {metric} against the mean block there."),
        unit: unit.to_owned(),
        evidence,
    }
}

fn latency_info() -> MetricInfo {
    MetricInfo {
        name: "latency".to_owned(),
        unit: "ms".to_owned(),
        direction: Direction::LowerIsBetter,
        origin: Origin::Simulated,
        about:
            "Latency of a simulated roofline device with 0.8 % noise: a formula, not a measurement."
                .to_owned(),
    }
}

fn accuracy_info() -> MetricInfo {
    MetricInfo {
        name: "accuracy".to_owned(),
        unit: "% top-1".to_owned(),
        direction: Direction::HigherIsBetter,
        origin: Origin::Simulated,
        about: "An invented formula that rewards depth, expansion and large kernels late in the network: no network was trained.".to_owned(),
    }
}

/// An invented accuracy: later units matter more, and returns diminish.
fn accuracy(space: &DesignSpace, arch: &Architecture) -> f64 {
    let gain: f64 = arch
        .active()
        .map(|(p, id)| {
            let b = space.block(p, id);
            let width = b.expansion().map_or(1.0, Ratio::value) / 6.0;
            let late = p.unit as f64 / 4.0;
            let field = f64::from(b.kernel().unwrap_or(3) - 3) / 4.0;
            (0.5 + 0.3 * late) * (0.35 + width) * (1.0 + (0.22 * late - 0.02) * field)
                / (1.0 + 0.3 * p.layer as f64)
        })
        .sum();
    82.0 - 14.0 * (-gain / 9.0).exp()
}

fn with_block(
    space: &DesignSpace,
    base: &Architecture,
    at: Placement,
    block: BlockId,
) -> Result<Architecture> {
    let mut units = base.choices();
    let blocks = &mut units[at.unit].blocks;
    while blocks.len() <= at.layer {
        let copied = blocks[blocks.len() - 1];
        blocks.push((copied + 4) % 9);
    }
    blocks[at.layer] = block;
    Ok(space.architecture(RESOLUTION, &units)?)
}

fn with_depth(
    space: &DesignSpace,
    base: &Architecture,
    unit: usize,
    depth: usize,
) -> Result<Architecture> {
    let mut units = base.choices();
    let blocks = &mut units[unit].blocks;
    while blocks.len() < depth {
        let copied = blocks[blocks.len() - 1];
        blocks.push((copied + 4) % 9);
    }
    blocks.truncate(depth);
    Ok(space.architecture(RESOLUTION, &units)?)
}

/// Variance of a table of block means that its kernels, its expansions and the two together explain.
fn parts(space: &DesignSpace, unit: usize, means: &[f64]) -> [f64; 3] {
    let blocks = space.units()[unit].blocks(0);
    let mean_where = |keep: &dyn Fn(usize) -> bool| {
        let kept: Vec<f64> = (0..means.len())
            .filter(|&i| keep(i))
            .map(|i| means[i])
            .collect();
        kept.iter().sum::<f64>() / kept.len() as f64
    };
    let n = means.len() as f64;
    let total = means.iter().map(|m| m * m).sum::<f64>() / n;
    let of = |same: &dyn Fn(usize, usize) -> bool| {
        (0..means.len())
            .map(|i| mean_where(&|j| same(i, j)).powi(2))
            .sum::<f64>()
            / n
    };
    let kernel = of(&|i, j| blocks[i].kernel() == blocks[j].kernel());
    let expansion = of(&|i, j| blocks[i].expansion() == blocks[j].expansion());
    [kernel, expansion, (total - kernel - expansion).max(0.0)]
}

fn estimate(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    around(mean, (variance / n).sqrt())
}

fn around(value: f64, se: f64) -> Estimate {
    Estimate {
        value: rounded(value),
        se: rounded(se),
        low: rounded(value - 1.96 * se),
        high: rounded(value + 1.96 * se),
    }
}

/// Two-sided normal quantile for 5 % shared by 180 comparisons.
fn is_significant(effect: &Estimate) -> bool {
    effect.value.abs() > 3.63 * effect.se
}

fn rounded(x: f64) -> f64 {
    (x * 1e5).round() / 1e5
}

fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
