//! The distribution of the coefficients, with what not knowing the variances adds to it.

use nalgebra::{DMatrix, DVector};

use super::variance_components::{Model, Variances};

/// Directions of the variances' information below this share of the largest say nothing.
const NEGLIGIBLE: f64 = 1e-8;

/// The distribution of the coefficients given the data, in units of the metric's standard deviation.
pub(super) struct Posterior {
    pub(super) coefficients: DVector<f64>,
    /// Their covariance with the variances taken as known.
    pub(super) conditional: DMatrix<f64>,
    /// What the uncertainty of the variances adds to the covariance.
    pub(super) added: DMatrix<f64>,
    /// Gradients of the conditional covariance: by variance, a matrix whose product with its own transpose is the derivative.
    slopes: Vec<DMatrix<f64>>,
    /// Covariance of the estimated variances (levels, then noise).
    variances: DMatrix<f64>,
}

impl Posterior {
    /// Given the variances `v`, `noise_factor` times the noise entering the covariance (robust fits know less than
    /// their weights say); `None` when a matrix cannot be factored.
    ///
    /// The variances are estimates, and taking them as known makes intervals too short. To first order, the covariance
    /// grows by J V J', with J the derivatives of the coefficients in the variances and V the inverse of the
    /// variances' expected information (Kackar and Harville, JASA 1984). Levels whose variance was estimated as 0 count too: that
    /// they are 0 is not known.
    pub(super) fn new(model: &Model<'_>, v: &Variances, noise_factor: f64) -> Option<Self> {
        let estimating = Gain::new(model, v)?;
        let coefficients = &estimating.matrix * &model.data.y;
        let v = &Variances {
            noise: v.noise * noise_factor,
            levels: v.levels.clone(),
        };
        let gain = if noise_factor > 1.0 {
            Gain::new(model, v)?
        } else {
            estimating
        };
        let conditional = &gain.prior - &gain.matrix * &model.data.z * &gain.prior;
        let conditional = (&conditional + conditional.transpose()) * 0.5;
        let columns = model.features.columns();
        let kept = DMatrix::identity(columns, columns) - &gain.matrix * &model.data.z;
        let weighted = &gain.inverse * &model.data.y;
        let pulled = model.data.z.tr_mul(&weighted);
        let mut slopes: Vec<DMatrix<f64>> = Vec::new();
        let mut derivatives: Vec<DVector<f64>> = Vec::new();
        for directions in &model.directions {
            let slope = &kept * directions;
            derivatives.push(&slope * directions.tr_mul(&pulled));
            slopes.push(slope);
        }
        derivatives.push(-(&gain.matrix * &weighted));
        slopes.push(gain.matrix.clone());
        let variances = inverse_information(model, v, &gain.inverse);
        let derivatives = DMatrix::from_columns(&derivatives);
        let added = &derivatives * &variances * derivatives.transpose();
        Some(Self {
            coefficients,
            conditional,
            added,
            slopes,
            variances,
        })
    }

    /// Covariance of the coefficients, for intervals.
    pub(super) fn covariance(&self) -> DMatrix<f64> {
        &self.conditional + &self.added
    }

    /// Degrees of freedom of the variance of each row of `contrasts` times the coefficients, by Satterthwaite's approximation (as
    /// Kenward and Roger, Biometrics 1997, use it): how well is it known how uncertain they are?
    pub(super) fn satterthwaite(&self, contrasts: &DMatrix<f64>) -> Vec<f64> {
        let squares = |m: &DMatrix<f64>| -> DVector<f64> { m.component_mul(m).column_sum() };
        let gradients: Vec<DVector<f64>> = self
            .slopes
            .iter()
            .map(|slope| squares(&(contrasts * slope)))
            .collect();
        let gradients = DMatrix::from_columns(&gradients);
        let spread = (&gradients * &self.variances)
            .component_mul(&gradients)
            .column_sum();
        let known = (contrasts * &self.conditional)
            .component_mul(contrasts)
            .column_sum();
        known
            .iter()
            .zip(spread.iter())
            .map(|(known, spread)| 2.0 * known * known / spread.max(f64::MIN_POSITIVE))
            .collect()
    }
}

/// What turns data into coefficients.
struct Gain {
    prior: DMatrix<f64>,
    inverse: DMatrix<f64>,
    /// P Z' H^-1.
    matrix: DMatrix<f64>,
}

impl Gain {
    fn new(model: &Model<'_>, v: &Variances) -> Option<Self> {
        let prior = model.prior(v);
        let inverse = model.marginal(v)?.inverse();
        let matrix = &prior * model.data.z.transpose() * &inverse;
        Some(Self {
            prior,
            inverse,
            matrix,
        })
    }
}

/// The inverse of the expected information on all variances, levels first and noise last:
/// tr(H^-1 K_g H^-1 K_h) / 2.
fn inverse_information(model: &Model<'_>, v: &Variances, inverse: &DMatrix<f64>) -> DMatrix<f64> {
    let mut products: Vec<DMatrix<f64>> = model.kernels.iter().map(|k| inverse * k).collect();
    products.push(inverse.clone());
    let n = products.len();
    let transposed: Vec<DMatrix<f64>> = products.iter().map(DMatrix::transpose).collect();
    let mut information = DMatrix::zeros(n, n);
    for i in 0..n {
        for j in 0..=i {
            let value = products[i].dot(&transposed[j]) / 2.0;
            information[(i, j)] = value;
            information[(j, i)] = value;
        }
    }
    information[(n - 1, n - 1)] += model.data.rest.1 / (v.noise * v.noise) / 2.0;
    pseudo_inverse(&information)
}

/// The inverse on what carries information, after scaling to a unit diagonal.
fn pseudo_inverse(information: &DMatrix<f64>) -> DMatrix<f64> {
    let n = information.nrows();
    let scale = information
        .diagonal()
        .map(|d| if d > 0.0 { d.sqrt().recip() } else { 0.0 });
    let scaled = DMatrix::from_fn(n, n, |i, j| information[(i, j)] * scale[i] * scale[j]);
    let eigen = scaled.symmetric_eigen();
    let largest = eigen.eigenvalues.max();
    let mut inverse = DMatrix::zeros(n, n);
    for (value, vector) in eigen
        .eigenvalues
        .iter()
        .zip(eigen.eigenvectors.column_iter())
    {
        if *value > NEGLIGIBLE * largest {
            inverse.ger(1.0 / value, &vector, &vector, 1.0);
        }
    }
    DMatrix::from_fn(n, n, |i, j| inverse[(i, j)] * scale[i] * scale[j])
}
