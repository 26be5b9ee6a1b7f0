//! What many campaigns of one kind come to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use blocklens_core::profile::{Estimate, Estimator, Layout, Means};
use blocklens_core::stats::max_t::MaxT;
use blocklens_core::stats::{mean, quantile};
use nalgebra::{DMatrix, RowDVector};

use crate::setting::Setting;

/// What one campaign came to.
struct Outcome {
    mean_square_error: f64,
    pearson: f64,
    coverage: f64,
    averages: f64,
    simultaneous: bool,
    width: f64,
}

/// Simulates campaigns on all cores and prints one line.
pub fn study(setting: &Setting, estimator: &dyn Estimator, budget: u64, campaigns: u64) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (next, all) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let campaign = next.fetch_add(1, Ordering::Relaxed);
                    if campaign >= campaigns {
                        return;
                    }
                    let means = setting.campaign(estimator, budget, campaign);
                    let outcome = Outcome::new(setting, &means);
                    all.lock()
                        .expect("no thread panics")
                        .push((campaign, outcome));
                }
            });
        }
    });
    let mut all = all.into_inner().expect("no thread panics");
    all.sort_by_key(|(campaign, _)| *campaign);
    let over = |f: &dyn Fn(&Outcome) -> f64| all.iter().map(|(_, o)| f(o)).collect::<Vec<f64>>();
    let average = |f: &dyn Fn(&Outcome) -> f64| mean(&over(f));
    let errors = over(&|o| o.mean_square_error.sqrt());
    let error = |q| quantile(&errors, q).unwrap_or(f64::NAN);
    println!(
        "| {} | {} | {budget} | {campaigns} | {:.4} | {:.4} to {:.4} | {:.3} | {:.1} % | {:.1} % | {:.1} % | {:.3} |",
        setting.name,
        estimator.name(),
        average(&|o| o.mean_square_error).sqrt(),
        error(0.05),
        error(0.95),
        average(&|o| o.pearson),
        100.0 * average(&|o| o.coverage),
        100.0 * average(&|o| o.averages),
        100.0 * average(&|o| f64::from(u8::from(o.simultaneous))),
        average(&|o| o.width),
    );
}

impl Outcome {
    fn new(setting: &Setting, means: &Means) -> Self {
        let effects = |m: &Means| {
            m.block_effects(&setting.space)
                .into_iter()
                .map(|e| e.effect)
                .collect::<Vec<_>>()
        };
        let averages = |m: &Means| {
            m.averages(&setting.space)
                .into_iter()
                .map(|a| a.effect)
                .collect::<Vec<_>>()
        };
        let pairs = |e: Vec<Estimate>, t: Vec<Estimate>| {
            e.into_iter()
                .zip(t)
                .map(|(e, t)| (e, t.value))
                .collect::<Vec<_>>()
        };
        let blocks = pairs(effects(means), effects(&setting.truth));
        let widths: Vec<f64> = blocks.iter().map(|(e, _)| (e.high - e.low) / 2.0).collect();
        let squares: Vec<f64> = blocks.iter().map(|(e, t)| (e.value - t).powi(2)).collect();
        Self {
            mean_square_error: mean(&squares),
            pearson: correlation(&blocks),
            coverage: coverage(&blocks),
            averages: coverage(&pairs(averages(means), averages(&setting.truth))),
            simultaneous: simultaneous(setting, means, &blocks),
            width: mean(&widths),
        }
    }
}

/// Share of the intervals that hold the truth.
fn coverage(effects: &[(Estimate, f64)]) -> f64 {
    let held = effects
        .iter()
        .filter(|(e, truth)| (e.low..=e.high).contains(truth))
        .count();
    held as f64 / effects.len() as f64
}

fn correlation(effects: &[(Estimate, f64)]) -> f64 {
    let product = |f: &dyn Fn(&(Estimate, f64)) -> f64| effects.iter().map(f).sum::<f64>();
    // Effects sum to zero within every placement: their means are zero already.
    product(&|e| e.0.value * e.1)
        / (product(&|e| e.0.value * e.0.value) * product(&|e| e.1 * e.1)).sqrt()
}

/// Whether the simultaneous 95 % intervals hold all effects at once.
fn simultaneous(setting: &Setting, means: &Means, effects: &[(Estimate, f64)]) -> bool {
    let layout = Layout::new(&setting.space);
    let n = means.values.len();
    let covariance = DMatrix::from_row_slice(n, n, &means.covariance);
    let rows: Vec<RowDVector<f64>> = layout
        .placements()
        .filter(|p| layout.blocks(*p) > 1)
        .flat_map(|p| {
            let first = layout.block(p, 0);
            let blocks = first..first + layout.blocks(p);
            let average = 1.0 / blocks.len() as f64;
            blocks.clone().map(move |block| {
                let mut row = RowDVector::zeros(n);
                blocks.clone().for_each(|i| row[i] = -average);
                row[block] += 1.0;
                row
            })
        })
        .collect();
    let contrasts = DMatrix::from_rows(&rows);
    let covariance = &contrasts * covariance * contrasts.transpose();
    let critical = MaxT::of_each(&covariance, means.joint_degrees_of_freedom).critical(0.05);
    effects
        .iter()
        .all(|(e, truth)| (e.value - truth).abs() <= critical * e.se)
}
