//! Which columns of a file hold architectures and values.

use super::{ValueTableError, clip};
use crate::quantity::{Direction, Unit, canonical, split_unit};

/// The column of architectures.
pub(super) const ARCH: &str = "arch";

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What the metric is to be called.
    pub metric: &'a str,
    /// The column: its whole header, or its name without the unit (`latency` for `latency [ms]`, `latency_ms` and
    /// `lat(us)`).
    pub column: &'a str,
    /// The unit, where the file says none; where it has several such columns, that of the one that is meant.
    pub unit: Option<&'a str>,
    /// Which way the values improve; [`crate::quantity::usual_direction`] where it is not said.
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

    /// The one of these headers that is meant, and the unit that it, or the name that was asked for, says. A header
    /// that is what was asked for comes before one that is the same but for its unit, and that before one that means
    /// the same (`lat` for `latency`).
    pub(super) fn among(
        &self,
        file: &str,
        headers: &[&str],
    ) -> Result<(usize, Option<String>), ValueTableError> {
        let (name, typed) = split_unit(self.column);
        let unit = self.unit.or(typed);
        let (column, meant) = (self.column.trim(), canonical(self.column));
        let stages: [(Fits<'_>, Option<&str>); 3] = [
            (&|header: &str| header == column, self.unit),
            (&|header: &str| split_unit(header).0 == name, unit),
            (&|header: &str| canonical(header) == meant, unit),
        ];
        for (fits, unit) in stages {
            let found = positions(headers, fits);
            match in_unit(headers, found, unit).as_slice() {
                [] => {}
                [one] => {
                    let said = split_unit(headers[*one]).1.or(unit);
                    return Ok((*one, said.map(str::to_owned)));
                }
                several => return Err(ambiguous(file, column, &pick(headers, several))),
            }
        }
        Err(ValueTableError::NoColumn {
            file: file.to_owned(),
            column: match self.unit {
                Some(unit) => format!("{column} [{unit}]"),
                None => column.to_owned(),
            },
            columns: list(headers),
        })
    }
}

/// Whether a header is one that is looked for.
type Fits<'a> = &'a dyn Fn(&str) -> bool;

/// Those of some columns whose header says a unit, or else those that say none.
fn in_unit(headers: &[&str], found: Vec<usize>, unit: Option<&str>) -> Vec<usize> {
    let Some(unit) = unit.map(Unit::of) else {
        return found;
    };
    let said = |i: &usize| split_unit(headers[*i]).1.map(Unit::of);
    let same: Vec<usize> = found
        .iter()
        .copied()
        .filter(|i| said(i).as_ref() == Some(&unit))
        .collect();
    if same.is_empty() {
        return found.into_iter().filter(|i| said(i).is_none()).collect();
    }
    same
}

/// Where the columns stand that a table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Index of the column of architectures.
    pub arch: usize,
    /// Index of the column of values.
    pub value: usize,
    /// The unit of the values as it is written, where something says it.
    pub unit: Option<String>,
}

impl Columns {
    /// Finds the columns of `file` by its headers.
    ///
    /// # Errors
    /// [`ValueTableError::NoArch`], [`ValueTableError::NoColumn`] and [`ValueTableError::Ambiguous`].
    pub fn find(
        file: &str,
        headers: &[&str],
        wanted: &Wanted<'_>,
    ) -> Result<Self, ValueTableError> {
        let arch = match positions(headers, &|header| header == ARCH).as_slice() {
            [] => {
                return Err(ValueTableError::NoArch {
                    file: file.to_owned(),
                    columns: list(headers),
                });
            }
            [one] => *one,
            several => return Err(ambiguous(file, ARCH, &pick(headers, several))),
        };
        let (value, unit) = wanted.among(file, headers)?;
        Ok(Self { arch, value, unit })
    }
}

fn ambiguous(file: &str, column: &str, headers: &[&str]) -> ValueTableError {
    ValueTableError::Ambiguous {
        file: file.to_owned(),
        column: column.to_owned(),
        columns: list(headers),
    }
}

fn positions(headers: &[&str], fits: &dyn Fn(&str) -> bool) -> Vec<usize> {
    let all = headers.iter().enumerate();
    all.filter(|(_, header)| fits(header.trim()))
        .map(|(i, _)| i)
        .collect()
}

fn pick<'a>(headers: &[&'a str], which: &[usize]) -> Vec<&'a str> {
    which.iter().map(|&i| headers[i]).collect()
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
