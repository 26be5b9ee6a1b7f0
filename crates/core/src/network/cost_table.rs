//! Costs of many architectures: sums of what their layers cost, counted once.

use super::build::{fixed_part, layer_part};
use super::{NetworkCost, Shape, cost};
use crate::space::{
    Architecture, ArchitectureError, DesignSpace, IMAGE_CHANNELS, Unit, UnitChoice,
};
use crate::units::{Bytes, Macs, Params};

/// The cost of every architecture of a space at one resolution, as [`cost`] counts it, hundreds of times
/// faster: layers meet in a single tensor, so MACs and parameters are sums over layers and peak memory is a
/// maximum. What a layer costs depends on its block and on the shapes that come in and go out.
#[derive(Clone, Debug, PartialEq)]
pub struct CostTable {
    resolution: u32,
    stem: NetworkCost,
    units: Vec<UnitTable>,
    /// By the shape that comes in.
    head: Vec<NetworkCost>,
}

/// By the shape that comes in.
#[derive(Clone, Debug, Default, PartialEq)]
struct UnitTable(Vec<InputTable>);

#[derive(Clone, Debug, PartialEq)]
struct InputTable {
    before: NetworkCost,
    /// Index of the shape that goes out of an empty unit among those that come into the next unit.
    empty: usize,
    widths: Vec<WidthTable>,
}

#[derive(Clone, Debug, PartialEq)]
struct WidthTable {
    /// By layer, then block.
    layers: Vec<Vec<NetworkCost>>,
    /// Index of the shape that goes out among those that come into the next unit.
    output: usize,
}

impl CostTable {
    /// Counts every layer of `space` at `resolution`.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn new(space: &DesignSpace, resolution: u32) -> Result<Self, ArchitectureError> {
        space.check_resolution(resolution)?;
        let image = Shape::square(IMAGE_CHANNELS, resolution);
        let stem = fixed_part(space, &space.stem, image);
        let mut shapes = vec![stem.output()];
        let mut units = Vec::with_capacity(space.units().len());
        for unit in space.units() {
            let mut next = Vec::new();
            let inputs = shapes.iter();
            let inputs = inputs.map(|&shape| InputTable::new(space, unit, shape, &mut next));
            units.push(UnitTable(inputs.collect()));
            shapes = next;
        }
        let head = |shape: &Shape| cost(&fixed_part(space, &space.head, *shape));
        Ok(Self {
            resolution,
            stem: cost(&stem),
            units,
            head: shapes.iter().map(head).collect(),
        })
    }

    /// The resolution that the table is for.
    #[must_use]
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// What the network of `arch` costs.
    ///
    /// # Panics
    /// When `arch` is of another space.
    #[must_use]
    pub fn cost(&self, arch: &Architecture) -> NetworkCost {
        let (mut total, mut shape) = (self.stem, 0);
        for (unit, choice) in self.units.iter().zip(arch.units()) {
            shape = unit.0[shape].add(choice, &mut total);
        }
        then(&mut total, &self.head[shape]);
        total
    }
}

impl InputTable {
    /// The table for one shape that comes in; shapes that go out are looked up in `next`, or added there.
    fn new(space: &DesignSpace, unit: &Unit, input: Shape, next: &mut Vec<Shape>) -> Self {
        let before = fixed_part(space, &unit.before, input);
        let shape = before.output();
        let widths = (0..unit.width_choices())
            .filter_map(|width| u8::try_from(width).ok())
            .map(|width| {
                WidthTable::new(
                    space,
                    unit,
                    shape,
                    unit.channels(width, shape.channels),
                    next,
                )
            })
            .collect();
        Self {
            before: cost(&before),
            empty: if unit.min_depth() == 0 {
                index_of(next, shape)
            } else {
                usize::MAX
            },
            widths,
        }
    }

    /// Adds what a choice costs; returns the index of the shape that goes out.
    fn add(&self, choice: UnitChoice<'_>, total: &mut NetworkCost) -> usize {
        then(total, &self.before);
        let width = &self.widths[usize::from(choice.width)];
        for (layer, &block) in width.layers.iter().zip(choice.blocks) {
            then(total, &layer[usize::from(block)]);
        }
        if choice.blocks.is_empty() {
            self.empty
        } else {
            width.output
        }
    }
}

impl WidthTable {
    fn new(
        space: &DesignSpace,
        unit: &Unit,
        input: Shape,
        channels: u32,
        next: &mut Vec<Shape>,
    ) -> Self {
        let output = input.strided(channels, unit.stride());
        let layer = |layer: usize| {
            let (shape, stride) = if layer == 0 {
                (input, unit.stride())
            } else {
                (output, 1)
            };
            let part = |block| cost(&layer_part(space, unit, block, shape, stride, channels));
            unit.blocks(layer).iter().map(part).collect()
        };
        Self {
            layers: (0..unit.max_depth()).map(layer).collect(),
            output: index_of(next, output),
        }
    }
}

fn index_of(shapes: &mut Vec<Shape>, shape: Shape) -> usize {
    shapes.iter().position(|s| *s == shape).unwrap_or_else(|| {
        shapes.push(shape);
        shapes.len() - 1
    })
}

/// The cost of one part of a network followed by another.
fn then(total: &mut NetworkCost, part: &NetworkCost) {
    total.macs = Macs(total.macs.0.saturating_add(part.macs.0));
    total.params = Params(total.params.0.saturating_add(part.params.0));
    total.peak_activation_memory = Bytes(
        total
            .peak_activation_memory
            .0
            .max(part.peak_activation_memory.0),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::space::test_spaces;

    #[test]
    fn sums_over_layers_equal_counts_over_networks() {
        for space in test_spaces()
            .into_iter()
            .chain([crate::space::classic_space()])
        {
            for &resolution in space.resolutions().iter().step_by(7) {
                let table = CostTable::new(&space, resolution).unwrap();
                assert_eq!(table.resolution(), resolution);
                for i in 0..20 {
                    let arch = space.sample(resolution, &mut Seed(i).rng()).unwrap();
                    let network = space.network(&arch);
                    assert_eq!(table.cost(&arch), cost(&network), "{}", space.print(&arch));
                }
            }
        }
    }
}
