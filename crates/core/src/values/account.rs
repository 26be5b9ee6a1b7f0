//! What became of the rows of a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::clip;
use crate::space::Architecture;

/// Rows that gave no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// How many.
    pub count: usize,
    /// The first of them: the line, counted from 1, and the reason.
    pub first: Vec<(u64, String)>,
}

/// How many rows are told one by one.
const TOLD: usize = 10;

impl Refused {
    pub(super) fn add(&mut self, line: u64, reason: &str) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push((line, clip(reason)));
        }
    }
}

/// What became of every row of a table: each is either used or in exactly one of the other counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The file.
    pub file: String,
    /// The space whose architectures were looked for.
    pub space: String,
    /// Rows read, without the header and empty lines.
    pub rows: usize,
    /// Rows that gave a value.
    pub used: usize,
    /// Rows that are not of the file's format, or say no architecture.
    pub unreadable: Refused,
    /// Rows whose architecture is not of the space.
    pub foreign: Refused,
    /// Rows whose architecture is of the space but for its resolution, by resolution.
    pub other_resolutions: BTreeMap<u32, usize>,
    /// Rows of the space's architectures whose value is missing, not a finite number, or none that such a quantity has.
    pub without_value: Refused,
    /// Architectures with a value, by resolution.
    pub architectures: BTreeMap<u32, usize>,
    /// Rows that gave these values, by resolution.
    #[serde(default)]
    pub used_at: BTreeMap<u32, usize>,
    /// Architectures with several rows that all say the same value.
    pub agreeing: usize,
    /// Architectures with several rows whose values differ: they have the median.
    pub differing: usize,
    /// The largest difference of two values of one architecture, relative to the larger magnitude (0 to 2).
    pub largest_spread: f64,
}

impl Account {
    pub(super) fn new(file: &str, space: &str) -> Self {
        Self {
            file: file.to_owned(),
            space: space.to_owned(),
            ..Self::default()
        }
    }

    /// Counts an architecture and the values of its rows.
    pub(super) fn architecture(&mut self, arch: &Architecture, values: &[f64]) {
        self.used += values.len();
        *self.used_at.entry(arch.resolution()).or_default() += values.len();
        *self.architectures.entry(arch.resolution()).or_default() += 1;
        if values.len() < 2 {
            return;
        }
        let spread = spread(values);
        if spread > 0.0 {
            self.differing += 1;
            self.largest_spread = self.largest_spread.max(spread);
        } else {
            self.agreeing += 1;
        }
    }

    /// Whether every row was used.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.used == self.rows
    }
}

/// The largest difference, relative to the larger magnitude.
fn spread(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let magnitude = low.abs().max(high.abs());
    if low < high {
        high / magnitude - low / magnitude
    } else {
        0.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let architectures = self.architectures.values().sum();
        write!(
            f,
            "{}: {} read, {} used, for {} of {}",
            self.file,
            count(self.rows, "row"),
            self.used,
            count(architectures, "architecture"),
            self.space
        )?;
        if architectures > 0 {
            write!(f, " ({})", by_resolution(&self.architectures))?;
        }
        f.write_str(".")?;
        if self.agreeing > 0 {
            write!(
                f,
                " {} in several rows with one value.",
                count(self.agreeing, "architecture")
            )?;
        }
        if self.differing > 0 {
            write!(
                f,
                " {} in several rows with values that differ (by up to {:.2} %): the median is taken.",
                count(self.differing, "architecture"),
                self.largest_spread * 100.0
            )?;
        }
        if !self.other_resolutions.is_empty() {
            write!(
                f,
                " {} left out, of resolutions that the space does not have: {}.",
                count(self.other_resolutions.values().sum(), "row"),
                by_resolution(&self.other_resolutions)
            )?;
        }
        for (refused, what) in [
            (&self.foreign, "whose architecture is not of the space"),
            (&self.unreadable, "that cannot be read"),
            (&self.without_value, "without a usable value"),
        ] {
            if refused.count > 0 {
                write!(f, " {} left out, {what}:", count(refused.count, "row"))?;
                lines(f, refused)?;
            }
        }
        Ok(())
    }
}

fn lines(f: &mut fmt::Formatter<'_>, refused: &Refused) -> fmt::Result {
    for (i, (line, reason)) in refused.first.iter().enumerate() {
        write!(f, "{} line {line}: {reason}", if i == 0 { "" } else { ";" })?;
    }
    match refused.count - refused.first.len().min(refused.count) {
        0 => f.write_str("."),
        more => write!(f, "; and {more} more."),
    }
}

/// `1 row`, `2 rows`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `12 at 192 px, 30 at 224 px`.
#[must_use]
pub fn by_resolution(counts: &BTreeMap<u32, usize>) -> String {
    const SHOWN: usize = 8;
    let shown = counts
        .iter()
        .take(SHOWN)
        .map(|(resolution, number)| format!("{number} at {resolution} px"));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if counts.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}
