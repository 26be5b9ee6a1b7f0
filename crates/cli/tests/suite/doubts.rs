//! What is doubtful is said, and what is damaged is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{blocklens, fails, ok};
use serde_json::Value;

fn profile(out: &Path, options: &[&str]) -> Command {
    let mut command = blocklens();
    command
        .args(["profile", "--quiet", "--resolution", "128"])
        .args(["--estimator", "pooled"])
        .args(options)
        .arg("--out")
        .arg(out);
    command
}

fn report(out: &Path) -> Command {
    let mut command = blocklens();
    command.args(["report", "--out"]).arg(out);
    command
}

fn read_report(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

fn metric_names(out: &Path) -> Vec<String> {
    let report = read_report(out);
    let metrics = report["profile"]["metrics"].as_array().unwrap().iter();
    let name = |metric: &Value| metric["metric"]["name"].as_str().unwrap().to_owned();
    metrics.map(name).collect()
}

/// Kinds of the doubts in a report.
fn kinds(out: &Path) -> Vec<String> {
    let report = read_report(out);
    let warnings = report["warnings"].as_array().unwrap().iter();
    let kind = |warning: &Value| warning["kind"].as_str().unwrap().to_owned();
    warnings.map(kind).collect()
}

#[test]
fn a_bit_that_changed_in_a_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let supernets =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/supernets");
    let mut bytes = std::fs::read(supernets.join("mbv3.pth")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let changed = folder.path().join("changed.pth");
    std::fs::write(&changed, bytes).unwrap();
    let arch = "r96/e4k7,e4k7,e4k3/e3k3,e4k3/e4k3,e4k3,e4k7/e3k7,e6k7,e4k7/e3k7,e6k7";
    let error = fails(
        blocklens()
            .args(["arch", "export", arch, "--space"])
            .arg(supernets.join("mbv3.toml"))
            .arg("--weights")
            .arg(&changed)
            .arg("--output")
            .arg(folder.path().join("o.onnx")),
    );
    assert!(error.contains("changed.pth is damaged"), "{error}");
    assert!(error.contains("hecksum"), "{error}");
}

/// Digits that changed in what a profile wrote are refused wherever they are read, with what to do.
#[test]
fn changed_files_of_a_profile_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    ok(&mut profile(
        &out,
        &["--engine", "mock", "--budget", "60", "--metric", "latency"],
    ));
    let change = |name: &str, from: &str, to: &str| {
        let path = out.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        text
    };
    let text = change("report.json", "\"sd\": ", "\"sd\": 1");
    let error = fails(blocklens().arg("diff").arg(&out).arg(&out));
    assert!(
        error.contains("report.json") && error.contains("digest"),
        "{error}"
    );
    // Whoever means the change takes the digest away; reports of before have none.
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("digest").unwrap();
    std::fs::write(out.join("report.json"), value.to_string()).unwrap();
    ok(blocklens().arg("diff").arg(&out).arg(&out));

    change("model.json", "\"mean\": ", "\"mean\": 1");
    let metric = format!("latency@model:{}", out.join("model.json").display());
    let error = fails(blocklens().args(["evaluate", "--metric", &metric]));
    assert!(
        error.contains("model.json") && error.contains("digest"),
        "{error}"
    );
}

#[test]
fn changed_measurements_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    let options = ["--engine", "mock", "--budget", "24", "--metric", "latency"];
    ok(&mut profile(&out, &options));
    let change = |sql: &str| {
        let connection = rusqlite::Connection::open(out.join("measurements.db")).unwrap();
        let drop = "DROP TRIGGER IF EXISTS measurement_is_append_only_update;";
        connection.execute_batch(&format!("{drop}{sql}")).unwrap();
    };
    for (there, back) in [
        (
            "arch = replace(arch, 'k3', 'k5')",
            "arch = replace(arch, 'k5', 'k3')",
        ),
        ("latency_ms = latency_ms + 1", "latency_ms = latency_ms - 1"),
    ] {
        change(&format!("UPDATE measurement SET {there} WHERE id = 3"));
        for mut command in [report(&out), profile(&out, &options)] {
            let error = fails(&mut command);
            assert!(
                error.contains("row 3") && error.contains("`measurement`"),
                "{error}"
            );
        }
        // Its own way back may be another row; what counts is that others are found too.
        change(&format!("UPDATE measurement SET {back} WHERE id = 3"));
    }
}

/// Whichever measurements they are; and the triggers that keep the others come back when they are measured again.
#[test]
fn measurements_that_were_deleted_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    let options = ["--engine", "mock", "--budget", "12", "--metric", "latency"];
    ok(&mut profile(&out, &options));
    let store = || rusqlite::Connection::open(out.join("measurements.db")).unwrap();
    let delete = "DELETE FROM measurement WHERE id IN (4, 5)";
    let drop = "DROP TRIGGER IF EXISTS measurement_is_append_only_delete";
    store().execute_batch(&format!("{drop}; {delete}")).unwrap();
    ok(&mut report(&out));
    assert_eq!(kinds(&out), ["lost"]);
    ok(&mut profile(&out, &options));
    assert!(kinds(&out).is_empty(), "{:?}", kinds(&out));
    let refused = store()
        .execute_batch("DELETE FROM measurement")
        .unwrap_err();
    assert!(refused.to_string().contains("never deleted"), "{refused}");
}

#[test]
fn what_is_lost_is_told_also_where_too_few_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    ok(&mut profile(
        &out,
        &["--engine", "mock", "--budget", "12", "--metric", "latency"],
    ));
    let store = rusqlite::Connection::open(out.join("measurements.db")).unwrap();
    let drop = "DROP TRIGGER IF EXISTS measurement_is_append_only_delete";
    let delete = "DELETE FROM measurement WHERE id > 4";
    store.execute_batch(&format!("{drop}; {delete}")).unwrap();
    let error = fails(&mut report(&out));
    assert!(error.contains("too few"), "{error}");
    assert!(
        error.contains("11 of the values that were recorded are not in the store"),
        "{error}"
    );
}

/// A kill leaves the newest measurements in a file beside the store; where that is gone, it is told until they are
/// measured again.
#[test]
fn measurements_that_are_gone_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    let options = ["--engine", "mock", "--budget", "24", "--metric", "latency"];
    ok(&mut profile(&out, &options));
    assert!(!kinds(&out).contains(&"lost".to_owned()));
    let mark = std::fs::read_to_string(out.join("measurements.lock")).unwrap();
    assert!(mark.contains("0029"), "24 networks and 5 sentinels: {mark}");
    std::fs::write(out.join("measurements.lock"), mark.replace("0029", "0035")).unwrap();
    let text = ok(&mut report(&out));
    assert!(
        text.contains("Doubt: 6 of the values that were recorded are not in the store"),
        "{text}"
    );
    assert_eq!(kinds(&out), ["lost"]);
    ok(&mut profile(
        &out,
        &["--engine", "mock", "--budget", "30", "--metric", "latency"],
    ));
    assert!(kinds(&out).is_empty(), "{:?}", kinds(&out));
}

#[test]
fn a_report_keeps_the_metrics_of_its_profile() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    let table = folder.path().join("values.csv");
    let archs = ok(blocklens().args(["arch", "sample", "-n", "40", "--resolution", "128"]));
    let rows = archs.lines().enumerate();
    let rows: Vec<String> = rows
        .map(|(i, arch)| format!("\"{arch}\",{}", 70 + i % 7))
        .collect();
    std::fs::write(&table, format!("arch,accuracy\n{}\n", rows.join("\n"))).unwrap();
    let accuracy = format!("macs,params,memory,accuracy@{}", table.display());
    let options = ["--engine", "mock", "--budget", "24", "--metric", &accuracy];
    ok(&mut profile(&out, &options));
    let before = metric_names(&out);
    assert_eq!(before.len(), 5, "{before:?}");
    ok(&mut report(&out));
    assert_eq!(metric_names(&out), before);
    ok(report(&out).args(["--metric", "macs"]));
    assert_eq!(metric_names(&out), ["latency", "macs"]);
    // What cannot be made again is named, and the rest is reported.
    std::fs::remove_file(&table).unwrap();
    let output = report(&out).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("is left out"),
        "{told}"
    );
    assert_eq!(metric_names(&out), before[..4]);
}

/// A meter that fails for architectures with more layers than `most`.
#[cfg(unix)]
fn meter(folder: &Path, most: usize) -> String {
    let body = format!(
        r#"read -r greeting
echo '{{"metrics": [{{"name": "energy", "unit": "mJ", "direction": "lower-is-better"}}]}}'
while read -r question; do
    id=${{question##*\"id\":}}; id=${{id%%[!0-9]*}}
    arch=${{question##*\"arch\":\"}}; arch=${{arch%%\"*}}
    layers=$(printf '%s' "$arch" | tr -cd e | wc -c)
    if [ "$layers" -gt {most} ]; then
        echo "{{\"id\": $id, \"failure\": \"too large\"}}"
    else
        echo "{{\"id\": $id, \"values\": {{\"energy\": $((layers * 3))}}}}"
    fi
done
"#
    );
    let script = folder.join(format!("meter{most}.sh"));
    std::fs::write(&script, body).unwrap();
    format!("energy@program:sh {}", script.display())
}

#[cfg(unix)]
#[test]
fn failures_that_go_with_the_architecture_are_refused_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let (most, few) = (meter(folder.path(), 15), meter(folder.path(), 17));
    let run = |name: &str, metric: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let mut command = profile(&out, &["--budget", "80", "--metric", metric]);
        command.args(more);
        (command, out)
    };
    let (mut command, out) = run("most", &most, &[]);
    let error = fails(&mut command);
    for part in [
        "of 80 architectures have no value",
        "too large",
        "--allow-failures",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!out.join("report.json").exists());
    // Nothing is asked again, and the doubt stands above the figures.
    let (mut command, out) = run("most", &most, &["--allow-failures"]);
    let text = ok(&mut command);
    let doubt = text.find("- Doubt: the figures of energy@").unwrap();
    assert!(doubt < text.find("- **Energy").unwrap(), "{text}");
    assert!(text.contains("failures go with"), "{text}");
    assert_eq!(kinds(&out), ["failures-depend"]);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    let told = page.find("Doubt: ").unwrap();
    assert!(told < page.find("id=\"findings\"").unwrap());
    // What few failures can move is small: a doubt is enough.
    let (mut command, out) = run("few", &few, &[]);
    ok(&mut command);
    assert_eq!(kinds(&out).len(), 1, "{:?}", kinds(&out));
}

#[test]
fn most_measurements_failing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    let options = [
        "--engine",
        "mock:error=0.7",
        "--budget",
        "40",
        "--metric",
        "latency",
    ];
    let error = fails(&mut profile(&out, &options));
    assert!(error.contains("no profile of latency"), "{error}");
    let error = fails(&mut report(&out));
    assert!(error.contains("--allow-failures"), "{error}");
    ok(report(&out).arg("--allow-failures"));
    assert!(kinds(&out).contains(&"failures".to_owned()));
}

#[test]
fn doubts_about_both_sides_stand_in_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let options = |engine| ["--engine", engine, "--budget", "40", "--metric", "latency"];
    ok(&mut profile(&a, &options("mock:heavy=1")));
    ok(&mut profile(&b, &options("mock:error=0.2")));
    assert!(
        kinds(&a).contains(&"few-converged".to_owned()),
        "{:?}",
        kinds(&a)
    );
    let page = folder.path().join("diff.html");
    let text = ok(blocklens()
        .arg("diff")
        .args([&a, &b])
        .arg("--output")
        .arg(&page));
    for part in ["Doubt about A: only ", "Doubt about B: "] {
        assert!(text.contains(part), "{text}");
        assert!(std::fs::read_to_string(&page).unwrap().contains(part));
    }
    let json = ok(blocklens()
        .args(["--format", "json", "diff"])
        .args([&a, &b]));
    let value: Value = serde_json::from_str(&json).unwrap();
    assert!(
        value["b"]["doubts"]
            .as_array()
            .is_some_and(|d| !d.is_empty())
    );
}
