//! JSON lines, and JSON lists of objects.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{Cell, Key, LONGEST_LINE, Row, ValueTableError, Wanted, clip, column};
use crate::notation::{is_dictionary, literal};
use crate::quantity::canonical;

/// An object whose keys all differ: of two values under one key neither is taken.
struct Fields(Map<String, Value>);

impl Fields {
    /// Reads an object as JSON, or else as Python prints one.
    fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).or_else(|error| {
            match literal::parse(text) {
                Ok(Value::Object(map)) => Ok(Self(map)),
                // The parser counts lines within this one.
                _ => Err(error.to_string().replace(" at line 1 column", " at column")),
            }
        })
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Fields, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = pairs.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        let key = clip(&key);
                        return Err(A::Error::custom(format!("the field `{key}` stands twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Fields(map))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// What all objects together say.
pub(super) struct Survey {
    /// The field of the values, as every object writes it.
    pub field: String,
    /// Its unit as it is written.
    pub unit: Option<String>,
}

/// Looks which fields the objects have.
pub(super) fn survey(
    file: &str,
    text: &str,
    wanted: &Wanted<'_>,
) -> Result<Survey, ValueTableError> {
    let mut seen = BTreeSet::new();
    let (mut keyed, mut objects) = (false, false);
    let meant = canonical(wanted.column);
    for record in records(file, text) {
        let Ok(Fields(fields)) = record?.1 else {
            continue;
        };
        objects = true;
        keyed |= fields.contains_key(column::ARCH) || is_dictionary(&fields);
        for field in fields.into_iter().map(|(field, _)| field) {
            let may_be_it = || field == wanted.column || canonical(&field) == meant;
            if seen.len() < MOST_NAMES || may_be_it() {
                seen.insert(field);
            }
        }
    }
    seen.remove(column::ARCH);
    let names: Vec<&str> = seen.iter().map(String::as_str).collect();
    if !objects {
        return Err(ValueTableError::Unreadable {
            file: file.to_owned(),
            reason: "no line of it is a JSON object (expected one object a line)".into(),
        });
    }
    if !keyed {
        return Err(ValueTableError::NoArch {
            file: file.to_owned(),
            columns: column::list(&names),
        });
    }
    let (at, unit) = wanted.among(file, &names)?;
    Ok(Survey {
        field: names[at].to_owned(),
        unit,
    })
}

/// How many names of fields are remembered for a message.
const MOST_NAMES: usize = 1_000;

/// The rows, one for every object.
pub(super) fn rows<'a>(
    file: &'a str,
    text: &'a str,
    field: &'a str,
) -> impl Iterator<Item = Result<Row, ValueTableError>> + 'a {
    records(file, text).map(move |record| {
        let (line, fields) = record?;
        Ok(match fields {
            Ok(Fields(mut fields)) => Row {
                line,
                value: cell(fields.remove(field)),
                arch: key(fields),
            },
            Err(error) => Row {
                line,
                value: Cell::Empty,
                arch: Key::Unreadable(error),
            },
        })
    })
}

/// An object with its line (in a list: its number), or why there is none.
type Record = (u64, Result<Fields, String>);

/// The objects of a list, or of lines that are not empty.
fn records<'a>(
    file: &'a str,
    text: &'a str,
) -> Box<dyn Iterator<Item = Result<Record, ValueTableError>> + 'a> {
    if let Ok(list) = serde_json::from_str::<Vec<Fields>>(text) {
        return Box::new(
            (1..)
                .zip(list)
                .map(|(number, fields)| Ok((number, Ok(fields)))),
        );
    }
    let lines = (1..).zip(text.split('\n'));
    let lines = lines.map(|(number, line)| (number, line.trim_ascii()));
    let lines = lines.filter(|(_, line)| !line.is_empty());
    Box::new(lines.map(move |(number, line)| {
        if line.len() > LONGEST_LINE {
            return Err(ValueTableError::LongLine {
                file: file.to_owned(),
                line: number,
            });
        }
        Ok((number, Fields::read(line)))
    }))
}

fn key(mut fields: Map<String, Value>) -> Key {
    match fields.remove(column::ARCH) {
        Some(Value::String(text)) => Key::Text(text),
        Some(Value::Object(dict)) => Key::Dict(dict),
        Some(_) => Key::Unreadable("`arch` is neither a text nor an OFA dictionary".into()),
        // The fields beside it choose nothing.
        None if is_dictionary(&fields) => Key::Dict(fields),
        None => Key::Unreadable("no field `arch`, and no OFA dictionary".into()),
    }
}

fn cell(value: Option<Value>) -> Cell {
    match value {
        None | Some(Value::Null) => Cell::Empty,
        Some(Value::Number(number)) => match number.as_f64() {
            Some(number) => Cell::Number(number),
            None => Cell::Other(clip(&number.to_string())),
        },
        Some(other) => Cell::Other(clip(&other.to_string())),
    }
}
