//! The fully connected network of a predictor, computed for many architectures at once.

use nalgebra::{DMatrix, DVector};

use super::features::{Features, PerChoice};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::space::Architecture;

/// Architectures that go through the network together: enough for matrix products to run near the machine's peak, few
/// enough for their activations to stay in its cache.
const TOGETHER: usize = 256;
/// Sums that the last layer's output is added up in.
const LANES: usize = 8;
/// Fewer columns are multiplied by another algorithm, which rounds differently: an architecture's value must not
/// depend on how many others are computed with it.
const FEWEST: usize = 8;

/// Linear layers with ReLU between them.
///
/// Inputs are zeros and ones, so the first layer is a sum of columns of its matrix: those of every choice are added
/// up when the predictor is made.
#[derive(Debug)]
pub(super) struct Network {
    /// The first layer's bias.
    bias: Vec<f32>,
    columns: PerChoice<Vec<f32>>,
    hidden: Vec<Linear>,
    last: Vec<f32>,
    /// Added to the last layer's output.
    offset: f64,
}

#[derive(Debug)]
struct Linear {
    /// Outputs x inputs.
    weight: DMatrix<f32>,
    bias: DVector<f32>,
}

/// Where a checkpoint has the network's tensors.
pub(super) struct Names {
    /// Layers but the last: `{name}.weight` and `{name}.bias`.
    pub layers: &'static [&'static str],
    /// The last layer's weight.
    pub last: &'static str,
    /// A single number that is added to the output.
    pub offset: &'static str,
}

impl Network {
    /// The network in a checkpoint.
    ///
    /// # Errors
    /// What is missing or not as it should be, as a sentence.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        names: &Names,
        features: &Features,
    ) -> Result<Self, String> {
        let mut layers = Vec::new();
        let mut inputs = features.inputs;
        for name in names.layers {
            let layer = Linear::read(checkpoint, name, inputs)?;
            inputs = layer.bias.len();
            layers.push(layer);
        }
        let last = matrix(checkpoint, names.last, Some(1), inputs)?;
        let offset = tensor(checkpoint, names.offset)?;
        let [offset] = offset.values() else {
            return Err(format!("`{}` is not a single number", names.offset));
        };
        if layers.is_empty() {
            return Err("it has no layers".into());
        }
        let first = layers.remove(0);
        Ok(Self {
            columns: features.ones.map(|ones| first.columns(ones)),
            bias: first.bias.as_slice().to_vec(),
            hidden: layers,
            last: last.iter().copied().collect(),
            offset: f64::from(*offset),
        })
    }

    /// Whether the predictor knows a resolution.
    pub(super) fn knows(&self, resolution: u32) -> bool {
        self.columns.resolution(resolution).is_some()
    }

    /// The outputs for architectures whose resolutions it knows, in their order.
    pub(super) fn outputs(&self, archs: &[&Architecture]) -> Vec<f64> {
        let mut outputs = Vec::with_capacity(archs.len());
        let mut layers = self.activations(archs.len());
        for chunk in archs.chunks(TOGETHER) {
            let columns = chunk.len().max(FEWEST);
            if columns != layers[0].ncols() {
                layers = self.activations(columns);
            }
            self.forward(chunk, &mut layers);
            let last = &layers[self.hidden.len()];
            let columns = last.column_iter().take(chunk.len());
            outputs.extend(columns.map(|column| self.output(column.as_slice())));
        }
        outputs
    }

    /// Room for the activations of every layer but the last, for as many architectures as go through together.
    fn activations(&self, archs: usize) -> Vec<DMatrix<f32>> {
        let columns = archs.clamp(FEWEST, TOGETHER);
        let rows = self.hidden.iter().map(|layer| layer.bias.len());
        let rows = std::iter::once(self.bias.len()).chain(rows);
        rows.map(|rows| DMatrix::zeros(rows, columns)).collect()
    }

    fn forward(&self, archs: &[&Architecture], layers: &mut [DMatrix<f32>]) {
        let mut chosen: Vec<&[f32]> = Vec::new();
        for (arch, mut sums) in archs.iter().zip(layers[0].column_iter_mut()) {
            chosen.clear();
            chosen.extend(
                self.columns
                    .resolution(arch.resolution())
                    .map(Vec::as_slice),
            );
            self.columns.each(arch, |column| chosen.push(column));
            self.first_layer(&chosen, sums.as_mut_slice());
        }
        for (index, layer) in self.hidden.iter().enumerate() {
            if let [inputs, outputs] = &mut layers[index..index + 2] {
                layer.forward(inputs, outputs);
            }
        }
    }

    fn output(&self, activations: &[f32]) -> f64 {
        // Several sums side by side: one alone would wait for every addition.
        let mut sums = [0.0; LANES];
        let products = activations.chunks(LANES).zip(self.last.chunks(LANES));
        for (activations, weights) in products {
            let products = activations.iter().zip(weights);
            let lanes = sums.iter_mut().zip(products);
            lanes.for_each(|(sum, (x, w))| *sum += f64::from(*x) * f64::from(*w));
        }
        sums.iter().sum::<f64>() + self.offset
    }

    /// max(b + the sum of the columns, 0), four columns at a time: half the work is reading and writing the sums.
    fn first_layer(&self, columns: &[&[f32]], sums: &mut [f32]) {
        sums.copy_from_slice(&self.bias);
        let mut fours = columns.chunks_exact(4);
        for four in &mut fours {
            if let [a, b, c, d] = four {
                let sums = sums.iter_mut().zip(*a).zip(*b).zip(*c).zip(*d);
                sums.for_each(|((((sum, a), b), c), d)| *sum += (a + b) + (c + d));
            }
        }
        for column in fours.remainder() {
            sums.iter_mut().zip(*column).for_each(|(sum, x)| *sum += x);
        }
        sums.iter_mut().for_each(|x| *x = x.max(0.0));
    }
}

impl Linear {
    fn read(checkpoint: &Checkpoint, name: &str, inputs: usize) -> Result<Self, String> {
        let weight = matrix(checkpoint, &format!("{name}.weight"), None, inputs)?;
        let key = format!("{name}.bias");
        let bias = tensor(checkpoint, &key)?;
        if bias.shape() != [weight.nrows()] {
            return Err(format!(
                "`{key}` has shape {:?} and not [{}]",
                bias.shape(),
                weight.nrows()
            ));
        }
        let bias = DVector::from_column_slice(bias.values());
        Ok(Self { weight, bias })
    }

    /// The sum of these columns of the matrix.
    fn columns(&self, indices: &[usize]) -> Vec<f32> {
        let zeros = DVector::zeros(self.bias.len());
        let sum = indices
            .iter()
            .fold(zeros, |sum: DVector<f32>, i| sum + self.weight.column(*i));
        sum.as_slice().to_vec()
    }

    /// max(W X + b, 0) for inputs X in columns.
    fn forward(&self, inputs: &DMatrix<f32>, outputs: &mut DMatrix<f32>) {
        outputs.gemm(1.0, &self.weight, inputs, 0.0);
        for mut column in outputs.column_iter_mut() {
            let biased = column.as_mut_slice().iter_mut().zip(self.bias.as_slice());
            biased.for_each(|(x, b)| *x = (*x + b).max(0.0));
        }
    }
}

fn tensor<'a>(checkpoint: &'a Checkpoint, key: &str) -> Result<&'a Tensor, String> {
    let tensor = checkpoint.get(key).ok_or_else(|| {
        let some: Vec<&str> = checkpoint.keys().take(4).collect();
        format!("it has no `{key}`; it has {}, ...", some.join(", "))
    })?;
    if !tensor.is_finite() {
        return Err(format!("`{key}` has values that are not finite numbers"));
    }
    Ok(tensor)
}

/// A matrix of `rows`, or of as many as it has, and `columns`.
fn matrix(
    checkpoint: &Checkpoint,
    key: &str,
    rows: Option<usize>,
    columns: usize,
) -> Result<DMatrix<f32>, String> {
    let tensor = tensor(checkpoint, key)?;
    match tensor.shape() {
        [r, c] if *c == columns && rows.is_none_or(|rows| rows == *r) && *r > 0 => {
            Ok(DMatrix::from_row_slice(*r, *c, tensor.values()))
        }
        shape => Err(format!(
            "`{key}` has shape {shape:?}; {} x {columns} is needed",
            rows.map_or("n".into(), |rows| rows.to_string())
        )),
    }
}
