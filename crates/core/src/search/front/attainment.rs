//! Empirical attainment: what share of several runs reached a point or better (Grunert da Fonseca, Fonseca, Hall
//! 2001).

use super::{Points, dominates};

/// Why there is no attainment surface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttainmentError {
    /// Surfaces are lines through points of two objectives.
    #[error("attainment surfaces are made of two objectives, and there are {0}")]
    Objectives(usize),
    /// Another number of runs.
    #[error("there are {runs} runs, and a surface that {level} of them attain does not exist")]
    Level {
        /// Runs that should attain it.
        level: usize,
        /// How many runs there are.
        runs: usize,
    },
}

/// The share of `runs` that have a point at least as good as `point` (in the metrics' own signs) in every objective; 0
/// for no runs, or where `point` does not fit to them.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn attained_share(runs: &[Points], point: &[f64]) -> f64 {
    let attains = |run: &&Points| {
        let Ok(wanted) = run.as_costs(point) else {
            return false;
        };
        run.costs()
            .any(|cost| cost == wanted.as_slice() || dominates(cost, &wanted))
    };
    let attained = runs.iter().filter(attains).count();
    attained as f64 / runs.len().max(1) as f64
}

/// The surface that at least `level` of the runs attain, for two objectives: its corners, in the metrics' own signs, by
/// ascending cost in the first objective. With 1 it is the best that any run reached, with half of the runs the median,
/// with all of them what every run reached; there are no corners where fewer runs have points at all.
///
/// # Errors
/// [`AttainmentError`].
pub fn attainment_surface(runs: &[Points], level: usize) -> Result<Vec<[f64; 2]>, AttainmentError> {
    if let Some(run) = runs.iter().find(|run| run.objectives() != 2) {
        return Err(AttainmentError::Objectives(run.objectives()));
    }
    if level == 0 || level > runs.len() {
        return Err(AttainmentError::Level {
            level,
            runs: runs.len(),
        });
    }
    let mut all: Vec<(f64, f64, usize)> = Vec::new();
    for (run, points) in runs.iter().enumerate() {
        all.extend(points.costs().map(|cost| (cost[0], cost[1], run)));
    }
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    // The least second objective that each run has reached so far, and the `level`-th least of these.
    let mut reached = vec![f64::INFINITY; runs.len()];
    let mut corners: Vec<[f64; 2]> = Vec::new();
    let mut height = f64::INFINITY;
    for (x, y, run) in all {
        if y >= reached[run] {
            continue;
        }
        reached[run] = y;
        let mut order = reached.clone();
        order.sort_unstable_by(f64::total_cmp);
        if order[level - 1] < height {
            height = order[level - 1];
            // Of points with one first objective, the last stands for all.
            match corners.last_mut() {
                Some(corner) if corner[0].total_cmp(&x).is_eq() => corner[1] = height,
                _ => corners.push([x, height]),
            }
        }
    }
    let own = |corner: [f64; 2]| {
        let values = runs[0].in_own_signs(&corner);
        [values[0], values[1]]
    };
    Ok(corners.into_iter().map(own).collect())
}
