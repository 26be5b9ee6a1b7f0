//! A comparison of two profiles as a page in the style of the reports.

use maud::{Markup, html};

use super::super::comparison::{
    Row, condition_lines, correlation_text, described, doubt_lines, heading_of, lines, promise,
    sure,
};
use super::super::format::{count, plain, signed};
use super::super::view::{effect_unit, in_words};
use super::plot::{Axis, Frame, px};
use super::quality::prose;
use super::{absent, page, scrolling, section};
use crate::compare::{Change, ChangeOf, Comparison, MetricComparison};

/// Changes listed of every metric; JSON has all.
const LISTED: usize = 60;

/// The comparison as a self-contained HTML page.
#[must_use]
pub fn comparison_html(comparison: &Comparison) -> String {
    let title = "What differs between two block profiles";
    let body = html! {
        header {
            h1 { (title) }
            dl.facts {
                dt { "A" } dd { (described(&comparison.a)) }
                dt { "B" } dd { (described(&comparison.b)) }
            }
            p.lead { (promise(comparison.control)) }
            @for notices
                in [condition_lines(comparison).collect::<Vec<_>>(), doubt_lines(comparison).collect()] {
                @if !notices.is_empty() { div.notice { ul { @for line in notices { li { (prose(&line)) } } } } }
            }
            @if comparison.common {
                div.notice {
                    p { "Only what both offer is compared; effects are relative to the mean over that." }
                }
            }
        }
        main { @for metric in &comparison.metrics { (metric_section(metric)) } }
        footer { p { "Made by " (comparison.generated_by) "." } }
    };
    page(title, &comparison.generated_by, &body)
}

fn metric_section(metric: &MetricComparison) -> Markup {
    let heading = heading_of(metric);
    let id: String = heading
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let body = html! {
        (tiles(metric))
        ul { @for line in lines(metric) { li { (line) } } }
        (table(metric))
        (scatter(metric))
    };
    section(&id, &heading, &body)
}

fn tiles(metric: &MetricComparison) -> Markup {
    let sure = |of: fn(&Change) -> bool| count(metric.changes.iter().filter(|c| of(c)).count());
    let tile = |name: &str, value: String, note: String| {
        html! { div { dt { (name) } dd { (value) small { (note) } } } }
    };
    let all = count(metric.changes.len());
    html! {
        dl.tiles {
            (tile("B over A", plain(metric.ratio.value, 3), "means over the space".into()))
            (tile("Likeness of block effects", correlation_text(metric), "correlation without noise".into()))
            (tile("Other preferences", sure(|c| c.relative.sure), format!("of {all} effects, relative to the mean")))
            (tile("Other effects", sure(|c| c.absolute.sure), format!("of {all}, in {}", in_words(&metric.a.unit))))
        }
    }
}

fn table(metric: &MetricComparison) -> Markup {
    let sure = sure(metric);
    if sure.is_empty() {
        return absent(
            "No difference survives the correction for the number of comparisons. That does not say that there is \
             none: more networks \
             would narrow the intervals.",
        );
    }
    let unit = effect_unit(&metric.a.unit);
    let caption = "Differences that are claimed";
    let table = html! {
        table.list {
            caption { (caption) @if sure.len() > LISTED { ", the surest " (LISTED) " of " (count(sure.len())) } }
            thead { tr {
                th scope="col" { "where" }
                th.n scope="col" { "A (" (unit) ")" }
                th.n scope="col" { "B (" (unit) ")" }
                th.n scope="col" { "B \u{2212} A (" (unit) ")" }
                th.n scope="col" { "B \u{2212} A (% of mean)" }
            } }
            tbody { @for change in sure.iter().take(LISTED) { (row(metric, change)) } }
        }
    };
    scrolling(caption, &table)
}

fn row(metric: &MetricComparison, change: &Change) -> Markup {
    let row = Row::new(metric, change);
    let cell =
        |text: &str, sure: bool| html! { td.n { @if sure { b { (text) } } @else { (text) } } };
    html! {
        tr {
            th scope="row" { (row.place) }
            td.n { (row.effects[0]) }
            td.n { (row.effects[1]) }
            (cell(&row.absolute, change.absolute.sure))
            (cell(&row.relative, change.relative.sure))
        }
    }
}

/// Block effects of B against those of A, both in per cent of their means: a device that is merely faster puts all
/// points on the diagonal.
fn scatter(metric: &MetricComparison) -> Markup {
    let points: Vec<(&Change, f64, f64)> = metric
        .changes
        .iter()
        .filter(|c| c.subject.of == ChangeOf::Block)
        .map(|c| {
            let part = |i: usize| 100.0 * c.effects[i].value / metric.means[i].value;
            (c, part(0), part(1))
        })
        .filter(|(_, x, y)| x.is_finite() && y.is_finite())
        .collect();
    if points.is_empty() {
        return html! {};
    }
    let frame = Frame {
        width: 720.0,
        height: 560.0,
        x: Axis::covering(points.iter().map(|p| p.1)),
        y: Axis::covering(points.iter().map(|p| p.2)),
    };
    let least =
        |of: fn(&(&Change, f64, f64)) -> f64| points.iter().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(&Change, f64, f64)) -> f64| {
        points.iter().map(of).fold(f64::NEG_INFINITY, f64::max)
    };
    let ends = [
        least(|p| p.1).max(least(|p| p.2)),
        most(|p| p.1).min(most(|p| p.2)),
    ];
    let title = "Block effects of B against those of A, in per cent of their means";
    let plot = html! {
        svg viewBox=(frame.view_box()) role="img" aria-label=(title) {
            (frame.axes("effect in A (% of mean)", "effect in B (% of mean)"))
            @if ends[0] < ends[1] {
                line.zero x1=(px(frame.x(ends[0]))) y1=(px(frame.y(ends[0]))) x2=(px(frame.x(ends[1])))
                    y2=(px(frame.y(ends[1]))) {}
            }
            @for (change, x, y) in &points {
                circle class=(if change.relative.sure { "m sure u2" } else { "m u1" }) cx=(px(frame.x(*x)))
                    cy=(px(frame.y(*y))) r="4" {
                    title { (change.subject) ": " (signed(*x, 2)) " % in A, " (signed(*y, 2)) " % in B" }
                }
            }
        }
    };
    html! {
        figure {
            ul.key {
                li { svg viewBox="0 0 12 12" aria-hidden="true" { circle class="m sure u2" cx="6" cy="6" r="4" {} }
                    "differs surely" }
                li { svg viewBox="0 0 12 12" aria-hidden="true" { circle class="m u1" cx="6" cy="6" r="4" {} }
                    "cannot be told apart" }
            }
            (scrolling(title, &plot))
            figcaption { (title) ". Equal preferences lie on the line." }
        }
    }
}
