//! What the additive model of the means leaves of the observations.

use nalgebra::{DMatrix, DVector};

use super::means::Contrast;
use super::{Layout, Means, Observation, Uncertainty};
use crate::space::Architecture;

/// More observations than this tell nothing new about their spread.
const ENOUGH: usize = 5_000;
/// Residual spread below this part of the metric's is rounding.
const ROUNDING: f64 = 1e-4;
/// Fewest degrees of freedom that the residuals must have.
const FEWEST_DEGREES: f64 = 8.0;
/// Eigenvalues below this part of the largest belong to columns that say the same as others.
const NEGLIGIBLE: f64 = 1e-9;

impl Layout {
    /// The prediction of the additive model for an architecture: the overall mean, plus the main effects of everything
    /// that it chose.
    pub(super) fn prediction(&self, arch: &Architecture) -> Contrast {
        let mut row = vec![(self.overall(), 1.0)];
        for unit in 0..self.units() {
            row.extend(self.depth_effect(unit, arch.depth(unit)));
            row.extend(self.width_effect(unit, arch.unit(unit).width));
        }
        for (placement, block) in arch.active() {
            row.extend(self.block_effect(placement, block));
        }
        row
    }

    /// Number of free parameters besides the blocks: the mean, depths and widths.
    fn unshrunk(&self) -> usize {
        let unit = |u| self.depths(u).count() + self.widths(u).count() - 2;
        1 + (0..self.units()).map(unit).sum::<usize>()
    }
}

/// The observations seen through the additive model, as a quadratic form M: under it, M y has the covariance `variance`
/// times M.
///
/// For shrunken estimates M = I - X S X' / variance, with S the means' covariance given the data and the variances; for
/// others M projects onto what no sum of main effects can explain.
pub(super) struct Residuals {
    /// The predictions' rows over the means.
    rows: DMatrix<f64>,
    /// X' weighted so that M = I - X `shrink` X'.
    shrink: DMatrix<f64>,
    /// Deviations of the values from their mean.
    centred: DVector<f64>,
    /// M times the values.
    residual: DVector<f64>,
    /// Variance of what is not additive, noise included.
    pub(super) variance: f64,
    /// Its degrees of freedom.
    pub(super) degrees_of_freedom: f64,
    /// Dimensions in which M is not 0.
    pub(super) dimensions: usize,
}

impl Residuals {
    /// `None` where there are too few observations to tell.
    pub(super) fn new(
        layout: &Layout,
        observations: &[Observation],
        means: &Means,
    ) -> Option<Self> {
        let used = &observations[..observations.len().min(ENOUGH)];
        let n = used.len();
        let mut rows = DMatrix::zeros(n, layout.len());
        for (row, observation) in used.iter().enumerate() {
            for (i, w) in layout.prediction(&observation.draw.arch) {
                rows[(row, i)] += w;
            }
        }
        let values = DVector::from_iterator(n, used.iter().map(|o| o.value));
        let center = if n == 0 { 0.0 } else { values.mean() };
        let centred = values.add_scalar(-center);
        match means.uncertainty {
            Uncertainty::Posterior => Self::shrunken(layout, rows, values, centred, means),
            Uncertainty::Sampling => Self::projected(rows, centred),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn shrunken(
        layout: &Layout,
        rows: DMatrix<f64>,
        values: DVector<f64>,
        centred: DVector<f64>,
        means: &Means,
    ) -> Option<Self> {
        let n = rows.nrows();
        let (known, covariance) = match &means.additive {
            Some(additive) => (&additive.values, &additive.covariance),
            None => (&means.values, &means.covariance),
        };
        let residual = values - &rows * DVector::from_column_slice(known);
        let size = known.len();
        let covariance = DMatrix::from_column_slice(size, size, covariance);
        let half = &rows * &covariance;
        let trace = half.component_mul(&rows).sum();
        let squares = residual.norm_squared();
        // Residuals of shrunken estimates have the covariance variance * I - X S X'; its trace tells the variance.
        let variance = (squares + trace) / (n as f64).max(1.0);
        let used = if variance > 0.0 {
            trace / variance
        } else {
            0.0
        };
        let degrees_of_freedom = n as f64 - used;
        if degrees_of_freedom.is_nan() || degrees_of_freedom < FEWEST_DEGREES {
            return None;
        }
        let scale = if variance > 0.0 { 1.0 / variance } else { 0.0 };
        Some(Self {
            dimensions: n.saturating_sub(layout.unshrunk()),
            shrink: covariance * scale,
            rows,
            centred,
            residual,
            variance,
            degrees_of_freedom,
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn projected(rows: DMatrix<f64>, centred: DVector<f64>) -> Option<Self> {
        let gram = rows.tr_mul(&rows).symmetric_eigen();
        let largest = gram.eigenvalues.max();
        let kept: Vec<usize> = (0..gram.eigenvalues.len())
            .filter(|&i| gram.eigenvalues[i] > NEGLIGIBLE * largest)
            .collect();
        let root = DMatrix::from_fn(rows.ncols(), kept.len(), |row, column| {
            gram.eigenvectors[(row, kept[column])] / gram.eigenvalues[kept[column]].sqrt()
        });
        let shrink = &root * root.transpose();
        let fitted = &rows * (&shrink * rows.tr_mul(&centred));
        let residual = &centred - fitted;
        let dimensions = rows.nrows().saturating_sub(kept.len());
        let degrees_of_freedom = dimensions as f64;
        (degrees_of_freedom >= FEWEST_DEGREES).then(|| Self {
            variance: residual.norm_squared() / degrees_of_freedom,
            rows,
            shrink,
            centred,
            residual,
            degrees_of_freedom,
            dimensions,
        })
    }

    /// Number of observations looked at.
    pub(super) fn len(&self) -> usize {
        self.rows.nrows()
    }

    /// Whether the metric is a sum, up to rounding.
    pub(super) fn is_exact(&self) -> bool {
        let spread = self.centred.norm_squared() / self.len().max(1) as f64;
        self.variance <= ROUNDING * ROUNDING * spread
    }

    /// W' M W of further columns.
    pub(super) fn form(&self, columns: &DMatrix<f64>) -> DMatrix<f64> {
        let through = self.rows.tr_mul(columns);
        columns.tr_mul(columns) - through.tr_mul(&(&self.shrink * &through))
    }

    /// W' M y of further columns.
    pub(super) fn scores(&self, columns: &DMatrix<f64>) -> DVector<f64> {
        columns.tr_mul(&self.residual)
    }

    /// y' M y.
    pub(super) fn squares(&self) -> f64 {
        self.centred.dot(&self.residual).max(0.0)
    }
}
