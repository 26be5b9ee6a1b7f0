//! The log of evaluations: a JSON object a line, appended, each with an architecture and what it came to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use blocklens_core::metric::MetricInfo;
use blocklens_core::search::Problem;
use blocklens_core::space::{Architecture, DesignSpace};
use serde_json::{Map, Value as Json};

use super::SearchError;

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
        "{} was written by a version of blocklens that searched differently: batch {batch} holds {there} where this one proposes {here}; begin again with --fresh",
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
    /// Another process writes to it.
    #[error("another search writes to {}", path.display())]
    Locked {
        /// The log.
        path: PathBuf,
    },
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

    fn read(line: &[u8], fields: &[String], space: &DesignSpace) -> Result<Self, String> {
        let object: Map<String, Json> =
            serde_json::from_slice(line).map_err(|e| format!("it is not a JSON object ({e})"))?;
        let batch = object.get("batch").and_then(Json::as_u64);
        let arch = object.get("arch").and_then(Json::as_str);
        let (Some(batch), Some(arch)) = (batch, arch) else {
            return Err("it lacks `batch` or `arch`".into());
        };
        let arch = space.parse(arch).map_err(|e| e.to_string())?;
        let failure = |field: &String| {
            let failures = object.get("failures")?;
            failures.get(field)?.as_str().map(str::to_owned)
        };
        let mut row = Self::new(batch, &arch);
        for field in fields {
            let value = object.get(field).and_then(Json::as_f64);
            let reason = || failure(field).unwrap_or_else(|| "no reason is stored".into());
            row.push(value.ok_or_else(reason));
        }
        Ok(row)
    }
}

/// The names of the metrics' fields.
pub(super) fn fields(problem: &Problem<'_>) -> Vec<String> {
    field_names(&problem.metrics().iter().collect::<Vec<_>>())
}

/// What values of metrics are called in files of a JSON object a line: what is counted or timed where that is clear, the
/// whole name otherwise.
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

/// A log that is open for appending.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    fields: Vec<String>,
    rows: Vec<Row>,
}

impl Log {
    /// Opens a log, or begins one; a last line that was not finished is cut off.
    pub(super) fn open(path: &Path, problem: &Problem<'_>) -> Result<Self, SearchError> {
        let io = |what| {
            move |source| SearchError::Io {
                what,
                path: path.to_owned(),
                source,
            }
        };
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(path);
        let file = file.map_err(io("cannot open"))?;
        // Some file systems have no locks: their errors are no others' searches.
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(LogError::Locked {
                path: path.to_owned(),
            }
            .into());
        }
        let fields = fields(problem);
        let (mut rows, mut whole) = (Vec::new(), 0);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .map_err(io("cannot read"))?
            > 0
        {
            if line.last() != Some(&b'\n') {
                break;
            }
            let row = Row::read(&line, &fields, problem.space());
            let row = row.map_err(|reason| LogError::Line {
                path: path.to_owned(),
                line: rows.len() + 1,
                reason,
            })?;
            rows.push(row);
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole).map_err(io("cannot write"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            fields,
            rows,
        })
    }

    /// What was logged before.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Appends lines, and waits until they are on disk.
    pub(super) fn append(
        &mut self,
        rows: &[Row],
        problem: &Problem<'_>,
    ) -> Result<(), SearchError> {
        let write = |row: &Row| row.write(&self.fields, problem.space());
        let lines: String = rows.iter().map(write).collect();
        let mut file = &self.file;
        let written = file
            .write_all(lines.as_bytes())
            .and_then(|()| file.sync_data());
        written.map_err(|source| SearchError::Io {
            what: "cannot write",
            path: self.path.clone(),
            source,
        })
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
