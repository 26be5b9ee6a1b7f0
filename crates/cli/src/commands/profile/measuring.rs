//! The measuring part of `profile`: all devices in turn, until the budget is spent or the precision is reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use blocklens_core::measurement::Warning;
use blocklens_measure::analysis;
use blocklens_measure::campaign::{
    Campaign, CampaignError, Carrier, Ending, Event, Lane, SENTINEL_PERIOD, in_turn,
    machine_warnings,
};
use blocklens_measure::engine;
use blocklens_measure::runner::WorkerProcess;
use blocklens_measure::store::Store;
use indicatif::ProgressBar;

use super::plan::{Device, Plan};
use crate::args::ProfileArgs;
use crate::progress;

/// Networks between two looks at the precision: a look takes less time than one of them.
const STAGE: u64 = 10;

/// How a device's campaign ended.
pub(super) struct Measured {
    /// Networks that were called for.
    pub budget: u64,
    pub end: Result<Ending, CampaignError>,
}

/// Measures what is planned on all devices in turn, or until the effects are known as well as was asked.
pub(super) fn measure(
    plan: &Plan,
    args: &ProfileArgs,
    store: &Store,
    campaigns: &[Campaign<'_>],
    interrupted: &Arc<AtomicBool>,
) -> Result<Vec<Measured>> {
    let recorded = campaigns
        .iter()
        .map(|campaign| Ok(store.progress(campaign.stored.id)?.len() as u64))
        .collect::<Result<Vec<_>>>()?;
    let steps = Campaign::steps(plan.budget);
    let all_there = |recorded: u64| recorded >= steps && !args.retry_failed;
    let complete = || Measured {
        budget: plan.budget,
        end: Ok(Ending::Complete),
    };
    if recorded.iter().all(|recorded| all_there(*recorded)) {
        eprintln!(
            "all {} networks are measured already; --fresh measures them again",
            plan.budget
        );
        return Ok(recorded.iter().map(|_| complete()).collect());
    }
    announce(plan, args.precision.is_some(), &recorded);
    let runner = WorkerProcess {
        command: (own_program()?, vec!["worker".into()]),
        time_limit: Duration::from_secs(args.time_limit),
        variables: engine::for_workers(plan.devices.iter().map(|device| device.engine.as_ref())),
        interrupted: Arc::clone(interrupted),
    };
    let bar = progress::bar(
        steps * campaigns.len() as u64,
        recorded.iter().sum(),
        args.quiet,
    );
    let carrier = |(device, campaign): (&Device, &Campaign<'_>)| -> Result<Carrier<'_>> {
        let warnings = machine_warnings(&device.description, device.simulated);
        Ok(Carrier {
            store,
            campaign: campaign.stored.id,
            run: store.begin_run(campaign.stored.id, &device.description, &warnings)?,
            retry_failed: args.retry_failed,
            runner: &runner,
            interrupted,
        })
    };
    let mut turns = Turns {
        plan,
        args,
        bar: &bar,
        done: recorded.clone(),
        measured: recorded.iter().map(|_| complete()).collect(),
        going: Vec::new(),
    };
    for (i, both) in plan.devices.iter().zip(campaigns).enumerate() {
        let going = (!all_there(recorded[i])).then(|| carrier(both));
        turns.going.push(going.transpose()?);
        if turns.going[i].is_some() {
            turns.measured[i].budget = first_stage(plan, args, recorded[i]);
        }
    }
    while turns.going.iter().any(Option::is_some) {
        turns.stage(store, campaigns)?;
    }
    bar.finish_and_clear();
    Ok(turns.measured)
}

/// Devices that take turns, and how far each has come.
struct Turns<'a> {
    plan: &'a Plan,
    args: &'a ProfileArgs,
    bar: &'a ProgressBar,
    /// Steps done, by device.
    done: Vec<u64>,
    measured: Vec<Measured>,
    /// Who measures, of devices that have more to measure.
    going: Vec<Option<Carrier<'a>>>,
}

impl Turns<'_> {
    /// Measures up to every device's budget, then looks which of them are done.
    fn stage(&mut self, store: &Store, campaigns: &[Campaign<'_>]) -> Result<()> {
        let going = self.going.iter().enumerate();
        let going = going.filter_map(|(i, carrier)| Some((i, (*carrier)?)));
        let (devices, lanes): (Vec<usize>, Vec<Lane<'_>>) = going
            .map(|(i, carrier)| {
                let lane = Lane {
                    carrier,
                    schedule: &campaigns[i],
                    steps: Campaign::steps(self.measured[i].budget),
                };
                (i, lane)
            })
            .unzip();
        let ends = in_turn(&lanes, &mut |lane, event| self.show(devices[lane], event))?;
        for (&device, end) in devices.iter().zip(ends) {
            let complete = matches!(end, Ok(Ending::Complete));
            self.measured[device].end = end;
            if !(complete && self.goes_on(device, store, &campaigns[device])?) {
                self.going[device] = None;
            }
        }
        Ok(())
    }

    /// Whether a device that measured its budget needs more for the precision, and raises the budget then.
    fn goes_on(&mut self, device: usize, store: &Store, campaign: &Campaign<'_>) -> Result<bool> {
        let Some(goal) = self.args.precision else {
            return Ok(false);
        };
        let (most, budget) = (self.plan.budget, self.measured[device].budget);
        let known = analysis::precision(store, &campaign.stored)?;
        self.show_precision(budget, known, goal);
        if budget >= most || known.is_some_and(|known| known <= goal) {
            let name = &self.plan.devices[device].name;
            let told = precision_told(known, goal, budget);
            progress::say(&match self.plan.devices.len() {
                1 => told,
                _ => format!("{name}: {told}"),
            });
            return Ok(false);
        }
        self.measured[device].budget = most.min(budget + STAGE);
        Ok(true)
    }

    /// Sets the bar's length to where the effects will be known well enough: intervals shrink with the root of the
    /// number.
    fn show_precision(&self, budget: u64, known: Option<f64>, goal: f64) {
        let Some(known) = known else {
            return;
        };
        let most = self.plan.budget;
        let needed = budget as f64 * (known / goal).powi(2);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // below `most`
        let needed = needed.ceil().clamp(budget as f64, most.max(budget) as f64) as u64;
        self.bar
            .set_length(Campaign::steps(needed) * self.plan.devices.len() as u64);
        self.bar
            .set_message(format!("±{:.2} % of ±{:.2} %", 100.0 * known, 100.0 * goal));
    }

    fn show(&mut self, device: usize, event: &Event<'_>) {
        self.done[device] = event.done as u64;
        let name = match self.plan.devices.as_slice() {
            [_] => "",
            devices => &devices[device].name,
        };
        show_event(self.bar, self.done.iter().sum(), name, event);
    }
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

fn precision_told(known: Option<f64>, goal: f64, budget: u64) -> String {
    let goal = 100.0 * goal;
    match known.map(|known| 100.0 * known) {
        Some(known) if known <= goal => format!(
            "after {budget} networks, every effect is known to ±{known:.2} % of the mean latency (±{goal:.2} % was \
             asked for)"
        ),
        Some(known) => format!(
            "the budget of {budget} networks is spent with the widest effect known to ±{known:.2} % of the mean \
             latency, not ±{goal:.2} %; a larger --budget goes on"
        ),
        None => format!("the {budget} networks that were measured carry no estimate yet"),
    }
}

/// This program's own file, which workers are started from.
pub(in crate::commands) fn own_program() -> Result<PathBuf> {
    std::env::current_exe()
        .context("cannot find this program's own file, which workers are started from")
}

fn announce(plan: &Plan, at_most: bool, recorded: &[u64]) {
    let several = plan.devices.len() > 1;
    eprintln!(
        "{} width {} at {} px, {}{} networks on {}",
        plan.space.title(),
        plan.space.width(),
        plan.resolution,
        if at_most { "at most " } else { "" },
        plan.budget,
        match plan.devices.as_slice() {
            [device] => described(device),
            devices => format!("each of {} devices in turn:", devices.len()),
        }
    );
    for (device, recorded) in plan.devices.iter().zip(recorded) {
        let going_on = match recorded {
            0 => String::new(),
            n => format!("going on after {n} stored measurements (sentinels included)"),
        };
        match (several, going_on.as_str()) {
            (true, "") => eprintln!("  {}: {}", device.name, described(device)),
            (true, on) => eprintln!("  {}: {}; {on}", device.name, described(device)),
            (false, "") => {}
            (false, on) => eprintln!("{on}"),
        }
    }
    let mut warned: Vec<Warning> = Vec::new();
    for device in &plan.devices {
        for warning in machine_warnings(&device.description, device.simulated) {
            // What is about the machine is about all engines on it.
            if !warned.contains(&warning) {
                eprintln!("warning: {warning}");
                warned.push(warning);
            }
        }
        if let Some(engine) = &device.faster_engine {
            let engine = engine.clone();
            eprintln!("note: {}", Warning::FasterEngine { engine });
        }
    }
}

fn described(device: &Device) -> String {
    let description = &device.description;
    format!(
        "{} {} ({}, {} thread{})",
        description.engine,
        description.engine_version,
        description.cpu,
        description.threads,
        if description.threads == 1 { "" } else { "s" }
    )
}

/// Shows that a step is done; `device` is empty where there is only one.
pub(in crate::commands) fn show_event(
    bar: &ProgressBar,
    done: u64,
    device: &str,
    event: &Event<'_>,
) {
    bar.set_position(done);
    match (event.outcome, device) {
        (Ok(m), "") => bar.set_message(format!("{}", m.summary.latency)),
        (Ok(m), device) => bar.set_message(format!("{} on {device}", m.summary.latency)),
        // Above the bar, so that it stays on the screen.
        (Err(failure), "") => bar.suspend(|| eprintln!("failed: {}: {failure}", event.arch)),
        (Err(failure), device) => {
            bar.suspend(|| eprintln!("failed on {device}: {}: {failure}", event.arch));
        }
    }
}
