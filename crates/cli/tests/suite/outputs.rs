//! What goes out: files that are not ours, pipes and devices, two runs at once, a full disk, other conditions.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{blocklens, fails, ok};

const SMALL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../core/tests/spaces/small.toml"
);

fn archs(folder: &Path, count: &str) -> String {
    let text = ok(blocklens().args(["arch", "sample", "-n", count]));
    let path = folder.join("archs.txt");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn evaluate(archs: &str, output: &Path) -> Command {
    let mut command = blocklens();
    command.args(["evaluate", "--metric", "macs", archs, "--output"]);
    command.arg(output);
    command.stdin(Stdio::null());
    command
}

fn search(out: &Path, budget: &str) -> Command {
    let mut command = blocklens();
    command.args(["search", "--quiet", "--space", SMALL, "--metric"]);
    command
        .args(["macs,params", "--budget", budget, "--out"])
        .arg(out);
    command
}

fn profile(out: &Path, more: &[&str]) -> Command {
    let mut command = blocklens();
    command.args(["profile", "--quiet", "--out"]).arg(out);
    let usual = [("--budget", "24"), ("--space", SMALL), ("--engine", "mock")];
    for (option, value) in usual {
        if !more.contains(&option) {
            command.args([option, value]);
        }
    }
    command.args(more);
    command
}

#[test]
fn values_never_take_the_place_of_what_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (archs, path) = (archs(folder.path(), "5"), folder.path().join("file"));
    let whole = {
        ok(&mut evaluate(&archs, &path));
        fs::read_to_string(&path).unwrap()
    };
    assert_eq!(whole.lines().count(), 5);
    for theirs in [
        "precious notes",
        "precious notes\n",
        "{\"arch\": \"resnet18\", \"top1\": 69.8}\n",
        "{\"batch\":0,\"arch\":\"r128/e3k3\",\"macs\":1.0}\n",
        "{\"arch\":\"r128/e3k3\"}\n",
        "\n",
        &format!("{whole}and a last line of mine"),
    ] {
        fs::write(&path, theirs).unwrap();
        let error = fails(&mut evaluate(&archs, &path));
        assert!(
            error.contains("was not written by `blocklens evaluate`"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
    }
    // What an earlier run left goes on: cut anywhere, also just before the end of a line.
    for cut in [1, 2, 30] {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        ok(&mut evaluate(&archs, &path));
        assert_eq!(fs::read_to_string(&path).unwrap(), whole, "{cut}");
    }
    assert!(
        fails(&mut evaluate(&archs, archs.as_ref())).contains("where the architectures come from")
    );
    assert!(fails(&mut evaluate(&archs, folder.path())).contains("it is a folder"));
}

#[test]
fn values_stream_to_what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let archs = archs(folder.path(), "5");
    let told = ok(&mut evaluate(&archs, "/dev/stdout".as_ref()));
    assert_eq!(
        told.lines()
            .filter(|line| line.starts_with("{\"arch\":"))
            .count(),
        5
    );
    ok(&mut evaluate(&archs, "/dev/zero".as_ref()));
    let error = fails(&mut evaluate(&archs, "/dev/full".as_ref()));
    assert!(
        error.contains("cannot write /dev/full") && error.matches("os error 28").count() == 1,
        "{error}"
    );
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(fails(&mut evaluate(&archs, &pipe)).contains("nobody reads from this pipe"));
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
    };
    // A reader that is about to come is one soon.
    while !evaluate(&archs, &pipe).output().unwrap().status.success() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(reader.join().unwrap().lines().count(), 5);
}

/// Standard output that is a file opened by the shell stays that file, and a device stays a device.
#[test]
fn exports_follow_the_shells_redirections() {
    let folder = tempfile::tempdir().unwrap();
    let arch = ok(blocklens().args(["arch", "sample", "--space", SMALL, "-n", "1"]));
    let export = |output: &Path| {
        let mut command = blocklens();
        command.args(["arch", "export", "--space", SMALL, arch.trim(), "--output"]);
        command.arg(output);
        command
    };
    let file = folder.path().join("network.onnx");
    ok(&mut export(&file));
    let exported = fs::read(&file).unwrap();
    // Ours is replaced; a link's target is not touched, and somebody else's file is refused.
    ok(&mut export(&file));
    let (victim, link) = (
        folder.path().join("victim"),
        folder.path().join("link.onnx"),
    );
    fs::write(&victim, "IMPORTANT").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    assert!(fails(&mut export(&link)).contains("not written by this command"));
    fs::write(&file, "their network").unwrap();
    assert!(fails(&mut export(&file)).contains("not written by this command"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "their network");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "IMPORTANT");
    let here: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(here.len(), 3, "nothing is left behind: {here:?}");
    assert!(!exported.is_empty());
}

#[test]
fn one_run_at_a_time_writes_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (archs, path) = (
        archs(folder.path(), "5"),
        folder.path().join("values.jsonl"),
    );
    let mut first = evaluate("-", &path);
    let mut first = first.stdin(Stdio::piped()).spawn().unwrap();
    let mut questions = first.stdin.take().unwrap();
    questions.write_all(&fs::read(&archs).unwrap()).unwrap();
    while fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < 5 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let error = fails(&mut evaluate(&archs, &path));
    assert!(
        error.contains("another run of blocklens writes to"),
        "{error}"
    );
    drop(questions);
    assert!(first.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5);
}

#[test]
fn searches_keep_what_is_not_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let (victim, out) = (folder.path().join("victim"), folder.path().join("out"));
    fs::create_dir(&out).unwrap();
    fs::write(&victim, "IMPORTANT").unwrap();
    for name in ["front.partial", "search.partial", ".front.json.partial"] {
        std::os::unix::fs::symlink("../victim", out.join(name)).unwrap();
    }
    ok(&mut search(&out, "20"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "IMPORTANT");
    // Other people's files in a folder in which nobody searched.
    for name in ["front.csv", "evaluations.jsonl", "search.json"] {
        let out = folder.path().join(name);
        fs::create_dir(&out).unwrap();
        fs::write(out.join(name), "IMPORTANT").unwrap();
        for more in [&[][..], &["--fresh"]] {
            let error = fails(search(&out, "20").args(more));
            assert!(
                error.contains("was not written by `blocklens search`"),
                "{error}"
            );
        }
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), "IMPORTANT");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }
    // A log that somebody wrote into is neither cut nor continued.
    let log = out.join("evaluations.jsonl");
    let lines = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{lines}a note of mine")).unwrap();
    assert!(fails(&mut search(&out, "30")).contains("line 21"));
    assert!(
        fs::read_to_string(&log)
            .unwrap()
            .ends_with("a note of mine")
    );
}

#[test]
fn folders_keep_what_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = |name: &str| {
        let out = folder.path().join(name.replace('.', "-"));
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join(name), "IMPORTANT").unwrap();
        out
    };
    let refused = |command: &mut Command, file: &Path| {
        let error = fails(command);
        assert!(error.contains("stays as it is"), "{error}");
        assert_eq!(fs::read_to_string(file).unwrap(), "IMPORTANT");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    };
    for name in ["report.json", "summary.md", "blocks.csv"] {
        let out = theirs(name);
        refused(&mut profile(&out, &[]), &out.join(name));
        let mut computed = blocklens();
        let metrics = r#"{\"metrics\": [{\"name\": \"x\", \"direction\": \"lower-is-better\"}]}"#;
        let program = &format!("x@program:sh -c 'read a; echo \"{metrics}\"; read b'");
        computed.args(["profile", "--quiet", "--metric", program]);
        refused(computed.arg("--out").arg(&out), &out.join(name));
    }
    let out = theirs("32_lookup_table.yaml");
    let mut table = blocklens();
    table.args(["table", "--quiet", "--space", SMALL, "--engine", "mock"]);
    refused(
        table.arg("--out").arg(&out),
        &out.join("32_lookup_table.yaml"),
    );
    let (first, out) = (folder.path().join("first"), theirs("space.toml"));
    ok(&mut profile(&first, &[]));
    let mut reduce = blocklens();
    reduce.args(["reduce", "--space", SMALL]).arg(&first);
    refused(reduce.arg("--out").arg(&out), &out.join("space.toml"));
    // A reduced space is not put in the place of the one that it is a part of.
    let small = fs::read_to_string(SMALL).unwrap();
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("space.toml"), &small).unwrap();
    let mut reduce = blocklens();
    reduce
        .arg("reduce")
        .arg(&first)
        .arg("--space")
        .arg(own.join("space.toml"));
    assert!(fails(reduce.arg("--out").arg(&own)).contains("which it is a part of"));
    assert_eq!(fs::read_to_string(own.join("space.toml")).unwrap(), small);
}

#[test]
fn a_store_is_made_beside_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let (victim, lock) = (out.join("victim"), out.join("measurements.lock"));
    fs::write(&victim, "IMPORTANT").unwrap();
    std::os::unix::fs::symlink(&victim, &lock).unwrap();
    assert!(fails(&mut profile(out, &[])).contains("it is a link"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "IMPORTANT");
    fs::remove_file(&lock).unwrap();
    fs::remove_file(out.join("measurements.db")).unwrap();
    let other = rusqlite::Connection::open(out.join("measurements.db")).unwrap();
    other
        .execute_batch("CREATE TABLE friends (name TEXT)")
        .unwrap();
    drop(other);
    assert!(fails(&mut profile(out, &[])).contains("a database of something else"));
}

/// A report of other conditions is not replaced in passing, and the way on is told.
#[test]
fn a_report_of_other_conditions_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    ok(&mut profile(&out, &["--metric", "macs"]));
    let report = || fs::read_to_string(out.join("report.json")).unwrap();
    let first = report();
    for (more, what) in [
        (
            &["--metric", "macs", "--seed", "2"][..],
            "the seed is 1 there and 2 here",
        ),
        (&["--metric", "params"], "the list of metrics"),
        (&["--metric", "macs", "--threads", "2"], "the device"),
        (
            &["--metric", "macs", "--engine", "mock:noise=0.1"],
            "the device",
        ),
        (
            &["--metric", "macs", "--estimator", "pooled"],
            "the estimator",
        ),
        (&["--metric", "macs", "--space", "ofa-mbv3"], "the space"),
    ] {
        let error = fails(&mut profile(&out, more));
        assert!(
            error.contains(what) && error.contains("--out"),
            "{more:?}: {error}"
        );
        assert_eq!(report(), first);
    }
    // More networks or more metrics lose nothing; --fresh says that it may be replaced, and --resume goes back to
    // what is stored.
    ok(&mut profile(
        &out,
        &["--metric", "macs,params", "--budget", "30"],
    ));
    ok(&mut profile(
        &out,
        &["--metric", "macs", "--seed", "2", "--fresh"],
    ));
    let error = fails(&mut profile(&out, &["--metric", "macs,params"]));
    assert!(error.contains("--resume"), "{error}");
    ok(&mut profile(&out, &["--metric", "macs,params", "--resume"]));
    let error = fails(&mut profile(
        &out,
        &["--metric", "macs", "--seed", "3", "--resume"],
    ));
    assert!(!error.contains("--resume to"), "{error}");
}

/// A pipe that is not read any more keeps nobody waiting for ever.
#[test]
fn a_reader_that_stops_reading_does_not_keep_an_interruption_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let archs = archs(folder.path(), "5000");
    let mut child = blocklens()
        .args(["--format", "json", "evaluate", "--metric", "macs", &archs])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    let id = child.id().to_string();
    let kill = |signal: &str| {
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    };
    std::thread::sleep(std::time::Duration::from_millis(100));
    kill("-TERM");
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    told.read_line(&mut first).unwrap();
    assert!(first.starts_with("stopping"), "{first}");
    // The second one ends at once, though nobody reads.
    kill("-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("panicked"), "{rest}");
}

/// A reader that has enough of the summary costs no file, and what timed nothing is no campaign to report.
#[test]
fn files_are_written_before_anything_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("p");
    let listed = fs::read_to_string(archs(folder.path(), "20")).unwrap();
    let rows = (20..).zip(listed.lines());
    let rows = rows.map(|(value, arch)| format!("\"{arch}\",{value}\n"));
    let table = folder.path().join("t.csv");
    fs::write(
        &table,
        format!("arch,latency_ms\n{}", rows.collect::<String>()),
    )
    .unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = blocklens();
    command.args(["profile", "--quiet", "--metric"]);
    command.arg(format!("latency@{}", table.display()));
    let status = command
        .arg("--out")
        .arg(&out)
        .stdout(writer)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    for name in ["report.json", "report.html", "summary.md", "values.jsonl"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let error = fails(blocklens().args(["report", "--out"]).arg(&out));
    assert!(error.contains("timed nothing"), "{error}");
}

/// Only what is missing is written again.
#[test]
fn a_cut_output_has_every_value_once_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (archs, out) = (
        archs(folder.path(), "20"),
        folder.path().join("values.jsonl"),
    );
    let evaluate = || {
        let mut command = blocklens();
        command.args(["evaluate", "--metric", "macs,params", "--output"]);
        ok(command.arg(&out).arg(&archs));
        fs::read_to_string(&out).unwrap()
    };
    let whole = evaluate();
    // Of the last architecture only the first metric is left.
    fs::write(&out, &whole[..whole.len() - 10]).unwrap();
    assert_eq!(evaluate(), whole);
}

#[test]
fn a_dash_is_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let archs = archs(folder.path(), "3");
    let mut command = blocklens();
    command.current_dir(folder.path());
    let text = ok(command.args(["evaluate", "--metric", "macs", "-o", "-", &archs]));
    assert_eq!(text.matches("\"value\":").count(), 3, "{text}");
    assert!(!folder.path().join("-").exists());
}

/// A limit of the user's on the size of files is a full disk, and no sudden end.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_blocklens");
    let out = folder.path().join("out");
    let mut command = Command::new("sh");
    let script = "ulimit -f 8; exec \"$0\" profile --quiet --metric macs --budget 30 --out \"$1\"";
    let output = command
        .args(["-c", script, program])
        .arg(&out)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("out/measurements.db cannot be used"),
        "{error}"
    );
    let left = fs::read_dir(&out).unwrap().flatten();
    let left: Vec<_> = left
        .filter(|entry| entry.file_name().to_string_lossy().contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
