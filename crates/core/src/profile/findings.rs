//! The strongest claims that a profile supports, in words.
//!
//! All claims that could be made are tested together, and only those that survive the step-down maximum over all
//! of them are made. Of each kind only the strongest few are shown: five ways to say one thing are one finding.

use std::fmt::Display;

use super::means::Contrast;
use super::simultaneous::FAMILY_ALPHA;
use super::summarise::{attributes, exchanged, expansion_change, kernel_change};
use super::{Finding, Friendliness, Layout, Means};
use crate::metric::{Direction, MetricInfo, Origin};
use crate::space::DesignSpace;

/// Findings of one kind about one metric.
const MOST_OF_A_KIND: usize = 2;

/// A claim before it is known whether the data carry it.
struct Claim {
    kind: Kind,
    contrast: Contrast,
    /// The sentence, given what the metric is called.
    text: Box<dyn Fn(&str) -> String>,
}

/// What a claim is about; only one of each is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kernel,
    Expansion,
    /// The depth of a unit.
    Depth(usize),
    /// The width of a unit.
    Width(usize),
    /// Kernels in a unit.
    KernelIn(usize),
}

impl Kind {
    /// Whether two claims differ in the unit only.
    fn is_like(self, other: Kind) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// How many claims like this one are told.
    fn most(self) -> usize {
        match self {
            Kind::Kernel | Kind::Expansion => 1,
            Kind::Depth(_) | Kind::Width(_) | Kind::KernelIn(_) => MOST_OF_A_KIND,
        }
    }
}

/// The strongest claims about every metric, then about what accuracy costs in latency, then about
/// blocks that are slow or fast for their work. Counted metrics (MACs, parameters) need no finding.
#[must_use]
pub fn findings(
    space: &DesignSpace,
    estimated: &[(&MetricInfo, &Means)],
    friendliness: &[Friendliness],
) -> Vec<Finding> {
    let layout = Layout::new(space);
    let mut all = Vec::new();
    for (info, means) in estimated
        .iter()
        .filter(|(info, _)| info.origin != Origin::Counted)
    {
        all.extend(of_metric(space, &layout, info, means));
    }
    let find = |direction| {
        estimated
            .iter()
            .find(|(i, _)| i.direction == direction && i.origin != Origin::Counted)
    };
    if let (Some(cost), Some(gain)) = (
        find(Direction::LowerIsBetter),
        find(Direction::HigherIsBetter),
    ) {
        all.extend(trades(space, &layout, cost, gain));
    }
    all.extend(slow_for_their_work(friendliness));
    all
}

fn of_metric(
    space: &DesignSpace,
    layout: &Layout,
    info: &MetricInfo,
    means: &Means,
) -> Vec<Finding> {
    let claims = claims(space, layout);
    let contrasts: Vec<Contrast> = claims.iter().map(|c| c.contrast.clone()).collect();
    let mut supported: Vec<(Kind, Finding)> = claims
        .iter()
        .zip(means.adjusted_p(&contrasts))
        .filter(|(_, p)| *p < FAMILY_ALPHA)
        .map(|(claim, _)| (claim, means.contrast(&claim.contrast)))
        .map(|(claim, evidence)| {
            let text = (claim.text)(&said_name(info));
            let (metric, unit) = (info.name.clone(), info.unit.clone());
            (
                claim.kind,
                Finding {
                    metric,
                    text,
                    unit,
                    evidence,
                },
            )
        })
        .collect();
    let strength = |f: &Finding| f.evidence.value.abs() / f.evidence.se.max(f64::MIN_POSITIVE);
    supported.sort_by(|(_, a), (_, b)| strength(b).total_cmp(&strength(a)));
    let mut kept: Vec<(Kind, Finding)> = Vec::new();
    for (kind, finding) in supported {
        let alike = kept.iter().filter(|(k, _)| k.is_like(kind)).count();
        let same = kept.iter().any(|(k, _)| *k == kind);
        if !same && alike < kind.most() {
            kept.push((kind, finding));
        }
    }
    kept.into_iter().map(|(_, finding)| finding).collect()
}

/// Every claim that could be made about a metric.
fn claims(space: &DesignSpace, layout: &Layout) -> Vec<Claim> {
    let (kernels, expansions) = attributes(space);
    let mut claims = Vec::new();
    for (small, large) in pairs(&kernels) {
        let change = kernel_change(small, large);
        let at = |unit| exchanged(space, layout, unit, &change);
        claims.push(Claim {
            kind: Kind::Kernel,
            contrast: at(None),
            text: Box::new(move |name| {
                format!("A {large}x{large} kernel instead of {small}x{small} changes {name} per layer, on average over \
                    the network.")
            }),
        });
        for unit in 0..layout.units() {
            claims.push(Claim {
                kind: Kind::KernelIn(unit),
                contrast: at(Some(unit)),
                text: Box::new(move |name| {
                    format!("In unit {}, a {large}x{large} kernel instead of {small}x{small} changes {name} per \
                        layer.", unit + 1)
                }),
            });
        }
    }
    for (small, large) in pairs(&expansions) {
        let change = expansion_change(small, large);
        claims.push(Claim {
            kind: Kind::Expansion,
            contrast: exchanged(space, layout, None, &change),
            text: Box::new(move |name| {
                format!("Expansion {large} instead of {small} changes {name} per layer, on average over the network.")
            }),
        });
    }
    for unit in 0..layout.units() {
        let (shallow, deep) = (*layout.depths(unit).start(), *layout.depths(unit).end());
        if shallow < deep {
            claims.push(Claim {
                kind: Kind::Depth(unit),
                contrast: vec![
                    (layout.depth(unit, deep), 1.0),
                    (layout.depth(unit, shallow), -1.0),
                ],
                text: Box::new(move |name| {
                    format!(
                        "Making unit {} {deep} layers deep instead of {shallow} changes {name}.",
                        unit + 1
                    )
                }),
            });
        }
    }
    for (unit, spec) in space.units().iter().enumerate() {
        if let [narrow, .., wide] = spec.widths() {
            let (narrow, wide) = (narrow.channels, wide.channels);
            let last = layout.widths(unit).last().unwrap_or(0);
            claims.push(Claim {
                kind: Kind::Width(unit),
                contrast: vec![
                    (layout.width(unit, last), 1.0),
                    (layout.width(unit, 0), -1.0),
                ],
                text: Box::new(move |name| {
                    format!(
                        "Making unit {} {wide} channels wide instead of {narrow} changes {name}.",
                        unit + 1
                    )
                }),
            });
        }
    }
    claims.retain(|claim| !claim.contrast.is_empty());
    claims
}

/// All pairs (smaller, larger) of ascending values.
fn pairs<T: Copy>(values: &[T]) -> Vec<(T, T)> {
    let with_larger = |(i, &small): (usize, &T)| -> Vec<(T, T)> {
        values[i + 1..]
            .iter()
            .map(|&large| (small, large))
            .collect()
    };
    values.iter().enumerate().flat_map(with_larger).collect()
}

/// What the step from the smallest to the largest kernel, and expansion, buys for what it costs.
fn trades(
    space: &DesignSpace,
    layout: &Layout,
    cost: &(&MetricInfo, &Means),
    gain: &(&MetricInfo, &Means),
) -> Vec<Finding> {
    let (kernels, expansions) = attributes(space);
    let by_kernel = step(&kernels, &|small, large| {
        exchanged(space, layout, None, &kernel_change(small, large))
    });
    let by_expansion = step(&expansions, &|small, large| {
        exchanged(space, layout, None, &expansion_change(small, large))
    });
    let mut all = Vec::new();
    for (name, found) in [("kernels", by_kernel), ("expansions", by_expansion)] {
        let Some((small, large, contrast)) = found else {
            continue;
        };
        let (costs, gains) = (cost.1.contrast(&contrast), gain.1.contrast(&contrast));
        // A price per ms only where both sides are sure; two kinds of step are tried.
        if costs.value <= 0.0
            || !cost.1.differs_from_zero(&costs, 4)
            || !gain.1.differs_from_zero(&gains, 4)
        {
            continue;
        }
        let ratio = gains.value / costs.value;
        let se = ratio.abs() * (gains.se / gains.value).hypot(costs.se / costs.value);
        let evidence = cost.1.estimate(ratio, se);
        all.push(Finding {
            metric: format!("{} per {}", gain.0.name, cost.0.name),
            text: format!(
                "What {} gains for each {} of {} when {name} grow from {small} to {large}.",
                said_name(gain.0),
                cost.0.unit,
                cost.0.name
            ),
            unit: format!("{}/{}", gain.0.unit, cost.0.unit),
            evidence,
        });
    }
    all
}

/// The step from the smallest to the largest of ascending values, where there are two.
fn step<T: Copy + Display>(
    values: &[T],
    contrast: &dyn Fn(T, T) -> Contrast,
) -> Option<(String, String, Contrast)> {
    let [small, .., large] = values else {
        return None;
    };
    let change = contrast(*small, *large);
    // No layer may offer both.
    (!change.is_empty()).then(|| (small.to_string(), large.to_string(), change))
}

/// The blocks whose excess latency is surest.
fn slow_for_their_work(friendliness: &[Friendliness]) -> Vec<Finding> {
    let mut sure: Vec<&Friendliness> = friendliness.iter().filter(|f| f.significant).collect();
    let strength =
        |f: &Friendliness| f.excess_ms.value.abs() / f.excess_ms.se.max(f64::MIN_POSITIVE);
    sure.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    let mut told: Vec<(usize, &str)> = Vec::new();
    sure.retain(|f| {
        let known = told.contains(&(f.unit, f.block.as_str()));
        told.push((f.unit, f.block.as_str()));
        !known
    });
    sure.into_iter()
        .take(MOST_OF_A_KIND)
        .map(|f| {
            let verdict = if f.excess_ms.value > 0.0 { "slow" } else { "fast" };
            Finding {
                metric: "friendliness".into(),
                text: format!(
                    "{} in unit {}, layer {} is {verdict} for its work: time beyond what its MACs cost on this device \
                     on average.",
                    f.block, f.unit, f.layer
                ),
                unit: "ms".into(),
                evidence: f.excess_ms,
            }
        })
        .collect()
}

fn said_name(info: &MetricInfo) -> String {
    match info.origin {
        Origin::Surrogate => format!("{} (surrogate)", info.name),
        Origin::Proxy => format!("{} (training-free proxy)", info.name),
        Origin::Estimated => format!("{} (estimated)", info.name),
        Origin::Simulated => format!("{} (simulated)", info.name),
        Origin::Measured | Origin::Counted | Origin::Unstated => info.name.clone(),
    }
}
