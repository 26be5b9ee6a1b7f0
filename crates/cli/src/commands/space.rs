//! `blocklens space list | show | count`.

use anyhow::{Context, Result};
use blocklens_core::shown::one_line;
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
                print_line(space.source().text.trim_end())?;
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
                "{name:<14} {}, widths {} (default {}), {} (unit, layer, block) combinations",
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
        one_line(space.title()),
        one_line(space.name()),
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
    print_line(
        "unit  channels         stride  depth  activation  squeeze-excite  candidate blocks",
    )?;
    for (i, unit) in space.units().iter().enumerate() {
        print_line(&format!(
            "{:<5} {:<16} {:<7} {:<6} {:<11} {:<15} {}",
            i + 1,
            widths(unit),
            unit.stride(),
            depths(unit),
            unit.activation().name(),
            squeeze_excite(unit),
            candidates(unit)
        ))?;
    }
    print_line("")?;
    print_line(
        "Inside an architecture e6k7 stands for expansion 6 and kernel 7x7 of the unit's kind of block. `--source` \
         prints the space's file.",
    )
}

/// The channels that a unit can have.
fn widths(unit: &Unit) -> String {
    let widths: Vec<String> = unit
        .widths()
        .iter()
        .map(|w| w.channels.to_string())
        .collect();
    if widths.is_empty() {
        "as before".to_owned()
    } else {
        widths.join(" or ")
    }
}

/// The unit's squeeze-and-excitation, or that its blocks decide.
fn squeeze_excite(unit: &Unit) -> String {
    let own = |layer| {
        unit.blocks(layer)
            .iter()
            .any(|b| b.squeeze_excite().is_some())
    };
    match unit.squeeze_excite() {
        _ if (0..unit.max_depth()).any(own) => "by block".into(),
        Some(ratio) => ratio.to_string(),
        None => "no".into(),
    }
}

fn depths(unit: &Unit) -> String {
    match (unit.min_depth(), unit.max_depth()) {
        (shallow, deep) if shallow == deep => deep.to_string(),
        (shallow, deep) => format!("{shallow}-{deep}"),
    }
}

/// The names of a unit's candidates; by layer where layers differ.
fn candidates(unit: &Unit) -> String {
    let names = |layer: usize| {
        let names: Vec<String> = unit.blocks(layer).iter().map(Block::to_string).collect();
        names.join(" ")
    };
    if unit.uniform() {
        return names(0);
    }
    let layers: Vec<String> = (0..unit.max_depth())
        .map(|l| format!("layer {}: {}", l + 1, names(l)))
        .collect();
    layers.join("; ")
}

fn unit_json(unit: &Unit) -> serde_json::Value {
    let blocks = |layer: usize| -> Vec<String> {
        unit.blocks(layer).iter().map(ToString::to_string).collect()
    };
    json!({
        "name": unit.name(),
        "channels": unit.widths().iter().map(|w| w.channels).collect::<Vec<_>>(),
        "stride": unit.stride(),
        "min_depth": unit.min_depth(),
        "max_depth": unit.max_depth(),
        "activation": unit.activation().name(),
        "squeeze_excite": unit.squeeze_excite(),
        "blocks": (0..unit.max_depth()).map(blocks).collect::<Vec<_>>(),
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
