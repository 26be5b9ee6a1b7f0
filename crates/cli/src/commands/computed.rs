//! `blocklens profile` where nothing is measured: latency from a table or a model.

use anyhow::{Context, Result};
use blocklens_core::space::DesignSpace;
use blocklens_measure::analysis;
use blocklens_measure::computed::Plan;

use super::profile::{check_budget, interruption};
use super::report::{command_line, now, write_and_print};
use super::{Done, sources};
use crate::args::{EstimatorChoice, Format, ProfileArgs};
use crate::progress;

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
    let interrupted = interruption()?;
    let threads = usize::from(args.threads);
    let sources = sources(threads, args.time_limit, &args.proxy, &interrupted)?;
    let chosen = analysis::metrics(&args.metric, space, resolution, &sources)?;
    chosen
        .notes
        .iter()
        .for_each(|note| eprintln!("note: {note}"));
    let name = args.estimator.name();
    let default_budget = match args.estimator {
        EstimatorChoice::Pooled => COMPUTED_BUDGET,
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
        command: command_line(),
        created: now(),
    };
    let bar = progress::bar(budget, 0, args.quiet);
    let report = plan.report(&interrupted, &|done| bar.inc(done as u64));
    bar.finish_and_clear();
    match report? {
        Some(report) => {
            write_and_print(&report, &args.out, format)?;
            Ok(Done::Complete)
        }
        None => {
            eprintln!("interrupted; there is no report, and what was evaluated is not kept");
            Ok(Done::Interrupted)
        }
    }
}
