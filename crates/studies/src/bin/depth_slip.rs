//! What the slip of depth in the published profiling code does to its kernel-by-expansion tables, on published
//! data. Prints the tables of `docs/depth-slip.md`.
//!
//! `cargo run --release -p blocklens-studies --bin depth_slip -- NOTE10 PREDICTOR`, where NOTE10 is the folder with the
//! latency tables of the `ofa` package for the Samsung Note10 and PREDICTOR its `acc_predictor.pth`.

use std::error::Error;
use std::path::{Path, PathBuf};

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::metric::{Metric, MetricError};
use blocklens_core::profile::{
    Estimate, Estimator, Layout, Legacy, Means, MetricProfile, Observation, Pooled, Sampled,
    Uncertainty, exact_means,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace, Placement, Ratio};
use blocklens_core::surrogate::{AccuracyPredictor, LookupLatency, LookupTable};

const RESOLUTIONS: [u32; 3] = [224, 208, 192];
const KERNELS: [u32; 3] = [3, 5, 7];
const EXPANSIONS: [u32; 3] = [3, 4, 6];
/// Evaluations for every combination of the published study, and of the long runs here.
const PUBLISHED: u64 = 100;
const MANY: u64 = 2_000;
/// Evaluations of `pooled`, in all.
const POOLED: u64 = 2_000;
/// The smallest and the largest block.
const EXTREMES: [u8; 2] = [0, 8];

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [note10, predictor] = paths.as_slice() else {
        return Err("usage: depth_slip NOTE10 PREDICTOR".into());
    };
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.2))?;
    let latency = read_tables(&space, note10)?;
    let bytes = std::fs::read(predictor)?;
    let checkpoint = Checkpoint::read(&predictor.display().to_string(), &bytes)?;
    let accuracy = AccuracyPredictor::new("accuracy@ofa", &space, &checkpoint)?;
    for resolution in RESOLUTIONS {
        println!("## {resolution} px\n");
        let study = Study {
            space: &space,
            resolution,
        };
        study.latency(&latency)?;
        study.accuracy(&accuracy)?;
    }
    Ok(())
}

fn read_tables(space: &DesignSpace, folder: &Path) -> Result<LookupLatency, Box<dyn Error>> {
    let mut tables = Vec::new();
    for resolution in RESOLUTIONS {
        let path = folder.join(format!("{resolution}_lookup_table.yaml"));
        let text = std::fs::read_to_string(&path)?;
        tables.push(LookupTable::read(&path.display().to_string(), &text)?);
    }
    Ok(LookupLatency::new("latency@note10", space, &tables)?)
}

struct Study<'a> {
    space: &'a DesignSpace,
    resolution: u32,
}

impl Study<'_> {
    fn latency(&self, metric: &LookupLatency) -> Result<(), Box<dyn Error>> {
        let terms = metric.terms(self.resolution);
        let (fixed, term) = terms.ok_or("the tables lack a layer of the space")?;
        let truth = exact_means(
            self.space,
            |unit, choice| term(unit, choice.blocks).unwrap_or(f64::NAN),
            fixed,
        );
        let truth = exactly(truth);
        self.tables(metric, "closed form", &truth)
    }

    fn accuracy(&self, metric: &AccuracyPredictor) -> Result<(), Box<dyn Error>> {
        let truth = self.means(metric, &Sampled, MANY * self.space.combinations() as u64)?;
        self.tables(metric, "`sampled`, N = 2,000", &truth)
    }

    /// The tables of all estimators beside the truth, and what is left of effects layer by layer.
    fn tables(
        &self,
        metric: &dyn Metric,
        truth_name: &str,
        truth: &Means,
    ) -> Result<(), Box<dyn Error>> {
        let combinations = self.space.combinations() as u64;
        let legacy = self.means(metric, &Legacy, MANY * combinations)?;
        let published = self.means(metric, &Legacy, PUBLISHED * combinations)?;
        let sampled = self.means(metric, &Sampled, PUBLISHED * combinations)?;
        let pooled = self.means(metric, &Pooled, POOLED)?;
        let info = metric.info();
        println!("{} in {}:\n", info.name, info.unit);
        let head: Vec<String> = KERNELS
            .iter()
            .flat_map(|k| EXPANSIONS.iter().map(move |e| format!("e{e} k{k}")))
            .collect();
        println!("| | evaluations | {} |", head.join(" | "));
        println!("|---|---:|{}", "---:|".repeat(head.len()));
        self.row(metric, truth_name, None, truth);
        self.row(
            metric,
            "`legacy`, N = 2,000",
            Some(MANY * combinations),
            &legacy,
        );
        self.errors(metric, &legacy);
        self.row(
            metric,
            "`legacy`, N = 100",
            Some(PUBLISHED * combinations),
            &published,
        );
        self.row(
            metric,
            "`sampled`, N = 100",
            Some(PUBLISHED * combinations),
            &sampled,
        );
        self.row(metric, "`pooled`", Some(POOLED), &pooled);
        println!("\n{}\n", self.shares(&legacy, truth));
        Ok(())
    }

    fn means(
        &self,
        metric: &dyn Metric,
        estimator: &dyn Estimator,
        budget: u64,
    ) -> Result<Means, Box<dyn Error>> {
        let draw = |i| estimator.draw(self.space, self.resolution, Seed(1), i);
        let draws = (0..budget).map(draw).collect::<Result<Vec<_>, _>>()?;
        let archs: Vec<Architecture> = draws.iter().map(|d| d.arch.clone()).collect();
        let values = metric.evaluate_many(&archs).into_iter();
        let values = values.collect::<Result<Vec<f64>, MetricError>>()?;
        let observations: Vec<Observation> = draws
            .into_iter()
            .zip(values)
            .map(|(draw, value)| Observation { draw, value })
            .collect();
        Ok(estimator.estimate(self.space, &observations)?)
    }

    /// The effects of the nine blocks, averaged over every placement.
    fn effects(&self, metric: &dyn Metric, means: &Means) -> Vec<Estimate> {
        let profile =
            MetricProfile::from_means(self.space, metric.info().clone(), "", &[], 0, means);
        let mut effects = Vec::new();
        for kernel in KERNELS {
            for expansion in EXPANSIONS {
                let wanted = (None, Some(kernel), Ratio::whole(expansion));
                let cell = profile.averages.iter();
                let cell = cell.filter(|a| (a.unit, a.kernel, a.expansion) == wanted);
                effects.extend(cell.map(|a| a.effect));
            }
        }
        effects
    }

    fn row(&self, metric: &dyn Metric, name: &str, evaluations: Option<u64>, means: &Means) {
        let effects = self.effects(metric, means);
        let cells: Vec<String> = effects.iter().map(|e| format!("{:+.2}", e.value)).collect();
        let evaluations = evaluations.map_or("all".into(), |n| n.to_string());
        println!("| {name} | {evaluations} | {} |", cells.join(" | "));
    }

    fn errors(&self, metric: &dyn Metric, means: &Means) {
        let effects = self.effects(metric, means);
        let cells: Vec<String> = effects.iter().map(|e| format!("{:.3}", e.se)).collect();
        println!("| its standard errors | | {} |", cells.join(" | "));
    }

    /// What is left of the difference between the largest and the smallest block, layer by layer, with the standard
    /// error that the estimate gives it.
    fn shares(&self, legacy: &Means, truth: &Means) -> String {
        let layout = Layout::new(self.space);
        let units = self.space.units().len();
        let step = |means: &Means, layer| -> f64 {
            let at = |unit, block| means.values[layout.block(Placement { unit, layer }, block)];
            let [small, large] = EXTREMES;
            (0..units)
                .map(|unit| at(unit, large) - at(unit, small))
                .sum()
        };
        let variance = |layer| -> f64 {
            let at = |unit, block| {
                let index = layout.block(Placement { unit, layer }, block);
                legacy.covariance[index * layout.len() + index]
            };
            let of_unit = |unit| EXTREMES.iter().map(|block| at(unit, *block)).sum::<f64>();
            (0..units).map(of_unit).sum()
        };
        let share = |layer| {
            let whole = step(truth, layer);
            let error = variance(layer).sqrt() / whole.abs();
            format!("{:.2} \u{b1} {error:.2}", step(legacy, layer) / whole)
        };
        let layers: Vec<String> = (0..4).map(share).collect();
        format!(
            "Left of the step from e3 k3 to e6 k7, by layer of the unit, with `legacy` at N = 2,000: {}.",
            layers.join(", ")
        )
    }
}

/// Means that are known without error.
fn exactly(values: Vec<f64>) -> Means {
    let n = values.len();
    Means {
        values,
        covariance: vec![0.0; n * n],
        uncertainty: Uncertainty::Sampling,
        degrees_of_freedom: f64::INFINITY,
        joint_degrees_of_freedom: f64::INFINITY,
        sd: f64::NAN,
        held_out_r2: None,
        additive: None,
        spreads: None,
    }
}
