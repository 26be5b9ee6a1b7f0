//! Every block's effect on one metric against its effect on another: what it costs and what it buys.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::arrange::{Trade, trades};
use super::super::format;
use super::super::view::{View, trade_pair};
use super::plot::{Axis, Frame, colour, marker, px};
use super::{Page, absent, scrolling};
use crate::metric::Direction;
use crate::profile::BlockEffect;

/// Rows in the tables of best and worst trades.
const LISTED: usize = 6;

pub(super) fn render(page: &Page<'_>) -> Markup {
    let Some((x, y)) = trade_pair(&page.views) else {
        return absent(
            "A trade needs two metrics of which one is better when lower; this profile does not have them.",
        );
    };
    let trades = trades(x, y);
    if trades.is_empty() {
        return absent("No block has an effect on both metrics, so there is nothing to compare.");
    }
    html! {
        p.lead {
            "Each point is a block at a place. Filled: at least one of its two effects differs from zero after \
             correction, \
             drawn with both 95\u{a0}% intervals; hollow: neither does. Hover for names and figures."
        }
        (figure(x, y, &trades))
        (best_and_worst(x, y, &trades))
    }
}

fn figure(x: &View<'_>, y: &View<'_>, trades: &[Trade<'_>]) -> Markup {
    let frame = Frame {
        width: 960.0,
        height: 520.0,
        x: Axis::covering(trades.iter().flat_map(|t| extent(t.x))),
        y: Axis::covering(trades.iter().flat_map(|t| extent(t.y))),
    };
    let units: BTreeSet<usize> = trades.iter().map(|t| t.x.unit).collect();
    let title = format!(
        "Effect on {} against effect on {}",
        y.info().name,
        x.info().name
    );
    let plot = html! {
        svg viewBox=(frame.view_box()) role="img" aria-label=(title) {
            (frame.axes(&axis_name(x), &axis_name(y)))
            (frame.zero_lines())
            @for trade in trades.iter().filter(|t| t.is_sure()) { (whiskers(&frame, trade)) }
            @for trade in trades { (point(&frame, x, y, trade)) }
            (corners(&frame, x, y))
        }
    };
    html! {
        figure {
            (key(&units))
            (scrolling(&title, &plot))
            figcaption { (title) ", " (trades.len())
                " blocks and places. The table below names the extremes; the CSV file has every figure." }
        }
    }
}

fn extent(b: &BlockEffect) -> [f64; 2] {
    if b.significant {
        [b.effect.low, b.effect.high]
    } else {
        [b.effect.value; 2]
    }
}

fn axis_name(view: &View<'_>) -> String {
    let note = view
        .stand_in()
        .map_or_else(String::new, |w| format!(", {w}"));
    format!(
        "effect on {} ({}{note})",
        view.info().name,
        view.effect_unit
    )
}

fn key(units: &BTreeSet<usize>) -> Markup {
    html! {
        ul.key {
            @for &unit in units {
                li { svg viewBox="0 0 12 12" aria-hidden="true" {
                    path class={ "m sure " (colour(unit.saturating_sub(1))) }
                        d=(marker(unit.saturating_sub(1), 6.0, 6.0)) {}
                } "unit " (unit) }
            }
        }
    }
}

fn whiskers(frame: &Frame, trade: &Trade<'_>) -> Markup {
    let (ex, ey) = (&trade.x.effect, &trade.y.effect);
    let (x, y) = (frame.x(ex.value), frame.y(ey.value));
    let d = format!(
        "M{} {}H{}M{} {}V{}",
        px(frame.x(ex.low)),
        px(y),
        px(frame.x(ex.high)),
        px(x),
        px(frame.y(ey.low)),
        px(frame.y(ey.high))
    );
    html! { path class={ "whisker " (colour(trade.x.unit.saturating_sub(1))) } d=(d) {} }
}

fn point(frame: &Frame, x: &View<'_>, y: &View<'_>, trade: &Trade<'_>) -> Markup {
    let kind = trade.x.unit.saturating_sub(1);
    let sure = if trade.is_sure() { " sure" } else { "" };
    let (px, py) = (frame.x(trade.x.effect.value), frame.y(trade.y.effect.value));
    html! {
        path class={ "m " (colour(kind)) (sure) } d=(marker(kind, px, py)) {
            title {
                (place(trade.x)) ": " (x.info().name) " " (x.effect(&trade.x.effect)) ", "
                (y.info().name) " " (y.effect(&trade.y.effect))
            }
        }
    }
}

fn place(b: &BlockEffect) -> String {
    format!("unit {}, layer {}, {}", b.unit, b.layer, b.block)
}

/// What the four corners of the plot mean.
fn corners(frame: &Frame, x: &View<'_>, y: &View<'_>) -> Markup {
    let [left, right, top, bottom] = frame.edges();
    let corner =
        |right_side: bool, upper: bool| format!("{}, {}", word(x, right_side), word(y, upper));
    let at = |x: f64, y: f64, anchor: &str, text: String| {
        html! { text.corner x=(px(x)) y=(px(y)) text-anchor=(anchor) { (text) } }
    };
    html! {
        (at(left + 8.0, top + 16.0, "start", corner(false, true)))
        (at(right - 8.0, top + 16.0, "end", corner(true, true)))
        (at(left + 8.0, bottom - 9.0, "start", corner(false, false)))
        (at(right - 8.0, bottom - 9.0, "end", corner(true, false)))
    }
}

fn word(view: &View<'_>, higher: bool) -> String {
    match (view.info().quantity(), higher) {
        ("latency", true) => "slower".to_owned(),
        ("latency", false) => "faster".to_owned(),
        ("accuracy", true) => "more accurate".to_owned(),
        ("accuracy", false) => "less accurate".to_owned(),
        ("macs", true) => "more MACs".to_owned(),
        ("macs", false) => "fewer MACs".to_owned(),
        (name, _) => {
            let better = higher == (view.info().direction == Direction::HigherIsBetter);
            format!("{} {name}", if better { "better" } else { "worse" })
        }
    }
}

fn best_and_worst(x: &View<'_>, y: &View<'_>, trades: &[Trade<'_>]) -> Markup {
    let sure: Vec<&Trade<'_>> = trades.iter().filter(|t| t.is_sure()).collect();
    if sure.is_empty() {
        return absent(
            "No block has an effect that differs from zero on either metric, so none is listed as a good or bad trade.",
        );
    }
    let best: Vec<&Trade<'_>> = sure
        .iter()
        .copied()
        .filter(|t| t.score > 0.0)
        .take(LISTED)
        .collect();
    let worst: Vec<&Trade<'_>> = sure
        .iter()
        .rev()
        .copied()
        .filter(|t| t.score < 0.0)
        .take(LISTED)
        .collect();
    html! {
        p.lead {
            "Ranked by the sum of both effects, each in standard deviations of its metric and signed so that more is \
             better: a reading aid, not a test. Bold figures differ from zero after correction."
        }
        div.pairs {
            (trade_table("Best trades", x, y, &best))
            (trade_table("Worst trades", x, y, &worst))
        }
    }
}

fn trade_table(caption: &str, x: &View<'_>, y: &View<'_>, trades: &[&Trade<'_>]) -> Markup {
    if trades.is_empty() {
        return absent(&format!("{caption}: none."));
    }
    let table = html! {
        table.list.full {
            caption { b { (caption) } }
            thead { tr {
                th scope="col" { "block and place" }
                th.n scope="col" { (x.info().name) ", " (x.in_unit()) }
                th.n scope="col" { (y.info().name) ", " (y.in_unit()) }
                th.n scope="col" { "score, sd" }
            } }
            tbody { @for trade in trades { tr {
                th scope="row" {
                    code { (trade.x.block) } br; small { "unit " (trade.x.unit) ", layer " (trade.x.layer) }
                }
                (figure_cell(x, trade.x))
                (figure_cell(y, trade.y))
                td.n { (format::signed(trade.score, 2)) }
            } } }
        }
    };
    scrolling(caption, &table)
}

fn figure_cell(view: &View<'_>, b: &BlockEffect) -> Markup {
    let value = format::signed(b.effect.value, view.decimals);
    let ends = format::interval(&b.effect, view.decimals);
    html! { td.n { @if b.significant { b { (value) } } @else { (value) } br; small { (ends) } } }
}
