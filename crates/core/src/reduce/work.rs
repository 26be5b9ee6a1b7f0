//! A reduction on its way: what is found, step by step, and how it is said.

use super::deciding::AtResolution;
use super::document::{Deciding, Evidence, Insight, InsightKind, PredictedLoss, Removes};
use super::dominance::{Applied, Choice, Claim, Strictness, apply, claims, exchanges};
use super::effects::{Effects, Index, Weights};
use super::error::ReduceError;
use super::front::{Allowance, Front, Removal, Trade, Window};
use super::options::{Goal, Options};
use super::text;
use crate::metric::Direction;
use crate::space::{DesignSpace, Placement, Restriction, Unit};

/// Share of a metric's variance that the sum of effects must explain before it is trusted with trade-offs.
const LEAST_EXPLAINED: f64 = 0.5;

/// What was profiled at one resolution.
pub(super) struct Profiled {
    pub resolution: u32,
    pub metrics: Vec<Deciding>,
    pub effects: Vec<Effects>,
}

impl Profiled {
    pub(super) fn new(
        space: &DesignSpace,
        index: &Index,
        at: &AtResolution<'_>,
        options: &Options,
        several: bool,
    ) -> Result<Self, ReduceError> {
        let effects = at
            .metrics
            .iter()
            .map(|(_, m)| Effects::new(space, index, m))
            .collect::<Result<Vec<_>, _>>()?;
        let strictness = strictness(options, effects.len(), several);
        let pairs = at.metrics.iter().zip(&effects);
        let metrics = pairs.map(|((source, profile), effects)| Deciding {
            metric: profile.metric.clone(),
            source: (*source).to_owned(),
            resolution: at.resolution,
            sd: effects.sd,
            allowed_loss: strictness.allowed_loss(effects),
            needed_gain: strictness.needed_gain(effects),
        });
        Ok(Self {
            resolution: at.resolution,
            metrics: metrics.collect(),
            effects,
        })
    }
}

/// With one metric at one resolution there are no trade-offs, and claims of domination have the whole level.
fn strictness(options: &Options, metrics: usize, several_resolutions: bool) -> Strictness {
    let shared = metrics == 2 || several_resolutions;
    Strictness {
        level: if shared { 0.5 } else { 1.0 } * options.level,
        margin: options.margin,
        caution: options.caution,
    }
}

/// A reduction on its way.
pub(super) struct Work<'a> {
    space: &'a DesignSpace,
    index: &'a Index,
    /// By resolution, ascending: those that are kept.
    pub profiled: Vec<&'a Profiled>,
    pub options: &'a Options,
    /// Whether several resolutions were profiled.
    pub several: bool,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        space: &'a DesignSpace,
        index: &'a Index,
        profiled: &'a [Profiled],
        options: &'a Options,
    ) -> Self {
        Self {
            space,
            index,
            profiled: profiled.iter().collect(),
            options,
            several: profiled.len() > 1,
        }
    }

    /// The same at the resolutions that are kept.
    pub(super) fn of(&self, kept: &Restriction) -> Self {
        let stays = |p: &&&Profiled| kept.resolutions().contains(&p.resolution);
        Self {
            profiled: self.profiled.iter().filter(stays).copied().collect(),
            ..*self
        }
    }

    pub(super) fn allowance(&self) -> Allowance {
        Allowance {
            share: self.options.allowance,
            level: 0.5 * self.options.level,
        }
    }

    pub(super) fn window(&self) -> Window {
        match self.options.goal {
            Goal::MaxLatency(limit) => Window::UpTo(limit),
            Goal::Pareto | Goal::MaxAccuracy => Window::All,
        }
    }

    /// The trade-offs between two metrics; of one metric, where resolutions are to be compared by it.
    pub(super) fn front(&self) -> Result<Option<Front<'a>>, ReduceError> {
        let trade = |p: &&'a Profiled| {
            let (gain, cost) = match trade(&p.metrics) {
                Some((gain, cost)) => (gain, Some(cost)),
                None => (0, None),
            };
            Trade {
                resolution: p.resolution,
                gain: &p.effects[gain],
                cost: cost.map(|c| &p.effects[c]),
            }
        };
        match self.profiled.first().map_or(0, |p| p.metrics.len()) {
            1 if self.several => {}
            2 => {}
            _ => return Ok(None),
        }
        let trades: Vec<Trade<'_>> = self.profiled.iter().map(trade).collect();
        let front = Front::new(self.space, self.index, &trades, self.window());
        self.check_feasible(&front)?;
        Ok(Some(front))
    }

    fn check_feasible(&self, front: &Front<'_>) -> Result<(), ReduceError> {
        let (cheapest, _) = front.ends();
        let cost = self
            .profiled
            .first()
            .and_then(|p| Some((p, trade(&p.metrics)?)));
        match (self.options.goal, cost) {
            (Goal::MaxLatency(limit), Some((p, (_, cost)))) if cheapest.cost > limit => {
                let metric = &p.metrics[cost];
                Err(ReduceError::Infeasible {
                    name: metric.metric.name.clone(),
                    limit: text::with_unit(limit, metric),
                    best: text::with_unit(cheapest.cost, metric),
                })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn dominated(&self, kept: &mut Restriction) -> Vec<Insight> {
        let effects: Vec<&Effects> = self.profiled.iter().flat_map(|p| &p.effects).collect();
        let metrics = self.profiled.first().map_or(0, |p| p.metrics.len());
        let strictness = strictness(self.options, metrics, self.several);
        let all = exchanges(self.space, self.index);
        let claims = claims(all, &effects, strictness);
        let applied = apply(self.space, self.index, &effects, strictness, &claims, kept);
        let insight = |applied: &Applied| self.of_claim(&claims[applied.claim], &applied.places);
        applied.iter().map(insight).collect()
    }

    fn of_claim(&self, claim: &Claim, places: &[Placement]) -> Insight {
        let exchange = &claim.exchange;
        let (leave, take) = (&exchange.leave, &exchange.take);
        let evidence = self.evidence(&exchange.weights);
        let said = |choice| text::choice(self.space, exchange.unit, choice);
        Insight {
            kind: InsightKind::Dominated,
            text: format!(
                "{}{}, {} instead of {} changes {} ({}). Taken away: {}.",
                text::scope(exchange.unit),
                if places.is_empty() {
                    String::new()
                } else {
                    text::layers(self.space, exchange.unit, places)
                },
                said(take),
                said(leave),
                text::evidence(&evidence),
                text::p_value(claim.p),
                said(leave),
            ),
            unit: exchange.unit.map(|u| u + 1),
            removes: self.removes(exchange.unit.unwrap_or(0), leave, places),
            instead: Some(said(take)),
            evidence,
            p: claim.p,
            loss: None,
        }
    }

    fn evidence(&self, weights: &Weights) -> Vec<Evidence> {
        let all = self.profiled.iter().flat_map(|p| evidence_at(p, weights));
        all.collect()
    }

    fn removes(&self, unit: usize, choice: &Choice, places: &[Placement]) -> Removes {
        match choice {
            Choice::Block(block) => Removes::Block {
                block: block.to_string(),
                layers: places.iter().map(|p| (p.unit + 1, p.layer + 1)).collect(),
            },
            Choice::Depth(depth) => Removes::Depth {
                unit: unit + 1,
                depth: *depth,
            },
            Choice::Width(width) => Removes::Width {
                unit: unit + 1,
                channels: self.space.units()[unit].channels(*width, 0),
            },
        }
    }

    /// What the trade-offs between two metrics can do without; nothing for one metric, or for more.
    pub(super) fn beaten_elsewhere(
        &self,
        front: Option<Front<'a>>,
        kept: &mut Restriction,
    ) -> (Vec<Insight>, Option<PredictedLoss>) {
        let trade = self.profiled.first().and_then(|p| trade(&p.metrics));
        let (Some(mut front), Some((gain, cost))) = (front, trade) else {
            return (Vec::new(), None);
        };
        let allowance = self.allowance();
        let removals = match allowance.share > 0.0 && self.doubts().is_empty() {
            true => front.remove(kept, allowance, self.window()),
            false => Vec::new(),
        };
        let (loss, upper) = front.loss(kept, allowance.level);
        let (low, high) = front.ends();
        let usual = (high.gain - low.gain) / (high.cost - low.cost).max(f64::MIN_POSITIVE);
        let rate = Rate { gain, cost, usual };
        let insights = removals.iter().map(|r| self.of_removal(r, &rate)).collect();
        (insights, Some(PredictedLoss { loss, upper }))
    }

    /// Why the sum of effects is not to be trusted with trade-offs: where it explains too little, effects are shrunk
    /// until they seem equal, and what seems equal seems to be in nobody's way.
    pub(super) fn doubts(&self) -> Vec<String> {
        let weak = |p: &&Profiled| {
            let place = match self.several {
                true => format!(" at {} pixels", p.resolution),
                false => String::new(),
            };
            let pairs = p.metrics.iter().zip(&p.effects);
            let weak = pairs.filter_map(|(deciding, effects)| {
                let explained = effects.explained.filter(|r2| *r2 < LEAST_EXPLAINED)?;
                Some(format!(
                    "The sum of effects explains only {} of how {} differs between networks{place}: nothing was taken \
                     away because it is beaten elsewhere. Measure more networks.",
                    text::percent(explained.max(0.0)),
                    deciding.metric.name
                ))
            });
            weak.collect::<Vec<_>>()
        };
        self.profiled.iter().flat_map(weak).collect()
    }

    fn of_removal(&self, removal: &Removal, rate: &Rate) -> Insight {
        let unit = removal.unit;
        let places: Vec<Placement> = removal
            .layers
            .iter()
            .map(|layer| Placement {
                unit,
                layer: *layer,
            })
            .collect();
        let weights = self.effect_of(unit, &removal.choice, &places);
        let evidence = self.evidence(&weights);
        let what = text::choice(self.space, Some(unit), &removal.choice);
        let what = match &removal.choice {
            Choice::Depth(_) => format!("a depth of {what}"),
            _ => what,
        };
        let said = match &removal.choice {
            Choice::Depth(depth) => self.said_of_depth(unit, *depth, &evidence, rate),
            _ => format!(
                "against the unit's average it has {}",
                text::evidence(&evidence)
            ),
        };
        let scope = text::scope(Some(unit));
        let layers = text::layers(self.space, Some(unit), &places);
        let layers = match places.is_empty() {
            true => "",
            false => &layers,
        };
        let kind = match removal.beyond {
            true => InsightKind::BeyondLimit,
            false => InsightKind::BeatenElsewhere,
        };
        let why = match removal.beyond {
            true => format!("no network with {what} keeps the limit ({said})"),
            false => format!(
                "{what} is beaten elsewhere: {said}, and without it the best trade-offs lose {} of their area at most, \
                 with all that went before",
                text::percent(removal.upper.max(0.0)),
            ),
        };
        Insight {
            kind,
            text: format!("{scope}{layers}, {why}. Taken away: {what}."),
            unit: Some(unit + 1),
            removes: self.removes(unit, &removal.choice, &places),
            instead: None,
            evidence,
            p: removal.p,
            loss: Some(removal.upper),
        }
    }

    /// What a choice adds: a block's mean effect over the layers, a depth's step from (or to) its neighbour, a width's
    /// effect.
    #[allow(clippy::cast_precision_loss)]
    fn effect_of(&self, unit: usize, choice: &Choice, places: &[Placement]) -> Weights {
        let spec = &self.space.units()[unit];
        match choice {
            Choice::Block(block) => {
                let share = 1.0 / places.len().max(1) as f64;
                let at = |p: &Placement| {
                    let position = self.space.blocks(*p).iter().position(|b| b == block)?;
                    let id = u8::try_from(position).ok()?;
                    Some((self.index.block(p.unit, p.layer, id)?, share))
                };
                places.iter().filter_map(at).collect()
            }
            Choice::Depth(depth) => {
                let nth = |d: usize| self.index.depth(unit, d - spec.min_depth());
                let (from, to) = step(spec, *depth);
                match (nth(from), nth(to)) {
                    (Some(from), Some(to)) => vec![(to, 1.0), (from, -1.0)],
                    _ => Weights::new(),
                }
            }
            Choice::Width(width) => {
                let index = self.index.width(unit, *width);
                index.map(|i| (i, 1.0)).into_iter().collect()
            }
        }
    }

    fn said_of_depth(
        &self,
        unit: usize,
        depth: usize,
        evidence: &[Evidence],
        rate: &Rate,
    ) -> String {
        let (_, deeper) = step(&self.space.units()[unit], depth);
        let metrics = self.profiled.first().map_or(1, |p| p.metrics.len());
        let (gain, cost) = (&evidence[rate.gain], &evidence[rate.cost]);
        // Over all resolutions: what it adds to the one for what it adds to the other.
        let added = |metric: usize| {
            let of = evidence.iter().skip(metric).step_by(metrics);
            of.map(|e| e.difference.value).sum::<f64>()
        };
        let own = added(rate.gain) / added(rate.cost);
        let units = |e: &Evidence| {
            e.unit
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let per = format!("{}/{}", units(gain), units(cost));
        let rates = match own.is_finite() && added(rate.cost) > 0.0 {
            true => format!(
                ", {} {per} where the best trade-offs earn {} {per} on average",
                text::number(own),
                text::number(rate.usual)
            ),
            false => String::new(),
        };
        format!("layer {deeper} adds {}{rates}", text::evidence(evidence))
    }
}

/// The metrics that are traded for each other: a gain and a cost, or two of one direction, of which the second is
/// turned.
pub(super) fn trade(metrics: &[Deciding]) -> Option<(usize, usize)> {
    let [first, _] = metrics else {
        return None;
    };
    match first.metric.direction {
        Direction::HigherIsBetter => Some((0, 1)),
        Direction::LowerIsBetter => Some((1, 0)),
    }
}

/// What a linear function of the estimates is at a resolution, in every metric.
pub(super) fn evidence_at(profiled: &Profiled, weights: &Weights) -> Vec<Evidence> {
    let pairs = profiled.metrics.iter().zip(&profiled.effects);
    pairs
        .map(|(deciding, effects)| Evidence {
            metric: deciding.metric.name.clone(),
            resolution: profiled.resolution,
            unit: deciding.metric.unit.clone(),
            difference: effects.estimate(weights),
        })
        .collect()
}

/// Which metric is the gain, which the cost, and what the one costs in the other along the best trade-offs.
struct Rate {
    gain: usize,
    cost: usize,
    usual: f64,
}

/// The step between a depth that goes and its neighbour that stays, from the shallower to the deeper.
fn step(unit: &Unit, depth: usize) -> (usize, usize) {
    let shallowest = unit.min_depth();
    match depth > shallowest {
        true => (depth - 1, depth),
        false => (depth, (depth + 1).min(unit.max_depth())),
    }
}
