//! Moving through a space: mutation, crossover and neighbours.

use std::collections::BTreeSet;

use rand::RngExt;

use super::{Architecture, Block, BlockId, Choice, DesignSpace, Placement};
use crate::seed::Rng;

/// One change to an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    /// Puts a block in front of layer `at` (at the end when `at` is the depth).
    Add {
        unit: usize,
        at: usize,
        block: BlockId,
    },
    /// Takes a layer out.
    Remove { unit: usize, at: usize },
    /// Exchanges the block of a layer.
    Swap {
        placement: Placement,
        block: BlockId,
    },
    /// Gives a unit another width.
    Width { unit: usize, width: u8 },
    /// Another input resolution.
    Resolution(u32),
}

/// A kind of change to one unit, or to the resolution.
#[derive(Clone, Copy)]
enum Move {
    Add(usize),
    Remove(usize),
    Swap(usize),
    Width(usize),
    Resolution,
}

impl Move {
    /// The unit that it changes; none for the resolution.
    fn unit(self) -> Option<usize> {
        match self {
            Self::Add(unit) | Self::Remove(unit) | Self::Swap(unit) | Self::Width(unit) => {
                Some(unit)
            }
            Self::Resolution => None,
        }
    }
}

impl DesignSpace {
    /// The architecture after one random change: a layer added, removed or swapped for another block in one
    /// unit (as Mills et al. 2021 change a unit), another width of a unit, or one of the other `resolutions`.
    /// Kinds of change that are possible are equally likely, unit by unit. `None` when nothing can change.
    ///
    /// Resolutions that the space does not have are never chosen; pass none to keep the resolution.
    #[must_use]
    pub fn mutate(
        &self,
        arch: &Architecture,
        resolutions: &[u32],
        rng: &mut Rng,
    ) -> Option<Architecture> {
        self.change(arch, resolutions, self.moves(arch, resolutions), rng)
    }

    /// One random change of those kinds.
    fn change(
        &self,
        arch: &Architecture,
        resolutions: &[u32],
        mut moves: Vec<Move>,
        rng: &mut Rng,
    ) -> Option<Architecture> {
        while !moves.is_empty() {
            let chosen = moves.swap_remove(rng.random_range(0..moves.len()));
            let mut edits = self.edits(arch, resolutions, chosen);
            // An added or removed layer shifts those after it, which may not be candidates where they land.
            while !edits.is_empty() {
                let edit = edits.swap_remove(rng.random_range(0..edits.len()));
                if let Some(changed) = self.apply(arch, edit).filter(|changed| changed != arch) {
                    return Some(changed);
                }
            }
        }
        None
    }

    /// The architecture after a random change in each of several units: every unit, and the resolution where there are
    /// other `resolutions`, is chosen with this probability (at least one of those that can change is), and changed
    /// once as in [`Self::mutate`]. With one half it is the mutation of the published searches of Mills et al. (2021).
    /// `None` when nothing can change.
    #[must_use]
    pub fn mutate_units(
        &self,
        arch: &Architecture,
        resolutions: &[u32],
        probability: f64,
        rng: &mut Rng,
    ) -> Option<Architecture> {
        let mut by_place: Vec<Vec<Move>> = vec![Vec::new(); self.units.len() + 1];
        for chosen in self.moves(arch, resolutions) {
            by_place[chosen.unit().unwrap_or(self.units.len())].push(chosen);
        }
        by_place.retain(|moves| !moves.is_empty());
        if by_place.is_empty() {
            return None;
        }
        let mut places: Vec<bool> = by_place
            .iter()
            .map(|_| rng.random_bool(probability.clamp(0.0, 1.0)))
            .collect();
        if !places.contains(&true) {
            places[rng.random_range(0..by_place.len())] = true;
        }
        let mut changed = arch.clone();
        for (moves, _) in by_place
            .into_iter()
            .zip(places)
            .filter(|(_, chosen)| *chosen)
        {
            if let Some(next) = self.change(&changed, resolutions, moves, rng) {
                changed = next;
            }
        }
        (changed != *arch).then_some(changed)
    }

    /// Every other architecture that one change leads to (see [`Self::mutate`]), each once, in order.
    #[must_use]
    pub fn neighbours(&self, arch: &Architecture, resolutions: &[u32]) -> Vec<Architecture> {
        let moves = self.moves(arch, resolutions).into_iter();
        let found: BTreeSet<Architecture> = moves
            .flat_map(|m| self.edits(arch, resolutions, m))
            .filter_map(|edit| self.apply(arch, edit))
            .filter(|changed| changed != arch)
            .collect();
        found.into_iter().collect()
    }

    /// A child of two architectures: every unit, and the resolution, is that of either parent with equal
    /// probability.
    #[must_use]
    pub fn crossover(&self, a: &Architecture, b: &Architecture, rng: &mut Rng) -> Architecture {
        let (left, right) = (a.choices(), b.choices());
        let units = left.into_iter().zip(right);
        let choices: Vec<Choice> = units
            .map(|(l, r)| if rng.random_range(0..2u8) == 0 { l } else { r })
            .collect();
        let parent = if rng.random_range(0..2u8) == 0 { a } else { b };
        Architecture::assemble(parent.resolution(), &choices)
    }

    fn moves(&self, arch: &Architecture, resolutions: &[u32]) -> Vec<Move> {
        let mut moves = Vec::new();
        for (u, (unit, choice)) in self.units.iter().zip(arch.units()).enumerate() {
            let depth = choice.blocks.len();
            let can_swap = unit.layers[..depth]
                .iter()
                .any(|layer| layer.blocks.len() > 1);
            moves.extend((depth < unit.max_depth).then_some(Move::Add(u)));
            moves.extend((depth > unit.min_depth).then_some(Move::Remove(u)));
            moves.extend(can_swap.then_some(Move::Swap(u)));
            moves.extend((unit.width_choices() > 1).then_some(Move::Width(u)));
        }
        let other = |r: &u32| *r != arch.resolution() && self.check_resolution(*r).is_ok();
        moves.extend(resolutions.iter().any(other).then_some(Move::Resolution));
        moves
    }

    fn edits(&self, arch: &Architecture, resolutions: &[u32], chosen: Move) -> Vec<Edit> {
        let depth = |unit: usize| arch.depth(unit);
        match chosen {
            Move::Add(unit) => (0..=depth(unit))
                .flat_map(|at| {
                    let ids = self.ids(Placement { unit, layer: at });
                    ids.map(move |block| Edit::Add { unit, at, block })
                })
                .collect(),
            Move::Remove(unit) => (0..depth(unit))
                .map(|at| Edit::Remove { unit, at })
                .collect(),
            Move::Swap(unit) => (0..depth(unit))
                .flat_map(|layer| {
                    let placement = Placement { unit, layer };
                    let others = self
                        .ids(placement)
                        .filter(move |id| Some(*id) != arch.block_at(placement));
                    others.map(move |block| Edit::Swap { placement, block })
                })
                .collect(),
            Move::Width(unit) => {
                let count = u8::try_from(self.units[unit].width_choices()).unwrap_or(u8::MAX);
                let current = arch.unit(unit).width;
                let others = (0..count).filter(|w| *w != current);
                others.map(|width| Edit::Width { unit, width }).collect()
            }
            Move::Resolution => resolutions
                .iter()
                .filter(|r| **r != arch.resolution() && self.check_resolution(**r).is_ok())
                .map(|r| Edit::Resolution(*r))
                .collect(),
        }
    }

    fn ids(&self, placement: Placement) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.blocks(placement).len()).filter_map(|id| BlockId::try_from(id).ok())
    }

    /// The changed architecture, or `None` where a shifted block is not a candidate at its new layer.
    fn apply(&self, arch: &Architecture, edit: Edit) -> Option<Architecture> {
        let mut choices = arch.choices();
        match edit {
            Edit::Resolution(resolution) => return Some(arch.at(resolution)),
            Edit::Width { unit, width } => choices[unit].width = width,
            Edit::Swap { placement, block } => {
                choices[placement.unit].blocks[placement.layer] = block;
            }
            Edit::Remove { unit, at } => {
                let mut blocks = self.named(unit, &choices[unit].blocks);
                blocks.remove(at);
                choices[unit].blocks = self.ids_of(unit, &blocks)?;
            }
            Edit::Add { unit, at, block } => {
                let mut blocks = self.named(unit, &choices[unit].blocks);
                blocks.insert(at, self.block(Placement { unit, layer: at }, block));
                choices[unit].blocks = self.ids_of(unit, &blocks)?;
            }
        }
        Some(Architecture::assemble(arch.resolution(), &choices))
    }

    fn named(&self, unit: usize, ids: &[BlockId]) -> Vec<&Block> {
        let block = |(layer, id): (usize, &BlockId)| self.block(Placement { unit, layer }, *id);
        ids.iter().enumerate().map(block).collect()
    }

    fn ids_of(&self, unit: usize, blocks: &[&Block]) -> Option<Vec<BlockId>> {
        let id = |(layer, block): (usize, &&Block)| {
            let candidates = self.units[unit].blocks(layer);
            BlockId::try_from(candidates.iter().position(|c| c == *block)?).ok()
        };
        blocks.iter().enumerate().map(id).collect()
    }
}
