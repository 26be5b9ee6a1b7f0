//! `blocklens profile` where nothing is measured: latency from a table or a model.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use blocklens_core::space::DesignSpace;
use blocklens_measure::analysis::{self, AnalysisError};
use blocklens_measure::computed::{Plan, Profiled, Record, Telling};
use blocklens_measure::metrics::Sources;
use blocklens_measure::store::Store;

use super::conditions::{self, Conditions};
use super::evaluate::print_notes;
use super::profile::{check_budget, store_path, write_model};
use super::report::{now, print, write};
use super::{Done, sources};
use crate::args::{EstimatorChoice, Format, ProfileArgs};
use crate::command_line::command_line;
use crate::{files, interruption, progress};

/// Architectures that `pooled` evaluates by default where nothing is measured.
const COMPUTED_BUDGET: u64 = 2_000;
/// The same for every combination with the other estimators: as many as the published study.
const COMPUTED_PER_COMBINATION: u64 = 100;

/// Profiles metrics of which none is measured.
pub fn run(
    args: &ProfileArgs,
    space: &DesignSpace,
    resolution: u32,
    format: Format,
) -> Result<Done> {
    let interrupted = interruption::flag("stopping");
    let threads = usize::from(args.threads);
    let sources = Sources {
        images: args.images.options(threads, &interrupted),
        ..sources(threads, args.time_limit, &args.proxy, &interrupted)?
    };
    let chosen = analysis::metrics(&args.metric, space, resolution, &sources)?;
    chosen
        .notes
        .iter()
        .for_each(|note| eprintln!("note: {note}"));
    let name = args.estimator.name();
    let default_budget = match args.estimator {
        EstimatorChoice::Designed | EstimatorChoice::Pooled => COMPUTED_BUDGET,
        EstimatorChoice::Sampled | EstimatorChoice::Legacy => {
            COMPUTED_PER_COMBINATION * space.combinations() as u64
        }
    };
    let budget = args.budget.unwrap_or(default_budget);
    check_budget(args.estimator, budget, space)?;
    let estimator =
        analysis::estimator(name).with_context(|| format!("there is no estimator `{name}`"))?;
    let plan = Plan {
        space,
        resolution,
        estimator: estimator.as_ref(),
        seed: args.seed,
        budget,
        chosen: &chosen,
        threads,
        allow_failures: args.allow_failures,
        command: command_line(),
        created: now(),
    };
    if args.evaluations.is_some() {
        bail!(
            "--evaluations goes with a measured latency; where nothing is measured, --budget says how many"
        );
    }
    let metrics = chosen
        .metrics
        .iter()
        .map(|metric| metric.info().name.clone());
    let here = Conditions {
        space,
        resolution,
        estimator: name,
        seed: args.seed,
        device: None,
        metrics: metrics.collect(),
        inputs: &chosen.inputs,
    };
    let difference = here.difference(&args.out)?;
    if let Some(difference) = difference.filter(|_| !args.fresh) {
        conditions::refuse(&args.out, &difference, false)?;
    }
    let mut store = match plan.is_costly() {
        true => Some(Store::open(&store_path(&args.out))?),
        false => None,
    };
    let record = match &mut store {
        Some(store) => {
            store.lock()?;
            Some(Record {
                store,
                fresh: args.fresh,
                retry_failed: args.retry_failed,
            })
        }
        None => None,
    };
    let costly = record.is_some();
    let bar = progress::evaluations(budget, 0, args.quiet);
    let begun = Instant::now();
    let telling = Telling {
        progress: &|done| {
            progress::advance(&bar, begun, done as u64);
            if bar.length().is_some_and(|all| bar.position() >= all) {
                bar.set_message("estimating the effects");
            }
        },
        note: &|note| bar.suspend(|| eprintln!("note: {note}")),
    };
    let report = plan.report(record, &interrupted, telling);
    bar.finish_and_clear();
    print_notes(&chosen.metrics);
    match report? {
        Some(Profiled {
            report,
            values,
            model,
        }) => {
            // Before anything is printed: whoever reads that may have enough of it, which ends this program.
            write(&report, &args.out)?;
            files::write(&values_path(&args.out), values.as_bytes())?;
            let reason = |reason| AnalysisError::Model { reason };
            write_model(model.map(|model| model.map_err(reason)), &args.out)?;
            print(&report, &args.out, format)?;
            Ok(Done::Complete)
        }
        None if costly => {
            eprintln!(
                "interrupted; everything evaluated is kept: the same command goes on from here"
            );
            Ok(Done::Interrupted)
        }
        None => {
            eprintln!("interrupted; there is no report yet: the same command begins again");
            Ok(Done::Interrupted)
        }
    }
}

/// The values that a profile without a device was made from, in its folder.
pub fn values_path(out: &Path) -> PathBuf {
    out.join("values.jsonl")
}
