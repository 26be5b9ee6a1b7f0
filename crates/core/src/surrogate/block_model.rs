//! A metric learnt from measured architectures: the model behind a pooled profile as tables that a program can read,
//! and as a metric of its own.
//!
//! The value of an architecture is the mean, plus an entry for every unit's depth and width, plus for every layer an
//! entry for its block at the unit's depth and one for its block after the block of the layer before.

use serde::{Deserialize, Serialize};

use crate::metric::{Metric, MetricError, MetricInfo, Origin};
use crate::profile::{EstimateError, Fit, Observation};
use crate::sealed;
use crate::seed::Seed;
use crate::space::{Architecture, DesignSpace, Placement, SpaceSource, UnitChoice};
use crate::stats::agreement::Agreement;
use crate::text;
use rand::seq::SliceRandom;

/// Version of the document.
const FORMAT: u32 = 1;
/// Parts that are left out in turn to see how far the model is off.
const FOLDS: usize = 10;

/// The document: what is written to `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockModel {
    /// Version of this document's format.
    pub format: u32,
    /// The metric that was learnt.
    pub metric: MetricInfo,
    /// The space that it was learnt in.
    pub space: String,
    /// Its width multiplier.
    pub width: f64,
    /// Its file and the blocks that it brings.
    pub space_source: SpaceSource,
    /// The resolution that it was learnt at, in pixels.
    pub resolution: u32,
    /// Number of architectures that it was learnt from.
    pub evaluations: usize,
    /// How its predictions agree with the values of architectures that it was not learnt from: each was predicted once,
    /// by a model of the other nine tenths. `None` where values are not all positive.
    pub held_out: Option<Agreement>,
    /// The mean over the space, in the metric's unit.
    pub mean: f64,
    /// What every unit adds.
    pub units: Vec<UnitTerms>,
}

/// What a unit adds, in the metric's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitTerms {
    /// By number of layers.
    pub depths: Vec<DepthTerm>,
    /// By output channels; empty where the unit has one width only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<WidthTerm>,
    /// What its layers add where they are active, first layer first.
    pub layers: Vec<LayerTerms>,
}

/// What the number of layers adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthTerm {
    /// Number of layers.
    pub depth: usize,
    /// What it adds.
    pub adds: f64,
}

/// What a width adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WidthTerm {
    /// Output channels of the unit.
    pub channels: u32,
    /// What it adds.
    pub adds: f64,
}

/// What a layer adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTerms {
    /// The candidate blocks, by name.
    pub blocks: Vec<String>,
    /// By depth of the unit (in the order of its `depths`), then block.
    pub by_depth: Vec<Vec<f64>>,
    /// By block of the layer before (in the order of its `blocks`), then block; empty for first layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Vec<f64>>,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum BlockModelError {
    /// The observations carry no estimate.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// The file is not such a document.
    #[error("{name} cannot be read as a block model: {reason}")]
    Format {
        /// The file's name.
        name: String,
        /// What is wrong, and where.
        reason: String,
    },
}

impl BlockModel {
    /// Learns a metric from its values for some architectures of a space, all at one resolution.
    ///
    /// # Errors
    /// [`BlockModelError::Estimate`] when they are too few or not finite.
    pub fn learn(
        space: &DesignSpace,
        metric: &MetricInfo,
        observations: &[Observation],
    ) -> Result<Self, BlockModelError> {
        let fit = Fit::new(space, observations)?;
        let held_out =
            held_out(space, observations).map_err(|e| of_whole(e, observations.len()))?;
        let resolution = observations.first().map_or(0, |o| o.draw.arch.resolution());
        let (mean, units) = fit.terms(space);
        Ok(Self {
            format: FORMAT,
            metric: metric.clone(),
            space: space.name().into(),
            width: space.width(),
            space_source: space.source().clone(),
            resolution,
            evaluations: observations.len(),
            held_out,
            mean,
            units,
        })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`BlockModelError::Format`], with the line and field, when it is not one.
    pub fn read(name: &str, json: &[u8]) -> Result<Self, BlockModelError> {
        let refuse = |reason: String| BlockModelError::Format {
            name: name.to_owned(),
            reason,
        };
        let text = text::read(json).map_err(|e| refuse(e.to_string()))?;
        let model: Self = sealed::from_json(text.as_bytes()).map_err(|e| refuse(e.to_string()))?;
        if model.format != FORMAT {
            return Err(refuse(format!(
                "its format is {} and not {FORMAT}",
                model.format
            )));
        }
        let whole = model.whole().map_err(refuse)?;
        model.check(&whole).map_err(refuse)?;
        Ok(model)
    }

    /// The document as text, one field a line, with a digest that tells when it was changed.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain numbers and strings: it cannot fail.
        sealed::to_json(self).unwrap_or_default()
    }

    fn whole(&self) -> Result<DesignSpace, String> {
        DesignSpace::read(&self.space, &self.space_source, Some(self.width))
            .map_err(|e| e.to_string())
    }

    /// Whether the tables have an entry for all that the space leaves open.
    fn check(&self, whole: &DesignSpace) -> Result<(), String> {
        if self.units.len() != whole.units().len() {
            return Err(format!(
                "`units` has {} entries for a space of {}",
                self.units.len(),
                whole.units().len()
            ));
        }
        for (index, (terms, unit)) in self.units.iter().zip(whole.units()).enumerate() {
            let depths: Vec<usize> = terms.depths.iter().map(|d| d.depth).collect();
            if !depths.iter().copied().eq(unit.depths()) {
                return Err(format!(
                    "`units[{index}].depths` are {depths:?}, and the space's are {:?}",
                    unit.depths()
                ));
            }
            if terms.layers.len() != unit.max_depth() {
                return Err(format!(
                    "`units[{index}].layers` has {} entries for {} layers",
                    terms.layers.len(),
                    unit.max_depth()
                ));
            }
            for (number, layer) in terms.layers.iter().enumerate() {
                let before = number
                    .checked_sub(1)
                    .map_or(0, |b| terms.layers[b].blocks.len());
                layer
                    .check(depths.len(), before)
                    .map_err(|what| format!("`units[{index}].layers[{number}]` {what}"))?;
            }
        }
        let finite = self.numbers().all(f64::is_finite);
        if finite {
            Ok(())
        } else {
            Err("a number is not finite".into())
        }
    }

    fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        let of_unit = |u: &UnitTerms| {
            let depths = u.depths.iter().map(|d| d.adds).collect::<Vec<_>>();
            let widths = u.widths.iter().map(|w| w.adds).collect::<Vec<_>>();
            let tables = |l: &LayerTerms| [l.by_depth.concat(), l.after.concat()].concat();
            let layers = u.layers.iter().map(tables).collect::<Vec<_>>().concat();
            [depths, widths, layers].concat()
        };
        std::iter::once(self.mean).chain(self.units.iter().flat_map(of_unit))
    }
}

impl LayerTerms {
    fn check(&self, depths: usize, before: usize) -> Result<(), String> {
        let wide = |rows: &[Vec<f64>]| rows.iter().all(|row| row.len() == self.blocks.len());
        if self.by_depth.len() != depths || !wide(&self.by_depth) {
            return Err(
                "has a `by_depth` that is not a row for every depth with a number for every block"
                    .into(),
            );
        }
        if !self.after.is_empty() && (self.after.len() != before || !wide(&self.after)) {
            return Err("has an `after` that is not a row for every block of the layer before with a number for every \
                block".into());
        }
        Ok(())
    }
}

/// What is too few for nine tenths of the observations, in terms of all of them.
fn of_whole(error: BlockModelError, all: usize) -> BlockModelError {
    match error {
        BlockModelError::Estimate(EstimateError::TooFew {
            estimator, needed, ..
        }) => EstimateError::TooFew {
            estimator,
            found: all,
            needed: needed + needed.div_ceil(FOLDS - 1),
        }
        .into(),
        other => other,
    }
}

/// Predictions of every observation by a model that was not fitted to it, `FOLDS` parts being left out in turn.
fn held_out(
    space: &DesignSpace,
    observations: &[Observation],
) -> Result<Option<Agreement>, BlockModelError> {
    let mut order: Vec<usize> = (0..observations.len()).collect();
    order.sort_by(|a, b| observations[*a].draw.arch.cmp(&observations[*b].draw.arch));
    order.shuffle(&mut Seed(0).stream("folds").rng());
    let mut pairs = Vec::with_capacity(order.len());
    for fold in 0..FOLDS {
        let left_out = |rank: usize| rank % FOLDS == fold;
        let pick = |out: bool| {
            let picked = order
                .iter()
                .enumerate()
                .filter(move |(rank, _)| left_out(*rank) == out);
            picked
                .map(|(_, i)| observations[*i].clone())
                .collect::<Vec<_>>()
        };
        let (rest, part) = (pick(false), pick(true));
        let archs: Vec<Architecture> = part.iter().map(|o| o.draw.arch.clone()).collect();
        let predictions = Fit::new(space, &rest)?.predict(&archs);
        pairs.extend(
            predictions
                .iter()
                .zip(&part)
                .map(|(p, o)| (p.mean, o.value)),
        );
    }
    Ok(Agreement::of(&pairs))
}

/// A [`BlockModel`] as a metric for the space that it was learnt in, and for parts of it.
#[derive(Debug)]
pub struct ModelMetric {
    info: MetricInfo,
    resolution: u32,
    sum: TermSum,
}

/// A model as a sum of table entries, in the metric's unit.
#[derive(Debug)]
pub(crate) struct TermSum {
    mean: f64,
    units: Vec<UnitTables>,
}

impl TermSum {
    /// What was fitted, for architectures of the space that it was fitted in.
    pub(crate) fn of(space: &DesignSpace, fit: &Fit) -> Option<Self> {
        let (mean, terms) = fit.terms(space);
        Self::new(space, space, mean, &terms)
    }

    /// For architectures of `space`, a part of the `whole` that the terms are for; `None` where they lack something of
    /// it.
    fn new(
        space: &DesignSpace,
        whole: &DesignSpace,
        mean: f64,
        terms: &[UnitTerms],
    ) -> Option<Self> {
        let units = terms.iter().enumerate();
        let units = units.map(|(index, terms)| UnitTables::new(space, whole, index, terms));
        Some(Self {
            mean,
            units: units.collect::<Option<_>>()?,
        })
    }

    /// The model's value, whatever the resolution.
    pub(crate) fn value(&self, arch: &Architecture) -> f64 {
        let units = self.units.iter().zip(arch.units());
        self.mean + units.map(|(unit, choice)| unit.value(choice)).sum::<f64>()
    }
}

/// The terms of a unit, by what the asked space calls its choices.
#[derive(Debug)]
struct UnitTables {
    least_depth: usize,
    depths: Vec<f64>,
    widths: Vec<f64>,
    layers: Vec<LayerTerms>,
}

impl ModelMetric {
    /// The model as the metric called `name`, for architectures of `space`.
    ///
    /// # Errors
    /// [`MetricError::NotApplicable`] when the space is neither the one that was learnt nor a part of it.
    pub fn new(name: &str, space: &DesignSpace, model: &BlockModel) -> Result<Self, MetricError> {
        let refuse = |reason: String| MetricError::NotApplicable {
            metric: name.to_owned(),
            reason,
        };
        let whole = model.whole().map_err(refuse)?;
        space.check_part_of(&whole).map_err(|what| {
            refuse(format!(
                "it was learnt in {} at width {} and is for parts of that space, and not for this {} at width {}: \
                 {what}",
                whole.name(),
                whole.width(),
                space.name(),
                space.width()
            ))
        })?;
        let sum = TermSum::new(space, &whole, model.mean, &model.units)
            .ok_or_else(|| refuse("it lacks a depth, width or block of this space".into()))?;
        Ok(Self {
            info: info(name, model),
            resolution: model.resolution,
            sum,
        })
    }
}

fn info(name: &str, model: &BlockModel) -> MetricInfo {
    let error = model.held_out.as_ref().map(|error| {
        format!(
            " On networks that it was not fitted to: {:.1} % off on average, {:.0} % of them by at most 5 %.",
            100.0 * error.mape,
            100.0 * error.within_5
        )
    });
    MetricInfo {
        name: name.to_owned(),
        origin: Origin::Surrogate,
        about: format!(
            "Predicted by a model of {} networks, not measured.{} What it predicts: {}",
            model.evaluations,
            error.unwrap_or_default(),
            model.metric.about
        ),
        ..model.metric.clone()
    }
}

impl UnitTables {
    fn new(
        space: &DesignSpace,
        whole: &DesignSpace,
        index: usize,
        terms: &UnitTerms,
    ) -> Option<Self> {
        let unit = &space.units()[index];
        let adds = |depth| {
            terms
                .depths
                .iter()
                .find(|d| d.depth == depth)
                .map(|d| d.adds)
        };
        let width = |channels| {
            terms
                .widths
                .iter()
                .find(|w| w.channels == channels)
                .map(|w| w.adds)
        };
        let widths = if whole.units()[index].width_choices() > 1 {
            unit.widths()
                .iter()
                .map(|w| width(w.channels))
                .collect::<Option<_>>()?
        } else {
            vec![0.0; unit.width_choices()]
        };
        let names = |layer: usize| {
            let placement = Placement { unit: index, layer };
            space
                .blocks(placement)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let positions = |layer: usize| {
            let known = &terms.layers.get(layer)?.blocks;
            names(layer)
                .iter()
                .map(|n| known.iter().position(|k| k == n))
                .collect::<Option<Vec<_>>>()
        };
        let skipped = unit.depths().start() - terms.depths.first()?.depth;
        let layer = |number: usize| {
            let (here, all) = (positions(number)?, &terms.layers[number]);
            let pick = |row: &Vec<f64>| here.iter().map(|i| row[*i]).collect::<Vec<f64>>();
            let before = if all.after.is_empty() {
                Vec::new()
            } else {
                positions(number.checked_sub(1)?)?
            };
            Some(LayerTerms {
                blocks: names(number),
                by_depth: all
                    .by_depth
                    .iter()
                    .skip(skipped)
                    .take(unit.depths().count())
                    .map(pick)
                    .collect(),
                after: before.iter().map(|b| pick(&all.after[*b])).collect(),
            })
        };
        Some(Self {
            least_depth: *unit.depths().start(),
            depths: unit.depths().map(adds).collect::<Option<_>>()?,
            widths,
            layers: (0..unit.max_depth()).map(layer).collect::<Option<_>>()?,
        })
    }

    fn value(&self, choice: UnitChoice<'_>) -> f64 {
        let depth = choice.blocks.len() - self.least_depth;
        let mut sum = self.depths[depth] + self.widths[usize::from(choice.width)];
        for (number, block) in choice.blocks.iter().enumerate() {
            let (layer, block) = (&self.layers[number], usize::from(*block));
            sum += layer.by_depth[depth][block];
            if !layer.after.is_empty() {
                sum += layer.after[usize::from(choice.blocks[number - 1])][block];
            }
        }
        sum
    }
}

impl Metric for ModelMetric {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn notes(&self) -> Vec<String> {
        vec![format!("{}: {}", self.info.name, self.info.about)]
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let refuse = |reason: String| MetricError::NotApplicable {
            metric: self.info.name.clone(),
            reason,
        };
        if arch.resolution() != self.resolution {
            return Err(refuse(format!(
                "it was learnt at {0} pixels, and this architecture is for {1} (--resolution {0})",
                self.resolution,
                arch.resolution()
            )));
        }
        Ok(self.sum.value(arch))
    }
}
