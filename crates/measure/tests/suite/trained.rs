//! Real engines on trained weights and on blocks of the user's own: subnets of tiny supernets, whose logits
//! PyTorch has computed (`crates/core/tests/golden/supernets/make.py`), and the example with an ONNX block.

use std::path::PathBuf;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::network::{Network, Weights};
use blocklens_core::ofa::{OfaDict, Supernet};
use blocklens_core::seed::Seed;
use blocklens_core::space::{DesignSpace, SpaceSource, named_files};
use blocklens_measure::engine::{self, Artefact, Availability, Engine, EngineOptions};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    subnets: Vec<Subnet>,
}

#[derive(Deserialize)]
struct Subnet {
    arch: OfaDict,
    logits: Vec<f32>,
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The engines that compute, as far as they are available here.
fn real_engines() -> Vec<Box<dyn Engine>> {
    let mut found = Vec::new();
    for engine in engine::all() {
        match engine.availability() {
            _ if !engine.takes_graphs() => {}
            Availability::Available { .. } => found.push(engine),
            Availability::Unavailable { reason, .. } => {
                println!("skipping {}: {reason}", engine.name());
            }
        }
    }
    found
}

fn output(engine: &dyn Engine, network: &Network, weights: &Weights, input: &[f32]) -> Vec<f32> {
    let model = Artefact::Network { network, weights };
    let mut session = engine
        .prepare(&model, &EngineOptions::new(Seed(1)))
        .unwrap();
    session.infer(input).unwrap()
}

/// SplitMix64, as `make.py` says.
#[allow(clippy::cast_precision_loss)]
fn image(seed: u64, resolution: u32) -> Vec<f32> {
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

#[test]
fn engines_compute_what_pytorch_computes() {
    let engines = real_engines();
    let folder = repository().join("crates/core/tests/golden/supernets");
    for name in ["mbv3", "proxyless", "resnet"] {
        let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
        let text = String::from_utf8(read("toml")).unwrap();
        let space = DesignSpace::from_toml(name, &text, None).unwrap();
        let golden: Golden = serde_json::from_slice(&read("json")).unwrap();
        let checkpoint = Checkpoint::read(name, &read("pth")).unwrap();
        let supernet = Supernet::new(&space, &checkpoint).unwrap();
        for subnet in &golden.subnets {
            let arch = space.from_ofa(&subnet.arch).unwrap();
            let (network, weights) = supernet.slice(&arch).unwrap();
            let input = image(golden.seed, arch.resolution());
            for engine in &engines {
                let logits = output(engine.as_ref(), &network, &weights, &input);
                let largest = logits
                    .iter()
                    .zip(&subnet.logits)
                    .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
                let (engine, arch) = (engine.name(), space.print(&arch));
                assert!(largest < 1e-4, "{engine}, {name} {arch}: {largest}");
            }
        }
    }
}

/// Every engine computes the same with a spliced block, at both resolutions and at every place.
#[test]
fn engines_agree_on_blocks_of_ones_own() {
    let engines = real_engines();
    let folder = repository().join("examples/ghost");
    let mut source =
        SpaceSource::text(&std::fs::read_to_string(folder.join("space.toml")).unwrap());
    for file in named_files(&source.text) {
        let bytes = std::fs::read(folder.join(&file)).unwrap();
        source.files.insert(file, bytes);
    }
    let space = DesignSpace::read("ghost", &source, None).unwrap();
    for text in [
        "r96/ghost,ghost/ghost,ghost,ghost",
        "r128/e3k5,ghost/ghost,e6k3",
    ] {
        let network = space.network(&space.parse(text).unwrap());
        let weights = Weights::random(&network, Seed(7));
        let input = engine::input(&network, Seed(7));
        let outputs: Vec<Vec<f32>> = engines
            .iter()
            .map(|e| output(e.as_ref(), &network, &weights, &input))
            .collect();
        for logits in &outputs {
            assert_eq!(logits.len(), 1000);
            let scale = logits.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            assert!(scale.is_finite() && scale > 0.0);
            let differences = logits.iter().zip(&outputs[0]).map(|(a, b)| (a - b).abs());
            let worst = differences.fold(0.0, f32::max) / scale;
            assert!(worst < 1e-3, "{text}: {worst}");
        }
    }
}
