use proptest::prelude::*;

use super::*;

const DIRECTIONS: [Direction; 2] = [Direction::LowerIsBetter, Direction::HigherIsBetter];

/// Sets on coarse grids: ties and equal points abound.
fn sets() -> impl Strategy<Value = (Points, Points, Vec<f64>)> {
    (1usize..=5).prop_flat_map(|objectives| {
        let point = proptest::collection::vec((0u8..6).prop_map(f64::from), objectives);
        let directions = proptest::collection::vec(0usize..2, objectives);
        let set = || proptest::collection::vec(point.clone(), 0..18);
        (directions, set(), set(), point).prop_map(|(directions, a, b, reference)| {
            let directions: Vec<Direction> = directions.iter().map(|d| DIRECTIONS[*d]).collect();
            let points =
                |set: &[Vec<f64>]| Points::of(&directions, set.iter().map(Vec::as_slice)).unwrap();
            (points(&a), points(&b), reference)
        })
    })
}

/// Peels fronts off, comparing all with all.
fn naive_ranks(points: &Points) -> Vec<usize> {
    let costs: Vec<&[f64]> = points.costs().collect();
    let mut ranks: Vec<Option<usize>> = vec![None; costs.len()];
    for rank in 0..costs.len() {
        let left: Vec<usize> = (0..costs.len()).filter(|i| ranks[*i].is_none()).collect();
        for &i in &left {
            if !left.iter().any(|&j| dominates(costs[j], costs[i])) {
                ranks[i] = Some(rank);
            }
        }
    }
    ranks.into_iter().map(Option::unwrap).collect()
}

/// Counts the unit cells of the grid that are dominated.
fn naive_volume(points: &Points, reference: &[f64]) -> f64 {
    let end = points.as_costs(reference).unwrap();
    let mut cell: Vec<f64> = vec![-6.0; end.len()];
    let mut volume = 0.0;
    loop {
        let inside = cell.iter().zip(&end).all(|(c, e)| c < e);
        let covered = |cost: &[f64]| cost.iter().zip(&cell).all(|(p, c)| p <= c);
        if inside && points.costs().any(covered) {
            volume += 1.0;
        }
        let Some(next) = cell.iter().position(|c| *c < 5.0) else {
            return volume;
        };
        cell[..next].fill(-6.0);
        cell[next] += 1.0;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn ranks_and_fronts_are_those_of_comparing_all((points, _, _) in sets()) {
        let expected = naive_ranks(&points);
        prop_assert_eq!(points.ranks(), expected.clone());
        let front: Vec<usize> = (0..expected.len()).filter(|i| expected[*i] == 0).collect();
        prop_assert_eq!(points.front(), front);
    }

    #[test]
    fn volumes_are_those_of_counting_cells((points, _, reference) in sets()) {
        prop_assume!(points.objectives() <= 4);
        let expected = naive_volume(&points, &reference);
        prop_assert!((points.hypervolume(&reference).unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn moved_by_epsilon_a_set_covers_the_other((a, b, _) in sets()) {
        prop_assume!(!a.is_empty() && !b.is_empty());
        let epsilon = a.additive_epsilon(&b).unwrap();
        let covers = |by: f64| b.costs().all(|theirs| {
            a.costs().any(|mine| mine.iter().zip(theirs).all(|(m, t)| m - by <= *t))
        });
        prop_assert!(covers(epsilon));
        prop_assert!(!covers(epsilon - 0.5));
        prop_assert_eq!(a.additive_epsilon(&a), Some(0.0));
    }

    #[test]
    fn corners_are_attained_by_that_many_runs_and_nothing_better_is(
        runs in proptest::collection::vec(proptest::collection::vec((0u8..6, 0u8..6), 0..8), 1..5),
        level in 1usize..5,
    ) {
        prop_assume!(level <= runs.len());
        let points = |run: &Vec<(u8, u8)>| {
            let mut points = Points::new(&DIRECTIONS);
            for (x, y) in run {
                points.push(&[f64::from(*x), f64::from(*y)]).unwrap();
            }
            points
        };
        let runs: Vec<Points> = runs.iter().map(points).collect();
        let corners = attainment_surface(&runs, level).unwrap();
        let reached = |x: f64, y: f64| {
            let attaining = runs.iter().filter(|run| attained_share(std::slice::from_ref(run), &[x, y]) > 0.5);
            attaining.count() >= level
        };
        // Lower is better in the first objective, higher in the second.
        for x in 0..6u8 {
            for y in 0..6u8 {
                let (x, y) = (f64::from(x), f64::from(y));
                let below = corners.iter().any(|c| c[0] <= x && c[1] >= y);
                prop_assert_eq!(below, reached(x, y), "{} {} {:?}", x, y, corners);
            }
        }
        // No corner is there for another's sake.
        for pair in corners.windows(2) {
            prop_assert!(pair[0][0] < pair[1][0] && pair[0][1] < pair[1][1]);
        }
    }
}

#[test]
fn negative_zero_is_zero() {
    let points = Points::of(
        &[Direction::LowerIsBetter; 2],
        [[-0.0, 5.0].as_slice(), &[0.0, 3.0]],
    );
    assert_eq!(points.unwrap().ranks(), [1, 0]);
}

#[test]
fn what_is_no_point_is_refused() {
    let mut points = Points::new(&DIRECTIONS);
    assert_eq!(
        points.push(&[1.0]).unwrap_err().to_string(),
        "a point has 1 values where there are 2 objectives"
    );
    assert_eq!(
        points.push(&[1.0, f64::NAN]).unwrap_err().to_string(),
        "objective 2 of a point is NaN, which is not a finite number"
    );
    assert!(points.is_empty());
    assert!(points.hypervolume(&[f64::INFINITY, 0.0]).is_err());
    points.push(&[1.0, 2.0]).unwrap();
    assert_eq!(points.values(0), [1.0, 2.0]);
}

/// As pymoo has it (`pymoo.operators.survival.rank_and_crowding.metrics.calc_crowding_distance`, divided by nothing but
/// ranges): ends are infinite, the others sum relative gaps.
#[test]
fn crowding_is_the_gap_between_neighbours() {
    let points = Points::of(
        &[Direction::LowerIsBetter; 2],
        [
            [0.0, 10.0].as_slice(),
            &[1.0, 6.0],
            &[2.0, 5.0],
            &[10.0, 0.0],
        ],
    );
    let crowding = points.unwrap().crowding();
    assert!(crowding[0].is_infinite() && crowding[3].is_infinite());
    assert!((crowding[1] - (0.2 + 0.5)).abs() < 1e-12);
    assert!((crowding[2] - (0.9 + 0.6)).abs() < 1e-12);
}
