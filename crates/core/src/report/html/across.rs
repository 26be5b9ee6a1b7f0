//! Many devices side by side as a page in the style of the reports.

use maud::{Markup, html};

use super::super::across::{
    answers, described, doubt_lines, everywhere_line, explained, hundredfold, label, mean_text,
    networks_text, noise_text, on_text, title, unit_in_brackets,
};
use super::super::format::{self, count, decimals_for, plain, signed};
use super::cell::{Cell, Weight, empty, relative};
use super::quality::prose;
use super::{absent, page, scrolling, section};
use crate::compare::{Across, Agreement, Contrast, DeviceRow, Everywhere};
use crate::metric::{Direction, Origin};
use crate::profile::Estimate;

/// Networks that are listed as good on all devices; JSON has all.
const LISTED: usize = 20;
/// The rank correlation at which a cell has no colour left: devices that order networks alike need none.
const ALIKE: f64 = 1.0;

/// The comparison of devices as a self-contained HTML page. Sources of devices become links.
#[must_use]
pub fn across_html(across: &Across) -> String {
    let title = format!("Devices compared: {}", title(across));
    let body = html! {
        header {
            h1 { (title) }
            p.subtitle { (across.created) }
            ul { @for line in answers(across) { li { (line) } } }
        }
        main {
            (section("devices", "Devices", &devices(across)))
            (section("choices", "What a choice costs each device", &choices(across)))
            (section("agreement", "How alike devices order networks", &agreement(across)))
            (section("everywhere", "Networks that are good on all", &everywhere(across)))
            (section("doubts", "Doubts", &doubts(across)))
        }
        footer {
            p { "Made by " (across.generated_by) ", " (across.created) "." }
            @if !across.command.is_empty() { pre { code { (across.command) } } }
        }
    };
    page(&title, &across.generated_by, &body)
}

fn devices(across: &Across) -> Markup {
    let caption = "Devices, and what each needs on average over the space";
    let table = html! {
        table.list {
            caption { (caption) }
            thead { tr {
                th scope="col" { "device" }
                th.n scope="col" { "mean " (unit_in_brackets(across)) }
                th.n scope="col" { "noise floor" }
                th.n scope="col" { "networks" }
                th scope="col" { "what it is" }
            } }
            tbody { @for device in &across.devices { (device_row(device)) } }
        }
    };
    scrolling(caption, &table)
}

fn device_row(device: &DeviceRow) -> Markup {
    html! {
        tr {
            th scope="row" { a href={ (link(&device.source)) } { (device.name) } (chip(device)) }
            td.n { (mean_text(device)) }
            td.n { (noise_text(device)) }
            td.n { (networks_text(device)) }
            td.about { (described(device)) }
        }
    }
}

/// Where a device's own report is.
fn link(source: &str) -> String {
    match source.ends_with(".json") {
        true => source.to_owned(),
        false => format!("{source}/report.html"),
    }
}

/// The label of a device that was not measured.
fn chip(device: &DeviceRow) -> Markup {
    let measured = matches!(device.origin, Origin::Measured);
    html! {
        @if !measured { " " span.chip.caution title="not a measurement" { (device.origin.name()) } }
    }
}

fn choices(across: &Across) -> Markup {
    let rows = |unit: bool| -> Vec<&Contrast> {
        across
            .contrasts
            .iter()
            .filter(|c| c.unit.is_some() == unit)
            .collect()
    };
    html! {
        p.lead { (explained()) }
        (contrasts(across, "In the whole network", &rows(false)))
        (contrasts(across, "In each unit", &rows(true)))
    }
}

fn contrasts(across: &Across, caption: &str, rows: &[&Contrast]) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    let values = rows.iter().flat_map(|c| &c.shares).map(|s| s.value.abs());
    let scale = values.fold(0.0, f64::max);
    let table = html! {
        table.map.wide {
            caption { b { (caption) } " (% of each device's own mean)" }
            thead { tr {
                th {}
                @for device in &across.devices { th scope="col" { (device.name) } }
                th scope="col" { "pairs that differ surely" }
            } }
            tbody { @for row in rows { (contrast(across, row, scale)) } }
        }
    };
    scrolling(caption, &table)
}

fn contrast(across: &Across, contrast: &Contrast, scale: f64) -> Markup {
    let sure = contrast
        .preferences
        .iter()
        .filter(|p| p.difference.sure)
        .count();
    let name = label(contrast);
    html! {
        tr {
            th scope="row" { @if sure > 0 { b { (name) } } @else { (name) } }
            @for share in &contrast.shares { (share_cell(across, share, scale)) }
            td class=[(sure == 0).then_some("unsure")] {
                @if sure == 0 { "none" } @else { (count(sure)) " of " (count(contrast.preferences.len())) }
            }
        }
    }
}

fn share_cell(across: &Across, share: &Estimate, scale: f64) -> Cell {
    let hundred = hundredfold(share);
    let half = (hundred.high - hundred.low) / 2.0;
    let digits = decimals_for((10.0 * half).max(hundred.value.abs() / 10.0)).min(2);
    let better = match across.direction {
        Direction::LowerIsBetter => -share.value,
        Direction::HigherIsBetter => share.value,
    };
    Cell {
        number: signed(hundred.value, digits),
        small: Some(format::interval(&hundred, digits)),
        title: None,
        goodness: relative(better, scale),
        weight: match share.low <= 0.0 && share.high >= 0.0 {
            true => Weight::Unsure,
            false => Weight::Plain,
        },
    }
}

fn agreement(across: &Across) -> Markup {
    if across.agreement.is_empty() {
        return absent("No two devices measured eight of the same networks.");
    }
    let caption = "Rank correlation (Spearman) of the networks that both measured";
    let table = html! {
        table.map.wide {
            caption { (caption) ", with its 95 % interval; noise makes it smaller" }
            thead { tr { th {} @for device in &across.devices { th scope="col" { (device.name) } } } }
            tbody {
                @for (row, device) in across.devices.iter().enumerate() {
                    tr {
                        th scope="row" { (device.name) }
                        @for column in 0..across.devices.len() { (agreement_cell(across, row, column)) }
                    }
                }
            }
        }
    };
    scrolling(caption, &table)
}

fn agreement_cell(across: &Across, row: usize, column: usize) -> Markup {
    let pair = (row.min(column), row.max(column));
    let found = across.agreement.iter().find(|x| (x.a, x.b) == pair);
    match found {
        Some(found) => html! { (agreement_of(found)) },
        None => empty(),
    }
}

/// What differs is coloured, for it is what one looks for.
fn agreement_of(found: &Agreement) -> Cell {
    Cell {
        number: plain(found.rho, 2),
        small: Some(format!(
            "[{}, {}]",
            plain(found.low, 2),
            plain(found.high, 2)
        )),
        title: Some(format!("{} networks", found.networks)),
        goodness: relative(found.rho - ALIKE, ALIKE),
        weight: Weight::Plain,
    }
}

fn everywhere(across: &Across) -> Markup {
    let Some(everywhere) = &across.everywhere else {
        return absent(
            "No metric that all reports have, such as accuracy, says which networks are good, or no network was \
             measured on all devices.",
        );
    };
    html! {
        p.lead { (prose(&everywhere_line(across, everywhere))) }
        (networks(across, everywhere))
    }
}

fn networks(across: &Across, everywhere: &Everywhere) -> Markup {
    let caption = "Networks on the most fronts";
    let table = html! {
        table.list {
            caption { (caption) @if everywhere.best.len() > LISTED { ", the first " (LISTED) } }
            thead { tr {
                th.n scope="col" { (everywhere.against.name) }
                @for device in &across.devices { th.n scope="col" { (device.name) } }
                th scope="col" { "architecture" }
            } }
            tbody {
                @for network in everywhere.best.iter().take(LISTED) {
                    tr {
                        td.n { (plain(network.value, decimals_for(network.value.abs() / 10.0))) }
                        @for value in &network.on { td.n { (on_text(across, *value)) } }
                        td { code { (network.arch) } }
                    }
                }
            }
        }
    };
    scrolling(caption, &table)
}

fn doubts(across: &Across) -> Markup {
    let lines = doubt_lines(across);
    if lines.is_empty() {
        return html! { p.lead { "No warning applies to any of the campaigns." } };
    }
    html! { div.notice { ul { @for line in lines { li { (prose(&line)) "." } } } } }
}
