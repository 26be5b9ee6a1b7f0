//! Tables of values that someone measured, keyed by architecture: any such table is a metric.
//!
//! CSV, JSON lines and (with the feature `parquet`) Parquet are read here, from bytes. Readers of other formats hand
//! over rows ([`ValueTable::from_rows`]). What becomes of every row is in the [`Account`].

mod account;
mod column;
mod csv;
mod error;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;

pub use crate::quantity::usual_direction;
pub use account::{Account, Refused, by_resolution};
pub use column::{Columns, Wanted};
pub use error::ValueTableError;
pub use rows::{Cell, Key, Row};

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::metric::{Metric, MetricError, MetricInfo, Origin};
use crate::quantity::{Nature, Unit, canonical, split_unit};
use crate::space::{Architecture, DesignSpace};
use crate::text;
use rows::Collector;

/// The largest file that is read, in bytes: look at a file's size before reading it.
pub const LARGEST_FILE: usize = 512 << 20;
/// The longest line (of CSV: the longest record) that is read, in bytes.
pub const LONGEST_LINE: usize = 1 << 20;

/// Measured values by architecture. Architectures that were measured several times have the median.
#[derive(Clone, Debug)]
pub struct ValueTable {
    info: MetricInfo,
    space: DesignSpace,
    values: BTreeMap<Architecture, f64>,
    account: Account,
}

impl ValueTable {
    /// Reads comma-separated values; semicolons and tabs separate as well. The first record names the columns; one of
    /// them is `arch`, with architectures in their text form (in quotes, because they hold commas). `file` is for
    /// errors and for what the metric says of itself.
    ///
    /// # Errors
    /// [`ValueTableError`] when a column is missing or named twice, the direction is not known, or no row gives a
    /// value for an architecture of `space`.
    pub fn read_csv(
        file: &str,
        bytes: &[u8],
        wanted: &Wanted<'_>,
        space: &DesignSpace,
    ) -> Result<Self, ValueTableError> {
        let text = text_of(file, bytes)?;
        let (columns, rows) = csv::read(file, &text, wanted)?;
        Self::from_rows(file, wanted, columns.unit.as_deref(), space, rows)
    }

    /// Reads JSON lines (one object a line), or a JSON list of objects, with the architecture under `arch` (its text
    /// form, or a dictionary of the `ofa` package) or as the fields of such a dictionary beside the values.
    ///
    /// # Errors
    /// As [`Self::read_csv`].
    pub fn read_jsonl(
        file: &str,
        bytes: &[u8],
        wanted: &Wanted<'_>,
        space: &DesignSpace,
    ) -> Result<Self, ValueTableError> {
        let text = text_of(file, bytes)?;
        let survey = json::survey(file, &text, wanted)?;
        let rows = json::rows(file, &text, &survey.field);
        Self::from_rows(file, wanted, survey.unit.as_deref(), space, rows)
    }

    /// Reads a Parquet file: a column `arch` with text forms or structs that are dictionaries of the `ofa` package, and
    /// a column of numbers. Rows are counted from 1.
    ///
    /// # Errors
    /// As [`Self::read_csv`]; [`ValueTableError::NoParquet`] where the feature `parquet` is not compiled in.
    pub fn read_parquet(
        file: &str,
        bytes: &[u8],
        wanted: &Wanted<'_>,
        space: &DesignSpace,
    ) -> Result<Self, ValueTableError> {
        check_size(file, bytes)?;
        #[cfg(feature = "parquet")]
        {
            parquet::guarded(file, || {
                let (columns, rows) = parquet::read(file, bytes, wanted)?;
                Self::from_rows(file, wanted, columns.unit.as_deref(), space, rows)
            })
        }
        #[cfg(not(feature = "parquet"))]
        {
            let _ = (wanted, space);
            Err(ValueTableError::NoParquet {
                file: file.to_owned(),
            })
        }
    }

    /// The table of these rows. `unit` is what the file says of the column, where it does.
    ///
    /// # Errors
    /// [`ValueTableError::NoDirection`], [`ValueTableError::Nothing`], and what a reader of rows gives.
    pub fn from_rows(
        file: &str,
        wanted: &Wanted<'_>,
        unit: Option<&str>,
        space: &DesignSpace,
        rows: impl IntoIterator<Item = Result<Row, ValueTableError>>,
    ) -> Result<Self, ValueTableError> {
        let written = unit.or(wanted.unit).unwrap_or_default();
        let unit = Unit::of(written);
        let direction = wanted
            .direction
            .or_else(|| usual_direction(wanted.column))
            .or_else(|| unit.direction())
            .ok_or_else(|| ValueTableError::NoDirection {
                file: file.to_owned(),
                column: wanted.column.to_owned(),
            })?;
        let nature = Nature::of(&canonical(wanted.column), &unit.name);
        let mut collector = Collector::new(file, space, unit.clone(), nature);
        for row in rows {
            collector.take(row?);
        }
        let (values, account) = collector.finish();
        if values.is_empty() {
            return Err(ValueTableError::Nothing {
                account: Box::new(account),
            });
        }
        let scale = match unit.shown(1.0) == 1.0 {
            true => String::new(),
            false => format!(" (in {written} there)"),
        };
        let info = MetricInfo {
            name: wanted.metric.to_owned(),
            direction,
            origin: Origin::Measured,
            about: format!(
                "Values of {} architectures from the table {file}, column `{}`{scale}; the median where one was \
                 measured several times.",
                values.len(),
                wanted.column
            ),
            unit: unit.name,
        };
        Ok(Self {
            info,
            space: space.clone(),
            values,
            account,
        })
    }

    /// What became of the file's rows.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The architectures that have a value, ascending.
    pub fn architectures(&self) -> impl ExactSizeIterator<Item = &Architecture> + '_ {
        self.values.keys()
    }

    /// The table as comma-separated values that [`Self::read_csv`] reads back: one record an architecture.
    #[must_use]
    pub fn to_csv(&self, column: &str) -> String {
        let header = match self.info.unit.as_str() {
            "" => column.to_owned(),
            unit => format!("{} [{unit}]", split_unit(column).0),
        };
        let cells = self
            .values
            .iter()
            .map(|(arch, value)| [self.space.print(arch), format!("{value:?}")]);
        csv::write([column::ARCH.to_owned(), header], cells)
    }
}

impl Metric for ValueTable {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let value = self.values.get(arch).copied();
        value.ok_or_else(|| MetricError::NoValue {
            metric: self.info.name.clone(),
            arch: self.space.print(arch),
        })
    }

    fn listed(&self) -> Option<Vec<Architecture>> {
        Some(self.architectures().cloned().collect())
    }
}

/// The text of a file that is not too large.
fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<Cow<'a, str>, ValueTableError> {
    check_size(file, bytes)?;
    text::read(bytes).map_err(|problem| ValueTableError::NotText {
        file: file.to_owned(),
        problem,
    })
}

fn check_size(file: &str, bytes: &[u8]) -> Result<(), ValueTableError> {
    if bytes.len() > LARGEST_FILE {
        return Err(ValueTableError::TooLarge {
            file: file.to_owned(),
        });
    }
    Ok(())
}

/// The start of a text from a file, on one line, for messages.
fn clip(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut clipped: String = text.chars().take(LONGEST).map(plain).collect();
    if clipped.len() < text.len() {
        clipped.push_str("...");
    }
    clipped
}

#[cfg(test)]
mod tests;
