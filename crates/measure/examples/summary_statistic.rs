//! Which statistic of a session's samples repeats best from session to session.
//!
//! Reads the sentinel of a stored campaign (one network, measured in many sessions) and prints, for each
//! candidate statistic, its spread between sessions, with and without the disturbed samples.
//! To see more sessions than a profile has, measure a campaign with a large budget.
//!
//! `cargo run --release -p blocklens-measure --example summary_statistic -- blocklens-out/measurements.db [campaign]`

use std::path::Path;

use blocklens_core::measurement::Sample;
use blocklens_core::stats::quantile;
use blocklens_measure::store::Store;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .unwrap_or_else(|| "blocklens-out/measurements.db".into());
    let store = Store::open_existing(Path::new(&path))?;
    let campaign = store.campaign(arguments.next().map(|id| id.parse()).transpose()?)?;
    let campaign = campaign.ok_or("the store holds no campaign")?;
    let sessions: Vec<Vec<Sample>> = store
        .records(campaign.id)?
        .into_iter()
        .filter(|record| record.plan_index.is_none())
        .filter_map(|record| Some(record.outcome.ok()?.samples))
        .collect();
    println!(
        "campaign {}: {} sessions of the sentinel",
        campaign.id,
        sessions.len()
    );
    println!("| statistic | all samples: adjacent | spread | undisturbed: adjacent | spread |");
    println!("|---|---|---|---|---|");
    for (name, q) in [
        ("minimum", 0.0),
        ("10 %", 0.1),
        ("25 %", 0.25),
        ("median", 0.5),
        ("75 %", 0.75),
    ] {
        let all = repeatability(&sessions, q, |_| true);
        let undisturbed = repeatability(&sessions, q, |sample| !sample.disturbed(true));
        println!(
            "| {name} | {:.2} % | {:.2} % | {:.2} % | {:.2} % |",
            all.0, all.1, undisturbed.0, undisturbed.1
        );
    }
    Ok(())
}

/// Two relative spreads in percent of a statistic over sessions: from differences of adjacent sessions (which
/// slow drift leaves alone) and from all sessions together. Both are robust: 1.4826 median absolute deviations.
fn repeatability(sessions: &[Vec<Sample>], q: f64, counts: impl Fn(&Sample) -> bool) -> (f64, f64) {
    let values: Vec<f64> = sessions
        .iter()
        .filter_map(|session| {
            let times: Vec<f64> = session
                .iter()
                .filter(|s| counts(s))
                .map(|s| s.wall.get())
                .collect();
            quantile(&times, q)
        })
        .collect();
    let center = quantile(&values, 0.5).unwrap_or(f64::NAN);
    let robust =
        |deviations: Vec<f64>| 148.26 * quantile(&deviations, 0.5).unwrap_or(f64::NAN) / center;
    let adjacent = values
        .windows(2)
        .map(|w| (w[1] - w[0]).abs() / f64::sqrt(2.0))
        .collect();
    let overall = values.iter().map(|v| (v - center).abs()).collect();
    (robust(adjacent), robust(overall))
}
