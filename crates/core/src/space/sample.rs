//! Drawing architectures from the space's own distribution: depth uniform per unit, block uniform
//! per active layer. The resolution is the caller's choice, never drawn in silence.

use rand::RngExt;

use super::{Architecture, ArchitectureError, BlockId, DesignSpace, Placement};
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
        let units = (0..self.units.len())
            .map(|unit| self.sample_unit(unit, 0, rng))
            .collect();
        self.architecture(resolution, units)
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
        let units = (0..self.units.len())
            .map(|unit| {
                if unit != placement.unit {
                    return self.sample_unit(unit, 0, rng);
                }
                let mut blocks = self.sample_unit(unit, placement.layer + 1, rng);
                if let Some(slot) = blocks.get_mut(placement.layer) {
                    *slot = block;
                }
                blocks
            })
            .collect();
        self.architecture(resolution, units)
    }

    fn sample_unit(&self, unit: usize, at_least: usize, rng: &mut Rng) -> Vec<BlockId> {
        let spec = &self.units[unit];
        let shallowest = spec.min_depth.max(at_least).min(spec.max_depth);
        let depth = rng.random_range(shallowest..=spec.max_depth);
        let last = BlockId::try_from(spec.blocks.len() - 1).unwrap_or(BlockId::MAX);
        (0..depth).map(|_| rng.random_range(0..=last)).collect()
    }

    /// The architecture with the fewest layers and, in each, the unit's first candidate block.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn smallest(&self, resolution: u32) -> Result<Architecture, ArchitectureError> {
        let units = self.units.iter().map(|u| vec![0; u.min_depth]).collect();
        self.architecture(resolution, units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::OfaDict;
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
            let dict = space.to_ofa(&arch);
            prop_assert_eq!(&space.from_ofa(&dict).unwrap(), &arch);
            let json = serde_json::to_string(&dict).unwrap();
            prop_assert_eq!(&serde_json::from_str::<OfaDict>(&json).unwrap(), &dict);
        }

        #[test]
        fn inactive_layers_never_make_two_networks_of_one(seed: u64, ks in 0usize..3, e in 0usize..3) {
            let space = space();
            let arch = space.sample(192, &mut Seed(seed).rng()).unwrap();
            let mut dict = space.to_ofa(&arch);
            for (i, placement) in space.placements().enumerate() {
                if arch.block_at(placement).is_none() {
                    dict.ks[i] = [3, 5, 7][ks];
                    dict.e[i] = [3, 4, 6][e];
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
            blocks[usize::from(arch.units()[4][1])] += 1;
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
        assert!(error(&format!("r224/e3k3,e5k3{rest}")).contains("unit 1, layer 2: mbconv3_e5_k3"));
        assert!(error(&format!("r225/e3k3,e3k3{rest}")).contains("128 to 224 in steps of 4"));
        assert!(error("r224/e3k3,e3k3").contains("1 units where `ofa-mbv3` has 5"));
        assert!(error("hello").contains("r224"));
        let mut dict = space.to_ofa(&space.smallest(224).unwrap());
        dict.ks.pop();
        assert!(
            space
                .from_ofa(&dict)
                .unwrap_err()
                .to_string()
                .contains("`ks` has 19 entries")
        );
    }
}
