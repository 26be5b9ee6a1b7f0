//! Many devices side by side: which blocks one likes that another does not.
//!
//! Devices differ in their level, and that is what everybody sees first; what decides which network to pick is how
//! they differ in what a choice costs them *relative to their own mean*. So everything here is in such shares: what it
//! costs each device to have 7x7 for 3x3, and whether two devices differ in that by more than chance. Claims are
//! corrected over all choices and all pairs of devices together (Holm).

mod agreement;
mod contrasts;
mod fronts;

use serde::{Deserialize, Serialize};

pub use agreement::Agreement;
pub use contrasts::{Contrast, Preference};
pub use fronts::{Everywhere, NetworkAcross};

use super::{CompareError, Numbers, Options, metric_pairs, same_space};
use crate::measurement::Warning;
use crate::metric::{Direction, Origin};
use crate::profile::{Estimate, MetricProfile};
use crate::report::Report;

/// Version of [`Across`]'s JSON format.
pub const ACROSS_FORMAT: u32 = 1;

/// A profile with the name that its device goes by.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// The device's name, such as `ncnn:precision=bf16`.
    pub name: &'a str,
    /// Where its report is: a folder or a file.
    pub source: &'a str,
    /// Its report.
    pub report: &'a Report,
}

/// Several devices compared on one space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Across {
    /// Version of this document's format: [`ACROSS_FORMAT`].
    pub format: u32,
    /// The program and version that made it.
    pub generated_by: String,
    /// The command that made it, and when; as in reports.
    pub command: String,
    /// See `command`.
    pub created: String,
    /// The design space's name.
    pub space: String,
    /// Its width multiplier.
    pub width: f64,
    /// Input resolution in pixels.
    pub resolution: u32,
    /// What is compared: the quantity's name without its source, such as `latency`.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// The devices, in the order in which they were given; everything below counts them from 0.
    pub devices: Vec<DeviceRow>,
    /// Devices that were asked for and are not among them, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How alike every two devices order the networks that both measured.
    pub agreement: Vec<Agreement>,
    /// What choices cost each device.
    pub contrasts: Vec<Contrast>,
    /// Networks that are good on all devices; `None` where no other metric says what good is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Everywhere>,
}

/// A device that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A device with what is known of its level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its name.
    pub name: String,
    /// Where its report is.
    pub source: String,
    /// Engine, version and processor, for people.
    pub described: String,
    /// Where its numbers come from.
    pub origin: Origin,
    /// The mean over the space, in the metric's unit.
    pub mean: Estimate,
    /// Whether the level in the metric's unit is known: other programs took part otherwise.
    pub level_known: bool,
    /// Relative spread of the sentinel; `None` where it was measured too rarely, or nothing was.
    pub noise_floor: Option<f64>,
    /// Networks with a value.
    pub measured: usize,
    /// Networks that failed.
    pub failed: usize,
    /// Its campaign in the store that its report was made from, as the report names it; `None` where nothing was
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Doubts about it.
    pub doubts: Vec<Warning>,
}

impl Across {
    /// Compares devices by the first metric that the first report measured, or by the one that `metric` names.
    ///
    /// # Errors
    /// [`CompareError`] where there are fewer than two devices, or they cannot be compared.
    pub fn new(devices: &[Device<'_>], metric: Option<&str>) -> Result<Self, CompareError> {
        let [first, others @ ..] = devices else {
            return Err(CompareError::TooFew);
        };
        if others.is_empty() {
            return Err(CompareError::TooFew);
        }
        for other in others {
            same_space(&first.report.profile, &other.report.profile)?;
        }
        let metrics = metrics_of(devices, metric)?;
        let unit = metrics[0].metric.unit.clone();
        let numbers = numbers(devices, &metrics)?;
        let profile = &first.report.profile;
        Ok(Self {
            format: ACROSS_FORMAT,
            generated_by: concat!("blocklens ", env!("CARGO_PKG_VERSION")).into(),
            command: String::new(),
            created: String::new(),
            space: profile.space.clone(),
            width: profile.width,
            resolution: profile.resolution,
            metric: metrics[0].metric.quantity().into(),
            unit,
            direction: metrics[0].metric.direction,
            devices: devices.iter().zip(&metrics).map(row).collect(),
            left_out: Vec::new(),
            agreement: agreement::between(devices, &metrics),
            contrasts: contrasts::contrasts(&metrics, &numbers)?,
            everywhere: fronts::everywhere(devices, &metrics),
        })
    }

    /// Every claim that two devices differ, the largest difference first.
    #[must_use]
    pub fn claims(&self) -> Vec<(&Contrast, &Preference)> {
        let all = self.contrasts.iter();
        let mut claims: Vec<(&Contrast, &Preference)> = all
            .flat_map(|contrast| contrast.preferences.iter().map(move |p| (contrast, p)))
            .filter(|(_, preference)| preference.difference.sure)
            .collect();
        let size = |p: &Preference| p.difference.difference.value.abs();
        claims.sort_by(|(_, a), (_, b)| size(b).total_cmp(&size(a)));
        claims
    }
}

/// The metric of every device that is compared.
fn metrics_of<'a>(
    devices: &[Device<'a>],
    name: Option<&str>,
) -> Result<Vec<&'a MetricProfile>, CompareError> {
    let first = devices[0].report;
    let mut metrics = Vec::new();
    for other in &devices[1..] {
        let options = Options {
            metrics: name.map(str::to_owned).into_iter().collect(),
            common: false,
            control: super::Control::Holm,
        };
        let pairs = metric_pairs(&first.profile, &other.report.profile, &options)?;
        let [a, b] = pairs[0];
        if a.metric.unit != b.metric.unit {
            return Err(CompareError::Unit {
                metric: a.metric.name.clone(),
                a: a.metric.unit.clone(),
                b: b.metric.unit.clone(),
            });
        }
        if metrics.is_empty() {
            metrics.push(a);
        }
        metrics.push(b);
    }
    Ok(metrics)
}

fn numbers<'a>(
    devices: &[Device<'_>],
    metrics: &[&'a MetricProfile],
) -> Result<Vec<Numbers<'a>>, CompareError> {
    let pairs = devices.iter().zip(metrics);
    pairs
        .map(|(device, metric)| Numbers::new(metric, device.source))
        .collect()
}

fn row((device, metric): (&Device<'_>, &&MetricProfile)) -> DeviceRow {
    let report = device.report;
    let section = report.measurement.as_ref();
    let engine = report.provenance.engine.clone();
    let processor = section.map(|section| section.device.cpu.clone());
    let described: Vec<String> = engine.into_iter().chain(processor).collect();
    DeviceRow {
        name: device.name.into(),
        source: device.source.into(),
        described: match described.is_empty() {
            true => report.title.clone(),
            false => described.join(", "),
        },
        origin: metric.metric.origin,
        mean: metric.mean,
        level_known: !section
            .and_then(|section| section.level)
            .is_some_and(|level| level.is_unknown()),
        noise_floor: section.and_then(|section| section.noise_floor),
        measured: section.map_or(0, |section| section.measured),
        failed: section.map_or(0, |section| section.failed),
        campaign: report.provenance.campaign.clone(),
        doubts: report.warnings.clone(),
    }
}
