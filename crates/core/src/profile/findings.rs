//! The strongest claims that a profile supports, in words.
//!
//! All claims that could be made are counted, and only those that survive a Bonferroni correction for all
//! of them are made. Of each kind only the strongest few are shown: five ways to say one thing are one finding.

use super::means::{Contrast, difference};
use super::summarise::{attributes, averaged};
use super::{Estimate, Finding, Friendliness, Layout, Means};
use crate::metric::{Direction, MetricInfo, Origin};
use crate::space::DesignSpace;

/// Findings of one kind about one metric.
const MOST_OF_A_KIND: usize = 2;

/// A claim before it is known whether the data carry it.
struct Claim {
    kind: Kind,
    contrast: Contrast,
    text: Box<dyn Fn(&str) -> String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kernel,
    Expansion,
    Depth,
    KernelInUnit,
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
    let mut supported: Vec<(Kind, Finding)> = claims
        .iter()
        .map(|claim| (claim, means.contrast(&claim.contrast)))
        .filter(|(_, evidence)| means.differs_from_zero(evidence, claims.len()))
        .map(|(claim, evidence)| {
            let text = (claim.text)(&format!(
                "{} by {}",
                said_name(info),
                quantity(&evidence, &info.unit)
            ));
            (
                claim.kind,
                Finding {
                    metric: info.name.clone(),
                    text,
                    evidence,
                },
            )
        })
        .collect();
    let strength = |f: &Finding| f.evidence.value.abs() / f.evidence.se.max(f64::MIN_POSITIVE);
    // Kernel and expansion claims are few and comparable: the largest change is the one to tell.
    supported.sort_by(|(_, a), (_, b)| strength(b).total_cmp(&strength(a)));
    let mut kept: Vec<(Kind, Finding)> = Vec::new();
    for (kind, finding) in supported {
        let most = if matches!(kind, Kind::Kernel | Kind::Expansion) {
            1
        } else {
            MOST_OF_A_KIND
        };
        if kept.iter().filter(|(k, _)| *k == kind).count() < most {
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
        let at = |unit, k| averaged(space, layout, unit, Some(k), None);
        claims.push(Claim {
            kind: Kind::Kernel,
            contrast: difference(&at(None, large), &at(None, small)),
            text: Box::new(move |by| {
                format!("A {large}x{large} kernel instead of {small}x{small} changes {by} per layer, on average over the network.")
            }),
        });
        for unit in 0..layout.units() {
            claims.push(Claim {
                kind: Kind::KernelInUnit,
                contrast: difference(&at(Some(unit), large), &at(Some(unit), small)),
                text: Box::new(move |by| {
                    format!("In unit {}, a {large}x{large} kernel instead of {small}x{small} changes {by} per layer.", unit + 1)
                }),
            });
        }
    }
    for (small, large) in pairs(&expansions) {
        let at = |e| averaged(space, layout, None, None, Some(e));
        claims.push(Claim {
            kind: Kind::Expansion,
            contrast: difference(&at(large), &at(small)),
            text: Box::new(move |by| {
                format!("Expansion {large} instead of {small} changes {by} per layer, on average over the network.")
            }),
        });
    }
    for unit in 0..layout.units() {
        let (shallow, deep) = (*layout.depths(unit).start(), *layout.depths(unit).end());
        if shallow < deep {
            claims.push(Claim {
                kind: Kind::Depth,
                contrast: vec![
                    (layout.depth(unit, deep), 1.0),
                    (layout.depth(unit, shallow), -1.0),
                ],
                text: Box::new(move |by| {
                    format!(
                        "Making unit {} {deep} layers deep instead of {shallow} changes {by}.",
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
fn pairs(values: &[u32]) -> Vec<(u32, u32)> {
    let with_larger = |(i, &small): (usize, &u32)| -> Vec<(u32, u32)> {
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
    let step = |values: &[u32], contrast: &dyn Fn(u32) -> Contrast| {
        let (small, large) = (*values.first()?, *values.last()?);
        (small < large).then(|| (small, large, difference(&contrast(large), &contrast(small))))
    };
    let by_kernel = step(&kernels, &|k| averaged(space, layout, None, Some(k), None));
    let by_expansion = step(&expansions, &|e| {
        averaged(space, layout, None, None, Some(e))
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
        let text = format!(
            "Going from {name} of {small} to {large} buys {} per ms of latency{}.",
            quantity(&evidence, &gain.0.unit),
            if gain.0.origin == Origin::Surrogate {
                " (accuracy by surrogate)"
            } else {
                ""
            },
        );
        all.push(Finding {
            metric: format!("{} per {}", gain.0.name, cost.0.name),
            text,
            evidence,
        });
    }
    all
}

/// The blocks whose excess latency is surest.
fn slow_for_their_work(friendliness: &[Friendliness]) -> Vec<Finding> {
    let mut sure: Vec<&Friendliness> = friendliness.iter().filter(|f| f.significant).collect();
    let strength =
        |f: &Friendliness| f.excess_ms.value.abs() / f.excess_ms.se.max(f64::MIN_POSITIVE);
    sure.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    sure.into_iter()
        .take(MOST_OF_A_KIND)
        .map(|f| {
            let verdict = if f.excess_ms.value > 0.0 { "slow" } else { "fast" };
            let text = format!(
                "{} in unit {}, layer {} is {verdict} for its work: {} beyond what its MACs cost on this device on average.",
                f.block,
                f.unit,
                f.layer,
                quantity(&f.excess_ms, "ms")
            );
            Finding { metric: "friendliness".into(), text, evidence: f.excess_ms }
        })
        .collect()
}

fn said_name(info: &MetricInfo) -> String {
    match info.origin {
        Origin::Surrogate => format!("{} (surrogate)", info.name),
        Origin::Simulated => format!("{} (simulated)", info.name),
        Origin::Measured | Origin::Counted => info.name.clone(),
    }
}

/// `+0.31 ms [+0.22, +0.40]`, with as many digits as the interval's width deserves.
fn quantity(e: &Estimate, unit: &str) -> String {
    let digits = digits(e.high - e.low);
    format!(
        "{:+.digits$} {unit} [{:+.digits$}, {:+.digits$}]",
        e.value, e.low, e.high
    )
}

/// Decimals that show about two significant digits of `width`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn digits(width: f64) -> usize {
    if width > 0.0 && width.is_finite() {
        (1.0 - width.log10()).ceil().clamp(0.0, 6.0) as usize
    } else {
        2
    }
}
