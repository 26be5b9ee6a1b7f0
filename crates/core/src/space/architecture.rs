//! Architectures: one choice for everything that a space leaves open.

use std::fmt;

use super::{Block, BlockId, DesignSpace, Placement};

/// One member of a design space: a resolution and the blocks of every unit's active layers.
///
/// Values exist only through checked constructors, and hold only what is active, so equality and
/// hashing are those of the networks. The text form ([`DesignSpace::print`],
/// [`DesignSpace::parse`]) is `r224/e4k3,e6k5/e3k7,e3k3,e6k7/...`: the resolution,
/// then one group per unit with one block per active layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture {
    resolution: u32,
    units: Vec<Vec<BlockId>>,
}

/// Choices that are not a member of the space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchitectureError {
    /// Not the space's number of units.
    #[error("{found} units where `{space}` has {expected}")]
    Units {
        /// The space's name.
        space: String,
        /// How many units the architecture has.
        found: usize,
        /// How many the space has.
        expected: usize,
    },
    /// A unit is deeper or shallower than the space allows.
    #[error("unit {} has depth {found}; the space allows {min} to {max}", unit + 1)]
    Depth {
        /// The unit, counted from 0.
        unit: usize,
        /// The depth found.
        found: usize,
        /// The shallowest allowed.
        min: usize,
        /// The deepest allowed.
        max: usize,
    },
    /// A block that is not among the unit's candidates.
    #[error("{placement}: {block} is not a candidate; the unit has: {}", candidates.join(", "))]
    Block {
        /// Where it stands.
        placement: Placement,
        /// What stands there.
        block: String,
        /// What could stand there.
        candidates: Vec<String>,
    },
    /// A resolution that the space does not have.
    #[error(
        "resolution {found} is not one of the space's: {}",
        resolution_list(allowed)
    )]
    Resolution {
        /// The resolution found.
        found: u32,
        /// The resolutions of the space, ascending.
        allowed: Vec<u32>,
    },
    /// Text that is not an architecture at all.
    #[error(
        "{found:?} is not an architecture: {reason} (expected the form r224/e4k3,e6k5/e3k7,e3k3/...)"
    )]
    Syntax {
        /// The text, or the part that does not parse.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An OFA dictionary whose lists have the wrong length.
    #[error("`{field}` has {found} entries; `{space}` needs {expected}")]
    Length {
        /// The dictionary's key.
        field: &'static str,
        /// How many entries it has.
        found: usize,
        /// How many it needs.
        expected: usize,
        /// The space's name.
        space: String,
    },
}

fn resolution_list(allowed: &[u32]) -> String {
    match allowed {
        [first, second, .., last] if allowed.len() > 6 => {
            format!("{first} to {last} in steps of {}", second - first)
        }
        _ => allowed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl Architecture {
    /// Input width and height in pixels.
    #[must_use]
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// The blocks of the active layers, unit by unit.
    #[must_use]
    pub fn units(&self) -> &[Vec<BlockId>] {
        &self.units
    }

    /// The depth of `unit`.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn depth(&self, unit: usize) -> usize {
        self.units[unit].len()
    }

    /// The block at `placement`, or `None` where that layer is inactive.
    #[must_use]
    pub fn block_at(&self, placement: Placement) -> Option<BlockId> {
        self.units
            .get(placement.unit)?
            .get(placement.layer)
            .copied()
    }

    /// Every active placement with its block, from the input to the output.
    pub fn active(&self) -> impl Iterator<Item = (Placement, BlockId)> + '_ {
        self.units.iter().enumerate().flat_map(|(unit, blocks)| {
            blocks
                .iter()
                .enumerate()
                .map(move |(layer, &block)| (Placement { unit, layer }, block))
        })
    }
}

impl DesignSpace {
    /// The architecture with these choices.
    ///
    /// # Errors
    /// [`ArchitectureError`] when a choice is not in the space.
    pub fn architecture(
        &self,
        resolution: u32,
        units: Vec<Vec<BlockId>>,
    ) -> Result<Architecture, ArchitectureError> {
        self.check_resolution(resolution)?;
        self.check_unit_count(units.len())?;
        for (unit, (blocks, spec)) in units.iter().zip(&self.units).enumerate() {
            self.check_depth(unit, blocks.len())?;
            for (layer, &id) in blocks.iter().enumerate() {
                if usize::from(id) >= spec.blocks.len() {
                    return Err(
                        self.not_a_candidate(Placement { unit, layer }, format!("block {id}"))
                    );
                }
            }
        }
        Ok(Architecture { resolution, units })
    }

    /// The text form of an architecture of this space.
    #[must_use]
    pub fn print(&self, arch: &Architecture) -> String {
        let mut text = format!("r{}", arch.resolution);
        for (unit, blocks) in arch.units.iter().enumerate() {
            for (layer, &id) in blocks.iter().enumerate() {
                text.push(if layer == 0 { '/' } else { ',' });
                text.push_str(&self.block(unit, id).code());
            }
        }
        text
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`ArchitectureError`] when the text is not an architecture of this space.
    pub fn parse(&self, text: &str) -> Result<Architecture, ArchitectureError> {
        let syntax = |found: &str, reason: &str| ArchitectureError::Syntax {
            found: found.to_owned(),
            reason: reason.to_owned(),
        };
        let mut groups = text.trim().split('/');
        let first = groups.next().unwrap_or_default();
        let resolution = first
            .strip_prefix('r')
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| syntax(first, "it must start with the resolution, such as r224"))?;
        let groups: Vec<&str> = groups.collect();
        self.check_unit_count(groups.len())?;
        let mut units = Vec::with_capacity(groups.len());
        for (unit, group) in groups.iter().enumerate() {
            let mut blocks = Vec::new();
            for (layer, code) in group.split(',').enumerate() {
                let block = Block::from_code(code)
                    .ok_or_else(|| syntax(code, "a block is written e<expansion>k<kernel>"))?;
                blocks.push(self.find_block(Placement { unit, layer }, block)?);
            }
            units.push(blocks);
        }
        self.architecture(resolution, units)
    }

    pub(super) fn find_block(
        &self,
        placement: Placement,
        block: Block,
    ) -> Result<BlockId, ArchitectureError> {
        self.units[placement.unit]
            .blocks
            .iter()
            .position(|b| *b == block)
            .and_then(|i| BlockId::try_from(i).ok())
            .ok_or_else(|| self.not_a_candidate(placement, block.to_string()))
    }

    /// Checks that the space has this resolution.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`], which lists those that it has.
    pub fn check_resolution(&self, found: u32) -> Result<(), ArchitectureError> {
        if self.resolutions.contains(&found) {
            return Ok(());
        }
        Err(ArchitectureError::Resolution {
            found,
            allowed: self.resolutions.clone(),
        })
    }

    fn check_unit_count(&self, found: usize) -> Result<(), ArchitectureError> {
        if found == self.units.len() {
            return Ok(());
        }
        Err(ArchitectureError::Units {
            space: self.name.clone(),
            found,
            expected: self.units.len(),
        })
    }

    pub(super) fn check_depth(&self, unit: usize, found: usize) -> Result<(), ArchitectureError> {
        let spec = &self.units[unit];
        if spec.depths().contains(&found) {
            return Ok(());
        }
        Err(ArchitectureError::Depth {
            unit,
            found,
            min: spec.min_depth,
            max: spec.max_depth,
        })
    }

    fn not_a_candidate(&self, placement: Placement, block: String) -> ArchitectureError {
        ArchitectureError::Block {
            placement,
            block,
            candidates: self.units[placement.unit]
                .blocks
                .iter()
                .map(Block::code)
                .collect(),
        }
    }
}

impl fmt::Display for Architecture {
    /// A space-independent form for logs (`r224/0,3/...`, block ids); use [`DesignSpace::print`]
    /// for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.resolution)?;
        for blocks in &self.units {
            let ids: Vec<String> = blocks.iter().map(ToString::to_string).collect();
            write!(f, "/{}", ids.join(","))?;
        }
        Ok(())
    }
}
