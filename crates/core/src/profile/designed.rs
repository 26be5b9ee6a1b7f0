//! Architectures that are chosen to tell the most, instead of drawn blindly: the `pooled` estimate from an optimal
//! design.
//!
//! Every architecture is the best of a pool of random candidates: the one after whose measurement the effects of all
//! blocks together are known best (I-optimality: the smallest sum of their posterior variances), given all
//! architectures chosen before and a reference prior. Values do not enter, so the sequence follows from the space and
//! the seed alone, and a campaign can be stopped, continued and extended like any other.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nalgebra::{DMatrix, DVector};
use rand::seq::SliceRandom;

use super::pooled::Reference;
use super::{Draw, EstimateError, Estimator, Means, Observation, Pooled};
use crate::seed::Seed;
use crate::space::{Architecture, ArchitectureError, DesignSpace};

/// Candidates among which each architecture is the best. More help little: the best of ten times as many
/// lowers the errors of effects by less than a hundredth.
const CANDIDATES: usize = 256;
/// Architectures that are chosen; what comes after them is drawn at random, as `pooled` does it: with so many, choosing
/// no longer tells more than drawing.
const CHOSEN: usize = 1_024;

/// The `designed` estimator: the estimate of [`Pooled`], from architectures chosen to tell the most.
#[derive(Debug, Default)]
pub struct Designed {
    /// The sequences begun so far, by space, resolution and seed.
    sequences: Mutex<BTreeMap<(String, u32, u64), Sequence>>,
}

impl Estimator for Designed {
    fn name(&self) -> &'static str {
        "designed"
    }

    fn draw(
        &self,
        space: &DesignSpace,
        resolution: u32,
        seed: Seed,
        index: u64,
    ) -> Result<Draw, ArchitectureError> {
        space.check_resolution(resolution)?;
        let Some(index) = usize::try_from(index).ok().filter(|i| *i < CHOSEN) else {
            return Pooled.draw(space, resolution, seed, index);
        };
        let key = (space.digest().to_owned(), resolution, seed.0);
        // A panic elsewhere cannot leave a sequence half extended: it is only ever appended to.
        let mut sequences = self
            .sequences
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sequence = sequences
            .entry(key)
            .or_insert_with(|| Sequence::new(space, resolution, seed));
        Ok(Draw {
            arch: sequence.get(space, index)?.clone(),
            stratum: None,
        })
    }

    fn estimate(
        &self,
        space: &DesignSpace,
        observations: &[Observation],
    ) -> Result<Means, EstimateError> {
        Pooled.estimate(space, observations)
    }
}

/// Architectures chosen one after the other.
#[derive(Debug)]
struct Sequence {
    resolution: u32,
    seed: Seed,
    reference: Reference,
    /// Covariance of the coefficients after all architectures chosen so far.
    covariance: DMatrix<f64>,
    chosen: Vec<Architecture>,
}

impl Sequence {
    /// Begins a sequence.
    fn new(space: &DesignSpace, resolution: u32, seed: Seed) -> Self {
        let reference = Reference::new(space, resolution);
        Self {
            resolution,
            seed: seed.stream("designed"),
            covariance: reference.prior.clone(),
            reference,
            chosen: Vec::new(),
        }
    }

    /// The architecture at `index`, after choosing all before it.
    fn get(
        &mut self,
        space: &DesignSpace,
        index: usize,
    ) -> Result<&Architecture, ArchitectureError> {
        while self.chosen.len() <= index {
            let candidates = self.candidates(space)?;
            self.choose(candidates);
        }
        Ok(&self.chosen[index])
    }

    /// Random architectures, all with the depths (and widths) that are due: over every few architectures, each depth of
    /// each unit is taken equally often, as in the space's own distribution, so that no model is needed for what depth
    /// does to the blocks.
    fn candidates(&self, space: &DesignSpace) -> Result<Vec<Architecture>, ArchitectureError> {
        let index = self.chosen.len() as u64;
        let due = self.due(space, index);
        let mut rng = self.seed.stream("candidates").index(index).rng();
        (0..CANDIDATES)
            .map(|_| {
                let mut choices = space.sample_deepest(self.resolution, &mut rng)?.choices();
                for (choice, &(depth, width)) in choices.iter_mut().zip(&due) {
                    choice.blocks.truncate(depth);
                    choice.width = width;
                }
                space.architecture(self.resolution, &choices)
            })
            .collect()
    }

    /// Depth and width of every unit at `index`: rounds in which each of a unit's (depth, width) pairs occurs once, in
    /// random order.
    fn due(&self, space: &DesignSpace, index: u64) -> Vec<(usize, u8)> {
        let units = space.units().iter().enumerate();
        units
            .map(|(number, unit)| {
                let widths = 0..u8::try_from(unit.width_choices()).unwrap_or(u8::MAX);
                let mut pairs: Vec<(usize, u8)> = unit
                    .depths()
                    .flat_map(|depth| widths.clone().map(move |width| (depth, width)))
                    .collect();
                let size = pairs.len() as u64;
                let round = self
                    .seed
                    .stream("depths")
                    .index(number as u64)
                    .index(index / size);
                pairs.shuffle(&mut round.rng());
                pairs[usize::try_from(index % size).unwrap_or(0)]
            })
            .collect()
    }

    /// Appends the best of the candidates.
    fn choose(&mut self, mut candidates: Vec<Architecture>) {
        let z = self.reference.design(&candidates);
        let best = best_candidate(
            &self.covariance,
            &z,
            self.reference.noise,
            &self.reference.wanted,
        );
        self.chosen.push(candidates.swap_remove(best));
        let row: DVector<f64> = z.row(best).transpose();
        let along = &self.covariance * &row;
        let spread = self.reference.noise + row.dot(&along);
        self.covariance.ger(-1.0 / spread, &along, &along, 1.0);
    }
}

/// The row of `z` whose measurement takes most from the weighted sum of the coefficients' variances.
fn best_candidate(
    covariance: &DMatrix<f64>,
    z: &DMatrix<f64>,
    noise: f64,
    wanted: &DVector<f64>,
) -> usize {
    let along = covariance * z.transpose();
    let gain = |candidate: usize| {
        let column = along.column(candidate);
        let gained: f64 = column
            .iter()
            .zip(wanted.iter())
            .map(|(a, w)| w * a * a)
            .sum();
        gained / (noise + z.row(candidate).transpose().dot(&column))
    };
    let mut best = (0, f64::NEG_INFINITY);
    for candidate in 0..z.nrows() {
        let gain = gain(candidate);
        if gain > best.1 {
            best = (candidate, gain);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gain against the difference of two inverses.
    #[test]
    fn the_best_candidate_is_that_of_the_textbook() {
        let c = 5;
        let root = DMatrix::from_fn(c, c, |i, j| ((i * 3 + j * 7) % 5) as f64 - 1.7);
        let prior = &root * root.transpose() + DMatrix::identity(c, c);
        let z = DMatrix::from_fn(12, c, |i, j| ((i * 5 + j * 11) % 7) as f64 - 3.0);
        let wanted = DVector::from_fn(c, |i, _| if i == 0 { 0.0 } else { 1.0 });
        let noise = 0.7;
        let precision = prior.clone().try_inverse().unwrap();
        let left = |i: usize| {
            let row = z.row(i);
            let after = (&precision + row.transpose() * row / noise)
                .try_inverse()
                .unwrap();
            (1..c).map(|j| after[(j, j)]).sum::<f64>()
        };
        let naive = (0..12)
            .min_by(|a, b| left(*a).total_cmp(&left(*b)))
            .unwrap();
        assert_eq!(best_candidate(&prior, &z, noise, &wanted), naive);
    }

    #[test]
    fn a_sequence_is_the_same_however_it_is_asked_for() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let (whole, parts) = (Designed::default(), Designed::default());
        let draw = |d: &Designed, i| d.draw(&space, 224, Seed(3), i).unwrap();
        let last = draw(&whole, 11);
        let all: Vec<Draw> = (0..12).map(|i| draw(&parts, i)).collect();
        assert_eq!(all[11], last);
        for unit in 0..5 {
            let mut depths: Vec<usize> = all[..3].iter().map(|d| d.arch.depth(unit)).collect();
            depths.sort_unstable();
            assert_eq!(depths, [2, 3, 4], "every depth once in a round");
        }
    }
}
