//! `blocklens diff`: two profiles side by side, or several devices.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use blocklens_core::compare::{Comparison, Control, Device, Options};
use blocklens_core::report::{
    REPORT_FORMAT, Report, across_html, across_markdown, comparison_html, comparison_markdown,
};
use blocklens_core::sealed::{self, SealError};
use blocklens_measure::files::contains;
use blocklens_measure::metrics;
use serde::Deserialize;

use super::{Done, across, print_line, print_page, read_text};
use crate::args::{ControlChoice, DiffArgs, Format};
use crate::files;

/// Largest report that is read, in bytes: one of a hundred thousand networks is smaller.
const LARGEST_REPORT: u64 = 256 << 20;

/// How far into a file it says who wrote it, in bytes.
const HEAD: usize = 1_000;

/// Carries out the command.
pub fn run(args: &DiffArgs, format: Format) -> Result<Done> {
    // A mistaken ending is told before anything is read.
    let output = args.output.as_deref().map(Output::new).transpose()?;
    args.output.as_deref().map_or(Ok(()), check_place)?;
    let reports = args.profiles.iter().map(|path| read_report(path));
    let reports = reports.collect::<Result<Vec<_>>>()?;
    let sources: Vec<String> = args
        .profiles
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    let written = match reports.as_slice() {
        [a, b] => two([a, b], [&sources[0], &sources[1]], args)?,
        reports => many(reports, &sources, args)?,
    };
    if let Some(output) = output {
        let contents = match output.kind {
            Kind::Html => &written.html,
            Kind::Markdown => &written.markdown,
            Kind::Json => &written.json,
        };
        let kind = output.kind;
        files::write_over(output.path, contents.as_bytes(), |there| kind.wrote(there))?;
    }
    match format {
        Format::Json => print_line(&written.json)?,
        Format::Text => print_page(&written.markdown)?,
    }
    Ok(Done::Complete)
}

/// A comparison in all its forms.
struct Written {
    html: String,
    markdown: String,
    json: String,
}

fn two(reports: [&Report; 2], sources: [&str; 2], args: &DiffArgs) -> Result<Written> {
    let options = Options {
        metrics: names_among(&args.metric, &reports),
        common: args.common,
        control: match args.control {
            ControlChoice::Holm => Control::Holm,
            ControlChoice::Bh => Control::Bh,
            ControlChoice::By => Control::By,
        },
    };
    let comparison = Comparison::new(reports, sources, &options)?;
    Ok(Written {
        html: comparison_html(&comparison),
        markdown: comparison_markdown(&comparison, args.top),
        json: serde_json::to_string_pretty(&comparison)
            .context("the comparison cannot be written as JSON")?,
    })
}

fn many(reports: &[Report], sources: &[String], args: &DiffArgs) -> Result<Written> {
    if args.common || args.control != ControlChoice::Holm {
        bail!(
            "more than two profiles are compared on one space, and claims are corrected after Holm: --common and \
             --control are for two"
        );
    }
    let metrics = names_among(&args.metric, &reports.iter().collect::<Vec<_>>());
    let metric = match metrics.as_slice() {
        [] => None,
        [one] => Some(one.as_str()),
        _ => bail!("more than two profiles are compared by one metric: name one with --metric"),
    };
    let names = device_names(reports, sources);
    let rows = reports.iter().zip(sources).zip(&names);
    let devices: Vec<Device<'_>> = rows
        .map(|((report, source), name)| Device {
            name,
            source,
            report,
        })
        .collect();
    let across = across::compared(&devices, metric)?;
    Ok(Written {
        html: across_html(&across),
        markdown: across_markdown(&across),
        json: across::as_json(&across)?,
    })
}

/// What to call the devices of some reports: their engines, where no two have the same, and else what was typed.
fn device_names(reports: &[Report], sources: &[String]) -> Vec<String> {
    let engines: Vec<&str> = reports
        .iter()
        .filter_map(|report| report.provenance.engine.as_deref())
        .collect();
    let different: BTreeSet<&str> = engines.iter().copied().collect();
    match different.len() == reports.len() {
        true => engines.into_iter().map(str::to_owned).collect(),
        false => sources.to_vec(),
    }
}

/// The metrics that were typed, where the reports have them: names hold commas where the files that they come from do.
pub fn names_among(typed: &[String], reports: &[&Report]) -> Vec<String> {
    metrics::names_among(typed, &|name| {
        let mut metrics = reports.iter().flat_map(|report| &report.profile.metrics);
        metrics.any(|metric| metric.metric.name == name)
    })
}

struct Output<'a> {
    path: &'a Path,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Html,
    Markdown,
    Json,
}

impl Kind {
    /// Whether a file is one that this command wrote.
    fn wrote(self, file: &[u8]) -> bool {
        let begins = &file[..file.len().min(HEAD)];
        match self {
            Self::Html => {
                contains(begins, "name=\"generator\" content=\"blocklens ")
                    && (contains(begins, "<title>What differs ")
                        || contains(begins, "<title>Devices compared: "))
            }
            Self::Markdown => {
                begins.starts_with(b"# What differs\n")
                    || begins.starts_with(b"# Devices compared: ")
            }
            Self::Json => {
                contains(begins, "\"generated_by\": \"blocklens ")
                    && serde_json::from_slice::<Ours>(file).is_ok()
            }
        }
    }
}

/// What sets comparisons apart from other documents of ours.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ours {
    Two {
        #[serde(rename = "a")]
        _a: serde::de::IgnoredAny,
        #[serde(rename = "b")]
        _b: serde::de::IgnoredAny,
    },
    Many {
        #[serde(rename = "contrasts")]
        _contrasts: serde::de::IgnoredAny,
    },
}

/// Refuses the files of a profile's own comparison of devices, which are of this kind: they belong to its folder.
fn check_place(output: &Path) -> Result<()> {
    let folder = output.parent().unwrap_or(Path::new(""));
    let name = output.file_name().and_then(|name| name.to_str());
    if across::is_ours(folder, name.unwrap_or_default()) {
        bail!(
            "{} belongs to the profile in its folder, and stays as it is; name another file",
            output.display()
        );
    }
    Ok(())
}

impl<'a> Output<'a> {
    fn new(path: &'a Path) -> Result<Self> {
        let ending = path.extension().and_then(|e| e.to_str());
        let kind = match ending {
            Some("html") => Kind::Html,
            Some("md") => Kind::Markdown,
            Some("json") => Kind::Json,
            _ => bail!(
                "--output {}: the ending says what to write, and must be .html, .md or .json",
                path.display()
            ),
        };
        Ok(Self { path, kind })
    }
}

/// The part of a report that says which format the rest has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// The report of an output folder, or in a file.
pub fn read_report(path: &Path) -> Result<Report> {
    let file = report_file(path)?;
    let text = read_text(&file, LARGEST_REPORT)
        .with_context(|| format!("cannot read the report {}", file.display()))?;
    let head: Head = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a report of blocklens", file.display()))?;
    if head.format != REPORT_FORMAT {
        bail!(
            "{} has format {}, and this version reads {REPORT_FORMAT}; make it again with `blocklens report`",
            file.display(),
            head.format
        );
    }
    sealed::from_json(text.as_bytes()).map_err(|error| match error {
        SealError::Changed => anyhow!("{}: {error}", file.display()),
        SealError::Json(error) => anyhow!(error).context(format!(
            "{} cannot be read by this version of blocklens; make it again with `blocklens report`",
            file.display()
        )),
    })
}

fn report_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join("report.json");
    if !file.exists() {
        bail!(
            "{} holds no report.json; `blocklens profile --out` or `blocklens report --out` writes one",
            path.display()
        );
    }
    Ok(file)
}
