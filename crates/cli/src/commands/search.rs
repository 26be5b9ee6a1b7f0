//! `blocklens search`: propose, evaluate, and so on; then the front.

pub(super) mod request;

use anyhow::{Context, Result, bail};
use blocklens_core::metric::MetricInfo;
use blocklens_core::search::{Problem, algorithm};
use blocklens_core::seed::Seed;
use blocklens_measure::coverage;
use blocklens_measure::metrics;
use blocklens_measure::search::{Asked, Ending, Manifest, Progress, Run, Summary};

use super::report::now;
use super::{Done, load_space, print_json, print_line, sources};
use crate::args::{Format, SearchArgs};
use crate::command_line::command_line;
use crate::{interruption, progress};
use request::Request;

/// Architectures of the front that are printed; its file has all.
const PRINTED: usize = 20;

/// Carries out the command.
pub fn run(args: &SearchArgs, format: Format) -> Result<Done> {
    let space = load_space(&args.goal.space)?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let request = Request::read(&args.goal)?;
    let interrupted = interruption::flag("stopping; writing the front of what is evaluated");
    let chosen = metrics::open_all(
        &request.names,
        &space,
        &sources(
            threads,
            args.goal.time_limit,
            &args.goal.proxy,
            &interrupted,
        )?,
    )?;
    let notes = chosen.notes.iter();
    notes.for_each(|note| eprintln!("note: {note}"));
    let problem = request.problem(&space, &args.goal.resolution, &chosen.metrics)?;
    let unused = coverage::notes(&chosen.tables, problem.resolutions());
    unused.iter().for_each(|note| eprintln!("note: {note}"));
    let reference = request.reference(&problem)?;
    let algorithm = algorithm(&args.algorithm, &problem)?;
    problem.check_feasible(Seed(args.seed))?;
    let asked = Asked {
        algorithm: algorithm.name().to_owned(),
        seed: args.seed,
        budget: args.budget,
        reference,
        inputs: chosen.inputs.clone(),
        command: command_line(),
        created: now(),
    };
    let run = Run {
        problem: &problem,
        metrics: &chosen.metrics,
        algorithm,
        manifest: Manifest::new(&problem, asked),
        threads,
        folder: &args.out,
        fresh: args.fresh,
    };
    let bar = progress::evaluations(args.budget, 0, args.quiet);
    let mut first = true;
    let summary = run.carry_out(&interrupted, &mut |far: &Progress| {
        bar.set_position(far.evaluated as u64);
        if std::mem::take(&mut first) {
            // Work of earlier runs took no time in this one.
            bar.reset_elapsed();
        }
        bar.set_message(told(far));
    });
    bar.finish_and_clear();
    let summary =
        summary.with_context(|| format!("the search in {} failed", args.out.display()))?;
    match format {
        Format::Json => print_json(&summary)?,
        Format::Text => print_text(&problem, &summary, args)?,
    }
    match summary.ending {
        Ending::Interrupted => Ok(Done::Interrupted),
        Ending::Budget | Ending::Exhausted if summary.front.is_empty() => bail!(
            "the front is empty: of {} architectures evaluated, {} have all values and are beyond the limits",
            summary.evaluated,
            summary.beyond_limits
        ),
        Ending::Budget | Ending::Exhausted => Ok(Done::Complete),
    }
}

/// How far a search is, behind the bar.
fn told(far: &Progress) -> String {
    let mut text = format!("front {}", far.front);
    if let Some(volume) = far.hypervolume {
        text += &format!(", hypervolume {volume:.5}");
    }
    if far.failures > 0 {
        text += &format!(", {} failed", far.failures);
    }
    text
}

fn print_text(problem: &Problem<'_>, summary: &Summary, args: &SearchArgs) -> Result<()> {
    let ending = match summary.ending {
        Ending::Budget => "",
        Ending::Exhausted => "; there are no others",
        Ending::Interrupted => "; interrupted, and the same command goes on",
    };
    print_line(&format!(
        "{} in {}, seed {}: {} architectures evaluated{ending}",
        summary.search.algorithm,
        problem.space().title(),
        summary.search.seed,
        summary.evaluated,
    ))?;
    for (metric, failed) in &summary.failures {
        print_line(&format!("{metric} has no value for {failed} of them"))?;
    }
    if summary.beyond_limits > 0 {
        let beyond = summary.beyond_limits;
        print_line(&format!("{beyond} of them are beyond the limits"))?;
    }
    if let (Some(volume), Some(reference)) = (summary.hypervolume, &summary.reference) {
        let objectives = problem.objectives().iter().zip(reference);
        let point: Vec<String> = objectives
            .map(|(i, value)| {
                let metric = &problem.metrics()[*i];
                let value = (value * 1e4).round() / 1e4;
                format!("{} {value} {}", metric.name, metric.unit)
                    .trim_end()
                    .to_owned()
            })
            .collect();
        print_line(&format!(
            "hypervolume {volume:.6} within {}",
            point.join(", ")
        ))?;
    }
    if let Some(nearest) = &summary.nearest {
        print_line("none of them keeps the limits; the nearest:")?;
        print_rows(problem, std::slice::from_ref(nearest))?;
    }
    print_rows(problem, &summary.front)?;
    let out = args.out.display();
    print_line(&format!(
        "\nThe front: {out}/front.csv, front.json; everything evaluated: {out}/evaluations.jsonl"
    ))
}

/// Some architectures with their values; of many, as many as fit a screen, evenly.
fn print_rows(
    problem: &Problem<'_>,
    members: &[blocklens_measure::search::FrontMember],
) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    let heads = problem.metrics().iter();
    let heads: Vec<String> = heads.map(MetricInfo::head).collect();
    print_line(&format!("\n{}  architecture", heads.join("  ")))?;
    let shown = members.len().min(PRINTED);
    for place in 0..shown {
        let member = &members[place * (members.len() - 1) / (shown - 1).max(1)];
        let values = heads.iter().zip(&member.values);
        let cells: Vec<String> = values
            .map(|(head, value)| format!("{value:>width$.4}", width = head.chars().count()))
            .collect();
        print_line(&format!("{}  {}", cells.join("  "), member.arch))?;
    }
    if shown < members.len() {
        print_line(&format!("({shown} of {})", members.len()))?;
    }
    Ok(())
}
