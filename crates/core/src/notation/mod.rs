//! The notations in which architectures come in, read by one routine wherever one is read: the text form, the
//! dictionaries of the `ofa` package (as JSON or as Python prints them), and records that hold either under `arch`;
//! and files that list such things ([`Listing`]).

mod listing;
pub(crate) mod literal;

pub use listing::{Listed, Listing, ListingError, Noted};
pub use literal::LiteralError;

use serde_json::{Map, Value};

use crate::space::{Architecture, ArchitectureError, DesignSpace};

/// The field of a record that holds its architecture.
pub const ARCH: &str = "arch";

/// Texts within texts that are looked into: `"{\"ks\": ...}"` is a text that holds a dictionary.
const DEEPEST: usize = 3;

/// Why no architecture could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// It is none of the space's.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// It begins as JSON or Python, and is not.
    #[error("{text:?} is neither JSON nor a value that Python prints: {problem}")]
    Literal {
        /// The text, or its beginning.
        text: String,
        /// What is wrong with it.
        problem: LiteralError,
    },
    /// It is a value that holds no architecture.
    #[error(
        "{found} holds no architecture: expected a text such as \"r224/e4k3,e6k5/...\", a record that has it under \
         `arch`, or a dictionary of the ofa package: {{\"ks\": [...], \"e\": [...], \"d\": [...], \"r\": [224]}} \
         (ResNet: e, d, w and r)"
    )]
    Holds {
        /// What is there.
        found: String,
    },
}

impl DesignSpace {
    /// Reads an architecture in any notation. `resolution` is that of dictionaries which do not say theirs; one that
    /// is said must agree with it.
    ///
    /// # Errors
    /// [`NotationError`].
    pub fn read_architecture(
        &self,
        text: &str,
        resolution: Option<u32>,
    ) -> Result<Architecture, NotationError> {
        self.read_text(text, resolution, 0)
    }

    /// As [`Self::read_architecture`], of a value that was read already.
    ///
    /// # Errors
    /// [`NotationError`].
    pub fn read_architecture_value(
        &self,
        value: &Value,
        resolution: Option<u32>,
    ) -> Result<Architecture, NotationError> {
        self.read_value(value, resolution, 0)
    }

    fn read_text(
        &self,
        text: &str,
        resolution: Option<u32>,
        depth: usize,
    ) -> Result<Architecture, NotationError> {
        let text = text.trim();
        if !is_literal(text) {
            // Behind a tab stand what `blocklens evaluate` found and its like.
            let form = text.split('\t').next().unwrap_or_default();
            let arch = self.parse(form)?;
            self.check_given(arch.resolution(), resolution)?;
            return Ok(arch);
        }
        let text = text.trim_end_matches(',');
        let value = literal::parse(text).or_else(|problem| {
            first_cell(text).ok_or_else(|| NotationError::Literal {
                text: clip(text),
                problem,
            })
        })?;
        self.read_value(&value, resolution, depth + 1)
    }

    fn read_value(
        &self,
        value: &Value,
        resolution: Option<u32>,
        depth: usize,
    ) -> Result<Architecture, NotationError> {
        match value {
            Value::String(text) if depth <= DEEPEST => self.read_text(text, resolution, depth),
            Value::Object(map) => match map.get(ARCH) {
                Some(Value::Object(dict)) => Ok(self.read_dictionary(dict, resolution)?),
                Some(text @ Value::String(_)) => self.read_value(text, resolution, depth),
                None if is_dictionary(map) => Ok(self.read_dictionary(map, resolution)?),
                _ => Err(holds(value)),
            },
            // A tuple such as (accuracy, dictionary, latency), which the package's searches return.
            Value::Array(items) => {
                let mut inside = items
                    .iter()
                    .filter(|item| item.is_object() || item.is_string());
                match (inside.next(), inside.next()) {
                    (Some(only), None) => self.read_value(only, resolution, depth + 1),
                    _ => Err(holds(value)),
                }
            }
            _ => Err(holds(value)),
        }
    }
}

/// Whether an object is a dictionary of the `ofa` package, as far as its keys say.
#[must_use]
pub fn is_dictionary(fields: &Map<String, Value>) -> bool {
    fields.contains_key("e") && fields.contains_key("d")
}

/// Whether a text is to be read as JSON or Python: nothing else begins so.
fn is_literal(text: &str) -> bool {
    text.starts_with(['{', '[', '(', '"', '\'']) || called(text).is_some()
}

/// The name of what a text calls, as in `OrderedDict([...])`.
fn called(text: &str) -> Option<&str> {
    let (name, _) = text.split_once('(')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(fits)).then_some(name)
}

/// The first cell of a line of comma-separated values, where it stands in quotes, as architectures do.
fn first_cell(text: &str) -> Option<Value> {
    let (cell, rest) = text.strip_prefix('"')?.split_once('"')?;
    rest.starts_with(',').then(|| cell.into())
}

fn holds(value: &Value) -> NotationError {
    NotationError::Holds {
        found: clip(&value.to_string()),
    }
}

/// The beginning of a text, for messages.
fn clip(text: &str) -> String {
    const LONGEST: usize = 120;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
