//! How far a store once came, beside it: in the file that is locked while measuring.
//!
//! The newest measurements lie in SQLite's write-ahead log (`measurements.db-wal`) until that is folded into the
//! store. A store that lost its log after a kill is whole, and knows nothing of them: the mark does.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::Store;

/// How many measurements and evaluations there are: rows are never deleted, so that fewer are a loss wherever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    measurements: i64,
    evaluations: i64,
}

impl Mark {
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut words = text.split_whitespace();
        let mut number = |name: &str| match words.next()? {
            word if word == name => words.next()?.parse().ok(),
            _ => None,
        };
        Some(Self {
            measurements: number("measurements")?,
            evaluations: number("evaluations")?,
        })
    }

    /// Of one length, so that it is written over without a remainder.
    fn text(self) -> String {
        format!(
            "measurements {:019} evaluations {:019}\n",
            self.measurements, self.evaluations
        )
    }
}

impl Store {
    /// How many measurements and evaluations were recorded and are not there: they were in a write-ahead log that is
    /// missing, or somebody deleted them. 0 where nothing tells.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let (Some(mark), Some(now)) = (Mark::read(&self.mark_path()), self.counted()) else {
            return 0;
        };
        let missing = |mark: i64, now: i64| mark.saturating_sub(now).max(0).unsigned_abs();
        missing(mark.measurements, now.measurements) + missing(mark.evaluations, now.evaluations)
    }

    fn mark_path(&self) -> std::path::PathBuf {
        self.path.with_extension("lock")
    }

    fn counted(&self) -> Option<Mark> {
        let count = |table: &str| -> Option<i64> {
            if !self.table_exists(table).ok()? {
                return Some(0);
            }
            let sql = format!("SELECT count(*) FROM {table}");
            let mut statement = self.connection.prepare_cached(&sql).ok()?;
            statement.query_row([], |row| row.get(0)).ok()
        };
        Some(Mark {
            measurements: count("measurement")?,
            evaluations: count("evaluation")?,
        })
    }

    /// Raises the mark, by whoever holds the lock. It is help and no record: a failure to write it is none of
    /// measuring.
    pub(super) fn note_mark(&self) {
        let (Some(mut file), Some(now)) = (self.lock.as_ref(), self.counted()) else {
            return;
        };
        let before = Mark::read(&self.mark_path()).unwrap_or_default();
        let mark = Mark {
            measurements: now.measurements.max(before.measurements),
            evaluations: now.evaluations.max(before.evaluations),
        };
        let written = file.seek(SeekFrom::Start(0));
        let _ = written.and_then(|_| file.write_all(mark.text().as_bytes()));
    }

    /// The mark of a store that is made anew: what another one had is not missing in it.
    pub(super) fn forget_mark(&self) {
        let path = self.mark_path();
        if Mark::read(&path).is_some() {
            let _ = std::fs::write(path, Mark::default().text());
        }
    }

    /// Folds the log into the store, so that what was written so far does not depend on it.
    pub(super) fn settle(&self) -> rusqlite::Result<()> {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        self.connection.query_row(sql, [], |_| Ok(()))
    }
}
