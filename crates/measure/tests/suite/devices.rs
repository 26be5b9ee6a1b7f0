//! Devices that are programs of their own: a good one gives times and outputs, and every fault of a bad one is an error
//! that says what it did.

use blocklens_core::network::{Network, Weights};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_measure::engine::{
    self, Artefact, Availability, Engine, EngineError, EngineOptions, Kind, Mock, MockSettings,
    Session,
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

/// The same on a machine that shares no files.
const ELSEWHERE: Script = Script {
    hello: r#"ok '{"name": "shell", "version": "1.2", "precision": "fp32", "chip": "a shell", "files": "inline",
                   "host": "the-board", "system": "hush 1", "governor": "powersave"}' | tr -d '\n'; echo"#,
    load: "take; ok '{}'",
    infer: r#"take; ok '{"output": {"bytes": 4000}}'; head -c 4000 /dev/zero"#,
    ..GOOD
};

impl Script {
    fn engine(&self) -> Box<dyn Engine> {
        let script = format!(
            r#"
            ok() {{ echo "{{\"id\": $id, \"ok\": $1}}"; }}
            take() {{
                for n in $(echo "$line" | grep -o '"bytes":[0-9]*' | cut -d: -f2); do head -c $n >/dev/null; done
            }}
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

#[test]
fn a_device_elsewhere_gets_files_inline_and_speaks_for_itself() {
    let engine = ELSEWHERE.engine();
    let availability = engine.availability();
    let device = engine::host::describe(engine.as_ref(), &availability, 1);
    assert_eq!(device.cpu, "a shell");
    assert_eq!(device.host.as_deref(), Some("the-board"));
    assert_eq!((device.system.as_str(), device.cpus), ("hush 1", 0));
    assert_eq!(device.governor.as_deref(), Some("powersave"));
    let mut session = ELSEWHERE.prepare().unwrap();
    session.run().unwrap();
    assert_eq!(session.output(), [0.0; 1000]);
    // Who says nothing of a machine has nothing said for it.
    let hello = r#"ok '{"name": "x", "version": "1", "precision": "fp32", "files": "inline"}'"#;
    let silent = Script { hello, ..ELSEWHERE }.engine();
    let device = engine::host::describe(silent.as_ref(), &silent.availability(), 1);
    assert_eq!(device.cpu, "not told");
    assert_eq!(device.governor, None);
    assert_eq!(device.host.as_deref(), Some(silent.name()));
}

#[test]
fn the_kind_is_what_the_device_says() {
    let hello = r#"ok '{"name": "x", "version": "1", "precision": "fp32", "kind": "estimated"}'"#;
    let engine = Script { hello, ..GOOD }.engine();
    assert!(engine.availability().is_available());
    assert_eq!(engine.kind(), Kind::Estimated);
    let kind = engine::unnamed_kind(engine.name(), engine.as_ref());
    assert_eq!(kind, Some(Kind::Estimated));
    assert_eq!(
        engine::unnamed_kind("mock", &Mock::new(MockSettings::default())),
        None
    );
}

/// Bytes that do not come, come by half, or are others than announced.
#[test]
fn every_fault_of_inline_files_says_what_was_wrong() {
    let infer = |infer| {
        let mut session = Script { infer, ..ELSEWHERE }.prepare().unwrap();
        let error = session.run().unwrap_err();
        let again = session.run().unwrap_err();
        (error.to_string(), again.to_string())
    };
    let says = |(error, _): (String, String), words: &[&str]| {
        let all = words.iter().all(|word| error.contains(word));
        assert!(all, "{error}: {words:?}");
    };
    says(
        infer(
            r#"take; ok '{"output": {"bytes": 4000}}'; head -c 12 /dev/zero; echo no memory >&2; exit 5"#,
        ),
        &["after 12 of the 4000 bytes", "exit status: 5", "no memory"],
    );
    // Nothing of that size is read.
    says(
        infer(r#"take; ok '{"output": {"bytes": 68719476736}}'; cat /dev/zero"#),
        &["68719476736 bytes", "no more than 4000"],
    );
    says(
        infer(r#"take; ok '{"output": {"bytes": 40}}'; head -c 40 /dev/zero"#),
        &["an output of 40 bytes", "1000 float32"],
    );
    says(infer("take; ok '{}'"), &["an output of 0 bytes"]);
    // More bytes than announced would pass for the next answer, which is not asked for.
    let (_, again) = infer(r#"take; ok '{"output": {"bytes": 40}}'; head -c 4000 /dev/zero"#);
    assert!(again.contains("no usable answer before"), "{again}");
    // What is not taken passes for the next request.
    let untaken = Script {
        load: "ok '{}'",
        ..ELSEWHERE
    };
    let error = untaken
        .prepare()
        .and_then(|mut session| session.run().map(drop));
    assert!(error.is_err());
}

#[test]
fn memory_and_room_are_failures_of_their_own() {
    let load = |load| Script { load, ..ELSEWHERE }.prepare().unwrap_err();
    let error = load(r#"take; echo "memory allocation of 8 bytes failed" >&2; exit 134"#);
    assert!(matches!(error, EngineError::Memory { .. }), "{error}");
    let error = load(r#"take; kill -9 $$"#);
    assert!(matches!(error, EngineError::Memory { .. }), "{error}");
    let error = load(r#"take; failed '{"kind": "memory", "message": "no room in SRAM"}'"#);
    assert!(matches!(error, EngineError::Memory { .. }), "{error}");
    let error = load(r#"take; failed '{"kind": "room", "message": "disk full"}'"#);
    assert!(matches!(error, EngineError::Room { .. }), "{error}");
    let hello = r#"ok '{"name": "x", "version": "1", "precision": "fp32", "files": "inline", "most_bytes": 9}'"#;
    let error = Script { hello, ..ELSEWHERE }.prepare().unwrap_err();
    assert!(
        matches!(&error, EngineError::Memory { message, .. } if message.contains("takes 9 at most")),
        "{error}"
    );
}

/// The documentation's device, on a machine that shares no files.
#[test]
fn a_device_in_python_takes_files_inline() {
    let python = std::env::var("BLOCKLENS_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = std::process::Command::new(&python)
        .args(["-c", "import numpy, onnxruntime"])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipping: `{python}` has no numpy and onnxruntime");
        return;
    }
    let docs = include_str!("../../../../docs/device-protocol.md");
    let code = docs.split("```python\n").nth(1).unwrap();
    let code = code.split("```").next().unwrap();
    assert!(code.contains("device.serve(Mine())"));
    let code = code.replace("device.serve(Mine())", "device.serve(Mine(), inline=True)");
    let folder = tempfile::tempdir().unwrap();
    let common = include_str!("../../adapters/blocklens_device.py");
    std::fs::write(folder.path().join("blocklens_device.py"), common).unwrap();
    std::fs::write(folder.path().join("mine.py"), code).unwrap();
    // Files that are only here would not be found there.
    let there = folder.path().join("there");
    std::fs::create_dir(&there).unwrap();
    let program = folder.path().join("mine.py").display().to_string();
    let tmp = format!("TMPDIR={}", there.display());
    let command = shell_words::join(["env", &tmp, &python, &program]);
    let engine = engine::by_name(&format!("device:{command}")).unwrap();
    for check in engine::check(engine.as_ref()) {
        assert!(check.found.is_ok(), "{check:?}");
    }
    let machine = engine.machine().unwrap();
    assert!(machine.chip.is_some() && machine.cpus.is_some() && machine.system.is_some());
    drop(engine);
    // Where it was killed before it could, the next one does.
    let next = engine::by_name(&format!("device:{command}")).unwrap();
    assert!(next.availability().is_available());
    // Engines leave files of their own.
    let names = std::fs::read_dir(&there).unwrap().flatten();
    let ours = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("blocklens-");
    let left: Vec<_> = names.map(|entry| entry.file_name()).filter(ours).collect();
    assert!(left.is_empty(), "{left:?}");
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
        ("ssh:board", "no engine behind a slash"),
        ("ssh:-oProxyCommand=x/tract", "no host"),
        ("ssh:pi@board:0/tract", "1 to 65535"),
        ("ssh:board/openvina", "openvino"),
        ("ssh:board/ssh:other/tract", "ProxyJump"),
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

/// The device in C that the documentation shows, which estimates and computes nothing.
#[test]
fn the_example_in_c_is_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/device/estimate.c"
    );
    let program = folder.path().join("estimate");
    let compiler = std::process::Command::new("cc")
        .args(["-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    let Ok(status) = compiler else {
        println!("skipped: there is no C compiler `cc`");
        return;
    };
    assert!(status.success());
    let engine = engine::by_name(&format!("device:{}", program.display())).unwrap();
    for check in engine::check(engine.as_ref()) {
        assert!(check.found.is_ok(), "{}: {:?}", check.what, check.found);
    }
    assert_eq!(engine.kind(), Kind::Estimated);
}
