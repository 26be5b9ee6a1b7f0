//! The accuracy of a supernet's subnets on images, as a user asks for it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{blocklens, fails};
use serde_json::Value;

fn crates() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn images() -> PathBuf {
    crates().join("measure/tests/golden/images")
}

fn checkpoint() -> PathBuf {
    crates().join("core/tests/golden/supernets/mbv3.pth")
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(images().join("images.json")).unwrap()).unwrap()
}

/// The golden subnets, one a line.
fn archs() -> String {
    let golden = golden();
    let subnets = golden["subnets"].as_array().unwrap().iter();
    subnets
        .map(|subnet| format!("{}\n", subnet["arch"]))
        .collect()
}

fn evaluate(metrics: &str, folder: &Path) -> Command {
    let mut command = blocklens();
    command
        .args([
            "--format",
            "json",
            "evaluate",
            "--image-cache",
            "off",
            "--space",
        ])
        .arg(checkpoint().with_extension("toml"))
        .arg("--metric")
        .arg(metrics)
        .arg("--images")
        .arg(folder);
    command
}

/// Runs a command with lines on its standard input; `None`, with a word, where nothing can compute networks here.
fn run(command: &mut Command, input: &str) -> Option<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read anything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("no engine computes networks here") {
        println!("skipping: no engine that computes is compiled in and found here");
        return None;
    }
    Some(output)
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn subnets_are_evaluated_and_a_file_goes_on() {
    let golden = golden();
    let source = checkpoint().display().to_string();
    let metrics = format!("accuracy@{source},top5@{source}");
    let output = tempfile::tempdir().unwrap();
    let file = output.path().join("values.jsonl");
    let ask = |split: &str, input: &str| {
        let mut command = evaluate(&metrics, &images().join("folder"));
        command.args([
            "--split",
            split,
            "--calibrate",
            "7",
            "--calibration-batch",
            "4",
        ]);
        run(command.arg("--output").arg(&file), input)
    };
    let first = archs()
        .lines()
        .next()
        .map(|line| format!("{line}\n"))
        .unwrap();
    let Some(done) = ask("test", &first) else {
        return;
    };
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(
        text(&done.stderr).contains("7 other images"),
        "{}",
        text(&done.stderr)
    );
    let done = ask("test", &archs()).unwrap();
    assert!(
        text(&done.stderr)
            .contains("1 architectures had all their values already; 3 were evaluated")
    );
    let rows = lines(&std::fs::read(&file).unwrap());
    let subnets = golden["subnets"].as_array().unwrap();
    let count = golden["testing"].as_array().unwrap().len() as f64;
    assert_eq!(rows.len(), 2 * subnets.len());
    for (pair, subnet) in rows.chunks(2).zip(subnets) {
        for (row, key) in pair.iter().zip(["top1", "top5"]) {
            let expected = 100.0 * subnet["total"][key].as_f64().unwrap() / count;
            assert_eq!(row["value"].as_f64(), Some(expected), "{row}");
            assert!(
                row["metric"].as_str().unwrap().contains("@mbv3.pth#test-"),
                "{row}"
            );
        }
    }
    // Other images are another metric: nothing is taken for known.
    let done = ask("select", &first).unwrap();
    assert!(done.status.success() && !text(&done.stderr).contains("already"));
    assert_eq!(lines(&std::fs::read(&file).unwrap()).len(), rows.len() + 2);
}

#[test]
fn broken_images_give_lines_without_values_or_a_note() {
    let folder = tempfile::tempdir().unwrap();
    for class in 0..10 {
        let name = format!("class{class:02}");
        let to = folder.path().join(&name);
        std::fs::create_dir(&to).unwrap();
        for file in ["0.jpg", "3.png"] {
            std::fs::copy(
                images().join("folder").join(&name).join(file),
                to.join(file),
            )
            .unwrap();
        }
    }
    std::fs::write(
        folder.path().join("class04/3.png"),
        b"\x89PNG\r\n\x1a\n cut",
    )
    .unwrap();
    let metric = format!("accuracy@{}", checkpoint().display());
    let ask = |more: &[&str]| {
        let mut command = evaluate(&metric, folder.path());
        command
            .args(["--split", "all", "--calibrate", "0"])
            .args(more);
        run(&mut command, &archs())
    };
    let Some(done) = ask(&[]) else { return };
    assert!(done.status.success());
    for row in lines(&done.stdout) {
        assert!(
            row["value"].is_null() && row["failure"] == "engine",
            "{row}"
        );
        assert!(
            row["message"].as_str().unwrap().contains("class04/3.png"),
            "{row}"
        );
    }
    assert!(text(&done.stderr).contains("no value for 4 of 4 architectures"));
    let done = ask(&["--skip-broken"]).unwrap();
    assert!(lines(&done.stdout).iter().all(|row| row["value"].is_f64()));
    let said = text(&done.stderr);
    assert!(
        said.contains("1 of 20 images") && said.contains("left out"),
        "{said}"
    );
}

#[test]
fn what_is_missing_is_said() {
    let metric = format!("accuracy@{}", checkpoint().display());
    let mut command = blocklens();
    command
        .args(["evaluate", "--space"])
        .arg(checkpoint().with_extension("toml"));
    let said = fails(command.args(["--metric", &metric]).stdin(Stdio::null()));
    assert!(said.contains("--images FOLDER"), "{said}");
    let said = fails(evaluate(&metric, &images().join("nowhere")).stdin(Stdio::null()));
    let nothing_runs = said.contains("no engine computes");
    assert!(
        nothing_runs || said.contains("cannot read the images"),
        "{said}"
    );
    let said = fails(evaluate(&metric, &images().join("odd")).stdin(Stdio::null()));
    assert!(
        nothing_runs || said.contains("one folder for every class"),
        "{said}"
    );
    let evil = crates().join("core/tests/golden/checkpoints/refused-evil.pth");
    let metric = format!("accuracy@{}", evil.display());
    let said = fails(evaluate(&metric, &images().join("folder")).stdin(Stdio::null()));
    assert!(said.contains("would run code"), "{said}");
}
