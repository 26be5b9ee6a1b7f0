//! What the store promises: nothing is lost, nothing is changed, bad files are named.

use blocklens_core::measurement::{summarise, summarise_paired};

use super::*;

fn record(position: u64, attempt: u32, ms: Option<f64>) -> Record {
    let outcome = match ms {
        None => Err(Failure::Hang { limit_s: 3 }),
        Some(ms) => {
            let samples: Vec<Sample> = (0..9)
                .map(|i| Sample {
                    wall: Millis::new(ms + f64::from(i) / 7.0).unwrap(),
                    cpu_ms: Some(ms),
                    preemptions: Some(i),
                })
                .collect();
            let phases = Phases {
                build_ms: 1.0,
                prepare_ms: 2.0,
                first_ms: 3.0,
                warm_up_ms: 4.0,
                warm_up_runs: 5,
                reference_ms: 0.0,
            };
            Ok(Measurement {
                summary: summarise(&samples, true).unwrap(),
                samples,
                reference: Vec::new(),
                phases,
                warnings: vec![Warning::NotStationary],
                model_hash: "abc".into(),
            })
        }
    };
    Record {
        position,
        attempt,
        plan_index: Some(position),
        arch: format!("arch {position}"),
        outcome,
    }
}

fn device() -> DeviceDescription {
    DeviceDescription {
        engine: "mock".into(),
        engine_version: "1".into(),
        threads: 1,
        precision: "fp32".into(),
        cpu: "none".into(),
        cpus: 2,
        system: "test".into(),
        governor: None,
        host: None,
    }
}

fn fresh(folder: &Path) -> (Store, i64, i64) {
    let store = Store::open(&folder.join("m.db")).unwrap();
    let campaign = store.create_campaign("{}").unwrap().id;
    let run = store.begin_run(campaign, &device(), &[]).unwrap();
    (store, campaign, run)
}

#[test]
fn records_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, run) = fresh(folder.path());
    let records = [
        record(0, 0, Some(12.5)),
        record(1, 0, None),
        record(2, 0, Some(0.1)),
    ];
    records
        .iter()
        .for_each(|r| store.append(campaign, run, r).unwrap());
    drop(store);
    let store = Store::open_existing(&folder.path().join("m.db")).unwrap();
    assert_eq!(store.records(campaign).unwrap(), records);
    assert_eq!(store.runs(campaign).unwrap(), [(device(), vec![])]);
    let found = store.find_campaign(&serde_json::json!({})).unwrap();
    assert_eq!(found.unwrap().id, campaign);
    let other = serde_json::json!({ "seed": 1 });
    assert!(store.find_campaign(&other).unwrap().is_none());
}

/// A record whose samples took turns with a reference.
fn paired(position: u64) -> Record {
    let mut record = record(position, 0, Some(8.0));
    if let Ok(m) = &mut record.outcome {
        m.reference = [m.samples.clone(), m.samples[..1].to_vec()].concat();
        m.reference.iter_mut().for_each(|r| r.preemptions = None);
        m.summary = summarise_paired(&m.samples, &m.reference, true).unwrap();
    }
    record
}

#[test]
fn references_are_kept_beside_measurements_and_are_as_lasting() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, run) = fresh(folder.path());
    store
        .append(campaign, run, &record(0, 0, Some(3.0)))
        .unwrap();
    let tables = |store: &Store| store.has_table("measurement_reference").unwrap();
    assert!(!tables(&store), "as in stores of earlier versions");
    assert_eq!(store.records(campaign).unwrap().len(), 1);
    let records = [record(0, 0, Some(3.0)), paired(1), record(2, 0, None)];
    for record in &records[1..] {
        store.append(campaign, run, record).unwrap();
    }
    assert!(tables(&store));
    assert_eq!(store.records(campaign).unwrap(), records);
    for sql in [
        "UPDATE measurement_reference SET cpu_ms = NULL",
        "DELETE FROM measurement_reference",
    ] {
        assert!(store.connection.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn a_retried_failure_keeps_both_attempts_and_reads_as_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, run) = fresh(folder.path());
    store.append(campaign, run, &record(0, 0, None)).unwrap();
    store
        .append(campaign, run, &record(0, 1, Some(5.0)))
        .unwrap();
    assert_eq!(store.records(campaign).unwrap(), [record(0, 1, Some(5.0))]);
    let progress = store.progress(campaign).unwrap();
    assert_eq!(
        (progress.len(), progress[0].attempts, progress[0].succeeded),
        (1, 2, true)
    );
    assert!(
        store
            .append(campaign, run, &record(0, 1, Some(6.0)))
            .is_err(),
        "nothing is measured twice"
    );
}

#[test]
fn measurements_cannot_be_changed_and_failures_are_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, run) = fresh(folder.path());
    store
        .append(campaign, run, &record(0, 0, Some(5.0)))
        .unwrap();
    let sql = |text: &str| {
        store
            .connection
            .execute_batch(text)
            .unwrap_err()
            .to_string()
    };
    assert!(sql("UPDATE measurement SET latency_ms = 1").contains("never changed"));
    assert!(sql("DELETE FROM measurement").contains("never deleted"));
    let insert = "INSERT INTO measurement (campaign_id, run_id, position, attempt, arch, latency_ms, \
                  failure_kind, failure) VALUES (1, 1, 7, 0, 'a', 0, 'hang', '{}')";
    assert!(sql(insert).contains("CHECK"));
}

#[test]
fn bad_files_are_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let garbage = b"this is not a database, but long enough to have had a header".repeat(20);
    std::fs::write(&path, &garbage).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("m.db"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
    let missing = Store::open_existing(&folder.path().join("none.db"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("none.db") && missing.contains("blocklens profile"),
        "{missing}"
    );
}

#[test]
fn another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = fresh(folder.path());
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = Store::open(store.path()).unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
}

#[test]
fn only_one_process_measures() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, ..) = fresh(folder.path());
    first.lock().unwrap();
    let mut second = Store::open(first.path()).unwrap();
    assert!(matches!(second.lock(), Err(StoreError::Locked { .. })));
    drop(first);
    second.lock().unwrap();
}

#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, run) = fresh(folder.path());
    let pages: i64 = store
        .connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    store
        .connection
        .pragma_update(None, "max_page_count", pages + 4)
        .unwrap();
    let mut stored = 0;
    let error = loop {
        match store.append(campaign, run, &record(stored, 0, Some(5.0))) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("same command"), "{error}");
    assert_eq!(store.records(campaign).unwrap().len() as u64, stored);
    store
        .connection
        .pragma_update(None, "max_page_count", 1 << 20)
        .unwrap();
    store
        .append(campaign, run, &record(stored, 0, Some(5.0)))
        .unwrap();
}

/// Lets a test do to rows what no program of ours does.
fn tamper(store: &Store, sql: &str) {
    let batch = format!(
        "PRAGMA foreign_keys = OFF;
         DROP TRIGGER IF EXISTS measurement_is_append_only_update;
         DROP TRIGGER IF EXISTS measurement_is_append_only_delete;
         DROP TRIGGER IF EXISTS measurement_reference_is_append_only_update;
         DROP TRIGGER IF EXISTS evaluation_is_append_only_update;
         {sql}"
    );
    store.connection.execute_batch(&batch).unwrap();
}

fn refusal(store: &Store, campaign: i64) -> String {
    let error = store.records(campaign).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    error.to_string()
}

#[test]
fn changed_rows_are_refused_and_named() {
    for (sql, table) in [
        (
            "UPDATE measurement SET arch = 'arch 3' WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET latency_ms = 4.9 WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET summary = replace(summary, 'samples\":9', 'samples\":8') WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET model_hash = 'abd' WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET plan_index = 7 WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET campaign_id = 9 WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET cpu_ms = NULL WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement SET wall_ms = CAST(substr(wall_ms, 1, 64) || x'0000000000002240' AS BLOB) WHERE id = 2",
            "measurement",
        ),
        (
            "UPDATE measurement_reference SET preemptions = x'00' WHERE measurement_id = 2",
            "measurement_reference",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, campaign, run) = fresh(folder.path());
        for record in [record(0, 0, Some(3.0)), paired(1), record(2, 0, None)] {
            store.append(campaign, run, &record).unwrap();
        }
        assert_eq!(store.records(campaign).unwrap().len(), 3);
        tamper(&store, sql);
        let told = refusal(&store, campaign);
        for part in [
            "m.db",
            "row 2",
            &format!("`{table}`"),
            "position 1",
            "docs/store.md",
        ] {
            assert!(told.contains(part), "{sql}: {part}: {told}");
        }
        assert!(
            store.progress(campaign).is_err(),
            "measuring does not go on"
        );
    }
}

#[test]
fn changed_campaigns_and_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, _) = fresh(folder.path());
    store.ask_for_metrics(campaign, &["macs".into()]).unwrap();
    let asked = store.metrics_asked_for(campaign).unwrap();
    assert_eq!(asked.as_deref(), Some(&["macs".to_owned()][..]));
    let damaged = |result: Result<(), StoreError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    };
    tamper(&store, "UPDATE metrics_asked_for SET names = '[\"mace\"]'");
    damaged(store.metrics_asked_for(campaign).map(|_| ()));
    tamper(
        &store,
        "UPDATE run SET device = replace(device, 'mock', 'rock')",
    );
    damaged(store.runs(campaign).map(|_| ()));
    tamper(&store, "UPDATE campaign SET spec = '{\"seed\":2}'");
    damaged(store.campaign(Some(campaign)).map(|_| ()));
    damaged(store.find_campaign(&serde_json::json!({})).map(|_| ()));
}

/// A store as earlier versions wrote it: no checksums anywhere.
fn without_checksums(store: &Store) {
    for table in ["campaign", "run", "measurement", "measurement_reference"] {
        tamper(store, &format!("ALTER TABLE {table} DROP COLUMN checksum"));
    }
}

#[test]
fn rows_of_earlier_versions_are_read_and_agree_with_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (store, campaign, run) = fresh(folder.path());
    let before = [record(0, 0, Some(3.0)), paired(1)];
    for record in &before {
        store.append(campaign, run, record).unwrap();
    }
    without_checksums(&store);
    assert_eq!(store.records(campaign).unwrap(), before);
    assert_eq!(store.runs(campaign).unwrap().len(), 1);
    // New rows have checksums, old ones go on without.
    store
        .append(campaign, run, &record(2, 0, Some(4.0)))
        .unwrap();
    assert_eq!(store.records(campaign).unwrap().len(), 3);
    tamper(
        &store,
        "UPDATE measurement SET latency_ms = latency_ms + 1 WHERE id = 1",
    );
    assert!(refusal(&store, campaign).contains("`latency_ms` does not follow"));
    tamper(
        &store,
        "UPDATE measurement SET latency_ms = latency_ms - 1, wall_ms = CAST(substr(wall_ms, 1, 64) AS BLOB) \
         WHERE id = 1",
    );
    assert!(store.records(campaign).is_err());
}

/// A kill leaves the newest rows in the write-ahead log; without it, the store is whole and knows nothing of them.
#[test]
fn a_write_ahead_log_that_is_missing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, campaign, run) = fresh(folder.path());
    store.lock().unwrap();
    for position in 0..5 {
        let record = record(position, 0, Some(3.0));
        store.append(campaign, run, &record).unwrap();
    }
    assert_eq!(store.lost(), 0);
    // What a kill leaves, copied while the store is open, with its log and without.
    let copied = |name: &str, files: &[&str]| {
        let to = folder.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for file in files {
            std::fs::copy(folder.path().join(file), to.join(file)).unwrap();
        }
        Store::open(&to.join("m.db")).unwrap()
    };
    let whole = copied("whole", &["m.db", "m.db-wal", "m.lock"]);
    assert_eq!(
        (whole.lost(), whole.records(campaign).unwrap().len()),
        (0, 5)
    );
    let mut cut = copied("cut", &["m.db", "m.lock"]);
    assert_eq!((cut.lost(), cut.records(campaign).unwrap().len()), (5, 0));
    // It is told until what is missing was measured again.
    cut.lock().unwrap();
    for position in 0..5 {
        assert_eq!(cut.lost(), 5 - position);
        let record = record(position, 0, Some(3.0));
        cut.append(campaign, run, &record).unwrap();
    }
    assert_eq!(cut.lost(), 0);
    assert_eq!(copied("unmarked", &["m.db"]).lost(), 0);
    // A store that is begun anew in the same folder lacks nothing.
    drop(cut);
    std::fs::remove_file(folder.path().join("cut/m.db")).unwrap();
    assert_eq!(
        Store::open(&folder.path().join("cut/m.db")).unwrap().lost(),
        0
    );
}
