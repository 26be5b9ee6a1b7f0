//! From profiles to a smaller space: insights, each with its evidence, and what they take away.
//!
//! Two kinds of statement take a choice away. *Dominated*: another choice of the same unit (or of the whole network) is
//! shown to be not worse in any metric and better in one, all such claims together wrong with a probability of at most the
//! level. *Beaten elsewhere*: the best trade-offs that the effects add up to hardly change without the choice,
//! wherever the effects may truly lie. What cannot be shown stays.
//!
//! Everything holds at the resolution that was profiled, which is the only one that a reduced space keeps.

mod document;
mod dominance;
mod effects;
mod error;
mod front;
mod hull;
mod known;
mod text;

pub use document::{
    Deciding, Evidence, Insight, InsightKind, KnownFront, Left, PredictedLoss, REDUCTION_FORMAT,
    Reduction, Removes, Size,
};
pub use error::ReduceError;
pub use known::{Evaluated, read_evaluations};

use std::fmt;
use std::str::FromStr;

use dominance::{Applied, Choice, Claim, Strictness, apply, claims, exchanges};
use effects::{Effects, Index, Weights};
use front::{Allowance, Front, Removal, Window};

use crate::metric::{Direction, MetricInfo, Origin};
use crate::profile::{MetricProfile, Profile};
use crate::space::{Architecture, DesignSpace, Placement, Restriction};

/// What a reduced space is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The best trade-offs between two metrics or more.
    Pareto,
    /// The best value of the metric that is better when larger, whatever it costs.
    MaxAccuracy,
    /// The best of it among networks that keep the cost at or below this, in the cost's unit.
    MaxLatency(f64),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pareto => f.write_str("pareto"),
            Self::MaxAccuracy => f.write_str("max-accuracy"),
            Self::MaxLatency(limit) => write!(f, "max-latency={limit}"),
        }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = |text: &str| {
            let number = text
                .trim_end_matches(|c: char| c.is_ascii_alphabetic())
                .trim();
            let unit = text[number.len()..].trim();
            let number = number
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite() && *n > 0.0)?;
            // The limit is in the profile's unit; ms is what latencies have.
            (unit.is_empty() || unit == "ms").then_some(number)
        };
        match text.split_once('=') {
            None if text == "pareto" => Ok(Self::Pareto),
            None if text == "max-accuracy" => Ok(Self::MaxAccuracy),
            Some(("max-latency", value)) => limit(value).map(Self::MaxLatency).ok_or_else(|| {
                format!("{value:?} is not a latency above 0 in ms, such as 25 or 25ms")
            }),
            _ => Err(format!(
                "{text:?} is none of pareto, max-accuracy and max-latency=25"
            )),
        }
    }
}

/// How to reduce.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What for.
    pub goal: Goal,
    /// Names of the metrics that decide; when empty, the one better when larger and the one better when smaller that the
    /// profiles have: not counted before counted, latency before others.
    pub metrics: Vec<String>,
    /// Probability that any claim is wrong, between 0 and 0.5. Half of it is for dominated choices, half for the bound on what
    /// the best trade-offs lose.
    pub level: f64,
    /// Losses below this share of a metric's standard deviation over architectures are none.
    pub margin: f64,
    /// Gains count beyond so many times what exchanging a block usually differs from its average by (interactions).
    pub caution: f64,
    /// Share of the area below the best trade-offs that may be lost.
    pub allowance: f64,
    /// The reduced space's name; the space's with `-reduced` behind it (once) when `None`.
    pub name: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            goal: Goal::Pareto,
            metrics: Vec::new(),
            level: 0.05,
            margin: 0.01,
            caution: 1.0,
            allowance: 0.01,
            name: None,
        }
    }
}

/// Share of a metric's variance that the sum of effects must explain before it is trusted with trade-offs.
const LEAST_EXPLAINED: f64 = 0.5;

/// Profiles, each with where it comes from.
pub type Sources<'a> = &'a [(String, &'a Profile)];

/// A space that was reduced.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The reduced space; its source is its file.
    pub space: DesignSpace,
    /// What of the space is kept.
    pub kept: Restriction,
    /// What was taken away, why, and what it cost.
    pub reduction: Reduction,
}

/// Which metrics of the profiles decide, by name, in the order in which `known` architectures have their values.
///
/// # Errors
/// [`ReduceError`] where they are missing or not clear.
pub fn deciding<'a>(
    profiles: Sources<'a>,
    options: &Options,
) -> Result<Vec<(&'a str, &'a MetricProfile)>, ReduceError> {
    let all: Vec<(&str, &MetricProfile)> = profiles
        .iter()
        .flat_map(|(source, p)| p.metrics.iter().map(move |m| (source.as_str(), m)))
        .collect();
    let known = || {
        let names: Vec<&str> = all.iter().map(|(_, m)| m.metric.name.as_str()).collect();
        names.join(", ")
    };
    let chosen = match options.metrics.is_empty() {
        true => usual(&all, options.goal),
        false => named(&all, &options.metrics, &known)?,
    };
    let count = |direction| {
        let same = chosen
            .iter()
            .filter(|(_, m)| m.metric.direction == direction);
        same.count()
    };
    let gains = count(Direction::HigherIsBetter);
    let costs = count(Direction::LowerIsBetter);
    let needed = match options.goal {
        Goal::Pareto if chosen.is_empty() => "a metric",
        Goal::MaxAccuracy if gains != 1 => "one metric that is better when larger",
        Goal::MaxLatency(_) if gains != 1 || costs != 1 => {
            "one metric that is better when larger and one that is better when smaller"
        }
        Goal::MaxAccuracy => {
            let best =
                |(_, m): &(&str, &MetricProfile)| m.metric.direction == Direction::HigherIsBetter;
            return Ok(chosen.into_iter().filter(best).collect());
        }
        Goal::Pareto | Goal::MaxLatency(_) => return Ok(chosen),
    };
    Err(ReduceError::Goal {
        goal: options.goal.to_string(),
        needed,
        known: known(),
    })
}

type Found<'a> = Vec<(&'a str, &'a MetricProfile)>;

fn usual<'a>(all: &Found<'a>, goal: Goal) -> Found<'a> {
    let first = |direction: Direction| {
        let preference = |m: &MetricInfo| {
            let counted = m.origin == Origin::Counted;
            (
                counted,
                !matches!(m.quantity(), "latency" | "accuracy" | "macs"),
            )
        };
        let of = all.iter().filter(|(_, m)| m.metric.direction == direction);
        of.min_by_key(|(_, m)| preference(&m.metric)).copied()
    };
    let cost = match goal {
        Goal::MaxAccuracy => None,
        Goal::Pareto | Goal::MaxLatency(_) => first(Direction::LowerIsBetter),
    };
    first(Direction::HigherIsBetter)
        .into_iter()
        .chain(cost)
        .collect()
}

fn named<'a>(
    all: &Found<'a>,
    names: &[String],
    known: &dyn Fn() -> String,
) -> Result<Found<'a>, ReduceError> {
    let find = |name: &String| {
        let of = |same: &dyn Fn(&MetricInfo) -> bool| -> Found<'a> {
            all.iter()
                .filter(|(_, m)| same(&m.metric))
                .copied()
                .collect()
        };
        let mut found = of(&|m| m.name == *name);
        if found.is_empty() {
            found = of(&|m| m.quantity() == name);
        }
        match found.as_slice() {
            [one] => Ok(*one),
            several => Err(ReduceError::Metric {
                name: name.clone(),
                found: several.len(),
                known: known(),
            }),
        }
    };
    names.iter().map(find).collect()
}

/// Reduces `space` by what `profiles` of it say. `known` are architectures with their values of the deciding metrics (see
/// [`deciding`]), for the account of what is lost; they decide nothing.
///
/// # Errors
/// [`ReduceError`] when the profiles are not about this space, or the options do not fit.
pub fn reduce(
    space: &DesignSpace,
    profiles: Sources<'_>,
    known: &[(Architecture, Vec<f64>)],
    options: &Options,
) -> Result<Reduced, ReduceError> {
    check_options(options)?;
    let resolution = check_profiles(space, profiles)?;
    let chosen = deciding(profiles, options)?;
    let index = Index::new(space);
    let effects = chosen
        .iter()
        .map(|(_, m)| Effects::new(space, &index, m))
        .collect::<Result<Vec<_>, _>>()?;
    let work = Work {
        space,
        index: &index,
        metrics: described(&chosen, &effects, options),
        effects: &effects,
        options,
    };
    let mut kept = space.whole();
    if !kept.keep_resolution(resolution) {
        space.check_resolution(resolution)?;
    }
    let mut insights = work.dominated(&mut kept);
    let (beaten, predicted_loss) = work.beaten_elsewhere(&mut kept)?;
    insights.extend(beaten);
    let doubts = match predicted_loss {
        Some(_) => work.doubts(),
        None => Vec::new(),
    };
    let name = options.name.clone();
    let name =
        name.unwrap_or_else(|| format!("{}-reduced", space.name().trim_end_matches("-reduced")));
    let reduced = space.restricted(&kept, &name)?;
    let directions: Vec<Direction> = chosen.iter().map(|(_, m)| m.metric.direction).collect();
    let reduction = Reduction {
        format: REDUCTION_FORMAT,
        generated_by: concat!("blocklens ", env!("CARGO_PKG_VERSION")).into(),
        space: space.name().to_owned(),
        width: space.width(),
        space_digest: space.digest().to_owned(),
        resolution,
        reduced: name,
        reduced_digest: reduced.digest().to_owned(),
        goal: options.goal.to_string(),
        metrics: work.metrics,
        level: options.level,
        allowance: options.allowance,
        insights,
        doubts,
        size: Size {
            before: space.count_per_resolution().to_string(),
            after: reduced.count_per_resolution().to_string(),
        },
        predicted_loss,
        // Values that are no numbers are no architectures' values.
        known_front: known::known_front(&kept, &directions, known).unwrap_or(None),
        left: left(&reduced),
    };
    Ok(Reduced {
        space: reduced,
        kept,
        reduction,
    })
}

fn check_options(options: &Options) -> Result<(), ReduceError> {
    let share = "a share from 0 to below 1";
    let ranges = [
        (
            "--level",
            options.level,
            1e-12..0.5,
            "a probability above 0 and below 0.5",
        ),
        ("--margin", options.margin, 0.0..1.0, share),
        ("--caution", options.caution, 0.0..1e6, "a number from 0 on"),
        ("--allowance", options.allowance, 0.0..1.0, share),
    ];
    match ranges
        .into_iter()
        .find(|(_, found, range, _)| !range.contains(found))
    {
        Some((option, found, _, needed)) => Err(ReduceError::Option {
            option,
            needed,
            found,
        }),
        None => Ok(()),
    }
}

/// All profiles must be about this space, at one resolution, which is returned.
fn check_profiles(space: &DesignSpace, profiles: Sources<'_>) -> Result<u32, ReduceError> {
    let mut resolution = None;
    for (source, profile) in profiles {
        let differ = |what, there: String, here: String| ReduceError::Differ {
            profile: source.clone(),
            what,
            there,
            here,
        };
        if profile.space_digest != space.digest() {
            let of = |name: &str, width: f64, digest: &str| {
                format!("{name} at width {width} ({digest})")
            };
            let there = of(&profile.space, profile.width, &profile.space_digest);
            let here = of(space.name(), space.width(), space.digest());
            return Err(differ("the space", there, here));
        }
        let first = *resolution.get_or_insert(profile.resolution);
        if first != profile.resolution {
            let (there, here) = (profile.resolution.to_string(), first.to_string());
            return Err(differ("the resolution", there, here));
        }
    }
    Ok(resolution.unwrap_or_else(|| space.default_resolution()))
}

fn described(
    chosen: &[(&str, &MetricProfile)],
    effects: &[Effects],
    options: &Options,
) -> Vec<Deciding> {
    let strictness = strictness(options, effects.len());
    let pairs = chosen.iter().zip(effects);
    pairs
        .map(|((source, profile), effects)| Deciding {
            metric: profile.metric.clone(),
            source: (*source).to_owned(),
            sd: effects.sd,
            allowed_loss: strictness.allowed_loss(effects),
            needed_gain: strictness.needed_gain(effects),
        })
        .collect()
}

/// With one metric there are no trade-offs, and claims of domination have the whole level.
fn strictness(options: &Options, metrics: usize) -> Strictness {
    Strictness {
        level: if metrics == 2 { 0.5 } else { 1.0 } * options.level,
        margin: options.margin,
        caution: options.caution,
    }
}

/// A reduction on its way.
struct Work<'a> {
    space: &'a DesignSpace,
    index: &'a Index,
    metrics: Vec<Deciding>,
    effects: &'a [Effects],
    options: &'a Options,
}

impl Work<'_> {
    fn dominated(&self, kept: &mut Restriction) -> Vec<Insight> {
        let strictness = strictness(self.options, self.effects.len());
        let all = exchanges(self.space, self.index);
        let claims = claims(all, self.effects, strictness);
        let applied = apply(
            self.space,
            self.index,
            self.effects,
            strictness,
            &claims,
            kept,
        );
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
        let pairs = self.metrics.iter().zip(self.effects);
        pairs
            .map(|(deciding, effects)| Evidence {
                metric: deciding.metric.name.clone(),
                unit: deciding.metric.unit.clone(),
                difference: effects.estimate(weights),
            })
            .collect()
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
    fn beaten_elsewhere(
        &self,
        kept: &mut Restriction,
    ) -> Result<(Vec<Insight>, Option<PredictedLoss>), ReduceError> {
        let Some((gain, cost)) = self.trade() else {
            return Ok((Vec::new(), None));
        };
        let effects = |i: usize| &self.effects[i];
        let whole = Front::estimated(
            self.space,
            self.index,
            effects(gain),
            effects(cost),
            &self.space.whole(),
        );
        let window = match self.options.goal {
            Goal::MaxLatency(limit) => {
                let best = whole.cheapest().cost;
                if best > limit {
                    return Err(self.infeasible(cost, limit, best));
                }
                Window::UpTo(limit)
            }
            Goal::Pareto | Goal::MaxAccuracy => Window::All,
        };
        let allowance = Allowance {
            share: self.options.allowance,
            level: 0.5 * self.options.level,
        };
        let mut front = Front::new(self.space, self.index, effects(gain), effects(cost), window);
        let removals = match allowance.share > 0.0 && self.doubts().is_empty() {
            true => front.remove(kept, allowance, window),
            false => Vec::new(),
        };
        let (loss, upper) = front.loss(kept, allowance.level);
        let (low, high) = (whole.cheapest(), whole.best());
        let usual = (high.gain - low.gain) / (high.cost - low.cost).max(f64::MIN_POSITIVE);
        let rate = Rate { gain, cost, usual };
        let insights = removals.iter().map(|r| self.of_removal(r, &rate)).collect();
        Ok((insights, Some(PredictedLoss { loss, upper })))
    }

    /// Why the sum of effects is not to be trusted with trade-offs: where it explains too little, effects are shrunk until they
    /// seem equal, and what seems equal seems to be in nobody's way.
    fn doubts(&self) -> Vec<String> {
        let pairs = self.metrics.iter().zip(self.effects);
        let weak = pairs.filter_map(|(deciding, effects)| {
            let explained = effects.explained.filter(|r2| *r2 < LEAST_EXPLAINED)?;
            Some(format!(
                "The sum of effects explains only {} of how {} differs between networks: nothing was taken away because it is beaten elsewhere. Measure more networks.",
                text::percent(explained.max(0.0)),
                deciding.metric.name
            ))
        });
        weak.collect()
    }

    /// The metrics that are traded for each other: a gain and a cost, or two of one direction, of which the second is turned.
    fn trade(&self) -> Option<(usize, usize)> {
        let [first, _] = self.metrics.as_slice() else {
            return None;
        };
        match first.metric.direction {
            Direction::HigherIsBetter => Some((0, 1)),
            Direction::LowerIsBetter => Some((1, 0)),
        }
    }

    fn infeasible(&self, cost: usize, limit: f64, best: f64) -> ReduceError {
        let metric = &self.metrics[cost];
        ReduceError::Infeasible {
            name: metric.metric.name.clone(),
            limit: text::with_unit(limit, metric),
            best: text::with_unit(best, metric),
        }
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
                "{what} is beaten elsewhere: {said}, and without it the best trade-offs lose {} of their area at most, with all that went before",
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

    /// What a choice adds: a block's mean effect over the layers, a depth's step from (or to) its neighbour, a width's effect.
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
        let (gain, cost) = (&evidence[rate.gain], &evidence[rate.cost]);
        let own = gain.difference.value / cost.difference.value;
        let units = |e: &Evidence| {
            e.unit
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let per = format!("{}/{}", units(gain), units(cost));
        let rates = match own.is_finite() && cost.difference.value > 0.0 {
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

/// Which metric is the gain, which the cost, and what the one costs in the other along the best trade-offs.
struct Rate {
    gain: usize,
    cost: usize,
    usual: f64,
}

/// The step between a depth that goes and its neighbour that stays, from the shallower to the deeper.
fn step(unit: &crate::space::Unit, depth: usize) -> (usize, usize) {
    let shallowest = unit.min_depth();
    match depth > shallowest {
        true => (depth - 1, depth),
        false => (depth, (depth + 1).min(unit.max_depth())),
    }
}

fn left(space: &DesignSpace) -> Vec<Left> {
    let units = space.units().iter().enumerate();
    units
        .map(|(number, unit)| Left {
            unit: number + 1,
            depths: [unit.min_depth(), unit.max_depth()],
            channels: unit.widths().iter().map(|w| w.channels).collect(),
            blocks: (0..unit.max_depth())
                .map(|layer| unit.blocks(layer).iter().map(ToString::to_string).collect())
                .collect(),
        })
        .collect()
}
