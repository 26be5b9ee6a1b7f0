//! What is expected of the levels' variances before anything is known of a metric.
//!
//! The standard deviation that a level adds to the metric (in units of the metric's own) has a half-Cauchy distribution (Gelman, Bayesian
//! Analysis 2006) with one scale for all levels: most add little, some add much. A level is then never sure to add nothing, and what
//! the data say little of is neither left out nor free. How many levels matter differs between metrics (a latency that is
//! a sum of layers follows few slopes, an accuracy has something of everything), so the scale follows from the data too: it
//! is an average over a grid, weighted by the marginal likelihood of each by Laplace's approximation.

use nalgebra::DMatrix;

use super::inverse::inverse;
use super::variance_components::{Model, Variances};

/// Scales that are tried, from the widest on.
const SCALES: [f64; 5] = [0.2, 0.1, 0.05, 0.025, 0.0125];
/// A scale that is less likely than the best one by this logarithm needs no narrower one beside it.
const UNLIKELY: f64 = 4.0;

/// Most updates of the variances for each scale: enough to tell scales apart.
const ROUGH: usize = 30;

/// Half-Cauchy prior of what levels add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    scale: f64,
}

impl Prior {
    /// The prior that the data of a model speak for, and the variances that are likeliest under the best scale tried; `None` when a matrix
    /// cannot be factored.
    pub(super) fn of(model: &Model<'_>) -> Option<(Self, Variances)> {
        let mut tried: Vec<(f64, f64, Variances)> = Vec::new();
        let best = |tried: &[(f64, f64, Variances)]| {
            let all = tried.iter().map(|(_, evidence, _)| *evidence);
            all.fold(f64::NEG_INFINITY, f64::max)
        };
        for scale in SCALES {
            let prior = Self { scale };
            // Wide scales first, and each from where the last one ended: from nothing, what is signal would be taken for noise.
            let start = tried.last().map(|(_, _, v)| v.clone());
            let start = start.unwrap_or_else(|| model.begin(prior));
            let v = model.maximise(prior, start, ROUGH)?;
            let evidence = prior.evidence(model, &v)?;
            tried.push((scale, evidence, v));
            if evidence < best(&tried) - UNLIKELY {
                break;
            }
        }
        let most = best(&tried);
        let weight = |evidence: f64| (evidence - most).exp();
        let total: f64 = tried.iter().map(|(_, e, _)| weight(*e)).sum();
        let log_scale: f64 = tried.iter().map(|(s, e, _)| weight(*e) * s.ln()).sum();
        let likeliest = tried.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let scale = (log_scale / total).exp();
        Some((Self { scale }, likeliest.2))
    }

    /// The variance of a level that adds as much as half of all levels do: `reach` is what a variance of 1 adds.
    pub(super) fn usual(self, reach: f64) -> f64 {
        if reach > 0.0 {
            self.scale * self.scale / reach
        } else {
            0.0
        }
    }

    /// The next variance of a level, from the present one `s`: the minimum of what bounds the posterior density from above. `fit` and
    /// `expected` are y'H^-1 K H^-1 y and tr(H^-1 K).
    pub(super) fn update(self, s: f64, reach: f64, fit: f64, expected: f64) -> f64 {
        let u = self.relative(s, reach);
        let slope = expected / 2.0 + u / s / (1.0 + u);
        (0.5 + (0.25 + 2.0 * slope * s * s * fit).sqrt()) / (2.0 * slope)
    }

    /// By how much the prior adds to the information on the logarithm of a variance: its curvature.
    pub(super) fn information(self, s: f64, reach: f64) -> f64 {
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
        let densities: f64 = varying.map(|(&s, &r)| self.log_density(s, r)).sum();
        Some(model.log_likelihood(v)? + densities)
    }

    /// The information on the logarithms of all variances (levels, then noise), the prior's included. Levels that do not vary in the data
    /// have 1.
    pub(super) fn posterior_information(
        self,
        model: &Model<'_>,
        v: &Variances,
        inverse: &DMatrix<f64>,
    ) -> DMatrix<f64> {
        let mut information = model.information(v, inverse);
        for (g, (&s, &reach)) in v.levels.iter().zip(&model.reach).enumerate() {
            information[(g, g)] += if reach > 0.0 {
                self.information(s, reach)
            } else {
                1.0
            };
        }
        information
    }
}
