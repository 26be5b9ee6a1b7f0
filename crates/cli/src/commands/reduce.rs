//! `blocklens reduce`: from profiles to a smaller space, with reasons.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocklens_core::metric::MetricInfo;
use blocklens_core::profile::Profile;
use blocklens_core::reduce::{Options, Reduced, deciding, read_evaluations, reduce};
use blocklens_core::report::{Report, reduction_markdown};
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::files::same_file;

use super::computed::values_path;
use super::diff::{names_among, read_report};
use super::{Done, open_space, print_line, print_page, read_text};
use crate::args::{Format, ReduceArgs};
use crate::files;

/// Largest file of evaluations that is read, in bytes: five million of them.
const LARGEST_EVALUATIONS: u64 = 1 << 30;

/// What is written, besides files of blocks.
const FILES: [&str; 3] = ["space.toml", "reduction.json", "reduction.md"];

/// An architecture with its values of the deciding metrics.
type Evaluation = (Architecture, Vec<f64>);

/// Carries out the command.
pub fn run(args: &ReduceArgs, format: Format) -> Result<Done> {
    if let Some(parent) = &args.space
        && same_file(Path::new(parent), &args.out.join("space.toml"))
    {
        bail!(
            "the reduced space would take the place of {parent}, which it is a part of; give another folder with --out"
        );
    }
    let reports = args
        .profiles
        .iter()
        .map(|path| Ok((path.display().to_string(), read_report(path)?)))
        .collect::<Result<Vec<(String, Report)>>>()?;
    let profiles: Vec<(String, &Profile)> = reports
        .iter()
        .map(|(source, report)| (source.clone(), &report.profile))
        .collect();
    let Some((_, first)) = profiles.first() else {
        bail!("give a profile: a folder that `blocklens profile` wrote");
    };
    let space = space(args, first)?;
    let read: Vec<&Report> = reports.iter().map(|(_, report)| report).collect();
    let options = Options {
        goal: args.goal,
        metrics: names_among(&args.metric, &read),
        level: args.level,
        margin: args.margin / 100.0,
        caution: args.caution,
        allowance: args.allowance / 100.0,
        name: args.name.clone(),
    };
    let chosen = deciding(&profiles, &options)?;
    // The same at every resolution.
    let metrics: Vec<&MetricInfo> = match chosen.first() {
        Some(at) => at.metrics.iter().map(|(_, m)| &m.metric).collect(),
        None => Vec::new(),
    };
    let known = known(args, &reports, &space, &metrics)?;
    let reduced = reduce(&space, &profiles, &known, &options)?;
    write(&reduced, &args.out, format)?;
    Ok(Done::Complete)
}

/// The space that was asked for, or the built-in one that was profiled.
fn space(args: &ReduceArgs, profile: &Profile) -> Result<DesignSpace> {
    let width = args.width.unwrap_or(profile.width);
    if let Some(name) = &args.space {
        return open_space(name, Some(width));
    }
    if !DesignSpace::builtin_names().any(|name| name == profile.space) {
        bail!(
            "the profile is of the space `{}`, which is not built in; give its file with --space",
            profile.space
        );
    }
    Ok(DesignSpace::builtin(&profile.space, Some(width))?)
}

/// Everything that was evaluated in all deciding metrics: by the profiles, and what --known names.
fn known(
    args: &ReduceArgs,
    reports: &[(String, Report)],
    space: &DesignSpace,
    metrics: &[&MetricInfo],
) -> Result<Vec<Evaluation>> {
    let mut all = Vec::new();
    for ((_, report), folder) in reports.iter().zip(&args.profiles) {
        all.extend(measured(report, space, metrics)?);
        let values = values_path(folder);
        if values.is_file() {
            all.extend(evaluations(&values, space, metrics)?);
        }
    }
    for path in &args.known {
        let file = match path.is_dir() {
            true => path.join("evaluations.jsonl"),
            false => path.clone(),
        };
        all.extend(evaluations(&file, space, metrics)?);
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.dedup_by(|(a, _), (b, _)| a == b);
    Ok(all)
}

/// The networks of a report that have all metrics.
fn measured(
    report: &Report,
    space: &DesignSpace,
    metrics: &[&MetricInfo],
) -> Result<Vec<Evaluation>> {
    let Some(section) = &report.measurement else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for network in &section.networks {
        let value = |info: &&MetricInfo| match info.name.as_str() {
            "latency" => Some(network.corrected_ms),
            name => network.values.get(name).copied(),
        };
        if let Some(values) = metrics.iter().map(value).collect::<Option<Vec<f64>>>() {
            all.push((space.parse(&network.arch)?, values));
        }
    }
    Ok(all)
}

fn evaluations(
    file: &Path,
    space: &DesignSpace,
    metrics: &[&MetricInfo],
) -> Result<Vec<Evaluation>> {
    let name = file.display().to_string();
    let text = read_text(file, LARGEST_EVALUATIONS)
        .with_context(|| format!("cannot read the evaluations {name}"))?;
    match read_evaluations(&name, &text, space, metrics) {
        Ok((all, incomplete)) => {
            if incomplete > 0 {
                eprintln!(
                    "note: {name}: {incomplete} lines have no usable value of every metric and are left out"
                );
            }
            Ok(all)
        }
        Err(message) => bail!(message),
    }
}

/// Writes the space, the reasons as data and as text, and prints the latter or the former.
fn write(reduced: &Reduced, out: &Path, format: Format) -> Result<()> {
    let json = serde_json::to_string_pretty(&reduced.reduction)
        .context("the reduction cannot be written as JSON")?;
    let text = reduction_markdown(&reduced.reduction);
    let source = reduced.space.source();
    let file = out.join("space.toml");
    let blocks = source.files.keys().map(String::as_str);
    files::claim(
        out,
        "reduction.json",
        FILES.into_iter().chain(blocks),
        "reduce",
    )?;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    // First the one that says whose the folder is, whenever this process is killed.
    files::write(&out.join("reduction.json"), json.as_bytes())?;
    for (name, bytes) in &source.files {
        let path = beside(out, name)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        files::write(&path, bytes)?;
    }
    files::write(&file, source.text.as_bytes())?;
    files::write(&out.join("reduction.md"), text.as_bytes())?;
    match format {
        Format::Json => print_line(&json),
        Format::Text => {
            print_page(&text)?;
            print_line(&format!(
                "\nThe reduced space: {} (every --space takes it{})",
                file.display(),
                searched_at(&reduced.reduction.resolutions_left)
            ))
        }
    }
}

/// What commands must be told, which take one resolution when not told of several.
fn searched_at(resolutions: &[u32]) -> String {
    match resolutions {
        [_] | [] => String::new(),
        several => {
            let all: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!(
                "; --resolution {} searches all that are left",
                all.join(",")
            )
        }
    }
}

/// Where a block's file goes: where the space's file looks for it, and nowhere else.
fn beside(out: &Path, name: &str) -> Result<PathBuf> {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(name).components().all(inside) {
        bail!(
            "the space names the block file {name}, which is not in or below its own folder; move it there, so that \
             the reduced space can bring it along"
        );
    }
    Ok(out.join(name))
}
