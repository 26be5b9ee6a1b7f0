//! Writes networks with trained weights as ONNX and TFLite files, with inputs and expected outputs, for
//! `tools/check_exports.py` to run on ONNX Runtime and LiteRT:
//!
//! ```text
//! cargo run --release -p blocklens-studies --bin export_cases -- DIR [SUBNETS]
//! python tools/check_exports.py DIR
//! ```
//!
//! The networks are subnets (30 of each, unless told) of the tiny supernets in `crates/core/tests/golden/supernets`,
//! whose logits PyTorch has computed, and networks of a space with every kind of block, whose logits the reference
//! executor computes.

use std::error::Error;
use std::path::{Path, PathBuf};

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::network::tflite::{self, Calibration};
use blocklens_core::network::{Network, NodeWeights, Op, Weights, onnx, run::run};
use blocklens_core::ofa::{OfaDict, Supernet};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use rand::RngExt;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Sample inputs for calibration, and as many others to compare integer and float networks on.
const SAMPLES: u64 = 32;
const INPUTS: u64 = 64;

const MIXED: &str = include_str!("../../../core/tests/spaces/mixed.toml");

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments
        .next()
        .ok_or("usage: export_cases DIR [SUBNETS]")?
        .into();
    let subnets: usize = arguments.next().map_or(Ok(30), |n| n.parse())?;
    for (name, file) in [
        ("mbv3", "mbv3.pth"),
        ("proxyless", "proxyless.pth"),
        ("resnet", "resnet.safetensors"),
    ] {
        supernet(&folder, name, file, subnets)?;
    }
    mixed(&folder, subnets.min(10))
}

/// Subnets of a tiny supernet, with PyTorch's logits.
fn supernet(folder: &Path, name: &str, file: &str, subnets: usize) -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/supernets");
    let text = std::fs::read_to_string(golden.join(format!("{name}.toml")))?;
    let space = DesignSpace::from_toml(name, &text, None)?;
    let checkpoint = Checkpoint::read(file, &std::fs::read(golden.join(file))?)?;
    let supernet = Supernet::new(&space, &checkpoint)?;
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden.join(format!("{name}.json")))?)?;
    let seed = facts["seed"].as_u64().ok_or("no seed")?;
    for (i, subnet) in facts["subnets"]
        .as_array()
        .ok_or("no subnets")?
        .iter()
        .take(subnets)
        .enumerate()
    {
        let dict: OfaDict = serde_json::from_value(subnet["arch"].clone())?;
        let arch = space.from_ofa(&dict)?;
        let (network, weights) = supernet.slice(&arch)?;
        let logits: Vec<f32> = serde_json::from_value(subnet["logits"].clone())?;
        let image = split_mix_image(seed, arch.resolution());
        write(
            &folder.join(format!("{name}-{i:02}")),
            &network,
            &weights,
            &image,
            &logits,
        )?;
    }
    Ok(())
}

/// Networks with every kind of block and odd sides, scaled to logits of order 1.
fn mixed(folder: &Path, networks: usize) -> Result<()> {
    let space = DesignSpace::from_toml("mixed.toml", MIXED, None)?;
    for i in 0..networks {
        let seed = Seed(i as u64);
        let resolution = space.resolutions()[i % space.resolutions().len()];
        let arch = space.sample(resolution, &mut seed.rng())?;
        let network = space.network(&arch);
        let image = random_image(&network, seed);
        let weights = scaled(&network, &Weights::random(&network, seed), &image)?;
        let logits = run(&network, &weights, &image)?;
        write(
            &folder.join(format!("mixed-{i:02}")),
            &network,
            &weights,
            &image,
            &logits,
        )?;
    }
    Ok(())
}

/// Random weights with the last layer scaled so that logits are of order 1.
fn scaled(network: &Network, weights: &Weights, image: &[f32]) -> Result<Weights> {
    let largest = run(network, weights, image)?
        .iter()
        .fold(0.0_f32, |m, v| m.max(v.abs()));
    let node = |(i, node): (usize, &blocklens_core::network::Node)| {
        let weights = weights.of(i)?;
        let factor = if matches!(node.op, Op::Linear { .. }) {
            1.0 / largest
        } else {
            1.0
        };
        let by = |values: &[f32]| values.iter().map(|v| v * factor).collect();
        Some(NodeWeights {
            weight: by(&weights.weight),
            bias: by(&weights.bias),
        })
    };
    Ok(Weights::from_nodes(
        network.nodes().iter().enumerate().map(node).collect(),
    ))
}

fn write(
    folder: &Path,
    network: &Network,
    weights: &Weights,
    image: &[f32],
    logits: &[f32],
) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let samples: Vec<Vec<f32>> = (0..SAMPLES)
        .map(|i| random_image(network, Seed(1000 + i)))
        .collect();
    let calibration = Calibration::observe(network, weights, samples.iter().map(Vec::as_slice))?;
    let inputs: Vec<f32> = (0..INPUTS)
        .flat_map(|i| random_image(network, Seed(2000 + i)))
        .collect();
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    std::fs::write(
        folder.join("model.onnx"),
        onnx::export(network, weights, "case")?,
    )?;
    std::fs::write(
        folder.join("model.tflite"),
        tflite::export(network, weights, "case")?,
    )?;
    std::fs::write(
        folder.join("model_int8.tflite"),
        tflite::export_int8(network, weights, "case", &calibration)?,
    )?;
    std::fs::write(folder.join("image.f32"), bytes(image))?;
    std::fs::write(folder.join("logits.f32"), bytes(logits))?;
    std::fs::write(folder.join("inputs.f32"), bytes(&inputs))?;
    Ok(())
}

fn random_image(network: &Network, seed: Seed) -> Vec<f32> {
    let mut rng = seed.stream("image").rng();
    (0..network.input().elements())
        .map(|_| rng.random_range(-1.0..1.0))
        .collect()
}

/// The input that PyTorch saw: SplitMix64, as `crates/core/tests/golden/supernets/make.py` says.
fn split_mix_image(seed: u64, resolution: u32) -> Vec<f32> {
    let mut state = seed;
    let mut pixel = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..3 * resolution * resolution).map(|_| pixel()).collect()
}
