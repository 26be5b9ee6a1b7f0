//! What is expected of the variances before anything is known of a metric.
//!
//! The standard deviation that a level adds to the metric (in units of the metric's own) has a half-Cauchy distribution
//! (Gelman, Bayesian Analysis 2006) with one scale for all levels: most add little, some add much. A level is then
//! never sure to add nothing, and what the data say little of is neither left out nor free. How many levels matter
//! differs between metrics (a latency that is a sum of layers follows few slopes, an accuracy has something of
//! everything), so the scale follows from the data too: it is an average over a grid, weighted by the marginal
//! likelihood of each by Laplace's approximation and by what is expected of scales.
//!
//! Noise has such a distribution as well, with a wide scale: few networks can be explained by levels alone, and what is
//! noise would pass for effects.

use nalgebra::DMatrix;

use super::inverse::inverse;
use super::variance_components::{Model, Variances};

/// Scales that are tried, from the widest on. Each is expected twice as often as the one before it: metrics are regular
/// sooner than not.
const SCALES: [f64; 6] = [0.2, 0.1, 0.05, 0.025, 0.0125, 0.00625];
/// A scale that is less likely than the best one by this logarithm needs no narrower one beside it.
const UNLIKELY: f64 = 4.0;
/// Most updates of the variances for each scale: enough to tell scales apart.
const ROUGH: usize = 30;

/// Of noise: up to half of what the metric varies is no surprise.
const NOISE: HalfCauchy = HalfCauchy { scale: 0.5 };

/// The prior of all variances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    pub(super) levels: HalfCauchy,
    pub(super) noise: HalfCauchy,
}

/// A half-Cauchy distribution of what a variance `s` adds to the metric's standard deviation: the root of `s` times
/// `reach`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfCauchy {
    scale: f64,
}

impl Prior {
    fn new(scale: f64) -> Self {
        Self {
            levels: HalfCauchy { scale },
            noise: NOISE,
        }
    }

    /// The prior that the data of a model speak for, and the variances that are likeliest under the best scale tried;
    /// `None` when a matrix cannot be factored.
    pub(super) fn of(model: &Model<'_>) -> Option<(Self, Variances)> {
        let mut tried: Vec<(f64, f64, Variances)> = Vec::new();
        let best = |tried: &[(f64, f64, Variances)]| {
            let all = tried.iter().map(|(_, likelihood, _)| *likelihood);
            all.fold(f64::NEG_INFINITY, f64::max)
        };
        for scale in SCALES {
            let prior = Self::new(scale);
            // Wide scales first, and each from where the last one ended: from nothing, what is signal would be taken
            // for noise.
            let start = tried.last().map(|(_, _, v)| v.clone());
            let start = start.unwrap_or_else(|| model.begin(prior));
            let v = model.maximise(prior, start, ROUGH)?;
            let likelihood = prior.evidence(model, &v)? - scale.ln();
            tried.push((scale, likelihood, v));
            if likelihood < best(&tried) - UNLIKELY {
                break;
            }
        }
        let most = best(&tried);
        let weight = |likelihood: f64| (likelihood - most).exp();
        let total: f64 = tried.iter().map(|(_, l, _)| weight(*l)).sum();
        let log_scale: f64 = tried.iter().map(|(s, l, _)| weight(*l) * s.ln()).sum();
        let likeliest = tried.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((Self::new((log_scale / total).exp()), likeliest.2))
    }

    /// Logarithm of the marginal likelihood of the scale, but for a constant, from the likeliest variances.
    fn evidence(self, model: &Model<'_>, v: &Variances) -> Option<f64> {
        let inverse = inverse(&model.marginal(v)?);
        let information = self.posterior_information(model, v, &inverse).cholesky()?;
        let half_log_determinant: f64 = information
            .l_dirty()
            .diagonal()
            .iter()
            .map(|d| d.ln())
            .sum();
        Some(self.log_posterior(model, v)? - half_log_determinant)
    }

    /// Logarithm of the density of the logarithms of all variances given the data, but for a constant.
    pub(super) fn log_posterior(self, model: &Model<'_>, v: &Variances) -> Option<f64> {
        let varying = v.levels.iter().zip(&model.reach).filter(|l| *l.1 > 0.0);
        let levels: f64 = varying.map(|(&s, &r)| self.levels.log_density(s, r)).sum();
        Some(model.log_likelihood(v)? + levels + self.noise.log_density(v.noise, 1.0))
    }

    /// The information on the logarithms of all variances (levels, then noise), the prior's included. Levels that do
    /// not vary in the data have 1.
    pub(super) fn posterior_information(
        self,
        model: &Model<'_>,
        v: &Variances,
        inverse: &DMatrix<f64>,
    ) -> DMatrix<f64> {
        let mut information = model.information(v, inverse);
        for (g, (&s, &reach)) in v.levels.iter().zip(&model.reach).enumerate() {
            information[(g, g)] += if reach > 0.0 {
                self.levels.information(s, reach)
            } else {
                1.0
            };
        }
        let noise = v.levels.len();
        information[(noise, noise)] += self.noise.information(v.noise, 1.0);
        information
    }
}

impl HalfCauchy {
    /// The variance that adds the median.
    pub(super) fn usual(self, reach: f64) -> f64 {
        if reach > 0.0 {
            self.scale * self.scale / reach
        } else {
            0.0
        }
    }

    /// The next variance, from the present one `s`: the minimum of what bounds the posterior density from above. `fit`
    /// and `expected` are y'H^-1 K H^-1 y and tr(H^-1 K), with K what a variance of 1 adds to the covariance of y.
    pub(super) fn update(self, s: f64, reach: f64, fit: f64, expected: f64) -> f64 {
        let u = self.relative(s, reach);
        let slope = expected / 2.0 + u / s / (1.0 + u);
        (0.5 + (0.25 + 2.0 * slope * s * s * fit).sqrt()) / (2.0 * slope)
    }

    /// By how much the prior adds to the information on the logarithm of a variance: its curvature.
    fn information(self, s: f64, reach: f64) -> f64 {
        let u = self.relative(s, reach);
        u / (1.0 + u).powi(2)
    }

    /// What a variance adds, in squares of the scale.
    fn relative(self, s: f64, reach: f64) -> f64 {
        s * reach / (self.scale * self.scale)
    }

    /// Logarithm of the density of a variance's logarithm.
    fn log_density(self, s: f64, reach: f64) -> f64 {
        let u = self.relative(s, reach);
        0.5 * u.ln() - u.ln_1p() - std::f64::consts::PI.ln()
    }
}
