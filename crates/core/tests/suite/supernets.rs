//! Subnets sliced from checkpoints that the `ofa` package wrote, against PyTorch: `golden/supernets/make.py`
//! says how the files were made.

use std::path::PathBuf;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::network::{cost, run::run};
use blocklens_core::ofa::{NetConfig, OfaDict, SliceError, Supernet};
use blocklens_core::space::{Architecture, DesignSpace};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    subnets: Vec<Subnet>,
}

#[derive(Deserialize)]
struct Subnet {
    arch: OfaDict,
    macs: u64,
    params: u64,
    logits: Vec<f32>,
    logits64: Vec<f64>,
    net_config: serde_json::Value,
}

/// The supernets of the golden folder, and their checkpoints.
const SUPERNETS: [(&str, &[&str]); 3] = [
    ("mbv3", &["mbv3.pth"]),
    ("proxyless", &["proxyless.pth"]),
    ("resnet", &["resnet.pth", "resnet.safetensors"]),
];

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "supernets"]
        .iter()
        .collect()
}

fn tiny(name: &str) -> DesignSpace {
    let text = std::fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
    DesignSpace::from_toml(name, &text, None).unwrap()
}

fn golden(name: &str) -> Golden {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn checkpoint(file: &str) -> Checkpoint {
    Checkpoint::read(file, &std::fs::read(folder().join(file)).unwrap()).unwrap()
}

/// The input of every subnet: SplitMix64, as `make.py` says.
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
fn sliced_subnets_compute_what_pytorch_computes() {
    for (name, files) in SUPERNETS {
        let (space, golden) = (tiny(name), golden(name));
        assert_eq!(golden.subnets.len(), 30);
        for file in files {
            let checkpoint = checkpoint(file);
            let supernet = Supernet::new(&space, &checkpoint).unwrap();
            for subnet in &golden.subnets {
                let arch = space.from_ofa(&subnet.arch).unwrap();
                let (network, weights) = supernet.slice(&arch).unwrap();
                let at = format!("{file}, {}", space.print(&arch));
                assert_eq!(cost(&network).macs.0, subnet.macs, "{at}");
                assert_eq!(cost(&network).params.0, subnet.params, "{at}");
                let logits =
                    run(&network, &weights, &image(golden.seed, arch.resolution())).unwrap();
                assert_eq!(logits.len(), subnet.logits.len());
                for (i, ours) in logits.iter().enumerate() {
                    let (single, double) = (subnet.logits[i], subnet.logits64[i]);
                    assert!((ours - single).abs() < 1e-5, "{at}: {ours} {single}");
                    assert!(
                        (f64::from(*ours) - double).abs() < 1e-5,
                        "{at}: {ours} {double}"
                    );
                }
            }
        }
    }
}

#[test]
fn net_configs_of_the_package_are_read_and_written_back() {
    for (name, _) in SUPERNETS {
        let space = tiny(name);
        for subnet in golden(name).subnets {
            let arch = space.from_ofa(&subnet.arch).unwrap();
            let theirs: NetConfig = serde_json::from_value(subnet.net_config.clone()).unwrap();
            let read = space.from_net_config(&theirs, arch.resolution()).unwrap();
            // Supernets this narrow have subnets that are one network in two ways; their files are equal.
            let ours = serde_json::to_value(space.to_net_config(&read).unwrap()).unwrap();
            assert_eq!(
                ours,
                serde_json::to_value(space.to_net_config(&arch).unwrap()).unwrap()
            );
            assert_eq!(ours, subnet.net_config, "{}", space.print(&arch));
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let space = tiny("mbv3");
    let arch = space.smallest(64).unwrap();
    let good = checkpoint("mbv3.pth");
    fn slice(space: &DesignSpace, arch: &Architecture, checkpoint: &Checkpoint) -> SliceError {
        Supernet::new(space, checkpoint)
            .and_then(|s| s.slice(arch))
            .unwrap_err()
    }
    let wide = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
    let error = slice(&wide, &wide.smallest(128).unwrap(), &good).to_string();
    assert!(
        error.contains("first_conv.conv.weight") && error.contains("narrower"),
        "{error}"
    );
    let tensors = |skip: &str| {
        let kept = good.keys().filter(|key| !key.contains(skip));
        let kept = kept.map(|key| (key.to_owned(), good.get(key).unwrap().clone()));
        Checkpoint::from_tensors(kept.collect::<Vec<_>>())
    };
    let error = slice(&space, &arch, &tensors("first_conv.bn.bias")).to_string();
    assert!(error.contains("has no `first_conv.bn.bias`"), "{error}");
    let resnet = tiny("resnet");
    let error = slice(&resnet, &resnet.smallest(64).unwrap(), &good).to_string();
    assert!(error.contains("input_stem.0.conv.weight"), "{error}");
}
