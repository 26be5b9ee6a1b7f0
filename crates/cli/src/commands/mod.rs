//! One module per subcommand: from what was typed to calls of the libraries.

mod across;
pub mod arch;
mod blocks;
pub mod compare;
pub mod completions;
pub mod computed;
pub mod conditions;
pub mod data;
pub mod devices;
pub mod diff;
pub mod evaluate;
pub mod export;
pub mod given;
pub mod guard;
pub mod measure;
pub mod profile;
pub mod reduce;
pub mod report;
pub mod search;
pub mod serve_device;
pub mod space;
pub mod table;
pub mod worker;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use blocklens_core::shown::visible;
use blocklens_core::space::{DesignSpace, SpaceSource, named_files};
use blocklens_measure::data::DataFolder;
use blocklens_measure::files;
use blocklens_measure::metrics::Sources;
use blocklens_measure::program::Options;
use blocklens_measure::proxies;
use serde::Serialize;

use crate::args::SpaceChoice;
use crate::page;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Everything asked for is done.
    Complete,
    /// Ctrl-C; what was measured is kept.
    Interrupted,
}

/// Largest space file that is read, in bytes: a thousand times the size of a built-in one would still fit.
const LARGEST_SPACE_FILE: u64 = 4 << 20;

/// What metrics with a source are made from; `jobs` processes of a program may run at once, and an answer may take
/// `limit_s` seconds.
fn sources(
    jobs: usize,
    limit_s: u64,
    proxies: &proxies::Options,
    interrupted: &Arc<AtomicBool>,
) -> Result<Sources> {
    Ok(Sources {
        data: DataFolder::of_user()?,
        programs: Options {
            jobs,
            time_limit: Duration::from_secs(limit_s),
            interrupted: Arc::clone(interrupted),
        },
        proxies: proxies.clone(),
        images: None,
    })
}

/// What ends programs that are metrics, and devices, however this process ends.
pub fn program_guard() -> Result<Option<(PathBuf, Vec<String>)>> {
    if cfg!(not(unix)) {
        return Ok(None);
    }
    let arguments = guard::GUARD.map(str::to_owned);
    Ok(Some((profile::own_program()?, arguments.to_vec())))
}

/// The design space asked for: a built-in one by name, or a file whose name ends in `.toml`.
fn load_space(choice: &SpaceChoice) -> Result<DesignSpace> {
    open_space(&choice.space, choice.width)
}

fn open_space(name: &str, width: Option<f64>) -> Result<DesignSpace> {
    if !name.ends_with(".toml") {
        return Ok(DesignSpace::builtin(name, width)?);
    }
    let path = Path::new(name);
    let text = read_text(path, LARGEST_SPACE_FILE)
        .with_context(|| format!("cannot read the design space {name}"))?;
    let mut source = SpaceSource::text(&text);
    for file in named_files(&text) {
        // Beside the space's file, wherever the command is run.
        let beside = path.with_file_name(&file);
        let bytes = blocks::read_block(&beside).with_context(|| name.to_owned())?;
        source.files.insert(file, bytes);
    }
    Ok(DesignSpace::read(name, &source, width)?)
}

/// The bytes of a file that is not larger than `limit`.
fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    Ok(files::read(path, limit)?)
}

/// What cannot be done where standard output is full.
const STDOUT: &str = "cannot write standard output";

/// The text of a file that is not larger than `limit`, however it was saved.
fn read_text(path: &Path, limit: u64) -> Result<String> {
    Ok(files::read_text(path, limit)?)
}

/// Prints a line or several without what steers a terminal, and reports a closed pipe as an error instead of panicking.
fn print_line(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{}", visible(text)).context(STDOUT)
}

/// Prints a page of Markdown: set for reading on a terminal, as it is elsewhere.
fn print_page(markdown: &str) -> Result<()> {
    page::print(markdown).context(STDOUT)
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl Serialize) -> Result<()> {
    print_line(&serde_json::to_string(value)?)
}
