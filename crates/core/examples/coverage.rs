//! How close both estimators come to known effects, and how often their intervals hold them.
//!
//! Campaigns are simulated on a device that is a formula, with multiplicative noise. `interaction` makes
//! the device's latency non-additive, so that the model behind `pooled` is wrong.
//!
//! `cargo run --release -p blocklens-core --example coverage -- 200`

#[path = "../tests/study/mod.rs"]
mod study;

use blocklens_core::profile::{Estimator, Pooled, Sampled};
use study::Study;

/// A `sampled` campaign of 18,000 evaluations takes seconds; so many show its error well enough.
const SAMPLED_CAMPAIGNS: u64 = 40;

fn main() {
    let campaigns = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    println!(
        "{campaigns} campaigns each; errors of the 180 effects in ms; coverage of their 95 % intervals"
    );
    println!(
        "| interaction | noise | estimator | networks | RMSE | Pearson | coverage | of averages |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (interaction, noise) in [(0.0, 0.01), (0.0, 0.03), (0.3, 0.01), (0.3, 0.03)] {
        let study = Study::new(interaction, noise);
        let print = |estimator: &dyn Estimator, networks, campaigns| {
            let o = study.run(estimator, networks, campaigns);
            println!(
                "| {interaction} | {noise} | {} | {networks} | {:.4} | {:.3} | {:.1} % | {:.1} % |",
                estimator.name(),
                o.rmse,
                o.pearson,
                100.0 * o.coverage,
                100.0 * o.averages_coverage
            );
        };
        for networks in [40, 60, 90, 250] {
            print(&Pooled, networks, campaigns);
        }
        for rounds in [5, 10, 100] {
            print(&Sampled, 180 * rounds, campaigns.min(SAMPLED_CAMPAIGNS));
        }
    }
}
