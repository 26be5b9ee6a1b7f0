//! Choices that another choice of the same unit beats: claims about both metrics at once, none of them wrong.
//!
//! "Take b instead of a" is claimed where b is shown to be not worse in every metric and better in at least one. A
//! claim of that form is as sure as its weakest part (intersection-union test: Berger, "Multiparameter Hypothesis
//! Testing and Acceptance Sampling", Technometrics 1982). All parts of all claims about a metric are tested together by
//! the step-down maximum, and the metrics share the error rate, so that with probability 1 - level no claim is wrong.

use nalgebra::DMatrix;

use super::effects::{Effects, Index, Weights, exchange};
use crate::space::{Block, BlockId, DesignSpace, Placement, Restriction};
use crate::stats::max_t::{MaxT, Sides};

/// A choice of a unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    Block(Block),
    Depth(usize),
    Width(u8),
}

/// One choice instead of another of its kind.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// The unit, counted from 0; `None` for the whole network.
    pub unit: Option<usize>,
    pub leave: Choice,
    pub take: Choice,
    /// What the exchange adds to a metric, on average.
    pub weights: Weights,
    /// Where it is about blocks: the places that offer both.
    pub places: Vec<Placement>,
}

/// What is asked of a claim, beyond being sure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strictness {
    /// Error rate of all claims together.
    pub level: f64,
    /// Losses below this share of a metric's standard deviation are none.
    pub margin: f64,
    /// A gain counts beyond so many times the metric's usual interaction.
    pub caution: f64,
}

impl Strictness {
    /// The largest loss that is none, in the metric's unit.
    pub(super) fn allowed_loss(&self, effects: &Effects) -> f64 {
        (self.margin * effects.sd).max(effects.rounding())
    }

    /// The smallest gain that counts.
    pub(super) fn needed_gain(&self, effects: &Effects) -> f64 {
        (self.caution * effects.interaction).max(effects.rounding())
    }
}

/// A claim that holds.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub exchange: Exchange,
    /// Adjusted for all claims that could have been made.
    pub p: f64,
}

/// Every exchange that could be claimed: within each unit, then over the whole network.
pub(super) fn exchanges(space: &DesignSpace, index: &Index) -> Vec<Exchange> {
    let mut all = Vec::new();
    for (unit, spec) in space.units().iter().enumerate() {
        let places = (0..spec.max_depth()).map(|layer| Placement { unit, layer });
        all.extend(of_blocks(
            space,
            index,
            Some(unit),
            &places.collect::<Vec<_>>(),
        ));
        let depths: Vec<_> = spec
            .depths()
            .enumerate()
            .filter_map(|(nth, d)| Some((Choice::Depth(d), index.depth(unit, nth)?)))
            .collect();
        all.extend(of_unit(unit, &depths));
        let widths: Vec<_> = (0..spec.widths().len())
            .filter_map(|w| u8::try_from(w).ok())
            .filter_map(|w| Some((Choice::Width(w), index.width(unit, w)?)))
            .collect();
        all.extend(of_unit(unit, &widths));
    }
    if space.units().len() > 1 {
        let places: Vec<Placement> = space.placements().collect();
        all.extend(of_blocks(space, index, None, &places));
    }
    all
}

fn of_blocks(
    space: &DesignSpace,
    index: &Index,
    unit: Option<usize>,
    places: &[Placement],
) -> Vec<Exchange> {
    let mut blocks: Vec<&Block> = places.iter().flat_map(|p| space.blocks(*p)).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let pairs = blocks
        .iter()
        .flat_map(|leave| blocks.iter().map(move |take| (*leave, *take)));
    pairs
        .filter(|(leave, take)| leave != take)
        .map(|(leave, take)| {
            let (weights, places) = exchange(space, index, places, leave, take);
            Exchange {
                unit,
                leave: Choice::Block(leave.clone()),
                take: Choice::Block(take.clone()),
                weights,
                places,
            }
        })
        .filter(|exchange| !exchange.weights.is_empty())
        .collect()
}

/// All ordered pairs of a unit's depths or widths, each with its index.
fn of_unit(unit: usize, choices: &[(Choice, usize)]) -> Vec<Exchange> {
    let pairs = choices
        .iter()
        .flat_map(|leave| choices.iter().map(move |take| (leave, take)));
    pairs
        .filter(|(leave, take)| leave.1 != take.1)
        .map(|(leave, take)| Exchange {
            unit: Some(unit),
            leave: leave.0.clone(),
            take: take.0.clone(),
            weights: vec![(take.1, 1.0), (leave.1, -1.0)],
            places: Vec::new(),
        })
        .collect()
}

/// The exchanges that can be claimed, surest first; those within a unit come before those over the whole network.
pub(super) fn claims(
    exchanges: Vec<Exchange>,
    effects: &[&Effects],
    strictness: Strictness,
) -> Vec<Claim> {
    if exchanges.is_empty() || effects.is_empty() {
        return Vec::new();
    }
    let mut weakest = vec![0.0_f64; exchanges.len()];
    let mut best = vec![1.0_f64; exchanges.len()];
    for metric in effects {
        let parts = adjusted(&exchanges, metric, strictness, effects.len() as f64);
        for (i, (not_worse, better)) in parts.into_iter().enumerate() {
            weakest[i] = weakest[i].max(not_worse);
            best[i] = best[i].min(better);
        }
    }
    let mut claims: Vec<Claim> = exchanges
        .into_iter()
        .zip(weakest.into_iter().zip(best))
        .map(|(exchange, (weakest, best))| Claim {
            exchange,
            p: weakest.max(best),
        })
        .filter(|claim| claim.p < strictness.level)
        .collect();
    claims.sort_by(|a, b| {
        let whole = |c: &Claim| c.exchange.unit.is_none();
        whole(a).cmp(&whole(b)).then(a.p.total_cmp(&b.p))
    });
    claims
}

/// Adjusted p values of "worse" and of "not better", for every exchange and one of `metrics` metrics.
fn adjusted(
    exchanges: &[Exchange],
    effects: &Effects,
    strictness: Strictness,
    metrics: f64,
) -> Vec<(f64, f64)> {
    let functions: Vec<&Weights> = exchanges.iter().map(|e| &e.weights).collect();
    let rows = effects.root(&functions);
    let twice = DMatrix::from_fn(2 * rows.nrows(), rows.ncols(), |i, j| {
        rows[(i % rows.nrows(), j)]
    });
    let (loss, gain) = (
        strictness.allowed_loss(effects),
        strictness.needed_gain(effects),
    );
    let estimates: Vec<_> = functions
        .iter()
        .map(|f| effects.gain(&effects.estimate(f)))
        .collect();
    let not_worse = estimates.iter().map(|e| (e.value + loss) / e.se);
    let better = estimates.iter().map(|e| (e.value - gain) / e.se);
    let t: Vec<f64> = not_worse.chain(better).collect();
    let p = MaxT::of_rows(twice, effects.family_degrees).step_down(&t, Sides::Upper);
    let share = |p: f64| (p * metrics).min(1.0);
    let (not_worse, better) = p.split_at(exchanges.len());
    not_worse
        .iter()
        .zip(better)
        .map(|(a, b)| (share(*a), share(*b)))
        .collect()
}

/// A claim, by its number, and where it took something away: the layers of every unit for blocks, none for depths and
/// widths.
pub(super) struct Applied {
    pub claim: usize,
    pub places: Vec<Placement>,
}

/// Takes away what the claims beat, as long as what beats it stays, so that nothing becomes empty.
pub(super) fn apply(
    space: &DesignSpace,
    index: &Index,
    effects: &[&Effects],
    strictness: Strictness,
    claims: &[Claim],
    kept: &mut Restriction,
) -> Vec<Applied> {
    let mut places: Vec<Vec<Placement>> = vec![Vec::new(); claims.len()];
    let contradicted = Contradictions {
        space,
        index,
        effects,
        strictness,
    };
    for placement in space.placements() {
        let here: Vec<(usize, BlockId, BlockId)> = claims
            .iter()
            .enumerate()
            .filter_map(|(number, claim)| {
                let (leave, take) = block_ids(space, placement, &claim.exchange)?;
                (!contradicted.at(placement, claim)).then_some((number, leave, take))
            })
            .collect();
        let candidates = kept.blocks(placement.unit, placement.layer).to_vec();
        for (number, block) in beaten(&candidates, &here) {
            if kept.remove_block(placement.unit, placement.layer, block) {
                places[number].push(placement);
            }
        }
    }
    let mut applied: Vec<Applied> = places
        .into_iter()
        .enumerate()
        .filter(|(_, places)| !places.is_empty())
        .map(|(claim, places)| Applied { claim, places })
        .collect();
    for unit in 0..space.units().len() {
        applied.extend(widths(unit, claims, kept));
        applied.extend(depths(unit, claims, kept));
    }
    applied
}

fn block_ids(
    space: &DesignSpace,
    placement: Placement,
    exchange: &Exchange,
) -> Option<(BlockId, BlockId)> {
    let (Choice::Block(leave), Choice::Block(take)) = (&exchange.leave, &exchange.take) else {
        return None;
    };
    if !exchange.places.contains(&placement) {
        return None;
    }
    let blocks = space.blocks(placement);
    let id = |block: &Block| {
        let position = blocks.iter().position(|b| b == block)?;
        BlockId::try_from(position).ok()
    };
    Some((id(leave)?, id(take)?))
}

/// Which candidates go, each with the number of a claim that another one which stays is better. `pairs` are (claim,
/// leave, take), surest first.
fn beaten(candidates: &[u8], pairs: &[(usize, u8, u8)]) -> Vec<(usize, u8)> {
    let mut gone: Vec<u8> = Vec::new();
    for &(_, leave, take) in pairs {
        let stays = |id| candidates.contains(&id) && !gone.contains(&id);
        if stays(leave) && stays(take) {
            gone.push(leave);
        }
    }
    // What beat it may itself have gone since; then another one must have a claim of its own.
    loop {
        let witness = |id: u8| {
            let pair = |(_, leave, take): &&(usize, u8, u8)| {
                *leave == id && candidates.contains(take) && !gone.contains(take)
            };
            pairs.iter().find(pair).map(|(claim, ..)| (*claim, id))
        };
        match gone.iter().position(|id| witness(*id).is_none()) {
            Some(unfounded) => {
                gone.remove(unfounded);
            }
            None => return gone.iter().filter_map(|id| witness(*id)).collect(),
        }
    }
}

/// Whether what holds on average may be the other way round at one place.
struct Contradictions<'a> {
    space: &'a DesignSpace,
    index: &'a Index,
    effects: &'a [&'a Effects],
    strictness: Strictness,
}

impl Contradictions<'_> {
    /// A claim over several layers removes nothing from one where a loss shows by itself (a 95 % interval, uncorrected:
    /// doubt needs less than proof); one over the whole network nothing from a unit where a loss is as much as likely.
    fn at(&self, placement: Placement, claim: &Claim) -> bool {
        let here = self.exchange(&[placement], claim);
        let unit: Vec<Placement> = self
            .space
            .placements()
            .filter(|p| p.unit == placement.unit)
            .collect();
        let unit = self.exchange(&unit, claim);
        self.effects.iter().any(|effects| {
            let loss = -self.strictness.allowed_loss(effects);
            let shown = effects.gain(&effects.estimate(&here)).high < loss;
            let likely = effects.gain(&effects.estimate(&unit)).value < loss;
            shown || (claim.exchange.unit.is_none() && likely)
        })
    }

    fn exchange(&self, places: &[Placement], claim: &Claim) -> Weights {
        match (&claim.exchange.leave, &claim.exchange.take) {
            (Choice::Block(leave), Choice::Block(take)) => {
                exchange(self.space, self.index, places, leave, take).0
            }
            _ => Weights::new(),
        }
    }
}

fn widths(unit: usize, claims: &[Claim], kept: &mut Restriction) -> Vec<Applied> {
    let pairs: Vec<(usize, u8, u8)> = claims
        .iter()
        .enumerate()
        .filter(|(_, claim)| claim.exchange.unit == Some(unit))
        .filter_map(
            |(number, claim)| match (&claim.exchange.leave, &claim.exchange.take) {
                (Choice::Width(leave), Choice::Width(take)) => Some((number, *leave, *take)),
                _ => None,
            },
        )
        .collect();
    let candidates = kept.widths(unit).to_vec();
    beaten(&candidates, &pairs)
        .into_iter()
        .filter(|(_, width)| kept.remove_width(unit, *width))
        .map(|(claim, _)| Applied {
            claim,
            places: Vec::new(),
        })
        .collect()
}

/// Depths go from both ends only: the format knows no gaps.
fn depths(unit: usize, claims: &[Claim], kept: &mut Restriction) -> Vec<Applied> {
    let pairs: Vec<(usize, u8, u8)> = claims
        .iter()
        .enumerate()
        .filter(|(_, claim)| claim.exchange.unit == Some(unit))
        .filter_map(
            |(number, claim)| match (&claim.exchange.leave, &claim.exchange.take) {
                (Choice::Depth(leave), Choice::Depth(take)) => {
                    let small = |depth: &usize| u8::try_from(*depth).ok();
                    Some((number, small(leave)?, small(take)?))
                }
                _ => None,
            },
        )
        .collect();
    let candidates: Vec<u8> = kept
        .depths(unit)
        .filter_map(|d| u8::try_from(d).ok())
        .collect();
    let mut gone = beaten(&candidates, &pairs);
    let mut applied = Vec::new();
    // Each end once more after the other, until neither goes.
    while let Some(at) = gone
        .iter()
        .position(|(_, depth)| kept.remove_depth(unit, usize::from(*depth)))
    {
        let (claim, _) = gone.remove(at);
        applied.push(Applied {
            claim,
            places: Vec::new(),
        });
    }
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken away has a claim against it by something that stays.
    #[test]
    fn what_goes_is_beaten_by_what_stays() {
        use crate::seed::Seed;
        use rand::RngExt;
        let mut rng = Seed(7).rng();
        for _ in 0..2_000 {
            let n = rng.random_range(1..7_u8);
            let candidates: Vec<u8> = (0..n).collect();
            let count = rng.random_range(0..12_usize);
            let pairs: Vec<(usize, u8, u8)> = (0..count)
                .map(|number| (number, rng.random_range(0..n), rng.random_range(0..n)))
                .filter(|(_, leave, take)| leave != take)
                .collect();
            let gone = beaten(&candidates, &pairs);
            let is_gone = |id: u8| gone.iter().any(|(_, g)| *g == id);
            assert!(gone.len() < candidates.len());
            for &(claim, id) in &gone {
                let pair = pairs.iter().find(|p| p.0 == claim).unwrap();
                assert!(pair.1 == id && !is_gone(pair.2));
            }
        }
        // A chain: both go for the last.
        assert_eq!(
            beaten(&[0, 1, 2], &[(0, 0, 1), (1, 1, 2), (2, 0, 2)]),
            [(2, 0), (1, 1)]
        );
        // Without a claim of its own against what stays, nothing goes.
        assert_eq!(beaten(&[0, 1, 2], &[(0, 0, 1), (1, 1, 2)]), [(1, 1)]);
    }
}
