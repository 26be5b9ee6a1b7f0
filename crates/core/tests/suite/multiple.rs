//! Corrections for many comparisons against scipy, against Tukey's tables, and on simulated families.

use blocklens_core::seed::{Rng, Seed};
use blocklens_core::stats::max_t::{MaxT, Sides};
use blocklens_core::stats::multiple::{Dependence, false_discovery, holm};
use blocklens_core::stats::{critical_t, p_value};
use nalgebra::DMatrix;
use rand::RngExt;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/multiple_testing.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|v| v.as_f64().unwrap()).collect()
}

fn close(found: &[f64], expected: &[f64]) -> bool {
    let near = |(f, e): (&f64, &f64)| (f - e).abs() <= 1e-12 + 1e-9 * e.abs();
    found.len() == expected.len() && found.iter().zip(expected).all(near)
}

#[test]
fn adjusted_p_values_are_those_of_scipy() {
    for set in golden()["adjusted"].as_array().unwrap() {
        let p = numbers(&set["p"]);
        assert!(close(
            &false_discovery(&p, Dependence::Positive),
            &numbers(&set["bh"])
        ));
        assert!(close(
            &false_discovery(&p, Dependence::Any),
            &numbers(&set["by"])
        ));
        assert!(close(&holm(&p), &numbers(&set["holm"])));
    }
    assert!(holm(&[]).is_empty() && false_discovery(&[], Dependence::Any).is_empty());
}

#[test]
fn p_values_belong_to_critical_values() {
    for df in [3.0, 40.0, f64::INFINITY] {
        for alpha in [0.5, 0.05, 1e-4] {
            let p = p_value(-critical_t(alpha, df), df);
            assert!((p / alpha - 1.0).abs() < 1e-3, "{df} {alpha} {p}");
        }
    }
    assert_eq!(p_value(0.0, 5.0), 1.0);
}

/// scipy integrates the multivariate t by cubature.
#[test]
fn critical_values_are_those_of_scipy() {
    for case in golden()["max_t"].as_array().unwrap() {
        let rows: Vec<Vec<f64>> = case["correlation"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        // Scales must not matter.
        let scale = |i: usize| 0.3 + i as f64;
        let covariance = DMatrix::from_fn(rows.len(), rows.len(), |i, j| {
            rows[i][j] * scale(i) * scale(j)
        });
        let found = MaxT::of_each(&covariance, case["df"].as_f64().unwrap()).critical(0.05);
        let expected = case["critical"].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 0.005, "{found} {expected}");
    }
    for case in golden()["tukey"].as_array().unwrap() {
        let k = usize::try_from(case["k"].as_u64().unwrap()).unwrap();
        let family = MaxT::of_differences(&DMatrix::identity(k, k), case["df"].as_f64().unwrap());
        let (found, expected) = (family.critical(0.05), case["critical"].as_f64().unwrap());
        assert!(
            (found / expected - 1.0).abs() < 0.005,
            "{k}: {found} {expected}"
        );
    }
}

#[test]
fn independent_families_have_sidaks_value_and_bonferronis_is_larger() {
    for k in [1, 2, 20, 180] {
        let found = MaxT::of_each(&DMatrix::identity(k, k), f64::INFINITY).critical(0.05);
        let sidak = critical_t(1.0 - 0.95_f64.powf(1.0 / k as f64), f64::INFINITY);
        assert!((found / sidak - 1.0).abs() < 0.004, "{k}: {found} {sidak}");
    }
    for (k, rho, df) in [(20, 0.0, 30.0), (180, 0.5, 40.0), (40, 0.95, 8.0)] {
        let found = MaxT::of_each(&equal(k, rho), df).critical(0.05);
        let (bonferroni, alone) = (critical_t(0.05 / k as f64, df), critical_t(0.05, df));
        assert!(
            alone < found && found < bonferroni,
            "{alone} {found} {bonferroni}"
        );
    }
    let one = MaxT::of_each(&DMatrix::from_element(1, 1, 4.0), 7.0).critical(0.05);
    assert!((one / critical_t(0.05, 7.0) - 1.0).abs() < 1e-4);
    assert_eq!(
        MaxT::of_each(&DMatrix::zeros(3, 3), 7.0).critical(0.05),
        0.0
    );
}

/// Equal correlations.
fn equal(k: usize, rho: f64) -> DMatrix<f64> {
    DMatrix::from_fn(k, k, |i, j| if i == j { 1.0 } else { rho })
}

fn normal(rng: &mut Rng) -> f64 {
    let (u, v): (f64, f64) = (
        rng.random_range(f64::EPSILON..1.0),
        rng.random_range(0.0..1.0),
    );
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A multivariate t vector with equal correlations.
fn draw(k: usize, rho: f64, df: usize, rng: &mut Rng) -> Vec<f64> {
    let shared = normal(rng);
    let length = ((0..df).map(|_| normal(rng).powi(2)).sum::<f64>() / df as f64).sqrt();
    let one = |rng: &mut Rng| (rho.sqrt() * shared + (1.0 - rho).sqrt() * normal(rng)) / length;
    (0..k).map(|_| one(rng)).collect()
}

#[test]
fn families_are_covered_as_a_whole() {
    let (k, rho, df, runs) = (60, 0.6, 12, 4_000);
    let family = MaxT::of_each(&equal(k, rho), df as f64);
    let critical = family.critical(0.05);
    let mut rng = Seed(3).rng();
    let inside = |rng: &mut Rng| draw(k, rho, df, rng).iter().all(|t| t.abs() <= critical);
    let covered = (0..runs).filter(|_| inside(&mut rng)).count() as f64 / f64::from(runs);
    assert!((0.94..=0.96).contains(&covered), "{covered}");
}

/// False claims among true nulls stay at 5 % as a family, with many true effects beside them; and steps find more than
/// one critical value does.
#[test]
fn stepping_down_keeps_the_error_and_finds_more() {
    let (k, rho, df) = (30, 0.4, 20);
    let family = MaxT::of_each(&equal(k, rho), df as f64);
    let critical = family.critical(0.05);
    let mut rng = Seed(4).rng();
    let (mut wrong, mut found, mut found_at_once) = (0, 0, 0);
    let runs = 150;
    for _ in 0..runs {
        let mut t = draw(k, rho, df, &mut rng);
        t.iter_mut().take(15).for_each(|t| *t += 3.2);
        let p = family.step_down(&t, Sides::Two);
        wrong += u32::from(p[15..].iter().any(|p| *p < 0.05));
        found += p[..15].iter().filter(|p| **p < 0.05).count();
        found_at_once += t[..15].iter().filter(|t| t.abs() > critical).count();
    }
    assert!(wrong <= 15, "{wrong} of {runs}");
    assert!(found > found_at_once, "{found} {found_at_once}");
}

/// The naive twin: the maximum over what is left, by plain draws.
#[test]
fn step_down_equals_its_definition() {
    let (k, rho, df) = (5, 0.3, 9);
    let t = [2.9, -0.4, 3.4, 2.2, -2.5];
    let p = MaxT::of_each(&equal(k, rho), df as f64).step_down(&t, Sides::Two);
    let mut rng = Seed(5).rng();
    let draws: Vec<Vec<f64>> = (0..60_000).map(|_| draw(k, rho, df, &mut rng)).collect();
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|a, b| t[*b].abs().total_cmp(&t[*a].abs()));
    let mut least = 0.0_f64;
    for (step, &i) in order.iter().enumerate() {
        let beyond = |d: &&Vec<f64>| order[step..].iter().any(|&j| d[j].abs() > t[i].abs());
        let share = draws.iter().filter(beyond).count() as f64 / draws.len() as f64;
        least = least.max(share);
        assert!((p[i] - least).abs() < 0.006, "{i}: {} {least}", p[i]);
    }
}
