//! Block-wise latency tables as the `ofa` package publishes them: one latency for every layer with its
//! shapes, measured on its own. The latency of a network is taken as the sum over its layers.

mod keys;
mod sums;
mod table;

pub use keys::{Entry, all_entries, entries, layer_keys};
pub use table::{LookupTable, LookupTableError, TimedLayer, timed_yaml};

use std::collections::{BTreeMap, BTreeSet};

use crate::metric::{Direction, Metric, MetricError, MetricInfo, Origin};
use crate::ofa::NetConfigError;
use crate::space::{Architecture, ArchitectureError, DesignSpace};
use sums::LayerSums;

/// Latency of an architecture as the sum of its layers' entries in a [`LookupTable`], in ms: what
/// `MBv3LatencyTable` and `ProxylessNASLatencyTable` of the `ofa` package compute.
///
/// Sums of layers that were measured alone are not end-to-end latencies: they leave out what layers do to
/// each other (fusion, caches, dispatch).
#[derive(Debug)]
pub struct LookupLatency {
    info: MetricInfo,
    space: DesignSpace,
    by_resolution: BTreeMap<u32, Sums>,
}

/// How an architecture's entries are found.
#[derive(Debug)]
enum Sums {
    /// By placement and block, once for all architectures.
    Layers(LayerSums),
    /// By the keys of each architecture, where shapes depend on more than that.
    Keys(LookupTable),
}

impl Sums {
    fn new(
        space: &DesignSpace,
        table: &LookupTable,
        resolution: u32,
    ) -> Result<Self, ArchitectureError> {
        match LayerSums::new(space, table, resolution) {
            Ok(sums) => Ok(Self::Layers(sums)),
            Err(NetConfigError::Architecture(error)) => Err(error),
            Err(_) => Ok(Self::Keys(table.clone())),
        }
    }

    /// The latency of an architecture in ms, or the key of a layer that the table lacks.
    fn sum(&self, space: &DesignSpace, arch: &Architecture) -> Result<f64, String> {
        match self {
            Self::Layers(sums) => sums.sum(arch).map_err(str::to_owned),
            Self::Keys(table) => {
                let entries = entries(space, arch).into_iter();
                entries.map(|e| table.get(&e.key).ok_or(e.key)).sum()
            }
        }
    }

    /// The key of a layer that every architecture of the space has and the table lacks.
    fn lacks(&self, space: &DesignSpace, resolution: u32) -> Option<String> {
        match self {
            Self::Layers(sums) => sums.fixed().err().map(str::to_owned),
            Self::Keys(table) => {
                let smallest = space.smallest(resolution).ok()?;
                let mut keys = entries(space, &smallest).into_iter().map(|e| e.key);
                keys.find(|key| table.get(key).is_none())
            }
        }
    }
}

impl LookupLatency {
    /// The metric called `name` for `space`, at the resolutions that the tables have. Each resolution has a table of
    /// its own: published ones differ in layers that do not depend on the resolution.
    ///
    /// # Errors
    /// [`MetricError::NotApplicable`] when the layers of the space's networks have no such keys, the tables have none
    /// of its resolutions or one of them twice, or lack a layer that every architecture has.
    pub fn new(
        name: &str,
        space: &DesignSpace,
        tables: &[LookupTable],
    ) -> Result<Self, MetricError> {
        let refuse = |reason: String| MetricError::NotApplicable {
            metric: name.to_owned(),
            reason,
        };
        let mut by_resolution = BTreeMap::new();
        for table in tables {
            let offered = table.resolutions();
            for &resolution in offered.iter().filter(|r| space.resolutions().contains(r)) {
                let sums =
                    Sums::new(space, table, resolution).map_err(|e| refuse(e.to_string()))?;
                if by_resolution.insert(resolution, sums).is_some() {
                    return Err(refuse(format!(
                        "two of its tables are for inputs of {resolution}"
                    )));
                }
            }
        }
        if by_resolution.is_empty() {
            let offered: BTreeSet<u32> = tables.iter().flat_map(LookupTable::resolutions).collect();
            return Err(refuse(format!(
                "it is for inputs of {}, and {} has none of these",
                list(offered.iter()),
                space.name()
            )));
        }
        let metric = Self {
            info: MetricInfo {
                name: name.to_owned(),
                unit: "ms".into(),
                direction: Direction::LowerIsBetter,
                origin: Origin::Surrogate,
                about: "Sum of the latencies of layers that were measured one by one; not an end-to-end measurement."
                    .into(),
            },
            space: space.clone(),
            by_resolution,
        };
        let mut all = metric.by_resolution.iter();
        if let Some(key) = all.find_map(|(resolution, sums)| sums.lacks(space, *resolution)) {
            return Err(metric.missing(&key));
        }
        Ok(metric)
    }

    /// The resolutions that architectures can have.
    pub fn resolutions(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_resolution.keys().copied()
    }

    /// The part of the latency that every architecture of a resolution shares, in ms, and the term of the block `id` at
    /// a placement: with these, means over the space have a closed form ([`crate::profile::exact_means`]). `None` where
    /// a layer's latency does not follow from placement and block alone.
    #[must_use]
    #[allow(clippy::type_complexity)] // a number and a function
    pub fn terms(
        &self,
        resolution: u32,
    ) -> Option<(f64, impl Fn(usize, &[u8]) -> Option<f64> + '_)> {
        let Sums::Layers(sums) = self.by_resolution.get(&resolution)? else {
            return None;
        };
        Some((sums.fixed().ok()?, move |unit: usize, blocks: &[u8]| {
            sums.unit(unit, blocks).ok()
        }))
    }

    fn missing(&self, key: &str) -> MetricError {
        MetricError::NotApplicable {
            metric: self.info.name.clone(),
            reason: format!("the latency table has no entry `{key}` with a latency above 0"),
        }
    }
}

impl Metric for LookupLatency {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn evaluate(&self, arch: &Architecture) -> Result<f64, MetricError> {
        let Some(sums) = self.by_resolution.get(&arch.resolution()) else {
            return Err(MetricError::NotApplicable {
                metric: self.info.name.clone(),
                reason: format!(
                    "the latency table is for inputs of {} and not of {} pixels (--resolution {})",
                    list(self.by_resolution.keys()),
                    arch.resolution(),
                    self.by_resolution
                        .keys()
                        .next()
                        .copied()
                        .unwrap_or_default()
                ),
            });
        };
        if arch.units().count() != self.space.units().len() {
            return Err(MetricError::NotApplicable {
                metric: self.info.name.clone(),
                reason: format!("the architecture is not of {}", self.space.name()),
            });
        }
        sums.sum(&self.space, arch)
            .map_err(|key| self.missing(&key))
    }
}

/// `160, 176 and 192`.
fn list<'a>(numbers: impl Iterator<Item = &'a u32>) -> String {
    let texts: Vec<String> = numbers.map(u32::to_string).collect();
    match texts.as_slice() {
        [] => "no resolution".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
