//! Numbers as text: the same digits, signs and spaces wherever a report prints one.

use crate::profile::{Estimate, Finding};

/// A no-break space, between a number and its unit.
pub(super) const NBSP: char = '\u{a0}';
const MINUS: char = '\u{2212}';
const THIN: char = '\u{202f}';
const NOT_A_NUMBER: &str = "n/a";

/// A number with `decimals` digits after the point and a true minus sign.
pub(super) fn plain(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    let digits = format!("{:.decimals$}", value.abs());
    let is_zero = digits.bytes().all(|b| b == b'0' || b == b'.');
    if value < 0.0 && !is_zero {
        format!("{MINUS}{digits}")
    } else {
        digits
    }
}

/// The same with a plus sign in front of what is above zero after rounding.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = plain(value, decimals);
    let positive = value > 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if positive { format!("+{text}") } else { text }
}

/// The ends of an interval: `[0.22, 0.40]`.
pub(super) fn interval(estimate: &Estimate, decimals: usize) -> String {
    format!(
        "[{}, {}]",
        plain(estimate.low, decimals),
        plain(estimate.high, decimals)
    )
}

/// A value with its interval and unit: `+0.31 ms [0.22, 0.40]`.
pub(super) fn effect(estimate: &Estimate, decimals: usize, unit: &str) -> String {
    let gap = if unit.is_empty() { "" } else { "\u{a0}" };
    format!(
        "{}{gap}{unit} {}",
        signed(estimate.value, decimals),
        interval(estimate, decimals)
    )
}

/// The evidence of a finding, with about two digits of its interval's half-width, and not more than four of its value.
pub(super) fn finding(finding: &Finding) -> String {
    let e = &finding.evidence;
    let half = (e.high - e.low) / 2.0;
    let size = (10.0 * half).max(e.value.abs() / 10.0);
    effect(e, decimals_for(size), &finding.unit)
}

/// A share between 0 and 1 in per cent.
pub(super) fn percent(share: f64, decimals: usize) -> String {
    format!("{}{NBSP}%", plain(share * 100.0, decimals))
}

/// A count with thin spaces between groups of three digits.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// `1 network`, `3 networks`.
pub(super) fn counted(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{}{NBSP}{noun}{plural}", count(n))
}

/// A time in ms with three significant digits.
pub(super) fn millis(ms: f64) -> String {
    format!("{}{NBSP}ms", plain(ms, decimals_for(ms.abs())))
}

/// A duration in the two largest fitting units.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NOT_A_NUMBER.to_owned();
    }
    let s = seconds.round() as u64;
    let pair = |a, big, b, small| format!("{a}{NBSP}{big} {b}{NBSP}{small}");
    match s {
        0..60 => format!("{}{NBSP}s", plain(seconds, usize::from(seconds < 10.0))),
        60..3600 => pair(s / 60, "min", s % 60, "s"),
        _ => pair(s / 3600, "h", s % 3600 / 60, "min"),
    }
}

/// Digits after the point that give a number of this size three significant digits.
pub(super) fn decimals_for(size: f64) -> usize {
    if !size.is_finite() || size <= 0.0 {
        return 2;
    }
    clamp_decimals(2.0 - size.log10().floor())
}

/// Digits after the point for effects as large as `largest` with a typical standard error `se`: the
/// first two digits of the error are shown, what lies below is noise; never more than three significant
/// digits of the largest.
pub(super) fn decimals_for_effects(largest: f64, se: f64) -> usize {
    let cap = decimals_for(largest);
    if !se.is_finite() || se <= 0.0 {
        return cap;
    }
    clamp_decimals((1.0 - se.log10()).floor()).min(cap)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn clamp_decimals(wanted: f64) -> usize {
    wanted.clamp(0.0, 6.0) as usize
}

/// The text with its first letter in upper case.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign_and_minus_is_a_minus() {
        assert_eq!(signed(0.001, 2), "0.00");
        assert_eq!(signed(-0.001, 2), "0.00");
        assert_eq!(signed(0.31, 2), "+0.31");
        assert_eq!(signed(-0.31, 2), "\u{2212}0.31");
        assert_eq!(signed(f64::NAN, 2), "n/a");
        assert_eq!(plain(f64::NEG_INFINITY, 2), "n/a");
    }

    #[test]
    fn digits_follow_the_error_and_stop_at_three() {
        assert_eq!(decimals_for_effects(0.62, 0.02), 2);
        assert_eq!(decimals_for_effects(3.1, 0.15), 1);
        assert_eq!(decimals_for_effects(12.0, 0.0), 1);
        assert_eq!(decimals_for_effects(0.0, f64::NAN), 2);
        assert_eq!(decimals_for_effects(1e9, 1e-9), 0);
    }

    #[test]
    fn counts_and_durations_read_well() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "network"), "1\u{a0}network");
        assert_eq!(duration(4.25), "4.2\u{a0}s");
        assert_eq!(duration(8_070.0), "2\u{a0}h 14\u{a0}min");
        assert_eq!(duration(-1.0), "n/a");
    }
}
