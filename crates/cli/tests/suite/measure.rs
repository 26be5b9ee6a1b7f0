//! `blocklens measure`: networks on devices, side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{blocklens, fails, ok};

const SMALL: &str = "r128/e3k3,e3k3/e3k3,e3k3/e3k3,e3k3/e3k3,e3k3/e3k3,e3k3";
const LARGE: &str = "r128/e6k7,e6k7/e6k7,e6k7/e6k7,e6k7/e6k7,e6k7/e6k7,e6k7";

fn measure(arguments: &[&str]) -> Command {
    let mut command = blocklens();
    command.args(["measure", "--quiet"]).args(arguments);
    command
}

fn json(arguments: &[&str]) -> Value {
    let text = ok(measure(arguments).args(["--format", "json"]));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The networks as files, exported once for a test.
fn exported(folder: &Path, ending: &str) -> [PathBuf; 2] {
    [("small", SMALL), ("large", LARGE)].map(|(name, arch)| {
        let file = folder.join(format!("{name}.{ending}"));
        ok(blocklens()
            .args(["arch", "export", arch, "--output"])
            .arg(&file));
        file
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn relative(report: &Value, entry: usize) -> &Value {
    &report["entries"][entry]["relative"]
}

#[test]
fn the_faster_of_two_architectures_is_told_by_how_much() {
    let report = json(&[SMALL, LARGE, "--device", "mock:noise=0.01"]);
    let told = relative(&report, 1);
    let truth = true_ratio();
    let (low, high) = (
        told["low"].as_f64().unwrap(),
        told["high"].as_f64().unwrap(),
    );
    assert!(low < truth && truth < high, "{truth}: {told}");
    assert_eq!(
        (&told["verdict"], &report["ended"]),
        (&"slower".into(), &"precise".into())
    );
    assert!(relative(&report, 0).is_null());
    assert!((high / low).sqrt() < 1.021);
    let answer = report["answer"][0].as_str().unwrap();
    assert!(
        answer.starts_with("arch-1 is ") && answer.contains(" times as fast as arch-2"),
        "{answer}"
    );
    assert!(
        answer.contains("mock:noise=0.01 (simulated)") || answer.contains("mock (simulated)"),
        "{answer}"
    );
    let doubts = report["doubts"].to_string();
    assert!(doubts.contains("not-measured"), "{doubts}");
    // Raw samples of the trial and of every round, and nothing twice.
    let rounds = report["rounds"].as_u64().unwrap();
    let sessions = report["entries"][1]["sessions"].as_array().unwrap();
    assert_eq!(sessions.len() as u64, rounds + 1);
    assert!(sessions[1]["samples"].as_array().unwrap().len() >= 15);
    assert_eq!(
        report["entries"][0]["sessions"].as_array().unwrap().len(),
        1
    );
    let again = json(&[SMALL, LARGE, "--device", "mock:noise=0.01"]);
    assert_eq!(again["entries"][1]["relative"], *told, "the same seed");
}

/// Of the simulated device, without noise.
fn true_ratio() -> f64 {
    let report = json(&[SMALL, LARGE, "--device", "mock:noise=0"]);
    relative(&report, 1)["ratio"].as_f64().unwrap()
}

#[test]
fn what_is_the_same_is_told_to_be_no_different() {
    let report = json(&[SMALL, SMALL, "--device", "mock:noise=0.01", "--seed", "3"]);
    assert_eq!(report["networks"][1]["name"], "arch-2");
    assert_ne!(relative(&report, 0)["verdict"], "slower");
    assert_ne!(relative(&report, 1)["verdict"], "slower");
    let one = if relative(&report, 0).is_null() { 1 } else { 0 };
    let ratio = relative(&report, one)["ratio"].as_f64().unwrap();
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
    let device = ["--device", "mock:noise=0.01", "--device", "mock:noise=0.01"];
    let report = json(&[&[SMALL][..], &device[..]].concat());
    assert_eq!(report["devices"][1]["name"], "mock:noise=0.01 (2)");
    let answer = report["answer"][0].as_str().unwrap();
    assert!(answer.contains("mock:noise=0.01 (2)"), "{answer}");
}

#[test]
fn failures_are_one_entrys_and_never_a_number() {
    let arguments = [
        SMALL,
        "--device",
        "mock:noise=0.01",
        "--device",
        "mock:nan=1",
        "--rounds",
        "3",
    ];
    let output = measure(&arguments)
        .args(["--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["entries"][1]["failure"]["kind"], "not-finite");
    assert!(report["entries"][1]["ms"].is_null());
    assert!(report["entries"][0]["ms"].as_f64().unwrap() > 0.0);
    for (how, kind) in [
        ("crash", "crash"),
        ("oom", "out-of-memory"),
        ("error", "engine"),
    ] {
        let device = format!("mock:{how}=1");
        let output = measure(&[SMALL, "--device", &device])
            .args(["--format", "json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{how}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["entries"][0]["failure"]["kind"], kind);
        assert_eq!(report["ended"], "nothing-works");
    }
    let hang = [
        "--device",
        "mock:hang=1",
        "--time-limit",
        "1",
        "--sampling-time",
        "1",
    ];
    let output = measure(&[&[SMALL][..], &hang].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("no result within 1 s") && said.contains("Nothing gave a time"),
        "{said}"
    );
}

/// A crash that only happens now and then, in a process with two networks in it: the one that crashes is told.
#[test]
fn a_crash_in_turn_is_no_crash_of_the_other() {
    let arguments = [
        SMALL,
        "--device",
        "mock:noise=0.01",
        "--device",
        "mock:noise=0.01,crash=0.3",
        "--rounds",
        "12",
        "--precision",
        "0.01%",
    ];
    let output = measure(&arguments)
        .args(["--format", "json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        report["entries"][0]["failure"].is_null(),
        "{}",
        report["entries"][0]["failure"]
    );
    assert_eq!(report["entries"][1]["failure"]["kind"], "crash");
    assert!(report["entries"][0]["ms"].as_f64().is_some());
}

#[test]
fn what_cannot_succeed_is_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let [onnx, _] = exported(folder.path(), "onnx");
    let [tflite, _] = exported(folder.path(), "tflite");
    let garbage = folder.path().join("garbage.onnx");
    fs::write(&garbage, [0xff; 300]).unwrap();
    let words = folder.path().join("words.onnx");
    fs::write(&words, "hello\n").unwrap();
    let foreign = folder.path().join("mine.md");
    fs::write(&foreign, "# mine\n").unwrap();
    let error = |arguments: &[&str], words: &[&str]| {
        let told = fails(&mut measure(arguments));
        assert!(
            words.iter().all(|word| told.contains(word)),
            "{arguments:?}: {told}"
        );
        assert!(!told.contains("until ratios are known"), "{told}");
    };
    error(&[text(&onnx), "--device", "warp"], &["no engine `warp`"]);
    error(
        &[text(&onnx), "--device", "device:/no/such"],
        &["cannot be used here"],
    );
    error(
        &[text(&onnx), "--device", "mock"],
        &["mock", "takes no ONNX", "architectures"],
    );
    if cfg!(feature = "tract") {
        error(
            &[text(&tflite), "--device", "tract"],
            &["takes no TFLite", "small.tflite"],
        );
    }
    error(
        &[text(&garbage)],
        &["garbage.onnx", "neither ONNX nor TFLite"],
    );
    error(&[text(&words)], &["words.onnx"]);
    error(&["nothing.onnx"], &["neither an architecture nor a file"]);
    error(&["r128/e9k9", "--device", "mock"], &["units where"]);
    error(
        &[SMALL, "--space", "nothing", "--device", "mock"],
        &["nothing"],
    );
    error(
        &[text(&onnx), "--shape", "1x3x64x64"],
        &["image", "cannot be 1x3x64x64"],
    );
    error(
        &[text(&onnx), "--shape", "x=1x3x64x64"],
        &["no file has an input `x`"],
    );
    error(
        &[
            SMALL,
            "--device",
            "mock",
            "--export-markdown",
            text(&foreign),
        ],
        &["stays as it is"],
    );
    error(
        &[
            SMALL,
            "--device",
            "mock",
            "--export-json",
            "/no/such/x.json",
        ],
        &["no folder"],
    );
    error(
        &[SMALL, "--device", "mock", "--precision", "0"],
        &["percent"],
    );
    error(&[], &["FILE|ARCH"]);
}

#[test]
fn files_that_list_architectures_give_their_best() {
    let folder = tempfile::tempdir().unwrap();
    let front = folder.path().join("front.csv");
    fs::write(
        &front,
        format!("arch,accuracy [%]\n\"{SMALL}\",70\n\"{LARGE}\",75\n"),
    )
    .unwrap();
    let report = json(&[
        text(&front),
        "--best",
        "2",
        "--device",
        "mock",
        "--rounds",
        "2",
    ]);
    assert_eq!(report["networks"][0]["name"], "front-1");
    assert_eq!(report["networks"][0]["architecture"], LARGE);
    let told = fails(&mut measure(&[text(&front), "--device", "mock"]));
    assert!(told.contains("--best N"), "{told}");
}

#[test]
fn pages_and_documents_are_written_and_ours_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (page, document) = (
        folder.path().join("page.md"),
        folder.path().join("all.json"),
    );
    for _ in 0..2 {
        let arguments = [
            SMALL,
            LARGE,
            "--device",
            "mock",
            "--rounds",
            "2",
            "--export-markdown",
            text(&page),
            "--export-json",
            text(&document),
        ];
        let told = ok(&mut measure(&arguments));
        let written = fs::read_to_string(&page).unwrap();
        assert!(
            written.starts_with("**arch-1 is ") && told.trim() == written.trim(),
            "{told}"
        );
        assert!(
            written.contains("| network | ms |") && written.contains("arch-2 is r128/e6k7"),
            "{written}"
        );
        let report: Value = serde_json::from_slice(&fs::read(&document).unwrap()).unwrap();
        assert_eq!(report["settings"]["most_rounds"], 2);
    }
}

/// Ctrl-C: what is known is told.
#[cfg(target_os = "linux")]
#[test]
fn an_interruption_tells_what_is_known() {
    let arguments = [
        SMALL,
        LARGE,
        "--device",
        "mock:delay-ms=5",
        "--precision",
        "0.001%",
        "--rounds",
        "1000",
    ];
    let mut child = measure(&arguments)
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(Duration::from_secs(4));
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let begun = Instant::now();
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(5));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["ended"], "interrupted");
    assert!(report["doubts"].to_string().contains("interrupted"));
    assert!(report["entries"][0]["ms"].as_f64().is_some());
}

/// A real engine: a file against the architecture that it is of, itself, and another.
#[test]
fn a_real_engine_agrees_with_itself_and_tells_others_apart() {
    if cfg!(not(feature = "tract")) {
        println!("skipped: without tract");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [small, large] = exported(folder.path(), "onnx");
    let quick = [
        "--device",
        "tract",
        "--rounds",
        "4",
        "--precision",
        "20%",
        "--sampling-time",
        "0.2",
    ];
    let report = json(&[&[text(&small), text(&small), text(&large)][..], &quick].concat());
    let names: Vec<&str> = (0..3)
        .filter_map(|i| report["networks"][i]["name"].as_str())
        .collect();
    assert_eq!(names[2], "large.onnx");
    assert!(names[1].ends_with("small.onnx (2)"), "{names:?}");
    assert_eq!(
        relative(&report, 2)["verdict"],
        "slower",
        "{}",
        report["answer"]
    );
    let ratio = relative(&report, 2)["ratio"].as_f64().unwrap();
    assert!((1.5..20.0).contains(&ratio), "{ratio}");
    for entry in 0..2 {
        assert_ne!(
            relative(&report, entry)["verdict"],
            "slower",
            "{}",
            report["answer"]
        );
        let sessions = &report["entries"][entry]["sessions"];
        assert!(sessions[0]["phases"]["prepare_ms"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(report["devices"][0]["times"], "measured");
}

/// Every command of the page, each with as little measuring as there can be.
#[test]
fn the_pages_commands_work() {
    if cfg!(not(feature = "tract")) {
        println!("skipped: without tract");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/measure-networks.md"
    );
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let mut measured = 0;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        if words.contains(&"ort") && !ort_is_here() {
            println!("skipped, without ONNX Runtime: {line}");
            continue;
        }
        let mut command = blocklens();
        command.current_dir(folder.path()).args(&words);
        if words[0] == "measure" {
            command.args(["--quiet", "--rounds", "1", "--sampling-time", "0.05"]);
            measured += 1;
        }
        ok(&mut command);
    }
    assert!(measured >= 3, "{measured}");
    assert!(folder.path().join("best.md").is_file());
}

fn ort_is_here() -> bool {
    let devices = ok(blocklens().args(["--format", "json", "devices"]));
    let ort = devices
        .lines()
        .find(|line| line.contains("\"engine\":\"ort\""));
    ort.is_some_and(|line| line.contains("\"kind\":\"available\""))
}
