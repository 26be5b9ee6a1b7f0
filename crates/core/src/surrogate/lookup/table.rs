//! Latency tables as files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::keys;

/// Why a file is not a latency table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupTableError {
    /// It is not YAML of the right form; a file that was cut off may not be either.
    #[error(
        "{name} is not a latency table (`key: {{mean: milliseconds, ...}}` for every layer, in YAML): {reason}"
    )]
    Parse {
        /// The file.
        name: String,
        /// What the parser says.
        reason: String,
    },
    /// A latency that cannot be one.
    #[error("{name}: `{key}` has a mean of {value} ms; a latency is a number from 0 to 10 minutes")]
    Value {
        /// The file.
        name: String,
        /// The entry.
        key: String,
        /// What stands there.
        value: String,
    },
    /// No entry for a first convolution, so that no network can be looked up.
    #[error(
        "{name} has no entry that begins with `Conv-input:` (or `Image-`): it is cut off, or another kind of table"
    )]
    NoResolution {
        /// The file.
        name: String,
    },
}

/// The longest latency of a layer that is believed, in ms.
const LONGEST: f64 = 600_000.0;

/// Latencies of layers, in ms, by the keys of the `ofa` package.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupTable {
    name: String,
    entries: BTreeMap<String, f64>,
}

/// A table's entry with what does not enter sums: how often the layer was timed, and the spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimedLayer {
    /// Number of timed inferences.
    pub count: usize,
    /// Latency in ms.
    pub mean: f64,
    /// Standard deviation of single inferences, in ms.
    pub std: f64,
}

/// A table in the YAML of the `ofa` package, which [`LookupTable::read`] reads back.
#[must_use]
pub fn timed_yaml(layers: &BTreeMap<String, TimedLayer>) -> String {
    let mut text = String::new();
    for (key, TimedLayer { count, mean, std }) in layers {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{key}:\n  count: {count}\n  mean: {mean:?}\n  std: {std:?}"
        );
    }
    text
}

/// An entry of the file. Tables also have `count` and `std` or `var`, which do not enter the sum.
#[derive(Deserialize)]
struct Entry {
    mean: f64,
}

impl LookupTable {
    /// Reads a table in the YAML of the `ofa` package. `name` is for errors and for what the metric says of itself.
    ///
    /// # Errors
    /// [`LookupTableError`].
    pub fn read(name: &str, yaml: &str) -> Result<Self, LookupTableError> {
        let entries: BTreeMap<String, Entry> =
            serde_saphyr::from_str(yaml).map_err(|error| LookupTableError::Parse {
                name: name.to_owned(),
                reason: error.to_string(),
            })?;
        Self::new(
            name,
            entries.into_iter().map(|(key, entry)| (key, entry.mean)),
        )
    }

    /// A table of latencies in ms.
    ///
    /// # Errors
    /// [`LookupTableError::Value`] and [`LookupTableError::NoResolution`].
    pub fn new(
        name: &str,
        entries: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<Self, LookupTableError> {
        let entries: BTreeMap<String, f64> = entries.into_iter().collect();
        let table = Self {
            name: name.to_owned(),
            entries,
        };
        let wrong = |mean: &f64| !(0.0..=LONGEST).contains(mean);
        if let Some((key, mean)) = table.entries.iter().find(|(_, mean)| wrong(mean)) {
            return Err(LookupTableError::Value {
                name: table.name,
                key: key.clone(),
                value: mean.to_string(),
            });
        }
        if table.resolutions().is_empty() {
            return Err(LookupTableError::NoResolution { name: table.name });
        }
        Ok(table)
    }

    /// What the table is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The latency of a layer, in ms.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<f64> {
        self.entries.get(key).copied()
    }

    /// The resolutions for which there is a first convolution, ascending.
    #[must_use]
    pub fn resolutions(&self) -> Vec<u32> {
        let from = |prefix: &'static str| {
            let keys = self.entries.range(prefix.to_owned()..).map(|(key, _)| key);
            keys.take_while(move |key| key.starts_with(prefix))
        };
        let firsts = from(keys::FIRST).chain(from(keys::IMAGE));
        let mut all: Vec<u32> = firsts.filter_map(|key| keys::resolution(key)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The table in the YAML of the `ofa` package.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for (key, mean) in &self.entries {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}:\n  mean: {mean:?}");
        }
        text
    }
}
