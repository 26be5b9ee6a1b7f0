//! Choices that the best trade-offs can do without: what they earn for what they cost is beaten elsewhere in the
//! network.
//!
//! A profile's effects add up to a model of both metrics, and with it to the edge of all trade-offs that the space can
//! reach ([`Chain`]); at several resolutions, what is below one of their edges is below the best trade-offs. A choice
//! goes if, without it, the area below shrinks by no more than an allowance. The effects are uncertain, so the loss is
//! looked at in many draws of where they may truly lie, and what counts is a loss that few draws exceed. All that was
//! taken away counts together: the last statement holds for the reduced space as a whole.

use std::cmp::Ordering;

use super::candidate::{Candidate, candidates};
use super::dominance::Choice;
use super::effects::{Effects, Index};
use super::hull::{Chain, Point, joint_area};
use super::resolutions::best_network;
use crate::seed::{Rng, Seed};
use crate::space::{DesignSpace, Restriction};
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

/// What is traded for what at a resolution.
#[derive(Clone, Copy)]
pub(super) struct Trade<'a> {
    pub resolution: u32,
    pub gain: &'a Effects,
    /// None where the gain alone counts.
    pub cost: Option<&'a Effects>,
}

impl Trade<'_> {
    /// The estimates as gains and costs.
    fn estimates(&self) -> (Vec<f64>, Vec<f64>) {
        let gains = self.gain.gains();
        let costs = match self.cost {
            Some(cost) => turned(cost.gains()),
            None => vec![0.0; gains.len()],
        };
        (gains, costs)
    }

    /// Draws of where the truth may lie.
    fn draws(&self, rng: &mut Rng) -> Vec<(Vec<f64>, Vec<f64>)> {
        let gains = self.gain.draws(DRAWS, rng);
        let costs = match self.cost {
            Some(cost) => cost.draws(DRAWS, rng).into_iter().map(turned).collect(),
            None => gains.iter().map(|g| vec![0.0; g.len()]).collect(),
        };
        gains.into_iter().zip::<Vec<_>>(costs).collect()
    }
}

/// Gains of a cost are negative costs.
fn turned(gains: Vec<f64>) -> Vec<f64> {
    gains.into_iter().map(|g| -g).collect()
}

/// One draw of the effects at one resolution.
pub(super) struct Sums {
    pub gains: Vec<f64>,
    pub costs: Vec<f64>,
    /// The least that every unit of the whole space adds to the cost.
    least: Vec<f64>,
    /// Of what is kept, unit by unit.
    units: Vec<Chain>,
}

impl Sums {
    /// The edge of what is kept.
    pub(super) fn edge(&self) -> Chain {
        total(&self.gains, &self.costs, self.units.iter())
    }

    /// The edge with another unit in the place of one.
    fn edge_with(&self, unit: usize, changed: &Chain) -> Chain {
        let units = self.units.iter().enumerate();
        let units = units.map(|(u, chain)| if u == unit { changed } else { chain });
        total(&self.gains, &self.costs, units)
    }
}

/// One draw of the effects at all resolutions.
pub(super) struct Draw {
    /// Those that are kept, in their order.
    pub at: Vec<Sums>,
    /// The area of all choices at the resolutions that are kept.
    pub whole: f64,
    /// The share of the area that went with the resolutions that are not.
    pub spent: f64,
    from: f64,
    to: f64,
    floor: f64,
}

impl Draw {
    /// The part of the costs that counts is that of the whole space, whatever is taken away later.
    fn new(at: Vec<Sums>, window: Window) -> Self {
        let edges: Vec<Chain> = at.iter().map(Sums::edge).collect();
        let (cheapest, best) = ends(&edges);
        let (from, to) = match window {
            Window::All => (cheapest.cost, best.cost),
            Window::UpTo(limit) => (0.5 * (cheapest.cost + limit), limit),
        };
        let floor = cheapest.gain;
        Self {
            at,
            whole: joint_area(&edges, floor, from, to),
            spent: 0.0,
            from,
            to,
            floor,
        }
    }

    pub(super) fn area(&self, edges: &[Chain]) -> f64 {
        joint_area(edges, self.floor, self.from, self.to)
    }

    /// The share of the area that is lost with these edges and the resolutions that are gone.
    fn loss(&self, edges: &[Chain]) -> f64 {
        match self.whole > 0.0 {
            true => 1.0 - (1.0 - self.spent) * (self.area(edges) / self.whole),
            false => self.spent,
        }
    }
}

/// The cheapest network of several edges, and the one of most gain.
pub(super) fn ends(edges: &[Chain]) -> (Point, Point) {
    let cheapest = edges.iter().map(Chain::cheapest);
    let cheapest =
        cheapest.min_by(|a, b| a.cost.total_cmp(&b.cost).then(b.gain.total_cmp(&a.gain)));
    let best = edges.iter().map(Chain::best);
    let best = best.min_by(|a, b| b.gain.total_cmp(&a.gain).then(a.cost.total_cmp(&b.cost)));
    (cheapest.unwrap_or(NOTHING), best.unwrap_or(NOTHING))
}

/// The trade-offs of a space under many draws of its effects.
pub(super) struct Front<'a> {
    space: &'a DesignSpace,
    index: &'a Index,
    pub draws: Vec<Draw>,
    /// By resolution, the networks that are the best by the estimates themselves.
    pub estimated: Vec<Estimated>,
}

/// The best trade-offs at a resolution as the estimates have them.
pub(super) struct Estimated {
    pub resolution: u32,
    pub edge: Chain,
    /// A network for every corner of the edge, cheapest first.
    pub networks: Vec<Network>,
}

/// A network, as the estimates that add up to it.
pub(super) type Network = Vec<usize>;

impl<'a> Front<'a> {
    /// The trade-offs at all resolutions.
    pub(super) fn new(
        space: &'a DesignSpace,
        index: &'a Index,
        trades: &[Trade<'_>],
        window: Window,
    ) -> Self {
        let mut front = Self {
            space,
            index,
            draws: Vec::new(),
            estimated: Vec::new(),
        };
        front.estimated = trades.iter().map(|t| front.estimate(t)).collect();
        let mut rng = Seed(0).stream("fronts").rng();
        let mut drawn: Vec<_> = trades
            .iter()
            .map(|trade| trade.draws(&mut rng).into_iter())
            .collect();
        let next = |_| {
            let at = drawn.iter_mut().filter_map(Iterator::next);
            let at = at.map(|(gains, costs)| front.sums(gains, costs)).collect();
            Draw::new(at, window)
        };
        front.draws = (0..DRAWS).map(next).collect();
        front
    }

    /// By the estimates, the cheapest network and the best one.
    pub(super) fn ends(&self) -> (Point, Point) {
        let edges: Vec<Chain> = self.estimated.iter().map(|e| e.edge.clone()).collect();
        ends(&edges)
    }

    fn sums(&self, gains: Vec<f64>, costs: Vec<f64>) -> Sums {
        let units = self.units(&gains, &costs, &self.space.whole());
        Sums {
            least: units.iter().map(|u| u.cheapest().cost).collect(),
            units,
            gains,
            costs,
        }
    }

    fn estimate(&self, trade: &Trade<'_>) -> Estimated {
        let (gains, costs) = trade.estimates();
        let units = self.units(&gains, &costs, &self.space.whole());
        let edge = total(&gains, &costs, units.iter());
        let networks = edge.prices().into_iter();
        let networks =
            networks.map(|price| best_network(self.space, self.index, &gains, &costs, price));
        Estimated {
            resolution: trade.resolution,
            networks: networks.collect(),
            edge,
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
        let edge = |sums: &Sums| {
            let changed = self.unit(unit, &sums.gains, &sums.costs, kept);
            sums.edge_with(unit, &changed)
        };
        let loss = |draw: &Draw| draw.loss(&draw.at.iter().map(edge).collect::<Vec<_>>());
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
        let mut waiting: Vec<Waiting> = candidates(self.space)
            .into_iter()
            .map(Waiting::new)
            .collect();
        let mut removals: Vec<Removal> = Vec::new();
        // Losses only grow while choices go: what was found before is a lower bound, and only the candidate that seems
        // to lose least need be looked at again.
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
        let loss = |draw: &Draw| draw.loss(&draw.at.iter().map(Sums::edge).collect::<Vec<_>>());
        let losses: Vec<f64> = self.draws.iter().map(loss).collect();
        let upper = quantile(&losses, 1.0 - level).unwrap_or(0.0);
        (mean(&losses), upper)
    }

    fn refresh(&mut self, kept: &Restriction) {
        let mut draws = std::mem::take(&mut self.draws);
        for sums in draws.iter_mut().flat_map(|draw| &mut draw.at) {
            sums.units = self.units(&sums.gains, &sums.costs, kept);
        }
        self.draws = draws;
    }

    /// Whether no network of the whole space that has this choice keeps the limit, in any draw.
    fn is_beyond(&self, candidate: &Candidate, window: Window) -> bool {
        let Window::UpTo(limit) = window else {
            return false;
        };
        let taken = candidate.taken(self.space);
        let keeps_limit = |sums: &Sums, with: &Restriction| {
            let unit = self.unit(candidate.unit, &sums.gains, &sums.costs, with);
            let others = sums.least.iter().enumerate();
            let others = others.filter(|(u, _)| *u != candidate.unit).map(|(_, c)| c);
            sums.costs[0] + others.sum::<f64>() + unit.cheapest().cost <= limit
        };
        let all = self.draws.iter().flat_map(|draw| &draw.at);
        let mut pairs = all.flat_map(|sums| taken.iter().map(move |with| (sums, with)));
        !pairs.any(|(sums, with)| keeps_limit(sums, with))
    }
}

pub(super) const NOTHING: Point = Point {
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
