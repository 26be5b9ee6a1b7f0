//! A reduction in Markdown: what went, why, what is left and what it cost.

use std::fmt::Write as _;

use super::format::percent;
use super::markdown::escaped;
use crate::reduce::{Deciding, InsightKind, KnownFront, Left, Reduction};
use crate::shown::visible;

/// The reduction as Markdown.
#[must_use]
pub fn reduction_markdown(reduction: &Reduction) -> String {
    let mut out = String::new();
    push_head(&mut out, reduction);
    push_size(&mut out, reduction);
    push_insights(&mut out, reduction);
    push_left(&mut out, &reduction.left);
    visible(&out).into_owned()
}

// Writing to a String cannot fail; the results of `write!` are dropped on purpose below.

fn push_head(out: &mut String, r: &Reduction) {
    let _ = writeln!(
        out,
        "# {}, reduced for {}\n\nWidth {}, {}. With a probability of {} no statement below is wrong, as far as the \
         intervals of the profile hold. What decided:\n",
        escaped(&r.space),
        escaped(&r.goal),
        r.width,
        pixels(&r.resolutions),
        percent(1.0 - r.level, 0)
    );
    for metric in &r.metrics {
        let several = r.resolutions.len() > 1;
        let _ = writeln!(out, "- {}", escaped(&described(metric, several)));
    }
    out.push('\n');
}

/// `192, 208 and 224 pixels`.
fn pixels(resolutions: &[u32]) -> String {
    let all: Vec<String> = resolutions.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [first @ .., last] if !first.is_empty() => {
            format!("{} and {last} pixels", first.join(", "))
        }
        _ => format!("{} pixels", all.concat()),
    }
}

fn described(m: &Deciding, several: bool) -> String {
    let unit = &m.metric.unit;
    let place = match several {
        true => format!(" at {} pixels", m.resolution),
        false => String::new(),
    };
    format!(
        "{}{place} ({}): standard deviation {} {unit}; a loss counts from {}, a gain from {} {unit} on.",
        m.metric.name,
        m.source,
        number(m.sd),
        number(m.allowed_loss),
        number(m.needed_gain)
    )
}

fn push_size(out: &mut String, r: &Reduction) {
    let _ = write!(
        out,
        "{} of {} architectures are left",
        large(&r.size.after),
        large(&r.size.before)
    );
    let _ = match r.resolutions.len() > 1 {
        true => writeln!(
            out,
            " at each resolution, and of {} there are left {}.",
            pixels(&r.resolutions),
            pixels(&r.resolutions_left)
        ),
        false => writeln!(out, "."),
    };
    if let Some(loss) = r.predicted_loss {
        let _ = writeln!(
            out,
            "As far as effects add up, the best trade-offs lose {} of their area, and at most {} (allowed: {}).",
            percent(loss.loss.max(0.0), 2),
            percent(loss.upper.max(0.0), 2),
            percent(r.allowance, 2)
        );
    }
    for doubt in &r.doubts {
        let _ = writeln!(out, "{}", escaped(doubt));
    }
    if let Some(known) = &r.known_front {
        let _ = writeln!(out, "{}", of_known(known));
    }
    out.push('\n');
}

fn of_known(k: &KnownFront) -> String {
    // Of architectures that were drawn and not searched for, next to none are of any much smaller space.
    let remark = match k.evaluated_kept * 20 < k.evaluated {
        true => {
            " Next to none of architectures drawn from the whole space are in a much smaller one, so this says \
                 little; what a search found would say more."
        }
        false => "",
    };
    format!(
        "Of the {} architectures evaluated so far, {} are left; of the {} best of them (which no other dominates), {}: \
         {} of their hypervolume would have been lost. Other architectures of the reduced space may take their \
         place.{remark}",
        k.evaluated,
        k.evaluated_kept,
        k.front,
        k.front_kept,
        percent(k.hypervolume_lost, 1)
    )
}

fn push_insights(out: &mut String, r: &Reduction) {
    for (kind, heading) in [
        (InsightKind::Dominated, "Dominated"),
        (InsightKind::BeyondLimit, "Beyond the limit"),
        (InsightKind::BeatenElsewhere, "Beaten elsewhere"),
    ] {
        let of_kind: Vec<_> = r.insights.iter().filter(|i| i.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = writeln!(out, "## {heading}\n");
        for insight in of_kind {
            let _ = writeln!(out, "- {}", escaped(&insight.text));
        }
        out.push('\n');
    }
    if r.insights.is_empty() {
        out.push_str(
            "Nothing is taken away: the profiles do not show that anything can go. More measurements may.\n\n",
        );
    }
}

fn push_left(out: &mut String, left: &[Left]) {
    out.push_str("## What is left\n\n| unit | layers | channels | blocks |\n|---:|---|---|---|\n");
    for unit in left {
        let [shallow, deep] = unit.depths;
        let depths = match shallow == deep {
            true => deep.to_string(),
            false => format!("{shallow}\u{2013}{deep}"),
        };
        let channels: Vec<String> = unit.channels.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            out,
            "| {} | {depths} | {} | {} |",
            unit.unit,
            channels.join(", "),
            escaped(&blocks(unit))
        );
    }
}

/// The blocks of a unit: once where all layers have the same.
fn blocks(unit: &Left) -> String {
    let list = |blocks: &Vec<String>| blocks.join(", ");
    match unit.blocks.windows(2).all(|pair| pair[0] == pair[1]) {
        true => unit.blocks.first().map_or_else(String::new, list),
        false => {
            let layers = unit.blocks.iter().enumerate();
            let layers = layers.map(|(i, blocks)| format!("layer {}: {}", i + 1, list(blocks)));
            layers.collect::<Vec<_>>().join("; ")
        }
    }
}

/// A whole number as text, short where it is long: `2.2e19`.
fn large(digits: &str) -> String {
    match digits.len() {
        0..7 => digits.to_owned(),
        n => format!("{}.{}e{}", &digits[..1], &digits[1..2], n - 1),
    }
}

/// Three significant digits.
fn number(x: f64) -> String {
    let places = match x.abs() {
        a if a > 0.0 => (2.0 - a.log10().floor()).clamp(0.0, 9.0),
        _ => 0.0,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let places = places as usize;
    format!("{x:.places$}")
}
