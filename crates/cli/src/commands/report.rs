//! `blocklens report`: from what is stored to files and a summary.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use blocklens_core::compare::{Across, DeviceRow};
use blocklens_core::report::{Report, blocks_csv, render_html, summary_markdown};
use blocklens_measure::analysis::{self, Request};
use blocklens_measure::proxies;
use blocklens_measure::store::{Store, StoredCampaign};

use super::diff::read_report;
use super::profile::store_path;
use super::{Done, across, print_line, print_page, sources};
use crate::args::{Format, ReportArgs};
use crate::command_line::command_line;
use crate::files;

/// Seconds that a program may take to say which metrics it has.
const PROGRAM_LIMIT_S: u64 = 120;

/// The page of a report, in its folder.
const PAGE: &str = "report.html";

/// Makes the report of a stored campaign again.
pub fn run(args: &ReportArgs, format: Format) -> Result<Done> {
    let path = store_path(&args.out);
    if !path.exists() {
        check_timed(&args.out)?;
    }
    let store = Store::open_existing(&path)?;
    let Some(campaign) = store.campaign(args.campaign)? else {
        match args.campaign {
            Some(id) => bail!("{} has no campaign {id}", store.path().display()),
            None => {
                check_timed(&args.out)?;
                bail!(
                    "{} holds no campaign yet; `blocklens profile` begins one",
                    store.path().display()
                )
            }
        }
    };
    if args.campaign.is_none()
        && let Some(devices) = across::read(&args.out)?
        && devices
            .devices
            .iter()
            .any(|device| is_of(device, &campaign))
    {
        return several(args, &store, &devices, format);
    }
    let report = made(&store, &campaign, args)?;
    write_and_print(&report, &args.out, format)?;
    Ok(Done::Complete)
}

/// Makes the reports of several devices again, and what compares them.
fn several(args: &ReportArgs, store: &Store, devices: &Across, format: Format) -> Result<Done> {
    let mut reports = Vec::with_capacity(devices.devices.len());
    for device in &devices.devices {
        let campaign = campaign_number(device).map(|id| store.campaign(Some(id)));
        let campaign = campaign.transpose()?;
        let Some(campaign) = campaign.flatten() else {
            bail!(
                "{} holds no campaign of {}, which {} names; `blocklens profile` with its --device begins one",
                store.path().display(),
                device.name,
                args.out.join(across::DOCUMENT).display()
            );
        };
        let report = made(store, &campaign, args).with_context(|| device.name.clone())?;
        let folder = args.out.join(&device.source);
        write(&report, &folder)?;
        reports.push((device.name.as_str(), folder, report));
    }
    let rows = reports.iter();
    let rows: Vec<_> = rows
        .map(|(name, folder, report)| (*name, folder.as_path(), report))
        .collect();
    across::write_and_print(&rows, devices.left_out.clone(), &args.out, format)?;
    Ok(Done::Complete)
}

/// The number of a device's campaign, from how reports name it: `3 (begun 2025-03-01T14:02:11Z)`.
fn campaign_number(device: &DeviceRow) -> Option<i64> {
    let named = device.campaign.as_deref()?;
    named.split_whitespace().next()?.parse().ok()
}

fn is_of(device: &DeviceRow, campaign: &StoredCampaign) -> bool {
    campaign_number(device) == Some(campaign.id)
}

/// The report of a stored campaign.
fn made(store: &Store, campaign: &StoredCampaign, args: &ReportArgs) -> Result<Report> {
    let options = proxies::Options::default();
    let sources = sources(1, PROGRAM_LIMIT_S, &options, &Arc::default())?;
    let (kept, left_out) = match args.metric.is_empty() {
        true => analysis::asked_for(store, campaign, &sources)?,
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
    let report = analysis::report(store, campaign, &request);
    Ok(report.inspect_err(|_| {
        for doubt in analysis::lost(store) {
            eprintln!("warning: {doubt}");
        }
    })?)
}

/// Refuses the folder of a profile that timed nothing: it has no campaign, and its values make it again.
fn check_timed(out: &Path) -> Result<()> {
    let report = read_report(out).ok();
    if report.is_some_and(|report| report.measurement.is_none()) {
        bail!(
            "the profile in {} timed nothing, so that there is no campaign to report; the command that made it makes \
             it again, from what is recorded where its metrics take long",
            out.display()
        );
    }
    Ok(())
}

/// Writes all files of a report and prints its summary.
pub fn write_and_print(report: &Report, out: &Path, format: Format) -> Result<()> {
    write(report, out)?;
    print(report, out, format)
}

/// Writes all files of a report.
pub fn write(report: &Report, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let write = |name: &str, text: &str| files::write(&out.join(name), text.as_bytes());
    // First the one that says whose the folder is, whenever this process is killed.
    write("report.json", &as_json(report)?)?;
    write(PAGE, &render_html(report))?;
    write("blocks.csv", &blocks_csv(&report.profile))?;
    write("summary.md", &summary_markdown(report))
}

/// Prints the summary of a report that was written, or the whole of it as JSON.
pub fn print(report: &Report, out: &Path, format: Format) -> Result<()> {
    match format {
        Format::Json => print_line(&as_json(report)?),
        Format::Text => {
            print_page(&summary_markdown(report))?;
            print_line("")?;
            print_line(&format!("Report: {}", out.join(PAGE).display()))
        }
    }
}

fn as_json(report: &Report) -> Result<String> {
    let json = report.to_json();
    json.context("the report cannot be written as JSON")
}

/// The time, for a report's head: `2025-03-01 14:02 UTC`.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
