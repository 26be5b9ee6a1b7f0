//! `ort`: ONNX Runtime, found and loaded at run time.
//!
//! The session is set up for steady times on few threads, and otherwise as programs use it: all graph
//! optimisations, sequential execution, the memory pattern planned ahead, denormals flushed to zero. With
//! several threads, idle ones spin for a moment before they sleep, as is ONNX Runtime's default:
//! without it every operator would pay for waking them. They count as busy CPU time meanwhile.
//!
//! Flushing denormals holds for the engine's own threads and for the thread that prepares the first
//! session of a process, so sessions are prepared and run on one thread.

mod find;

use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::ort::LoadDynamicError;
use ::ort::environment::Environment;
use ::ort::session::builder::GraphOptimizationLevel;
use ::ort::session::{Session as OrtSession, SessionInputValue, SessionOutputs};
use ::ort::value::PrimitiveTensorElementType;
use ::ort::value::{DynValue, DynValueTypeMarker, Outlet, Tensor, TensorRef, ValueRef};

use super::artefact::{Artefact, Input, Onnx, Values, replaced};
use super::{
    Availability, Engine, EngineError, EngineOptions, Executor, LoadOptions, Session, Stopwatch,
    Timing, check_output, check_threads, executor::in_order, not_prepared,
};
use find::Candidate;

const NAME: &str = "ort";

/// The ONNX Runtime engine.
pub(super) struct Ort {
    /// Path of the library, where the user gave one.
    library: Option<String>,
}

impl Ort {
    pub(super) fn new(library: Option<&str>) -> Self {
        Self {
            library: library.map(str::to_owned).filter(|path| !path.is_empty()),
        }
    }

    fn runtime(&self) -> Result<Runtime, EngineError> {
        runtime(self.library.as_deref()).map_err(|problem| EngineError::Unavailable {
            engine: NAME.into(),
            reason: problem.reason,
            remedy: problem.remedy,
        })
    }
}

impl Engine for Ort {
    fn name(&self) -> &str {
        NAME
    }

    fn availability(&self) -> Availability {
        match runtime(self.library.as_deref()) {
            Ok(runtime) => Availability::Available {
                version: runtime.version,
                detail: format!("{} ({})", runtime.library.display(), runtime.source),
            },
            Err(problem) => Availability::Unavailable {
                reason: problem.reason,
                remedy: problem.remedy,
            },
        }
    }

    fn prepare(
        &self,
        artefact: &Artefact<'_>,
        options: &EngineOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        check_threads(NAME, options.threads)?;
        let runtime = self.runtime()?;
        let Onnx {
            file,
            inputs,
            outputs,
        } = artefact.onnx(NAME, options.seed)?;
        Ok(Box::new(OnnxSession {
            session: compile(&runtime.environment, &file, options.threads)?,
            given: given(&inputs).map_err(prepare_error)?,
            inputs,
            outputs,
            output: Vec::new(),
            stopwatch: Stopwatch::new(options.threads),
        }))
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Executor>, EngineError> {
        check_threads(NAME, options.threads)?;
        let runtime = self.runtime()?;
        let session = compile(&runtime.environment, model, options.threads)?;
        Ok(Box::new(OnnxExecutor::new(session)))
    }
}

/// Reads, optimises and plans the network.
fn compile(
    environment: &Environment,
    file: &[u8],
    threads: usize,
) -> Result<OrtSession, EngineError> {
    let build = || -> ::ort::Result<OrtSession> {
        OrtSession::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_memory_pattern(true)?
            .with_flush_to_zero()?
            .commit_from_memory(file)
    };
    build().map_err(prepare_error)
}

fn prepare_error(error: impl Display) -> EngineError {
    not_prepared(NAME, error.to_string())
}

fn run_error(error: impl Display) -> EngineError {
    EngineError::Run {
        engine: NAME.into(),
        message: error.to_string(),
    }
}

/// Inputs by name.
type Given = Vec<(String, DynValue)>;

fn given(inputs: &[Input]) -> ::ort::Result<Given> {
    inputs
        .iter()
        .map(|input| Ok((input.spec.name.clone(), value(input)?)))
        .collect()
}

fn value(Input { spec, values }: &Input) -> ::ort::Result<DynValue> {
    let shape = spec.shape.clone();
    Ok(match values {
        Values::Float32(v) => Tensor::from_array((shape, v.clone()))?.into_dyn(),
        Values::Int8(v) => Tensor::from_array((shape, v.clone()))?.into_dyn(),
        Values::Uint8(v) => Tensor::from_array((shape, v.clone()))?.into_dyn(),
        Values::Int32(v) => Tensor::from_array((shape, v.clone()))?.into_dyn(),
        Values::Int64(v) => Tensor::from_array((shape, v.clone()))?.into_dyn(),
        Values::Bool(v) => Tensor::from_array((shape, v.clone()))?.into_dyn(),
    })
}

fn views(given: &Given) -> Vec<(&str, SessionInputValue<'_>)> {
    fn view((name, value): &(String, DynValue)) -> (&str, SessionInputValue<'_>) {
        (name, SessionInputValue::from(value))
    }
    given.iter().map(view).collect()
}

/// A network that ONNX Runtime has compiled.
struct OnnxSession {
    session: OrtSession,
    given: Given,
    inputs: Vec<Input>,
    /// Of the first output, where it is known.
    outputs: Option<usize>,
    output: Vec<f32>,
    stopwatch: Stopwatch,
}

impl Session for OnnxSession {
    fn run(&mut self) -> Result<Timing, EngineError> {
        let inputs = views(&self.given);
        let (outputs, timing) = self.stopwatch.time(|| self.session.run(inputs));
        self.output = numbers(&outputs.map_err(run_error)?, self.outputs)?;
        Ok(timing)
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn infer(&mut self, input: &[f32]) -> Result<Vec<f32>, EngineError> {
        let given = given(&replaced(NAME, &self.inputs, input)?).map_err(run_error)?;
        let outputs = self.session.run(views(&given)).map_err(run_error)?;
        numbers(&outputs, self.outputs)
    }
}

/// The first output's numbers.
fn numbers(outputs: &SessionOutputs<'_>, expected: Option<usize>) -> Result<Vec<f32>, EngineError> {
    let (_, first) = outputs
        .iter()
        .next()
        .ok_or_else(|| run_error("it gives no output"))?;
    let numbers = plain(&first).map_err(run_error)?;
    check_output(NAME, expected, &numbers)?;
    Ok(numbers)
}

/// Numbers of any kind that outputs are of, rounded to float32.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn plain(output: &ValueRef<'_, DynValueTypeMarker>) -> ::ort::Result<Vec<f32>> {
    use ::ort::value::TensorElementType as Kind;
    Ok(match output.dtype().tensor_type() {
        Some(Kind::Float64) => cast(output, |x: f64| x as f32)?,
        Some(Kind::Int8) => cast(output, |x: i8| f32::from(x))?,
        Some(Kind::Uint8) => cast(output, |x: u8| f32::from(x))?,
        Some(Kind::Int32) => cast(output, |x: i32| x as f32)?,
        Some(Kind::Int64) => cast(output, |x: i64| x as f32)?,
        Some(Kind::Bool) => cast(output, |x: bool| f32::from(u8::from(x)))?,
        _ => cast(output, |x: f32| x)?,
    })
}

fn cast<T: PrimitiveTensorElementType + Copy>(
    output: &ValueRef<'_, DynValueTypeMarker>,
    number: impl Fn(T) -> f32,
) -> ::ort::Result<Vec<f32>> {
    let (_, values) = output.try_extract_tensor::<T>()?;
    Ok(values.iter().map(|&x| number(x)).collect())
}

/// A graph that ONNX Runtime has compiled.
struct OnnxExecutor {
    session: OrtSession,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl OnnxExecutor {
    fn new(session: OrtSession) -> Self {
        let names = |outlets: &[Outlet]| outlets.iter().map(|o| o.name().to_owned()).collect();
        Self {
            inputs: names(session.inputs()),
            outputs: names(session.outputs()),
            session,
        }
    }
}

impl Executor for OnnxExecutor {
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
        let mut given = Vec::with_capacity(inputs.len());
        for (name, tensor) in self.inputs.iter().zip(inputs) {
            let view = TensorRef::from_array_view((tensor.shape(), tensor.data()));
            given.push((name.as_str(), view.map_err(run_error)?));
        }
        let outputs = self.session.run(given).map_err(run_error)?;
        let plain = |name: &String| {
            let output = outputs.get(name).ok_or("an output is missing");
            let (shape, numbers) = output
                .map_err(run_error)?
                .try_extract_tensor::<f32>()
                .map_err(run_error)?;
            let shape = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0));
            super::Tensor::new(shape.collect(), numbers.to_vec()).map_err(run_error)
        };
        self.outputs.iter().map(plain).collect()
    }
}

/// The library that this process has loaded. There can be only one: its functions are global.
#[derive(Clone)]
struct Runtime {
    environment: Environment,
    library: PathBuf,
    source: &'static str,
    version: String,
}

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// Why there is no runtime.
#[derive(Debug)]
struct Problem {
    reason: String,
    remedy: String,
}

/// What to do in most cases.
const REMEDY: &str = "run `pip install onnxruntime`, or set ORT_DYLIB_PATH to the library \
                      (libonnxruntime.so, libonnxruntime.dylib or onnxruntime.dll) of ONNX Runtime 1.17 or later";

impl Problem {
    fn new(reason: String) -> Self {
        Self {
            reason,
            remedy: REMEDY.to_owned(),
        }
    }
}

/// Finds and loads the library, or returns the one already loaded.
fn runtime(library: Option<&str>) -> Result<Runtime, Problem> {
    let mut loaded = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some(runtime), None) = (&*loaded, library) {
        return Ok(runtime.clone());
    }
    let candidate = find::find(library);
    if let Some(runtime) = &*loaded {
        return if runtime.library == candidate.library {
            Ok(runtime.clone())
        } else {
            Err(other_library(&runtime.library))
        };
    }
    let runtime = load(candidate)?;
    Ok(loaded.insert(runtime).clone())
}

fn other_library(loaded: &Path) -> Problem {
    Problem {
        reason: format!("this process has already loaded {}", loaded.display()),
        remedy: "use one library per process".to_owned(),
    }
}

fn load(candidate: Candidate) -> Result<Runtime, Problem> {
    check_file(&candidate)?;
    // The binding panics where the library breaks its promises, for instance when it has no function table
    // for the version that it claims to be.
    let environment = panic::catch_unwind(AssertUnwindSafe(|| open(&candidate)))
        .unwrap_or_else(|panic| Err(Problem::new(panic_reason(&candidate, panic.as_ref()))))?;
    Ok(Runtime {
        environment,
        version: version(&candidate.library),
        library: candidate.library,
        source: candidate.source,
    })
}

/// Refuses what is not a file before the loader opens it: it would wait for ever on a pipe.
fn check_file(candidate: &Candidate) -> Result<(), Problem> {
    let path = &candidate.library;
    let problem = |what: String| {
        let source = candidate.source;
        Err(Problem::new(format!(
            "{} (named by {source}) {what}",
            path.display()
        )))
    };
    if candidate.is_name() {
        return Ok(());
    }
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => problem("is not a file".to_owned()),
        Err(error) => problem(format!("cannot be read: {error}")),
    }
}

fn open(candidate: &Candidate) -> Result<Environment, Problem> {
    ::ort::init_from(&candidate.library)
        .map_err(|error| Problem::new(load_reason(candidate, &error)))?
        .with_name("blocklens")
        .with_telemetry(false)
        .build()
        .map_err(|error| Problem::new(format!("ONNX Runtime does not start: {error}")))
}

fn load_reason(candidate: &Candidate, error: &LoadDynamicError) -> String {
    let path = candidate.library.display();
    match error {
        LoadDynamicError::Dlopen { .. } if candidate.is_name() => {
            "ONNX Runtime was not found: ORT_DYLIB_PATH is not set, no Python package `onnxruntime` is \
             installed where `python3` looks, and it is not among the system's libraries"
                .to_owned()
        }
        LoadDynamicError::Dlopen { error, .. } => {
            format!("{path} cannot be loaded as a library: {error}")
        }
        LoadDynamicError::MissingApi { .. } => {
            format!("{path} is a library, but not ONNX Runtime")
        }
        LoadDynamicError::BadVersion { version_str, .. } => format!(
            "{path} is ONNX Runtime {version_str}; 1.{} or later is needed",
            ::ort::MINOR_VERSION
        ),
        LoadDynamicError::InvalidVersionString => format!("{path} does not tell its version"),
    }
}

fn panic_reason(candidate: &Candidate, panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    format!(
        "{} does not work as ONNX Runtime: {said}",
        candidate.library.display()
    )
}

/// The version, from the branch that the library says it was built from (`git-branch=rel-1.17.3`), else
/// from the file's name (`libonnxruntime.so.1.17.3`).
fn version(library: &Path) -> String {
    let from_build = panic::catch_unwind(|| version_in_build_info(::ort::info()))
        .ok()
        .flatten();
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    from_build
        .or_else(|| version_in_file_name(&name))
        .unwrap_or_else(|| format!("1.{} or later", ::ort::MINOR_VERSION))
}

fn version_in_build_info(info: &str) -> Option<String> {
    let branch = info.split("git-branch=").nth(1)?;
    leading_version(branch.strip_prefix("rel-").or(branch.strip_prefix('v'))?)
}

fn version_in_file_name(name: &str) -> Option<String> {
    let start = name.find(|c: char| c.is_ascii_digit())?;
    leading_version(&name[start..])
}

/// `1.17.3` of `1.17.3, git-commit-id=...`.
fn leading_version(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(text.len());
    let version = text[..end].trim_end_matches('.');
    version.contains('.').then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_build_and_name() {
        let info =
            "ORT Build Info: git-branch=rel-1.19.0, git-commit-id=26250ae, build type=Release";
        assert_eq!(version_in_build_info(info).as_deref(), Some("1.19.0"));
        assert_eq!(version_in_build_info("git-branch=main, x"), None);
        let name = "libonnxruntime.so.1.32.0";
        assert_eq!(version_in_file_name(name).as_deref(), Some("1.32.0"));
        assert_eq!(
            version_in_file_name("libonnxruntime.1.17.3.dylib").as_deref(),
            Some("1.17.3")
        );
        assert_eq!(version_in_file_name("libonnxruntime.so"), None);
    }
}
