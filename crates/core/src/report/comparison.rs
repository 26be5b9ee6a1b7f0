//! A comparison of two profiles in Markdown.

use std::fmt::Write as _;

use super::format::{self, NBSP, counted, decimals_for, percent, plain, signed};
use super::markdown::escaped;
use super::view::{effect_unit, heading, in_words};
use crate::compare::{Change, Comparison, Control, MetricComparison, Side};
use crate::metric::Direction;
use crate::profile::Estimate;
use crate::shown::visible;

/// The comparison as Markdown, with at most `most` changes of every metric.
#[must_use]
pub fn comparison_markdown(comparison: &Comparison, most: usize) -> String {
    let mut out = String::from("# What differs\n\n");
    for (name, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        let _ = writeln!(out, "- **{name}**: {}", escaped(&described(side)));
    }
    for line in condition_lines(comparison).chain(doubt_lines(comparison)) {
        let _ = writeln!(out, "- {}", escaped(&line));
    }
    let _ = write!(out, "\n{}\n\n", promise(comparison.control));
    if comparison.common {
        out.push_str(
            "Only what both offer is compared; effects are relative to the mean over that.\n\n",
        );
    }
    for metric in &comparison.metrics {
        push_metric(&mut out, metric, most);
    }
    visible(&out).into_owned()
}

fn push_metric(out: &mut String, metric: &MetricComparison, most: usize) {
    let _ = write!(out, "## {}\n\n", escaped(&heading_of(metric)));
    for line in lines(metric) {
        let _ = writeln!(out, "- {}", escaped(&line));
    }
    out.push('\n');
    let sure = sure(metric);
    if sure.is_empty() {
        return;
    }
    let unit = escaped(&effect_unit(&metric.a.unit));
    let _ = writeln!(
        out,
        "| where | A ({unit}) | B ({unit}) | B \u{2212} A ({unit}) | B \u{2212} A (% of mean) \
         |\n|---|---:|---:|---:|---:|"
    );
    for change in sure.iter().take(most) {
        let row = Row::new(metric, change);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            escaped(&row.place),
            row.effects[0],
            row.effects[1],
            emphasised(&row.absolute, change.absolute.sure),
            emphasised(&row.relative, change.relative.sure)
        );
    }
    if sure.len() > most {
        let _ = write!(
            out,
            "\n{} more are not shown.\n",
            format::count(sure.len() - most)
        );
    }
    out.push('\n');
}

fn emphasised(text: &str, sure: bool) -> String {
    if sure {
        format!("**{text}**")
    } else {
        text.to_owned()
    }
}

/// A side in one line.
pub(super) fn described(side: &Side) -> String {
    format!("{} ({}, {})", side.title, side.source, side.created)
}

/// What was not the same for both sides, one line each.
pub(super) fn condition_lines(comparison: &Comparison) -> impl Iterator<Item = String> + '_ {
    let conditions = comparison.conditions.iter();
    conditions.map(|c| format!("Not the same {}: {} in A, {} in B.", c.what, c.a, c.b))
}

/// The doubts about both sides, one line each.
pub(super) fn doubt_lines(comparison: &Comparison) -> impl Iterator<Item = String> + '_ {
    let sides = [("A", &comparison.a), ("B", &comparison.b)].into_iter();
    sides.flat_map(|(name, side)| {
        let doubts = side.doubts.iter();
        doubts.map(move |doubt| format!("Doubt about {name}: {doubt}"))
    })
}

/// What the claims promise.
pub(super) fn promise(control: Control) -> &'static str {
    match control {
        Control::Holm => {
            "Differences are B minus A, with their own 95 % intervals. Bold ones are claimed: with 95 % probability no \
             claim about a metric is wrong (Holm)."
        }
        Control::Bh => {
            "Differences are B minus A, with their own 95 % intervals. Bold ones are claimed: at most 5 % of the \
             claims about a metric are expected to be wrong (Benjamini and Hochberg)."
        }
        Control::By => {
            "Differences are B minus A, with their own 95 % intervals. Bold ones are claimed: at most 5 % of the \
             claims about a metric are expected to be wrong, whatever their dependence (Benjamini and Yekutieli)."
        }
    }
}

pub(super) fn heading_of(metric: &MetricComparison) -> String {
    if metric.a.name == metric.b.name {
        heading(&metric.a.name)
    } else {
        format!(
            "{} and {}",
            heading(&metric.a.name),
            heading(&metric.b.name)
        )
    }
}

/// What can be said in sentences.
pub(super) fn lines(metric: &MetricComparison) -> Vec<String> {
    vec![level(metric), alike(metric), counts(metric)]
}

fn level(metric: &MetricComparison) -> String {
    let [a, b] = &metric.means;
    let unit = &metric.a.unit;
    let digits = decimals_for(10.0 * a.se.max(b.se).max(a.value.abs() / 1e4));
    let value = |e: &Estimate| {
        format!(
            "{}{NBSP}{unit} {}",
            plain(e.value, digits),
            format::interval(e, digits)
        )
    };
    let verdict = if metric.adjusted_p < 0.05 {
        match (metric.a.direction, metric.ratio.value < 1.0) {
            (Direction::LowerIsBetter, true) | (Direction::HigherIsBetter, false) => {
                "B is better on average"
            }
            _ => "A is better on average",
        }
    } else {
        "which is better on average cannot be told"
    };
    format!(
        "Mean over the space: A {}, B {}; B over A {} {}: {verdict}.",
        value(a),
        value(b),
        plain(metric.ratio.value, 3),
        format::interval(&metric.ratio, 3)
    )
}

fn alike(metric: &MetricComparison) -> String {
    match &metric.correlation {
        None => "How alike the block effects are cannot be told: they are mostly noise.".to_owned(),
        Some(c) => format!(
            "The {} correlate with {} [{}, {}] once noise is allowed for ({} as estimated).",
            counted(c.effects, "block effect"),
            plain(c.corrected, 3),
            plain(c.low, 3),
            plain(c.high, 3),
            plain(c.plain, 3)
        ),
    }
}

fn counts(metric: &MetricComparison) -> String {
    let count = |of: fn(&Change) -> bool| metric.changes.iter().filter(|c| of(c)).count();
    let (relative, absolute) = (count(|c| c.relative.sure), count(|c| c.absolute.sure));
    let all = counted(metric.changes.len(), "effect");
    match (relative, absolute) {
        (0, 0) => format!(
            "None of {all} differs surely, neither in {} nor relative to the mean.",
            in_words(&metric.a.unit)
        ),
        (0, n) => format!(
            "{} of {all} differ surely in {}, but none relative to the mean: nothing says that B prefers other blocks \
             than A.",
            format::count(n),
            in_words(&metric.a.unit)
        ),
        (n, m) => format!(
            "{} of {all} differ surely relative to the mean (B prefers other blocks than A), {} in {}.",
            format::count(n),
            format::count(m),
            in_words(&metric.a.unit)
        ),
    }
}

/// The changes that are claimed: those relative to the mean first, then by how sure they are.
pub(super) fn sure(metric: &MetricComparison) -> Vec<&Change> {
    let mut all: Vec<&Change> = metric
        .changes
        .iter()
        .filter(|c| c.relative.sure || c.absolute.sure)
        .collect();
    let strength = |c: &Change| {
        let d = if c.relative.sure {
            &c.relative
        } else {
            &c.absolute
        };
        d.difference.value.abs() / d.difference.se.max(f64::MIN_POSITIVE)
    };
    all.sort_by(|a, b| {
        b.relative
            .sure
            .cmp(&a.relative.sure)
            .then(strength(b).total_cmp(&strength(a)))
    });
    all
}

/// A change as text.
pub(super) struct Row {
    pub place: String,
    pub effects: [String; 2],
    pub absolute: String,
    pub relative: String,
}

impl Row {
    pub(super) fn new(metric: &MetricComparison, change: &Change) -> Self {
        let errors = metric.changes.iter().map(|c| c.absolute.difference.se);
        let typical = errors.fold(0.0, f64::max);
        let digits = decimals_for(10.0 * typical.max(change.absolute.difference.value.abs() / 1e3));
        let part = change.relative.difference;
        let hundred = Estimate {
            value: 100.0 * part.value,
            se: 100.0 * part.se,
            low: 100.0 * part.low,
            high: 100.0 * part.high,
        };
        Self {
            place: change.subject.to_string(),
            effects: [0, 1].map(|i| signed(change.effects[i].value, digits)),
            absolute: with_interval(&change.absolute.difference, digits),
            relative: with_interval(&hundred, 2),
        }
    }
}

fn with_interval(estimate: &Estimate, digits: usize) -> String {
    format!(
        "{} {}",
        signed(estimate.value, digits),
        format::interval(estimate, digits)
    )
}

/// The correlation in per cent, for headings.
pub(super) fn correlation_text(metric: &MetricComparison) -> String {
    metric
        .correlation
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), |c| percent(c.corrected, 0))
}
