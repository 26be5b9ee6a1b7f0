//! `blocklens report`: from what is stored to files and a summary.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use blocklens_core::report::{Report, blocks_csv, render_html, summary_markdown};
use blocklens_measure::analysis::{self, Request};
use blocklens_measure::proxies;
use blocklens_measure::store::Store;

use super::profile::store_path;
use super::{Done, print_line, sources};
use crate::args::{Format, ReportArgs};
use crate::command_line::command_line;
use crate::files;

/// Seconds that a program may take to say which metrics it has.
const PROGRAM_LIMIT_S: u64 = 120;

/// Makes the report of a stored campaign again.
pub fn run(args: &ReportArgs, format: Format) -> Result<Done> {
    let store = Store::open_existing(&store_path(&args.out))?;
    let Some(campaign) = store.campaign(args.campaign)? else {
        match args.campaign {
            Some(id) => bail!("{} has no campaign {id}", store.path().display()),
            None => bail!(
                "{} holds no campaign yet; `blocklens profile` begins one",
                store.path().display()
            ),
        }
    };
    let options = proxies::Options::default();
    let sources = sources(1, PROGRAM_LIMIT_S, &options, &Arc::default())?;
    let (kept, left_out) = match args.metric.is_empty() {
        true => analysis::asked_for(&store, &campaign, &sources)?,
        false => (args.metric.clone(), Vec::new()),
    };
    left_out
        .iter()
        .for_each(|note| eprintln!("note: {note}; --metric says which metrics to report"));
    let request = Request {
        metrics: &kept,
        sources: &sources,
        budget: None,
        command: command_line(),
        created: now(),
        faster_engine: None,
        allow_failures: args.allow_failures,
    };
    let report = analysis::report(&store, &campaign, &request)?;
    write_and_print(&report, &args.out, format)?;
    Ok(Done::Complete)
}

/// Writes all files of a report and prints its summary.
pub fn write_and_print(report: &Report, out: &Path, format: Format) -> Result<()> {
    let json = report
        .to_json()
        .context("the report cannot be written as JSON")?;
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    // First the one that says whose the folder is, whenever this process is killed.
    files::write(&out.join("report.json"), json.as_bytes())?;
    let page = out.join("report.html");
    files::write(&page, render_html(report).as_bytes())?;
    files::write(
        &out.join("blocks.csv"),
        blocks_csv(&report.profile).as_bytes(),
    )?;
    let summary = summary_markdown(report);
    files::write(&out.join("summary.md"), summary.as_bytes())?;
    match format {
        Format::Json => print_line(&json),
        Format::Text => {
            print_line(summary.trim_end())?;
            print_line("")?;
            print_line(&format!("Report: {}", page.display()))
        }
    }
}

/// The time, for a report's head: `2025-03-01 14:02 UTC`.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
