//! Why a space cannot be reduced.

use crate::space::{ArchitectureError, SpaceError};

/// Why a space cannot be reduced.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReduceError {
    /// A profile is about another space.
    #[error(
        "{profile} is about another space: {there} there and {here} here; give the space that was profiled with \
         --space and --width"
    )]
    Differ {
        /// Where the profile comes from.
        profile: String,
        /// The profile's.
        there: String,
        /// The space.
        here: String,
    },
    /// Profiles of several resolutions that are not of the same metrics.
    #[error(
        "at {first} pixels {expected} decide, at {other} pixels {found}: profiles of several resolutions are compared, \
         so the same metrics must decide at each; profile them at each resolution, or name those of all with --metric"
    )]
    Unlike {
        /// The smallest resolution, in pixels.
        first: u32,
        /// What decides there, with units.
        expected: String,
        /// The other resolution, in pixels.
        other: u32,
        /// What decides there, with units.
        found: String,
    },
    /// A metric that was asked for is in no profile, or in several.
    #[error("{found} of the profiles have a metric `{name}`, and one must; there are: {known}")]
    Metric {
        /// The metric.
        name: String,
        /// How many have it.
        found: usize,
        /// Those that there are.
        known: String,
    },
    /// The profiles lack what the goal needs.
    #[error("--goal {goal} needs {needed}; the profiles have: {known}")]
    Goal {
        /// The goal.
        goal: String,
        /// What it needs.
        needed: &'static str,
        /// The metrics that there are.
        known: String,
    },
    /// No network keeps the limit.
    #[error(
        "no network keeps {name} at or below {limit}: the fastest that the profile predicts has {best}; choose a \
         larger limit"
    )]
    Infeasible {
        /// The limited metric.
        name: String,
        /// The limit, with its unit.
        limit: String,
        /// The best reachable value, with its unit.
        best: String,
    },
    /// The report does not say how its errors depend on each other.
    #[error(
        "the joint errors of `{metric}` are missing: its report was made by an older version; make it again with \
         `blocklens report`"
    )]
    NoJoint {
        /// The metric.
        metric: String,
    },
    /// The joint errors do not fit the effects.
    #[error(
        "the effects of `{metric}` are not those of this space, or damaged; make the report again with `blocklens \
         report`"
    )]
    Damaged {
        /// The metric.
        metric: String,
    },
    /// An option outside of its range.
    #[error("{option} needs {needed}, and not {found}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it needs.
        needed: &'static str,
        /// What it has.
        found: f64,
    },
    /// The space does not have the profiles' resolution.
    #[error(transparent)]
    Resolution(#[from] ArchitectureError),
    /// The reduced file is no space.
    #[error(transparent)]
    Space(#[from] SpaceError),
}
