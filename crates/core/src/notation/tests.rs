use super::*;
use serde_json::json;

const LAYERS: usize = 20;

fn mbv3() -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap()
}

/// A dictionary and the architecture that it is.
fn example() -> (Value, String) {
    let layers = |period: [u32; 4]| (0..LAYERS).map(|i| period[i % 4]).collect::<Vec<_>>();
    let dict = json!({
        "ks": layers([5, 3, 3, 3]), "e": layers([4, 6, 3, 3]), "d": [2, 3, 2, 4, 2], "r": [192],
    });
    let text = "r192/e4k5,e6k3/e4k5,e6k3,e3k3/e4k5,e6k3/e4k5,e6k3,e3k3,e3k3/e4k5,e6k3";
    (dict, text.to_owned())
}

#[test]
fn every_notation_is_the_same_architecture() {
    let (space, (dict, text)) = (mbv3(), example());
    let expected = space.parse(&text).unwrap();
    let python = dict.to_string().replace('"', "'");
    let pretty = serde_json::to_string_pretty(&dict).unwrap();
    let quoted = json!(dict.to_string()).to_string();
    let mut image_size = dict.clone();
    image_size["image_size"] = json!(192);
    let mut wid = dict.clone();
    wid["wid"] = Value::Null;
    for notation in [
        text.clone(),
        format!("  {text}\tmacs\t301.2\tMMACs\n"),
        format!("\"{text}\",301.2,7.1"),
        dict.to_string(),
        format!("{dict},"),
        pretty,
        image_size.to_string(),
        wid.to_string(),
        wid.to_string().replace("null", "None").replace('"', "'"),
        format!("(0.781, {python}, 24.5)"),
        format!(
            "OrderedDict([('ks', {}), ('e', {}), ('d', (2, 3, 2, 4, 2)), ('r', [np.int64(192)])])",
            dict["ks"], dict["e"]
        ),
        json!({"batch": 3, "arch": text, "macs": 301.2}).to_string(),
        json!({"arch": dict, "latency": 14.5}).to_string(),
        quoted,
    ] {
        let read = space.read_architecture(&notation, None);
        assert_eq!(read.as_ref(), Ok(&expected), "{notation}");
        assert_eq!(space.read_architecture(&notation, Some(192)), read);
        let error = space.read_architecture(&notation, Some(224)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is of resolution 192, where 224 was asked for"
        );
    }
}

#[test]
fn inactive_layers_hold_anything_and_active_ones_are_named() {
    let (space, (dict, text)) = (mbv3(), example());
    let expected = space.parse(&text).unwrap();
    for filler in [
        json!(0),
        json!(-1),
        Value::Null,
        json!("x"),
        json!(99),
        json!([1]),
    ] {
        let mut odd = dict.clone();
        // Units 1, 3 and 5 have two layers, unit 2 has three.
        for index in [2, 3, 7, 10, 11, 18, 19] {
            odd["ks"][index] = filler.clone();
            odd["e"][index] = filler.clone();
        }
        assert_eq!(
            space.read_architecture_value(&odd, None).as_ref(),
            Ok(&expected)
        );
        odd["ks"][6] = filler.clone();
        let error = space
            .read_architecture_value(&odd, None)
            .unwrap_err()
            .to_string();
        let told = format!("expansion 3 (`e[6]`), kernel {filler} (`ks[6]`) is not a candidate");
        assert!(
            error.contains(&told) && error.contains("unit 2, layer 3"),
            "{error}"
        );
    }
}

#[test]
fn one_value_stands_for_a_list_as_in_the_package() {
    let space = mbv3();
    let all = json!({"ks": 7, "e": 6, "d": 4, "w": 0, "image_size": 224});
    let largest = space.read_architecture_value(&all, None).unwrap();
    assert!(largest.active().count() == LAYERS && space.print(&largest).contains("e6k7,e6k7"));
    let resnet = DesignSpace::builtin("ofa-resnet50", None).unwrap();
    let dict = json!({"d": 2, "e": 0.25, "w": 2, "ks": [3], "r": 224});
    let arch = resnet.read_architecture_value(&dict, None).unwrap();
    assert_eq!((arch.depth(1), arch.depth(3)), (1, 4));
    let mut skipped = dict.clone();
    skipped["e"] = json!([
        0.25, 0.25, 0, 0, 0.25, 0.25, 0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0, 0.25, 0.25, 0, 0
    ]);
    skipped["d"] = json!([0, 0, 0, 0, 0]);
    let shallow = resnet.read_architecture_value(&skipped, None).unwrap();
    assert_eq!((shallow.depth(1), shallow.depth(3)), (0, 2));
}

#[test]
fn what_is_no_architecture_says_what_is_wrong() {
    let (space, (dict, _)) = (mbv3(), example());
    let with = |key: &str, value: Value| {
        let mut dict = dict.clone();
        dict[key] = value;
        dict.to_string()
    };
    let mut without = dict.clone();
    without.as_object_mut().unwrap().remove("r");
    for (text, why) in [
        ("nonsense".to_owned(), "it must start with the resolution"),
        ("{\"ks\": [3".into(), "line 1, column 10"),
        ("{'arch': 3}".into(), "holds no architecture"),
        ("{'macs': 3}".into(), "\"ks\": [...]"),
        ("[1, 2]".into(), "holds no architecture"),
        (without.to_string(), "the resolution is missing"),
        (
            with("wid", json!(2)),
            "`wid` means nothing to `ofa-mbv3` and holds 2",
        ),
        (with("w", json!([0, 1])), "`w` means nothing"),
        (with("ks", Value::Null), "`ks` is missing"),
        (with("ks", json!("3")), "`ks` is neither a list"),
        (
            with("d", json!([2, 3, 2.5, 4, 2])),
            "`d` holds 2.5 at index 2, where a depth is due",
        ),
        (
            with("d", json!([2, 3, 2])),
            "`d` has 3 entries; `ofa-mbv3` needs 5",
        ),
        (with("d", json!([2, 3, 1, 4, 2])), "unit 3 has depth 1"),
        (with("r", json!([192, 224])), "`r` has 2 entries"),
        (with("r", json!(["big"])), "a resolution is due"),
        (with("image_size", json!(224)), "which is meant?"),
    ] {
        let error = space
            .read_architecture(&text, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let told = space
        .read_architecture(&without.to_string(), Some(192))
        .unwrap();
    assert_eq!(told.resolution(), 192);
}

#[test]
fn any_text_is_read_or_refused() {
    let space = mbv3();
    let deep = format!("{}1{}", "[".repeat(99_999), "]".repeat(99_999));
    for text in [
        "",
        ",",
        "\"",
        "'",
        "(",
        "{}",
        "[]",
        "\"\"",
        "\"\\\"\\\\\\\"\\\"",
        "a(",
        &deep,
    ] {
        assert!(space.read_architecture(text, None).is_err(), "{text}");
    }
}
