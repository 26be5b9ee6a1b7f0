//! What layers are called in the tables of the `ofa` package.

use crate::ofa::{ConvConfig, LinearConfig, MbConvConfig, NetConfig, NetConfigError, Residual};
use crate::space::{Architecture, DesignSpace};

/// Prefix of the key of the first convolution, which says the resolution.
pub(super) const FIRST: &str = "Conv-input:";

/// The keys of all layers of an architecture's network, first to last, as `MBv3LatencyTable` and
/// `ProxylessNASLatencyTable` ask for them.
///
/// # Errors
/// [`NetConfigError`] when the network is not one of the package's, or is a ResNet, which has no such table.
pub fn layer_keys(space: &DesignSpace, arch: &Architecture) -> Result<Vec<String>, NetConfigError> {
    let config = space.to_net_config(arch)?;
    let image = arch.resolution();
    match &config {
        NetConfig::MobileNetV3 {
            first_conv,
            blocks,
            final_expand_layer,
            feature_mix_layer,
            classifier,
            ..
        } => {
            let (mut keys, side) = body(first_conv, blocks, image, &|block| {
                let hidden = block.mid_channels.unwrap_or_else(|| hidden(block));
                let hard_swish = block.act_func.as_deref() == Some("h_swish");
                (
                    hidden,
                    format!("-se:{}-hs:{}", flag(block.use_se), flag(hard_swish)),
                )
            });
            let pooled = final_expand_layer.out_channels;
            keys.push(key(
                "Conv_1",
                [side, final_expand_layer.in_channels],
                [side, pooled],
            ));
            keys.push(key("AvgPool2D", [side, pooled], [1, pooled]));
            let mixed = [
                feature_mix_layer.in_channels,
                feature_mix_layer.out_channels,
            ];
            keys.push(key("Conv_2", [1, mixed[0]], [1, mixed[1]]));
            keys.push(logits(1, classifier));
            Ok(keys)
        }
        NetConfig::ProxylessNas {
            first_conv,
            blocks,
            feature_mix_layer,
            classifier,
            ..
        } => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // whole and small, as the package's spaces have them
            let (mut keys, side) = body(first_conv, blocks, image, &|block| {
                (block.expand_ratio as u32, String::new())
            });
            let mixed = [
                feature_mix_layer.in_channels,
                feature_mix_layer.out_channels,
            ];
            keys.push(key("Conv_1", [side, mixed[0]], [side, mixed[1]]));
            keys.push(logits(side, classifier));
            Ok(keys)
        }
        NetConfig::ResNets { .. } => Err(NetConfigError::NotExpressible {
            place: space.name().to_owned(),
            what: "a latency table of ResNets".into(),
        }),
    }
}

/// Keys of the first convolution and the blocks, and the side of what comes out.
fn body(
    first: &ConvConfig,
    blocks: &[Residual<MbConvConfig>],
    image: u32,
    describe: &dyn Fn(&MbConvConfig) -> (u32, String),
) -> (Vec<String>, u32) {
    let mut side = image.div_ceil(2);
    let mut keys = vec![key(
        "Conv",
        [image, first.in_channels],
        [side, first.out_channels],
    )];
    for block in blocks {
        let conv = &block.conv;
        let output = side.div_ceil(conv.stride);
        let (expand, rest) = describe(conv);
        keys.push(format!(
            "{}-expand:{expand}-kernel:{}-stride:{}-idskip:{}{rest}",
            key(
                "expanded_conv",
                [side, conv.in_channels],
                [output, conv.out_channels]
            ),
            conv.kernel_size,
            conv.stride,
            flag(block.shortcut.is_some()),
        ));
        side = output;
    }
    (keys, side)
}

/// The hidden channels where the package's file does not say them (its fixed first block).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn hidden(block: &MbConvConfig) -> u32 {
    (f64::from(block.in_channels) * block.expand_ratio).round_ties_even() as u32
}

fn flag(set: bool) -> u8 {
    u8::from(set)
}

/// `Conv-input:224x224x3-output:112x112x24`, from side and channels.
fn key(kind: &str, input: [u32; 2], output: [u32; 2]) -> String {
    let shape = |[side, channels]: [u32; 2]| format!("{side}x{side}x{channels}");
    format!("{kind}-input:{}-output:{}", shape(input), shape(output))
}

fn logits(side: u32, classifier: &LinearConfig) -> String {
    format!(
        "Logits-input:{side}x{side}x{}-output:{}",
        classifier.in_features, classifier.out_features
    )
}

/// The resolution that a key of the first convolution is for.
pub(super) fn resolution(key: &str) -> Option<u32> {
    let (side, rest) = key.strip_prefix(FIRST)?.split_once('x')?;
    let side: u32 = side.parse().ok()?;
    rest.starts_with(&format!("{side}x")).then_some(side)
}
