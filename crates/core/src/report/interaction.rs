//! Interactions in words.

use super::format::{percent, plain};
use crate::profile::{Additivity, Interaction};

/// A bound on a share of the variance above this is no statement.
const TELLS_NOTHING: f64 = 0.5;

/// What the tests of additivity say, in one sentence.
pub(super) fn interaction_line(additivity: &Additivity) -> String {
    match additivity.surest() {
        Some(test) => format!(
            "Neighbours interact ({}): {} [{}, {}] of the variance, p {}.",
            interaction_name(test.kind),
            percent(test.share[0], 1),
            plain(100.0 * test.share[1], 1),
            plain(100.0 * test.share[2], 1),
            relation(test.adjusted_p)
        ),
        None if additivity.at_most() > TELLS_NOTHING => {
            "Too few networks to tell whether neighbours interact.".to_owned()
        }
        None => format!(
            "No interaction seen; each kind looked for has at most {} of the variance.",
            percent(additivity.at_most(), 1)
        ),
    }
}

pub(super) fn interaction_name(kind: Interaction) -> &'static str {
    match kind {
        Interaction::RepeatedBlock => "layers that repeat the block before them",
        Interaction::Neighbours => "kernels and expansions of neighbouring layers",
        Interaction::Depth => "kernels and expansions with the unit's depth",
    }
}

/// A p value with as many digits as its draws support.
pub(super) fn p_text(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        plain(p, 3)
    }
}

fn relation(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("= {}", plain(p, 3))
    }
}
