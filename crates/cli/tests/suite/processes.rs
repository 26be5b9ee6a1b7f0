//! What blocklens starts ends with it, and what interrupts it is no crash of what it started.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{blocklens, ok, stored};

const SMALL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../core/tests/spaces/small.toml"
);

/// How many times a campaign is interrupted. `BLOCKLENS_KILLS=100 cargo test interrupt` tries harder.
fn interruptions() -> u64 {
    let asked = std::env::var("BLOCKLENS_KILLS")
        .ok()
        .and_then(|n| n.parse().ok());
    asked.unwrap_or(12)
}

fn kill(signal: &str, id: &str) {
    assert!(
        Command::new("kill")
            .args([signal, "--", id])
            .status()
            .unwrap()
            .success()
    );
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(10));
    }
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// A program that heeds no signal, with a child in its group and one in a session of its own; each notes its process.
fn stubborn(folder: &Path) -> PathBuf {
    let script = folder.join("stubborn.sh");
    let body = r#"trap '' INT TERM HUP PIPE
forever='trap "" INT TERM HUP PIPE; echo $$ >> FOLDER/ids; while :; do sleep 0.1; done'
sh -c "$forever" &
setsid sh -c "$forever" &
read -r greeting
echo '{"metrics": [{"name": "x", "direction": "lower-is-better"}]}'
while read -r question; do
    echo $$ >> FOLDER/ids
    while :; do sleep 0.1; done
done
"#;
    fs::write(
        &script,
        body.replace("FOLDER", &folder.display().to_string()),
    )
    .unwrap();
    script
}

fn ids(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("ids")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn is_running(id: &String) -> bool {
    // A zombie runs no more.
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn evaluate(script: &Path) -> Child {
    blocklens()
        .args([
            "evaluate",
            "--metric",
            &format!("x@program:sh {}", script.display()),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Killed, interrupted or at its end: no program lives on, nor what it started, whatever it ignores.
#[test]
fn programs_end_with_whoever_asks_them() {
    for signal in ["-KILL", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = evaluate(&stubborn(folder.path()));
        let arch = ok(blocklens().args(["arch", "sample", "-n", "1"]));
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), arch.as_bytes()).unwrap();
        wait_until("the program and its children run", || {
            ids(folder.path()).len() == 3
        });
        let all = ids(folder.path());
        assert!(all.iter().all(is_running));
        kill(signal, &child.id().to_string());
        child.wait().unwrap();
        wait_until("they are gone", || !all.iter().any(is_running));
    }
}

/// What a guard says of a program is what the program's own end says.
#[test]
fn a_guard_ends_as_its_program_does() {
    let run = |script: &str| {
        let mut command = blocklens();
        command
            .args(["guard", "--", "sh", "-c", script])
            .stdin(Stdio::piped());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let ended = |script: &str| run(script).wait().unwrap().to_string();
    assert_eq!(ended("exit 0"), "exit status: 0");
    assert_eq!(ended("sleep 600 & exit 7"), "exit status: 7");
    assert!(ended("kill -SEGV $$").starts_with("signal: 11"));
    assert!(ended("kill -9 $$").starts_with("signal: 9"));
    // Its outputs are the program's: whoever reads them sees their end.
    let mut child = run("exec >&- 2>&-; read -r line; exit 3");
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!((text.as_str(), said(&mut child).as_str()), ("", ""));
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut nothing = blocklens();
    let output = nothing
        .args(["guard", "--", "/no/such/program"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("cannot start `/no/such/program`"), "{told}");
}

fn profile(out: &Path, engine: &str) -> Command {
    let mut command = blocklens();
    command.args(["profile", "--quiet", "--budget", "24", "--space", SMALL]);
    command.args(["--metric", "macs", "--engine", engine, "--out"]);
    command
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Ctrl-C reaches all processes of the terminal's group at any instant: also a worker that is just being started.
#[test]
fn interrupts_at_any_instant_store_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut landed = 0;
    for attempt in 0..interruptions() {
        let mut child = profile(folder.path(), "mock")
            .process_group(0)
            .spawn()
            .unwrap();
        sleep(Duration::from_micros(
            10_000 + (attempt * 7_919_001) % 300_000,
        ));
        let running = child.try_wait().unwrap().is_none();
        if running {
            kill("-INT", &format!("-{}", child.id()));
        }
        let status = child.wait().unwrap();
        let text = said(&mut child);
        if running && !status.success() {
            // Before it listens, the signal itself ends it.
            assert!(
                status.code().is_none_or(|code| code == 130),
                "{status}: {text}"
            );
            landed += 1;
        }
        if folder.path().join("measurements.db").exists() {
            let rows = stored(folder.path());
            assert!(
                rows.iter().all(|row| row.failure_kind.is_none()),
                "{rows:?}"
            );
            if rows.len() == 29 {
                fs::remove_dir_all(folder.path()).unwrap();
            }
        }
    }
    assert!(landed > interruptions() / 3, "{landed}");
}

/// A program that is still starting is no fault of the program's, and the answer to Ctrl-C comes at once.
#[test]
fn an_interrupt_at_the_start_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let script = folder.path().join("slow.sh");
    fs::write(&script, format!("touch {}; sleep 600\n", mark.display())).unwrap();
    let mut child = evaluate(&script);
    wait_until("the program runs", || mark.exists());
    kill("-INT", &child.id().to_string());
    let status = child.wait().unwrap();
    let text = said(&mut child);
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.starts_with("stopping"), "{text}");
}

/// What `nohup` keeps from a campaign stays away from it.
#[test]
fn the_end_of_a_terminal_ends_no_campaign_that_ignores_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_blocklens");
    let line = "trap '' HUP; exec \"$0\" profile --quiet --budget 24 --space \"$2\" --metric macs \
                --engine mock --out \"$1\"";
    shell
        .args(["-c", line, program])
        .arg(folder.path())
        .arg(SMALL)
        .stdout(Stdio::null());
    let mut child = shell.spawn().unwrap();
    wait_until("it measures", || {
        folder.path().join("measurements.db").exists()
    });
    kill("-HUP", &child.id().to_string());
    assert!(child.wait().unwrap().success());
    assert_eq!(stored(folder.path()).len(), 29);
}

/// A device that says hello and then does nothing and heeds nothing, with a child in a session of its own.
fn deaf(folder: &Path, before: &str) -> String {
    let script = folder.join("deaf.sh");
    let body = r#"trap '' INT TERM HUP PIPE
read -r hello
BEFORE
echo '{"id": 1, "ok": {"name": "deaf", "version": "1", "precision": "fp32"}}'
read -r load
setsid sh -c 'trap "" INT TERM HUP PIPE; echo $$ >> FOLDER/ids; while :; do sleep 0.1; done' &
echo $$ >> FOLDER/ids
while :; do sleep 0.1; done
"#;
    let body = body.replace("BEFORE", before);
    fs::write(
        &script,
        body.replace("FOLDER", &folder.display().to_string()),
    )
    .unwrap();
    format!("device:sh {}", script.display())
}

fn profile_on(engine: &str, folder: &Path) -> Command {
    let mut command = blocklens();
    command.args([
        "profile", "--quiet", "--space", SMALL, "--budget", "12", "--metric", "macs", "--engine",
        engine,
    ]);
    command
        .arg("--out")
        .arg(folder.join("out"))
        .env("TMPDIR", folder)
        .stderr(Stdio::piped());
    command.process_group(0);
    command
}

#[test]
fn devices_end_with_whoever_started_them() {
    for signal in ["-KILL", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = profile_on(&deaf(folder.path(), ""), folder.path())
            .spawn()
            .unwrap();
        wait_until("two processes", || ids(folder.path()).len() == 2);
        kill(signal, &child.id().to_string());
        let status = child.wait().unwrap();
        if signal == "-INT" {
            assert_eq!(status.code(), Some(130));
        }
        wait_until("the end of both", || {
            !ids(folder.path()).iter().any(is_running)
        });
    }
}

#[test]
fn a_device_that_does_not_say_hello_keeps_no_interruption_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let engine = deaf(
        folder.path(),
        "echo $$ >> FOLDER/ids; while :; do sleep 0.1; done",
    );
    let mut child = profile_on(&engine, folder.path()).spawn().unwrap();
    wait_until("the device", || ids(folder.path()).len() == 1);
    let began = Instant::now();
    kill("-INT", &child.id().to_string());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    wait_until("its end", || !ids(folder.path()).iter().any(is_running));
}

/// A full disk says nothing of a network.
#[test]
fn no_room_for_a_network_is_no_failure_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = profile_on(&deaf(folder.path(), ""), folder.path());
    command.env("TMPDIR", folder.path().join("none"));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("temporary folder") && error.contains("TMPDIR"),
        "{error}"
    );
    assert!(!folder.path().join("out/measurements.db").exists());
}
