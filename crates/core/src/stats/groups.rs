//! Comparing two groups of numbers by their ranks.

use statrs::distribution::{ContinuousCDF, Normal};

/// Groups up to this size are compared with the exact distribution, where no values are equal.
const LARGEST_EXACT: usize = 50;

/// How a probability was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// From all ways to divide the ranks between the groups.
    Exact,
    /// From the normal distribution, corrected for ties and continuity.
    Normal,
}

/// The two-sided test of Mann and Whitney (1947) that two groups come from one distribution.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct MannWhitney {
    /// Pairs in which the first group's value is the larger one; equal values count one half.
    pub u: f64,
    /// The probability of a `u` as far from its mean or farther, if there is no difference.
    pub p: f64,
    /// How it was computed.
    pub method: Method,
}

/// Compares two groups; `None` when one of them is empty or holds what is not a finite number.
#[must_use]
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<MannWhitney> {
    let usable = |group: &[f64]| !group.is_empty() && group.iter().all(|x| x.is_finite());
    if !usable(first) || !usable(second) {
        return None;
    }
    let u = larger_pairs(first, second);
    let ties = tie_sizes(first, second);
    let small = first.len().max(second.len()) <= LARGEST_EXACT;
    let (p, method) = if ties.is_empty() && small {
        (exact_p(first.len(), second.len(), u), Method::Exact)
    } else {
        (
            normal_p(first.len(), second.len(), u, &ties),
            Method::Normal,
        )
    };
    Some(MannWhitney { u, p, method })
}

#[allow(clippy::cast_precision_loss)]
fn larger_pairs(first: &[f64], second: &[f64]) -> f64 {
    let mut sorted = second.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // Those below and half of those that are equal, counted twice.
    let half_points =
        |x: &f64| sorted.partition_point(|y| y < x) + sorted.partition_point(|y| y <= x);
    first.iter().map(half_points).sum::<usize>() as f64 / 2.0
}

/// How many values are equal, for each value that there is more than once.
#[allow(clippy::float_cmp)] // ties are exact
fn tie_sizes(first: &[f64], second: &[f64]) -> Vec<usize> {
    let mut all = [first, second].concat();
    all.sort_unstable_by(f64::total_cmp);
    let runs = all.chunk_by(|a, b| a == b);
    runs.map(<[f64]>::len).filter(|n| *n > 1).collect()
}

/// From the number of ways to reach every `u` (Mann and Whitney's recurrence).
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn exact_p(n: usize, m: usize, u: f64) -> f64 {
    // ways[j][u]: with i values in the first group and j in the second; built up for i = 0, 1, ..., n.
    let mut ways: Vec<Vec<f64>> = (0..=m).map(|_| vec![1.0]).collect();
    for i in 1..=n {
        let mut next: Vec<Vec<f64>> = vec![vec![1.0]];
        for j in 1..=m {
            let mut counts = vec![0.0; i * j + 1];
            // The largest value is in the first group, above all j of the second, or in the second.
            for (at, count) in ways[j].iter().enumerate() {
                counts[at + j] += count;
            }
            for (at, count) in next[j - 1].iter().enumerate() {
                counts[at] += count;
            }
            next.push(counts);
        }
        ways = next;
    }
    let counts = &ways[m];
    let total: f64 = counts.iter().sum();
    let smaller = u.min((n * m) as f64 - u) as usize;
    let tail: f64 = counts[..=smaller].iter().sum();
    (2.0 * tail / total).min(1.0)
}

#[allow(clippy::cast_precision_loss)]
fn normal_p(n: usize, m: usize, u: f64, ties: &[usize]) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let all = n + m;
    let tied: f64 = ties.iter().map(|t| (*t as f64).powi(3) - *t as f64).sum();
    let variance = n * m / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0; // all values are equal
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    (2.0 * Normal::standard().sf(distance / variance.sqrt())).min(1.0)
}

/// How large a difference between two groups is, whatever its significance.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Effect {
    /// The probability that a value of the first group is larger than one of the second, equal ones counting one half
    /// (A of Vargha and Delaney 2000): 0.5 for no difference, 1 when all are larger.
    pub a12: f64,
    /// The 95 % interval of `a12`.
    pub a12_interval: [f64; 2],
    /// Cliff's delta: `2 a12 - 1`.
    pub delta: f64,
}

/// Size in the words of Vargha and Delaney (2000).
#[must_use]
pub fn magnitude(a12: f64) -> &'static str {
    match (a12 - 0.5).abs() {
        d if d >= 0.21 => "large",
        d if d >= 0.14 => "medium",
        d if d >= 0.06 => "small",
        _ => "negligible",
    }
}

/// The effect size of two groups with its 95 % interval (Newcombe 2006, "Confidence intervals for an effect size
/// measure based on the Mann-Whitney statistic. Part 2", method 5: the values that a score test does not reject);
/// `None` when one is empty or holds what is not a finite number.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn effect_size(first: &[f64], second: &[f64]) -> Option<Effect> {
    let test = mann_whitney(first, second)?;
    let (n, m) = (first.len() as f64, second.len() as f64);
    let a12 = test.u / (n * m);
    let z = Normal::standard().inverse_cdf(0.975);
    let spare = f64::midpoint(n, m) - 1.0;
    let rejected = |theta: f64| {
        let shape = 1.0 + spare * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta));
        let variance = theta * (1.0 - theta) * shape / (n * m);
        (a12 - theta).abs() > z * variance.sqrt()
    };
    Some(Effect {
        a12,
        a12_interval: [boundary(0.0, a12, rejected), boundary(1.0, a12, rejected)],
        delta: 2.0 * a12 - 1.0,
    })
}

/// Between what may be rejected and what is not, where it changes.
fn boundary(mut outside: f64, mut inside: f64, rejected: impl Fn(f64) -> bool) -> f64 {
    if !rejected(outside) {
        return outside;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(outside, inside);
        if rejected(middle) {
            outside = middle;
        } else {
            inside = middle;
        }
    }
    inside
}

#[cfg(test)]
mod tests;
