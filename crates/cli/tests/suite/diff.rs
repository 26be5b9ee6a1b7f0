//! Comparing profiles as a user does.

use std::path::Path;

use crate::common::{blocklens, fails, ok};

fn profile(out: &Path, engine: &str, seed: &str) {
    let arguments = [
        "profile", "--quiet", "--budget", "60", "--metric", "macs", "--seed", seed,
    ];
    ok(blocklens()
        .args(arguments)
        .args(["--engine", engine, "--out"])
        .arg(out));
}

fn diff(a: &Path, b: &Path) -> std::process::Command {
    let mut command = blocklens();
    command.arg("diff").arg(a).arg(b);
    command
}

#[test]
fn two_campaigns_of_one_device_do_not_differ() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    profile(&a, "mock:noise=0.02", "1");
    profile(&b, "mock:noise=0.02", "2");
    let text = ok(&mut diff(&a, &b));
    assert!(
        text.contains("## Latency") && !text.contains("## MACs"),
        "{text}"
    );
    assert!(
        text.contains("None of ") && text.contains("correlate with "),
        "{text}"
    );

    let page = folder.path().join("diff.html");
    let json = ok(diff(&a.join("report.json"), &b)
        .args(["--format", "json", "--output"])
        .arg(&page));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let changes = value["metrics"][0]["changes"].as_array().unwrap();
    assert!(changes.len() > 180 && changes.iter().all(|c| c["absolute"]["sure"] == false));
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .starts_with("<!DOCTYPE html>")
    );

    // Counted metrics are equal whatever was drawn.
    let text = ok(diff(&a, &b).args(["--metric", "macs", "--control", "by"]));
    assert!(
        text.contains("Yekutieli") && text.contains("## MACs"),
        "{text}"
    );
}

#[test]
fn conditions_that_were_not_the_same_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let profile = |out: &Path, options: &[&str]| {
        ok(blocklens()
            .args(["profile", "--quiet", "--budget", "24", "--metric", "macs"])
            .args(["--engine", "mock", "--out"])
            .arg(out)
            .args(options));
    };
    profile(&a, &[]);
    profile(&b, &["--pairing", "on", "--estimator", "pooled"]);
    let page = folder.path().join("diff.html");
    let text = ok(diff(&a, &b).arg("--output").arg(&page));
    let page = std::fs::read_to_string(&page).unwrap();
    for line in [
        "Not the same timing: alone in A, in turn with a reference network in B.",
        "Not the same statistic: ",
        "Not the same estimator of latency: designed in A, pooled in B.",
    ] {
        assert!(text.contains(line) && page.contains(line), "{text}");
    }
    assert_eq!(text.matches("Not the same").count(), 3, "{text}");
    assert!(!ok(&mut diff(&a, &a)).contains("Not the same"));
}

/// What is estimated is told apart on the page and beside what is not.
#[test]
fn what_is_estimated_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    profile(&a, "mock:noise=0.01", "1");
    let text = std::fs::read_to_string(a.join("report.json")).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document.as_object_mut().unwrap().remove("digest");
    let text = document
        .to_string()
        .replace("\"simulated\"", "\"estimated\"");
    std::fs::create_dir(&b).unwrap();
    std::fs::write(b.join("report.json"), &text).unwrap();
    let said = ok(&mut diff(&a, &b));
    assert!(
        said.contains("Not the same origin of latency: simulated in A, estimated in B"),
        "{said}"
    );
    let report: blocklens_core::report::Report =
        blocklens_core::sealed::from_json(text.as_bytes()).unwrap();
    let page = blocklens_core::report::render_html(&report);
    assert!(page.contains("estimated, not a measurement"));
    assert!(!page.contains("simulated, not a measurement"));
    let summary = blocklens_core::report::summary_markdown(&report);
    assert!(
        summary.contains("Estimated with")
            && summary.contains("(estimated \u{2013} not a measurement)")
    );
}

#[test]
fn mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let a = folder.path().join("a");
    profile(&a, "mock:noise=0.02", "1");
    let says = |command: &mut std::process::Command, words: &str| {
        let text = fails(command);
        assert!(text.contains(words), "{text}");
    };
    says(&mut diff(&a, folder.path()), "holds no report.json");
    says(
        &mut diff(&a, &folder.path().join("nothing.json")),
        "cannot read the report",
    );
    says(
        diff(&a, &a).args(["--metric", "energy"]),
        "has no metric `energy`; it has latency, macs",
    );
    says(
        diff(&a, &a).args(["--output", "diff.pdf"]),
        "must be .html, .md or .json",
    );
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "{\"hello\": 1}").unwrap();
    says(&mut diff(&broken, &a), "is not a report of blocklens");
    std::fs::write(&broken, "{\"format\": 99}").unwrap();
    says(&mut diff(&broken, &a), "has format 99");
    let other = folder.path().join("other");
    let arguments = [
        "profile",
        "--quiet",
        "--budget",
        "60",
        "--metric",
        "macs",
        "--resolution",
        "160",
    ];
    ok(blocklens()
        .args(arguments)
        .args(["--engine", "mock", "--out"])
        .arg(&other));
    says(
        &mut diff(&a, &other),
        "differ in their resolution: 224 and 160",
    );
    ok(diff(&a, &other).arg("--common"));
}
