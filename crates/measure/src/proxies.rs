//! Training-free proxies ([`blocklens_core::proxy`]) as metrics: untrained networks, run on an engine.
//!
//! Engines run in this process here: nothing is timed, and a crash would be seen on the first architecture.

use std::str::FromStr;

use blocklens_core::measurement::Failure;
use blocklens_core::metric::{Metric, MetricError, MetricInfo};
use blocklens_core::network::onnx::INPUT;
use blocklens_core::proxy::{Proxy, ScoreError, Settings, Trial};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};

use crate::engine::{self, ComputingError, Engine, LoadOptions, Tensor};

/// How proxies are computed, as a user says it: `engine=tract,batch=32,repeats=4,seed=1`; what is not said
/// takes its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The engine; ONNX Runtime where it is found, else tract, when not given.
    pub engine: Option<String>,
    /// Images, draws and seed.
    pub settings: Settings,
}

/// Options that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No option has this name.
    #[error(
        "proxies have no option `{0}`; their options are engine, batch, repeats and seed, as in engine=tract,batch=32"
    )]
    Key(String),
    /// A value that is not in its range.
    #[error("the option `{key}` of proxies cannot be `{value}`: {expected}")]
    Value {
        /// The option.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

/// Most images in a batch: their activations must fit into memory.
const MOST_IMAGES: u32 = 1_024;
/// Most draws.
const MOST_REPEATS: u32 = 10_000;

impl FromStr for Options {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let settings = &mut options.settings;
            match key {
                "engine" if value.is_empty() => {
                    return Err(OptionsError::Value {
                        key: "engine",
                        value: String::new(),
                        expected: "the name of an engine, ort or tract",
                    });
                }
                "engine" => options.engine = Some(value.to_owned()),
                "batch" => {
                    let expected = "a number of images from 2 to 1024";
                    settings.batch = number("batch", value, 2, MOST_IMAGES, expected)?;
                }
                "repeats" => {
                    let expected = "a number of draws from 1 to 10000";
                    settings.repeats = number("repeats", value, 1, MOST_REPEATS, expected)?;
                }
                "seed" => {
                    let seed = number("seed", value, 0, u64::MAX, "a whole number")?;
                    settings.seed = Seed(seed);
                }
                _ => return Err(OptionsError::Key(key.to_owned())),
            }
        }
        Ok(options)
    }
}

#[allow(clippy::needless_pass_by_value)] // small numbers
fn number<T: FromStr + PartialOrd>(
    key: &'static str,
    value: &str,
    least: T,
    most: T,
    expected: &'static str,
) -> Result<T, OptionsError> {
    let number = value.parse().ok();
    let number = number.filter(|n| *n >= least && *n <= most);
    number.ok_or_else(|| OptionsError::Value {
        key,
        value: value.to_owned(),
        expected,
    })
}

/// A training-free proxy, computed on an engine.
#[derive(Debug)]
pub struct ProxyMetric {
    proxy: Proxy,
    space: DesignSpace,
    settings: Settings,
    engine: Box<dyn Engine>,
    info: MetricInfo,
}

impl ProxyMetric {
    /// The proxy for architectures of `space`.
    ///
    /// # Errors
    /// [`ComputingError`] when no engine, or not the engine asked for, can compute it here.
    pub fn new(
        proxy: Proxy,
        space: &DesignSpace,
        options: &Options,
    ) -> Result<Self, ComputingError> {
        let (engine, version) = engine::computing(options.engine.as_deref())?;
        let described = format!("{} {version}", engine.name());
        Ok(Self {
            proxy,
            space: space.clone(),
            settings: options.settings,
            info: proxy.info(&options.settings, &described),
            engine,
        })
    }

    /// The score of every draw; the metric's value is their mean.
    ///
    /// # Errors
    /// [`MetricError`] when the resolution is not the space's, the engine fails or a draw has no score.
    pub fn scores(&self, arch: &Architecture) -> Result<Vec<f64>, MetricError> {
        let resolution = self.space.check_resolution(arch.resolution());
        resolution.map_err(|error| self.not_applicable(&error.to_string()))?;
        (0..self.settings.repeats)
            .map(|index| self.draw(arch, index))
            .collect()
    }

    fn draw(&self, arch: &Architecture, index: u32) -> Result<f64, MetricError> {
        let network = self.space.network(arch);
        let epsilon = self.space.batch_norm_epsilon();
        let trial = Trial::draw(self.proxy, &network, epsilon, &self.settings, index);
        let trial = trial.map_err(|error| self.failed(error.to_string()))?;
        let outputs = self.run(&trial).map_err(|error| self.failed(error))?;
        trial.score(&outputs).map_err(|error| self.no_score(&error))
    }

    /// The outputs for each of the trial's inputs.
    fn run(&self, trial: &Trial) -> Result<Vec<Vec<Vec<f32>>>, String> {
        let file = &trial.graph().bytes;
        let load = self.engine.load(file, &LoadOptions::default());
        let mut executor = load.map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        for input in trial.inputs() {
            let input = Tensor::new(trial.shape().to_vec(), input.clone());
            let input = input.map_err(|error| error.to_string())?;
            let outputs = executor.run(&[(INPUT, &input)]);
            let outputs = outputs.map_err(|error| error.to_string())?;
            all.push(outputs.into_iter().map(Tensor::into_data).collect());
        }
        Ok(all)
    }

    fn failed(&self, message: String) -> MetricError {
        MetricError::Failed {
            metric: self.info.name.clone(),
            failure: Failure::Engine { message },
        }
    }

    fn not_applicable(&self, reason: &str) -> MetricError {
        MetricError::NotApplicable {
            metric: self.info.name.clone(),
            reason: reason.to_owned(),
        }
    }

    fn no_score(&self, error: &ScoreError) -> MetricError {
        let value = match error {
            ScoreError::NoActivations => return self.not_applicable(&error.to_string()),
            ScoreError::Runs { .. } => return self.failed(error.to_string()),
            ScoreError::NotFinite => "NaN",
            ScoreError::EqualCodes | ScoreError::NoChange => "-inf",
        };
        MetricError::NotFinite {
            metric: self.info.name.clone(),
            value: format!("{value} ({error})"),
        }
    }
}

impl Metric for ProxyMetric {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    #[allow(clippy::cast_precision_loss)]
    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let scores = self.scores(arch)?;
        Ok(scores.iter().sum::<f64>() / scores.len() as f64)
    }

    fn is_costly(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let options: Options = "engine=tract,batch=32, repeats=4,seed=9".parse().unwrap();
        let settings = Settings {
            batch: 32,
            repeats: 4,
            seed: Seed(9),
        };
        let engine = Some("tract".to_owned());
        assert_eq!(options, Options { engine, settings });
        assert_eq!("".parse::<Options>(), Ok(Options::default()));
        for (text, names) in [
            ("bacth=3", "engine, batch, repeats and seed"),
            ("batch=1", "from 2 to 1024"),
            ("batch=many", "`many`"),
            ("repeats=0", "from 1"),
            ("seed=-1", "whole number"),
            ("engine", "ort or tract"),
        ] {
            let error = text.parse::<Options>().unwrap_err().to_string();
            assert!(error.contains(names), "{text}: {error}");
        }
    }

    #[test]
    fn engines_that_do_not_compute_are_refused() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let error = |engine: &str| {
            let options = Options {
                engine: Some(engine.to_owned()),
                ..Options::default()
            };
            ProxyMetric::new(Proxy::Zen, &space, &options)
                .unwrap_err()
                .to_string()
        };
        assert!(error("mock").contains("computes nothing"));
        assert!(error("onnx").contains("tract, ort, mock"));
        assert!(error("ort:/nowhere/lib.so").contains("cannot be used here"));
    }
}
