//! Kernel-by-expansion tables and depth effects.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::arrange::{average, kernels_and_expansions, units_with_averages};
use super::super::format::signed;
use super::super::view::{View, excludes, largest};
use super::cell::{Cell, Weight, effect_cell, empty, legend};
use super::{Page, absent, chip, scrolling};
use crate::profile::{Estimate, WidthEffect};
use crate::space::Ratio;

/// The kernel-by-expansion table of every metric, and its margins unit by unit.
pub(super) fn kernels(page: &Page<'_>) -> Markup {
    let tables: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| !v.profile.averages.is_empty())
        .collect();
    if tables.is_empty() {
        return absent(
            "The profile has no averages over placements, so there is no table to show.",
        );
    }
    html! {
        p.lead {
            "The effect of a kernel and an expansion, averaged over every placement where they can stand; each \
             placement counts once. Below each figure its 95\u{a0}% interval. Figures whose interval includes zero are \
             small and grey. Units differ: the second table of each metric shows kernels and expansions unit by unit \
             (intervals on hover)."
        }
        div.pairs.narrow {
            @for view in tables { div { (whole_network(view)) (per_unit(view)) } }
        }
    }
}

fn whole_network(view: &View<'_>) -> Markup {
    let (kernels, expansions) = kernels_and_expansions(view.profile);
    let cells = view.profile.averages.iter().filter(|a| a.unit.is_none());
    let scale = largest(cells.map(|a| &a.effect));
    let caption = format!("{}, whole network", view.heading);
    let table = html! {
        table.map.wide {
            caption { b { (caption) } (chip(view)) " \u{2013} effect in " (view.in_unit()) }
            thead { tr {
                th scope="col" { "kernel" }
                @for e in &expansions { th scope="col" { "expansion " (e) } }
                th.sep scope="col" { "all" }
            } }
            @for kernel in kernels.iter().copied().map(Some) {
                (kernel_row(view, kernel, &expansions, scale))
            }
            tbody { (kernel_row(view, None, &expansions, scale)) }
        }
    };
    html! { (scrolling(&caption, &table)) (legend(view, scale)) }
}

fn kernel_row(view: &View<'_>, kernel: Option<u32>, expansions: &[Ratio], scale: f64) -> Markup {
    html! {
        tr {
            th scope="row" { @match kernel { Some(k) => { (k) "\u{d7}" (k) } None => "all" } }
            @for e in expansions.iter().copied().map(Some).chain([None]) {
                // The corner is the mean of everything: zero by definition.
                @if kernel.is_some() || e.is_some() {
                    (average_cell(view, average(view.profile, None, kernel, e), scale, true))
                }
            }
        }
    }
}

fn average_cell(
    view: &View<'_>,
    estimate: Option<&Estimate>,
    scale: f64,
    with_interval: bool,
) -> Markup {
    let Some(estimate) = estimate else {
        return empty();
    };
    let weight = if excludes(estimate, 0.0) {
        Weight::Plain
    } else {
        Weight::Unsure
    };
    let cell = effect_cell(view, estimate, scale, weight);
    if with_interval {
        return html! { (cell) };
    }
    let title = view.effect(estimate);
    html! { (Cell { small: None, title: Some(title), ..cell }) }
}

fn per_unit(view: &View<'_>) -> Markup {
    let units = units_with_averages(view.profile);
    let (kernels, expansions) = kernels_and_expansions(view.profile);
    if units.is_empty() {
        return html! {};
    }
    let margins = view.profile.averages.iter();
    let margins =
        margins.filter(|a| a.unit.is_some() && a.kernel.is_some() != a.expansion.is_some());
    let scale = largest(margins.map(|a| &a.effect));
    let caption = format!("{}, unit by unit", view.heading);
    let table = html! {
        table.map {
            caption { b { (caption) } (chip(view)) " \u{2013} effect in " (view.in_unit()) "" }
            thead {
                tr {
                    td.none rowspan="2" {}
                    th.grp scope="colgroup" colspan=(kernels.len()) { "kernel" }
                    th.grp.sep scope="colgroup" colspan=(expansions.len()) { "expansion" }
                }
                tr {
                    @for k in &kernels { th scope="col" { (k) "\u{d7}" (k) } }
                    @for e in &expansions { th scope="col" { (e) } }
                }
            }
            tbody { @for unit in units { tr {
                th scope="row" { "unit " (unit) }
                @for &k in &kernels {
                    (average_cell(view, average(view.profile, Some(unit), Some(k), None), scale, false))
                }
                @for &e in &expansions {
                    (average_cell(view, average(view.profile, Some(unit), None, Some(e)), scale, false))
                }
            } } }
        }
    };
    html! { (scrolling(&caption, &table)) (legend(view, scale)) }
}

/// The effects of every unit's depth, and of its width where it has several, on every metric.
pub(super) fn depth_and_width(page: &Page<'_>) -> Markup {
    let wide: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| !v.profile.widths.is_empty())
        .collect();
    html! {
        (depth(page))
        @if !wide.is_empty() {
            p.lead {
                "Units that have several widths: the mean over architectures whose unit has that many output channels, \
                minus the mean over the unit's widths."
            }
            div.pairs.narrow { @for view in wide { div { (width_table(view)) } } }
        }
    }
}

/// One row per unit; its widths from narrow to wide, each with its channels.
fn width_table(view: &View<'_>) -> Markup {
    let effects = &view.profile.widths;
    let units: BTreeSet<usize> = effects.iter().map(|w| w.unit).collect();
    let of_unit = |unit: usize| effects.iter().filter(move |w| w.unit == unit);
    let most = units.iter().map(|u| of_unit(*u).count()).max().unwrap_or(0);
    let scale = largest(effects.iter().map(|w| &w.effect));
    let caption = format!("{} by width", view.heading);
    let table = html! {
        table.map.wide {
            caption { b { (caption) } (chip(view)) " \u{2013} effect in " (view.in_unit()) }
            thead { tr {
                th scope="col" { "unit" }
                @for i in 0..most { th scope="col" { @if i == 0 { "narrowest" } @else if i + 1 == most { "widest" } } }
            } }
            tbody { @for &unit in &units { tr {
                th scope="row" { "unit " (unit) span.optional { " " (channels(of_unit(unit))) } }
                @for width in of_unit(unit) { (width_cell(view, width, scale)) }
                @for _ in of_unit(unit).count()..most { (empty()) }
            } } }
        }
    };
    html! { (scrolling(&caption, &table)) (legend(view, scale)) }
}

fn channels<'a>(widths: impl Iterator<Item = &'a WidthEffect>) -> String {
    let channels: Vec<String> = widths.map(|w| w.channels.to_string()).collect();
    format!("{} channels", channels.join(" / "))
}

fn width_cell(view: &View<'_>, width: &WidthEffect, scale: f64) -> Markup {
    let weight = if excludes(&width.effect, 0.0) {
        Weight::Plain
    } else {
        Weight::Unsure
    };
    let title = format!(
        "unit {}, {} channels: {}\u{a0}{}, mean {}",
        width.unit,
        width.channels,
        signed(width.effect.value, view.decimals + 1),
        view.effect_unit,
        view.value(width.mean.value)
    );
    let cell = effect_cell(view, &width.effect, scale, weight);
    html! { (Cell { title: Some(title), ..cell }) }
}

/// The effect of every unit's depth on every metric.
fn depth(page: &Page<'_>) -> Markup {
    let tables: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| !v.profile.depths.is_empty())
        .collect();
    if tables.is_empty() {
        return absent("No unit of this space can vary its depth, or the profile does not say.");
    }
    html! {
        p.lead {
            "The mean over architectures whose unit has that many layers, minus the mean over the unit's depths. Below \
             each figure its 95\u{a0}% interval; small and grey where the interval includes zero."
        }
        div.pairs.narrow { @for view in tables { div { (depth_table(view)) } } }
    }
}

fn depth_table(view: &View<'_>) -> Markup {
    let effects = &view.profile.depths;
    let units: BTreeSet<usize> = effects.iter().map(|d| d.unit).collect();
    let depths: BTreeSet<usize> = effects.iter().map(|d| d.depth).collect();
    let scale = largest(effects.iter().map(|d| &d.effect));
    let caption = format!("{} by depth", view.heading);
    let table = html! {
        table.map.wide {
            caption { b { (caption) } (chip(view)) " \u{2013} effect in " (view.in_unit()) }
            thead { tr {
                th scope="col" { "unit" }
                @for d in &depths { th scope="col" { (d) @if *d == 1 { " layer" } @else { " layers" } } }
            } }
            tbody { @for &unit in &units { tr {
                th scope="row" { "unit " (unit) }
                @for &depth in &depths { (depth_cell(view, unit, depth, scale)) }
            } } }
        }
    };
    html! { (scrolling(&caption, &table)) (legend(view, scale)) }
}

fn depth_cell(view: &View<'_>, unit: usize, depth: usize, scale: f64) -> Markup {
    let found = view
        .profile
        .depths
        .iter()
        .find(|d| (d.unit, d.depth) == (unit, depth));
    let Some(found) = found else {
        return empty();
    };
    let weight = if excludes(&found.effect, 0.0) {
        Weight::Plain
    } else {
        Weight::Unsure
    };
    let title = format!(
        "unit {unit}, {depth} layers: {}\u{a0}{}, mean {}",
        signed(found.effect.value, view.decimals + 1),
        view.effect_unit,
        view.value(found.mean.value)
    );
    let cell = effect_cell(view, &found.effect, scale, weight);
    html! { (Cell { title: Some(title), ..cell }) }
}
