//! Searching: what holds for every algorithm, and what they find.

use std::collections::HashSet;

use blocklens_core::metric::{CostKind, CostMetric, Metric, MetricError, MetricInfo};
use blocklens_core::search::{
    ALGORITHMS, Bound, Infeasible, Limit, Mlp, Problem, ProblemError, Score, Search, TellError,
    Training, algorithm, constrained_ranks, one_after_the_other,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::stats;
use blocklens_core::surrogate::OfaAccuracy;

/// Thirty-six architectures.
const SMALL: &str = include_str!("../spaces/small.toml");

fn large() -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", Some(1.2)).unwrap()
}

fn small() -> DesignSpace {
    DesignSpace::from_toml("small.toml", SMALL, None).unwrap()
}

/// The surrogate's accuracy and MACs, which pull in opposite directions.
fn metrics(space: &DesignSpace) -> Vec<Box<dyn Metric>> {
    vec![
        Box::new(OfaAccuracy::new(space).unwrap()),
        Box::new(CostMetric::new(space.clone(), CostKind::Macs)),
    ]
}

fn costs(space: &DesignSpace) -> Vec<Box<dyn Metric>> {
    vec![
        Box::new(CostMetric::new(space.clone(), CostKind::Params)),
        Box::new(CostMetric::new(space.clone(), CostKind::Macs)),
    ]
}

fn infos(metrics: &[Box<dyn Metric>]) -> Vec<MetricInfo> {
    metrics.iter().map(|m| m.info().clone()).collect()
}

fn problem<'a>(space: &'a DesignSpace, metrics: &'a [Box<dyn Metric>]) -> Problem<'a> {
    Problem::new(space, &[224], &infos(metrics), &[0, 1]).unwrap()
}

fn values(metrics: &[Box<dyn Metric>], archs: &[Architecture]) -> Vec<Vec<Option<f64>>> {
    let of = |arch| metrics.iter().map(|m| m.evaluate(arch).ok()).collect();
    archs.iter().map(of).collect()
}

/// Asks and tells until the budget is spent or nothing is left; at most `at_once` at a time.
fn go_on(search: &mut Search<'_>, metrics: &[Box<dyn Metric>], budget: usize, at_once: usize) {
    while search.history().len() < budget {
        let left = budget - search.history().len();
        let asked = search.ask(&one_after_the_other);
        if asked.is_empty() {
            return;
        }
        let archs = asked[..asked.len().min(at_once).min(left)].to_vec();
        let values = values(metrics, &archs);
        search.tell(values, &one_after_the_other).unwrap();
    }
}

fn begin<'a>(name: &str, problem: &'a Problem<'a>, seed: u64) -> Search<'a> {
    Search::new(problem, algorithm(name, problem).unwrap(), Seed(seed))
}

fn several() -> impl Iterator<Item = &'static str> {
    ALGORITHMS.iter().filter(|a| a.several).map(|a| a.name)
}

/// A batch that costs little to compute, for algorithms that compute much.
fn enough(name: &str) -> usize {
    if ["bananas", "guided"].contains(&name) {
        150
    } else {
        420
    }
}

fn volume(search: &Search<'_>) -> f64 {
    let mut points = search.problem().points();
    for number in search.history().front() {
        let values: Vec<f64> = search.history().entries()[number]
            .values
            .iter()
            .flatten()
            .copied()
            .collect();
        points.push(&values).unwrap();
    }
    points.hypervolume(&[76.0, 600.0]).unwrap()
}

#[test]
fn every_algorithm_goes_on_as_if_it_had_not_been_stopped() {
    let space = large();
    let metrics = metrics(&space);
    let problem = problem(&space, &metrics);
    for name in several() {
        let budget = enough(name);
        let mut whole = begin(name, &problem, 7);
        go_on(&mut whole, &metrics, budget, usize::MAX);
        assert_eq!(whole.history().len(), budget, "{name}");
        let unique: HashSet<&Architecture> =
            whole.history().entries().iter().map(|e| &e.arch).collect();
        assert_eq!(unique.len(), budget, "{name}");

        // Killed in the middle of a batch: whole batches are told again, the rest of the last is asked for.
        let cut = budget * 2 / 3;
        let complete = whole.ends().iter().take_while(|end| **end <= cut).count();
        let mut again = begin(name, &problem, 7);
        let mut from = 0;
        for end in &whole.ends()[..complete] {
            let told = whole.history().entries()[from..*end].iter();
            let told = told.map(|e| (e.arch.clone(), e.values.clone())).collect();
            again.replay(told, &one_after_the_other).unwrap();
            from = *end;
        }
        // Pieces of work in another order, as threads may do them.
        let backwards =
            |count: usize, work: &(dyn Fn(usize) + Sync)| (0..count).rev().for_each(work);
        let first = again.ask(&backwards).to_vec();
        assert_eq!(
            again.ask(&one_after_the_other),
            first,
            "{name}: asked twice"
        );
        go_on(&mut again, &metrics, budget, 3);
        assert_eq!(
            again.history().entries(),
            whole.history().entries(),
            "{name}"
        );

        let mut other = begin(name, &problem, 8);
        assert_ne!(
            other.ask(&one_after_the_other),
            &first[..],
            "{name}: another seed"
        );
    }
}

#[test]
fn algorithms_are_better_than_random_draws() {
    let space = large();
    let metrics = metrics(&space);
    let problem = problem(&space, &metrics);
    let of = |name: &str, budget: usize, seeds: u64| -> Vec<f64> {
        let run = |seed| {
            let mut search = begin(name, &problem, seed);
            go_on(&mut search, &metrics, budget, usize::MAX);
            volume(&search)
        };
        (1..=seeds).map(run).collect()
    };
    // The mean of three runs is beyond what chance does to that of random draws, one time in a thousand. What begins
    // with a hundred random architectures needs a thousand to get there.
    for name in several().filter(|name| *name != "random") {
        let budget = if enough(name) < 200 { 150 } else { 1_000 };
        let found = stats::mean(&of(name, budget, 3));
        let random = of("random", budget, 12);
        let error = stats::variance(&random).sqrt() / 3f64.sqrt();
        let least = stats::mean(&random) + 3.1 * error;
        assert!(found > least, "{name}: {found}, random {least}");
    }
}

#[test]
fn a_space_smaller_than_the_budget_is_evaluated_whole() {
    let space = small();
    let metrics = costs(&space);
    let problem = Problem::new(&space, &[], &infos(&metrics), &[0, 1]).unwrap();
    let count = problem.enumerate().count();
    assert_eq!(count, 36);
    for name in several() {
        let mut search = begin(name, &problem, 1);
        go_on(&mut search, &metrics, 1_000, usize::MAX);
        assert_eq!(search.history().len(), count, "{name}");
        assert!(search.ask(&one_after_the_other).is_empty(), "{name}");
    }
}

#[test]
fn only_listed_architectures_are_sought_among() {
    let space = large();
    let metrics = metrics(&space);
    let mut rng = Seed(3).rng();
    let listed: Vec<Architecture> = (0..300)
        .map(|_| space.sample(224, &mut rng).unwrap())
        .collect();
    let problem = problem(&space, &metrics).with_listed(listed.clone());
    for name in several() {
        let mut search = begin(name, &problem, 1);
        go_on(&mut search, &metrics, 1_000, usize::MAX);
        assert_eq!(search.history().len(), 300, "{name}");
        assert!(
            search
                .history()
                .entries()
                .iter()
                .all(|e| listed.contains(&e.arch))
        );
    }
}

/// MACs that are not there for a third of the architectures.
#[derive(Debug)]
struct Flaky(CostMetric);

impl Metric for Flaky {
    fn info(&self) -> &MetricInfo {
        self.0.info()
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let digit = Seed(0).stream(&arch.to_string()).0 % 3;
        if digit == 0 {
            return Err(MetricError::NoValue {
                metric: "macs".into(),
                arch: arch.to_string(),
            });
        }
        self.0.evaluate(arch)
    }
}

#[test]
fn failures_are_counted_and_never_numbers() {
    let space = large();
    let metrics: Vec<Box<dyn Metric>> = vec![
        Box::new(OfaAccuracy::new(&space).unwrap()),
        Box::new(Flaky(CostMetric::new(space.clone(), CostKind::Macs))),
    ];
    let problem = problem(&space, &metrics);
    for name in several() {
        let budget = enough(name);
        let mut search = begin(name, &problem, 2);
        go_on(&mut search, &metrics, budget, usize::MAX);
        let history = search.history();
        let share = history.failures() as f64 / history.len() as f64;
        assert_eq!(history.len(), budget, "{name}");
        // A third, give or take four standard deviations of as many draws: no algorithm can know which fail.
        let spread = 4.0 * (2.0 / 9.0 / budget as f64).sqrt();
        assert!((share - 1.0 / 3.0).abs() < spread, "{name}: {share}");
        let failed = |number: &usize| history.entries()[*number].score.is_none();
        assert!(!history.front().iter().any(failed), "{name}");
    }
    // Nothing has a value: the search still goes on.
    for name in several() {
        let mut search = begin(name, &problem, 2);
        for _ in 0..3 {
            let asked = search.ask(&one_after_the_other).len();
            assert!(asked > 0, "{name}");
            search
                .tell(vec![vec![None, None]; asked], &one_after_the_other)
                .unwrap();
        }
        assert!(search.history().front().is_empty());
    }
}

#[test]
fn limits_that_cost_nothing_are_kept_by_every_proposal() {
    let space = large();
    let metrics = metrics(&space);
    // Below the MACs of nearly all random architectures.
    let limit = Limit {
        metric: 1,
        bound: Bound::Max,
        value: 200.0,
    };
    let problem = Problem::new(&space, &[224], &infos(&metrics), &[0]).unwrap();
    let problem = problem.with_limit(limit).unwrap();
    let problem = problem.with_free(1, metrics[1].as_ref()).unwrap();
    problem.check_feasible(Seed(1)).unwrap();
    for info in ALGORITHMS {
        let mut search = begin(info.name, &problem, 4);
        go_on(&mut search, &metrics, 140, usize::MAX);
        let entries = search.history().entries();
        assert_eq!(entries.len(), 140, "{}", info.name);
        let macs = entries.iter().map(|e| e.values[1].unwrap());
        assert!(macs.fold(0.0, f64::max) <= 200.0, "{}", info.name);
        assert_eq!(search.history().front().len(), 1);
    }
}

#[test]
fn limits_that_cost_something_lead_the_search() {
    let space = large();
    let metrics = metrics(&space);
    let limit = Limit {
        metric: 1,
        bound: Bound::Max,
        value: 300.0,
    };
    let problem = Problem::new(&space, &[224], &infos(&metrics), &[0]).unwrap();
    let problem = problem.with_limit(limit).unwrap();
    // Of the last hundred, when every algorithm has had time to learn.
    let kept = |name: &str, range: std::ops::Range<usize>| {
        let mut search = begin(name, &problem, 4);
        go_on(&mut search, &metrics, 300, usize::MAX);
        let scored = search.history().scored(range);
        scored.filter(|(_, score)| score.is_feasible()).count()
    };
    // More than chance keeps, one time in a thousand.
    let share = kept("random", 0..300) as f64 / 300.0;
    let least = 100.0 * share + 3.1 * (100.0 * share * (1.0 - share)).sqrt();
    for info in ALGORITHMS.iter().filter(|a| a.name != "random") {
        let found = kept(info.name, 200..300);
        assert!(
            found as f64 > least,
            "{}: {found} of 100, {least}",
            info.name
        );
    }
}

#[test]
fn limits_out_of_reach_are_told_with_the_best_there_is() {
    let space = small();
    let metrics = costs(&space);
    let archs: Vec<Architecture> = space
        .enumerate(space.default_resolution())
        .unwrap()
        .collect();
    let least = |metric: usize| {
        let all = archs.iter().map(|a| metrics[metric].evaluate(a).unwrap());
        all.fold(f64::INFINITY, f64::min)
    };
    let limited = |limits: &[(usize, Bound, f64)]| {
        let mut problem = Problem::new(&space, &[], &infos(&metrics), &[0]).unwrap();
        for (index, metric) in metrics.iter().enumerate() {
            problem = problem.with_free(index, metric.as_ref()).unwrap();
        }
        for &(metric, bound, value) in limits {
            problem = problem
                .with_limit(Limit {
                    metric,
                    bound,
                    value,
                })
                .unwrap();
        }
        problem.check_feasible(Seed(1))
    };
    assert_eq!(limited(&[(1, Bound::Max, least(1))]), Ok(()));
    let error = limited(&[(1, Bound::Max, least(1) * 0.99)]).unwrap_err();
    let Infeasible::Limit { best, .. } = &error else {
        panic!("{error}");
    };
    assert!((best - least(1)).abs() < 1e-12, "{error}");
    assert!(
        error
            .to_string()
            .contains("no architecture has macs of at most"),
        "{error}"
    );
    // The smallest MACs and the largest parameters do not go together.
    let most = archs.iter().map(|a| metrics[0].evaluate(a).unwrap());
    let most = most.fold(0.0, f64::max);
    let error = limited(&[(1, Bound::Max, least(1)), (0, Bound::Min, most)]).unwrap_err();
    assert!(matches!(error, Infeasible::Together { .. }), "{error}");
}

#[test]
fn what_cannot_be_sought_is_refused() {
    let space = large();
    let metrics = metrics(&space);
    let two = problem(&space, &metrics);
    let error = |name: &str| algorithm(name, &two).err().unwrap().to_string();
    assert!(error("top-k").contains("make limits of the others"));
    assert!(error("simulated-annealing").contains("random, mutation, top-k"));
    let refused = |resolutions: &[u32], objectives: &[usize]| {
        let problem = Problem::new(&space, resolutions, &infos(&metrics), objectives);
        problem.err().unwrap()
    };
    assert!(matches!(refused(&[225], &[0]), ProblemError::Resolution(_)));
    assert_eq!(refused(&[], &[]), ProblemError::NoObjective);
    assert_eq!(
        refused(&[], &[2]),
        ProblemError::NoMetric { index: 2, count: 2 }
    );
    let mut search = begin("random", &two, 1);
    search.ask(&one_after_the_other);
    let told = search.tell(vec![vec![None, None]; 101], &one_after_the_other);
    assert_eq!(
        told,
        Err(TellError::TooMany {
            told: 101,
            asked: 100
        })
    );
}

/// Ranks with limits, by their definition.
#[test]
fn what_keeps_the_limits_comes_before_what_does_not() {
    let score = |costs: [f64; 2], violation: f64| Score {
        costs: costs.to_vec(),
        violation,
    };
    let scores = [
        score([1.0, 1.0], 0.5),
        score([5.0, 5.0], 0.0),
        score([0.0, 0.0], 0.1),
        score([4.0, 6.0], 0.0),
        score([6.0, 6.0], 0.0),
        score([9.0, 9.0], 0.1),
    ];
    let all: Vec<&Score> = scores.iter().collect();
    assert_eq!(constrained_ranks(&all), [3, 0, 2, 0, 1, 2]);
}

#[test]
fn a_network_learns_what_blocks_add() {
    let space = large();
    let encoding = space.encoding();
    let mut rng = Seed(1).rng();
    let weights: Vec<f64> = (0..encoding.len())
        .map(|_| rand::RngExt::random::<f64>(&mut rng))
        .collect();
    let mut examples = |count: usize| -> (Vec<Vec<u32>>, Vec<f64>) {
        let input = |_| {
            let mut ones = Vec::new();
            let arch = space.sample(224, &mut rng).unwrap();
            encoding.each(&arch, |index| ones.push(u32::try_from(index).unwrap()));
            ones
        };
        let inputs: Vec<Vec<u32>> = (0..count).map(input).collect();
        let value = |ones: &Vec<u32>| ones.iter().map(|i| weights[*i as usize]).sum();
        let values = inputs.iter().map(value).collect();
        (inputs, values)
    };
    let train = |inputs: &[Vec<u32>], values: &[f64]| {
        let training = Training::default();
        Mlp::train(encoding.len(), inputs, values, &training, Seed(2))
    };
    let (inputs, values) = examples(500);
    let (unseen, truth) = examples(300);
    let network = train(&inputs, &values);
    let squares = unseen
        .iter()
        .zip(&truth)
        .map(|(x, y)| (network.predict(x) - y).powi(2));
    let explained = 1.0 - squares.sum::<f64>() / 300.0 / stats::variance(&truth);
    // A sum of what blocks add leaves nothing unexplained; the network may leave a tenth, as it has to learn that it is
    // a sum.
    assert!(explained > 0.9, "{explained}");
    let again = train(&inputs, &values).predict(&unseen[0]);
    assert_eq!(again.to_bits(), network.predict(&unseen[0]).to_bits());
    let constant = train(&inputs, &[3.0; 500]);
    assert!((constant.predict(&unseen[0]) - 3.0).abs() < 1e-12);
}
