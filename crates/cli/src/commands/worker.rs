//! `blocklens worker` (hidden): one measurement in a process of its own.

use anyhow::{Result, anyhow};

use super::Done;

/// Carries out the job on standard input.
pub fn run() -> Result<Done> {
    blocklens_measure::runner::worker_main().map_err(|message| anyhow!(message))?;
    Ok(Done::Complete)
}
