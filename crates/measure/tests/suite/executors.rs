//! Graphs on engines: batches, tensors inside, statistics of the batch, against the reference executor and against the
//! same graph on one image at a time.

use std::path::PathBuf;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::network::onnx::{
    Batch, GraphFile, GraphOptions, GraphOutput, INPUT, NormName, Norms, export, export_graph,
};
use blocklens_core::network::run::run_visiting;
use blocklens_core::network::{Network, Op, UnfoldedWeights, Weights};
use blocklens_core::ofa::Supernet;
use blocklens_core::seed::Seed;
use blocklens_core::space::{DesignSpace, SpaceSource, named_files};
use blocklens_measure::engine::{
    self, Availability, Engine, EngineError, Executor, LoadOptions, Tensor,
};

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

/// A random subnet of a tiny supernet, whose batch-norms have statistics.
fn subnet(name: &str, seed: u64) -> (Network, UnfoldedWeights) {
    let folder = repository().join("crates/core/tests/golden/supernets");
    let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    let text = String::from_utf8(read("toml")).unwrap();
    let space = DesignSpace::from_toml(name, &text, None).unwrap();
    let checkpoint = Checkpoint::read(name, &read("pth")).unwrap();
    let arch = space.sample(64, &mut Seed(seed).rng()).unwrap();
    let supernet = Supernet::new(&space, &checkpoint).unwrap();
    supernet.slice_unfolded(&arch).unwrap()
}

fn images(network: &Network, count: u64) -> Vec<Vec<f32>> {
    (0..count)
        .map(|i| engine::input(network, Seed(i + 1)))
        .collect()
}

/// Images as a batch.
fn batch(network: &Network, images: &[Vec<f32>]) -> Tensor {
    let shape = network.input();
    let dims = [shape.channels, shape.height, shape.width].map(|d| d as usize);
    let shape = [vec![images.len()], dims.to_vec()].concat();
    Tensor::new(shape, images.concat()).unwrap()
}

fn load(engine: &dyn Engine, file: &GraphFile) -> Box<dyn Executor> {
    engine.load(&file.bytes, &LoadOptions::default()).unwrap()
}

/// Largest difference of two tensors, relative to the largest number.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = |numbers: &mut dyn Iterator<Item = f32>| numbers.fold(0.0_f32, f32::max);
    let scale = largest(&mut a.iter().map(|x| x.abs()));
    let worst = largest(&mut a.iter().zip(b).map(|(x, y)| (x - y).abs()));
    worst / scale.max(1e-6)
}

/// All tensors of the reference executor, for every image.
fn reference(network: &Network, weights: &Weights, images: &[Vec<f32>]) -> Vec<Vec<Vec<f32>>> {
    let mut all = vec![Vec::new(); network.nodes().len() + 1];
    for image in images {
        let mut visit = |tensor: usize, numbers: &[f32]| all[tensor].push(numbers.to_vec());
        run_visiting(network, weights, image, &mut visit).unwrap();
    }
    all
}

#[test]
fn batches_and_tensors_inside_are_those_of_the_reference_executor() {
    for (name, seed) in [("mbv3", 1), ("proxyless", 2), ("resnet", 3)] {
        let (network, weights) = subnet(name, seed);
        let images = images(&network, 3);
        let expected = reference(&network, &weights.fold(), &images);
        let last = network.nodes().len();
        for batch_size in [Batch::Fixed(3), Batch::Open] {
            let options = GraphOptions {
                batch: batch_size,
                tensors: vec![0, last / 2, last / 3, last / 2, last],
                ..GraphOptions::default()
            };
            let file = export_graph(&network, &weights, &options, name).unwrap();
            let inside = [0, last / 2, last / 3].map(GraphOutput::Tensor);
            assert_eq!(file.outputs[0], GraphOutput::Network);
            assert_eq!(file.outputs[1..], inside);
            for engine in real_engines() {
                let mut executor = load(engine.as_ref(), &file);
                assert_eq!(executor.inputs(), [INPUT]);
                assert_eq!(executor.outputs().len(), 4);
                let input = batch(&network, &images);
                let outputs = executor.run(&[(INPUT, &input)]).unwrap();
                for (output, tensor) in outputs.iter().zip([last, 0, last / 2, last / 3]) {
                    assert_eq!(output.shape()[0], 3);
                    let apart = difference(&expected[tensor].concat(), output.data());
                    let engine = engine.name();
                    assert!(
                        apart < 1e-4,
                        "{engine} {name} {batch_size:?} {tensor}: {apart}"
                    );
                }
                if batch_size == Batch::Open {
                    let one = batch(&network, &images[1..2]);
                    let outputs = executor.run(&[(INPUT, &one)]).unwrap();
                    assert!(difference(&expected[last][1], outputs[0].data()) < 1e-4);
                }
            }
        }
    }
}

/// Mean and biased variance of a channel over images, rows and columns.
fn moments(images: &[Vec<f32>], channel: usize, channels: usize) -> (f64, f64) {
    let numbers: Vec<f64> = images
        .iter()
        .flat_map(|image| {
            let area = image.len() / channels;
            image[channel * area..][..area]
                .iter()
                .map(|&x| f64::from(x))
        })
        .collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let squares = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (mean, squares / numbers.len() as f64)
}

/// With the statistics that a graph shows put into the weights, the reference executor must give the same outputs, and
/// every batch-norm must then leave exactly its own shift and scale: only the batch's statistics do that.
#[test]
fn statistics_of_the_batch_normalise_it() {
    for (name, seed) in [("mbv3", 4), ("proxyless", 5), ("resnet", 6)] {
        let (network, weights) = subnet(name, seed);
        let images = images(&network, 4);
        let options = GraphOptions {
            batch: Batch::Open,
            norms: Norms::Batch { shown: true },
            tensors: Vec::new(),
            codes: false,
        };
        let file = export_graph(&network, &weights, &options, name).unwrap();
        assert_eq!(file.outputs.len(), 1 + 2 * weights.norms().len());
        for engine in real_engines() {
            let mut executor = load(engine.as_ref(), &file);
            let input = batch(&network, &images);
            let outputs = executor.run(&[(INPUT, &input)]).unwrap();
            let mut updated = weights.clone();
            for (kind, output) in file.outputs.iter().zip(&outputs) {
                let numbers = output.data().to_vec();
                match kind {
                    GraphOutput::Mean(NormName::Node(node)) => {
                        updated.norms_mut().get_mut(node).unwrap().mean = numbers;
                    }
                    GraphOutput::Variance(NormName::Node(node)) => {
                        updated.norms_mut().get_mut(node).unwrap().variance = numbers;
                    }
                    other => assert_eq!(*other, GraphOutput::Network),
                }
            }
            let all = reference(&network, &updated.fold(), &images);
            let logits = all.last().unwrap().concat();
            let apart = difference(&logits, outputs[0].data());
            assert!(apart < 1e-3, "{} {name}: {apart}", engine.name());
            for (&node, norm) in updated.norms() {
                let channels = norm.scale.len();
                for channel in 0..channels {
                    let (mean, variance) = moments(&all[node + 1], channel, channels);
                    let (shift, scale) = (f64::from(norm.shift[channel]), norm.scale[channel]);
                    let v = f64::from(norm.variance[channel]);
                    let expected = f64::from(scale).powi(2) * v / (v + norm.epsilon);
                    let at = format!("{name} {} {channel}", network.nodes()[node].name);
                    assert!((mean - shift).abs() < 1e-3, "{at}: {mean} {shift}");
                    assert!(
                        (variance - expected).abs() < 2e-3 * expected.max(1.0),
                        "{at}"
                    );
                }
            }
        }
    }
}

#[test]
fn stored_statistics_give_what_folding_gives() {
    let (network, weights) = subnet("mbv3", 7);
    let images = images(&network, 1);
    let apart = export_graph(&network, &weights, &GraphOptions::default(), "x").unwrap();
    let folded = weights.fold();
    let plain = export_graph(
        &network,
        &folded.clone().into(),
        &GraphOptions::default(),
        "x",
    );
    assert_eq!(
        plain.unwrap().bytes,
        export(&network, &folded, "x").unwrap()
    );
    for engine in real_engines() {
        let input = batch(&network, &images);
        let output = load(engine.as_ref(), &apart)
            .run(&[(INPUT, &input)])
            .unwrap();
        let expected = reference(&network, &folded, &images).pop().unwrap();
        assert!(difference(&expected.concat(), output[0].data()) < 1e-4);
    }
}

/// Even kernels, windows side by side, basic blocks and GELU, on sides that these divide and on others.
#[test]
fn classic_blocks_are_those_of_the_reference_executor() {
    let path = repository().join("crates/core/tests/spaces/classic.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("nr6", "nge").replace("nsw", "nge");
    let space = DesignSpace::from_toml("classic", &text, None).unwrap();
    let engines = real_engines();
    for (&resolution, seed) in space.resolutions().iter().zip(1..) {
        let arch = space.sample(resolution, &mut Seed(seed).rng()).unwrap();
        let network = space.network(&arch);
        let weights = Weights::random(&network, Seed(seed));
        let images = images(&network, 1);
        let expected = reference(&network, &weights, &images);
        let bytes = export(&network, &weights, "classic").unwrap();
        for engine in &engines {
            let mut executor = engine.load(&bytes, &LoadOptions::default()).unwrap();
            let outputs = executor.run(&[(INPUT, &batch(&network, &images))]);
            let logits = expected.last().unwrap().concat();
            let apart = difference(&logits, outputs.unwrap()[0].data());
            assert!(apart < 1e-4, "{} {resolution}: {apart}", engine.name());
        }
    }
}

/// A space of the blocks of the user's own among the golden files, each in a unit of its own.
fn own_blocks() -> Vec<(String, DesignSpace)> {
    let folder = repository().join("crates/core/tests/golden/fragments");
    let text = std::fs::read_to_string(folder.join("fragments.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let space = |block: &serde_json::Value| {
        let name = block["name"].as_str().unwrap();
        let strided = block["stride"].as_u64();
        let sizes = block["sizes"].as_object().unwrap().iter();
        let sizes: Vec<String> = sizes.map(|(n, f)| format!("{n} = {f}")).collect();
        let case = &block["cases"][0];
        let (first, second) = (case["in"].as_u64().unwrap(), case["out"].as_u64().unwrap());
        let text = format!(
            "format = 2\nname = \"{name}\"\nresolutions = [{}]\nclasses = 10\n\
             stem = [\"conv_k3_c{first}\"]\nhead = [\"pool\", \"classifier\"]\n\
             block.own = {{ onnx = \"{name}.onnx\", in-channels = {}, out-channels = {}, {}\
             sizes = {{ {} }}, skip = {} }}\n\
             unit = [{{ channels = {second}, stride = {}, depth = 1, blocks = [\"own\"] }}]\n",
            case["rows"],
            block["in"],
            block["out"],
            strided.map_or(String::new(), |s| format!("stride = {s}, ")),
            sizes.join(", "),
            block["skip"],
            case["stride"],
        );
        let mut source = SpaceSource::text(&text);
        for file in named_files(&source.text) {
            source
                .files
                .insert(file.clone(), std::fs::read(folder.join(file)).unwrap());
        }
        let space = DesignSpace::read(name, &source, None);
        (
            name.to_owned(),
            space.unwrap_or_else(|error| panic!("{error}\n{text}")),
        )
    };
    golden["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(space)
        .collect()
}

/// Blocks are written for one image; in a graph for many, each image must have what it has alone, or the
/// graph be refused.
#[test]
fn blocks_of_ones_own_take_batches() {
    let engines = real_engines();
    let mut taken = Vec::new();
    for (name, space) in own_blocks() {
        let resolution = space.default_resolution();
        let arch = space.sample(resolution, &mut Seed(1).rng()).unwrap();
        let network = space.network(&arch);
        let weights: UnfoldedWeights = Weights::random(&network, Seed(2)).into();
        let images = images(&network, 3);
        let graph = |batch| {
            let options = GraphOptions {
                batch,
                ..GraphOptions::default()
            };
            export_graph(&network, &weights, &options, "own").unwrap()
        };
        let (one, many) = (graph(Batch::Fixed(1)), graph(Batch::Fixed(3)));
        for engine in &engines {
            let mut alone = load(engine.as_ref(), &one);
            let mut expected = Vec::new();
            for image in &images {
                let input = batch(&network, std::slice::from_ref(image));
                expected.extend(alone.run(&[(INPUT, &input)]).unwrap()[0].data().to_vec());
            }
            let input = batch(&network, &images);
            let run = engine.load(&many.bytes, &LoadOptions::default());
            match run.and_then(|mut executor| executor.run(&[(INPUT, &input)])) {
                Ok(outputs) => {
                    let apart = difference(&expected, outputs[0].data());
                    assert!(apart < 1e-4, "{} {name}: {apart}", engine.name());
                    taken.push(name.clone());
                }
                Err(error) => println!("{} {name}: {error}", engine.name()),
            }
        }
    }
    taken.sort();
    taken.dedup();
    println!("blocks that take batches: {taken:?}");
    if !engines.is_empty() {
        for name in [
            "ghost",
            "attention",
            "shuffle",
            "squeeze-excite",
            "updown",
            "convnext",
        ] {
            assert!(taken.iter().any(|t| t == name), "{name}");
        }
    }
}

#[test]
fn inputs_and_graphs_that_do_not_fit_are_refused() {
    let (network, weights) = subnet("proxyless", 8);
    let options = GraphOptions {
        batch: Batch::Fixed(2),
        ..GraphOptions::default()
    };
    let file = export_graph(&network, &weights, &options, "x").unwrap();
    let two = batch(&network, &images(&network, 2));
    for engine in real_engines() {
        let mut executor = load(engine.as_ref(), &file);
        for inputs in [
            vec![],
            vec![("picture", &two)],
            vec![(INPUT, &two), (INPUT, &two)],
        ] {
            let error = executor.run(&inputs).unwrap_err();
            assert!(matches!(error, EngineError::Inputs { .. }), "{error}");
            assert!(error.to_string().contains(INPUT), "{error}");
        }
        let flat = Tensor::new(vec![3], vec![0.0; 3]).unwrap();
        let error = executor.run(&[(INPUT, &flat)]).unwrap_err();
        assert!(matches!(error, EngineError::Run { .. }), "{error}");
        assert!(
            executor.run(&[(INPUT, &two)]).is_ok(),
            "it goes on after an error"
        );

        let error = engine
            .load(b"no graph", &LoadOptions::default())
            .unwrap_err();
        assert!(matches!(error, EngineError::Prepare { .. }), "{error}");
        let error = engine
            .load(&file.bytes, &LoadOptions { threads: 0 })
            .unwrap_err();
        assert!(
            matches!(error, EngineError::Threads { asked: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn engines_that_compute_nothing_say_so() {
    for engine in engine::all() {
        let load = || engine.load(&[], &LoadOptions::default()).unwrap_err();
        match engine.availability() {
            // Whether it is here or not.
            _ if !engine.takes_graphs() => {
                let error = load().to_string();
                assert!(error.contains("computes no graphs"), "{error}");
                assert!(error.contains("`ort`"), "{error}");
            }
            Availability::Unavailable { reason, .. } => {
                let error = load();
                assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
                assert!(error.to_string().contains(&reason), "{error}");
            }
            Availability::Available { .. } => {}
        }
    }
}

#[test]
fn graphs_that_cannot_be_written_are_refused() {
    let (network, weights) = subnet("mbv3", 9);
    let last = network.nodes().len();
    let options = GraphOptions {
        tensors: vec![last + 1],
        ..GraphOptions::default()
    };
    let error = export_graph(&network, &weights, &options, "x").unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("0 (the image) to {last}")),
        "{error}"
    );

    let is_activation = |op: &Op| matches!(op, Op::Activation(_));
    let activation = network
        .nodes()
        .iter()
        .position(|n| is_activation(&n.op))
        .unwrap();
    let mut moved = weights.clone();
    let (_, norm) = moved.norms_mut().pop_first().unwrap();
    moved.norms_mut().insert(activation, norm);
    let error = export_graph(&network, &moved, &GraphOptions::default(), "x").unwrap_err();
    assert!(error.to_string().contains("has no batch-norm"), "{error}");

    let mut short = weights.clone();
    short
        .norms_mut()
        .first_entry()
        .unwrap()
        .get_mut()
        .mean
        .pop();
    let error = export_graph(&network, &short, &GraphOptions::default(), "x").unwrap_err();
    assert!(error.to_string().contains("batch-norm.mean"), "{error}");
}
