//! `blocklens space list | show | count`.

use anyhow::{Context, Result};
use blocklens_core::space::{Block, DesignSpace, Unit};
use serde_json::json;

use super::{Done, open_space, print_json, print_line};
use crate::args::{Format, SpaceArgs, SpaceCommand};

/// Carries out the subcommand.
pub fn run(args: &SpaceArgs, format: Format) -> Result<Done> {
    match &args.command {
        SpaceCommand::List => list(format)?,
        SpaceCommand::Show {
            name,
            width,
            source,
        } => {
            let space = open_space(name, *width)?;
            if *source {
                print_line(space.source().trim_end())?;
            } else {
                show(&space, format)?;
            }
        }
        SpaceCommand::Count { name } => count(&open_space(name, None)?, format)?,
    }
    Ok(Done::Complete)
}

fn list(format: Format) -> Result<()> {
    for name in DesignSpace::builtin_names() {
        let space = DesignSpace::builtin(name, None)?;
        let widths: Vec<String> = space.widths().iter().map(ToString::to_string).collect();
        match format {
            Format::Json => print_json(&json!({
                "name": name,
                "title": space.title(),
                "widths": space.widths(),
                "default_width": space.width(),
                "combinations": space.combinations(),
            }))?,
            Format::Text => print_line(&format!(
                "{name:<12} {}, widths {} (default {}), {} (unit, layer, block) combinations",
                space.title(),
                widths.join(" and "),
                space.width(),
                space.combinations()
            ))?,
        }
    }
    Ok(())
}

fn show(space: &DesignSpace, format: Format) -> Result<()> {
    if format == Format::Json {
        let units: Vec<_> = space.units().iter().map(unit_json).collect();
        return print_json(&json!({
            "name": space.name(),
            "title": space.title(),
            "width": space.width(),
            "digest": space.digest(),
            "resolutions": space.resolutions(),
            "usual_resolutions": space.usual_resolutions(),
            "default_resolution": space.default_resolution(),
            "units": units,
        }));
    }
    let (first, last) = (space.resolutions().first(), space.resolutions().last());
    let (first, last) = first.zip(last).context("the space has no resolution")?;
    print_line(&format!(
        "{} ({}), width {}",
        space.title(),
        space.name(),
        space.width()
    ))?;
    let usual: Vec<String> = space
        .usual_resolutions()
        .iter()
        .map(ToString::to_string)
        .collect();
    print_line(&format!(
        "resolutions {first} to {last}; usual {}; default {}",
        usual.join(", "),
        space.default_resolution()
    ))?;
    print_line("")?;
    print_line("unit  channels  stride  depth  activation  squeeze-excite  candidate blocks")?;
    for (i, unit) in space.units().iter().enumerate() {
        let codes: Vec<String> = unit.blocks().iter().map(Block::code).collect();
        print_line(&format!(
            "{:<5} {:<9} {:<7} {:<6} {:<11} {:<15} {}",
            i + 1,
            unit.channels(),
            unit.stride(),
            format!("{}-{}", unit.min_depth(), unit.max_depth()),
            unit.activation().name(),
            if unit.squeeze_excite() { "yes" } else { "no" },
            codes.join(" ")
        ))?;
    }
    print_line("")?;
    print_line(
        "e6k7 stands for mbconv3_e6_k7: MBConv, expansion 6, kernel 7x7. `--source` prints the space's file.",
    )
}

fn unit_json(unit: &Unit) -> serde_json::Value {
    let blocks: Vec<String> = unit.blocks().iter().map(ToString::to_string).collect();
    json!({
        "channels": unit.channels(),
        "stride": unit.stride(),
        "min_depth": unit.min_depth(),
        "max_depth": unit.max_depth(),
        "activation": unit.activation().name(),
        "squeeze_excite": unit.squeeze_excite(),
        "blocks": blocks,
    })
}

fn count(space: &DesignSpace, format: Format) -> Result<()> {
    let (one, all) = (space.count_per_resolution(), space.count());
    match format {
        // As strings: most JSON readers hold no more than 53 bits.
        Format::Json => print_json(&json!({
            "space": space.name(),
            "per_resolution": one.to_string(),
            "resolutions": space.resolutions().len(),
            "total": all.to_string(),
        })),
        Format::Text => {
            print_line(&format!("{one} architectures at each resolution"))?;
            print_line(&format!(
                "{all} over all {} resolutions",
                space.resolutions().len()
            ))
        }
    }
}
