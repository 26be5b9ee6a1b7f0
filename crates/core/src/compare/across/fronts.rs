//! Networks that are good on every device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Device;
use super::agreement::of_each;
use crate::metric::{Direction, MetricInfo};
use crate::profile::MetricProfile;

/// The networks on the fronts of all devices, among those that all measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Everywhere {
    /// The metric that is weighed against each device's.
    pub against: MetricInfo,
    /// Networks that all devices measured.
    pub networks: usize,
    /// How many of them each device has on its front: no other is at least as good in both and better in one.
    pub fronts: Vec<usize>,
    /// Those on the most fronts, the best by the metric first.
    pub best: Vec<NetworkAcross>,
}

/// A network on all devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAcross {
    /// The architecture's text form.
    pub arch: String,
    /// What it is weighed by.
    pub value: f64,
    /// What it came to on each device.
    pub on: Vec<f64>,
    /// On how many fronts it is.
    pub fronts: usize,
}

/// `None` where no metric besides says which network is better, or no network was measured on all.
pub(super) fn everywhere(devices: &[Device<'_>], metrics: &[&MetricProfile]) -> Option<Everywhere> {
    let first = devices.first()?;
    // What costs is weighed against what is good.
    if metrics.first()?.metric.direction != Direction::LowerIsBetter {
        return None;
    }
    let against = against(devices)?;
    let measured: Vec<BTreeMap<&str, f64>> = of_each(devices, metrics);
    let rows = &first.report.measurement.as_ref()?.networks;
    let mut networks: Vec<NetworkAcross> = rows
        .iter()
        .filter_map(|row| {
            let on = measured.iter().map(|m| m.get(row.arch.as_str()).copied());
            Some(NetworkAcross {
                arch: row.arch.clone(),
                value: *row.values.get(&against.name)?,
                on: on.collect::<Option<_>>()?,
                fronts: 0,
            })
        })
        .collect();
    if networks.is_empty() {
        return None;
    }
    let fronts = count_fronts(&mut networks, devices.len(), against.direction);
    let most = networks.iter().map(|n| n.fronts).max()?;
    let all = networks.len();
    let mut best: Vec<NetworkAcross> = networks.into_iter().filter(|n| n.fronts == most).collect();
    best.sort_by(|a, b| {
        better(against.direction, b.value).total_cmp(&better(against.direction, a.value))
    });
    Some(Everywhere {
        against: against.clone(),
        networks: all,
        fronts,
        best,
    })
}

/// The first metric that all reports have and that is better when higher.
fn against<'a>(devices: &[Device<'a>]) -> Option<&'a MetricInfo> {
    let has = |device: &Device<'_>, name: &str| {
        let mut metrics = device.report.profile.metrics.iter();
        metrics.any(|metric| metric.metric.name == name)
    };
    let metrics = devices[0].report.profile.metrics.iter();
    metrics
        .map(|metric| &metric.metric)
        .filter(|metric| metric.direction == Direction::HigherIsBetter)
        .find(|metric| devices.iter().all(|device| has(device, &metric.name)))
}

/// Notes of every network on how many fronts it is; returns how many networks each front has.
fn count_fronts(
    networks: &mut [NetworkAcross],
    devices: usize,
    direction: Direction,
) -> Vec<usize> {
    (0..devices)
        .map(|device| {
            let points: Vec<(f64, f64)> = networks
                .iter()
                .map(|n| (n.on[device], better(direction, n.value)))
                .collect();
            let on_front = |p: &(f64, f64)| !points.iter().any(|other| dominates(*other, *p));
            let front: Vec<bool> = points.iter().map(on_front).collect();
            for (network, is) in networks.iter_mut().zip(&front) {
                network.fronts += usize::from(*is);
            }
            front.iter().filter(|is| **is).count()
        })
        .collect()
}

/// The value with its sign turned so that higher is better.
fn better(direction: Direction, value: f64) -> f64 {
    match direction {
        Direction::HigherIsBetter => value,
        Direction::LowerIsBetter => -value,
    }
}

/// Whether one (cost, goodness) is at least as good as another in both and better in one.
fn dominates(one: (f64, f64), other: (f64, f64)) -> bool {
    one.0 <= other.0 && one.1 >= other.1 && one != other
}
