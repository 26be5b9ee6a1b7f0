//! Units: runs of layers that share one output shape.

use super::block::{Activation, Block};
use super::fixed::FixedLayer;
use super::ratio::Ratio;

/// One width that a unit can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitWidth {
    /// The multiplier in the space's file; 1 where the unit has one width only.
    pub multiplier: f64,
    /// Output channels.
    pub channels: u32,
}

/// A run of layers that share one output shape; its depth can vary, and its width can.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    pub(crate) name: Option<String>,
    pub(crate) before: Vec<FixedLayer>,
    pub(crate) widths: Vec<UnitWidth>,
    /// Every multiplier of the file.
    pub(crate) multipliers: Vec<Multiplier>,
    /// Whether architectures name the width: where the file lists choices, be it one.
    pub(crate) names_width: bool,
    pub(crate) stride: u32,
    pub(crate) min_depth: usize,
    pub(crate) max_depth: usize,
    pub(crate) activation: Activation,
    pub(crate) squeeze_excite: Option<Ratio>,
    pub(crate) layers: Vec<Candidates>,
}

/// A multiplier of a unit's channels in the space's file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Multiplier {
    pub value: f64,
    /// Index of the width that it gives.
    pub width: usize,
}

/// The candidate blocks of a layer, and what each is called inside an architecture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidates {
    pub blocks: Vec<Block>,
    pub codes: Vec<String>,
}

impl Candidates {
    /// Codes are short where that tells the candidates apart, and full names elsewhere.
    pub(super) fn new(blocks: Vec<Block>) -> Self {
        let short: Vec<String> = blocks.iter().map(Block::code).collect();
        let unique = |code: &String| short.iter().filter(|c| *c == code).count() == 1;
        let codes = blocks
            .iter()
            .zip(&short)
            .map(|(block, code)| {
                if unique(code) {
                    code.clone()
                } else {
                    block.to_string()
                }
            })
            .collect();
        Self { blocks, codes }
    }

    /// The same candidates, each called by its full name.
    pub(super) fn in_full(mut self) -> Self {
        self.codes = self.blocks.iter().map(ToString::to_string).collect();
        self
    }

    /// The candidate that `text` means: a code or a full name.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        let by_code = self.codes.iter().position(|code| code == text);
        by_code.or_else(|| {
            self.blocks
                .iter()
                .position(|block| block.to_string() == text)
        })
    }
}

impl Unit {
    /// What the unit is called, where its file says so.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The widths that the unit can have, in the order of their ids; empty where its output has as many
    /// channels as its input.
    #[must_use]
    pub fn widths(&self) -> &[UnitWidth] {
        &self.widths
    }

    /// How many widths there are to choose from: at least 1.
    #[must_use]
    pub fn width_choices(&self) -> usize {
        self.widths.len().max(1)
    }

    /// Output channels at width `width`, when `input` channels come in.
    ///
    /// # Panics
    /// When there is no such width.
    #[must_use]
    pub fn channels(&self, width: u8, input: u32) -> u32 {
        if self.widths.is_empty() {
            return input;
        }
        self.widths[usize::from(width)].channels
    }

    /// Index of the width that a multiplier of the file gives; multipliers that give the same channels are one
    /// width. `None` when the file does not offer the multiplier.
    pub(crate) fn width_of_multiplier(&self, multiplier: f64) -> Option<usize> {
        #[allow(clippy::float_cmp)] // both are decimals from one file
        let found = self.multipliers.iter().find(|m| m.value == multiplier);
        found.map(|m| m.width)
    }

    /// Stride of layer 0; the others have stride 1.
    #[must_use]
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// The depths that the unit can have, shallowest first.
    pub fn depths(&self) -> std::ops::RangeInclusive<usize> {
        self.min_depth..=self.max_depth
    }

    /// The shallowest depth: layers below it are active in every architecture.
    #[must_use]
    pub fn min_depth(&self) -> usize {
        self.min_depth
    }

    /// The deepest depth: the number of layers of the unit.
    #[must_use]
    pub fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// Activation function of blocks that set none themselves.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Ratio of squeeze-and-excitation of blocks that set none themselves; `None` for none.
    #[must_use]
    pub fn squeeze_excite(&self) -> Option<Ratio> {
        self.squeeze_excite
    }

    /// The candidate blocks of a layer, in the order of their [`super::BlockId`].
    ///
    /// # Panics
    /// When there is no such layer.
    #[must_use]
    pub fn blocks(&self, layer: usize) -> &[Block] {
        &self.layers[layer].blocks
    }

    /// Whether every layer has the same candidates.
    #[must_use]
    pub fn uniform(&self) -> bool {
        self.layers.windows(2).all(|pair| pair[0] == pair[1])
    }
}
