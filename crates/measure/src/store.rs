//! The measurement log: an append-only SQLite file. Its schema is documented in `docs/store.md`.

mod evaluations;
mod mark;
mod row;

pub use evaluations::{Evaluation, Evaluator, Recorded};

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blocklens_core::measurement::{
    DeviceDescription, Failure, Measurement, Phases, Sample, Summary, Warning, statistic,
};
use blocklens_core::units::Millis;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{self, Place};
use crate::job::Outcome;
use row::{CAMPAIGN, MEASUREMENT, METRICS, REFERENCE, RUN, Seal, Table};

/// Version of the schema, in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = include_str!("schema.sql");
/// Its table comes with the first measurement that has a reference, in stores of earlier versions too.
const REFERENCE_SCHEMA: &str = include_str!("reference.sql");
/// Its table comes with the first campaign of this version, in stores of earlier versions too.
const METRICS_SCHEMA: &str = include_str!("metrics.sql");

/// Why the store cannot be used. What it holds is never changed by an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be opened or written.
    #[error("cannot open the store {}: {reason}; choose another folder with --out, or make this one \
        writable", path.display())]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is not a store, or is damaged.
    #[error("{} is not a readable measurement store ({reason}); nothing was changed in it. Move it away to start \
        afresh, or try `sqlite3 FILE .recover` on a copy", path.display())]
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
    #[error("another blocklens process is measuring into {}; wait for it, or choose another folder with \
        --out", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No space left for the next measurement.
    #[error("no space is left to write to {} ({reason}); everything measured so far is kept: free some space and run \
        the same command again", path.display())]
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
    /// A row is not as it was written.
    #[error(
        "{}: row {row} of the table `{table}` {what}: it was changed or damaged after it was written. Nothing \
         was changed in the file: take it from a copy, or delete that row as docs/store.md says, and the same \
         command measures it again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The row's id.
        row: i64,
        /// What shows it.
        what: String,
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
        let fresh = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
        match files::place(path).map_err(|e| unopenable(e.to_string()))? {
            Place::Free | Place::File => {}
            Place::Stream => return Err(unopenable("it is no plain file".into())),
        }
        let connection = Connection::open(path).map_err(|e| unopenable(e.to_string()))?;
        let store = Self {
            connection,
            path: path.into(),
            lock: None,
        };
        store.prepare()?;
        if fresh {
            store.forget_mark();
        }
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
            let version = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version";
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (version, tables): (i64, i64) = self.connection.query_row(version, [], read)?;
            if version == 0 && tables == 0 {
                // FULL: a recorded measurement survives even a power cut.
                self.connection.pragma_update(None, "journal_mode", "WAL")?;
                self.connection.execute_batch(SCHEMA)?;
                self.settle()?;
                return Ok(SCHEMA_VERSION);
            }
            self.connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(version)
        };
        match run().map_err(|e| self.error(&e))? {
            SCHEMA_VERSION => Ok(()),
            // A store has its version from the instant when it has tables.
            0 => Err(StoreError::Corrupt {
                path: self.path.clone(),
                reason: "it is a database of something else".into(),
            }),
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
        // What is in it stays: see `mark`.
        let file = files::beside(&path).map_err(unopenable)?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                // Whoever deleted a damaged row by hand has dropped what keeps the others.
                let restored = self.connection.execute_batch(SCHEMA);
                restored.map_err(|e| self.error(&e))
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
                path: self.path.clone(),
            }),
            Err(TryLockError::Error(e)) => Err(unopenable(e)),
        }
    }

    /// The newest campaign with this specification: stored ones are read and compared field by field, so that a field
    /// which an earlier version did not know is what it is by default.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_campaign<S>(&self, spec: &S) -> Result<Option<StoredCampaign>, StoreError>
    where
        S: PartialEq + DeserializeOwned,
    {
        // A damaged one would not be found, and begun anew in silence.
        self.check_campaigns()?;
        let read = |row: &Row<'_>| {
            Ok(StoredCampaign {
                id: row.get(0)?,
                created_at: row.get(1)?,
                spec: row.get(2)?,
            })
        };
        let sql = "SELECT id, created_at, spec FROM campaign ORDER BY id DESC";
        let all: Vec<StoredCampaign> = self.query(sql, params![], read)?;
        let is = |stored: &StoredCampaign| {
            serde_json::from_str::<S>(&stored.spec).is_ok_and(|stored| stored == *spec)
        };
        Ok(all.into_iter().find(is))
    }

    /// The campaign with this id, or the one measured last when `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn campaign(&self, id: Option<i64>) -> Result<Option<StoredCampaign>, StoreError> {
        match id {
            Some(id) => self.one_campaign("WHERE id = ?1", params![id]),
            None => self.one_campaign(
                "ORDER BY coalesce((SELECT max(m.id) FROM measurement m WHERE m.campaign_id = campaign.id), 0) DESC, \
                 id DESC LIMIT 1",
                params![],
            ),
        }
    }

    fn one_campaign(
        &self,
        condition: &str,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<Option<StoredCampaign>, StoreError> {
        let columns = CAMPAIGN.selected(&self.connection, "campaign");
        let columns = columns.map_err(|e| self.error(&e))?;
        let read = |row: &Row<'_>| {
            let campaign = StoredCampaign {
                id: row.get(0)?,
                created_at: row.get(1)?,
                spec: row.get(2)?,
            };
            Ok((campaign, CAMPAIGN.seal(row, 2)?))
        };
        let sql = format!("SELECT id, created_at, {columns} FROM campaign {condition}");
        let found = self.connection.query_row(&sql, parameters, read).optional();
        let Some((campaign, seal)) = found.map_err(|e| self.error(&e))? else {
            return Ok(None);
        };
        self.unbroken(seal, &CAMPAIGN, campaign.id, "")?;
        Ok(Some(campaign))
    }

    fn check_campaigns(&self) -> Result<(), StoreError> {
        let columns = CAMPAIGN.selected(&self.connection, "campaign");
        let columns = columns.map_err(|e| self.error(&e))?;
        let sql = format!("SELECT id, {columns} FROM campaign");
        let read = |row: &Row<'_>| Ok((row.get(0)?, CAMPAIGN.seal(row, 1)?));
        let all: Vec<(i64, Seal)> = self.query(&sql, params![], read)?;
        all.into_iter()
            .try_for_each(|(id, seal)| self.unbroken(seal, &CAMPAIGN, id, ""))
    }

    /// Refuses a row whose checksum is another; `which` tells it from others in words.
    fn unbroken(&self, seal: Seal, table: &Table, row: i64, which: &str) -> Result<(), StoreError> {
        if seal != Seal::Broken {
            return Ok(());
        }
        let what = format!("{which}does not agree with its checksum");
        Err(self.damaged(table, row, what))
    }

    fn damaged(&self, table: &Table, row: i64, what: String) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            table: table.name,
            row,
            what,
        }
    }

    /// Begins a campaign.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create_campaign(&self, spec: &str) -> Result<StoredCampaign, StoreError> {
        let row = params![spec, env!("CARGO_PKG_VERSION")];
        let id = CAMPAIGN.insert(&self.connection, row);
        let id = id.map_err(|e| self.error(&e))?;
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
        let row = params![campaign, self.json(device)?, self.json(&warnings)?];
        let id = RUN.insert(&self.connection, row);
        let id = id.map_err(|e| self.error(&e))?;
        self.settle().map_err(|e| self.error(&e))?;
        Ok(id)
    }

    /// Devices and warnings of all runs of a campaign, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn runs(
        &self,
        campaign: i64,
    ) -> Result<Vec<(DeviceDescription, Vec<Warning>)>, StoreError> {
        let columns = RUN.selected(&self.connection, "run");
        let columns = columns.map_err(|e| self.error(&e))?;
        let sql = format!("SELECT id, {columns} FROM run WHERE campaign_id = ?1 ORDER BY id");
        type Read = (i64, String, String, Seal);
        let rows: Vec<Read> = self.query(&sql, params![campaign], |row| {
            Ok((row.get(0)?, row.get(2)?, row.get(3)?, RUN.seal(row, 1)?))
        })?;
        rows.into_iter()
            .map(|(id, device, warnings, seal)| {
                self.unbroken(seal, &RUN, id, "")?;
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
        let latency = record
            .outcome
            .as_ref()
            .ok()
            .map(|m| m.summary.latency.get());
        let failure = record.outcome.as_ref().err();
        let failed = failure.map(|f| self.json(f)).transpose()?;
        let measured = record.outcome.as_ref().ok();
        let texts = measured
            .map(|m| self.texts(m))
            .transpose()?
            .unwrap_or_default();
        let [summary, phases, warnings, model_hash] = texts;
        let columns = measured.map(|m| SampleColumns::of(&m.samples));
        let row = params![
            campaign,
            run,
            position,
            record.attempt,
            plan_index,
            record.arch,
            latency,
            summary,
            phases,
            warnings,
            model_hash,
            columns.as_ref().map(|c| &c.wall_ms),
            columns.as_ref().and_then(|c| c.cpu_ms.as_ref()),
            columns.as_ref().and_then(|c| c.preemptions.as_ref()),
            failure.map(Failure::kind),
            failed
        ];
        let reference = measured.map_or(&[][..], |m| &m.reference);
        let inserted = self.insert(row, reference);
        inserted.map_err(|e| self.error(&e))?;
        self.note_mark();
        Ok(())
    }

    /// What is stored of a measurement as text: summary, phases, warnings, hash of the model.
    fn texts(&self, m: &Measurement) -> Result<[Option<String>; 4], StoreError> {
        Ok([
            Some(self.json(&m.summary)?),
            Some(self.json(&m.phases)?),
            Some(self.json(&m.warnings)?),
            Some(m.model_hash.clone()),
        ])
    }

    /// Inserts a measurement and its reference, both or neither.
    fn insert(&self, row: &[&dyn rusqlite::ToSql], reference: &[Sample]) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        let id = MEASUREMENT.insert(&transaction, row)?;
        if !reference.is_empty() {
            transaction.execute_batch(REFERENCE_SCHEMA)?;
            let columns = SampleColumns::of(reference);
            let row = params![id, columns.wall_ms, columns.cpu_ms, columns.preemptions];
            REFERENCE.insert(&transaction, row)?;
        }
        transaction.commit()
    }

    /// Notes which metrics the profile of a campaign was asked for, as they were written; none for the default ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ask_for_metrics(&self, campaign: i64, names: &[String]) -> Result<(), StoreError> {
        if self.metrics_asked_for(campaign)?.as_deref() == Some(names) {
            return Ok(());
        }
        let names = self.json(names)?;
        let insert = || {
            self.connection.execute_batch(METRICS_SCHEMA)?;
            METRICS.insert(&self.connection, params![campaign, names])
        };
        insert().map(|_| ()).map_err(|e| self.error(&e))
    }

    /// The metrics that the profile of a campaign was last asked for; `None` where that is not known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn metrics_asked_for(&self, campaign: i64) -> Result<Option<Vec<String>>, StoreError> {
        if !self.has_table(METRICS.name)? {
            return Ok(None);
        }
        let columns = METRICS.selected(&self.connection, "a");
        let columns = columns.map_err(|e| self.error(&e))?;
        let sql = format!(
            "SELECT id, {columns} FROM {} AS a WHERE campaign_id = ?1 ORDER BY id DESC LIMIT 1",
            METRICS.name
        );
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(2)?, METRICS.seal(row, 1)?));
        let rows: Vec<(i64, String, Seal)> = self.query(&sql, params![campaign], read)?;
        let Some((id, names, seal)) = rows.into_iter().next() else {
            return Ok(None);
        };
        self.unbroken(seal, &METRICS, id, "")?;
        self.parse("metrics_asked_for.names", &names).map(Some)
    }

    fn has_table(&self, name: &str) -> Result<bool, StoreError> {
        self.table_exists(name).map_err(|e| self.error(&e))
    }

    fn table_exists(&self, name: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let count = |row: &Row<'_>| row.get::<_, i64>(0);
        Ok(self.connection.query_row(sql, [name], count)? > 0)
    }

    /// Every position that was recorded, with the attempts made and whether the last one succeeded. Every row is
    /// checked: measuring does not go on after what is damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn progress(&self, campaign: i64) -> Result<Vec<Progress>, StoreError> {
        let mut positions: BTreeMap<u64, Progress> = BTreeMap::new();
        for row in self.rows(campaign)? {
            let new = || Progress {
                position: row.position,
                arch: row.arch.clone(),
                attempts: 0,
                succeeded: false,
            };
            let progress = positions.entry(row.position).or_insert_with(new);
            progress.attempts = progress.attempts.max(row.attempt + 1);
            progress.succeeded |= row.failure.is_none();
        }
        Ok(positions.into_values().collect())
    }

    /// The records of a campaign, by position: the last attempt at each.
    ///
    /// # Errors
    /// [`StoreError`], which is [`StoreError::Damaged`] where a row is not as it was written.
    pub fn records(&self, campaign: i64) -> Result<Vec<Record>, StoreError> {
        let rule = self.rule(campaign)?;
        let mut last: BTreeMap<u64, StoredRow> = BTreeMap::new();
        for row in self.rows(campaign)? {
            let known = last.get(&row.position).map_or(0, |known| known.attempt);
            if row.attempt >= known {
                last.insert(row.position, row);
            }
        }
        last.into_values()
            .map(|row| self.record(row, rule))
            .collect()
    }

    /// Of some positions, refuses the first whose record `wrong` says is another than was written, unless a checksum
    /// says that it is not. `wrong` is given the position.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn check_unsealed(
        &self,
        campaign: i64,
        wrong: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        for row in self.rows(campaign)? {
            if row.seal == Seal::None && wrong(row.position) {
                let (position, arch) = (row.position, &row.arch);
                let what =
                    format!("(position {position}, {arch}) is of another network than it says");
                return Err(self.damaged(&MEASUREMENT, row.id, what));
            }
        }
        Ok(())
    }

    /// Whether the samples of a campaign are summarised as those of one thread; `None` where it has another statistic
    /// than this version's.
    fn rule(&self, campaign: i64) -> Result<Option<bool>, StoreError> {
        let Some(stored) = self.campaign(Some(campaign))? else {
            return Ok(None);
        };
        let spec: serde_json::Value = serde_json::from_str(&stored.spec).unwrap_or_default();
        // A table's campaign has it one level down.
        let spec = spec.get("campaign").unwrap_or(&spec);
        let paired = spec["protocol"]["paired"].as_bool().unwrap_or_default();
        let known = spec["statistic"].as_str() == Some(statistic(paired).as_str());
        let threads = spec["threads"].as_u64();
        Ok(threads.filter(|_| known).map(|threads| threads == 1))
    }

    /// All rows of a campaign's measurements. Those of others are checked against their checksums, too: a row that
    /// says that it is another campaign's would only be missing in its own.
    fn rows(&self, campaign: i64) -> Result<Vec<StoredRow>, StoreError> {
        let selected = || -> rusqlite::Result<(String, &'static str)> {
            let measurement = MEASUREMENT.selected(&self.connection, "m")?;
            if !self.table_exists(REFERENCE.name)? {
                return Ok((measurement, ""));
            }
            let reference = REFERENCE.selected(&self.connection, "r")?;
            let join = "LEFT JOIN measurement_reference AS r ON r.measurement_id = m.id";
            Ok((format!("{measurement}, {reference}"), join))
        };
        let (columns, join) = selected().map_err(|e| self.error(&e))?;
        let sql = format!(
            "SELECT m.id, {columns} FROM measurement AS m {join} ORDER BY m.position, m.attempt"
        );
        let paired = !join.is_empty();
        let mut rows = self.query(&sql, params![], |row| StoredRow::read(row, paired))?;
        for row in &rows {
            let which = format!("(position {}, {}) ", row.position, row.arch);
            self.unbroken(row.seal, &MEASUREMENT, row.id, &which)?;
            self.unbroken(row.reference_seal, &REFERENCE, row.id, &which)?;
        }
        rows.retain(|row| row.campaign == campaign);
        Ok(rows)
    }

    fn record(&self, row: StoredRow, rule: Option<bool>) -> Result<Record, StoreError> {
        let outcome = match &row.failure {
            Some(failure) => Err(self.parse::<Failure>("measurement.failure", failure)?),
            None => Ok(self.measurement(&row, rule)?),
        };
        Ok(Record {
            position: row.position,
            attempt: row.attempt,
            plan_index: row.plan_index,
            arch: row.arch,
            outcome,
        })
    }

    fn measurement(&self, row: &StoredRow, rule: Option<bool>) -> Result<Measurement, StoreError> {
        let samples = row.columns.samples();
        let reference = row.reference.samples();
        let measurement = Measurement {
            samples: samples.map_err(|e| self.malformed("measurement.wall_ms", &e))?,
            reference: reference
                .map_err(|e| self.malformed("measurement_reference.wall_ms", &e))?,
            summary: self.parse::<Summary>("measurement.summary", &row.summary)?,
            phases: self.parse::<Phases>("measurement.phases", &row.phases)?,
            warnings: self.parse("measurement.warnings", &row.warnings)?,
            model_hash: row.model_hash.clone(),
        };
        let summary = &measurement.summary;
        let disagrees = match row.latency_ms {
            Some(ms) if ms.to_bits() != summary.latency.get().to_bits() => Some("latency_ms"),
            _ => summary.disagrees(&measurement.samples, &measurement.reference, rule),
        };
        match disagrees {
            Some(field) => Err(self.damaged(
                &MEASUREMENT,
                row.id,
                format!(
                    "(position {}, {}) has samples from which its `{field}` does not follow",
                    row.position, row.arch
                ),
            )),
            None => Ok(measurement),
        }
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

struct StoredRow {
    id: i64,
    campaign: i64,
    position: u64,
    attempt: u32,
    plan_index: Option<u64>,
    arch: String,
    latency_ms: Option<f64>,
    failure: Option<String>,
    summary: String,
    phases: String,
    warnings: String,
    model_hash: String,
    columns: SampleColumns,
    reference: SampleColumns,
    seal: Seal,
    reference_seal: Seal,
}

impl StoredRow {
    /// Reads the id, the columns of [`MEASUREMENT`] and, where a reference is joined, those of [`REFERENCE`].
    fn read(row: &Row<'_>, paired: bool) -> rusqlite::Result<Self> {
        let text = |index: usize| {
            row.get::<_, Option<String>>(index)
                .map(Option::unwrap_or_default)
        };
        let reference = 1 + MEASUREMENT.width();
        Ok(Self {
            id: row.get(0)?,
            campaign: row.get(1)?,
            position: row.get::<_, i64>(3)?.unsigned_abs(),
            attempt: row.get(4)?,
            plan_index: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
            arch: row.get(6)?,
            latency_ms: row.get(7)?,
            summary: text(8)?,
            phases: text(9)?,
            warnings: text(10)?,
            model_hash: text(11)?,
            columns: SampleColumns::read(row, 12)?,
            failure: row.get(16)?,
            seal: MEASUREMENT.seal(row, 1)?,
            reference: match paired {
                true => SampleColumns::read(row, reference + 1)?,
                false => SampleColumns::default(),
            },
            reference_seal: match paired {
                true => REFERENCE.seal(row, reference)?,
                false => Seal::None,
            },
        })
    }
}

/// Raw samples as little-endian columns: 8 bytes a number for times, 4 for counts. A column that the
/// system could not fill is absent.
#[derive(Default)]
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
