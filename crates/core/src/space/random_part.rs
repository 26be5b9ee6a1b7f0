//! Random reductions: what a reduction of the same size does that knows nothing.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::restrict::Restriction;
use super::unit::Unit;
use super::{BlockId, DesignSpace, SpaceError};
use crate::seed::{Rng, Seed};

/// A random part of `whole` that leaves as many choices open as `like` does, another part of it: in every unit as many
/// depths in a row, as many widths, and as many candidate blocks of every layer. Where all layers of a unit offer the
/// same blocks in `like`, they do so here. The resolutions are those of `like`: nothing is random about them.
///
/// # Errors
/// [`SpaceError`] when the name is none that the format allows.
pub fn random_part_like(
    whole: &DesignSpace,
    like: &DesignSpace,
    name: &str,
    seed: Seed,
) -> Result<DesignSpace, SpaceError> {
    let mut kept = whole.whole();
    kept.keep_resolutions(like.resolutions());
    let pairs = whole.units().iter().zip(like.units());
    for (number, (all, like)) in pairs.enumerate() {
        let mut rng = seed.stream("random part").index(number as u64).rng();
        reduce(&mut kept, number, all, like, &mut rng);
    }
    whole.restricted(&kept, name)
}

/// Leaves a random choice of a unit.
fn reduce(kept: &mut Restriction, number: usize, all: &Unit, like: &Unit, rng: &mut Rng) {
    let span = like.max_depth() - like.min_depth();
    let spare = (all.max_depth() - all.min_depth()).saturating_sub(span);
    let least = all.min_depth() + rng.random_range(0..=spare);
    for depth in all.min_depth()..least {
        kept.remove_depth(number, depth);
    }
    for depth in (least + span + 1..=all.max_depth()).rev() {
        kept.remove_depth(number, depth);
    }
    for width in others(all.width_choices(), like.width_choices(), rng) {
        kept.remove_width(number, width);
    }
    // Where the random part is deeper than `like`, its last layers are like the last there.
    let size = |layer: usize| match like.max_depth() {
        0 => all.blocks(layer).len(),
        depth => like.blocks(layer.min(depth - 1)).len(),
    };
    let mut gone = Vec::new();
    for layer in 0..all.max_depth() {
        if layer == 0 || !(all.uniform() && like.uniform()) {
            gone = others(all.blocks(layer).len(), size(layer), rng);
        }
        for block in &gone {
            kept.remove_block(number, layer, *block);
        }
    }
}

/// The numbers below `all` without a random `count` of them.
fn others(all: usize, count: usize, rng: &mut Rng) -> Vec<BlockId> {
    let mut numbers: Vec<BlockId> = (0..all).filter_map(|n| BlockId::try_from(n).ok()).collect();
    numbers.shuffle(rng);
    numbers.split_off(count.min(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(space: &DesignSpace) -> Vec<(usize, usize, Vec<usize>)> {
        let size = |unit: &Unit| {
            let layers = 0..unit.min_depth();
            let blocks = layers.map(|l| unit.blocks(l).len()).collect();
            (unit.depths().count(), unit.width_choices(), blocks)
        };
        space.units().iter().map(size).collect()
    }

    #[test]
    fn random_parts_have_the_size_that_they_are_like() {
        let cases = [
            (
                "ofa-mbv3",
                vec![("depth = [2, 4]", "depth = [3, 4]"), ("{3,4,6}", "{4,6}")],
            ),
            ("ofa-resnet50", vec![("{0.2,0.25,0.35}", "{0.25}")]),
        ];
        for (name, changes) in cases {
            let whole = DesignSpace::builtin(name, None).unwrap();
            let mut text = whole.source().text.clone();
            for (from, to) in changes {
                assert!(text.contains(from), "{name} {from}");
                text = text.replacen(from, to, 2);
            }
            let like = DesignSpace::from_toml("like.toml", &text, None).unwrap();
            let part = |seed| random_part_like(&whole, &like, "random", Seed(seed)).unwrap();
            let mut different = std::collections::BTreeSet::new();
            for seed in 0..20 {
                let part = part(seed);
                assert_eq!(part.check_part_of(&whole), Ok(()));
                for (found, expected) in sizes(&part).iter().zip(sizes(&like)) {
                    assert_eq!((found.0, found.1), (expected.0, expected.1));
                    assert_eq!(found.2.first(), expected.2.first());
                }
                different.insert(part.source().text.clone());
                assert_eq!(part.digest(), part_again(&whole, &like, seed).digest());
            }
            assert!(different.len() > 5, "{name}: {}", different.len());
        }
    }

    fn part_again(whole: &DesignSpace, like: &DesignSpace, seed: u64) -> DesignSpace {
        random_part_like(whole, like, "random", Seed(seed)).unwrap()
    }
}
