use rand::RngExt;
use serde::Deserialize;

use super::*;
use crate::seed::Seed;

#[derive(Deserialize)]
struct Case {
    a: Vec<f64>,
    b: Vec<f64>,
    u: f64,
    exact: Option<f64>,
    normal: f64,
}

#[derive(Deserialize)]
struct Golden {
    mann_whitney: Vec<Case>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/rank_tests.json")).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-10 * b.abs().max(1e-3)
}

#[test]
fn tests_are_those_of_scipy() {
    let mut exact = 0;
    for case in golden().mann_whitney {
        let found = mann_whitney(&case.a, &case.b).unwrap();
        assert!(close(found.u, case.u), "{found:?} {}", case.u);
        let (n, m) = (case.a.len(), case.b.len());
        let ties = tie_sizes(&case.a, &case.b);
        let normal = normal_p(n, m, case.u, &ties);
        assert!(
            (normal - case.normal).abs() <= 1e-9,
            "{normal} {}",
            case.normal
        );
        match case.exact {
            Some(p) => {
                assert!(close(found.p, p), "{found:?} {p}");
                assert_eq!(found.method, Method::Exact);
                exact += 1;
            }
            None => assert_eq!((found.p, found.method), (normal, Method::Normal)),
        }
    }
    assert!(exact >= 20, "{exact}");
}

#[test]
fn the_interval_holds_the_truth_in_ninety_five_of_a_hundred() {
    // Uniform on 0 to 1 against uniform on s to 1 + s: A of the second against the first is 1 - (1 - s)^2 / 2.
    let mut rng = Seed(5).rng();
    for (shift, size) in [(0.0, 20), (0.3, 20), (0.6, 12), (0.2, 8)] {
        let truth = 1.0 - (1.0f64 - shift).powi(2) / 2.0;
        let covered = (0..2_000).filter(|_| {
            let a: Vec<f64> = (0..size).map(|_| rng.random::<f64>()).collect();
            let b: Vec<f64> = (0..size).map(|_| shift + rng.random::<f64>()).collect();
            let [low, high] = effect_size(&b, &a).unwrap().a12_interval;
            (low..=high).contains(&truth)
        });
        let share = covered.count() as f64 / 2_000.0;
        assert!(
            (0.93..=0.985).contains(&share),
            "shift {shift}, size {size}: {share}"
        );
    }
}

#[test]
fn groups_that_do_not_overlap_have_an_interval_too() {
    let effect = effect_size(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]).unwrap();
    assert!(close(effect.a12, 1.0) && close(effect.delta, 1.0));
    let [low, high] = effect.a12_interval;
    assert!(
        (0.3..0.9).contains(&low) && close(high, 1.0),
        "{low} {high}"
    );
    assert_eq!(magnitude(effect.a12), "large");
    assert_eq!(magnitude(0.45), "negligible");
}

#[test]
fn groups_without_numbers_cannot_be_compared() {
    assert!(mann_whitney(&[], &[1.0]).is_none());
    assert!(effect_size(&[f64::NAN], &[1.0]).is_none());
    let all_equal = mann_whitney(&[2.0, 2.0], &[2.0, 2.0, 2.0]).unwrap();
    assert!(close(all_equal.p, 1.0));
}
