//! Networks, costs and dictionaries of the three published spaces against the `ofa` package:
//! `golden/ofa_costs.py` says how the golden files were made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blocklens_core::network::{Bias, Op, Shape, cost};
use blocklens_core::ofa::OfaDict;
use blocklens_core::space::DesignSpace;
use serde::Deserialize;
use sha2::{Digest, Sha256};

const FILES: [(&str, &str); 3] = [
    ("ofa-mbv3", include_str!("../golden/ofa-mbv3.costs.json")),
    (
        "ofa-proxyless",
        include_str!("../golden/ofa-proxyless.costs.json"),
    ),
    (
        "ofa-resnet50",
        include_str!("../golden/ofa-resnet50.costs.json"),
    ),
];

#[derive(Deserialize)]
struct Golden {
    widths: BTreeMap<String, Vec<Subnet>>,
}

#[derive(Deserialize)]
struct Subnet {
    arch: OfaDict,
    macs: u64,
    params: u64,
    /// SHA-256 of all operators, one line each.
    digest: String,
    #[serde(default)]
    operators: Vec<serde_json::Value>,
}

/// Every subnet of the files with the space that it belongs to.
fn golden() -> Vec<(DesignSpace, Vec<Subnet>)> {
    let mut all = Vec::new();
    for (name, text) in FILES {
        let file: Golden = serde_json::from_str(text).expect("the golden file");
        let before = all.len();
        for (width, subnets) in file.widths {
            let width = width.parse().expect("a width");
            let space = DesignSpace::builtin(name, Some(width)).expect("a width of the space");
            all.push((space, subnets));
        }
        let subnets: usize = all[before..].iter().map(|(_, subnets)| subnets.len()).sum();
        assert!(subnets > 200, "{name}: {subnets} subnets");
    }
    all
}

#[test]
fn macs_and_parameters_equal_the_package() {
    for (space, subnets) in golden() {
        for subnet in subnets {
            let arch = space.from_ofa(&subnet.arch).unwrap();
            let network = space.network(&arch);
            let cost = cost(&network);
            let at = format!("{} {}, {}", space.name(), space.width(), space.print(&arch));
            assert_eq!(cost.macs.0, subnet.macs, "MACs of {at}");
            assert_eq!(cost.params.0, subnet.params, "parameters of {at}");
        }
    }
}

#[test]
fn operators_and_their_shapes_are_those_that_the_package_runs() {
    let mut listed = 0;
    for (space, subnets) in golden() {
        for subnet in subnets {
            let arch = space.from_ofa(&subnet.arch).unwrap();
            let network = space.network(&arch);
            let at = format!("{} {}, {}", space.name(), space.width(), space.print(&arch));
            let rows: Vec<serde_json::Value> = network
                .nodes()
                .iter()
                .map(|node| row(&node.op, node.output))
                .collect();
            if !subnet.operators.is_empty() {
                for (i, (ours, theirs)) in rows.iter().zip(&subnet.operators).enumerate() {
                    let name = &network.nodes()[i].name;
                    assert_eq!(ours, theirs, "operator {i} ({name}) of {at}");
                }
                assert_eq!(rows.len(), subnet.operators.len(), "{at}");
                listed += 1;
            }
            assert_eq!(digest(&rows), subnet.digest, "{at}");
        }
    }
    assert_eq!(listed, 48);
}

/// SHA-256 of one line per operator, its words separated by blanks.
fn digest(rows: &[serde_json::Value]) -> String {
    let mut text = String::new();
    for row in rows {
        let words: Vec<String> = row
            .as_array()
            .into_iter()
            .flatten()
            .map(|word| {
                word.as_str()
                    .map_or_else(|| word.to_string(), str::to_owned)
            })
            .collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// An operator in the words of the golden files.
fn row(op: &Op, output: Shape) -> serde_json::Value {
    let Shape {
        channels,
        height,
        width,
    } = output;
    match op {
        Op::Conv(c) => {
            assert_eq!(c.out_channels, channels);
            let bias = match c.bias {
                Bias::None => "none",
                Bias::Plain => "plain",
                Bias::BatchNorm => "bn",
            };
            serde_json::json!([
                "conv",
                c.in_channels,
                c.out_channels,
                c.kernel,
                c.stride,
                c.groups,
                bias,
                height,
                width
            ])
        }
        Op::Linear { inputs, outputs } => {
            assert_eq!((channels, height, width), (*outputs, 1, 1));
            serde_json::json!(["linear", inputs, outputs])
        }
        Op::MaxPool { kernel, stride } => {
            serde_json::json!(["maxpool", kernel, stride, channels, height, width])
        }
        Op::AveragePool { size } => {
            serde_json::json!(["avgpool", size, size, channels, height, width])
        }
        Op::Activation(function) => {
            serde_json::json!([function.name(), channels, height, width])
        }
        Op::GlobalAveragePool => serde_json::json!(["pool", channels, height, width]),
        Op::Add => serde_json::json!(["add", channels, height, width]),
        Op::Scale => serde_json::json!(["scale", channels, height, width]),
        Op::Fragment(_) => panic!("the published spaces have no blocks of the user's own"),
    }
}

#[test]
fn dictionaries_of_the_package_are_read_and_written_back() {
    for (space, subnets) in golden() {
        for Subnet { arch: theirs, .. } in subnets {
            let arch = space.from_ofa(&theirs).unwrap();
            let ours = space.to_ofa(&arch).unwrap();
            let again: OfaDict =
                serde_json::from_value(serde_json::to_value(&ours).unwrap()).unwrap();
            assert_eq!(again, ours);
            assert_eq!((&ours.d, &ours.r), (&theirs.d, &theirs.r));
            assert_eq!(ours.e.len(), theirs.e.len());
            same_where_active(&space, &ours, &theirs);
            same_widths(&ours, &theirs);
            assert_eq!(space.from_ofa(&ours).unwrap(), arch);
            assert_eq!(space.parse(&space.print(&arch)).unwrap(), arch);
        }
    }
}

/// The package draws a block for inactive layers too; only active ones mean anything.
fn same_where_active(space: &DesignSpace, ours: &OfaDict, theirs: &OfaDict) {
    let arch = space.from_ofa(theirs).unwrap();
    let stem = space.units().len() - space.ofa().unwrap().layers.len();
    let layers = space.placements().filter(|p| p.unit >= stem);
    for (i, placement) in layers.enumerate() {
        if arch.block_at(placement).is_some() {
            let kernel = |dict: &OfaDict| dict.ks.as_ref().map(|ks| ks[i]);
            assert_eq!(ours.e[i], theirs.e[i], "{placement}");
            assert_eq!(kernel(ours), kernel(theirs), "{placement}");
        }
    }
}

/// Widths 0 and 1 of ResNet's first convolution have the same channels: they are one.
fn same_widths(ours: &OfaDict, theirs: &OfaDict) {
    let canonical = |dict: &OfaDict| {
        let mut w = dict.w.clone()?;
        w[0] = w[0].max(1);
        Some(w)
    };
    assert_eq!(canonical(ours), canonical(theirs));
}
