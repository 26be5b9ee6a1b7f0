//! What a sum of choices can reach: the upper left edge of all (cost, gain) points, as a chain of steps.
//!
//! Where a network's cost and gain are sums over its choices, the convex hull of all networks is the Minkowski sum of the
//! hulls of the single choices, whose edges are sorted by slope and put one behind the other. So the best trade-offs of
//! 10^19 networks are found from 180 blocks, exactly.

/// A cost (smaller is better) and a gain (larger is better).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub cost: f64,
    pub gain: f64,
}

/// The upper left edge of a convex hull: from the cheapest point, steps of falling slope up to the point of most gain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    start: Point,
    steps: Vec<Point>,
}

impl Chain {
    /// The edge of the hull of some points; `None` for none.
    pub(super) fn of(points: impl IntoIterator<Item = Point>) -> Option<Self> {
        let mut points: Vec<Point> = points.into_iter().collect();
        points.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(b.gain.total_cmp(&a.gain)));
        let mut edge: Vec<Point> = Vec::new();
        for point in points {
            if edge.last().is_some_and(|last| point.gain <= last.gain) {
                continue;
            }
            while let [.., before, last] = edge.as_slice()
                && slope(*before, *last) <= slope(*last, point)
            {
                edge.pop();
            }
            edge.push(point);
        }
        let start = *edge.first()?;
        let steps = edge.windows(2).map(|pair| Point {
            cost: pair[1].cost - pair[0].cost,
            gain: pair[1].gain - pair[0].gain,
        });
        Some(Self {
            start,
            steps: steps.collect(),
        })
    }

    /// The edge of one point.
    pub(super) fn single(point: Point) -> Self {
        Self {
            start: point,
            steps: Vec::new(),
        }
    }

    /// The edge of all sums of a point of each.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut steps = Vec::with_capacity(self.steps.len() + other.steps.len());
        let (mut left, mut right) = (self.steps.as_slice(), other.steps.as_slice());
        while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (left, right) {
            if a.gain * b.cost >= b.gain * a.cost {
                steps.push(*a);
                left = rest_a;
            } else {
                steps.push(*b);
                right = rest_b;
            }
        }
        steps.extend_from_slice(left);
        steps.extend_from_slice(right);
        Self {
            start: Point {
                cost: self.start.cost + other.start.cost,
                gain: self.start.gain + other.start.gain,
            },
            steps,
        }
    }

    /// The corners, cheapest first.
    pub(super) fn corners(&self) -> impl Iterator<Item = Point> + '_ {
        let next = |at: &mut Point, step: &Point| {
            at.cost += step.cost;
            at.gain += step.gain;
            Some(*at)
        };
        std::iter::once(self.start).chain(self.steps.iter().scan(self.start, next))
    }

    /// The cheapest point.
    pub(super) fn cheapest(&self) -> Point {
        self.start
    }

    /// The point of most gain.
    pub(super) fn best(&self) -> Point {
        let total = |of: fn(&Point) -> f64| self.steps.iter().map(of).sum::<f64>();
        Point {
            cost: self.start.cost + total(|s| s.cost),
            gain: self.start.gain + total(|s| s.gain),
        }
    }

    /// The area below the edge and above the gain `floor`, between two costs: 0 left of the cheapest point, at the most gain
    /// right of the best.
    pub(super) fn area(&self, floor: f64, from: f64, to: f64) -> f64 {
        let mut area = 0.0;
        let mut corners = self.corners();
        let Some(mut left) = corners.next() else {
            return 0.0;
        };
        let end = Point {
            cost: f64::INFINITY,
            gain: self.best().gain,
        };
        for right in corners.chain([end]) {
            let (a, b) = (left.cost.max(from), right.cost.min(to));
            if b > a {
                let rate = match right.cost.is_finite() {
                    true => slope(left, right),
                    false => 0.0,
                };
                let above = |cost: f64| left.gain + rate * (cost - left.cost) - floor;
                area += trapezium(above(a), above(b), b - a);
            }
            left = right;
        }
        area
    }
}

/// The area above 0 below the straight line between two heights.
fn trapezium(a: f64, b: f64, width: f64) -> f64 {
    if a >= 0.0 && b >= 0.0 {
        return 0.5 * (a + b) * width;
    }
    let high = a.max(b);
    if high <= 0.0 {
        return 0.0;
    }
    0.5 * high * width * high / (a - b).abs()
}

fn slope(a: Point, b: Point) -> f64 {
    let (cost, gain) = (b.cost - a.cost, b.gain - a.gain);
    match cost > 0.0 {
        true => gain / cost,
        false => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use rand::RngExt;

    fn drawn(count: usize, rng: &mut crate::seed::Rng) -> Vec<Point> {
        let mut whole = || f64::from(rng.random_range(-6..7i8));
        let points = (0..count).map(|_| (whole(), whole()));
        points.map(|(cost, gain)| Point { cost, gain }).collect()
    }

    /// Most gain minus price times cost, by looking at all.
    fn support(points: &[Point], price: f64) -> f64 {
        let worth = points.iter().map(|p| p.gain - price * p.cost);
        worth.fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn chains_are_the_hulls_of_all_sums() {
        let mut rng = Seed(3).rng();
        for _ in 0..400 {
            let count = rng.random_range(1..7);
            let (a, b) = (drawn(count, &mut rng), drawn(count, &mut rng));
            let sums = a.iter().flat_map(|p| {
                b.iter().map(|q| Point {
                    cost: p.cost + q.cost,
                    gain: p.gain + q.gain,
                })
            });
            let sums: Vec<Point> = sums.collect();
            let chain = Chain::of(a).unwrap().plus(&Chain::of(b).unwrap());
            let corners: Vec<Point> = chain.corners().collect();
            for price in [0.0, 0.1, 0.37, 0.5, 1.0, 1.7, 2.0, 5.0, 100.0] {
                let (naive, found) = (support(&sums, price), support(&corners, price));
                assert!((naive - found).abs() < 1e-9, "{naive} {found}");
            }
            assert_eq!(Chain::of(sums).unwrap().best(), chain.best());
        }
    }

    /// Against thin slices, each as high as the best of all points and segments between them.
    #[test]
    fn areas_are_those_of_thin_slices() {
        let mut rng = Seed(4).rng();
        for _ in 0..60 {
            let points = drawn(6, &mut rng);
            let chain = Chain::of(points.clone()).unwrap();
            let (floor, from, to) = (-3.0, -4.5, 5.5);
            let height = |x: f64| {
                let mut best = 0.0_f64;
                for p in points.iter().filter(|p| p.cost <= x) {
                    best = best.max(p.gain - floor);
                    for q in points.iter().filter(|q| q.cost > x) {
                        let part = (x - p.cost) / (q.cost - p.cost);
                        best = best.max(p.gain + part * (q.gain - p.gain) - floor);
                    }
                }
                best
            };
            let slices = 20_000;
            let width = (to - from) / f64::from(slices);
            let middles = (0..slices).map(|i| from + (f64::from(i) + 0.5) * width);
            let naive: f64 = middles.map(|x| height(x) * width).sum();
            let found = chain.area(floor, from, to);
            assert!((naive - found).abs() < 0.01, "{naive} {found} {points:?}");
        }
    }
}
