//! Seeds: every random choice in blocklens can be named and repeated.
//!
//! A [`Seed`] is split by *labels* instead of being advanced, so that adding a new
//! consumer of randomness never changes what the others draw, and the n-th draw
//! of a stream can be had without the n-1 before it.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// The generator used wherever random numbers are drawn (portable and reproducible).
pub type Rng = Xoshiro256PlusPlus;

/// A 64-bit seed from which independent streams are derived by label and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of the stream called `label`.
    #[must_use]
    pub fn stream(self, label: &str) -> Seed {
        self.stream_bytes(label.as_bytes())
    }

    /// The seed of the stream that is called by these bytes.
    #[must_use]
    pub fn stream_bytes(self, label: &[u8]) -> Seed {
        // FNV-1a over the label, then mixed with the parent seed.
        let hash = label.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Seed(mix(self.0 ^ mix(hash)))
    }

    /// The seed of the `index`-th member of this stream.
    #[must_use]
    pub fn index(self, index: u64) -> Seed {
        Seed(mix(self.0.wrapping_add(mix(index ^ 0x9e37_79b9_7f4a_7c15))))
    }

    /// A generator that starts at this seed.
    #[must_use]
    pub fn rng(self) -> Rng {
        Rng::seed_from_u64(self.0)
    }
}

/// `count` independent numbers from the standard normal distribution (Box and Muller 1958).
#[must_use]
#[allow(clippy::cast_possible_truncation)] // computed in f64, kept in the precision of weights and images
pub fn normals(count: usize, rng: &mut Rng) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count + 1);
    while numbers.len() < count {
        // In (0, 1], so that its logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
        numbers.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    numbers.truncate(count);
    numbers
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection on 64 bits that mixes well.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let numbers = normals(100_001, &mut Seed(3).rng());
        assert_eq!(numbers.len(), 100_001);
        let moment = |power: i32| {
            let powers = numbers.iter().map(|&x| f64::from(x).powi(power));
            powers.sum::<f64>() / numbers.len() as f64
        };
        for (power, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            let found = moment(power);
            assert!((found - expected).abs() < 0.1, "{power}: {found}");
        }
        assert_eq!(normals(7, &mut Seed(3).rng()), numbers[..7]);
    }

    #[test]
    fn streams_and_indices_are_distinct_and_repeatable() {
        let seed = Seed(7);
        assert_eq!(seed.stream("plan"), Seed(7).stream("plan"));
        let mut seen: Vec<u64> = (0..1000).map(|i| seed.stream("plan").index(i).0).collect();
        seen.extend((0..1000).map(|i| seed.stream("weights").index(i).0));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
    }
}
