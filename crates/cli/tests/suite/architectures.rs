//! Architectures that come in: as the `ofa` package and those who use it write them, and as other commands do.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{blocklens, fails, ok};

const TEXT: &str = "r192/e4k5,e6k3/e4k5,e6k3,e3k3/e4k5,e6k3/e4k5,e6k3,e3k3,e3k3/e4k5,e6k3";

/// What the package's search keeps of the same network.
fn dictionary() -> Value {
    let layers = |period: [u32; 4]| (0..20).map(|i| period[i % 4]).collect::<Vec<_>>();
    json!({
        "wid": null, "ks": layers([5, 3, 3, 3]), "e": layers([4, 6, 3, 3]), "d": [2, 3, 2, 4, 2], "r": [192],
    })
}

fn run(arguments: &[&str]) -> String {
    ok(blocklens().args(arguments))
}

fn in_folder(folder: &Path) -> Command {
    let mut command = blocklens();
    command.current_dir(folder);
    command
}

#[test]
fn a_dictionary_is_read_wherever_an_architecture_is() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let python = dictionary()
        .to_string()
        .replace("null", "None")
        .replace('"', "'");
    let pretty = serde_json::to_string_pretty(&dictionary()).unwrap();
    let expected = run(&["arch", "cost", "--width", "1.0", TEXT]);
    for notation in [&dictionary().to_string(), &python, &pretty] {
        assert_eq!(run(&["arch", "cost", "--width", "1.0", notation]), expected);
        let file = write("archs.txt", &format!("{notation}\n"));
        assert_eq!(run(&["arch", "cost", "--width", "1.0", &file]), expected);
        let told = run(&["evaluate", "--width", "1.0", "--metric", "macs", &file]);
        assert!(
            told.starts_with(&format!("{TEXT}\tmacs\t")) && told.lines().count() == 1,
            "{told}"
        );
        let model = folder.path().join("net.onnx");
        let model = model.to_str().unwrap();
        assert!(
            run(&["arch", "export", "--width", "1.0", notation, "--out", model]).contains("wrote")
        );
    }
    let line = json!({"arch": dictionary(), "latency [ms]": 14.5}).to_string();
    let table = write("table.jsonl", &line);
    let archs = write("one.txt", TEXT);
    let metric = format!("latency@{table}");
    let told = run(&["evaluate", "--width", "1.0", "--metric", &metric, &archs]);
    assert!(told.contains("\t14.5\tms"), "{told}");
}

#[test]
fn a_resolution_that_is_not_said_is_asked_for() {
    let mut dict = dictionary();
    dict.as_object_mut().unwrap().remove("r");
    let cost = |more: &[&str]| {
        let mut command = blocklens();
        command.args(["arch", "cost", "--width", "1.0", &dict.to_string()]);
        command.args(more);
        command
    };
    assert!(fails(&mut cost(&[])).contains("--resolution"));
    assert!(ok(&mut cost(&["--resolution", "192"])).starts_with(TEXT));
    let other = fails(blocklens().args(["arch", "cost", "--resolution", "224", TEXT]));
    assert!(other.contains("192") && other.contains("224"), "{other}");
}

/// A subnet as the package writes it, with layers that are not there.
#[test]
fn a_zero_layer_is_a_layer_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let space = ["--space", "ofa-proxyless", "--width", "1.0"];
    let arch = run(&[&["arch", "sample", "--seed", "3"], &space[..]].concat());
    let plain = path("plain.json");
    run(&[&["arch", "export", arch.trim(), "-o", &plain], &space[..]].concat());
    let import = |file: &str, more: &[&str]| {
        let mut command = blocklens();
        command
            .args(["arch", "import", file])
            .args(space)
            .args(more);
        command
    };
    let config: Value = serde_json::from_str(&std::fs::read_to_string(&plain).unwrap()).unwrap();
    let zero = |shortcut: Value| {
        let layer = json!({"name": "ZeroLayer"});
        json!({"name": "ResidualBlock", "mobile_inverted_conv": layer, "shortcut": shortcut})
    };
    let identity = json!({"name": "IdentityLayer", "in_channels": [24], "out_channels": [24]});
    let mut with = config.clone();
    let blocks = with["blocks"].as_array_mut().unwrap();
    blocks.insert(2, zero(identity));
    blocks.push(zero(json!({"name": "ZeroLayer"})));
    blocks[1]["shortcut"] = json!({"name": "ZeroLayer"});
    with["resolution"] = json!(160);
    let file = path("zero.json");
    for text in [
        with.to_string(),
        with.to_string()
            .replace("null", "None")
            .replace("true", "True")
            .replace("false", "False"),
    ] {
        std::fs::write(&file, text).unwrap();
        let expected = arch.replace("r224", "r160");
        assert_eq!(ok(&mut import(&file, &[])), expected);
        assert_eq!(ok(&mut import(&file, &["--resolution", "160"])), expected);
        assert!(
            fails(&mut import(&file, &["--resolution", "192"])).contains("says resolution 160")
        );
    }
    // One that is there, and has nothing in it, is told by its number.
    with["blocks"][1]["conv"] = json!({"name": "MBConvLayer", "in_channels": 16});
    std::fs::write(&file, with.to_string()).unwrap();
    let error = fails(&mut import(&file, &[]));
    assert!(
        error.contains("layer 1 of the list") && error.contains("MBConvLayer"),
        "{error}"
    );
}

#[test]
fn what_one_command_writes_another_reads() {
    let folder = tempfile::tempdir().unwrap();
    let here = || in_folder(folder.path());
    let search = [
        "search",
        "-q",
        "--metric",
        "macs,params",
        "--budget",
        "30",
        "--algorithm",
        "random",
    ];
    ok(here().args(search).args(["--output", "s"]));
    let text = std::fs::read_to_string(folder.path().join("s/evaluations.jsonl")).unwrap();
    let archs: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["arch"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let read = |file: &str| {
        let told = ok(here().args(["evaluate", "--metric", "memory", file]));
        told.lines()
            .map(|l| l.split('\t').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(read("s/evaluations.jsonl"), archs);
    let front = read("s/front.csv");
    assert!(!front.is_empty() && front.iter().all(|arch| archs.contains(arch)));
    assert_eq!(read("s/front.json"), front);
    // Lines of one metric each are architectures once.
    ok(here().args([
        "evaluate",
        "--metric",
        "macs,params",
        "s/front.csv",
        "-o",
        "values.jsonl",
    ]));
    assert_eq!(read("values.jsonl"), front);
    ok(here().args([
        "profile", "--engine", "mock", "--budget", "24", "--quiet", "-o", "p",
    ]));
    assert_eq!(read("p/report.json").len(), 24);
    let error = fails(here().args(["evaluate", "--metric", "macs", "s"]));
    assert!(error.contains("front.csv"), "{error}");
}

#[test]
fn the_best_of_a_file_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    let here = || in_folder(folder.path());
    let sizes = [5_u32, 3, 4, 6, 7];
    let rows = sizes.iter().enumerate().map(|(i, size)| {
        let depths = ["2", "3", "4", "2", "3"];
        let arch =
            json!({"ks": 3, "e": 3, "d": depths[i].parse::<u32>().unwrap(), "r": 128 + 16 * i});
        let arch = ok(blocklens().args(["arch", "cost", &arch.to_string()]));
        format!(
            "\"{}\",{size},{}\n",
            arch.lines().next().unwrap(),
            70.0 + f64::from(*size)
        )
    });
    let csv = format!("arch,macs [MMACs],wonder\n{}", rows.collect::<String>());
    std::fs::write(folder.path().join("front.csv"), csv).unwrap();
    let export = |more: &[&str]| {
        let mut command = here();
        command.args(["arch", "export", "front.csv"]).args(more);
        command
    };
    let told = ok(export(&["--best", "3", "-o", "nets/a.json"]).current_dir(folder.path()));
    assert!(
        told.contains("the 3 best of 5 architectures by macs (lower is better)"),
        "{told}"
    );
    let names: Vec<_> = (1..=3).map(|i| format!("nets/a-{i}.json")).collect();
    assert!(
        names
            .iter()
            .all(|name| told.contains(name) && folder.path().join(name).is_file())
    );
    assert!(
        told.lines().nth(1).unwrap().contains("macs 3 MMACs") && told.contains(": r144/"),
        "{told}"
    );
    ok(&mut export(&["--best", "2"]));
    assert!(
        folder
            .path()
            .join("blocklens-export/front-2.onnx")
            .is_file()
    );
    for (more, why) in [
        (vec!["-o", "x.onnx"], "lists 5 architectures: --best"),
        (vec!["--best", "2", "--by", "wonder"], "--higher-is-better"),
        (vec!["--best", "2", "--by", "speed"], "macs, wonder"),
    ] {
        let error = fails(&mut export(&more));
        assert!(error.contains(why), "{more:?}: {error}");
    }
    let wonder = [
        "--best",
        "9",
        "--by",
        "wonder",
        "--higher-is-better",
        "--out",
        "w.json",
        "--format",
        "json",
    ];
    let told = ok(&mut export(&wonder));
    let values: Vec<f64> = told
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["value"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert_eq!(values, [77.0, 76.0, 75.0, 74.0, 73.0]);
}
