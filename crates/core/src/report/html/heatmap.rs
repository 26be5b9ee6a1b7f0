//! Heatmaps: every block at every placement, one table per metric.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::arrange::{Column, Rows, effect_rows, layers_per_unit};
use super::super::format::{interval, signed};
use super::super::view::{View, largest};
use super::cell::{Cell, Weight, empty, legend, relative};
use super::{Page, absent, chip, scrolling};
use crate::profile::{BlockEffect, Family};
use crate::space::Ratio;

pub(super) fn render(page: &Page<'_>) -> Markup {
    let maps: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| !v.profile.blocks.is_empty())
        .collect();
    if maps.is_empty() {
        return absent("No metric has block effects: nothing was evaluated yet.");
    }
    html! {
        p.lead {
            "Each figure is the mean over architectures that hold the block there, minus the mean over all blocks at \
             that \
             place. " b { "Bold" } ": differs from zero after correction for all figures of the table. Small \
             and grey: cannot be told from zero. Hover for the interval, the one that holds together with all others \
             of the table, and the mean; the CSV file has all of them."
        }
        div.pairs { @for view in maps { div { (heatmap(page, view)) } } }
    }
}

fn heatmap(page: &Page<'_>, view: &View<'_>) -> Markup {
    let scale = largest(view.profile.blocks.iter().map(|b| &b.effect));
    let caption = format!("{} of every block", view.heading);
    let rows = effect_rows(view.profile);
    let table = html! {
        table.map.dense {
            caption {
                b { (caption) } (chip(view)) " \u{2013} effect in " (view.in_unit()) "; "
                (view.significant()) " of " (view.profile.blocks.len()) " differ from zero"
            }
            (column_headings(&page.columns))
            (body(page, &rows, |b| effect(view, b, scale)))
        }
    };
    html! { (scrolling(&caption, &table)) (legend(view, scale)) }
}

fn effect(view: &View<'_>, b: &BlockEffect, scale: f64) -> Cell {
    let together = view
        .simultaneous(Family::Blocks)
        .map_or_else(String::new, |critical| {
            let wide = interval(&b.effect.widened(critical), view.decimals + 1);
            format!(" (together with all others {wide})")
        });
    let title = format!(
        "unit {}, layer {}, {}: {}{together}, mean {}",
        b.unit,
        b.layer,
        b.block,
        view.effect(&b.effect),
        view.value(b.mean.value)
    );
    Cell {
        number: signed(b.effect.value, view.decimals),
        small: None,
        title: Some(title),
        goodness: relative(view.goodness(b.effect.value), scale),
        weight: if b.significant {
            Weight::Sure
        } else {
            Weight::Unsure
        },
    }
}

/// Two heading rows: expansions, and under each its kernels (or blocks, where kernels do not tell them apart).
pub(super) fn column_headings(columns: &[Column]) -> Markup {
    let mut groups: BTreeMap<Option<Ratio>, usize> = BTreeMap::new();
    for column in columns {
        *groups.entry(column.expansion).or_insert(0) += 1;
    }
    html! {
        thead {
            tr {
                th rowspan="2" scope="col" { "unit" }
                th rowspan="2" scope="col" { "layer" }
                @for (expansion, width) in &groups {
                    th.grp.sep scope="colgroup" colspan=(width) { @if let Some(e) = expansion { "expansion " (e) } }
                }
            }
            tr {
                @for (i, column) in columns.iter().enumerate() {
                    th.sep[starts_group(columns, i)] scope="col" title=(column.block) { (heading(columns, column)) }
                }
            }
        }
    }
}

fn heading(columns: &[Column], column: &Column) -> String {
    let alike = |c: &&Column| (c.expansion, c.kernel) == (column.expansion, column.kernel);
    if columns.iter().filter(alike).count() > 1 {
        column.block.clone()
    } else {
        let kernel = column.kernel.map(|k| format!("{k}\u{d7}{k}"));
        kernel.unwrap_or_else(|| column.block.clone())
    }
}

fn starts_group(columns: &[Column], i: usize) -> bool {
    i.checked_sub(1)
        .and_then(|before| columns.get(before))
        .is_none_or(|before| before.expansion != columns[i].expansion)
}

/// One `tbody` per unit, one row per layer, one cell per column.
pub(super) fn body<T>(page: &Page<'_>, rows: &Rows<'_, T>, cell: impl Fn(&T) -> Cell) -> Markup {
    html! {
        @for (unit, layers) in layers_per_unit(rows) {
            tbody {
                @for (i, (&(_, layer), row)) in rows.range((unit, 0)..(unit + 1, 0)).enumerate() {
                    tr {
                        @if i == 0 { th scope="rowgroup" rowspan=(layers) { (unit) } }
                        th scope="row" { (layer) @if is_optional(page, unit, layer) { (optional_mark()) } }
                        @for column in &page.columns {
                            @match row.get(column.block.as_str()) { Some(value) => (cell(value)), None => (empty()) }
                        }
                    }
                }
            }
        }
    }
}

fn optional_mark() -> Markup {
    html! { " " span.optional title="not in every architecture: the unit's depth can leave it out" { "opt." } }
}

fn is_optional(page: &Page<'_>, unit: usize, layer: usize) -> bool {
    page.shallowest.get(&unit).is_some_and(|&d| layer > d)
}
