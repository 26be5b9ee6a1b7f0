//! How alike devices order networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Device;
use crate::profile::MetricProfile;
use crate::report::NetworkRow;
use crate::stats::rank::{rho_interval, spearman_rho};

/// Fewest networks that say anything.
const FEWEST: usize = 8;

/// How alike two devices order the networks that both measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The devices.
    pub a: usize,
    /// See `a`.
    pub b: usize,
    /// Networks that both measured.
    pub networks: usize,
    /// Spearman's rank correlation of their values, as measured: noise makes it smaller.
    pub rho: f64,
    /// Ends of its 95 % interval over draws of networks.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Of every two devices that have enough of the same networks.
pub(super) fn between(devices: &[Device<'_>], metrics: &[&MetricProfile]) -> Vec<Agreement> {
    let values: Vec<BTreeMap<&str, f64>> = of_each(devices, metrics);
    let pairs = (0..devices.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    pairs
        .filter_map(|(a, b)| of(a, b, &values[a], &values[b]))
        .collect()
}

/// What each device's networks came to in the metric that is compared.
pub(super) fn of_each<'a>(
    devices: &[Device<'a>],
    metrics: &[&MetricProfile],
) -> Vec<BTreeMap<&'a str, f64>> {
    let pairs = devices.iter().zip(metrics);
    pairs
        .map(|(device, metric)| values(device, &metric.metric.name))
        .collect()
}

/// What each network came to in a metric: what was timed (after drift correction), or what is listed beside it.
fn values<'a>(device: &Device<'a>, metric: &str) -> BTreeMap<&'a str, f64> {
    let section = device.report.measurement.as_ref();
    let networks = section.map_or(&[][..], |section| &section.networks);
    let value = |row: &NetworkRow| match metric {
        "latency" => Some(row.corrected_ms),
        other => row.values.get(other).copied(),
    };
    let pairs = networks
        .iter()
        .filter_map(|row| Some((row.arch.as_str(), value(row)?)));
    pairs.collect()
}

fn of(
    a: usize,
    b: usize,
    first: &BTreeMap<&str, f64>,
    second: &BTreeMap<&str, f64>,
) -> Option<Agreement> {
    let common = first
        .iter()
        .filter_map(|(arch, x)| Some((*x, *second.get(arch)?)));
    let (x, y): (Vec<f64>, Vec<f64>) = common.unzip();
    if x.len() < FEWEST {
        return None;
    }
    let rho = spearman_rho(&x, &y)?;
    let (low, high) = rho_interval(rho, x.len())?;
    Some(Agreement {
        a,
        b,
        networks: x.len(),
        rho,
        low,
        high,
    })
}
