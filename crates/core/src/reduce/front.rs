//! Choices that the best trade-offs can do without: what they earn for what they cost is beaten elsewhere in the network.
//!
//! A profile's effects add up to a model of both metrics, and with it to the edge of all trade-offs that the space can
//! reach ([`Chain`]). A choice goes if, without it, the area below that edge shrinks by no more than an allowance. The
//! effects are uncertain, so the loss is looked at in many draws of where they may truly lie, and what counts is a loss that few
//! draws exceed. All that was taken away counts together: the last statement holds for the reduced space as a whole.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use super::dominance::Choice;
use super::effects::{Effects, Index};
use super::hull::{Chain, Point};
use crate::seed::Seed;
use crate::space::{Block, BlockId, DesignSpace, Restriction};
use crate::stats::{mean, quantile};

/// Draws of the effects.
const DRAWS: usize = 400;

/// What a removal took away, and what all removals so far cost together.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    pub unit: usize,
    pub choice: Choice,
    /// The layers that lost it, for a block.
    pub layers: Vec<usize>,
    /// The share of the area that is lost with this and all removals before, as few draws exceed it.
    pub upper: f64,
    /// Share of the draws in which the loss exceeds the allowance.
    pub p: f64,
    /// Whether, in all draws, no network with this choice keeps the limit.
    pub beyond: bool,
}

/// The part of the costs in which trade-offs matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Window {
    /// From the cheapest to the best network.
    All,
    /// Up to a limit, from half way between it and the cheapest network.
    UpTo(f64),
}

/// How much may be lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Share of the area.
    pub share: f64,
    /// Probability that more is lost.
    pub level: f64,
}

/// One draw of both metrics' effects.
struct Draw {
    gains: Vec<f64>,
    costs: Vec<f64>,
    /// Of the whole space.
    whole: f64,
    from: f64,
    to: f64,
    floor: f64,
    /// The least that every unit of the whole space adds to the cost.
    least: Vec<f64>,
    /// Of what is kept, unit by unit.
    units: Vec<Chain>,
}

/// The trade-offs of a space under many draws of its effects.
pub(super) struct Front<'a> {
    space: &'a DesignSpace,
    index: &'a Index,
    draws: Vec<Draw>,
}

impl<'a> Front<'a> {
    /// The trade-offs of `gain` for `cost`.
    pub(super) fn new(
        space: &'a DesignSpace,
        index: &'a Index,
        gain: &Effects,
        cost: &Effects,
        window: Window,
    ) -> Self {
        let mut rng = Seed(0).stream("fronts").rng();
        let gains = gain.draws(DRAWS, &mut rng);
        let costs = cost.draws(DRAWS, &mut rng);
        let mut front = Self {
            space,
            index,
            draws: Vec::new(),
        };
        for (gains, costs) in gains.into_iter().zip(costs) {
            // Gains of a cost are negative costs.
            let costs = costs.into_iter().map(|c| -c).collect();
            let draw = front.draw(gains, costs, window);
            front.draws.push(draw);
        }
        front
    }

    /// The edge that the estimates themselves give, of what is kept.
    pub(super) fn estimated(
        space: &'a DesignSpace,
        index: &'a Index,
        gain: &Effects,
        cost: &Effects,
        kept: &Restriction,
    ) -> Chain {
        let front = Self {
            space,
            index,
            draws: Vec::new(),
        };
        let gains = gain.gains();
        let costs: Vec<f64> = cost.gains().into_iter().map(|c| -c).collect();
        let units = front.units(&gains, &costs, kept);
        total(&gains, &costs, units.iter())
    }

    fn draw(&self, gains: Vec<f64>, costs: Vec<f64>, window: Window) -> Draw {
        let units = self.units(&gains, &costs, &self.space.whole());
        let edge = total(&gains, &costs, units.iter());
        let cheapest = edge.cheapest();
        let (from, to) = match window {
            Window::All => (cheapest.cost, edge.best().cost),
            Window::UpTo(limit) => (0.5 * (cheapest.cost + limit), limit),
        };
        Draw {
            whole: edge.area(cheapest.gain, from, to),
            from,
            to,
            floor: cheapest.gain,
            least: units.iter().map(|u| u.cheapest().cost).collect(),
            units,
            gains,
            costs,
        }
    }

    fn units(&self, gains: &[f64], costs: &[f64], kept: &Restriction) -> Vec<Chain> {
        let units = 0..self.space.units().len();
        units.map(|u| self.unit(u, gains, costs, kept)).collect()
    }

    /// The edge of what one unit can add.
    fn unit(&self, unit: usize, gains: &[f64], costs: &[f64], kept: &Restriction) -> Chain {
        let at = |index: Option<usize>| {
            index.map_or(NOTHING, |i| Point {
                cost: costs[i],
                gain: gains[i],
            })
        };
        let depths = kept.depths(unit);
        let shallowest = self.space.units()[unit].min_depth();
        let mut layers = Chain::single(NOTHING);
        let mut corners: Vec<Point> = Vec::new();
        for depth in 0..=*depths.end() {
            if depth > 0 {
                let blocks = kept.blocks(unit, depth - 1).iter();
                let blocks = blocks.map(|b| at(self.index.block(unit, depth - 1, *b)));
                layers = Chain::of(blocks).map_or(layers.clone(), |layer| layers.plus(&layer));
            }
            if depths.contains(&depth) {
                let shift = Chain::single(at(self.index.depth(unit, depth - shallowest)));
                corners.extend(layers.plus(&shift).corners());
            }
        }
        let widths = kept.widths(unit).iter();
        let widths = Chain::of(widths.map(|w| at(self.index.width(unit, *w))));
        let chain = Chain::of(corners).unwrap_or_else(|| Chain::single(NOTHING));
        widths.map_or(chain.clone(), |widths| chain.plus(&widths))
    }

    /// The share of the area that every draw loses with what is kept.
    fn losses(&self, unit: usize, kept: &Restriction) -> Vec<f64> {
        let loss = |draw: &Draw| {
            let changed = self.unit(unit, &draw.gains, &draw.costs, kept);
            let others = draw.units.iter().enumerate();
            let units = others.map(|(u, chain)| if u == unit { &changed } else { chain });
            draw.loss(&total(&draw.gains, &draw.costs, units))
        };
        self.draws.iter().map(loss).collect()
    }

    /// Takes one choice after the other away, that of the smallest loss first, as long as the loss of all together is
    /// within the allowance.
    pub(super) fn remove(
        &mut self,
        kept: &mut Restriction,
        allowance: Allowance,
        window: Window,
    ) -> Vec<Removal> {
        self.refresh(kept);
        let mut waiting: Vec<Waiting> = self.candidates().into_iter().map(Waiting::new).collect();
        let mut removals: Vec<Removal> = Vec::new();
        // Losses only grow while choices go: what was found before is a lower bound, and only the candidate that seems to lose
        // least need be looked at again.
        while let Some(mut next) = pop(&mut waiting) {
            let mut without = kept.clone();
            let layers = next.candidate.take_from(&mut without);
            if without == *kept {
                next.parked = true;
                waiting.push(next);
                continue;
            }
            let losses = self.losses(next.candidate.unit, &without);
            let upper = quantile(&losses, 1.0 - allowance.level).unwrap_or(0.0);
            if upper > allowance.share {
                continue;
            }
            next.bound = upper;
            if waiting
                .iter()
                .any(|other| next.after(other) == Ordering::Greater)
            {
                waiting.push(next);
                continue;
            }
            let exceeding = losses.iter().filter(|l| **l > allowance.share).count();
            let beyond = self.is_beyond(&next.candidate, window);
            *kept = without;
            self.refresh(kept);
            // What could not go because it was the last, or no end, may be able to now.
            waiting.iter_mut().for_each(|other| other.parked = false);
            removals.push(Removal {
                unit: next.candidate.unit,
                choice: next.candidate.choice,
                layers,
                upper,
                #[allow(clippy::cast_precision_loss)]
                p: (exceeding + 1) as f64 / (losses.len() + 1) as f64,
                beyond,
            });
        }
        removals
    }

    /// The loss of what is kept: the mean over draws, and what few of them exceed.
    pub(super) fn loss(&mut self, kept: &Restriction, level: f64) -> (f64, f64) {
        self.refresh(kept);
        let losses = self
            .draws
            .iter()
            .map(|draw| draw.loss(&total(&draw.gains, &draw.costs, draw.units.iter())));
        let losses: Vec<f64> = losses.collect();
        let upper = quantile(&losses, 1.0 - level).unwrap_or(0.0);
        (mean(&losses), upper)
    }

    fn refresh(&mut self, kept: &Restriction) {
        let mut draws = std::mem::take(&mut self.draws);
        for draw in &mut draws {
            draw.units = self.units(&draw.gains, &draw.costs, kept);
        }
        self.draws = draws;
    }

    /// Whether no network of the whole space that has this choice keeps the limit, in any draw.
    fn is_beyond(&self, candidate: &Candidate, window: Window) -> bool {
        let Window::UpTo(limit) = window else {
            return false;
        };
        let taken = candidate.taken(self.space);
        let keeps_limit = |draw: &Draw, with: &Restriction| {
            let unit = self.unit(candidate.unit, &draw.gains, &draw.costs, with);
            let others = draw.least.iter().enumerate();
            let others = others.filter(|(u, _)| *u != candidate.unit).map(|(_, c)| c);
            draw.costs[0] + others.sum::<f64>() + unit.cheapest().cost <= limit
        };
        let mut pairs = self
            .draws
            .iter()
            .flat_map(|draw| taken.iter().map(move |with| (draw, with)));
        !pairs.any(|(draw, with)| keeps_limit(draw, with))
    }

    /// Everything that could go: every block, depth and width of every unit.
    fn candidates(&self) -> Vec<Candidate> {
        let mut all = Vec::new();
        for (number, unit) in self.space.units().iter().enumerate() {
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
}

impl Draw {
    fn loss(&self, edge: &Chain) -> f64 {
        match self.whole > 0.0 {
            true => 1.0 - edge.area(self.floor, self.from, self.to) / self.whole,
            false => 0.0,
        }
    }
}

const NOTHING: Point = Point {
    cost: 0.0,
    gain: 0.0,
};

/// The sum of all units, around the mean over the space.
fn total<'c>(gains: &[f64], costs: &[f64], units: impl Iterator<Item = &'c Chain>) -> Chain {
    let mean = Chain::single(Point {
        cost: costs[0],
        gain: gains[0],
    });
    units.fold(mean, |sum, unit| sum.plus(unit))
}

/// The ids of a block in every layer of its unit.
fn ids(unit: &crate::space::Unit, choice: &Choice) -> Vec<Option<BlockId>> {
    let Choice::Block(block) = choice else {
        return Vec::new();
    };
    let id = |layer| {
        let position = unit.blocks(layer).iter().position(|b| b == block)?;
        BlockId::try_from(position).ok()
    };
    (0..unit.max_depth()).map(id).collect()
}

/// What may go.
#[derive(Clone, Debug)]
struct Candidate {
    unit: usize,
    choice: Choice,
    /// Of a block, by layer.
    ids: Vec<Option<BlockId>>,
}

impl Candidate {
    /// Takes it away where that leaves something; the layers that lost a block.
    fn take_from(&self, kept: &mut Restriction) -> Vec<usize> {
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
    fn taken(&self, space: &DesignSpace) -> Vec<Restriction> {
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

/// A candidate with the loss that it had when it was last looked at.
#[derive(Clone, Debug)]
struct Waiting {
    candidate: Candidate,
    bound: f64,
    /// It cannot go while nothing else does.
    parked: bool,
}

impl Waiting {
    fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            bound: 0.0,
            parked: false,
        }
    }

    /// Whether it seems to lose more than another that can go.
    fn after(&self, other: &Self) -> Ordering {
        match other.parked {
            true => Ordering::Less,
            false => self.bound.total_cmp(&other.bound),
        }
    }
}

/// Takes out the candidate of the lowest bound that can go, the first of equals.
fn pop(waiting: &mut Vec<Waiting>) -> Option<Waiting> {
    let open = waiting.iter().enumerate().filter(|(_, w)| !w.parked);
    let (at, _) = open.min_by(|(_, a), (_, b)| a.bound.total_cmp(&b.bound))?;
    Some(waiting.remove(at))
}
