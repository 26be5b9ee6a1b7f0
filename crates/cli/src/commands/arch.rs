//! `blocklens arch sample | cost | export | import`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocklens_core::metric::{self, Metric};
use blocklens_core::network::cost;
use blocklens_core::ofa::NetConfigFile;
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use serde_json::json;

use super::{Done, STDOUT, export, given, load_space, print_json, print_line, read_text};
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
        ArchCommand::Cost {
            space,
            archs,
            resolution,
        } => costs(&load_space(space)?, archs, *resolution, format)?,
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

/// Reads a subnet that the `ofa` package wrote.
fn import(space: &DesignSpace, file: &Path, resolution: Option<u32>, format: Format) -> Result<()> {
    let name = file.display();
    let text =
        read_text(file, LARGEST_NET_CONFIG).with_context(|| format!("cannot read {name}"))?;
    let read = NetConfigFile::read(&text);
    let NetConfigFile {
        config,
        resolution: said,
    } = read.with_context(|| name.to_string())?;
    let resolution = match (said, resolution) {
        (Some(said), Some(asked)) if said != asked => {
            bail!("{name} says resolution {said}, and --resolution {asked}")
        }
        (said, asked) => said.or(asked).unwrap_or(space.default_resolution()),
    };
    let arch = space
        .from_net_config(&config, resolution)
        .with_context(|| format!("{name} is not a subnet of this space"))?;
    match format {
        Format::Text => print_line(&space.print(&arch)),
        Format::Json => print_json(&arch_json(space, &arch)?),
    }
}

fn costs(
    space: &DesignSpace,
    archs: &[String],
    resolution: Option<u32>,
    format: Format,
) -> Result<()> {
    // Not every space has an accuracy surrogate, and not at every resolution.
    let accuracy = metric::computed("accuracy", space).ok().flatten();
    for text in archs {
        given::each(space, text, resolution, &mut |arch| {
            print_cost(space, accuracy.as_deref(), arch, format)
        })?;
    }
    Ok(())
}

fn print_cost(
    space: &DesignSpace,
    accuracy: Option<&dyn Metric>,
    arch: &Architecture,
    format: Format,
) -> Result<()> {
    let cost = cost(&space.network(arch));
    let accuracy = accuracy.and_then(|metric| metric.evaluate(arch).ok());
    if format == Format::Json {
        return print_json(&json!({
            "arch": space.print(arch),
            "macs": cost.macs,
            "params": cost.params,
            "peak_activation_bytes": cost.peak_activation_memory,
            "accuracy_surrogate_percent": accuracy,
        }));
    }
    print_line(&space.print(arch))?;
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
