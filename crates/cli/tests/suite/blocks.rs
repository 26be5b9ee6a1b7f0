//! Blocks of the user's own, as exporters write them, and spaces as people write them.

use std::path::{Path, PathBuf};

use crate::common::{blocklens, fails, ok};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/fragments");
    folder.join(name)
}

/// A space with one block of its own, declared so, in a folder of its own with these golden files.
fn space(folder: &Path, onnx: &str, declared: &str, files: &[&str]) -> String {
    for file in files {
        let to = folder.join(Path::new(file).file_name().unwrap());
        std::fs::copy(golden(file), to).unwrap();
    }
    let text = format!(
        r#"
format = 2
name = "own"
resolutions = [64]
stem = ["conv_k3_s2_c16"]
head = ["pool", "classifier"]
block.own = {{ onnx = "{onnx}", {declared} }}
[[unit]]
channels = 24
stride = 2
depth = [1, 2]
blocks = [["conv_k3"], ["own", "conv_k3"]]
"#
    );
    let path = folder.join("space.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn params(space: &str) -> u64 {
    let arguments = ["arch", "cost", "--format", "json", "--space", space];
    let text = ok(blocklens().args(arguments).arg("r64/conv_k3,own"));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["params"].as_u64().unwrap()
}

/// Stem and classifier, and the first layer, which has no choice.
const AROUND: u64 = (3 * 9 + 2) * 16 + (16 * 9 + 2) * 24 + 25 * 1000;

#[test]
fn weights_in_a_file_beside_the_block_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let declared = "in-channels = 11, out-channels = 14, stride = 2";
    let files = ["external.onnx", "external.onnx.data"];
    let space = space(folder.path(), "external.onnx", declared, &files);
    assert_eq!(params(&space), AROUND + (24 * 9 + 1) * 24 + 24 * 24);
    let model = folder.path().join("model.onnx");
    let arguments = ["arch", "export", "--space", &space, "r64/conv_k3,own", "-o"];
    ok(blocklens().args(arguments).arg(&model));
    assert!(std::fs::metadata(&model).unwrap().len() > 100_000);
    let data = folder.path().join("external.onnx.data");
    std::fs::remove_file(&data).unwrap();
    let text = fails(blocklens().args(["space", "show", &space]));
    assert!(
        text.contains("external.onnx") && text.contains("external.onnx.data, which cannot be read"),
        "{text}"
    );
    #[cfg(unix)]
    {
        let elsewhere = tempfile::tempdir().unwrap();
        let real = elsewhere.path().join("data");
        std::fs::copy(golden("external.onnx.data"), &real).unwrap();
        std::os::unix::fs::symlink(&real, &data).unwrap();
        let text = fails(blocklens().args(["space", "show", &space]));
        assert!(text.contains("a link out of the folder"), "{text}");
        std::fs::remove_file(&data).unwrap();
    }
    std::fs::write(&data, [0; 100]).unwrap();
    let text = fails(blocklens().args(["space", "show", &space]));
    assert!(
        text.contains("100 bytes") && text.contains("is it complete?"),
        "{text}"
    );
}

#[test]
fn blocks_that_keep_their_channels_are_declared_by_these_alone() {
    let folder = tempfile::tempdir().unwrap();
    let declared = r#"in-channels = 10, sizes = { 5 = "in / 2" }"#;
    let space = space(
        folder.path(),
        "shuffle-kept.onnx",
        declared,
        &["shuffle-kept.onnx"],
    );
    let units = 2 * 12 * 12 + 12 * 9;
    assert_eq!(params(&space), AROUND + units);
    // In the first layer, 16 channels become 24.
    let text = std::fs::read_to_string(&space).unwrap();
    let text = text.replace(r#"[["conv_k3"], "#, r#"[["own"], "#);
    std::fs::write(&space, text.replace("\nstride = 2", "")).unwrap();
    let text = fails(blocklens().args(["space", "show", &space]));
    for needle in [
        "unit 1, layer 1",
        "`own` (shuffle-kept.onnx)",
        "16 become 24",
        "one list of",
    ] {
        assert!(text.contains(needle), "{text}");
    }
}

#[test]
fn what_a_block_must_not_have_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let declared = "in-channels = 11, out-channels = 14, stride = 2";
    let space = space(folder.path(), "brain.onnx", declared, &["brain.onnx"]);
    let file = folder.path().join("brain.onnx");
    let bytes = std::fs::read(&file).unwrap();
    let place = bytes.windows(4).rposition(|w| w == b"Conv").unwrap();
    let odd = [&bytes[..place], &b"Conx"[..], &bytes[place + 4..]].concat();
    std::fs::write(&file, odd).unwrap();
    let text = fails(blocklens().args(["space", "show", &space]));
    for needle in ["space.toml:7: block `own` (brain.onnx)", "Conx `conv1`"] {
        assert!(text.contains(needle), "{text}");
    }
}

#[test]
fn channels_are_shown_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c116.toml");
    let text = r#"
format = 2
name = "c116"
widths = [0.5, 1.0]
default-width = 1.0
resolutions = [224]
stem = ["conv_k3_s2_c24", "maxpool_k3_s2"]
head = ["pool", "classifier"]
unit = [ { channels = 116, stride = 2, depth = [1, 4], blocks = ["mbconv_e1_k3"] } ]
"#;
    std::fs::write(&path, text).unwrap();
    let shown = |width: &str| {
        let arguments = ["space", "show", "--format", "json", "--width", width];
        let text = ok(blocklens().args(arguments).arg(&path));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["units"][0]["channels"][0].as_u64().unwrap()
    };
    assert_eq!((shown("1.0"), shown("0.5")), (116, 56));
}
