//! Engines of this program as devices: on the other end of a pipe they do what they do here.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use blocklens_measure::engine::{self, Engine, EngineError, EngineOptions, Kind, host};
use serde_json::{Value, json};

use crate::common::{blocklens, fails, ok, stored};
use crate::conformance;

const SMALL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../core/tests/spaces/small.toml"
);

/// The engine's name behind `device:`.
fn spec(arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_blocklens");
    format!("device:'{program}' serve-device {arguments}")
}

fn served(arguments: &str) -> Box<dyn Engine> {
    engine::by_name(&spec(arguments)).unwrap()
}

#[test]
fn served_engines_keep_the_contract() {
    for name in ["tract", "ort", "mock", "onnxruntime"] {
        if !engine::probe(name).unwrap().is_available() {
            println!("skipping {name}: it is not here");
            continue;
        }
        println!("checking {name} behind a pipe");
        let engine = served(name);
        assert!(engine.availability().is_available());
        conformance::keeps_the_contract(engine.as_ref());
    }
}

#[test]
fn served_engines_pass_the_checks() {
    for name in ["tract", "ort", "litert:precision=int8"] {
        if !engine::probe(name).unwrap().is_available() {
            println!("skipping {name}: it is not here");
            continue;
        }
        let said = ok(blocklens().args(["devices", "--check", &spec(name)]));
        assert!(said.contains("ok      runs two networks in turn"), "{said}");
        assert!(!said.contains("FAILED"), "{said}");
    }
}

#[test]
fn a_served_engine_describes_its_machine() {
    let engine = served("tract");
    let here = engine::by_name("tract").unwrap();
    let device = |engine: &dyn Engine| host::describe(engine, &engine.availability(), 1);
    let (there, here) = (device(engine.as_ref()), device(here.as_ref()));
    assert_eq!((there.cpu, there.cpus), (here.cpu, here.cpus));
    assert_eq!(there.system, here.system);
    assert_eq!(there.engine_version, here.engine_version);
    assert_eq!(here.host, None);
    assert!(there.host.is_some_and(|host| !host.is_empty()));
}

/// The formula with its noise, its crashes and its kind are the same on both sides of a pipe.
#[test]
fn a_served_simulation_is_the_simulation() {
    let folder = tempfile::tempdir().unwrap();
    let profile = |engine: &str, out: &str| {
        let out = folder.path().join(out);
        let mut command = blocklens();
        command.args(["profile", "--quiet", "--budget", "12", "--space", SMALL]);
        command.args(["--metric", "macs", "--engine", engine, "--out"]);
        ok(command.arg(&out));
        out
    };
    let options = "mock:noise=0.02,drift=0.3,crash=0.1,error=0.1,interaction=0.5";
    let (here, there) = (profile(options, "here"), profile(&spec(options), "there"));
    let (here_rows, there_rows) = (stored(&here), stored(&there));
    assert_eq!(here_rows.len(), there_rows.len());
    assert!(here_rows.iter().any(|row| row.failure_kind.is_some()));
    for (here, there) in here_rows.iter().zip(&there_rows) {
        assert_eq!(here.arch, there.arch);
        assert_eq!(here.failure_kind.is_some(), there.failure_kind.is_some());
        if let (Some(here), Some(there)) = (here.latency_ms, there.latency_ms) {
            // Times travel in whole nanoseconds.
            assert!((here - there).abs() < 1e-5 * here, "{here} {there}");
        }
    }
    let report = std::fs::read_to_string(there.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let title = report["title"].as_str().unwrap();
    assert!(title.ends_with("on a simulated device"), "{title}");
    assert!(report["measurement"]["device"]["host"].is_string());
}

#[test]
fn failures_keep_their_kinds() {
    let model = conformance::subnet(1.0, 128, 1);
    let options = EngineOptions::new(blocklens_core::seed::Seed(1));
    let prepare = |arguments: &str, threads| {
        let options = EngineOptions { threads, ..options };
        conformance::prepare(served(arguments).as_ref(), &model, &options)
    };
    let error = prepare("tract", 2).unwrap_err();
    assert!(
        matches!(error, EngineError::Threads { asked: 2, .. }),
        "{error}"
    );
    let error = prepare("mock:error=1", 1).unwrap_err();
    assert!(matches!(error, EngineError::Prepare { .. }), "{error}");
    let error = prepare("mock:oom=1", 1).unwrap().run().unwrap_err();
    assert!(matches!(error, EngineError::Memory { .. }), "{error}");
    let error = prepare("mock:crash=1", 1).unwrap().run().unwrap_err();
    assert!(matches!(error, EngineError::Run { .. }), "{error}");
    assert!(error.to_string().contains("simulated crash"), "{error}");
    assert_eq!(
        served("mock").kind(),
        Kind::Measured,
        "nobody was asked yet"
    );
    if cfg!(target_os = "linux") {
        let error = prepare("--memory-limit 64 tract", 1).unwrap_err();
        assert!(matches!(error, EngineError::Memory { .. }), "{error}");
    }
    let missing = served("ort:/no/such/library.so").availability();
    assert!(
        matches!(&missing, engine::Availability::Unavailable { reason, .. } if reason.contains("/no/such/library.so")),
        "{missing:?}"
    );
}

/// An input whose bytes follow.
fn image(bytes: u64, shape: &[usize]) -> Value {
    json!([{"name": "input", "type": "float32", "shape": shape, "file": {"bytes": bytes}}])
}

struct Served {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Served {
    fn start(engine: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_blocklens"))
            .args(["serve-device", engine])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn tell(&mut self, request: &Value, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{request}").unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    fn ask(&mut self, request: &Value, bytes: &[u8]) -> Value {
        self.tell(request, bytes);
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn load(&mut self) -> Value {
        let request = json!({
            "id": 2, "op": "load", "session": 2, "model": {"name": "n.onnx", "bytes": 0},
            "inputs": image(4, &[1, 1, 1, 1]), "outputs": 3, "threads": 1,
            "simulation": {
                "latency_ms": 5.0, "interaction_ms": 0.0, "large_kernels_ms": 0.0, "both_ms": 0.0,
                "seed": 1, "position": 0, "attempt": 0
            },
        });
        self.ask(&request, &[0; 4])
    }

    /// How it ends within a few seconds, and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(10), "it runs on");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

#[test]
fn it_answers_what_was_asked_and_ends_with_its_input() {
    let mut device = Served::start("mock");
    let hello = device.ask(
        &json!({"id": 1, "op": "hello", "protocol": "device/1"}),
        &[],
    );
    assert_eq!(hello["ok"]["files"], "inline");
    assert_eq!(hello["ok"]["kind"], "simulated");
    assert_eq!(device.load()["ok"], json!({}));
    let turns = device.ask(
        &json!({"id": 3, "op": "turns", "sessions": [2, 2], "count": 3}),
        &[],
    );
    assert_eq!(
        turns["ok"]["turns"][1]["wall_ns"].as_array().unwrap().len(),
        3
    );
    let infer = json!({"id": 4, "op": "infer", "session": 2, "inputs": image(4, &[1, 1, 1, 1])});
    assert_eq!(device.ask(&infer, &[0; 4])["ok"]["output"]["bytes"], 12);
    let mut outputs = [0; 12];
    device.output.read_exact(&mut outputs).unwrap();
    // What cannot be done is a failure of its request, and the next is answered.
    for (request, word) in [
        (
            json!({"id": 5, "op": "turns", "sessions": [9], "count": 1}),
            "session 9",
        ),
        (
            json!({"id": 5, "op": "turns", "sessions": [2], "count": 4_000_000}),
            "most",
        ),
        (json!({"id": 5, "op": "dance"}), "dance"),
        (
            json!({"id": 5, "op": "hello", "protocol": "device/9"}),
            "device/9",
        ),
        (
            json!({"id": 5, "op": "hello", "protocol": "device/1", "options": {"a": "b"}}),
            "no option a",
        ),
        (
            json!({"id": 5, "op": "infer", "session": 2, "inputs": image(0, &[1, 1, 1, 1])}),
            "0 bytes",
        ),
    ] {
        let answer = device.ask(&request, &[]);
        assert_eq!(answer["failed"]["kind"], "unsupported", "{answer}");
        let message = answer["failed"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
    }
    // Who closes only this end is answered.
    device.tell(&json!({"id": 6, "op": "release", "session": 2}), &[]);
    device.input = None;
    let mut rest = String::new();
    device.output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.trim(), r#"{"id":6,"ok":{}}"#);
    assert_eq!(device.end().0, Some(0));
}

#[test]
fn rubbish_and_half_a_file_end_it_with_a_word() {
    let mut device = Served::start("mock");
    device.tell(&json!("hello"), &[]);
    let (status, said) = device.end();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("no request") && said.contains("device-protocol.md"),
        "{said}"
    );
    let mut device = Served::start("mock");
    let request =
        json!({"id": 1, "op": "infer", "session": 1, "inputs": image(100, &[1, 1, 5, 5])});
    device.tell(&request, &[0; 40]);
    device.input = None;
    let (status, said) = device.end();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("40 of the 100 bytes of an input"), "{said}");
    fails(blocklens().args(["serve-device", "openvina"]));
}

/// In the middle of an inference that would take a day.
#[test]
fn nothing_is_computed_for_nobody() {
    let mut device = Served::start("mock:hang=1");
    device.load();
    device.tell(
        &json!({"id": 3, "op": "turns", "sessions": [2], "count": 1}),
        &[],
    );
    std::thread::sleep(Duration::from_millis(100));
    assert!(device.child.try_wait().unwrap().is_none());
    let Served {
        child,
        input,
        output,
    } = device;
    drop((input, output));
    let mut child = child;
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "it runs on");
        std::thread::sleep(Duration::from_millis(10));
    }
}
