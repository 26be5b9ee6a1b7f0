//! What the arguments of `profile` mean here, checked before anything is measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use anyhow::{Context, Result, bail};
use blocklens_core::measurement::{DeviceDescription, statistic};
use blocklens_core::metric::Metric;
use blocklens_core::profile::{Estimator, FEWEST_POOLED};
use blocklens_core::report::InputHash;
use blocklens_core::space::DesignSpace;
use blocklens_measure::analysis;
use blocklens_measure::campaign::CampaignSpec;
use blocklens_measure::engine::{self, Availability, Engine, Kind, host};

use super::store_path;
use crate::args::{EstimatorChoice, ProfileArgs, default_engine};
use crate::commands::sources;

/// Networks that `pooled` measures by default: about two minutes on two slow cores with the embedded
/// engine at 224 pixels, and enough for intervals that tell most kernels and expansions apart.
const DEFAULT_BUDGET: u64 = 56;
/// Most networks that are measured for a precision.
const PRECISE_BUDGET: u64 = 1_000;
/// Networks of its own for every combination that `sampled` measures by default.
const DEFAULT_PER_COMBINATION: u64 = 10;
/// Stands for every device that can be used here.
const ALL: &str = "all";
/// Longest name of a device's folder.
const LONGEST_FOLDER: usize = 60;

/// What is measured on every device.
pub(super) struct Plan {
    pub space: DesignSpace,
    pub resolution: u32,
    pub estimator: Box<dyn Estimator>,
    pub budget: u64,
    pub store: PathBuf,
    /// Whether metrics were asked for that take long to evaluate.
    pub costly: bool,
    /// The names of all metrics, and the files that they were made from.
    pub metrics: Vec<String>,
    pub inputs: Vec<InputHash>,
    /// Architectures of the plan that these are evaluated for.
    pub evaluations: u64,
    /// In the order in which they were asked for.
    pub devices: Vec<Device>,
}

/// What one device measures, and where its report goes.
pub(super) struct Device {
    /// As it was asked for.
    pub name: String,
    pub out: PathBuf,
    /// Held for as long as it is measured on: it may keep a connection open.
    pub engine: Box<dyn Engine>,
    pub spec: CampaignSpec,
    pub description: DeviceDescription,
    pub simulated: bool,
    pub faster_engine: Option<String>,
}

impl Plan {
    pub(super) fn new(
        args: &ProfileArgs,
        space: DesignSpace,
        resolution: u32,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Self> {
        // Programs end with these: nothing may run beside a measurement.
        let sources = sources(1, args.time_limit, &args.proxy, interrupted)?;
        let chosen = analysis::metrics(&args.metric, &space, resolution, &sources)?;
        let notes = chosen.notes.iter();
        notes.for_each(|note| eprintln!("note: {note}"));
        let costly = chosen.metrics.iter().any(|metric| metric.is_costly());
        if args.evaluations.is_some() && !costly {
            bail!(
                "--evaluations is for metrics that take long, such as programs, and there is none"
            );
        }
        let budget = args.budget.unwrap_or(default_budget(args, &space));
        check_budget(args.estimator, budget, &space)?;
        let evaluations = args.evaluations.unwrap_or(budget);
        check_budget(args.estimator, evaluations, &space)?;
        let name = args.estimator.name();
        let estimator =
            analysis::estimator(name).with_context(|| format!("there is no estimator `{name}`"))?;
        Ok(Self {
            estimator,
            resolution,
            budget,
            devices: devices(args, &space, resolution)?,
            store: store_path(&args.out),
            costly,
            metrics: names("latency", &chosen.metrics),
            inputs: chosen.inputs,
            evaluations,
            space,
        })
    }
}

fn default_budget(args: &ProfileArgs, space: &DesignSpace) -> u64 {
    match args.estimator {
        EstimatorChoice::Designed | EstimatorChoice::Pooled if args.precision.is_some() => {
            PRECISE_BUDGET
        }
        EstimatorChoice::Designed | EstimatorChoice::Pooled => DEFAULT_BUDGET,
        EstimatorChoice::Sampled | EstimatorChoice::Legacy => {
            DEFAULT_PER_COMBINATION * space.combinations() as u64
        }
    }
}

/// The names of some metrics behind another.
fn names(first: &str, others: &[Box<dyn Metric>]) -> Vec<String> {
    let others = others.iter().map(|metric| metric.info().name.clone());
    std::iter::once(first.to_owned()).chain(others).collect()
}

/// Refuses at once what could only fail after hours of measuring.
pub(in crate::commands) fn check_budget(
    estimator: EstimatorChoice,
    budget: u64,
    space: &DesignSpace,
) -> Result<()> {
    let least = match estimator {
        EstimatorChoice::Sampled | EstimatorChoice::Legacy => 2 * space.combinations() as u64,
        EstimatorChoice::Designed | EstimatorChoice::Pooled => FEWEST_POOLED as u64,
    };
    if budget < least {
        bail!(
            "--budget {budget} is too small: this estimator needs at least {least} networks in this space"
        );
    }
    Ok(())
}

/// An engine that can be used here, and what it said.
type Usable = (String, Box<dyn Engine>, Availability);

/// The devices asked for; each has a folder of its own where there are several.
fn devices(args: &ProfileArgs, space: &DesignSpace, resolution: u32) -> Result<Vec<Device>> {
    let usable = usable(&args.engine)?;
    let several = usable.len() > 1;
    let mut devices: Vec<Device> = Vec::with_capacity(usable.len());
    for (name, engine, availability) in usable {
        let out = match several {
            false => args.out.clone(),
            true => folder(&args.out, &name, &devices),
        };
        let threads = usize::from(args.threads);
        let description = host::describe(engine.as_ref(), &availability, threads);
        let spec = spec(
            args,
            space,
            resolution,
            (&name, engine.as_ref(), &description),
        )?;
        let faster_engine = (!several).then(|| faster_engine(engine.as_ref()));
        devices.push(Device {
            name,
            out,
            spec,
            simulated: engine.is_simulated(),
            faster_engine: faster_engine.flatten(),
            engine,
            description,
        });
    }
    Ok(devices)
}

/// The engines with these names, all of which can be used here; the default one where none is named.
fn usable(named: &[String]) -> Result<Vec<Usable>> {
    if named.iter().any(|name| name == ALL) {
        if named.len() > 1 {
            bail!("--device {ALL} is every device that can be used here; name no other beside it");
        }
        return all_usable();
    }
    let mut names: Vec<String> = named.iter().map(|name| name.trim().to_owned()).collect();
    if names.is_empty() {
        names.push(default_engine().into());
    }
    if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        bail!("the device `{}` is named twice", names[twice]);
    }
    let engines = names.into_iter().map(|name| {
        let engine = engine::by_name(&name)?;
        Ok((name, engine))
    });
    let engines = engines.collect::<Result<Vec<_>>>()?;
    let asked = asked(engines);
    for (name, _, availability) in &asked {
        if let Availability::Unavailable { reason, remedy } = availability {
            bail!("the engine `{name}` cannot be used here: {reason}; {remedy}");
        }
    }
    Ok(asked)
}

/// Every engine that can be used here and stands for a device.
fn all_usable() -> Result<Vec<Usable>> {
    let engines = engine::all().into_iter();
    let engines = engines.filter(|engine| engine.kind() != Kind::Simulated);
    let mut asked = asked(
        engines
            .map(|engine| (engine.name().to_owned(), engine))
            .collect(),
    );
    asked.retain(|(_, _, availability)| availability.is_available());
    if asked.is_empty() {
        bail!("no engine can be used here; `blocklens devices` says why, and what installs each");
    }
    Ok(asked)
}

/// Asks all at the same time whether they can be used: importing takes seconds.
fn asked(engines: Vec<(String, Box<dyn Engine>)>) -> Vec<Usable> {
    let answers: Vec<Availability> = thread::scope(|scope| {
        let threads: Vec<_> = engines
            .iter()
            .map(|(_, engine)| scope.spawn(|| engine.availability()))
            .collect();
        let answers = threads.into_iter();
        answers
            .map(|thread| thread.join().unwrap_or_else(|_| Availability::gone()))
            .collect()
    });
    let pairs = engines.into_iter().zip(answers);
    pairs
        .map(|((name, engine), availability)| (name, engine, availability))
        .collect()
}

fn spec(
    args: &ProfileArgs,
    space: &DesignSpace,
    resolution: u32,
    (name, engine, description): (&str, &dyn Engine, &DeviceDescription),
) -> Result<CampaignSpec> {
    let protocol = args.timing.protocol(engine, args.time_limit)?;
    Ok(CampaignSpec {
        space: space.name().into(),
        width: space.width(),
        space_digest: space.digest().into(),
        space_source: space.source().clone(),
        resolution,
        estimator: args.estimator.name().into(),
        seed: args.seed,
        engine: name.to_owned(),
        engine_version: description.engine_version.clone(),
        threads: description.threads,
        cpu: description.cpu.clone(),
        host: description.host.clone(),
        kind: engine::unnamed_kind(name, engine),
        statistic: statistic(protocol.paired),
        protocol,
        memory_limit_mib: args.memory_limit,
    })
}

/// ONNX Runtime, when it is here and the embedded engine was chosen.
fn faster_engine(chosen: &dyn Engine) -> Option<String> {
    if chosen.name() != "tract" {
        return None;
    }
    let ort = engine::by_name("ort").ok()?;
    ort.availability().is_available().then(|| "ort".to_owned())
}

/// A device's folder: its name, as far as a file system takes it, and a number where another has it already.
fn folder(out: &Path, name: &str, others: &[Device]) -> PathBuf {
    let plain = plain_name(name);
    let taken = |path: &PathBuf| others.iter().any(|device| device.out == *path);
    let numbered = (2..).map(|n| out.join(format!("{plain}-{n}")));
    let mut paths = std::iter::once(out.join(&plain)).chain(numbered);
    paths
        .find(|path| !taken(path))
        .unwrap_or_else(|| out.join(&plain))
}

fn plain_name(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let words = name.split(|c| !kept(c)).filter(|word| !word.is_empty());
    let mut plain: String = words.collect::<Vec<_>>().join("-");
    plain.truncate(LONGEST_FOLDER);
    // Names of dots alone mean other folders.
    match plain.trim_matches('.') {
        "" => "device".into(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_devices_are() {
        assert_eq!(plain_name("tract"), "tract");
        assert_eq!(plain_name("ncnn:precision=bf16"), "ncnn-precision-bf16");
        assert_eq!(
            plain_name("device:python3 ./my board.py"),
            "device-python3-.-my-board.py"
        );
        assert_eq!(plain_name("../.."), "-");
        assert_eq!(plain_name(".."), "device");
        assert_eq!(plain_name("::"), "device");
    }
}
