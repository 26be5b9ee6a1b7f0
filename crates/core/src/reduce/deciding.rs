//! Which metrics of which profiles decide, at every resolution that was profiled.

use super::Sources;
use super::error::ReduceError;
use super::options::{Goal, Options};
use crate::metric::{Direction, MetricInfo, Origin};
use crate::profile::MetricProfile;
use crate::space::DesignSpace;

/// Metrics, each with where its profile comes from.
type Found<'a> = Vec<(&'a str, &'a MetricProfile)>;

/// What decides at one resolution.
#[derive(Clone, Debug)]
pub struct AtResolution<'a> {
    /// The resolution, in pixels.
    pub resolution: u32,
    /// The metrics, each with where its profile comes from, in the order in which `known` architectures have their
    /// values.
    pub metrics: Vec<(&'a str, &'a MetricProfile)>,
}

/// Which metrics of the profiles decide, for every resolution that was profiled, ascending: the same metrics at each.
///
/// # Errors
/// [`ReduceError`] where they are missing, not clear, or not the same at every resolution.
pub fn deciding<'a>(
    profiles: Sources<'a>,
    options: &Options,
) -> Result<Vec<AtResolution<'a>>, ReduceError> {
    let mut resolutions: Vec<u32> = profiles.iter().map(|(_, p)| p.resolution).collect();
    resolutions.sort_unstable();
    resolutions.dedup();
    if resolutions.is_empty() {
        chosen(&Found::new(), options, "")?;
    }
    let several = resolutions.len() > 1;
    let at = |resolution: u32| {
        let here = profiles.iter().filter(|(_, p)| p.resolution == resolution);
        let all: Found<'a> = here
            .flat_map(|(source, p)| p.metrics.iter().map(move |m| (source.as_str(), m)))
            .collect();
        let place = match several {
            true => format!(" at {resolution} pixels"),
            false => String::new(),
        };
        let metrics = chosen(&all, options, &place)?;
        Ok(AtResolution {
            resolution,
            metrics,
        })
    };
    let all = resolutions
        .into_iter()
        .map(at)
        .collect::<Result<Vec<_>, ReduceError>>()?;
    check_same(&all)?;
    Ok(all)
}

/// Values of different metrics, or in different units, cannot be compared between resolutions.
fn check_same(all: &[AtResolution<'_>]) -> Result<(), ReduceError> {
    let described = |at: &AtResolution<'_>| {
        let one = |(_, m): &(&str, &MetricProfile)| m.metric.head();
        let all: Vec<String> = at.metrics.iter().map(one).collect();
        all.join(", ")
    };
    let Some((first, others)) = all.split_first() else {
        return Ok(());
    };
    let expected = described(first);
    match others.iter().find(|at| described(at) != expected) {
        None => Ok(()),
        Some(other) => Err(ReduceError::Unlike {
            first: first.resolution,
            expected,
            other: other.resolution,
            found: described(other),
        }),
    }
}

/// Checks that all profiles are about `space`, and at resolutions that it has.
pub(super) fn check_profiles(
    space: &DesignSpace,
    profiles: Sources<'_>,
) -> Result<(), ReduceError> {
    for (source, profile) in profiles {
        if profile.space_digest != space.digest() {
            let of = |name: &str, width: f64, digest: &str| {
                format!("{name} at width {width} ({digest})")
            };
            return Err(ReduceError::Differ {
                profile: source.clone(),
                there: of(&profile.space, profile.width, &profile.space_digest),
                here: of(space.name(), space.width(), space.digest()),
            });
        }
        space.check_resolution(profile.resolution)?;
    }
    Ok(())
}

/// The metrics of `all` that decide; errors say that these are those that there are at a `place`.
fn chosen<'a>(all: &Found<'a>, options: &Options, place: &str) -> Result<Found<'a>, ReduceError> {
    let known = || {
        let names: Vec<&str> = all.iter().map(|(_, m)| m.metric.name.as_str()).collect();
        names.join(", ") + place
    };
    let chosen = match options.metrics.is_empty() {
        true => usual(all, options.goal),
        false => named(all, &options.metrics, &known)?,
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
