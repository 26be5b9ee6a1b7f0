//! Architectures as vectors of numbers, for models and searches.

use super::{Architecture, DesignSpace, Placement};

/// A one-hot encoding of a space's architectures: for every unit its width (where it has a choice) and its
/// depth (where it varies), for every placement its block (where it has a choice; all 0 where the layer is
/// inactive), and the resolution (where the space has several).
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding<'a> {
    space: &'a DesignSpace,
    /// First index of every unit's widths and depths.
    units: Vec<(usize, usize)>,
    /// First index of every placement's blocks, unit by unit.
    placements: Vec<Vec<usize>>,
    resolutions: usize,
    len: usize,
}

impl DesignSpace {
    /// The space's encoding.
    #[must_use]
    pub fn encoding(&self) -> Encoding<'_> {
        let mut next = 0;
        let mut take = |choices: usize| {
            let first = next;
            next += if choices > 1 { choices } else { 0 };
            first
        };
        let units = self
            .units
            .iter()
            .map(|u| (take(u.width_choices()), take(u.depths().count())))
            .collect();
        let mut placements = Vec::new();
        for unit in &self.units {
            placements.push(
                unit.layers
                    .iter()
                    .map(|layer| take(layer.blocks.len()))
                    .collect(),
            );
        }
        let resolutions = take(self.resolutions.len());
        Encoding {
            space: self,
            units,
            placements,
            resolutions,
            len: next,
        }
    }
}

impl Encoding<'_> {
    /// Length of the vectors.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a space without any choice has nothing to encode
    pub fn len(&self) -> usize {
        self.len
    }

    /// The vector of an architecture: 1 at the index of every choice that it makes, 0 elsewhere.
    #[must_use]
    pub fn encode(&self, arch: &Architecture) -> Vec<f32> {
        let mut features = vec![0.0; self.len];
        self.each(arch, |index| features[index] = 1.0);
        features
    }

    /// Calls `visit` with the index of every choice that an architecture makes.
    pub fn each(&self, arch: &Architecture, mut visit: impl FnMut(usize)) {
        let space = self.space;
        for (u, (unit, choice)) in space.units.iter().zip(arch.units()).enumerate() {
            let (widths, depths) = self.units[u];
            if unit.width_choices() > 1 {
                visit(widths + usize::from(choice.width));
            }
            if unit.min_depth < unit.max_depth {
                visit(depths + choice.blocks.len() - unit.min_depth);
            }
            for (layer, &block) in choice.blocks.iter().enumerate() {
                if unit.layers[layer].blocks.len() > 1 {
                    visit(self.placements[u][layer] + usize::from(block));
                }
            }
        }
        if space.resolutions.len() > 1 {
            let index = space
                .resolutions
                .iter()
                .position(|&r| r == arch.resolution());
            visit(self.resolutions + index.unwrap_or(0));
        }
    }

    /// What every index stands for, such as `unit 2, layer 1: mbconv3_e6_k7`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.len];
        let mut put = |index: usize, name: String| {
            if let Some(slot) = names.get_mut(index) {
                *slot = name;
            }
        };
        for (u, unit) in self.space.units.iter().enumerate() {
            let (widths, depths) = self.units[u];
            if unit.width_choices() > 1 {
                for (i, width) in unit.widths.iter().enumerate() {
                    put(
                        widths + i,
                        format!("unit {}: {} channels", u + 1, width.channels),
                    );
                }
            }
            if unit.min_depth < unit.max_depth {
                for depth in unit.depths() {
                    put(
                        depths + depth - unit.min_depth,
                        format!("unit {}: depth {depth}", u + 1),
                    );
                }
            }
            for layer in 0..unit.max_depth {
                let blocks = unit.blocks(layer);
                if blocks.len() > 1 {
                    for (i, block) in blocks.iter().enumerate() {
                        let placement = Placement { unit: u, layer };
                        put(
                            self.placements[u][layer] + i,
                            format!("{placement}: {block}"),
                        );
                    }
                }
            }
        }
        if self.space.resolutions.len() > 1 {
            for (i, resolution) in self.space.resolutions.iter().enumerate() {
                put(self.resolutions + i, format!("resolution {resolution}"));
            }
        }
        names
    }
}
