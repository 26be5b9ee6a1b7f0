//! Insights as sentences.

use super::document::{Deciding, Evidence};
use super::dominance::Choice;
use crate::profile::Estimate;
use crate::space::{DesignSpace, Placement};

/// A choice of a unit, in words.
pub(super) fn choice(space: &DesignSpace, unit: Option<usize>, choice: &Choice) -> String {
    match choice {
        Choice::Block(block) => block.to_string(),
        Choice::Depth(1) => "1 layer".into(),
        Choice::Depth(depth) => format!("{depth} layers"),
        Choice::Width(width) => {
            let unit = unit.and_then(|u| space.units().get(u));
            let width = unit.and_then(|u| u.widths().get(usize::from(*width)));
            width.map_or("the width".into(), |w| format!("{} channels", w.channels))
        }
    }
}

/// `In unit 3` or `Over the whole network`.
pub(super) fn scope(unit: Option<usize>) -> String {
    match unit {
        Some(unit) => format!("In unit {}", unit + 1),
        None => "Over the whole network".into(),
    }
}

/// Where a block goes: nothing for all layers of its unit, else which.
pub(super) fn layers(space: &DesignSpace, unit: Option<usize>, places: &[Placement]) -> String {
    let Some(unit) = unit else {
        let mut units: Vec<usize> = places.iter().map(|p| p.unit + 1).collect();
        units.dedup();
        return match units.as_slice() {
            all if all.len() == space.units().len() => String::new(),
            [one] => format!(" (unit {one})"),
            some => format!(" (units {})", list(some)),
        };
    };
    let layers: Vec<usize> = places.iter().map(|p| p.layer + 1).collect();
    match layers.as_slice() {
        all if all.len() == space.units()[unit].max_depth() => String::new(),
        [one] => format!(" (layer {one})"),
        some => format!(" (layers {})", list(some)),
    }
}

fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

/// `latency -0.31 ms [-0.40, -0.22]` of every metric, at every resolution where there are several.
pub(super) fn evidence(all: &[Evidence]) -> String {
    let groups: Vec<&[Evidence]> = all.chunk_by(|a, b| a.resolution == b.resolution).collect();
    if let [_] | [] = groups.as_slice() {
        return of_metrics(all);
    }
    let one = |group: &&[Evidence]| {
        let resolution = group.first().map_or(0, |e| e.resolution);
        format!("at {resolution} pixels {}", of_metrics(group))
    };
    let all: Vec<String> = groups.iter().map(one).collect();
    all.join("; ")
}

fn of_metrics(all: &[Evidence]) -> String {
    let one = |e: &Evidence| {
        let unit = e.unit.split_whitespace().next().unwrap_or_default();
        let (value, low, high) = rounded(&e.difference);
        format!("{} {value} {unit} [{low}, {high}]", e.metric)
    };
    let all: Vec<String> = all.iter().map(one).collect();
    all.join(" and ")
}

/// Value and ends with the digits that the error leaves, and no more than three of the value.
fn rounded(estimate: &Estimate) -> (String, String, String) {
    let size = estimate.value.abs().max(estimate.se);
    let places = |x: f64| match x > 0.0 {
        true => 1.0 - x.log10().floor(),
        false => 0.0,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let places = places(estimate.se).min(places(size) + 1.0).clamp(0.0, 9.0) as usize;
    let text = |x: f64| match format!("{x:+.places$}") {
        zero if zero.trim_start_matches(['+', '-', '0', '.']).is_empty() => {
            zero.replace(['+', '-'], "")
        }
        other => other,
    };
    (
        text(estimate.value),
        text(estimate.low),
        text(estimate.high),
    )
}

/// A number with three significant digits.
pub(super) fn number(x: f64) -> String {
    let places = match x.abs() {
        a if a > 0.0 => (2.0 - a.log10().floor()).clamp(0.0, 9.0),
        _ => 0.0,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let places = places as usize;
    format!("{x:.places$}")
}

/// A value with its metric's unit.
pub(super) fn with_unit(x: f64, metric: &Deciding) -> String {
    let unit = metric.metric.unit.split_whitespace().next();
    format!("{} {}", number(x), unit.unwrap_or_default())
}

/// A p value.
pub(super) fn p_value(p: f64) -> String {
    match p < 1e-4 {
        true => "p below 0.0001".into(),
        false => format!("p = {}", number(p)),
    }
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    let share = share * 100.0;
    match share < 0.005 {
        true => "0 %".into(),
        false => format!("{share:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_where_they_are_not_all() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        let places = |units: std::ops::Range<usize>, depth: usize| -> Vec<Placement> {
            let of_unit = |unit| (0..depth).map(move |layer| Placement { unit, layer });
            units.flat_map(of_unit).collect()
        };
        assert_eq!(layers(&space, None, &places(0..5, 4)), "");
        assert_eq!(layers(&space, None, &places(1..4, 4)), " (units 2, 3, 4)");
        assert_eq!(layers(&space, None, &places(0..1, 4)), " (unit 1)");
        assert_eq!(layers(&space, Some(2), &places(2..3, 4)), "");
        assert_eq!(layers(&space, Some(2), &places(2..3, 2)), " (layers 1, 2)");
        assert_eq!(layers(&space, Some(2), &places(2..3, 1)), " (layer 1)");
    }
}
