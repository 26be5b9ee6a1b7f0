//! Rank correlation: whether two metrics put architectures in the same order.

use std::cmp::Ordering;

/// Kendall's tau-b (Kendall 1945), which allows ties: pairs in the same order minus pairs in opposite order, over what
/// there could be. `None` for fewer than two values, unequal lengths, or where one side is constant. Quadratic in the
/// number of values.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn kendall_tau(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let (mut agreement, mut in_a, mut in_b) = (0_i64, 0_i64, 0_i64);
    for i in 0..a.len() {
        for j in 0..i {
            let (x, y) = (sign(a[i], a[j]), sign(b[i], b[j]));
            agreement += x * y;
            in_a += x * x;
            in_b += y * y;
        }
    }
    let possible = (in_a as f64 * in_b as f64).sqrt();
    (possible > 0.0).then(|| agreement as f64 / possible)
}

fn sign(a: f64, b: f64) -> i64 {
    match a.partial_cmp(&b) {
        Some(Ordering::Less) => -1,
        Some(Ordering::Greater) => 1,
        _ => 0,
    }
}

/// Spearman's rho: Pearson's correlation of the ranks, equal values sharing the mean of theirs. `None` as in
/// [`kendall_tau`].
#[must_use]
pub fn spearman_rho(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    pearson(&ranks(a), &ranks(b))
}

/// The 95 % interval of a Spearman's rho that `n` pairs gave: Fisher's transform with the variance of Bonett and Wright
/// (2000), (1 + rho² / 2) / (n - 3). A perfect order counts as one with two neighbours swapped, so that its interval
/// is none of width 0. `None` for fewer than four pairs.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn rho_interval(rho: f64, n: usize) -> Option<(f64, f64)> {
    if n < 4 {
        return None;
    }
    let n = n as f64;
    let most = 1.0 - 12.0 / (n * (n * n - 1.0));
    let inside = rho.clamp(-most, most);
    let half = 1.959_964 * ((1.0 + inside * inside / 2.0) / (n - 3.0)).sqrt();
    let z = inside.atanh();
    let (low, high) = ((z - half).tanh(), (z + half).tanh());
    Some((low.min(rho), high.max(rho)))
}

/// Ranks from 1; equal values share the mean of theirs.
#[allow(clippy::cast_precision_loss)]
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for group in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let last = first + group.len();
        let shared = (first + 1 + last) as f64 / 2.0;
        group.iter().for_each(|&i| ranks[i] = shared);
        first = last;
    }
    ranks
}

#[allow(clippy::cast_precision_loss)]
fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(x, y)| f(x - mean_a, y - mean_b)).sum()
    };
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    (spread > 0.0).then(|| sum(&|x, y| x * y) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats 1.17.1 (`kendalltau`, `spearmanr`).
    #[test]
    fn coefficients_are_those_of_scipy() {
        let a = [1.0, 2.5, 2.5, 4.0, 0.5, 7.0, 3.0, 2.5];
        let b = [2.0, 1.0, 3.0, 3.0, 0.0, 9.0, 2.0, 2.0];
        let close = |found: Option<f64>, expected: f64| {
            assert!(
                (found.unwrap() - expected).abs() < 1e-12,
                "{found:?} {expected}"
            );
        };
        close(kendall_tau(&a, &b), KENDALL);
        close(spearman_rho(&a, &b), SPEARMAN);
        let reversed: Vec<f64> = a.iter().map(|x| -x).collect();
        close(kendall_tau(&a, &reversed), -1.0);
        close(spearman_rho(&a, &reversed), -1.0);
    }

    const KENDALL: f64 = 0.6940220937885672;
    const SPEARMAN: f64 = 0.7673107732756071;

    #[test]
    fn what_has_no_order_has_no_correlation() {
        assert_eq!(kendall_tau(&[], &[]), None);
        assert_eq!(spearman_rho(&[], &[]), None);
        assert_eq!(kendall_tau(&[1.0], &[2.0]), None);
        assert_eq!(kendall_tau(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman_rho(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman_rho(&[1.0, 2.0], &[1.0]), None);
    }
}
