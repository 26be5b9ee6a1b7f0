//! What may go because it is beaten elsewhere: a block, a depth or a width of a unit.

use std::ops::RangeInclusive;

use super::dominance::Choice;
use crate::space::{Block, BlockId, DesignSpace, Restriction, Unit};

/// Everything that could go: every block, depth and width of every unit.
pub(super) fn candidates(space: &DesignSpace) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (number, unit) in space.units().iter().enumerate() {
        let mut blocks: Vec<&Block> = (0..unit.max_depth())
            .flat_map(|layer| unit.blocks(layer))
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        let blocks = blocks.into_iter().map(|b| Choice::Block(b.clone()));
        let widths = (0..unit.widths().len()).filter_map(|w| u8::try_from(w).ok());
        let choices = blocks
            .chain(unit.depths().map(Choice::Depth))
            .chain(widths.map(Choice::Width));
        all.extend(choices.map(|choice| Candidate {
            ids: ids(unit, &choice),
            unit: number,
            choice,
        }));
    }
    all
}

/// What may go.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub unit: usize,
    pub choice: Choice,
    /// Of a block, by layer.
    ids: Vec<Option<BlockId>>,
}

impl Candidate {
    /// Takes it away where that leaves something; the layers that lost a block.
    pub(super) fn take_from(&self, kept: &mut Restriction) -> Vec<usize> {
        match &self.choice {
            Choice::Depth(depth) => {
                kept.remove_depth(self.unit, *depth);
                Vec::new()
            }
            Choice::Width(width) => {
                kept.remove_width(self.unit, *width);
                Vec::new()
            }
            Choice::Block(_) => {
                // Layers that are gone already do not lose anything that shows.
                let deepest = *kept.depths(self.unit).end();
                let layers = self.ids.iter().take(deepest).enumerate();
                layers
                    .filter_map(|(layer, id)| Some((layer, (*id)?)))
                    .filter(|(layer, id)| kept.remove_block(self.unit, *layer, *id))
                    .map(|(layer, _)| layer)
                    .collect()
            }
        }
    }

    /// The space, but with this choice taken: a block in one layer after the other.
    pub(super) fn taken(&self, space: &DesignSpace) -> Vec<Restriction> {
        let kept = space.whole();
        match &self.choice {
            Choice::Depth(depth) => {
                let mut with = kept.clone();
                self.cut(space, &mut with, *depth..=*depth);
                vec![with]
            }
            Choice::Width(width) => {
                let mut with = kept.clone();
                let others = kept.widths(self.unit).iter().filter(|w| *w != width);
                others.for_each(|w| {
                    with.remove_width(self.unit, *w);
                });
                vec![with]
            }
            Choice::Block(_) => {
                let layers = self.ids.iter().enumerate();
                let layers = layers.filter_map(|(layer, id)| Some((layer, (*id)?)));
                let in_layer = |(layer, id): (usize, BlockId)| {
                    let mut with = kept.clone();
                    let others = kept.blocks(self.unit, layer).iter().filter(|b| **b != id);
                    others.for_each(|b| {
                        with.remove_block(self.unit, layer, *b);
                    });
                    self.cut(space, &mut with, layer + 1..=usize::MAX);
                    with
                };
                layers.map(in_layer).collect()
            }
        }
    }

    /// Takes away all depths but these.
    fn cut(&self, space: &DesignSpace, kept: &mut Restriction, wanted: RangeInclusive<usize>) {
        let depths = space.units()[self.unit].depths();
        let unwanted = |depth: &usize| !wanted.contains(depth);
        let from_both_ends = depths.clone().chain(depths.rev());
        from_both_ends.filter(unwanted).for_each(|depth| {
            kept.remove_depth(self.unit, depth);
        });
    }
}

/// The ids of a block in every layer of its unit.
fn ids(unit: &Unit, choice: &Choice) -> Vec<Option<BlockId>> {
    let Choice::Block(block) = choice else {
        return Vec::new();
    };
    let id = |layer| {
        let position = unit.blocks(layer).iter().position(|b| b == block)?;
        BlockId::try_from(position).ok()
    };
    (0..unit.max_depth()).map(id).collect()
}
