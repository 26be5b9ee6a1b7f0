//! One module per subcommand: from what was typed to calls of the libraries.

pub mod arch;
pub mod completions;
pub mod devices;
pub mod profile;
pub mod report;
pub mod space;
pub mod worker;

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use blocklens_core::space::DesignSpace;
use serde::Serialize;

use crate::args::SpaceChoice;

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

/// The design space asked for: a built-in one by name, or a file whose name ends in `.toml`.
fn load_space(choice: &SpaceChoice) -> Result<DesignSpace> {
    open_space(&choice.space, choice.width)
}

fn open_space(name: &str, width: Option<f64>) -> Result<DesignSpace> {
    if !name.ends_with(".toml") {
        return Ok(DesignSpace::builtin(name, width)?);
    }
    let unreadable = || format!("cannot read the design space {name}");
    let mut text = String::new();
    let file = std::fs::File::open(name).with_context(unreadable)?;
    let read = file
        .take(LARGEST_SPACE_FILE + 1)
        .read_to_string(&mut text)
        .with_context(unreadable)?;
    if read as u64 > LARGEST_SPACE_FILE {
        bail!("{name} is larger than {LARGEST_SPACE_FILE} bytes, which no design space needs");
    }
    Ok(DesignSpace::from_toml(name, &text, width)?)
}

/// Prints a line, and reports a closed pipe as an error instead of panicking.
fn print_line(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl Serialize) -> Result<()> {
    print_line(&serde_json::to_string(value)?)
}
