//! Whether profiles of several resolutions are reduced to what is worth having at any of them: against all
//! architectures where the truth is known, and over many campaigns where it is not.

use crate::reduction::{Kind, RESOLUTION, Truth};
use blocklens_core::profile::Profile;
use blocklens_core::reduce::{Goal, InsightKind, Options, Reduced, Removes, reduce};
use blocklens_core::report::reduction_markdown;
use blocklens_core::space::{Architecture, DesignSpace};

/// Few keep the tests fast; `BLOCKLENS_CAMPAIGNS=200 cargo test --release --test suite resolutions:: --
/// --nocapture` tells more.
fn campaigns() -> u64 {
    let asked = std::env::var("BLOCKLENS_CAMPAIGNS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(20)
}

const LARGE: u32 = 48;

/// A space whose metrics are known at two resolutions: what they are at the larger is moved by so much.
struct Both {
    truths: [Truth; 2],
    moved: [f64; 2],
}

impl Both {
    fn new(seed: u64, moved: [f64; 2]) -> Self {
        let truths = [seed, seed + 10_000].map(|s| Truth::new(Kind::Usual, s));
        Self { truths, moved }
    }

    /// Gain and cost of every architecture, with whether it is kept.
    fn values(&self, kept: impl Fn(&Architecture) -> bool) -> [Vec<([f64; 2], bool)>; 2] {
        [RESOLUTION, LARGE].map(|resolution| {
            let large = usize::from(resolution == LARGE);
            let truth = &self.truths[large];
            let all = truth.space.enumerate(resolution).unwrap();
            let one = |arch: Architecture| {
                let mut values = truth.values(&arch);
                values[0] += self.moved[0] * large as f64;
                values[1] += self.moved[1] * large as f64;
                (values, kept(&arch))
            };
            all.map(one).collect()
        })
    }

    fn at(&self, profile: Profile, large: bool) -> Profile {
        let mut profile = profile;
        if large {
            profile.resolution = LARGE;
            for (metric, moved) in profile.metrics.iter_mut().zip(self.moved) {
                metric.mean.value += moved;
            }
        }
        profile
    }

    fn exact(&self) -> [Profile; 2] {
        [0, 1].map(|i| self.at(self.truths[i].exact(), i == 1))
    }

    fn campaign(&self, networks: [u64; 2], noise: [f64; 2], campaign: u64) -> [Profile; 2] {
        let of = |i: usize| self.truths[i].campaign(networks[i], noise[i], 2 * campaign + i as u64);
        [0, 1].map(|i| self.at(of(i), i == 1))
    }

    fn reduced(&self, profiles: &[Profile; 2], options: &Options) -> Reduced {
        let [small, large] = profiles;
        // In any order.
        let named = [("large".to_owned(), large), ("small".to_owned(), small)];
        reduce(&self.truths[0].space, &named, &[], options).unwrap()
    }

    /// The share of the area below the best trade-offs that is truly lost: below the highest of the hulls, in thin
    /// slices.
    fn true_loss(&self, reduced: &Reduced) -> f64 {
        let all = self.values(|a| reduced.kept.allows(a));
        let points = || all.iter().flatten().map(|(v, _)| *v);
        let cheapest = points()
            .reduce(|a, b| if b[1] < a[1] { b } else { a })
            .unwrap();
        let best = points()
            .reduce(|a, b| if b[0] > a[0] { b } else { a })
            .unwrap();
        let hulls: Vec<Vec<[f64; 2]>> = all
            .iter()
            .map(|one| hull(&one.iter().map(|(v, _)| *v).collect::<Vec<_>>()))
            .collect();
        let left: Vec<Vec<[f64; 2]>> = all
            .iter()
            .map(|one| {
                let left = one.iter().filter(|(_, k)| *k).map(|(v, _)| *v);
                hull(&left.collect::<Vec<_>>())
            })
            .collect();
        let slices = 4_000;
        let width = (best[1] - cheapest[1]) / f64::from(slices);
        let area = |hulls: &[Vec<[f64; 2]>]| {
            let height = |x: f64| {
                let heights = hulls.iter().filter_map(|h| height(h, x));
                heights.fold(cheapest[0], f64::max) - cheapest[0]
            };
            let middles = (0..slices).map(|i| cheapest[1] + (f64::from(i) + 0.5) * width);
            middles.map(|x| height(x) * width).sum::<f64>()
        };
        1.0 - area(&left) / area(&hulls)
    }
}

/// The upper left corners, by gift wrapping: from the cheapest point always the steepest rise.
fn hull(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let better = |a: &&[f64; 2], b: &&[f64; 2]| a[1].total_cmp(&b[1]).then(b[0].total_cmp(&a[0]));
    let mut corners: Vec<[f64; 2]> = points.iter().min_by(better).copied().into_iter().collect();
    while let Some(last) = corners.last().copied() {
        let rising = points.iter().filter(|p| p[0] > last[0] && p[1] > last[1]);
        let rate = |p: &&[f64; 2]| (p[0] - last[0]) / (p[1] - last[1]);
        match rising.max_by(|a, b| rate(a).total_cmp(&rate(b))) {
            Some(next) => corners.push(*next),
            None => break,
        }
    }
    corners
}

fn height(hull: &[[f64; 2]], x: f64) -> Option<f64> {
    let right = hull.iter().position(|p| p[1] > x);
    match right {
        Some(0) => None,
        None => hull.last().map(|p| p[0]),
        Some(i) => {
            let (a, b) = (hull[i - 1], hull[i]);
            Some(a[0] + (b[0] - a[0]) * (x - a[1]) / (b[1] - a[1]))
        }
    }
}

fn gone(reduced: &Reduced) -> Vec<u32> {
    let of = |removes: &Removes| match removes {
        Removes::Resolution { resolution } => Some(*resolution),
        _ => None,
    };
    let insights = reduced.reduction.insights.iter();
    insights.filter_map(|i| of(&i.removes)).collect()
}

/// The written file reads back to the space, with the resolutions that are left and what is kept at each.
fn check_space(space: &DesignSpace, found: &Reduced) {
    let again = DesignSpace::read("again.toml", found.space.source(), None).unwrap();
    assert_eq!(again, found.space);
    assert_eq!(again.resolutions(), found.reduction.resolutions_left);
    let left = [RESOLUTION, LARGE]
        .into_iter()
        .filter(|r| !gone(found).contains(r));
    assert!(left.eq(again.resolutions().iter().copied()));
    for resolution in again.resolutions() {
        let all = space.enumerate(*resolution).unwrap();
        let kept = all.filter(|a| found.kept.allows(a)).count();
        assert_eq!(again.count_per_resolution().to_string(), kept.to_string());
    }
}

#[test]
fn on_exact_effects_the_loss_is_that_of_all_architectures() {
    let (mut one, mut two, mut smaller) = (0, 0, 0);
    for seed in 0..12 {
        let moved = [[0.2, 1.0], [0.5, 3.0], [-1.0, 1.0]][seed as usize % 3];
        let both = Both::new(seed, moved);
        let profiles = both.exact();
        for allowance in [0.005, 0.05] {
            let options = Options {
                allowance,
                ..Options::default()
            };
            let found = both.reduced(&profiles, &options);
            let predicted = found.reduction.predicted_loss.unwrap();
            let lost = both.true_loss(&found);
            assert!((predicted.loss - lost).abs() < 2e-3, "{predicted:?} {lost}");
            assert!(predicted.upper <= allowance + 1e-9 && lost <= allowance + 2e-3);
            match found.reduction.resolutions_left.len() {
                1 => one += 1,
                _ => two += 1,
            }
            let count = |space: &DesignSpace| space.count_per_resolution();
            let space = &both.truths[0].space;
            smaller += u32::from(count(&found.space) * 2u32 < count(space));
            check_space(space, &found);
        }
    }
    println!("{one} with one resolution left, {two} with two; {smaller} less than half");
    assert!(
        one >= 3 && two >= 3 && smaller >= 6,
        "{one} {two} {smaller}"
    );
}

/// A resolution at which everything is worse goes, and then the reduction is that of the other alone.
#[test]
fn what_is_worse_throughout_goes() {
    let both = Both::new(4, [-50.0, 50.0]);
    let profiles = both.exact();
    for goal in [Goal::Pareto, Goal::MaxAccuracy, Goal::MaxLatency(13.0)] {
        let options = Options {
            goal,
            ..Options::default()
        };
        let found = both.reduced(&profiles, &options);
        assert_eq!(gone(&found), [LARGE], "{goal}");
        let insight = &found.reduction.insights[0];
        assert!(
            insight.text.starts_with("At 48 pixels, "),
            "{}",
            insight.text
        );
        let kind = match goal {
            Goal::Pareto => InsightKind::BeatenElsewhere,
            Goal::MaxAccuracy => InsightKind::Dominated,
            Goal::MaxLatency(_) => InsightKind::BeyondLimit,
        };
        assert_eq!(insight.kind, kind);
        assert_eq!(insight.evidence.len(), found.reduction.metrics.len() / 2);
        let text = reduction_markdown(&found.reduction);
        assert!(text.contains("32 and 48 pixels. With"), "{text}");
        assert!(
            text.contains("of 32 and 48 pixels there are left 32 pixels."),
            "{text}"
        );
        if goal == Goal::Pareto {
            let alone = [("small".to_owned(), &profiles[0])];
            let alone = reduce(&both.truths[0].space, &alone, &[], &options).unwrap();
            assert_eq!(found.space.units(), alone.space.units());
        }
    }
}

/// Each resolution has trade-offs of its own: both stay, and a block goes only where it goes at both.
#[test]
fn what_any_resolution_needs_stays() {
    let options = Options {
        allowance: 0.0,
        ..Options::default()
    };
    let mut fewer = 0;
    for seed in 0..12 {
        let both = Both::new(seed, [2.0, 6.0]);
        let profiles = both.exact();
        let found = both.reduced(&profiles, &options);
        assert!(gone(&found).is_empty());
        let claims = found.reduction.insights.iter();
        for insight in claims.filter(|i| i.unit.is_some()) {
            assert_eq!(insight.evidence.len(), 4);
            assert!(
                insight.text.contains("at 32 pixels accuracy"),
                "{}",
                insight.text
            );
            // Not worse in any metric at any resolution.
            let metrics = found.reduction.metrics.iter();
            for (evidence, metric) in insight.evidence.iter().zip(metrics) {
                assert_eq!(evidence.resolution, metric.resolution);
                let sign = if evidence.metric == "accuracy" {
                    1.0
                } else {
                    -1.0
                };
                let gain = sign * evidence.difference.value;
                assert!(gain > -metric.allowed_loss, "{}", insight.text);
            }
        }
        let alone = |i: usize| {
            let one = [("one".to_owned(), &profiles[i])];
            reduce(&both.truths[0].space, &one, &[], &options).unwrap()
        };
        for alone in [alone(0), alone(1)] {
            let count = |r: &Reduced| r.space.count_per_resolution();
            assert!(count(&found) >= count(&alone));
            fewer += u32::from(count(&found) > count(&alone));
        }
    }
    assert!(fewer > 6, "{fewer}");
}

/// A profile that is sure and one that is not: the uncertain one, which looks better than it is, takes no other's
/// place.
#[test]
fn resolutions_seldom_go_that_are_needed() {
    let (few, many) = ((30, 0.5), (80, 0.05));
    for (small, large) in [(many, few), (few, many), (many, many)] {
        let (mut lost, mut went, mut wrong_best, mut best_went) = (0, 0, 0, 0);
        for campaign in 0..campaigns() {
            // Nearly as good at nearly the same cost: easily mistaken.
            let both = Both::new(1_000 + campaign, [0.1, 0.1]);
            let profiles = both.campaign([small.0, large.0], [small.1, large.1], campaign);
            let found = both.reduced(&profiles, &Options::default());
            went += u64::from(!gone(&found).is_empty());
            lost += u64::from(both.true_loss(&found) > 0.01);
            let alone = Options {
                goal: Goal::MaxAccuracy,
                ..Options::default()
            };
            let found = both.reduced(&profiles, &alone);
            best_went += u64::from(!gone(&found).is_empty());
            // At the resolutions that are left, whatever else went.
            let best = both.values(|_| true).map(|all| {
                let gains = all.iter().map(|(v, _)| v[0]);
                gains.fold(f64::NEG_INFINITY, f64::max)
            });
            let better = if best[1] > best[0] { LARGE } else { RESOLUTION };
            wrong_best += u64::from(gone(&found).contains(&better));
        }
        let n = campaigns();
        println!(
            "{small:?} {large:?}: of {n} campaigns {went} took a resolution away, {lost} lost more than allowed; for \
             accuracy alone {best_went}, {wrong_best} the better one"
        );
        // The level is halved; three errors of the count above it.
        let mean = 0.025 * n as f64;
        let most = mean + 3.0 * mean.sqrt() + 1.0;
        assert!(
            (lost as f64) <= most,
            "{lost} of {n} lose more than allowed"
        );
        assert!((wrong_best as f64) <= most, "{wrong_best} of {n}");
    }
}
