//! How close the estimators come to known effects, with how many evaluations, and how often their intervals hold the
//! truth: the tables of `docs/statistics.md`.
//!
//! `cargo run --release -p blocklens-studies --bin pooled_study -- CAMPAIGNS [--data FOLDER] [--estimator NAME]
//! [--networks 25,40] [SETTING...]`
//!
//! FOLDER holds `note10/224_lookup_table.yaml`, `acc_predictor.pth` and `ofa_resnet50_acc_predictor.pth`
//! (`blocklens data fetch note10 ofa ofa-resnet50` brings them); without it, only the settings that need no data are
//! run.

mod outcome;
mod setting;

use std::error::Error;
use std::path::PathBuf;

use blocklens_core::profile::{Designed, Estimator, Pooled, Sampled};
use outcome::study;
use setting::{Setting, settings};

/// Networks of the campaigns of `pooled` and `designed`.
const BUDGETS: [u64; 6] = [25, 40, 60, 100, 250, 1_000];
/// Evaluations of `sampled` for every combination.
const ROUNDS: [u64; 3] = [10, 30, 100];
/// A campaign of `sampled` takes seconds; so many show its error well enough.
const SAMPLED_CAMPAIGNS: u64 = 24;
/// Beyond so many networks, a fifth of the campaigns shows as much.
const LARGE: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut campaigns: u64 = 100;
    let (mut data, mut only) = (None, None);
    let mut budgets = BUDGETS.to_vec();
    let mut wanted: Vec<String> = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.parse() {
            Ok(number) => campaigns = number,
            Err(_) if arg == "--data" => data = args.next().map(PathBuf::from),
            Err(_) if arg == "--estimator" => only = args.next(),
            Err(_) if arg == "--networks" => {
                let list = args.next().unwrap_or_default();
                budgets = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            Err(_) => wanted.push(arg),
        }
    }
    println!(
        "| setting | estimator | evaluations | campaigns | RMSE | of campaigns: 5 % to 95 % | Pearson | coverage | of \
         averages | simultaneous | width |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for name in settings(&wanted) {
        let setting = Setting::new(name, data.as_deref())?;
        let Some(setting) = setting else {
            println!("| {name} | skipped: its data are not there ||||||||||");
            continue;
        };
        let designed = Designed::default();
        let asked = |name: &str| only.as_deref().is_none_or(|only| only == name);
        let pooled = [&Pooled as &dyn Estimator, &designed].into_iter();
        for estimator in pooled.filter(|estimator| asked(estimator.name())) {
            for &budget in &budgets {
                let few = if budget > LARGE {
                    campaigns.div_ceil(5)
                } else {
                    campaigns
                };
                study(&setting, estimator, budget, few);
            }
        }
        for rounds in ROUNDS.into_iter().filter(|_| asked("sampled")) {
            let budget = rounds * setting.combinations();
            study(&setting, &Sampled, budget, campaigns.min(SAMPLED_CAMPAIGNS));
        }
    }
    Ok(())
}
