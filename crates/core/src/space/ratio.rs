//! Exact decimals, so that blocks can be compared and hashed.

use std::fmt;
use std::str::FromStr;

/// A decimal with at most three places, between 0.001 and 64, such as an expansion of `0.25` or `6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ratio {
    thousandths: u32,
}

impl Ratio {
    const LARGEST: u32 = 64_000;

    /// The ratio of a whole number, or `None` when it is not 1 to 64.
    #[must_use]
    pub fn whole(number: u32) -> Option<Self> {
        Self::new(number.checked_mul(1000)?)
    }

    /// The ratio nearest to `value`, or `None` when that is not `value` itself.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn exactly(value: f64) -> Option<Self> {
        let ratio = Self::new((value * 1000.0).round() as u32)?;
        #[allow(clippy::float_cmp)] // a decimal in a file and the same decimal here are one double
        (ratio.value() == value).then_some(ratio)
    }

    /// The nearest double: the one that a decimal literal of the same value has.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from(self.thousandths) / 1000.0
    }

    /// Whether the ratio is exactly 1.
    #[must_use]
    pub fn is_one(self) -> bool {
        self.thousandths == 1000
    }

    /// Whether the ratio is a whole number.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.thousandths.is_multiple_of(1000)
    }

    fn new(thousandths: u32) -> Option<Self> {
        (1..=Self::LARGEST)
            .contains(&thousandths)
            .then_some(Self { thousandths })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.thousandths / 1000, self.thousandths % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

/// Text that is not a [`Ratio`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARatio;

impl FromStr for Ratio {
    type Err = NotARatio;

    fn from_str(text: &str) -> Result<Self, NotARatio> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        // Digits only: `u32::from_str` alone would also take a plus sign.
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(places) || places.len() > 3 || whole.len() > 2 {
            return Err(NotARatio);
        }
        let number = |s: &str| s.parse::<u32>().map_err(|_| NotARatio);
        let thousandths = number(whole)? * 1000 + number(&format!("{places:0<3}"))?;
        Self::new(thousandths).ok_or(NotARatio)
    }
}

impl serde::Serialize for Ratio {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_whole() {
            serializer.serialize_u32(self.thousandths / 1000)
        } else {
            serializer.serialize_f64(self.value())
        }
    }
}

impl<'de> serde::Deserialize<'de> for Ratio {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::exactly(value).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{value} is not a decimal between 0.001 and 64 with at most three places"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_numbers_round_trip(thousandths in 1..=Ratio::LARGEST) {
            let ratio = Ratio::new(thousandths).unwrap();
            prop_assert_eq!(ratio.to_string().parse(), Ok(ratio));
            prop_assert_eq!(Ratio::exactly(ratio.value()), Some(ratio));
            let literal: f64 = ratio.to_string().parse().unwrap();
            prop_assert!(literal.to_bits() == ratio.value().to_bits());
            let json = serde_json::to_string(&ratio).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ratio>(&json).unwrap(), ratio);
        }

        #[test]
        fn any_text_is_refused_or_prints_back(text in "[0-9.+e-]{0,6}") {
            if let Ok(ratio) = text.parse::<Ratio>() {
                prop_assert_eq!(ratio.to_string().parse(), Ok(ratio));
            }
        }
    }

    #[test]
    fn what_is_no_ratio() {
        for text in [
            "", "0", "0.0", "+6", "6.", ".5", "0.0001", "65", "1e3", "-1",
        ] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
        assert!(Ratio::exactly(f64::NAN).is_none() && Ratio::exactly(1.0 / 3.0).is_none());
    }
}
