//! `blocklens devices`: what can be used here, what cannot, and why.

use anyhow::Result;
use blocklens_measure::engine::{self, Availability};
use serde_json::json;

use super::{Done, print_json, print_line};
use crate::args::Format;

/// Lists every engine.
pub fn run(format: Format) -> Result<Done> {
    for engine in engine::all() {
        let availability = engine.availability();
        if format == Format::Json {
            print_json(&json!({ "engine": engine.name(), "availability": availability }))?;
            continue;
        }
        match availability {
            Availability::Available { version, detail } => {
                print_line(&format!(
                    "{:<6} available      {version}  {detail}",
                    engine.name()
                ))?;
            }
            Availability::Unavailable { reason, remedy } => {
                print_line(&format!("{:<6} not available  {reason}", engine.name()))?;
                print_line(&format!("{:<22}{remedy}", ""))?;
            }
        }
    }
    Ok(Done::Complete)
}
