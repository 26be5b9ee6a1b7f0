use super::graph::{Builtin, Content, Data, Graph, Role};
use super::{Calibration, TfliteError, export, export_int8, lower, quantize};
use crate::network::run::run_visiting;
use crate::network::{Network, NodeWeights, Op, Weights};
use crate::seed::Seed;
use crate::space::{DesignSpace, test_spaces};

fn example(space: &DesignSpace, seed: u64) -> (Network, Weights, Vec<f32>) {
    let resolution = space.resolutions()[0].min(64);
    let arch = space
        .sample(space.resolutions()[0], &mut Seed(seed).rng())
        .unwrap();
    let network = space.network(&arch);
    let weights = Weights::random(&network, Seed(seed));
    let side = resolution.max(space.resolutions()[0]);
    let image = (0..3 * side * side)
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect();
    (network, weights, image)
}

/// A flatbuffer read by hand: the field of a table, if it is there.
fn field(file: &[u8], table: usize, number: usize) -> Option<usize> {
    let word = |at: usize| u16::from_le_bytes([file[at], file[at + 1]]) as usize;
    let vtable = i64::try_from(table).unwrap() - i64::from(int(file, table));
    let vtable = usize::try_from(vtable).unwrap();
    let slot = 4 + 2 * number;
    (slot < word(vtable))
        .then(|| word(vtable + slot))
        .filter(|offset| *offset > 0)
        .map(|offset| table + offset)
}

fn int(file: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(file[at..at + 4].try_into().unwrap())
}

/// What an offset points to.
fn follow(file: &[u8], at: usize) -> usize {
    at + usize::try_from(int(file, at)).unwrap()
}

/// The tables of a vector of tables.
fn tables(file: &[u8], table: usize, number: usize) -> Vec<usize> {
    let vector = follow(file, field(file, table, number).unwrap());
    let length = usize::try_from(int(file, vector)).unwrap();
    (0..length)
        .map(|i| follow(file, vector + 4 + 4 * i))
        .collect()
}

#[test]
fn files_hold_every_operator_and_every_number() {
    for space in test_spaces() {
        let (network, weights, _) = example(&space, 3);
        let file = export(&network, &weights, "example").unwrap();
        assert_eq!(&file[4..8], b"TFL3");
        assert_eq!(file, export(&network, &weights, "example").unwrap());
        let model = follow(&file, 0);
        assert_eq!(int(&file, field(&file, model, 0).unwrap()), 3);
        let graph = lower::lower(&network, &weights).unwrap();
        let subgraph = tables(&file, model, 2)[0];
        assert_eq!(tables(&file, subgraph, 0).len(), graph.tensors.len());
        assert_eq!(tables(&file, subgraph, 3).len(), graph.operators.len());
        let stored: usize = tables(&file, model, 4)
            .into_iter()
            .filter_map(|buffer| field(&file, buffer, 0))
            .map(|data| usize::try_from(int(&file, follow(&file, data))).unwrap())
            .sum();
        assert_eq!(stored, 4 * constants(&graph));
    }
}

/// How many numbers the constants of a graph have.
fn constants(graph: &Graph) -> usize {
    let length = |data: &Data| match data {
        Data::F32(v) => v.len(),
        Data::I32(v) => v.len(),
        Data::I8(v) => v.len(),
    };
    let tensors = graph.tensors.iter();
    tensors
        .map(|t| {
            if let Content::Constant { data, .. } = &t.content {
                length(data)
            } else {
                0
            }
        })
        .sum()
}

#[test]
fn tensors_are_made_once_and_before_they_are_read() {
    for space in test_spaces() {
        for seed in 0..5 {
            let (network, weights, _) = example(&space, seed);
            let graph = lower::lower(&network, &weights).unwrap();
            let constant = |i: usize| matches!(graph.tensors[i].content, Content::Constant { .. });
            let mut made = vec![false; graph.tensors.len()];
            made[graph.input] = true;
            for operator in &graph.operators {
                assert!(
                    operator.inputs.iter().all(|&i| made[i] || constant(i)),
                    "{:?}",
                    operator.code
                );
                assert!(!std::mem::replace(&mut made[operator.output], true));
            }
            assert!(made[graph.output]);
            // An activation function that is fused leaves no tensor of its own.
            let fusable = network
                .nodes()
                .iter()
                .filter(|n| matches!(n.op, Op::Activation(_)))
                .count();
            let alone = [Builtin::Relu, Builtin::Relu6]
                .map(|code| graph.operators.iter().filter(|o| o.code == code).count());
            assert!(alone[0] + alone[1] <= fusable);
        }
    }
}

#[test]
fn stored_weights_and_biases_are_near_the_real_ones() {
    for space in test_spaces() {
        let (network, weights, image) = example(&space, 1);
        let calibration = Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
        let float = lower::lower(&network, &weights).unwrap();
        let graph = quantize::quantize(float.clone(), &calibration).unwrap();
        for (tensor, real) in graph.tensors.iter().zip(&float.tensors) {
            let (
                Content::Constant { data, role },
                Content::Constant {
                    data: Data::F32(real),
                    ..
                },
            ) = (&tensor.content, &real.content)
            else {
                continue;
            };
            let quantization = tensor.quantization.as_ref().unwrap();
            let scales = &quantization.scales;
            assert!(
                scales.iter().all(|s| s.is_finite() && *s > 0.0),
                "{}",
                tensor.name
            );
            let stored: Vec<f64> = match data {
                Data::I8(v) => v.iter().map(|x| f64::from(*x)).collect(),
                Data::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
                Data::F32(_) => panic!("{} is still float", tensor.name),
            };
            if matches!(role, Role::Lowest { .. }) {
                continue;
            }
            // By the definition: index along the quantised dimension picks the scale.
            let inner: usize = tensor
                .shape
                .iter()
                .skip(usize::try_from(quantization.dimension).unwrap() + 1)
                .map(|d| usize::try_from(*d).unwrap())
                .product();
            for (i, (stored, real)) in stored.iter().zip(real).enumerate() {
                let scale = f64::from(
                    scales[if scales.len() == 1 {
                        0
                    } else {
                        i / inner.max(1) % scales.len()
                    }],
                );
                assert!(
                    (stored * scale - f64::from(*real)).abs()
                        <= 0.51 * scale + 1e-6 * f64::from(real.abs()),
                    "{} {i}: {} {real}",
                    tensor.name,
                    stored * scale
                );
            }
        }
    }
}

#[test]
fn activations_fit_their_scales() {
    let space = test_spaces().remove(0);
    let (network, weights, image) = example(&space, 2);
    let calibration = Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
    let mut worst = 0.0_f32;
    run_visiting(&network, &weights, &image, &mut |tensor, values| {
        let (low, high) = calibration.range(tensor).unwrap();
        assert!(values.iter().all(|v| (low..=high).contains(v)));
        worst = worst.max(high - low);
    })
    .unwrap();
    assert!(worst > 0.0);
    assert!(
        !export_int8(&network, &weights, "x", &calibration)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    let space = test_spaces().remove(0);
    let (network, weights, image) = example(&space, 2);
    let nothing = Calibration::observe(&network, &weights, []).unwrap();
    let error = export_int8(&network, &weights, "x", &nothing).unwrap_err();
    assert!(matches!(error, TfliteError::Calibration { .. }), "{error}");
    let calibration = Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
    let broken: Vec<Option<NodeWeights>> = (0..network.nodes().len())
        .map(|i| {
            let mut weights = weights.of(i)?.clone();
            weights.weight[0] = f32::NAN;
            Some(weights)
        })
        .collect();
    let broken = Weights::from_nodes(broken);
    let error = export_int8(&network, &broken, "x", &calibration)
        .unwrap_err()
        .to_string();
    assert!(error.contains("NaN"), "{error}");
    let sick = Calibration::observe(&network, &broken, [image.as_slice()]).unwrap();
    assert!(export_int8(&network, &weights, "x", &sick).is_err());
    let none = Weights::from_nodes(vec![None; network.nodes().len()]);
    assert!(matches!(
        export(&network, &none, "x"),
        Err(TfliteError::MissingWeights { .. })
    ));
}

/// All weights zero: every scale must still be a number.
#[test]
fn zeros_have_scales() {
    let space = test_spaces().remove(2);
    let (network, weights, image) = example(&space, 2);
    let zero = |i: usize| {
        let weights = weights.of(i)?;
        Some(NodeWeights {
            weight: vec![0.0; weights.weight.len()],
            bias: vec![0.0; weights.bias.len()],
        })
    };
    let weights = Weights::from_nodes((0..network.nodes().len()).map(zero).collect());
    let calibration = Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
    assert!(export_int8(&network, &weights, "x", &calibration).is_ok());
}

/// The weights of `weights`, each changed by `change`.
fn changed(
    network: &Network,
    weights: &Weights,
    change: impl Fn(&Op, &mut NodeWeights),
) -> Weights {
    let nodes = network.nodes().iter().enumerate().map(|(i, node)| {
        let mut weights = weights.of(i)?.clone();
        change(&node.op, &mut weights);
        Some(weights)
    });
    Weights::from_nodes(nodes.collect())
}

#[test]
fn data_lies_at_multiples_of_sixteen_bytes() {
    for space in test_spaces() {
        let (network, weights, image) = example(&space, 3);
        let calibration = Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
        for file in [
            export(&network, &weights, "example").unwrap(),
            export_int8(&network, &weights, "example", &calibration).unwrap(),
        ] {
            for buffer in tables(&file, follow(&file, 0), 4) {
                if let Some(data) = field(&file, buffer, 0) {
                    assert_eq!((follow(&file, data) + 4) % 16, 0);
                }
            }
        }
    }
}

#[test]
fn linear_layers_of_another_length_are_refused() {
    let space = test_spaces().remove(0);
    let (network, weights, _) = example(&space, 2);
    let shorten: [fn(&mut NodeWeights); 3] = [
        |w| w.weight.truncate(w.weight.len() / 2),
        |w| w.bias.truncate(1),
        |w| w.bias.clear(),
    ];
    for shorten in shorten {
        let short = changed(&network, &weights, |op, w| {
            if matches!(op, Op::Linear { .. }) {
                shorten(w);
            }
        });
        let result = export(&network, &short, "x");
        assert!(matches!(result, Err(TfliteError::MissingWeights { .. })));
    }
}

/// A pruned channel has no weights that would set a scale, but its bias must not be cut off at 32 bits.
#[test]
fn biases_of_pruned_channels_survive() {
    for space in test_spaces() {
        let (network, weights, image) = example(&space, 2);
        for pruned in [0.0, 1e-8] {
            let weights = changed(&network, &weights, |_, w| {
                w.weight.iter_mut().for_each(|v| *v *= pruned);
                w.bias.fill(0.5);
            });
            let calibration = Calibration::observe(&network, &weights, [image.as_slice()]).unwrap();
            let float = lower::lower(&network, &weights).unwrap();
            let graph = quantize::quantize(float, &calibration).unwrap();
            for tensor in &graph.tensors {
                if let Content::Constant {
                    data: Data::I32(stored),
                    role: Role::Bias { .. },
                } = &tensor.content
                {
                    let scales = &tensor.quantization.as_ref().unwrap().scales;
                    for (i, stored) in stored.iter().enumerate() {
                        let scale = f64::from(scales[i.min(scales.len() - 1)]);
                        let real = f64::from(*stored) * scale;
                        // 0 where the convolution has no bias.
                        assert!(
                            *stored == 0 || (real - 0.5).abs() < 1e-4,
                            "{} {real}",
                            tensor.name
                        );
                    }
                }
            }
        }
    }
}

/// XNNPACK ends the process where input scales over output scale are 256 or more, as they were behind tensors
/// that are zero throughout.
#[test]
fn quotients_of_scales_stay_within_what_kernels_take() {
    for space in test_spaces() {
        let (network, weights, image) = example(&space, 2);
        // Nothing passes a ReLU behind such biases, while weights and inputs keep their scales.
        let dead = changed(&network, &weights, |op, w| {
            if matches!(op, Op::Conv(_)) {
                w.bias.iter_mut().for_each(|b| *b -= 1e3);
            }
        });
        let mut wide = image.clone();
        (wide[0], wide[1]) = (3e38, -3e38);
        let none = changed(&network, &weights, |_, w| w.weight.fill(0.0));
        for (weights, image) in [(&weights, &image), (&dead, &image), (&none, &wide)] {
            let calibration = Calibration::observe(&network, weights, [image.as_slice()]).unwrap();
            let float = lower::lower(&network, weights).unwrap();
            let graph = quantize::quantize(float, &calibration).unwrap();
            let largest = |index: usize| {
                let scales = &graph.tensors[index].quantization.as_ref()?.scales;
                assert!(scales.iter().all(|s| s.is_finite() && *s > 0.0));
                Some(scales.iter().copied().fold(0.0, f32::max))
            };
            for operator in &graph.operators {
                let output = largest(operator.output);
                if matches!(operator.code, Builtin::Conv2d | Builtin::DepthwiseConv2d) {
                    let inputs = [operator.inputs[0], operator.inputs[1]].map(largest);
                    let factor = inputs[0].unwrap() * inputs[1].unwrap() / output.unwrap();
                    assert!(factor < 256.0, "{:?} {factor}", operator.code);
                }
            }
        }
    }
}
