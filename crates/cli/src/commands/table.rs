//! `blocklens table`: a block-wise latency table of a device, and how far its sums are from whole networks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, bail};
use blocklens_core::measurement::{DeviceDescription, Warning, statistic};
use blocklens_core::space::DesignSpace;
use blocklens_core::stats::agreement::Agreement;
use blocklens_core::surrogate::timed_yaml;
use blocklens_measure::campaign::{CampaignSpec, Carrier, Ending, Event, machine_warnings};
use blocklens_measure::engine::{self, Availability, Engine, host};
use blocklens_measure::protocol::Protocol;
use blocklens_measure::runner::WorkerProcess;
use blocklens_measure::store::Store;
use blocklens_measure::table::{Check, Measured, TablePlan, TableSpec};
use serde::Serialize;

use super::profile::{own_program, show_event};
use super::{Done, load_space, print_json, print_line};
use crate::args::{Format, TableArgs, default_engine};
use crate::{files, interruption, progress};

/// The measurements of an output folder.
const STORE: &str = "layers.db";
/// Networks that a check needs to say anything.
const FEWEST: u64 = 3;

/// Carries out the command.
pub fn run(args: &TableArgs, format: Format) -> Result<Done> {
    if args.check.is_some_and(|networks| networks < FEWEST) {
        bail!("--check needs at least {FEWEST} networks");
    }
    let space = load_space(&args.space)?;
    let resolution = args.resolution.unwrap_or(space.default_resolution());
    space.check_resolution(resolution)?;
    let interrupted = interruption::flag("stopping; everything measured is kept");
    let (spec, device, engine) = specification(args, &space, resolution)?;
    let plan = TablePlan::new(&space, &spec)?;
    claim(args, resolution)?;
    let mut store = Store::open(&args.out.join(STORE))?;
    store.lock()?;
    let found = match args.fresh {
        true => None,
        false => store.find_campaign(&spec)?,
    };
    let campaign = match found {
        Some(campaign) => campaign,
        None if !args.fresh && args.out.join(table_name(resolution)).exists() => bail!(
            "{} holds a table of other conditions (engine, threads, seed, rounds, space); \
             give another folder with --out, or --fresh to replace it",
            args.out.display()
        ),
        None => store.create_campaign(&spec.text())?,
    };
    let steps = plan.steps(args.check.unwrap_or(0));
    let recorded = store.progress(campaign.id)?.len() as u64;
    let mut ending = Ending::Complete;
    if recorded < steps || args.retry_failed {
        let warnings = machine_warnings(&device, engine.is_simulated());
        eprintln!(
            "{} layers of {} at {resolution} px{}, on {} {} ({})",
            plan.keys().len(),
            space.title(),
            args.check
                .map_or(String::new(), |n| format!(" and {n} whole networks")),
            device.engine,
            device.engine_version,
            device.cpu,
        );
        warnings.iter().for_each(|w| eprintln!("warning: {w}"));
        if recorded > 0 {
            eprintln!("going on after {recorded} stored measurements (sentinels included)");
        }
        let run = store.begin_run(campaign.id, &device, &warnings)?;
        ending = measure(
            args,
            &plan,
            (&store, campaign.id, run),
            steps,
            engine.as_ref(),
            &interrupted,
        )?;
    }
    let measured = Measured::read(&store, campaign.id, &plan)?;
    if ending == Ending::Interrupted {
        eprintln!("interrupted; everything measured is kept: the same command goes on from here");
        return Ok(Done::Interrupted);
    }
    finish(args, &space, resolution, &measured, format)?;
    Ok(Done::Complete)
}

/// Refuses a folder with a table of the same name that was not measured there, such as a published one.
fn claim(args: &TableArgs, resolution: u32) -> Result<()> {
    if args.out.join(STORE).exists() {
        return Ok(());
    }
    let table = table_name(resolution);
    files::claim(&args.out, STORE, [&*table, "check.json"], "table")
}

fn table_name(resolution: u32) -> String {
    format!("{resolution}_lookup_table.yaml")
}

fn specification(
    args: &TableArgs,
    space: &DesignSpace,
    resolution: u32,
) -> Result<(TableSpec, DeviceDescription, Box<dyn Engine>)> {
    let name = args.engine.as_deref().unwrap_or(default_engine());
    let engine = engine::by_name(name)?;
    let availability = engine.availability();
    if let Availability::Unavailable { reason, remedy } = &availability {
        bail!("the engine `{name}` cannot be used here: {reason}; {remedy}");
    }
    let device = host::describe(engine.as_ref(), &availability, usize::from(args.threads));
    let campaign = CampaignSpec {
        space: space.name().into(),
        width: space.width(),
        space_digest: space.digest().into(),
        space_source: space.source().clone(),
        resolution,
        estimator: "pooled".into(),
        seed: args.seed,
        engine: name.to_owned(),
        engine_version: device.engine_version.clone(),
        threads: device.threads,
        cpu: device.cpu.clone(),
        host: device.host.clone(),
        kind: engine::unnamed_kind(name, engine.as_ref()),
        protocol: Protocol::default(),
        statistic: statistic(false),
        memory_limit_mib: None,
    };
    let spec = TableSpec {
        rounds: args.rounds,
        campaign,
    };
    Ok((spec, device, engine))
}

fn measure(
    args: &TableArgs,
    plan: &TablePlan<'_>,
    (store, campaign, run): (&Store, i64, i64),
    steps: u64,
    engine: &dyn Engine,
    interrupted: &Arc<AtomicBool>,
) -> Result<Ending> {
    let runner = WorkerProcess {
        command: (own_program()?, vec!["worker".into()]),
        time_limit: Duration::from_secs(args.time_limit),
        variables: engine.for_workers(),
        interrupted: Arc::clone(interrupted),
    };
    let carrier = Carrier {
        store,
        campaign,
        run,
        retry_failed: args.retry_failed,
        runner: &runner,
        interrupted,
    };
    let already = store.progress(campaign)?.len() as u64;
    let bar = progress::bar(steps, already, args.quiet);
    let mut show = |event: &Event<'_>| show_event(&bar, event.done as u64, "", event);
    let ending = carrier.measure(plan, steps, &mut show);
    bar.finish_and_clear();
    Ok(ending?)
}

/// What is printed and written besides the table.
#[derive(Serialize)]
struct Summary<'a> {
    table: PathBuf,
    space: &'a str,
    width: f64,
    resolution: u32,
    layers: usize,
    failures: Vec<String>,
    noise_floor: Option<f64>,
    largest_correction: f64,
    doubts: &'a [Warning],
    device: Option<&'a DeviceDescription>,
    check: Option<Check>,
}

/// Writes the table and compares.
fn finish(
    args: &TableArgs,
    space: &DesignSpace,
    resolution: u32,
    measured: &Measured,
    format: Format,
) -> Result<()> {
    if measured.layers.is_empty() {
        bail!("no layer was measured: every one of them failed, which --retry-failed tries again");
    }
    let table = args.out.join(table_name(resolution));
    files::write(&table, timed_yaml(&measured.layers).as_bytes())?;
    let failures = measured.failures.iter();
    let failures: Vec<String> = failures
        .map(|(what, why)| format!("{what}: {why}"))
        .collect();
    let check = match args.check {
        Some(_) => Some(measured.check(space)?),
        None => None,
    };
    let summary = Summary {
        table,
        space: space.name(),
        width: space.width(),
        resolution,
        layers: measured.layers.len(),
        failures,
        noise_floor: measured.noise_floor,
        largest_correction: measured.largest_correction,
        doubts: &measured.doubts,
        device: measured.device.as_ref(),
        check,
    };
    if summary.check.is_some() {
        let text = serde_json::to_string_pretty(&summary)?;
        files::write(&args.out.join("check.json"), text.as_bytes())?;
    }
    match format {
        Format::Json => print_json(&summary),
        Format::Text => print_text(&summary),
    }
}

fn print_text(summary: &Summary<'_>) -> Result<()> {
    print_line(&format!(
        "{} layers in {}; read it with --metric latency@{}",
        summary.layers,
        summary.table.display(),
        summary.table.display()
    ))?;
    for doubt in summary.doubts {
        print_line(&format!("doubt: {doubt}"))?;
    }
    for failure in &summary.failures {
        print_line(&format!("no entry: {failure}"))?;
    }
    if let Some(floor) = summary.noise_floor {
        print_line(&format!("noise floor {:.1} %", 100.0 * floor))?;
    }
    let Some(check) = &summary.check else {
        return Ok(());
    };
    let Some(a) = &check.agreement else {
        return print_line("no network was measured end to end: nothing to compare with");
    };
    print_line(&compared(a))
}

fn compared(a: &Agreement) -> String {
    let percent = |x: f64| format!("{:.1} %", 100.0 * x);
    let number = |x: Option<f64>| x.map_or("unknown".to_owned(), |x| format!("{x:.3}"));
    format!(
        "sums of layers against {} whole networks:\n  bias {:+.1} %, mean error {}, median {}\n  within 5 %: {}, \
         within 10 %: {}\n  \
         rank correlation {}, slope of sum over end-to-end {}, R2 {}",
        a.pairs,
        100.0 * a.bias,
        percent(a.mape),
        percent(a.median_error),
        percent(a.within_5),
        percent(a.within_10),
        number(a.spearman),
        number(a.slope),
        number(a.r2),
    )
}
