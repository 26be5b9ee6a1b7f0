//! What failures go with, in numbers and in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What failures surely go with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailingWith {
    /// The property, such as `millions of MACs`.
    pub what: String,
    /// Its mean over the architectures that failed.
    pub failed: f64,
    /// Its mean over the others.
    pub others: f64,
    /// p value of "no connection", corrected by Holm for all properties that were looked at.
    pub p: f64,
}

impl fmt::Display for FailingWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |x: f64| match x.abs() {
            x if x >= 100.0 => format!("{x:.0}"),
            x if x >= 10.0 => format!("{x:.1}"),
            x => format!("{x:.2}"),
        };
        let p = match self.p {
            p if p < 0.001 => "p < 0.001".to_owned(),
            p => format!("p = {p:.3}"),
        };
        write!(
            f,
            "failures go with {}: {} on average where it failed, {} where it worked ({p})",
            self.what,
            number(self.failed),
            number(self.others)
        )
    }
}
