//! What a reduction is for, and how careful it is.

use std::fmt;
use std::str::FromStr;

use super::error::ReduceError;

/// What a reduced space is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The best trade-offs between two metrics or more.
    Pareto,
    /// The best value of the metric that is better when larger, whatever it costs.
    MaxAccuracy,
    /// The best of it among networks that keep the cost at or below this, in the cost's unit.
    MaxLatency(f64),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pareto => f.write_str("pareto"),
            Self::MaxAccuracy => f.write_str("max-accuracy"),
            Self::MaxLatency(limit) => write!(f, "max-latency={limit}"),
        }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = |text: &str| {
            let number = text
                .trim_end_matches(|c: char| c.is_ascii_alphabetic())
                .trim();
            let unit = text[number.len()..].trim();
            let number = number
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite() && *n > 0.0)?;
            // The limit is in the profile's unit; ms is what latencies have.
            (unit.is_empty() || unit == "ms").then_some(number)
        };
        match text.split_once('=') {
            None if text == "pareto" => Ok(Self::Pareto),
            None if text == "max-accuracy" => Ok(Self::MaxAccuracy),
            Some(("max-latency", value)) => limit(value).map(Self::MaxLatency).ok_or_else(|| {
                format!("{value:?} is not a latency above 0 in ms, such as 25 or 25ms")
            }),
            _ => Err(format!(
                "{text:?} is none of pareto, max-accuracy and max-latency=25"
            )),
        }
    }
}

/// How to reduce.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What for.
    pub goal: Goal,
    /// Names of the metrics that decide; when empty, the one better when larger and the one better when smaller that
    /// the profiles have: not counted before counted, latency before others.
    pub metrics: Vec<String>,
    /// Probability that any claim is wrong, between 0 and 0.5. Half of it is for dominated choices, half for the bound
    /// on what the best trade-offs lose.
    pub level: f64,
    /// Losses below this share of a metric's standard deviation over architectures are none.
    pub margin: f64,
    /// Gains count beyond so many times what exchanging a block usually differs from its average by (interactions).
    pub caution: f64,
    /// Share of the area below the best trade-offs that may be lost.
    pub allowance: f64,
    /// The reduced space's name; the space's with `-reduced` behind it (once) when `None`.
    pub name: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            goal: Goal::Pareto,
            metrics: Vec::new(),
            level: 0.05,
            margin: 0.01,
            caution: 1.0,
            allowance: 0.01,
            name: None,
        }
    }
}

/// Whether every option is in its range.
pub(super) fn check_options(options: &Options) -> Result<(), ReduceError> {
    let share = "a share from 0 to below 1";
    let ranges = [
        (
            "--level",
            options.level,
            1e-12..0.5,
            "a probability above 0 and below 0.5",
        ),
        ("--margin", options.margin, 0.0..1.0, share),
        ("--caution", options.caution, 0.0..1e6, "a number from 0 on"),
        ("--allowance", options.allowance, 0.0..1.0, share),
    ];
    match ranges
        .into_iter()
        .find(|(_, found, range, _)| !range.contains(found))
    {
        Some((option, found, _, needed)) => Err(ReduceError::Option {
            option,
            needed,
            found,
        }),
        None => Ok(()),
    }
}
