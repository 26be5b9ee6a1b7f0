//! Latency tables as files.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::keys;
use crate::text::{self, NotText};

/// Why a file is not a latency table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupTableError {
    /// It is not text.
    #[error("{name} is no text: {problem}")]
    NotText {
        /// The file.
        name: String,
        /// Where it is none.
        problem: NotText,
    },
    /// It is not YAML or JSON of the right form; a file that was cut off may not be either.
    #[error(
        "{name} is not a latency table (`key: {{mean: milliseconds, ...}}` or `key: milliseconds` for every layer, in \
         YAML or JSON): {reason}"
    )]
    Parse {
        /// The file.
        name: String,
        /// What the parser says.
        reason: String,
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
    /// What stands where a latency cannot be what it says: no measurement.
    set_aside: BTreeMap<String, f64>,
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

/// An entry of the file: the mean, alone or in a map. Tables also have `count` and `std` or `var`, which do not enter
/// the sum.
struct Entry(f64);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds, or a map with their `mean`")
    }

    fn visit_f64<E: Error>(self, mean: f64) -> Result<Entry, E> {
        Ok(Entry(mean))
    }

    #[allow(clippy::cast_precision_loss)] // such a number is no latency anyway
    fn visit_i64<E: Error>(self, mean: i64) -> Result<Entry, E> {
        Ok(Entry(mean as f64))
    }

    #[allow(clippy::cast_precision_loss)] // such a number is no latency anyway
    fn visit_u64<E: Error>(self, mean: u64) -> Result<Entry, E> {
        Ok(Entry(mean as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Entry, A::Error> {
        let mut mean = None;
        while let Some(field) = fields.next_key::<String>()? {
            match (field.as_str(), mean) {
                ("mean", None) => mean = Some(fields.next_value::<f64>()?),
                ("mean", Some(_)) => return Err(A::Error::duplicate_field("mean")),
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        mean.map(Entry)
            .ok_or_else(|| A::Error::missing_field("mean"))
    }
}

/// The entries of a file, none of them twice.
struct Entries(BTreeMap<String, f64>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry for every layer")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Entries, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, Entry(mean))) = pairs.next_entry::<String, Entry>()? {
                    if all.contains_key(&key) {
                        return Err(A::Error::custom(format!("the entry `{key}` stands twice")));
                    }
                    all.insert(key, mean);
                }
                Ok(Entries(all))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl LookupTable {
    /// Reads a table as the `ofa` package has it, in YAML or JSON. `name` is for errors and for what the metric says of
    /// itself.
    ///
    /// # Errors
    /// [`LookupTableError`].
    pub fn read(
        name: &str,
        contents: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Self, LookupTableError> {
        let text = text::read(contents.as_ref()).map_err(|problem| LookupTableError::NotText {
            name: name.to_owned(),
            problem,
        })?;
        // JSON is YAML nearly always; its own parser says better where it is not.
        let entries: Result<Entries, String> = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(&text)
                .or_else(|error| serde_saphyr::from_str(&text).map_err(|_| error.to_string())),
            false => serde_saphyr::from_str(&text).map_err(|error| error.to_string()),
        };
        let Entries(entries) = entries.map_err(|reason| LookupTableError::Parse {
            name: name.to_owned(),
            reason,
        })?;
        Self::new(name, entries)
    }

    /// A table of latencies in ms. Entries that no latency can have are set aside: they count as missing.
    ///
    /// # Errors
    /// [`LookupTableError::NoResolution`].
    pub fn new(
        name: &str,
        entries: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<Self, LookupTableError> {
        let possible = |(_, mean): &(String, f64)| *mean > 0.0 && *mean <= LONGEST;
        let (entries, set_aside) = entries.into_iter().partition(possible);
        let table = Self {
            name: name.to_owned(),
            entries,
            set_aside,
        };
        if table.resolutions().is_empty() {
            return Err(LookupTableError::NoResolution { name: table.name });
        }
        Ok(table)
    }

    /// What was set aside, in a sentence; `None` where everything is used.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        const SHOWN: usize = 5;
        let count = self.set_aside.len();
        let one = |(key, mean): (&String, &f64)| format!("`{key}` with {mean} ms");
        let some: Vec<String> = self.set_aside.iter().take(SHOWN).map(one).collect();
        let more = match count.saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (count > 0).then(|| {
            format!(
                "{}: {count} of {} entries are left out, because a latency is above 0 and at most 10 minutes: {}{more}",
                self.name,
                count + self.entries.len(),
                some.join(", ")
            )
        })
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
            let all = [&self.entries, &self.set_aside];
            all.into_iter().flat_map(move |entries| {
                let keys = entries.range(prefix.to_owned()..).map(|(key, _)| key);
                keys.take_while(move |key| key.starts_with(prefix))
            })
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
