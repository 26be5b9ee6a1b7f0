//! Which images are for what. An image's role follows from its name and a seed alone, so that it does not change when
//! others come or go, or when another number of images is asked for.

use sha2::{Digest as _, Sha256};

/// Of every this many images, one is for calibrating.
const ONE_CALIBRATES_OF: u64 = 5;

/// What an image is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Batch-norm statistics are taken from it.
    Calibrate,
    /// Architectures are compared by it.
    Select,
    /// What was selected is judged by it.
    Test,
}

/// A number that orders images at random, and the role, of the image `name` (its class folder, `/`, its path there).
/// With x the first 8 bytes, big-endian, of SHA-256 of `{seed}/{name}`: the image calibrates when x is divisible by 5,
/// and else tests when x / 5, rounded down, is odd. When images for calibrating come from somewhere else (`calibrates`
/// is false), only the latter counts: an image for testing is never one for selecting.
#[must_use]
pub fn role(seed: u64, name: &str, calibrates: bool) -> (u64, Role) {
    let digest = Sha256::digest(format!("{seed}/{name}"));
    let number = |at: usize| {
        let bytes = digest.iter().skip(at).take(8);
        bytes.fold(0, |n, byte| n << 8 | u64::from(*byte))
    };
    let x = number(0);
    let role = if calibrates && x.is_multiple_of(ONE_CALIBRATES_OF) {
        Role::Calibrate
    } else if x / ONE_CALIBRATES_OF % 2 == 1 {
        Role::Test
    } else {
        Role::Select
    };
    (number(8), role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_documented_and_testing_never_becomes_selecting() {
        let mut counts = [0; 3];
        for i in 0..10_000 {
            let name = format!("n{:03}/image{i}.jpg", i % 100);
            let (order, shared) = role(1, &name, true);
            let (same_order, apart) = role(1, &name, false);
            assert_eq!(order, same_order);
            assert_ne!(apart, Role::Calibrate);
            if shared != Role::Calibrate {
                assert_eq!(shared, apart, "{name}");
            }
            counts[shared as usize] += 1;
        }
        // Six standard deviations about 2,000, 4,000 and 4,000.
        assert!((1_760..2_240).contains(&counts[0]), "{counts:?}");
        assert!((3_700..4_300).contains(&counts[1]), "{counts:?}");
        assert_ne!(role(1, "a/b.png", true).0, role(2, "a/b.png", true).0);
    }
}
