//! Where each metric's variance over architectures comes from.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::format::{interval, percent, plain};
use super::super::interaction::{interaction_line, interaction_name, p_text};
use super::super::view::View;
use super::plot::colour;
use super::{Page, absent, chip, scrolling};
use crate::profile::{Estimate, VarianceShare, VarianceSource};

const SOURCES: [(VarianceSource, &str); 6] = [
    (VarianceSource::Depth, "depth"),
    (VarianceSource::Width, "width"),
    (VarianceSource::Kernel, "kernel"),
    (VarianceSource::Expansion, "expansion"),
    (VarianceSource::Block, "rest of the block"),
    (VarianceSource::Rest, "rest"),
];

/// Shares below this have no room for their name in the bar; the table has them all.
const LABELLED: f64 = 0.09;

pub(super) fn render(page: &Page<'_>) -> Markup {
    let shown: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| !v.profile.variance.is_empty())
        .collect();
    if shown.is_empty() {
        return absent("The profile has no variance shares.");
    }
    html! {
        p.lead {
            "The share of the metric's variance over architectures that follows from each kind of choice, corrected \
             for \
             the estimates' own noise. \u{201c}Rest\u{201d} is everything else: interactions between layers, and \
             noise. Below each \
             share its 95\u{a0}% interval."
        }
        div.pairs { @for view in shown { div {
            h3 { (view.heading) (chip(view)) }
            (bar(view))
            (table(view))
            (interactions(view))
        } } }
    }
}

/// Whether the metric adds up over blocks.
fn interactions(view: &View<'_>) -> Markup {
    let Some(additivity) = &view.profile.additivity else {
        return html! { p.lead { "Whether neighbours interact cannot be told from so few networks." } };
    };
    let caption = format!("{}: interactions looked for", view.heading);
    let table = html! {
        table.list {
            caption { (caption) }
            thead { tr {
                th scope="col" { "interaction" }
                th.n scope="col" { "share of variance in per cent [95\u{a0}%]" }
                th.n scope="col" { "p" }
                th.n scope="col" { "p, corrected" }
            } }
            tbody { @for test in &additivity.tests { tr {
                th scope="row" { (interaction_name(test.kind)) }
                td.n { (plain(100.0 * test.share[0], 1)) " [" (plain(100.0 * test.share[1], 1)) ", "
                    (plain(100.0 * test.share[2], 1)) "]" }
                td.n { (p_text(test.p)) }
                td.n { (p_text(test.adjusted_p)) }
            } } }
        }
    };
    html! {
        p { b { (interaction_line(additivity)) } }
        (scrolling(&caption, &table))
    }
}

fn bar(view: &View<'_>) -> Markup {
    let shares: Vec<(usize, &str, f64)> = SOURCES
        .iter()
        .enumerate()
        .filter_map(|(i, (source, name))| {
            let share = find(&view.profile.variance, *source, None)?;
            (share.value.is_finite() && share.value > 0.0).then_some((i, *name, share.value))
        })
        .collect();
    if shares.is_empty() {
        return html! {};
    }
    let spoken: Vec<String> = shares
        .iter()
        .map(|(_, name, share)| format!("{name} {}", percent(*share, 0)))
        .collect();
    html! {
        div.stack role="img" aria-label={ (view.heading) ": " (spoken.join(", ")) } {
            @for (i, name, share) in shares {
                span class=(colour(if i + 1 == SOURCES.len() { 6 } else { i })) style=(format!("flex:{share:.4} 0 \
                    0")) title={ (name) " " (percent(share, 1)) } {
                    @if share >= LABELLED { (name) " " (percent(share, 0)) }
                }
            }
        }
    }
}

fn find(
    shares: &[VarianceShare],
    source: VarianceSource,
    unit: Option<usize>,
) -> Option<&Estimate> {
    shares
        .iter()
        .find(|s| s.source == source && s.unit == unit)
        .map(|s| &s.share)
}

fn table(view: &View<'_>) -> Markup {
    let variance = &view.profile.variance;
    // Sources that the space does not have (widths, mostly) need no column.
    let known = |source: VarianceSource| variance.iter().any(|s| s.source == source);
    let sources: Vec<(VarianceSource, &str)> = SOURCES
        .into_iter()
        .filter(|(source, _)| known(*source))
        .collect();
    let units: BTreeSet<usize> = variance.iter().filter_map(|s| s.unit).collect();
    let caption = format!("{}: share of variance in per cent", view.heading);
    let table = html! {
        table.list.full {
            caption { (caption) }
            thead { tr {
                th scope="col" { "where" }
                @for (_, name) in &sources { th.n scope="col" { (name) } }
            } }
            tbody {
                tr {
                    th scope="row" { b { "whole network" } }
                    @for (source, _) in &sources { (share(variance, *source, None)) }
                }
                @for &unit in &units {
                    tr {
                        th scope="row" { "unit " (unit) }
                        @for (source, _) in &sources { (share(variance, *source, Some(unit))) }
                    }
                }
            }
        }
    };
    scrolling(&caption, &table)
}

fn share(shares: &[VarianceShare], source: VarianceSource, unit: Option<usize>) -> Markup {
    let Some(estimate) = find(shares, source, unit) else {
        return html! { td.n { "\u{2013}" } };
    };
    let in_percent = Estimate {
        value: estimate.value * 100.0,
        se: estimate.se * 100.0,
        low: estimate.low * 100.0,
        high: estimate.high * 100.0,
    };
    html! { td.n { (plain(in_percent.value, 1)) br; small { (interval(&in_percent, 1)) } } }
}
