//! Text of others (titles, notes, names of files, what programs say) on its way to a reader: nothing that steers a
//! terminal or a spreadsheet gets through, and numbers have the digits that mean something.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Digits of a number that people read.
const DIGITS: i32 = 6;

/// A text as a terminal, Markdown or HTML may show it: line ends and tabs stay, and what steers a terminal or turns the
/// direction of writing is written out (`\u001b`). JSON stays JSON, with the same strings.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| steers(c) && c != '\n' && c != '\t')
}

/// The same for text that is to stay on one line, in one cell.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, steers)
}

/// The text of a cell of comma-separated values that no spreadsheet takes for a formula: where it begins as one and
/// is no number, an apostrophe stands in front.
#[must_use]
pub fn csv_text(text: &str) -> Cow<'_, str> {
    let text = one_line(text);
    let formula = text.trim_start().starts_with(['=', '+', '-', '@']);
    match formula && text.trim().parse::<f64>().is_err() {
        true => Cow::Owned(format!("'{text}")),
        false => text,
    }
}

/// [`csv_text`], in quotes where it needs them.
#[must_use]
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let text = csv_text(text);
    match text.contains([',', '"', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => text,
    }
}

/// A number for people: six digits, or all of those before the point; files for programs have them all.
#[must_use]
#[allow(clippy::cast_possible_truncation)]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-4..1e15).contains(&size) {
        let text = format!("{value:.5e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", without_zeros(digits));
    }
    let decimals = (DIGITS - 1 - size.log10().floor() as i32).max(0);
    let decimals = usize::try_from(decimals).unwrap_or(0);
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

/// Whether a character is a control character, ends a line or turns the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&which) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if which(c) {
            // Writing to memory cannot fail; all of them have four digits.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_steers_is_written_out() {
        assert_eq!(visible("a\u{1b}[31m\u{7}\tb\n"), "a\\u001b[31m\\u0007\tb\n");
        assert_eq!(
            one_line("a\nb\t\u{9b}\u{202e}\u{7f}"),
            "a\\u000ab\\u0009\\u009b\\u202e\\u007f"
        );
        let plain = "5.1\u{a0}ms, 1\u{202f}000, \u{2212}1 \u{d7} \u{1f600} \\n";
        assert!(matches!(visible(plain), Cow::Borrowed(text) if text == plain));
        // JSON escapes some of them by itself, and the others mean the same.
        let text = "\u{1b}\u{9b}\u{202e}";
        let json = serde_json::to_string(text).unwrap();
        assert!(visible(&json).is_ascii());
        assert_eq!(
            serde_json::from_str::<String>(&visible(&json)).unwrap(),
            text
        );
    }

    #[test]
    fn a_cell_is_no_formula() {
        for (text, cell) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@x,\"y\"", "\"'@x,\"\"y\"\"\""),
            (" +x", "' +x"),
            ("\t=1+1", "\\u0009=1+1"),
            ("-1.5", "-1.5"),
            ("+3e2", "+3e2"),
            ("mbconv3_e6_k7", "mbconv3_e6_k7"),
            ("a, b", "\"a, b\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (value, text) in [
            (371.773_304, "371.773"),
            (76.100_000_000_000_01, "76.1"),
            (0.000_123_456_789, "0.000123457"),
            (12_345_678.9, "12345679"),
            (-2.5, "-2.5"),
            (100.0, "100"),
            (0.0, "0"),
            (999_999.6, "1000000"),
            (1.5e-9, "1.5e-9"),
            (3e20, "3e20"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_near_its_text(value: f64) {
            if value.is_finite() {
                let read: f64 = number(value).parse().unwrap();
                prop_assert!((read - value).abs() <= 5.1e-6 * value.abs());
            }
        }
    }
}
