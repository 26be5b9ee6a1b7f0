//! Weights of an instance: those of the file where they fit, seeded random ones elsewhere.

use std::sync::Arc;

use rand::RngExt;

use super::instance::{Draw, Instance, WeightTensor};
use super::tensors::Data;
use crate::seed::{Rng, Seed};

/// The numbers of every weight of an instance, in the order of [`Instance::weight_tensors`].
#[derive(Clone, Debug, PartialEq)]
pub struct FragmentWeights(Vec<Arc<[f32]>>);

impl FragmentWeights {
    /// Weights from outside, such as trained ones, in the order of [`Instance::weight_tensors`]; their
    /// lengths are checked when they are written.
    #[must_use]
    pub fn new(values: Vec<Arc<[f32]>>) -> Self {
        Self(values)
    }

    /// The numbers of each weight.
    #[must_use]
    pub fn values(&self) -> &[Arc<[f32]>] {
        &self.0
    }
}

impl Instance {
    /// Weights for this place. Those whose dimensions are the file's keep the file's numbers. The others
    /// are drawn: He-uniform factors of convolutions and matrix products (He et al. 2015), scales and
    /// variances around 1, shifts and means around 0. The same seed gives the same weights.
    #[must_use]
    pub fn weights(&self, seed: Seed) -> FragmentWeights {
        self.drawn(seed, &random)
    }

    /// As [`Instance::weights`], but as networks begin that are not trained: products by `draw`, which is given how
    /// many are summed; scales 1, shifts 0, slopes of what is below zero 0.25.
    pub(crate) fn initial_weights(
        &self,
        seed: Seed,
        draw: &dyn Fn(usize, u64, &mut Rng) -> Vec<f32>,
    ) -> FragmentWeights {
        self.drawn(seed, &|weight, kind, rng| {
            let count = usize::try_from(weight.elements()).unwrap_or(usize::MAX);
            let constant = |value| std::iter::repeat_n(value, count).collect();
            match kind {
                Draw::Products(fan_in) => draw(count, fan_in, rng).into(),
                Draw::Scale => constant(1.0),
                Draw::Shift => constant(0.0),
                Draw::Slope => constant(0.25),
            }
        })
    }

    /// The file's numbers where the dimensions are the file's; `draw` gives the others.
    fn drawn(&self, seed: Seed, draw: &Drawing<'_>) -> FragmentWeights {
        let constants = &self.fragment().source().constants;
        let values = |weight: &WeightTensor| match (weight.draw, &constants[weight.constant].data) {
            (None, Data::Float(values)) => values.clone(),
            (None, _) => Arc::from([]),
            (Some(kind), _) => draw(weight, kind, &mut seed.stream(&weight.name).rng()),
        };
        FragmentWeights(self.weight_tensors().iter().map(values).collect())
    }
}

/// What gives a tensor its random numbers.
type Drawing<'a> = dyn Fn(&WeightTensor, Draw, &mut Rng) -> Arc<[f32]> + 'a;

fn random(weight: &WeightTensor, draw: Draw, rng: &mut Rng) -> Arc<[f32]> {
    let range = match draw {
        Draw::Products(fan_in) => {
            let bound = he_bound(fan_in);
            -bound..bound
        }
        Draw::Scale => 0.8..1.2,
        Draw::Shift => -0.2..0.2,
        Draw::Slope => 0.1..0.4,
    };
    (0..weight.elements())
        .map(|_| rng.random_range(range.clone()))
        .collect()
}

/// Bound of the uniform distribution with the variance 2 / `fan_in`.
#[allow(clippy::cast_precision_loss)]
fn he_bound(fan_in: u64) -> f32 {
    (6.0 / fan_in as f32).sqrt()
}
