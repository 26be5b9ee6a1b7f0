//! Running the program as a user does.
#![allow(dead_code)] // not every test file uses every helper

use std::path::Path;
use std::process::{Command, Output};

pub fn blocklens() -> Command {
    Command::new(env!("CARGO_BIN_EXE_blocklens"))
}

/// Runs a command that must succeed.
pub fn ok(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}\n{stderr}"
    );
    stdout.into_owned()
}

/// Runs a command that must fail with an error, not a crash, and returns what it said.
pub fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{command:?}: {}\n{text}",
        output.status
    );
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A stored measurement, without what must differ between runs (clock times, row and run numbers, and how long
/// building took).
#[derive(Debug, PartialEq)]
pub struct Row {
    pub position: i64,
    pub attempt: i64,
    pub plan_index: Option<i64>,
    pub arch: String,
    pub latency_ms: Option<f64>,
    pub summary: Option<String>,
    pub model_hash: Option<String>,
    pub wall_ms: Option<Vec<u8>>,
    pub failure_kind: Option<String>,
}

pub fn stored(out: &Path) -> Vec<Row> {
    let connection = rusqlite::Connection::open(out.join("measurements.db")).unwrap();
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE name = 'measurement'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    if tables == 0 {
        return Vec::new(); // killed before the schema was written
    }
    let sql = "SELECT position, attempt, plan_index, arch, latency_ms, summary, model_hash, wall_ms, failure_kind \
               FROM measurement ORDER BY position, attempt";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| {
            Ok(Row {
                position: row.get(0)?,
                attempt: row.get(1)?,
                plan_index: row.get(2)?,
                arch: row.get(3)?,
                latency_ms: row.get(4)?,
                summary: row.get(5)?,
                model_hash: row.get(6)?,
                wall_ms: row.get(7)?,
                failure_kind: row.get(8)?,
            })
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}
