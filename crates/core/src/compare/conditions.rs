//! How differently two profiles came about.

use serde::{Deserialize, Serialize};

use crate::profile::MetricProfile;
use crate::report::{MeasurementSection, Report};

/// A condition that was not the same for both profiles: what differs between them may come from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is, such as `engine`.
    pub what: String,
    /// What it was for the first profile.
    pub a: String,
    /// What it was for the second.
    pub b: String,
}

/// The conditions of measuring and estimating that differ between two reports.
pub(super) fn conditions([a, b]: [&Report; 2], metrics: &[[&MetricProfile; 2]]) -> Vec<Condition> {
    let mut found = Vec::new();
    let mut add = |what: String, a: String, b: String| {
        if a != b {
            found.push(Condition { what, a, b });
        }
    };
    if let (Some(a), Some(b)) = (&a.measurement, &b.measurement) {
        for ((what, a), (_, b)) in measured(a).into_iter().zip(measured(b)) {
            add(what.to_owned(), a, b);
        }
    }
    for [x, y] in metrics {
        let what = format!("origin of {}", x.metric.name);
        add(
            what,
            x.metric.origin.name().into(),
            y.metric.origin.name().into(),
        );
        let what = format!("estimator of {}", x.metric.name);
        add(what, x.estimator.clone(), y.estimator.clone());
    }
    found
}

/// What matters of how a profile was measured.
fn measured(section: &MeasurementSection) -> [(&'static str, String); 9] {
    let device = &section.device;
    let governor = device.governor.as_deref().unwrap_or("not told");
    let machine = device.host.as_deref().unwrap_or("the one blocklens ran on");
    let cpus = match device.cpus {
        0 => "unknown".to_owned(),
        cpus => cpus.to_string(),
    };
    let turns = match section.reference {
        Some(_) => "in turn with a reference network",
        None => "alone",
    };
    [
        (
            "engine",
            format!("{} {}", device.engine, device.engine_version),
        ),
        ("threads", device.threads.to_string()),
        ("number format", device.precision.clone()),
        ("machine", machine.to_owned()),
        ("processor", format!("{}, {cpus} CPUs", device.cpu)),
        ("system", device.system.clone()),
        ("frequency governor", governor.to_owned()),
        ("timing", turns.to_owned()),
        ("statistic", section.statistic.clone()),
    ]
}
