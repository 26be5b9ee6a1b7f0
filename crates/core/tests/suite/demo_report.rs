//! A report on `ofa-mbv3` whose metrics are formulas: a simulated device's latency with noise and drift, an invented
//! accuracy with noise, and exact MACs. What a device would tell besides (phases, failures, warnings) is invented; the
//! profile is estimated as any other.

use std::collections::BTreeMap;
use std::error::Error;

use blocklens_core::measurement::{DeviceDescription, Warning};
use blocklens_core::metric::{CostKind, CostMetric, Direction, Metric, MetricInfo, Origin};
use blocklens_core::profile::{
    Designed, Draw, Estimator, Means, MetricProfile, Observation, Profile, findings, friendliness,
};
use blocklens_core::report::{
    DriftPoint, FailureCount, InputHash, MeasurementSection, NetworkRow, PhaseMedians, Provenance,
    REPORT_FORMAT, Report, SentinelReading, WarningCount,
};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace, Ratio};
use blocklens_core::surrogate::{SimulatedDevice, SimulatedLatency};
use rand::RngExt;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RESOLUTION: u32 = 224;
const SEED: Seed = Seed(20_260_101);
/// Standard deviation of the simulated measurement noise, relative.
const NOISE: f64 = 0.008;
/// Standard deviation of the invented accuracy's noise, in points.
const ACCURACY_NOISE: f64 = 0.04;
const NETWORKS: usize = 250;
/// Networks of the plan that have no latency.
const FAILED: usize = 3;
const SENTINEL_EVERY: usize = 10;

/// The report.
pub fn demo_report() -> Result<Report> {
    let space = DesignSpace::builtin("ofa-mbv3", None)?;
    let networks = evaluate(&space)?;
    let profile = profile(&space, &networks)?;
    Ok(Report {
        format: REPORT_FORMAT,
        title: "Block profile of OFA-MobileNetV3 on a simulated device".to_owned(),
        generated_by: "blocklens 0.1.0 (demo_report)".to_owned(),
        command: "cargo run -p blocklens-studies --bin demo_report -- report.html".to_owned(),
        measurement: Some(measurement(&space, &networks)),
        provenance: provenance(&profile),
        profile,
        warnings: vec![
            Warning::Governor {
                name: "schedutil".to_owned(),
            },
            Warning::Drift { relative: 0.031 },
            Warning::Failures {
                failed: FAILED,
                of: NETWORKS,
            },
        ],
    })
}

/// A network of the plan with its latency, accuracy and MACs.
struct Network {
    draw: Draw,
    values: [f64; 3],
}

/// The networks of the plan that did not fail.
fn evaluate(space: &DesignSpace) -> Result<Vec<Network>> {
    let latency = SimulatedLatency::new(
        space.clone(),
        SimulatedDevice {
            interaction: 0.1,
            ..SimulatedDevice::default()
        },
    );
    let macs = CostMetric::new(space.clone(), CostKind::Macs);
    let plan = Designed::default();
    let mut rng = SEED.stream("noise").rng();
    let network = |index| {
        let draw = plan.draw(space, RESOLUTION, SEED, index)?;
        let values = [
            latency.evaluate(&draw.arch)? * (1.0 + NOISE * normal(&mut rng)),
            accuracy(space, &draw.arch) + ACCURACY_NOISE * normal(&mut rng),
            macs.evaluate(&draw.arch)?,
        ];
        Ok(Network { draw, values })
    };
    (0..(NETWORKS - FAILED) as u64).map(network).collect()
}

fn profile(space: &DesignSpace, networks: &[Network]) -> Result<Profile> {
    let macs = CostMetric::new(space.clone(), CostKind::Macs);
    let infos = [latency_info(), accuracy_info(), macs.info().clone()];
    let mut metrics = Vec::new();
    let mut known: Vec<(&MetricInfo, Means)> = Vec::new();
    for (index, info) in infos.iter().enumerate() {
        let observations: Vec<Observation> = networks.iter().map(|n| n.observed(index)).collect();
        let means = Designed::default().estimate(space, &observations)?;
        let failures = if index == 0 { FAILED } else { 0 };
        metrics.push(MetricProfile::from_means(
            space,
            info.clone(),
            Designed::default().name(),
            &observations,
            failures,
            &means,
        ));
        known.push((info, means));
    }
    let friendliness = friendliness(space, RESOLUTION, &known[0].1);
    let known: Vec<(&MetricInfo, &Means)> = known.iter().map(|(info, m)| (*info, m)).collect();
    Ok(Profile {
        format: 1,
        space: space.name().to_owned(),
        width: space.width(),
        space_digest: space.digest().to_owned(),
        resolution: RESOLUTION,
        seed: SEED.0,
        findings: findings(space, &known, &friendliness),
        friendliness,
        metrics,
    })
}

impl Network {
    fn observed(&self, metric: usize) -> Observation {
        Observation {
            draw: self.draw.clone(),
            value: self.values[metric],
        }
    }

    /// As the network at this place of the plan would be reported.
    fn row(&self, space: &DesignSpace, index: usize) -> NetworkRow {
        let [ms, accuracy, macs] = self.values;
        NetworkRow {
            arch: space.print(&self.draw.arch),
            raw_ms: ms * drift(index as f64 * 1.1),
            corrected_ms: ms,
            values: BTreeMap::from([("accuracy".to_owned(), accuracy), ("macs".to_owned(), macs)]),
        }
    }
}

fn measurement(space: &DesignSpace, networks: &[Network]) -> MeasurementSection {
    let mut rng = SEED.stream("sentinel").rng();
    let rows = networks.iter().enumerate();
    let rows = rows.map(|(index, network)| network.row(space, index));
    let sentinels = (0..=NETWORKS / SENTINEL_EVERY)
        .map(|i| reading(i * (SENTINEL_EVERY + 1), &mut rng))
        .collect();
    section(rows.collect(), sentinels)
}

fn reading(position: usize, rng: &mut Rng) -> SentinelReading {
    let corrected_ms = 21.4 * (1.0 + 0.0045 * normal(rng));
    let raw_ms = corrected_ms * drift(position as f64);
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
            host: None,
        },
        planned: NETWORKS,
        measured: networks.len(),
        failed: FAILED,
        reference: None,
        level: None,
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
        about: "An invented formula that rewards depth, expansion and large kernels late in the network: no network \
            was trained.".to_owned(),
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

/// Close to a standard normal number: the sum of twelve uniform ones.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.random_range(-0.5..0.5)).sum()
}
