//! Space files that are read, and ones that are refused.

use super::*;
use crate::space::Unit;

#[test]
fn built_in_spaces_load_at_every_width() {
    for name in DesignSpace::builtin_names() {
        let space = DesignSpace::builtin(name, None).unwrap();
        for &width in space.widths() {
            let scaled = DesignSpace::builtin(name, Some(width)).unwrap();
            assert_eq!(scaled.width(), width);
        }
    }
}

fn channels(name: &str, width: f64) -> Vec<Vec<u32>> {
    let space = DesignSpace::builtin(name, Some(width)).unwrap();
    let of_unit = |u: &Unit| u.widths().iter().map(|w| w.channels).collect();
    space.units().iter().map(of_unit).collect()
}

#[test]
fn channels_follow_the_width() {
    assert_eq!(channels("ofa-mbv3", 1.0).concat(), [24, 40, 80, 112, 160]);
    assert_eq!(channels("ofa-mbv3", 1.2).concat(), [32, 48, 96, 136, 192]);
    assert_eq!(
        channels("ofa-proxyless", 1.3).concat(),
        [32, 56, 104, 128, 248, 416]
    );
    let resnet = channels("ofa-resnet50", 1.0);
    assert_eq!(resnet[..3], [vec![24, 32], vec![], vec![40, 48, 64]]);
    assert_eq!(resnet[6], [1328, 1640, 2048]);
}

/// What is written is built at width 1; multiples of 8 are what other widths make of it.
#[test]
fn channels_written_are_channels_built() {
    let text = r#"
format = 2
name = "shuffle"
widths = [0.5, 1.0]
default-width = 1.0
resolutions = [64]
stem = ["conv_k3_s2_c24", "conv_k3_s2_c58"]
head = ["conv_k1_c1023", "conv_k1_c1001_nowidth", "pool", "classifier"]
[[unit]]
channels = 116
width-choices = [0.5, 1.0, 2.0]
stride = 2
depth = 1
blocks = ["mbconv_e1_k3"]
"#;
    let outputs = |space: &DesignSpace, width: u8| {
        let arch = space.largest(64).unwrap();
        let mut choices: Vec<_> = arch.choices();
        choices[0].width = width;
        let network = space.network(&space.architecture(64, &choices).unwrap());
        let nodes = network
            .nodes()
            .iter()
            .filter(|n| matches!(n.op, crate::network::Op::Conv(_)));
        nodes.map(|n| n.output.channels).collect::<Vec<_>>()
    };
    let whole = DesignSpace::from_toml("x.toml", text, None).unwrap();
    let widths: Vec<u32> = whole.units()[0]
        .widths()
        .iter()
        .map(|w| w.channels)
        .collect();
    assert_eq!(widths, [56, 116, 232]);
    assert_eq!(outputs(&whole, 1), [24, 58, 58, 116, 1023, 1001]);
    let half = DesignSpace::from_toml("x.toml", text, Some(0.5)).unwrap();
    // The choice of 2 at width 0.5 is what is written again.
    let widths: Vec<u32> = half.units()[0]
        .widths()
        .iter()
        .map(|w| w.channels)
        .collect();
    assert_eq!(widths, [32, 56, 116]);
    assert_eq!(outputs(&half, 1), [16, 32, 32, 56, 512, 1001]);
}

/// Spaces whose networks are those of before keep their digests, and with them what was measured of them.
#[test]
fn digests_change_where_networks_do() {
    for name in DesignSpace::builtin_names() {
        let space = DesignSpace::builtin(name, None).unwrap();
        assert_eq!(space.digest, digest(&space.source, space.width, true));
    }
    let classic = crate::space::classic_space();
    assert_ne!(classic.digest, digest(&classic.source, classic.width, true));
}

/// torchvision's `resnet18`: 11,689,512 parameters; the multiply-accumulates added up layer by layer.
#[test]
fn resnet_18_is_resnet_18() {
    let text = r#"
format = 2
name = "resnet18"
resolutions = [224]
stem = ["conv_k7_s2_c64", "maxpool_k3_s2"]
head = ["pool", "classifier"]
unit = [
  { channels = 64, depth = 2, blocks = ["basic_k3"] },
  { channels = 128, stride = 2, depth = 2, blocks = ["basic_k3"] },
  { channels = 256, stride = 2, depth = 2, blocks = ["basic_k3"] },
  { channels = 512, stride = 2, depth = 2, blocks = ["basic_k3"] },
]
"#;
    let space = DesignSpace::from_toml("resnet18.toml", text, None).unwrap();
    let cost = crate::network::cost(&space.network(&space.smallest(224).unwrap()));
    assert_eq!(cost.params.0, 11_689_512);
    assert_eq!(cost.macs.0, 1_814_073_344);
}

#[test]
fn errors_name_the_line_and_the_remedy() {
    let good = DesignSpace::builtin_source("ofa-mbv3").unwrap();
    let resnet = DesignSpace::builtin_source("ofa-resnet50").unwrap();
    let cases = [
        (
            good.replacen("stride = 2", "strid = 2", 1),
            "16: ",
            "did you mean `stride`",
        ),
        (
            good.replacen("_k{3,5,7}", "_k{3,64}", 1),
            "19: ",
            "mbconv3_e3_k64",
        ),
        (
            good.replacen("depth = [2, 4]", "depth = [4, 2]", 1),
            "17: ",
            "unit 1: field `depth`",
        ),
        (
            good.replacen("format = 2", "format = 9", 1),
            "5: ",
            "format",
        ),
        (
            good.replacen("_k{3,5,7}", "_k{3,3}", 1),
            "19: ",
            "the same block",
        ),
        (
            good.replacen("_k{3,5,7}\"", "_k3\", \"mbconv3_e3_k3_nre\"", 1),
            "19: ",
            "the same block",
        ),
        (
            good.replacen("min = 128", "min = 130", 1),
            "10: ",
            "160 in `usual`",
        ),
        (
            good.replacen("conv_k3_nhs_s2_c16", "conv_k3_nhs_s2", 1),
            "11: ",
            "how many channels",
        ),
        (
            good.replacen("\"pool\"", "\"pol\"", 1),
            "12: ",
            "also pool, maxpool",
        ),
        (
            good.replacen("\"pool\", ", "\"classifier\", ", 1),
            "12: ",
            "last layer",
        ),
        (
            good.replacen("channels = 24", "channels = 0", 1),
            "15: ",
            "field `channels`",
        ),
        (
            good.replacen("layers = [4, 4", "layers = [3, 4", 1),
            "",
            "unit 1 can be deeper",
        ),
        (
            resnet.replacen("depth = [0, 1]", "depth = [0, 1]\nstride = 2", 1),
            "24: ",
            "keeps the shape",
        ),
        (
            resnet.replacen(
                "widths = [0.65, 0.8, 1.0]\nextra",
                "widths = [0.65, 1.0]\nextra",
                1,
            ),
            "",
            "lacks 0.8",
        ),
    ];
    for (text, line, needle) in cases {
        let error = DesignSpace::from_toml("mine.toml", &text, None)
            .unwrap_err()
            .to_string();
        let start = format!("mine.toml:{line}");
        assert!(
            error.starts_with(&start) && error.contains(needle),
            "{start}: {error}"
        );
    }
    let error = DesignSpace::builtin("ofa-mbv3", Some(1.1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("1, 1.2"), "{error}");
    let error = DesignSpace::builtin("ofa-mbv4", None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("did you mean `ofa-mbv3`"), "{error}");
}

#[test]
fn the_published_counts() {
    let count = |name| {
        let space = DesignSpace::builtin(name, None).unwrap();
        (
            space.combinations(),
            space.count_per_resolution().to_string(),
        )
    };
    // (9^2 + 9^3 + 9^4)^5: about 2 x 10^19, as the Once-for-All paper says.
    assert_eq!(count("ofa-mbv3"), (180, "21758655492572485851".to_owned()));
    // The same, times 9 for the last unit.
    assert_eq!(
        count("ofa-proxyless"),
        (189, "195827899433152372659".to_owned())
    );
    // 2 x 2 x 3 in the stem; 3 widths of each stage, three of 3^2 + 3^3 + 3^4 and one of 3^4 + 3^5 + 3^6
    // expansions. Dictionaries of the package count half as many again, because two widths of the
    // first convolution are one.
    assert_eq!(
        count("ofa-resnet50"),
        (57, (12_u128 * 81 * 117_u128.pow(3) * 1053).to_string())
    );
}
