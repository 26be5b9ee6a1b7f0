//! The estimators against a device whose true effects are known by construction.

use crate::study::{RESOLUTION, Study};
use blocklens_core::metric::{CostKind, CostMetric, Metric};
use blocklens_core::profile::{
    EstimateError, Estimator, Layout, Legacy, Observation, Pooled, Sampled, exact_means,
};
use blocklens_core::seed::Seed;
use blocklens_core::space::{Choice, DesignSpace, Placement, UnitChoice};

fn space() -> DesignSpace {
    DesignSpace::builtin("ofa-mbv3", None).unwrap()
}

/// So many tell a coverage of 95 % to about half a per cent; `pooled_study` of `crates/studies` runs hundreds on more
/// devices.
const CAMPAIGNS: u64 = 60;

#[test]
fn pooled_intervals_cover_as_they_say() {
    for (interaction, noise) in [(0.0, 0.02), (0.3, 0.02)] {
        let outcome = Study::new(interaction, noise).run(&Pooled, 60, CAMPAIGNS);
        assert!(
            (0.93..=0.97).contains(&outcome.coverage),
            "interaction {interaction}: {}",
            outcome.coverage
        );
    }
}

#[test]
fn sampled_intervals_cover_as_they_say() {
    let outcome = Study::new(0.0, 0.02).run(&Sampled, 180 * 4, CAMPAIGNS);
    assert!(
        (0.93..=0.97).contains(&outcome.coverage),
        "{}",
        outcome.coverage
    );
}

#[test]
fn pooled_needs_a_twentieth_of_the_networks() {
    let study = Study::new(0.3, 0.03);
    let (pooled, sampled) = (study.run(&Pooled, 90, 20), study.run(&Sampled, 1_800, 20));
    assert!(
        pooled.rmse < sampled.rmse,
        "{} at 90, {} at 1,800",
        pooled.rmse,
        sampled.rmse
    );
    assert!(pooled.pearson > 0.95, "{}", pooled.pearson);
}

/// MACs are a sum over blocks without noise: with a few hundred architectures nothing is left to guess.
#[test]
fn an_additive_metric_is_recovered_exactly() {
    let space = space();
    let metric = CostMetric::new(space.clone(), CostKind::Macs);
    let value = |units: &[Choice]| {
        metric
            .evaluate(&space.architecture(RESOLUTION, units).unwrap())
            .unwrap()
    };
    let smallest = space.smallest(RESOLUTION).unwrap().choices();
    let base = value(&smallest);
    let term = |unit: usize, choice: UnitChoice<'_>| {
        let mut units = smallest.clone();
        units[unit].blocks = choice.blocks.to_vec();
        value(&units) - base
    };
    let truth = exact_means(&space, term, base);
    let observations: Vec<Observation> = (0..400)
        .map(|i| {
            let draw = Pooled.draw(&space, RESOLUTION, Seed(5), i).unwrap();
            let value = metric.evaluate(&draw.arch).unwrap();
            Observation { draw, value }
        })
        .collect();
    let means = Pooled.estimate(&space, &observations).unwrap();
    for (i, (estimate, truth)) in means.values.iter().zip(&truth).enumerate() {
        assert!(
            (estimate - truth).abs() < 1e-3 * means.sd,
            "{i}: {estimate} {truth}"
        );
    }
    let r2 = means.held_out_r2.unwrap();
    assert!(r2 > 0.999_99, "{r2}");
}

/// The closed form of the oracle against plain averages over many architectures.
#[test]
fn exact_means_equal_brute_force() {
    let space = space();
    let layout = Layout::new(&space);
    let term = |unit: usize, choice: UnitChoice<'_>| {
        choice
            .blocks
            .iter()
            .enumerate()
            .map(|(l, &b)| f64::from(b) * (1.0 + l as f64))
            .sum::<f64>()
            * (unit as f64 + 1.0)
    };
    let truth = exact_means(&space, term, 10.0);
    let mut rng = Seed(1).rng();
    let mut sums = vec![(0.0, 0.0); layout.len()];
    for _ in 0..60_000 {
        let arch = space.sample(RESOLUTION, &mut rng).unwrap();
        let y = 10.0
            + arch
                .units()
                .enumerate()
                .map(|(u, choice)| term(u, choice))
                .sum::<f64>();
        let mut add = |i: usize| sums[i] = (sums[i].0 + y, sums[i].1 + 1.0);
        add(layout.overall());
        (0..layout.units()).for_each(|u| add(layout.depth(u, arch.depth(u))));
        (0..layout.units()).for_each(|u| add(layout.width(u, arch.unit(u).width)));
        arch.active().for_each(|(p, b)| add(layout.block(p, b)));
    }
    let spread = truth
        .iter()
        .fold(0.0_f64, |m, t| m.max((t - truth[0]).abs()));
    for (i, ((sum, n), truth)) in sums.iter().zip(&truth).enumerate() {
        assert!(
            (sum / n - truth).abs() < 0.06 * spread,
            "{i}: {} {truth}",
            sum / n
        );
    }
}

#[test]
fn the_order_of_observations_does_not_matter() {
    let space = space();
    let mut observations: Vec<Observation> = (0..50)
        .map(|i| {
            let draw = Pooled.draw(&space, RESOLUTION, Seed(2), i).unwrap();
            let value = 10.0 + (i as f64 * 0.7).sin() + draw.arch.depth(0) as f64;
            Observation { draw, value }
        })
        .collect();
    let means = Pooled.estimate(&space, &observations).unwrap();
    observations.reverse();
    assert_eq!(Pooled.estimate(&space, &observations).unwrap(), means);
}

#[test]
fn data_that_carry_no_estimate_are_refused() {
    let space = space();
    let draw = |i| Pooled.draw(&space, RESOLUTION, Seed(2), i).unwrap();
    let few: Vec<Observation> = (0..7)
        .map(|i| Observation {
            draw: draw(i),
            value: i as f64,
        })
        .collect();
    assert!(matches!(
        Pooled.estimate(&space, &few),
        Err(EstimateError::TooFew { found: 7, .. })
    ));
    assert!(matches!(
        Sampled.estimate(&space, &few),
        Err(EstimateError::EmptyStratum { .. })
    ));
    let mut bad: Vec<Observation> = (0..30)
        .map(|i| Observation {
            draw: draw(i),
            value: 1.0,
        })
        .collect();
    let constant = Pooled.estimate(&space, &bad).unwrap();
    assert!(
        constant.covariance.iter().all(|c| *c == 0.0) && constant.values.iter().all(|v| *v == 1.0)
    );
    bad[3].value = f64::NAN;
    assert!(matches!(
        Pooled.estimate(&space, &bad),
        Err(EstimateError::NotFinite { .. })
    ));
}

/// Every round of `sampled` holds every combination once, and the placement is really active.
#[test]
fn sampled_rounds_are_complete() {
    let space = space();
    let mut seen: Vec<_> = (180..360)
        .map(|i| {
            let draw = Sampled.draw(&space, RESOLUTION, Seed(4), i).unwrap();
            let (placement, block) = draw.stratum.unwrap();
            assert_eq!(draw.arch.block_at(placement), Some(block));
            (placement, block)
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 180);
}

/// How often a block is in the networks that `legacy` draws for it, by layer, with depths 2 to 4.
const LEGACY_SHARES: [f64; 4] = [1.0, 1.0, 2.0 / 3.0, 1.0 / 3.0];

/// The slip of depth as the published code makes it, written out on the package's dictionary.
#[test]
fn legacy_raises_the_depth_one_layer_too_little() {
    let space = space();
    let mut active = [(0_u32, 0_u32); 4];
    for i in 0..9_000 {
        let draw = Legacy.draw(&space, RESOLUTION, Seed(4), i).unwrap();
        let (placement, block) = draw.stratum.unwrap();
        let depth = draw.arch.depth(placement.unit);
        assert!(depth >= placement.layer, "raised to the layer's index");
        let there = draw.arch.block_at(placement);
        assert!(there.is_none_or(|b| b == block));
        let (with, all) = &mut active[placement.layer];
        (*with, *all) = (*with + u32::from(there.is_some()), *all + 1);
    }
    for ((with, all), share) in active.into_iter().zip(LEGACY_SHARES) {
        let found = f64::from(with) / f64::from(all);
        assert!((found - share).abs() < 0.05, "{found} {share}");
    }
}

/// Where a metric is a sum over layers, the effects that `legacy` finds are the true ones times the share of networks
/// that hold the block.
#[test]
fn legacy_dilutes_effects_at_deep_layers() {
    let space = space();
    let layout = Layout::new(&space);
    let value = |block: u8| f64::from(block) * 3.0;
    let observations: Vec<Observation> = (0..180 * 100)
        .map(|i| {
            let draw = Legacy.draw(&space, RESOLUTION, Seed(9), i).unwrap();
            let value = draw.arch.active().map(|(_, b)| value(b)).sum();
            Observation { draw, value }
        })
        .collect();
    let means = Legacy.estimate(&space, &observations).unwrap();
    for (layer, share) in LEGACY_SHARES.into_iter().enumerate() {
        let steps = (0..5).map(|unit| {
            let at = |block| means.values[layout.block(Placement { unit, layer }, block)];
            at(8) - at(0)
        });
        let diluted = steps.sum::<f64>() / 5.0 / (value(8) - value(0));
        assert!((diluted - share).abs() < 0.15, "{layer}: {diluted} {share}");
    }
}
