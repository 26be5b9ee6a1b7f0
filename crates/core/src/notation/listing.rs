//! Files that list architectures, with the numbers that stand beside them: CSV with a column `arch`, lines of any
//! notation, JSON lines, and JSON documents that hold records somewhere inside (a search's front, a report's
//! networks).

use std::collections::HashMap;

use csv::{ReaderBuilder, StringRecord, Trim};
use serde_json::{Map, Value};

use super::{ARCH, is_dictionary, is_literal, literal};
use crate::metric::Direction;
use crate::quantity::split_unit;

/// Fields of records that are numbers and no metric's.
const NO_METRIC: [&str; 10] = [
    "batch", "id", "index", "raw_ms", "ks", "e", "d", "w", "wid", "r",
];
/// The same, of the resolution.
const IMAGE_SIZE: &str = "image_size";
/// What a report calls the latency of a network.
const LATENCY_OF_REPORTS: &str = "corrected_ms";
/// The field that names the metric of a record of one value, as `blocklens evaluate` writes them.
const METRIC: &str = "metric";

/// A metric that a file has values of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, as the file has it.
    pub name: String,
    /// Its unit, where the file says it.
    pub unit: Option<String>,
    /// Which way it improves, where the file says it.
    pub direction: Option<Direction>,
}

/// An architecture of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    /// The line on which it stands, or on which the value begins that holds it.
    pub line: usize,
    /// Its notation: a text, or a dictionary.
    pub arch: Value,
    /// The numbers beside it, by their metric's number in [`Listing::metrics`].
    pub values: Vec<(usize, f64)>,
}

/// What a file lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The metrics, in the order in which they first stand there.
    pub metrics: Vec<Listed>,
    /// The architectures, in the file's order.
    pub entries: Vec<Noted>,
}

/// A file that is no listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ListingError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

impl Listing {
    /// Reads a listing. What stands where an architecture is due is taken as it is, so that its reader can say what
    /// is wrong with it.
    ///
    /// # Errors
    /// [`ListingError`] for CSV that is none.
    pub fn read(text: &str) -> Result<Self, ListingError> {
        let mut listing = Builder::default();
        let first = text.lines().find(|line| !line.trim().is_empty());
        let first = first.unwrap_or_default();
        if is_header(first) {
            listing.read_csv(text)?;
        } else {
            match is_literal(first.trim()).then(|| literal::parse_all(text)) {
                Some(Ok(values)) => {
                    for (line, value) in values {
                        listing.take(line, value);
                    }
                }
                _ => listing.read_lines(text),
            }
        }
        Ok(listing.done)
    }

    /// Whether a file that begins with this line is to be read as a whole, and not line by line.
    #[must_use]
    pub fn is_whole(first: &str) -> bool {
        let first = first.trim();
        if is_header(first) || first.contains('\t') {
            return true;
        }
        if !is_literal(first) {
            return false;
        }
        match literal::parse(first) {
            Ok(Value::Object(map)) if map.contains_key(ARCH) => map.contains_key(METRIC),
            Ok(Value::Object(map)) => !is_dictionary(&map),
            Ok(Value::Array(items)) => items.iter().filter(|i| !i.is_number()).count() != 1,
            Ok(_) => false,
            Err(_) => literal::breaks_off(first),
        }
    }

    /// The number of the metric that is called so, with or without its source and unit.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<usize> {
        let exact = self.metrics.iter().position(|m| m.name == name);
        let quantity = |m: &Listed| m.name.split('@').next() == Some(name);
        exact.or_else(|| {
            let mut alike = (0..self.metrics.len()).filter(|i| quantity(&self.metrics[*i]));
            alike.next().filter(|_| alike.next().is_none())
        })
    }
}

/// A listing while it is read.
#[derive(Default)]
struct Builder {
    done: Listing,
    /// Where architectures are of which every metric stands in a record of its own.
    merged: HashMap<String, usize>,
}

impl Builder {
    fn read_lines(&mut self, text: &str) {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let value = is_literal(line).then(|| literal::parse(line.trim_end_matches(',')));
            match value {
                Some(Ok(value @ (Value::Object(_) | Value::Array(_)))) => self.take(number, value),
                _ => self.read_line(number, line),
            }
        }
    }

    /// A line of text: an architecture, and behind tabs perhaps a metric, its value and unit.
    fn read_line(&mut self, line: usize, text: &str) {
        let mut cells = text.split('\t');
        let arch = cells.next().unwrap_or_default();
        let (metric, value, unit) = (cells.next(), cells.next(), cells.next());
        match (metric, value.and_then(|v| v.parse::<f64>().ok())) {
            (Some(metric), Some(value)) => {
                let metric = self.number_of(metric, unit, None);
                let entry = self.merged(line, arch.into());
                self.done.entries[entry].values.push((metric, value));
            }
            // It failed: what failed is listed too.
            (Some(_), None) => {
                self.merged(line, arch.into());
            }
            _ => self.push(line, text.into(), Vec::new()),
        }
    }

    fn read_csv(&mut self, text: &str) -> Result<(), ListingError> {
        let mut reader = ReaderBuilder::new()
            .has_headers(true)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
        let wrong = |error: csv::Error| ListingError {
            line: error.position().map_or(0, csv::Position::line),
            reason: error.to_string(),
        };
        let headers = reader.headers().map_err(wrong)?.clone();
        let at = headers.iter().position(|header| header == ARCH);
        let at = at.unwrap_or_default();
        let metrics: Vec<Option<usize>> = headers
            .iter()
            .enumerate()
            .map(|(column, header)| {
                let (name, unit) = split_unit(header);
                let counts = column != at && !NO_METRIC.contains(&name) && name != IMAGE_SIZE;
                counts.then(|| self.number_of(name, unit, None))
            })
            .collect();
        for record in reader.records() {
            let record: StringRecord = record.map_err(wrong)?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() > headers.len() {
                return Err(ListingError {
                    line,
                    reason: format!(
                        "{} fields where the first line has {}: an architecture holds commas, so it must stand \
                         in quotes",
                        record.len(),
                        headers.len()
                    ),
                });
            }
            let number = |(metric, cell): (&Option<usize>, &str)| {
                let value = cell.parse::<f64>().ok().filter(|v| v.is_finite())?;
                Some(((*metric)?, value))
            };
            let values = metrics.iter().zip(&record).filter_map(number).collect();
            let arch = record.get(at).unwrap_or_default();
            self.push(usize::try_from(line).unwrap_or(0), arch.into(), values);
        }
        Ok(())
    }

    /// Takes a value that begins on a line. One that holds no architecture is listed, so that it is told.
    fn take(&mut self, line: usize, value: Value) {
        if holds(&value, true) {
            let names = self.names(&value);
            self.walk(line, value, &names, true);
        } else {
            self.push(line, value, Vec::new());
        }
    }

    /// Finds the records in a value. `names` are the metrics of `values` that are lists; texts count where they stand
    /// `alone`.
    fn walk(&mut self, line: usize, value: Value, names: &[usize], alone: bool) {
        match value {
            Value::Object(mut map) if map.contains_key(ARCH) => {
                let arch = map.remove(ARCH).unwrap_or_default();
                self.record(line, arch, &map, names);
            }
            Value::Object(map) if is_dictionary(&map) => {
                let values = self.numbers(&map);
                self.push(line, map.into(), values);
            }
            Value::Object(map) => {
                let members = map.into_iter().map(|(_, member)| member);
                members.for_each(|member| self.walk(line, member, names, false));
            }
            Value::Array(items) => {
                let items = items.into_iter();
                items.for_each(|item| self.walk(line, item, names, alone));
            }
            Value::String(text) if alone => self.push(line, text.into(), Vec::new()),
            _ => {}
        }
    }

    /// What stands beside an architecture: a metric with its value, as `blocklens evaluate` writes it, or a number
    /// for each of several.
    fn record(&mut self, line: usize, arch: Value, map: &Map<String, Value>, names: &[usize]) {
        let unit = map.get("unit").and_then(Value::as_str);
        if let Some(metric) = map.get(METRIC).and_then(Value::as_str) {
            let entry = self.merged(line, arch);
            if let Some(value) = map.get("value").and_then(Value::as_f64) {
                let metric = self.number_of(metric, unit, None);
                self.done.entries[entry].values.push((metric, value));
            }
            return;
        }
        let mut values = self.numbers(map);
        match map.get("values") {
            Some(Value::Object(inner)) => values.extend(self.numbers(inner)),
            Some(Value::Array(inner)) => {
                let pairs = names.iter().zip(inner);
                values.extend(pairs.filter_map(|(metric, value)| Some((*metric, value.as_f64()?))));
            }
            _ => {}
        }
        self.push(line, arch, values);
    }

    fn numbers(&mut self, map: &Map<String, Value>) -> Vec<(usize, f64)> {
        let counts = |name: &str| !NO_METRIC.contains(&name) && name != IMAGE_SIZE;
        let numbers = map.iter().filter(|(name, _)| counts(name));
        numbers
            .filter_map(|(name, value)| {
                let value = value.as_f64()?;
                let (name, unit) = match name.as_str() {
                    LATENCY_OF_REPORTS => ("latency", Some("ms")),
                    name => split_unit(name),
                };
                Some((self.number_of(name, unit, None), value))
            })
            .collect()
    }

    /// The metrics of a search, as its `front.json` has them.
    fn names(&mut self, document: &Value) -> Vec<usize> {
        let metrics = document.pointer("/search/sought/metrics");
        let Some(metrics) = metrics.and_then(Value::as_array) else {
            return Vec::new();
        };
        let named = metrics.iter().map(|metric| {
            let text = |field: &str| metric.get(field).and_then(Value::as_str);
            let direction = metric.get("direction").cloned();
            let direction = direction.and_then(|d| serde_json::from_value(d).ok());
            self.number_of(text("name").unwrap_or_default(), text("unit"), direction)
        });
        named.collect()
    }

    fn number_of(&mut self, name: &str, unit: Option<&str>, direction: Option<Direction>) -> usize {
        let known = self.done.metrics.iter().position(|m| m.name == name);
        known.unwrap_or_else(|| {
            self.done.metrics.push(Listed {
                name: name.to_owned(),
                unit: unit.map(str::to_owned),
                direction,
            });
            self.done.metrics.len() - 1
        })
    }

    fn push(&mut self, line: usize, arch: Value, values: Vec<(usize, f64)>) {
        self.done.entries.push(Noted { line, arch, values });
    }

    /// The number of the entry of an architecture, which may be listed already.
    fn merged(&mut self, line: usize, arch: Value) -> usize {
        let next = self.done.entries.len();
        let entry = *self.merged.entry(arch.to_string()).or_insert(next);
        if entry == next {
            self.push(line, arch, Vec::new());
        }
        entry
    }
}

/// Whether there is anything in a value that is read as an architecture.
fn holds(value: &Value, alone: bool) -> bool {
    match value {
        Value::Object(map) => {
            let record = map.contains_key(ARCH) || is_dictionary(map);
            record || map.values().any(|member| holds(member, false))
        }
        Value::Array(items) => items.iter().any(|item| holds(item, alone)),
        Value::String(_) => alone,
        _ => false,
    }
}

/// Whether a line names columns, one of which is of architectures.
fn is_header(line: &str) -> bool {
    line.split(',')
        .any(|cell| cell.trim().trim_matches('"') == ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Line, architecture and values.
    type Entry = (usize, Value, Vec<(usize, f64)>);

    fn read(text: &str) -> (Vec<String>, Vec<Entry>) {
        let listing = Listing::read(text).unwrap();
        let name = |m: &Listed| match &m.unit {
            Some(unit) => format!("{} in {unit}", m.name),
            None => m.name.clone(),
        };
        let entries = listing.entries.into_iter();
        (
            listing.metrics.iter().map(name).collect(),
            entries.map(|e| (e.line, e.arch, e.values)).collect(),
        )
    }

    #[test]
    fn what_commands_write_is_listed() {
        let (a, b) = (json!("r32/e1k3/-"), json!("r32/e1k3,e4k3/-"));
        let both = vec!["macs in MMACs".to_owned(), "accuracy@x".to_owned()];
        let front = "arch,macs [MMACs],accuracy@x\n\"r32/e1k3/-\",1.5,70\n\"r32/e1k3,e4k3/-\",2,\n";
        let expected = vec![
            (2, a.clone(), vec![(0, 1.5), (1, 70.0)]),
            (3, b.clone(), vec![(0, 2.0)]),
        ];
        assert_eq!(read(front), (both.clone(), expected.clone()));
        let lines = "r32/e1k3/-\tmacs\t1.5\tMMACs\nr32/e1k3/-\taccuracy@x\t70\t\n\
                     \nr32/e1k3,e4k3/-\tmacs\t2\tMMACs\nr32/e1k3,e4k3/-\taccuracy@x\t-\tno-value: none\n";
        let (_, entries) = read(lines);
        let values = |entries: &[Entry]| -> Vec<_> {
            entries
                .iter()
                .map(|(_, arch, values)| (arch.clone(), values.clone()))
                .collect()
        };
        assert_eq!(values(&entries), values(&expected));
        let records = r#"{"arch":"r32/e1k3/-","metric":"macs","value":1.5,"unit":"MMACs"}
{"arch":"r32/e1k3/-","metric":"accuracy@x","value":70}
{"arch":"r32/e1k3,e4k3/-","metric":"macs","value":2,"unit":"MMACs"}
{"arch":"r32/e1k3,e4k3/-","metric":"accuracy@x","failure":"no-value"}
"#;
        let (names, entries) = read(records);
        assert_eq!((names, values(&entries)), (both, values(&expected)));
        let log = "{\"batch\":0,\"arch\":\"r32/e1k3/-\",\"macs\":1.5}\n{\"arch\": oops\n";
        let (names, entries) = read(log);
        assert_eq!(names, ["macs"]);
        assert_eq!(entries[0], (1, a.clone(), vec![(0, 1.5)]));
        assert_eq!(entries[1].1, json!("{\"arch\": oops"));
        let front = r#"{"search": {"sought": {"metrics": [
            {"name": "macs", "unit": "MMACs", "direction": "lower-is-better"}]}},
            "front": [{"arch": "r32/e1k3/-", "values": [1.5]}], "other": "text"}"#;
        let listing = Listing::read(front).unwrap();
        assert_eq!(listing.metrics[0].direction, Some(Direction::LowerIsBetter));
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(listing.entries[0].values, [(0, 1.5)]);
        assert_eq!(
            (listing.metric("macs"), listing.metric("x")),
            (Some(0), None)
        );
    }

    #[test]
    fn dictionaries_are_listed_however_they_are_set() {
        let dict = json!({"e": [3], "d": [2], "r": 32});
        let pretty = serde_json::to_string_pretty(&dict).unwrap();
        for text in [
            pretty.clone(),
            format!("[\n{pretty},\n]\n"),
            "(0.78, {'e': [3], 'd': (2,), 'r': 32}, 24.5)".to_owned(),
        ] {
            let (names, entries) = read(&text);
            assert_eq!(entries, [(1, dict.clone(), vec![])], "{text}");
            assert!(names.is_empty());
        }
        // A list of texts that hold dictionaries, as the package keeps what it drew.
        let (_, entries) = read("[\"{\\\"e\\\": [3], \\\"d\\\": [2]}\"]");
        assert_eq!(entries[0].1, json!("{\"e\": [3], \"d\": [2]}"));
    }

    #[test]
    fn what_is_read_line_by_line_and_what_as_a_whole() {
        for first in [
            "arch,macs",
            "macs [MMACs],\"arch\"",
            "{",
            "[",
            "{\"ks\": [",
            "{\"profile\": {}}",
            "{\"arch\": \"r32\", \"metric\": \"macs\"}",
            "r32/e1k3\tmacs\t1\tMMACs",
        ] {
            assert!(Listing::is_whole(first), "{first}");
        }
        for first in [
            "r32/e1k3",
            "",
            "nonsense",
            "{\"arch\": \"r32\", \"macs\": 1}",
            "{'e': [3], 'd': [2]}",
            "(0.7, {'e': [3], 'd': [2]}, 1)",
            "\"r32/e1k3,e1k3\",5",
        ] {
            assert!(!Listing::is_whole(first), "{first}");
        }
    }

    #[test]
    fn a_record_with_too_many_fields_is_refused_with_its_line() {
        let error = Listing::read("arch,macs\nr32/e1k3,e1k3,5\n").unwrap_err();
        assert!(
            error.line == 2 && error.reason.contains("quotes"),
            "{error}"
        );
    }
}
