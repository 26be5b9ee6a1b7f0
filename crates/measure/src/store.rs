//! The measurement log: an append-only SQLite file. Its schema is documented in `docs/store.md`.

mod evaluations;

pub use evaluations::{Evaluation, Evaluator, Recorded};

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blocklens_core::measurement::{
    DeviceDescription, Failure, Measurement, Phases, Sample, Summary, Warning,
};
use blocklens_core::units::Millis;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::Outcome;

/// Version of the schema, in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = include_str!("schema.sql");
/// Its table comes with the first measurement that has a reference, in stores of earlier versions too.
const REFERENCE_SCHEMA: &str = include_str!("reference.sql");

/// Why the store cannot be used. What it holds is never changed by an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be opened or written.
    #[error("cannot open the store {}: {reason}; choose another folder with --out, or make this one writable", path.display())]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is not a store, or is damaged.
    #[error("{} is not a readable measurement store ({reason}); nothing was changed in it. Move it away to start afresh, or try `sqlite3 FILE .recover` on a copy", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The file was written by another version.
    #[error("{} has schema version {found}; this version of blocklens reads {SCHEMA_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
    },
    /// Another process measures into this store.
    #[error("another blocklens process is measuring into {}; wait for it, or choose another folder with --out", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No space left for the next measurement.
    #[error("no space is left to write to {} ({reason}); everything measured so far is kept: free some space and run the same command again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// Any other error of SQLite.
    #[error("the store {} cannot be used: {reason}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// A stored value does not parse.
    #[error("the store {} holds a value that does not parse, in {what}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which value.
        what: String,
        /// Why not.
        reason: String,
    },
}

/// A campaign in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCampaign {
    /// Its id.
    pub id: i64,
    /// Its specification, as JSON.
    pub spec: String,
    /// When it began (UTC, ISO 8601).
    pub created_at: String,
}

/// A step of a campaign to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Position in the campaign's schedule.
    pub position: u64,
    /// How often the position was tried before.
    pub attempt: u32,
    /// Index in the estimator's plan; `None` for a sentinel.
    pub plan_index: Option<u64>,
    /// The architecture in its text form.
    pub arch: String,
    /// What came out.
    pub outcome: Outcome,
}

/// The measurement log.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Held while measuring; the system releases it when the process ends, however it ends.
    lock: Option<File>,
}

impl Store {
    /// Opens the store at `path`, and makes it when it does not exist.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened, is damaged, or belongs to another version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let unopenable = |reason: String| StoreError::Unopenable {
            path: path.into(),
            reason,
        };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| unopenable(e.to_string()))?;
        }
        let connection = Connection::open(path).map_err(|e| unopenable(e.to_string()))?;
        let store = Self {
            connection,
            path: path.into(),
            lock: None,
        };
        store.prepare()?;
        Ok(store)
    }

    /// Opens an existing store.
    ///
    /// # Errors
    /// [`StoreError::Unopenable`] when there is none, else as [`Self::open`].
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if path.is_file() {
            return Self::open(path);
        }
        Err(StoreError::Unopenable {
            path: path.into(),
            reason: "there is no such file; `blocklens profile` makes one".into(),
        })
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let run = || -> rusqlite::Result<i64> {
            self.connection.busy_timeout(Duration::from_secs(5))?;
            let version: i64 = self
                .connection
                .query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version == 0 {
                // FULL: a recorded measurement survives even a power cut.
                self.connection.pragma_update(None, "journal_mode", "WAL")?;
                self.connection.execute_batch(SCHEMA)?;
                return Ok(SCHEMA_VERSION);
            }
            self.connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(version)
        };
        match run().map_err(|e| self.error(&e))? {
            SCHEMA_VERSION => Ok(()),
            found => Err(StoreError::Version {
                path: self.path.clone(),
                found,
            }),
        }
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Claims the store for measuring, until this value is dropped or the process ends.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn lock(&mut self) -> Result<(), StoreError> {
        let path = self.path.with_extension("lock");
        let unopenable = |e: std::io::Error| StoreError::Unopenable {
            path: path.clone(),
            reason: e.to_string(),
        };
        let file = File::create(&path).map_err(unopenable)?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
                path: self.path.clone(),
            }),
            Err(TryLockError::Error(e)) => Err(unopenable(e)),
        }
    }

    /// The newest campaign whose specification is exactly `spec`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_campaign(&self, spec: &str) -> Result<Option<StoredCampaign>, StoreError> {
        self.one_campaign("WHERE spec = ?1 ORDER BY id DESC LIMIT 1", params![spec])
    }

    /// The campaign with this id, or the one measured last when `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn campaign(&self, id: Option<i64>) -> Result<Option<StoredCampaign>, StoreError> {
        match id {
            Some(id) => self.one_campaign("WHERE id = ?1", params![id]),
            None => self.one_campaign(
                "ORDER BY coalesce((SELECT max(m.id) FROM measurement m WHERE m.campaign_id = campaign.id), 0) DESC, id DESC LIMIT 1",
                params![],
            ),
        }
    }

    fn one_campaign(
        &self,
        condition: &str,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<Option<StoredCampaign>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(StoredCampaign {
                id: row.get(0)?,
                spec: row.get(1)?,
                created_at: row.get(2)?,
            })
        };
        self.connection
            .query_row(
                &format!("SELECT id, spec, created_at FROM campaign {condition}"),
                parameters,
                read,
            )
            .optional()
            .map_err(|e| self.error(&e))
    }

    /// Begins a campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create_campaign(&self, spec: &str) -> Result<StoredCampaign, StoreError> {
        self.connection
            .execute(
                "INSERT INTO campaign (spec, blocklens_version) VALUES (?1, ?2)",
                params![spec, env!("CARGO_PKG_VERSION")],
            )
            .map_err(|e| self.error(&e))?;
        let id = self.connection.last_insert_rowid();
        self.campaign(Some(id))?
            .ok_or_else(|| self.malformed("campaign", "the new row cannot be read back"))
    }

    /// Notes that measuring begins or continues, and on what.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_run(
        &self,
        campaign: i64,
        device: &DeviceDescription,
        warnings: &[Warning],
    ) -> Result<i64, StoreError> {
        let sql = "INSERT INTO run (campaign_id, device, warnings) VALUES (?1, ?2, ?3)";
        self.connection
            .execute(
                sql,
                params![campaign, self.json(device)?, self.json(&warnings)?],
            )
            .map_err(|e| self.error(&e))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Devices and warnings of all runs of a campaign, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn runs(
        &self,
        campaign: i64,
    ) -> Result<Vec<(DeviceDescription, Vec<Warning>)>, StoreError> {
        let sql = "SELECT device, warnings FROM run WHERE campaign_id = ?1 ORDER BY id";
        let texts: Vec<(String, String)> =
            self.query(sql, params![campaign], |row| Ok((row.get(0)?, row.get(1)?)))?;
        texts
            .into_iter()
            .map(|(device, warnings)| {
                Ok((
                    self.parse("run.device", &device)?,
                    self.parse("run.warnings", &warnings)?,
                ))
            })
            .collect()
    }

    /// Appends a measurement. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`] and others; then nothing of the record is stored.
    pub fn append(&self, campaign: i64, run: i64, record: &Record) -> Result<(), StoreError> {
        let position = i64::try_from(record.position).unwrap_or(i64::MAX);
        let plan_index = record
            .plan_index
            .map(|i| i64::try_from(i).unwrap_or(i64::MAX));
        let key = params![
            campaign,
            run,
            position,
            record.attempt,
            plan_index,
            record.arch
        ];
        let result = match &record.outcome {
            Ok(m) => {
                let columns = SampleColumns::of(&m.samples);
                let values = params![
                    m.summary.latency.get(),
                    self.json(&m.summary)?,
                    self.json(&m.phases)?,
                    self.json(&m.warnings)?,
                    m.model_hash,
                    columns.wall_ms,
                    columns.cpu_ms,
                    columns.preemptions
                ];
                self.insert(&[key, values].concat(), &m.reference)
            }
            Err(failure) => {
                let values = params![failure.kind(), self.json(failure)?];
                let row = [key, values].concat();
                self.connection.execute(INSERT_FAILED, &row[..]).map(|_| ())
            }
        };
        result.map_err(|e| self.error(&e))
    }

    /// Inserts a measurement and its reference, both or neither.
    fn insert(&self, row: &[&dyn rusqlite::ToSql], reference: &[Sample]) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        transaction.execute(INSERT_OK, row)?;
        if !reference.is_empty() {
            let id = transaction.last_insert_rowid();
            transaction.execute_batch(REFERENCE_SCHEMA)?;
            let columns = SampleColumns::of(reference);
            let row = params![id, columns.wall_ms, columns.cpu_ms, columns.preemptions];
            transaction.execute(INSERT_REFERENCE, row)?;
        }
        transaction.commit()
    }

    fn has_table(&self, name: &str) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let count: rusqlite::Result<i64> = self.connection.query_row(sql, [name], |row| row.get(0));
        Ok(count.map_err(|e| self.error(&e))? > 0)
    }

    /// Every position that was recorded, with the attempts made and whether the last one succeeded.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn progress(&self, campaign: i64) -> Result<Vec<Progress>, StoreError> {
        let sql = "SELECT position, arch, max(attempt), max(failure_kind IS NULL) FROM measurement \
                   WHERE campaign_id = ?1 GROUP BY position ORDER BY position";
        self.query(sql, params![campaign], |row| {
            Ok(Progress {
                position: row.get::<_, i64>(0)?.unsigned_abs(),
                arch: row.get(1)?,
                attempts: row.get::<_, u32>(2)? + 1,
                succeeded: row.get(3)?,
            })
        })
    }

    /// The records of a campaign, by position: the last attempt at each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self, campaign: i64) -> Result<Vec<Record>, StoreError> {
        let (columns, join) = if self.has_table("measurement_reference")? {
            let join = "LEFT JOIN measurement_reference AS r ON r.measurement_id = m.id";
            ("r.wall_ms, r.cpu_ms, r.preemptions", join)
        } else {
            ("NULL, NULL, NULL", "")
        };
        let sql = format!(
            "SELECT position, attempt, plan_index, arch, failure, summary, phases, warnings, model_hash, \
             m.wall_ms, m.cpu_ms, m.preemptions, {columns} FROM measurement AS m {join} \
             WHERE campaign_id = ?1 AND attempt = (SELECT max(attempt) FROM measurement \
             WHERE campaign_id = m.campaign_id AND position = m.position) ORDER BY position"
        );
        let rows = self.query(&sql, params![campaign], StoredRow::read)?;
        rows.into_iter().map(|row| self.record(row)).collect()
    }

    fn record(&self, row: StoredRow) -> Result<Record, StoreError> {
        let outcome = match row.failure {
            Some(failure) => Err(self.parse::<Failure>("measurement.failure", &failure)?),
            None => Ok(Measurement {
                samples: row
                    .columns
                    .samples()
                    .map_err(|e| self.malformed("measurement.wall_ms", &e))?,
                reference: row
                    .reference
                    .samples()
                    .map_err(|e| self.malformed("measurement_reference.wall_ms", &e))?,
                summary: self.parse::<Summary>("measurement.summary", &row.summary)?,
                phases: self.parse::<Phases>("measurement.phases", &row.phases)?,
                warnings: self.parse("measurement.warnings", &row.warnings)?,
                model_hash: row.model_hash,
            }),
        };
        Ok(Record {
            position: row.position,
            attempt: row.attempt,
            plan_index: row.plan_index,
            arch: row.arch,
            outcome,
        })
    }

    fn query<T>(
        &self,
        sql: &str,
        parameters: &[&dyn rusqlite::ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let run = || -> rusqlite::Result<Vec<T>> {
            self.connection
                .prepare(sql)?
                .query_map(parameters, read)?
                .collect()
        };
        run().map_err(|e| self.error(&e))
    }

    fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|e| self.malformed("a value to store", &e.to_string()))
    }

    fn parse<T: DeserializeOwned>(&self, what: &str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|e| self.malformed(what, &e.to_string()))
    }

    fn malformed(&self, what: &str, reason: &str) -> StoreError {
        StoreError::Malformed {
            path: self.path.clone(),
            what: what.into(),
            reason: reason.into(),
        }
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        let (path, reason) = (self.path.clone(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Corrupt { path, reason }
            }
            Some(ErrorCode::DiskFull) => StoreError::Full { path, reason },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Locked { path }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StoreError::Unopenable { path, reason }
            }
            _ => StoreError::Sqlite { path, reason },
        }
    }
}

/// How far a position of a campaign's schedule has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The position.
    pub position: u64,
    /// The architecture recorded there.
    pub arch: String,
    /// Attempts made.
    pub attempts: u32,
    /// Whether one of them succeeded.
    pub succeeded: bool,
}

const INSERT_OK: &str = "INSERT INTO measurement (campaign_id, run_id, position, attempt, plan_index, arch, \
     latency_ms, summary, phases, warnings, model_hash, wall_ms, cpu_ms, preemptions) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

const INSERT_FAILED: &str = "INSERT INTO measurement (campaign_id, run_id, position, attempt, plan_index, arch, \
     failure_kind, failure) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const INSERT_REFERENCE: &str = "INSERT INTO measurement_reference (measurement_id, wall_ms, cpu_ms, preemptions) \
     VALUES (?1, ?2, ?3, ?4)";

struct StoredRow {
    position: u64,
    attempt: u32,
    plan_index: Option<u64>,
    arch: String,
    failure: Option<String>,
    summary: String,
    phases: String,
    warnings: String,
    model_hash: String,
    columns: SampleColumns,
    reference: SampleColumns,
}

impl StoredRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |index: usize| {
            row.get::<_, Option<String>>(index)
                .map(Option::unwrap_or_default)
        };
        Ok(Self {
            position: row.get::<_, i64>(0)?.unsigned_abs(),
            attempt: row.get(1)?,
            plan_index: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
            arch: row.get(3)?,
            failure: row.get(4)?,
            summary: text(5)?,
            phases: text(6)?,
            warnings: text(7)?,
            model_hash: text(8)?,
            columns: SampleColumns::read(row, 9)?,
            reference: SampleColumns::read(row, 12)?,
        })
    }
}

/// Raw samples as little-endian columns: 8 bytes a number for times, 4 for counts. A column that the
/// system could not fill is absent.
struct SampleColumns {
    wall_ms: Vec<u8>,
    cpu_ms: Option<Vec<u8>>,
    preemptions: Option<Vec<u8>>,
}

impl SampleColumns {
    fn of(samples: &[Sample]) -> Self {
        let cpu: Option<Vec<f64>> = samples.iter().map(|s| s.cpu_ms).collect();
        let preemptions: Option<Vec<u32>> = samples.iter().map(|s| s.preemptions).collect();
        Self {
            wall_ms: samples
                .iter()
                .flat_map(|s| s.wall.get().to_le_bytes())
                .collect(),
            cpu_ms: cpu.map(|c| c.into_iter().flat_map(f64::to_le_bytes).collect()),
            preemptions: preemptions.map(|p| p.into_iter().flat_map(u32::to_le_bytes).collect()),
        }
    }

    /// Three columns of a row, from `first` on; no samples where the row has none.
    fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            wall_ms: row.get::<_, Option<_>>(first)?.unwrap_or_default(),
            cpu_ms: row.get(first + 1)?,
            preemptions: row.get(first + 2)?,
        })
    }

    fn samples(&self) -> Result<Vec<Sample>, String> {
        let walls = numbers(&self.wall_ms, f64::from_le_bytes)?;
        let cpus = self
            .cpu_ms
            .as_deref()
            .map(|c| numbers(c, f64::from_le_bytes))
            .transpose()?;
        let counts = self
            .preemptions
            .as_deref()
            .map(|p| numbers(p, u32::from_le_bytes))
            .transpose()?;
        let whole = |n: Option<usize>| n.is_none_or(|n| n == walls.len());
        if !whole(cpus.as_ref().map(Vec::len)) || !whole(counts.as_ref().map(Vec::len)) {
            return Err("its columns differ in length".into());
        }
        walls
            .iter()
            .enumerate()
            .map(|(i, &wall)| {
                Ok(Sample {
                    wall: Millis::new(wall).map_err(|e| e.to_string())?,
                    cpu_ms: cpus.as_ref().map(|c| c[i]),
                    preemptions: counts.as_ref().map(|c| c[i]),
                })
            })
            .collect()
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!(
            "{} bytes are not a whole number of samples",
            bytes.len()
        ));
    }
    Ok(chunks.iter().map(|chunk| read(*chunk)).collect())
}

#[cfg(test)]
mod tests;
