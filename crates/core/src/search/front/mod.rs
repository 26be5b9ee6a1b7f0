//! Sets of points with several objectives: dominance, fronts, and how sets are compared.
//!
//! All of it works on [`Points`], in which smaller is better in every objective; what directions the metrics have is
//! settled once, when points are added.

mod attainment;
mod hypervolume;
mod sort;

pub use attainment::{AttainmentError, attained_share, attainment_surface};

use crate::metric::Direction;

/// Values that are no point.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PointError {
    /// Not one value for every objective.
    #[error("a point has {found} values where there are {expected} objectives")]
    Length {
        /// Values given.
        found: usize,
        /// Objectives.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("objective {objective} of a point is {value}, which is not a finite number", objective = objective + 1)]
    NotFinite {
        /// The objective, counted from 0.
        objective: usize,
        /// The value as text.
        value: String,
    },
}

/// Points with a value for each of some objectives. Points may be equal to each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    directions: Vec<Direction>,
    /// Point after point; larger-is-better objectives are negated.
    costs: Vec<f64>,
}

impl Points {
    /// No points yet, with objectives that improve in these directions.
    #[must_use]
    pub fn new(directions: &[Direction]) -> Self {
        Self {
            directions: directions.to_vec(),
            costs: Vec::new(),
        }
    }

    /// These points.
    ///
    /// # Errors
    /// [`PointError`] of the first that is none.
    pub fn of<'a>(
        directions: &[Direction],
        points: impl IntoIterator<Item = &'a [f64]>,
    ) -> Result<Self, PointError> {
        let mut all = Self::new(directions);
        for point in points {
            all.push(point)?;
        }
        Ok(all)
    }

    /// Adds a point, in the metrics' own units and signs.
    ///
    /// # Errors
    /// [`PointError`]; nothing is added then.
    pub fn push(&mut self, point: &[f64]) -> Result<(), PointError> {
        let costs = self.as_costs(point)?;
        self.costs.extend(costs);
        Ok(())
    }

    /// A point as values of which smaller ones are better.
    ///
    /// # Errors
    /// [`PointError`].
    pub fn as_costs(&self, point: &[f64]) -> Result<Vec<f64>, PointError> {
        if point.len() != self.objectives() {
            return Err(PointError::Length {
                found: point.len(),
                expected: self.objectives(),
            });
        }
        let cost = |(objective, (value, direction)): (usize, (&f64, &Direction))| {
            if !value.is_finite() {
                return Err(PointError::NotFinite {
                    objective,
                    value: value.to_string(),
                });
            }
            Ok(cost(*value, *direction))
        };
        let values = point.iter().zip(&self.directions);
        values.enumerate().map(cost).collect()
    }

    /// How many objectives the points have.
    #[must_use]
    pub fn objectives(&self) -> usize {
        self.directions.len()
    }

    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.costs.len() / self.objectives().max(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.costs.is_empty()
    }

    /// Every point as values of which smaller ones are better.
    pub fn costs(&self) -> impl ExactSizeIterator<Item = &[f64]> + Clone + '_ {
        self.costs.chunks_exact(self.objectives().max(1))
    }

    /// Point `index` in the metrics' own signs.
    ///
    /// # Panics
    /// When there is no such point.
    #[must_use]
    pub fn values(&self, index: usize) -> Vec<f64> {
        let first = index * self.objectives();
        let costs = &self.costs[first..first + self.objectives()];
        self.in_own_signs(costs)
    }

    fn in_own_signs(&self, costs: &[f64]) -> Vec<f64> {
        let pairs = costs.iter().zip(&self.directions);
        pairs.map(|(c, direction)| cost(*c, *direction)).collect()
    }

    /// The rank of every point: 0 for those that no point dominates, 1 for those that only points of rank 0 dominate,
    /// and so on. Equal points have equal ranks.
    #[must_use]
    pub fn ranks(&self) -> Vec<usize> {
        sort::ranks(self)
    }

    /// The points that no other dominates, as indices in ascending order; equal points are all among them.
    #[must_use]
    pub fn front(&self) -> Vec<usize> {
        sort::front(self)
    }

    /// The volume that the points dominate within `reference` (a point in the metrics' own signs that is worse than all
    /// that matter): larger is better. Points that do not dominate the reference add nothing.
    ///
    /// Exact for any number of objectives; made for 2 to 4 (from 4 on by exclusive volumes: While, Bradstreet, Barone
    /// 2012, "A fast way of calculating exact hypervolumes").
    ///
    /// # Errors
    /// [`PointError`] when the reference is no point.
    pub fn hypervolume(&self, reference: &[f64]) -> Result<f64, PointError> {
        let reference = self.as_costs(reference)?;
        Ok(hypervolume::hypervolume(self, &reference))
    }

    /// The additive epsilon indicator of these points against `other`: the least amount by which all of these would
    /// have to improve in every objective to cover `other` (weakly dominate each of its points). Smaller is better, and
    /// at most 0 when `other` is covered already; `None` when either is empty or the directions differ. Objectives are
    /// not scaled: bring them to one scale where their units differ (Zitzler et al. 2003).
    #[must_use]
    pub fn additive_epsilon(&self, other: &Points) -> Option<f64> {
        if self.directions != other.directions || self.is_empty() {
            return None;
        }
        let needed = |mine: &[f64], theirs: &[f64]| {
            let steps = mine.iter().zip(theirs).map(|(m, t)| m - t);
            steps.fold(f64::NEG_INFINITY, f64::max)
        };
        let cover = |theirs: &[f64]| {
            let each = self.costs().map(|mine| needed(mine, theirs));
            each.fold(f64::INFINITY, f64::min)
        };
        other.costs().map(cover).reduce(f64::max)
    }

    /// The crowding distance of every point among these, which are taken as one front (Deb et al. 2002): how far apart
    /// its neighbours are in each objective, relative to the range, summed; infinite at the ends.
    #[must_use]
    #[allow(clippy::float_cmp)] // a range of exactly nothing
    pub fn crowding(&self) -> Vec<f64> {
        let all: Vec<&[f64]> = self.costs().collect();
        let mut distance = vec![0.0; all.len()];
        for objective in 0..self.objectives() {
            let mut order: Vec<usize> = (0..all.len()).collect();
            order.sort_by(|a, b| all[*a][objective].total_cmp(&all[*b][objective]));
            let (Some(&first), Some(&last)) = (order.first(), order.last()) else {
                break;
            };
            let range = all[last][objective] - all[first][objective];
            distance[first] = f64::INFINITY;
            distance[last] = f64::INFINITY;
            if range == 0.0 {
                continue;
            }
            for window in order.windows(3) {
                let gap = all[window[2]][objective] - all[window[0]][objective];
                distance[window[1]] += gap / range;
            }
        }
        distance
    }
}

/// A value as a cost, or a cost as a value.
pub(crate) fn cost(value: f64, direction: Direction) -> f64 {
    match direction {
        // Neither sum is a negative zero, which would sort before zero.
        Direction::LowerIsBetter => 0.0 + value,
        Direction::HigherIsBetter => 0.0 - value,
    }
}

/// Whether costs `a` are nowhere larger than `b` and somewhere smaller.
#[must_use]
pub(crate) fn dominates(a: &[f64], b: &[f64]) -> bool {
    let mut smaller = false;
    for (x, y) in a.iter().zip(b) {
        if x > y {
            return false;
        }
        smaller |= x < y;
    }
    smaller
}

#[cfg(test)]
mod tests;
