//! How well training-free proxies order architectures: rank correlations with an accuracy predictor, beside those of
//! counted costs, on random architectures of OFA-MobileNetV3.
//!
//! ```text
//! cargo run --release -p blocklens-studies --bin proxy_correlation -- \
//!     acc_predictor.pth [architectures] [resolution] [options of proxies] [threads]
//! ```
//!
//! Prints a Markdown table. Intervals are the middle 95 % of 1,000 bootstrap resamples of the architectures;
//! differences to MACs are taken within a resample. The last columns say how well two draws of the proxy agree with
//! each other, and how many architectures a thread evaluates in a second with all its draws.

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::metric::{CostKind, CostMetric, Metric};
use blocklens_core::proxy::Proxy;
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::stats::quantile;
use blocklens_core::stats::rank::{kendall_tau, spearman_rho};
use blocklens_core::surrogate::AccuracyPredictor;
use blocklens_measure::proxies::{Options, ProxyMetric};
use rand::RngExt;

/// Resamples of the architectures.
const RESAMPLES: usize = 1_000;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What one metric says of every architecture.
struct Column {
    name: String,
    values: Vec<f64>,
    /// Kendall's tau of the first two draws.
    agreement: Option<f64>,
    /// Architectures per second and thread.
    speed: Option<f64>,
}

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let file = args
        .next()
        .ok_or("which accuracy predictor (a .pth file)?")?;
    let count: usize = args.next().map_or(Ok(200), |n| n.parse())?;
    let resolution: u32 = args.next().map_or(Ok(160), |n| n.parse())?;
    let options: Options = args.next().unwrap_or_default().parse()?;
    let threads: usize = args.next().map_or(Ok(1), |n| n.parse())?;

    let space = DesignSpace::builtin("ofa-mbv3", None)?;
    let mut rng = Seed(1).stream("proxy-correlation").rng();
    let draws = (0..count).map(|_| space.sample(resolution, &mut rng));
    let archs: Vec<Architecture> = draws.collect::<Result<_, _>>()?;

    let checkpoint = Checkpoint::read(&file, &std::fs::read(&file)?)?;
    let accuracy = AccuracyPredictor::new("accuracy", &space, &checkpoint)?;
    let truth = values(&accuracy, &archs)?;

    let mut columns = Vec::new();
    for (name, kind) in [("macs", CostKind::Macs), ("params", CostKind::Params)] {
        let metric = CostMetric::new(space.clone(), kind);
        columns.push(Column {
            name: name.to_owned(),
            values: values(&metric, &archs)?,
            agreement: None,
            speed: None,
        });
    }
    for proxy in Proxy::ALL {
        let metric = ProxyMetric::new(proxy, &space, &options)?;
        eprintln!("{}: {}", proxy.name(), metric.info().about);
        columns.push(measured(&metric, &archs, threads)?);
    }
    print(&truth, &columns, resolution);
    Ok(())
}

fn values(metric: &dyn Metric, archs: &[Architecture]) -> Fallible<Vec<f64>> {
    let values = metric.evaluate_many(archs).into_iter();
    Ok(values.collect::<Result<_, _>>()?)
}

/// All draws of a proxy for all architectures.
#[allow(clippy::cast_precision_loss)]
fn measured(metric: &ProxyMetric, archs: &[Architecture], threads: usize) -> Fallible<Column> {
    let next = AtomicUsize::new(0);
    let scores = Mutex::new(vec![None; archs.len()]);
    let start = Instant::now();
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(arch) = archs.get(index) else {
                return;
            };
            let found = metric.scores(arch);
            if let Ok(mut scores) = scores.lock() {
                scores[index] = Some(found);
            }
            if index % 20 == 19 {
                eprintln!("  {} of {}", index + 1, archs.len());
            }
        }
    };
    thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    let seconds = start.elapsed().as_secs_f64() * threads.max(1) as f64;
    let scores = scores.into_inner().map_err(|_| "a thread panicked")?;
    let scores = scores.into_iter().flatten();
    let scores: Vec<Vec<f64>> = scores.collect::<Result<_, _>>()?;
    let draw = |n: usize| scores.iter().map(|s| s.get(n).copied()).collect();
    let draws: [Option<Vec<f64>>; 2] = [draw(0), draw(1)];
    let agreement = match draws {
        [Some(first), Some(second)] => kendall_tau(&first, &second),
        _ => None,
    };
    let mean = |s: &Vec<f64>| s.iter().sum::<f64>() / s.len() as f64;
    Ok(Column {
        name: metric.info().name.clone(),
        values: scores.iter().map(mean).collect(),
        agreement,
        speed: Some(archs.len() as f64 / seconds),
    })
}

fn print(truth: &[f64], columns: &[Column], resolution: u32) {
    println!(
        "{} architectures of ofa-mbv3 at {resolution} px\n",
        truth.len()
    );
    println!(
        "| metric | Kendall tau | Spearman rho | tau minus that of MACs | tau of two draws | evaluations/s and thread \
         |\n\
         |---|---|---|---|---|---|"
    );
    let macs = &columns[0].values;
    for column in columns {
        let tau = interval(truth, |pick| {
            kendall_tau(&pick(&column.values), &pick(truth))
        });
        let rho = interval(truth, |pick| {
            spearman_rho(&pick(&column.values), &pick(truth))
        });
        let beyond = interval(truth, |pick| {
            let tau = |values: &[f64]| kendall_tau(&pick(values), &pick(truth));
            Some(tau(&column.values)? - tau(macs)?)
        });
        let or_dash = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.2}"));
        println!(
            "| {} | {tau} | {rho} | {beyond} | {} | {} |",
            column.name,
            or_dash(column.agreement),
            or_dash(column.speed)
        );
    }
}

/// A statistic of all architectures, and the middle 95 % of it over resamples.
fn interval(
    truth: &[f64],
    statistic: impl Fn(&dyn Fn(&[f64]) -> Vec<f64>) -> Option<f64>,
) -> String {
    let mut rng: Rng = Seed(1).stream("bootstrap").rng();
    let whole = statistic(&<[f64]>::to_vec).unwrap_or(f64::NAN);
    let resampled: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn: Vec<usize> = truth
                .iter()
                .map(|_| rng.random_range(0..truth.len()))
                .collect();
            statistic(&|values: &[f64]| drawn.iter().map(|&i| values[i]).collect())
        })
        .collect();
    let end = |q| quantile(&resampled, q).unwrap_or(f64::NAN);
    format!("{whole:.3} ({:.3} to {:.3})", end(0.025), end(0.975))
}
