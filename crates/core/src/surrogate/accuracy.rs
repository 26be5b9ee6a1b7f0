//! ImageNet accuracy of OFA-MobileNetV3, approximated offline.

use serde::Deserialize;

use crate::metric::{Direction, Metric, MetricError, MetricInfo, Origin};
use crate::space::{Architecture, DesignSpace, Ratio};

/// Coefficients, held-out errors and their description; `tools/accuracy-surrogate` made the file.
const FILE: &str = include_str!("../../coefficients/ofa-mbv3-accuracy.json");

/// The space and width that the published predictor was trained for.
const SPACE: (&str, f64) = ("ofa-mbv3", 1.2);

/// A compact stand-in for the accuracy predictor that was published with Once-for-All, for
/// `ofa-mbv3` at width 1.2 and the resolutions that the predictor was trained at.
///
/// y = b + l.x + sum_f s_f (a_f + v_f.x)^2 over the one-hot features of an architecture: additive terms
/// and a low-rank quadratic form. It approximates a predictor, which itself approximates measured
/// accuracies: a surrogate, not a measurement. Its held-out error against the predictor is in
/// [`MetricInfo::about`].
#[derive(Debug)]
pub struct OfaAccuracy {
    info: MetricInfo,
    space: DesignSpace,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Model {
    kernels: Vec<u32>,
    expansions: Vec<u32>,
    resolutions: Vec<u32>,
    trained_resolutions: Vec<u32>,
    held_out: HeldOut,
    linear_scale: f64,
    factor_scale: f64,
    bias: f64,
    linear: Vec<f64>,
    sign: Vec<f64>,
    factor_bias: Vec<f64>,
    factors: Vec<Vec<f64>>,
}

#[derive(Debug, Deserialize)]
struct HeldOut {
    #[serde(rename = "160-224")]
    trained: Errors,
}

#[derive(Debug, Deserialize)]
struct Errors {
    r2: f64,
    spearman: f64,
    rmse: f64,
}

/// Layers of the deepest network, as the features count them.
const LAYERS: usize = 20;
const LAYERS_PER_UNIT: usize = 4;

impl OfaAccuracy {
    /// The surrogate for `space`.
    ///
    /// # Errors
    /// [`MetricError::NotApplicable`] for any space but `ofa-mbv3` at width 1.2 and its parts.
    pub fn new(space: &DesignSpace) -> Result<Self, MetricError> {
        let refuse = |reason: String| MetricError::NotApplicable {
            metric: "accuracy".into(),
            reason,
        };
        let published =
            DesignSpace::builtin(SPACE.0, Some(SPACE.1)).map_err(|e| refuse(e.to_string()))?;
        space.check_part_of(&published).map_err(|what| {
            refuse(format!(
                "the built-in accuracy surrogate is for the built-in {} at width {} only and its parts, not for this \
                 {} \
                 at width {}: {what}",
                SPACE.0,
                SPACE.1,
                space.name(),
                space.width()
            ))
        })?;
        let model: Model = serde_json::from_str(FILE)
            .map_err(|e| refuse(format!("its coefficients do not parse: {e}")))?;
        let errors = &model.held_out.trained;
        let about = format!(
            "Surrogate, not a measurement: a quadratic model fitted to the accuracy predictor published with \
             Once-for-All. Against that predictor on held-out architectures: R2 {:.3}, Spearman {:.3}, RMSE {:.2} \
             points.",
            errors.r2, errors.spearman, errors.rmse
        );
        let info = MetricInfo {
            name: "accuracy".into(),
            unit: "% top-1".into(),
            direction: Direction::HigherIsBetter,
            origin: Origin::Surrogate,
            about,
        };
        Ok(Self {
            info,
            space: space.clone(),
            model,
        })
    }

    /// Indices of the features that are 1.
    fn features(&self, arch: &Architecture) -> Option<Vec<usize>> {
        let index = |list: &[u32], value: u32| list.iter().position(|&v| v == value);
        let expansion = |e: Ratio| {
            let known = |v: &&u32| Ratio::whole(**v) == Some(e);
            let list = &self.model.expansions;
            list.iter().position(|v| known(&v))
        };
        let mut ones = Vec::with_capacity(2 * LAYERS + 1);
        for (placement, id) in arch.active() {
            let layer = LAYERS_PER_UNIT * placement.unit + placement.layer;
            let block = self.space.block(placement, id);
            ones.push(3 * layer + index(&self.model.kernels, block.kernel()?)?);
            ones.push(3 * (LAYERS + layer) + expansion(block.expansion()?)?);
        }
        ones.push(6 * LAYERS + index(&self.model.resolutions, arch.resolution())?);
        Some(ones)
    }

    fn value(&self, ones: &[usize]) -> Option<f64> {
        let m = &self.model;
        let sum = |row: &[f64]| ones.iter().map(|&i| row.get(i)).sum::<Option<f64>>();
        let mut y = m.linear_scale * (m.bias + sum(&m.linear)?);
        for ((row, bias), sign) in m.factors.iter().zip(&m.factor_bias).zip(&m.sign) {
            y += sign * (m.factor_scale * (bias + sum(row)?)).powi(2);
        }
        Some(y)
    }
}

impl Metric for OfaAccuracy {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let trained = &self.model.trained_resolutions;
        let applies = trained.contains(&arch.resolution());
        let value = applies
            .then(|| self.features(arch))
            .flatten()
            .and_then(|ones| self.value(&ones));
        value.ok_or_else(|| MetricError::NotApplicable {
            metric: self.info.name.clone(),
            reason: format!(
                "resolution {} is not one of {trained:?}, which the published predictor was trained at",
                arch.resolution()
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ofa::OfaDict;

    #[derive(Deserialize)]
    struct Vector {
        #[serde(flatten)]
        dict: OfaDict,
        surrogate: f64,
        predictor: f64,
    }

    /// The values that the fitting script computed from the same coefficients, and the published
    /// predictor's own.
    #[test]
    fn equals_the_script_and_follows_the_predictor() {
        let space = DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap();
        let metric = OfaAccuracy::new(&space).unwrap();
        let text = include_str!("../../tests/golden/accuracy_surrogate.json");
        let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
        let mut seen = 0;
        for v in vectors {
            let arch = space.from_ofa(&v.dict).unwrap();
            let Ok(value) = metric.evaluate(&arch) else {
                assert!(arch.resolution() < 160, "refused at {}", arch.resolution());
                continue;
            };
            seen += 1;
            assert!(
                (value - v.surrogate).abs() < 1e-9,
                "{value} {}",
                v.surrogate
            );
            assert!((value - v.predictor).abs() < 0.7, "{value} {}", v.predictor);
        }
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn refuses_what_it_is_not_for() {
        let narrow = DesignSpace::builtin("ofa-mbv3", Some(1.0)).unwrap();
        let error = OfaAccuracy::new(&narrow).unwrap_err().to_string();
        assert!(error.contains("width 1.2 only"), "{error}");
        let other = DesignSpace::builtin_source("ofa-mbv3").unwrap().replacen(
            "channels = 160",
            "channels = 192",
            1,
        );
        let other = DesignSpace::from_toml("other.toml", &other, None).unwrap();
        assert!(
            OfaAccuracy::new(&other).is_err(),
            "the name alone does not make it the published space"
        );
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let arch = space.smallest(128).unwrap();
        let error = OfaAccuracy::new(&space)
            .unwrap()
            .evaluate(&arch)
            .unwrap_err()
            .to_string();
        assert!(error.contains("128") && error.contains("224"), "{error}");
    }
}
