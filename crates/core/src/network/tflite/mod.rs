//! TFLite files: a network and its weights for mobile runtimes and NPU compilers, in float or in full 8-bit
//! integers.
//!
//! TFLite's layout is rows, columns, channels: the input is called `image` and is `[1, rows, columns, 3]`, where
//! the ONNX file of the same network has `[1, 3, rows, columns]`. The output is `logits`, `[1, classes]`.
//! Convolutions with a stride are preceded by PAD, because TFLite's own SAME padding begins elsewhere than PyTorch's
//! when the stride is not 1.
//!
//! Integer files follow TFLite's 8-bit quantisation specification: weights symmetric with one scale per output
//! channel, activations asymmetric with one scale per tensor, from ranges that a [`Calibration`] observed. Input
//! and output stay float32.

mod graph;
mod lower;
mod quantize;
mod schema;

use super::run::{RunError, run_visiting};
use super::{Network, TensorId, Weights};

/// Why there is no TFLite file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TfliteError {
    /// TFLite, or what is written of it, has no counterpart of an operator.
    #[error("node `{node}` is {what}, which cannot be written as TFLite; ONNX can hold it")]
    Unsupported {
        /// The node's name.
        node: String,
        /// What it is.
        what: String,
    },
    /// A node's weights are missing or too few.
    #[error("node `{node}` has no weights, or too few: these weights belong to another network")]
    MissingWeights {
        /// The node's name.
        node: String,
    },
    /// A weight is NaN or infinite, so that it has no scale.
    #[error("`{tensor}` holds NaN or infinite weights, which cannot be quantised")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor's range is unknown, or not finite.
    #[error(
        "calibration gave no finite range for `{tensor}`: are there sample inputs, and is the network sound?"
    )]
    Calibration {
        /// The tensor's name.
        tensor: String,
    },
}

/// The bytes of a TFLite file with this network and these weights in float32; `name` becomes the subgraph's
/// name. The same arguments give the same bytes.
///
/// # Errors
/// [`TfliteError`].
pub fn export(network: &Network, weights: &Weights, name: &str) -> Result<Vec<u8>, TfliteError> {
    Ok(schema::write(&lower::lower(network, weights)?, name))
}

/// As [`export`], with weights, activations and arithmetic in 8-bit integers.
///
/// # Errors
/// [`TfliteError`], also when `calibration` is of another network.
pub fn export_int8(
    network: &Network,
    weights: &Weights,
    name: &str,
    calibration: &Calibration,
) -> Result<Vec<u8>, TfliteError> {
    let graph = quantize::quantize(lower::lower(network, weights)?, calibration)?;
    Ok(schema::write(&graph, name))
}

/// As [`export_int8`], with 8-bit integers as input and output too: for devices that have nothing else.
///
/// # Errors
/// As [`export_int8`].
pub fn export_int8_whole(
    network: &Network,
    weights: &Weights,
    name: &str,
    calibration: &Calibration,
) -> Result<Vec<u8>, TfliteError> {
    let graph = quantize::quantize_all(lower::lower(network, weights)?, calibration)?;
    Ok(schema::write(&graph, name))
}

/// The smallest and largest value that every tensor of a network had over sample inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    ranges: Vec<(f32, f32)>,
}

impl Calibration {
    /// Runs the network on sample inputs (channels, rows, columns; row-major, normalised as the network expects)
    /// with the reference executor.
    ///
    /// # Errors
    /// [`RunError`] when weights or a sample do not fit the network.
    pub fn observe<'a>(
        network: &Network,
        weights: &Weights,
        samples: impl IntoIterator<Item = &'a [f32]>,
    ) -> Result<Self, RunError> {
        let mut ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); network.nodes().len() + 1];
        for sample in samples {
            run_visiting(network, weights, sample, &mut |tensor, values| {
                let (low, high) = &mut ranges[tensor];
                for value in values {
                    // NaN must not vanish in min and max: it leaves no finite range.
                    *low = if value.is_nan() {
                        f32::NAN
                    } else {
                        low.min(*value)
                    };
                    *high = high.max(*value);
                }
            })?;
        }
        Ok(Self { ranges })
    }

    /// The range of a tensor, if it is finite.
    fn range(&self, tensor: TensorId) -> Option<(f32, f32)> {
        let (low, high) = *self.ranges.get(tensor)?;
        (low.is_finite() && high.is_finite()).then_some((low, high))
    }
}

#[cfg(test)]
mod tests;
