//! Training-free proxies from the command line.

#![cfg(feature = "tract")]

use std::path::Path;

use crate::common::{blocklens, fails, ok};

const ARCH: &str = "r96/e3k3/e3k3";

fn ghost() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ghost/space.toml");
    path.display().to_string()
}

fn archs(folder: &Path, text: &str) -> String {
    let file = folder.join("archs.txt");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn proxies_are_evaluated_and_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = archs(folder.path(), &format!("{ARCH}\nr96/ghost/ghost\n"));
    let space = ghost();
    let run = |proxy: &str| {
        let mut command = blocklens();
        command.args(["--format", "json", "evaluate", "--space", &space]);
        command.args(["--metric", "naswot,zen,macs", "--proxy", proxy, &file]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (lines, notes) = run("engine=tract,batch=2,seed=3");
    let values: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values.len(), 6, "{lines}");
    for value in &values {
        assert!(value["value"].as_f64().unwrap().is_finite(), "{value}");
        if value["metric"] != "macs" {
            assert_eq!(value["unit"], "proxy score");
        }
    }
    assert_eq!(notes.matches("not an accuracy").count(), 2, "{notes}");
    assert!(notes.contains("tract"), "{notes}");
    assert_eq!(lines, run("engine=tract,batch=2,seed=3").0);
    assert_ne!(lines, run("engine=tract,batch=2,seed=4").0);
}

#[test]
fn a_proxy_is_profiled_without_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut command = blocklens();
    command.args([
        "profile",
        "--space",
        &ghost(),
        "--resolution",
        "96",
        "--quiet",
    ]);
    command.args([
        "--metric",
        "naswot",
        "--budget",
        "24",
        "--proxy",
        "engine=tract,batch=2",
    ]);
    ok(command.arg("--out").arg(&out));
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("a training-free proxy, not an accuracy"));
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["profile"]["metrics"][0]["metric"]["origin"], "proxy");
}

#[test]
fn what_cannot_be_computed_is_refused_with_what_can() {
    let folder = tempfile::tempdir().unwrap();
    let file = archs(folder.path(), ARCH);
    let space = ghost();
    for (metric, proxy, said) in [
        ("naswot", "engine=mock", "Engines that can compute here: "),
        ("zen", "engine=onnx", "the engines are tract, ort, mock"),
        ("zen", "bacth=3", "engine, batch, repeats and seed"),
        ("naswot", "batch=1", "from 2 to 1024"),
        ("naswto", "", "naswot and zen"),
    ] {
        let mut command = blocklens();
        command.args(["evaluate", "--space", &space, "--metric", metric]);
        let error = fails(command.args(["--proxy", proxy, &file]));
        assert!(error.contains(said), "{proxy}: {error}");
    }
}
