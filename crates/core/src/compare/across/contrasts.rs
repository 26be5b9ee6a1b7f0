//! What it costs each device to have one alternative for another.

use serde::{Deserialize, Serialize};

use super::super::quantities::{Alternatives, ChangeOf, Quantity, Weights, merged, quantities};
use super::super::{ALPHA, CompareError, Difference, Numbers, difference};
use crate::profile::{Estimate, MetricProfile};
use crate::stats::multiple::holm;

/// One alternative instead of another, such as 7x7 for 3x3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// What kind of choice it is.
    pub of: ChangeOf,
    /// The unit, counted from 1; `None` for the whole network.
    pub unit: Option<usize>,
    /// What is had.
    pub instead: String,
    /// What it is had for: the first of the alternatives.
    pub base: String,
    /// What that costs each device at one place (blocks) or in one unit (depths, widths), as a share of its own mean:
    /// 0.01 is one per cent. Intervals hold 95 % each.
    pub shares: Vec<Estimate>,
    /// The differences between devices: second minus first.
    pub preferences: Vec<Preference>,
}

impl Contrast {
    /// Whether any two devices differ surely.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.preferences.iter().any(|p| p.difference.sure)
    }

    /// In words, without the unit: `7x7 for 3x3`.
    #[must_use]
    pub fn words(&self) -> String {
        // "expansion 6 for expansion 3" says one word too many.
        let short = |base: &str| match (self.instead.split_once(' '), base.split_once(' ')) {
            (Some((what, _)), Some((same, rest))) if what == same => rest.to_owned(),
            (Some((_, what)), Some((number, same))) if what == same || what.starts_with(same) => {
                number.to_owned()
            }
            _ => base.to_owned(),
        };
        format!("{} for {}", self.instead, short(&self.base))
    }
}

/// How much more (above 0) or less a choice costs the second of two devices than the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    /// The devices.
    pub a: usize,
    /// See `a`.
    pub b: usize,
    /// Difference of their shares; corrected over all contrasts and pairs.
    pub difference: Difference,
}

/// Every contrast, the network's before those of units, with its differences between all devices.
///
/// # Errors
/// [`CompareError::NothingInCommon`] where nothing can be chosen.
pub(super) fn contrasts(
    metrics: &[&MetricProfile],
    numbers: &[Numbers<'_>],
) -> Result<Vec<Contrast>, CompareError> {
    let of_each: Vec<Vec<Quantity>> = metrics.iter().map(|m| quantities(metrics[0], m)).collect();
    let mut found = Vec::new();
    for (base, other) in pairs(&of_each[0]) {
        let weights = of_each
            .iter()
            .map(|all| contrast(&all[other].b, &all[base].b));
        let shares: Vec<(f64, f64)> = numbers
            .iter()
            .zip(weights)
            .map(|(n, w)| n.relative(&w))
            .collect();
        let [other, base] = [other, base].map(|i| &of_each[0][i].subject);
        found.push(Contrast {
            of: other.of,
            unit: other.unit,
            instead: other.name.clone(),
            base: base.name.clone(),
            preferences: preferences(numbers, &shares),
            shares: numbers
                .iter()
                .zip(&shares)
                .map(|(n, share)| n.estimate(*share))
                .collect(),
        });
    }
    if found.is_empty() {
        return Err(CompareError::NothingInCommon);
    }
    correct(&mut found);
    found.sort_by_key(|contrast| (contrast.unit.is_some(), contrast.of == ChangeOf::Average));
    Ok(found)
}

/// The first of every group of alternatives with each of the others.
fn pairs(quantities: &[Quantity]) -> Vec<(usize, usize)> {
    type Group = (Alternatives, Option<usize>);
    let mut groups: Vec<(Group, usize)> = Vec::new();
    let mut found = Vec::new();
    for (i, quantity) in quantities.iter().enumerate() {
        let Some(alternatives) = quantity.alternatives else {
            continue;
        };
        let group = (alternatives, quantity.subject.unit);
        match groups.iter().find(|(known, _)| *known == group) {
            Some((_, base)) => found.push((*base, i)),
            None => groups.push((group, i)),
        }
    }
    found
}

fn contrast(other: &Weights, base: &Weights) -> Weights {
    let negative = base.iter().map(|&(i, w)| (i, -w));
    merged(other.iter().copied().chain(negative).collect())
}

fn preferences(numbers: &[Numbers<'_>], shares: &[(f64, f64)]) -> Vec<Preference> {
    let pairs = (0..numbers.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    pairs
        .map(|(a, b)| Preference {
            a,
            b,
            difference: difference(&numbers[a], &numbers[b], shares[a], shares[b]),
        })
        .collect()
}

/// Corrects all claims together.
fn correct(contrasts: &mut [Contrast]) {
    let all = || contrasts.iter().flat_map(|contrast| &contrast.preferences);
    let adjusted = holm(&all().map(|p| p.difference.p).collect::<Vec<_>>());
    let each = contrasts
        .iter_mut()
        .flat_map(|contrast| &mut contrast.preferences);
    for (preference, p) in each.zip(adjusted) {
        preference.difference.adjusted_p = p;
        preference.difference.sure = p < ALPHA;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(instead: &str, base: &str) -> String {
        let contrast = Contrast {
            of: ChangeOf::Average,
            unit: None,
            instead: instead.into(),
            base: base.into(),
            shares: Vec::new(),
            preferences: Vec::new(),
        };
        contrast.words()
    }

    #[test]
    fn words_do_not_repeat_what_is_compared() {
        assert_eq!(named("7x7", "3x3"), "7x7 for 3x3");
        assert_eq!(named("expansion 6", "expansion 3"), "expansion 6 for 3");
        assert_eq!(named("4 layers", "2 layers"), "4 layers for 2");
        assert_eq!(named("2 layers", "1 layer"), "2 layers for 1");
        assert_eq!(named("ghost", "identity"), "ghost for identity");
    }
}
