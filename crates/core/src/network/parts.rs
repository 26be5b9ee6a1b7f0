//! The parts that networks are made of, each as a network by itself: what a block-wise latency table times.

use std::collections::BTreeSet;

use super::build::{fixed_part, layer_part};
use super::{Network, Shape};
use crate::space::{
    Architecture, ArchitectureError, Block, DesignSpace, FixedLayer, IMAGE_CHANNELS, Placement,
    Unit,
};

/// A layer of a network, with the shapes that come in and go out.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    space: &'a DesignSpace,
    layers: Layers<'a>,
    input: Shape,
    output: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Layers<'a> {
    /// Layers that are the same in every architecture.
    Fixed(&'a [FixedLayer]),
    Block {
        unit: &'a Unit,
        block: &'a Block,
        stride: u32,
        channels: u32,
    },
}

impl<'a> Part<'a> {
    fn fixed(space: &'a DesignSpace, layers: &'a [FixedLayer], input: Shape) -> Self {
        let through = layers.iter();
        let output = through.fold(input, |shape, layer| layer.output(shape, space.classes));
        Self {
            space,
            layers: Layers::Fixed(layers),
            input,
            output,
        }
    }

    fn block(
        space: &'a DesignSpace,
        unit: &'a Unit,
        block: &'a Block,
        input: Shape,
        stride: u32,
        channels: u32,
    ) -> Self {
        Self {
            space,
            output: input.strided(channels, stride),
            layers: Layers::Block {
                unit,
                block,
                stride,
                channels,
            },
            input,
        }
    }

    /// What comes in.
    #[must_use]
    pub fn input(&self) -> Shape {
        self.input
    }

    /// What goes out.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.output
    }

    /// The part by itself; without operators where the block hands its input on.
    #[must_use]
    pub fn network(&self) -> Network {
        match self.layers {
            Layers::Fixed(layers) => fixed_part(self.space, layers, self.input),
            Layers::Block {
                unit,
                block,
                stride,
                channels,
            } => layer_part(self.space, unit, block, self.input, stride, channels),
        }
    }

    /// What the part is called in a table: everything that its network follows from, in the manner of the `ofa`
    /// package. A part that the image comes into begins with `Image-`.
    #[must_use]
    pub fn key(&self) -> String {
        let text = |shape: Shape| format!("{}x{}x{}", shape.height, shape.width, shape.channels);
        let place = format!("input:{}-output:{}", text(self.input), text(self.output));
        let image = match self.input.channels == IMAGE_CHANNELS {
            true => "Image-",
            false => "",
        };
        let what = match self.layers {
            Layers::Fixed(layers) => {
                let names: Vec<String> = layers.iter().map(fixed_name).collect();
                format!("{}-{place}", names.join("+"))
            }
            Layers::Block {
                unit,
                block,
                stride,
                ..
            } => {
                let activation = block.activation().unwrap_or(unit.activation()).name();
                let squeeze = block.squeeze_excite().or(unit.squeeze_excite());
                let squeeze = squeeze.map_or("0".to_owned(), |ratio| ratio.to_string());
                format!("{block}-{place}-stride:{stride}-act:{activation}-se:{squeeze}")
            }
        };
        format!("{image}{what}")
    }
}

fn fixed_name(layer: &FixedLayer) -> String {
    match layer {
        FixedLayer::Block { block, stride, .. } => format!("fixed_{block}_s{stride}"),
        FixedLayer::MaxPool { kernel, stride } => format!("maxpool_k{kernel}_s{stride}"),
        FixedLayer::Pool => "pool".into(),
        FixedLayer::Classifier => "classifier".into(),
    }
}

/// Collects parts one after the other.
struct Walk<'a> {
    space: &'a DesignSpace,
    parts: Vec<Part<'a>>,
    at: Shape,
}

impl<'a> Walk<'a> {
    fn push(&mut self, part: Part<'a>) {
        self.at = part.output;
        self.parts.push(part);
    }

    fn fixed(&mut self, layers: &'a [FixedLayer]) {
        for layer in layers.chunks(1) {
            self.push(Part::fixed(self.space, layer, self.at));
        }
    }

    /// All blocks at all widths of a unit; returns the shapes that can go out.
    fn unit(&mut self, unit: &'a Unit, input: Shape) -> Vec<Shape> {
        let mut outputs = Vec::new();
        for width in (0..unit.width_choices()).filter_map(|width| u8::try_from(width).ok()) {
            let channels = unit.channels(width, input.channels);
            let output = input.strided(channels, unit.stride());
            for layer in 0..unit.max_depth() {
                let (shape, stride) = match layer {
                    0 => (input, unit.stride()),
                    _ => (output, 1),
                };
                let blocks = unit.blocks(layer).iter();
                self.parts
                    .extend(blocks.map(|block| {
                        Part::block(self.space, unit, block, shape, stride, channels)
                    }));
            }
            outputs.push(output);
        }
        outputs
    }
}

impl DesignSpace {
    /// The parts of an architecture's network, first to last: what one gives is what the next takes. A network is its
    /// parts, though engines may run it otherwise.
    ///
    /// # Panics
    /// When the architecture is of another space.
    #[must_use]
    pub fn parts(&self, arch: &Architecture) -> Vec<Part<'_>> {
        let mut walk = Walk {
            space: self,
            parts: Vec::new(),
            at: Shape::square(IMAGE_CHANNELS, arch.resolution()),
        };
        walk.fixed(&self.stem);
        for (index, (unit, choice)) in self.units().iter().zip(arch.units()).enumerate() {
            walk.fixed(&unit.before);
            let channels = unit.channels(choice.width, walk.at.channels);
            for (layer, &id) in choice.blocks.iter().enumerate() {
                let block = self.block(Placement { unit: index, layer }, id);
                let stride = if layer == 0 { unit.stride() } else { 1 };
                walk.push(Part::block(self, unit, block, walk.at, stride, channels));
            }
        }
        walk.fixed(&self.head);
        walk.parts
    }

    /// Every part that networks of the space can have at a resolution, each once.
    ///
    /// # Errors
    /// [`ArchitectureError::Resolution`] when the space does not have the resolution.
    pub fn all_parts(&self, resolution: u32) -> Result<Vec<Part<'_>>, ArchitectureError> {
        self.check_resolution(resolution)?;
        let mut walk = Walk {
            space: self,
            parts: Vec::new(),
            at: Shape::square(IMAGE_CHANNELS, resolution),
        };
        walk.fixed(&self.stem);
        let mut shapes = BTreeSet::from([walk.at]);
        for unit in self.units() {
            let mut next = BTreeSet::new();
            for shape in shapes {
                walk.at = shape;
                walk.fixed(&unit.before);
                let input = walk.at;
                next.extend((unit.min_depth() == 0).then_some(input));
                next.extend(walk.unit(unit, input));
            }
            shapes = next;
        }
        for shape in shapes {
            walk.at = shape;
            walk.fixed(&self.head);
        }
        let mut seen = BTreeSet::new();
        let mut parts = walk.parts;
        parts.retain(|part| seen.insert(part.key()));
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::network::cost;
    use crate::seed::Seed;
    use crate::space::{classic_space, test_spaces};

    #[test]
    fn parts_make_up_the_network() {
        for space in test_spaces().into_iter().chain([classic_space()]) {
            let resolution = space.default_resolution();
            let mut by_key: BTreeMap<String, Network> = BTreeMap::new();
            for seed in 0..40 {
                let arch = space.sample(resolution, &mut Seed(seed).rng()).unwrap();
                let whole = space.network(&arch);
                let parts = space.parts(&arch);
                let mut shape = whole.input();
                let mut ops = Vec::new();
                for part in &parts {
                    assert_eq!(part.input(), shape);
                    let network = part.network();
                    assert_eq!(network.output(), part.output());
                    shape = part.output();
                    ops.extend(network.nodes().iter().map(|n| (n.op.clone(), n.output)));
                    let known = by_key.entry(part.key()).or_insert_with(|| network.clone());
                    assert_eq!(*known, network, "{}", part.key());
                }
                let of_whole: Vec<_> = whole
                    .nodes()
                    .iter()
                    .map(|n| (n.op.clone(), n.output))
                    .collect();
                assert_eq!(ops, of_whole, "{}", space.print(&arch));
                let macs: u64 = parts.iter().map(|p| cost(&p.network()).macs.0).sum();
                assert_eq!(macs, cost(&whole).macs.0);
            }
        }
    }

    #[test]
    fn all_parts_are_those_of_random_architectures() {
        for space in test_spaces().into_iter().chain([classic_space()]) {
            let resolution = space.default_resolution();
            let all: Vec<String> = space
                .all_parts(resolution)
                .unwrap()
                .iter()
                .map(Part::key)
                .collect();
            let known: BTreeSet<&String> = all.iter().collect();
            assert_eq!(known.len(), all.len(), "each once");
            let mut rng = Seed(5).rng();
            for _ in 0..1_000 {
                let arch = space.sample(resolution, &mut rng).unwrap();
                for part in space.parts(&arch) {
                    assert!(
                        known.contains(&part.key()),
                        "{}: {}",
                        space.name(),
                        part.key()
                    );
                }
            }
        }
    }
}
