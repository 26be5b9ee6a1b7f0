//! Networks, costs and dictionaries against the `ofa` package: `golden/ofa_mbv3_costs.py` says how
//! the golden file was made.

use std::collections::BTreeMap;

use blocklens_core::network::{Bias, Network, Op, Shape, cost};
use blocklens_core::space::{Activation, DesignSpace, OfaDict};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    widths: BTreeMap<String, Vec<Subnet>>,
}

#[derive(Deserialize)]
struct Subnet {
    arch: OfaDict,
    macs: u64,
    macs_f32: u64,
    params: u64,
    #[serde(default)]
    operators: Vec<serde_json::Value>,
}

/// Every subnet of the file with the space that it belongs to.
fn golden() -> Vec<(DesignSpace, Vec<Subnet>)> {
    let file: Golden =
        serde_json::from_str(include_str!("golden/ofa_mbv3_costs.json")).expect("the golden file");
    let widths = file.widths.into_iter().map(|(width, subnets)| {
        let width = width.parse().expect("a width");
        let space = DesignSpace::builtin("ofa-mbv3", Some(width)).expect("a width of the space");
        assert_eq!(subnets.len(), 52, "width {width}");
        (space, subnets)
    });
    widths.collect()
}

#[test]
fn macs_and_parameters_are_those_of_the_package() {
    for (space, subnets) in golden() {
        for subnet in subnets {
            let arch = space.from_ofa(&subnet.arch).unwrap();
            let at = format!("width {}, {}", space.width(), space.print(&arch));
            let network = space.network(&arch);
            let cost = cost(&network);
            assert_eq!(cost.macs.0, subnet.macs, "MACs of {at}");
            assert_eq!(cost.params.0, subnet.params, "parameters of {at}");
            assert_eq!(
                sum_in_f32(&network),
                subnet.macs_f32,
                "float32 MACs of {at}"
            );
        }
    }
}

/// The sum as `count_net_flops` makes it: in float32, which cannot hold every count above 2^24.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn sum_in_f32(network: &Network) -> u64 {
    let macs = network.nodes().iter().map(|node| node.macs().0 as f32);
    macs.sum::<f32>() as u64
}

#[test]
fn operators_are_those_that_the_package_runs() {
    let mut compared = 0;
    for (space, subnets) in golden() {
        for subnet in subnets.iter().filter(|s| !s.operators.is_empty()) {
            let arch = space.from_ofa(&subnet.arch).unwrap();
            let network = space.network(&arch);
            let at = format!("width {}, {}", space.width(), space.print(&arch));
            for (i, (node, theirs)) in network.nodes().iter().zip(&subnet.operators).enumerate() {
                let ours = row(&node.op, node.output);
                assert_eq!(ours, *theirs, "operator {i} ({}) of {at}", node.name);
            }
            assert_eq!(network.nodes().len(), subnet.operators.len(), "{at}");
            compared += 1;
        }
    }
    assert_eq!(compared, 24);
}

/// An operator in the words of the golden file.
fn row(
    op: &Op,
    Shape {
        channels,
        height,
        width,
    }: Shape,
) -> serde_json::Value {
    let kind = match *op {
        Op::Conv(c) => {
            assert_eq!(c.out_channels, channels);
            let bias = match c.bias {
                Bias::None => "none",
                Bias::Plain => "plain",
                Bias::BatchNorm => "bn",
            };
            return serde_json::json!([
                "conv",
                c.in_channels,
                c.out_channels,
                c.kernel,
                c.stride,
                c.groups,
                bias,
                height,
                width
            ]);
        }
        Op::Linear { inputs, outputs } => {
            assert_eq!((channels, height, width), (outputs, 1, 1));
            return serde_json::json!(["linear", inputs, outputs]);
        }
        Op::Activation(Activation::Relu) => "relu",
        Op::Activation(Activation::Hswish) => "hswish",
        Op::Activation(Activation::Hsigmoid) => "hsigmoid",
        Op::GlobalAveragePool => "pool",
        Op::Add => "add",
        Op::Scale => "scale",
    };
    serde_json::json!([kind, channels, height, width])
}

#[test]
fn dictionaries_of_the_package_are_read_and_written_back() {
    for (space, subnets) in golden() {
        for Subnet { arch: theirs, .. } in subnets {
            let arch = space.from_ofa(&theirs).unwrap();
            let ours = space.to_ofa(&arch);
            assert_eq!((&ours.d, &ours.r), (&theirs.d, &theirs.r));
            assert_eq!(
                (ours.ks.len(), ours.e.len()),
                (theirs.ks.len(), theirs.e.len())
            );
            // The package draws a block for inactive layers too; only active ones mean anything.
            for (i, placement) in space.placements().enumerate() {
                if arch.block_at(placement).is_some() {
                    let active = (ours.ks[i], ours.e[i]);
                    assert_eq!(active, (theirs.ks[i], theirs.e[i]), "{placement}");
                }
            }
            assert_eq!(space.from_ofa(&ours).unwrap(), arch);
            assert_eq!(space.parse(&space.print(&arch)).unwrap(), arch);
        }
    }
}
