//! JSON lines.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{Cell, Key, LONGEST_LINE, Row, ValueTableError, clip, column};
use crate::ofa::OfaDict;

/// The keys of a dictionary of the `ofa` package.
const DICT: [&str; 6] = ["ks", "e", "d", "w", "r", "image_size"];

/// An object whose keys all differ: of two values under one key neither is taken.
struct Fields(Map<String, Value>);

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

/// What all lines together say.
pub(super) struct Survey {
    /// The field of the values, as every line writes it.
    pub field: String,
    /// Its unit.
    pub unit: Option<String>,
}

/// Looks which fields the objects have.
pub(super) fn survey(file: &str, bytes: &[u8], column: &str) -> Result<Survey, ValueTableError> {
    let column = column.trim();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    let (mut keyed, mut objects) = (false, false);
    for line in lines(file, bytes) {
        let Ok(Fields(fields)) = serde_json::from_slice(line?.1) else {
            continue;
        };
        objects = true;
        keyed |= fields.contains_key(column::ARCH) || is_dict(&fields);
        for field in fields.into_iter().map(|(field, _)| field) {
            if field == column || column::split_unit(&field).0 == column {
                found.insert(field);
            } else if seen.len() < MOST_NAMES {
                seen.insert(field);
            }
        }
    }
    let others: Vec<&str> = seen
        .iter()
        .map(String::as_str)
        .filter(|field| *field != column::ARCH)
        .collect();
    if !objects {
        return Err(ValueTableError::Unreadable {
            file: file.to_owned(),
            reason: "no line of it is a JSON object (expected one object a line)".into(),
        });
    }
    if !keyed {
        let all: Vec<&str> = found.iter().map(String::as_str).chain(others).collect();
        return Err(ValueTableError::NoArch {
            file: file.to_owned(),
            columns: column::list(&all),
        });
    }
    let exact = found.take(column);
    let field = match (exact, found.len()) {
        (Some(exact), _) => exact,
        (None, 1) => found.pop_first().unwrap_or_default(),
        (None, 0) => {
            return Err(ValueTableError::NoColumn {
                file: file.to_owned(),
                column: column.to_owned(),
                columns: column::list(&others),
            });
        }
        (None, _) => {
            let several: Vec<&str> = found.iter().map(String::as_str).collect();
            return Err(column::ambiguous(file, column, &several));
        }
    };
    Ok(Survey {
        unit: column::split_unit(&field).1.map(str::to_owned),
        field,
    })
}

/// How many names of fields are remembered for a message.
const MOST_NAMES: usize = 1_000;

/// The rows, one for every line that is not empty.
pub(super) fn rows<'a>(
    file: &'a str,
    bytes: &'a [u8],
    field: &'a str,
) -> impl Iterator<Item = Result<Row, ValueTableError>> + 'a {
    lines(file, bytes).map(move |line| {
        let (line, text) = line?;
        Ok(match serde_json::from_slice::<Fields>(text) {
            Ok(Fields(mut fields)) => Row {
                line,
                value: cell(fields.remove(field)),
                arch: key(fields),
            },
            Err(error) => Row {
                line,
                value: Cell::Empty,
                // The parser counts lines within this one.
                arch: Key::Unreadable(error.to_string().replace(" at line 1 column", " at column")),
            },
        })
    })
}

/// The lines with their numbers, without empty ones.
fn lines<'a>(
    file: &'a str,
    bytes: &'a [u8],
) -> impl Iterator<Item = Result<(u64, &'a [u8]), ValueTableError>> + 'a {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.map(|(number, line)| (number, line.trim_ascii()));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(move |(number, line)| {
            if line.len() > LONGEST_LINE {
                return Err(ValueTableError::LongLine {
                    file: file.to_owned(),
                    line: number,
                });
            }
            Ok((number, line))
        })
}

fn is_dict(fields: &Map<String, Value>) -> bool {
    fields.contains_key("e") && fields.contains_key("d")
}

fn key(mut fields: Map<String, Value>) -> Key {
    match fields.remove(column::ARCH) {
        Some(Value::String(text)) => Key::Text(text),
        Some(dict @ Value::Object(_)) => dictionary(dict),
        Some(_) => Key::Unreadable("`arch` is neither a text nor an OFA dictionary".into()),
        None if is_dict(&fields) => {
            fields.retain(|name, _| DICT.contains(&name.as_str()));
            dictionary(Value::Object(fields))
        }
        None => Key::Unreadable("no field `arch`, and no OFA dictionary".into()),
    }
}

pub(super) fn dictionary(value: Value) -> Key {
    match serde_json::from_value::<OfaDict>(value) {
        Ok(dict) => Key::Dict(dict),
        Err(error) => Key::Unreadable(format!("not an OFA dictionary: {error}")),
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
