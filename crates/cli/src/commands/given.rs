//! Architectures that are given on the command line: as they are written, or by a file that lists them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocklens_core::metric::Direction;
use blocklens_core::notation::{Listed, Listing, NotationError, Noted};
use blocklens_core::quantity::usual_direction;
use blocklens_core::shown::number;
use blocklens_core::space::{Architecture, ArchitectureError, DesignSpace};
use blocklens_core::text;
use blocklens_measure::lines::Architectures;
use serde_json::Value;

use super::read_limited;
use crate::args::BestArgs;

/// Standard input, where a file may be named.
pub const STANDARD_INPUT: &str = "-";
/// Largest file of architectures that is read at once, in bytes.
const LARGEST_LISTING: u64 = 512 << 20;
/// What folders of results hold that lists architectures.
const LISTINGS: [&str; 3] = ["front.csv", "evaluations.jsonl", "values.jsonl"];

/// Reads an architecture in any notation.
pub fn read_arch(space: &DesignSpace, text: &str, resolution: Option<u32>) -> Result<Architecture> {
    match space.read_architecture(text, resolution) {
        Err(NotationError::Architecture(ArchitectureError::NoResolution)) => {
            bail!("{}, or --resolution does", ArchitectureError::NoResolution)
        }
        other => Ok(other?),
    }
}

/// Whether what was given names a file (or standard input) and is no architecture.
pub fn is_file(given: &str) -> bool {
    given == STANDARD_INPUT || Path::new(given).exists()
}

/// Standard input, or a file of architectures, one a line whatever lists them.
pub fn lines(path: &Path) -> Result<Architectures> {
    if path == Path::new(STANDARD_INPUT) {
        return Ok(Architectures::of(std::io::stdin()));
    }
    let context = || format!("cannot read the architectures in {}", path.display());
    if path.is_dir() {
        bail!("{}: it is a folder{}", context(), listed_in(path, path));
    }
    Ok(Architectures::of(File::open(path).with_context(context)?))
}

/// What a folder holds for the purpose, besides a file.
fn listed_in(folder: &Path, besides: &Path) -> String {
    let there = LISTINGS.iter().filter(|name| !besides.ends_with(name));
    let there = there.map(|name| folder.join(name));
    match there
        .filter(|file| file.is_file())
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => String::new(),
        files => {
            let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
            format!("; these list architectures: {}", files.join(", "))
        }
    }
}

/// What to say of a file that holds no architecture.
pub fn holds_none(path: &Path) -> String {
    let name = match path == Path::new(STANDARD_INPUT) {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    format!("{name} holds no architecture{}", beside(path))
}

/// What stands beside a file that was meant to list architectures, and lists some.
pub fn beside(path: &Path) -> String {
    let folder = path.parent().filter(|_| path.is_file());
    match folder {
        None => String::new(),
        Some(folder) if folder == Path::new("") => listed_in(Path::new("."), path),
        Some(folder) => listed_in(folder, path),
    }
}

/// Every architecture that is given: one as it is written, or those of a file.
pub fn each(
    space: &DesignSpace,
    given: &str,
    resolution: Option<u32>,
    visit: &mut dyn FnMut(&Architecture) -> Result<()>,
) -> Result<()> {
    if !is_file(given) {
        return visit(&written(space, given, resolution)?);
    }
    let path = Path::new(given);
    let name = match given {
        STANDARD_INPUT => "standard input",
        file => file,
    };
    let (mut empty, mut number) = (true, 0);
    for line in BufReader::new(lines(path)?).lines() {
        let line = line.with_context(|| format!("cannot read {name}"))?;
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        empty = false;
        let arch = read_arch(space, &line, resolution);
        visit(&arch.with_context(|| format!("{name}, line {number}"))?)?;
    }
    match empty {
        true => bail!(holds_none(path)),
        false => Ok(()),
    }
}

/// Reads an architecture that is given as it is written.
pub fn written(space: &DesignSpace, given: &str, resolution: Option<u32>) -> Result<Architecture> {
    let arch = read_arch(space, given, resolution);
    match given.starts_with(['r', '{', '(', '[']) {
        true => arch,
        false => arch.with_context(|| format!("{given} is neither an architecture nor a file")),
    }
}

/// How to choose among the architectures of a file.
pub struct Choice<'a> {
    /// So many of them; the only one when not given.
    pub best: Option<usize>,
    /// By this metric; the file's first when not given.
    pub by: Option<&'a str>,
    /// Which way it improves, where that was said.
    pub direction: Option<Direction>,
    /// The resolution of what does not say its own.
    pub resolution: Option<u32>,
}

impl<'a> Choice<'a> {
    /// What was typed.
    pub fn new(args: &'a BestArgs, resolution: Option<u32>) -> Self {
        Self {
            best: args.best.map(usize::from),
            by: args.by.as_deref(),
            direction: args.direction(),
            resolution,
        }
    }

    /// Refuses to choose where `given` lists nothing.
    pub fn check_nothing(&self, given: &str) -> Result<()> {
        if self.best.is_some() {
            bail!("--best chooses among the architectures of a file: {given} is none");
        }
        Ok(())
    }
}

/// An architecture that was chosen, with the value that it was chosen by.
pub struct Chosen {
    /// The architecture.
    pub arch: Architecture,
    /// Metric and value, such as `accuracy 76.1 %`.
    pub value: Option<(String, f64)>,
}

/// The architectures that were chosen of a file, best first, and what to say of how they were.
pub fn choose(
    space: &DesignSpace,
    given: &str,
    choice: &Choice<'_>,
) -> Result<(Vec<Chosen>, String)> {
    let listing = read_listing(Path::new(given))?;
    let Some(best) = choice.best else {
        return match listing.entries.as_slice() {
            [] => bail!(holds_none(Path::new(given))),
            [only] => {
                let arch = noted(space, given, only, choice.resolution)?;
                Ok((vec![Chosen { arch, value: None }], String::new()))
            }
            several => bail!(
                "{given} lists {} architectures: --best N takes the N best{}",
                several.len(),
                metrics_of(&listing)
            ),
        };
    };
    let (metric, direction) = metric(given, &listing, choice)?;
    let mut known = Vec::new();
    for entry in &listing.entries {
        let mut values = entry.values.iter().filter(|(of, _)| *of == metric);
        if let Some((_, value)) = values.next() {
            known.push((*value, noted(space, given, entry, choice.resolution)?));
        }
    }
    let without = listing.entries.len() - known.len();
    known.sort_by(|(a, _), (b, _)| match direction {
        Direction::LowerIsBetter => a.total_cmp(b),
        Direction::HigherIsBetter => b.total_cmp(a),
    });
    let mut seen = BTreeSet::new();
    known.retain(|(_, arch)| seen.insert(arch.clone()));
    let of = known.len();
    known.truncate(best);
    let Listed { name, unit, .. } = &listing.metrics[metric];
    let way = match direction {
        Direction::LowerIsBetter => "lower is better",
        Direction::HigherIsBetter => "higher is better",
    };
    let lacking = match without {
        0 => String::new(),
        n => format!("; {n} entries have no value of it"),
    };
    let count = known.len();
    let told =
        format!("{given}: the {count} best of {of} architectures by {name} ({way}){lacking}");
    let unit = unit.as_deref().unwrap_or_default();
    let chosen = known.into_iter().map(|(value, arch)| {
        let text = format!("{name} {} {unit}", number(value));
        let value = Some((text.trim_end().to_owned(), value));
        Chosen { arch, value }
    });
    Ok((chosen.collect(), told))
}

/// The architecture of an entry of a file.
fn noted(
    space: &DesignSpace,
    given: &str,
    entry: &Noted,
    resolution: Option<u32>,
) -> Result<Architecture> {
    let arch = match &entry.arch {
        Value::String(text) => read_arch(space, text, resolution),
        dictionary => read_arch(space, &dictionary.to_string(), resolution),
    };
    arch.with_context(|| format!("{given}, line {}", entry.line))
}

fn read_listing(path: &Path) -> Result<Listing> {
    let context = || format!("cannot read the architectures in {}", path.display());
    let bytes = if path == Path::new(STANDARD_INPUT) {
        let mut bytes = Vec::new();
        let input = std::io::stdin().lock();
        input
            .take(LARGEST_LISTING)
            .read_to_end(&mut bytes)
            .with_context(context)?;
        bytes
    } else if path.is_dir() {
        bail!("{}: it is a folder{}", context(), listed_in(path, path));
    } else {
        read_limited(path, LARGEST_LISTING).with_context(context)?
    };
    let text = text::read(&bytes).with_context(context)?;
    Listing::read(&text).with_context(context)
}

/// The metric to choose by, and which way it improves.
fn metric(given: &str, listing: &Listing, choice: &Choice<'_>) -> Result<(usize, Direction)> {
    let has_value = |metric: &usize| {
        let mut values = listing.entries.iter().flat_map(|entry| &entry.values);
        values.any(|(number, _)| number == metric)
    };
    let metric = match choice.by {
        Some(name) => listing.metric(name).with_context(|| {
            format!("--by {name}: {given} has no such metric{}", metrics_of(listing))
        })?,
        None => (0..listing.metrics.len()).find(has_value).with_context(|| {
            format!(
                "{given} has no values to choose the best by: `blocklens evaluate` writes some with --output"
            )
        })?,
    };
    let listed = &listing.metrics[metric];
    let direction = choice.direction.or(listed.direction);
    let direction = direction.or_else(|| usual_direction(&listed.name));
    let direction = direction.with_context(|| {
        format!(
            "whether higher or lower values of {} are better is not known: say --higher-is-better or --lower-is-better",
            listed.name
        )
    })?;
    Ok((metric, direction))
}

fn metrics_of(listing: &Listing) -> String {
    let names: Vec<&str> = listing.metrics.iter().map(|m| m.name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; its metrics (--by) are {}", names.join(", ")),
    }
}
