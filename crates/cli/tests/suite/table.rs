//! Block-wise latency tables as a user makes them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::{blocklens, fails, ok};
use blocklens_core::space::DesignSpace;
use blocklens_core::surrogate::{LookupTable, all_entries};

fn table(engine: &str, out: &Path) -> Command {
    let mut command = blocklens();
    command.args([
        "--format", "json", "table", "--quiet", "--engine", engine, "--out",
    ]);
    command.arg(out);
    command
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn read(out: &Path, resolution: u32) -> LookupTable {
    let file = out.join(format!("{resolution}_lookup_table.yaml"));
    LookupTable::read("t", &std::fs::read_to_string(file).unwrap()).unwrap()
}

fn figure(summary: &serde_json::Value, name: &str) -> f64 {
    summary["check"]["agreement"][name].as_f64().unwrap()
}

/// The share of a latency that a nanosecond is, the unit in which times are recorded.
const NANOSECOND: f64 = 1e-6 / 10.0;

/// On a device whose latency is a sum over operators, sums of layers are end-to-end latencies.
#[test]
fn sums_of_an_additive_device_are_its_latencies() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mbv3");
    let summary = json(&ok(table("mock:noise=0,drift=0", &out).args([
        "--resolution",
        "160",
        "--check",
        "12",
    ])));
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let entries = all_entries(&space, 160).unwrap();
    assert_eq!(summary["layers"], entries.len());
    assert_eq!(entries.len(), 96, "as many as the published tables have");
    let made = read(&out, 160);
    assert!(entries.iter().all(|entry| made.get(&entry.key).is_some()));
    assert!(figure(&summary, "mape") < NANOSECOND, "{summary}");
    assert!((figure(&summary, "slope") - 1.0).abs() < NANOSECOND);
    assert_eq!(figure(&summary, "within_5"), 1.0);
    assert_eq!(summary["check"]["networks"].as_array().unwrap().len(), 12);
    // The file is a metric.
    let network = &summary["check"]["networks"][3];
    let metric = format!("latency@{}", out.join("160_lookup_table.yaml").display());
    let archs = folder.path().join("archs");
    std::fs::write(&archs, network["arch"].as_str().unwrap()).unwrap();
    let told = ok(blocklens()
        .args(["--format", "json", "evaluate", "--metric", &metric])
        .arg(&archs));
    let (value, sum) = (
        json(&told)["value"].as_f64().unwrap(),
        network["sum_ms"].as_f64().unwrap(),
    );
    assert!((value - sum).abs() < 1e-9);

    // Spaces that the package has no tables for: widths, units that may be left out.
    let out = folder.path().join("resnet");
    let mut command = table("mock:noise=0,drift=0", &out);
    let summary = json(&ok(command.args([
        "--space",
        "ofa-resnet50",
        "--resolution",
        "128",
        "--check",
        "10",
    ])));
    assert!(figure(&summary, "mape") < NANOSECOND, "{summary}");
    assert_eq!(read(&out, 128).resolutions(), [128]);
}

/// Where layers act on each other, sums are off, and the check says by how much.
#[test]
fn what_layers_do_to_each_other_shows() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = table("mock:interaction=0.5", folder.path());
    let summary = json(&ok(command.args([
        "--resolution",
        "128",
        "--check",
        "15",
        "--rounds",
        "2",
    ])));
    assert!(figure(&summary, "bias") < -0.005, "{summary}");
    assert_eq!(summary["layers"], 96);
    let text = ok(blocklens()
        .args([
            "table",
            "--engine",
            "mock:interaction=0.5",
            "--resolution",
            "128",
            "--check",
            "15",
        ])
        .args(["--rounds", "2", "--out"])
        .arg(folder.path()));
    assert!(
        text.contains("sums of layers against 15 whole networks"),
        "{text}"
    );
}

/// Killed and continued, a table is what it would have been, with failures told and left out.
#[test]
fn kills_lose_nothing_and_failures_have_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let engine = "mock:noise=0.02,drift=0.1,nan=0.1";
    let run = |out: &Path| {
        let mut command = table(engine, out);
        command.args(["--resolution", "128"]);
        command
    };
    let expected = json(&ok(&mut run(&whole)));
    let failures = expected["failures"].as_array().unwrap();
    assert!(
        !failures.is_empty() && failures[0].as_str().unwrap().contains("NaN"),
        "{expected}"
    );
    for attempt in 0..6_u64 {
        let mut child = run(&broken)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(50 + attempt * 61));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let summary = json(&ok(&mut run(&broken)));
    let yaml = |out: &Path| std::fs::read_to_string(out.join("128_lookup_table.yaml")).unwrap();
    assert_eq!(yaml(&broken), yaml(&whole));
    assert_eq!(summary["failures"], expected["failures"]);
    let entries = 96
        - failures
            .iter()
            .filter(|f| f.as_str().unwrap().contains("-input:"))
            .count();
    assert_eq!(read(&whole, 128).resolutions(), [128]);
    assert_eq!(summary["layers"], entries);
    // A later --check goes on from here, and needs the layers that failed.
    let error = fails(run(&broken).args(["--check", "5"]));
    assert!(error.contains("has no entry"), "{error}");
    // What is tried again may fail again, one time in ten.
    let layers = (0..8).any(|_| {
        let mut again = run(&broken);
        json(&ok(again.arg("--retry-failed")))["layers"] == 96
    });
    assert!(layers);
    let summary = json(&ok(run(&broken).args(["--check", "5"])));
    assert_eq!(summary["check"]["networks"].as_array().unwrap().len(), 5);
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = |arguments: &[&str]| {
        let mut command = blocklens();
        fails(
            command
                .arg("table")
                .args(arguments)
                .arg("--out")
                .arg(folder.path()),
        )
    };
    assert!(error(&["--engine", "mock", "--check", "2"]).contains("at least 3"));
    assert!(error(&["--engine", "mock", "--resolution", "100"]).contains("100"));
    assert!(error(&["--engine", "warp"]).contains("warp"));
    assert!(error(&["--engine", "mock:error=1"]).contains("all failed"));
}
