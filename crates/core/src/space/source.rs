//! The text of a space's file together with the files that it names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that a space is read from: its TOML text and the ONNX fragments that the text names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceSource {
    /// The TOML text.
    pub text: String,
    /// The bytes of every ONNX file, by the path that the text calls it.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "base64_map"
    )]
    pub files: BTreeMap<String, Vec<u8>>,
}

impl SpaceSource {
    /// A source without further files.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            files: BTreeMap::new(),
        }
    }
}

/// The paths of the ONNX files that a space's text names, as far as it can be read: what is wrong with the text
/// is said when the space is read.
#[must_use]
pub fn named_files(text: &str) -> Vec<String> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let blocks = table.get("block").and_then(toml::Value::as_table);
    let paths = blocks.into_iter().flat_map(toml::Table::values);
    paths
        .filter_map(|block| Some(block.get("onnx")?.as_str()?.to_owned()))
        .collect()
}

mod base64_map {
    use std::collections::BTreeMap;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        files: &BTreeMap<String, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            files
                .iter()
                .map(|(name, bytes)| (name, STANDARD.encode(bytes))),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        texts
            .into_iter()
            .map(|(name, text)| match STANDARD.decode(&text) {
                Ok(bytes) => Ok((name, bytes)),
                Err(e) => Err(serde::de::Error::custom(format!("file `{name}`: {e}"))),
            })
            .collect()
    }
}
