//! The estimators on spaces with several widths, mixed kinds of blocks and layers that may be left out, against
//! averages over a great many architectures.

use blocklens_core::metric::{CostKind, CostMetric, Direction, Metric, MetricInfo, Origin};
use blocklens_core::network::CostTable;
use blocklens_core::profile::{
    Estimator, Layout, MetricProfile, Observation, Pooled, Sampled, exact_means, findings,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace, Ratio, UnitChoice};

const MIXED: &str = include_str!("../spaces/mixed.toml");
/// Architectures behind every true mean.
const MANY: u64 = 400_000;

fn spaces() -> Vec<DesignSpace> {
    vec![
        DesignSpace::builtin("ofa-resnet50", None).unwrap(),
        DesignSpace::builtin("ofa-proxyless", None).unwrap(),
        DesignSpace::from_toml("mixed.toml", MIXED, None).unwrap(),
    ]
}

/// Plain averages of the metric over architectures, in the order of the layout, and the standard deviation.
fn brute_force(space: &DesignSpace, metric: impl Fn(u64) -> f64) -> (Vec<f64>, f64) {
    let layout = Layout::new(space);
    let resolution = space.default_resolution();
    let mut rng = Seed(77).rng();
    let (mut sums, mut counts) = (vec![0.0; layout.len()], vec![0.0; layout.len()]);
    let mut squares = 0.0;
    let table = CostTable::new(space, resolution).unwrap();
    for _ in 0..MANY {
        let arch = space.sample(resolution, &mut rng).unwrap();
        let value = metric(table.cost(&arch).macs.0);
        let mut add = |index: usize| {
            sums[index] += value;
            counts[index] += 1.0;
        };
        add(layout.overall());
        for (unit, choice) in arch.units().enumerate() {
            add(layout.depth(unit, choice.blocks.len()));
            add(layout.width(unit, choice.width));
        }
        arch.active().for_each(|(p, b)| add(layout.block(p, b)));
        squares += value * value;
    }
    let means: Vec<f64> = sums.iter().zip(&counts).map(|(s, n)| s / n).collect();
    let sd = (squares / MANY as f64 - means[0] * means[0]).sqrt();
    (means, sd)
}

fn observe(space: &DesignSpace, estimator: &dyn Estimator, count: u64) -> Vec<Observation> {
    let metric = CostMetric::new(space.clone(), CostKind::Macs);
    let observe = |index| {
        let draw = estimator
            .draw(space, space.default_resolution(), Seed(5), index)
            .unwrap();
        let value = metric.evaluate(&draw.arch).unwrap();
        Observation { draw, value }
    };
    (0..count).map(observe).collect()
}

#[test]
fn means_are_those_of_a_great_many_architectures() {
    for space in spaces() {
        let (truth, sd) = brute_force(&space, |macs| macs as f64 / 1e6);
        for (estimator, count, tolerance) in [
            (&Pooled as &dyn Estimator, 500, 0.12),
            (&Sampled, 200 * space.combinations() as u64, 0.35),
        ] {
            let observations = observe(&space, estimator, count);
            let means = estimator.estimate(&space, &observations).unwrap();
            assert_eq!(means.values.len(), truth.len());
            let worst = means
                .values
                .iter()
                .zip(&truth)
                .map(|(a, b)| (a - b).abs() / sd)
                .fold(0.0, f64::max);
            let name = estimator.name();
            assert!(worst < tolerance, "{name} in {}: {worst}", space.name());
        }
    }
}

#[test]
fn intervals_of_width_and_block_effects_hold_the_truth() {
    for space in spaces() {
        let (truth, _) = brute_force(&space, |macs| macs as f64 / 1e6);
        let layout = Layout::new(&space);
        let observations = observe(&space, &Pooled, 250);
        let means = Pooled.estimate(&space, &observations).unwrap();
        let metric = CostMetric::new(space.clone(), CostKind::Macs);
        let profile = MetricProfile::from_means(
            &space,
            metric.info().clone(),
            "pooled",
            &observations,
            0,
            &means,
        );
        let (mut held, mut all) = (0.0, 0.0);
        for effect in &profile.widths {
            let unit = effect.unit - 1;
            let widths = space.units()[unit].widths();
            let mean = |i: usize| truth[layout.width(unit, u8::try_from(i).unwrap())];
            let index = widths.iter().position(|w| w.channels == effect.channels);
            let average = (0..widths.len()).map(mean).sum::<f64>() / widths.len() as f64;
            let value = mean(index.unwrap()) - average;
            all += 1.0;
            held += f64::from(u8::from(
                (effect.effect.low..=effect.effect.high).contains(&value),
            ));
        }
        for effect in &profile.blocks {
            assert!(effect.effect.se.is_finite() && effect.effect.value.is_finite());
        }
        // A handful of correlated intervals of one campaign: most of them, not 95 % of them.
        assert!(
            all == 0.0 || held / all > 0.75,
            "{}: {held} of {all}",
            space.name()
        );
        let shares: f64 = profile
            .variance
            .iter()
            .filter(|s| s.unit.is_none())
            .map(|s| s.share.value)
            .sum();
        assert!((0.8..1.2).contains(&shares), "{}: {shares}", space.name());
    }
}

/// A sum over units of their own choices, widths included, has a closed form.
#[test]
fn exact_means_of_widths_equal_brute_force() {
    let space = spaces().pop().unwrap();
    let layout = Layout::new(&space);
    let term = |unit: usize, choice: UnitChoice<'_>| {
        let blocks = choice.blocks.iter().enumerate();
        let sum: f64 = blocks.map(|(l, b)| f64::from(*b) * (1.0 + l as f64)).sum();
        (1.0 + f64::from(choice.width)) * sum + unit as f64
    };
    let truth = exact_means(&space, term, 3.0);
    let mut rng = Seed(3).rng();
    let mut sums = vec![(0.0, 0.0); layout.len()];
    for _ in 0..200_000 {
        let arch = space.sample(64, &mut rng).unwrap();
        let units = arch.units().enumerate();
        let value = 3.0 + units.map(|(u, choice)| term(u, choice)).sum::<f64>();
        let mut add = |i: usize| sums[i] = (sums[i].0 + value, sums[i].1 + 1.0);
        add(layout.overall());
        for (unit, choice) in arch.units().enumerate() {
            add(layout.depth(unit, choice.blocks.len()));
            add(layout.width(unit, choice.width));
        }
        arch.active().for_each(|(p, b)| add(layout.block(p, b)));
    }
    for (i, ((sum, n), truth)) in sums.iter().zip(&truth).enumerate() {
        let mean = sum / n;
        assert!(
            (mean - truth).abs() < 0.02 * truth.abs(),
            "{i}: {mean} {truth}"
        );
    }
}

#[test]
fn spaces_without_a_choice_have_no_effects_and_no_nan() {
    let text = r#"
format = 2
name = "fixed"
resolutions = [32]
head = ["pool", "classifier"]
[[unit]]
channels = 8
depth = 2
blocks = ["conv_k3"]
"#;
    let space = DesignSpace::from_toml("fixed.toml", text, None).unwrap();
    let observations = observe(&space, &Pooled, 12);
    let means = Pooled.estimate(&space, &observations).unwrap();
    assert!(means.values.iter().all(|v| *v == means.values[0]));
    assert!(means.block_effects(&space).is_empty());
    assert!(means.averages(&space).is_empty());
    // One unit that varies: draws that fix something in another unit do not exist.
    let text = text.replace("depth = 2", "depth = [1, 3]");
    let text = text.replace("\"conv_k3\"", "\"conv_k{1,3}\"");
    let space = DesignSpace::from_toml("single.toml", &text, None).unwrap();
    for estimator in [&Pooled as &dyn Estimator, &Sampled] {
        let means = estimator
            .estimate(&space, &observe(&space, estimator, 60))
            .unwrap();
        assert!(
            means
                .values
                .iter()
                .chain(&means.covariance)
                .all(|v| v.is_finite())
        );
        assert_eq!(means.block_effects(&space).len(), 6);
    }
}

/// Layers that offer one kernel only say nothing about kernels, and do not water down what the others say.
#[test]
fn findings_compare_blocks_where_they_can_stand_for_each_other() {
    let space = DesignSpace::from_toml(
        "uneven.toml",
        r#"
        format = 2
        name = "uneven"
        classes = 7
        resolutions = [64]
        stem = ["conv_k3_nsw_s2_c16"]
        head = ["pool", "classifier"]
        [[unit]]
        channels = 24
        stride = 2
        depth = 3
        blocks = ["mbconv_e{3,6}_k3"]
        [[unit]]
        channels = 40
        stride = 2
        depth = 3
        blocks = ["mbconv_e{3,6}_k{3,5}", "mbconv_e1_k7"]
        "#,
        None,
    )
    .unwrap();
    let price = |arch: &Architecture| -> f64 {
        let of = |(p, id)| {
            let block = space.block(p, id);
            let wide = block.expansion() == Ratio::whole(6);
            [(3, 0.0), (5, 1.0), (7, 10.0)]
                .iter()
                .find(|(kernel, _)| block.kernel() == Some(*kernel))
                .map_or(0.0, |(_, price)| *price)
                + 2.0 * f64::from(u8::from(wide))
        };
        arch.active().map(of).sum()
    };
    let observe = |index| {
        let draw = Pooled.draw(&space, 64, Seed(5), index).unwrap();
        let value = price(&draw.arch);
        Observation { draw, value }
    };
    let observations: Vec<Observation> = (0..400).map(observe).collect();
    let means = Pooled.estimate(&space, &observations).unwrap();
    let info = MetricInfo {
        name: "latency".into(),
        unit: "ms".into(),
        direction: Direction::LowerIsBetter,
        origin: Origin::Measured,
        about: String::new(),
    };
    let found = findings(&space, &[(&info, &means)], &[]);
    let value = |start: &str| {
        let finding = found.iter().find(|f| f.text.starts_with(start));
        finding.map(|f| f.evidence.value)
    };
    let kernel = value("In unit 2, a 5x5 kernel instead of 3x3").or(value("A 5x5 kernel"));
    assert!((kernel.unwrap() - 1.0).abs() < 0.05, "{found:?}");
    let expansion = value("Expansion 6 instead of 3");
    assert!((expansion.unwrap() - 2.0).abs() < 0.05, "{found:?}");
    // 7x7 comes with expansion 1 only: no kernel gives way to it with all else equal.
    assert!(!found.iter().any(|f| f.text.contains("7x7")), "{found:?}");
}
