//! The command line of blocklens. Each subcommand is one step of the way that data takes:
//!
//! ```text
//! space -> arch (sample, cost, export) -> profile (measure, estimate) -> report -> diff
//!                                      -> reduce -> a smaller space
//!                                      -> search, compare -> fronts
//! ```

mod args;
mod commands;
mod files;
mod images;
mod progress;
mod timing;

use std::process::ExitCode;

use args::Command;
use commands::Done;

/// The exit status of a command that Ctrl-C ended, as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = args::parse();
    let result = match cli.command {
        Command::Profile(args) => commands::profile::run(&args, cli.format),
        Command::Report(args) => commands::report::run(&args, cli.format),
        Command::Diff(args) => commands::diff::run(&args, cli.format),
        Command::Evaluate(args) => commands::evaluate::run(&args, cli.format),
        Command::Table(args) => commands::table::run(&args, cli.format),
        Command::Reduce(args) => commands::reduce::run(&args, cli.format),
        Command::Search(args) => commands::search::run(&args, cli.format),
        Command::Compare(args) => commands::compare::run(&args, cli.format),
        Command::Data(args) => commands::data::run(&args, cli.format),
        Command::Devices => commands::devices::run(cli.format),
        Command::Space(args) => commands::space::run(&args, cli.format),
        Command::Arch(args) => commands::arch::run(&args, cli.format),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Worker => commands::worker::run(),
    };
    match result {
        Ok(Done::Complete) => ExitCode::SUCCESS,
        Ok(Done::Interrupted) => ExitCode::from(INTERRUPTED),
        // Whoever reads our output has enough: not an error of ours.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
