//! Layers of stem and head: the same in every architecture.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::block::{Block, PlacedBlock, Placing};
use crate::fragment::Fragment;
use crate::shape::scaled_channels;

/// Largest number of channels.
const MOST_CHANNELS: u32 = 1 << 16;

/// A layer that is not a choice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FixedLayer {
    /// A block, with what a unit would otherwise decide.
    Block {
        block: Block,
        stride: u32,
        /// `None` for those of its input.
        channels: Option<u32>,
    },
    /// Maximum over windows.
    MaxPool { kernel: u32, stride: u32 },
    /// Global average pooling.
    Pool,
    /// The final linear layer.
    Classifier,
}

impl FixedLayer {
    /// Reads `pool`, `classifier`, `maxpool_k3_s2` or a block with stride and channels, such as
    /// `conv_k3_nhs_s2_c16`; channels are multiplied by `width` unless the layer says `nowidth`.
    pub(super) fn parse(
        text: &str,
        width: f64,
        fragments: &BTreeMap<String, Fragment>,
    ) -> Result<Self, String> {
        match text {
            "pool" => return Ok(Self::Pool),
            "classifier" => return Ok(Self::Classifier),
            _ => {}
        }
        if let Some(window) = text.strip_prefix("maxpool_") {
            return max_pool(window).ok_or_else(|| {
                format!("`{text}`: write maxpool_k<window, at most 63>_s<stride, 1 to 8>, such as maxpool_k3_s2")
            });
        }
        let (block, placing, keeps) = match (PlacedBlock::from_str(text), own(text, fragments)) {
            (Ok(placed), _) => (placed.block, placed.placing, false),
            (Err(_), Some(found)) => found?,
            (Err(e), None) if e.reason.starts_with("there is no kind") => {
                let own: Vec<&str> = fragments.keys().map(String::as_str).collect();
                let own = match own.as_slice() {
                    [] => String::new(),
                    _ => format!("; the file's own blocks are {}", own.join(", ")),
                };
                let message =
                    format!("{e}; fixed layers are also pool, maxpool and classifier{own}");
                return Err(message);
            }
            (Err(e), None) => return Err(e.to_string()),
        };
        let width = if placing.nowidth { 1.0 } else { width };
        let channels = placing.channels.map(|c| scaled_channels(c, width));
        match channels {
            None if !keeps => Err(format!(
                "`{text}`: a fixed layer says how many channels come out, such as {text}_c32"
            )),
            Some(channels) if channels > MOST_CHANNELS => Err(format!(
                "`{text}`: has {channels} channels at width {width}, more than {MOST_CHANNELS}"
            )),
            channels => Ok(Self::Block {
                block,
                stride: placing.stride.unwrap_or(1),
                channels,
            }),
        }
    }
}

/// A block of the file's own with its stride and channels, such as `ghost_s2_c16`, and whether it keeps its channels;
/// `None` where the text begins with no such block's name.
#[allow(clippy::type_complexity)]
fn own(
    text: &str,
    fragments: &BTreeMap<String, Fragment>,
) -> Option<Result<(Block, Placing, bool), String>> {
    let words = |name: &str| -> Option<String> {
        let rest = text.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('_')).then(|| rest.trim_start_matches('_').to_owned())
    };
    let names = fragments
        .iter()
        .filter_map(|(name, f)| Some((name, f, words(name)?)));
    let (name, fragment, words) = names.max_by_key(|(name, _, _)| name.len())?;
    let mut placing = Placing::default();
    for word in words.split('_').filter(|word| !word.is_empty()) {
        match placing.take(word) {
            Ok(true) => {}
            Ok(false) => {
                return Some(Err(format!(
                    "`{text}`: `{word}` means nothing to a block of your own; it takes s<stride>, c<channels>, nowidth"
                )));
            }
            Err(message) => return Some(Err(format!("`{text}`: {message}"))),
        }
    }
    let keeps = fragment.declaration().keeps_channels();
    Some(Ok((Block::custom(name), placing, keeps)))
}

fn max_pool(window: &str) -> Option<FixedLayer> {
    let (kernel, stride) = window.strip_prefix('k')?.split_once("_s")?;
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| s.parse::<u32>().ok().filter(|_| digits(s));
    let (kernel, stride) = (number(kernel)?, number(stride)?);
    let fits = (1..=63).contains(&kernel) && (1..=8).contains(&stride);
    fits.then_some(FixedLayer::MaxPool { kernel, stride })
}
