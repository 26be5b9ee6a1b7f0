//! `blocklens guard` and `guarded` (hidden): programs that are metrics end with whoever asks them.

use std::ffi::OsString;
use std::process::ExitCode;

/// The arguments that make this program the guard of the one that is named behind them.
pub const GUARD: [&str; 2] = ["guard", "--"];

/// Runs a program as long as it is asked.
#[cfg(unix)]
pub fn watch(command: &[OsString]) -> ExitCode {
    use anyhow::Context as _;

    // Whoever interrupts has interrupted the one that asks, which ends this one.
    let ready = ctrlc::set_handler(|| ()).context("cannot listen for Ctrl-C");
    let ended = ready.and_then(|()| {
        let own = super::profile::own_program()?;
        Ok(blocklens_measure::guard::watch(
            &own,
            &["guarded", "--"],
            command,
        )?)
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Becomes a program that ends with its guard.
#[cfg(unix)]
pub fn become_program(guard: i32, command: &[OsString]) -> ExitCode {
    blocklens_measure::guard::become_program(guard, command)
}

/// There is no guard on this system.
#[cfg(not(unix))]
pub fn watch(_: &[OsString]) -> ExitCode {
    ExitCode::FAILURE
}

/// There is no guard on this system.
#[cfg(not(unix))]
pub fn become_program(_: i32, _: &[OsString]) -> ExitCode {
    ExitCode::FAILURE
}
