//! The volume that points dominate.

use std::collections::BTreeMap;

use super::{Points, dominates};

/// A cost as a key of an ordered map; costs are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key(f64);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

pub(super) fn hypervolume(points: &Points, reference: &[f64]) -> f64 {
    let inside = |cost: &&[f64]| cost.iter().zip(reference).all(|(c, r)| c < r);
    let inside: Vec<Vec<f64>> = points.costs().filter(inside).map(<[f64]>::to_vec).collect();
    volume(inside, reference)
}

fn volume(mut points: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    match reference.len() {
        0 => 0.0,
        1 => {
            let least = points.iter().map(|p| p[0]).reduce(f64::min);
            least.map_or(0.0, |least| reference[0] - least)
        }
        2 => area(&mut points, reference),
        3 => sweep(&mut points, reference),
        _ => exclusive_volumes(points, reference),
    }
}

/// Two objectives: a staircase.
fn area(points: &mut [Vec<f64>], reference: &[f64]) -> f64 {
    points.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let (mut sum, mut height) = (0.0, reference[1]);
    for point in points {
        if point[1] < height {
            sum += (reference[0] - point[0]) * (height - point[1]);
            height = point[1];
        }
    }
    sum
}

/// Three objectives: the staircase of the first two grows while the third is swept (Fonseca, Paquete, López-Ibáñez
/// 2006): n log n.
fn sweep(points: &mut [Vec<f64>], reference: &[f64]) -> f64 {
    points.sort_unstable_by(|a, b| a[2].total_cmp(&b[2]));
    // From the first objective to the second, which falls along it.
    let mut stairs: BTreeMap<Key, f64> = BTreeMap::new();
    let (mut area, mut sum) = (0.0, 0.0);
    let mut level = points.first().map_or(reference[2], |p| p[2]);
    for point in points {
        sum += area * (point[2] - level);
        level = point[2];
        area += step(&mut stairs, point[0], point[1], reference);
    }
    sum + area * (reference[2] - level)
}

/// Puts a point on the staircase; returns the area that it adds.
fn step(stairs: &mut BTreeMap<Key, f64>, x: f64, y: f64, reference: &[f64]) -> f64 {
    let before = stairs.range(..=Key(x)).next_back().map(|(_, y)| *y);
    if before.is_some_and(|height| height <= y) {
        return 0.0;
    }
    let (mut added, mut left, mut end) = (0.0, x, reference[0]);
    let mut height = before.unwrap_or(reference[1]);
    let mut covered = Vec::new();
    for (next, next_height) in stairs.range(Key(x)..) {
        if *next_height < y {
            end = next.0;
            break;
        }
        added += (next.0 - left) * (height - y);
        (left, height) = (next.0, *next_height);
        covered.push(*next);
    }
    added += (end - left) * (height - y);
    for key in covered {
        stairs.remove(&key);
    }
    stairs.insert(Key(x), y);
    added
}

/// Four objectives and more: each point's volume without what those after it dominate as well.
fn exclusive_volumes(mut points: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    // Worst last objective first: the limited sets then soon have one objective less that matters.
    let last = reference.len() - 1;
    points.sort_unstable_by(|a, b| b[last].total_cmp(&a[last]));
    let mut sum = 0.0;
    for (index, point) in points.iter().enumerate() {
        let inclusive: f64 = point.iter().zip(reference).map(|(p, r)| r - p).product();
        // Those after it are no worse in the last objective, so that a slice as thick as this point's holds all that
        // they share with it.
        let limited = points[index + 1..].iter().map(|other| {
            let pairs = point.iter().zip(other);
            pairs.take(last).map(|(p, o)| p.max(*o)).collect()
        });
        let shared = volume(nondominated(limited.collect()), &reference[..last]);
        sum += inclusive - shared * (reference[last] - point[last]);
    }
    sum
}

fn nondominated(mut points: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    points.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let mut kept: Vec<Vec<f64>> = Vec::new();
    for point in points {
        let covers = |k: &Vec<f64>| *k == point || dominates(k, &point);
        if !kept.iter().any(covers) {
            kept.push(point);
        }
    }
    kept
}
