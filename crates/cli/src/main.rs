//! The command line of blocklens. Each subcommand is one step of the way that data takes:
//!
//! ```text
//! space -> arch (sample, cost, export) -> profile (measure, estimate) -> report -> diff
//!                                      -> reduce -> a smaller space
//!                                      -> search, compare -> fronts
//! ```

#[macro_use]
mod tell;

mod args;
mod command_line;
mod commands;
mod files;
mod images;
mod interruption;
mod page;
mod progress;
mod timing;

use std::process::ExitCode;

use anyhow::Result;
use args::{Command, Format};
use blocklens_measure::processes::{self, Lent};
use commands::Done;
use interruption::INTERRUPTED;

fn main() -> ExitCode {
    let cli = args::parse();
    processes::survive_file_limits();
    processes::lend(Lent {
        guard: commands::program_guard().ok().flatten(),
        interrupted: interruption::raised(),
    });
    match cli.command {
        // Processes of this program's own, which leave signals to the one that started them.
        Command::Worker => ended(commands::worker::run()),
        Command::ServeDevice {
            engine,
            memory_limit,
        } => ended(commands::serve_device::run(&engine, memory_limit)),
        Command::Guard { command } => commands::guard::watch(&command),
        Command::Guarded { guard, command } => commands::guard::become_program(guard, &command),
        command => ended(interruption::listen().and_then(|()| run(command, cli.format))),
    }
}

fn run(command: Command, format: Format) -> Result<Done> {
    match command {
        Command::Profile(args) => commands::profile::run(&args, format),
        Command::Report(args) => commands::report::run(&args, format),
        Command::Diff(args) => commands::diff::run(&args, format),
        Command::Measure(args) => commands::measure::run(&args, format),
        Command::Evaluate(args) => commands::evaluate::run(&args, format),
        Command::Table(args) => commands::table::run(&args, format),
        Command::Reduce(args) => commands::reduce::run(&args, format),
        Command::Search(args) => commands::search::run(&args, format),
        Command::Compare(args) => commands::compare::run(&args, format),
        Command::Data(args) => commands::data::run(&args, format),
        Command::Devices { check: None } => commands::devices::run(format),
        Command::Devices {
            check: Some(engine),
        } => commands::devices::check(&engine, format),
        Command::Space(args) => commands::space::run(&args, format),
        Command::Arch(args) => commands::arch::run(&args, format),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Worker
        | Command::ServeDevice { .. }
        | Command::Guard { .. }
        | Command::Guarded { .. } => Ok(Done::Complete),
    }
}

fn ended(result: Result<Done>) -> ExitCode {
    match result {
        Ok(Done::Interrupted) => ExitCode::from(INTERRUPTED),
        // Who asked for an end gets no success, also where nothing was left to be done.
        Ok(Done::Complete) if interruption::heard() => ExitCode::from(INTERRUPTED),
        Ok(Done::Complete) => ExitCode::SUCCESS,
        // Whoever reads our output has enough: not an error of ours.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        // What an interruption broke off is no fault of what was broken off.
        Err(error) if interruption::heard() => {
            eprintln!("interrupted: {}", told(&error));
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each thing once: libraries differ in whether an error says what its cause says.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
