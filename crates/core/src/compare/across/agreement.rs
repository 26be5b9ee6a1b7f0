//! How alike devices order networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Device;
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

/// Of every two devices that measured enough of the same networks.
pub(super) fn between(devices: &[Device<'_>]) -> Vec<Agreement> {
    let values: Vec<BTreeMap<&str, f64>> = devices.iter().map(values).collect();
    let pairs = (0..devices.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    pairs
        .filter_map(|(a, b)| of(a, b, &values[a], &values[b]))
        .collect()
}

/// What each network came to, after drift correction.
pub(super) fn values<'a>(device: &Device<'a>) -> BTreeMap<&'a str, f64> {
    let section = device.report.measurement.as_ref();
    let networks = section.map_or(&[][..], |section| &section.networks);
    let value = |row: &'a crate::report::NetworkRow| (row.arch.as_str(), row.corrected_ms);
    networks.iter().map(value).collect()
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
