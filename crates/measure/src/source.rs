//! What a file is that a metric is made from: it follows from what it holds, never from its name.

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::ofa::Supernet;
use blocklens_core::surrogate::{AccuracyPredictor, BlockModel, LookupTable};
use blocklens_core::text;
use serde_json::{Deserializer, Map, Value};

/// What a metric reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weights: of a supernet, or of an accuracy predictor.
    Checkpoint,
    /// Latencies of layers.
    Lookup,
    /// A model that was learnt from measurements.
    Model,
    /// A table of values, with commas (semicolons, tabs) between them.
    Csv,
    /// A table of values, as JSON objects.
    Json,
    /// A table of values.
    Parquet,
}

impl Kind {
    /// What these bytes are.
    ///
    /// # Errors
    /// What they are instead, in words that go on after "it is".
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("empty".into());
        }
        if Checkpoint::looks_like_one(bytes) {
            return Ok(Self::Checkpoint);
        }
        if bytes.starts_with(b"PAR1") {
            return Ok(Self::Parquet);
        }
        if bytes.starts_with(b"\x1f\x8b") {
            return Err("compressed with gzip: unpack it".into());
        }
        if bytes.get(257..262) == Some(b"ustar") {
            return Err("a tar archive: unpack it".into());
        }
        let text = text::read(bytes).map_err(|problem| format!("no text ({problem})"))?;
        let text = text.trim_start();
        match text.as_bytes().first() {
            None => Err("empty".into()),
            Some(b'{') => of_objects(text),
            Some(b'[') => Ok(Self::Json),
            Some(b'<') => Err("a page of a web server, and not the file: fetch it again".into()),
            Some(_) => of_lines(text),
        }
    }

    /// Whether it is a table of values that someone measured.
    #[must_use]
    pub fn is_values(self) -> bool {
        matches!(self, Self::Csv | Self::Json | Self::Parquet)
    }
}

/// What text is that begins with a JSON object.
fn of_objects(text: &str) -> Result<Kind, String> {
    let mut objects = Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    let first = objects.next();
    let more = text
        .get(objects.byte_offset()..)
        .is_some_and(|rest| !rest.trim().is_empty());
    match first {
        Some(Ok(_)) if more => Ok(Kind::Json),
        Some(Ok(object)) => of_object(&object),
        // Cut off, or not quite JSON: whoever reads it says where.
        _ if text.contains("-input:") => Ok(Kind::Lookup),
        _ if text.contains("\"space_source\"") => Ok(Kind::Model),
        _ if text.lines().skip(1).any(|line| line.starts_with('{')) => Ok(Kind::Json),
        Some(Err(error)) => Err(format!("damaged JSON ({error})")),
        None => Err("empty".into()),
    }
}

fn of_object(object: &Map<String, Value>) -> Result<Kind, String> {
    let has = |fields: &[&str]| fields.iter().all(|field| object.contains_key(*field));
    let is_latency = |value: &Value| value.is_number() || value.get("mean").is_some();
    if object.keys().any(|key| key.contains("-input:")) {
        Ok(Kind::Lookup)
    } else if has(&["format", "space_source"]) {
        Ok(Kind::Model)
    } else if has(&["arch"]) || has(&["e", "d"]) {
        Ok(Kind::Json)
    } else if has(&["profile", "provenance"]) {
        Err("a report: the values behind it are in values.jsonl or measurements.db, and model.json beside it is a \
            metric".into())
    } else if !object.is_empty() && object.values().all(is_latency) {
        Ok(Kind::Lookup)
    } else {
        Err("a JSON file that is neither a latency table (`\"Conv-input:...\": {\"mean\": ms}` for every layer), nor a \
            model.json of \
             `blocklens profile`, nor a table of values (objects with `arch`)"
            .into())
    }
}

/// What other text is, by its first line.
fn of_lines(text: &str) -> Result<Kind, String> {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let first = first.unwrap_or_default();
    if first.starts_with("version https://git-lfs") {
        return Err("a pointer of Git LFS, and not the file: fetch it with `git lfs pull`".into());
    }
    if names_arch(first) {
        return Ok(Kind::Csv);
    }
    if first == "---" || first.ends_with(':') || first.contains("-input:") || first.contains(": {")
    {
        return Ok(Kind::Lookup);
    }
    if first.contains([',', ';', '\t']) {
        return Ok(Kind::Csv);
    }
    Err("text that is neither a latency table nor a table with a column `arch`".into())
}

/// Whether a line is the head of a table with a column of architectures.
fn names_arch(line: &str) -> bool {
    let mut fields = line.split([',', ';', '\t']);
    fields.any(|field| field.trim().trim_matches('"') == "arch")
}

/// Whether some files together are something that a metric reads; `files` are their names and contents.
///
/// # Errors
/// Which is not, and why, as a sentence.
pub fn check_set(files: &[(String, &[u8])]) -> Result<(), String> {
    let mut kinds = Vec::new();
    for (name, bytes) in files {
        let refused = |why: String| format!("no metric can read {name}: {why}");
        let kind = Kind::of(bytes).map_err(|what| refused(format!("it is {what}")))?;
        check(kind, name, bytes).map_err(refused)?;
        kinds.push(kind);
    }
    match kinds.as_slice() {
        [_] => Ok(()),
        several if several.iter().all(|kind| *kind == Kind::Lookup) => Ok(()),
        _ => Err(
            "no metric can read these files together: a set is one or more latency tables, or one file of another kind"
                .into(),
        ),
    }
}

/// Reads what can be read without knowing the space.
fn check(kind: Kind, name: &str, bytes: &[u8]) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    match kind {
        Kind::Checkpoint => {
            let checkpoint = Checkpoint::read(name, bytes).map_err(|e| said(&e))?;
            if Supernet::is_in(&checkpoint) {
                return Ok(());
            }
            AccuracyPredictor::recognise(&checkpoint)
        }
        Kind::Lookup => LookupTable::read(name, bytes)
            .map(drop)
            .map_err(|e| said(&e)),
        Kind::Model => BlockModel::read(name, bytes)
            .map(drop)
            .map_err(|e| said(&e)),
        Kind::Csv => {
            let text = text::read(bytes).map_err(|e| said(&e))?;
            match text.lines().find(|line| !line.trim().is_empty()) {
                Some(head) if names_arch(head) => Ok(()),
                _ => Err("its first line names no column `arch`".into()),
            }
        }
        Kind::Json | Kind::Parquet => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = "Conv-input:32x32x3-output:16x16x8";

    #[test]
    fn files_are_what_they_hold() {
        let windows: Vec<u8> = "\u{feff}arch,latency\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let texts = [
            (format!("{LAYER}:\n  mean: 1\n"), Kind::Lookup),
            (
                format!("# a phone\n{LAYER}: {{count: 1, mean: 1}}\n"),
                Kind::Lookup,
            ),
            (format!("{{\"{LAYER}\": {{\"mean\": 1}}}}"), Kind::Lookup),
            (format!("{{\"{LAYER}\": 1.5}}"), Kind::Lookup),
            (format!("{{\"{LAYER}\": {{\"mea"), Kind::Lookup),
            ("{\"a\": 1, \"b\": 2}".into(), Kind::Lookup),
            (
                "{\"format\": 1, \"space_source\": {}, \"units\": []}".into(),
                Kind::Model,
            ),
            ("{\"arch\": \"r224\", \"latency\": 1}".into(), Kind::Json),
            ("\n{\"x\": 1}\n{\"y\": 2}\n".into(), Kind::Json),
            (
                "{\"d\": [2], \"e\": [3], \"r\": [224], \"latency\": 1}".into(),
                Kind::Json,
            ),
            ("[{\"arch\": \"r224\"}]".into(), Kind::Json),
            ("latency, \"arch\"\n1,2\n".into(), Kind::Csv),
            ("arch;latency\n".into(), Kind::Csv),
            ("a,b\n1,2\n".into(), Kind::Csv),
        ];
        let bytes = texts.iter().map(|(text, kind)| (text.as_bytes(), *kind));
        let others: [(&[u8], Kind); 4] = [
            (b"PK\x03\x04...", Kind::Checkpoint),
            (b"\x80\x02}q.", Kind::Checkpoint),
            (b"PAR1....PAR1", Kind::Parquet),
            (&windows, Kind::Csv),
        ];
        for (bytes, kind) in bytes.chain(others) {
            assert_eq!(
                Kind::of(bytes),
                Ok(kind),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn what_is_nothing_of_a_metric_says_what_it_is() {
        let mut tar = vec![b'x'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, what) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"\x1f\x8b\x08", "gzip"),
            (&tar, "tar archive"),
            (b"<!DOCTYPE html>", "web server"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"{\"profile\": {}, \"provenance\": {}}", "a report"),
            (
                b"{\"name\": \"x\", \"version\": 1}",
                "neither a latency table",
            ),
            (b"{\"name\": ", "damaged JSON"),
            (b"just words", "neither a latency table"),
            (b"\0\x01\x02", "no text"),
        ] {
            let found = Kind::of(bytes).unwrap_err();
            assert!(found.contains(what), "{what}: {found}");
        }
    }

    #[test]
    fn sets_are_files_that_one_metric_reads() {
        let table = format!("{LAYER}:\n  mean: 1\n");
        let file = |name: &str| name.to_owned();
        let (table, values) = (table.as_bytes(), &b"arch,latency\n"[..]);
        assert_eq!(check_set(&[(file("a"), table), (file("b"), table)]), Ok(()));
        assert_eq!(check_set(&[(file("a"), values)]), Ok(()));
        for (files, why) in [
            (vec![(file("a"), table), (file("b"), values)], "together"),
            (vec![(file("a"), &b"hello"[..])], "no metric can read a"),
            (vec![(file("a"), &b"x,y\n"[..])], "no column `arch`"),
            (vec![(file("a"), &b"a:\n  mean: 1\n"[..])], "Conv-input:"),
            (vec![(file("a"), &b"PK\x03\x04"[..])], "damaged"),
        ] {
            let error = check_set(&files).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
