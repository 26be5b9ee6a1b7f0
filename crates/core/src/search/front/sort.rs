//! Non-dominated sorting.
//!
//! Two objectives: one sweep over the sorted points that keeps the best second objective of every front, with a binary
//! search for each point (Jensen 2003): n log n. More objectives: points in lexicographic order, a binary search
//! over the fronts, and comparisons with the members of a front (ENS-BS: Zhang et al. 2015).

use std::cmp::Ordering;

use super::{Points, dominates};

pub(super) fn ranks(points: &Points) -> Vec<usize> {
    if points.objectives() == 2 {
        return ranks_of_pairs(points);
    }
    ranks_of_many(points)
}

pub(super) fn front(points: &Points) -> Vec<usize> {
    let costs: Vec<&[f64]> = points.costs().collect();
    let mut members: Vec<usize> = Vec::new();
    for index in lexicographic(&costs) {
        // In this order, what dominates a point of two objectives is the last member if anything is.
        let dominated = if points.objectives() == 2 {
            let last = members.last();
            last.is_some_and(|m| dominates(costs[*m], costs[index]))
        } else {
            members.iter().any(|m| dominates(costs[*m], costs[index]))
        };
        if !dominated {
            members.push(index);
        }
    }
    members.sort_unstable();
    members
}

/// Indices by the first objective, ties by the second, and so on: no point comes before one that dominates it.
fn lexicographic(costs: &[&[f64]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_unstable_by(|a, b| compare(costs[*a], costs[*b]).then(a.cmp(b)));
    order
}

fn compare(a: &[f64], b: &[f64]) -> Ordering {
    let mut pairs = a.iter().zip(b);
    let differing = pairs.find_map(|(x, y)| match x.total_cmp(y) {
        Ordering::Equal => None,
        order => Some(order),
    });
    differing.unwrap_or(Ordering::Equal)
}

fn ranks_of_pairs(points: &Points) -> Vec<usize> {
    // The values beside the index: sorting touches no other memory.
    let mut order: Vec<(f64, f64, u32)> = Vec::with_capacity(points.len());
    for (index, cost) in points.costs().enumerate() {
        order.push((cost[0], cost[1], u32::try_from(index).unwrap_or(u32::MAX)));
    }
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut ranks = vec![0; order.len()];
    // The least second objective in each front; ascending.
    let mut best: Vec<f64> = Vec::new();
    let mut previous: Option<(f64, f64, usize)> = None;
    for (x, y, index) in order {
        let rank = match previous {
            Some((px, py, rank)) if (px, py) == (x, y) => rank,
            _ => best.partition_point(|least| *least <= y),
        };
        match best.get_mut(rank) {
            Some(least) => *least = y,
            None => best.push(y),
        }
        ranks[index as usize] = rank;
        previous = Some((x, y, rank));
    }
    ranks
}

fn ranks_of_many(points: &Points) -> Vec<usize> {
    let costs: Vec<&[f64]> = points.costs().collect();
    let mut ranks = vec![0; costs.len()];
    let mut fronts: Vec<Vec<usize>> = Vec::new();
    let mut previous: Option<usize> = None;
    for index in lexicographic(&costs) {
        if let Some(equal) = previous.filter(|p| costs[*p] == costs[index]) {
            // A front needs one of equal points only.
            ranks[index] = ranks[equal];
            continue;
        }
        // The latest members are the likeliest to dominate.
        let dominated = |front: &Vec<usize>| {
            let mut members = front.iter().rev();
            members.any(|m| dominates(costs[*m], costs[index]))
        };
        let rank = fronts.partition_point(dominated);
        match fronts.get_mut(rank) {
            Some(front) => front.push(index),
            None => fronts.push(vec![index]),
        }
        ranks[index] = rank;
        previous = Some(index);
    }
    ranks
}
