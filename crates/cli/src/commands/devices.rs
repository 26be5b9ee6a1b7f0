//! `blocklens devices`: what can be used here, what cannot, and why; and whether one does what it must.

use std::thread;

use anyhow::{Result, ensure};
use blocklens_measure::engine::{self, Availability};
use serde_json::json;

use super::{Done, print_json, print_line};
use crate::args::Format;

/// Lists every engine. Those that are programs of their own are asked at the same time: importing takes seconds.
pub fn run(format: Format) -> Result<Done> {
    let engines = engine::all();
    let answers: Vec<Availability> = thread::scope(|scope| {
        let asked: Vec<_> = engines
            .iter()
            .map(|engine| scope.spawn(|| engine.availability()))
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Availability::gone()))
            .collect()
    });
    let longest = engines.iter().map(|engine| engine.name().len()).max();
    for (engine, availability) in engines.iter().zip(answers) {
        if format == Format::Json {
            print_json(&json!({ "engine": engine.name(), "availability": availability }))?;
            continue;
        }
        let name = format!("{:<1$}", engine.name(), longest.unwrap_or_default());
        match availability {
            Availability::Available { version, detail } => {
                print_line(&format!("{name}  available      {version}  {detail}"))?;
            }
            Availability::Unavailable { reason, remedy } => {
                print_line(&format!("{name}  not available  {reason}"))?;
                print_line(&format!("{:<1$}{remedy}", "", name.len() + 17))?;
            }
        }
    }
    Ok(Done::Complete)
}

/// Checks one engine, and says what holds and what does not.
pub fn check(spec: &str, format: Format) -> Result<Done> {
    let engine = engine::by_name(spec)?;
    let checks = engine::check(engine.as_ref());
    for check in &checks {
        let (holds, found) = match &check.found {
            Ok(found) => (true, found),
            Err(reason) => (false, reason),
        };
        match format {
            Format::Json => {
                print_json(&json!({ "check": check.what, "holds": holds, "found": found }))?;
            }
            Format::Text => {
                let mark = if holds { "ok    " } else { "FAILED" };
                print_line(&format!("{mark}  {}: {found}", check.what))?;
            }
        }
    }
    let failed = checks.iter().filter(|check| check.found.is_err()).count();
    ensure!(
        failed == 0,
        "{failed} of {} checks failed; docs/device-protocol.md says what a device must do",
        checks.len()
    );
    Ok(Done::Complete)
}
