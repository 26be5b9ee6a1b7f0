//! `tract`: the embedded engine, in Rust, with nothing to install.
//!
//! It computes with the calling thread alone: the kernels that it could spread over threads are
//! matrix products only, so a second thread would leave most of a mobile network on the first, and profiles
//! of two engines at "2 threads" would mean different things. It is refused instead.

use std::fmt::Display;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike as _, bail};
use tract_onnx::tract_core::plan::SimpleState;
use tract_onnx::tract_hir::infer::Factoid as _;

use super::artefact::{Artefact, Input, Onnx, Values, replaced};
use super::{
    Availability, Engine, EngineError, EngineOptions, Executor, LoadOptions, Session, Stopwatch,
    Timing, check_output, check_threads, executor::in_order, not_prepared,
};

const NAME: &str = "tract";

/// The version that `Cargo.toml` pins: tract does not tell its own.
const VERSION: &str = "0.23.9";

/// The tract engine.
pub(super) struct Tract;

impl Engine for Tract {
    fn name(&self) -> &str {
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
        artefact: &Artefact<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        check_one_thread(options.threads)?;
        let Onnx {
            file,
            inputs,
            outputs,
        } = artefact.onnx(NAME, options.seed)?;
        let (state, given) = compile(&file, &inputs).map_err(prepare_error)?;
        Ok(Box::new(TractSession {
            state,
            given,
            inputs,
            outputs,
            output: Vec::new(),
            stopwatch: Stopwatch::new(1),
        }))
    }

    fn most_threads(&self) -> Option<usize> {
        Some(1)
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
        engine: NAME.into(),
        asked: threads,
        remedy: "it computes with 1; for more, use `ort`",
    })
}

type State = SimpleState<TypedFact, Box<dyn TypedOp>>;

/// Reads, optimises and plans a network for these inputs; returns them as tract takes them, in its order.
fn compile(file: &[u8], inputs: &[Input]) -> TractResult<(State, TVec<TValue>)> {
    // What a file says of tensors in terms of open dimensions would contradict the ones that come.
    let reader = onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let mut model = reader.model_for_read(&mut &*file)?;
    let mut given = tvec![];
    for (place, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
        let name = &model.node(outlet.node).name;
        let Some(input) = inputs.iter().find(|input| input.spec.name == *name) else {
            bail!("it takes an input `{name}`, which the file does not list");
        };
        let value = value(input)?;
        let fact = InferenceFact::dt_shape(value.datum_type(), value.shape());
        model.set_input_fact(place, fact)?;
        given.push(value);
    }
    Ok((plan(model)?, given))
}

fn value(Input { spec, values }: &Input) -> TractResult<TValue> {
    let shape = spec.shape.as_slice();
    let tensor = match values {
        Values::Float32(v) => Tensor::from_shape(shape, v),
        Values::Int8(v) => Tensor::from_shape(shape, v),
        Values::Uint8(v) => Tensor::from_shape(shape, v),
        Values::Int32(v) => Tensor::from_shape(shape, v),
        Values::Int64(v) => Tensor::from_shape(shape, v),
        Values::Bool(v) => Tensor::from_shape(shape, v),
    };
    Ok(tensor?.into_tvalue())
}

fn plan(model: InferenceModel) -> TractResult<State> {
    model.into_optimized()?.into_runnable()?.spawn()
}

fn load(file: &[u8]) -> TractResult<TractExecutor> {
    let proto = onnx().proto_model_for_read(&mut &*file)?;
    // What the file says of outputs in terms of an open batch would contradict the batch that comes.
    let reader = onnx().with_ignore_output_shapes(true);
    let model = reader.model_for_proto_model(&proto)?;
    let outputs = proto.graph.map(|graph| graph.output).unwrap_or_default();
    let inputs = model.input_outlets()?.iter();
    let inputs = inputs.map(|i| model.node(i.node).name.clone()).collect();
    let mut executor = TractExecutor {
        inputs,
        outputs: outputs.into_iter().map(|output| output.name).collect(),
        model,
        planned: None,
    };
    let known = (0..executor.inputs.len())
        .map(|i| executor.model.input_fact(i)?.shape.as_concrete_finite())
        .collect::<TractResult<Option<Vec<TVec<usize>>>>>()?;
    if let Some(shapes) = known {
        executor.plan(&shapes)?;
    }
    Ok(executor)
}

fn tensor(dims: &[usize], values: &[f32]) -> TractResult<TValue> {
    Ok(Tensor::from_shape(dims, values)?.into_tvalue())
}

// Printed with `#`, tract's errors tell the chain of their causes.
fn prepare_error(error: impl Display) -> EngineError {
    not_prepared(NAME, format!("{error:#}"))
}

fn run_error(error: impl Display) -> EngineError {
    EngineError::Run {
        engine: NAME.into(),
        message: format!("{error:#}"),
    }
}

/// A network that tract has compiled.
struct TractSession {
    state: State,
    /// The inputs, in tract's order.
    given: TVec<TValue>,
    inputs: Vec<Input>,
    /// Of the first output, where it is known.
    outputs: Option<usize>,
    output: Vec<f32>,
    stopwatch: Stopwatch,
}

impl TractSession {
    fn numbers(&self, outputs: &[TValue]) -> Result<Vec<f32>, EngineError> {
        let Some(first) = outputs.first() else {
            return Err(run_error("it gives no output"));
        };
        let numbers = plain(first)?.into_data();
        check_output(NAME, self.outputs, &numbers)?;
        Ok(numbers)
    }
}

impl Session for TractSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        // Shares the inputs with the engine; the numbers are not copied.
        let inputs = self.given.clone();
        let (outputs, timing) = self.stopwatch.time(|| self.state.run(inputs));
        self.output = self.numbers(&outputs.map_err(run_error)?)?;
        Ok(timing)
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let inputs = replaced(NAME, &self.inputs, input)?;
        let given: TractResult<TVec<TValue>> = inputs.iter().map(value).collect();
        let outputs = self.state.run(given.map_err(run_error)?);
        self.numbers(&outputs.map_err(run_error)?)
    }
}

/// A graph that tract has read. It is planned for the shapes that it is given: with an open batch, tract's
/// optimiser overflows in reductions.
struct TractExecutor {
    inputs: Vec<String>,
    outputs: Vec<String>,
    model: InferenceModel,
    /// For the inputs' shapes that came last, or are the only ones possible.
    planned: Option<(Vec<TVec<usize>>, State)>,
}

impl TractExecutor {
    /// The plan for inputs of these shapes.
    fn plan(&mut self, shapes: &[TVec<usize>]) -> TractResult<&mut State> {
        let planned = self.planned.take();
        let state = match planned {
            Some((known, state)) if known == shapes => state,
            _ => {
                let mut model = self.model.clone();
                for (index, shape) in shapes.iter().enumerate() {
                    check_shape(model.input_fact(index)?, shape)?;
                    let fact = InferenceFact::dt_shape(f32::datum_type(), shape.clone());
                    model.set_input_fact(index, fact)?;
                }
                plan(model)?
            }
        };
        Ok(&mut self.planned.insert((shapes.to_vec(), state)).1)
    }

    fn infer(&mut self, inputs: &[&super::Tensor]) -> TractResult<TVec<TValue>> {
        let shapes: Vec<TVec<usize>> = inputs.iter().map(|t| t.shape().into()).collect();
        let inputs = inputs.iter().map(|t| tensor(t.shape(), t.data()));
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        self.plan(&shapes)?.run(inputs)
    }
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
        let inputs = in_order(NAME, &self.inputs, inputs)?;
        let outputs = self.infer(&inputs).map_err(run_error)?;
        outputs.iter().map(plain).collect()
    }
}

/// Refuses a shape that differs from the graph's where that is not open.
fn check_shape(fact: &InferenceFact, shape: &[usize]) -> TractResult<()> {
    let known: Vec<Option<usize>> = fact
        .shape
        .dims()
        .map(|dim| dim.concretize().and_then(|d| d.to_usize().ok()))
        .collect();
    let fits = |(known, found): (&Option<usize>, &usize)| known.is_none_or(|k| k == *found);
    if known.len() == shape.len() && known.iter().zip(shape).all(fits) {
        return Ok(());
    }
    bail!(
        "an input has the shape {shape:?}; the graph takes {:?}",
        fact.shape
    )
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
