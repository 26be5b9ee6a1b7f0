//! The distribution of the coefficients, with what not knowing the variances adds to it.

use nalgebra::{DMatrix, DVector};

use super::inverse::inverse;
use super::prior::Prior;
use super::tails;
use super::variance_components::{Model, Variances};

/// The distribution of the coefficients given the data, in units of the metric's standard deviation.
pub(super) struct Posterior {
    pub(super) coefficients: DVector<f64>,
    /// The likeliest variances, which the coefficients take as known.
    pub(super) likeliest: Variances,
    /// Covariance of the coefficients with the variances taken as known.
    pub(super) conditional: DMatrix<f64>,
    /// What the uncertainty of the variances adds to the covariance.
    pub(super) added: DMatrix<f64>,
    /// Gradients of the conditional covariance: by variance (on a logarithmic scale), a matrix whose product with its
    /// own transpose is the derivative.
    slopes: Vec<DMatrix<f64>>,
    /// Covariance of the logarithms of the variances (levels, then noise).
    variances: DMatrix<f64>,
}

/// The coefficients as they would be without interactions, variances taken as known.
pub(super) struct AdditiveModel {
    pub(super) coefficients: DVector<f64>,
    pub(super) covariance: DMatrix<f64>,
}

impl AdditiveModel {
    /// What interactions explain of the observations becomes noise.
    pub(super) fn new(model: &Model<'_>, v: &Variances) -> Option<Self> {
        let mut v = v.clone();
        for level in model.features.interaction_levels() {
            v.noise += v.levels[level] * model.reach[level];
            v.levels[level] = 0.0;
        }
        let gain = Gain::new(model, &v)?;
        Some(Self {
            coefficients: gain.matrix * &model.data.y,
            covariance: gain.conditional,
        })
    }
}

impl Posterior {
    /// Given the variances that are likeliest under `prior`, `noise_factor` times the noise entering the covariance
    /// (robust fits know less than their weights say); `None` when a matrix cannot be factored.
    ///
    /// The variances are not known, and taking them as known makes intervals too short. To first order, the covariance
    /// grows by J V J', with J the derivatives of the coefficients in the logarithms of the variances and V the inverse
    /// of the information on these (Kackar and Harville, JASA 1984; Laplace's approximation). So it does for the
    /// variance that every direction has of its own ([`tails`]): what is shrunk although it lies far out is the less
    /// certain for it.
    pub(super) fn new(
        model: &Model<'_>,
        prior: Prior,
        likeliest: &Variances,
        noise_factor: f64,
    ) -> Option<Self> {
        let inverse = inverse(&model.marginal(likeliest)?);
        let information = prior.posterior_information(model, likeliest, &inverse);
        let variances = information.cholesky()?.inverse();
        let estimating = Gain::new(model, likeliest)?;
        let coefficients = &estimating.matrix * &model.data.y;
        let v = &Variances {
            noise: likeliest.noise * noise_factor,
            levels: likeliest.levels.clone(),
        };
        let gain = if noise_factor > 1.0 {
            Gain::new(model, v)?
        } else {
            estimating
        };
        let slopes = gain.slopes_by_variance(model, v);
        let added = added(model, v, &gain, &slopes, &variances);
        Some(Self {
            coefficients,
            likeliest: likeliest.clone(),
            conditional: gain.conditional,
            added,
            slopes,
            variances,
        })
    }

    /// Covariance of the coefficients, for intervals.
    pub(super) fn covariance(&self) -> DMatrix<f64> {
        &self.conditional + &self.added
    }

    /// Degrees of freedom of the variance of each row of `contrasts` times the coefficients, by Satterthwaite's
    /// approximation (as Kenward and Roger, Biometrics 1997, use it): how well is it known how uncertain they are?
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

/// What not knowing the variances adds to the covariance of the coefficients; `variances` is the covariance of their
/// logarithms.
fn added(
    model: &Model<'_>,
    v: &Variances,
    gain: &Gain,
    slopes: &[DMatrix<f64>],
    variances: &DMatrix<f64>,
) -> DMatrix<f64> {
    // H^-1 y.
    let left = &model.data.y - &model.data.z * (&gain.matrix * &model.data.y);
    let weighted = left / v.noise;
    let pulled = model.data.z.tr_mul(&weighted);
    let mut shared: Vec<DVector<f64>> = Vec::new();
    let mut own: Vec<DVector<f64>> = Vec::new();
    for ((directions, s), slope) in model.directions.iter().zip(&v.levels).zip(slopes) {
        let pulls = directions.tr_mul(&pulled) * s.sqrt();
        shared.push(slope * &pulls);
        // The only direction of a level has no variance but that.
        if directions.ncols() > 1 {
            let each = slope.column_iter().zip(pulls.iter());
            own.extend(each.map(|(column, pull)| column * *pull));
        }
    }
    shared.push(-(&gain.matrix * &weighted) * v.noise);
    let shared = DMatrix::from_columns(&shared);
    let mut added = &shared * variances * shared.transpose();
    if !own.is_empty() {
        let own = DMatrix::from_columns(&own);
        added.gemm(tails::LOG_VARIANCE, &own, &own.transpose(), 1.0);
    }
    added
}

/// What turns data into coefficients, with P = D D', a column of D for every direction, and W = Z D.
struct Gain {
    /// D (I + W'W / noise)^-1: the slope of the coefficients in every direction, times the direction's standard
    /// deviation.
    slopes: DMatrix<f64>,
    /// Covariance of the coefficients.
    conditional: DMatrix<f64>,
    /// P Z'H^-1.
    matrix: DMatrix<f64>,
}

impl Gain {
    fn new(model: &Model<'_>, v: &Variances) -> Option<Self> {
        let root = model.prior_root(v);
        let reached = &model.data.z * &root;
        let slopes = if model.data.is_compressed() {
            Self::slopes_of_many(&root, &reached, v.noise)?
        } else {
            let inverted = model.marginal(v)?.solve(&reached);
            &root - &root * reached.transpose() * inverted
        };
        let conditional = &slopes * root.transpose();
        let conditional = (&conditional + conditional.transpose()) * 0.5;
        let matrix = &slopes * reached.transpose() / v.noise;
        Some(Self {
            slopes,
            conditional,
            matrix,
        })
    }

    /// By variance, levels first and noise last: a matrix whose product with its own transpose is the derivative of the
    /// conditional covariance in the variance's logarithm.
    fn slopes_by_variance(&self, model: &Model<'_>, v: &Variances) -> Vec<DMatrix<f64>> {
        // The intercept's column comes first.
        let mut first = 1;
        let mut slopes: Vec<DMatrix<f64>> = Vec::new();
        for directions in &model.directions {
            let count = directions.ncols();
            slopes.push(self.slopes.columns(first, count).into_owned());
            first += count;
        }
        slopes.push(&self.matrix * v.noise.sqrt());
        slopes
    }

    /// With few observations, the difference above is cheaper; with many of a metric without noise it would be one of
    /// nearly equal matrices, while the eigenvalues of what is solved here are 1 or more.
    fn slopes_of_many(
        root: &DMatrix<f64>,
        reached: &DMatrix<f64>,
        noise: f64,
    ) -> Option<DMatrix<f64>> {
        let mut precision = reached.tr_mul(reached) / noise;
        (0..precision.nrows()).for_each(|i| precision[(i, i)] += 1.0);
        let solved = precision.cholesky()?.solve(&root.transpose());
        Some(solved.transpose())
    }
}
