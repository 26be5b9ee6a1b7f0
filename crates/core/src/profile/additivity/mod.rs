//! Does the metric add up over blocks, or do neighbours interact?
//!
//! What the additive model leaves of the observations is searched for three kinds of interaction ([`features`]), each a
//! set of columns W. In coordinates in which the residuals are independent and equally noisy under the additive model,
//! the score of "y = additive + W g + noise, g ~ N(0, rho s^2)" has a null distribution that does not depend on any
//! parameter, so p values are exact for normal noise and the variances that the fit takes as known, whatever the number
//! of networks (a rotation test: Langsrud, Statistics and Computing 2005). How large an interaction is follows from the
//! noncentral F distribution, with g whatever it is.

mod features;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use self::features::Columns;
use super::residual::Residuals;
use super::{Layout, Observation};
use crate::seed::Seed;
use crate::space::DesignSpace;
use crate::stats::multiple::holm;
use crate::stats::noncentral::noncentrality;
use crate::stats::{chi_squared_ratio, critical_t, standard_normal};

/// Draws of the null distribution.
const DRAWS: usize = 4_000;
/// A column whose part outside the additive model is smaller than this, relative to the largest, is additive.
const NEGLIGIBLE: f64 = 1e-6;
/// The share of what an interaction is expected to do that is looked at to tell how much it does.
const TELLING: f64 = 0.9;
/// Fewest dimensions that have one for an interaction and one for the noise.
const FEWEST_DIMENSIONS: usize = 2;
/// Noise below this part of the signal is rounding.
const ROUNDING: f64 = 1e-12;
/// Probability that the interval of a share misses, on each side.
const TAIL: f64 = 0.025;

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

/// Tests all kinds of interaction. `total` is the metric's variance over the space, and the relative standard deviation
/// of what it may be.
pub(super) fn additivity(
    space: &DesignSpace,
    layout: &Layout,
    observations: &[Observation],
    residuals: &Residuals,
    (total, uncertain): (f64, f64),
) -> Option<Additivity> {
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
            (form.p_value(), form.share(total, uncertain))
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

/// The residuals in coordinates in which the interaction acts on each by itself, those first in which it acts most:
/// squares `v` that have the expectation s^2 (1 + rho d), and the squares of everything else.
struct Form {
    d: DVector<f64>,
    v: DVector<f64>,
    rest: f64,
    /// Dimensions of `rest`.
    others: usize,
    /// Standard deviation, relative, of an interaction's mean square over so many architectures around that over the
    /// space.
    sampling: f64,
}

impl Form {
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
        if order.is_empty() || residuals.dimensions < FEWEST_DIMENSIONS {
            return None;
        }
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
        let vectors: Vec<_> = order
            .iter()
            .map(|&i| eigen.eigenvectors.column(i))
            .collect();
        let sampling = sampling_of_squares(&(design * DMatrix::from_columns(&vectors)), &d);
        Some(Self {
            d,
            v,
            rest,
            others,
            sampling,
        })
    }

    /// How often a score as large as the observed one comes without any interaction.
    #[allow(clippy::cast_precision_loss)]
    fn p_value(&self) -> f64 {
        let observed = self.d.dot(&self.v) / (self.v.sum() + self.rest).max(f64::MIN_POSITIVE);
        let mut rng = Seed(0).stream("additivity").rng();
        let exceeds = |_: &usize| {
            let squares = DVector::from_fn(self.d.len(), |_, _| standard_normal(&mut rng).powi(2));
            let others = self.others as f64;
            let all = squares.sum() + others * chi_squared_ratio(others, &mut rng);
            self.d.dot(&squares) >= observed * all
        };
        let above = (0..DRAWS).filter(exceeds).count() as f64;
        (above + 1.0) / (DRAWS as f64 + 1.0)
    }

    /// The interaction's share of `total`, which is uncertain by so much relatively: median-unbiased estimate and
    /// interval.
    ///
    /// The coefficients are whatever they are (nearly all of an interaction may lie in one direction), so the sum of
    /// squares in the directions in which it would act most is noncentral, and the others tell the noise.
    #[allow(clippy::cast_precision_loss)]
    fn share(&self, total: f64, uncertain: f64) -> [f64; 3] {
        let dimensions = self.d.len() + self.others;
        let looked_at = self.telling().min(dimensions / 2).max(1);
        let signal = self.v.rows(0, looked_at).sum();
        let noise = (self.v.sum() - signal + self.rest).max(ROUNDING * signal);
        let (signals, noises) = (looked_at as f64, (dimensions - looked_at) as f64);
        let ratio = signal / noise;
        // An interaction that is like any other has this part of its effect where it is looked for, one of few
        // directions has all of it there: the geometric mean is off by little for either.
        let (here, all) = (self.d.rows(0, looked_at).sum(), self.d.sum());
        let variance = noise / noises / (here * all).sqrt();
        let at = |upper| noncentrality(ratio, signals, noises, upper) * variance / total;
        let [value, low, high] = [at(0.5), at(TAIL), at(1.0 - TAIL)];
        let spread = self.sampling.hypot(uncertain);
        let half = critical_t(2.0 * TAIL, f64::INFINITY) * spread;
        let off = half.hypot(0.5 * (all / here).ln());
        [value, apart(value, low, off), apart(value, high, off)].map(|x| x.min(1.0))
    }

    /// Fewest directions, those first in which an interaction acts most, that hold most of what it would do.
    fn telling(&self) -> usize {
        let all = self.d.sum();
        let mut held = 0.0;
        let enough = self.d.iter().position(|d| {
            held += d;
            held >= TELLING * all
        });
        enough.map_or(self.d.len(), |last| last + 1)
    }
}

/// An end of an interval, farther from its value by what is off beside it, in logarithms.
fn apart(value: f64, end: f64, off: f64) -> f64 {
    if value <= 0.0 || end <= 0.0 {
        return end;
    }
    let by = (end / value).ln();
    value * by.hypot(off).copysign(by).exp()
}

/// How far, relatively, the mean square of a column is from what it is over the space, on average over columns that
/// count as `weights` say: the standard error of a mean of squares.
#[allow(clippy::cast_precision_loss)]
fn sampling_of_squares(columns: &DMatrix<f64>, weights: &DVector<f64>) -> f64 {
    let n = columns.nrows() as f64;
    let of_column = |column: nalgebra::DVectorView<'_, f64>| {
        let squares = column.map(|x| x * x);
        (squares.norm_squared() / squares.sum().powi(2) - 1.0 / n)
            .max(0.0)
            .sqrt()
    };
    let weighted = columns.column_iter().zip(weights.iter());
    weighted
        .map(|(column, w)| w * of_column(column))
        .sum::<f64>()
        / weights.sum()
}
