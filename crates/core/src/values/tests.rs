use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::metric::Direction;
use crate::seed::Seed;
use crate::space::test_spaces;

fn mbv3() -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap()
}

fn latency() -> Wanted<'static> {
    Wanted::column("latency")
}

/// Something that may be any number.
fn loss() -> Wanted<'static> {
    Wanted::column("loss")
}

/// Architectures that differ, in their text form.
fn texts(space: &DesignSpace, resolution: u32, count: u64) -> Vec<String> {
    let sample = |seed| space.sample(resolution, &mut Seed(seed).rng()).unwrap();
    let mut all: Vec<String> = (0..count).map(|seed| space.print(&sample(seed))).collect();
    all.sort();
    all.dedup();
    all
}

fn csv(text: &str) -> Result<ValueTable, ValueTableError> {
    ValueTable::read_csv("t.csv", text.as_bytes(), &latency(), &mbv3())
}

fn jsonl(text: &str) -> Result<ValueTable, ValueTableError> {
    ValueTable::read_jsonl("t.jsonl", text.as_bytes(), &latency(), &mbv3())
}

fn values(table: &ValueTable) -> Vec<f64> {
    let all = table.architectures();
    all.map(|arch| table.evaluate(arch).unwrap()).collect()
}

#[test]
fn every_row_is_used_or_accounted_for() {
    let space = mbv3();
    let a = texts(&space, 224, 5);
    let other = texts(&space, 192, 1);
    let odd = a[0].replace("r224", "r100");
    let text = format!(
        "\u{feff}note, arch ,latency [ms],top1\r\n\
         \"two\nlines\",\"{}\",1.5,70\r\n,\"{}\",2,71\r\n,\"{}\",4,71\r\n,\"{}\",3,71\r\n,\"{}\",7,1\r\n,\"{}\",7,1\r\n\
         ,\"{}\",NaN,1\r\n,\"{}\",,1\r\n,\"{}\",1e999,1\r\n,\"{}\",fast,1\r\n,\"{odd}\",1,1\r\n,\"r224/e4k3\",1,1\r\n\
         ,\"{}\",9,1\r\n,{},9,1\r\n,,5,5\r\n",
        a[0], a[1], a[1], a[1], a[2], a[2], a[3], a[3], a[3], a[4], other[0], a[4]
    );
    let table = csv(&text).unwrap();
    let account = table.account();
    assert_eq!((account.rows, account.used), (15, 7));
    assert_eq!((account.agreeing, account.differing), (1, 1));
    assert_eq!(account.largest_spread, 0.5);
    assert_eq!(account.architectures, BTreeMap::from([(192, 1), (224, 3)]));
    assert_eq!(account.other_resolutions, BTreeMap::from([(100, 1)]));
    assert_eq!(account.foreign.first[0].0, 14);
    assert_eq!(
        account
            .without_value
            .first
            .iter()
            .map(|(line, _)| *line)
            .collect::<Vec<_>>(),
        [9, 10, 11, 12]
    );
    assert_eq!(account.unreadable.count, 2);
    let said = account.to_string();
    for part in [
        "15 rows read, 7 used, for 4 architectures of ofa-mbv3",
        "by up to 50.00 %): the median is taken",
        "1 at 100 px",
        "line 9: NaN",
        "line 10: empty",
        "line 11: inf",
        "line 12: `fast`",
        "it must stand in quotes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(table.info().unit, "ms");
    assert_eq!(table.info().direction, Direction::LowerIsBetter);
    assert_eq!(table.info().origin, Origin::Measured);
    let value = |text: &String| table.evaluate(&space.parse(text).unwrap());
    assert_eq!(value(&a[0]), Ok(1.5));
    assert_eq!(value(&a[1]), Ok(3.0));
    assert_eq!(value(&other[0]), Ok(9.0));
    assert!(matches!(value(&a[3]), Err(MetricError::NoValue { arch, .. }) if arch == a[3]));
}

#[test]
fn json_lines_hold_texts_or_dictionaries() {
    let space = mbv3();
    let a = texts(&space, 224, 6);
    let dict = |text: &str| {
        let dict = space.to_ofa(&space.parse(text).unwrap()).unwrap();
        serde_json::to_string(&dict).unwrap()
    };
    let flat = dict(&a[2]);
    let lines = [
        format!("{{\"arch\": \"{}\", \"latency [ms]\": 1}}", a[0]),
        format!("{{\"latency [ms]\": 2.5, \"arch\": {}}}", dict(&a[1])),
        format!(
            "{},\"latency [ms]\":3,\"who\":\"me\"}}",
            &flat[..flat.len() - 1]
        ),
        String::new(),
        format!("{{\"arch\": \"{}\", \"latency [ms]\": NaN}}", a[3]),
        format!("{{\"arch\": \"{}\", \"latency [ms]\": null}}", a[3]),
        format!("{{\"arch\": \"{}\", \"latency [ms]\": \"4\"}}", a[3]),
        format!("{{\"arch\": \"{}\"}}", a[3]),
        format!(
            "{{\"arch\": \"{}\", \"latency [ms]\": 4, \"latency [ms]\": 5}}",
            a[3]
        ),
        format!("{{\"arch\": \"{}\", \"latency [ms]\": 1e999}}", a[3]),
        "[1, 2]".to_owned(),
        "{\"arch\": 3, \"latency [ms]\": 4}".to_owned(),
        "{\"e\": [4], \"d\": [2], \"r\": [224], \"latency [ms]\": 4}".to_owned(),
        format!("{{\"arch\": \"{}\", \"latency [ms]\": 4", a[4]),
    ];
    let table = jsonl(&lines.join("\r\n")).unwrap();
    let account = table.account();
    assert_eq!((account.rows, account.used), (13, 3));
    assert_eq!(account.unreadable.count, 5, "{account}");
    assert_eq!(account.foreign.count, 1, "{account}");
    // Python writes NaN, which is no value, into what is JSON otherwise.
    assert_eq!(account.without_value.count, 4, "{account}");
    assert!(account.to_string().contains("stands twice"), "{account}");
    for (text, value) in a.iter().zip([1.0, 2.5, 3.0]) {
        assert_eq!(table.evaluate(&space.parse(text).unwrap()), Ok(value));
    }
    assert_eq!(table.info().unit, "ms");
}

#[test]
fn files_that_are_no_tables_are_told_what_to_do() {
    let good = &texts(&mbv3(), 224, 1)[0];
    let long = "x".repeat(LONGEST_LINE + 2);
    for (text, parts) in [
        ("", vec!["t.csv", "empty"]),
        (
            "a,latency\n1,2\n",
            vec!["t.csv", "no column `arch`", "`a`, `latency`", "rename"],
        ),
        (
            "arch,energy\n",
            vec!["t.csv", "no column `latency`", "`energy`"],
        ),
        (
            "arch,latency,latency\n",
            vec!["several columns", "`latency`, `latency`"],
        ),
        (
            "arch,latency [ms],latency [us]\n",
            vec!["several columns", "with its unit"],
        ),
        ("arch,arch,latency\n", vec!["several columns", "`arch`"]),
        ("arch|latency\n", vec!["no column `arch`", "`arch|latency`"]),
        (
            "arch;latency\n",
            vec!["no row gives a value", "0 rows read"],
        ),
        (
            "arch,latency\n",
            vec!["no row gives a value", "0 rows read"],
        ),
        (
            "arch,latency\nr224,3\n",
            vec!["no row gives a value", "line 2"],
        ),
        (
            &format!("arch,latency\n\"{good}\",1\n\"{long}"),
            vec!["t.csv:3", "longer than 1024 KiB"],
        ),
    ] {
        let error = csv(text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    for (text, parts) in [
        ("", vec!["t.jsonl", "no line of it is a JSON object"]),
        ("arch,latency\n", vec!["no line of it is a JSON object"]),
        (
            "{\"latency\": 1}",
            vec!["no column `arch`", "`latency`", "rename"],
        ),
        (
            "{\"arch\": \"x\", \"energy\": 1}",
            vec!["no column `latency`", "`energy`"],
        ),
        (
            "{\"arch\": \"x\", \"latency [ms]\": 1}\n{\"arch\": \"x\", \"latency [us]\": 1}",
            vec!["several columns", "`latency [ms]`, `latency [us]`"],
        ),
        (long.as_str(), vec!["t.jsonl:1", "longer than"]),
        (&"[".repeat(100_000), vec!["no line of it is a JSON object"]),
    ] {
        let error = jsonl(text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let invalid = ValueTable::read_csv("t.csv", b"arch,latency\r\n\xff,1\n", &latency(), &mbv3());
    let invalid = invalid.unwrap_err().to_string();
    assert!(
        invalid.contains("t.csv") && invalid.contains("line 2") && invalid.contains("not UTF-8"),
        "{invalid}"
    );
    let huge = vec![0; LARGEST_FILE + 1];
    let error = ValueTable::read_csv("t.csv", &huge, &latency(), &mbv3()).unwrap_err();
    assert!(error.to_string().contains("512 MiB"), "{error}");
}

#[test]
fn directions_follow_from_usual_names_only() {
    let good = &texts(&mbv3(), 224, 1)[0];
    let text = format!("arch,joules,Top1 [%]\n\"{good}\",1,2\n");
    let read =
        |wanted: &Wanted<'_>| ValueTable::read_csv("t.csv", text.as_bytes(), wanted, &mbv3());
    let error = read(&Wanted::column("joules")).unwrap_err().to_string();
    assert!(
        error.contains("`joules:lower@t.csv`") && error.contains("`joules:higher@t.csv`"),
        "{error}"
    );
    let said = Wanted {
        metric: "joules@t",
        direction: Some(Direction::LowerIsBetter),
        unit: Some("J"),
        ..Wanted::column("joules")
    };
    let table = read(&said).unwrap();
    assert_eq!(
        (table.info().name.as_str(), table.info().unit.as_str()),
        ("joules@t", "J")
    );
    let table = read(&Wanted::column("Top1")).unwrap();
    assert_eq!(table.info().direction, Direction::HigherIsBetter);
    assert_eq!(table.info().unit, "%");
    assert_eq!(values(&table), [2.0]);
}

/// What a table comes to, computed in the plainest way: every architecture with the median of its values, and the
/// largest of these.
fn naive(space: &DesignSpace, rows: &[(String, f64)]) -> Vec<(String, f64, f64)> {
    let mut names: Vec<&String> = rows.iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| space.parse(name).unwrap());
    names.dedup();
    let median = |name: &String| -> (f64, f64) {
        let mut own: Vec<f64> = rows.iter().filter(|r| r.0 == *name).map(|r| r.1).collect();
        own.sort_by(f64::total_cmp);
        let n = own.len();
        let largest = own.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        if n % 2 == 1 {
            (own[n / 2], largest)
        } else {
            (own[n / 2 - 1] / 2.0 + own[n / 2] / 2.0, largest)
        }
    };
    let row = |name: &String| {
        let (median, largest) = median(name);
        (name.clone(), median, largest)
    };
    names.into_iter().map(row).collect()
}

/// Equal but for rounding. Two middle values of opposite sign may cancel, so what counts is the size of what went in.
fn close(a: f64, b: f64, largest: f64) -> bool {
    (a - b).abs() <= 1e-12 * largest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tables_are_read_as_a_naive_reader_does_and_back_again(
        space in proptest::sample::select(test_spaces()),
        rows in proptest::collection::vec((0_u64..12, -1e300_f64..1e300), 1..40),
        lines: bool,
    ) {
        let resolution = space.default_resolution();
        let name = |seed| space.print(&space.sample(resolution, &mut Seed(seed).rng()).unwrap());
        let rows: Vec<(String, f64)> = rows.into_iter().map(|(seed, x)| (name(seed), x)).collect();
        let table = if lines {
            let text: String = rows.iter().map(|(a, x)| format!("{{\"loss\":{x:?},\"arch\":\"{a}\"}}\n")).collect();
            ValueTable::read_jsonl("t", text.as_bytes(), &loss(), &space).unwrap()
        } else {
            let text: String = rows.iter().map(|(a, x)| format!("{x:?},\"{a}\"\n")).collect();
            ValueTable::read_csv("t", format!("loss,arch\n{text}").as_bytes(), &loss(), &space).unwrap()
        };
        let expected = naive(&space, &rows);
        prop_assert!(table.account().is_complete());
        prop_assert_eq!(table.account().rows, rows.len());
        prop_assert_eq!(table.architectures().len(), expected.len());
        for ((arch, value), (text, median, largest)) in table.architectures().zip(values(&table)).zip(&expected) {
            prop_assert_eq!(&space.print(arch), text);
            prop_assert!(close(value, *median, *largest), "{} {}", value, median);
        }
        let again = ValueTable::read_csv("t", table.to_csv("loss").as_bytes(), &loss(), &space).unwrap();
        prop_assert_eq!(values(&again), values(&table));
    }

    #[test]
    fn damaged_files_never_give_what_is_not_finite(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        lines: bool,
    ) {
        let a = texts(&mbv3(), 224, 4);
        let mut bytes = if lines {
            a.iter().map(|a| format!("{{\"arch\":\"{a}\",\"latency\":1.5}}\n")).collect::<String>()
        } else {
            let rows: String = a.iter().map(|a| format!("\"{a}\",1.5\n")).collect();
            format!("arch,latency\n{rows}")
        }.into_bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        let read = if lines { ValueTable::read_jsonl } else { ValueTable::read_csv };
        if let Ok(table) = read("t", &bytes, &latency(), &mbv3()) {
            let account = table.account();
            let others = account.unreadable.count + account.foreign.count + account.without_value.count
                + account.other_resolutions.values().sum::<usize>();
            prop_assert_eq!(account.rows, account.used + others);
            prop_assert!(values(&table).iter().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn medians_of_extreme_numbers_are_finite_and_exact_where_equal() {
    let good = &texts(&mbv3(), 224, 1)[0];
    for (pair, median) in [
        ([f64::MAX, f64::MAX], f64::MAX),
        ([f64::MIN, f64::MAX], 0.0),
        ([5e-324, 5e-324], 5e-324),
    ] {
        let rows: String = pair.iter().map(|x| format!("\"{good}\",{x:e}\n")).collect();
        let table = ValueTable::read_csv(
            "t",
            format!("arch,loss\n{rows}").as_bytes(),
            &loss(),
            &mbv3(),
        )
        .unwrap();
        assert_eq!(values(&table), [median]);
        assert!(table.account().largest_spread <= 2.0);
    }
}

/// A run that failed and was written as 0 or -1 is no measurement; where the quantity may be so, it is.
#[test]
fn values_that_no_such_quantity_has_are_left_out_and_told() {
    let a = texts(&mbv3(), 224, 4);
    let text = format!(
        "arch,latency [us],accuracy,loss\n\"{}\",2000,0,-1\n\"{}\",0,-1,0\n\"{}\",-1,50,1\n",
        a[0], a[1], a[2]
    );
    let read = |column| {
        ValueTable::read_csv("t.csv", text.as_bytes(), &Wanted::column(column), &mbv3()).unwrap()
    };
    let table = read("latency");
    assert_eq!(
        (values(&table), table.info().unit.as_str()),
        (vec![2.0], "ms")
    );
    let said = table.account().to_string();
    for part in [
        "3 rows read, 1 used",
        "line 3: 0, which must be above 0",
        "line 4: -1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let mut accuracies = values(&read("accuracy"));
    accuracies.sort_by(f64::total_cmp);
    assert_eq!(accuracies, [0.0, 50.0]);
    assert!(read("loss").account().is_complete());
}

#[test]
fn columns_are_found_by_what_they_mean_and_scaled() {
    let good = &texts(&mbv3(), 224, 1)[0];
    for (header, column, unit, value) in [
        ("latency_ms", "latency_ms", None, 3.0),
        ("latency_ms", "latency", None, 3.0),
        ("lat(us)", "latency", None, 0.003),
        ("lat(us)", "lat(us)", None, 0.003),
        ("Latency (s)", "latency", None, 3000.0),
        ("latency", "latency", Some("us"), 0.003),
        (
            "latency [ms],latency [us]",
            "latency",
            Some("us"),
            9.0 / 1000.0,
        ),
        ("latency_ms,latency_us", "latency_us", None, 9.0 / 1000.0),
        ("lat,latency", "latency", Some("ms"), 9.0),
    ] {
        let text = format!("arch,{header}\n\"{good}\",3,9\n");
        let text = if header.contains(',') {
            text
        } else {
            text.replace(",9\n", "\n")
        };
        let wanted = Wanted {
            unit,
            ..Wanted::column(column)
        };
        let table = ValueTable::read_csv("t", text.as_bytes(), &wanted, &mbv3()).unwrap();
        assert_eq!(values(&table), [value], "{header} {column}");
        assert_eq!(table.info().unit, "ms", "{header} {column}");
        assert_eq!(table.info().direction, Direction::LowerIsBetter);
        let line = format!("{{\"arch\":\"{good}\",\"{header}\":3}}");
        if !header.contains(',') {
            let table = ValueTable::read_jsonl("t", line.as_bytes(), &wanted, &mbv3()).unwrap();
            assert_eq!(values(&table), [value], "{header} {column}");
        }
    }
    let text = format!("arch,latency [ms]\n\"{good}\",3\n");
    let wanted = Wanted {
        unit: Some("J"),
        ..latency()
    };
    let error = ValueTable::read_csv("t", text.as_bytes(), &wanted, &mbv3()).unwrap_err();
    assert!(
        error.to_string().contains("no column `latency [J]`"),
        "{error}"
    );
}

#[test]
fn lists_of_objects_and_other_separators_are_read() {
    let a = texts(&mbv3(), 224, 3);
    let list = format!(
        "[\n  {{\n    \"arch\": \"{}\",\n    \"latency\": 1.5\n  }},\n  {{\"latency\": null, \"arch\": \"{}\"}}\n]\n",
        a[0], a[1]
    );
    let table = jsonl(&list).unwrap();
    assert_eq!(values(&table), [1.5]);
    assert!(table.account().to_string().contains("line 2: empty"));
    for separator in [";", "\t"] {
        let text = format!(
            "arch{separator}latency\n{}{separator}2.5\n{}{separator}2,5\n",
            a[0], a[1]
        );
        let table = csv(&text).unwrap();
        assert_eq!(values(&table), [2.5]);
        assert!(table.account().to_string().contains("line 3: `2,5`"));
    }
}

/// The same table as different programs save it.
#[test]
fn lines_are_counted_as_editors_do_however_they_end() {
    let a = texts(&mbv3(), 224, 2);
    let text = format!("arch,latency\n\"{}\",1\n\"{}\",oops\n", a[0], a[1]);
    let windows = text.replace('\n', "\r\n");
    let utf16 = format!("\u{feff}{windows}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for bytes in [
        text.clone().into_bytes(),
        windows.into_bytes(),
        text.replace('\n', "\r").into_bytes(),
        utf16,
    ] {
        let table = ValueTable::read_csv("t.csv", &bytes, &latency(), &mbv3()).unwrap();
        assert_eq!(values(&table), [1.0]);
        assert!(table.account().to_string().contains("line 3: `oops`"));
    }
}
