//! Tests on graphs made here and on the exported blocks of the golden folder.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::facts::Source as Origin;
use super::operator::Memory;
use super::*;
use crate::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto,
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
    .map(|(name, bytes, declaration)| Fragment::parse(name, "f.onnx", bytes, declaration).unwrap())
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
    let error = Fragment::parse("mine", "mine.onnx", bytes, declaration).unwrap_err();
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
    let fragment = Fragment::parse(
        "small",
        "small.onnx",
        small(|_| {}),
        declaration(4, 9, None, &[]),
    )
    .unwrap();
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
    let fragment = Fragment::parse(
        "small",
        "small.onnx",
        small(|_| {}),
        declaration(4, 9, None, &[]),
    )
    .unwrap();
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
    let make = || Fragment::parse("ghost", "ghost.onnx", GHOST, ghost()).unwrap();
    let (a, b) = (make(), make());
    let at = |f: &Fragment, w: u32| f.instantiate(image(16, 20, w), 24, 1).unwrap();
    assert_eq!(at(&a, 20), at(&b, 20));
    assert_ne!(at(&a, 20), at(&b, 21));
    assert_eq!(a.digest(), b.digest());
    let plain = Declaration {
        skip: false,
        ..ghost()
    };
    let other = Fragment::parse("ghost", "ghost.onnx", GHOST, plain).unwrap();
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
        channels.starts_with("block `mine` (mine.onnx): the declaration does not fit"),
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
    let fragment = Fragment::parse("forgetful", "forgetful.onnx", GHOST, forgetful).unwrap();
    let error = fragment.instantiate(image(16, 20, 20), 24, 1).unwrap_err();
    assert!(matches!(*error.problem, Problem::Output { .. }), "{error}");
    assert!(error.to_string().contains("missing in `sizes`"), "{error}");
    let fixed = Fragment::parse(
        "fixed",
        "fixed.onnx",
        small(|_| {}),
        declaration(4, 9, None, &[]),
    )
    .unwrap();
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
    let square = Fragment::parse(
        "square",
        "square.onnx",
        reshaped(vec![1, 9, 13, 13], 13, 13),
        declared,
    )
    .unwrap();
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
        unknown.contains("(mine.onnx)")
            && unknown
                .contains("NonMaxSuppression (which makes `r`); those that can: Constant, Conv,"),
        "{unknown}"
    );
    let domain = refuse(&|g| g.node[1].domain = Some("com.mine".into()));
    assert!(domain.contains("com.mine::Relu"), "{domain}");
    let late = refuse(&|g| g.node[1].op_type = Some("Gelu".into()));
    assert!(
        late.contains("Gelu (which makes `r`), which came with operator set 20 (the file has 14)"),
        "{late}"
    );
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
    let quantised = refuse(&|g| g.initializer[0].data_type = Some(3));
    assert!(
        quantised.contains("the type INT8") && quantised.contains("float16"),
        "{quantised}"
    );
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
    let fragment =
        Fragment::parse("mean", "mean.onnx", bytes, declaration(4, 9, None, &[])).unwrap();
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
    if let Ok(fragment) = Fragment::parse("broken", "broken.onnx", bytes, declaration.clone()) {
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

/// Channels that the block keeps are one number, as where they are left out.
#[test]
fn blocks_that_keep_their_channels_stand_where_these_stay() {
    let bytes = small(|graph| {
        graph.node.remove(0);
        graph.node[0].input[0] = "x".into();
        graph.initializer.clear();
        graph.output[0] = onnx::value_info("r", &[1, 4, 8, 8]);
    });
    let fragment =
        Fragment::parse("relu", "relu.onnx", bytes, declaration(4, 4, None, &[])).unwrap();
    let instance = fragment.instantiate(image(7, 5, 6), 7, 1).unwrap();
    assert_eq!((instance.output().channels, instance.params().0), (7, 0));
    let error = fragment.instantiate(image(7, 5, 6), 9, 1).unwrap_err();
    assert!(matches!(*error.problem, Problem::KeepsChannels { .. }));
    let text = error.to_string();
    assert!(
        text.contains("(relu.onnx)") && text.contains("7 become 9"),
        "{text}"
    );
}

/// Bytes of a file whose one weight is in `location`, from byte 4 on.
fn kept_elsewhere(location: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    small(|graph| {
        let weight = &mut graph.initializer[0];
        weight.float_data.clear();
        weight.data_location = Some(1);
        weight.external_data = vec![
            entry("location", location),
            entry("offset", "4"),
            entry("length", "144"),
        ];
    })
}

#[test]
fn data_beside_the_file_are_taken_in() {
    let bytes = kept_elsewhere("weights/small.onnx.data");
    assert_eq!(external_files(&bytes).unwrap(), ["weights/small.onnx.data"]);
    let numbers: Vec<u8> = (0..40_u8)
        .flat_map(|n| f32::from(n).to_le_bytes())
        .collect();
    let files = |data: &[u8]| BTreeMap::from([("weights/small.onnx.data".to_owned(), data.into())]);
    let whole = with_external_data(&bytes, &files(&numbers)).unwrap();
    assert_eq!(external_files(&whole).unwrap(), Vec::<String>::new());
    let declared = declaration(4, 9, None, &[]);
    let fragment = Fragment::parse("small", "small.onnx", whole, declared.clone()).unwrap();
    let own = fragment.instantiate(image(4, 8, 8), 9, 1).unwrap();
    let expected: Vec<f32> = (1..37_u8).map(f32::from).collect();
    assert_eq!(*own.weights(Seed(0)).values()[0], *expected);

    let short = with_external_data(&bytes, &files(&numbers[..100])).unwrap_err();
    assert!(short.to_string().contains("100 bytes"), "{short}");
    let missing = with_external_data(&bytes, &BTreeMap::new()).unwrap_err();
    assert!(missing.to_string().contains("not at hand"), "{missing}");
    assert!(refused(&bytes, declared).contains("weights/small.onnx.data"));
    // What needs nothing is not touched.
    let plain = small(|_| {});
    assert_eq!(with_external_data(&plain, &BTreeMap::new()).unwrap(), plain);
    assert_eq!(external_files(b"not onnx").unwrap(), Vec::<String>::new());
}

#[test]
fn data_outside_the_folder_are_not_read() {
    for location in [
        "../secret",
        "a/../../b",
        "/etc/passwd",
        "C:\\data",
        "\\\\host\\share",
        "a\\..\\..\\b",
        "",
        "a\0b",
    ] {
        let bytes = kept_elsewhere(location);
        let error = external_files(&bytes).unwrap_err();
        assert!(
            matches!(error, Problem::External { .. }),
            "{location}: {error}"
        );
        let files = BTreeMap::from([(location.to_owned(), vec![0; 400])]);
        assert!(with_external_data(&bytes, &files).is_err(), "{location}");
    }
}

/// The same numbers in every precision, with the type's number and how they are stored.
#[test]
fn weights_of_any_precision_are_read() {
    let raw = |bytes: Vec<u8>| bytes.repeat(36);
    let half = half::f16::from_f32(0.375).to_le_bytes().to_vec();
    let brain = half::bf16::from_f32(0.375).to_le_bytes().to_vec();
    for (kind, raw) in [
        (1, raw(0.375_f32.to_le_bytes().to_vec())),
        (10, raw(half.clone())),
        (16, raw(brain)),
        (11, raw(0.375_f64.to_le_bytes().to_vec())),
        (10, Vec::new()),
    ] {
        let bytes = small(|graph| {
            let weight = &mut graph.initializer[0];
            weight.data_type = Some(kind);
            weight.float_data.clear();
            if raw.is_empty() {
                weight.int32_data = vec![i32::from(u16::from_le_bytes([half[0], half[1]])); 36];
            } else {
                weight.raw_data = Some(Bytes::from(raw.clone()));
            }
        });
        let fragment =
            Fragment::parse("small", "small.onnx", bytes, declaration(4, 9, None, &[])).unwrap();
        let own = fragment.instantiate(image(4, 8, 8), 9, 1).unwrap();
        assert_eq!(*own.weights(Seed(0)).values()[0], [0.375; 36], "{kind}");
    }
}

#[test]
fn softmax_of_several_axes_at_once_is_refused() {
    let softmax = |axis: i64, opset: i64| {
        let bytes = small(|graph| {
            let mut softmax = node("Softmax", &["r"], "z");
            softmax.attribute.push(int("axis", axis));
            graph.node.push(softmax);
            graph.output[0] = onnx::value_info("z", &[1, 9, 8, 8]);
        });
        let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
        model.opset_import[0].version = Some(opset);
        Fragment::parse(
            "soft",
            "soft.onnx",
            model.encode_to_vec(),
            declaration(4, 9, None, &[]),
        )
    };
    assert!(softmax(1, 14).is_ok() && softmax(3, 12).is_ok());
    let error = softmax(1, 12).unwrap_err().to_string();
    assert!(
        error.contains("(soft.onnx)") && error.contains("operator Softmax `Softmax_2`"),
        "{error}"
    );
    for opset in [10, 24] {
        let error = softmax(3, opset).unwrap_err().to_string();
        assert!(error.contains("between 11 and 23"), "{error}");
    }
}

/// Shapes and products of equations by hand.
#[test]
fn equations_of_einsum() {
    let shape = |equation: &str, operands: &[&str]| -> Result<(Vec<u64>, u64), String> {
        let bytes = small(|graph| {
            let mut einsum = node("Einsum", operands, "z");
            einsum.attribute.push(AttributeProto {
                name: Some("equation".into()),
                s: Some(equation.as_bytes().to_vec()),
                ..AttributeProto::default()
            });
            graph.initializer.push(floats("f", &[9, 9], 1.0));
            graph.node.extend([einsum, node("Shape", &["z"], "s")]);
            graph.node.push(node("Sub", &["s", "s"], "n"));
            graph.node.push(node("Relu", &["r"], "o"));
            graph.output[0] = onnx::value_info("o", &[1, 9, 8, 8]);
        });
        let declared = declaration(4, 9, None, &[]);
        let fragment =
            Fragment::parse("sum", "sum.onnx", bytes, declared).map_err(|e| e.to_string())?;
        let instance = fragment.instantiate(image(4, 8, 8), 9, 1).unwrap();
        let graph = instance.graph();
        let of_einsum = graph.steps.iter().find(|s| s.operator.name == "Einsum");
        let dims = graph.facts[of_einsum.unwrap().outputs[0]].dims.clone();
        Ok((dims, instance.macs().0 - 9 * 64 * 4))
    };
    assert_eq!(
        shape("nchw,cd->ndhw", &["r", "f"]),
        Ok((vec![1, 9, 8, 8], 64 * 81))
    );
    assert_eq!(
        shape("n c h w , c d", &["r", "f"]),
        Ok((vec![9, 8, 1, 8], 64 * 81))
    );
    assert_eq!(
        shape("...ij,...kj->...ik", &["r", "r"]),
        Ok((vec![1, 9, 8, 8], 9 * 512))
    );
    assert_eq!(shape("nchw->nc", &["r"]), Ok((vec![1, 9], 0)));
    let wrong: [(&str, &[&str]); 6] = [
        ("nchw,cd->ndq", &["r", "f"]),
        ("nchw,hd->ncd", &["r", "f"]),
        ("nch,cd->nd", &["r", "f"]),
        ("nchw", &["r", "f"]),
        ("nchw->nn", &["r"]),
        ("n2hw->n", &["r"]),
    ];
    for (bad, operands) in wrong {
        let error = shape(bad, operands).unwrap_err();
        assert!(error.contains("operator Einsum"), "{bad}: {error}");
    }
}

/// A function that calls itself, or two that call each other, end in a sentence.
#[test]
fn functions_that_call_themselves_are_refused() {
    let mut model = ModelProto::decode(small(|_| {}).as_slice()).unwrap();
    let call = NodeProto {
        domain: Some("mine".into()),
        ..node("loop", &["a"], "b")
    };
    model.functions.push(FunctionProto {
        name: Some("loop".into()),
        domain: Some("mine".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![call.clone()],
        ..FunctionProto::default()
    });
    let mut outside = call;
    (outside.input[0], outside.output[0]) = ("r".into(), "z".into());
    model.graph.as_mut().unwrap().node.push(outside);
    let error = refused(&model.encode_to_vec(), declaration(4, 9, None, &[]));
    assert!(
        error.contains("the function loop, which calls itself"),
        "{error}"
    );
}
