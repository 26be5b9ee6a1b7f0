//! What layers are called in latency tables: as in those of the `ofa` package where a network is one of its mobile
//! networks, and after what decides their networks elsewhere.

use std::collections::BTreeSet;

use crate::network::{Network, Part};
use crate::ofa::{ConvConfig, LinearConfig, MbConvConfig, NetConfig, NetConfigError, Residual};
use crate::space::{Architecture, ArchitectureError, Choice, DesignSpace, Placement};

/// Prefix of the key of the package's first convolution, which says the resolution.
pub(super) const FIRST: &str = "Conv-input:";
/// Prefix of other keys that say the resolution.
pub(super) const IMAGE: &str = "Image-";

/// An entry of a table: what stands for it, and the network that is timed for it.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its key.
    pub key: String,
    parts: Vec<Part<'a>>,
}

impl Entry<'_> {
    /// The network that the entry is about.
    ///
    /// Only parts of the fixed head are ever taken together, one after the other.
    #[must_use]
    pub fn network(&self) -> Network {
        let mut networks = self.parts.iter().map(Part::network);
        let first = networks
            .next()
            .unwrap_or_else(|| Network::empty(crate::shape::Shape::vector(1)));
        networks.fold(first, |whole, part| whole.then(&part))
    }
}

/// The entries whose latencies add up to that of an architecture, first to last. Layers that do nothing have none.
#[must_use]
pub fn entries<'a>(space: &'a DesignSpace, arch: &Architecture) -> Vec<Entry<'a>> {
    let mut parts: Vec<Vec<Part<'a>>> = space.parts(arch).into_iter().map(|p| vec![p]).collect();
    if let Ok(keys) = layer_keys(space, arch) {
        // ProxylessNAS pools and classifies in one entry.
        if parts.len() == keys.len() + 1
            && let Some(last) = parts.pop()
            && let Some(before) = parts.last_mut()
        {
            before.extend(last);
        }
        if parts.len() == keys.len() {
            let entry = |(key, parts)| Entry { key, parts };
            return keys.into_iter().zip(parts).map(entry).collect();
        }
    }
    let own = |parts: Vec<Part<'a>>| Entry {
        key: parts[0].key(),
        parts,
    };
    let entries = space.parts(arch).into_iter().map(|part| own(vec![part]));
    entries
        .filter(|entry| !entry.network().nodes().is_empty())
        .collect()
}

/// Every entry that a table for a space at a resolution needs, each once.
///
/// # Errors
/// [`ArchitectureError::Resolution`] when the space does not have the resolution.
pub fn all_entries(
    space: &DesignSpace,
    resolution: u32,
) -> Result<Vec<Entry<'_>>, ArchitectureError> {
    let smallest = space.smallest(resolution)?;
    let own = entries(space, &smallest)
        .first()
        .is_some_and(|e| e.key.starts_with(IMAGE));
    if own || layer_keys(space, &smallest).is_err() {
        let parts = space.all_parts(resolution)?.into_iter();
        let parts = parts.filter(|part| !part.network().nodes().is_empty());
        let entries = parts.map(|part| Entry {
            key: part.key(),
            parts: vec![part],
        });
        return Ok(entries.collect());
    }
    // A layer's key follows from its placement and its block alone there.
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    let most = space.placements().map(|p| space.blocks(p).len()).max();
    for id in 0..most.unwrap_or(1) {
        let arch = space.architecture(resolution, &deepest(space, id))?;
        let new = entries(space, &arch).into_iter();
        all.extend(new.filter(|entry| seen.insert(entry.key.clone())));
    }
    Ok(all)
}

/// The deepest architecture with candidate `id` everywhere, or with the last one where there are fewer.
pub(super) fn deepest(space: &DesignSpace, id: usize) -> Vec<Choice> {
    let unit = |(unit, spec): (usize, &crate::space::Unit)| Choice {
        width: 0,
        blocks: (0..spec.max_depth())
            .map(|layer| {
                let last = space.blocks(Placement { unit, layer }).len() - 1;
                u8::try_from(id.min(last)).unwrap_or(u8::MAX)
            })
            .collect(),
    };
    space.units().iter().enumerate().map(unit).collect()
}

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
        // What is written here has no layers that are not there.
        let Some(conv) = &block.conv else { continue };
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

/// The resolution that a key of a first layer is for.
pub(super) fn resolution(key: &str) -> Option<u32> {
    let shape = match key.strip_prefix(IMAGE) {
        Some(rest) => rest.split_once("-input:")?.1,
        None => key.strip_prefix(FIRST)?,
    };
    let (side, rest) = shape.split_once('x')?;
    let side: u32 = side.parse().ok()?;
    rest.starts_with(&format!("{side}x")).then_some(side)
}
