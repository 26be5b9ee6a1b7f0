//! How alike two profiles' block effects are, were they known without noise.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::Numbers;
use super::quantities::{ChangeOf, Quantity};
use crate::profile::Uncertainty;
use crate::seed::{Rng, Seed};
use crate::stats::max_t::root;
use crate::stats::{mean, quantile, standard_normal};

/// Draws behind the interval.
const DRAWS: usize = 1_000;
/// Where less than this part of an estimate's spread is not noise, nothing can be said.
const LEAST_RELIABILITY: f64 = 0.05;

/// Correlation of the block effects of two profiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// Of the estimates as they are.
    pub plain: f64,
    /// Of the true effects: the plain one over the root of both reliabilities (Spearman's correction for attenuation),
    /// ended at -1 and 1.
    pub corrected: f64,
    /// Ends of its 95 % interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Parts of the estimates' spread that are not noise.
    pub reliabilities: [f64; 2],
    /// Number of block effects.
    pub effects: usize,
}

/// `None` where there are no block effects, or nothing but noise.
pub(super) fn correlation(
    x: &Numbers<'_>,
    y: &Numbers<'_>,
    quantities: &[Quantity],
) -> Option<Correlation> {
    let blocks: Vec<&Quantity> = quantities
        .iter()
        .filter(|q| q.subject.of == ChangeOf::Block)
        .collect();
    let first = Vector::new(x, blocks.iter().map(|q| &q.a))?;
    let second = Vector::new(y, blocks.iter().map(|q| &q.b))?;
    let reliabilities = [first.reliability(), second.reliability()];
    if !reliabilities.iter().all(|r| *r >= LEAST_RELIABILITY) {
        return None;
    }
    let plain = cosine(&first.values, &second.values);
    let corrected = plain / (reliabilities[0] * reliabilities[1]).sqrt();
    let mut rng = Seed(0).stream("correlation").rng();
    let drawn: Vec<f64> = (0..DRAWS)
        .map(|_| cosine(&first.drawn(&mut rng), &second.drawn(&mut rng)))
        .collect();
    // Noise lowers the draws' correlations once more, by the same factor on average: their spread is that of the
    // estimate, put where the estimate is.
    let lowered = mean(&drawn) - plain;
    let factor = corrected / plain;
    let end = |q| quantile(&drawn, q).map_or(corrected, |r| (r - lowered) * factor);
    let unit = |r: f64| r.clamp(-1.0, 1.0);
    Some(Correlation {
        plain,
        corrected: unit(corrected),
        low: unit(end(0.025)),
        high: unit(end(0.975)),
        reliabilities,
        effects: blocks.len(),
    })
}

/// Block effects with the root of their covariance.
struct Vector {
    values: DVector<f64>,
    root: DMatrix<f64>,
    /// Mean squared error.
    noise: f64,
    uncertainty: Uncertainty,
}

impl Vector {
    fn new<'w>(
        numbers: &Numbers<'_>,
        weights: impl ExactSizeIterator<Item = &'w super::quantities::Weights>,
    ) -> Option<Self> {
        let mut map = DMatrix::zeros(weights.len(), numbers.values.len());
        for (row, weights) in weights.enumerate() {
            for &(i, w) in weights {
                map[(row, i)] += w;
            }
        }
        if map.nrows() < 3 {
            return None;
        }
        let values = &map * DVector::from_column_slice(&numbers.values);
        let covariance = &map * &numbers.covariance * map.transpose();
        Some(Self {
            noise: covariance.trace() / values.len() as f64,
            root: root(&covariance),
            values,
            uncertainty: numbers.joint.uncertainty,
        })
    }

    /// The part of the estimates' spread that is not noise. Unbiased estimates spread wider than the truth, by their
    /// noise; shrunken ones less wide, by what is left uncertain.
    fn reliability(&self) -> f64 {
        let spread = self.values.norm_squared() / self.values.len() as f64;
        match self.uncertainty {
            Uncertainty::Sampling => (spread - self.noise) / spread,
            Uncertainty::Posterior => spread / (spread + self.noise),
        }
    }

    fn drawn(&self, rng: &mut Rng) -> DVector<f64> {
        let z = DVector::from_fn(self.root.ncols(), |_, _| standard_normal(rng));
        &self.values + &self.root * z
    }
}

/// Effects have mean 0 at every placement: their correlation is the cosine of the angle between them.
fn cosine(a: &DVector<f64>, b: &DVector<f64>) -> f64 {
    a.dot(b) / (a.norm() * b.norm()).max(f64::MIN_POSITIVE)
}
