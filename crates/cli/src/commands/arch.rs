//! `blocklens arch sample | cost | export | import`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use blocklens_core::metric::{self, Metric};
use blocklens_core::network::cost;
use blocklens_core::ofa::{NetConfig, OfaDict};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::text::TextReader;
use serde_json::json;

use super::{Done, STDOUT, export, load_space, print_json, print_line, read_text};
use crate::args::{ArchArgs, ArchCommand, Format};

/// Largest `net.config` that is read, in bytes.
const LARGEST_NET_CONFIG: u64 = 4 << 20;

/// Carries out the subcommand.
pub fn run(args: &ArchArgs, format: Format) -> Result<Done> {
    match &args.command {
        ArchCommand::Sample {
            space,
            n,
            resolution,
            seed,
        } => {
            let space = load_space(space)?;
            let resolution = resolution.unwrap_or(space.default_resolution());
            sample(&space, *n, resolution, Seed(*seed), format)?;
        }
        ArchCommand::Cost { space, archs } => costs(&load_space(space)?, archs, format)?,
        ArchCommand::Export(args) => export::run(args, format)?,
        ArchCommand::Import {
            space,
            file,
            resolution,
        } => import(&load_space(space)?, file, *resolution, format)?,
    }
    Ok(Done::Complete)
}

fn sample(space: &DesignSpace, n: u64, resolution: u32, seed: Seed, format: Format) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut rng = seed.stream("sample").rng();
    for _ in 0..n {
        let arch = space.sample(resolution, &mut rng)?;
        match format {
            Format::Text => writeln!(out, "{}", space.print(&arch)),
            Format::Json => writeln!(out, "{}", arch_json(space, &arch)?),
        }
        .context(STDOUT)?;
    }
    out.flush().context(STDOUT)
}

/// An architecture as JSON: the dictionary of the `ofa` package where the space is a part of one of its
/// supernets, else `{"arch": ...}` with the text form.
fn arch_json(space: &DesignSpace, arch: &Architecture) -> Result<serde_json::Value> {
    if space.ofa().is_none() {
        return Ok(json!({ "arch": space.print(arch) }));
    }
    Ok(serde_json::to_value(space.to_ofa(arch)?)?)
}

/// Reads any notation of an architecture: the text form, or what [`arch_json`] writes.
pub(super) fn read_arch(space: &DesignSpace, text: &str) -> Result<Architecture> {
    if !text.trim_start().starts_with('{') {
        return Ok(space.parse(text)?);
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Text {
        arch: String,
    }
    if let Ok(Text { arch }) = serde_json::from_str(text) {
        return Ok(space.parse(&arch)?);
    }
    let dict: OfaDict = serde_json::from_str(text).with_context(|| {
        format!("{text} is not an architecture dictionary, such as {{\"ks\": [...], \"e\": [...], \"d\": [...], \"r\": [224]}} (ResNet: e, d, w and r)")
    })?;
    Ok(space.from_ofa(&dict)?)
}

/// Reads a subnet that the `ofa` package wrote.
fn import(space: &DesignSpace, file: &Path, resolution: Option<u32>, format: Format) -> Result<()> {
    let text = read_text(file, LARGEST_NET_CONFIG)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let config: NetConfig = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a net.config of the ofa package", file.display()))?;
    let resolution = resolution.unwrap_or(space.default_resolution());
    let arch = space
        .from_net_config(&config, resolution)
        .with_context(|| format!("{} is not a subnet of this space", file.display()))?;
    match format {
        Format::Text => print_line(&space.print(&arch)),
        Format::Json => print_json(&arch_json(space, &arch)?),
    }
}

fn costs(space: &DesignSpace, archs: &[String], format: Format) -> Result<()> {
    // Not every space has an accuracy surrogate, and not at every resolution.
    let accuracy = metric::computed("accuracy", space).ok().flatten();
    for text in archs {
        if text != "-" {
            print_cost(space, accuracy.as_deref(), text, format)?;
            continue;
        }
        let input = BufReader::new(TextReader::new(std::io::stdin()));
        for (number, line) in input.lines().enumerate() {
            let line = line.context("cannot read standard input")?;
            if !line.trim().is_empty() {
                print_cost(space, accuracy.as_deref(), &line, format)
                    .with_context(|| format!("standard input, line {}", number + 1))?;
            }
        }
    }
    Ok(())
}

fn print_cost(
    space: &DesignSpace,
    accuracy: Option<&dyn Metric>,
    text: &str,
    format: Format,
) -> Result<()> {
    let arch = read_arch(space, text)?;
    let cost = cost(&space.network(&arch));
    let accuracy = accuracy.and_then(|metric| metric.evaluate(&arch).ok());
    if format == Format::Json {
        return print_json(&json!({
            "arch": space.print(&arch),
            "macs": cost.macs,
            "params": cost.params,
            "peak_activation_bytes": cost.peak_activation_memory,
            "accuracy_surrogate_percent": accuracy,
        }));
    }
    print_line(&space.print(&arch))?;
    print_line(&format!(
        "  {} ({}), {} ({}), {} peak activation memory",
        cost.macs, cost.macs.0, cost.params, cost.params.0, cost.peak_activation_memory
    ))?;
    match accuracy {
        Some(value) => print_line(&format!(
            "  {value:.2} % top-1 by the built-in surrogate (not a measurement)"
        )),
        None => Ok(()),
    }
}
