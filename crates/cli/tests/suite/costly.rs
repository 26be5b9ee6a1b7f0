//! Metrics that take long: every value is on disk before the next begins, whatever happens to the program.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::{blocklens, fails, ok, stored};

/// A meter that notes every question in `asked`; what it answers follows from the architecture. Its first metric fails
/// for one architecture in eight.
fn meter(folder: &Path, unit: &str) -> PathBuf {
    let script = folder.join("meter.sh");
    let body = r#"read -r greeting
energy='{"name": "energy", "unit": "UNIT", "direction": "lower-is-better"}'
heat='{"name": "heat", "unit": "K", "direction": "lower-is-better"}'
echo "{\"metrics\": [$energy, $heat]}"
while read -r question; do
    id=${question##*\"id\":}; id=${id%%[!0-9]*}
    arch=${question##*\"arch\":\"}; arch=${arch%%\"*}
    echo "$arch" >> FOLDER/asked
    sum=$(printf '%s' "$arch" | cksum); sum=${sum%% *}
    if [ $((sum % 8)) = 0 ]; then
        echo "{\"id\": $id, \"failure\": \"too hot\"}"
    else
        echo "{\"id\": $id, \"values\": {\"energy\": $((sum % 1000 + 1)), \"heat\": $((sum % 77))}}"
    fi
done
"#;
    let body = body.replace("FOLDER", &folder.display().to_string());
    std::fs::write(&script, body.replace("UNIT", unit)).unwrap();
    script
}

fn asked(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn profile(script: &Path, budget: &str, out: &Path) -> Command {
    let mut command = blocklens();
    let metric = format!(
        "energy@program:sh {0},heat@program:sh {0},macs",
        script.display()
    );
    command
        .args([
            "--format",
            "json",
            "profile",
            "--quiet",
            "--resolution",
            "128",
        ])
        .args(["--budget", budget, "--metric", &metric, "--out"])
        .arg(out);
    command
}

/// (metric, architecture, value, failure) of every evaluation, in order.
type Rows = BTreeMap<(String, String), (Option<f64>, Option<String>)>;

fn evaluations(out: &Path) -> Rows {
    let file = out.join("measurements.db");
    let mut rows = Rows::new();
    if !file.exists() {
        return rows;
    }
    let connection = rusqlite::Connection::open(file).unwrap();
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'evaluation'";
    let count: i64 = connection.query_row(tables, [], |row| row.get(0)).unwrap();
    if count == 0 {
        return rows;
    }
    let sql = "SELECT json_extract(info, '$.name'), arch, value, failure_kind FROM evaluation \
               JOIN evaluator ON evaluator.id = evaluator_id";
    let mut statement = connection.prepare(sql).unwrap();
    let read = statement.query_map([], |row| {
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
    });
    for row in read.unwrap() {
        let (key, value) = row.unwrap();
        assert!(rows.insert(key, value).is_none(), "evaluated twice");
    }
    rows
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Killed at any instant and continued, a profile ends with what an uninterrupted one has; only what was being asked at
/// the instant of the kill is asked again.
#[test]
fn kill_minus_nine_loses_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let script = meter(folder.path(), "mJ");
    let whole = folder.path().join("whole");
    let expected_report = json(&ok(&mut profile(&script, "60", &whole)));
    let expected = evaluations(&whole);
    assert_eq!(expected.len(), 2 * asked(folder.path()).len());
    assert!(
        expected
            .values()
            .any(|(_, failure)| failure.as_deref() == Some("engine"))
    );
    std::fs::remove_file(folder.path().join("asked")).unwrap();

    let broken = folder.path().join("broken");
    let (mut landed, mut known) = (0, Rows::new());
    for attempt in 0..15_u64 {
        let mut child = profile(&script, "60", &broken)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_micros(
            30_000 + (attempt * 7_919_001) % 250_000,
        ));
        landed += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let now = evaluations(&broken);
        assert!(
            known.iter().all(|(key, value)| now.get(key) == Some(value)),
            "{attempt}"
        );
        known = now;
    }
    assert!(landed >= 3, "only {landed} kills hit a running profile");
    let report = json(&ok(&mut profile(&script, "60", &broken)));
    assert_eq!(evaluations(&broken), expected);
    assert_eq!(report["profile"], expected_report["profile"]);
    let again = asked(folder.path()).len() - expected.len() / 2;
    assert!(again <= 15, "{again} were asked again after 15 kills");
}

#[test]
fn a_larger_budget_goes_on_and_failures_are_tried_again_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (script, out) = (meter(folder.path(), "mJ"), folder.path().join("out"));
    ok(&mut profile(&script, "40", &out));
    let first = asked(folder.path());
    let report = json(&ok(&mut profile(&script, "70", &out)));
    let all = asked(folder.path());
    assert_eq!(all[..first.len()], first);
    let mut unique = all.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), all.len(), "nothing is asked twice");
    let energy = &report["profile"]["metrics"][0];
    assert_eq!(energy["metric"]["name"], "energy@meter.sh");
    assert_eq!(energy["metric"]["origin"], "unstated");
    let failed = evaluations(&out)
        .values()
        .filter(|(v, _)| v.is_none())
        .count()
        / 2;
    assert_eq!(energy["failures"], failed);
    // Everything is known: the program is not asked at all, unless failures are to be tried again.
    ok(&mut profile(&script, "70", &out));
    assert_eq!(asked(folder.path()).len(), all.len());
    ok(profile(&script, "70", &out).arg("--retry-failed"));
    assert_eq!(asked(folder.path()).len(), all.len() + failed);
    // Another meter's values are not this one's, and the user is told.
    meter(folder.path(), "uJ");
    let output = profile(&script, "70", &out).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("meter.sh") && told.contains("not used"),
        "{told}"
    );
    assert_eq!(asked(folder.path()).len(), 2 * all.len() + failed);
}

#[test]
fn ctrl_c_keeps_every_value() {
    let folder = tempfile::tempdir().unwrap();
    let (script, out) = (meter(folder.path(), "mJ"), folder.path().join("out"));
    let mut child = profile(&script, "3000", &out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while asked(folder.path()).len() < 5 {
        sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let status = child.wait().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("the same command goes on"), "{text}");
    let kept = evaluations(&out);
    assert!(kept.len() >= 2 * 4, "{kept:?}");
    assert!(
        kept.values()
            .all(|(_, failure)| failure.as_deref() != Some("not-tried"))
    );
}

/// Beside a measured latency: after the measurements, along the same plan, and once.
#[test]
fn beside_a_measured_latency_values_are_recorded_too() {
    let folder = tempfile::tempdir().unwrap();
    let (script, out) = (meter(folder.path(), "mJ"), folder.path().join("out"));
    let timed = |budget: &str| {
        let mut command = profile(&script, budget, &out);
        command.args(["--engine", "mock:noise=0.01"]);
        command
    };
    let mut child = timed("24")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while asked(folder.path()).len() < 3 {
        assert!(child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        stored(&out).len(),
        29,
        "measured before anything is evaluated"
    );
    let report = json(&ok(&mut timed("24")));
    let metrics = report["profile"]["metrics"].as_array().unwrap();
    let names: Vec<&str> = metrics
        .iter()
        .map(|m| m["metric"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["latency", "macs", "energy@meter.sh", "heat@meter.sh"]
    );
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert_eq!(
        number(&metrics[2]["evaluations"]) + number(&metrics[2]["failures"]),
        24
    );
    let networks = report["measurement"]["networks"].as_array().unwrap();
    let of_networks: Vec<&str> = networks
        .iter()
        .map(|n| n["arch"].as_str().unwrap())
        .collect();
    let mut questions = asked(folder.path());
    questions.sort();
    questions.dedup();
    assert!(
        of_networks
            .iter()
            .all(|arch| questions.iter().any(|q| q == arch))
    );
    assert!(
        networks
            .iter()
            .filter(|n| n["values"]["energy@meter.sh"].is_f64())
            .count()
            > 12
    );
    assert!(
        asked(folder.path()).len() <= 25,
        "at most the killed question twice"
    );

    // A report is made from the record: the program may be gone.
    let before = asked(folder.path()).len();
    std::fs::remove_file(&script).unwrap();
    for metric in [
        None,
        Some(format!("energy@program:sh {},macs", script.display())),
    ] {
        let mut command = blocklens();
        command
            .args(["--format", "json", "report", "--out"])
            .arg(&out);
        if let Some(metric) = &metric {
            command.args(["--metric", metric]);
        }
        let again = json(&ok(&mut command));
        let found = again["profile"]["metrics"].as_array().unwrap().iter();
        let energy = found
            .clone()
            .find(|m| m["metric"]["name"] == "energy@meter.sh");
        assert_eq!(energy.unwrap()["blocks"], metrics[2]["blocks"]);
        let others = found
            .filter(|m| m["metric"]["name"] == "heat@meter.sh")
            .count();
        assert_eq!(others, usize::from(metric.is_none()));
    }
    assert_eq!(asked(folder.path()).len(), before);
    let mut unknown = blocklens();
    unknown.args(["report", "--metric", "noise@program:sh loud.sh", "--out"]);
    assert!(fails(unknown.arg(&out)).contains("nothing is recorded of"));

    // More of the plan than was measured.
    meter(folder.path(), "mJ");
    let report = json(&ok(timed("24").args(["--evaluations", "50"])));
    let energy = &report["profile"]["metrics"][2];
    assert_eq!(
        number(&energy["evaluations"]) + number(&energy["failures"]),
        50
    );
    assert_eq!(stored(&out).len(), 29);
    let mut cheap = blocklens();
    cheap.args([
        "profile",
        "--engine",
        "mock",
        "--metric",
        "macs",
        "--evaluations",
        "50",
        "--out",
    ]);
    assert!(fails(cheap.arg(&out)).contains("--evaluations is for metrics that take long"));
}

/// A command that holds commas stands in quotes; one that is given up is not a number, and is tried again later.
#[test]
fn a_program_that_dies_leaves_failures_and_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let hello = r#"{"metrics": [{"name": "energy", "direction": "lower-is-better"}]}"#;
    let script = folder.path().join("dies.sh");
    std::fs::write(
        &script,
        format!("echo '{hello}'; read -r greeting; read -r q; echo bye >&2; exit 3\n"),
    )
    .unwrap();
    let metric = format!("energy@program:sh {} 'a,b',macs", script.display());
    let mut command = blocklens();
    command
        .args([
            "profile", "--quiet", "--budget", "40", "--metric", &metric, "--out",
        ])
        .arg(&out);
    let error = fails(&mut command);
    assert!(error.contains("no profile of energy"), "{error}");
    let rows = evaluations(&out);
    assert_eq!(rows.len(), 5, "after five deaths it is given up: {rows:?}");
    assert!(
        rows.values()
            .all(|(value, kind)| value.is_none() && kind.as_deref() == Some("crash"))
    );
}
