//! How a size inside a block follows its input and output channels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::MAX_CHANNELS;
use crate::shape::make_divisible;

/// Longest text of a formula.
const MAX_TEXT: usize = 200;
/// Largest number that may stand in a formula, and largest numerator and denominator of its reduced
/// coefficients.
const MAX_NUMBER: i128 = 1_000_000;
/// Most digits after the decimal point.
const MAX_DECIMALS: usize = 6;

/// A size as a linear function of the input channels `in` and the output channels `out`.
///
/// ```text
/// formula = sum | "round8(" sum ")"
/// sum     = ["-"] term { ("+" | "-") term }
/// term    = factor { "*" factor | "/" number }     with `in` or `out` at most once
/// factor  = number | "in" | "out"                  a number is an integer or a decimal: 6, 0.25
/// ```
///
/// The value is computed exactly and rounded to the nearest integer (halves upward), at least 1;
/// `round8` rounds to a multiple of 8 as `make_divisible` of the MobileNet papers does. [`fmt::Display`]
/// writes the shortest equivalent text, which parses to the same formula.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Formula {
    input: Ratio,
    output: Ratio,
    constant: Ratio,
    round8: bool,
}

/// A text that is not a formula.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a size: {problem}; sizes look like `6 * in`, `out / 2`, `in + 0.5 * out - 1`, `round8(0.25 * in)`"
)]
pub struct FormulaError {
    text: String,
    problem: String,
}

impl Formula {
    /// The size at `in_channels` and `out_channels`; `None` where it exceeds the largest channel count.
    #[must_use]
    pub fn evaluate(&self, in_channels: u32, out_channels: u32) -> Option<u32> {
        let (a, b, c) = (self.input, self.output, self.constant);
        // Parts are at most 10^6 and channels below 2^32: the sum stays below 10^23.
        let numerator = a.numerator * i128::from(in_channels) * b.denominator * c.denominator
            + b.numerator * i128::from(out_channels) * a.denominator * c.denominator
            + c.numerator * a.denominator * b.denominator;
        let denominator = a.denominator * b.denominator * c.denominator;
        let size = if self.round8 {
            round_to_8(numerator, denominator)?
        } else {
            (2 * numerator + denominator).div_euclid(2 * denominator)
        };
        u32::try_from(size.max(1))
            .ok()
            .filter(|&size| size <= MAX_CHANNELS)
    }
}

/// A reduced fraction with a denominator above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    const ZERO: Self = Self {
        numerator: 0,
        denominator: 1,
    };

    /// The reduced fraction; `None` for a denominator of zero or a part beyond [`MAX_NUMBER`].
    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = gcd(numerator, denominator) * denominator.signum();
        let ratio = Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        };
        (ratio.numerator.abs() <= MAX_NUMBER && ratio.denominator <= MAX_NUMBER).then_some(ratio)
    }

    fn plus(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )
    }

    fn multiplied(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator * other.numerator,
            self.denominator * other.denominator,
        )
    }

    fn divided(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator * other.denominator,
            self.denominator * other.numerator,
        )
    }
}

#[allow(clippy::cast_precision_loss)]
fn round_to_8(numerator: i128, denominator: i128) -> Option<i128> {
    let value = numerator as f64 / denominator as f64;
    (value <= f64::from(MAX_CHANNELS)).then(|| i128::from(make_divisible(value)))
}

/// The greatest common divisor, above zero unless both are zero.
fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl FromStr for Formula {
    type Err = FormulaError;

    fn from_str(text: &str) -> Result<Self, FormulaError> {
        let fail = |problem: &str| FormulaError {
            text: text.chars().take(MAX_TEXT).collect(),
            problem: problem.to_owned(),
        };
        if text.len() > MAX_TEXT {
            return Err(fail("it is too long"));
        }
        let tokens = tokens(text).map_err(|e| fail(&e))?;
        let (sum, round8) = match tokens.as_slice() {
            [Token::Round8, sum @ .., Token::Close] => (sum, true),
            sum => (sum, false),
        };
        let mut formula = Self {
            input: Ratio::ZERO,
            output: Ratio::ZERO,
            constant: Ratio::ZERO,
            round8,
        };
        formula.add_sum(sum).map_err(|e| fail(&e))?;
        Ok(formula)
    }
}

/// A word of a formula.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Number(Ratio),
    In,
    Out,
    Plus,
    Minus,
    Times,
    Over,
    Round8,
    Close,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let symbol = |c: char| match c {
            '+' => Some(Token::Plus),
            '-' => Some(Token::Minus),
            '*' => Some(Token::Times),
            '/' => Some(Token::Over),
            ')' => Some(Token::Close),
            _ => None,
        };
        let length = if symbol(first).is_some() {
            1
        } else {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                .unwrap_or(rest.len())
        };
        let (word, tail) = rest.split_at(length);
        rest = tail.trim_start();
        tokens.push(match word {
            "in" => Token::In,
            "out" => Token::Out,
            "round8" => {
                rest = rest
                    .strip_prefix('(')
                    .ok_or("`round8` needs a `(`")?
                    .trim_start();
                Token::Round8
            }
            "" => return Err(format!("`{first}` is not part of a formula")),
            _ => match symbol(first) {
                Some(token) => token,
                None => Token::Number(number(word)?),
            },
        });
    }
    Ok(tokens)
}

fn number(word: &str) -> Result<Ratio, String> {
    let fail = || format!("`{word}` is neither `in`, `out` nor a number up to {MAX_NUMBER}");
    let (whole, decimals) = word.split_once('.').unwrap_or((word, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || whole.len() > 7 || decimals.len() > MAX_DECIMALS {
        return Err(fail());
    }
    let scale = 10_i128.pow(u32::try_from(decimals.len()).map_err(|_| fail())?);
    let whole: i128 = whole.parse().map_err(|_| fail())?;
    let decimals: i128 = decimals.parse().map_err(|_| fail())?;
    if whole > MAX_NUMBER {
        return Err(fail());
    }
    Ratio::new(whole * scale + decimals, scale).ok_or_else(fail)
}

impl Formula {
    fn add_sum(&mut self, tokens: &[Token]) -> Result<(), String> {
        let mut rest = tokens;
        let mut sign = 1;
        if let [Token::Minus, tail @ ..] = rest {
            (sign, rest) = (-1, tail);
        }
        loop {
            let length = rest
                .iter()
                .position(|t| matches!(t, Token::Plus | Token::Minus))
                .unwrap_or(rest.len());
            self.add_term(sign, &rest[..length])?;
            match rest.get(length) {
                None => return Ok(()),
                Some(token) => sign = if *token == Token::Minus { -1 } else { 1 },
            }
            rest = &rest[length + 1..];
        }
    }

    fn add_term(&mut self, sign: i128, tokens: &[Token]) -> Result<(), String> {
        let too_large = || "its numbers are too large".to_owned();
        let mut coefficient = Ratio::new(sign, 1).ok_or_else(too_large)?;
        let mut variable = None;
        let mut operator = Token::Times;
        let mut parts = tokens.iter();
        loop {
            match (operator, parts.next()) {
                (Token::Times, Some(Token::Number(n))) => {
                    coefficient = coefficient.multiplied(*n).ok_or_else(too_large)?;
                }
                (Token::Over, Some(Token::Number(n))) => {
                    coefficient = coefficient
                        .divided(*n)
                        .ok_or("it divides by zero or its numbers are too large")?;
                }
                (Token::Times, Some(name @ (Token::In | Token::Out))) if variable.is_none() => {
                    variable = Some(*name);
                }
                (_, None) => return Err("a number, `in` or `out` is missing".to_owned()),
                _ => return Err("a term is a number times `in` or `out`, or less".to_owned()),
            }
            match parts.next() {
                None => break,
                Some(next @ (Token::Times | Token::Over)) => operator = *next,
                Some(_) => return Err("`+`, `-`, `*` or `/` is missing".to_owned()),
            }
        }
        let place = match variable {
            Some(Token::In) => &mut self.input,
            Some(_) => &mut self.output,
            None => &mut self.constant,
        };
        *place = place.plus(coefficient).ok_or_else(too_large)?;
        Ok(())
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = [
            (self.input, "in"),
            (self.output, "out"),
            (self.constant, ""),
        ];
        let mut text = String::new();
        for (ratio, variable) in terms.into_iter().filter(|(r, _)| r.numerator != 0) {
            text += match (text.is_empty(), ratio.numerator < 0) {
                (true, false) => "",
                (true, true) => "-",
                (false, false) => " + ",
                (false, true) => " - ",
            };
            text += &term(ratio, variable);
        }
        if text.is_empty() {
            text.push('0');
        }
        if self.round8 {
            write!(f, "round8({text})")
        } else {
            f.write_str(&text)
        }
    }
}

/// A term without its sign.
fn term(ratio: Ratio, variable: &str) -> String {
    let mut text = match (ratio.numerator.abs(), variable) {
        (number, "") => number.to_string(),
        (1, name) => name.to_owned(),
        (number, name) => format!("{number} * {name}"),
    };
    if ratio.denominator != 1 {
        text += &format!(" / {}", ratio.denominator);
    }
    text
}

impl TryFrom<String> for Formula {
    type Error = FormulaError;
    fn try_from(text: String) -> Result<Self, FormulaError> {
        text.parse()
    }
}

impl From<Formula> for String {
    fn from(formula: Formula) -> String {
        formula.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str, input: u32, output: u32) -> u32 {
        let formula: Formula = text.parse().unwrap();
        formula.evaluate(input, output).unwrap()
    }

    #[test]
    fn sizes_follow_the_channels() {
        assert_eq!(at("6 * in", 5, 7), 30);
        assert_eq!(at("out * 2", 5, 7), 14);
        assert_eq!(at("in / 2", 5, 7), 3);
        assert_eq!(at("in / 2", 4, 7), 2);
        assert_eq!(at("0.25*in+out/4 - 1", 40, 24), 15);
        assert_eq!(at("3 * in / 2 / 2", 5, 7), 4);
        assert_eq!(at("out - in", 7, 7), 1);
        assert_eq!(at("-in + 2 * out", 4, 5), 6);
        assert_eq!(at("17", 4, 5), 17);
        assert_eq!(at("round8(in / 4)", 72, 1), make_divisible(18.0));
        assert_eq!(at("round8( 0.9 * in + 1 )", 11, 1), 16);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in [
            "",
            "in in",
            "in * in",
            "2 / in",
            "in / 0",
            "in +",
            "* in",
            "- - in",
            "6in",
            "1e3",
            "round8(in",
            "round8 in",
            "in)",
            "round8(round8(in))",
            "max(in, out)",
            "1.2.3",
            ".5",
            "5.",
            "in * in * out",
            "\u{e9} * in",
            "99999999 * in",
            "0.0000001",
            "in,out",
        ] {
            let error = bad.parse::<Formula>().unwrap_err().to_string();
            assert!(error.contains("sizes look like"), "{bad}: {error}");
        }
        assert!("1 +".repeat(300).parse::<Formula>().is_err());
        let large: Formula = "1000000 * in".parse().unwrap();
        assert_eq!(large.evaluate(65_536, 1), None);
        let large: Formula = "round8(1000000 * in)".parse().unwrap();
        assert_eq!(large.evaluate(u32::MAX, 1), None);
    }

    #[test]
    fn formulas_are_written_as_they_are_read() {
        for (text, written) in [
            ("in*6", "6 * in"),
            ("0.5 * out", "out / 2"),
            ("1 + in - 2*in", "-in + 1"),
            ("in - in", "0"),
            ("round8(1.5*in)", "round8(3 * in / 2)"),
        ] {
            assert_eq!(text.parse::<Formula>().unwrap().to_string(), written);
        }
    }

    fn any_ratio() -> impl Strategy<Value = Ratio> {
        (-MAX_NUMBER..=MAX_NUMBER, 1..=MAX_NUMBER)
            .prop_map(|(numerator, denominator)| Ratio::new(numerator, denominator).unwrap())
    }

    proptest! {
        #[test]
        fn text_and_formula_correspond(
            input in any_ratio(), output in any_ratio(), constant in any_ratio(), round8: bool,
            channels in (1_u32..=65_536, 1_u32..=65_536),
        ) {
            let formula = Formula { input, output, constant, round8 };
            prop_assert_eq!(&formula.to_string().parse::<Formula>().unwrap(), &formula);
            let size = formula.evaluate(channels.0, channels.1);
            prop_assert!(size.is_none_or(|n| (1..=MAX_CHANNELS).contains(&n)));
        }

        /// Floating point, away from halves, is the naive twin of the exact evaluation.
        #[test]
        fn values_are_those_of_floating_point(
            a in 0_u32..40, b in 1_u32..40, c in 0_u32..40, d in 1_u32..40, e in 0_u32..100,
            input in 1_u32..4096, output in 1_u32..4096,
        ) {
            let formula: Formula = format!("{a} * in / {b} + {c} / {d} * out + {e}").parse().unwrap();
            let value = f64::from(a) * f64::from(input) / f64::from(b)
                + f64::from(c) * f64::from(output) / f64::from(d) + f64::from(e);
            prop_assume!(((value - value.floor()) - 0.5).abs() > 1e-6);
            let rounded = value.round().max(1.0);
            let expected = (rounded <= f64::from(MAX_CHANNELS)).then_some(rounded);
            prop_assert_eq!(formula.evaluate(input, output).map(f64::from), expected);
        }

        #[test]
        fn no_text_panics(text in "[ a-z0-9.*/+()-]{0,40}|.{0,40}|(round8\\(|in|out|[0-9]| ?[-+*/.] ?|\\)){0,12}") {
            if let Ok(formula) = text.parse::<Formula>() {
                prop_assert_eq!(&formula.to_string().parse::<Formula>().unwrap(), &formula);
            }
        }
    }
}
