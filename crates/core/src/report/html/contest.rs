//! A contest of searches as a page in the style of the reports.

use maud::{Markup, html};

use super::super::format::{count, plain, signed};
use super::plot::{Axis, Frame, colour, px};
use super::{absent, page, scrolling, section};
use crate::metric::{Direction, MetricInfo};
use crate::search::contest::{ArmResult, Contest, Member, Test};
use crate::stats::groups::magnitude;

/// Architectures of a front that are listed; files have all.
const LISTED: usize = 40;
/// Tests that are listed, the surest first; JSON has all.
const TESTS: usize = 80;
/// Adjusted p values below which a difference is claimed.
const ALPHA: f64 = 0.05;

/// The contest as a self-contained HTML page: standings, tests, attainment surfaces, and the architectures to choose
/// from.
#[must_use]
pub fn contest_html(contest: &Contest, space: &str, command: &str, made_by: &str) -> String {
    let title = "Searches compared";
    let body = html! {
        header {
            h1 { (title) }
            dl.facts {
                dt { "space" } dd { (space) }
                dt { "improved" } dd { (improved(contest)) }
                dt { "reference point" } dd { (reference(contest)) }
                dt { "runs of each" } dd { (runs(contest)) }
                dt { "command" } dd { code { (command) } }
            }
            p.lead {
                "Budgets count unique architectures evaluated. A hypervolume is what a front dominates within \
                 the reference point: larger is better. \
                 An epsilon is by how much of its range a front would have to improve everywhere to reach the \
                 best known one: smaller is better."
            }
        }
        main {
            (section("standings", "What each reached", &standings(contest)))
            (section("tests", "Which differences are sure", &tests(contest)))
            (section("surfaces", "Fronts", &surfaces(contest)))
            (section("best", "Architectures to choose from", &chosen(contest)))
        }
        footer { p { "Made by " (made_by) "." } }
    };
    page(title, made_by, &body)
}

fn improved(contest: &Contest) -> String {
    let word = |m: &MetricInfo| match m.direction {
        Direction::LowerIsBetter => "lower is better",
        Direction::HigherIsBetter => "higher is better",
    };
    let name = |m: &MetricInfo| match m.unit.as_str() {
        "" => format!("{} ({})", m.name, word(m)),
        unit => format!("{} ({unit}, {})", m.name, word(m)),
    };
    let names: Vec<String> = contest.objectives.iter().map(name).collect();
    names.join(", ")
}

fn reference(contest: &Contest) -> String {
    let pairs = contest.objectives.iter().zip(&contest.reference);
    let values: Vec<String> = pairs
        .map(|(m, value)| format!("{} {} {}", m.name, significant(*value), m.unit))
        .collect();
    values.join(", ")
}

/// Four digits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn significant(value: f64) -> String {
    let power = value.abs().max(1e-6).log10().floor();
    plain(value, (3.0 - power).clamp(0.0, 6.0) as usize)
}

fn runs(contest: &Contest) -> String {
    let counts: Vec<usize> = contest.arms.iter().map(|arm| arm.seeds.len()).collect();
    let least = counts.iter().min().copied().unwrap_or_default();
    count(least)
}

fn standings(contest: &Contest) -> Markup {
    html! {
        p { "The best known front has a hypervolume of " (significant(contest.best_hypervolume))
            "; shares of it are in per cent." }
        @for (at, budget) in contest.budgets.iter().enumerate().rev() {
            (standings_at(contest, at, *budget))
        }
    }
}

fn standings_at(contest: &Contest, at: usize, budget: u64) -> Markup {
    let mut arms: Vec<&ArmResult> = contest.arms.iter().collect();
    arms.sort_by(|a, b| {
        let mean = |arm: &ArmResult| arm.standings[at].hypervolume.mean;
        mean(b).total_cmp(&mean(a))
    });
    let caption = format!("After {budget} architectures");
    let table = html! {
        table.list {
            caption { b { (caption) } ", best first" }
            thead { tr {
                th scope="col" { "algorithm" }
                th scope="col" { "space" }
                th.n scope="col" { "mean" }
                th.n scope="col" { "sd" }
                th.n scope="col" { "least" }
                th.n scope="col" { "median" }
                th.n scope="col" { "most" }
                th.n scope="col" { "% of best" }
                th.n scope="col" { "epsilon, median" }
            } }
            tbody { @for arm in arms { (standing(contest, arm, at)) } }
        }
    };
    scrolling(&caption, &table)
}

fn standing(contest: &Contest, arm: &ArmResult, at: usize) -> Markup {
    let standing = &arm.standings[at];
    let spread = &standing.hypervolume;
    let share = 100.0 * spread.mean / contest.best_hypervolume;
    html! {
        tr {
            th scope="row" { (arm.arm.algorithm) }
            td { (arm.arm.arena) }
            @for value in [spread.mean, spread.sd, spread.least, spread.median, spread.most] {
                td.n { (significant(value)) }
            }
            td.n { (plain(share, 1)) }
            td.n { @if let Some(epsilon) = &standing.epsilon { (plain(epsilon.median, 3)) } @else { "none" } }
        }
    }
}

fn tests(contest: &Contest) -> Markup {
    let mut tests: Vec<&Test> = contest
        .tests
        .iter()
        .filter(|t| t.adjusted_p < ALPHA)
        .collect();
    if tests.is_empty() {
        return absent(
            "No difference between two arms survives the correction for the number of tests. That does not say that \
             there is none: more seeds would tell.",
        );
    }
    let (sure, all) = (tests.len(), contest.tests.len());
    tests.sort_by(|a, b| {
        let effect = |t: &Test| t.effect.delta.abs();
        a.adjusted_p
            .total_cmp(&b.adjusted_p)
            .then(effect(b).total_cmp(&effect(a)))
    });
    let caption = "Differences that are claimed";
    let table = html! {
        table.list {
            caption { (caption) @if sure > TESTS { ", the surest " (TESTS) " of " (count(sure)) } }
            thead { tr {
                th.n scope="col" { "budget" }
                th scope="col" { "one" }
                th scope="col" { "the other" }
                th.n scope="col" { "difference" }
                th.n scope="col" { "p" }
                th.n scope="col" { "p, corrected" }
                th.n scope="col" { "larger in" }
                th scope="col" { "effect" }
            } }
            tbody { @for test in tests.iter().take(TESTS) { (test_row(test)) } }
        }
    };
    html! {
        p {
            (count(sure)) " of " (count(all)) " differences between the hypervolumes of two arms survive Holm's \
                correction for all of them (Mann and Whitney's test, two-sided). \
             \u{201c}Larger in\u{201d} is the share of pairs of runs in which the first has the larger hypervolume."
        }
        (scrolling(caption, &table))
    }
}

fn test_row(test: &Test) -> Markup {
    let arm = |arm: &crate::search::contest::Arm| format!("{}, {}", arm.algorithm, arm.arena);
    html! {
        tr {
            td.n { (test.budget) }
            th scope="row" { (arm(&test.first)) }
            th scope="row" { (arm(&test.second)) }
            td.n { (signed(test.difference, 3)) }
            td.n { (probability(test.p)) }
            td.n { (probability(test.adjusted_p)) }
            td.n { (plain(100.0 * test.effect.a12, 0)) " %" }
            td { (magnitude(test.effect.a12)) }
        }
    }
}

fn probability(p: f64) -> String {
    if p < 1e-4 {
        return "< 0.0001".into();
    }
    plain(p, 4)
}

/// Median attainment surfaces with the middle half of the runs, at the largest budget.
fn surfaces(contest: &Contest) -> Markup {
    let [x, y] = contest.objectives.as_slice() else {
        return absent("Surfaces are drawn for two objectives.");
    };
    let last = |arm: &ArmResult| arm.standings.last().and_then(|s| s.attainment.clone());
    let surfaces: Vec<_> = contest
        .arms
        .iter()
        .filter_map(|a| Some((a, last(a)?)))
        .collect();
    // Corners within the reference point: what is beyond it was not judged.
    let inside = |corner: &[f64; 2]| {
        let sides = contest
            .objectives
            .iter()
            .zip(corner)
            .zip(&contest.reference);
        sides
            .into_iter()
            .all(|((m, value), reference)| match m.direction {
                Direction::LowerIsBetter => value <= reference,
                Direction::HigherIsBetter => value >= reference,
            })
    };
    let best = contest
        .best_front
        .iter()
        .map(|m| [m.values[0], m.values[1]]);
    let best: Vec<[f64; 2]> = best.filter(inside).collect();
    let corners = surfaces.iter().flat_map(|(_, s)| s.median.iter().copied());
    let shown: Vec<[f64; 2]> = corners.filter(inside).chain(best.iter().copied()).collect();
    if shown.is_empty() {
        return absent("No front reaches beyond the reference point.");
    }
    let frame = Frame {
        width: 860.0,
        height: 560.0,
        x: Axis::covering(shown.iter().map(|c| c[1])),
        y: Axis::covering(shown.iter().map(|c| c[0])),
    };
    let title = format!(
        "Attained by half of the runs after {} architectures",
        contest.budgets.last().copied().unwrap_or_default()
    );
    let plot = html! {
        svg viewBox=(frame.view_box()) role="img" aria-label=(title) {
            (frame.axes(&axis_name(y), &axis_name(x)))
            @for (kind, (_, surface)) in surfaces.iter().enumerate() {
                path class={ "band " (colour(kind)) }
                    d=(band(&frame, &surface.best_quarter, &surface.three_quarters, &inside)) {}
                path class={ "edge " (colour(kind)) } d=(line(&frame, &surface.median, &inside)) {}
            }
            @for corner in &best { circle.dot cx=(px(frame.x(corner[1]))) cy=(px(frame.y(corner[0]))) r="1.6" {} }
        }
    };
    html! {
        figure {
            ul.key {
                @for (kind, (arm, _)) in surfaces.iter().enumerate() {
                    li {
                        svg viewBox="0 0 12 12" aria-hidden="true" {
                            circle class={ "m sure " (colour(kind)) } cx="6" cy="6" r="4" {}
                        }
                        (arm.arm.algorithm) ", " (arm.arm.arena)
                    }
                }
                li { svg viewBox="0 0 12 12" aria-hidden="true" { circle.dot cx="6" cy="6" r="2" {} } "best known" }
            }
            (scrolling(&title, &plot))
            figcaption { (title) "; the bands hold the middle half of the runs." }
        }
    }
}

fn axis_name(metric: &MetricInfo) -> String {
    match metric.unit.as_str() {
        "" => metric.name.clone(),
        unit => format!("{} ({unit})", metric.name),
    }
}

/// A surface as a line from corner to corner.
fn line(frame: &Frame, corners: &[[f64; 2]], inside: &dyn Fn(&[f64; 2]) -> bool) -> String {
    let places = corners.iter().filter(|c| inside(c));
    let places = places.map(|c| format!("{} {}", px(frame.x(c[1])), px(frame.y(c[0]))));
    let text: Vec<String> = places.collect();
    if text.is_empty() {
        return String::new();
    }
    format!("M{}", text.join("L"))
}

/// The area between two surfaces.
fn band(
    frame: &Frame,
    one: &[[f64; 2]],
    other: &[[f64; 2]],
    inside: &dyn Fn(&[f64; 2]) -> bool,
) -> String {
    let back: Vec<[f64; 2]> = other.iter().rev().copied().collect();
    let (there, back) = (line(frame, one, inside), line(frame, &back, inside));
    if there.is_empty() || back.is_empty() {
        return String::new();
    }
    format!("{there}L{}z", &back[1..])
}

fn chosen(contest: &Contest) -> Markup {
    html! {
        p { "The best known front, from all runs. " code { "blocklens arch export ARCH --output network.onnx" } " (or "
            code { ".tflite" } ", or " code { ".json" }
            " for net.config) makes a file of an architecture; comparison.json has all, and the front of each arm's "
            "median run." }
        (members(contest, &contest.best_front))
    }
}

/// Some architectures with their values; of many, evenly.
fn members(contest: &Contest, members: &[Member]) -> Markup {
    let shown = members.len().min(LISTED);
    let place = |i: usize| &members[i * (members.len() - 1) / (shown - 1).max(1)];
    let caption = "Architectures of the best known front";
    let table = html! {
        table.list {
            caption { (caption) @if shown < members.len() { ", " (shown) " of " (count(members.len())) } }
            thead { tr {
                @for metric in &contest.objectives { th.n scope="col" { (axis_name(metric)) } }
                th scope="col" { "architecture" }
            } }
            tbody {
                @for i in 0..shown {
                    tr {
                        @for value in &place(i).values { td.n { (significant(*value)) } }
                        td { code { (place(i).arch) } }
                    }
                }
            }
        }
    };
    scrolling(caption, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Origin;
    use crate::search::contest::{Arena, Arm, Contender, RunOf, Snapshot};

    fn metric(name: &str, direction: Direction) -> MetricInfo {
        MetricInfo {
            name: name.into(),
            unit: "u<nit".into(),
            direction,
            origin: Origin::Counted,
            about: String::new(),
        }
    }

    fn contender(algorithm: &str, quality: f64) -> Contender {
        let run = |seed: u64| RunOf {
            seed,
            snapshots: vec![Snapshot {
                budget: 100,
                evaluated: 100,
                failures: 0,
                front: (0..5)
                    .map(|i| Member {
                        arch: format!("r224/{algorithm}{seed}{i}"),
                        values: vec![quality + f64::from(i) + seed as f64 / 100.0, f64::from(i)],
                    })
                    .collect(),
            }],
        };
        Contender {
            arm: Arm {
                algorithm: algorithm.into(),
                arena: Arena::Full,
            },
            runs: (1..=6).map(run).collect(),
        }
    }

    #[test]
    fn a_page_tells_what_is_sure_and_names_the_architectures() {
        let objectives = [
            metric("good", Direction::HigherIsBetter),
            metric("bad", Direction::LowerIsBetter),
        ];
        let contenders = [contender("one", 5.0), contender("two", 3.0)];
        let contest = Contest::new(&objectives, Some(&[0.0, 6.0]), &[100], &contenders).unwrap();
        let page = contest_html(&contest, "ofa<3", "blocklens compare", "blocklens 0");
        assert!(page.contains("1 of 1 differences"), "{page}");
        assert!(page.contains("<td class=\"n\">100 %</td>"), "{page}");
        assert!(page.contains("r224/one64"));
        assert!(page.contains("ofa&lt;3") && page.contains("u&lt;nit"));
        assert!(
            page.contains("class=\"band u2\"") && !page.contains("d=\"\""),
            "{page}"
        );
        // Of two arms that are alike nothing is claimed.
        let contenders = [contender("one", 5.0), contender("two", 5.0)];
        let contest = Contest::new(&objectives, None, &[100], &contenders).unwrap();
        let page = contest_html(&contest, "s", "c", "b");
        assert!(page.contains("No difference between two arms survives"));
    }
}
