//! Devices that are programs of their own: a good one gives times and outputs, and every fault of a bad one is an error
//! that says what it did.

use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_measure::engine::{
    self, Artefact, Availability, Engine, EngineError, EngineOptions, Session,
};

/// A device in the shell: what it answers, by request; `$id` and `$output` are the request's.
struct Script {
    hello: &'static str,
    load: &'static str,
    turns: &'static str,
    infer: &'static str,
}

const GOOD: Script = Script {
    hello: r#"ok '{"name": "shell", "version": "1.2", "precision": "fp32", "chip": "a shell"}'"#,
    load: "ok '{}'",
    turns: r#"ok '{"turns": [{"wall_ns": [1000], "cpu_ns": [900], "preemptions": [1]}]}'"#,
    infer: r#"head -c 4000 /dev/zero > "$output"; ok '{}'"#,
};

impl Script {
    fn engine(&self) -> Box<dyn Engine> {
        let script = format!(
            r#"
            ok() {{ echo "{{\"id\": $id, \"ok\": $1}}"; }}
            failed() {{ echo "{{\"id\": $id, \"failed\": $1}}"; }}
            while read -r line; do
                id=${{line#*\"id\":}}; id=${{id%%,*}}
                output=${{line##*\"output\":\"}}; output=${{output%%\"*}}
                case "$line" in
                    *'"op":"hello"'*) {} ;;
                    *'"op":"load"'*) {} ;;
                    *'"op":"turns"'*) {} ;;
                    *'"op":"infer"'*) {} ;;
                    *) ok '{{}}' ;;
                esac
            done"#,
            self.hello, self.load, self.turns, self.infer
        );
        let command = shell_words::join(["sh", "-c", &script]);
        engine::by_name(&format!("device:{command}")).unwrap()
    }

    fn prepare(&self) -> Result<Box<dyn Session>, EngineError> {
        let (network, weights) = subnet();
        let model = Artefact::Network {
            network: &network,
            weights: &weights,
        };
        self.engine().prepare(&model, &EngineOptions::new(Seed(1)))
    }
}

fn subnet() -> (Network, Weights) {
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
    let network = space.network(&space.smallest(128).unwrap());
    let weights = Weights::random(&network, Seed(1));
    (network, weights)
}

#[test]
fn a_program_is_an_engine() {
    let engine = GOOD.engine();
    let Availability::Available { version, detail } = engine.availability() else {
        panic!("{:?}", engine.availability());
    };
    assert_eq!(
        (version.as_str(), detail.as_str()),
        ("1.2", "shell, fp32, a shell")
    );
    assert_eq!(engine.chip().as_deref(), Some("a shell"));
    let mut session = GOOD.prepare().unwrap();
    assert!(session.output().is_empty());
    let timing = session.run().unwrap();
    assert_eq!(timing.wall.as_nanos(), 1_000);
    assert_eq!(timing.cpu.unwrap().as_nanos(), 900);
    assert_eq!(timing.preemptions, Some(1));
    assert_eq!(session.output(), [0.0; 1000]);
}

/// What somebody who writes a device is told.
#[test]
fn checks_find_what_is_wrong_with_a_device() {
    let failed = |script: &Script| -> Vec<&'static str> {
        let checks = engine::check(script.engine().as_ref()).into_iter();
        let failed = checks.filter(|check| check.found.is_err());
        failed.map(|check| check.what).collect()
    };
    // It computes zeros, and takes as long for every network.
    assert_eq!(
        failed(&GOOD),
        ["computes what others compute", "runs two networks in turn"]
    );
    let at_load = |load| failed(&Script { load, ..GOOD });
    assert_eq!(at_load("exit 3"), ["makes a network ready"]);
    let hello = "echo hello";
    assert_eq!(failed(&Script { hello, ..GOOD }), ["says who it is"]);
    let turns = r#"ok '{"turns": [{"wall_ns": [0]}]}'"#;
    assert!(failed(&Script { turns, ..GOOD }).contains(&"times inferences"));
    let infer = r#"head -c 4000 /dev/urandom > "$output"; ok '{}'"#;
    assert!(failed(&Script { infer, ..GOOD }).contains(&"computes outputs"));
}

#[test]
fn sessions_of_an_engine_live_in_one_process() {
    let script = Script {
        load: r#"n=$((n + 1)); ok '{}'"#,
        turns: r#"ok "{\"turns\": [{\"wall_ns\": [$n]}]}""#,
        ..GOOD
    };
    let (network, weights) = subnet();
    let model = Artefact::Network {
        network: &network,
        weights: &weights,
    };
    let engine = script.engine();
    let options = EngineOptions::new(Seed(1));
    let mut first = engine.prepare(&model, &options).unwrap();
    let second = engine.prepare(&model, &options).unwrap();
    assert_eq!(
        first.run().unwrap().wall.as_nanos(),
        2,
        "both were loaded there"
    );
    drop((first, second));
    let mut third = engine.prepare(&model, &options).unwrap();
    assert_eq!(third.run().unwrap().wall.as_nanos(), 1, "a new one");
}

#[test]
fn every_fault_says_what_was_wrong() {
    let load = |load| Script { load, ..GOOD }.prepare().unwrap_err().to_string();
    let turns = |turns| {
        let mut session = Script { turns, ..GOOD }.prepare().unwrap();
        session.run().unwrap_err().to_string()
    };
    let infer = |infer| {
        let mut session = Script { infer, ..GOOD }.prepare().unwrap();
        session.run().unwrap_err().to_string()
    };
    let says = |error: String, words: &[&str]| {
        assert!(
            words.iter().all(|word| error.contains(word)),
            "{error}: {words:?}"
        );
    };
    says(
        load("echo broken pipes >&2; exit 7"),
        &["ended", "exit status: 7", "broken pipes"],
    );
    says(load("kill -9 $$"), &["ended", "signal: 9"]);
    says(load("echo Loading..."), &["no answer", "Loading..."]);
    says(load(r#"echo '{"id": 99, "ok": {}}'"#), &["request 99"]);
    says(
        load(
            r#"failed '{"kind": "convert", "message": "no such operator", "remedy": "use another opset"}'"#,
        ),
        &["no such operator", "use another opset"],
    );
    says(
        load(r#"ok '{"fell_back": ["HardSwish"]}'"#),
        &["would not run on the device", "HardSwish"],
    );
    says(
        load(r#"failed '{"kind": "mood", "message": "x"}'"#),
        &["no answer", "mood"],
    );
    says(turns(r#"ok '{"turns": [{"wall_ns": [-5]}]}'"#), &["-5"]);
    says(
        turns(r#"ok '{"turns": [{"wall_ns": [NaN]}]}'"#),
        &["no answer"],
    );
    says(turns(r#"ok '{"turns": []}'"#), &["not one time"]);
    says(turns(r#"ok '{}'"#), &["turns"]);
    says(load("echo \"[$id, {}]\""), &["no answer"]);
    says(load("ok '[]'"), &["one of them"]);
    says(
        turns(r#"ok '{"turns": [{"wall_ns": [1], "cpu_ns": [1, 2, 3]}]}'"#),
        &["not one time"],
    );
    // Nothing of that size is read.
    says(
        infer(r#"truncate -s 64G "$output"; ok '{}'"#),
        &["68719476736 bytes"],
    );
    says(
        infer(r#"ln -s /dev/zero "$output"; ok '{}'"#),
        &["not of 1000"],
    );
    says(infer(r#"ok '{}'"#), &["no output"]);
    says(
        infer(r#"head -c 4003 /dev/zero > "$output"; ok '{}'"#),
        &["4003 bytes"],
    );
    says(
        load(
            r#"echo "{\"id\": $id, \"ok\": {}, \"failed\": {\"kind\": \"run\", \"message\": \"x\"}}""#,
        ),
        &["one of them"],
    );
    says(
        turns(r#"ok '{"turns": [{"wall_ns": [3600000000000]}]}'"#),
        &["3600s", "in ns"],
    );
    says(
        infer(r#"head -c 40 /dev/zero > "$output"; ok '{}'"#),
        &["40 bytes", "1000"],
    );
}

#[test]
fn what_cannot_be_used_says_why_and_what_to_do() {
    let unavailable = |spec: &str| match engine::by_name(spec).unwrap().availability() {
        Availability::Unavailable { reason, remedy } => (reason, remedy),
        Availability::Available { .. } => panic!("{spec} is available"),
    };
    let (reason, _) = unavailable("device:/no/such/program");
    assert!(reason.contains("/no/such/program"), "{reason}");
    let (reason, remedy) = unavailable("ncnn:python=/no/such/python");
    assert!(
        reason.contains("/no/such/python") && remedy.contains("BLOCKLENS_PYTHON"),
        "{reason} {remedy}"
    );
    let hello =
        r#"failed '{"kind": "unavailable", "message": "no board", "remedy": "plug --it in"}'"#;
    let engine = Script { hello, ..GOOD }.engine();
    let Availability::Unavailable { reason, remedy } = engine.availability() else {
        panic!("available");
    };
    assert_eq!(
        (reason.as_str(), remedy.as_str()),
        ("no board", "plug --it in")
    );
    let older = Script {
        hello: r#"ok '{"name": "x"}'"#,
        ..GOOD
    };
    assert!(!older.engine().availability().is_available());
}

#[test]
fn specifications_that_mean_nothing_are_refused() {
    for (spec, word) in [
        ("ncnn:fast", "KEY=VALUE"),
        ("ncnn:precision=fp32,precision=bf16", "a second time"),
        ("device:", "no command"),
        ("device:'a", "no command"),
        ("openvina", "openvino"),
    ] {
        let error = engine::by_name(spec).unwrap_err().to_string();
        assert!(error.contains(word), "{spec}: {error}");
    }
}

#[test]
fn options_are_part_of_the_name_and_where_python_is_is_not() {
    let engine = engine::by_name("ncnn:python=/opt/python,precision=bf16").unwrap();
    assert_eq!(engine.name(), "ncnn:precision=bf16");
}

/// What a killed process left is removed by whoever comes next, and what somebody still uses is not.
#[test]
fn folders_of_processes_that_are_no_more_are_removed() {
    let folder = |name: &str| {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("blocklens-device-{id}-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let lock = std::fs::File::create(folder.join("lock")).unwrap();
        (folder, lock)
    };
    let (gone, lock) = folder("gone");
    drop(lock);
    let (used, lock) = folder("used");
    lock.lock().unwrap();
    GOOD.prepare().unwrap();
    assert!(!gone.exists());
    assert!(used.exists());
    drop(lock);
    GOOD.prepare().unwrap();
    assert!(!used.exists());
}
