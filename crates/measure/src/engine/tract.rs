//! `tract`: the embedded engine, in Rust, with nothing to install.
//!
//! It computes with the calling thread alone: the kernels that it could spread over threads are
//! matrix products only, so a second thread would leave most of a mobile network on the first, and profiles
//! of two engines at "2 threads" would mean different things. It is refused instead.

use std::fmt::Display;

use blocklens_core::network::onnx::export;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::SimpleState;

use super::{
    Availability, Engine, EngineError, EngineOptions, Executor, LoadOptions, Model, Session,
    Stopwatch, Timing, check_input, check_output, check_threads, executor::in_order,
};

const NAME: &str = "tract";

/// The version that `Cargo.toml` pins: tract does not tell its own.
const VERSION: &str = "0.23.9";

/// The tract engine.
pub(super) struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn availability(&self) -> Availability {
        Availability::Available {
            version: VERSION.to_owned(),
            detail: "embedded, one thread".to_owned(),
        }
    }

    fn prepare(
        &self,
        model: &Model<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        check_one_thread(options.threads)?;
        let shape = model.network.input();
        let dims = [1, shape.channels, shape.height, shape.width].map(|d| d as usize);
        let state = compile(model).map_err(prepare_error)?;
        let input = super::input(model.network, options.seed);
        Ok(Box::new(TractSession {
            state,
            dims,
            input: tensor(&dims, &input).map_err(prepare_error)?,
            outputs: usize::try_from(model.network.output().elements()).unwrap_or(usize::MAX),
            output: Vec::new(),
            stopwatch: Stopwatch::new(1),
        }))
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Executor>, EngineError> {
        check_one_thread(options.threads)?;
        Ok(Box::new(load(model).map_err(prepare_error)?))
    }
}

fn check_one_thread(threads: usize) -> Result<(), EngineError> {
    check_threads(NAME, threads)?;
    if threads == 1 {
        return Ok(());
    }
    Err(EngineError::Threads {
        engine: NAME,
        asked: threads,
        remedy: "it computes with 1; for more, use `ort`",
    })
}

type State = SimpleState<TypedFact, Box<dyn TypedOp>>;

/// Reads, optimises and plans the network.
fn compile(model: &Model<'_>) -> TractResult<State> {
    let file = export(model.network, model.weights, "network")?;
    plan(onnx().model_for_read(&mut file.as_slice())?)
}

fn plan(model: InferenceModel) -> TractResult<State> {
    model.into_optimized()?.into_runnable()?.spawn()
}

fn load(file: &[u8]) -> TractResult<TractExecutor> {
    let proto = onnx().proto_model_for_read(&mut &*file)?;
    let model = onnx().model_for_proto_model(&proto)?;
    let outputs = proto.graph.map(|graph| graph.output).unwrap_or_default();
    let inputs = model.input_outlets()?.iter();
    Ok(TractExecutor {
        inputs: inputs.map(|i| model.node(i.node).name.clone()).collect(),
        outputs: outputs.into_iter().map(|output| output.name).collect(),
        state: plan(model)?,
    })
}

fn tensor(dims: &[usize], values: &[f32]) -> TractResult<TValue> {
    Ok(Tensor::from_shape(dims, values)?.into_tvalue())
}

// Printed with `#`, tract's errors tell the chain of their causes.
fn prepare_error(error: impl Display) -> EngineError {
    EngineError::Prepare {
        engine: NAME,
        message: format!("{error:#}"),
    }
}

fn run_error(error: impl Display) -> EngineError {
    EngineError::Run {
        engine: NAME,
        message: format!("{error:#}"),
    }
}

/// A network that tract has compiled.
struct TractSession {
    state: State,
    dims: [usize; 4],
    input: TValue,
    outputs: usize,
    output: Vec<f32>,
    stopwatch: Stopwatch,
}

impl TractSession {
    fn numbers(&self, outputs: &[TValue]) -> Result<Vec<f32>, EngineError> {
        let numbers = match outputs.first() {
            Some(first) => first.try_as_plain_ram().map_err(run_error)?,
            None => {
                return Err(EngineError::OutputLength {
                    engine: NAME,
                    found: 0,
                    expected: self.outputs,
                });
            }
        };
        let numbers = numbers.as_slice::<f32>().map_err(run_error)?;
        check_output(NAME, self.outputs, numbers)?;
        Ok(numbers.to_vec())
    }
}

impl Session for TractSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        // Shares the input with the engine; the numbers are not copied.
        let input = tvec!(self.input.clone());
        let (outputs, timing) = self.stopwatch.time(|| self.state.run(input));
        self.output = self.numbers(&outputs.map_err(run_error)?)?;
        Ok(timing)
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        check_input(NAME, self.dims.iter().product(), input)?;
        let input = tensor(&self.dims, input).map_err(run_error)?;
        let outputs = self.state.run(tvec!(input)).map_err(run_error)?;
        self.numbers(&outputs)
    }
}

/// A graph that tract has compiled.
struct TractExecutor {
    inputs: Vec<String>,
    outputs: Vec<String>,
    state: State,
}

impl Executor for TractExecutor {
    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn run(
        &mut self,
        inputs: &[(&str, &super::Tensor)],
    ) -> Result<Vec<super::Tensor>, EngineError> {
        let inputs = in_order(NAME, &self.inputs, inputs)?.into_iter();
        let inputs: TractResult<TVec<TValue>> =
            inputs.map(|t| tensor(t.shape(), t.data())).collect();
        let outputs = inputs.and_then(|inputs| self.state.run(inputs));
        let outputs = outputs.map_err(run_error)?;
        outputs.iter().map(plain).collect()
    }
}

fn plain(value: &TValue) -> Result<super::Tensor, EngineError> {
    let value = value.cast_to::<f32>().map_err(run_error)?;
    let numbers = value.try_as_plain_ram().map_err(run_error)?;
    let numbers = numbers.as_slice::<f32>().map_err(run_error)?.to_vec();
    super::Tensor::new(value.shape().to_vec(), numbers).map_err(run_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_pinned() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("tract-onnx = {{ version = \"={VERSION}\"")));
    }
}
