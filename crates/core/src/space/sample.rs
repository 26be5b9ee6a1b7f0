//! Drawing architectures from the space's own distribution: width and depth uniform per unit, block uniform
//! per active layer. The resolution is the caller's choice, never drawn in silence.

use rand::Rng as _;

use super::architecture::push_unit;
use super::{Architecture, ArchitectureError, BlockId, Choice, DesignSpace, Placement, Unit};
use crate::seed::Rng;

impl DesignSpace {
    /// A random architecture at `resolution`.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn sample(
        &self,
        resolution: u32,
        rng: &mut Rng,
    ) -> Result<Architecture, ArchitectureError> {
        self.check_resolution(resolution)?;
        let mut flat = Vec::with_capacity(self.units.iter().map(|u| u.max_depth + 2).sum());
        let mut dice = Dice::new(rng);
        for unit in &self.units {
            sample_unit(unit, 0, &mut dice, &mut flat);
        }
        Ok(Architecture::from_flat(resolution, flat))
    }

    /// A random architecture in which `placement` is active and holds `block`: the depth of that
    /// unit is uniform over the depths that reach the layer, everything else as in [`Self::sample`].
    ///
    /// # Errors
    /// [`ArchitectureError`] when the space lacks the resolution, the placement or the block.
    pub fn sample_with(
        &self,
        resolution: u32,
        placement: Placement,
        block: BlockId,
        rng: &mut Rng,
    ) -> Result<Architecture, ArchitectureError> {
        let (mut flat, mut dice) = (Vec::new(), Dice::new(rng));
        for (index, unit) in self.units.iter().enumerate() {
            if index != placement.unit {
                sample_unit(unit, 0, &mut dice, &mut flat);
                continue;
            }
            let at_least = placement.layer + 1;
            let first = sample_unit(unit, at_least, &mut dice, &mut flat);
            if let Some(slot) = flat.get_mut(first + placement.layer) {
                *slot = block;
            }
        }
        let drawn = Architecture::from_flat(resolution, flat);
        self.architecture(resolution, &drawn.choices())
    }

    /// A random architecture in which `unit` has the width with this index: everything else as in
    /// [`Self::sample`].
    ///
    /// # Errors
    /// [`ArchitectureError`] when the space lacks the resolution, the unit or the width.
    pub fn sample_with_width(
        &self,
        resolution: u32,
        unit: usize,
        width: u8,
        rng: &mut Rng,
    ) -> Result<Architecture, ArchitectureError> {
        let mut choices = self.sample(resolution, rng)?.choices();
        if let Some(choice) = choices.get_mut(unit) {
            choice.width = width;
        }
        self.architecture(resolution, &choices)
    }

    /// A random architecture with as many layers as there can be.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn sample_deepest(
        &self,
        resolution: u32,
        rng: &mut Rng,
    ) -> Result<Architecture, ArchitectureError> {
        self.check_resolution(resolution)?;
        let (mut flat, mut dice) = (Vec::new(), Dice::new(rng));
        for unit in &self.units {
            sample_unit(unit, unit.max_depth, &mut dice, &mut flat);
        }
        Ok(Architecture::from_flat(resolution, flat))
    }

    /// The architecture with the fewest layers and, in each unit, the first width and the first candidate blocks.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn smallest(&self, resolution: u32) -> Result<Architecture, ArchitectureError> {
        let smallest = |unit: &Unit| Choice {
            width: 0,
            blocks: vec![0; unit.min_depth],
        };
        let choices: Vec<Choice> = self.units.iter().map(smallest).collect();
        self.architecture(resolution, &choices)
    }

    /// The architecture of the last choices of everything: widths and blocks as the file lists them, and all layers.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn largest(&self, resolution: u32) -> Result<Architecture, ArchitectureError> {
        let largest = |(index, unit): (usize, &Unit)| {
            let last = |layer: usize| {
                let blocks = self.blocks(Placement { unit: index, layer });
                BlockId::try_from(blocks.len().saturating_sub(1)).unwrap_or(BlockId::MAX)
            };
            Choice {
                width: u8::try_from(unit.width_choices().saturating_sub(1)).unwrap_or(u8::MAX),
                blocks: (0..unit.max_depth).map(last).collect(),
            }
        };
        let choices: Vec<Choice> = self.units.iter().enumerate().map(largest).collect();
        self.architecture(resolution, &choices)
    }
}

/// Dice with any number of faces, several of which are thrown with one random word: a multiplication turns the
/// word into a face and into the word for the next throw. Probabilities differ from uniform by less than 2^-32,
/// relatively, because a fresh word is drawn before the faces thrown with one multiply to more than 2^32.
struct Dice<'a> {
    rng: &'a mut Rng,
    word: u64,
    /// Product of the faces thrown with this word.
    used: u64,
}

impl<'a> Dice<'a> {
    const MOST_PER_WORD: u64 = 1 << 32;

    fn new(rng: &'a mut Rng) -> Self {
        Self {
            rng,
            word: 0,
            used: Self::MOST_PER_WORD,
        }
    }

    /// A number below `faces`, which is 1 to 256.
    #[allow(clippy::cast_possible_truncation)] // the halves of a product, and a number below 256
    fn throw(&mut self, faces: usize) -> u8 {
        if faces <= 1 {
            return 0;
        }
        let faces = faces as u64;
        if self.used * faces > Self::MOST_PER_WORD {
            self.word = self.rng.next_u64();
            self.used = 1;
        }
        self.used *= faces;
        let wide = u128::from(self.word) * u128::from(faces);
        self.word = wide as u64;
        (wide >> 64) as u8
    }
}

/// Appends a random configuration of a unit at least `at_least` deep; returns where its blocks begin.
fn sample_unit(unit: &Unit, at_least: usize, dice: &mut Dice<'_>, flat: &mut Vec<u8>) -> usize {
    let width = dice.throw(unit.width_choices());
    let shallowest = unit.min_depth.max(at_least).min(unit.max_depth);
    let depth = shallowest + usize::from(dice.throw(unit.max_depth - shallowest + 1));
    push_unit(flat, width, depth);
    let first = flat.len();
    let layers = unit.layers[..depth].iter();
    flat.extend(layers.map(|layer| dice.throw(layer.blocks.len())));
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ofa::OfaDict;
    use crate::seed::Seed;
    use crate::space::Ratio;
    use proptest::prelude::*;

    fn space() -> DesignSpace {
        DesignSpace::builtin("ofa-mbv3", None).unwrap()
    }

    proptest! {
        #[test]
        fn text_and_dictionary_round_trip(seed: u64) {
            let space = space();
            let arch = space.sample(224, &mut Seed(seed).rng()).unwrap();
            prop_assert_eq!(&space.parse(&space.print(&arch)).unwrap(), &arch);
            let dict = space.to_ofa(&arch).unwrap();
            prop_assert_eq!(&space.from_ofa(&dict).unwrap(), &arch);
            let json = serde_json::to_string(&dict).unwrap();
            prop_assert_eq!(&serde_json::from_str::<OfaDict>(&json).unwrap(), &dict);
        }

        #[test]
        fn inactive_layers_never_make_two_networks_of_one(seed: u64, ks in 0usize..3, e in 0usize..3) {
            let space = space();
            let arch = space.sample(192, &mut Seed(seed).rng()).unwrap();
            let mut dict = space.to_ofa(&arch).unwrap();
            for (i, placement) in space.placements().enumerate() {
                if arch.block_at(placement).is_none() {
                    dict.ks.as_mut().unwrap()[i] = [3, 5, 7][ks];
                    dict.e[i] = Ratio::whole([3, 4, 6][e]).unwrap();
                }
            }
            prop_assert_eq!(space.from_ofa(&dict).unwrap(), arch);
        }

        #[test]
        fn conditional_samples_hold_the_block(seed: u64, unit in 0usize..5, layer in 0usize..4, block in 0u8..9) {
            let placement = Placement { unit, layer };
            let arch = space().sample_with(160, placement, block, &mut Seed(seed).rng()).unwrap();
            prop_assert_eq!(arch.block_at(placement), Some(block));
        }

        #[test]
        fn any_text_is_an_error_or_prints_back(text in "(r[0-9]{0,4})?(/?(e[0-9]k[0-9],?){0,4}){0,6}") {
            let space = space();
            if let Ok(arch) = space.parse(&text) {
                prop_assert_eq!(space.parse(&space.print(&arch)).unwrap(), arch);
            }
        }
    }

    /// Throws that share a word are independent: every pair is as frequent as any other.
    #[test]
    fn dice_are_fair_together() {
        let mut rng = Seed(3).rng();
        let mut counts = [0u32; 45];
        for _ in 0..90_000 {
            let mut dice = Dice::new(&mut rng);
            let (a, _, b) = (dice.throw(9), dice.throw(3), dice.throw(5));
            counts[usize::from(a) * 5 + usize::from(b)] += 1;
        }
        let chi2: f64 = counts
            .iter()
            .map(|&c| (f64::from(c) - 2000.0).powi(2) / 2000.0)
            .sum();
        // Chi-square with 44 degrees of freedom, 99.9 % quantile.
        assert!(chi2 < 78.7, "{chi2}: {counts:?}");
    }

    #[test]
    fn depths_and_blocks_are_uniform() {
        let space = space();
        let mut rng = Seed(1).rng();
        let draws = 30_000;
        let mut depths = [0u32; 3];
        let mut blocks = [0u32; 9];
        for _ in 0..draws {
            let arch = space.sample(224, &mut rng).unwrap();
            depths[arch.depth(2) - 2] += 1;
            blocks[usize::from(arch.unit(4).blocks[1])] += 1;
        }
        // Chi-square with 2 and 8 degrees of freedom, 99.9 % quantiles.
        let chi2 = |counts: &[u32]| {
            let expected = f64::from(draws) / counts.len() as f64;
            counts
                .iter()
                .map(|&c| (f64::from(c) - expected).powi(2) / expected)
                .sum::<f64>()
        };
        assert!(chi2(&depths) < 13.8, "{depths:?}");
        assert!(chi2(&blocks) < 26.1, "{blocks:?}");
    }

    #[test]
    fn impossible_architectures_are_refused_with_the_reason() {
        let space = space();
        let error = |text: &str| space.parse(text).unwrap_err().to_string();
        let rest = "/e3k3,e3k3".repeat(4);
        assert!(
            error(&format!("r224/e3k3{rest}"))
                .contains("unit 1 has depth 1; the space allows 2 to 4")
        );
        assert!(error(&format!("r224/e3k3,e5k3{rest}")).contains("unit 1, layer 2: e5k3"));
        assert!(error(&format!("r225/e3k3,e3k3{rest}")).contains("128 to 224 in steps of 4"));
        assert!(error("r224/e3k3,e3k3").contains("1 units where `ofa-mbv3` has 5"));
        assert!(error("hello").contains("r224"));
        let mut dict = space.to_ofa(&space.smallest(224).unwrap()).unwrap();
        dict.ks.as_mut().unwrap().pop();
        assert!(
            space
                .from_ofa(&dict)
                .unwrap_err()
                .to_string()
                .contains("`ks` has 19 entries")
        );
    }
}
