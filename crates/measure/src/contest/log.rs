//! The log of finished runs: a JSON object a line, appended.

use std::path::Path;

use blocklens_core::search::contest::RunOf;
use serde::{Deserialize, Serialize};

use super::{ContestManifest, ContestRunError, Planned, manifest};
use crate::files;

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

/// What every line begins with.
const BEGINS: &str = "{\"algorithm\":";

/// A log that is open for appending.
pub(super) struct Log {
    file: files::Log,
    rows: Vec<Row>,
}

impl Log {
    /// Opens the log of a folder, or begins one; a last line that was not finished is cut off.
    pub(super) fn open(
        folder: &Path,
        asked: &ContestManifest,
        fresh: bool,
    ) -> Result<Self, ContestRunError> {
        let mut file = manifest::open(folder, asked, fresh)?;
        let mut rows = Vec::new();
        file.read(BEGINS, &mut |(_, line)| {
            rows.push(serde_json::from_slice(line).map_err(|error| error.to_string())?);
            Ok(())
        })?;
        Ok(Self { file, rows })
    }

    /// What was logged before.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Appends a run, and waits until it is on disk.
    pub(super) fn append(&mut self, row: &Row) -> Result<(), ContestRunError> {
        let mut line = serde_json::to_vec(row).map_err(|error| ContestRunError::Malformed {
            path: self.file.path().to_owned(),
            line: None,
            reason: error.to_string(),
        })?;
        line.push(b'\n');
        Ok(self.file.append(&line, true)?)
    }
}
