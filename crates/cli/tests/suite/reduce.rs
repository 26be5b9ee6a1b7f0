//! Reducing spaces as a user does: from a profile to a space file that every command takes, and once more from there.

use std::path::{Path, PathBuf};

use crate::common::{blocklens, fails, ok};
use serde_json::Value;

const GHOST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/ghost/space.toml"
);

fn profile(out: &Path, more: &[&str]) {
    let arguments = [
        "profile",
        "--quiet",
        "--budget",
        "60",
        "--engine",
        "mock:noise=0.01",
    ];
    ok(blocklens().args(arguments).args(more).arg("--out").arg(out));
}

fn reduce(profile: &Path, out: &Path) -> std::process::Command {
    let mut command = blocklens();
    command.args(["--format", "json", "reduce"]);
    command.arg(profile).arg("--out").arg(out);
    command
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn size(reduction: &Value, which: &str) -> f64 {
    reduction["size"][which].as_str().unwrap().parse().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_profile_becomes_a_smaller_space_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    profile(&at("first"), &[]);
    let reduction = json(&ok(&mut reduce(&at("first"), &at("less"))));
    assert!(size(&reduction, "after") < 0.1 * size(&reduction, "before"));
    let names: Vec<&str> = reduction["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["metric"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["accuracy", "latency"]);
    for insight in reduction["insights"].as_array().unwrap() {
        assert!(insight["text"].as_str().unwrap().contains("Taken away: "));
        assert!(insight["p"].as_f64().unwrap() < 0.05);
        assert_eq!(insight["evidence"].as_array().unwrap().len(), 2);
    }
    assert_eq!(reduction["known_front"]["evaluated"], 60);
    let stored = std::fs::read_to_string(at("less/reduction.json")).unwrap();
    assert_eq!(json(&stored), reduction);
    let page = std::fs::read_to_string(at("less/reduction.md")).unwrap();
    assert!(page.contains("## What is left"), "{page}");

    let space = at("less/space.toml");
    let shown = json(&ok(blocklens().args([
        "--format",
        "json",
        "space",
        "show",
        path(&space),
    ])));
    assert_eq!(shown["name"], "ofa-mbv3-reduced");
    // Searching takes the file, and what it evaluated is known to a later reduction.
    let found = at("found");
    ok(blocklens()
        .args([
            "search",
            "--quiet",
            "--budget",
            "150",
            "--metric",
            "accuracy,macs",
        ])
        .args(["--space", path(&space), "--out", path(&found)]));
    let with = ["--metric", "accuracy,macs", "--known", path(&found)];
    let again = json(&ok(reduce(&at("first"), &at("macs")).args(with)));
    assert_eq!(again["known_front"]["evaluated"], 210);
    // The next round profiles what is left.
    profile(&at("second"), &["--space", path(&space)]);
    let error = fails(&mut reduce(&at("second"), &at("least")));
    assert!(error.contains("give its file with --space"), "{error}");
    let second = reduce(&at("second"), &at("least"))
        .args(["--space", path(&space)])
        .output();
    let second = json(&String::from_utf8(second.unwrap().stdout).unwrap());
    assert_eq!(size(&second, "before"), size(&reduction, "after"));
    assert!(size(&second, "after") <= size(&second, "before"));
    ok(blocklens().args(["space", "count", path(&at("least/space.toml"))]));
}

#[test]
fn profiles_of_several_resolutions_are_reduced_together() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    for resolution in ["160", "192", "224"] {
        profile(&at(resolution), &["--resolution", resolution]);
    }
    let both = |small: &str, out: &str| {
        let mut command = reduce(&at(small), &at(out));
        command.arg(at("224"));
        command
    };
    let reduction = json(&ok(both("192", "less").arg(at("160"))));
    assert_eq!(reduction["resolutions"], serde_json::json!([160, 192, 224]));
    let left = &reduction["resolutions_left"];
    let gone = |insight: &&Value| insight["removes"].get("resolution").is_some();
    let gone = reduction["insights"]
        .as_array()
        .unwrap()
        .iter()
        .filter(gone);
    assert_eq!(gone.count() + left.as_array().unwrap().len(), 3);
    // Networks of every resolution are known.
    assert_eq!(reduction["known_front"]["evaluated"], 180);
    let space = at("less/space.toml");
    let shown = ["--format", "json", "space", "show", path(&space)];
    let shown = json(&ok(blocklens().args(shown)));
    assert_eq!(&shown["resolutions"], left);
    // For accuracy alone only the largest counts.
    let alone = json(&ok(both("160", "best").args(["--goal", "max-accuracy"])));
    assert_eq!(alone["resolutions_left"], serde_json::json!([224]));
    let text = std::fs::read_to_string(at("best/reduction.md")).unwrap();
    assert!(text.contains("- At 160 pixels, the best network"), "{text}");
    let error = fails(both("160", "none").args(["--metric", "accuracy,energy"]));
    assert!(
        error.contains("latency") && error.contains("at 160 pixels"),
        "{error}"
    );
    profile(&at("other"), &["--resolution", "208", "--metric", "macs"]);
    let error = fails(&mut both("other", "none"));
    assert!(
        error.contains("the same metrics must decide at each"),
        "{error}"
    );
    assert!(!at("none").exists());
}

/// Nothing is timed: the values are in the profile's folder.
#[test]
fn values_of_a_profile_without_a_device_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let (first, out) = (folder.path().join("first"), folder.path().join("out"));
    profile(&first, &[]);
    let model = format!("latency@model:{}", path(&first.join("model.json")));
    let computed = folder.path().join("computed");
    let metrics = format!("accuracy,{model}");
    ok(blocklens()
        .args([
            "profile", "--quiet", "--budget", "300", "--metric", &metrics,
        ])
        .args(["--out", path(&computed)]));
    let reduction = json(&ok(
        reduce(&computed, &out).args(["--goal", "max-latency=40ms"])
    ));
    assert_eq!(reduction["known_front"]["evaluated"], 300);
    assert_eq!(reduction["goal"], "max-latency=40");
    let alone = json(&ok(reduce(&computed, &out).args(["--goal", "max-accuracy"])));
    assert_eq!(alone["metrics"].as_array().unwrap().len(), 1);
}

/// Blocks of the user's own come along.
#[test]
fn a_space_with_files_is_written_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let (first, out) = (folder.path().join("first"), folder.path().join("out"));
    profile(&first, &["--space", GHOST, "--metric", "macs,params"]);
    let text = ok(reduce(&first, &out).args(["--space", GHOST, "--metric", "latency,params"]));
    assert!(json(&text)["metrics"].as_array().unwrap().len() == 2);
    ok(blocklens().args(["space", "show", path(&out.join("space.toml"))]));
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let out = folder.path().join("out");
    let error = fails(&mut reduce(folder.path(), &out));
    assert!(error.contains("holds no report.json"), "{error}");
    profile(&first, &[]);
    for (arguments, why) in [
        (["--goal", "fast"], "none of pareto, max-accuracy"),
        (["--goal", "max-latency=0.001"], "no network keeps latency"),
        (["--metric", "energy"], "have a metric `energy`"),
        (["--level", "2"], "--level needs a probability"),
        (["--width", "1.0"], "is about another space"),
        (["--known", "nowhere.jsonl"], "cannot read the evaluations"),
    ] {
        let error = fails(reduce(&first, &out).args(arguments));
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
    assert!(!out.exists());
}
