//! Intervals that hold for a whole family of effects at once.

use serde::{Deserialize, Serialize};

use super::means::Contrast;
use super::{Estimate, Means};
use crate::stats::max_t::{MaxT, Sides};

/// Probability that some interval of a family misses.
pub(super) const FAMILY_ALPHA: f64 = 0.05;

/// Which estimates of a metric are looked at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The effects of all blocks at all placements.
    Blocks,
    /// The effects of all depths of all units.
    Depths,
    /// The effects of all widths of all units.
    Widths,
    /// All averages over placements.
    Averages,
}

/// How far an interval must reach so that all of a family hold the truth together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simultaneous {
    /// The family.
    pub family: Family,
    /// Number of estimates in it.
    pub comparisons: usize,
    /// Half width of the intervals in standard errors: with 95 % probability no estimate of the family is further from
    /// its truth. From the joint distribution of all of them.
    pub critical: f64,
}

impl Estimate {
    /// The estimate with the interval of its family: value +- `critical` standard errors.
    #[must_use]
    pub fn widened(&self, critical: f64) -> Estimate {
        Estimate {
            low: self.value - critical * self.se,
            high: self.value + critical * self.se,
            ..*self
        }
    }
}

impl Means {
    /// The critical value of a family of effects; `None` for none.
    pub(super) fn simultaneous(
        &self,
        family: Family,
        effects: &[Contrast],
    ) -> Option<Simultaneous> {
        (!effects.is_empty()).then(|| Simultaneous {
            family,
            comparisons: effects.len(),
            critical: self.family(effects).critical(FAMILY_ALPHA),
        })
    }

    /// The joint null distribution of the effects' t statistics.
    fn family(&self, effects: &[Contrast]) -> MaxT {
        MaxT::of_each(&self.joint(effects), self.joint_degrees_of_freedom)
    }

    /// p values of "the effect is 0", adjusted for all of `effects` together by the step-down maximum.
    pub(super) fn adjusted_p(&self, effects: &[Contrast]) -> Vec<f64> {
        if effects.is_empty() {
            return Vec::new();
        }
        let estimates: Vec<Estimate> = effects.iter().map(|e| self.contrast(e)).collect();
        let t: Vec<f64> = estimates
            .iter()
            .map(|e| e.statistic().unwrap_or(0.0))
            .collect();
        let mut adjusted = self.family(effects).step_down(&t, Sides::Two);
        // Without an error there is no doubt.
        for (p, estimate) in adjusted.iter_mut().zip(&estimates) {
            if estimate.se <= 0.0 {
                *p = self.p_value(estimate);
            }
        }
        adjusted
    }
}
