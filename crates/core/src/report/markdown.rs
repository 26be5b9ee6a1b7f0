//! A short summary in Markdown: findings, kernel-by-expansion tables, and how good the measurements are.

use std::fmt::Write as _;

use super::arrange::{average, kernels_and_expansions};
use super::document::{MeasurementSection, Report};
use super::format::{self, counted, percent};
use super::interaction::interaction_line;
use super::ranks::{rank_heading, rank_text};
use super::view::{View, origin_label, views};
use crate::metric::Origin;
use crate::profile::{Estimate, Profile};
use crate::shown::visible;
use crate::space::Ratio;

/// The report in brief: its findings, the kernel-by-expansion table of every metric, and the quality of
/// the measurements.
#[must_use]
pub fn summary_markdown(report: &Report) -> String {
    let views = views(&report.profile);
    let mut out = String::new();
    push_head(&mut out, report);
    push_doubts(&mut out, report, true);
    push_metrics(&mut out, report, &views);
    push_findings(&mut out, &report.profile);
    for view in &views {
        push_table(&mut out, view);
        push_ranks(&mut out, view);
    }
    push_quality(&mut out, report);
    visible(&out).into_owned()
}

// Writing to a String cannot fail; the results of `write!` are dropped on purpose below.

fn push_head(out: &mut String, report: &Report) {
    let p = &report.profile;
    let _ = write!(
        out,
        "# {}\n\nDesign space {} (width {}), resolution {} px, seed {}.",
        escaped(&report.title),
        escaped(&p.space),
        p.width,
        p.resolution,
        p.seed
    );
    if let Some(m) = &report.measurement {
        let d = &m.device;
        let from = |origin| p.metrics.iter().any(|m| m.metric.origin == origin);
        let verb = match () {
            () if from(Origin::Simulated) => "Simulated",
            () if from(Origin::Estimated) => "Estimated",
            () => "Measured",
        };
        let _ = write!(
            out,
            " {verb} with {} {} ({}, {}) on {}.",
            escaped(&d.engine),
            escaped(&d.engine_version),
            counted(d.threads, "thread"),
            escaped(&d.precision),
            escaped(&d.cpu)
        );
    }
    out.push_str("\n\n");
}

/// Doubts that question the figures stand above them, others beside how they were measured.
fn push_doubts(out: &mut String, report: &Report, grave: bool) {
    let doubts = report.warnings.iter().filter(|w| w.is_grave() == grave);
    let lines: Vec<String> = doubts
        .map(|w| format!("- Doubt: {}\n", escaped(&w.to_string())))
        .collect();
    out.push_str(&lines.concat());
    if grave && !lines.is_empty() {
        out.push('\n');
    }
}

fn push_metrics(out: &mut String, report: &Report, views: &[View<'_>]) {
    if views.is_empty() {
        out.push_str("No metric was profiled.\n\n");
        return;
    }
    for view in views {
        let info = view.info();
        let _ = writeln!(
            out,
            "- **{}** ({}): {} {} {}, from {}. {}",
            escaped(&view.heading),
            origin_label(info.origin),
            mean_label(report, view),
            escaped(&view.value(view.profile.mean.value)),
            format::interval(&view.profile.mean, view.decimals),
            counted(view.profile.evaluations, "network"),
            escaped(&info.about)
        );
    }
    out.push('\n');
}

/// What the mean of a metric is called: where the level is not known it is none.
pub(super) fn mean_label(report: &Report, view: &View<'_>) -> &'static str {
    let level = report.measurement.as_ref().and_then(|m| m.level);
    match level.is_some_and(|level| level.is_unknown()) && view.info().name == "latency" {
        true => "mean not known; by CPU time",
        false => "mean",
    }
}

fn push_findings(out: &mut String, profile: &Profile) {
    out.push_str("## What stands out\n\n");
    if profile.findings.is_empty() {
        out.push_str("Nothing that survives the correction for the number of comparisons.\n\n");
        return;
    }
    for finding in &profile.findings {
        let text = escaped(&finding.text);
        let _ = writeln!(out, "- {text} **{}**", escaped(&format::finding(finding)));
    }
    out.push('\n');
}

fn push_table(out: &mut String, view: &View<'_>) {
    let (kernels, expansions) = kernels_and_expansions(view.profile);
    if kernels.is_empty() && expansions.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "## {}: kernel by expansion\n\nEffect in {}, averaged over every placement, with its 95 % interval.\n\n| \
         kernel |",
        escaped(&view.heading),
        escaped(view.in_unit())
    );
    for e in &expansions {
        let _ = write!(out, " expansion {e} |");
    }
    out.push_str(" all |\n|---|");
    out.push_str(&"---:|".repeat(expansions.len() + 1));
    out.push('\n');
    for kernel in kernels.iter().copied().map(Some).chain([None]) {
        push_row(out, view, kernel, &expansions);
    }
    out.push('\n');
}

/// The network's ranks in a line, and whether the metric adds up.
fn push_ranks(out: &mut String, view: &View<'_>) {
    let whole = view.profile.ranks.iter().filter(|r| r.unit.is_none());
    for ranking in whole {
        let items = ranking.items.iter();
        let told: Vec<String> = items
            .map(|i| format!("{} ({})", i.name, rank_text(i)))
            .collect();
        let _ = writeln!(
            out,
            "- {}, best first, with the ranks that the data leave open: {}.",
            rank_heading(ranking.of),
            escaped(&told.join(", "))
        );
    }
    if let Some(additivity) = &view.profile.additivity {
        let _ = writeln!(out, "- {}", escaped(&interaction_line(additivity)));
    }
    if !view.profile.ranks.is_empty() || view.profile.additivity.is_some() {
        out.push('\n');
    }
}

fn push_row(out: &mut String, view: &View<'_>, kernel: Option<u32>, expansions: &[Ratio]) {
    let name = kernel.map_or_else(|| "all".to_owned(), |k| format!("{k}\u{d7}{k}"));
    let _ = write!(out, "| {name} |");
    for expansion in expansions.iter().copied().map(Some).chain([None]) {
        let cell = average(view.profile, None, kernel, expansion);
        let text = cell.map_or_else(String::new, |e| table_cell(e, view.decimals));
        let _ = write!(out, " {text} |");
    }
    out.push('\n');
}

fn table_cell(estimate: &Estimate, decimals: usize) -> String {
    format!(
        "{} {}",
        format::signed(estimate.value, decimals),
        format::interval(estimate, decimals)
    )
}

fn push_quality(out: &mut String, report: &Report) {
    out.push_str("## Measurement quality\n\n");
    match &report.measurement {
        Some(m) => out.push_str(&quality_line(m)),
        None => out.push_str("No device was measured for this report."),
    }
    out.push_str("\n\n");
    push_doubts(out, report, false);
    let _ = writeln!(
        out,
        "\nIntervals are 95 % intervals, each for one effect on its own. Made by {}, {}.",
        escaped(&report.generated_by),
        escaped(&report.provenance.created)
    );
}

fn quality_line(m: &MeasurementSection) -> String {
    let floor = m.noise_floor.map_or_else(
        || "noise floor unknown".to_owned(),
        |f| format!("noise floor {}", percent(f, 2)),
    );
    format!(
        "{} of {} measured, {} failed; {floor}; {}; {} converged; {} of {} set aside; {}.",
        format::count(m.measured),
        counted(m.planned, "network"),
        format::count(m.failed),
        drift_line(m),
        percent(m.converged, 0),
        percent(m.set_aside, 1),
        counted(m.samples, "sample"),
        format::duration(m.wall_s)
    )
}

/// What was corrected for: the pace of the machine by the reference, where there is one, and drift.
pub(super) fn drift_line(m: &MeasurementSection) -> String {
    let drift = percent(m.largest_correction, 1);
    match &m.reference {
        None => format!("largest drift correction {drift}"),
        Some(r) => format!(
            "the machine's pace, {} to {} for the reference network, was taken out, and drift of up to {drift} \
             beyond it",
            format::millis(r.fast_ms),
            format::millis(r.slow_ms)
        ),
    }
}

/// Text that comes from elsewhere, on one line and without Markdown or HTML of its own.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().unwrap_or(' ');
        match c {
            '\n' | '\r' => out.push(' '),
            // Before a space it begins no tag, and "p < 0.001" is read in terminals, too.
            '<' if after == ' ' => out.push(c),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Within a word, as in a block's name, it is none of Markdown's.
            '_' if before.is_alphanumeric() && after.is_alphanumeric() => out.push(c),
            '\\' | '|' | '*' | '`' | '_' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
        before = c;
    }
    // Brackets are intervals nearly always; only a link's middle is broken up.
    out.replace("](", "]\\(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_brings_no_markup() {
        assert_eq!(escaped("a|b\n<i>"), "a\\|b &lt;i&gt;");
        assert_eq!(escaped("p < 0.001"), "p < 0.001");
        assert_eq!(escaped("e3_k3 _it_"), "e3_k3 \\_it\\_");
        assert_eq!(
            escaped("[x](javascript:0) [0.1, 0.2]"),
            "[x]\\(javascript:0) [0.1, 0.2]"
        );
    }
}
