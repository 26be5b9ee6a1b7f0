//! What a comparison has found: `comparison.json`, `comparison.csv`, `comparison.html`.

use std::fmt::Write as _;
use std::path::Path;

use blocklens_core::report::contest_html;
use blocklens_core::search::contest::{ArmResult, Contest};
use blocklens_core::shown::csv_text;
use serde::Serialize;

use super::manifest::{write, write_json};
use super::{ContestManifest, ContestRunError};

/// `comparison.json`.
#[derive(Serialize)]
struct Document<'a> {
    comparison: &'a ContestManifest,
    #[serde(flatten)]
    contest: &'a Contest,
}

/// Writes a comparison's results into its folder.
///
/// # Errors
/// [`ContestRunError::Io`].
pub fn write_contest(
    folder: &Path,
    manifest: &ContestManifest,
    contest: &Contest,
) -> Result<(), ContestRunError> {
    let document = Document {
        comparison: manifest,
        contest,
    };
    write_json(&folder.join("comparison.json"), &document)?;
    let csv = contest_csv(contest);
    write(&folder.join("comparison.csv"), csv.as_bytes())?;
    let made_by = format!("blocklens {}", manifest.blocklens);
    let html = contest_html(
        contest,
        &manifest.sought.space.name,
        &manifest.command,
        &made_by,
    );
    write(&folder.join("comparison.html"), html.as_bytes())
}

/// Every run at every budget as CSV.
#[must_use]
pub fn contest_csv(contest: &Contest) -> String {
    let mut csv = String::from("algorithm,space,seed,budget,hypervolume,epsilon\n");
    for arm in &contest.arms {
        rows(arm, &mut csv);
    }
    csv
}

fn rows(arm: &ArmResult, csv: &mut String) {
    let quoted = |text: &str| format!("\"{}\"", csv_text(text).replace('"', "\"\""));
    let (algorithm, arena) = (&arm.arm.algorithm, quoted(&arm.arm.arena.to_string()));
    for standing in &arm.standings {
        let values = standing.hypervolumes.iter().zip(&standing.epsilons);
        for (seed, (volume, epsilon)) in arm.seeds.iter().zip(values) {
            let epsilon = epsilon.map_or_else(String::new, |e| e.to_string());
            let budget = standing.budget;
            // Writing to memory cannot fail.
            let _ = writeln!(
                csv,
                "{algorithm},{arena},{seed},{budget},{volume},{epsilon}"
            );
        }
    }
}
