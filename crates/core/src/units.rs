//! Quantities with their units in the type, so that seconds are never read as
//! milliseconds and parameters never as multiply-accumulates.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A finite, positive time in milliseconds (one sample, or a summary of samples).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Millis(f64);

/// A time that is not a time: NaN, infinite, zero or negative.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} ms is not a time that can be measured: it must be finite and above zero")]
pub struct NotATime(pub f64);

impl Millis {
    /// A time of `ms` milliseconds.
    ///
    /// # Errors
    /// [`NotATime`] when `ms` is NaN, infinite, zero or negative.
    pub fn new(ms: f64) -> Result<Self, NotATime> {
        if ms.is_finite() && ms > 0.0 {
            Ok(Self(ms))
        } else {
            Err(NotATime(ms))
        }
    }

    /// The same time as a plain number of milliseconds.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Millis {
    type Error = NotATime;
    fn try_from(ms: f64) -> Result<Self, NotATime> {
        Self::new(ms)
    }
}

impl From<Millis> for f64 {
    fn from(t: Millis) -> f64 {
        t.0
    }
}

impl TryFrom<Duration> for Millis {
    type Error = NotATime;
    fn try_from(d: Duration) -> Result<Self, NotATime> {
        Self::new(d.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ms", self.0)
    }
}

macro_rules! count {
    ($(#[$doc:meta])* $name:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The count as a float, exact up to 2^53.
            #[must_use]
            #[allow(clippy::cast_precision_loss)]
            pub fn as_f64(self) -> f64 {
                self.0 as f64
            }
        }

        impl std::ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                Self(iter.map(|x| x.0).sum())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (scaled, prefix) = si(self.as_f64());
                if prefix.is_empty() {
                    write!(f, "{} {}", self.0, $suffix)
                } else {
                    write!(f, "{scaled:.1} {prefix}{}", $suffix)
                }
            }
        }
    };
}

count!(
    /// Multiply-accumulates of convolutions and linear layers at batch 1. One MAC is two FLOPs.
    Macs,
    "MACs"
);
count!(
    /// Trainable parameters as PyTorch counts them: weights, biases, batch-norm scales and shifts.
    Params,
    "params"
);
count!(
    /// Bytes of memory.
    Bytes,
    "B"
);

fn si(x: f64) -> (f64, &'static str) {
    match x {
        x if x >= 1e9 => (x / 1e9, "G"),
        x if x >= 1e6 => (x / 1e6, "M"),
        x if x >= 1e3 => (x / 1e3, "k"),
        x => (x, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_checked() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Millis::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<Millis>(&bad.to_string()).is_err());
        }
        assert_eq!(
            Millis::try_from(Duration::from_micros(1500)).unwrap().get(),
            1.5
        );
    }

    #[test]
    fn counts_print_with_their_unit() {
        assert_eq!(Macs(230_000_000).to_string(), "230.0 MMACs");
        assert_eq!(Params(12).to_string(), "12 params");
        assert_eq!(Bytes(4_096).to_string(), "4.1 kB");
    }
}
