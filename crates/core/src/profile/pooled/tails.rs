//! Coefficients that are out of line with their kin: the one placement that matters most, the one block that the device
//! does not like.
//!
//! The coefficients of a level have Student's t distribution and not the normal one, each with a variance of its own
//! around that of its level: what lies far out in the data is shrunk less. Variances of their own are updated as the
//! expectation-maximisation algorithm has it (Lange, Little and Taylor, JASA 1989).

use nalgebra::{DMatrix, DVector};

use super::variance_components::{Model, Variances};

/// Degrees of freedom of the coefficients' distribution: heavy tails, with a variance.
const TAIL: f64 = 4.0;
/// Variance of the logarithm of a direction's own variance: how unsure it is how far out a coefficient lies. The t
/// distribution alone would say 0.6 before anything is known (trigamma of 2), and 0.5 where the coefficient is
/// (trigamma of 5 / 2). More was chosen by simulation, because what is out of line is often a group of directions:
/// docs/statistics.md says how often intervals hold with it.
pub(super) const LOG_VARIANCE: f64 = 1.5;

/// Standard deviation of every direction relative to that of its level, by level.
pub(super) type Scales = Vec<DVector<f64>>;

/// Every direction like its level.
pub(super) fn even(levels: &[DMatrix<f64>]) -> Scales {
    let ones = |directions: &DMatrix<f64>| DVector::repeat(directions.ncols(), 1.0);
    levels.iter().map(ones).collect()
}

/// The next scales, from how far out every direction's coefficient is, given the data and the present ones; `None` when
/// a matrix cannot be factored.
pub(super) fn update(model: &Model<'_>, v: &Variances, scales: &Scales) -> Option<Scales> {
    let inverse = model.marginal(v)?.inverse();
    let weighted = &inverse * &model.data.y;
    let next = |((directions, &s), scales): ((&DMatrix<f64>, &f64), &DVector<f64>)| {
        if s <= 0.0 {
            return scales.clone();
        }
        // One column for every direction, its own scale included.
        let columns = &model.data.z * directions;
        let means = columns.tr_mul(&weighted);
        let known = (&inverse * &columns).component_mul(&columns).row_sum();
        // The expected square of a coefficient, relative to the variance that it was given.
        let squares = means.map(|m| s * m * m) + known.transpose().map(|k| 1.0 - s * k);
        let relative = squares.component_mul(scales).component_mul(scales);
        relative.map(|square| ((TAIL + square) / (TAIL + 1.0)).sqrt())
    };
    let levels = model.directions.iter().zip(&v.levels).zip(scales);
    Some(levels.map(next).collect())
}
