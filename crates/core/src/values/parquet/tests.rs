use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::metric::Metric as _;
use crate::space::DesignSpace;
use crate::values::{ValueTable, ValueTableError, Wanted};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/values");
    folder.join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).unwrap()
}

fn space() -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap()
}

fn read(name: &str, bytes: &[u8], column: &str) -> Result<ValueTable, ValueTableError> {
    ValueTable::read_parquet(name, bytes, &Wanted::column(column), &space())
}

fn values(table: &ValueTable) -> Vec<(String, f64)> {
    let all = table.architectures();
    all.map(|arch| (space().print(arch), table.evaluate(arch).unwrap()))
        .collect()
}

/// Files of pyarrow hold what the JSON lines of the same rows hold, however they are written.
#[test]
fn files_of_pyarrow_are_read_as_the_same_rows_in_json_lines() {
    let lines = bytes("rows.jsonl");
    let expected =
        ValueTable::read_jsonl("t", &lines, &Wanted::column("latency"), &space()).unwrap();
    assert_eq!(expected.architectures().len(), 41);
    for name in [
        "none", "snappy", "gzip", "zstd", "lz4", "pages_2", "delta", "binary",
    ] {
        let name = format!("{name}.parquet");
        let table = read(&name, &bytes(&name), "latency").unwrap();
        assert_eq!(values(&table), values(&expected), "{name}");
        assert_eq!(table.info().unit, "ms");
        let (account, other) = (table.account(), expected.account());
        assert_eq!(
            (account.rows, account.used),
            (other.rows, other.used),
            "{name}"
        );
        assert_eq!(account.foreign.count, 2, "{name}: {account}");
        assert_eq!(
            account.unreadable.count + account.foreign.count,
            4,
            "{name}: {account}"
        );
        // JSON has no infinity: there, these rows are unreadable.
        let without: Vec<u64> = account
            .without_value
            .first
            .iter()
            .map(|(row, _)| *row)
            .collect();
        assert_eq!(without, [44, 45, 46], "{name}");
        assert_eq!(account.other_resolutions, other.other_resolutions);
        assert_eq!(
            (account.agreeing, account.differing),
            (other.agreeing, other.differing)
        );
        let last = read(&name, &bytes(&name), "latency [ms]").unwrap();
        assert_eq!(values(&last), values(&expected));
    }
}

#[test]
fn structs_are_dictionaries_and_integers_are_numbers() {
    let lines = bytes("rows.jsonl");
    let expected =
        ValueTable::read_jsonl("t", &lines, &Wanted::column("latency"), &space()).unwrap();
    let table = read("d.parquet", &bytes("dictionaries.parquet"), "latency").unwrap();
    assert_eq!(values(&table), values(&expected));
    let table = read("i.parquet", &bytes("integers.parquet"), "macs").unwrap();
    assert!(
        values(&table)
            .iter()
            .all(|(_, value)| value.fract() == 0.0 || value.fract() == 0.5)
    );
    let error = read("i.parquet", &bytes("integers.parquet"), "latency")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no column `latency`") && error.contains("`macs`, `who`"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_parquet_or_not_read_here_say_so() {
    let error = |bytes: &[u8]| read("t.parquet", bytes, "latency").unwrap_err().to_string();
    assert!(error(b"").contains("t.parquet cannot be read"));
    assert!(error(b"arch,latency\n").contains("t.parquet cannot be read"));
    let brotli = error(&bytes("brotli.parquet"));
    assert!(
        brotli.contains("brotli") && brotli.contains("snappy, gzip"),
        "{brotli}"
    );
    let whole = bytes("snappy.parquet");
    for length in (0..whole.len()).step_by(97) {
        assert!(
            error(&whole[..length]).contains("cannot be read"),
            "{length}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Damaged files give errors or finite numbers, and every row is accounted for.
    #[test]
    fn damaged_files_never_give_what_is_not_finite(
        name in proptest::sample::select(vec!["none", "snappy", "pages_2", "delta", "dictionaries"]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let name = format!("{name}.parquet");
        let mut bytes = bytes(&name);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(table) = read(&name, &bytes, "latency") {
            let account = table.account();
            let others = account.unreadable.count + account.foreign.count + account.without_value.count
                + account.other_resolutions.values().sum::<usize>();
            prop_assert_eq!(account.rows, account.used + others);
            prop_assert!(values(&table).iter().all(|(_, value)| value.is_finite()));
        }
    }
}
