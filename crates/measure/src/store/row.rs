//! Rows that tell whether they are as they were written: a checksum over their columns stands beside them.
//!
//! Rows of stores that earlier versions wrote have none; the column comes with the first row that is added.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql};
use sha2::{Digest as _, Sha256};

/// A table whose rows carry a checksum.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns that are written, in the order in which the checksum takes them.
    pub(super) columns: &'static [&'static str],
}

pub(super) const CAMPAIGN: Table = Table {
    name: "campaign",
    columns: &["spec", "blocklens_version"],
};

pub(super) const RUN: Table = Table {
    name: "run",
    columns: &["campaign_id", "device", "warnings"],
};

pub(super) const MEASUREMENT: Table = Table {
    name: "measurement",
    columns: &[
        "campaign_id",
        "run_id",
        "position",
        "attempt",
        "plan_index",
        "arch",
        "latency_ms",
        "summary",
        "phases",
        "warnings",
        "model_hash",
        "wall_ms",
        "cpu_ms",
        "preemptions",
        "failure_kind",
        "failure",
    ],
};

pub(super) const REFERENCE: Table = Table {
    name: "measurement_reference",
    columns: &["measurement_id", "wall_ms", "cpu_ms", "preemptions"],
};

pub(super) const METRICS: Table = Table {
    name: "metrics_asked_for",
    columns: &["campaign_id", "names"],
};

pub(super) const EVALUATOR: Table = Table {
    name: "evaluator",
    columns: &["info", "identity", "space_digest", "blocklens_version"],
};

pub(super) const EVALUATION_RUN: Table = Table {
    name: "evaluation_run",
    columns: &["evaluator_id", "campaign_id", "planned"],
};

pub(super) const EVALUATION: Table = Table {
    name: "evaluation",
    columns: &[
        "evaluator_id",
        "arch",
        "attempt",
        "value",
        "failure_kind",
        "failure",
    ],
};

/// What a row's checksum says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// The row is as it was written.
    Whole,
    /// It has no checksum: an earlier version wrote it.
    None,
    /// It is not as it was written.
    Broken,
}

impl Table {
    /// Whether the table has the column for checksums.
    pub(super) fn has_checksums(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = 'checksum'";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row([self.name], |row| Ok(row.get::<_, i64>(0)? > 0))
    }

    /// Inserts a row with its checksum, and returns its id.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<i64> {
        let name = self.name;
        if !self.has_checksums(connection)? {
            connection.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN checksum TEXT"))?;
        }
        let places: Vec<String> = (1..=values.len() + 1).map(|i| format!("?{i}")).collect();
        let sql = format!(
            "INSERT INTO {name} ({}, checksum) VALUES ({})",
            self.columns.join(", "),
            places.join(", ")
        );
        let checksum = self.checksum(values)?;
        let row = [values, &[&checksum as &dyn ToSql]].concat();
        connection.prepare_cached(&sql)?.execute(&row[..])?;
        Ok(connection.last_insert_rowid())
    }

    /// What to select of the table, called `alias` in the query: its columns, then the checksum.
    pub(super) fn selected(
        &self,
        connection: &Connection,
        alias: &str,
    ) -> rusqlite::Result<String> {
        let columns = self.columns.iter().map(|c| format!("{alias}.{c}"));
        let checksum = match self.has_checksums(connection)? {
            true => format!("{alias}.checksum"),
            false => "NULL".to_owned(),
        };
        Ok(columns.chain([checksum]).collect::<Vec<_>>().join(", "))
    }

    /// How many columns [`Self::selected`] names.
    pub(super) const fn width(&self) -> usize {
        self.columns.len() + 1
    }

    /// What the checksum says of a row whose columns begin at `first`.
    pub(super) fn seal(&self, row: &Row<'_>, first: usize) -> rusqlite::Result<Seal> {
        let told: Option<String> = row.get(first + self.columns.len())?;
        let Some(told) = told else {
            return Ok(Seal::None);
        };
        let mut hasher = self.hasher();
        for column in 0..self.columns.len() {
            take(&mut hasher, row.get_ref(first + column)?);
        }
        Ok(match finished(hasher) == told {
            true => Seal::Whole,
            false => Seal::Broken,
        })
    }

    fn checksum(&self, values: &[&dyn ToSql]) -> rusqlite::Result<String> {
        let mut hasher = self.hasher();
        for value in values {
            match value.to_sql()? {
                ToSqlOutput::Borrowed(value) => take(&mut hasher, value),
                ToSqlOutput::Owned(value) => take(&mut hasher, (&value).into()),
                // Nothing else is stored here.
                _ => take(&mut hasher, ValueRef::Null),
            }
        }
        Ok(finished(hasher))
    }

    fn hasher(&self) -> Sha256 {
        Sha256::new_with_prefix(format!("blocklens row of {}\n", self.name))
    }
}

fn take(hasher: &mut Sha256, value: ValueRef<'_>) {
    let (kind, bytes): (u8, Cow<'_, [u8]>) = match value {
        ValueRef::Null => (0, Cow::Borrowed(&[])),
        ValueRef::Integer(number) => (1, Cow::Owned(number.to_le_bytes().to_vec())),
        // SQLite keeps no sign of zero.
        ValueRef::Real(number) => (2, Cow::Owned((number + 0.0).to_le_bytes().to_vec())),
        ValueRef::Text(text) => (3, Cow::Borrowed(text)),
        ValueRef::Blob(bytes) => (4, Cow::Borrowed(bytes)),
    };
    hasher.update([kind]);
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(&bytes);
}

fn finished(hasher: Sha256) -> String {
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
