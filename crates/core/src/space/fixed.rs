//! Layers of stem and head: the same in every architecture.

use std::str::FromStr;

use super::block::{Block, PlacedBlock};
use crate::shape::make_divisible;

/// A layer that is not a choice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FixedLayer {
    /// A block, with what a unit would otherwise decide.
    Block {
        block: Block,
        stride: u32,
        channels: u32,
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
    /// `conv_k3_nhs_s2_c16`; channels are multiplied by `width`.
    pub(super) fn parse(text: &str, width: f64) -> Result<Self, String> {
        match text {
            "pool" => return Ok(Self::Pool),
            "classifier" => return Ok(Self::Classifier),
            _ => {}
        }
        if let Some(window) = text.strip_prefix("maxpool_") {
            return max_pool(window).ok_or_else(|| {
                format!("`{text}`: write maxpool_k<odd window, at most 63>_s<stride, 1 to 8>, such as maxpool_k3_s2")
            });
        }
        let placed = PlacedBlock::from_str(text).map_err(|e| {
            if e.reason.starts_with("there is no kind") {
                format!("{e}; fixed layers are also pool, maxpool and classifier")
            } else {
                e.to_string()
            }
        })?;
        let channels = placed.channels.ok_or_else(|| {
            format!("`{text}`: a fixed layer says how many channels come out, such as {text}_c32")
        })?;
        Ok(Self::Block {
            block: placed.block,
            stride: placed.stride.unwrap_or(1),
            channels: make_divisible(f64::from(channels) * width),
        })
    }
}

fn max_pool(window: &str) -> Option<FixedLayer> {
    let (kernel, stride) = window.strip_prefix('k')?.split_once("_s")?;
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| s.parse::<u32>().ok().filter(|_| digits(s));
    let (kernel, stride) = (number(kernel)?, number(stride)?);
    let fits = kernel % 2 == 1 && kernel <= 63 && (1..=8).contains(&stride);
    fits.then_some(FixedLayer::MaxPool { kernel, stride })
}
