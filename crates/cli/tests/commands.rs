//! Every command as a user would type it, right and wrong.

mod common;

use common::{blocklens, fails, ok};

fn run(arguments: &[&str]) -> String {
    ok(blocklens().args(arguments))
}

#[test]
fn spaces_are_listed_shown_and_counted() {
    assert!(run(&["space", "list"]).contains("ofa-mbv3"));
    let table = run(&["space", "show", "ofa-mbv3", "--width", "1.0"]);
    assert!(table.contains("160") && table.contains("e6k7"), "{table}");
    assert!(run(&["space", "show", "--source"]).starts_with("# OFA MobileNetV3"));
    assert!(
        run(&["space", "count"]).contains("21758655492572485851 architectures at each resolution")
    );
    let json: serde_json::Value =
        serde_json::from_str(&run(&["space", "count", "--format", "json"])).unwrap();
    assert_eq!(json["per_resolution"], "21758655492572485851");
}

#[test]
fn architectures_are_drawn_costed_and_exported() {
    let drawn = run(&["arch", "sample", "-n", "3", "--seed", "7"]);
    assert_eq!(drawn.lines().count(), 3);
    assert_eq!(drawn, run(&["arch", "sample", "-n", "3", "--seed", "7"]));
    let first = drawn.lines().next().unwrap();
    let text: serde_json::Value =
        serde_json::from_str(&run(&["arch", "cost", first, "--format", "json"])).unwrap();
    assert!(text["macs"].as_u64().unwrap() > 100_000_000, "{text}");
    let dict = run(&["arch", "sample", "--seed", "7", "--format", "json"]);
    let same: serde_json::Value =
        serde_json::from_str(&run(&["arch", "cost", dict.trim(), "--format", "json"])).unwrap();
    assert_eq!(same, text);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.onnx");
    run(&["arch", "export", first, "-o", file.to_str().unwrap()]);
    let params = text["params"].as_u64().unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() > 3 * params);
}

#[test]
fn wrong_words_get_errors_that_help() {
    let rest = "/e3k3,e3k3".repeat(4);
    let cases: [(&[&str], &str); 9] = [
        (
            &["space", "show", "ofa-mbv4"],
            "the built-in ones are: ofa-mbv3",
        ),
        (&["profile", "--space", "mine"], "the built-in ones are"),
        (&["profile", "--width", "1.1"], "it has: 1, 1.2"),
        (&["profile", "--engine", "tensorrt"], "the engines are"),
        (&["profile", "--engine", "mock:nois=1"], "nois"),
        (
            &["profile", "--resolution", "225"],
            "128 to 224 in steps of 4",
        ),
        (
            &["profile", "--metric", "speed"],
            "there is no metric `speed`",
        ),
        (
            &["profile", "--width", "1.0", "--metric", "accuracy"],
            "width 1.2 only",
        ),
        (
            &["profile", "--estimator", "sampled", "--budget", "100"],
            "at least 360",
        ),
    ];
    for (arguments, needle) in cases {
        let text = fails(blocklens().args(arguments));
        assert!(text.contains(needle), "{arguments:?}: {text}");
    }
    let impossible = format!("r224/e3k3{rest}");
    assert!(fails(blocklens().args(["arch", "cost", &impossible])).contains("unit 1 has depth 1"));
    let malformed = fails(blocklens().args(["arch", "cost", "{\"ks\": [3"]));
    assert!(malformed.contains("line 1"), "{malformed}");
}

#[test]
fn places_that_cannot_be_used_get_errors_that_help() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let profile = |name: &str| {
        let mut command = blocklens();
        command
            .args([
                "profile", "--quiet", "--engine", "mock", "--budget", "15", "--out",
            ])
            .arg(out(name));
        command
    };
    std::fs::write(out("file"), "not a folder").unwrap();
    assert!(fails(&mut profile("file")).contains("choose another folder"));

    std::fs::create_dir(out("corrupt")).unwrap();
    std::fs::write(
        out("corrupt").join("measurements.db"),
        "garbage ".repeat(999),
    )
    .unwrap();
    assert!(fails(&mut profile("corrupt")).contains("not a readable measurement store"));

    assert!(fails(profile("new").arg("--resume")).contains("no campaign to resume"));
    assert!(
        fails(blocklens().args(["report", "--out"]).arg(out("none"))).contains("blocklens profile")
    );

    ok(&mut profile("locked"));
    let lock = std::fs::File::create(out("locked").join("measurements.lock")).unwrap();
    lock.lock().unwrap();
    assert!(fails(profile("locked").arg("--fresh")).contains("another blocklens process"));
}

#[test]
fn a_profile_leaves_files_that_other_tools_read() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "profile",
        "--engine",
        "mock:noise=0.01",
        "--budget",
        "40",
        "--format",
        "json",
        "--out",
    ];
    let printed = ok(blocklens().args(arguments).arg(folder.path()));
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let metrics = json["profile"]["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 3);
    assert!(
        metrics
            .iter()
            .all(|m| m["blocks"].as_array().unwrap().len() == 180)
    );
    assert_eq!(metrics[0]["metric"]["origin"], "simulated");
    assert_eq!(metrics[1]["metric"]["origin"], "surrogate");
    let csv = std::fs::read_to_string(folder.path().join("blocks.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 3 * 180);
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.len() < 1_000_000 && page.to_lowercase().contains("surrogate"));

    // Whatever the report says can be made again from the store.
    let again = ok(blocklens()
        .args(["report", "--format", "json", "--out"])
        .arg(folder.path()));
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["profile"], json["profile"]);
}

#[test]
fn a_space_of_ones_own_is_profiled_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let source = run(&["space", "show", "--source"]);
    let mine = source
        .replace("name = \"ofa-mbv3\"", "name = \"mine\"")
        .replace(
            "\"mbconv3_e{3,4,6}_k{3,5,7}\"",
            "\"mbconv3_e{3,6}_k{3,5,7}\", \"mbconv3_e5_k9\"",
        );
    std::fs::write(&file, &mine).unwrap();
    let name = file.to_str().unwrap();
    assert!(run(&["space", "show", name]).contains("e5k9"));
    let out = folder.path().join("out");
    let arguments = [
        "profile", "--quiet", "--engine", "mock", "--budget", "20", "--space", name, "--out",
    ];
    ok(blocklens().args(arguments).arg(&out));
    let csv = std::fs::read_to_string(out.join("blocks.csv")).unwrap();
    // 20 placements with 7 blocks, latency and MACs: accuracy is not for this space.
    assert_eq!(csv.lines().count(), 1 + 2 * 140);

    std::fs::write(&file, mine.replacen("stride = 2", "strid = 2", 2)).unwrap();
    let text = fails(blocklens().args(["space", "show", name]));
    assert!(
        text.contains("mine.toml:19:") && text.contains("did you mean `stride`"),
        "{text}"
    );
    assert!(fails(blocklens().args(["space", "show", "none.toml"])).contains("none.toml"));
}

#[test]
fn devices_and_completions_answer() {
    let text = run(&["devices"]);
    assert!(
        text.contains("mock") && text.contains("tract") && text.contains("ort"),
        "{text}"
    );
    assert!(run(&["completions", "bash"]).contains("blocklens"));
}
