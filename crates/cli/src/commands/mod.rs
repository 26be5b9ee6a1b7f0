//! One module per subcommand: from what was typed to calls of the libraries.

pub mod arch;
pub mod completions;
pub mod devices;
pub mod profile;
pub mod report;
pub mod space;
pub mod worker;

use std::io::Write;

use anyhow::Result;
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

/// The design space asked for.
fn load_space(choice: &SpaceChoice) -> Result<DesignSpace> {
    Ok(DesignSpace::builtin(&choice.space, choice.width)?)
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
