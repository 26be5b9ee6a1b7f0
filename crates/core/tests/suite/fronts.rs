//! Fronts, hypervolumes, epsilons and attainment surfaces equal those of moocore and pymoo (`golden/fronts.py`).

use blocklens_core::metric::Direction;
use blocklens_core::search::front::{Points, attainment_surface};
use serde::Deserialize;

type Set = Vec<Vec<f64>>;

#[derive(Deserialize)]
struct Case {
    d: String,
    a: Set,
    b: Set,
    r: Vec<f64>,
    ranks: Vec<usize>,
    hv: f64,
    eps: f64,
    runs: Option<Vec<Set>>,
    eaf: Option<Vec<Set>>,
}

fn points(directions: &[Direction], set: &Set) -> Points {
    Points::of(directions, set.iter().map(Vec::as_slice)).unwrap()
}

#[test]
fn sets_with_ties_and_equal_points_have_the_published_results() {
    let (mut cases, mut surfaces) = (0, 0);
    for line in include_str!("../golden/fronts.jsonl").lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let direction = |letter| match letter {
            'h' => Direction::HigherIsBetter,
            _ => Direction::LowerIsBetter,
        };
        let directions: Vec<Direction> = case.d.chars().map(direction).collect();
        let (a, b) = (points(&directions, &case.a), points(&directions, &case.b));
        assert_eq!(a.ranks(), case.ranks, "{line}");
        let front: Vec<usize> = (0..a.len()).filter(|i| case.ranks[*i] == 0).collect();
        assert_eq!(a.front(), front, "{line}");
        let volume = a.hypervolume(&case.r).unwrap();
        assert!((volume - case.hv).abs() < 1e-9, "{volume}: {line}");
        assert_eq!(a.additive_epsilon(&b), Some(case.eps), "{line}");
        cases += 1;
        let (Some(runs), Some(expected)) = (case.runs, case.eaf) else {
            continue;
        };
        let runs: Vec<Points> = runs.iter().map(|run| points(&directions, run)).collect();
        for (level, expected) in expected.iter().enumerate() {
            let found = attainment_surface(&runs, level + 1).unwrap();
            let mut found: Set = found.iter().map(|corner| corner.to_vec()).collect();
            found.sort_by(|x, y| x.partial_cmp(y).unwrap());
            assert_eq!(found, *expected, "level {}: {line}", level + 1);
            surfaces += 1;
        }
    }
    assert_eq!((cases, surfaces), (1_000, 102));
}
