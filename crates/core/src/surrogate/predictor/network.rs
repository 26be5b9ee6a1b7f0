//! The fully connected network of a predictor, computed for many architectures at once.

use nalgebra::{DMatrix, DVector};

use super::features::{Features, PerChoice};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::space::Architecture;

/// Architectures that go through the network together: enough for matrix products to run near the machine's peak, few
/// enough for their activations to stay in its cache.
const TOGETHER: usize = 256;
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
        archs
            .chunks(TOGETHER)
            .flat_map(|chunk| self.outputs_together(chunk))
            .collect()
    }

    fn outputs_together(&self, archs: &[&Architecture]) -> Vec<f64> {
        let mut activations = DMatrix::zeros(self.bias.len(), archs.len().max(FEWEST));
        for (arch, mut column) in archs.iter().zip(activations.column_iter_mut()) {
            self.first_layer(arch, column.as_mut_slice());
        }
        for layer in &self.hidden {
            activations = layer.forward(&activations);
        }
        let output = |column: &[f32]| -> f64 {
            let products = column.iter().zip(&self.last);
            products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
        };
        activations
            .column_iter()
            .take(archs.len())
            .map(|column| output(column.as_slice()) + self.offset)
            .collect()
    }

    fn first_layer(&self, arch: &Architecture, sums: &mut [f32]) {
        sums.copy_from_slice(&self.bias);
        let mut add = |column: &Vec<f32>| {
            sums.iter_mut().zip(column).for_each(|(sum, x)| *sum += x);
        };
        if let Some(column) = self.columns.resolution(arch.resolution()) {
            add(column);
        }
        self.columns.each(arch, &mut add);
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
    fn forward(&self, inputs: &DMatrix<f32>) -> DMatrix<f32> {
        let mut outputs = DMatrix::zeros(self.bias.len(), inputs.ncols());
        outputs.gemm(1.0, &self.weight, inputs, 0.0);
        for mut column in outputs.column_iter_mut() {
            let biased = column.as_mut_slice().iter_mut().zip(&self.bias);
            biased.for_each(|(x, b)| *x = (*x + b).max(0.0));
        }
        outputs
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
