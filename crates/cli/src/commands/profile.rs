//! `blocklens profile`: measure, estimate, report.

mod measuring;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use blocklens_core::compare::LeftOut;
use blocklens_core::measurement::Warning;
use blocklens_core::metric::Metric;
use blocklens_core::report::Report;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::surrogate::BlockModel;
use blocklens_measure::analysis::{self, AnalysisError, Request};
use blocklens_measure::campaign::{Campaign, Ending};
use blocklens_measure::metrics;
use blocklens_measure::recording::{Order, Recording};
use blocklens_measure::store::Store;

pub(super) use measuring::{own_program, show_event};
pub(super) use plan::check_budget;

use super::conditions::{self, Conditions};
use super::report::{now, print, write};
use super::{Done, across, computed, load_space, sources};
use crate::args::{Format, ProfileArgs};
use crate::command_line::command_line;
use crate::{files, interruption, progress};
use measuring::{Measured, measure};
use plan::{Device, Plan};

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
    for device in &plan.devices {
        check_conditions(&plan, device, args)?;
    }
    if plan.devices.len() > 1 {
        across::claim(&args.out)?;
    }
    let mut store = Store::open(&plan.store)?;
    store.lock()?;
    if let rows @ 1.. = store.lost() {
        eprintln!("warning: {}", Warning::Lost { rows });
    }
    let campaigns = campaigns(&plan, args, &store)?;
    let measured = measure(&plan, args, &store, &campaigns, &interrupted)?;
    let evaluated = evaluate_all(
        &plan,
        args,
        &mut store,
        (&campaigns, &measured),
        &interrupted,
    )?;
    let stopped = |m: &Measured| matches!(m.end, Ok(Ending::Interrupted));
    let ending = match measured.iter().any(stopped) {
        true => Ending::Interrupted,
        false => evaluated,
    };
    let profiled = Profiled {
        plan: &plan,
        args,
        store: &store,
        campaigns: &campaigns,
        ending,
        interrupted: &interrupted,
    };
    profiled.finish(measured, format)
}

/// The campaign of every device: stored, or begun.
fn campaigns<'a>(plan: &'a Plan, args: &ProfileArgs, store: &Store) -> Result<Vec<Campaign<'a>>> {
    for device in plan.devices.iter().filter(|_| args.resume) {
        if store.find_campaign(&device.spec)?.is_none() {
            bail!(
                "there is no campaign to resume in {} for this space, engine and seed{}; run without --resume to \
                 begin one",
                plan.store.display(),
                match plan.devices.len() {
                    1 => String::new(),
                    _ => format!(" on {}", device.name),
                }
            );
        }
    }
    let opened = plan.devices.iter().map(|device| {
        let (space, estimator) = (&plan.space, plan.estimator.as_ref());
        let campaign = Campaign::open(store, space, estimator, device.spec.clone(), args.fresh)?;
        store.ask_for_metrics(campaign.stored.id, &args.metric)?;
        Ok(campaign)
    });
    opened.collect()
}

/// What is done after measuring.
struct Profiled<'a> {
    plan: &'a Plan,
    args: &'a ProfileArgs,
    store: &'a Store,
    campaigns: &'a [Campaign<'a>],
    /// How measuring and evaluating ended.
    ending: Ending,
    interrupted: &'a Arc<AtomicBool>,
}

impl Profiled<'_> {
    /// Writes and prints what there is, and says what there is not.
    fn finish(&self, measured: Vec<Measured>, format: Format) -> Result<Done> {
        let several = self.plan.devices.len() > 1;
        let mut reports: Vec<(&Device, Report)> = Vec::new();
        let mut failed: Vec<LeftOut> = Vec::new();
        let devices = self.plan.devices.iter().zip(self.campaigns);
        for ((device, campaign), measured) in devices.zip(measured) {
            match self.report(device, campaign, measured) {
                Ok(report) => reports.extend(report.map(|report| (device, report))),
                // One device's trouble is not the others'.
                Err(error) if several => {
                    let reason = format!("{error:#}");
                    eprintln!("error: {}: {reason}", device.name);
                    let name = device.name.clone();
                    failed.push(LeftOut { name, reason });
                }
                Err(error) => return Err(error),
            }
        }
        self.print(&reports, &failed, format)?;
        if !failed.is_empty() {
            let names: Vec<&str> = failed.iter().map(|device| device.name.as_str()).collect();
            bail!("there is no profile of {}", names.join(", "));
        }
        if self.ending == Ending::Complete {
            return Ok(Done::Complete);
        }
        if self.anything_kept()? {
            eprintln!(
                "interrupted; everything measured and evaluated is kept: the same command goes on from here"
            );
        }
        Ok(Done::Interrupted)
    }

    /// Prints the only report, or what compares several.
    fn print(
        &self,
        reports: &[(&Device, Report)],
        left_out: &[LeftOut],
        format: Format,
    ) -> Result<()> {
        match reports {
            [] => Ok(()),
            [(device, report)] => print(report, &device.out, format),
            reports => {
                let rows = reports.iter();
                let rows: Vec<_> = rows
                    .map(|(device, report)| (&*device.name, &*device.out, report))
                    .collect();
                across::write_and_print(&rows, left_out.to_vec(), &self.args.out, format)
            }
        }
    }

    fn anything_kept(&self) -> Result<bool> {
        for campaign in self.campaigns {
            if !self.store.progress(campaign.stored.id)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the report of one device and what was learnt of it; `None` where an interruption left too little.
    fn report(
        &self,
        device: &Device,
        campaign: &Campaign<'_>,
        measured: Measured,
    ) -> Result<Option<Report>> {
        measured.end?;
        let (store, args) = (self.store, self.args);
        let stopped = self.ending == Ending::Interrupted;
        if stopped && store.progress(campaign.stored.id)?.is_empty() {
            eprintln!(
                "interrupted before anything was measured{}",
                self.on(device)
            );
            return Ok(None);
        }
        let request = Request {
            metrics: &args.metric,
            sources: &sources(1, args.time_limit, &args.proxy, self.interrupted)?,
            budget: Some(measured.budget),
            command: command_line(),
            created: now(),
            faster_engine: device.faster_engine.clone(),
            allow_failures: args.allow_failures,
        };
        let stage = progress::stage("estimating the effects and writing the report", args.quiet);
        let report = analysis::report(store, &campaign.stored, &request);
        let model = report
            .is_ok()
            .then(|| analysis::latency_model(store, &campaign.stored));
        stage.finish_and_clear();
        match report {
            Ok(report) => {
                // First what says whose the folder is.
                write(&report, &device.out)?;
                write_model(model, &device.out)?;
                Ok(Some(report))
            }
            // Too little was measured for a report; what there is is kept.
            Err(error) if stopped => {
                eprintln!("no report yet{}: {error}", self.on(device));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Which device is meant, where there are several.
    fn on(&self, device: &Device) -> String {
        match self.plan.devices.len() {
            1 => String::new(),
            _ => format!(" on {}", device.name),
        }
    }
}

/// Refuses a folder whose report would be replaced by one of other conditions, and what is no folder.
fn check_conditions(plan: &Plan, device: &Device, args: &ProfileArgs) -> Result<()> {
    if device.out.exists() && !device.out.is_dir() {
        bail!(
            "{} is in the way of the report on {}: it is no folder; move it away, or choose another folder with --out",
            device.out.display(),
            device.name
        );
    }
    let spec = &device.spec;
    let engine = format!("{} {}", spec.engine, spec.engine_version);
    let here = Conditions {
        space: &plan.space,
        resolution: spec.resolution,
        estimator: &spec.estimator,
        seed: spec.seed,
        device: Some((&engine, &device.description)),
        metrics: plan.metrics.clone(),
        inputs: &plan.inputs,
    };
    let difference = here.difference(&device.out)?;
    let Some(difference) = difference.filter(|_| !args.fresh) else {
        return Ok(());
    };
    let stored = plan.store.is_file();
    let stored = stored && Store::open(&plan.store)?.find_campaign(spec)?.is_some();
    match stored && args.resume {
        // Whatever is replaced can be made again from the store.
        true => Ok(()),
        false => conditions::refuse(&device.out, &difference, stored),
    }
}

/// Whether nothing is to be timed on this machine: it is only where an engine or `latency` is asked for, or where every
/// metric is computed from the architecture alone, so that a profile would be about nothing measured. Numbers that come
/// from somewhere else never start a clock here.
fn needs_no_device(args: &ProfileArgs, space: &DesignSpace) -> Result<bool> {
    if !args.engine.is_empty() || args.metric.iter().any(|name| name == "latency") {
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

/// Evaluates costly metrics along the plan, after all measuring: they would disturb it. What is evaluated for one
/// device is recorded, and taken from the record for the others.
fn evaluate_all(
    plan: &Plan,
    args: &ProfileArgs,
    store: &mut Store,
    (campaigns, measured): (&[Campaign<'_>], &[Measured]),
    interrupted: &Arc<AtomicBool>,
) -> Result<Ending> {
    let all = measured
        .iter()
        .all(|m| !matches!(m.end, Ok(Ending::Interrupted)));
    if !plan.costly || !all {
        return Ok(Ending::Complete);
    }
    for ((device, campaign), measured) in plan.devices.iter().zip(campaigns).zip(measured) {
        if measured.end.is_ok()
            && evaluate(plan, device, args, (store, campaign.stored.id), interrupted)?
                == Ending::Interrupted
        {
            return Ok(Ending::Interrupted);
        }
    }
    Ok(Ending::Complete)
}

fn evaluate(
    plan: &Plan,
    device: &Device,
    args: &ProfileArgs,
    (store, campaign): (&mut Store, i64),
    interrupted: &Arc<AtomicBool>,
) -> Result<Ending> {
    let sources = sources(1, args.time_limit, &args.proxy, interrupted)?;
    let chosen = analysis::metrics(&args.metric, &plan.space, plan.resolution, &sources)?;
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
        &device.spec,
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

/// The measurements of an output folder.
pub fn store_path(out: &Path) -> PathBuf {
    out.join("measurements.db")
}
