//! The fit's parts against their naive twins.

use nalgebra::{DMatrix, DVector};

use super::data::Compressed;
use super::features::Features;
use super::posterior::{AdditiveModel, Posterior};
use super::prior::Prior;
use super::tails;
use super::variance_components::{Model, Variances};
use crate::metric::Metric;
use crate::seed::Seed;
use crate::space::DesignSpace;
use crate::surrogate::{SimulatedDevice, SimulatedLatency};

/// Features of OFA-MobileNetV3, the design of so many random architectures, and their standardised latencies on a
/// simulated device, with some noise.
fn data(count: impl Fn(&Features) -> usize) -> (Features, DMatrix<f64>, DVector<f64>) {
    let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
    let features = Features::new(&space, 224);
    let metric = SimulatedLatency::new(
        space.clone(),
        SimulatedDevice {
            interaction: 0.3,
            ..SimulatedDevice::default()
        },
    );
    let mut rng = Seed(3).rng();
    let archs: Vec<_> = (0..count(&features))
        .map(|_| space.sample(224, &mut rng).unwrap())
        .collect();
    let values: Vec<f64> = archs.iter().map(|a| metric.evaluate(a).unwrap()).collect();
    let (mean, sd) = (
        crate::stats::mean(&values),
        crate::stats::variance(&values).sqrt(),
    );
    let noise = |i: usize| 0.1 * (1.7 * i as f64).sin();
    let y = values.iter().enumerate();
    let y = DVector::from_iterator(values.len(), y.map(|(i, v)| (v - mean) / sd + noise(i)));
    let design = features.design(archs.iter());
    (features, design, y)
}

/// With its prior, every round of updates makes the variances likelier, and where they end no small change does.
#[test]
fn updates_climb_to_the_likeliest_variances() {
    let (features, z, y) = data(|_| 50);
    let data = Compressed::new(&z, &y, &DVector::repeat(50, 1.0));
    let model = Model::new(&features, &data, &tails::even(features.levels()));
    let (prior, _) = Prior::of(&model).unwrap();
    let density = |v: &Variances| prior.log_posterior(&model, v).unwrap();
    let mut v = model.begin(prior);
    let mut last = density(&v);
    for round in 0..400 {
        model.improve(prior, &mut v).unwrap();
        let next = density(&v);
        assert!(next > last - 1e-9, "round {round}: {last} to {next}");
        last = next;
    }
    for level in (0..v.levels.len()).filter(|&g| model.reach[g] > 0.0) {
        for factor in [0.9, 1.1] {
            let mut other = v.clone();
            other.levels[level] *= factor;
            assert!(density(&other) < last + 1e-6, "level {level} by {factor}");
        }
    }
}

/// The information on the variances is the expected curvature: against traces of whole matrices.
#[test]
fn information_equals_that_of_whole_matrices() {
    let (features, z, y) = data(|_| 30);
    let data = Compressed::new(&z, &y, &DVector::repeat(30, 1.0));
    let model = Model::new(&features, &data, &tails::even(features.levels()));
    let (_, v) = Prior::of(&model).unwrap();
    let inverse = model.marginal(&v).unwrap().inverse();
    let information = model.information(&v, &inverse);
    let kernel = |g: usize| match model.directions.get(g) {
        Some(directions) => &z * directions * directions.transpose() * z.transpose() * v.levels[g],
        None => DMatrix::identity(30, 30) * v.noise,
    };
    for g in [0, 4, v.levels.len()] {
        for h in [2, 7, v.levels.len()] {
            let naive = (&inverse * kernel(g) * &inverse * kernel(h)).trace() / 2.0;
            let found = information[(g, h)];
            assert!(
                (found - naive).abs() < 1e-9 * naive.max(1e-6),
                "{g}, {h}: {found} {naive}"
            );
        }
    }
}

/// Compressed to as many rows as columns, data say what they say uncompressed, by another formula.
#[test]
fn both_forms_of_the_posterior_agree() {
    let (features, z, y) = data(|features| features.columns() + 40);
    let ones = DVector::repeat(y.len(), 1.0);
    let scales = tails::even(features.levels());
    let whole = Compressed::whole(&z, &y);
    let compressed = Compressed::new(&z, &y, &ones);
    assert!(compressed.is_compressed() && !whole.is_compressed());
    let model = Model::new(&features, &compressed, &scales);
    let (prior, v) = Prior::of(&model).unwrap();
    let few = Posterior::new(&Model::new(&features, &whole, &scales), prior, &v, 1.0).unwrap();
    let many = Posterior::new(&model, prior, &v, 1.0).unwrap();
    let apart = |a: &DMatrix<f64>, b: &DMatrix<f64>| (a - b).norm() / b.norm();
    assert!((&few.coefficients - &many.coefficients).norm() < 1e-6 * many.coefficients.norm());
    assert!(apart(&few.covariance(), &many.covariance()) < 1e-5);
}

/// Residuals of the model without interactions are H^-1 y times the noise, and the means' covariance takes from the
/// identity what makes it H^-1 times the noise, with H the covariance of sums and of everything else as noise.
#[test]
fn additive_residuals_are_those_of_whole_matrices() {
    let count = 40;
    let (features, z, y) = data(|_| count);
    let data = Compressed::new(&z, &y, &DVector::repeat(count, 1.0));
    let model = Model::new(&features, &data, &tails::even(features.levels()));
    let (_, v) = Prior::of(&model).unwrap();
    let additive = AdditiveModel::new(&model, &v).unwrap();
    let (mut noise, mut h) = (v.noise, model.fixed.clone());
    for (g, directions) in model.directions.iter().enumerate() {
        let kernel = &z * directions * directions.transpose() * z.transpose() * v.levels[g];
        if features.interaction_levels().any(|level| level == g) {
            noise += kernel.trace() / count as f64;
        } else {
            h += kernel;
        }
    }
    assert!(noise > v.noise, "there are interactions");
    (0..count).for_each(|i| h[(i, i)] += noise);
    let inverse = h.cholesky().unwrap().inverse() * noise;
    let residuals = &y - &z * &additive.coefficients;
    assert!((&residuals - &inverse * &y).norm() < 1e-9 * residuals.norm());
    let form = DMatrix::identity(count, count) - &z * &additive.covariance * z.transpose() / noise;
    assert!((&form - &inverse).norm() < 1e-9 * inverse.norm());
}

/// What not knowing variances adds to the covariance: against coefficients from whole matrices when one variance after
/// the other, a level's, the noise's or a direction's own, is somewhat larger and smaller.
#[test]
fn unknown_variances_add_what_differences_say() {
    let count = 30;
    let (features, z, y) = data(|_| count);
    let data = Compressed::new(&z, &y, &DVector::repeat(count, 1.0));
    let even = tails::even(features.levels());
    let model = Model::new(&features, &data, &even);
    let (prior, v) = Prior::of(&model).unwrap();
    let coefficients = |scales: &tails::Scales, v: &Variances| {
        let model = Model::new(&features, &data, scales);
        let root = model.prior_root(v);
        let inverse = model.marginal(v).unwrap().inverse();
        &root * root.transpose() * z.transpose() * inverse * &y
    };
    let step: f64 = 1e-4;
    let slope = |change: &dyn Fn(f64, &mut tails::Scales, &mut Variances)| {
        let at = |step: f64| {
            let (mut scales, mut v) = (even.clone(), v.clone());
            change(step.exp(), &mut scales, &mut v);
            coefficients(&scales, &v)
        };
        (at(step) - at(-step)) / (2.0 * step)
    };
    let levels = v.levels.len();
    let shared: Vec<_> = (0..=levels)
        .map(|g| {
            slope(&|factor, _, v| match v.levels.get_mut(g) {
                Some(level) => *level *= factor,
                None => v.noise *= factor,
            })
        })
        .collect();
    let shared = DMatrix::from_columns(&shared);
    let inverse = model.marginal(&v).unwrap().inverse();
    let information = prior.posterior_information(&model, &v, &inverse);
    let mut added = &shared * information.try_inverse().unwrap() * shared.transpose();
    for (g, scales) in even.iter().enumerate().filter(|(_, s)| s.len() > 1) {
        for direction in 0..scales.len() {
            let own = slope(&|factor, scales, _| scales[g][direction] *= factor.sqrt());
            added += &own * own.transpose() * tails::LOG_VARIANCE;
        }
    }
    let found = Posterior::new(&model, prior, &v, 1.0).unwrap().added;
    let apart = (&found - &added).norm() / added.norm();
    assert!(apart < 1e-5, "{apart}");
}
