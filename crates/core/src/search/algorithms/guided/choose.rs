//! Which candidates to evaluate together: those that are expected to add most to the front.

use super::climb::Scale;
use crate::metric::Direction;
use crate::search::Score;
use crate::search::front::Points;

/// How far beyond the worst values of the front an architecture may be and still add to it, as a share of the front's
/// range.
const MARGIN: f64 = 0.1;
/// Draws of every candidate's values; the same standard normal numbers for all, so that differences are not noise.
pub(super) const DRAWS: usize = 8;

/// What a candidate may turn out to be.
pub(super) struct Prospect {
    /// Expected values as costs.
    pub(super) expected: Score,
    /// Some draws of its values.
    pub(super) draws: Vec<Score>,
    /// The probability that it has values at all.
    pub(super) reliable: f64,
}

/// The numbers of at most `size` prospects, the most promising first: each is expected to add most to the hypervolume
/// of the front and of what was chosen before, which is taken to come out as expected ("kriging believer", Ginsbourger,
/// Le Riche, Carraro 2010). The improvement falls as the front grows, so a prospect whose improvement was once too
/// small is looked at again only when its turn comes (Minoux 1978).
pub(super) fn choose(front: &[&Score], prospects: &[Prospect], size: usize) -> Vec<usize> {
    let front_costs: Vec<Vec<f64>> = front.iter().map(|s| s.costs.clone()).collect();
    let reference = reference(front, prospects);
    let mut front = front_costs;
    let mut gains: Vec<(f64, usize)> = prospects
        .iter()
        .map(|p| (gain(&front, p, &reference), 0))
        .collect();
    let mut chosen: Vec<usize> = Vec::new();
    let mut open: Vec<usize> = (0..prospects.len()).collect();
    while chosen.len() < size {
        let best = (0..open.len()).max_by(|a, b| {
            let (x, y) = (gains[open[*a]].0, gains[open[*b]].0);
            // Of equal ones the first.
            x.total_cmp(&y).then(b.cmp(a))
        });
        let Some(place) = best else { break };
        let number = open[place];
        let (value, as_of) = gains[number];
        if value <= 0.0 {
            break;
        }
        if as_of < chosen.len() {
            gains[number] = (gain(&front, &prospects[number], &reference), chosen.len());
            continue;
        }
        open.swap_remove(place);
        chosen.push(number);
        if prospects[number].expected.is_feasible() {
            front.push(prospects[number].expected.costs.clone());
        }
    }
    chosen
}

/// A point that is worse than the front as it is expected to become: what lies beyond the ends of the known front
/// adds to it too.
fn reference(front: &[&Score], prospects: &[Prospect]) -> Vec<f64> {
    let expected = prospects.iter().map(|p| &p.expected);
    let feasible = front.iter().copied().chain(expected.clone());
    let feasible: Vec<&Score> = feasible.filter(|s| s.is_feasible()).collect();
    let scores = match feasible.as_slice() {
        [] => expected.collect(),
        some => undominated(some),
    };
    let scale = Scale::of(&scores);
    let pairs = scale.ideal.iter().zip(&scale.range);
    pairs
        .map(|(ideal, range)| ideal + (1.0 + MARGIN) * range)
        .collect()
}

/// Those scores that no other dominates.
fn undominated<'s>(scores: &[&'s Score]) -> Vec<&'s Score> {
    let costs = scores.iter().map(|s| s.costs.as_slice());
    let directions = vec![Direction::LowerIsBetter; scores[0].costs.len()];
    // Scores have finite costs only.
    Points::of(&directions, costs).map_or_else(
        |_| scores.to_vec(),
        |points| points.front().into_iter().map(|i| scores[i]).collect(),
    )
}

/// The expected addition to the hypervolume.
fn gain(front: &[Vec<f64>], prospect: &Prospect, reference: &[f64]) -> f64 {
    let feasible = prospect.draws.iter().filter(|draw| draw.is_feasible());
    let sum: f64 = feasible
        .map(|draw| added(front, &draw.costs, reference))
        .sum();
    prospect.reliable * sum / prospect.draws.len().max(1) as f64
}

/// The volume within the reference that a point dominates and the front does not.
fn added(front: &[Vec<f64>], point: &[f64], reference: &[f64]) -> f64 {
    let sides = point.iter().zip(reference).map(|(p, r)| (r - p).max(0.0));
    let whole: f64 = sides.product();
    if whole <= 0.0 {
        return 0.0;
    }
    if let ([x, y], [end, top]) = (point, reference) {
        return whole - area_within(front, [*x, *y], [*end, *top]);
    }
    let mut limited = Points::new(&vec![Direction::LowerIsBetter; point.len()]);
    for member in front {
        let corner: Vec<f64> = member.iter().zip(point).map(|(m, p)| m.max(*p)).collect();
        // Values without a finite number have no score.
        let _ = limited.push(&corner);
    }
    whole - limited.hypervolume(reference).unwrap_or_default()
}

/// The area right of and above `corner` that points dominate within the reference.
fn area_within(front: &[Vec<f64>], corner: [f64; 2], reference: [f64; 2]) -> f64 {
    let limited = front
        .iter()
        .map(|m| (m[0].max(corner[0]), m[1].max(corner[1])));
    let mut stairs: Vec<(f64, f64)> = limited
        .filter(|(x, y)| *x < reference[0] && *y < reference[1])
        .collect();
    stairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut area, mut height) = (0.0, reference[1]);
    for (x, y) in stairs {
        if y < height {
            area += (reference[0] - x) * (height - y);
            height = y;
        }
    }
    area
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::seed::{Rng, Seed};

    fn score(costs: Vec<f64>) -> Score {
        Score {
            costs,
            violation: 0.0,
        }
    }

    fn drawn(objectives: usize, count: usize, rng: &mut Rng) -> Vec<Score> {
        // On a grid: ties are common.
        let mut cost = || f64::from(rng.random_range(0..8u8));
        (0..count)
            .map(|_| score((0..objectives).map(|_| cost()).collect()))
            .collect()
    }

    fn volume(costs: &[Vec<f64>], reference: &[f64]) -> f64 {
        let directions = vec![Direction::LowerIsBetter; reference.len()];
        let points = Points::of(&directions, costs.iter().map(Vec::as_slice));
        points.unwrap().hypervolume(reference).unwrap()
    }

    #[test]
    fn what_a_point_adds_is_a_difference_of_hypervolumes() {
        let mut rng = Seed(1).rng();
        for objectives in 1..=4 {
            let reference = vec![7.0; objectives];
            for _ in 0..100 {
                let front = drawn(objectives, 6, &mut rng);
                let front: Vec<Vec<f64>> = front.into_iter().map(|s| s.costs).collect();
                let point = drawn(objectives, 1, &mut rng).remove(0).costs;
                let mut both = front.clone();
                both.push(point.clone());
                let expected = volume(&both, &reference) - volume(&front, &reference);
                let found = added(&front, &point, &reference);
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }

    #[test]
    fn what_lies_beyond_the_ends_of_the_front_counts() {
        let known = [score(vec![0.0, 1.0]), score(vec![1.0, 0.0])];
        let front: Vec<&Score> = known.iter().collect();
        let far = score(vec![3.0, -1.0]);
        let prospect = Prospect {
            draws: vec![far.clone(); DRAWS],
            expected: far,
            reliable: 1.0,
        };
        assert_eq!(choose(&front, &[prospect], 1), [0]);
    }

    /// Against choosing the best of all, all looked at again for every choice.
    #[test]
    fn the_choice_is_that_of_the_greedy_textbook() {
        let mut rng = Seed(2).rng();
        for _ in 0..50 {
            let all = drawn(2, 5, &mut rng);
            let front: Vec<&Score> = all.iter().collect();
            let prospects: Vec<Prospect> = (0..20)
                .map(|_| Prospect {
                    expected: drawn(2, 1, &mut rng).remove(0),
                    draws: drawn(2, DRAWS, &mut rng),
                    reliable: 0.5 + 0.5 * rng.random::<f64>(),
                })
                .collect();
            let reference = reference(&front, &prospects);
            let mut costs: Vec<Vec<f64>> = front.iter().map(|s| s.costs.clone()).collect();
            let chosen = choose(&front, &prospects, 6);
            for (place, number) in chosen.iter().enumerate() {
                let open = (0..20).filter(|i| !chosen[..place].contains(i));
                let best = open.map(|i| gain(&costs, &prospects[i], &reference));
                let best = best.fold(0.0, f64::max);
                let taken = gain(&costs, &prospects[*number], &reference);
                assert!((taken - best).abs() < 1e-12, "{taken} {best}");
                costs.push(prospects[*number].expected.costs.clone());
            }
        }
    }
}
