use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::network::cost;
use crate::ofa::OfaDict;
use crate::profile::exact_means;
use crate::seed::Seed;
use crate::space::test_spaces;

fn builtin(name: &str, width: f64) -> DesignSpace {
    DesignSpace::builtin(name, Some(width)).unwrap()
}

/// A table with an entry for every layer that `archs` have, with made-up latencies.
fn made_up(space: &DesignSpace, archs: &[Architecture]) -> LookupTable {
    let keys = archs.iter().flat_map(|a| layer_keys(space, a).unwrap());
    let latency = |key: &str| {
        let sum: u64 = key.bytes().zip(1..).map(|(b, i)| u64::from(b) * i).sum();
        (1 + sum % 997) as f64 / 31.0
    };
    LookupTable::new("made up", keys.map(|key| (key.clone(), latency(&key)))).unwrap()
}

fn draw(space: &DesignSpace, resolution: u32, count: u64) -> Vec<Architecture> {
    let mut rng = Seed(3).rng();
    (0..count)
        .map(|_| space.sample(resolution, &mut rng).unwrap())
        .collect()
}

#[test]
fn sums_equal_looking_up_every_layer() {
    for (name, width) in [("ofa-mbv3", 1.2), ("ofa-mbv3", 1.0), ("ofa-proxyless", 1.3)] {
        let space = builtin(name, width);
        let archs: Vec<Architecture> = [160, 196, 224]
            .iter()
            .flat_map(|r| draw(&space, *r, 200))
            .collect();
        let table = made_up(&space, &archs);
        assert_eq!(table.resolutions(), [160, 196, 224]);
        let metric =
            LookupLatency::new("latency@made-up", &space, std::slice::from_ref(&table)).unwrap();
        for arch in &archs {
            let keys = layer_keys(&space, arch).unwrap();
            let naive: f64 = keys.iter().map(|key| table.get(key).unwrap()).sum();
            let value = metric.evaluate(arch).unwrap();
            assert!((value - naive).abs() < 1e-9, "{value} {naive}");
        }
        let error = metric
            .evaluate(&space.smallest(128).unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("160, 196 and 224") && error.contains("128"),
            "{error}"
        );
    }
}

#[test]
fn missing_layers_are_named_and_never_a_number() {
    let space = builtin("ofa-mbv3", 1.2);
    let archs = draw(&space, 224, 300);
    let whole = made_up(&space, &archs);
    let lacking = |key: &str| {
        let keys = archs.iter().flat_map(|a| layer_keys(&space, a).unwrap());
        let kept = keys
            .filter(|k| k != key)
            .map(|k| (k.clone(), whole.get(&k).unwrap()));
        LookupTable::new("lacking", kept.collect::<Vec<_>>()).unwrap()
    };
    let keys = layer_keys(&space, &archs[0]).unwrap();
    let metric = LookupLatency::new("m", &space, &[lacking(&keys[5])]).unwrap();
    for arch in &archs {
        let needs = layer_keys(&space, arch).unwrap().contains(&keys[5]);
        match metric.evaluate(arch) {
            Ok(_) => assert!(!needs),
            Err(error) => assert!(needs && error.to_string().contains(&keys[5]), "{error}"),
        }
    }
    let last = keys.last().unwrap();
    let error = LookupLatency::new("m", &space, &[lacking(last)]).unwrap_err();
    assert!(error.to_string().contains(last), "{error}");
    let narrow = LookupLatency::new("m", &builtin("ofa-mbv3", 1.0), std::slice::from_ref(&whole))
        .unwrap_err();
    assert!(
        narrow
            .to_string()
            .contains("no entry `Conv-input:224x224x3"),
        "{narrow}"
    );
    let twice = LookupLatency::new("m", &space, &[whole.clone(), whole.clone()]).unwrap_err();
    assert!(twice.to_string().contains("two of its tables"), "{twice}");
    for other in test_spaces() {
        if other.ofa().is_none() || other.name() == "ofa-resnet50" {
            assert!(
                LookupLatency::new("m", &other, std::slice::from_ref(&whole)).is_err(),
                "{}",
                other.name()
            );
        }
    }
}

#[test]
fn files_that_are_no_tables_are_refused() {
    let good = "Conv-input:32x32x3-output:16x16x8:\n  count: 5\n  mean: 1.5\n  std: 0.1\n";
    let table = LookupTable::read("t.yaml", good).unwrap();
    assert_eq!(table.get("Conv-input:32x32x3-output:16x16x8"), Some(1.5));
    assert_eq!(
        LookupTable::read("t.yaml", &table.to_yaml()).unwrap(),
        table
    );
    for (text, why) in [
        ("", "t.yaml"),
        ("just words", "is not a latency table"),
        ("a: {mean: 1}\n", "no entry that begins with `Conv-input:`"),
        (
            "Conv-input:32x32x3-output:16x16x8:\n  cou",
            "is not a latency table",
        ),
        ("Conv-input:32x32x3-output:16x16x8:\n  count: 5\n", "mean"),
        (
            "{\"Conv-input:32x32x3-output:16x16x8\": {\"count\": 5}}",
            "mean",
        ),
        (
            "{\"Conv-input:32x32x3-output:16x16x8\": {\"mean\": 5}",
            "line 1",
        ),
        (
            "{\"Conv-input:32x32x3-output:16x16x8\": 1,\n \"Conv-input:32x32x3-output:16x16x8\": 2}",
            "stands twice",
        ),
        ("{\"a\": [1, 2]}", "milliseconds, or a map"),
        ("Conv-input:32x32x3-output:16x16x8: {mean: fast}", "fast"),
        ("a: &a {mean: 1}\nb: [*a, *a\n", "is not a latency table"),
    ] {
        let error = LookupTable::read("t.yaml", text).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
}

/// JSON is read as YAML is, with latencies alone or in maps, and so is what a program of Windows saved.
#[test]
fn tables_are_read_however_they_are_written() {
    let (conv, other) = (
        "Conv-input:32x32x3-output:16x16x8",
        "Conv_1-input:7x7x8-output:7x7x9",
    );
    let in_maps = format!(
        "{{\n \"{conv}\": {{\"count\": 15, \"mean\": 1.5, \"std\": 1e-4}},\n \"{other}\": {{\"mean\": 2}}\n}}\n"
    );
    let alone = format!("{{\"{conv}\": 1.5, \"{other}\": 2}}");
    let yaml = format!("{conv}: 1.5\n{other}: {{mean: 2, var: [1, {{a: b}}]}}\n");
    let expected =
        LookupTable::new("t", [(conv.to_owned(), 1.5), (other.to_owned(), 2.0)]).unwrap();
    for text in [&in_maps, &alone, &yaml] {
        let marked = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let utf16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [text.as_bytes(), marked.as_bytes(), &utf16] {
            assert_eq!(LookupTable::read("t", bytes).unwrap(), expected, "{text}");
        }
    }
    let error = LookupTable::read(
        "t.yaml",
        b"a:\r\n  mean: 1\r\n  by: J\xfcrgen\r\n".as_slice(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("t.yaml") && error.contains("line 3"),
        "{error}"
    );
}

/// A layer of no time was not measured: its networks have no value, and the others keep theirs.
#[test]
fn entries_that_are_no_latencies_are_set_aside_and_told() {
    let space = builtin("ofa-mbv3", 1.2);
    let archs = draw(&space, 224, 300);
    let whole = made_up(&space, &archs);
    let keys = layer_keys(&space, &archs[0]).unwrap();
    for bad in ["0", "-1.5", ".nan", ".inf", "0.0", "1e9"] {
        let (key, wrong) = (&keys[5], format!("{}:\n  mean: {bad}\n", keys[5]));
        let good = format!("{key}:\n  mean: {:?}\n", whole.get(key).unwrap());
        let text = whole.to_yaml().replace(&good, &wrong);
        assert_ne!(text, whole.to_yaml());
        let table = LookupTable::read("t", &text).unwrap();
        let note = table.note().unwrap();
        assert!(
            note.contains("t: 1 of") && note.contains(key.as_str()),
            "{note}"
        );
        let metric = LookupLatency::new("m", &space, &[table]).unwrap();
        let failed = archs.iter().filter(|arch| metric.evaluate(arch).is_err());
        let needing = archs
            .iter()
            .filter(|arch| layer_keys(&space, arch).unwrap().contains(key));
        assert_eq!(failed.count(), needing.count(), "{bad}");
    }
    assert_eq!(whole.note(), None);
    let first = format!("{}: 0", keys[0]);
    let table = LookupTable::read("t", &first).unwrap();
    let error = LookupLatency::new("m", &space, &[table])
        .unwrap_err()
        .to_string();
    assert!(error.contains(&keys[0]), "{error}");
}

/// Ten times ten times ... of the same list, in a part of the file that is not even used.
#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let list =
        |i: u32, item: &str| format!("k{i}: {{mean: 1, x: &a{i} [{}]}}\n", [item; 10].join(","));
    let bomb: String = (1..12).map(|i| list(i, &format!("*a{}", i - 1))).collect();
    let error = LookupTable::read("t.yaml", &(list(0, "x") + &bomb)).unwrap_err();
    assert!(error.to_string().contains("budget"), "{error}");
}

/// With the terms that the metric gives, means over the space are exact: the truth that estimators are held against.
#[test]
fn terms_give_exact_means() {
    let space = builtin("ofa-mbv3", 1.2);
    let archs = draw(&space, 192, 4_000);
    let table = made_up(&space, &archs);
    let metric = LookupLatency::new("m", &space, std::slice::from_ref(&table)).unwrap();
    let (fixed, term) = metric.terms(192).unwrap();
    let means = exact_means(
        &space,
        |unit, choice| term(unit, choice.blocks).unwrap(),
        fixed,
    );
    let average = archs
        .iter()
        .map(|a| metric.evaluate(a).unwrap())
        .sum::<f64>()
        / 4_000.0;
    assert!(
        (means[0] / average - 1.0).abs() < 0.02,
        "{} {average}",
        means[0]
    );
}

#[derive(Deserialize)]
struct Golden {
    #[serde(flatten)]
    dict: OfaDict,
    latency_ms: f64,
}

/// Latencies that the `ofa` package computes from its published tables, where these are at hand.
#[test]
fn published_tables_give_what_the_package_computes() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let note10: Vec<PathBuf> = [160, 176, 192, 208, 224]
        .map(|r| data.join(format!("ofa/note10/{r}_lookup_table.yaml")))
        .to_vec();
    let pixel = vec![data.join("proxylessnas/mobile_trim.yaml")];
    let golden = include_str!("../../../tests/golden/lookup_latencies.json");
    let golden: BTreeMap<String, Vec<Golden>> = serde_json::from_str(golden).unwrap();
    for (set, files, space) in [
        ("note10", note10, builtin("ofa-mbv3", 1.2)),
        ("pixel", pixel, builtin("ofa-proxyless", 1.0)),
    ] {
        let Ok(texts) = files
            .iter()
            .map(std::fs::read_to_string)
            .collect::<Result<Vec<_>, _>>()
        else {
            eprintln!("skipped: the published latency tables are not at hand ({set})");
            continue;
        };
        let tables = texts
            .iter()
            .map(|text| LookupTable::read(set, text).unwrap());
        let tables: Vec<LookupTable> = tables.collect();
        let metric = LookupLatency::new(&format!("latency@{set}"), &space, &tables).unwrap();
        assert!(golden[set].len() >= 50);
        for Golden { dict, latency_ms } in &golden[set] {
            let value = metric.evaluate(&space.from_ofa(dict).unwrap()).unwrap();
            assert!(
                (value - latency_ms).abs() < 1e-9,
                "{dict:?}: {value} {latency_ms}"
            );
        }
    }
}

/// The entries of a table make up every network of the space, in any space.
#[test]
fn entries_make_up_every_network() {
    let mut spaces = test_spaces();
    spaces.push(builtin("ofa-proxyless", 1.0));
    for space in spaces {
        let resolution = space.default_resolution();
        let all = all_entries(&space, resolution).unwrap();
        let by_key: BTreeMap<&String, u64> = all
            .iter()
            .map(|e| (&e.key, cost(&e.network()).macs.0))
            .collect();
        assert_eq!(by_key.len(), all.len(), "each once");
        // One more each: some layers have none, and no latency is 0.
        let more = |macs: u64| (macs + 1) as f64 / 1e9;
        let means = by_key
            .iter()
            .map(|(key, macs)| ((*key).clone(), more(*macs)));
        let table = LookupTable::new("macs", means);
        let table = table.unwrap();
        assert_eq!(table.resolutions(), [resolution], "{}", space.name());
        let metric = LookupLatency::new("m", &space, &[table]).unwrap();
        for arch in draw(&space, resolution, 60) {
            let macs = cost(&space.network(&arch)).macs.0;
            let entries = entries(&space, &arch);
            let sum: u64 = entries.iter().map(|e| by_key[&e.key]).sum();
            assert_eq!(sum, macs, "{}", space.print(&arch));
            let expected = (macs + entries.len() as u64) as f64 / 1e9;
            assert!((metric.evaluate(&arch).unwrap() - expected).abs() < 1e-9);
        }
    }
}

/// Keys and their number are those of the published tables, where these are at hand.
#[test]
fn entries_are_those_of_the_published_tables() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    for resolution in [160, 176, 192, 208, 224] {
        let file = data.join(format!("ofa/note10/{resolution}_lookup_table.yaml"));
        let Ok(text) = std::fs::read_to_string(file) else {
            eprintln!("skipped: the published latency tables are not at hand");
            return;
        };
        let published = LookupTable::read("note10", &text).unwrap();
        let space = builtin("ofa-mbv3", 1.2);
        let all = all_entries(&space, resolution).unwrap();
        assert_eq!(all.len(), text.matches("mean:").count());
        assert!(all.iter().all(|entry| published.get(&entry.key).is_some()));
    }
}

#[test]
fn timed_tables_are_read_back() {
    let layer = |mean| TimedLayer {
        count: 15,
        mean,
        std: 0.25,
    };
    let layers = BTreeMap::from([
        (
            "Conv-input:32x32x3-output:16x16x8".to_owned(),
            layer(1.0 / 3.0),
        ),
        (
            "Image-conv_k3-input:64x64x3-output:32x32x8-stride:2-act:relu-se:0".to_owned(),
            layer(1e-7),
        ),
    ]);
    let table = LookupTable::read("t", &timed_yaml(&layers)).unwrap();
    assert_eq!(table.resolutions(), [32, 64]);
    for (key, layer) in &layers {
        assert_eq!(table.get(key), Some(layer.mean));
    }
}

#[test]
fn architectures_of_other_spaces_are_refused() {
    let (space, other) = (builtin("ofa-mbv3", 1.2), builtin("ofa-proxyless", 1.3));
    let archs = draw(&space, 224, 4);
    let metric = LookupLatency::new("m", &space, &[made_up(&space, &archs)]).unwrap();
    let error = metric.evaluate(&draw(&other, 224, 1)[0]).unwrap_err();
    assert!(
        matches!(error, MetricError::NotApplicable { .. }),
        "{error}"
    );
}
