//! Which blocks are slow or fast for their work on this device.

use maud::{Markup, html};

use super::super::arrange::{UnitRate, friendliness_rows, unit_rates};
use super::super::format::{effect, interval, plain, signed};
use super::super::view::{excludes, largest};
use super::cell::{Cell, STEPS, Weight, empty, relative, swatches};
use super::heatmap::{body, column_headings};
use super::{Page, absent, scrolling};
use crate::profile::Friendliness;

/// Digits after the point of excess times: that of the latency effects, or two.
fn decimals(page: &Page<'_>) -> usize {
    let latency = page.views.iter().find(|v| v.info().quantity() == "latency");
    latency.map_or(2, |v| v.decimals)
}

pub(super) fn render(page: &Page<'_>) -> Markup {
    if page.report.profile.friendliness.is_empty() {
        return absent(
            "Friendliness compares time with work. It needs a latency, and this report has none that was profiled.",
        );
    }
    html! {
        p.lead {
            "A block with more multiply-accumulates may take longer; friendliness asks whether it is slow "
            em { "for its work" } " on this device."
        }
        div.pairs {
            div { (excess(page)) }
            div { (rates(page)) }
        }
    }
}

fn excess(page: &Page<'_>) -> Markup {
    let rows = friendliness_rows(&page.report.profile);
    let scale = largest(
        page.report
            .profile
            .friendliness
            .iter()
            .map(|f| &f.excess_ms),
    );
    let decimals = decimals(page);
    let caption = "Excess time of every block";
    let table = html! {
        table.map.dense {
            caption {
                b { (caption) } " \u{2013} in ms"
            }
            (column_headings(&page.columns))
            (body(page, &rows, |f| excess_cell(f, scale, decimals)))
        }
    };
    html! {
        p {
            "The block's latency effect beyond what its MACs cost at the device's average rate: above zero is slow for \
             its \
             work. Bold: differs from zero after correction for all figures of the table."
        }
        (scrolling(caption, &table))
        (excess_legend(scale, decimals))
    }
}

fn excess_cell(f: &Friendliness, scale: f64, decimals: usize) -> Cell {
    let title = format!(
        "unit {}, layer {}, {}: {}, {}\u{a0}MMACs",
        f.unit,
        f.layer,
        f.block,
        effect(&f.excess_ms, decimals + 1, "ms"),
        plain(f.mmacs, 1)
    );
    Cell {
        number: signed(f.excess_ms.value, decimals),
        small: None,
        title: Some(title),
        goodness: relative(-f.excess_ms.value, scale),
        weight: if f.significant {
            Weight::Sure
        } else {
            Weight::Unsure
        },
    }
}

fn rates(page: &Page<'_>) -> Markup {
    let rates = unit_rates(&page.report.profile);
    if rates.is_empty() {
        return absent(
            "No layer of this space is optional, so the rate of a block cannot be known: the time of a layer that is \
             always there never varies.",
        );
    }
    let furthest = rates
        .values()
        .flat_map(|blocks| blocks.values())
        .filter(|r| r.rate.value > 0.0)
        .map(|r| r.rate.value.ln().abs())
        .fold(0.0, f64::max);
    let caption = "Relative rate by unit";
    let table = html! {
        table.map.dense {
            caption {
                b { (caption) } " \u{2013} the block's MACs per second, in times the device's average; above 1 is \
                    friendly"
            }
            (column_headings(&page.columns))
            tbody { @for (unit, blocks) in &rates { tr {
                th scope="row" { (unit) } th { "all opt." }
                @for column in &page.columns {
                    @match blocks.get(column.block.as_str()) {
                        Some(rate) => (rate_cell(*unit, &column.block, rate, furthest)),
                        None => (empty()),
                    }
                }
            } } }
        }
    };
    html! {
        p {
            "Averaged over the unit's optional layers: the rate of a layer that is always there cannot be known. Small \
             and \
             grey where the interval includes 1. Intervals (on hover) are means of the layers' intervals, which is on \
             the \
             safe side."
        }
        (scrolling(caption, &table))
        (rate_legend(furthest))
    }
}

fn rate_legend(furthest: f64) -> Markup {
    let steps = STEPS.map(|step| (plain((step * furthest).exp(), 2), step));
    swatches("slow", "fast for its work", "times average", &steps)
}

fn excess_legend(scale: f64, decimals: usize) -> Markup {
    let steps = STEPS.map(|step| (signed(step * scale, decimals), -step));
    swatches("fast", "slow for its work", "ms", &steps)
}

fn rate_cell(unit: usize, block: &str, found: &UnitRate, furthest: f64) -> Cell {
    let rate = &found.rate;
    let title = format!(
        "unit {unit}, {block}: {} times the average rate {}, mean of {} layer{}",
        plain(rate.value, 3),
        interval(rate, 3),
        found.layers,
        if found.layers == 1 { "" } else { "s" }
    );
    // A rate is a ratio: half and double are equally far from average.
    let goodness = if rate.value > 0.0 {
        rate.value.ln()
    } else {
        -furthest
    };
    Cell {
        number: plain(rate.value, 2),
        small: None,
        title: Some(title),
        goodness: relative(goodness, furthest),
        weight: if excludes(rate, 1.0) {
            Weight::Plain
        } else {
            Weight::Unsure
        },
    }
}
