//! The log of finished runs: a JSON object a line, appended.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use blocklens_core::search::contest::RunOf;
use serde::{Deserialize, Serialize};

use super::{ContestManifest, ContestRunError, Planned, manifest};

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    algorithm: String,
    /// The hash of the space that it searched.
    space: String,
    #[serde(flatten)]
    pub(super) run: RunOf,
}

impl Row {
    pub(super) fn new(planned: &Planned<'_>, run: RunOf) -> Self {
        Self {
            algorithm: planned.arm.algorithm.clone(),
            space: planned.digest().to_owned(),
            run,
        }
    }

    /// Whether it is what was planned.
    pub(super) fn is_of(&self, planned: &Planned<'_>) -> bool {
        self.algorithm == planned.arm.algorithm
            && self.space == planned.digest()
            && self.run.seed == planned.seed
    }
}

/// A log that is open for appending.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    rows: Vec<Row>,
}

impl Log {
    /// Opens the log of a folder, or begins one; a last line that was not finished is cut off.
    pub(super) fn open(
        folder: &Path,
        asked: &ContestManifest,
        fresh: bool,
    ) -> Result<Self, ContestRunError> {
        let path = folder.join("runs.jsonl");
        let io = |what| {
            let path = path.clone();
            move |source| ContestRunError::Io { what, path, source }
        };
        manifest::open(folder, asked, fresh)?;
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(&path);
        let file = file.map_err(io("cannot open"))?;
        // Some file systems have no locks: their errors are no others' comparisons.
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(ContestRunError::Locked { path });
        }
        let (mut rows, mut whole, mut line) = (Vec::new(), 0, Vec::new());
        let mut reader = BufReader::new(&file);
        while reader
            .read_until(b'\n', &mut line)
            .map_err(io("cannot read"))?
            > 0
        {
            if line.last() != Some(&b'\n') {
                break;
            }
            let row = serde_json::from_slice(&line);
            rows.push(row.map_err(|error| ContestRunError::Malformed {
                path: path.clone(),
                line: Some(rows.len() + 1),
                reason: error.to_string(),
            })?);
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole).map_err(io("cannot write"))?;
        Ok(Self { path, file, rows })
    }

    /// What was logged before.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Appends a run, and waits until it is on disk.
    pub(super) fn append(&mut self, row: &Row) -> Result<(), ContestRunError> {
        let line = serde_json::to_vec(row).map_err(std::io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_data()
        });
        written.map_err(|source| ContestRunError::Io {
            what: "cannot write",
            path: self.path.clone(),
            source,
        })
    }
}
