//! Files that come in from elsewhere, and whether the work can succeed with them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{blocklens, fails, ok};

/// A folder with files, and commands that run in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    /// The program with these words, run in the folder and with its data sets there.
    fn command(&self, words: &str) -> Command {
        let mut command = blocklens();
        command
            .current_dir(self.0.path())
            .env("BLOCKLENS_DATA", self.path("data"))
            .args(words.split_whitespace())
            .stdin(Stdio::null());
        command
    }

    /// What it says on both streams, which must end well.
    fn says(&self, words: &str) -> (String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(status.success(), "{words}: {stdout}\n{stderr}");
        (stdout, stderr)
    }
}

fn archs(resolution: u32, count: usize, seed: u64) -> Vec<String> {
    let mut command = blocklens();
    command.args(["arch", "sample", "-n", &count.to_string()]);
    command.args(["--resolution", &resolution.to_string()]);
    let text = ok(command.args(["--seed", &seed.to_string()]));
    text.lines().map(str::to_owned).collect()
}

/// A table with these values for architectures at a resolution.
fn table(header: &str, resolution: u32, values: &[&str]) -> String {
    let archs = archs(resolution, values.len(), 3);
    let rows = archs.iter().zip(values);
    let rows: String = rows
        .map(|(arch, value)| format!("\"{arch}\",{value}\n"))
        .collect();
    format!("arch,{header}\n{rows}")
}

/// `count` numbers that rise.
fn rising(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{}", 20 + i)).collect()
}

fn strs(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

/// A run that failed and was written as 0 or -1 leads no front.
#[test]
fn values_that_are_none_by_nature_are_left_out_and_told() {
    let bench = Bench::new();
    let values: Vec<String> = (0..20).map(|i| format!("{},{}", 20 + i, 70 + i)).collect();
    let mut values = strs(&values);
    (values[4], values[9]) = ("0,60", "-1,75");
    bench.write("board.csv", table("latency [ms],accuracy", 160, &values));
    let (_, notes) = bench.says(
        "search --resolution 160 --metric latency@board.csv,accuracy@board.csv --budget 30 --quiet --out out",
    );
    for part in [
        "20 rows read, 18 used",
        "line 6: 0, which must be above 0",
        "line 11: -1",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let front = std::fs::read_to_string(bench.path("out/front.csv")).unwrap();
    assert!(
        front.starts_with("arch,\"latency@board.csv [ms]\",\"accuracy@board.csv\"\n"),
        "{front}"
    );
    assert_eq!(front.lines().count(), 19, "{front}");
    assert!(!front.contains(",0,") && !front.contains(",-1,"), "{front}");
}

/// The same from a program: what it gives is a failure, and recorded as one.
#[test]
#[cfg(unix)]
fn programs_and_records_give_no_latency_of_zero() {
    let bench = Bench::new();
    let script = r#"read -r greeting
echo '{"metrics": [{"name": "latency", "unit": "ms", "direction": "lower-is-better"}]}'
while read -r question; do
    id=${question##*\"id\":}; id=${id%%[!0-9]*}
    echo "{\"id\": $id, \"values\": {\"latency\": $((id % 3))}}"
done
"#;
    bench.write("meter.sh", script);
    bench.write("archs.txt", archs(224, 6, 1).join("\n"));
    let mut command = bench.command("--format json evaluate --threads 1 archs.txt --metric");
    let told = ok(command.arg("latency@program:sh meter.sh"));
    let failed: Vec<bool> = told
        .lines()
        .map(|line| line.contains("\"impossible\""))
        .collect();
    assert_eq!(failed, [true, false, false, true, false, false], "{told}");
    // What an earlier version recorded as a number is none either.
    let profile = |budget: &str| {
        let mut command = bench.command("--format json profile --quiet --out out --budget");
        command
            .arg(budget)
            .args(["--metric", "latency@program:sh meter.sh"]);
        ok(&mut command)
    };
    assert!(profile("12").contains("\"failures\": 4"));
    let store = rusqlite::Connection::open(bench.path("out/measurements.db")).unwrap();
    let as_a_number = "INSERT INTO evaluation (evaluator_id, arch, attempt, value) \
                       SELECT evaluator_id, arch, attempt + 1, 0 FROM evaluation WHERE failure_kind = 'impossible'";
    assert_eq!(store.execute(as_a_number, []).unwrap(), 4);
    drop(store);
    assert!(profile("12").contains("\"failures\": 4"));
}

#[test]
fn what_a_table_has_no_values_for_is_found_before_the_work() {
    let bench = Bench::new();
    bench.write("table.csv", table("accuracy", 160, &strs(&rising(12))));
    for words in [
        "search --metric accuracy@table.csv,macs --budget 10 --out out",
        "compare --metric accuracy@table.csv,macs --seeds 2 --budgets 5 --out out",
        "profile --engine mock --metric accuracy@table.csv --out out",
        "profile --metric accuracy@table.csv,macs --out out",
    ] {
        let error = fails(&mut bench.command(words));
        for part in [
            "accuracy@table.csv",
            "0 architectures at 224 px",
            "12 at 160 px",
            "--resolution 160",
        ] {
            assert!(error.contains(part), "{words}: {part}: {error}");
        }
        assert!(!bench.path("out").exists(), "{words}");
    }
    let few = table("accuracy", 224, &["70", "71"]);
    bench.write("few.csv", few);
    let error =
        fails(&mut bench.command("profile --engine mock --metric accuracy@few.csv --out out"));
    assert!(error.contains("2 architectures at 224 px"), "{error}");
    let error = fails(&mut bench.command(
        "profile --metric accuracy@table.csv --resolution 160 --estimator sampled --out out",
    ));
    assert!(error.contains("--estimator designed"), "{error}");
    // Two tables without an architecture in common.
    let rows: String = archs(160, 12, 9)
        .iter()
        .map(|arch| format!("\"{arch}\",30\n"))
        .collect();
    bench.write("other.csv", format!("arch,latency_ms\n{rows}"));
    let error = fails(&mut bench.command(
        "search --resolution 160 --metric accuracy@table.csv,latency@other.csv --budget 10 --out out",
    ));
    assert!(error.contains("0 of the same architectures"), "{error}");
}

/// A front that is empty is no success.
#[test]
#[cfg(unix)]
fn an_empty_front_is_not_status_0() {
    let bench = Bench::new();
    let script = r#"read -r greeting
echo '{"metrics": [{"name": "energy", "unit": "mJ", "direction": "lower-is-better"}]}'
while read -r question; do
    id=${question##*\"id\":}; id=${id%%[!0-9]*}
    echo "{\"id\": $id, \"values\": {\"energy\": 9}}"
done
"#;
    bench.write("meter.sh", script);
    let mut command =
        bench.command("search --quiet --budget 12 --threads 2 --out out --max energy=3 --metric");
    let error = fails(command.arg("energy@program:sh meter.sh"));
    assert!(error.contains("the front is empty"), "{error}");
    assert!(bench.path("out/evaluations.jsonl").exists());
}

#[test]
fn rows_at_other_resolutions_are_told_at_the_terminal_and_in_the_report() {
    let bench = Bench::new();
    let (here, there) = (
        table("latency [ms]", 224, &strs(&rising(20))),
        table("latency [ms]", 160, &strs(&rising(20))),
    );
    let rows = there.split_once('\n').unwrap().1;
    bench.write("table.csv", format!("{here}{rows}"));
    let (summary, notes) = bench.says("profile --metric latency@table.csv --quiet --out out");
    let page = std::fs::read_to_string(bench.path("out/report.html")).unwrap();
    let head: String = summary.lines().take(6).collect();
    for text in [&head, &notes, &page] {
        assert!(text.contains("20 of the 40 rows"), "{text}");
        assert!(text.contains("--resolution 160"), "{text}");
    }
    let (_, notes) =
        bench.says("search --metric latency@table.csv,macs --budget 9 --quiet --out found");
    assert!(notes.contains("20 of the 40 rows"), "{notes}");
}

/// Numbers of a phone are never taken on this machine.
#[test]
fn a_table_never_starts_a_clock_here() {
    let bench = Bench::new();
    bench.write(
        "phone.csv",
        table(
            "latency_ms,acc",
            224,
            &strs(
                &rising(20)
                    .iter()
                    .map(|v| format!("{v},70"))
                    .collect::<Vec<_>>(),
            ),
        ),
    );
    bench.write(
        "us.csv",
        table(
            "lat(us)",
            224,
            &strs(
                &rising(20)
                    .iter()
                    .map(|v| format!("{v}000"))
                    .collect::<Vec<_>>(),
            ),
        ),
    );
    for metric in [
        "latency_ms@phone.csv,macs",
        "acc@phone.csv",
        "lat(us)@us.csv",
    ] {
        let words = format!("--format json profile --quiet --fresh --out out --metric {metric}");
        let report: serde_json::Value = serde_json::from_str(&bench.says(&words).0).unwrap();
        assert!(report.get("measurement").is_none(), "{metric}");
        assert!(!bench.path("out/measurements.db").exists(), "{metric}");
        let first = &report["profile"]["metrics"][0];
        if metric.contains("lat") {
            assert_eq!(first["metric"]["unit"], "ms", "{metric}");
            assert!(
                first["metric"]["name"]
                    .as_str()
                    .unwrap()
                    .starts_with("latency@")
            );
            let mean = first["mean"]["value"].as_f64().unwrap();
            assert!((mean - 29.5).abs() < 3.0, "{metric}: {mean}");
        }
    }
    let both = bench
        .says(
            "--format json profile --quiet --out both --engine mock --budget 20 --metric \
        latency@phone.csv",
        )
        .0;
    let both: serde_json::Value = serde_json::from_str(&both).unwrap();
    assert_eq!(both["profile"]["metrics"][0]["metric"]["name"], "latency");
    assert_eq!(
        both["profile"]["metrics"][1]["metric"]["name"],
        "latency@phone.csv"
    );
}

#[test]
fn what_a_column_leaves_open_is_said_behind_its_name() {
    let bench = Bench::new();
    bench.write("board.csv", table("fps", 160, &strs(&rising(20))));
    let search = |metric: &str| {
        format!(
            "search --resolution 160 --quiet --budget 10 --out out --fresh --metric {metric},macs"
        )
    };
    let error = fails(&mut bench.command(&search("fps@board.csv")));
    assert!(error.contains("`fps:higher@board.csv`"), "{error}");
    for (metric, unit) in [
        ("fps:higher@board.csv", ""),
        ("fps:1/s:higher@board.csv", " [1/s]"),
    ] {
        let (said, _) = bench.says(&search(metric));
        assert!(
            said.contains(&format!("fps@board.csv{unit}  macs [MMACs]")),
            "{said}"
        );
        assert!(!said.contains("[]"), "{said}");
        let front = std::fs::read_to_string(bench.path("out/front.csv")).unwrap();
        assert!(
            front.starts_with(&format!("arch,\"fps@board.csv{unit}\",")),
            "{front}"
        );
    }
    // Limits are in whatever unit is written, and their metric by whatever name finds it.
    bench.write("phone.csv", table("latency_ms", 160, &strs(&rising(20))));
    let limited = "search --resolution 160 --quiet --budget 30 --out limited --metric latency_ms@phone.csv,macs --max \
        latency=25000us";
    let said = bench.says(limited).0;
    assert!(said.contains("6 architectures evaluated"), "{said}");
    bench.write("bare.csv", table("latency", 160, &strs(&rising(20))));
    let (_, notes) = bench.says(
        "search --resolution 160 --quiet --budget 5 --out bare --metric latency@bare.csv,macs",
    );
    assert!(notes.contains("latency:UNIT@bare.csv"), "{notes}");
    let error = fails(&mut bench.command(
        "search --resolution 160 --metric latency@bare.csv,macs --max latency=25ms --out bare",
    ));
    assert!(error.contains("latency:ms@bare.csv"), "{error}");
}

/// A latency for every layer, as JSON.
fn lookup_json(in_maps: bool) -> String {
    use blocklens_core::seed::Seed;
    use blocklens_core::space::DesignSpace;
    use blocklens_core::surrogate::layer_keys;
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let mut rng = Seed(1).rng();
    let mut keys: Vec<String> = (0..300)
        .flat_map(|_| layer_keys(&space, &space.sample(224, &mut rng).unwrap()).unwrap())
        .collect();
    keys.sort();
    keys.dedup();
    let value = if in_maps {
        "{\"count\": 15, \"mean\": 0.5, \"std\": 0.01}"
    } else {
        "0.5"
    };
    let entries: Vec<String> = keys
        .iter()
        .map(|key| format!(" \"{key}\": {value}"))
        .collect();
    format!("{{\n{}\n}}\n", entries.join(",\n"))
}

#[test]
fn files_are_what_they_hold_whatever_they_are_called() {
    let bench = Bench::new();
    bench.write("a.txt", archs(224, 1, 1).join("\n"));
    let evaluate = |metric: &str| format!("evaluate --metric {metric} a.txt");
    for (name, in_maps) in [("224_lookup_table.json", true), ("phone", false)] {
        bench.write(name, lookup_json(in_maps));
        let said = bench.says(&evaluate(&format!("latency@{name}"))).0;
        assert!(
            said.contains(&format!("\tlatency@{name}\t")) && said.contains("\tms"),
            "{said}"
        );
    }
    bench.write("neither.json", "{\"name\": \"x\", \"version\": 1}");
    let error = fails(&mut bench.command(&evaluate("latency@neither.json")));
    assert!(
        error.contains("neither a latency table") && !error.contains("block model"),
        "{error}"
    );
    let error = fails(&mut bench.command("data add mine neither.json"));
    assert!(error.contains("no metric can read neither.json"), "{error}");
    assert!(!bench.path("data/mine").exists());
    // Parts of a layer that are no latencies are told, and so are their networks.
    bench.write("zero.json", lookup_json(false).replacen(": 0.5", ": 0", 1));
    let mut command = bench.command(&evaluate("latency@zero.json"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("AvgPool2D"), "{told}");
}

/// A safetensors file of these float32 tensors.
fn safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        data.resize(begin + 4 * shape.iter().product::<usize>(), 0_u8);
        header.push(format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{begin},{}]}}",
            data.len()
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &data,
    ]
    .concat()
}

/// Checkpoints as they are published: without an ending, and as training writes them.
#[test]
fn checkpoints_are_known_by_their_tensors() {
    let bench = Bench::new();
    bench.write("a.txt", archs(224, 1, 1).join("\n"));
    let predictor = safetensors(&[
        ("layers.0.0.weight", &[8, 124]),
        ("layers.0.0.bias", &[8]),
        ("layers.3.weight", &[1, 8]),
        ("base_acc", &[1]),
    ]);
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/supernets/mbv3.pth");
    let supernet = std::fs::read(golden).unwrap();
    for name in ["ofa_mbv3_d234_e346_k357_w1.2", "model_best.pth.tar"] {
        bench.write(name, &predictor);
        let error = fails(&mut bench.command(&format!("evaluate --metric accuracy@{name} a.txt")));
        assert!(error.contains("a predictor with 124 inputs"), "{error}");
        let error = fails(&mut bench.command(&format!("data add trained {name}")));
        assert!(error.contains("a predictor with 124 inputs"), "{error}");
        bench.write(name, &supernet);
        let wants_images = |metric: &str| {
            let error = fails(&mut bench.command(&format!("evaluate --metric {metric} a.txt")));
            assert!(error.contains("--images FOLDER"), "{error}");
        };
        wants_images(&format!("accuracy@{name}"));
        bench.says(&format!("data add trained {name}"));
        wants_images("accuracy@trained");
    }
}

/// Lines are those that an editor shows, however the file was saved.
#[test]
fn text_is_read_however_it_was_saved() {
    let bench = Bench::new();
    let text = table("latency [ms]", 160, &["11", "oops", "13"]);
    let windows = text.replace('\n', "\r\n");
    let utf16 = |text: &str| -> Vec<u8> {
        format!("\u{feff}{text}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    };
    let archs: String = archs(160, 3, 3)
        .iter()
        .map(|arch| format!("{arch}\r\n"))
        .collect();
    let inputs = [
        archs.clone().into_bytes(),
        format!("\u{feff}{archs}").into_bytes(),
        utf16(&archs),
    ];
    for (bytes, input) in [
        text.into_bytes(),
        windows.clone().into_bytes(),
        utf16(&windows),
    ]
    .iter()
    .zip(inputs)
    {
        bench.write("table.csv", bytes);
        bench.write("archs.txt", input);
        let (said, notes) = bench.says("evaluate --metric latency@table.csv archs.txt");
        assert!(notes.contains("line 3: `oops`"), "{notes}");
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(
            said.contains("\t11\tms\n") && said.contains("no-value"),
            "{said}"
        );
    }
    bench.write(
        "table.csv",
        b"arch,latency\r\n\"r160\",3\r\nJ\xfcrgen,4\r\n",
    );
    let error = fails(&mut bench.command("evaluate --metric latency@table.csv archs.txt"));
    assert!(
        error.contains("table.csv") && error.contains("line 3"),
        "{error}"
    );
    let space = ok(bench
        .command("space show ofa-mbv3 --source")
        .stdin(Stdio::null()));
    let marked = utf16(&space.replace('\n', "\r\n"));
    bench.write("space.toml", &marked);
    assert!(bench.says("space show space.toml").0.contains("ofa-mbv3"));
    bench.write("space.toml", b"name = \"a\"\n# J\xfcrgen\n");
    let error = fails(&mut bench.command("space show space.toml"));
    assert!(
        error.contains("space.toml") && error.contains("line 2"),
        "{error}"
    );
}

/// What somebody with a phone and a table of its measurements wants: a network that the table does not have.
#[test]
fn a_table_of_measurements_leads_to_a_network_for_it() {
    let bench = Bench::new();
    bench.write("phone.csv", table("latency_ms", 160, &strs(&rising(60))));
    bench.says(
        "profile --quiet --resolution 160 --metric latency_ms@phone.csv,accuracy --out phone",
    );
    bench.says("reduce phone --out reduced");
    let search =
        "search --quiet --budget 40 --resolution 160 --space reduced/space.toml --out found";
    let found = bench
        .says(&format!(
            "{search} --metric latency_ms@model:phone/model.json,accuracy"
        ))
        .0;
    assert!(found.contains("40 architectures evaluated"), "{found}");
    bench.says("arch export found/front.csv --best 2 --space reduced/space.toml --output networks");
    assert!(bench.path("networks/front-2.onnx").exists());
}

/// What another table taught would pass for this one's.
#[test]
fn a_model_of_an_earlier_table_does_not_stay() {
    let bench = Bench::new();
    let profile =
        "profile --quiet --fresh --resolution 160 --metric latency_ms@phone.csv --out phone";
    bench.write("phone.csv", table("latency_ms", 160, &strs(&rising(60))));
    bench.says(profile);
    assert!(bench.path("phone/model.json").exists());
    bench.write("phone.csv", table("latency_ms", 160, &strs(&rising(8))));
    let (_, error) = bench.says(profile);
    assert!(
        error.contains("8 evaluations are too few") && error.contains("needs 9"),
        "{error}"
    );
    assert!(!bench.path("phone/model.json").exists());
}

/// What helps is said where it is missing.
#[test]
fn messages_name_what_would_help() {
    let bench = Bench::new();
    bench.write("noise.bin", [b'[', b'\n', 0xff, b'\n']);
    let error = fails(&mut bench.command("evaluate --metric macs noise.bin"));
    assert!(error.contains("0xff, which is not UTF-8"), "{error}");
    bench.write("acc.csv", table("acc", 160, &strs(&rising(20))));
    let (_, error) = bench.says("profile --quiet --resolution 160 --metric acc@acc.csv --out acc");
    assert!(
        error.contains("nothing says in which unit accuracy@acc.csv is"),
        "{error}"
    );
    let (text, _) = bench.says(concat!(
        "space show ",
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/efficientnet.toml"
    ));
    assert!(text.contains("by block"), "{text}");
}
