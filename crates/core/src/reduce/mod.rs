//! From profiles to a smaller space: insights, each with its evidence, and what they take away.
//!
//! Two kinds of statement take a choice away. *Dominated*: another choice of the same unit (or of the whole network) is
//! shown to be not worse in any metric and better in one, all such claims together wrong with a probability of at most
//! the level. *Beaten elsewhere*: the best trade-offs that the effects add up to hardly change without the choice,
//! wherever the effects may truly lie. What cannot be shown stays.
//!
//! Everything holds at the resolutions that were profiled, and a reduced space keeps no other. Where there are several,
//! a resolution is a choice like the others, and the first that goes; what else goes is worth nothing at any that is
//! left.

mod candidate;
mod deciding;
mod document;
mod dominance;
mod effects;
mod error;
mod front;
mod hull;
mod known;
mod options;
mod resolutions;
mod text;
mod work;

pub use deciding::{AtResolution, deciding};
pub use document::{
    Deciding, Evidence, Insight, InsightKind, KnownFront, Left, PredictedLoss, REDUCTION_FORMAT,
    Reduction, Removes, Size,
};
pub use error::ReduceError;
pub use known::{Evaluated, read_evaluations};
pub use options::{Goal, Options};

use deciding::check_profiles;
use effects::Index;
use options::check_options;
use work::{Profiled, Work};

use crate::metric::Direction;
use crate::profile::Profile;
use crate::space::{Architecture, DesignSpace, Restriction};

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

/// Reduces `space` by what `profiles` of it say. `known` are architectures with their values of the deciding metrics
/// (see [`deciding`]), for the account of what is lost; they decide nothing.
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
    check_profiles(space, profiles)?;
    let chosen = deciding(profiles, options)?;
    let index = Index::new(space);
    let profiled = chosen
        .iter()
        .map(|at| Profiled::new(space, &index, at, options, chosen.len() > 1))
        .collect::<Result<Vec<_>, _>>()?;
    let resolutions: Vec<u32> = chosen.iter().map(|at| at.resolution).collect();
    let mut kept = space.whole();
    kept.keep_resolutions(&resolutions);
    let work = Work::new(space, &index, &profiled, options);
    let mut front = work.front()?;
    let mut insights = work.resolutions(front.as_mut(), &mut kept);
    let doubts = work.doubts();
    let work = work.of(&kept);
    insights.extend(work.dominated(&mut kept));
    let (beaten, predicted_loss) = work.beaten_elsewhere(front, &mut kept);
    insights.extend(beaten);
    let doubts = predicted_loss.map_or_else(Vec::new, |_| doubts);
    let name = options.name.clone();
    let name =
        name.unwrap_or_else(|| format!("{}-reduced", space.name().trim_end_matches("-reduced")));
    let reduced = space.restricted(&kept, &name)?;
    let directions: Vec<Direction> = chosen
        .first()
        .map(|at| at.metrics.iter().map(|(_, m)| m.metric.direction).collect())
        .unwrap_or_default();
    let reduction = Reduction {
        format: REDUCTION_FORMAT,
        generated_by: concat!("blocklens ", env!("CARGO_PKG_VERSION")).into(),
        space: space.name().to_owned(),
        width: space.width(),
        space_digest: space.digest().to_owned(),
        resolutions,
        resolutions_left: kept.resolutions().to_vec(),
        reduced: name,
        reduced_digest: reduced.digest().to_owned(),
        goal: options.goal.to_string(),
        metrics: profiled.into_iter().flat_map(|p| p.metrics).collect(),
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
