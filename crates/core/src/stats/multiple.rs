//! Corrections of p values for the number of tests that are made.

/// How the tests of a family may depend on each other, for [`false_discovery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// Independent or positively dependent: Benjamini and Hochberg (JRSS B 1995).
    Positive,
    /// Any dependence: Benjamini and Yekutieli (Annals of Statistics 2001), larger by the harmonic sum.
    Any,
}

/// The q value of every p value: the smallest false discovery rate at which the test is among the discoveries. The same
/// as `scipy.stats.false_discovery_control`.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn false_discovery(p: &[f64], dependence: Dependence) -> Vec<f64> {
    let n = p.len();
    let factor = match dependence {
        Dependence::Positive => 1.0,
        Dependence::Any => (1..=n).map(|i| 1.0 / i as f64).sum(),
    };
    let mut adjusted = vec![0.0; n];
    let mut least: f64 = 1.0;
    for (rank, &i) in ascending(p).iter().enumerate().rev() {
        least = least.min(p[i] * factor * n as f64 / (rank + 1) as f64);
        adjusted[i] = least;
    }
    adjusted
}

/// Holm's adjusted p values (Scandinavian Journal of Statistics 1979): those below alpha hold together, with
/// probability 1 - alpha, whatever the dependence.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let n = p.len();
    let mut adjusted = vec![0.0; n];
    let mut most: f64 = 0.0;
    for (rank, &i) in ascending(p).iter().enumerate() {
        most = most.max(((n - rank) as f64 * p[i]).min(1.0));
        adjusted[i] = most;
    }
    adjusted
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    order
}
