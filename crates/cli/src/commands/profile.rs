//! `blocklens profile`: measure, estimate, report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use blocklens_core::measurement::{DeviceDescription, Warning, statistic};
use blocklens_core::metric::Metric;
use blocklens_core::profile::{Estimator, FEWEST_POOLED};
use blocklens_core::report::InputHash;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::surrogate::BlockModel;
use blocklens_measure::analysis::{self, AnalysisError, Request};
use blocklens_measure::campaign::{
    Campaign, CampaignSpec, Ending, Event, SENTINEL_PERIOD, machine_warnings,
};
use blocklens_measure::engine::{self, Availability, Engine, host};
use blocklens_measure::metrics;
use blocklens_measure::recording::{Order, Recording};
use blocklens_measure::runner::WorkerProcess;
use blocklens_measure::store::Store;
use indicatif::ProgressBar;

use super::conditions::{self, Conditions};
use super::report::{now, write_and_print};
use super::{Done, computed, load_space, sources};
use crate::args::{EstimatorChoice, Format, ProfileArgs, default_engine};
use crate::command_line::command_line;
use crate::{files, interruption, progress};

/// Networks that `pooled` measures by default: about two minutes on two slow cores with the embedded
/// engine at 224 pixels, and enough for intervals that tell most kernels and expansions apart.
const DEFAULT_BUDGET: u64 = 56;
/// Most networks that are measured for a precision.
const PRECISE_BUDGET: u64 = 1_000;
/// Networks between two looks at the precision: a look takes less time than one of them.
const STAGE: u64 = 10;
/// Networks of its own for every combination that `sampled` measures by default.
const DEFAULT_PER_COMBINATION: u64 = 10;

/// Carries out the command.
pub fn run(args: &ProfileArgs, format: Format) -> Result<Done> {
    let space = load_space(&args.space)?;
    let resolution = args.resolution.unwrap_or(space.default_resolution());
    space.check_resolution(resolution)?;
    if needs_no_device(args, &space)? {
        return computed::run(args, &space, resolution, format);
    }
    let interrupted = interruption::flag("stopping; writing the report of what is measured");
    let plan = Plan::new(args, space, resolution, &interrupted)?;
    check_conditions(&plan, args)?;
    let mut store = Store::open(&plan.store)?;
    store.lock()?;
    if let rows @ 1.. = store.lost() {
        eprintln!("warning: {}", Warning::Lost { rows });
    }
    let known = store.find_campaign(&plan.spec.text())?.is_some();
    if args.resume && !known {
        bail!(
            "there is no campaign to resume in {} for this space, engine and seed; run without --resume to begin one",
            plan.store.display()
        );
    }
    let campaign = Campaign::open(
        &store,
        &plan.space,
        plan.estimator.as_ref(),
        plan.spec.clone(),
        args.fresh,
    )?;
    store.ask_for_metrics(campaign.stored.id, &args.metric)?;
    let (mut ending, budget) = measure(&plan, args, &store, &campaign, &interrupted)?;
    if ending == Ending::Complete && plan.costly {
        ending = evaluate(&plan, args, &mut store, campaign.stored.id, &interrupted)?;
    }
    if ending == Ending::Interrupted && store.progress(campaign.stored.id)?.is_empty() {
        eprintln!("interrupted before anything was measured");
        return Ok(Done::Interrupted);
    }
    let request = Request {
        metrics: &args.metric,
        sources: &sources(1, args.time_limit, &args.proxy, &interrupted)?,
        budget: Some(budget),
        command: command_line(),
        created: now(),
        faster_engine: plan.faster_engine.clone(),
        allow_failures: args.allow_failures,
    };
    let stage = progress::stage("estimating the effects and writing the report", args.quiet);
    let report = analysis::report(&store, &campaign.stored, &request);
    let model = report
        .is_ok()
        .then(|| analysis::latency_model(&store, &campaign.stored));
    stage.finish_and_clear();
    match report {
        Ok(report) => {
            write_model(model, &args.out)?;
            write_and_print(&report, &args.out, format)?;
        }
        // Too little was measured for a report; what there is is kept.
        Err(error) if ending == Ending::Interrupted => eprintln!("no report yet: {error}"),
        Err(error) => return Err(error.into()),
    }
    if ending == Ending::Interrupted {
        eprintln!(
            "interrupted; everything measured and evaluated is kept: the same command goes on from here"
        );
        return Ok(Done::Interrupted);
    }
    Ok(Done::Complete)
}

/// Refuses a folder whose report would be replaced by one of other conditions.
fn check_conditions(plan: &Plan, args: &ProfileArgs) -> Result<()> {
    let spec = &plan.spec;
    let engine = format!("{} {}", spec.engine, spec.engine_version);
    let here = Conditions {
        space: &plan.space,
        resolution: spec.resolution,
        estimator: &spec.estimator,
        seed: spec.seed,
        device: Some((&engine, &plan.device)),
        metrics: plan.metrics.clone(),
        inputs: &plan.inputs,
    };
    let difference = here.difference(&args.out)?;
    let Some(difference) = difference.filter(|_| !args.fresh) else {
        return Ok(());
    };
    let stored = plan.store.is_file();
    let stored = stored
        && Store::open(&plan.store)?
            .find_campaign(&spec.text())?
            .is_some();
    match stored && args.resume {
        // Whatever is replaced can be made again from the store.
        true => Ok(()),
        false => conditions::refuse(&args.out, &difference, stored),
    }
}

/// Whether nothing is to be timed on this machine: it is only where an engine or `latency` is asked for, or where every
/// metric is computed from the architecture alone, so that a profile would be about nothing measured. Numbers that come
/// from somewhere else never start a clock here.
fn needs_no_device(args: &ProfileArgs, space: &DesignSpace) -> Result<bool> {
    if args.engine.is_some() || args.metric.iter().any(|name| name == "latency") {
        return Ok(false);
    }
    if args.images.images.is_some() {
        return Ok(true);
    }
    let sources = sources(1, args.time_limit, &args.proxy, &Arc::default())?;
    for name in &args.metric {
        if metrics::brings_its_own(name, space, &sources)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the arguments mean here, checked before anything is measured.
struct Plan {
    space: DesignSpace,
    estimator: Box<dyn Estimator>,
    spec: CampaignSpec,
    budget: u64,
    /// Held for as long as it is measured on: it may keep a connection open.
    engine: Box<dyn Engine>,
    device: DeviceDescription,
    simulated: bool,
    store: PathBuf,
    faster_engine: Option<String>,
    /// Whether metrics were asked for that take long to evaluate.
    costly: bool,
    /// The names of all metrics, and the files that they were made from.
    metrics: Vec<String>,
    inputs: Vec<InputHash>,
    /// Architectures of the plan that these are evaluated for.
    evaluations: u64,
}

impl Plan {
    fn new(
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
        let engine_name = args.engine.as_deref().unwrap_or(default_engine());
        let engine = engine::by_name(engine_name)?;
        let availability = engine.availability();
        if let Availability::Unavailable { reason, remedy } = &availability {
            bail!("the engine `{engine_name}` cannot be used here: {reason}; {remedy}");
        }
        let device = host::describe(engine.as_ref(), &availability, usize::from(args.threads));
        let name = args.estimator.name();
        let default_budget = match args.estimator {
            EstimatorChoice::Designed | EstimatorChoice::Pooled if args.precision.is_some() => {
                PRECISE_BUDGET
            }
            EstimatorChoice::Designed | EstimatorChoice::Pooled => DEFAULT_BUDGET,
            EstimatorChoice::Sampled | EstimatorChoice::Legacy => {
                DEFAULT_PER_COMBINATION * space.combinations() as u64
            }
        };
        let budget = args.budget.unwrap_or(default_budget);
        check_budget(args.estimator, budget, &space)?;
        let evaluations = args.evaluations.unwrap_or(budget);
        check_budget(args.estimator, evaluations, &space)?;
        let protocol = args.timing.protocol(engine.as_ref(), args.time_limit)?;
        let spec = CampaignSpec {
            space: space.name().into(),
            width: space.width(),
            space_digest: space.digest().into(),
            space_source: space.source().clone(),
            resolution,
            estimator: name.into(),
            seed: args.seed,
            engine: engine_name.to_owned(),
            engine_version: device.engine_version.clone(),
            threads: device.threads,
            cpu: device.cpu.clone(),
            host: device.host.clone(),
            kind: engine::unnamed_kind(engine_name, engine.as_ref()),
            statistic: statistic(protocol.paired),
            protocol,
            memory_limit_mib: args.memory_limit,
        };
        let estimator =
            analysis::estimator(name).with_context(|| format!("there is no estimator `{name}`"))?;
        Ok(Self {
            estimator,
            spec,
            budget,
            simulated: engine.is_simulated(),
            faster_engine: faster_engine(engine.as_ref()),
            engine,
            device,
            store: store_path(&args.out),
            costly,
            metrics: names("latency", &chosen.metrics),
            inputs: chosen.inputs,
            evaluations,
            space,
        })
    }
}

/// The names of some metrics behind another.
fn names(first: &str, others: &[Box<dyn Metric>]) -> Vec<String> {
    let others = others.iter().map(|metric| metric.info().name.clone());
    std::iter::once(first.to_owned()).chain(others).collect()
}

/// Refuses at once what could only fail after hours of measuring.
pub(super) fn check_budget(
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

/// ONNX Runtime, when it is here and the embedded engine was chosen.
fn faster_engine(chosen: &dyn Engine) -> Option<String> {
    if chosen.name() != "tract" {
        return None;
    }
    let ort = engine::by_name("ort").ok()?;
    ort.availability().is_available().then(|| "ort".to_owned())
}

/// Measures what is planned, or until the effects are known as well as was asked; returns how many networks were called
/// for.
fn measure(
    plan: &Plan,
    args: &ProfileArgs,
    store: &Store,
    campaign: &Campaign<'_>,
    interrupted: &Arc<AtomicBool>,
) -> Result<(Ending, u64)> {
    let recorded = store.progress(campaign.stored.id)?.len() as u64;
    if recorded >= Campaign::steps(plan.budget) && !args.retry_failed {
        eprintln!(
            "all {} networks are measured already; --fresh measures them again",
            plan.budget
        );
        return Ok((Ending::Complete, plan.budget));
    }
    let warnings = machine_warnings(&plan.device, plan.simulated);
    announce(plan, args.precision.is_some(), recorded, &warnings);
    let run = store.begin_run(campaign.stored.id, &plan.device, &warnings)?;
    let runner = WorkerProcess {
        command: (own_program()?, vec!["worker".into()]),
        time_limit: Duration::from_secs(args.time_limit),
        variables: plan.engine.for_workers(),
        interrupted: Arc::clone(interrupted),
    };
    let bar = progress::bar(Campaign::steps(plan.budget), recorded, args.quiet);
    let mut show = |event: &Event<'_>| show_event(&bar, event);
    let mut budget = first_stage(plan, args, recorded);
    let ending = loop {
        let retry = args.retry_failed;
        let ending =
            campaign.measure(store, run, budget, retry, &runner, interrupted, &mut show)?;
        let Some(goal) = args.precision.filter(|_| ending == Ending::Complete) else {
            break ending;
        };
        let known = analysis::precision(store, &campaign.stored)?;
        show_precision(&bar, plan.budget, budget, known, goal);
        if budget >= plan.budget || known.is_some_and(|known| known <= goal) {
            tell_precision(known, goal, budget);
            break ending;
        }
        budget = plan.budget.min(budget + STAGE);
    };
    bar.finish_and_clear();
    Ok((ending, budget))
}

/// The networks to measure before the first look at the precision: all that are planned where none was asked for.
fn first_stage(plan: &Plan, args: &ProfileArgs, recorded: u64) -> u64 {
    if args.precision.is_none() {
        return plan.budget;
    }
    // What was measured before is looked at as it is, in whole stages so that every run looks at the same points.
    let networks = recorded - recorded.div_ceil(SENTINEL_PERIOD);
    plan.budget.min((networks / STAGE).max(1) * STAGE)
}

/// Sets the bar's length to where the effects will be known well enough: intervals shrink with the root of the number.
fn show_precision(bar: &ProgressBar, most: u64, budget: u64, known: Option<f64>, goal: f64) {
    let Some(known) = known else {
        return;
    };
    let needed = budget as f64 * (known / goal).powi(2);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // below `most`
    let needed = needed.ceil().clamp(budget as f64, most.max(budget) as f64) as u64;
    bar.set_length(Campaign::steps(needed));
    bar.set_message(format!("±{:.2} % of ±{:.2} %", 100.0 * known, 100.0 * goal));
}

fn tell_precision(known: Option<f64>, goal: f64, budget: u64) {
    let goal = 100.0 * goal;
    match known.map(|known| 100.0 * known) {
        Some(known) if known <= goal => eprintln!(
            "after {budget} networks, every effect is known to ±{known:.2} % of the mean latency (±{goal:.2} % was \
             asked for)"
        ),
        Some(known) => eprintln!(
            "the budget of {budget} networks is spent with the widest effect known to ±{known:.2} % of the mean \
             latency, not ±{goal:.2} %; a larger --budget goes on"
        ),
        None => eprintln!("the {budget} networks that were measured carry no estimate yet"),
    }
}

/// Writes what was learnt of a metric, as a metric for other networks. Where nothing was, what an earlier profile left
/// goes: it would pass for this one's.
pub(super) fn write_model(
    model: Option<Result<BlockModel, AnalysisError>>,
    out: &Path,
) -> Result<()> {
    let path = out.join("model.json");
    match model {
        Some(Ok(model)) => return files::write(&path, model.to_json().as_bytes()),
        // Few networks make a report and no model that was tested on others.
        Some(Err(AnalysisError::Model { reason })) => eprintln!("no model.json: {reason}"),
        Some(Err(error)) => return Err(error.into()),
        None => {}
    }
    Ok(blocklens_measure::files::remove(&path)?)
}

/// Evaluates costly metrics along the campaign's plan, after all measuring: they would disturb it.
fn evaluate(
    plan: &Plan,
    args: &ProfileArgs,
    store: &mut Store,
    campaign: i64,
    interrupted: &Arc<AtomicBool>,
) -> Result<Ending> {
    let sources = sources(1, args.time_limit, &args.proxy, interrupted)?;
    let chosen = analysis::metrics(&args.metric, &plan.space, plan.spec.resolution, &sources)?;
    let costly = chosen.metrics.iter().filter(|metric| metric.is_costly());
    let costly: Vec<&dyn Metric> = costly.map(|metric| &**metric).collect();
    let order = Order {
        space: &plan.space,
        metrics: &costly,
        inputs: &chosen.inputs,
        campaign: Some(campaign),
        fresh: args.fresh,
        retry_failed: args.retry_failed,
        planned: plan.evaluations,
    };
    let draws = analysis::plan_draws(
        plan.estimator.as_ref(),
        &plan.spec,
        &plan.space,
        plan.evaluations,
    )?;
    let archs: Vec<Architecture> = draws.into_iter().map(|draw| draw.arch).collect();
    let recording = Recording::open(store, order)?;
    let done = recording.done(&archs);
    recording
        .notes
        .iter()
        .for_each(|note| eprintln!("note: {note}"));
    announce_evaluating(&costly, archs.len(), done);
    let bar = progress::evaluations(archs.len() as u64, done as u64, args.quiet);
    let evaluated = recording.evaluate(&archs, 1, interrupted, &|n| bar.inc(n as u64));
    bar.finish_and_clear();
    Ok(match evaluated?.complete {
        true => Ending::Complete,
        false => Ending::Interrupted,
    })
}

fn announce_evaluating(metrics: &[&dyn Metric], planned: usize, done: usize) {
    let names: Vec<&str> = metrics.iter().map(|m| m.info().name.as_str()).collect();
    eprintln!(
        "evaluating {} for {planned} architectures ({done} recorded already)",
        names.join(", ")
    );
}

pub(super) fn own_program() -> Result<PathBuf> {
    std::env::current_exe()
        .context("cannot find this program's own file, which workers are started from")
}

fn announce(plan: &Plan, at_most: bool, recorded: u64, warnings: &[Warning]) {
    let device = &plan.device;
    eprintln!(
        "{} width {} at {} px, {}{} networks on {} {} ({}, {} thread{})",
        plan.space.title(),
        plan.space.width(),
        plan.spec.resolution,
        if at_most { "at most " } else { "" },
        plan.budget,
        device.engine,
        device.engine_version,
        device.cpu,
        device.threads,
        if device.threads == 1 { "" } else { "s" }
    );
    if recorded > 0 {
        eprintln!("going on after {recorded} stored measurements (sentinels included)");
    }
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(engine) = &plan.faster_engine {
        eprintln!(
            "note: {}",
            Warning::FasterEngine {
                engine: engine.clone()
            }
        );
    }
}

pub(super) fn show_event(bar: &ProgressBar, event: &Event<'_>) {
    bar.set_position(event.done as u64);
    match event.outcome {
        Ok(m) => bar.set_message(format!("{}", m.summary.latency)),
        // Above the bar, so that it stays on the screen.
        Err(failure) => bar.suspend(|| eprintln!("failed: {}: {failure}", event.arch)),
    }
}

/// The measurements of an output folder.
pub fn store_path(out: &Path) -> PathBuf {
    out.join("measurements.db")
}
