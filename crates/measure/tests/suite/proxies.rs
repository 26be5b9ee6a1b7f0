//! Training-free proxies on engines: against PyTorch (`crates/core/tests/golden/proxies/make.py`), against a naive twin
//! on the reference executor, and on every kind of space.

use std::collections::BTreeMap;
use std::path::PathBuf;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::metric::{Metric, MetricError, Origin};
use blocklens_core::network::onnx::INPUT;
use blocklens_core::network::run::run_visiting;
use blocklens_core::network::{Network, Op, UnfoldedWeights};
use blocklens_core::ofa::{OfaDict, Supernet};
use blocklens_core::proxy::{Proxy, Settings, Trial};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Activation, Architecture, DesignSpace, SpaceSource, named_files};
use blocklens_measure::engine::{self, Availability, Engine, LoadOptions, Tensor};
use blocklens_measure::proxies::{Options, ProxyMetric};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    images: usize,
    resolution: usize,
    networks: BTreeMap<String, Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    arch: OfaDict,
    naswot: f64,
    activations: usize,
    zen: f64,
    batch_norms: usize,
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden")
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

/// SplitMix64, as `make.py` says.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut number = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| number()).collect()
}

/// A subnet with its checkpoint's weights, batch-norms apart.
fn subnets(
    name: &str,
    archs: impl Fn(&DesignSpace) -> Vec<Architecture>,
) -> Vec<(Network, UnfoldedWeights)> {
    let folder = golden().join("supernets");
    let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    let text = String::from_utf8(read("toml")).unwrap();
    let space = DesignSpace::from_toml(name, &text, None).unwrap();
    let checkpoint = Checkpoint::read(name, &read("pth")).unwrap();
    let supernet = Supernet::new(&space, &checkpoint).unwrap();
    let archs = archs(&space).into_iter();
    archs
        .map(|a| supernet.slice_unfolded(&a).unwrap())
        .collect()
}

/// The main path with the weights of the whole network, found by name.
fn main_path(network: &Network, weights: &UnfoldedWeights) -> (Network, UnfoldedWeights) {
    let path = network.main_path();
    let place = |name: &str| network.nodes().iter().position(|n| n.name == name).unwrap();
    let places: Vec<usize> = path.nodes().iter().map(|n| place(&n.name)).collect();
    let nodes = places.iter().map(|&i| weights.weights().of(i).cloned());
    let norms = places.iter().enumerate();
    let norms = norms.filter_map(|(new, old)| Some((new, weights.norms().get(old)?.clone())));
    let nodes = blocklens_core::network::Weights::from_nodes(nodes.collect());
    (path, UnfoldedWeights::new(nodes, norms.collect()))
}

fn score(engine: &dyn Engine, trial: &Trial) -> f64 {
    let mut executor = engine
        .load(&trial.graph().bytes, &LoadOptions::default())
        .unwrap();
    let run = |input: &Vec<f32>| {
        let input = Tensor::new(trial.shape().to_vec(), input.clone()).unwrap();
        let outputs = executor.run(&[(INPUT, &input)]).unwrap();
        outputs.into_iter().map(Tensor::into_data).collect()
    };
    let outputs: Vec<Vec<Vec<f32>>> = trial.inputs().iter().map(run).collect();
    trial.score(&outputs).unwrap()
}

fn trial(
    proxy: Proxy,
    (network, weights): &(Network, UnfoldedWeights),
    x: &[f32],
    change: &[f32],
) -> Trial {
    match proxy {
        Proxy::Naswot => Trial::new(proxy, network, weights, x.to_vec(), &[]).unwrap(),
        Proxy::Zen => {
            let (path, weights) = main_path(network, weights);
            Trial::new(proxy, &path, &weights, x.to_vec(), change).unwrap()
        }
    }
}

/// PyTorch computed in float64. An engine's float32 turns a few codes of inputs near zero (NASWOT), and rounds the
/// difference of two close features (Zen).
#[test]
fn scores_are_those_of_pytorch() {
    let text = std::fs::read_to_string(golden().join("proxies/proxies.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let count = golden.images * 3 * golden.resolution * golden.resolution;
    let all = numbers(golden.seed, 2 * count);
    let (x, change) = all.split_at(count);
    let engines = real_engines();
    for (name, rows) in &golden.networks {
        let archs = |space: &DesignSpace| {
            let arch = |row: &Row| space.from_ofa(&row.arch).unwrap();
            rows.iter().map(arch).collect::<Vec<_>>()
        };
        for (subnet, row) in subnets(name, archs).iter().zip(rows) {
            let naswot = trial(Proxy::Naswot, subnet, x, change);
            let zen = trial(Proxy::Zen, subnet, x, change);
            assert_eq!(naswot.graph().outputs.len(), 1 + row.activations, "{name}");
            assert_eq!(zen.graph().outputs.len(), 1 + 2 * row.batch_norms, "{name}");
            for engine in &engines {
                let found = score(engine.as_ref(), &naswot);
                let engine_name = engine.name();
                let apart = (found - row.naswot).abs();
                assert!(apart < 2e-3, "{engine_name} {name}: {found} {}", row.naswot);
                let found = score(engine.as_ref(), &zen);
                let apart = (found - row.zen).abs();
                assert!(apart < 2e-3, "{engine_name} {name}: {found} {}", row.zen);
            }
        }
    }
}

/// All tensors of all images, with every batch-norm given the statistics of the batch, one after the other.
fn naive(
    (network, weights): &(Network, UnfoldedWeights),
    images: &[Vec<f32>],
) -> (Vec<Vec<Vec<f32>>>, Vec<f64>) {
    let mut weights = weights.clone();
    let run = |weights: &UnfoldedWeights| {
        let folded = weights.fold();
        let mut all = vec![Vec::new(); network.nodes().len() + 1];
        for image in images {
            let mut visit = |t: usize, numbers: &[f32]| all[t].push(numbers.to_vec());
            run_visiting(network, &folded, image, &mut visit).unwrap();
        }
        all
    };
    let nodes: Vec<usize> = weights.norms().keys().copied().collect();
    let mut sigmas = Vec::new();
    for node in nodes {
        // Without the norm, the tensor is what the norm reads.
        let mut without = weights.clone();
        without.norms_mut().remove(&node);
        let read = &run(&without)[node + 1];
        let norm = weights.norms_mut().get_mut(&node).unwrap();
        let area = read[0].len() / norm.mean.len();
        for channel in 0..norm.mean.len() {
            let of_channel = |image: &Vec<f32>| image[channel * area..][..area].to_vec();
            let numbers: Vec<f64> = read.iter().flat_map(of_channel).map(f64::from).collect();
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            let squares = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            norm.mean[channel] = mean as f32;
            norm.variance[channel] = (squares / numbers.len() as f64) as f32;
        }
        let total: f64 = norm.variance.iter().map(|v| f64::from(*v)).sum();
        sigmas.push((total / norm.variance.len() as f64).sqrt());
    }
    (run(&weights), sigmas)
}

/// log det by elimination without pivots, on codes written out.
fn naive_naswot(subnet: &(Network, UnfoldedWeights), images: &[Vec<f32>]) -> f64 {
    let (tensors, _) = naive(subnet, images);
    let mut codes: Vec<Vec<bool>> = vec![Vec::new(); images.len()];
    for node in subnet.0.nodes() {
        let Op::Activation(function) = &node.op else {
            continue;
        };
        if matches!(function, Activation::Hsigmoid | Activation::Sigmoid) {
            continue;
        }
        for (code, numbers) in codes.iter_mut().zip(&tensors[node.inputs[0]]) {
            code.extend(numbers.iter().map(|x| *x > 0.0));
        }
    }
    let agree = |a: &Vec<bool>, b: &Vec<bool>| a.iter().zip(b).filter(|(a, b)| a == b).count();
    let row = |a: &Vec<bool>| -> Vec<f64> { codes.iter().map(|b| agree(a, b) as f64).collect() };
    let mut kernel: Vec<Vec<f64>> = codes.iter().map(row).collect();
    let mut log = 0.0;
    for pivot in 0..kernel.len() {
        log += kernel[pivot][pivot].ln();
        for below in pivot + 1..kernel.len() {
            let factor = kernel[below][pivot] / kernel[pivot][pivot];
            let above = kernel[pivot].clone();
            let row = kernel[below].iter_mut().zip(above);
            row.for_each(|(below, above)| *below -= factor * above);
        }
    }
    log
}

fn naive_zen(subnet: &(Network, UnfoldedWeights), images: &[Vec<f32>], change: &[Vec<f32>]) -> f64 {
    let path = main_path(&subnet.0, &subnet.1);
    let (clean, sigmas) = naive(&path, images);
    let added = images.iter().zip(change);
    let added: Vec<Vec<f32>> = added
        .map(|(x, e)| x.iter().zip(e).map(|(x, e)| x + 0.01 * e).collect())
        .collect();
    let (changed, _) = naive(&path, &added);
    let ends = clean.last().unwrap().iter().zip(changed.last().unwrap());
    let distance = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let mean = ends.map(distance).sum::<f64>() / images.len() as f64;
    mean.ln() + sigmas.iter().map(|s| s.ln()).sum::<f64>()
}

#[test]
fn scores_are_those_of_the_naive_twin() {
    let smallest = |space: &DesignSpace| vec![space.smallest(64).unwrap()];
    for name in ["mbv3", "proxyless"] {
        let subnet = subnets(name, smallest).pop().unwrap();
        let pixels = numbers(77, 6 * 3 * 64 * 64);
        let images: Vec<Vec<f32>> = pixels.chunks(3 * 64 * 64).map(<[f32]>::to_vec).collect();
        let (x, change) = images.split_at(3);
        let naswot = naive_naswot(&subnet, x);
        let zen = naive_zen(&subnet, x, change);
        let trial = |proxy| trial(proxy, &subnet, &x.concat(), &change.concat());
        for engine in real_engines() {
            let found = score(engine.as_ref(), &trial(Proxy::Naswot));
            assert!((found - naswot).abs() < 2e-3, "{name}: {found} {naswot}");
            let found = score(engine.as_ref(), &trial(Proxy::Zen));
            assert!((found - zen).abs() < 2e-3, "{name}: {found} {zen}");
        }
    }
}

fn file_space(path: &str) -> DesignSpace {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    let mut source = SpaceSource::text(&std::fs::read_to_string(&path).unwrap());
    for file in named_files(&source.text) {
        let bytes = std::fs::read(path.with_file_name(&file)).unwrap();
        source.files.insert(file, bytes);
    }
    DesignSpace::read("space", &source, None).unwrap()
}

fn options(engine: &dyn Engine, settings: Settings) -> Options {
    Options {
        engine: Some(engine.name().to_owned()),
        settings,
    }
}

#[test]
fn every_space_has_proxies_and_they_repeat() {
    let settings = Settings {
        batch: 4,
        repeats: 2,
        seed: Seed(5),
    };
    for engine in real_engines() {
        for path in [
            "examples/ghost/space.toml",
            "crates/core/tests/spaces/mixed.toml",
        ] {
            let space = file_space(path);
            let resolution = space.resolutions()[0];
            let arch = space.sample(resolution, &mut Seed(3).rng()).unwrap();
            for proxy in Proxy::ALL {
                let metric = |settings| {
                    let options = options(engine.as_ref(), settings);
                    ProxyMetric::new(proxy, &space, &options).unwrap()
                };
                let first = metric(settings);
                assert_eq!(first.info().origin, Origin::Proxy);
                assert!(first.info().about.contains("not an accuracy"));
                assert!(first.is_costly());
                let scores = first.scores(&arch).unwrap();
                assert_eq!(scores.len(), 2);
                assert_ne!(scores[0], scores[1], "{path}");
                let mean = (scores[0] + scores[1]) / 2.0;
                assert_eq!(metric(settings).evaluate(&arch).unwrap(), mean);
                let other = Settings {
                    seed: Seed(6),
                    ..settings
                };
                assert_ne!(metric(other).evaluate(&arch).unwrap(), mean);
            }
        }
    }
}

/// Deeper and wider networks have more units and more scales: both scores must tell the ends of a space apart.
#[test]
fn the_largest_network_scores_above_the_smallest() {
    let settings = Settings {
        batch: 4,
        ..Settings::default()
    };
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let Some(engine) = real_engines().pop() else {
        println!("skipping: no engine that computes");
        return;
    };
    for proxy in Proxy::ALL {
        let metric = ProxyMetric::new(proxy, &space, &options(engine.as_ref(), settings)).unwrap();
        let smallest = metric.evaluate(&space.smallest(128).unwrap()).unwrap();
        let deep = ["e6k7"; 4].join(",");
        let largest = space.parse(&format!("r128{}", format!("/{deep}").repeat(5)));
        let largest = metric.evaluate(&largest.unwrap()).unwrap();
        assert!(largest > smallest, "{proxy:?}: {smallest} {largest}");
    }
}

#[test]
fn architectures_outside_the_space_are_refused() {
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let other = DesignSpace::builtin("ofa-resnet50", None).unwrap();
    let resolution = other
        .resolutions()
        .iter()
        .find(|r| space.check_resolution(**r).is_err());
    let Some(engine) = real_engines().pop() else {
        println!("skipping: no engine that computes");
        return;
    };
    let Some(&resolution) = resolution else {
        return;
    };
    let options = options(engine.as_ref(), Settings::default());
    let metric = ProxyMetric::new(Proxy::Zen, &space, &options).unwrap();
    let error = metric
        .evaluate(&other.smallest(resolution).unwrap())
        .unwrap_err();
    assert!(
        matches!(error, MetricError::NotApplicable { .. }),
        "{error}"
    );
}
