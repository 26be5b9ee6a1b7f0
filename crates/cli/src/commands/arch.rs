//! `blocklens arch sample | cost | export`.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocklens_core::metric::{self, Metric};
use blocklens_core::network::{Weights, cost, onnx};
use blocklens_core::ofa::OfaDict;
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use serde_json::json;

use super::{Done, load_space, print_json, print_line};
use crate::args::{ArchArgs, ArchCommand, Format};
use crate::files;

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
        ArchCommand::Export {
            space,
            arch,
            output,
            seed,
        } => {
            export(&load_space(space)?, arch, output, Seed(*seed), format)?;
        }
    }
    Ok(Done::Complete)
}

fn sample(space: &DesignSpace, n: u64, resolution: u32, seed: Seed, format: Format) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut rng = seed.stream("sample").rng();
    for _ in 0..n {
        let arch = space.sample(resolution, &mut rng)?;
        match format {
            Format::Text => writeln!(out, "{}", space.print(&arch))?,
            Format::Json => writeln!(out, "{}", arch_json(space, &arch)?)?,
        }
    }
    out.flush()?;
    Ok(())
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
fn read_arch(space: &DesignSpace, text: &str) -> Result<Architecture> {
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

fn costs(space: &DesignSpace, archs: &[String], format: Format) -> Result<()> {
    // Not every space has an accuracy surrogate, and not at every resolution.
    let accuracy = metric::computed("accuracy", space).ok().flatten();
    for text in archs {
        if text != "-" {
            print_cost(space, accuracy.as_deref(), text, format)?;
            continue;
        }
        for (number, line) in std::io::stdin().lock().lines().enumerate() {
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

fn export(
    space: &DesignSpace,
    text: &str,
    output: &Path,
    seed: Seed,
    format: Format,
) -> Result<()> {
    if output.as_os_str().is_empty() {
        bail!("the output file has no name");
    }
    let arch = read_arch(space, text)?;
    let network = space.network(&arch);
    let weights = Weights::random(&network, seed);
    let bytes = onnx::export(&network, &weights, &space.print(&arch))?;
    files::write(output, &bytes)?;
    match format {
        Format::Json => {
            print_json(&json!({ "arch": space.print(&arch), "file": output, "bytes": bytes.len() }))
        }
        Format::Text => print_line(&format!(
            "wrote {} ({:.1} MB, random weights)",
            output.display(),
            bytes.len() as f64 / 1e6
        )),
    }
}
