//! Comparing searches as a user does: arms, interruptions, and what goes wrong.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{blocklens, fails, ok};
use serde_json::Value;

const SMALL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../core/tests/spaces/small.toml"
);

fn compare(out: &Path) -> Command {
    let mut command = blocklens();
    command.args(["--format", "json", "compare", "--quiet", "--out"]);
    command.arg(out);
    command
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// OFA-MobileNetV3 without 5x5 kernels.
fn reduced(folder: &Path) -> String {
    changed(folder, "no-5x5", "{3,7}")
}

/// OFA-MobileNetV3 with other kernels.
fn changed(folder: &Path, name: &str, kernels: &str) -> String {
    let whole = ok(blocklens().args(["space", "show", "ofa-mbv3", "--source"]));
    let text = whole
        .replace("{3,5,7}", kernels)
        .replace("name = \"ofa-mbv3\"", &format!("name = \"{name}\""));
    assert_ne!(text, whole);
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_comparison_judges_algorithms_and_reductions() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let part = reduced(folder.path());
    let contest = json(&ok(compare(&out)
        .args([
            "--reduced",
            &part,
            "--random-reductions",
            "2",
            "--seeds",
            "4",
        ])
        .args(["--algorithms", "random,nsga2", "--budgets", "50,200"])
        .args(["--reference", "accuracy=74,macs=600"])));
    let arms = contest["arms"].as_array().unwrap();
    assert_eq!(arms.len(), 6);
    for arm in arms {
        assert_eq!(arm["seeds"], serde_json::json!([1, 2, 3, 4]), "{arm}");
        let standings = arm["standings"].as_array().unwrap();
        let volumes = |at: usize| standings[at]["hypervolumes"].as_array().unwrap().clone();
        for (early, late) in volumes(0).iter().zip(&volumes(1)) {
            assert!(early.as_f64().unwrap() <= late.as_f64().unwrap());
        }
    }
    // Algorithms in each of three spaces, and three pairs of spaces for each algorithm; two budgets.
    assert_eq!(contest["tests"].as_array().unwrap().len(), 2 * (3 + 6));
    // What is on the front can be exported, and has the values that are told.
    let best = &contest["best_front"].as_array().unwrap()[0];
    let cost = json(&ok(blocklens()
        .args(["--format", "json", "arch", "cost"])
        .arg(best["arch"].as_str().unwrap())));
    let macs = cost["macs"].as_f64().unwrap() / 1e6;
    assert!(
        (macs - best["values"][1].as_f64().unwrap()).abs() < 1e-6,
        "{cost}"
    );
    // Every random part is a space file that leaves as much open as the reduced space.
    let count = |space: &str| ok(blocklens().args(["space", "count", space]));
    let random = |number| out.join(format!("random/no-5x5-random-{number}.toml"));
    let first_line = |text: String| {
        text.lines()
            .next()
            .unwrap()
            .rsplit(':')
            .next()
            .map(str::to_owned)
    };
    assert_eq!(
        first_line(count(&random(1).display().to_string())),
        first_line(count(&part))
    );
    assert_ne!(read(&random(1)), read(&random(2)));
    assert_eq!(
        read(&out.join("comparison.csv")).lines().count(),
        1 + 6 * 4 * 2
    );
    assert!(read(&out.join("comparison.html")).contains("random like no-5x5"));
}

/// What does not depend on when and how often the command was run.
fn results(out: &Path) -> Value {
    let mut document = json(&read(&out.join("comparison.json")));
    for key in ["command", "created"] {
        document["comparison"].as_object_mut().unwrap().remove(key);
    }
    document
}

#[test]
fn a_killed_comparison_goes_on_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--algorithms",
        "random,guided",
        "--budgets",
        "60,100",
        "--threads",
        "2",
    ];
    let compare = |out: &Path, seeds: &str| {
        let mut command = compare(out);
        command.args(args).args(["--seeds", seeds]);
        command
    };
    let whole = folder.path().join("whole");
    ok(&mut compare(&whole, "4"));
    let out = folder.path().join("killed");
    let log = out.join("runs.jsonl");
    let lines = |log: &Path| {
        std::fs::read_to_string(log)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let mut child = compare(&out, "4")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while lines(&log) < 2 && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = lines(&log);
    assert!(finished >= 2, "{finished}");
    // A kill in the middle of a line.
    let text = read(&log);
    std::fs::write(&log, format!("{text}{{\"algorithm\":\"ran")).unwrap();
    ok(&mut compare(&out, "4"));
    assert_eq!(results(&out), results(&whole));
    assert_eq!(lines(&log), 8);
    // Another seed is added, and nothing is searched again.
    let before = read(&log);
    ok(&mut compare(&out, "5"));
    assert!(read(&log).starts_with(&before));
}

#[test]
fn a_space_smaller_than_the_budget_is_compared_too() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("small");
    let contest = json(&ok(compare(&out)
        .args(["--space", SMALL, "--metric", "params,macs", "--seeds", "3"])
        .args([
            "--algorithms",
            "random,mutation,evolution,nsga2,local,bananas,guided",
        ])
        .args(["--budgets", "10,500"])));
    let best = contest["best_hypervolume"].as_f64().unwrap();
    for arm in contest["arms"].as_array().unwrap() {
        for volume in arm["standings"][1]["hypervolumes"].as_array().unwrap() {
            assert_eq!(volume.as_f64().unwrap(), best, "{arm}");
        }
    }
    for line in read(&out.join("runs.jsonl")).lines() {
        assert_eq!(json(line)["snapshots"][1]["evaluated"], 36);
    }
}

#[test]
fn what_goes_wrong_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let part = reduced(folder.path());
    let other = changed(folder.path(), "nine", "{3,9}");
    let error = |args: &[&str]| fails(compare(&out).args(args));
    for (args, expected) in [
        (
            &["--budgets", "300,100"][..],
            "--budgets must ascend, each once",
        ),
        (
            &["--algorithms", "random,random"],
            "--algorithms names one twice",
        ),
        (
            &["--algorithms", "nsga3"],
            "there is no search algorithm `nsga3`",
        ),
        (&["--algorithms", "top-k"], "`top-k` improves one metric"),
        (
            &["--random-reductions", "3"],
            "--random-reductions needs --reduced",
        ),
        (
            &["--reduced", &part, "--random-reductions", "30"],
            "--random-reductions 30 are more than --seeds 20",
        ),
        (&["--reduced", SMALL], "small.toml"),
        (&["--reduced", SMALL], "has no width 1.2"),
        (&["--reduced", &other], "is no part of ofa-mbv3"),
        (
            &["--reduced", &part, "--reduced", &part],
            "another one is called no-5x5 too",
        ),
        (
            &["--metric", "accuracy", "--max", "macs=10"],
            "no architecture has macs of at most 10 MMACs: the least that a directed search reached is",
        ),
        (&["--reference", "accuracy=70"], "--reference lacks macs"),
    ] {
        let text = error(args);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
    let short = ["--algorithms", "random", "--seeds", "2"];
    ok(compare(&out).args(short).args(["--budgets", "10"]));
    let text = error(&["--algorithms", "random", "--seeds", "2", "--budgets", "20"]);
    assert!(text.contains("the list of budgets is [10] there and [20] here; give another folder with --out, or begin \
        again with --fresh"), "{text}");
    ok(compare(&out)
        .args(short)
        .args(["--budgets", "20", "--fresh"]));
    let log = out.join("runs.jsonl");
    std::fs::write(&log, read(&log).replacen("algorithm", "algorihtm", 1)).unwrap();
    let text = error(&["--algorithms", "random", "--seeds", "2", "--budgets", "20"]);
    assert!(
        text.contains("runs.jsonl, line 1: missing field `algorithm`"),
        "{text}"
    );
}
