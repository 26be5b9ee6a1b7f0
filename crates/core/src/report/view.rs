//! A metric as a report speaks of it: names, units, digits, and which way is better.

use super::format::{self, decimals_for_effects};
use crate::metric::{Direction, MetricInfo, Origin};
use crate::profile::{Estimate, Family, MetricProfile, Profile};

/// A metric's profile with what every table needs to print it.
pub(super) struct View<'a> {
    /// The profile.
    pub profile: &'a MetricProfile,
    /// The metric's name for headings: `Latency`, `MACs`.
    pub heading: String,
    /// The unit of differences.
    pub effect_unit: String,
    /// Digits after the point.
    pub decimals: usize,
}

impl<'a> View<'a> {
    pub(super) fn new(profile: &'a MetricProfile) -> Self {
        let effects = || profile.blocks.iter().map(|b| &b.effect);
        let decimals = decimals_for_effects(largest(effects()), median_error(effects()));
        Self {
            profile,
            heading: heading(&profile.metric.name),
            effect_unit: effect_unit(&profile.metric.unit),
            decimals,
        }
    }

    /// The unit of differences in words, for what goes on after "effect in".
    pub(super) fn in_unit(&self) -> &str {
        in_words(&self.effect_unit)
    }

    /// The metric's name, unit, direction and origin.
    pub(super) fn info(&self) -> &'a MetricInfo {
        &self.profile.metric
    }

    /// The effect with its sign turned so that above zero is better.
    pub(super) fn goodness(&self, effect: f64) -> f64 {
        match self.info().direction {
            Direction::LowerIsBetter => -effect,
            Direction::HigherIsBetter => effect,
        }
    }

    /// An effect with its interval and unit, with one digit more than the tables print.
    pub(super) fn effect(&self, estimate: &Estimate) -> String {
        format::effect(estimate, self.decimals + 1, &self.effect_unit)
    }

    /// A value (not a difference) of the metric, with its unit.
    pub(super) fn value(&self, value: f64) -> String {
        let unit = &self.info().unit;
        let gap = if unit.is_empty() { "" } else { "\u{a0}" };
        format!("{}{gap}{unit}", format::plain(value, self.decimals))
    }

    /// The word for a metric that is not a measurement of the thing itself.
    pub(super) fn stand_in(&self) -> Option<&'static str> {
        match self.info().origin {
            Origin::Surrogate => Some("surrogate"),
            Origin::Proxy => Some("training-free proxy"),
            Origin::Estimated => Some("estimated"),
            Origin::Simulated => Some("simulated"),
            Origin::Measured | Origin::Counted | Origin::Unstated => None,
        }
    }

    /// Half width in standard errors of the intervals that hold together for a family.
    pub(super) fn simultaneous(&self, family: Family) -> Option<f64> {
        let all = &self.profile.simultaneous;
        all.iter().find(|s| s.family == family).map(|s| s.critical)
    }

    /// Number of block effects that differ from 0 after correction.
    pub(super) fn significant(&self) -> usize {
        self.profile.blocks.iter().filter(|b| b.significant).count()
    }
}

/// All metrics of a profile.
pub(super) fn views(profile: &Profile) -> Vec<View<'_>> {
    profile.metrics.iter().map(View::new).collect()
}

/// The two metrics to weigh against each other: latency, or what else is better when lower; and
/// accuracy, or what else is better when higher, or MACs, or whatever there is.
pub(super) fn trade_pair<'v, 'a>(views: &'v [View<'a>]) -> Option<(&'v View<'a>, &'v View<'a>)> {
    let named = |name: &str| views.iter().position(|v| v.info().quantity() == name);
    let directed = |d: Direction| views.iter().position(|v| v.info().direction == d);
    let x = named("latency").or_else(|| directed(Direction::LowerIsBetter))?;
    let y = named("accuracy")
        .or_else(|| directed(Direction::HigherIsBetter))
        .or_else(|| named("macs").filter(|&i| i != x))
        .or_else(|| (0..views.len()).find(|&i| i != x))?;
    Some((views.get(x)?, views.get(y)?))
}

/// What the origin means to a reader, in two or three words.
pub(super) fn origin_label(origin: Origin) -> &'static str {
    match origin {
        Origin::Measured => "measured",
        Origin::Counted => "counted",
        Origin::Surrogate => "surrogate \u{2013} not a measurement",
        Origin::Proxy => "training-free proxy \u{2013} not an accuracy",
        Origin::Estimated => "estimated \u{2013} not a measurement",
        Origin::Simulated => "simulated \u{2013} not a measurement",
        Origin::Unstated => "as the program says",
    }
}

/// The unit of a difference: that of percentages is the percentage point.
pub(super) fn effect_unit(unit: &str) -> String {
    unit.strip_prefix('%')
        .map_or_else(|| unit.to_owned(), |rest| format!("pp{rest}"))
}

/// A unit in words: where nothing says which, that it is the metric's own.
pub(super) fn in_words(unit: &str) -> &str {
    match unit {
        "" => "its own unit",
        unit => unit,
    }
}

/// The metric's name for headings.
pub(super) fn heading(name: &str) -> String {
    let (quantity, source) = match name.split_once('@') {
        Some((quantity, source)) => (quantity, format!(" ({source})")),
        None => (name, String::new()),
    };
    let heading = match quantity {
        "macs" => "MACs".to_owned(),
        "params" => "Parameters".to_owned(),
        other => format::capitalised(other),
    };
    heading + &source
}

/// The largest absolute value of the estimates; 0 where there is none.
pub(super) fn largest<'e>(estimates: impl Iterator<Item = &'e Estimate>) -> f64 {
    estimates
        .map(|e| e.value.abs())
        .filter(|v| v.is_finite())
        .fold(0.0, f64::max)
}

fn median_error<'e>(estimates: impl Iterator<Item = &'e Estimate>) -> f64 {
    let mut errors: Vec<f64> = estimates.map(|e| e.se).filter(|e| e.is_finite()).collect();
    errors.sort_by(f64::total_cmp);
    errors.get(errors.len() / 2).copied().unwrap_or(0.0)
}

/// Whether the 95 % interval leaves `value` out.
pub(super) fn excludes(estimate: &Estimate, value: f64) -> bool {
    estimate.low > value || estimate.high < value
}
