//! The claims that the profile supports, each with its interval drawn.

use maud::{Markup, html};

use super::super::format;
use super::{Page, absent};
use crate::profile::{Estimate, Finding};

pub(super) fn render(page: &Page<'_>) -> Markup {
    let findings = &page.report.profile.findings;
    if findings.is_empty() {
        return absent(
            "No claim survives the correction for the number of comparisons: the data cannot tell the blocks apart. \
             More networks would narrow the intervals.",
        );
    }
    html! {
        p.lead {
            "Claims that hold together, after correction for all claims tried, of each kind the strongest. On the \
             right the \
             estimate with its 95\u{a0}% interval; the bars of one metric share a scale, and the thin line is zero."
        }
        ol.claims {
            @for finding in findings { (claim(page, finding)) }
        }
    }
}

fn claim(page: &Page<'_>, finding: &Finding) -> Markup {
    html! {
        li {
            span { (finding.text) " " span.chip { (finding.metric) } }
            (bar(&finding.evidence, reach(page, &finding.metric)))
            span.evidence { (format::finding(finding)) }
        }
    }
}

/// How far the intervals of a metric's claims reach from zero.
fn reach(page: &Page<'_>, metric: &str) -> f64 {
    let of_metric = page.report.profile.findings.iter();
    of_metric
        .filter(|f| f.metric == metric)
        .flat_map(|f| [f.evidence.low.abs(), f.evidence.high.abs()])
        .filter(|v| v.is_finite())
        .fold(0.0, f64::max)
}

/// The interval as a bar around its estimate; text beside it says the same, so it is hidden from readers.
fn bar(estimate: &Estimate, reach: f64) -> Markup {
    let at = |v: f64| {
        let position = if reach > 0.0 && v.is_finite() {
            v / reach
        } else {
            0.0
        };
        format!("{:.1}", 80.0 + 74.0 * position)
    };
    html! {
        svg viewBox="0 0 160 18" aria-hidden="true" preserveAspectRatio="xMinYMid" {
            line.zero x1="80" x2="80" y1="1" y2="17" {}
            line.stem x1="80" x2=(at(estimate.value)) y1="9" y2="9" {}
            line.bar x1=(at(estimate.low)) x2=(at(estimate.high)) y1="9" y2="9" {}
            circle.dot cx=(at(estimate.value)) cy="9" r="3.4" {}
        }
    }
}
