//! How often what a report claims is true: simultaneous intervals, ranks, variance shares, friendliness, additivity.
//!
//! `cargo run --release -p blocklens-studies --bin inference -- 200`

#[path = "../../../core/tests/suite/study/mod.rs"]
mod study;

use blocklens_core::profile::{Estimator, Pooled, Sampled};
use study::Study;
use study::claims::Claims;

fn main() {
    let campaigns = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    println!("{campaigns} campaigns each; what is held, in % of the campaigns or of the intervals");
    println!("{}", Claims::HEADER);
    for (interaction, noise) in [(0.0, 0.01), (0.3, 0.01), (0.3, 0.03)] {
        let study = Study::new(interaction, noise);
        let print = |estimator: &dyn Estimator, networks: u64, campaigns: u64| {
            let claims = Claims::of(&study, estimator, networks, campaigns);
            println!(
                "| {interaction} | {noise} | {} | {networks} | {claims} |",
                estimator.name()
            );
        };
        for networks in [60, 120, 250] {
            print(&Pooled, networks, campaigns);
        }
        print(&Sampled, 1_800, campaigns / 4);
    }
}
