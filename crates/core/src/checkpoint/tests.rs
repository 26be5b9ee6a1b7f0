use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::{Checkpoint, CheckpointError, Tensor, pickle};

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    values: Vec<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(String),
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "checkpoints"]
        .iter()
        .collect()
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn golden() -> BTreeMap<String, BTreeMap<String, Expected>> {
    serde_json::from_slice(&bytes("checkpoints.json")).unwrap()
}

#[test]
#[allow(clippy::cast_possible_truncation)]
fn files_of_torch_hold_what_torch_says() {
    let golden = golden();
    assert!(golden.len() > 10);
    for (name, tensors) in golden {
        let checkpoint = Checkpoint::read(&name, &bytes(&name)).unwrap();
        let keys: Vec<&str> = checkpoint.keys().collect();
        assert_eq!(
            keys,
            tensors.keys().map(String::as_str).collect::<Vec<_>>(),
            "{name}"
        );
        for (key, expected) in tensors {
            let tensor = checkpoint.get(&key).unwrap();
            assert_eq!(tensor.shape(), expected.shape, "{name}: {key}");
            assert_eq!(
                tensor.values().len(),
                expected.values.len(),
                "{name}: {key}"
            );
            for (ours, theirs) in tensor.values().iter().zip(expected.values) {
                match theirs {
                    Number::Finite(theirs) => assert_eq!(*ours, theirs as f32, "{name}: {key}"),
                    Number::Other(text) => {
                        assert_eq!(ours.to_string().to_lowercase(), text, "{name}: {key}");
                    }
                }
            }
            assert_eq!(tensor.is_finite(), key != "nan");
        }
    }
}

#[test]
fn code_is_named_and_never_run() {
    let trace = std::path::Path::new("/tmp/blocklens-evil-pickle");
    let error = |name: &str| Checkpoint::read(name, &bytes(name)).unwrap_err();
    for (name, global) in [
        ("refused-evil.pth", "posix.system"),
        (
            "refused-module.pth",
            "torch.nn.modules.container.Sequential",
        ),
        (
            "refused-module-old.pth",
            "torch.nn.modules.container.Sequential",
        ),
    ] {
        let error = error(name);
        assert!(
            matches!(&error, CheckpointError::Code { global: g, .. } if g == global),
            "{error}"
        );
        assert!(error.to_string().contains("state_dict()"), "{error}");
    }
    assert!(!trace.exists());
    for name in ["refused-no-tensors.pth", "refused-plain.pkl"] {
        assert!(
            error(name).to_string().contains("state_dict()"),
            "{}",
            error(name)
        );
    }
    let text = Checkpoint::read("notes.txt", b"hello")
        .unwrap_err()
        .to_string();
    assert!(text.starts_with("notes.txt is neither"), "{text}");
    assert!(Checkpoint::read("empty", b"").is_err());
}

#[test]
fn every_truncation_is_an_error() {
    for name in [
        "types-new.pth",
        "types-old.pth",
        "types.safetensors",
        "wrapped-old.pth",
    ] {
        let whole = bytes(name);
        for length in 0..whole.len() {
            assert!(
                Checkpoint::read(name, &whole[..length]).is_err(),
                "{name}: {length} bytes"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_files_are_errors_or_tensors(
        file in 0_usize..5,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = ["types-new.pth", "views-old.pth", "wrapped-new.pth", "types.safetensors", "parallel-old.pth"];
        let mut bytes = bytes(names[file]);
        for (index, value) in flips {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Ok(checkpoint) = Checkpoint::read("damaged", &bytes) {
            for key in checkpoint.keys() {
                let tensor = checkpoint.get(key).unwrap();
                prop_assert_eq!(tensor.shape().iter().product::<usize>(), tensor.values().len());
            }
        }
    }

    #[test]
    fn any_bytes_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut pickle = b"\x80\x02".to_vec();
        pickle.extend(&bytes);
        prop_assert!(Checkpoint::read("random", &bytes).is_err());
        prop_assert!(Checkpoint::read("random", &pickle).is_err());
    }
}

/// A small legacy file with a pickled object of one's own.
fn legacy(object: &[u8], storages: &[u8]) -> Vec<u8> {
    let mut file = super::torch::MAGIC.to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}.");
    file.extend(object);
    file.extend(b"\x80\x02]X\x01\x00\x00\x000a.");
    file.extend(storages);
    file
}

/// A dictionary with one tensor: shape and strides as pickled numbers.
fn one_tensor(numel: &str, offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let text = format!(
        "}}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
         X\x01\0\0\x000X\x03\0\0\0cpuI{numel}\nNtQI{offset}\n({shape}t({strides}tI00\nNtRs."
    );
    let mut object = b"\x80\x02".to_vec();
    object.extend(text.bytes());
    object
}

#[test]
fn hostile_shapes_are_refused_in_bounded_memory() {
    let mut storage = 4_i64.to_le_bytes().to_vec();
    storage.extend([1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
    let read = |numel, offset, shape, strides| {
        Checkpoint::read(
            "hostile",
            &legacy(&one_tensor(numel, offset, shape, strides), &storage),
        )
    };
    let good = read("4", "1", "I3\n", "I1\n").unwrap();
    assert_eq!(
        good.get("w"),
        Tensor::new(vec![3], vec![2.0, 3.0, 4.0]).as_ref()
    );
    for (numel, offset, shape, strides, why) in [
        ("4", "2", "I3\n", "I1\n", "beyond its storage"),
        ("4", "0", "I-1\n", "I1\n", "not a list of lengths"),
        ("4", "0", "I1000000000000\n", "I0\n", "again and again"),
        (
            "4",
            "0",
            "I9223372036854775807\nI9\n",
            "I1\nI1\n",
            "too large",
        ),
        (
            "4",
            "0",
            "I2\n",
            "I9223372036854775807\n",
            "beyond its storage",
        ),
        ("4", "0", "I2\nI2\n", "I1\n", "do not belong together"),
        ("5", "0", "I1\n", "I1\n", "fewer numbers"),
        ("9223372036854775807", "0", "I1\n", "I1\n", "fewer numbers"),
    ] {
        let error = read(numel, offset, shape, strides).unwrap_err().to_string();
        assert!(error.contains(why), "{shape} {strides}: {error}");
    }
}

/// Dictionaries that hold each other, doubling at each step, end in an error instead of 2^60 visits.
#[test]
fn dictionaries_that_unfold_without_end_are_refused() {
    let mut object = b"\x80\x02}q\x00".to_vec();
    for step in 1..60_u8 {
        object.extend([b'}', b'q', step]);
        for key in *b"ab" {
            object.extend([b'X', 1, 0, 0, 0, key, b'h', step - 1, b's']);
        }
    }
    object.push(b'.');
    let error = Checkpoint::read("deep", &legacy(&object, &[0; 8]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("share dictionaries"), "{error}");
}

/// What is named once and used again and again through the pickle's memory must not cost more than the file.
#[test]
fn copies_are_refused_in_bounded_memory() {
    const MANY: usize = 20_000;
    // A list of pairs, made a dictionary many times.
    let mut lists = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(".to_vec();
    lists.extend(b"(NNt".repeat(MANY));
    lists.extend(b"eh\x01\x85q\x020");
    lists.extend(b"h\x00h\x02R0".repeat(MANY));
    lists.extend(b"}.");
    // A long module, named in many globals.
    let mut globals = b"\x80\x04X\x00\x10\x00\x00".to_vec();
    globals.extend([b'm'; 4096]);
    globals.extend(b"q\x00X\x01\x00\x00\x00nq\x01");
    globals.extend(b"h\x00h\x01\x930".repeat(MANY));
    globals.extend(b"}.");
    // One long key, for many tensors in many dictionaries.
    let mut keys = b"\x80\x02X\x00\x08\x00\x00".to_vec();
    keys.extend([b'k'; 2048]);
    keys.extend(b"q\x00cx\ny\n)Rq\x01}(");
    keys.extend(b"h\x00h\x01".repeat(MANY));
    keys.extend(b"u.");
    for (object, why) in [
        (lists, "the same things again and again"),
        (globals, "the same things again and again"),
        (keys, "longer than the file"),
    ] {
        let error = Checkpoint::read("hostile", &legacy(&object, &[0; 8]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// The predictors published with Once-for-All, where they are at hand.
#[test]
fn published_predictors_are_read() {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, first) in [
        ("acc_predictor.pth", 128),
        ("ofa_resnet50_acc_predictor.pth", 82),
    ] {
        let path = workspace.join("../shared/data/ofa").join(file);
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: {file} is not at hand");
            continue;
        };
        let checkpoint = Checkpoint::read(file, &bytes).unwrap();
        assert!(!checkpoint.is_empty() && checkpoint.len() < 20);
        let inputs = checkpoint
            .keys()
            .filter_map(|key| checkpoint.get(key)?.shape().get(1).copied());
        assert_eq!(
            inputs.into_iter().next(),
            Some(first),
            "{:?}",
            checkpoint.keys().collect::<Vec<_>>()
        );
    }
}

/// Headers of 128 bytes begin as pickles do.
#[test]
fn the_length_of_a_header_is_no_pickle() {
    for length in [0x80_usize, 0x0280] {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut file = (length as u64).to_le_bytes().to_vec();
        file.extend(format!("{header:length$}").bytes());
        file.extend(1.5_f32.to_le_bytes());
        assert_eq!(file[0], pickle::PROTO);
        let read = Checkpoint::read("padded.safetensors", &file).unwrap();
        assert_eq!(read.get("a").unwrap().values(), [1.5]);
    }
}

/// One bit that changed on a disk or on the way must not give other weights.
#[test]
fn bits_that_changed_in_an_archive_are_noticed() {
    let whole = bytes("types-new.pth");
    let expected = Checkpoint::read("whole", &whole).unwrap();
    let mut refused = 0;
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        match Checkpoint::read("changed.pth", &changed) {
            // What no reader looks at: dates, padding, the version of the program that packed it.
            Ok(read) => assert_same(&read, &expected, place),
            Err(error) => {
                refused += usize::from(error.to_string().contains("download it again"));
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

fn assert_same(read: &Checkpoint, expected: &Checkpoint, place: usize) {
    let bits = |file: &Checkpoint| -> Vec<(String, Vec<usize>, Vec<u32>)> {
        let of = |key: &str| {
            let tensor = file.get(key).unwrap();
            let values = tensor.values().iter().map(|v| v.to_bits());
            (key.to_owned(), tensor.shape().to_vec(), values.collect())
        };
        file.keys().map(of).collect()
    };
    assert_eq!(bits(read), bits(expected), "byte {place}");
}

/// `torch.serialization.set_crc32_options(False)` leaves the checksums 0.
#[test]
fn archives_without_checksums_are_read() {
    let mut file = bytes("types-new.pth");
    let expected = Checkpoint::read("whole", &file).unwrap();
    for (signature, checksum) in [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16)] {
        let headers = (0..file.len() - 4).filter(|at| file[*at..].starts_with(signature));
        for at in headers.collect::<Vec<_>>() {
            file[at + checksum..at + checksum + 4].fill(0);
        }
    }
    let read = Checkpoint::read("unchecked.pth", &file).unwrap();
    assert_same(&read, &expected, 0);
}

#[test]
fn bytes_behind_the_last_storage_are_refused() {
    let mut file = bytes("types-old.pth");
    file.push(0);
    let error = Checkpoint::read("old.pth", &file).unwrap_err().to_string();
    assert!(error.contains("1 bytes follow"), "{error}");
    let mut file = bytes("types.safetensors");
    file.push(0);
    assert!(Checkpoint::read("long.safetensors", &file).is_err());
}
