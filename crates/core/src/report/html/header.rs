//! What the report is about, at a glance, and how far its metrics can be trusted.

use maud::{Markup, html};

use super::super::document::Report;
use super::super::format::{count, counted, interval, percent, plain};
use super::super::markdown::mean_label;
use super::super::view::{View, origin_label};
use super::quality::prose;
use super::{Page, absent, scrolling};
use crate::measurement::DeviceDescription;
use crate::metric::{Direction, Origin};

pub(super) fn render(page: &Page<'_>) -> Markup {
    html! {
        header {
            h1 { (page.report.title) }
            p.subtitle { (subtitle(page.report)) }
            (notices(page))
            dl.tiles { (tiles(page)) }
            (metrics(page))
        }
    }
}

fn subtitle(report: &Report) -> Markup {
    let p = &report.profile;
    html! {
        "Design space " b { (p.space) } ", width " (p.width) ", \
         input " (p.resolution) "\u{d7}" (p.resolution) "\u{a0}px"
        @if let Some(m) = &report.measurement { " \u{b7} " (device_line(&m.device)) }
        " \u{b7} " (report.provenance.created)
    }
}

/// The device in one line.
pub(super) fn device_line(d: &DeviceDescription) -> String {
    // A device elsewhere says as much as it likes.
    let cpus = (d.cpus > 0).then(|| counted(d.cpus, "CPU"));
    let machine: Vec<String> = d.host.clone().into_iter().chain(cpus).collect();
    format!(
        "{} {}, {}, {}, on {} ({})",
        d.engine,
        d.engine_version,
        counted(d.threads, "thread"),
        d.precision,
        d.cpu,
        [machine, vec![d.system.clone()]].concat().join(", ")
    )
}

fn notices(page: &Page<'_>) -> Markup {
    let stand_ins: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| v.stand_in().is_some())
        .collect();
    let grave = page.report.warnings.iter().filter(|w| w.is_grave());
    let doubts = page.report.warnings.len();
    if stand_ins.is_empty() && doubts == 0 {
        return html! {};
    }
    html! {
        div.notice {
            @for view in stand_ins {
                p { b { (view.heading) " is " (stand_in_sentence(view.info().origin)) "." } " " (view.info().about) }
            }
            @for doubt in grave {
                p { b { "Doubt: " } (prose(&doubt.to_string())) "." }
            }
            @if doubts > 0 {
                p {
                    (counted(doubts, "warning")) " about how these figures were measured: see "
                    a href="#quality" { "Measurement quality" } "."
                }
            }
        }
    }
}

fn stand_in_sentence(origin: Origin) -> &'static str {
    match origin {
        Origin::Surrogate => "a surrogate, not a measurement",
        Origin::Proxy => "a training-free proxy, not an accuracy",
        Origin::Estimated => "estimated, not a measurement",
        _ => "simulated, not a measurement",
    }
}

fn tiles(page: &Page<'_>) -> Markup {
    let combinations = page.views.iter().map(|v| v.profile.blocks.len()).max();
    html! {
        @match &page.report.measurement {
            Some(m) => {
                (tile("Networks measured", &count(m.measured), &format!("of {} planned, {} \
                    failed", count(m.planned), count(m.failed))))
                (tile("Noise floor", &m.noise_floor.map_or_else(|| "unknown".to_owned(), |f| percent(f, 2)), "spread \
                    of the sentinel network"))
            }
            None => (tile("Networks measured", "none", "no device was measured for this report"))
        }
        (tile("Block placements", &count(combinations.unwrap_or(0)), "combinations of unit, layer and block"))
        @for view in page.views.iter().take(2) {
            (tile(&format!("{}: effects known", view.heading), &count(view.significant()), &format!("of {} differ from \
                zero", view.profile.blocks.len())))
        }
    }
}

fn tile(name: &str, value: &str, note: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) small { (note) } } } }
}

fn metrics(page: &Page<'_>) -> Markup {
    if page.views.is_empty() {
        return absent(
            "No metric was profiled yet: there are no figures to show. Profile a metric first.",
        );
    }
    let table = html! {
        table.list.full {
            caption { "Metrics, over the whole design space" }
            thead { tr {
                th scope="col" { "metric" }
                th scope="col" { "origin" }
                th.n scope="col" { "mean [95\u{a0}%]" }
                th.n scope="col" { "standard deviation" }
                th.n scope="col" { "seen" }
                th scope="col" { "estimator" }
                th scope="col" { "what it is" }
            } }
            tbody { @for view in &page.views { (metric_row(view, mean_label(page.report, view))) } }
        }
    };
    scrolling("Metrics", &table)
}

fn metric_row(view: &View<'_>, label: &str) -> Markup {
    let (p, info) = (view.profile, view.info());
    let [least, most] = p.range;
    html! {
        tr {
            th scope="row" { (view.heading) br; small { (direction(info.direction)) } }
            td { span.chip.caution[view.stand_in().is_some()] { (origin_label(info.origin)) } }
            td.n {
                @if label != "mean" { small { (label) } br; }
                (view.value(p.mean.value)) br; small { (interval(&p.mean, view.decimals)) }
            }
            td.n { (view.value(p.sd)) }
            td.n { (plain(least, view.decimals)) " to " (view.value(most)) }
            td {
                (p.estimator) ", " (counted(p.evaluations, "network"))
                @if p.failures > 0 { ", " (count(p.failures)) " without a value" }
                @if let Some(r2) = p.held_out_r2 { br; small { "held-out R\u{b2} " (plain(r2, 3)) } }
            }
            td.about { (info.about) }
        }
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::LowerIsBetter => "lower is better",
        Direction::HigherIsBetter => "higher is better",
    }
}
