//! How good the measurements are: noise floor, drift, warnings, failures, and the networks measured.

use maud::{Markup, html};

use super::super::document::{Level, MeasurementSection, NetworkRow, Reference};
use super::super::format::{capitalised, count, counted, duration, millis, percent, plain};
use super::super::view::View;
use super::plot::{Axis, Frame, px};
use super::{Page, absent, scrolling};

pub(super) fn render(page: &Page<'_>) -> Markup {
    html! {
        (warnings(page))
        @match &page.report.measurement {
            None => (absent("No device was measured for this report: its metrics are computed, and the table at the \
                top says how.")),
            Some(m) => {
                (facts(m))
                (sentinel(m))
                (failures(m))
                (doubts(m))
                (networks(page, m))
            }
        }
    }
}

fn warnings(page: &Page<'_>) -> Markup {
    let warnings = &page.report.warnings;
    if warnings.is_empty() {
        return html! { p.lead { "No warning applies to the campaign as a whole." } };
    }
    html! {
        div.notice { ul {
            @for warning in warnings { li { (prose(&capitalised(&warning.to_string()))) "." } }
        } }
    }
}

/// A message meant for the terminal, set for the page: `code` in backticks, `+-` as one sign.
pub(super) fn prose(text: &str) -> Markup {
    let text = text.replace("+-", "\u{b1}");
    let pieces: Vec<&str> = text.split('`').collect();
    // An even number of pieces means a backtick without a partner.
    if pieces.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (i, piece) in pieces.iter().enumerate() {
            @if i % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

fn facts(m: &MeasurementSection) -> Markup {
    let p = &m.phases;
    html! {
        h3 { "In figures" }
        dl.facts {
            dt { "Networks" } dd { (count(m.measured)) " measured, " (count(m.failed)) " failed, " (count(m.planned))
                " planned, in " (duration(m.wall_s)) }
            dt { "Noise floor" } dd { (noise_floor(m)) }
            @if let Some(reference) = &m.reference {
                dt { "Machine's pace" } dd { (pace(reference)) }
            }
            @if let Some(level) = &m.level {
                dt { "Level in ms" } dd { (level_line(level)) }
            }
            dt { "Drift" } dd { (drift(m)) "; raw and corrected times are both kept" }
            dt { "Statistic" } dd { (m.statistic) }
            dt { "Converged" } dd { (percent(m.converged, 1)) " of the measurements reached the precision asked for" }
            dt { "Samples" } dd { (counted(m.samples, "timed inference")) ", " (percent(m.set_aside, 2))
                " set aside as disturbed" }
            dt { "Before steady state" } dd {
                "median build " (millis(p.build_ms)) ", prepare " (millis(p.prepare_ms)) ", first \
                 inference " (millis(p.first_ms))
                ", warm-up " (millis(p.warm_up_ms)) "; none of this enters the profile"
            }
            dt { "Device" } dd { (super::header::device_line(&m.device))
                @if let Some(governor) = &m.device.governor { "; frequency governor " (governor) } }
        }
    }
}

/// How well the level is known, and what it rests on.
fn level_line(level: &Level) -> String {
    let known = format!(
        "all latencies together are known to {} (standard deviation), which intervals in ms hold and shares of \
         the mean do not feel",
        percent(level.relative_error, 1)
    );
    level.wall_over_cpu.map_or_else(
        || known.clone(),
        |ratio| format!("{known}; inferences took {ratio:.2} times their CPU time"),
    )
}

/// What was corrected for drift. With a reference that is what the reference leaves, so that raw times may change by
/// more.
fn drift(m: &MeasurementSection) -> String {
    let corrected = percent(m.largest_correction, 2);
    let raw = || m.sentinels.iter().map(|s| s.raw_ms);
    if m.reference.is_none() || m.sentinels.is_empty() {
        return format!("corrected by up to {corrected}");
    }
    let least = raw().fold(f64::INFINITY, f64::min);
    let most = raw().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "the sentinel took {} to {}; the reference took the machine's pace out of that, and what drift was left \
         was corrected by up to {corrected}",
        millis(least),
        millis(most)
    )
}

/// What the reference says of the machine, and that latencies do not depend on it.
fn pace(reference: &Reference) -> String {
    let response = reference.response.map_or_else(String::new, |exponent| {
        // In terms of a spell that slows the reference down by a tenth.
        let more = 1.1_f64.powf(exponent) - 1.0;
        let direction = if more > 0.0 { "more" } else { "less" };
        format!(
            "; where it is 10 % slower the largest network is {} {direction} so, which was taken out by size",
            percent(more.abs(), 1)
        )
    });
    format!(
        "the reference network, which ran in turn with every other, took {} to {} (5 % to 95 % of the sessions, median \
         {}); \
         latencies are multiples of it, counted at its fast pace{response}",
        millis(reference.fast_ms),
        millis(reference.slow_ms),
        millis(reference.median_ms)
    )
}

fn noise_floor(m: &MeasurementSection) -> String {
    m.noise_floor.map_or_else(
        || "unknown: the sentinel was measured too rarely to tell".to_owned(),
        |f| {
            let how = counted(m.sentinels.len(), "repetition");
            format!("{}, from {how} of the sentinel network", percent(f, 2))
        },
    )
}

fn sentinel(m: &MeasurementSection) -> Markup {
    if m.sentinels.is_empty() {
        return absent(
            "The sentinel network has no readings, so drift and noise floor are unknown.",
        );
    }
    let level = median(m.sentinels.iter().map(|s| s.corrected_ms).collect());
    let curve: Vec<(f64, f64)> = m
        .drift
        .iter()
        .map(|d| (d.position, d.factor * level))
        .collect();
    let frame = sentinel_frame(m, &curve);
    let title = "The sentinel network over the campaign";
    let plot = html! {
        svg viewBox=(frame.view_box()) role="img" aria-label=(title) {
            (frame.axes("order of measurement", "sentinel latency (ms)"))
            @if curve.len() > 1 { path.curve d=(polyline(&frame, &curve)) {} }
            @for s in &m.sentinels {
                circle.raw cx=(px(frame.x(to_f64(s.position)))) cy=(px(frame.y(s.raw_ms))) r="4" {
                    title { "measurement " (s.position) ": " (millis(s.raw_ms)) " raw, " (millis(s.corrected_ms))
                        " corrected" }
                }
                circle.corrected cx=(px(frame.x(to_f64(s.position)))) cy=(px(frame.y(s.corrected_ms))) r="2.4" {}
            }
        }
    };
    html! {
        h3 { "Drift" }
        figure {
            ul.key {
                li { svg viewBox="0 0 12 12" aria-hidden="true" { circle.raw cx="6" cy="6" r="4" {} } "as measured" }
                li { svg viewBox="0 0 12 12" aria-hidden="true" { path.curve d="M0 8L12 4" {} } "drift curve" }
                li { svg viewBox="0 0 12 12" aria-hidden="true" { circle.corrected cx="6" cy="6" r="3" {} }
                    "after correction" }
            }
            (scrolling(title, &plot))
            figcaption {
                (title) ": the same network again and again. What changes is the device."
                @if m.reference.is_some() { " The reference takes its pace out; the curve is the drift that is left." }
            }
        }
    }
}

fn sentinel_frame(m: &MeasurementSection, curve: &[(f64, f64)]) -> Frame {
    let positions = m.sentinels.iter().map(|s| to_f64(s.position));
    let readings = m.sentinels.iter().flat_map(|s| [s.raw_ms, s.corrected_ms]);
    Frame {
        width: 960.0,
        height: 280.0,
        x: Axis::covering(positions.chain(curve.iter().map(|p| p.0))),
        y: Axis::covering(readings.chain(curve.iter().map(|p| p.1))),
    }
}

fn polyline(frame: &Frame, points: &[(f64, f64)]) -> String {
    let places: Vec<String> = points
        .iter()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .map(|&(x, y)| format!("{} {}", px(frame.x(x)), px(frame.y(y))))
        .collect();
    format!("M{}", places.join("L"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|v| v.is_finite());
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(n: usize) -> f64 {
    n as f64
}

fn failures(m: &MeasurementSection) -> Markup {
    if m.failures.is_empty() {
        return html! { h3 { "Failures" } p { "No network failed." } };
    }
    let table = html! {
        table.list {
            caption { "Networks without a latency; they are left out, never counted as zero" }
            thead { tr { th scope="col" { "kind" } th.n scope="col" { "networks" } th scope="col" { "for example" } } }
            tbody { @for f in &m.failures {
                tr { th scope="row" { (f.kind) } td.n { (count(f.count)) } td { (prose(&f.example)) } }
            } }
        }
    };
    html! { h3 { "Failures" } (scrolling("Failures", &table)) }
}

fn doubts(m: &MeasurementSection) -> Markup {
    if m.warnings.is_empty() {
        return html! {};
    }
    let table = html! {
        table.list {
            caption { "Doubts about single measurements" }
            thead { tr { th.n scope="col" { "measurements" } th scope="col" { "doubt" } } }
            tbody { @for w in &m.warnings { tr { td.n { (count(w.count)) } td { (prose(&w.warning)) } } } }
        }
    };
    html! { h3 { "Doubts" } (scrolling("Doubts about single measurements", &table)) }
}

/// Up to so many networks each point says on hover which one it is.
const NAMED: usize = 400;
/// So many points show the shape of a cloud; more only make the page heavy.
const DRAWN: usize = 4_000;

fn networks(page: &Page<'_>, m: &MeasurementSection) -> Markup {
    html! {
        h3 { "The networks measured" }
        @if m.networks.is_empty() {
            (absent("No network has a latency yet."))
        } @else {
            @match counterpart(page, m) {
                Some(name) => (cloud(page, m, &name)),
                None => (absent("The networks have no metric beside latency to be drawn against.")),
            }
        }
    }
}

/// What to draw latency against: accuracy, else MACs, else the first metric there is.
fn counterpart(page: &Page<'_>, m: &MeasurementSection) -> Option<String> {
    let has = |name: &str| m.networks.iter().any(|n| n.values.contains_key(name));
    let profiled = page.views.iter().map(|v| v.info().name.as_str());
    let first = ["accuracy", "macs"].into_iter().filter_map(|quantity| {
        let view = page.views.iter().find(|v| v.info().quantity() == quantity);
        view.map(|v| v.info().name.as_str())
    });
    first
        .chain(profiled)
        .find(|name| *name != "latency" && has(name))
        .map(str::to_owned)
        .or_else(|| {
            m.networks
                .iter()
                .find_map(|n| n.values.keys().next().cloned())
        })
}

fn cloud(page: &Page<'_>, m: &MeasurementSection, name: &str) -> Markup {
    let view = page.views.iter().find(|v| v.info().name == name);
    let points: Vec<(&NetworkRow, f64)> = m
        .networks
        .iter()
        .filter_map(|n| Some((n, *n.values.get(name)?)))
        .filter(|(n, v)| v.is_finite() && n.corrected_ms.is_finite())
        .collect();
    let drawn: Vec<&(&NetworkRow, f64)> = points
        .iter()
        .step_by(points.len().div_ceil(DRAWN).max(1))
        .collect();
    let frame = Frame {
        width: 960.0,
        height: 420.0,
        x: Axis::covering(points.iter().map(|p| p.0.corrected_ms)),
        y: Axis::covering(points.iter().map(|p| p.1)),
    };
    let title = format!("{name} against latency of the networks measured");
    let plot = html! {
        svg viewBox=(frame.view_box()) role="img" aria-label=(title) {
            (frame.axes("latency, drift-corrected (ms)", &axis_name(view, name)))
            @if drawn.len() <= NAMED { @for p in &drawn { (named_point(&frame, view, p)) } }
            @else { path.cloud d=(dots(&frame, &drawn)) {} }
        }
    };
    html! {
        figure {
            (scrolling(&title, &plot))
            figcaption {
                (counted(points.len(), "network"))
                @if drawn.len() < points.len() { ", of which " (count(drawn.len())) ", evenly chosen, are drawn" }
                ". Drawn for the profile, not searched for good ones."
            }
        }
    }
}

fn axis_name(view: Option<&View<'_>>, name: &str) -> String {
    view.map_or_else(
        || name.to_owned(),
        |v| match v.info().unit.as_str() {
            "" => name.to_owned(),
            unit => format!("{name} ({unit})"),
        },
    )
}

fn named_point(
    frame: &Frame,
    view: Option<&View<'_>>,
    (network, value): &(&NetworkRow, f64),
) -> Markup {
    let value_text = view.map_or_else(|| plain(*value, 3), |v| v.value(*value));
    html! {
        path.cloud d=(dot(frame, network, *value)) {
            title { (network.arch) ": " (millis(network.corrected_ms)) " (raw " (millis(network.raw_ms)) "), "
                (value_text) }
        }
    }
}

/// A dot is a line of no length with round ends: the shortest way to draw thousands.
fn dot(frame: &Frame, network: &NetworkRow, value: f64) -> String {
    format!(
        "M{} {}h0",
        px(frame.x(network.corrected_ms)),
        px(frame.y(value))
    )
}

fn dots(frame: &Frame, points: &[&(&NetworkRow, f64)]) -> String {
    points.iter().map(|(n, v)| dot(frame, n, *v)).collect()
}
