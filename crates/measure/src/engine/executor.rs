//! Graphs that compute: any ONNX graph, batches, several outputs. Nothing here is timed.

use super::EngineError;

/// Numbers with a shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// Numbers that do not fit their shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} numbers do not fill a tensor of shape {shape:?}")]
pub struct TensorError {
    /// The shape.
    pub shape: Vec<usize>,
    /// How many numbers there are.
    pub found: usize,
}

impl Tensor {
    /// A tensor of this shape.
    ///
    /// # Errors
    /// [`TensorError`] when the numbers are too few or too many.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, TensorError> {
        let needed = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        if needed == Some(data.len()) {
            return Ok(Self { shape, data });
        }
        let found = data.len();
        Err(TensorError { shape, found })
    }

    /// Its dimensions; none for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers, the last dimension fastest.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Its numbers, the last dimension fastest.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}

/// How a graph is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that the engine may compute with; at least 1.
    pub threads: usize,
}

impl Default for LoadOptions {
    /// One thread.
    fn default() -> Self {
        Self { threads: 1 }
    }
}

/// A graph that is ready to run.
pub trait Executor {
    /// The names of its inputs, in the graph's order.
    fn inputs(&self) -> &[String];

    /// The names of its outputs, in the graph's order.
    fn outputs(&self) -> &[String];

    /// Runs the graph on inputs by name, in any order; returns every output, in the graph's order.
    ///
    /// # Errors
    /// [`EngineError::Inputs`] when an input is missing, unknown or given twice; [`EngineError::Run`] when the
    /// engine fails, as it does for inputs of the wrong shape.
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError>;
}

impl std::fmt::Debug for dyn Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executor({:?} -> {:?})", self.inputs(), self.outputs())
    }
}

/// The given inputs in the graph's order, in the same words for every engine.
#[cfg(any(feature = "tract", feature = "ort"))]
pub(super) fn in_order<'a>(
    engine: &str,
    names: &[String],
    inputs: &[(&str, &'a Tensor)],
) -> Result<Vec<&'a Tensor>, EngineError> {
    let find = |name: &String| {
        let found = inputs.iter().find(|(given, _)| given == name);
        found.map(|(_, tensor)| *tensor)
    };
    let ordered: Option<Vec<&Tensor>> = names.iter().map(find).collect();
    match ordered {
        Some(ordered) if inputs.len() == names.len() => Ok(ordered),
        _ => Err(EngineError::Inputs {
            engine: engine.to_owned(),
            found: inputs.iter().map(|(name, _)| (*name).to_owned()).collect(),
            expected: names.to_vec(),
        }),
    }
}
