//! Design spaces: a macro layout and the choices left open in it.
//!
//! A [`DesignSpace`] is read from a file ([`DesignSpace::from_toml`], `docs/space-format.md`); the built-in
//! ones are such files, embedded ([`DesignSpace::builtin`]). An [`Architecture`] is one
//! choice for everything that the space leaves open: a resolution and, for each
//! unit, its width and the blocks of its active layers. Inactive layers have no representation,
//! so two architectures are equal exactly when their networks are.

mod architecture;
mod block;
mod count;
mod encode;
mod file;
mod fixed;
mod part;
mod places;
mod random_part;
mod ratio;
mod restrict;
mod sample;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod unit;
mod vary;

pub use architecture::{Architecture, ArchitectureError, Choice, UnitChoice};
pub use block::{Activation, Block, BlockError, BlockKind, Flag};
pub use encode::Encoding;
pub use file::SpaceError;
pub(crate) use fixed::FixedLayer;
pub use random_part::random_part_like;
pub use ratio::Ratio;
pub use restrict::Restriction;
pub use source::{SpaceSource, named_files};
pub(crate) use suggest::did_you_mean;
pub use unit::{Unit, UnitWidth};

#[cfg(test)]
pub(crate) use tests::{classic_space, test_spaces};

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::ofa::OfaLayout;
pub use part::PartOf;
pub(crate) use places::{IMAGE_CHANNELS, Instances};

/// Index of a candidate block in its layer's list.
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

/// A macro layout (stem, units, head) and the choices left open in it, at one width.
#[derive(Clone, Debug, PartialEq)]
pub struct DesignSpace {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) classes: u32,
    pub(crate) width: f64,
    pub(crate) widths: Vec<f64>,
    pub(crate) resolutions: Vec<u32>,
    pub(crate) usual_resolutions: Vec<u32>,
    pub(crate) default_resolution: u32,
    pub(crate) batch_norm_epsilon: f64,
    pub(crate) stem: Vec<FixedLayer>,
    pub(crate) units: Vec<Unit>,
    pub(crate) head: Vec<FixedLayer>,
    pub(crate) ofa: Option<OfaLayout>,
    pub(crate) instances: Instances,
    pub(crate) source: SpaceSource,
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

    /// Number of classes: length of the network's output.
    #[must_use]
    pub fn classes(&self) -> u32 {
        self.classes
    }

    /// What batch-norm adds to the variance before the square root.
    #[must_use]
    pub fn batch_norm_epsilon(&self) -> f64 {
        self.batch_norm_epsilon
    }

    /// The units, from the input to the output.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// How the space corresponds to a supernet of the `ofa` package, where its file says so.
    #[must_use]
    pub fn ofa(&self) -> Option<&OfaLayout> {
        self.ofa.as_ref()
    }

    /// The file that the space was read from, with the blocks that it brings; with [`Self::width`], it makes
    /// the same space again through [`DesignSpace::read`].
    #[must_use]
    pub fn source(&self) -> &SpaceSource {
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

    /// The candidate blocks of a placement, in the order of their [`BlockId`].
    ///
    /// # Panics
    /// When there is no such placement.
    #[must_use]
    pub fn blocks(&self, placement: Placement) -> &[Block] {
        self.units[placement.unit].blocks(placement.layer)
    }

    /// The candidate block `id` of a placement.
    ///
    /// # Panics
    /// When the placement or the block does not exist; ids from this space's architectures always do.
    #[must_use]
    pub fn block(&self, placement: Placement, id: BlockId) -> &Block {
        &self.blocks(placement)[usize::from(id)]
    }

    /// Number of (unit, layer, block) combinations: what a profile estimates.
    #[must_use]
    pub fn combinations(&self) -> usize {
        self.placements().map(|p| self.blocks(p).len()).sum()
    }
}
