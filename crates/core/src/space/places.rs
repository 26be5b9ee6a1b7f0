//! Where blocks can stand: every shape that can come into every layer. Blocks that cannot stand everywhere where
//! the file puts them are found when the file is read, so that every architecture has a network.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::block::{Block, BlockKind};
use super::fixed::FixedLayer;
use super::{DesignSpace, Placement, Unit};
use crate::fragment::{Fragment, Instance};
use crate::shape::Shape;

/// Channels of the input image.
pub(crate) const IMAGE_CHANNELS: u32 = 3;
/// Places at which blocks of the user's own are tried before giving up on a file.
const MOST_PLACES: usize = 20_000;

/// What decides how a block looks at a place, besides the block: input, output channels, stride.
type Place = (Shape, u32, u32);

/// The blocks of the user's own at every place where they can stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Instances(BTreeMap<String, BTreeMap<Place, Instance>>);

impl Instances {
    /// A block at a place, where it was tried when the space was read.
    pub(crate) fn get(
        &self,
        block: &str,
        input: Shape,
        channels: u32,
        stride: u32,
    ) -> Option<&Instance> {
        self.0.get(block)?.get(&(input, channels, stride))
    }

    fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

impl FixedLayer {
    /// The shape that comes out.
    pub(crate) fn output(&self, input: Shape, classes: u32) -> Shape {
        match self {
            Self::Block {
                stride, channels, ..
            } => input.strided(channels.unwrap_or(input.channels), *stride),
            Self::MaxPool { stride, .. } => input.strided(input.channels, *stride),
            Self::Pool => Shape::vector(input.channels),
            Self::Classifier => Shape::vector(classes),
        }
    }
}

impl DesignSpace {
    /// Tries every block at every place, at every resolution as far as shapes matter to it.
    ///
    /// # Errors
    /// A sentence that names the place.
    pub(super) fn check_places(
        &self,
        fragments: &BTreeMap<String, Fragment>,
    ) -> Result<Instances, String> {
        let mut found = Instances::default();
        let resolutions = match fragments.len() {
            0 => std::slice::from_ref(&self.default_resolution),
            _ => self.resolutions.as_slice(),
        };
        for &resolution in resolutions {
            let mut visit = |spot: &dyn fmt::Display, blocks: &[Block], place| {
                try_blocks(spot, blocks, place, fragments, &mut found)
            };
            self.each_place(resolution, &mut visit)
                .map_err(|message| format!("{message} (at resolution {resolution})"))?;
        }
        Ok(found)
    }

    /// Calls `visit` with every layer and every place that it can be.
    fn each_place(&self, resolution: u32, visit: &mut Visit<'_>) -> Result<(), String> {
        let image = Shape::square(IMAGE_CHANNELS, resolution);
        let stem = self.through(&"stem", &self.stem, image, visit)?;
        let mut shapes = BTreeSet::from([stem]);
        for (index, unit) in self.units.iter().enumerate() {
            let before = format!("unit {}, before", index + 1);
            let mut next = BTreeSet::new();
            for shape in shapes {
                let input = self.through(&before, &unit.before, shape, visit)?;
                next.extend((unit.min_depth == 0).then_some(input));
                next.extend(each_place_of_unit(index, unit, input, visit)?);
            }
            shapes = next;
        }
        for shape in shapes {
            self.through(&"head", &self.head, shape, visit)?;
        }
        Ok(())
    }

    /// The shape behind fixed layers, all of which `visit` sees.
    fn through(
        &self,
        name: &dyn fmt::Display,
        layers: &[FixedLayer],
        input: Shape,
        visit: &mut Visit<'_>,
    ) -> Result<Shape, String> {
        let mut shape = input;
        for (index, layer) in layers.iter().enumerate() {
            let output = layer.output(shape, self.classes);
            if let FixedLayer::Block { block, stride, .. } = layer {
                let spot = format!("{name}, layer {}", index + 1);
                let place = (shape, output.channels, *stride);
                visit(&spot, std::slice::from_ref(block), place)?;
            }
            shape = output;
        }
        Ok(shape)
    }

    /// Whether all numbers of channels are multiples of 8.
    pub(super) fn all_in_eights(&self) -> bool {
        let of_fixed = |layer: &FixedLayer| match layer {
            FixedLayer::Block { channels, .. } => *channels,
            FixedLayer::MaxPool { .. } | FixedLayer::Pool | FixedLayer::Classifier => None,
        };
        let before = self.units.iter().flat_map(|unit| &unit.before);
        let fixed = self.stem.iter().chain(before).chain(&self.head);
        let widths = self.units.iter().flat_map(|unit| &unit.widths);
        let mut all = fixed.filter_map(of_fixed).chain(widths.map(|w| w.channels));
        all.all(|channels| channels.is_multiple_of(8))
    }
}

/// What is told of every layer: where it is, in words, what can stand there, and the place.
type Visit<'a> = dyn FnMut(&dyn fmt::Display, &[Block], Place) -> Result<(), String> + 'a;

fn try_blocks(
    spot: &dyn fmt::Display,
    blocks: &[Block],
    place: Place,
    fragments: &BTreeMap<String, Fragment>,
    found: &mut Instances,
) -> Result<(), String> {
    let (input, channels, stride) = place;
    for block in blocks {
        match block.kind() {
            BlockKind::Skip if stride != 1 || channels != input.channels => {
                return Err(format!(
                    "{spot}: `skip` cannot stand where the shape changes ({} to {channels} channels, stride {stride})",
                    input.channels
                ));
            }
            BlockKind::Custom(name) => {
                let known = found.0.entry(name.to_string()).or_default();
                if let Entry::Vacant(entry) = known.entry(place) {
                    let instance = instance(block, name, fragments, place);
                    entry.insert(instance.map_err(|e| format!("{spot}: {e}"))?);
                }
            }
            _ => {}
        }
    }
    if found.len() > MOST_PLACES {
        return Err(format!(
            "blocks of your own would stand at more than {MOST_PLACES} different places: give the space fewer widths \
             or resolutions"
        ));
    }
    Ok(())
}

fn instance(
    block: &Block,
    name: &str,
    fragments: &BTreeMap<String, Fragment>,
    (input, channels, stride): Place,
) -> Result<Instance, String> {
    let fragment = fragments.get(name);
    let fragment = fragment.ok_or_else(|| format!("there is no block `{block}`"))?;
    let instance = fragment.instantiate(input, channels, stride);
    instance.map_err(|e| e.to_string())
}

/// Visits the places of a unit for one shape that comes in; returns the shapes that go out.
fn each_place_of_unit(
    index: usize,
    unit: &Unit,
    input: Shape,
    visit: &mut Visit<'_>,
) -> Result<Vec<Shape>, String> {
    let mut outputs = Vec::new();
    for width in 0..unit.width_choices() {
        let width = u8::try_from(width).unwrap_or(u8::MAX);
        let channels = unit.channels(width, input.channels);
        let output = input.strided(channels, unit.stride);
        for layer in 0..unit.max_depth {
            let placement = Placement { unit: index, layer };
            let (shape, stride) = match layer {
                0 => (input, unit.stride),
                _ => (output, 1),
            };
            let blocks = &unit.layers[layer].blocks;
            visit(&placement, blocks, (shape, channels, stride))?;
        }
        outputs.push(output);
    }
    Ok(outputs)
}
