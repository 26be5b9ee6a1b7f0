//! Counting and listing the architectures of a space.

use num_bigint::BigUint;

use super::{Architecture, BlockId, Choice, DesignSpace, Unit};

impl DesignSpace {
    /// The exact number of architectures at one resolution.
    #[must_use]
    pub fn count_per_resolution(&self) -> BigUint {
        self.units.iter().map(configurations).product()
    }

    /// The exact number of architectures over all resolutions.
    #[must_use]
    pub fn count(&self) -> BigUint {
        self.count_per_resolution() * self.resolutions.len()
    }

    /// Every architecture at `resolution`, each once. Spaces are usually far too large for this: look at
    /// [`Self::count_per_resolution`] first.
    ///
    /// # Errors
    /// [`super::ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn enumerate(
        &self,
        resolution: u32,
    ) -> Result<impl Iterator<Item = Architecture> + '_, super::ArchitectureError> {
        self.check_resolution(resolution)?;
        let first: Vec<Choice> = self.units.iter().map(first_configuration).collect();
        let next = move |choices: &Vec<Choice>| {
            let mut choices = choices.clone();
            self.step(&mut choices).then_some(choices)
        };
        Ok(std::iter::successors(Some(first), next)
            .map(move |choices| Architecture::assemble(resolution, &choices)))
    }

    /// Moves to the next configuration as an odometer does; false when the last was reached.
    fn step(&self, choices: &mut [Choice]) -> bool {
        for (unit, choice) in self.units.iter().zip(choices) {
            if step_unit(unit, choice) {
                return true;
            }
            *choice = first_configuration(unit);
        }
        false
    }
}

/// Widths times the sum over depths of the product over layers of their candidates.
fn configurations(unit: &Unit) -> BigUint {
    let of_depth = |depth: usize| -> BigUint {
        let layers = unit.layers[..depth].iter();
        layers
            .map(|layer| BigUint::from(layer.blocks.len()))
            .product()
    };
    unit.depths().map(of_depth).sum::<BigUint>() * unit.width_choices()
}

fn first_configuration(unit: &Unit) -> Choice {
    Choice {
        width: 0,
        blocks: vec![0; unit.min_depth],
    }
}

/// The next configuration of one unit: blocks first, then depth, then width.
fn step_unit(unit: &Unit, choice: &mut Choice) -> bool {
    for (layer, block) in choice.blocks.iter_mut().enumerate() {
        if usize::from(*block) + 1 < unit.layers[layer].blocks.len() {
            *block += 1;
            return true;
        }
        *block = 0;
    }
    if choice.blocks.len() < unit.max_depth {
        choice.blocks = vec![0 as BlockId; choice.blocks.len() + 1];
        return true;
    }
    if usize::from(choice.width) + 1 < unit.width_choices() {
        *choice = Choice {
            width: choice.width + 1,
            ..first_configuration(unit)
        };
        return true;
    }
    false
}
