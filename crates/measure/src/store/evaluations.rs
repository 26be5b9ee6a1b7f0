//! Values of costly metrics in the measurement log.

use std::collections::HashMap;

use blocklens_core::metric::{MetricError, MetricInfo};
use rusqlite::{OptionalExtension as _, params};

use super::row::{EVALUATION, EVALUATION_RUN, EVALUATOR, Seal};
use super::{Store, StoreError};
use crate::evaluate::Value;

const SCHEMA: &str = include_str!("../evaluations.sql");

/// A metric whose values are recorded, for one space.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluator {
    /// Its number in the store.
    pub id: i64,
    /// What the metric is.
    pub info: MetricInfo,
    /// What decides its values besides the space and the architecture.
    pub identity: String,
}

/// What is recorded of an architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Attempts made.
    pub attempts: u32,
    /// What the last one gave.
    pub value: Value,
}

/// A value to be recorded.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// Whose it is.
    pub evaluator: i64,
    /// The architecture in its text form.
    pub arch: &'a str,
    /// How often it was tried before.
    pub attempt: u32,
    /// What came out.
    pub value: &'a Value,
}

impl Store {
    /// The newest evaluator with this identity for a space, or a new one (always, if `fresh`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn evaluator(
        &self,
        info: &MetricInfo,
        identity: &str,
        space_digest: &str,
        fresh: bool,
    ) -> Result<Evaluator, StoreError> {
        self.connection
            .execute_batch(SCHEMA)
            .map_err(|e| self.error(&e))?;
        let known = self.evaluators(&info.name, space_digest)?;
        let found = known.into_iter().rev().find(|e| e.identity == identity);
        if let Some(found) = found.filter(|_| !fresh) {
            return Ok(found);
        }
        let info_text = self.json(info)?;
        let version = env!("CARGO_PKG_VERSION");
        let row = params![info_text, identity, space_digest, version];
        let id = EVALUATOR.insert(&self.connection, row);
        Ok(Evaluator {
            id: id.map_err(|e| self.error(&e))?,
            info: info.clone(),
            identity: identity.to_owned(),
        })
    }

    /// Everything of this name that is recorded for a space, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn evaluators(&self, name: &str, space_digest: &str) -> Result<Vec<Evaluator>, StoreError> {
        if !self.has_evaluations()? {
            return Ok(Vec::new());
        }
        let sql = "FROM evaluator AS e WHERE e.space_digest = ?1 ORDER BY e.id";
        let mut found = self.read_evaluators(sql, params![space_digest])?;
        found.retain(|evaluator| evaluator.info.name == name);
        Ok(found)
    }

    /// The metrics that were evaluated along a campaign's plan, oldest first, each with the number of architectures
    /// that it was last to be evaluated for. Of a name, the newest counts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn evaluators_of(&self, campaign: i64) -> Result<Vec<(Evaluator, u64)>, StoreError> {
        if !self.has_evaluations()? {
            return Ok(Vec::new());
        }
        let sql = "FROM evaluator AS e JOIN evaluation_run AS r ON r.evaluator_id = e.id \
                   WHERE r.campaign_id = ?1 ORDER BY r.id";
        let mut newest: Vec<Evaluator> = Vec::new();
        for evaluator in self.read_evaluators(sql, params![campaign])? {
            newest.retain(|other| other.info.name != evaluator.info.name);
            newest.push(evaluator);
        }
        let columns = EVALUATION_RUN.selected(&self.connection, "r");
        let columns = columns.map_err(|e| self.error(&e))?;
        let planned = format!(
            "SELECT r.id, {columns} FROM evaluation_run AS r \
             WHERE r.evaluator_id = ?1 AND r.campaign_id = ?2 ORDER BY r.id DESC"
        );
        let with_plan = |evaluator: Evaluator| {
            let read = |row: &rusqlite::Row<'_>| {
                let seal = EVALUATION_RUN.seal(row, 1)?;
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(3)?, seal))
            };
            let newest = self
                .connection
                .query_row(&planned, params![evaluator.id, campaign], read);
            let newest = newest.optional().map_err(|e| self.error(&e))?;
            let (id, planned, seal) = newest.unwrap_or((0, 0, Seal::None));
            self.unbroken(seal, &EVALUATION_RUN, id, "")?;
            Ok((evaluator, planned.unsigned_abs()))
        };
        newest.into_iter().map(with_plan).collect()
    }

    fn read_evaluators(
        &self,
        sql: &str,
        parameters: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Evaluator>, StoreError> {
        let columns = EVALUATOR.selected(&self.connection, "e");
        let columns = columns.map_err(|e| self.error(&e))?;
        let read = |row: &rusqlite::Row<'_>| {
            let seal = EVALUATOR.seal(row, 1)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, seal))
        };
        type Read = (i64, String, String, Seal);
        let rows: Vec<Read> =
            self.query(&format!("SELECT e.id, {columns} {sql}"), parameters, read)?;
        let evaluator = |(id, info, identity, seal): Read| {
            self.unbroken(seal, &EVALUATOR, id, "")?;
            Ok(Evaluator {
                id,
                info: self.parse("evaluator.info", &info)?,
                identity,
            })
        };
        rows.into_iter().map(evaluator).collect()
    }

    /// Whether the log has these tables: those of earlier versions get them with the first evaluator.
    fn has_evaluations(&self) -> Result<bool, StoreError> {
        self.has_table("evaluation")
    }

    /// Notes that evaluating begins or goes on, and how far it is to go.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_evaluating(
        &self,
        evaluator: i64,
        campaign: Option<i64>,
        planned: u64,
    ) -> Result<(), StoreError> {
        let planned = i64::try_from(planned).unwrap_or(i64::MAX);
        let row = params![evaluator, campaign, planned];
        let inserted = EVALUATION_RUN.insert(&self.connection, row);
        inserted.map(|_| ()).map_err(|e| self.error(&e))
    }

    /// Appends values, all or none of them. They are on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`] and others; then nothing of them is stored.
    pub fn append_evaluations(&self, evaluations: &[Evaluation<'_>]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(evaluations.len());
        for evaluation in evaluations {
            let (value, failure) = match evaluation.value {
                Ok(value) => (Some(*value), None),
                Err(error) => (None, Some((error.kind(), self.json(error)?))),
            };
            rows.push((evaluation, value, failure));
        }
        let insert = || -> rusqlite::Result<()> {
            let transaction = self.connection.unchecked_transaction()?;
            for (of, value, failure) in &rows {
                let (kind, text) = failure.as_ref().map(|(kind, text)| (*kind, text)).unzip();
                let row = params![of.evaluator, of.arch, of.attempt, value, kind, text];
                EVALUATION.insert(&transaction, row)?;
            }
            transaction.commit()
        };
        insert().map_err(|e| self.error(&e))?;
        self.note_mark();
        Ok(())
    }

    /// What is recorded of a metric, by the text form of the architecture: the last attempt at each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn evaluations(&self, evaluator: i64) -> Result<HashMap<String, Recorded>, StoreError> {
        let columns = EVALUATION.selected(&self.connection, "e");
        let columns = columns.map_err(|e| self.error(&e))?;
        let sql = format!(
            "SELECT e.id, {columns} FROM evaluation AS e WHERE e.evaluator_id = ?1 ORDER BY e.attempt"
        );
        type Read = (i64, Seal, String, u32, Option<f64>, Option<String>);
        let read = |row: &rusqlite::Row<'_>| {
            let seal = EVALUATION.seal(row, 1)?;
            let (arch, attempt, value, failure) =
                (row.get(2)?, row.get(3)?, row.get(4)?, row.get(6)?);
            Ok((row.get(0)?, seal, arch, attempt, value, failure))
        };
        let rows: Vec<Read> = self.query(&sql, params![evaluator], read)?;
        let mut all = HashMap::with_capacity(rows.len());
        for (id, seal, arch, attempt, value, failure) in rows {
            self.unbroken(seal, &EVALUATION, id, &format!("({arch}) "))?;
            let value = match (value, failure) {
                (Some(value), _) => Ok(value),
                (None, failure) => {
                    Err(self
                        .parse::<MetricError>("evaluation.failure", &failure.unwrap_or_default())?)
                }
            };
            let attempts = attempt + 1;
            all.insert(arch, Recorded { attempts, value });
        }
        Ok(all)
    }
}
