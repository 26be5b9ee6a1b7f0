//! Resolutions that the best networks of the others make up for.
//!
//! Profiles of different resolutions may be differently sure, and the best of uncertain sums looks better than it is.
//! So what is kept has to reach by the networks that the estimates themselves choose, wherever the effects may truly
//! lie, what the resolution that goes would reach by its best networks in every draw: a bad profile takes no other
//! resolution's place.

use super::document::{Deciding, Evidence, Insight, InsightKind, Removes};
use super::effects::Index;
use super::front::{Allowance, Draw, Front, Network, Sums, Window, ends};
use super::hull::{Chain, Point};
use super::text;
use super::work::{Work, evidence_at, trade};
use crate::metric::Direction;
use crate::space::{DesignSpace, Restriction};
use crate::stats::quantile;

/// The share of the allowance that resolutions may use up: there are few of them, and the other half is to be left for
/// all other choices.
const RESOLUTIONS_SHARE: f64 = 0.5;

/// A resolution that went.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub resolution: u32,
    /// The share of the area that is lost with this and all that went before, as few draws exceed it; none where the
    /// best network alone counts.
    pub upper: Option<f64>,
    /// Share of the draws that contradict.
    pub p: f64,
    /// Whether, in all draws, no network at this resolution keeps the limit.
    pub beyond: bool,
    /// By the estimates, the cheapest network and the best one.
    pub ends: (Point, Point),
    /// The best network of what is kept: its resolution and its gain.
    pub best: (u32, f64),
}

impl Front<'_> {
    /// Takes one resolution after the other away, that of the smallest loss first, as long as the loss of all together
    /// is within the allowance.
    pub(super) fn remove_resolutions(
        &mut self,
        kept: &mut Restriction,
        allowance: Allowance,
        window: Window,
    ) -> Vec<Gone> {
        let reaches: Vec<Vec<Reach>> = self.draws.iter().map(|d| self.reach(d)).collect();
        let mut stays = vec![true; self.estimated.len()];
        let mut removals = Vec::new();
        loop {
            let open: Vec<usize> = (0..stays.len()).filter(|r| stays[*r]).collect();
            if open.len() < 2 {
                break;
            }
            let without = |gone: usize| {
                let stays: Vec<bool> = (0..stays.len()).map(|r| stays[r] && r != gone).collect();
                let draws = self.draws.iter().zip(&reaches);
                let losses: Vec<f64> = draws.map(|(d, reach)| loss(d, reach, &stays)).collect();
                let upper = quantile(&losses, 1.0 - allowance.level).unwrap_or(0.0);
                (gone, upper, losses)
            };
            let least = open
                .into_iter()
                .map(without)
                .min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((gone, upper, losses)) = least.filter(|(_, u, _)| *u <= allowance.share)
            else {
                break;
            };
            stays[gone] = false;
            let wrong = losses.iter().filter(|l| **l > allowance.share).count();
            removals.push(self.gone(gone, &stays, Some(upper), wrong, window));
            for (draw, loss) in self.draws.iter_mut().zip(losses) {
                draw.spent = loss;
            }
        }
        self.keep(&stays, kept);
        removals
    }

    /// Takes away the resolutions whose best network is worse than that of the one with the best by more than `needed`
    /// (by resolution), all surely together.
    pub(super) fn remove_worse_resolutions(
        &mut self,
        kept: &mut Restriction,
        needed: &[f64],
        level: f64,
    ) -> Vec<Gone> {
        let reaches: Vec<Vec<Reach>> = self.draws.iter().map(|d| self.reach(d)).collect();
        let gain = |r: usize| self.estimated[r].edge.best().gain;
        let mut order: Vec<usize> = (0..self.estimated.len()).collect();
        order.sort_by(|a, b| gain(*a).total_cmp(&gain(*b)));
        let Some(best) = order.pop() else {
            return Vec::new();
        };
        let mut stays = vec![true; self.estimated.len()];
        let mut right = vec![true; reaches.len()];
        let mut removals = Vec::new();
        for gone in order {
            let margin = needed[gone].max(needed[best]);
            let beaten = |reach: &Vec<Reach>| {
                reach[best].sure.best().gain - reach[gone].possible.best().gain > margin
            };
            let still: Vec<bool> = right
                .iter()
                .zip(&reaches)
                .map(|(right, reach)| *right && beaten(reach))
                .collect();
            let wrong = still.iter().filter(|right| !**right).count();
            #[allow(clippy::cast_precision_loss)]
            if wrong as f64 > level * still.len() as f64 {
                continue;
            }
            right = still;
            stays[gone] = false;
            removals.push(self.gone(gone, &stays, None, wrong, Window::All));
        }
        self.keep(&stays, kept);
        removals
    }

    fn reach(&self, draw: &Draw) -> Vec<Reach> {
        let pairs = draw.at.iter().zip(&self.estimated);
        pairs
            .map(|(sums, estimated)| Reach {
                possible: sums.edge(),
                sure: evaluated(sums, &estimated.networks),
            })
            .collect()
    }

    #[allow(clippy::cast_precision_loss)]
    fn gone(
        &self,
        gone: usize,
        stays: &[bool],
        upper: Option<f64>,
        wrong: usize,
        window: Window,
    ) -> Gone {
        let left = self.estimated.iter().zip(stays).filter(|(_, s)| **s);
        let best = left
            .map(|(e, _)| (e.resolution, e.edge.best().gain))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let one = &self.estimated[gone];
        let cheapest = |draw: &Draw| draw.at[gone].edge().cheapest().cost;
        Gone {
            resolution: one.resolution,
            upper,
            p: (wrong + 1) as f64 / (self.draws.len() + 1) as f64,
            beyond: match window {
                Window::All => false,
                Window::UpTo(limit) => self.draws.iter().all(|d| cheapest(d) > limit),
            },
            ends: ends(std::slice::from_ref(&one.edge)),
            best: best.unwrap_or_default(),
        }
    }

    /// Forgets the resolutions that do not stay.
    fn keep(&mut self, stays: &[bool], kept: &mut Restriction) {
        let gone = self.estimated.iter().zip(stays).filter(|(_, s)| !**s);
        for (one, _) in gone {
            kept.remove_resolution(one.resolution);
        }
        retain(&mut self.estimated, stays);
        for draw in &mut self.draws {
            retain(&mut draw.at, stays);
            draw.whole = draw.area(&draw.at.iter().map(Sums::edge).collect::<Vec<_>>());
        }
    }
}

fn retain<T>(list: &mut Vec<T>, stays: &[bool]) {
    let mut stays = stays.iter();
    list.retain(|_| stays.next().copied().unwrap_or(true));
}

/// What one resolution reaches in a draw.
struct Reach {
    /// By the networks that are the best in this draw.
    possible: Chain,
    /// By those that are the best by the estimates.
    sure: Chain,
}

/// The share of the area that the resolutions which do not stay might add to what the others surely have.
fn loss(draw: &Draw, reach: &[Reach], stays: &[bool]) -> f64 {
    let pairs = || reach.iter().zip(stays);
    let sure: Vec<Chain> = pairs()
        .filter(|(_, s)| **s)
        .map(|(r, _)| r.sure.clone())
        .collect();
    let all: Vec<Chain> = pairs()
        .map(|(r, s)| if *s { &r.sure } else { &r.possible })
        .cloned()
        .collect();
    match draw.area(&all) {
        whole if whole > 0.0 => 1.0 - draw.area(&sure) / whole,
        _ => 0.0,
    }
}

/// The edge of some networks with the effects of a draw.
fn evaluated(sums: &Sums, networks: &[Network]) -> Chain {
    let point = |network: &Network| {
        let total = |of: &[f64]| network.iter().map(|i| of[*i]).sum::<f64>();
        Point {
            cost: total(&sums.costs),
            gain: total(&sums.gains),
        }
    };
    // There is always one: an edge has a corner.
    Chain::of(networks.iter().map(point)).unwrap_or_else(|| sums.edge())
}

/// The network of the most gain less `price` times its cost: the best choice of each unit.
pub(super) fn best_network(
    space: &DesignSpace,
    index: &Index,
    gains: &[f64],
    costs: &[f64],
    price: f64,
) -> Network {
    let worth = |chosen: &[usize]| {
        let of = chosen.iter().map(|i| gains[*i] - price * costs[*i]);
        of.sum::<f64>()
    };
    let best = |choices: Vec<Vec<usize>>| {
        let order = |a: &Vec<usize>, b: &Vec<usize>| worth(a).total_cmp(&worth(b));
        choices.into_iter().max_by(order).unwrap_or_default()
    };
    // The mean over the space.
    let mut network = vec![0];
    for (number, unit) in space.units().iter().enumerate() {
        let width = |w: usize| index.width(number, u8::try_from(w).ok()?);
        let widths = (0..unit.widths().len()).map(|w| width(w).into_iter().collect());
        network.extend(best(widths.collect()));
        let block = |layer: usize| {
            let ids = 0..unit.blocks(layer).len();
            let id = |id: usize| index.block(number, layer, u8::try_from(id).ok()?);
            best(ids.map(|b| id(b).into_iter().collect()).collect())
        };
        let layers: Vec<Vec<usize>> = (0..unit.max_depth()).map(block).collect();
        let deep = |depth: usize| {
            let nth = index.depth(number, depth - unit.min_depth());
            layers[..depth]
                .iter()
                .flatten()
                .copied()
                .chain(nth)
                .collect()
        };
        network.extend(best(unit.depths().map(deep).collect()));
    }
    network
}

impl<'a> Work<'a> {
    /// Takes away the resolutions that the others make up for.
    pub(super) fn resolutions(
        &self,
        front: Option<&mut Front<'a>>,
        kept: &mut Restriction,
    ) -> Vec<Insight> {
        let Some(front) = front.filter(|_| self.several) else {
            return Vec::new();
        };
        let allowance = self.allowance();
        let gone = if self.profiled.iter().all(|p| p.metrics.len() == 1) {
            let unexplained = self.profiled.iter().map(|p| p.effects[0].unexplained());
            let needed: Vec<f64> = unexplained.map(|u| u * self.options.caution).collect();
            front.remove_worse_resolutions(kept, &needed, allowance.level)
        } else if allowance.share > 0.0 && self.doubts().is_empty() {
            let allowance = Allowance {
                share: allowance.share * RESOLUTIONS_SHARE,
                ..allowance
            };
            front.remove_resolutions(kept, allowance, self.window())
        } else {
            Vec::new()
        };
        gone.iter().map(|gone| self.of_resolution(gone)).collect()
    }

    fn of_resolution(&self, gone: &Gone) -> Insight {
        let here = self.profiled.iter();
        let here = here.filter(|p| p.resolution == gone.resolution);
        let evidence: Vec<Evidence> = here.flat_map(|p| evidence_at(p, &vec![(0, 1.0)])).collect();
        let metrics = self.profiled.first().map_or(&[][..], |p| &p.metrics);
        let kind = match gone.upper {
            None => InsightKind::Dominated,
            Some(_) if gone.beyond => InsightKind::BeyondLimit,
            Some(_) => InsightKind::BeatenElsewhere,
        };
        let resolution = gone.resolution;
        Insight {
            kind,
            text: format!(
                "At {resolution} pixels, {}. Taken away: {resolution} pixels.",
                why(gone, metrics)
            ),
            unit: None,
            removes: Removes::Resolution { resolution },
            instead: gone
                .upper
                .is_none()
                .then(|| format!("{} pixels", gone.best.0)),
            evidence,
            p: gone.p,
            loss: gone.upper,
        }
    }
}

fn why(gone: &Gone, metrics: &[Deciding]) -> String {
    match (trade(metrics), gone.upper) {
        (Some((gain, cost)), Some(upper)) => {
            let (gain, cost) = (&metrics[gain], &metrics[cost]);
            let point = |p: Point| {
                let cost = text::with_unit(p.cost, cost);
                format!("{} at {cost}", turned(p.gain, gain))
            };
            let (cheapest, best) = (point(gone.ends.0), point(gone.ends.1));
            let reach =
                format!("by the sum of effects its best networks have {cheapest} to {best}");
            match gone.beyond {
                true => format!("no network keeps the limit: {reach}"),
                false => format!(
                    "what networks reach is beaten at other resolutions: {reach}, and without them the best trade-offs \
                     lose {} of their area at most, with all that went before",
                    text::percent(upper.max(0.0))
                ),
            }
        }
        _ => {
            let name = metrics.first().map_or("", |m| &m.metric.name);
            let value = |gain: f64| metrics.first().map_or(String::new(), |m| turned(gain, m));
            let (resolution, best) = gone.best;
            format!(
                "the best network that the effects add up to has {name} {}, and at {resolution} pixels {} ({})",
                value(gone.ends.1.gain),
                value(best),
                text::p_value(gone.p)
            )
        }
    }
}

/// A gain in the metric's own sign.
fn turned(gain: f64, metric: &Deciding) -> String {
    match metric.metric.direction {
        Direction::HigherIsBetter => text::with_unit(gain, metric),
        Direction::LowerIsBetter => text::with_unit(-gain, metric),
    }
}
