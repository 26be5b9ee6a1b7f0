//! Which columns of a file hold architectures and values.

use super::{ValueTableError, clip};
use crate::metric::Direction;

/// The column of architectures.
pub(super) const ARCH: &str = "arch";

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What the metric is to be called.
    pub metric: &'a str,
    /// The column: its whole header, or its name without the unit (`latency` for `latency [ms]`).
    pub column: &'a str,
    /// The unit, where the file says none.
    pub unit: Option<&'a str>,
    /// Which way the values improve; [`usual_direction`] where it is not said.
    pub direction: Option<Direction>,
}

impl<'a> Wanted<'a> {
    /// The column of this name, as a metric of the same name.
    #[must_use]
    pub fn column(column: &'a str) -> Self {
        Self {
            metric: column,
            column,
            unit: None,
            direction: None,
        }
    }
}

/// Which way quantities with this name improve: lower is better for names that begin with latency, energy, memory,
/// params, macs, error or loss, and higher for those with accuracy, top1, top5 or score.
#[must_use]
pub fn usual_direction(name: &str) -> Option<Direction> {
    const LOWER: [&str; 7] = [
        "latency", "energy", "memory", "params", "macs", "error", "loss",
    ];
    const HIGHER: [&str; 4] = ["accuracy", "top1", "top5", "score"];
    let name = name.trim().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    if begins(&LOWER) {
        Some(Direction::LowerIsBetter)
    } else if begins(&HIGHER) {
        Some(Direction::HigherIsBetter)
    } else {
        None
    }
}

/// Where the columns stand that a table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Index of the column of architectures.
    pub arch: usize,
    /// Index of the column of values.
    pub value: usize,
    /// The unit that the header of the values says.
    pub unit: Option<String>,
}

impl Columns {
    /// Finds the columns of `file` by its headers.
    ///
    /// # Errors
    /// [`ValueTableError::NoArch`], [`ValueTableError::NoColumn`] and [`ValueTableError::Ambiguous`].
    pub fn find(file: &str, headers: &[&str], column: &str) -> Result<Self, ValueTableError> {
        let arch = match positions(headers, |header| header == ARCH).as_slice() {
            [] => {
                return Err(ValueTableError::NoArch {
                    file: file.to_owned(),
                    columns: list(headers),
                });
            }
            [one] => *one,
            several => return Err(ambiguous(file, ARCH, &pick(headers, several))),
        };
        let exact = positions(headers, |header| header == column.trim());
        let found = if exact.is_empty() {
            positions(headers, |header| split_unit(header).0 == column.trim())
        } else {
            exact
        };
        match found.as_slice() {
            [] => Err(ValueTableError::NoColumn {
                file: file.to_owned(),
                column: column.to_owned(),
                columns: list(headers),
            }),
            [value] => Ok(Self {
                arch,
                value: *value,
                unit: split_unit(headers[*value].trim()).1.map(str::to_owned),
            }),
            several => Err(ambiguous(file, column, &pick(headers, several))),
        }
    }
}

pub(super) fn ambiguous(file: &str, column: &str, headers: &[&str]) -> ValueTableError {
    ValueTableError::Ambiguous {
        file: file.to_owned(),
        column: column.to_owned(),
        columns: list(headers),
    }
}

fn positions(headers: &[&str], fits: impl Fn(&str) -> bool) -> Vec<usize> {
    let all = headers.iter().enumerate();
    all.filter(|(_, header)| fits(header.trim()))
        .map(|(i, _)| i)
        .collect()
}

fn pick<'a>(headers: &[&'a str], which: &[usize]) -> Vec<&'a str> {
    which.iter().map(|&i| headers[i]).collect()
}

/// Name and unit of a header: `latency [ms]`.
pub(super) fn split_unit(header: &str) -> (&str, Option<&str>) {
    let parts = header
        .strip_suffix(']')
        .and_then(|rest| rest.rsplit_once('['));
    match parts {
        Some((name, unit)) if !name.trim().is_empty() && !unit.trim().is_empty() => {
            (name.trim(), Some(unit.trim()))
        }
        _ => (header, None),
    }
}

/// The first headers, in quotes.
pub(super) fn list(headers: &[&str]) -> String {
    const SHOWN: usize = 20;
    if headers.is_empty() {
        return "none".to_owned();
    }
    let shown = headers
        .iter()
        .take(SHOWN)
        .map(|header| format!("`{}`", clip(header)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if headers.len() > SHOWN {
        text.push_str(&format!(" and {} more", headers.len() - SHOWN));
    }
    text
}
