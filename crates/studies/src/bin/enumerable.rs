//! How many evaluations the algorithms need to find the best architecture of a space that is small enough to know it.
//!
//! ```text
//! cargo run --release -p blocklens-studies --bin enumerable -- PREDICTOR.pth SEEDS [VALUES.csv]
//! ```
//!
//! OFA-MobileNetV3 with every unit two layers deep and expansion 6, so that the kernels of ten layers are left: 59,049
//! architectures at 224 pixels, all of whose accuracies the published predictor says. Every algorithm searches with
//! SEEDS seeds until it has the best one, or 1,000 evaluations are spent. For BANANAS also with the first 10 and
//! batches of 10 of its published code, with which `tools/compare_bananas.py` compares: VALUES.csv gets the kernels and
//! the accuracy of every architecture for it.

use std::error::Error;
use std::fmt::Write as _;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::metric::Metric;
use blocklens_core::search::{
    Bananas, Problem, Search, SearchAlgorithm, algorithm, one_after_the_other,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::stats::{mean, quantile};
use blocklens_core::surrogate::AccuracyPredictor;

const RESOLUTION: u32 = 224;
/// Evaluations at most.
const BUDGET: usize = 1_000;
/// When the best values so far are told.
const LOOKS: [usize; 4] = [50, 100, 150, 300];

type Make<'a> = dyn Fn(&Problem<'_>) -> Box<dyn SearchAlgorithm> + 'a;

struct Study {
    space: DesignSpace,
    accuracy: AccuracyPredictor,
    best: f64,
}

/// A run: what it had found after each look, and when it found the best.
struct Run {
    regrets: [f64; LOOKS.len()],
    reached: Option<usize>,
}

impl Study {
    fn run(&self, make: &Make<'_>, seed: u64) -> Result<Run, Box<dyn Error>> {
        let infos = [self.accuracy.info().clone()];
        let problem = Problem::new(&self.space, &[RESOLUTION], &infos, &[0])?;
        let mut search = Search::new(&problem, make(&problem), Seed(seed));
        let (mut found, mut count) = (f64::NEG_INFINITY, 0);
        let mut run = Run {
            regrets: [f64::NAN; LOOKS.len()],
            reached: None,
        };
        while count < BUDGET && run.reached.is_none() {
            let archs = search.ask(&one_after_the_other).to_vec();
            let values: Result<Vec<f64>, _> =
                self.accuracy.evaluate_many(&archs).into_iter().collect();
            let values = values?;
            for value in &values {
                found = found.max(*value);
                count += 1;
                if let Some(look) = LOOKS.iter().position(|look| *look == count) {
                    run.regrets[look] = self.best - found;
                }
                if found >= self.best && run.reached.is_none() {
                    run.reached = Some(count);
                }
            }
            search.tell(
                values.into_iter().map(|v| vec![Some(v)]).collect(),
                &one_after_the_other,
            )?;
        }
        // Nothing is better than the best.
        let later = LOOKS
            .iter()
            .zip(&mut run.regrets)
            .filter(|(look, _)| **look > count);
        later.for_each(|(_, regret)| *regret = 0.0);
        Ok(run)
    }
}

/// The kernels of ten layers.
fn small() -> Result<DesignSpace, Box<dyn Error>> {
    let whole = DesignSpace::builtin("ofa-mbv3", Some(1.2))?;
    let mut kept = whole.whole();
    for (index, unit) in whole.units().iter().enumerate() {
        for depth in (unit.min_depth() + 1..=unit.max_depth()).rev() {
            kept.remove_depth(index, depth);
        }
        for layer in 0..unit.min_depth() {
            for (id, block) in (0..).zip(unit.blocks(layer)) {
                if block.expansion().is_some_and(|e| e.value() < 6.0) {
                    kept.remove_block(index, layer, id);
                }
            }
        }
    }
    Ok(whole.restricted(&kept, "ten-kernels")?)
}

fn kernels(space: &DesignSpace, arch: &Architecture) -> Vec<u32> {
    let active = arch.active();
    let kernel = |(place, block)| space.block(place, block).kernel();
    active.filter_map(kernel).collect()
}

/// The kernels of every architecture, and its accuracy.
fn table(study: &Study, archs: &[Architecture], values: &[f64]) -> String {
    let mut text = String::new();
    for (arch, value) in archs.iter().zip(values) {
        for kernel in kernels(&study.space, arch) {
            let _ = write!(text, "{kernel},");
        }
        let _ = writeln!(text, "{value}");
    }
    text
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [predictor, seeds, rest @ ..] = args.as_slice() else {
        return Err("PREDICTOR.pth SEEDS [VALUES.csv]".into());
    };
    let seeds: u64 = seeds.parse()?;
    let space = small()?;
    let checkpoint = Checkpoint::read(predictor, &std::fs::read(predictor)?)?;
    let accuracy = AccuracyPredictor::new("accuracy", &space, &checkpoint)?;
    let archs: Vec<Architecture> = space.enumerate(RESOLUTION)?.collect();
    let values: Result<Vec<f64>, _> = accuracy.evaluate_many(&archs).into_iter().collect();
    let values = values?;
    let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let study = Study {
        space,
        accuracy,
        best,
    };
    if let [file] = rest {
        std::fs::write(file, table(&study, &archs, &values))?;
    }
    println!("{} architectures, best {best:.4} %", archs.len());
    println!(
        "| algorithm | found the best | median evaluations to it | {} |",
        LOOKS.map(|l| format!("below it after {l}")).join(" | ")
    );
    println!("|---|---:|---:|{}", "---:|".repeat(LOOKS.len()));
    let published = |_: &Problem<'_>| -> Box<dyn SearchAlgorithm> {
        Box::new(Bananas {
            start: 10,
            batch: 10,
            ..Bananas::default()
        })
    };
    report("bananas, 10 and 10", &study, seeds, &published)?;
    for name in [
        "bananas",
        "guided",
        "evolution",
        "local",
        "top-k",
        "nsga2",
        "random",
    ] {
        let usual = |problem: &Problem<'_>| algorithm(name, problem).expect("a built-in algorithm");
        report(name, &study, seeds, &usual)?;
    }
    Ok(())
}

/// One line of the table.
fn report(name: &str, study: &Study, seeds: u64, make: &Make<'_>) -> Result<(), Box<dyn Error>> {
    let runs: Result<Vec<Run>, _> = (1..=seeds).map(|seed| study.run(make, seed)).collect();
    let runs = runs?;
    let reached = runs.iter().filter(|run| run.reached.is_some()).count();
    // Runs that have not found it count as later than all others.
    let counts = runs
        .iter()
        .map(|run| run.reached.map_or(f64::INFINITY, |n| n as f64));
    let median = quantile(&counts.collect::<Vec<f64>>(), 0.5).unwrap_or(f64::NAN);
    let median = if median.is_finite() {
        format!("{median:.0}")
    } else {
        format!("> {BUDGET}")
    };
    let regret = |look: usize| mean(&runs.iter().map(|r| r.regrets[look]).collect::<Vec<f64>>());
    let regrets: Vec<String> = (0..LOOKS.len())
        .map(|look| format!("{:.3}", regret(look)))
        .collect();
    println!(
        "| `{name}` | {reached} of {seeds} | {median} | {} |",
        regrets.join(" | ")
    );
    Ok(())
}
