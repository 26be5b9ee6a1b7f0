//! Profiles compared: nothing is claimed of a device and itself, and what really changed is found.

use crate::study::{RESOLUTION, Study};
use blocklens_core::compare::{
    ChangeOf, CompareError, Comparison, Control, MetricComparison, Options,
};
use blocklens_core::metric::{Direction, MetricInfo, Origin};
use blocklens_core::profile::{Estimator, MetricProfile, Observation, Pooled, Profile};
use blocklens_core::report::{
    Provenance, REPORT_FORMAT, Report, comparison_html, comparison_markdown,
};
use blocklens_core::space::{Architecture, DesignSpace};

fn options() -> Options {
    Options {
        metrics: Vec::new(),
        common: false,
        control: Control::Holm,
    }
}

fn compare(a: &Report, b: &Report) -> Comparison {
    Comparison::new([a, b], ["a", "b"], &options()).unwrap()
}

/// A report with nothing but a profile of latency.
pub fn report(space: &DesignSpace, metric: MetricProfile) -> Report {
    Report {
        format: REPORT_FORMAT,
        title: "test".into(),
        generated_by: "test".into(),
        command: String::new(),
        profile: Profile {
            format: 1,
            space: space.name().into(),
            width: space.width(),
            space_digest: space.digest().into(),
            resolution: RESOLUTION,
            seed: 1,
            metrics: vec![metric],
            friendliness: Vec::new(),
            findings: Vec::new(),
        },
        measurement: None,
        provenance: Provenance {
            blocklens: "test".into(),
            engine: None,
            seed: 1,
            space_digest: space.digest().into(),
            store: None,
            campaign: None,
            created: "now".into(),
            inputs: Vec::new(),
        },
        warnings: Vec::new(),
    }
}

/// A campaign whose measured values are changed afterwards.
pub fn campaign(
    study: &Study,
    seed: u64,
    networks: u64,
    change: &dyn Fn(&Architecture, f64) -> f64,
) -> Report {
    let mut observations: Vec<Observation> = study.observations(&Pooled, networks, seed);
    for o in &mut observations {
        o.value = change(&o.draw.arch, o.value);
    }
    let means = Pooled.estimate(study.space(), &observations).unwrap();
    let info = MetricInfo {
        name: "latency".into(),
        unit: "ms".into(),
        direction: Direction::LowerIsBetter,
        origin: Origin::Measured,
        about: String::new(),
    };
    let profile =
        MetricProfile::from_means(study.space(), info, "pooled", &observations, 0, &means);
    report(study.space(), profile)
}

fn claims(metric: &MetricComparison) -> (usize, usize) {
    let count = |of: &dyn Fn(&blocklens_core::compare::Change) -> bool| {
        metric.changes.iter().filter(|c| of(c)).count()
    };
    (count(&|c| c.absolute.sure), count(&|c| c.relative.sure))
}

#[test]
fn a_device_does_not_differ_from_itself() {
    let study = Study::new(0.1, 0.02);
    let same = |_: &Architecture, y| y;
    let reports: Vec<Report> = (0..16)
        .map(|seed| campaign(&study, seed, 70, &same))
        .collect();
    let (mut wrong, mut alike) = (0, 0);
    for pair in reports.chunks_exact(2) {
        let comparison = compare(&pair[0], &pair[1]);
        let metric = &comparison.metrics[0];
        let any = claims(metric) != (0, 0) || metric.adjusted_p < 0.05;
        wrong += u32::from(any);
        let c = metric.correlation.unwrap();
        alike += u32::from(c.corrected > 0.9 && c.high > 0.97 && c.plain <= c.corrected);
    }
    // Eight comparisons at 5 %: two or more would be seen in one of twenty tests, three in one of 170.
    assert!(wrong <= 2, "{wrong}");
    assert!(alike >= 7, "{alike}");
}

#[test]
fn a_faster_device_likes_the_same_blocks() {
    let study = Study::new(0.0, 0.01);
    let a = campaign(&study, 1, 90, &|_, y| y);
    let b = campaign(&study, 2, 90, &|_, y| 0.6 * y);
    let comparison = compare(&a, &b);
    let metric = &comparison.metrics[0];
    let (absolute, relative) = claims(metric);
    assert!(absolute > 20 && relative == 0, "{absolute} {relative}");
    assert!(metric.ratio.low < 0.6 && 0.6 < metric.ratio.high && metric.adjusted_p < 0.05);
    let text = comparison_markdown(&comparison, 5);
    assert!(
        text.contains("nothing says that B prefers other blocks"),
        "{text}"
    );
    assert!(text.contains("more are not shown"), "{text}");
    let page = comparison_html(&comparison);
    assert!(page.contains("B is better on average") && !page.contains("NaN"));
}

#[test]
fn a_changed_kernel_is_found() {
    let study = Study::new(0.0, 0.01);
    let space = study.space().clone();
    let a = campaign(&study, 1, 90, &|_, y| y);
    // A driver that spends 1 % more for every layer with a 5x5 kernel.
    let b = campaign(&study, 2, 90, &|arch, y| {
        let fives = arch
            .active()
            .filter(|&(p, b)| space.block(p, b).kernel() == Some(5));
        y * (1.0 + 0.01 * fives.count() as f64)
    });
    let comparison = compare(&a, &b);
    let metric = &comparison.metrics[0];
    let five = metric.changes.iter().find(|c| {
        (c.subject.of, c.subject.unit, c.subject.name.as_str()) == (ChangeOf::Average, None, "5x5")
    });
    let five = five.unwrap();
    assert!(five.absolute.sure && five.relative.sure, "{five:?}");
    assert!(five.relative.difference.value > 0.003, "{five:?}");
    assert!(comparison_markdown(&comparison, 9).contains("| whole network, 5x5 |"));
    let again: Comparison =
        serde_json::from_str(&serde_json::to_string(&comparison).unwrap()).unwrap();
    assert_eq!(comparison_html(&again), comparison_html(&comparison));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let study = Study::new(0.0, 0.01);
    let a = campaign(&study, 1, 60, &|_, y| y);
    let refused = |b: &Report| Comparison::new([&a, b], ["a", "b"], &options()).unwrap_err();
    let mut other = a.clone();
    other.profile.resolution = 160;
    let error = refused(&other);
    assert!(matches!(
        error,
        CompareError::Differ {
            what: "resolution",
            ..
        }
    ));
    assert!(error.to_string().contains("--common"));
    let mut other = a.clone();
    other.profile.metrics[0].joint = None;
    assert!(matches!(refused(&other), CompareError::NoJoint { .. }));
    let mut other = a.clone();
    other.profile.metrics[0]
        .joint
        .as_mut()
        .unwrap()
        .covariance
        .truncate(100);
    assert!(matches!(refused(&other), CompareError::Damaged { .. }));
    let mut other = a.clone();
    other.profile.metrics[0].metric.unit = "s".into();
    assert!(matches!(refused(&other), CompareError::Unit { .. }));
    let mut other = a.clone();
    other.profile.metrics[0].metric.name = "energy".into();
    assert!(matches!(refused(&other), CompareError::NoMetric { .. }));
    let mut other = a.clone();
    other.profile.metrics[0].metric.name = "latency@phone".into();
    let same = compare(&a, &other);
    assert_eq!(claims(&same.metrics[0]), (0, 0));
}

/// A space without one block and one layer: what both have is compared around its own mean.
#[test]
fn common_parts_of_different_spaces_are_compared() {
    let study = Study::new(0.0, 0.01);
    let a = campaign(&study, 1, 60, &|_, y| y);
    let mut b = a.clone();
    b.profile.space = "a part".into();
    let metric = &mut b.profile.metrics[0];
    // Names that A does not know stand for blocks that are not there.
    for block in &mut metric.blocks {
        if block.kernel == Some(7) || (block.unit, block.layer) == (1, 2) {
            block.block.push_str("_other");
        }
    }
    assert!(Comparison::new([&a, &b], ["a", "b"], &options()).is_err());
    let common = Options {
        common: true,
        ..options()
    };
    let comparison = Comparison::new([&a, &b], ["a", "b"], &common).unwrap();
    let changes = &comparison.metrics[0].changes;
    let blocks: Vec<_> = changes
        .iter()
        .filter(|c| c.subject.of == ChangeOf::Block)
        .collect();
    assert_eq!(blocks.len(), 19 * 6);
    for change in changes {
        assert!(change.absolute.difference.value.abs() < 1e-9 && !change.absolute.sure);
    }
    let sum: f64 = blocks[..6].iter().map(|c| c.effects[0].value).sum();
    assert!(sum.abs() < 1e-6, "centred on what both have: {sum}");
}
