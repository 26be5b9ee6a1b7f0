//! Architectures: one choice for everything that a space leaves open.

use std::fmt::{self, Write as _};

use super::{Block, BlockId, DesignSpace, Placement};

/// One member of a design space: a resolution and, for every unit, its width and the blocks of its active
/// layers.
///
/// Values exist only through checked constructors, and hold only what is active, so equality and
/// hashing are those of the networks. The text form ([`DesignSpace::print`],
/// [`DesignSpace::parse`]) is `r224/e4k3,e6k5/e3k7,e3k3,e6k7/...`: the resolution,
/// then one group per unit with one block per active layer, `-` for none; units whose file lists `width-choices` begin
/// with the one chosen, as in `c256:e0.25k3,e0.35k3`, even where one is left, so that the text of a part of a space
/// means the same network in the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture {
    resolution: u32,
    /// For every unit: the width's index, the depth, and the blocks of its active layers. One allocation,
    /// because searches hold millions.
    choices: Vec<u8>,
}

/// What an architecture chooses in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitChoice<'a> {
    /// Index of the width in [`super::Unit::widths`]; 0 where there is no choice.
    pub width: u8,
    /// The blocks of the active layers.
    pub blocks: &'a [BlockId],
}

/// [`UnitChoice`], owned: what [`DesignSpace::architecture`] checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Index of the width in [`super::Unit::widths`]; 0 where there is no choice.
    pub width: u8,
    /// The blocks of the active layers.
    pub blocks: Vec<BlockId>,
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
    /// A unit's width is none of those that the space allows.
    #[error("unit {}: {found} is not one of its widths: {}", unit + 1, allowed.join(", "))]
    Width {
        /// The unit, counted from 0.
        unit: usize,
        /// The width found.
        found: String,
        /// The widths of the unit.
        allowed: Vec<String>,
    },
    /// A block that is not among the layer's candidates.
    #[error("{placement}: {block} is not a candidate; the layer has: {}", candidates.join(", "))]
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
    /// A dictionary lacks a list that the space needs, or has one that it does not know.
    #[error("`{field}` {reason}")]
    Field {
        /// The dictionary's key.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing says at which resolution the architecture is.
    #[error("the resolution is missing: `r` (or `image_size`) says it, as in \"r\": [224]")]
    NoResolution,
    /// An architecture is of another resolution than was asked for.
    #[error("it is of resolution {found}, where {given} was asked for")]
    OtherResolution {
        /// The architecture's.
        found: u32,
        /// What was asked for.
        given: u32,
    },
    /// The space's file does not say which supernet of the `ofa` package it corresponds to.
    #[error("`{space}` has no [ofa] table that says which supernet it corresponds to")]
    NoOfa {
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
    /// Joins choices that are known to be in the space.
    pub(super) fn assemble(resolution: u32, choices: &[Choice]) -> Self {
        let mut flat = Vec::with_capacity(choices.iter().map(|c| c.blocks.len() + 2).sum());
        for choice in choices {
            push_unit(&mut flat, choice.width, choice.blocks.len());
            flat.extend_from_slice(&choice.blocks);
        }
        Self::from_flat(resolution, flat)
    }

    /// As [`Self::assemble`], from the form in memory: see [`push_unit`].
    pub(super) fn from_flat(resolution: u32, choices: Vec<u8>) -> Self {
        Self {
            resolution,
            choices,
        }
    }

    /// The same choices at a resolution that is known to be in the space.
    pub(super) fn at(&self, resolution: u32) -> Self {
        Self::from_flat(resolution, self.choices.clone())
    }

    /// Input width and height in pixels.
    #[must_use]
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// What is chosen in every unit, from the input to the output.
    pub fn units(&self) -> impl Iterator<Item = UnitChoice<'_>> + '_ {
        let mut rest = self.choices.as_slice();
        std::iter::from_fn(move || {
            let [width, depth, tail @ ..] = rest else {
                return None;
            };
            let (blocks, after) = tail.split_at(usize::from(*depth));
            rest = after;
            Some(UnitChoice {
                width: *width,
                blocks,
            })
        })
    }

    /// The choices as values that can be changed and checked again.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let owned = |choice: UnitChoice<'_>| Choice {
            width: choice.width,
            blocks: choice.blocks.to_vec(),
        };
        self.units().map(owned).collect()
    }

    /// What is chosen in `unit`.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn unit(&self, unit: usize) -> UnitChoice<'_> {
        let mut units = self.units();
        units.nth(unit).expect("a unit of the space")
    }

    /// The depth of `unit`.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn depth(&self, unit: usize) -> usize {
        self.unit(unit).blocks.len()
    }

    /// The block at `placement`, or `None` where that layer is inactive.
    #[must_use]
    pub fn block_at(&self, placement: Placement) -> Option<BlockId> {
        let unit = self.units().nth(placement.unit)?;
        unit.blocks.get(placement.layer).copied()
    }

    /// Every active placement with its block, from the input to the output.
    pub fn active(&self) -> impl Iterator<Item = (Placement, BlockId)> + '_ {
        self.units().enumerate().flat_map(|(unit, choice)| {
            let layers = choice.blocks.iter().enumerate();
            layers.map(move |(layer, &block)| (Placement { unit, layer }, block))
        })
    }
}

/// Begins a unit in the form in memory; its `depth` blocks follow.
pub(super) fn push_unit(flat: &mut Vec<u8>, width: u8, depth: usize) {
    // Files cannot ask for more than 64 layers in a unit.
    flat.extend([width, u8::try_from(depth).unwrap_or(u8::MAX)]);
}

impl DesignSpace {
    /// The architecture with these choices, one per unit.
    ///
    /// # Errors
    /// [`ArchitectureError`] when a choice is not in the space.
    pub fn architecture(
        &self,
        resolution: u32,
        choices: &[Choice],
    ) -> Result<Architecture, ArchitectureError> {
        self.check_resolution(resolution)?;
        self.check_unit_count(choices.len())?;
        for (unit, (choice, spec)) in choices.iter().zip(&self.units).enumerate() {
            if usize::from(choice.width) >= spec.width_choices() {
                return Err(self.not_a_width(unit, format!("width {}", choice.width)));
            }
            self.check_depth(unit, choice.blocks.len())?;
            for (layer, &id) in choice.blocks.iter().enumerate() {
                if usize::from(id) >= spec.blocks(layer).len() {
                    return Err(
                        self.not_a_candidate(Placement { unit, layer }, format!("block {id}"))
                    );
                }
            }
        }
        Ok(Architecture::assemble(resolution, choices))
    }

    /// The same choices at another resolution.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have it.
    pub fn at_resolution(
        &self,
        arch: &Architecture,
        resolution: u32,
    ) -> Result<Architecture, ArchitectureError> {
        self.check_resolution(resolution)?;
        Ok(arch.at(resolution))
    }

    /// The text form of an architecture of this space.
    #[must_use]
    pub fn print(&self, arch: &Architecture) -> String {
        let mut text = format!("r{}", arch.resolution);
        for (spec, choice) in self.units.iter().zip(arch.units()) {
            text.push('/');
            if spec.names_width {
                let channels = spec.widths[usize::from(choice.width)].channels;
                let _ = write!(text, "c{channels}:");
            }
            if choice.blocks.is_empty() {
                text.push('-');
            }
            for (layer, &id) in choice.blocks.iter().enumerate() {
                text.push_str(if layer == 0 { "" } else { "," });
                text.push_str(&spec.layers[layer].codes[usize::from(id)]);
            }
        }
        text
    }

    /// Reads the text form. Blocks may be written by their short codes where those are unique, and by their
    /// full names everywhere; a unit's only width may be left out.
    ///
    /// # Errors
    /// [`ArchitectureError`] when the text is not an architecture of this space.
    pub fn parse(&self, text: &str) -> Result<Architecture, ArchitectureError> {
        let mut groups = text.trim().split('/');
        let first = groups.next().unwrap_or_default();
        let resolution = first
            .strip_prefix('r')
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| syntax(first, "it must start with the resolution, such as r224"))?;
        self.check_unit_count(groups.clone().count())?;
        let choices = groups
            .enumerate()
            .map(|(unit, group)| self.parse_unit(unit, group))
            .collect::<Result<Vec<_>, _>>()?;
        self.architecture(resolution, &choices)
    }

    fn parse_unit(&self, unit: usize, group: &str) -> Result<Choice, ArchitectureError> {
        let spec = &self.units[unit];
        let (width, codes) = match group.split_once(':') {
            Some((width, codes)) => (self.parse_width(unit, width)?, codes),
            None if spec.widths.len() > 1 => {
                let reason = "the unit has several widths: begin with the channels, such as c256:";
                return Err(syntax(group, reason));
            }
            None => (0, group),
        };
        if codes == "-" {
            return Ok(Choice {
                width,
                blocks: Vec::new(),
            });
        }
        self.check_depth(unit, codes.split(',').count())?;
        let block = |(layer, code): (usize, &str)| {
            let found = spec.layers[layer].find(code);
            found
                .and_then(|id| BlockId::try_from(id).ok())
                .ok_or_else(|| self.not_a_candidate(Placement { unit, layer }, code.to_owned()))
        };
        let blocks = codes.split(',').enumerate().map(block);
        Ok(Choice {
            width,
            blocks: blocks.collect::<Result<_, _>>()?,
        })
    }

    fn parse_width(&self, unit: usize, text: &str) -> Result<u8, ArchitectureError> {
        let channels = text
            .strip_prefix('c')
            .and_then(|digits| digits.parse::<u32>().ok());
        let widths = &self.units[unit].widths;
        let index = widths.iter().position(|w| Some(w.channels) == channels);
        index
            .and_then(|index| u8::try_from(index).ok())
            .ok_or_else(|| self.not_a_width(unit, text.to_owned()))
    }

    /// The candidate of a placement that is written `name`.
    pub(crate) fn find_block(
        &self,
        placement: Placement,
        chosen: impl Fn(&Block) -> bool,
        name: impl FnOnce() -> String,
    ) -> Result<BlockId, ArchitectureError> {
        self.blocks(placement)
            .iter()
            .position(chosen)
            .and_then(|i| BlockId::try_from(i).ok())
            .ok_or_else(|| self.not_a_candidate(placement, name()))
    }

    /// Checks that the space has this resolution.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`], which lists those that it has.
    pub fn check_resolution(&self, found: u32) -> Result<(), ArchitectureError> {
        if self.resolutions.binary_search(&found).is_ok() {
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

    pub(crate) fn check_depth(&self, unit: usize, found: usize) -> Result<(), ArchitectureError> {
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

    pub(crate) fn not_a_width(&self, unit: usize, found: String) -> ArchitectureError {
        let widths = self.units[unit].widths.iter();
        ArchitectureError::Width {
            unit,
            found,
            allowed: widths.map(|w| format!("c{}", w.channels)).collect(),
        }
    }

    fn not_a_candidate(&self, placement: Placement, block: String) -> ArchitectureError {
        ArchitectureError::Block {
            placement,
            block,
            candidates: self.units[placement.unit].layers[placement.layer]
                .codes
                .clone(),
        }
    }
}

fn syntax(found: &str, reason: &str) -> ArchitectureError {
    ArchitectureError::Syntax {
        found: found.to_owned(),
        reason: reason.to_owned(),
    }
}

impl fmt::Display for Architecture {
    /// A space-independent form for logs (`r224/0,3/...`, block ids, `w1:` for a width other than the first);
    /// use [`DesignSpace::print`] for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.resolution)?;
        for choice in self.units() {
            let ids: Vec<String> = choice.blocks.iter().map(ToString::to_string).collect();
            f.write_str("/")?;
            if choice.width > 0 {
                write!(f, "w{}:", choice.width)?;
            }
            write!(f, "{}", ids.join(","))?;
        }
        Ok(())
    }
}
