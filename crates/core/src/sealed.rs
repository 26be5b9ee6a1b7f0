//! JSON documents that tell whether they are as they were written: the last field, `digest`, is over all others.
//!
//! The digest is of what the document says and not of how it is set: indenting, the order of fields and `1.0` for `1`
//! change nothing. Documents without one are of earlier versions and are read as they are.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field that holds the digest.
const FIELD: &str = "digest";
/// Whole numbers up to here are the same as integers and as floating-point numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is not what was written.
    #[error(
        "it was changed or damaged after it was written (its digest is another): make it again, or take it from \
         a copy. Where the change was meant, remove the field `digest` from it"
    )]
    Changed,
    /// It is no such document.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// A document as indented JSON with its digest.
///
/// # Errors
/// Only when serialisation itself fails, which plain data does not cause.
pub fn to_json<T: Serialize>(document: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(document)?;
    // From the text, so that whoever reads it comes to the same numbers.
    let digest = digest(&serde_json::from_str(&text)?);
    Ok(match text.strip_suffix("\n}") {
        Some(fields) => format!("{fields},\n  \"{FIELD}\": \"{digest}\"\n}}"),
        None => text,
    })
}

/// Reads a document that [`to_json`] wrote, or one without a digest.
///
/// # Errors
/// [`SealError`].
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SealError> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    let told = value.as_object_mut().and_then(|all| all.remove(FIELD));
    match told {
        // Read from the text, so that errors tell the line.
        None => Ok(serde_json::from_slice(bytes)?),
        Some(told) if told == digest(&value) => Ok(serde_json::from_value(value)?),
        Some(_) => Err(SealError::Changed),
    }
}

fn digest(value: &Value) -> String {
    let mut hasher = Sha256::new();
    take(&mut hasher, value);
    let digest = hasher.finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Appends a value in one canonical form, whatever the order of its fields.
fn take(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(value) => hasher.update([b'b', u8::from(*value)]),
        Value::Number(number) => {
            let real = number.as_f64().filter(|_| number.is_f64());
            let text = match real {
                #[allow(clippy::cast_possible_truncation)] // whole and small
                Some(x) if x.fract() == 0.0 && x.abs() < EXACT => (x as i64).to_string(),
                _ => number.to_string(),
            };
            take_text(hasher, b'#', &text);
        }
        Value::String(text) => take_text(hasher, b's', text),
        Value::Array(items) => {
            hasher.update([b'[']);
            items.iter().for_each(|item| take(hasher, item));
            hasher.update([b']']);
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            hasher.update([b'{']);
            for (name, value) in fields {
                take_text(hasher, b':', name);
                take(hasher, value);
            }
            hasher.update([b'}']);
        }
    }
}

fn take_text(hasher: &mut Sha256, kind: u8, text: &str) {
    hasher.update([kind]);
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        name: String,
        numbers: Vec<f64>,
        small: f32,
        seed: u64,
        absent: Option<bool>,
    }

    fn document() -> Document {
        Document {
            name: "a \"b\"\n".into(),
            numbers: vec![0.1, 1.0, -0.0, 1e300, 2.5e-7],
            small: 0.1,
            seed: u64::MAX,
            absent: None,
        }
    }

    #[test]
    fn documents_read_back_and_every_changed_digit_is_noticed() {
        let text = to_json(&document()).unwrap();
        assert_eq!(from_json::<Document>(text.as_bytes()).unwrap(), document());
        let mut refused = 0;
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] ^= 1;
            match from_json::<Document>(&changed) {
                // Letters of white space, or the name of the digest itself.
                Ok(read) => assert_eq!(read, document(), "byte {place}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > text.len() / 2, "{refused}");
        let changed = text.replace("0.1,", "0.2,");
        let error = from_json::<Document>(changed.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("remove the field"), "{error}");
    }

    #[test]
    fn how_a_document_is_set_does_not_matter() {
        let text = to_json(&document()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let compact = value
            .to_string()
            .replace(",1.0,", ",1,")
            .replace("-0.0", "0");
        assert!(compact.len() < text.len());
        assert!(
            from_json::<Document>(compact.as_bytes()).is_ok(),
            "{compact}"
        );
    }

    #[test]
    fn documents_without_a_digest_are_read() {
        let text = serde_json::to_string(&document()).unwrap();
        assert_eq!(from_json::<Document>(text.as_bytes()).unwrap(), document());
        let error = from_json::<Document>(b"{\n\"name\": 3}").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
