//! `blocklens serve-device`: an engine of this machine for whoever asks, from wherever.

use std::io::IsTerminal as _;

use anyhow::{Result, anyhow};
use blocklens_measure::{engine, limits};

use super::Done;

/// Serves until standard input ends.
pub fn run(spec: &str, memory_limit: Option<u64>) -> Result<Done> {
    let engine = engine::by_name(spec)?;
    if let Some(mib) = memory_limit {
        limits::limit_memory(mib).map_err(|message| anyhow!(message))?;
    }
    if std::io::stdin().is_terminal() {
        eprintln!(
            "serving {spec}: requests are read from here, one line of JSON each (docs/device-protocol.md); end with \
             Ctrl-D. From another machine it is --engine ssh:HOST/{spec}"
        );
    }
    engine::serve(engine.as_ref())?;
    Ok(Done::Complete)
}
