//! Which engine computes networks whose times do not matter.

use super::{Availability, Engine, EngineSpecError, by_name};

/// The engines that compute, the fastest first.
const COMPUTING: [&str; 2] = ["ort", "tract"];

/// Why no engine computes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputingError {
    /// The engine's name means nothing.
    #[error(transparent)]
    Spec(#[from] EngineSpecError),
    /// The engine asked for cannot be used.
    #[error(
        "the engine `{engine}`, which was asked for, cannot be used here: {reason}; {remedy}{}",
        instead(others)
    )]
    Unavailable {
        /// What was asked for.
        engine: String,
        /// Why not.
        reason: String,
        /// What would change that.
        remedy: String,
        /// Other engines that compute here.
        others: Vec<&'static str>,
    },
    /// The engine only tells times.
    #[error(
        "the engine `{engine}` computes nothing for others: it only tells times of networks{}",
        instead(others)
    )]
    TimesOnly {
        /// What was asked for.
        engine: String,
        /// Other engines that compute here.
        others: Vec<&'static str>,
    },
    /// Nothing was asked for, and none is there.
    #[error("no engine computes networks here: {}", reasons.join(". "))]
    None {
        /// Why not, one for each engine.
        reasons: Vec<String>,
    },
}

fn instead(others: &[&str]) -> String {
    match others {
        [] => String::new(),
        others => format!(". Engines that can compute here: {}", others.join(", ")),
    }
}

/// The engine named, or the fastest that is here, with its version: for computing outputs, so that no formula will do.
///
/// # Errors
/// [`ComputingError`], which is about the engine named where one was.
pub fn computing(named: Option<&str>) -> Result<(Box<dyn Engine>, String), ComputingError> {
    if let Some(spec) = named {
        return asked(spec);
    }
    let mut reasons = Vec::new();
    for name in COMPUTING {
        let engine = by_name(name)?;
        match engine.availability() {
            Availability::Available { version, .. } => return Ok((engine, version)),
            Availability::Unavailable { reason, remedy } => {
                reasons.push(format!("`{name}`: {reason}; {remedy}"));
            }
        }
    }
    Err(ComputingError::None { reasons })
}

fn asked(spec: &str) -> Result<(Box<dyn Engine>, String), ComputingError> {
    let engine = by_name(spec)?;
    if !engine.takes_graphs() {
        return Err(ComputingError::TimesOnly {
            engine: spec.to_owned(),
            others: others(spec),
        });
    }
    match engine.availability() {
        Availability::Available { version, .. } => Ok((engine, version)),
        Availability::Unavailable { reason, remedy } => Err(ComputingError::Unavailable {
            engine: spec.to_owned(),
            reason,
            remedy,
            others: others(spec),
        }),
    }
}

/// Engines besides `spec` that compute here.
fn others(spec: &str) -> Vec<&'static str> {
    let here = |name: &&'static str| {
        *name != spec && by_name(name).is_ok_and(|engine| engine.availability().is_available())
    };
    COMPUTING.into_iter().filter(here).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_about_what_was_asked_for() {
        let missing = computing(Some("ort:/no/such/library.so")).err().unwrap();
        let text = missing.to_string();
        assert!(
            text.contains("`ort:/no/such/library.so`, which was asked for"),
            "{text}"
        );
        assert!(!text.contains("no engine"), "{text}");
        // Whatever else is installed.
        let others = text.split("can compute here: ").nth(1).unwrap_or_default();
        assert_eq!(others.contains("tract"), cfg!(feature = "tract"), "{text}");
        let formula = computing(Some("mock")).err().unwrap().to_string();
        assert!(
            formula.starts_with("the engine `mock` computes nothing for others"),
            "{formula}"
        );
        let unknown = computing(Some("tvm")).err().unwrap();
        assert!(matches!(unknown, ComputingError::Spec(_)), "{unknown}");
    }
}
