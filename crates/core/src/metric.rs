//! The seam that profile, search and report look through: anything that gives an
//! architecture a number.

mod guarded;

pub use guarded::Guarded;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::measurement::Failure;
use crate::network::{CostTable, NetworkCost};
pub use crate::quantity::Direction;
use crate::quantity::Nature;
use crate::space::{Architecture, ArchitectureError, DesignSpace};

/// Where a metric's numbers come from, which decides how far a reader may trust them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Timed on a device.
    Measured,
    /// Follows exactly from the network's graph (MACs, parameters, memory).
    Counted,
    /// Computed by a model that was fitted to something else: a stand-in, with an error of its own.
    Surrogate,
    /// Computed from an untrained network: a training-free proxy, not an accuracy and in no unit of one. Only the
    /// order that it gives may mean something.
    Proxy,
    /// Computed by a model of the device, such as the cost model of its compiler, and not timed.
    Estimated,
    /// Produced by a formula that imitates a device (the mock engine); for tests and demonstrations.
    Simulated,
    /// What gives the numbers does not say where they come from.
    Unstated,
}

impl Origin {
    /// The word for it, as in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Counted => "counted",
            Self::Surrogate => "surrogate",
            Self::Proxy => "proxy",
            Self::Estimated => "estimated",
            Self::Simulated => "simulated",
            Self::Unstated => "unstated",
        }
    }
}

/// What a metric is: its name, unit, direction and origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// Short name used in commands, columns and file names: `latency`, `macs`, or, with where it comes from,
    /// `latency@note10`.
    pub name: String,
    /// The unit of its values: `ms`, `% top-1`, `MMACs`, ...
    pub unit: String,
    /// Which way it improves.
    pub direction: Direction,
    /// Where its numbers come from.
    pub origin: Origin,
    /// One sentence for the reader of a report: what exactly this is, and its known error.
    pub about: String,
}

impl MetricInfo {
    /// What is counted or timed, without where it comes from: `latency` of `latency@note10`.
    #[must_use]
    pub fn quantity(&self) -> &str {
        self.name
            .split_once('@')
            .map_or(&*self.name, |(quantity, _)| quantity)
    }

    /// The name with the unit in brackets, where there is one: for the heads of tables.
    #[must_use]
    pub fn head(&self) -> String {
        match self.unit.as_str() {
            "" => self.name.clone(),
            unit => format!("{} [{unit}]", self.name),
        }
    }

    /// What its values may be.
    #[must_use]
    pub fn nature(&self) -> Nature {
        match self.origin {
            // What is counted is exact, whatever it comes to.
            Origin::Counted => Nature::Any,
            _ => Nature::of(self.quantity(), &self.unit),
        }
    }

    /// A value that can be one of the metric's: the guard at every door where values come in.
    ///
    /// # Errors
    /// [`MetricError::NotFinite`] and [`MetricError::Impossible`].
    pub fn check(&self, value: f64) -> Result<f64, MetricError> {
        self.check_as(self.nature(), value)
    }

    fn check_as(&self, nature: Nature, value: f64) -> Result<f64, MetricError> {
        let metric = self.name.clone();
        if !value.is_finite() {
            let value = value.to_string();
            return Err(MetricError::NotFinite { metric, value });
        }
        if !nature.allows(value) {
            return Err(MetricError::Impossible {
                metric,
                value: value.to_string(),
                rule: nature.rule().to_owned(),
            });
        }
        Ok(value)
    }
}

/// Why a metric has no value for an architecture. A failure is never a number.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum MetricError {
    /// The metric was made for something else (another space, width or resolution).
    #[error("the metric `{metric}` cannot judge this architecture: {reason}")]
    NotApplicable {
        /// The metric's name.
        metric: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// The computation gave something that is not a finite number.
    #[error("the metric `{metric}` gave {value}, which is not a finite number")]
    NotFinite {
        /// The metric's name.
        metric: String,
        /// What it gave, as text (JSON has no NaN).
        value: String,
    },
    /// The computation gave something that no such quantity can be.
    #[error(
        "the metric `{metric}` gave {value}, which must be {rule}: it stands for a run that failed"
    )]
    Impossible {
        /// The metric's name.
        metric: String,
        /// What it gave, as text.
        value: String,
        /// What a value must be.
        rule: String,
    },
    /// A table of values has none for the architecture.
    #[error("the metric `{metric}` has no value for {arch}")]
    NoValue {
        /// The metric's name.
        metric: String,
        /// The architecture's text form.
        arch: String,
    },
    /// What computes the metric (a program, an engine) failed.
    #[error("the metric `{metric}` failed: {failure}")]
    Failed {
        /// The metric's name.
        metric: String,
        /// How it failed.
        failure: Failure,
    },
}

impl MetricError {
    /// The kind of the error, as printed and counted: the variant's name, or that of the failure.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotApplicable { .. } => "not-applicable",
            Self::NotFinite { .. } => "not-finite",
            Self::Impossible { .. } => "impossible",
            Self::NoValue { .. } => "no-value",
            Self::Failed { failure, .. } => failure.kind(),
        }
    }
}

/// Something that gives an architecture a number.
///
/// Those of this crate are pure: the same architecture always has the same value.
pub trait Metric: Send + Sync {
    /// Name, unit, direction and origin.
    fn info(&self) -> &MetricInfo;

    /// The value for one architecture, in [`MetricInfo::unit`].
    ///
    /// # Errors
    /// [`MetricError`] when the architecture is outside what the metric is for.
    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError>;

    /// The architectures that it has values for, where these are a list and not everything that a rule allows.
    fn listed(&self) -> Option<Vec<Architecture>> {
        None
    }

    /// Whether a value takes so long (a process, a network on a thousand images) that it is better told one by one, and
    /// kept.
    fn is_costly(&self) -> bool {
        false
    }

    /// What decides its values besides the space and the architecture (a command, hashes of files), where values are
    /// kept because they are costly: what was recorded under another identity is never taken for its own. `None` where
    /// its description and its files say it all.
    fn identity(&self) -> Option<String> {
        None
    }

    /// What the user should know about the values given so far, one sentence or more each: images that were left out.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The values of many architectures, in their order. Some metrics compute them together in a fraction of the time
    /// that one by one would take.
    fn evaluate_many(&self, archs: &[Architecture]) -> Vec<Result<f64, MetricError>> {
        archs.iter().map(|arch| self.evaluate(arch)).collect()
    }
}

/// Which counted quantity a [`CostMetric`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostKind {
    /// Multiply-accumulates, in millions.
    Macs,
    /// Parameters, in millions.
    Params,
    /// Peak activation memory, in MiB.
    Memory,
}

/// MACs, parameters or peak activation memory of an architecture's network.
#[derive(Debug)]
pub struct CostMetric {
    space: DesignSpace,
    /// By resolution, each made when it is first needed.
    tables: BTreeMap<u32, OnceLock<CostTable>>,
    kind: CostKind,
    info: MetricInfo,
}

impl CostMetric {
    /// The `kind` of cost for architectures of `space`.
    #[must_use]
    pub fn new(space: DesignSpace, kind: CostKind) -> Self {
        let (name, unit, about) = match kind {
            CostKind::Macs => (
                "macs",
                "MMACs",
                "Multiply-accumulates of convolutions and linear layers, batch 1 (one MAC is two FLOPs).",
            ),
            CostKind::Params => (
                "params",
                "M",
                "Parameters as PyTorch counts them, batch-norm scale and shift included.",
            ),
            CostKind::Memory => (
                "memory",
                "MiB",
                "Peak activation memory, fp32, batch 1, one operator after the other, activation functions in place.",
            ),
        };
        let info = MetricInfo {
            name: name.into(),
            unit: unit.into(),
            direction: Direction::LowerIsBetter,
            origin: Origin::Counted,
            about: about.into(),
        };
        let resolutions = space.resolutions().iter();
        Self {
            tables: resolutions.map(|r| (*r, OnceLock::new())).collect(),
            space,
            kind,
            info,
        }
    }

    fn read(&self, cost: &NetworkCost) -> f64 {
        match self.kind {
            CostKind::Macs => cost.macs.as_f64() / 1e6,
            CostKind::Params => cost.params.as_f64() / 1e6,
            CostKind::Memory => cost.peak_activation_memory.as_f64() / f64::from(1 << 20),
        }
    }
}

impl Metric for CostMetric {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let resolution = arch.resolution();
        let refused = |error: ArchitectureError| MetricError::NotApplicable {
            metric: self.info.name.clone(),
            reason: error.to_string(),
        };
        self.space.check_resolution(resolution).map_err(refused)?;
        if let Some(table) = self.tables.get(&resolution).and_then(OnceLock::get) {
            return Ok(self.read(&table.cost(arch)));
        }
        let table = CostTable::new(&self.space, resolution).map_err(refused)?;
        let value = self.read(&table.cost(arch));
        if let Some(cell) = self.tables.get(&resolution) {
            // Another thread may have been faster: its table is equal.
            let _ = cell.set(table);
        }
        Ok(value)
    }
}

/// Names of the metrics that are computed without a device.
pub const COMPUTED: [&str; 4] = ["accuracy", "macs", "params", "memory"];

/// The computed metric called `name`, for architectures of `space`; `None` when there is no such metric.
///
/// # Errors
/// [`MetricError::NotApplicable`] when the metric is not for this space.
pub fn computed(name: &str, space: &DesignSpace) -> Result<Option<Box<dyn Metric>>, MetricError> {
    let cost = |kind| -> Box<dyn Metric> { Box::new(CostMetric::new(space.clone(), kind)) };
    Ok(Some(match name {
        "accuracy" => Box::new(crate::surrogate::OfaAccuracy::new(space)?),
        "macs" => cost(CostKind::Macs),
        "params" => cost(CostKind::Params),
        "memory" => cost(CostKind::Memory),
        _ => return Ok(None),
    }))
}
