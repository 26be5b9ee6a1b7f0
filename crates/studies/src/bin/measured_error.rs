//! How close a profile of few measured networks comes to networks that it has not seen, and to a profile of many more.
//!
//! `cargo run --release -p blocklens-studies --bin measured_error -- TRAIN... -- TEST... [SKIP]`
//!
//! TRAIN and TEST are folders of `blocklens profile` for one space, resolution, engine and machine. For growing numbers
//! of the networks of each TRAIN it prints how their model predicts the networks of TEST, and how far its block effects
//! are from those of a profile of all networks of TEST. SKIP networks of TEST's beginning are left out of the predicted
//! ones: with TRAIN among TEST's own networks, so many may be learnt from.
//!
//! One measurement is as noisy as the machine is. Several TESTs are campaigns of the same networks: what is predicted
//! is the geometric mean of their measurements, each campaign's level taken out, and how far these are apart says how
//! well that is known.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use blocklens_core::metric::{Direction, Metric, MetricInfo, Origin};
use blocklens_core::profile::{Estimate, Estimator, Layout, Means, Observation, Pooled};
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::stats::agreement::Agreement;
use blocklens_core::stats::{mean, variance};
use blocklens_core::surrogate::{BlockModel, ModelMetric};
use blocklens_measure::analysis;
use blocklens_measure::campaign::CampaignSpec;
use blocklens_measure::readout::Readout;
use blocklens_measure::store::Store;

const USAGE: &str = "usage: measured_error TRAIN... -- TEST... [SKIP]";

const SIZES: [usize; 9] = [25, 40, 60, 80, 100, 150, 200, 300, 400];

struct Campaign {
    name: String,
    estimator: String,
    space: DesignSpace,
    observations: Vec<Observation>,
    noise_floor: Option<f64>,
}

/// What is predicted.
struct Predicted {
    observations: Vec<Observation>,
    /// How well these are known, in words.
    precision: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut sides = arguments.split(|argument| argument == "--");
    let (Some(train), Some(tests)) = (sides.next(), sides.next()) else {
        return Err(USAGE.into());
    };
    let (tests, skip) = match tests.split_last() {
        Some((last, before)) => match last.parse() {
            Ok(skip) => (before, skip),
            Err(_) => (tests, 0),
        },
        None => return Err(USAGE.into()),
    };
    let read = |folder: &String| Campaign::read(Path::new(folder));
    let campaigns: Vec<Campaign> = tests.iter().map(read).collect::<Result<_, _>>()?;
    if campaigns.is_empty() {
        return Err(USAGE.into());
    }
    let predicted = Predicted::of(&campaigns);
    let unseen = predicted.observations.get(skip..).unwrap_or_default();
    if unseen.is_empty() {
        return Err(format!("TEST has no network after the first {skip}").into());
    }
    let truth = Pooled.estimate(&campaigns[0].space, &predicted.observations)?;
    println!(
        "predicted: {} networks of {} ({}); effects: of all its {}",
        unseen.len(),
        tests.join(", "),
        predicted.precision,
        predicted.observations.len()
    );
    println!(
        "| learnt from | estimator | networks | mean error | median | within 5 % | within 10 % | level apart: mean \
         error | within 5 % | Spearman | effects' RMSE | Pearson |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for folder in train {
        let campaign = Campaign::read(Path::new(folder))?;
        let last = if tests.contains(folder) {
            skip
        } else {
            usize::MAX
        };
        let count = campaign.observations.len().min(last);
        for size in SIZES.into_iter().filter(|size| *size <= count) {
            campaign.line(size, unseen, &truth)?;
        }
    }
    Ok(())
}

impl Campaign {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let store = Store::open_existing(&folder.join("measurements.db"))?;
        let campaign = store.campaign(None)?.ok_or("the store holds no campaign")?;
        let spec = CampaignSpec::from_text(&campaign.spec)?;
        let space = DesignSpace::read(&spec.space, &spec.space_source, Some(spec.width))?;
        let estimator = analysis::estimator(&spec.estimator).ok_or("an unknown estimator")?;
        let readout = Readout::read(&store, campaign.id, &spec, &space, estimator.as_ref())?;
        Ok(Self {
            name: PathBuf::from(folder).display().to_string(),
            estimator: spec.estimator,
            observations: readout.observations(),
            noise_floor: readout.scale.drift.noise_floor(),
            space,
        })
    }

    /// What the first `size` networks tell about `unseen` ones and the effects of `truth`.
    fn line(
        &self,
        size: usize,
        unseen: &[Observation],
        truth: &Means,
    ) -> Result<(), Box<dyn Error>> {
        let learnt = &self.observations[..size];
        let model = ModelMetric::new(
            "latency",
            &self.space,
            &BlockModel::learn(&self.space, &latency(), learnt)?,
        )?;
        let pairs = unseen
            .iter()
            .map(|o| Ok((model.evaluate(&o.draw.arch)?, o.value)))
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let whole = Agreement::of(&pairs).ok_or("latencies that are not positive")?;
        let level = 1.0 + whole.bias;
        let apart: Vec<_> = pairs.iter().map(|&(p, m)| (p / level, m)).collect();
        let apart = Agreement::of(&apart).ok_or("latencies that are not positive")?;
        let means = Pooled.estimate(&self.space, learnt)?;
        let relative = |m: &Means| effects(&self.space, m);
        let (rmse, pearson) = distance(&relative(&means), &relative(truth));
        println!(
            "| {} | {} | {size} | {} | {} | {} | {} | {} | {} | {:.3} | {} | {pearson:.3} |",
            self.name,
            self.estimator,
            percent(Some(whole.mape)),
            percent(Some(whole.median_error)),
            percent(Some(whole.within_5)),
            percent(Some(whole.within_10)),
            percent(Some(apart.mape)),
            percent(Some(apart.within_5)),
            whole.spearman.unwrap_or(f64::NAN),
            percent(Some(rmse)),
        );
        Ok(())
    }
}

impl Predicted {
    /// One campaign as it is; of several the geometric mean, for the networks that all of them measured, at the level
    /// of the first.
    fn of(campaigns: &[Campaign]) -> Self {
        let mut observations = campaigns[0].observations.clone();
        if let [only] = campaigns {
            let precision = format!("noise floor {}", percent(only.noise_floor));
            return Self {
                observations,
                precision,
            };
        }
        let logarithms = |c: &Campaign| -> BTreeMap<Architecture, f64> {
            let of = |o: &Observation| (o.draw.arch.clone(), o.value.ln());
            c.observations.iter().map(of).collect()
        };
        let tables: Vec<_> = campaigns.iter().map(logarithms).collect();
        observations.retain(|o| tables.iter().all(|t| t.contains_key(&o.draw.arch)));
        let level = |table: &BTreeMap<Architecture, f64>| {
            let shared: Vec<f64> = observations.iter().map(|o| table[&o.draw.arch]).collect();
            mean(&shared)
        };
        let levels: Vec<f64> = tables.iter().map(level).collect();
        let mut variances = Vec::new();
        for observation in &mut observations {
            let relative = tables.iter().zip(&levels);
            let relative: Vec<f64> = relative
                .map(|(t, l)| t[&observation.draw.arch] - l)
                .collect();
            observation.value = (levels[0] + mean(&relative)).exp();
            variances.push(variance(&relative));
        }
        let sd = mean(&variances).sqrt();
        let precision = format!(
            "a measurement is within {}, their mean within {} (standard deviations)",
            percent(Some(sd)),
            percent(Some(sd / (campaigns.len() as f64).sqrt())),
        );
        Self {
            observations,
            precision,
        }
    }
}

fn latency() -> MetricInfo {
    MetricInfo {
        name: "latency".into(),
        unit: "ms".into(),
        direction: Direction::LowerIsBetter,
        origin: Origin::Measured,
        about: "End-to-end latency.".into(),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("unknown".into(), |share| format!("{:.1} %", 100.0 * share))
}

/// All block effects, relative to the mean over the space.
fn effects(space: &DesignSpace, means: &Means) -> Vec<f64> {
    let overall = means.values[Layout::new(space).overall()];
    let value = |effect: Estimate| effect.value / overall;
    let effects = means.block_effects(space).into_iter();
    effects.map(|effect| value(effect.effect)).collect()
}

/// Root of the mean squared difference, and correlation about zero (effects sum to zero within every placement).
fn distance(found: &[f64], truth: &[f64]) -> (f64, f64) {
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        let pairs = found.iter().zip(truth);
        pairs.map(|(f_, t)| f(*f_, *t)).sum::<f64>()
    };
    let rmse = (sum(&|f, t| (f - t).powi(2)) / found.len() as f64).sqrt();
    let pearson = sum(&|f, t| f * t) / (sum(&|f, _| f * f) * sum(&|_, t| t * t)).sqrt();
    (rmse, pearson)
}
