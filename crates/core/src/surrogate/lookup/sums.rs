//! Looked-up layers of a space at one resolution, so that an architecture is a sum of numbers.

use super::keys::deepest;
use super::{LookupTable, layer_keys};
use crate::ofa::NetConfigError;
use crate::space::{Architecture, DesignSpace, Placement};

/// The first convolution and the fixed block, which come before the units.
const STEM: usize = 2;

/// Latencies of all layers of a space at one resolution.
///
/// The units of the package's mobile networks have one width each, so that a layer's shapes, and with them its
/// key, follow from its placement and its block alone.
#[derive(Debug)]
pub(super) struct LayerSums {
    /// The layers that every network has, together.
    fixed: Layer,
    /// By unit, layer and block.
    units: Vec<Vec<Vec<Layer>>>,
}

/// A latency in ms, or the key that the table lacks.
type Layer = Result<f64, String>;

impl LayerSums {
    pub(super) fn new(
        space: &DesignSpace,
        table: &LookupTable,
        resolution: u32,
    ) -> Result<Self, NetConfigError> {
        if let Some(unit) = space.units().iter().position(|unit| unit.min_depth() == 0) {
            return Err(NetConfigError::NotExpressible {
                place: format!("unit {}", unit + 1),
                what: "a unit that can be left out, as a sum of looked-up layers".into(),
            });
        }
        let look_up = |key: String| table.get(&key).ok_or(key);
        let mut sums = Self {
            fixed: Ok(0.0),
            units: space
                .units()
                .iter()
                .map(|u| vec![Vec::new(); u.max_depth()])
                .collect(),
        };
        let most = space.placements().map(|p| space.blocks(p).len()).max();
        for id in 0..most.unwrap_or(0) {
            let arch = space.architecture(resolution, &deepest(space, id))?;
            let mut keys = layer_keys(space, &arch)?.into_iter();
            let stem: Vec<String> = keys.by_ref().take(STEM).collect();
            for placement in space.placements() {
                let (Some(key), Placement { unit, layer }) = (keys.next(), placement) else {
                    break;
                };
                if id < space.blocks(placement).len() {
                    sums.units[unit][layer].push(look_up(key));
                }
            }
            sums.fixed = stem.into_iter().chain(keys).map(look_up).sum();
        }
        Ok(sums)
    }

    /// What the layers that every network has take together, in ms, or the key of one that the table lacks.
    pub(super) fn fixed(&self) -> Result<f64, &str> {
        self.fixed.as_ref().copied().map_err(String::as_str)
    }

    /// What the layers of a unit take, in ms, or the key of one that the table lacks.
    pub(super) fn unit(&self, unit: usize, blocks: &[u8]) -> Result<f64, &str> {
        let layers = self.units[unit].iter().zip(blocks);
        layers
            .map(|(layer, block)| layer[usize::from(*block)].as_ref().copied())
            .sum::<Result<f64, &String>>()
            .map_err(String::as_str)
    }

    /// The latency of an architecture in ms, or the key of a layer that the table lacks.
    pub(super) fn sum(&self, arch: &Architecture) -> Result<f64, &str> {
        let mut units = arch.units().enumerate();
        units.try_fold(self.fixed()?, |sum, (unit, choice)| {
            Ok(sum + self.unit(unit, choice.blocks)?)
        })
    }
}
