//! Does the metric add up over blocks, or do neighbours interact?
//!
//! What the additive model leaves of the observations is searched for three kinds of interaction ([`features`]). Each kind is a
//! random effect: y = additive + W g + noise, g ~ N(0, rho s^2). In coordinates in which the residuals are independent
//! and equally noisy under the additive model, a score statistic has a null distribution that does not depend on any parameter, so
//! p values are exact for normal noise, whatever the number of networks (a rotation test: Langsrud, Statistics and
//! Computing 2005). The interval of rho holds every value that the same test does not reject.

mod features;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use self::features::Columns;
use super::residual::Residuals;
use super::{Layout, Observation};
use crate::seed::Seed;
use crate::space::DesignSpace;
use crate::stats::multiple::holm;
use crate::stats::{chi_squared_ratio, standard_normal};

/// Draws of the null distribution.
const DRAWS: usize = 4_000;
/// A column whose part outside the additive model is smaller than this, relative to the largest, is additive.
const NEGLIGIBLE: f64 = 1e-6;
/// Probability that the interval of a share misses, on each side.
const TAIL: f64 = 0.025;
/// Largest variance of an interaction, in variances of the noise.
const MOST: f64 = 1e4;

/// A way in which choices may depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interaction {
    /// A layer holds the same block as the layer before it.
    RepeatedBlock,
    /// Kernels, and expansions, of neighbouring layers, also across units.
    Neighbours,
    /// Kernels and expansions in units of a certain depth.
    Depth,
}

/// The kinds that are tested, in the order of reports.
const KINDS: [Interaction; 3] = [
    Interaction::RepeatedBlock,
    Interaction::Neighbours,
    Interaction::Depth,
];

/// The test of one kind of interaction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InteractionTest {
    /// What was tested.
    pub kind: Interaction,
    /// p value of "no such interaction".
    pub p: f64,
    /// The same, corrected for the number of kinds (Holm).
    pub adjusted_p: f64,
    /// Its share of the metric's variance: estimate, and both ends of a 95 % interval.
    pub share: [f64; 3],
}

/// How far the metric is from a sum over blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Additivity {
    /// One test for every kind that the space offers.
    pub tests: Vec<InteractionTest>,
    /// The share of the variance that is not additive for whatever reason, noise included.
    pub rest: f64,
}

impl Additivity {
    /// The surest kind of interaction, where one is sure.
    #[must_use]
    pub fn surest(&self) -> Option<&InteractionTest> {
        let sure = self.tests.iter().filter(|t| t.adjusted_p < 0.05);
        sure.min_by(|a, b| a.p.total_cmp(&b.p))
    }

    /// The largest share of the variance that any kind may have, by its interval.
    #[must_use]
    pub fn at_most(&self) -> f64 {
        self.tests.iter().fold(0.0, |most, t| t.share[2].max(most))
    }
}

/// Tests all kinds of interaction. `explained` is the variance of the additive part.
pub(super) fn additivity(
    space: &DesignSpace,
    layout: &Layout,
    observations: &[Observation],
    residuals: &Residuals,
    explained: f64,
) -> Option<Additivity> {
    let total = explained + residuals.variance;
    if total <= 0.0 {
        return None;
    }
    let used = &observations[..residuals.len()];
    let mut tests = Vec::new();
    for kind in KINDS {
        let Some(design) = Columns::new(space, layout, kind).design(space, used) else {
            continue;
        };
        let (p, share) = if residuals.is_exact() {
            (1.0, [0.0; 3])
        } else if let Some(form) = Form::new(residuals, &design) {
            (form.p_value(), form.share(total))
        } else {
            continue;
        };
        tests.push(InteractionTest {
            kind,
            p,
            adjusted_p: p,
            share,
        });
    }
    let p: Vec<f64> = tests.iter().map(|t| t.p).collect();
    for (test, adjusted) in tests.iter_mut().zip(holm(&p)) {
        test.adjusted_p = adjusted;
    }
    (!tests.is_empty()).then_some(Additivity {
        tests,
        rest: residuals.variance / total,
    })
}

/// The residuals in coordinates in which the interaction acts on each by itself: squares `v` that have the expectation
/// s^2 (1 + rho d), and the squares of everything else.
struct Form {
    d: DVector<f64>,
    v: DVector<f64>,
    rest: f64,
    /// Null draws: squares for every coordinate, and the sum of all squares.
    drawn: Vec<(DVector<f64>, f64)>,
    dimensions: f64,
}

impl Form {
    #[allow(clippy::cast_precision_loss)]
    fn new(residuals: &Residuals, design: &DMatrix<f64>) -> Option<Self> {
        let eigen = residuals.form(design).symmetric_eigen();
        let largest = eigen.eigenvalues.max();
        if largest.is_nan() || largest <= 0.0 {
            return None;
        }
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len())
            .filter(|&i| eigen.eigenvalues[i] > NEGLIGIBLE * largest)
            .collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        order.truncate(residuals.dimensions);
        let scores = residuals.scores(design);
        let d = DVector::from_iterator(order.len(), order.iter().map(|&i| eigen.eigenvalues[i]));
        let square =
            |&i: &usize| eigen.eigenvectors.column(i).dot(&scores).powi(2) / eigen.eigenvalues[i];
        let v = DVector::from_iterator(order.len(), order.iter().map(square));
        let others = residuals.dimensions - order.len();
        let rest = if others == 0 {
            0.0
        } else {
            (residuals.squares() - v.sum()).max(0.0)
        };
        let mut rng = Seed(0).stream("additivity").rng();
        let drawn = (0..DRAWS).map(|_| {
            let squares = DVector::from_fn(order.len(), |_, _| standard_normal(&mut rng).powi(2));
            let other = others as f64;
            let rest = if others == 0 {
                0.0
            } else {
                other * chi_squared_ratio(other, &mut rng)
            };
            let all = squares.sum() + rest;
            (squares, all)
        });
        Some(Self {
            drawn: drawn.collect(),
            dimensions: residuals.dimensions as f64,
            d,
            v,
            rest,
        })
    }

    /// Shares of null draws whose score, that of a larger variance of the interaction where it is `rho`, is at least the
    /// observed one.
    #[allow(clippy::cast_precision_loss)]
    fn above(&self, rho: f64) -> f64 {
        let weights = self.d.map(|d| d / (1.0 + rho * d));
        let whitened = self.whitened(rho);
        let observed = weights.dot(&whitened) / (whitened.sum() + self.rest).max(f64::MIN_POSITIVE);
        let exceeds =
            |(squares, all): &&(DVector<f64>, f64)| weights.dot(squares) >= observed * all;
        let above = self.drawn.iter().filter(exceeds).count() as f64;
        (above + 1.0) / (DRAWS as f64 + 1.0)
    }

    fn whitened(&self, rho: f64) -> DVector<f64> {
        self.v.zip_map(&self.d, |v, d| v / (1.0 + rho * d))
    }

    fn p_value(&self) -> f64 {
        self.above(0.0)
    }

    /// The interaction's share of `total`: median-unbiased estimate and interval.
    fn share(&self, total: f64) -> [f64; 3] {
        let at = |upper: f64| {
            let rho = self.crossing(upper);
            let noise = (self.whitened(rho).sum() + self.rest) / self.dimensions;
            (rho * noise / total).min(1.0)
        };
        [at(0.5), at(TAIL), at(1.0 - TAIL)]
    }

    /// The `rho` at which the observed score is exceeded with this probability; 0 where it is so already without any
    /// interaction.
    fn crossing(&self, upper: f64) -> f64 {
        if self.above(0.0) >= upper {
            return 0.0;
        }
        let (mut low, mut high) = (1e-6_f64.ln(), MOST.ln());
        for _ in 0..24 {
            let middle = 0.5 * (low + high);
            if self.above(middle.exp()) < upper {
                low = middle;
            } else {
                high = middle;
            }
        }
        (0.5 * (low + high)).exp()
    }
}
