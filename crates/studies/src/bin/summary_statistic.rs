//! Which statistic of a session's samples repeats best from session to session.
//!
//! Reads the sentinel of a stored campaign (one network, measured in many sessions) and prints, for each
//! candidate statistic, its spread between sessions, with and without the disturbed samples; and from the
//! networks of the plan, how well the model of `pooled` predicts networks that it was not fitted to (held-out R2):
//! a statistic with less noise is easier to predict.
//! To see more sessions than a profile has, measure a campaign with a large budget.
//!
//! `cargo run --release -p blocklens-studies --bin summary_statistic -- blocklens-out/measurements.db [campaign]`

use std::path::Path;

use blocklens_core::measurement::Sample;
use blocklens_core::profile::{Draw, Estimator, Observation, Pooled};
use blocklens_core::space::DesignSpace;
use blocklens_core::stats::quantile;
use blocklens_measure::campaign::CampaignSpec;
use blocklens_measure::store::{Record, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .unwrap_or_else(|| "blocklens-out/measurements.db".into());
    let store = Store::open_existing(Path::new(&path))?;
    let campaign = store.campaign(arguments.next().map(|id| id.parse()).transpose()?)?;
    let campaign = campaign.ok_or("the store holds no campaign")?;
    let (sentinel, plan): (Vec<Record>, Vec<Record>) = store
        .records(campaign.id)?
        .into_iter()
        .partition(|record| record.plan_index.is_none());
    let sessions: Vec<Vec<Sample>> = sentinel
        .into_iter()
        .filter_map(|record| Some(record.outcome.ok()?.samples))
        .collect();
    let spec = CampaignSpec::from_text(&campaign.spec)?;
    let space = DesignSpace::read(&spec.space, &spec.space_source, Some(spec.width))?;
    println!(
        "campaign {}: {} sessions of the sentinel, {} networks",
        campaign.id,
        sessions.len(),
        plan.len()
    );
    println!(
        "| statistic | all samples: adjacent | spread | R2 | undisturbed: adjacent | spread | R2 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, q) in [
        ("minimum", 0.0),
        ("10 %", 0.1),
        ("25 %", 0.25),
        ("median", 0.5),
        ("75 %", 0.75),
    ] {
        print!("| {name} |");
        for undisturbed in [false, true] {
            let counts = |sample: &Sample| !undisturbed || !sample.disturbed(true);
            let (adjacent, spread) = repeatability(&sessions, q, counts);
            let r2 = predictability(&space, &plan, q, counts)?;
            print!(" {adjacent:.1} % | {spread:.1} % | {r2:.3} |");
        }
        println!();
    }
    Ok(())
}

/// Held-out R2 of `pooled` on this statistic of the plan's networks.
fn predictability(
    space: &DesignSpace,
    plan: &[Record],
    q: f64,
    counts: impl Fn(&Sample) -> bool,
) -> Result<f64, Box<dyn std::error::Error>> {
    let mut observations = Vec::new();
    for record in plan {
        let Ok(measurement) = &record.outcome else {
            continue;
        };
        let times: Vec<f64> = measurement
            .samples
            .iter()
            .filter(|s| counts(s))
            .map(|s| s.wall.get())
            .collect();
        if let Some(value) = quantile(&times, q) {
            let draw = Draw {
                arch: space.parse(&record.arch)?,
                stratum: None,
            };
            observations.push(Observation { draw, value });
        }
    }
    Ok(Pooled
        .estimate(space, &observations)?
        .held_out_r2
        .unwrap_or(f64::NAN))
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
