//! Tests on graphs made here and on the exported blocks of the golden folder.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::facts::Source as Origin;
use super::operator::Memory;
use super::*;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use crate::onnx::{self, proto::attribute_proto::AttributeType};

const GHOST: &[u8] = include_bytes!("../../tests/golden/fragments/ghost.onnx");
const SHUFFLE: &[u8] = include_bytes!("../../tests/golden/fragments/shuffle.onnx");
const ATTENTION: &[u8] = include_bytes!("../../tests/golden/fragments/attention.onnx");

fn declaration(input: u32, output: u32, stride: Option<u32>, sizes: &[(u32, &str)]) -> Declaration {
    Declaration {
        in_channels: input,
        out_channels: output,
        stride,
        sizes: sizes
            .iter()
            .map(|(n, text)| (*n, text.parse().unwrap()))
            .collect(),
        skip: true,
    }
}

fn ghost() -> Declaration {
    let sizes = [(20, "2 * in"), (40, "4 * in"), (7, "out / 2")];
    declaration(10, 14, Some(2), &sizes)
}

fn exported() -> Vec<Fragment> {
    let attention = declaration(5, 22, Some(2), &[(11, "out / 2"), (66, "3 * out")]);
    let shuffle = declaration(14, 10, Some(2), &[(7, "in / 2")]);
    [
        ("ghost", GHOST, ghost()),
        ("shuffle", SHUFFLE, shuffle),
        ("attention", ATTENTION, attention),
    ]
    .map(|(name, bytes, declaration)| Fragment::parse(name, bytes, declaration).unwrap())
    .into()
}

fn image(channels: u32, height: u32, width: u32) -> Shape {
    Shape {
        channels,
        height,
        width,
    }
}

fn refused(bytes: &[u8], declaration: Declaration) -> String {
    let error = Fragment::parse("mine", bytes, declaration).unwrap_err();
    assert_eq!(error.block, "mine");
    error.to_string()
}

/// For every step, adds up all tensors that were made and are still needed: the plain reading of the
/// definition, without running sums.
fn naive_peak(instance: &Instance, keep_input: bool) -> u64 {
    let graph = instance.graph();
    let facts = &graph.facts;
    let active = |v: usize| facts[v].source == Origin::Activation;
    let steps: Vec<_> = graph
        .steps
        .iter()
        .filter(|s| s.outputs.iter().any(|&v| active(v)))
        .collect();
    let made = |v: usize| steps.iter().position(|s| s.outputs.contains(&v));
    let used = |v: usize| {
        let forever = v == graph.output || (keep_input && v == graph.input);
        let last = steps.iter().rposition(|s| s.inputs.contains(&Some(v)));
        if forever {
            Some(usize::MAX)
        } else {
            last.or(made(v))
        }
    };
    let alive = |step: usize| {
        let in_place = steps[step].operator.memory != Memory::Fresh;
        (0..facts.len())
            .filter(|&v| active(v) && (v == graph.input || made(v).is_some_and(|m| m <= step)))
            .filter(|&v| {
                let replaced = in_place && steps[step].inputs.contains(&Some(v));
                used(v).is_some_and(|last| if replaced { last > step } else { last >= step })
            })
            .map(|v| facts[v].bytes())
            .sum()
    };
    (0..steps.len()).map(alive).max().unwrap_or(0)
}

#[test]
fn peak_memory_equals_the_plain_definition() {
    for fragment in exported() {
        for (input, outputs, stride) in [
            (image(16, 20, 20), 24, 1),
            (image(24, 15, 15), 24, 1),
            (image(8, 33, 33), 40, 2),
        ] {
            let instance = fragment.instantiate(input, outputs, stride).unwrap();
            for keep in [false, true] {
                let peak = instance.peak_activation_memory(keep).0;
                assert_eq!(peak, naive_peak(&instance, keep), "{instance:?}");
                assert!(peak >= 4 * input.elements());
            }
        }
    }
}

#[test]
fn traffic_and_memory_of_a_small_block_by_hand() {
    // x [1, 4, 6, 6] -> 1x1 convolution to 9 channels -> ReLU.
    let fragment = Fragment::parse("small", small(|_| {}), declaration(4, 9, None, &[])).unwrap();
    let instance = fragment.instantiate(image(4, 6, 6), 9, 1).unwrap();
    assert_eq!(instance.macs().0, 9 * 36 * 4);
    assert_eq!(instance.params().0, 9 * 4 + 9);
    assert_eq!(instance.operators(), 2);
    let [input, output] = [4 * 36, 9 * 36];
    assert_eq!(instance.traffic().0, 4 * (input + 45 + output + 2 * output));
    assert_eq!(
        instance.peak_activation_memory(false).0,
        4 * (input + output)
    );
    // Equal shapes: the sum needs the input to the end, a second tensor, and a third for the result.
    let skipping = fragment.instantiate(image(9, 6, 6), 9, 1).unwrap();
    assert_eq!(skipping.operators(), 3);
    assert_eq!(skipping.peak_activation_memory(false).0, 4 * 3 * output);
}

#[test]
fn kept_and_drawn_weights() {
    let fragment = Fragment::parse("small", small(|_| {}), declaration(4, 9, None, &[])).unwrap();
    let own = fragment.instantiate(image(4, 8, 8), 9, 1).unwrap();
    let weights = own.weights(Seed(1));
    assert_eq!(weights, own.weights(Seed(2)));
    assert_eq!(*weights.values()[0], [0.5; 36]);
    let wide = fragment.instantiate(image(6, 8, 8), 9, 1).unwrap();
    let drawn = wide.weights(Seed(1));
    assert_eq!(*drawn.values()[1], [0.25; 9], "the bias has its size still");
    assert_ne!(drawn, wide.weights(Seed(2)));
    let bound = (6.0_f32 / 6.0).sqrt();
    assert!(drawn.values()[0].iter().all(|w| w.abs() <= bound));
    assert!(drawn.values()[0].iter().any(|w| w.abs() > bound / 2.0));
    let error = wide.to_onnx(&weights).unwrap_err();
    assert_eq!(*error.problem, Problem::Weights);
}

#[test]
fn equality_is_that_of_file_declaration_and_sizes() {
    let make = || Fragment::parse("ghost", GHOST, ghost()).unwrap();
    let (a, b) = (make(), make());
    let at = |f: &Fragment, w: u32| f.instantiate(image(16, 20, w), 24, 1).unwrap();
    assert_eq!(at(&a, 20), at(&b, 20));
    assert_ne!(at(&a, 20), at(&b, 21));
    assert_eq!(a.digest(), b.digest());
    let plain = Declaration {
        skip: false,
        ..ghost()
    };
    let other = Fragment::parse("ghost", GHOST, plain).unwrap();
    assert_ne!(a, other);
    assert_ne!(a.digest(), other.digest());
    assert_eq!(a.bytes(), GHOST);
}

/// Sizes as a space file has them.
#[test]
fn sizes_are_read_from_toml() {
    let sizes: BTreeMap<u32, Formula> = toml::from_str("20 = \"2 * in\"\n7 = \"out / 2\"").unwrap();
    assert_eq!(sizes[&20].evaluate(5, 9), Some(10));
    assert_eq!(sizes[&7].evaluate(5, 9), Some(5));
    let error = toml::from_str::<BTreeMap<u32, Formula>>("7 = \"out / 0\"").unwrap_err();
    assert!(error.to_string().contains("divides by zero"), "{error}");
}

#[test]
fn declarations_that_do_not_fit_are_refused() {
    let with = |change: &dyn Fn(&mut Declaration)| {
        let mut declaration = ghost();
        change(&mut declaration);
        refused(GHOST, declaration)
    };
    let same = with(&|d| d.out_channels = 10);
    assert!(
        same.contains("could not be told apart") && same.contains("does not use"),
        "{same}"
    );
    let kernel = with(&|d| d.sizes.extend([(3, "in / 3".parse().unwrap())]));
    assert!(kernel.contains("a kernel has this size"), "{kernel}");
    let twice = with(&|d| d.sizes.extend([(10, "in".parse().unwrap())]));
    assert!(
        twice.contains("10 stands for channels and for `in`"),
        "{twice}"
    );
    let absent = with(&|d| d.sizes.extend([(50, "5 * in".parse().unwrap())]));
    assert!(absent.contains("does not occur"), "{absent}");
    let wrong = with(&|d| d.sizes.extend([(20, "3 * in".parse().unwrap())]));
    assert!(wrong.contains("which is 30"), "{wrong}");
    let channels = with(&|d| (d.in_channels, d.out_channels) = (14, 10));
    assert!(
        channels.starts_with("block `mine`: the declaration does not fit"),
        "{channels}"
    );
    let stride = with(&|d| d.stride = Some(3));
    assert!(stride.contains("has the strides [3, 3]"), "{stride}");
    assert!(with(&|d| d.stride = Some(1)).contains("2 to 8"));
    assert!(with(&|d| d.in_channels = 1).contains("must be 2 to"));
}

#[test]
fn places_where_a_block_cannot_stand_are_refused() {
    let forgetful = Declaration {
        sizes: BTreeMap::from([
            (20, "2 * in".parse().unwrap()),
            (40, "4 * in".parse().unwrap()),
        ]),
        ..ghost()
    };
    let fragment = Fragment::parse("forgetful", GHOST, forgetful).unwrap();
    let error = fragment.instantiate(image(16, 20, 20), 24, 1).unwrap_err();
    assert!(matches!(*error.problem, Problem::Output { .. }), "{error}");
    assert!(error.to_string().contains("missing in `sizes`"), "{error}");
    let fixed = Fragment::parse("fixed", small(|_| {}), declaration(4, 9, None, &[])).unwrap();
    let error = fixed.instantiate(image(4, 8, 8), 9, 2).unwrap_err();
    assert_eq!(*error.problem, Problem::Stride(2));
    for (input, outputs) in [
        (image(0, 8, 8), 9),
        (image(4, 8, 8), 0),
        (image(4, 1 << 17, 8), 9),
    ] {
        assert!(fixed.instantiate(input, outputs, 1).is_err());
    }
    let error = fixed.instantiate(image(65_536, 65_536, 65_536), 65_536, 1);
    assert!(error.is_err());
    let error = fixed
        .instantiate(image(65_536, 1, 1), 65_536, 1)
        .unwrap_err();
    assert!(
        matches!(*error.problem, Problem::TooLarge { .. }),
        "{error}"
    );
}

#[test]
fn numbers_with_two_meanings_are_refused() {
    let reshaped = |numbers: Vec<i64>, rows: i64, columns: i64| {
        small(move |graph| {
            graph.input[0] = onnx::value_info("x", &[1, 4, rows, columns]);
            graph.initializer.push(integers("shape", &numbers));
            graph.node.push(node("Reshape", &["r", "shape"], "z"));
            graph.output[0] = onnx::value_info("z", &[1, 9, rows, columns]);
        })
    };
    let declared = declaration(4, 9, None, &[]);
    let error = refused(&reshaped(vec![1, 9, 9, 7], 9, 7), declared.clone());
    assert!(
        error.contains("the number 9") && error.contains("an image of"),
        "{error}"
    );
    // Rows and columns of one number are no problem while they stay equal.
    let square = Fragment::parse("square", reshaped(vec![1, 9, 13, 13], 13, 13), declared).unwrap();
    square.instantiate(image(6, 20, 20), 11, 1).unwrap();
    let error = square.instantiate(image(6, 20, 21), 11, 1).unwrap_err();
    assert!(
        matches!(*error.problem, Problem::Ambiguous { number: 13, .. }),
        "{error}"
    );
}

#[test]
fn files_that_are_no_blocks_are_refused() {
    let refuse =
        |change: &dyn Fn(&mut GraphProto)| refused(&small(change), declaration(4, 9, None, &[]));
    let unknown = refuse(&|g| g.node[1].op_type = Some("NonMaxSuppression".into()));
    assert!(
        unknown.contains("NonMaxSuppression; those that can: Constant, Conv,"),
        "{unknown}"
    );
    let domain = refuse(&|g| g.node[1].domain = Some("com.mine".into()));
    assert!(domain.contains("com.mine::Relu"), "{domain}");
    let late = refuse(&|g| g.node[1].op_type = Some("Gelu".into()));
    assert!(late.contains("cannot be counted: Gelu"), "{late}");
    let control = refuse(&|g| {
        g.node[1].attribute.push(AttributeProto {
            g: Some(GraphProto::default()),
            ..AttributeProto::default()
        });
    });
    assert!(control.contains("subgraph"), "{control}");
    let inputs = refuse(&|g| g.input.push(onnx::value_info("second", &[1])));
    assert!(inputs.contains("this graph has 2"), "{inputs}");
    let rank = refuse(&|g| g.input[0] = onnx::value_info("x", &[1, 4, 8]));
    assert!(rank.contains("3 dimensions"), "{rank}");
    let batch = refuse(&|g| g.input[0] = onnx::value_info("x", &[2, 4, 8, 8]));
    assert!(batch.contains("batch"), "{batch}");
    let order = refuse(&|g| g.node.swap(0, 1));
    assert!(order.contains("read before"), "{order}");
    let twice = refuse(&|g| g.node[1].output[0] = "x".into());
    assert!(twice.contains("made twice"), "{twice}");
    let external = refuse(&|g| g.initializer[0].data_location = Some(1));
    assert!(external.contains("external_data=False"), "{external}");
    let half = refuse(&|g| g.initializer[0].data_type = Some(10));
    assert!(half.contains("float32"), "{half}");
    let short = refuse(&|g| g.initializer[0].dims = vec![9, 4, 1, 2]);
    assert!(short.contains("different sizes"), "{short}");
    let groups = refuse(&|g| g.node[0].attribute.push(int("group", -3)));
    assert!(groups.contains("`group` is -3"), "{groups}");
    assert!(refused(b"not onnx", ghost()).contains("not an ONNX file"));
    assert!(refused(b"", ghost()).contains("not an ONNX file"));
}

/// A reduction with its axes as an attribute, in a graph of an operator set that has them as an input.
#[test]
fn older_operators_are_rewritten_for_newer_graphs() {
    let bytes = small(|graph| {
        let mut reduce = node("ReduceMean", &["r"], "m");
        reduce.attribute.push(AttributeProto {
            name: Some("axes".into()),
            r#type: Some(AttributeType::Ints.into()),
            ints: vec![2, 3],
            ..AttributeProto::default()
        });
        graph.node.extend([reduce, node("Mul", &["r", "m"], "z")]);
        graph.output[0] = onnx::value_info("z", &[1, 9, 8, 8]);
    });
    let fragment = Fragment::parse("mean", bytes, declaration(4, 9, None, &[])).unwrap();
    let instance = fragment.instantiate(image(9, 8, 8), 9, 1).unwrap();
    let weights = instance.weights(Seed(0));
    let written = |opset| {
        let place = Place {
            prefix: "unit1.layer1",
            input: "before",
            output: "after",
            opset,
        };
        let (mut nodes, mut tensors) = (Vec::new(), Vec::new());
        let result = instance.append_to(&place, &weights, &mut nodes, &mut tensors);
        result.map(|()| (nodes, tensors))
    };
    let (nodes, tensors) = written(14).unwrap();
    assert_eq!((nodes[2].input.len(), tensors.len()), (1, 2));
    let (nodes, tensors) = written(18).unwrap();
    assert_eq!((nodes[2].input.len(), tensors.len()), (2, 3));
    assert!(nodes[2].attribute.iter().all(|a| a.name() != "axes"));
    assert_eq!(nodes[0].input[0], "before");
    assert_eq!(nodes.last().unwrap().output, ["after"]);
    assert_eq!(nodes.last().unwrap().name(), "unit1.layer1.skip");
    for name in tensors.iter().map(TensorProto::name) {
        assert!(
            name.starts_with("unit1.layer1/") || name.starts_with("unit1.layer1."),
            "{name}"
        );
    }
    let error = written(13).unwrap_err();
    assert!(matches!(*error.problem, Problem::Opset { .. }));
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|&s| s.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

fn floats(name: &str, dims: &[i64], value: f32) -> TensorProto {
    let length = dims.iter().product::<i64>().unsigned_abs() as usize;
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: vec![value; length],
        ..TensorProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: vec![values.len() as i64],
        data_type: Some(7),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A file of operator set 14: x [1, 4, 8, 8] -> 1x1 convolution with bias to 9 channels -> ReLU -> r.
fn small(change: impl Fn(&mut GraphProto)) -> Vec<u8> {
    let mut graph = GraphProto {
        node: vec![
            node("Conv", &["x", "w", "b"], "c"),
            node("Relu", &["c"], "r"),
        ],
        initializer: vec![floats("w", &[9, 4, 1, 1], 0.5), floats("b", &[9], 0.25)],
        input: vec![onnx::value_info("x", &[1, 4, 8, 8])],
        output: vec![onnx::value_info("r", &[1, 9, 8, 8])],
        ..GraphProto::default()
    };
    change(&mut graph);
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(14),
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// What a broken file must not do is panic; where it is still a block, so must its instances.
fn survive(bytes: Vec<u8>, declaration: &Declaration, place: (u32, u32, u32)) {
    if let Ok(fragment) = Fragment::parse("broken", bytes, declaration.clone()) {
        let _ = fragment.instantiate(image(place.0, 17, 16), place.1, place.2);
    }
}

fn declared(index: usize) -> Declaration {
    exported()[index].declaration().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_files_are_errors_or_blocks(
        which in 0_usize..3,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
        place in (1_u32..50, 1_u32..50, 1_u32..3),
    ) {
        let mut bytes = [GHOST, SHUFFLE, ATTENTION][which].to_vec();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] ^= value;
        }
        if let Some(length) = cut {
            bytes.truncate(length.index(bytes.len()));
        }
        survive(bytes, &declared(which), place);
    }

    /// Operators of the table with attributes and constants that make no sense.
    #[test]
    fn odd_operators_are_errors_or_blocks(
        operator in 0_usize..200,
        ints in proptest::collection::vec(prop_oneof![-3_i64..12, any::<i64>()], 0..6),
        number in prop_oneof![-3_i64..5, any::<i64>()],
        attribute in prop::sample::select(vec![
            "strides", "pads", "dilations", "kernel_shape", "perm", "axes", "output_padding", "starts",
        ]),
        scalar in prop::sample::select(vec!["axis", "group", "blocksize", "start", "end", "to", "keepdims"]),
        operands in 0_usize..5,
        weights: bool,
    ) {
        let bytes = small(|graph| {
            let names = operator::names();
            let mut odd = node(names[operator % names.len()], &[], "z");
            let inputs = ["r", if weights { "f" } else { "i" }, "j", "i", "j"];
            odd.input = inputs[..=operands].iter().map(|&s| s.to_owned()).collect();
            odd.attribute.push(int(scalar, number));
            odd.attribute.push(AttributeProto {
                name: Some(attribute.to_owned()),
                ints: ints.clone(),
                ..AttributeProto::default()
            });
            graph.initializer.extend([integers("i", &ints), integers("j", &[number, 1])]);
            graph.initializer.push(floats("f", &[9, 9, 3, 3], 1.0));
            graph.node.push(odd);
            graph.node.push(node("Shape", &["z"], "s"));
            graph.node.push(node("Slice", &["s", "j", "i"], "t"));
            graph.node.push(node("Reshape", &["z", "t"], "o"));
            graph.output[0] = onnx::value_info("o", &[1, 9, 8, 8]);
        });
        survive(bytes, &declaration(4, 9, None, &[]), (5, 7, 1));
    }
}
