//! Design spaces: a macro layout and the choices left open in it.
//!
//! A [`DesignSpace`] is read from a file ([`DesignSpace::from_toml`]); the built-in
//! ones are such files, embedded ([`DesignSpace::builtin`]). An [`Architecture`] is one
//! choice for everything that the space leaves open: a resolution and, for each
//! unit, the blocks of its active layers. Inactive layers have no representation,
//! so two architectures are equal exactly when their networks are.

mod architecture;
mod block;
mod file;
mod ofa;
mod sample;

pub use architecture::{Architecture, ArchitectureError};
pub use block::{Activation, Block};
pub use file::SpaceError;
pub(crate) use file::make_divisible;
pub use ofa::OfaDict;

use num_bigint::BigUint;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Index of a candidate block in its unit's list.
pub type BlockId = u8;

/// A place where a block can stand: layer `layer` of unit `unit`, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// The unit (stage), counted from 0.
    pub unit: usize,
    /// The layer in the unit, counted from 0; active when the unit's depth exceeds it.
    pub layer: usize,
}

impl fmt::Display for Placement {
    /// Counted from 1, as people do: `unit 2, layer 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit {}, layer {}", self.unit + 1, self.layer + 1)
    }
}

/// A run of layers that share one output shape; its depth can vary.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    pub(crate) channels: u32,
    pub(crate) stride: u32,
    pub(crate) min_depth: usize,
    pub(crate) max_depth: usize,
    pub(crate) activation: Activation,
    pub(crate) squeeze_excite: bool,
    pub(crate) blocks: Vec<Block>,
}

impl Unit {
    /// Output channels of every layer, width multiplier applied.
    #[must_use]
    pub fn channels(&self) -> u32 {
        self.channels
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

    /// Activation function inside the unit's blocks.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Whether the unit's blocks have squeeze-and-excitation.
    #[must_use]
    pub fn squeeze_excite(&self) -> bool {
        self.squeeze_excite
    }

    /// The candidate blocks of every layer, in the order of their [`BlockId`].
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

/// A fixed layer of the stem or the head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FixedLayer {
    /// Convolution, batch-norm (folded when the network is built), activation.
    Conv {
        kernel: u32,
        stride: u32,
        channels: u32,
        activation: Activation,
        batch_norm: bool,
    },
    /// An MBConv block that is not a choice.
    MbConv {
        block: Block,
        stride: u32,
        channels: u32,
        activation: Activation,
        squeeze_excite: bool,
    },
    /// Global average pooling.
    Pool,
    /// The final linear layer.
    Classifier { classes: u32 },
}

/// A macro layout (stem, units, head) and the choices left open in it, at one width.
#[derive(Clone, Debug, PartialEq)]
pub struct DesignSpace {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) width: f64,
    pub(crate) widths: Vec<f64>,
    pub(crate) resolutions: Vec<u32>,
    pub(crate) usual_resolutions: Vec<u32>,
    pub(crate) default_resolution: u32,
    pub(crate) stem: Vec<FixedLayer>,
    pub(crate) units: Vec<Unit>,
    pub(crate) head: Vec<FixedLayer>,
    pub(crate) source: String,
    pub(crate) digest: String,
}

impl DesignSpace {
    /// The space's name, as used on the command line.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The space's name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The width multiplier that this value of the space was made with.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.width
    }

    /// The width multipliers that the space's file offers.
    #[must_use]
    pub fn widths(&self) -> &[f64] {
        &self.widths
    }

    /// Every input resolution that an architecture may have, ascending, in pixels.
    #[must_use]
    pub fn resolutions(&self) -> &[u32] {
        &self.resolutions
    }

    /// The resolutions that published work uses.
    #[must_use]
    pub fn usual_resolutions(&self) -> &[u32] {
        &self.usual_resolutions
    }

    /// The resolution used when none is asked for.
    #[must_use]
    pub fn default_resolution(&self) -> u32 {
        self.default_resolution
    }

    /// The units, from the input to the output.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The text of the file that the space was read from; with [`Self::width`], it makes the same
    /// space again through [`Self::from_toml`].
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A hash of the space's file and width: equal digests mean the same space.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Every placement, unit by unit and layer by layer.
    pub fn placements(&self) -> impl Iterator<Item = Placement> + '_ {
        self.units
            .iter()
            .enumerate()
            .flat_map(|(unit, u)| (0..u.max_depth).map(move |layer| Placement { unit, layer }))
    }

    /// The candidate block `id` of `unit`.
    ///
    /// # Panics
    /// When the unit or the block does not exist; ids from this space's architectures always do.
    #[must_use]
    pub fn block(&self, unit: usize, id: BlockId) -> Block {
        self.units[unit].blocks[usize::from(id)]
    }

    /// Number of (unit, layer, block) combinations: what a profile estimates.
    #[must_use]
    pub fn combinations(&self) -> usize {
        self.units
            .iter()
            .map(|u| u.max_depth * u.blocks.len())
            .sum()
    }

    /// The exact number of architectures at one resolution.
    #[must_use]
    pub fn count_per_resolution(&self) -> BigUint {
        self.units
            .iter()
            .map(|u| {
                u.depths()
                    .map(|d| {
                        BigUint::from(u.blocks.len()).pow(u32::try_from(d).unwrap_or(u32::MAX))
                    })
                    .sum::<BigUint>()
            })
            .product()
    }

    /// The exact number of architectures over all resolutions.
    #[must_use]
    pub fn count(&self) -> BigUint {
        self.count_per_resolution() * self.resolutions.len()
    }
}
