//! The log of evaluations: a JSON object a line, appended, each with an architecture and what it came to.

use std::path::{Path, PathBuf};

use blocklens_core::metric::MetricInfo;
use blocklens_core::search::Problem;
use blocklens_core::space::{Architecture, DesignSpace};
use serde_json::{Map, Value as Json};

use crate::files;

/// Fields that are no metric's.
const RESERVED: [&str; 3] = ["batch", "arch", "failures"];

/// Why a log cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A line is none of a log's.
    #[error("{}, line {line}: {reason}; begin again with --fresh, or give another folder with --out", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The algorithm proposes something else than what was evaluated.
    #[error(
        "{} was written by a version of blocklens that searched differently: batch {batch} holds {there} where this \
         one proposes {here}; begin again with --fresh",
        path.display()
    )]
    Differs {
        /// The log.
        path: PathBuf,
        /// The batch.
        batch: u64,
        /// What was evaluated.
        there: String,
        /// What would be.
        here: String,
    },
    /// It cannot be opened, read or written.
    #[error(transparent)]
    File(files::LogError),
}

impl From<files::LogError> for LogError {
    fn from(error: files::LogError) -> Self {
        match error {
            files::LogError::Line { path, line, reason } => Self::Line { path, line, reason },
            other => Self::File(other),
        }
    }
}

/// An architecture and what it came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub batch: u64,
    pub arch: Architecture,
    /// For each metric of the problem.
    pub values: Vec<Option<f64>>,
    /// Why a value is missing.
    pub failures: Vec<Option<String>>,
}

impl Row {
    pub(super) fn new(batch: u64, arch: &Architecture) -> Self {
        Self {
            batch,
            arch: arch.clone(),
            values: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, value: Result<f64, String>) {
        match value {
            Ok(value) => {
                self.values.push(Some(value));
                self.failures.push(None);
            }
            Err(message) => {
                self.values.push(None);
                self.failures.push(Some(message));
            }
        }
    }

    /// Why a value is missing, if one is.
    pub(super) fn message(&self) -> Option<String> {
        self.failures.iter().flatten().next().cloned()
    }

    fn write(&self, fields: &[String], space: &DesignSpace) -> String {
        let text = |value: &Json| value.to_string();
        let arch = text(&space.print(&self.arch).into());
        let mut line = format!("{{\"batch\":{},\"arch\":{arch}", self.batch);
        let mut failures = Map::new();
        for ((field, value), failure) in fields.iter().zip(&self.values).zip(&self.failures) {
            if let Some(value) = value {
                line += &format!(
                    ",{}:{}",
                    text(&field.as_str().into()),
                    text(&(*value).into())
                );
            }
            if let Some(failure) = failure {
                failures.insert(field.clone(), failure.as_str().into());
            }
        }
        if !failures.is_empty() {
            line += &format!(",\"failures\":{}", Json::Object(failures));
        }
        line + "}\n"
    }

    fn read(line: &[u8], fields: &[String], problem: &Problem<'_>) -> Result<Self, String> {
        let object: Map<String, Json> =
            serde_json::from_slice(line).map_err(|e| format!("it is not a JSON object ({e})"))?;
        let batch = object.get("batch").and_then(Json::as_u64);
        let arch = object.get("arch").and_then(Json::as_str);
        let (Some(batch), Some(arch)) = (batch, arch) else {
            return Err("it lacks `batch` or `arch`".into());
        };
        let arch = problem.space().parse(arch).map_err(|e| e.to_string())?;
        let failure = |field: &String| {
            let failures = object.get("failures")?;
            failures.get(field)?.as_str().map(str::to_owned)
        };
        let mut row = Self::new(batch, &arch);
        for (field, metric) in fields.iter().zip(problem.metrics()) {
            let value = object.get(field).and_then(Json::as_f64);
            let reason = || failure(field).unwrap_or_else(|| "no reason is stored".into());
            let possible = |value| metric.check(value).map_err(|error| error.to_string());
            row.push(value.ok_or_else(reason).and_then(possible));
        }
        Ok(row)
    }
}

/// The names of the metrics' fields.
pub(super) fn fields(problem: &Problem<'_>) -> Vec<String> {
    field_names(&problem.metrics().iter().collect::<Vec<_>>())
}

/// What values of metrics are called in files of a JSON object a line: what is counted or timed where that is clear,
/// the whole name otherwise.
pub(crate) fn field_names(metrics: &[&MetricInfo]) -> Vec<String> {
    let clear = |quantity: &str| {
        let same = metrics.iter().filter(|m| m.quantity() == quantity).count();
        same == 1 && !RESERVED.contains(&quantity)
    };
    let field = |m: &&MetricInfo| {
        let short = m.quantity();
        if clear(short) { short } else { &m.name }.to_owned()
    };
    metrics.iter().map(field).collect()
}

/// What every line begins with.
const BEGINS: &str = "{\"batch\":";

/// A log that is open for appending.
pub(super) struct Log {
    path: PathBuf,
    file: files::Log,
    fields: Vec<String>,
    rows: Vec<Row>,
}

impl Log {
    /// Opens a log, or begins one; no other search writes to it from here on.
    pub(super) fn open(path: &Path, problem: &Problem<'_>) -> Result<Self, LogError> {
        Ok(Self {
            path: path.to_owned(),
            file: files::Log::open(path)?,
            fields: fields(problem),
            rows: Vec::new(),
        })
    }

    /// Reads what was logged before; a last line that was not finished is cut off.
    pub(super) fn read(&mut self, problem: &Problem<'_>) -> Result<(), LogError> {
        let (fields, rows) = (&self.fields, &mut self.rows);
        self.file.read(BEGINS, &mut |(_, line)| {
            rows.push(Row::read(line, fields, problem)?);
            Ok(())
        })?;
        Ok(())
    }

    /// Forgets what was logged before.
    pub(super) fn clear(&mut self) -> Result<(), LogError> {
        Ok(self.file.clear()?)
    }

    /// What was logged before.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Appends lines, and waits until they are on disk.
    pub(super) fn append(&mut self, rows: &[Row], problem: &Problem<'_>) -> Result<(), LogError> {
        let write = |row: &Row| row.write(&self.fields, problem.space());
        let lines: String = rows.iter().map(write).collect();
        Ok(self.file.append(lines.as_bytes(), true)?)
    }

    /// Checks that what was evaluated of a batch is what is asked for now.
    pub(super) fn check(
        &self,
        rows: &[Row],
        asked: &[Architecture],
        space: &DesignSpace,
    ) -> Result<(), LogError> {
        let print = |arch: Option<&Architecture>| arch.map_or("nothing".into(), |a| space.print(a));
        for (at, row) in rows.iter().enumerate() {
            if asked.get(at) != Some(&row.arch) {
                return Err(LogError::Differs {
                    path: self.path.clone(),
                    batch: row.batch,
                    there: space.print(&row.arch),
                    here: print(asked.get(at)),
                });
            }
        }
        Ok(())
    }
}
