//! Metrics by name: data sets, profiles without a device, and evaluating.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{blocklens, fails, ok};

/// The program with a folder of data sets of its own.
fn with_data(folder: &Path) -> Command {
    let mut command = blocklens();
    command.env("BLOCKLENS_DATA", folder);
    command
}

/// The published files, where they are at hand.
fn published() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !folder.is_dir() {
        eprintln!("skipped: the published data sets are not at hand");
        return None;
    }
    Some(folder)
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A table of one number for every layer that OFA-MobileNetV3 can have at 224 pixels.
fn made_up_table(file: &Path) {
    use blocklens_core::seed::Seed;
    use blocklens_core::space::DesignSpace;
    use blocklens_core::surrogate::{LookupTable, layer_keys};
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let mut rng = Seed(1).rng();
    let keys = (0..300).flat_map(|_| {
        let arch = space.sample(224, &mut rng).unwrap();
        layer_keys(&space, &arch).unwrap()
    });
    let table = LookupTable::new("made up", keys.map(|key| (key, 0.5))).unwrap();
    std::fs::write(file, table.to_yaml()).unwrap();
}

#[test]
fn data_sets_of_ones_own_are_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let (data, table) = (folder.path().join("data"), folder.path().join("t.yaml"));
    made_up_table(&table);
    let listed = json(&ok(
        with_data(&data).args(["--format", "json", "data", "list"])
    ));
    assert_eq!(listed["sets"].as_array().unwrap().len(), 4);
    assert!(
        listed["sets"]
            .as_array()
            .unwrap()
            .iter()
            .all(|set| set["state"] == "not here")
    );
    ok(with_data(&data)
        .args(["data", "add", "my-board", "--note", "a board"])
        .arg(&table));
    assert!(ok(with_data(&data).args(["data", "list"])).contains("my-board       here"));
    let report = ok(with_data(&data)
        .args(["--format", "json", "profile", "--metric"])
        .args(["latency@my-board,macs", "--budget", "300", "--out"])
        .arg(folder.path().join("out")));
    let report = json(&report);
    let latency = &report["profile"]["metrics"][0];
    assert_eq!(latency["metric"]["name"], "latency@my-board");
    assert_eq!(latency["metric"]["origin"], "surrogate");
    assert!(report.get("measurement").is_none());
    assert!(
        report["provenance"]["inputs"][0]["hash"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    // Every layer takes as long: no block has an effect, and depth has one of half a millisecond a layer.
    for block in latency["blocks"].as_array().unwrap() {
        assert!(
            block["effect"]["value"].as_f64().unwrap().abs() < 1e-3,
            "{block}"
        );
    }
    assert!(folder.path().join("out/report.html").exists());
    assert!(!folder.path().join("out/measurements.db").exists());
}

/// The same seed gives the same numbers, to the last digit, on any number of threads.
#[test]
fn profiles_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.yaml");
    made_up_table(&table);
    let computed = format!("latency@{},accuracy", table.display());
    for (engine, what) in [
        ("mock", ["--metric", &computed, "--budget", "100"]),
        ("mock:noise=0.02", ["--metric", "macs", "--budget", "24"]),
    ] {
        let with = |threads: &str| {
            let out = folder.path().join(format!("{engine}-{threads}"));
            let mut command = blocklens();
            command.args(["profile", "--quiet", "--engine", engine]);
            command.args(what).args(["--threads", threads, "--out"]);
            ok(command.arg(&out));
            let report = std::fs::read_to_string(out.join("report.json")).unwrap();
            json(&report)["profile"].clone()
        };
        assert_eq!(with("1"), with("2"), "{engine}");
    }
}

#[test]
fn names_that_give_no_metric_get_errors_that_help() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.display().to_string()
    };
    let (cut, odd) = (file("cut.yaml", "Conv-input:224x2"), file("odd.txt", "?"));
    let pickle = file("p.pth", "\u{80}\u{2}cos\nsystem\n(S'true'\ntR.");
    for (metric, why) in [
        ("speed".to_owned(), "there is no metric `speed`"),
        ("latency@note10".into(), "blocklens data fetch note10"),
        ("latency@note11".into(), "there is no data set `note11`"),
        ("latency@../../etc".into(), "cannot read"),
        (format!("latency@{cut}"), "is not a latency table"),
        (format!("accuracy@{odd}"), "nothing is known to do with"),
        (format!("accuracy@{cut}"), "write latency@"),
        (format!("accuracy@{pickle}"), "p.pth"),
    ] {
        let mut command = with_data(folder.path());
        let error = fails(
            command
                .args(["evaluate", "--metric", &metric])
                .stdin(Stdio::null()),
        );
        assert!(error.contains(why), "{metric}: {error}");
    }
    let mut fetch = with_data(folder.path());
    let error = fails(fetch.args(["data", "fetch", "note10", "--from", "/nowhere/at/all"]));
    assert!(
        error.contains("/nowhere/at/all/note10/160_lookup_table.yaml"),
        "{error}"
    );
    assert!(
        fails(with_data(folder.path()).args(["data", "fetch", "x"])).contains("no data set `x`")
    );
}

/// Lines in, lines out.
fn evaluate(arguments: &[&str], input: &str) -> (String, String) {
    let mut child = blocklens()
        .arg("evaluate")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn evaluating_answers_line_by_line_and_goes_on() {
    let archs = ok(blocklens().args(["arch", "sample", "-n", "3000"]));
    let dictionaries = ok(blocklens().args(["--format", "json", "arch", "sample", "-n", "3000"]));
    let arguments = [
        "--format",
        "json",
        "--metric",
        "macs,params",
        "--threads",
        "2",
    ];
    let (told, nothing) = evaluate(&arguments, &archs);
    assert_eq!(evaluate(&arguments, &dictionaries).0, told);
    assert_eq!(nothing, "", "nothing to complain about");
    let lines: Vec<serde_json::Value> = told.lines().map(json).collect();
    assert_eq!(lines.len(), 6_000);
    for (arch, pair) in archs.lines().zip(lines.chunks(2)) {
        assert!(pair.iter().all(|line| line["arch"] == arch));
        assert_eq!(
            (&pair[0]["metric"], &pair[1]["metric"]),
            (&"macs".into(), &"params".into())
        );
    }
    let costs = ok(blocklens().args([
        "--format",
        "json",
        "arch",
        "cost",
        archs.lines().next().unwrap(),
    ]));
    let macs = json(&costs)["macs"].as_f64().unwrap();
    assert!((lines[0]["value"].as_f64().unwrap() - macs / 1e6).abs() < 1e-9);

    // What has no value says why, and the others go on.
    let low = archs.lines().next().unwrap().replace("r224", "r132");
    let mixed = format!(
        "nonsense\n\n{low}\n{{\"arch\": 3}}\n{}",
        archs.lines().next().unwrap()
    );
    let (told, complaint) = evaluate(&["--format", "json", "--metric", "accuracy"], &mixed);
    let kinds: Vec<serde_json::Value> = told.lines().map(|l| json(l)["failure"].clone()).collect();
    assert_eq!(
        kinds,
        [
            "not-an-architecture".into(),
            "not-applicable".into(),
            "not-an-architecture".into(),
            serde_json::Value::Null
        ]
    );
    assert!(
        told.lines()
            .take(3)
            .all(|line| json(line)["value"].is_null())
    );
    assert!(
        complaint.contains("2 lines are not architectures"),
        "{complaint}"
    );

    // A file goes on where it stopped, even in the middle of a line.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.jsonl");
    let output = ["--metric", "macs", "--output", file.to_str().unwrap()];
    let half: String = archs
        .lines()
        .take(1_500)
        .map(|line| format!("{line}\n"))
        .collect();
    evaluate(&output, &half);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 7]).unwrap();
    let (_, complaint) = evaluate(&output, &archs);
    assert!(
        complaint.starts_with("1499 architectures had all their values"),
        "{complaint}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let found: Vec<String> = text
        .lines()
        .map(|l| json(l)["arch"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, archs.lines().collect::<Vec<_>>());
    std::fs::write(&file, "my shopping list\n").unwrap();
    let mut again = blocklens();
    let error = fails(again.arg("evaluate").args(output).stdin(Stdio::null()));
    assert!(error.contains("line 1 is none of its lines"), "{error}");
}

#[test]
fn tables_of_measured_values_are_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let archs = ok(blocklens().args(["arch", "sample", "-n", "300"]));
    let (macs, _) = evaluate(&["--format", "json", "--metric", "macs"], &archs);
    let rows = macs.lines().map(json).map(|line| {
        let (arch, value) = (
            line["arch"].as_str().unwrap(),
            line["value"].as_f64().unwrap(),
        );
        format!("\"{arch}\",{}\n", value / 10.0)
    });
    let table = folder.path().join("board.csv");
    let rows: String = rows.collect();
    let header = "arch,latency [ms]\n";
    std::fs::write(&table, format!("{header}{rows}\"r224/e9k9\",5\n")).unwrap();
    let metric = format!("latency@{}", table.display());
    let (told, note) = evaluate(&["--format", "json", "--metric", &metric], &archs);
    assert!(
        note.contains("301 rows read, 300 used") && note.contains("line 302"),
        "{note}"
    );
    for (line, macs) in told.lines().map(json).zip(macs.lines().map(json)) {
        let (ms, macs) = (
            line["value"].as_f64().unwrap(),
            macs["value"].as_f64().unwrap(),
        );
        assert!((ms - macs / 10.0).abs() < 1e-9);
        assert_eq!(line["unit"], "ms");
    }
    let (other, _) = evaluate(
        &["--format", "json", "--metric", &metric],
        &archs.replace("r224", "r160"),
    );
    assert!(
        other
            .lines()
            .all(|line| json(line)["failure"] == "no-value")
    );
    // A profile takes the architectures that are there, and finds what MACs give.
    let report = json(&ok(blocklens()
        .args(["--format", "json", "profile", "--metric", &metric, "--out"])
        .arg(folder.path().join("out"))));
    let latency = &report["profile"]["metrics"][0];
    assert_eq!(latency["evaluations"], 300);
    assert_eq!(latency["metric"]["origin"], "measured");
    let largest =
        latency["averages"].as_array().unwrap().iter().find(|a| {
            a["unit"].is_null() && a["kernel"] == 7 && a["expansion"].as_f64() == Some(6.0)
        });
    assert!(largest.unwrap()["effect"]["low"].as_f64().unwrap() > 0.0);
}

/// A program whose answers fail for every third architecture, in three ways, and its hang.
#[test]
#[cfg(unix)]
fn programs_are_metrics_and_their_failures_never_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("meter.sh");
    let body = r#"read -r greeting
echo '{"metrics": [{"name": "energy", "unit": "mJ", "direction": "lower-is-better"}]}'
while read -r question; do
    id=$(printf '%s' "$question" | sed 's/.*"id":\([0-9]*\).*/\1/')
    case $((id % 12)) in
        2) echo 'what?' ;;
        5) exit 9 ;;
        8) echo "{\"id\": $id, \"failure\": \"too hot\"}" ;;
        11) sleep 600 ;;
        *) echo "{\"id\": $id, \"values\": {\"energy\": 4.5}}" ;;
    esac
done
"#;
    std::fs::write(&script, body).unwrap();
    let metric = format!("energy@program:sh {}", script.display());
    let archs = ok(blocklens().args(["arch", "sample", "-n", "12"]));
    let arguments = [
        "--format",
        "json",
        "--metric",
        &metric,
        "--threads",
        "1",
        "--time-limit",
        "2",
    ];
    let (told, complaint) = evaluate(&arguments, &archs);
    let lines: Vec<serde_json::Value> = told.lines().map(json).collect();
    let expected = [(2, "answer"), (5, "crash"), (8, "engine"), (11, "hang")];
    for (i, line) in lines.iter().enumerate() {
        match expected.iter().find(|(at, _)| *at == i) {
            Some((_, kind)) => assert!(
                line["failure"] == *kind && line["value"].is_null(),
                "{line}"
            ),
            None => assert!(line["value"] == 4.5 && line["unit"] == "mJ", "{line}"),
        }
        assert_eq!(line["metric"], "energy@meter.sh");
    }
    assert_eq!(lines.len(), 12);
    assert!(
        complaint.contains("no value for 1 of 12 architectures (hang)"),
        "{complaint}"
    );
    let mut dead = blocklens();
    dead.args(["evaluate", "--metric", "energy@program:sh -c 'exit 3'"]);
    assert!(fails(dead.stdin(Stdio::null())).contains("exit status: 3"));
}

/// The commands of the documentation that need published data.
#[test]
fn published_data_sets_are_brought_and_profiled() {
    let Some(shared) = published() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let fetched = ok(with_data(&data)
        .args(["data", "fetch", "note10", "ofa", "--from"])
        .arg(&shared));
    assert!(fetched.contains("224_lookup_table.yaml") && fetched.contains("acc_predictor.pth"));
    let again = ok(with_data(&data).args(["data", "fetch", "ofa", "--from", "/nowhere"]));
    assert!(again.contains("here already"), "{again}");
    ok(with_data(&data)
        .args(["data", "add", "pixel"])
        .arg(shared.join("proxylessnas/mobile_trim.yaml")));
    // Its table lacks expansion 4: that is said, and nothing is guessed.
    let error = fails(
        with_data(&data)
            .args(["profile", "--space", "ofa-proxyless", "--width", "1.0"])
            .args(["--metric", "latency@pixel", "--out"])
            .arg(folder.path().join("pixel")),
    );
    assert!(
        error.contains("no entry `") && error.contains("expand:4"),
        "{error}"
    );
    for estimator in ["pooled", "sampled", "legacy"] {
        let report = json(&ok(with_data(&data)
            .args(["--format", "json", "profile", "--metric"])
            .args([
                "latency@note10,accuracy@ofa",
                "--estimator",
                estimator,
                "--out",
            ])
            .arg(folder.path().join(estimator))));
        let warned = report["warnings"].as_array().unwrap().len();
        assert_eq!(warned, usize::from(estimator == "legacy"));
        let averages = report["profile"]["metrics"][0]["averages"]
            .as_array()
            .unwrap();
        let largest = averages.iter().find(|a| {
            a["unit"].is_null() && a["kernel"] == 7 && a["expansion"].as_f64() == Some(6.0)
        });
        let effect = largest.unwrap()["effect"]["value"].as_f64().unwrap();
        // 1.90 ms in truth; what `legacy` loses is told in docs/depth-slip.md.
        let expected = if estimator == "legacy" { 1.43 } else { 1.90 };
        assert!((effect - expected).abs() < 0.35, "{estimator}: {effect}");
    }
}
