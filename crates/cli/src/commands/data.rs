//! `blocklens data list | fetch | add`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use blocklens_core::shown::one_line;
use blocklens_measure::data::{DataError, DataFolder, DataSet, Fetch, Origin, State};
use serde_json::json;

use super::{Done, print_json, print_line};
use crate::args::{DataArgs, DataCommand, Format};
use crate::{interruption, progress};

/// First wait before a broken transfer is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Carries out the subcommand.
pub fn run(args: &DataArgs, format: Format) -> Result<Done> {
    let folder = DataFolder::of_user()?;
    match &args.command {
        DataCommand::List => list(&folder, format)?,
        DataCommand::Fetch {
            names,
            from,
            again,
            time_limit,
            quiet,
        } => {
            let interrupted = interruption::flag("stopping; what has come is kept");
            let fetch = Fetch {
                folder: &folder,
                origin: origin(from.as_deref()),
                again: *again,
                time_limit: Duration::from_secs(*time_limit),
                pause: PAUSE,
                interrupted: &interrupted,
            };
            let sets = names.iter().map(|name| folder.set(name));
            let sets = sets.collect::<Result<Vec<_>, _>>()?;
            for set in &sets {
                match fetch_one(&fetch, set, *quiet, format) {
                    Err(DataError::Interrupted) => {
                        eprintln!("{}", DataError::Interrupted);
                        return Ok(Done::Interrupted);
                    }
                    other => other?,
                }
            }
        }
        DataCommand::Add {
            name,
            files,
            note,
            licence,
        } => add(&folder, name, files, (note, licence), format)?,
    }
    Ok(Done::Complete)
}

fn origin(from: Option<&str>) -> Origin {
    match from {
        None => Origin::Published,
        Some(from) if from.starts_with("http://") || from.starts_with("https://") => {
            Origin::Mirror(from.to_owned())
        }
        Some(from) => Origin::Folder(PathBuf::from(from)),
    }
}

fn fetch_one(
    fetch: &Fetch<'_>,
    set: &DataSet,
    quiet: bool,
    format: Format,
) -> Result<(), DataError> {
    let bar = progress::bytes(set.bytes(), quiet);
    let fetched = fetch.run(set, &|here| bar.set_position(here));
    bar.finish_and_clear();
    let fetched = fetched?;
    let place = fetch.folder.root().join(&set.name);
    let told = match format {
        Format::Json => print_json(&json!({
            "name": set.name,
            "folder": place.display().to_string(),
            "fetched": fetched,
            "licence": set.licence,
        })),
        Format::Text if fetched.is_empty() => print_line(&format!(
            "{} is here already and whole: {}",
            set.name,
            place.display()
        )),
        Format::Text => print_line(&format!(
            "{}: {} in {} (licence: {})",
            set.name,
            fetched.join(", "),
            place.display(),
            one_line(&set.licence)
        )),
    };
    told.map_err(|error| DataError::Files(error.to_string()))
}

fn list(folder: &DataFolder, format: Format) -> Result<()> {
    let sets = folder.sets();
    if format == Format::Json {
        let described = sets.iter().map(|set| {
            json!({
                "name": set.name,
                "state": state(&folder.state(set)).0,
                "note": set.note,
                "licence": set.licence,
                "bytes": set.bytes(),
                "files": set.files,
            })
        });
        let described: Vec<_> = described.collect();
        return print_json(
            &json!({ "folder": folder.root().display().to_string(), "sets": described }),
        );
    }
    for set in &sets {
        let (word, why) = state(&folder.state(set));
        print_line(&format!("{:14} {word:8} {}", set.name, size(set.bytes())))?;
        for line in [why.as_deref().unwrap_or_default(), &set.note] {
            if !line.is_empty() {
                print_line(&format!("  {}", one_line(line)))?;
            }
        }
        if !set.licence.is_empty() {
            print_line(&format!("  licence: {}", one_line(&set.licence)))?;
        }
        for source in set.files.iter().filter_map(|f| f.source.as_deref()) {
            print_line(&format!("  {}", one_line(source)))?;
        }
    }
    print_line(&format!("Kept in {}", folder.root().display()))
}

/// A word for a state, and what is wrong.
fn state(state: &State) -> (&'static str, Option<String>) {
    match state {
        State::Here => ("here", None),
        State::Absent => ("not here", None),
        State::Partly => ("partly", None),
        State::Damaged(why) => ("damaged", Some(why.clone())),
    }
}

#[allow(clippy::cast_precision_loss)]
fn size(bytes: u64) -> String {
    if bytes < 1_000_000 {
        format!("{:.0} kB", bytes as f64 / 1e3)
    } else {
        format!("{:.1} MB", bytes as f64 / 1e6)
    }
}

fn add(
    folder: &DataFolder,
    name: &str,
    files: &[PathBuf],
    (note, licence): (&str, &str),
    format: Format,
) -> Result<()> {
    let (added, missing) = if folder.is_published(name) {
        if !(note.is_empty() && licence.is_empty()) {
            bail!("`{name}` is a known data set: --note and --licence are for your own");
        }
        let added = folder.add(&folder.set(name)?, files)?;
        (added.files, added.missing)
    } else {
        let set = folder.add_own(name, note, licence, files)?;
        (set.files.into_iter().map(|f| f.name).collect(), Vec::new())
    };
    let place = folder.root().join(name);
    if format == Format::Json {
        return print_json(
            &json!({ "name": name, "folder": place.display().to_string(), "added": added, "missing": missing }),
        );
    }
    print_line(&format!(
        "{name}: {} in {}",
        added.join(", "),
        place.display()
    ))?;
    if !missing.is_empty() {
        print_line(&format!("still missing: {}", missing.join(", ")))?;
    }
    Ok(())
}
