//! Every command as a user would type it, right and wrong.

use crate::common::{blocklens, fails, ok};

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
    assert!(run(&["space", "show", name]).contains("mbconv3_e5_k9"));
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
        text.contains("mine.toml:16:") && text.contains("did you mean `stride`"),
        "{text}"
    );
    assert!(fails(blocklens().args(["space", "show", "none.toml"])).contains("none.toml"));
}

/// The repository's example: ten lines and an ONNX file.
fn ghost_space() -> String {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ghost/space.toml");
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_block_of_ones_own_is_profiled_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let space = ghost_space();
    assert!(std::fs::read_to_string(&space).unwrap().lines().count() <= 10);
    let arguments = [
        "profile", "--quiet", "--engine", "mock", "--budget", "30", "--space", &space, "--out",
    ];
    ok(blocklens().args(arguments).arg(folder.path()));
    let csv = std::fs::read_to_string(folder.path().join("blocks.csv")).unwrap();
    // Five layers, five candidates; latency and MACs.
    assert_eq!(csv.lines().count(), 1 + 2 * 25);
    assert_eq!(csv.matches(",ghost,,,").count(), 10);
    // The report is made from the store alone: the ONNX file is in it.
    ok(blocklens().args(["report", "--out"]).arg(folder.path()));
    let arch = "r128/ghost,e3k5/ghost";
    let model = folder.path().join("model.onnx");
    run(&[
        "arch",
        "export",
        "--space",
        &space,
        arch,
        "-o",
        model.to_str().unwrap(),
    ]);
    assert!(std::fs::metadata(&model).unwrap().len() > 100_000);
    let tflite = folder.path().join("model.tflite");
    let text = fails(
        blocklens()
            .args(["arch", "export", "--space", &space, arch, "-o"])
            .arg(&tflite),
    );
    assert!(
        text.contains("block of your own") && text.contains("ONNX"),
        "{text}"
    );

    // A file that is not there, and one that is no block.
    let broken = folder.path().join("broken.toml");
    std::fs::copy(&space, &broken).unwrap();
    let broken_name = broken.to_str().unwrap();
    assert!(fails(blocklens().args(["space", "show", broken_name])).contains("ghost.onnx"));
    std::fs::write(folder.path().join("ghost.onnx"), b"not ONNX").unwrap();
    let text = fails(blocklens().args(["space", "show", broken_name]));
    assert!(text.contains("broken.toml:6: block `ghost`"), "{text}");
}

#[test]
fn subnets_travel_to_the_ofa_package_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let golden =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/supernets");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (space, weights) in [
        ("mbv3", "mbv3.pth"),
        ("proxyless", "proxyless.pth"),
        ("resnet", "resnet.safetensors"),
    ] {
        let file = golden.join(format!("{space}.toml"));
        let file = file.to_str().unwrap();
        let arch = run(&["arch", "sample", "--space", file]);
        let (arch, config) = (arch.trim(), path("net.json"));
        run(&["arch", "export", "--space", file, arch, "-o", &config]);
        assert_eq!(
            run(&["arch", "import", "--space", file, &config]).trim(),
            arch
        );
        let weights = golden.join(weights);
        for (name, options) in [
            ("a.onnx", vec![]),
            ("a.tflite", vec![]),
            ("b.tflite", vec!["--int8"]),
        ] {
            let output = path(name);
            let mut arguments = vec!["arch", "export", "--space", file, arch, "-o", &output];
            arguments.extend(["--weights", weights.to_str().unwrap()]);
            arguments.extend(options);
            assert!(run(&arguments).contains("weights of"));
        }
        let (float, integer) = (
            std::fs::metadata(path("a.tflite")),
            std::fs::metadata(path("b.tflite")),
        );
        assert!(integer.unwrap().len() < float.unwrap().len());
    }
    let wrong = |arguments: &[&str]| fails(blocklens().args(["arch", "export"]).args(arguments));
    let arch = run(&["arch", "sample"]);
    let arch = arch.trim();
    assert!(wrong(&[arch, "-o", "model.txt"]).contains(".tflite"));
    assert!(wrong(&[arch, "-o", "model.onnx", "--int8"]).contains(".tflite"));
    let notes = path("notes.pth");
    std::fs::write(&notes, b"hello").unwrap();
    let text = wrong(&[arch, "-o", &path("x.onnx"), "--weights", &notes]);
    assert!(text.contains("neither a PyTorch file"), "{text}");
    let evil = golden.join("../checkpoints/refused-evil.pth");
    let text = wrong(&[
        arch,
        "-o",
        &path("x.onnx"),
        "--weights",
        evil.to_str().unwrap(),
    ]);
    assert!(text.contains("posix.system"), "{text}");
    assert!(fails(blocklens().args(["arch", "import", &notes])).contains("net.config"));
}

#[test]
fn all_three_published_spaces_are_profiled() {
    let folder = tempfile::tempdir().unwrap();
    for (space, effects) in [("ofa-proxyless", 189), ("ofa-resnet50", 54)] {
        let out = folder.path().join(space);
        let arguments = [
            "profile", "--quiet", "--engine", "mock", "--budget", "45", "--space", space, "--out",
        ];
        ok(blocklens().args(arguments).arg(&out));
        let csv = std::fs::read_to_string(out.join("blocks.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1 + 2 * effects);
        let report = std::fs::read_to_string(out.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let widths = report["profile"]["metrics"][0]["widths"]
            .as_array()
            .unwrap();
        assert_eq!(
            widths.len(),
            if space == "ofa-resnet50" {
                2 + 3 + 4 * 3
            } else {
                0
            }
        );
    }
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
