//! `blocklens completions`.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::{Done, print_line};
use crate::args::Cli;

/// Prints the completion script of `shell`.
pub fn run(shell: Shell) -> Result<Done> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "blocklens", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Done::Complete)
}
