//! Rows, and what they come to.

use std::collections::BTreeMap;

use super::account::Account;
use super::clip;
use crate::notation::NotationError;
use crate::quantity::{Nature, Unit};
use crate::space::{Architecture, ArchitectureError, DesignSpace};
use serde_json::{Map, Value};

/// What a row says of its architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// It, in any notation that is a text ([`DesignSpace::read_architecture`]).
    Text(String),
    /// Its dictionary in the `ofa` package.
    Dict(Map<String, Value>),
    /// Nothing that could be one, and why.
    Unreadable(String),
}

/// What stands in the column of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number, finite or not.
    Number(f64),
    /// Nothing.
    Empty,
    /// Something that is not a number.
    Other(String),
}

/// A row of a table, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its line in the file, counted from 1 (where a format has no lines: its number).
    pub line: u64,
    /// Its architecture.
    pub arch: Key,
    /// Its value.
    pub value: Cell,
}

/// Takes rows one by one.
pub(super) struct Collector<'a> {
    space: &'a DesignSpace,
    /// The unit that values are written in.
    unit: Unit,
    /// What they may be.
    nature: Nature,
    values: BTreeMap<Architecture, Vec<f64>>,
    account: Account,
}

impl<'a> Collector<'a> {
    pub(super) fn new(file: &str, space: &'a DesignSpace, unit: Unit, nature: Nature) -> Self {
        Self {
            space,
            unit,
            nature,
            values: BTreeMap::new(),
            account: Account::new(file, space.name()),
        }
    }

    pub(super) fn take(&mut self, row: Row) {
        self.account.rows += 1;
        let arch = match row.arch {
            Key::Text(text) => self.space.read_architecture(&text, None),
            Key::Dict(dict) => self
                .space
                .read_dictionary(&dict, None)
                .map_err(NotationError::from),
            Key::Unreadable(reason) => return self.account.unreadable.add(row.line, &reason),
        };
        let arch = match arch {
            Ok(arch) => arch,
            Err(NotationError::Architecture(ArchitectureError::Resolution { found, .. })) => {
                *self.account.other_resolutions.entry(found).or_default() += 1;
                return;
            }
            Err(error) => return self.account.foreign.add(row.line, &error.to_string()),
        };
        let without = &mut self.account.without_value;
        match row.value {
            Cell::Number(value) => {
                let shown = self.unit.shown(value);
                if self.nature.allows(shown) {
                    self.values.entry(arch).or_default().push(shown);
                } else {
                    let rule = self.nature.rule();
                    without.add(row.line, &format!("{value}, which must be {rule}"));
                }
            }
            Cell::Empty => without.add(row.line, "empty"),
            Cell::Other(text) => without.add(row.line, &format!("`{}`", clip(&text))),
        }
    }

    pub(super) fn finish(self) -> (BTreeMap<Architecture, f64>, Account) {
        let mut account = self.account;
        for (arch, values) in &self.values {
            account.architecture(arch, values);
        }
        let medians = self.values.into_iter();
        let medians = medians.filter_map(|(arch, values)| Some((arch, median(values)?)));
        (medians.collect(), account)
    }
}

/// The median of finite numbers, which is finite too.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let low = *values.get(values.len().checked_sub(1)? / 2)?;
    let high = *values.get(values.len() / 2)?;
    // Halves first: the difference of two large numbers may not be finite.
    Some(low + (high / 2.0 - low / 2.0))
}
