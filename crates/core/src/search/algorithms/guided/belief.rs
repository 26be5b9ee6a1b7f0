//! What is believed of a metric: the profile's model, and what architectures that are alike add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::likeness::Likeness;
use super::parts::{Parts, Row};
use crate::profile::{Draw, Fit, Observation};
use crate::space::{Architecture, DesignSpace};
use crate::stats::{mean, variance};
use crate::surrogate::TermSum;

/// What the model leaves below this share of the metric's standard deviation is not worth a correction.
const EXACT: f64 = 1e-4;

/// Architectures that have values, nearest to what is sought: there corrections are learnt.
pub(super) struct Known<'k> {
    pub(super) archs: Vec<&'k Architecture>,
    pub(super) rows: Vec<Row>,
}

/// The profile's model of a metric.
pub(super) struct Model {
    /// The resolution that it is fitted at; what others add is an offset each.
    resolution: u32,
    mean: f64,
    offsets: BTreeMap<u32, f64>,
    /// `None` where the values are too few for effects of blocks.
    effects: Option<(Fit, TermSum)>,
    /// The standard deviation of the values.
    spread: f64,
}

impl Model {
    /// Fits values of some architectures.
    pub(super) fn fit(space: &DesignSpace, archs: &[&Architecture], values: &[f64]) -> Self {
        let first = archs.first();
        let mut model = Self {
            resolution: first.map_or(space.default_resolution(), |arch| arch.resolution()),
            mean: mean(values),
            offsets: offsets(archs, values),
            effects: None,
            spread: variance(values).sqrt(),
        };
        let observation = |(arch, value): (&&Architecture, &f64)| {
            Some(Observation {
                draw: Draw {
                    arch: space.at_resolution(arch, model.resolution).ok()?,
                    stratum: None,
                },
                value: value - model.offset(arch),
            })
        };
        let observations = archs.iter().zip(values).filter_map(observation);
        let observations: Vec<Observation> = observations.collect();
        let fit = Fit::new(space, &observations).ok();
        model.effects = fit.and_then(|fit| {
            let sum = TermSum::of(space, &fit)?;
            Some((fit, sum))
        });
        model
    }

    fn offset(&self, arch: &Architecture) -> f64 {
        let offset = self.offsets.get(&arch.resolution());
        offset.copied().unwrap_or_default()
    }

    fn value(&self, arch: &Architecture) -> f64 {
        let effects = self.effects.as_ref();
        let value = effects.map_or(self.mean, |(_, sum)| sum.value(arch));
        value + self.offset(arch)
    }

    /// The variance of the metric around the value, for each of some architectures.
    fn variances(&self, space: &DesignSpace, archs: &[Architecture]) -> Vec<f64> {
        let Some((fit, _)) = &self.effects else {
            return vec![self.spread * self.spread; archs.len()];
        };
        let there = |arch: &Architecture| {
            let there = space.at_resolution(arch, self.resolution);
            there.unwrap_or_else(|_| arch.clone())
        };
        let there: Vec<Architecture> = archs.iter().map(there).collect();
        let predictions = fit.predict(&there).into_iter();
        predictions.map(|p| p.sd * p.sd).collect()
    }
}

/// What the values of some architectures say of others: the model, and what architectures that are alike have more or
/// less than it says.
pub(super) struct Belief<'a> {
    space: &'a DesignSpace,
    model: Arc<Model>,
    correction: Option<Likeness>,
}

impl<'a> Belief<'a> {
    /// Corrects a model by one metric's values of the known architectures.
    pub(super) fn learn(
        space: &'a DesignSpace,
        parts: &Parts,
        model: Arc<Model>,
        known: &Known<'_>,
        values: &[f64],
    ) -> Self {
        let left = known.archs.iter().zip(values);
        let left: Vec<f64> = left
            .map(|(arch, value)| value - model.value(arch))
            .collect();
        let squares = left.iter().map(|x| x * x).sum::<f64>();
        let matters = (squares / left.len().max(1) as f64).sqrt() > EXACT * model.spread;
        Self {
            space,
            model,
            correction: matters
                .then(|| Likeness::learn(parts.kinds(), &known.rows, &left))
                .flatten(),
        }
    }

    /// The expected value; `common` is memory to work in.
    pub(super) fn mean(&self, arch: &Architecture, row: &Row, common: &mut Vec<u32>) -> f64 {
        let correction = self.correction.as_ref();
        self.model.value(arch) + correction.map_or(0.0, |c| c.mean(row, common))
    }

    /// The standard deviations of the metric's values around those that are expected. Where there is a correction, it
    /// knows how uncertain the model is.
    pub(super) fn deviations(&self, archs: &[Architecture], rows: &[Row]) -> Vec<f64> {
        let variances = match &self.correction {
            Some(correction) => correction.variances(rows),
            None => self.model.variances(self.space, archs),
        };
        variances.into_iter().map(f64::sqrt).collect()
    }
}

/// How far the mean at every resolution is from the mean of all values.
fn offsets(archs: &[&Architecture], values: &[f64]) -> BTreeMap<u32, f64> {
    let mut by_resolution: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (arch, value) in archs.iter().zip(values) {
        by_resolution
            .entry(arch.resolution())
            .or_default()
            .push(*value);
    }
    let all = mean(values);
    let offset = |(resolution, values): (u32, Vec<f64>)| (resolution, mean(&values) - all);
    by_resolution.into_iter().map(offset).collect()
}
