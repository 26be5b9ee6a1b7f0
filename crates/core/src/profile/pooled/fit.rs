//! The fitted model: coefficients with their uncertainty, the means that follow, and predictions.

use nalgebra::{DMatrix, DVector};

use super::data::Compressed;
use super::features::{Features, Tables};
use super::noise::Noise;
use super::posterior::{AdditiveModel, Posterior};
use super::prior::Prior;
use super::tails;
use super::variance_components::{Model, Variances};
use crate::profile::{
    Additive, EstimateError, Layout, Means, Observation, Uncertainty, check_finite,
};
use crate::space::{Architecture, DesignSpace, Unit};
use crate::stats::{mean, quantile, variance};
use crate::surrogate::{DepthTerm, LayerTerms, UnitTerms, WidthTerm};

/// Fewest observations: less says nothing about how noisy they are.
pub const FEWEST: usize = 8;
/// Rounds of fitting, judging the noise of each observation and finding what is out of line.
const ROUNDS: usize = 4;
/// Most updates of the variances in a round.
const MOST_UPDATES: usize = 100;
/// Rounds after which what is out of line is known well enough.
const LEAST_ROUNDS: usize = 2;
/// Weights that change by less, on average, are the same.
const SAME_WEIGHTS: f64 = 0.02;
/// Residuals below this share of the metric's standard deviation are the model's own, not noise (MACs have none).
const NO_NOISE: f64 = 0.01;
/// Rows per column beyond which leverages are so small that their average stands for each.
const MANY_ROWS: usize = 10;
/// Of the degrees of freedom of all block effects, those of simultaneous statements: the largest of many errors comes
/// from where variances are known least.
const JOINT_QUANTILE: f64 = 0.1;
/// The share of these that is used: the largest of many errors also comes from the one effect that is shrunk towards
/// kin that it does not resemble, which no variance tells. Chosen by simulation: with all of them, simultaneous
/// intervals of averages held in four of five campaigns where neighbours interact.
const JOINT_SHARE: f64 = 0.5;
/// Smallest degrees of freedom: fewer are worse than none known.
const FEWEST_DEGREES: f64 = 3.0;
/// Largest leverage: a residual is never divided by 0.
const LARGEST_LEVERAGE: f64 = 1.0 - 1e-6;

/// The pooled model of one metric, fitted.
pub struct Fit {
    features: Features,
    center: f64,
    scale: f64,
    /// `None` for a metric that never varies.
    known: Option<Known>,
}

/// What is known of a metric that varies, in units of its standard deviation.
struct Known {
    posterior: Posterior,
    /// What reading residuals takes.
    additive: AdditiveModel,
    degrees_of_freedom: f64,
    /// Squared scale of Student's t distribution with these degrees of freedom that has a variance of 1.
    squared_scale: f64,
    joint_degrees_of_freedom: f64,
    held_out_r2: f64,
}

/// A prediction with its uncertainty, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The expected value.
    pub mean: f64,
    /// Standard deviation of the metric's noise-free value around it, as far as the model's form is right.
    pub sd: f64,
}

impl Fit {
    /// Fits the model to observations in any order, all at one resolution.
    ///
    /// # Errors
    /// [`EstimateError`] when the observations carry no estimate.
    pub fn new(space: &DesignSpace, observations: &[Observation]) -> Result<Self, EstimateError> {
        check_finite(observations)?;
        if observations.len() < FEWEST {
            return Err(EstimateError::TooFew {
                estimator: "pooled",
                found: observations.len(),
                needed: FEWEST,
            });
        }
        // Sums of floats depend on their order: with one order, equal data give equal results.
        let mut ordered: Vec<&Observation> = observations.iter().collect();
        ordered.sort_by(|a, b| {
            let archs = a.draw.arch.cmp(&b.draw.arch);
            archs.then(a.value.total_cmp(&b.value))
        });
        let resolution = ordered[0].draw.arch.resolution();
        let features = Features::new(space, resolution);
        let values: Vec<f64> = ordered.iter().map(|o| o.value).collect();
        let (center, scale) = (mean(&values), variance(&values).sqrt());
        let varies = scale > 1e-12 * center.abs();
        let known = varies.then(|| {
            let z = features.design(ordered.iter().map(|o| &o.draw.arch));
            let y =
                DVector::from_iterator(values.len(), values.iter().map(|v| (v - center) / scale));
            Known::new(&features, &z, &y)
        });
        let degenerate =
            || EstimateError::Degenerate("the covariance has no Cholesky factor".into());
        let known = match known {
            Some(known) => Some(known.ok_or_else(degenerate)?),
            None => None,
        };
        Ok(Self {
            features,
            center,
            scale,
            known,
        })
    }

    /// The means of [`Layout`]: each is a linear function of the coefficients.
    #[must_use]
    pub fn means(&self) -> Means {
        let Some(known) = &self.known else {
            return constant(&self.features.layout, self.center);
        };
        let posterior = &known.posterior;
        let map = self.features.means_map();
        let values = |coefficients: &DVector<f64>| -> Vec<f64> {
            let means = (&map * coefficients).map(|v| self.center + self.scale * v);
            means.iter().copied().collect()
        };
        let covariance = |of_coefficients: &DMatrix<f64>, factor: f64| -> Vec<f64> {
            let of_means = &map * of_coefficients * map.transpose();
            let factor = factor * self.scale * self.scale;
            (of_means * factor).iter().copied().collect()
        };
        Means {
            values: values(&posterior.coefficients),
            covariance: covariance(&posterior.covariance(), known.squared_scale),
            uncertainty: Uncertainty::Posterior,
            degrees_of_freedom: known.degrees_of_freedom,
            joint_degrees_of_freedom: known.joint_degrees_of_freedom,
            sd: self.scale,
            held_out_r2: Some(known.held_out_r2),
            spreads: None,
            additive: Some(Additive {
                values: values(&known.additive.coefficients),
                covariance: covariance(&known.additive.covariance, 1.0),
            }),
        }
    }

    /// Predictions for architectures of the space at the resolution of the observations.
    #[must_use]
    pub fn predict(&self, archs: &[Architecture]) -> Vec<Prediction> {
        let Some(known) = &self.known else {
            let certain = Prediction {
                mean: self.center,
                sd: 0.0,
            };
            return vec![certain; archs.len()];
        };
        let z = self.features.design(archs.iter());
        let means = &z * &known.posterior.coefficients;
        let variances = (&z * known.posterior.covariance())
            .component_mul(&z)
            .column_sum();
        let prediction = |(mean, variance): (&f64, &f64)| Prediction {
            mean: self.center + self.scale * mean,
            sd: self.scale * variance.max(0.0).sqrt(),
        };
        means.iter().zip(variances.iter()).map(prediction).collect()
    }

    /// The model as a sum of table entries: the mean over the space, and what every unit adds, in the metric's unit.
    #[must_use]
    pub fn terms(&self, space: &DesignSpace) -> (f64, Vec<UnitTerms>) {
        let columns = self.features.columns();
        let coefficients = match &self.known {
            Some(known) => &known.posterior.coefficients * self.scale,
            None => DVector::zeros(columns),
        };
        let tables = self.features.tables(&coefficients);
        let units = space.units().iter().enumerate();
        let units = units.map(|(index, unit)| unit_terms(space, unit, index, &tables));
        (self.center + tables.intercept, units.collect())
    }

    /// Standard deviation of a single observation around the model: noise, and what the model cannot say.
    #[must_use]
    pub fn noise_sd(&self) -> f64 {
        let noise = self
            .known
            .as_ref()
            .map_or(0.0, |k| k.posterior.likeliest.noise);
        self.scale * noise.sqrt()
    }
}

impl Known {
    /// Fits variances and coefficients to standardised values, in turns with the noise of each observation; `None` when
    /// a matrix cannot be factored.
    fn new(features: &Features, z: &DMatrix<f64>, y: &DVector<f64>) -> Option<Self> {
        let mut noise = Noise::constant(y.len());
        let mut scales = tails::even(features.levels());
        let mut known: Option<(Prior, Variances)> = None;
        for round in 1.. {
            let data = Compressed::new(z, y, &noise.weights);
            let model = Model::new(features, &data, &scales);
            let (prior, start) = match known.take() {
                Some(known) => known,
                None => Prior::of(&model)?,
            };
            let v = model.maximise(prior, start, MOST_UPDATES)?;
            let posterior = Posterior::new(&model, prior, &v, noise.factor)?;
            let left_out = held_out(z, y, &posterior, &noise.weights);
            let next = noise_of(&left_out);
            let change = (&next.weights - &noise.weights).abs().mean();
            if round == ROUNDS || (round > LEAST_ROUNDS && change < SAME_WEIGHTS) {
                let held_out_r2 = 1.0 - left_out.norm_squared() / y.norm_squared();
                let additive = AdditiveModel::new(&model, &posterior.likeliest)?;
                return Some(Self::of(features, posterior, additive, held_out_r2));
            }
            noise = next;
            scales = tails::update(&model, &v, &scales)?;
            known = Some((prior, v));
        }
        None
    }

    fn of(
        features: &Features,
        posterior: Posterior,
        additive: AdditiveModel,
        held_out_r2: f64,
    ) -> Self {
        let degrees = posterior.satterthwaite(&block_contrasts(features));
        let degrees = |q| quantile(&degrees, q).unwrap_or(FEWEST_DEGREES);
        // An effect is normal given its variance, which is known as well as that many degrees of freedom say. Student's
        // t has the same variance and kurtosis with four more.
        let single = degrees(0.5).max(FEWEST_DEGREES) + 4.0;
        Self {
            degrees_of_freedom: single,
            squared_scale: (single - 2.0) / single,
            joint_degrees_of_freedom: (JOINT_SHARE * degrees(JOINT_QUANTILE)).max(FEWEST_DEGREES),
            held_out_r2,
            posterior,
            additive,
        }
    }
}

fn unit_terms(space: &DesignSpace, unit: &Unit, index: usize, tables: &Tables) -> UnitTerms {
    let depths = unit.depths().zip(&tables.depths[index]);
    let widths = unit.widths().iter().zip(&tables.widths[index]);
    let layers = tables.layers.iter().filter(|l| l.placement.unit == index);
    UnitTerms {
        depths: depths
            .map(|(depth, &adds)| DepthTerm { depth, adds })
            .collect(),
        widths: widths
            .filter(|_| unit.width_choices() > 1)
            .map(|(width, &adds)| WidthTerm {
                channels: width.channels,
                adds,
            })
            .collect(),
        layers: layers
            .map(|layer| LayerTerms {
                blocks: space
                    .blocks(layer.placement)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                by_depth: layer.by_depth.iter().map(|(_, row)| row.clone()).collect(),
                after: layer.after.clone(),
            })
            .collect(),
    }
}

/// The effects of all blocks as linear functions of the coefficients.
fn block_contrasts(features: &Features) -> DMatrix<f64> {
    let (layout, map) = (&features.layout, features.means_map());
    let rows: Vec<_> = features
        .combinations()
        .filter(|(p, _)| layout.blocks(*p) > 1)
        .map(|(p, b)| {
            let contrast = layout.block_effect(p, b);
            let zero = nalgebra::RowDVector::zeros(map.ncols());
            contrast
                .iter()
                .fold(zero, |sum, &(i, w)| sum + map.row(i) * w)
        })
        .collect();
    DMatrix::from_rows(&rows)
}

/// Observations minus what the model says of each from all others, variances kept: residuals over 1 minus their
/// leverages.
fn held_out(
    z: &DMatrix<f64>,
    y: &DVector<f64>,
    posterior: &Posterior,
    weights: &DVector<f64>,
) -> DVector<f64> {
    let (n, columns) = z.shape();
    let residuals = y - z * &posterior.coefficients;
    // Without noise the leverages are lost to rounding, and some seem to be 1.
    let exact = n > 2 * columns && residuals.norm() < NO_NOISE * (n as f64).sqrt();
    if n > MANY_ROWS * columns || exact {
        return residuals / (1.0 - columns as f64 / n as f64);
    }
    let leverages = (z * &posterior.conditional).component_mul(z).column_sum();
    let leverages = leverages.component_mul(weights) / posterior.likeliest.noise;
    let left = leverages.map(|h| 1.0 - h.min(LARGEST_LEVERAGE));
    residuals.component_div(&left)
}

/// How noisy each observation is, from what the others say of it.
fn noise_of(held_out: &DVector<f64>) -> Noise {
    let n = held_out.len();
    if held_out.norm() < NO_NOISE * (n as f64).sqrt() {
        return Noise::constant(n);
    }
    Noise::of_residuals(held_out)
}

/// A metric that never varies: all effects are exactly 0.
fn constant(layout: &Layout, value: f64) -> Means {
    let n = layout.len();
    Means {
        values: vec![value; n],
        covariance: vec![0.0; n * n],
        uncertainty: Uncertainty::Posterior,
        degrees_of_freedom: f64::INFINITY,
        joint_degrees_of_freedom: f64::INFINITY,
        sd: 0.0,
        held_out_r2: None,
        spreads: None,
        additive: None,
    }
}
