//! `blocklens compare`: many searches side by side, and what can be said of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use blocklens_core::metric::Metric;
use blocklens_core::report::InputHash;
use blocklens_core::search::contest::{Arena, Arm, Contest, PartMetric, Question, Test};
use blocklens_core::search::{Problem, algorithm};
use blocklens_core::seed::Seed;
use blocklens_core::space::{DesignSpace, PartOf, random_part_like};
use blocklens_core::stats::groups::magnitude;
use blocklens_measure::contest::{
    AskedContest, ContestManifest, ContestRun, Ground, Planned, write_contest,
};
use blocklens_measure::coverage;
use blocklens_measure::metrics;
use blocklens_measure::search::SpaceRef;

use super::report::now;
use super::search::request::Request;
use super::{Done, load_space, open_space, print_json, print_line, sources};
use crate::args::{CompareArgs, Format};
use crate::command_line::command_line;
use crate::{files, interruption, progress};

/// Differences that are printed; the page and JSON have more.
const PRINTED: usize = 30;
/// Adjusted p values below which a difference is claimed.
const ALPHA: f64 = 0.05;

/// A space to search, and what it is compared as.
struct Field {
    arena: Arena,
    space: DesignSpace,
    /// The seeds that search it: one in `every`, from `first` on.
    first: u64,
    every: u64,
}

/// Carries out the command.
pub fn run(args: &CompareArgs, format: Format) -> Result<Done> {
    let whole = load_space(&args.goal.space)?;
    check_lists(args)?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let request = Request::read(&args.goal)?;
    let fields = fields(args, &whole)?;
    let interrupted = interruption::flag("stopping; finished runs are kept");
    let sources = sources(
        threads,
        args.goal.time_limit,
        &args.goal.proxy,
        &interrupted,
    )?;
    let chosen = metrics::open_all(&request.names, &whole, &sources)?;
    chosen
        .notes
        .iter()
        .for_each(|note| eprintln!("note: {note}"));
    let resolutions = match args.goal.resolution.as_slice() {
        [] => vec![whole.default_resolution()],
        some => some.to_vec(),
    };
    let unused = coverage::notes(&chosen.tables, &resolutions);
    unused.iter().for_each(|note| eprintln!("note: {note}"));
    let shared: Vec<Arc<dyn Metric>> = chosen.metrics.into_iter().map(Arc::from).collect();
    // Both vectors outlive the grounds that refer to them.
    let parts = parts(&fields, &whole)?;
    let metrics: Vec<Vec<Box<dyn Metric>>> = parts.iter().map(|p| of_part(&shared, p)).collect();
    let problems = fields.iter().zip(&metrics).map(|(field, metrics)| {
        let problem = request.problem(&field.space, &resolutions, metrics);
        problem.with_context(|| format!("the space {}", field.arena))
    });
    let problems: Vec<Problem<'_>> = problems.collect::<Result<_>>()?;
    for (field, problem) in fields.iter().zip(&problems) {
        let feasible = problem.check_feasible(Seed(1));
        feasible.with_context(|| format!("the space {}", field.arena))?;
    }
    for name in &args.algorithms {
        algorithm(name, &problems[0])?;
    }
    let grounds: Vec<Ground<'_>> = problems
        .iter()
        .zip(&metrics)
        .zip(&parts)
        .map(|((problem, metrics), part)| Ground {
            problem,
            metrics,
            part,
        })
        .collect();
    let reference = request.reference(&problems[0])?;
    let manifest = ContestManifest::new(&problems[0], asked(args, &fields, chosen.inputs));
    let planned = plan(args, &fields, &grounds);
    let total = planned.len() as u64 * args.budgets.last().copied().unwrap_or_default();
    let run = ContestRun {
        space: &whole,
        planned,
        manifest: manifest.clone(),
        threads,
        folder: &args.out,
        fresh: args.fresh,
    };
    let bar = progress::evaluations(total, 0, args.quiet);
    let begun = Instant::now();
    let advance = |evaluated| progress::advance(&bar, begun, evaluated as u64);
    let contenders = run.carry_out(&interrupted, &advance);
    bar.finish_and_clear();
    let place = args.out.display();
    let contenders = contenders.with_context(|| format!("the comparison in {place} failed"))?;
    write_random_parts(&args.out, &fields)?;
    let Some(contenders) = contenders else {
        eprintln!("interrupted; what was finished is kept, and the same command goes on");
        return Ok(Done::Interrupted);
    };
    let contest = Contest::new(
        &objectives(&problems[0]),
        reference.as_deref(),
        &args.budgets,
        &contenders,
    )?;
    write_contest(&args.out, &manifest, &contest)?;
    match format {
        Format::Json => print_json(&contest)?,
        Format::Text => print_text(&contest, args)?,
    }
    Ok(Done::Complete)
}

/// Lists that are no lists are told before anything is done.
fn check_lists(args: &CompareArgs) -> Result<()> {
    if !args.budgets.is_sorted_by(|a, b| a < b) {
        bail!("--budgets must ascend, each once: {:?}", args.budgets);
    }
    let names: BTreeSet<&String> = args.algorithms.iter().collect();
    if names.len() < args.algorithms.len() {
        bail!(
            "--algorithms names one twice: {}",
            args.algorithms.join(",")
        );
    }
    if args.random_reductions > 0 && args.reduced.is_empty() {
        bail!(
            "--random-reductions needs --reduced: it is the size of a reduced space that they have"
        );
    }
    if args.random_reductions > args.seeds {
        bail!(
            "--random-reductions {} are more than --seeds {}, so that some would never be searched",
            args.random_reductions,
            args.seeds
        );
    }
    Ok(())
}

/// The whole space, its reductions, and random parts like these.
fn fields(args: &CompareArgs, whole: &DesignSpace) -> Result<Vec<Field>> {
    let mut fields = vec![Field {
        arena: Arena::Full,
        space: whole.clone(),
        first: 1,
        every: 1,
    }];
    for file in &args.reduced {
        let space = open_space(file, Some(whole.width()));
        let space = space.with_context(|| format!("--reduced {file}"))?;
        let part = space.check_part_of(whole);
        if let Err(what) = part {
            bail!("--reduced {file} is no part of {}: {what}", whole.name());
        }
        let name = space.name().to_owned();
        if fields
            .iter()
            .any(|f| f.arena == Arena::Reduced(name.clone()))
        {
            bail!("--reduced {file}: another one is called {name} too");
        }
        if space.digest() == whole.digest() {
            bail!("--reduced {file} is the whole space");
        }
        for number in 1..=args.random_reductions {
            let seed = Seed(number).stream(space.digest());
            let random = random_part_like(whole, &space, &format!("{name}-random-{number}"), seed);
            fields.push(Field {
                arena: Arena::RandomLike(name.clone()),
                space: random.with_context(|| format!("a random part like {name}"))?,
                first: number,
                every: args.random_reductions,
            });
        }
        fields.push(Field {
            arena: Arena::Reduced(name),
            space,
            first: 1,
            every: 1,
        });
    }
    Ok(fields)
}

fn parts(fields: &[Field], whole: &DesignSpace) -> Result<Vec<PartOf>> {
    let part = |field: &Field| PartOf::new(&field.space, whole).map_err(anyhow::Error::msg);
    fields.iter().map(part).collect()
}

/// The metrics of the whole space for a part of it.
fn of_part(shared: &[Arc<dyn Metric>], part: &PartOf) -> Vec<Box<dyn Metric>> {
    let metric = |whole: &Arc<dyn Metric>| -> Box<dyn Metric> {
        Box::new(PartMetric::new(Arc::clone(whole), part.clone()))
    };
    shared.iter().map(metric).collect()
}

fn objectives(problem: &Problem<'_>) -> Vec<blocklens_core::metric::MetricInfo> {
    let numbers = problem.objectives().iter();
    numbers.map(|i| problem.metrics()[*i].clone()).collect()
}

fn asked(args: &CompareArgs, fields: &[Field], inputs: Vec<InputHash>) -> AskedContest {
    let reduced = fields
        .iter()
        .filter(|f| matches!(f.arena, Arena::Reduced(_)));
    AskedContest {
        reduced: reduced.map(|f| SpaceRef::of(&f.space)).collect(),
        random_reductions: args.random_reductions,
        algorithms: args.algorithms.clone(),
        budgets: args.budgets.clone(),
        seeds: args.seeds,
        inputs,
        command: command_line(),
        created: now(),
    }
}

/// Every algorithm in every space for each seed; seed by seed, so that what is interrupted has runs of all.
fn plan<'g>(args: &CompareArgs, fields: &[Field], grounds: &'g [Ground<'g>]) -> Vec<Planned<'g>> {
    let mut planned = Vec::new();
    for seed in 1..=args.seeds {
        for (field, ground) in fields.iter().zip(grounds) {
            if seed % field.every != field.first % field.every {
                continue;
            }
            planned.extend(args.algorithms.iter().map(|name| Planned {
                arm: Arm {
                    algorithm: name.clone(),
                    arena: field.arena.clone(),
                },
                seed,
                ground,
            }));
        }
    }
    planned
}

/// The random parts as space files, so that they can be looked at and searched again.
fn write_random_parts(out: &Path, fields: &[Field]) -> Result<()> {
    for field in fields {
        if let Arena::RandomLike(_) = field.arena {
            let folder = out.join("random");
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            let path = folder.join(format!("{}.toml", field.space.name()));
            files::write(&path, field.space.source().text.as_bytes())?;
        }
    }
    Ok(())
}

fn print_text(contest: &Contest, args: &CompareArgs) -> Result<()> {
    let reference: Vec<String> = contest
        .objectives
        .iter()
        .zip(&contest.reference)
        .map(|(m, value)| format!("{} {} {}", m.name, (value * 1e4).round() / 1e4, m.unit))
        .collect();
    print_line(&format!("hypervolumes within {}", reference.join(", ")))?;
    let names = contest.arms.iter().map(|a| a.arm.arena.to_string().len());
    let wide = names.max().unwrap_or(0).max("space".len());
    for (at, budget) in contest.budgets.iter().enumerate() {
        print_line(&format!("\nafter {budget} architectures"))?;
        print_line(&format!(
            "{:<10} {:<wide$} {:>9} {:>8} {:>9} {:>9} {:>8}",
            "algorithm", "space", "mean", "sd", "least", "most", "epsilon"
        ))?;
        for arm in &contest.arms {
            let standing = &arm.standings[at];
            let spread = &standing.hypervolume;
            let epsilon = standing
                .epsilon
                .map_or_else(String::new, |e| format!("{:.3}", e.median));
            print_line(&format!(
                "{:<10} {:<wide$} {:>9.3} {:>8.3} {:>9.3} {:>9.3} {epsilon:>8}",
                arm.arm.algorithm,
                arm.arm.arena.to_string(),
                spread.mean,
                spread.sd,
                spread.least,
                spread.most,
            ))?;
        }
    }
    print_line(&format!(
        "\nthe best known front has {} architectures and a hypervolume of {:.3}",
        contest.best_front.len(),
        contest.best_hypervolume
    ))?;
    print_tests(contest)?;
    let out = args.out.display();
    print_line(&format!(
        "\nThe page: {out}/comparison.html; figures: {out}/comparison.json, comparison.csv; runs: {out}/runs.jsonl"
    ))
}

/// Differences that survive the correction: at the largest budget, those between spaces first.
fn print_tests(contest: &Contest) -> Result<()> {
    let last = contest.budgets.last().copied().unwrap_or_default();
    let sure = |t: &&Test| t.budget == last && t.adjusted_p < ALPHA;
    let mut sure: Vec<&Test> = contest.tests.iter().filter(sure).collect();
    sure.sort_by_key(|t| t.question == Question::Algorithms);
    let all = contest.tests.iter().filter(|t| t.budget == last).count();
    print_line(&format!(
        "{} of {all} differences after {last} architectures are sure (Mann-Whitney, {} tests corrected by Holm)",
        sure.len(),
        contest.tests.len()
    ))?;
    for test in sure.iter().take(PRINTED) {
        let (first, second) = (&test.first, &test.second);
        print_line(&format!(
            "  {} in {} against {} in {}: {:+.3}, p {:.2e}, larger in {:.0} % of pairs ({})",
            first.algorithm,
            first.arena,
            second.algorithm,
            second.arena,
            test.difference,
            test.adjusted_p,
            100.0 * test.effect.a12,
            magnitude(test.effect.a12),
        ))?;
    }
    if sure.len() > PRINTED {
        print_line(&format!("  ({PRINTED} of {})", sure.len()))?;
    }
    Ok(())
}
