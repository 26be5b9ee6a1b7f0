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
            good.replacen("_k{3,5,7}", "_k{3,4}", 1),
            "19: ",
            "mbconv3_e3_k4",
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
