//! Small neural networks that predict a metric from the choices of an architecture.
//!
//! No well-kept crate trains a network of this size without a framework behind it, so this is one: two hidden layers,
//! rectified linear units, squared error, Adam (Kingma and Ba 2015). Inputs are 0 or 1 and few of them are 1, which the
//! first layer makes use of: only the weights of inputs that a minibatch has are updated. All sums have a fixed order:
//! the same seed gives the same network anywhere.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::seed::{Rng, Seed};

/// By how much the first layer's weights are smaller at the start than He's, so that a choice that no example makes
/// counts for little.
const FIRST: f32 = 0.1;

/// How a network is trained.
#[derive(Clone, Debug)]
pub struct Training {
    /// Neurons in each of the two hidden layers.
    pub width: usize,
    /// Times that every example is seen.
    pub epochs: usize,
    /// Most updates, however many examples there are.
    pub most_updates: usize,
    /// Examples in a minibatch.
    pub minibatch: usize,
    /// Adam's step.
    pub rate: f32,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            width: 32,
            epochs: 60,
            most_updates: 600,
            minibatch: 32,
            rate: 0.01,
        }
    }
}

/// A trained network.
#[derive(Clone, Debug)]
pub struct Mlp {
    width: usize,
    first: Layer,
    second: Layer,
    last: Layer,
    mean: f64,
    scale: f64,
}

/// Weights by input, then output; biases.
#[derive(Clone, Debug)]
struct Layer {
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Layer {
    /// `factor` times He's initialisation; `fan_in` inputs are on at a time.
    fn new(inputs: usize, outputs: usize, fan_in: usize, factor: f32, rng: &mut Rng) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let limit = factor * (6.0 / fan_in.max(1) as f32).sqrt();
        Self {
            weights: (0..inputs * outputs)
                .map(|_| rng.random_range(-limit..=limit))
                .collect(),
            biases: vec![0.0; outputs],
        }
    }
}

/// Adam's moments of a run of parameters.
#[derive(Clone, Debug)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Moments {
    fn new(len: usize) -> Self {
        Self {
            first: vec![0.0; len],
            second: vec![0.0; len],
        }
    }

    /// Moves the parameters from `at` on against their gradient; `rate` has the correction for the start in it.
    fn update(&mut self, at: usize, parameters: &mut [f32], gradient: &[f32], rate: f32) {
        let len = gradient.len();
        let first = self.first[at..at + len].iter_mut();
        let second = self.second[at..at + len].iter_mut();
        let pairs = parameters[at..at + len].iter_mut().zip(gradient);
        for (((p, g), m), v) in pairs.zip(first).zip(second) {
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            *p -= rate * *m / (v.sqrt() + 1e-8);
        }
    }
}

/// What one example looks like on its way through.
struct Pass {
    one: Vec<f32>,
    two: Vec<f32>,
    output: f32,
}

impl Mlp {
    /// Trains on examples: the indices of the inputs that are 1, and the value. The result follows from the seed. For
    /// no examples, or values that are all equal, the prediction is their mean.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    pub fn train(
        features: usize,
        inputs: &[Vec<u32>],
        values: &[f64],
        training: &Training,
        seed: Seed,
    ) -> Self {
        let width = training.width;
        let mut rng = seed.rng();
        let active = inputs.iter().map(Vec::len).max().unwrap_or(1);
        let deviation = crate::stats::variance(values).sqrt();
        let mut network = Self {
            width,
            first: Layer::new(features, width, active, FIRST, &mut rng),
            second: Layer::new(width, width, width, 1.0, &mut rng),
            last: Layer::new(width, 1, width, 1.0, &mut rng),
            mean: crate::stats::mean(values),
            scale: deviation,
        };
        if inputs.is_empty() || deviation <= 0.0 || !deviation.is_finite() {
            return network;
        }
        let targets: Vec<f32> = values
            .iter()
            .map(|v| ((v - network.mean) / deviation) as f32)
            .collect();
        let mut trainer = Trainer::new(&network, features);
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        let per_epoch = inputs.len().div_ceil(training.minibatch.max(1));
        let updates = (training.epochs * per_epoch).min(training.most_updates);
        let mut chunks: Vec<Vec<usize>> = Vec::new();
        for update in 0..updates {
            if chunks.is_empty() {
                order.shuffle(&mut rng);
                let parts = order.chunks(training.minibatch.max(1));
                chunks = parts.map(<[usize]>::to_vec).collect();
            }
            let chunk = chunks.pop().unwrap_or_default();
            // The step falls to nothing towards the end, so that the last minibatches do not decide.
            let left = 1.0 - update as f32 / updates as f32;
            let rate = training.rate * left * correction(update);
            trainer.update(&mut network, &chunk, inputs, &targets, rate);
        }
        network
    }

    /// The prediction for inputs that are 1 at these indices.
    #[must_use]
    pub fn predict(&self, input: &[u32]) -> f64 {
        if self.scale <= 0.0 || !self.scale.is_finite() {
            return self.mean;
        }
        self.mean + self.scale * f64::from(self.pass(input).output)
    }

    fn pass(&self, input: &[u32]) -> Pass {
        let mut one = self.first.biases.clone();
        for index in input {
            let row = *index as usize * self.width;
            if let Some(weights) = self.first.weights.get(row..row + self.width) {
                add(&mut one, weights, 1.0);
            }
        }
        rectify(&mut one);
        let mut two = self.second.biases.clone();
        for (x, weights) in one.iter().zip(self.second.weights.chunks(self.width)) {
            add(&mut two, weights, *x);
        }
        rectify(&mut two);
        let products = two.iter().zip(&self.last.weights).map(|(x, w)| x * w);
        let output = self.last.biases[0] + products.sum::<f32>();
        Pass { one, two, output }
    }
}

/// Adam's correction for moments that start at 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
fn correction(update: usize) -> f32 {
    let t = update.min(100_000) as i32 + 1;
    (1.0 - 0.999_f32.powi(t)).sqrt() / (1.0 - 0.9_f32.powi(t))
}

fn add(sum: &mut [f32], terms: &[f32], factor: f32) {
    sum.iter_mut()
        .zip(terms)
        .for_each(|(s, t)| *s += factor * t);
}

fn rectify(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = v.max(0.0));
}

/// Gradients and moments of a network's parameters.
struct Trainer {
    width: usize,
    first: Vec<f32>,
    first_biases: Vec<f32>,
    second: Vec<f32>,
    second_biases: Vec<f32>,
    last: Vec<f32>,
    moments: [Moments; 6],
    touched: Vec<usize>,
    is_touched: Vec<bool>,
}

impl Trainer {
    fn new(network: &Mlp, features: usize) -> Self {
        let width = network.width;
        let moments = |len| Moments::new(len);
        Self {
            width,
            first: vec![0.0; features * width],
            first_biases: vec![0.0; width],
            second: vec![0.0; width * width],
            second_biases: vec![0.0; width],
            last: vec![0.0; width],
            moments: [
                moments(features * width),
                moments(width),
                moments(width * width),
                moments(width),
                moments(width),
                moments(1),
            ],
            touched: Vec::new(),
            is_touched: vec![false; features],
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn update(
        &mut self,
        network: &mut Mlp,
        chunk: &[usize],
        inputs: &[Vec<u32>],
        targets: &[f32],
        rate: f32,
    ) {
        let mut offset = 0.0;
        for example in chunk {
            let pass = network.pass(&inputs[*example]);
            let error = 2.0 * (pass.output - targets[*example]) / chunk.len() as f32;
            offset += error;
            self.add_gradient(network, &inputs[*example], &pass, error);
        }
        let width = self.width;
        let [m1, b1, m2, b2, m3, b3] = &mut self.moments;
        for feature in self.touched.drain(..) {
            let row = feature * width;
            let gradient = &mut self.first[row..row + width];
            m1.update(row, &mut network.first.weights, gradient, rate);
            gradient.fill(0.0);
            self.is_touched[feature] = false;
        }
        b1.update(0, &mut network.first.biases, &self.first_biases, rate);
        m2.update(0, &mut network.second.weights, &self.second, rate);
        b2.update(0, &mut network.second.biases, &self.second_biases, rate);
        m3.update(0, &mut network.last.weights, &self.last, rate);
        b3.update(0, &mut network.last.biases, &[offset], rate);
        for gradient in [
            &mut self.first_biases,
            &mut self.second,
            &mut self.second_biases,
            &mut self.last,
        ] {
            gradient.fill(0.0);
        }
    }

    fn add_gradient(&mut self, network: &Mlp, input: &[u32], pass: &Pass, error: f32) {
        let width = self.width;
        add(&mut self.last, &pass.two, error);
        let mut back: Vec<f32> = network.last.weights.iter().map(|w| error * w).collect();
        mask(&mut back, &pass.two);
        add(&mut self.second_biases, &back, 1.0);
        let mut front = vec![0.0; width];
        let rows = network.second.weights.chunks(width);
        for ((f, x), (weights, gradient)) in front
            .iter_mut()
            .zip(&pass.one)
            .zip(rows.zip(self.second.chunks_mut(width)))
        {
            add(gradient, &back, *x);
            *f = weights.iter().zip(&back).map(|(w, b)| w * b).sum();
        }
        mask(&mut front, &pass.one);
        add(&mut self.first_biases, &front, 1.0);
        for index in input {
            let feature = *index as usize;
            let Some(touched) = self.is_touched.get_mut(feature) else {
                continue;
            };
            if !std::mem::replace(touched, true) {
                self.touched.push(feature);
            }
            add(
                &mut self.first[feature * width..(feature + 1) * width],
                &front,
                1.0,
            );
        }
    }
}

/// Where a rectifier was off, nothing comes back.
fn mask(gradient: &mut [f32], outputs: &[f32]) {
    for (g, out) in gradient.iter_mut().zip(outputs) {
        if *out <= 0.0 {
            *g = 0.0;
        }
    }
}
