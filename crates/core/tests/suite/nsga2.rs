//! NSGA-II finds on a small problem what pymoo's finds (`golden/nsga2.py`).

use std::fmt::Write as _;

use blocklens_core::metric::{Direction, MetricInfo, Origin};
use blocklens_core::search::front::Points;
use blocklens_core::search::{Nsga2, Problem, Search, one_after_the_other};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::stats::{mean, variance};
use serde::Deserialize;

const PLACES: u64 = 8;

#[derive(Deserialize)]
struct Golden {
    reference: Vec<f64>,
    hypervolume: f64,
    front: usize,
    shares: Shares,
}

#[derive(Deserialize)]
struct Shares {
    #[serde(rename = "400")]
    after_400: Vec<f64>,
    #[serde(rename = "1000")]
    after_1000: Vec<f64>,
}

/// Eight places with one of four blocks.
fn chain() -> DesignSpace {
    let mut text = String::from(
        "format = 2\nname = \"chain\"\nresolutions = [32]\nstem = [\"conv_k3_nsw_s2_c16\"]\nhead = \
         [\"pool\", \"classifier\"]\n",
    );
    for _ in 0..PLACES {
        let _ = write!(
            text,
            "[[unit]]\nchannels = 16\ndepth = 1\nactivation = \"silu\"\nblocks = [\"mbconv_e{{1,2,3,4}}_k3\"]\n"
        );
    }
    DesignSpace::from_toml("chain.toml", &text, None).unwrap()
}

fn costs(arch: &Architecture) -> Vec<f64> {
    let blocks: Vec<u64> = arch.units().map(|u| u64::from(u.blocks[0])).collect();
    let single =
        |f: u64, p: u64, b: u64| (37 * (f + 1) * (p + 3) * (b * b + 2) + 11 * b * (f + 2)) % 101;
    let pair = |f: u64, p: u64, a: u64, b: u64| {
        (53 * (f + 2) * (p + 1) * (a + 1) + 29 * (b + 1) * (b + f)) % 41
    };
    let sum = |f: u64| {
        let singles = (0..).zip(&blocks).map(|(p, b)| single(f, p, *b));
        let pairs = (0..)
            .zip(blocks.windows(2))
            .map(|(p, two)| pair(f, p, two[0], two[1]));
        (singles.sum::<u64>() + pairs.sum::<u64>()) as f64
    };
    vec![sum(0), sum(1)]
}

fn infos() -> Vec<MetricInfo> {
    let info = |name: &str| MetricInfo {
        name: name.into(),
        unit: "1".into(),
        direction: Direction::LowerIsBetter,
        origin: Origin::Simulated,
        about: "A sum.".into(),
    };
    vec![info("first"), info("second")]
}

fn volume<'a>(archs: impl Iterator<Item = &'a Architecture>, reference: &[f64]) -> (f64, usize) {
    let mut points = Points::new(&[Direction::LowerIsBetter; 2]);
    for arch in archs {
        points.push(&costs(arch)).unwrap();
    }
    (points.hypervolume(reference).unwrap(), points.front().len())
}

#[test]
fn it_reaches_what_pymoo_reaches() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/nsga2.json")).unwrap();
    let space = chain();
    let problem = Problem::new(&space, &[], &infos(), &[0, 1]).unwrap();
    let everything: Vec<Architecture> = problem.enumerate().collect();
    let (best, front) = volume(everything.iter(), &golden.reference);
    assert_eq!(everything.len(), 65_536);
    assert_eq!((best, front), (golden.hypervolume, golden.front));

    let (mut after_400, mut after_1000) = (Vec::new(), Vec::new());
    for seed in 0..20 {
        let algorithm = Box::new(Nsga2::new(40, 0.9, 0.9));
        let mut search = Search::new(&problem, algorithm, Seed(seed));
        while search.history().len() < 1_000 {
            let asked = search.ask(&one_after_the_other).iter();
            let told = asked.map(|arch| costs(arch).into_iter().map(Some).collect());
            let told = told.collect();
            search.tell(told, &one_after_the_other).unwrap();
        }
        let share = |n: usize| {
            let archs = search.history().entries()[..n].iter().map(|e| &e.arch);
            volume(archs, &golden.reference).0 / best
        };
        after_400.push(share(400));
        after_1000.push(share(1_000));
    }
    for (ours, theirs) in [
        (after_400, golden.shares.after_400),
        (after_1000, golden.shares.after_1000),
    ] {
        // Known architectures are not evaluated again here, so that it may be a little better, and must not be worse.
        let difference = mean(&ours) - mean(&theirs);
        let error = ((variance(&ours) + variance(&theirs)) / 20.0).sqrt();
        assert!(
            difference > -2.0 * error,
            "{difference} +- {error}: {ours:?} {theirs:?}"
        );
        assert!(difference < 0.03, "{difference}: {ours:?} {theirs:?}");
    }
}
