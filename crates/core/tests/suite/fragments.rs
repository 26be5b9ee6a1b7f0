//! Fragments against what torch and onnx say about the same blocks (golden/fragments/make.py, make_written.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blocklens_core::fragment::{
    Declaration, Formula, Fragment, WeightTensor, external_files, with_external_data,
};
use blocklens_core::network::Shape;
use blocklens_core::seed::Seed;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    blocks: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    name: String,
    r#in: u32,
    out: u32,
    stride: Option<u32>,
    rows: u32,
    columns: u32,
    skip: bool,
    sizes: BTreeMap<u32, Formula>,
    opset: i64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    r#in: u32,
    out: u32,
    rows: u32,
    columns: u32,
    stride: u32,
    output: [u32; 4],
    macs: u64,
    params: u64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fragments")
}

/// A block's file, with the data that it keeps in others.
fn bytes(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(folder().join(name)).unwrap();
    let read = |file: String| (file.clone(), std::fs::read(folder().join(file)).unwrap());
    let files = external_files(&bytes).unwrap().into_iter().map(read);
    with_external_data(&bytes, &files.collect()).unwrap()
}

fn declaration(block: &Block) -> Declaration {
    Declaration {
        in_channels: block.r#in,
        out_channels: block.out,
        stride: block.stride,
        sizes: block.sizes.clone(),
        skip: block.skip,
    }
}

fn blocks() -> Vec<(Block, Fragment)> {
    let golden = |file: &str| {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        serde_json::from_str::<Golden>(&text).unwrap().blocks
    };
    let parsed = |block: Block| {
        let file = format!("{}.onnx", block.name);
        let fragment = Fragment::parse(&block.name, &file, bytes(&file), declaration(&block))
            .unwrap_or_else(|error| panic!("{error}"));
        (block, fragment)
    };
    let all = ["fragments.json", "written.json"].map(golden);
    all.into_iter().flatten().map(parsed).collect()
}

fn input(case: &Case) -> Shape {
    Shape {
        channels: case.r#in,
        height: case.rows,
        width: case.columns,
    }
}

#[test]
fn shapes_and_costs_are_those_of_torch() {
    let blocks = blocks();
    assert!(blocks.len() >= 26);
    for (block, fragment) in &blocks {
        assert_eq!(fragment.opset(), block.opset, "{}", block.name);
        assert!(block.cases.len() >= 3);
        for case in &block.cases {
            let instance = fragment
                .instantiate(input(case), case.out, case.stride)
                .unwrap_or_else(|error| panic!("{error}"));
            let at = format!("{} {:?} -> {}", block.name, input(case), case.out);
            let shape = instance.output();
            let output = [1, shape.channels, shape.height, shape.width];
            assert_eq!(output, case.output, "{at}");
            assert_eq!(instance.macs().0, case.macs, "{at}");
            assert_eq!(instance.params().0, case.params, "{at}");
            let weights = instance.weights(Seed(3));
            assert_eq!(weights, instance.weights(Seed(3)), "{at}");
            if case.params > 0 {
                assert_ne!(weights, instance.weights(Seed(4)), "{at}");
            }
            let lengths = instance.weight_tensors().iter().map(WeightTensor::elements);
            assert!(
                lengths.eq(weights.values().iter().map(|v| v.len() as u64)),
                "{at}"
            );
        }
    }
}

/// Writes every instance for `tools/check_fragments.py`, which has onnx check it and onnxruntime run it; the
/// one at the file's own sizes, `...-own.onnx`, must compute what the file does.
#[test]
fn files_are_written_and_repeat() {
    let out = std::env::var_os("BLOCKLENS_FRAGMENTS").map(PathBuf::from);
    for (block, fragment) in blocks() {
        let own = Shape {
            channels: block.r#in,
            height: block.rows,
            width: block.columns,
        };
        let places = block.cases.iter().map(|c| (input(c), c.out, c.stride));
        let own = (own, block.out, block.stride.unwrap_or(1));
        let names = std::iter::once("own".to_owned()).chain((0..).map(|i: u32| i.to_string()));
        for ((input, outputs, stride), suffix) in std::iter::once(own).chain(places).zip(names) {
            let instance = fragment.instantiate(input, outputs, stride).unwrap();
            let weights = instance.weights(Seed(3));
            let bytes = instance.to_onnx(&weights).unwrap();
            assert_eq!(bytes, instance.to_onnx(&weights).unwrap());
            if let Some(folder) = &out {
                let name = format!("{}-{suffix}.onnx", block.name);
                std::fs::write(folder.join(name), bytes).unwrap();
            }
        }
    }
}
