//! What all commands have in common: names of options, exit statuses, paths, digits, and text of others on its way to
//! a reader.

use std::process::Stdio;

use crate::common::{blocklens, fails, ok};

#[test]
fn options_mean_the_same_in_every_command() {
    for command in [
        "profile",
        "report",
        "diff",
        "evaluate",
        "table",
        "reduce",
        "search",
        "compare",
        "arch export",
    ] {
        let help = ok(blocklens().args(command.split(' ')).arg("--help"));
        for option in ["--out", "--output", "-o", "-q, --quiet"] {
            assert!(help.contains(option), "{command} {option}: {help}");
        }
    }
    for command in [
        "profile",
        "measure",
        "evaluate",
        "table",
        "search",
        "compare",
        "arch export",
        "arch cost",
        "arch import",
        "arch sample",
    ] {
        let help = ok(blocklens().args(command.split(' ')).arg("--help"));
        assert!(help.contains("--resolution"), "{command}");
    }
    for command in [
        "profile",
        "measure",
        "evaluate",
        "table",
        "search",
        "arch export",
        "arch sample",
    ] {
        let help = ok(blocklens().args(command.split(' ')).arg("--help"));
        assert!(help.contains("--seed"), "{command}");
    }
    ok(blocklens().args(["-q", "space", "list"]));
}

#[test]
fn nothing_that_is_read_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let evaluate = |text: &str| {
        let file = folder.path().join("archs.txt");
        std::fs::write(&file, text).unwrap();
        let mut command = blocklens();
        command.args(["evaluate", "--metric", "macs"]).arg(file);
        command
    };
    assert!(fails(&mut evaluate("one\ntwo\n")).contains("the first: \"one\""));
    assert!(fails(&mut evaluate("")).contains("archs.txt holds no architecture"));
    assert!(fails(&mut evaluate("{\"profile\": {}}\n")).contains("holds no architecture"));
    let mut empty = blocklens();
    empty
        .args(["evaluate", "--metric", "macs"])
        .stdin(Stdio::null());
    assert!(fails(&mut empty).contains("standard input holds no architecture"));
    let one = ok(blocklens().args(["arch", "sample"]));
    ok(&mut evaluate(&format!("one\n{one}")));
}

#[test]
fn commas_in_paths_are_part_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let arch = ok(blocklens().args(["arch", "sample"]));
    let (arch, name) = (arch.trim(), "a,b, c.csv");
    std::fs::write(
        folder.path().join(name),
        format!("arch,latency [ms]\n\"{arch}\",2.5\n"),
    )
    .unwrap();
    let evaluate = |metrics: &str| {
        let mut command = blocklens();
        command
            .current_dir(folder.path())
            .args(["evaluate", "--metric", metrics, name]);
        command
    };
    let told = ok(&mut evaluate(&format!("macs,latency@{name},params")));
    assert!(
        told.lines().count() == 3 && told.contains("latency@a,b, c.csv\t2.5\tms"),
        "{told}"
    );
    let error = fails(&mut evaluate("latency@a,d.csv"));
    assert!(
        error.contains("cannot read") || error.contains("data set"),
        "{error}"
    );
    let error = fails(&mut evaluate("macs,d.csv"));
    assert!(error.contains("commas separate metrics"), "{error}");
}

#[test]
fn numbers_for_people_have_the_digits_that_mean_something() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archs.txt");
    std::fs::write(&file, ok(blocklens().args(["arch", "sample", "-n", "20"]))).unwrap();
    let run = |format: &str| {
        ok(blocklens()
            .args(["--format", format, "evaluate", "--metric", "accuracy,macs"])
            .arg(&file))
    };
    for line in run("text").lines() {
        let digits = line
            .split('\t')
            .nth(2)
            .unwrap()
            .chars()
            .filter(char::is_ascii_digit);
        assert!(digits.count() <= 6, "{line}");
    }
    assert!(
        run("json").lines().any(|line| line.len() > 110),
        "all digits for programs"
    );
}

const STEERING: &str = r#"title = "A \u001b[31mRED\u001b]0;pwn\u0007 \u009b1m\n =cmd|calc"
format = 2
name = "x"
resolutions = [32]
classes = 10
stem = ["conv_k3_s2_c8"]
head = ["pool", "classifier"]
[[unit]]
name = "=1+1 \u001b[31m"
channels = 16
stride = 2
depth = [1,3]
blocks = ["mbconv_e{2,3}_k{3,5}"]
"#;

fn steers(text: &str) -> bool {
    text.chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
}

#[test]
fn nothing_of_others_steers_a_terminal_or_a_spreadsheet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t\u{1b}[31m.toml");
    std::fs::write(&file, STEERING).unwrap();
    let shown = ok(blocklens().args(["space", "show"]).arg(&file));
    assert!(
        !steers(&shown) && shown.contains("\\u001b[31mRED") && shown.contains("\\u000a ="),
        "{shown}"
    );
    let out = folder.path().join("out");
    let mut profile = blocklens();
    profile.args([
        "profile", "-q", "--engine", "mock", "--metric", "macs", "--budget", "12", "--space",
    ]);
    let told = ok(profile.arg(&file).arg("--out").arg(&out));
    assert!(!steers(&told), "{told}");
    for name in ["summary.md", "report.html", "blocks.csv"] {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        assert!(!steers(&text), "{name}");
    }
    let error = fails(
        blocklens()
            .args(["arch", "cost", "r32/\u{1b}[31m", "--space"])
            .arg(&file),
    );
    assert!(!steers(&error), "{error}");
    let json = ok(blocklens()
        .args(["--format", "json", "space", "show"])
        .arg(&file));
    assert!(!steers(&json));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["title"],
        "A \u{1b}[31mRED\u{1b}]0;pwn\u{7} \u{9b}1m\n =cmd|calc"
    );
    let data = || {
        let mut command = blocklens();
        command.env("BLOCKLENS_DATA", folder.path().join("data"));
        command
    };
    let note = "\u{1b}]0;pwn\u{7}note";
    let table = folder.path().join("table.csv");
    std::fs::write(&table, "arch,latency [ms]\n").unwrap();
    ok(data()
        .args(["data", "add", "mine", "--note", note])
        .arg(&table));
    let listed = ok(data().args(["data", "list"]));
    assert!(
        !steers(&listed) && listed.contains("\\u001b]0;pwn\\u0007note"),
        "{listed}"
    );
}

/// Units, failures and names of programs go the same way.
#[test]
#[cfg(unix)]
fn programs_do_not_steer_a_terminal_either() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("meter.sh");
    let body = r#"read -r greeting
printf '%s\n' '{"metrics": [{"name": "energy", "unit": "m\u001b[31mJ", "direction": "lower-is-better"}]}'
read -r question; printf '%s\n' '{"id": 0, "values": {"energy": 4.5}}'
read -r question; printf '%s\n' '{"id": 1, "failure": "too \u001b[31mhot\ttoday"}'
"#;
    std::fs::write(&script, body).unwrap();
    let archs = folder.path().join("archs.txt");
    std::fs::write(&archs, ok(blocklens().args(["arch", "sample", "-n", "2"]))).unwrap();
    let metric = format!("energy@program:sh {}", script.display());
    let mut command = blocklens();
    command
        .args(["evaluate", "--threads", "1", "--metric", &metric])
        .arg(&archs);
    let told = ok(&mut command);
    assert!(!steers(&told), "{told}");
    assert!(
        told.lines().all(|line| line.split('\t').count() == 4),
        "{told}"
    );
}

/// A path that is not UTF-8 is written so that a shell reads it back.
#[test]
#[cfg(target_os = "linux")]
fn a_path_that_is_not_utf_8_is_recorded() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(OsStr::from_bytes(b"out-\xff"));
    let profile = [
        "profile", "-q", "--engine", "mock", "--metric", "macs", "--budget", "12", "--out",
    ];
    ok(blocklens().args(profile).arg(&out));
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let command = report["command"].as_str().unwrap();
    assert!(
        command.ends_with("/out-\\xff'") && command.contains("--out $'"),
        "{command}"
    );
    let mut data = blocklens();
    data.env("BLOCKLENS_DATA", &out)
        .args(["--format", "json", "data", "list"]);
    assert!(ok(&mut data).contains("out-"));
}
