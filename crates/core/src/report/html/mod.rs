//! The report as one HTML page: no script, no resource from elsewhere, readable on paper, in the dark
//! and on a phone.
//!
//! Each section is a function in a file of its own; `cell` draws what every coloured table is made of,
//! `plot` what every plot is made of. Text goes through maud, which escapes it.

mod across;
mod cell;
mod comparison;
mod contest;
mod findings;
mod friendliness;
mod header;
mod heatmap;
mod plot;
mod provenance;
mod quality;
mod ranks;
mod scatter;
mod style;
mod tables;
mod variance;

pub use across::across_html;
pub use comparison::comparison_html;
pub use contest::contest_html;

use maud::{DOCTYPE, Markup, html};

use super::arrange::{Column, columns, shallowest};
use super::document::Report;
use super::view::{View, views};
use crate::shown::visible;
use std::collections::BTreeMap;

/// What all sections draw from.
struct Page<'a> {
    report: &'a Report,
    views: Vec<View<'a>>,
    columns: Vec<Column>,
    shallowest: BTreeMap<usize, usize>,
}

/// The sections after the header: anchor and heading, in the order of the page.
const SECTIONS: [(&str, &str); 10] = [
    ("findings", "What stands out"),
    ("kernels", "Kernel by expansion"),
    ("blocks", "Every block, everywhere"),
    ("ranks", "What is best, and what cannot be told apart"),
    ("trade", "What each block costs and buys"),
    ("depth", "Depth and width"),
    ("variance", "Where the variance comes from"),
    ("friendliness", "Friendliness"),
    ("quality", "Measurement quality"),
    ("provenance", "Provenance and words"),
];

/// The report as a self-contained HTML page.
#[must_use]
pub fn render_html(report: &Report) -> String {
    let whole = Page {
        report,
        views: views(&report.profile),
        columns: columns(&report.profile),
        shallowest: shallowest(&report.profile),
    };
    let bodies = [
        findings::render(&whole),
        tables::kernels(&whole),
        heatmap::render(&whole),
        ranks::render(&whole),
        scatter::render(&whole),
        tables::depth_and_width(&whole),
        variance::render(&whole),
        friendliness::render(&whole),
        quality::render(&whole),
        provenance::render(&whole),
    ];
    page(&report.title, &report.generated_by, &body(&whole, &bodies))
}

/// A self-contained page as text, with nothing in it that steers a terminal which shows it.
fn page(title: &str, made_by: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(made_by);
                title { (title) }
                (style::element())
            }
            body { (body) }
        }
    };
    visible(&page.into_string()).into_owned()
}

/// A part of a page under a heading of its own.
fn section(id: &str, heading: &str, body: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-h" } {
            h2 id={ (id) "-h" } { (heading) }
            (body)
        }
    }
}

fn body(page: &Page<'_>, bodies: &[Markup]) -> Markup {
    html! {
        a.skip href="#findings" { "Skip to what stands out" }
        (header::render(page))
        nav aria-label="Sections" {
            ol { @for (id, heading) in SECTIONS { li { a href={ "#" (id) } { (heading) } } } }
        }
        main { @for ((id, heading), body) in SECTIONS.iter().zip(bodies) { (section(id, heading, body)) } }
        footer { p { "Made by " (page.report.generated_by) ", " (page.report.provenance.created) "." } }
    }
}

/// The label that a metric wears wherever it is shown and is not a measurement.
fn chip(view: &View<'_>) -> Markup {
    html! {
        @if let Some(word) = view.stand_in() {
            " " span.chip.caution title="not a measurement" { (word) }
        }
    }
}

/// What stands where there is nothing to show, and why.
fn absent(why: &str) -> Markup {
    html! { p.absent { (why) } }
}

/// A table that may be wider than the screen; it scrolls inside its own box, by keyboard too.
fn scrolling(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (table) } }
}
