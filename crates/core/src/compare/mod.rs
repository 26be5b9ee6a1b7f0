//! Two profiles side by side: two devices, two engines, or before and after a change.
//!
//! What is compared are the effects of blocks, depths and widths and their averages: by their difference in the
//! metric's unit, and by the difference of what they are relative to their own profile's mean. A device that is merely
//! faster differs in the first and not in the second. Both profiles are estimates with a joint covariance, and
//! independent of each other.

mod across;
mod conditions;
mod correlation;
mod error;
mod quantities;

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

pub use across::{
    ACROSS_FORMAT, Across, Agreement, Contrast, Device, DeviceRow, Everywhere, LeftOut,
    NetworkAcross, Preference,
};
pub use conditions::Condition;
pub use correlation::Correlation;
pub use error::CompareError;
pub use quantities::{ChangeOf, Subject};

use crate::measurement::Warning;
use crate::metric::{MetricInfo, Origin};
use crate::profile::{Estimate, Joint, MetricProfile, Profile};
use crate::report::Report;
use crate::stats::multiple::{Dependence, false_discovery, holm};
use crate::stats::{critical_t, p_value};
use quantities::{Quantity, quantities};

/// Version of [`Comparison`]'s JSON format.
pub const COMPARISON_FORMAT: u32 = 1;
/// Error rate of all claims of a comparison together.
const ALPHA: f64 = 0.05;

/// How claims are corrected for their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Holm: with 95 % probability no claim is wrong.
    Holm,
    /// Benjamini and Hochberg: at most 5 % of the claims are expected to be wrong.
    Bh,
    /// Benjamini and Yekutieli: the same whatever the dependence between them.
    By,
}

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of metrics; all that both have and that are not counted when empty.
    pub metrics: Vec<String>,
    /// Compare what different spaces, widths or resolutions have in common instead of refusing.
    pub common: bool,
    /// How claims are corrected.
    pub control: Control,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Where it comes from.
    pub source: String,
    /// The report's title.
    pub title: String,
    /// The design space's name.
    pub space: String,
    /// Its width multiplier.
    pub width: f64,
    /// Input resolution in pixels.
    pub resolution: u32,
    /// When its report was made.
    pub created: String,
    /// Doubts about it that are doubts about every comparison with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<Warning>,
}

/// Two profiles compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this document's format: [`COMPARISON_FORMAT`].
    pub format: u32,
    /// The program and version that made it.
    pub generated_by: String,
    /// The first profile.
    pub a: Side,
    /// The second: differences are second minus first.
    pub b: Side,
    /// How claims were corrected.
    pub control: Control,
    /// Whether only what both have in common was compared.
    pub common: bool,
    /// What else was not the same, and may be why effects differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per metric.
    pub metrics: Vec<MetricComparison>,
}

/// One metric of both profiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// The metric in the first profile.
    pub a: MetricInfo,
    /// The metric in the second.
    pub b: MetricInfo,
    /// The means over the space.
    pub means: [Estimate; 2],
    /// Second mean over first.
    pub ratio: Estimate,
    /// p value of "the means are equal", corrected with all claims of this metric.
    pub adjusted_p: f64,
    /// How alike the effects of all blocks are.
    pub correlation: Option<Correlation>,
    /// Every quantity that was compared.
    pub changes: Vec<Change>,
}

/// One quantity in both profiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is.
    #[serde(flatten)]
    pub subject: Subject,
    /// Its effect in both, in the metric's unit.
    pub effects: [Estimate; 2],
    /// Second effect minus first, in the metric's unit.
    pub absolute: Difference,
    /// The same, each effect first divided by its own profile's mean: 0.01 is one per cent of the mean.
    pub relative: Difference,
}

/// A difference and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference with its own 95 % interval.
    pub difference: Estimate,
    /// p value of "no difference", by itself.
    pub p: f64,
    /// The same, corrected with all claims of this metric.
    pub adjusted_p: f64,
    /// Whether it is claimed.
    pub sure: bool,
}

impl Comparison {
    /// Compares `b` with `a`; `sources` say where they come from.
    ///
    /// # Errors
    /// [`CompareError`] when they cannot be compared.
    pub fn new(
        [a, b]: [&Report; 2],
        sources: [&str; 2],
        options: &Options,
    ) -> Result<Self, CompareError> {
        if !options.common {
            same_space(&a.profile, &b.profile)?;
        }
        let pairs = metric_pairs(&a.profile, &b.profile, options)?;
        let conditions = conditions::conditions([a, b], &pairs);
        let metrics = pairs
            .into_iter()
            .map(|[x, y]| metric([x, y], sources, options))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            format: COMPARISON_FORMAT,
            generated_by: concat!("blocklens ", env!("CARGO_PKG_VERSION")).into(),
            a: side(a, sources[0]),
            b: side(b, sources[1]),
            control: options.control,
            common: options.common,
            conditions,
            metrics,
        })
    }
}

fn side(report: &Report, source: &str) -> Side {
    let profile = &report.profile;
    Side {
        source: source.to_owned(),
        title: report.title.clone(),
        space: profile.space.clone(),
        width: profile.width,
        resolution: profile.resolution,
        created: report.provenance.created.clone(),
        doubts: report.warnings.clone(),
    }
}

fn same_space(a: &Profile, b: &Profile) -> Result<(), CompareError> {
    let differ = |what, a: String, b: String| Err(CompareError::Differ { what, a, b });
    if a.space != b.space {
        return differ("design space", a.space.clone(), b.space.clone());
    }
    if a.width.to_bits() != b.width.to_bits() {
        return differ("width", a.width.to_string(), b.width.to_string());
    }
    if a.resolution != b.resolution {
        return differ(
            "resolution",
            a.resolution.to_string(),
            b.resolution.to_string(),
        );
    }
    if a.space_digest != b.space_digest {
        return differ(
            "content of the design space",
            a.space_digest.clone(),
            b.space_digest.clone(),
        );
    }
    Ok(())
}

/// The metrics to compare: same name, else the one of the same quantity (`latency` and `latency@note10`).
fn metric_pairs<'a>(
    a: &'a Profile,
    b: &'a Profile,
    options: &Options,
) -> Result<Vec<[&'a MetricProfile; 2]>, CompareError> {
    let named = |profile: &'a Profile, name: &str| {
        let of_name = profile.metrics.iter().find(|m| m.metric.name == name);
        let quantity = name.split('@').next().unwrap_or(name);
        let mut of_quantity = profile
            .metrics
            .iter()
            .filter(|m| m.metric.quantity() == quantity);
        of_name.or_else(|| match (of_quantity.next(), of_quantity.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        })
    };
    if options.metrics.is_empty() {
        let asked = a
            .metrics
            .iter()
            .filter(|m| m.metric.origin != Origin::Counted);
        let pairs: Vec<_> = asked
            .filter_map(|m| Some([m, named(b, &m.metric.name)?]))
            .collect();
        return if pairs.is_empty() {
            Err(CompareError::NoMetric {
                a: names(a),
                b: names(b),
            })
        } else {
            Ok(pairs)
        };
    }
    let find = |profile, name: &String, which| {
        named(profile, name).ok_or_else(|| CompareError::UnknownMetric {
            name: name.clone(),
            which,
            known: names(profile),
        })
    };
    let pair = |name| Ok([find(a, name, "first")?, find(b, name, "second")?]);
    options.metrics.iter().map(pair).collect()
}

fn names(profile: &Profile) -> String {
    let names: Vec<&str> = profile.metrics.iter().map(|m| &*m.metric.name).collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

/// A profile's numbers with their covariance.
struct Numbers<'a> {
    values: Vec<f64>,
    covariance: DMatrix<f64>,
    joint: &'a Joint,
}

impl<'a> Numbers<'a> {
    fn new(profile: &'a MetricProfile, source: &str) -> Result<Self, CompareError> {
        let (metric, report) = (profile.metric.name.clone(), source.to_owned());
        let Some(joint) = &profile.joint else {
            return Err(CompareError::NoJoint { metric, report });
        };
        let values = profile.documented_values();
        match joint.matrix() {
            Some(covariance) if covariance.nrows() == values.len() => Ok(Self {
                values,
                covariance,
                joint,
            }),
            _ => Err(CompareError::Damaged { metric, report }),
        }
    }

    fn mean(&self) -> f64 {
        self.values[0]
    }

    /// Value and variance of a linear function.
    fn linear(&self, weights: &[(usize, f64)]) -> (f64, f64) {
        let value = weights.iter().map(|&(i, w)| w * self.values[i]).sum();
        let mut variance = 0.0;
        for &(i, wi) in weights {
            for &(j, wj) in weights {
                variance += wi * wj * self.covariance[(i, j)];
            }
        }
        (value, f64::max(variance, 0.0))
    }

    /// The same of the function divided by the mean, to first order.
    fn relative(&self, weights: &[(usize, f64)]) -> (f64, f64) {
        let mean = self.mean();
        let relative = self.linear(weights).0 / mean;
        let mut gradient: Vec<(usize, f64)> = weights.iter().map(|&(i, w)| (i, w / mean)).collect();
        gradient.push((0, -relative / mean));
        (relative, self.linear(&gradient).1)
    }

    fn estimate(&self, (value, variance): (f64, f64)) -> Estimate {
        around(value, variance.sqrt(), self.joint.degrees())
    }
}

fn around(value: f64, se: f64, degrees: f64) -> Estimate {
    let half = critical_t(0.05, degrees) * se;
    Estimate {
        value,
        se,
        low: value - half,
        high: value + half,
    }
}

fn metric(
    [a, b]: [&MetricProfile; 2],
    sources: [&str; 2],
    options: &Options,
) -> Result<MetricComparison, CompareError> {
    if a.metric.unit != b.metric.unit {
        return Err(CompareError::Unit {
            metric: a.metric.name.clone(),
            a: a.metric.unit.clone(),
            b: b.metric.unit.clone(),
        });
    }
    let (x, y) = (Numbers::new(a, sources[0])?, Numbers::new(b, sources[1])?);
    let quantities = quantities(a, b);
    if quantities.is_empty() {
        return Err(CompareError::NothingInCommon);
    }
    let (ratio, level_p) = level(&x, &y);
    let mut changes: Vec<Change> = quantities.iter().map(|q| change(&x, &y, q)).collect();
    let mut p = vec![level_p];
    p.extend(changes.iter().flat_map(|c| [c.absolute.p, c.relative.p]));
    let adjusted = match options.control {
        Control::Holm => holm(&p),
        Control::Bh => false_discovery(&p, Dependence::Positive),
        Control::By => false_discovery(&p, Dependence::Any),
    };
    for (change, pair) in changes.iter_mut().zip(adjusted[1..].chunks_exact(2)) {
        for (one, &p) in [&mut change.absolute, &mut change.relative]
            .into_iter()
            .zip(pair)
        {
            one.adjusted_p = p;
            one.sure = p < ALPHA;
        }
    }
    Ok(MetricComparison {
        a: a.metric.clone(),
        b: b.metric.clone(),
        means: [
            x.estimate(x.linear(&[(0, 1.0)])),
            y.estimate(y.linear(&[(0, 1.0)])),
        ],
        ratio,
        adjusted_p: adjusted[0],
        correlation: correlation::correlation(&x, &y, &quantities),
        changes,
    })
}

/// Second mean over first, and the p value of "equal".
fn level(x: &Numbers<'_>, y: &Numbers<'_>) -> (Estimate, f64) {
    let (first, second) = (x.linear(&[(0, 1.0)]), y.linear(&[(0, 1.0)]));
    let difference = difference(x, y, first, second);
    let ratio = second.0 / first.0;
    let variance = (second.1 + ratio * ratio * first.1) / (first.0 * first.0);
    let degrees = degrees(x, y, first.1, second.1);
    (around(ratio, variance.sqrt(), degrees), difference.p)
}

fn change(x: &Numbers<'_>, y: &Numbers<'_>, quantity: &Quantity) -> Change {
    let (first, second) = (x.linear(&quantity.a), y.linear(&quantity.b));
    Change {
        subject: quantity.subject.clone(),
        effects: [x.estimate(first), y.estimate(second)],
        absolute: difference(x, y, first, second),
        relative: difference(x, y, x.relative(&quantity.a), y.relative(&quantity.b)),
    }
}

/// Second minus first, each a value and its variance.
fn difference(
    x: &Numbers<'_>,
    y: &Numbers<'_>,
    first: (f64, f64),
    second: (f64, f64),
) -> Difference {
    let degrees = degrees(x, y, first.1, second.1);
    let value = second.0 - first.0;
    let se = (first.1 + second.1).sqrt();
    let p = if se > 0.0 {
        p_value(value / se, degrees)
    } else {
        // Two values without error: equal, up to rounding, or not.
        f64::from(u8::from(
            value.abs() <= 1e-9 * first.0.abs().max(second.0.abs()),
        ))
    };
    Difference {
        difference: around(value, se, degrees),
        p,
        adjusted_p: p,
        sure: false,
    }
}

/// Degrees of freedom of a difference of two estimates with these variances (Welch and Satterthwaite).
fn degrees(x: &Numbers<'_>, y: &Numbers<'_>, first: f64, second: f64) -> f64 {
    let below = first * first / x.joint.degrees() + second * second / y.joint.degrees();
    if below > 0.0 {
        (first + second).powi(2) / below
    } else {
        f64::INFINITY
    }
}
