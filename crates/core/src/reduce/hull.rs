//! What a sum of choices can reach: the upper left edge of all (cost, gain) points, as a chain of steps.
//!
//! Where a network's cost and gain are sums over its choices, the convex hull of all networks is the Minkowski sum of
//! the hulls of the single choices, whose edges are sorted by slope and put one behind the other. So the best
//! trade-offs of 10^19 networks are found from 180 blocks, exactly.

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

    /// For every corner, cheapest first, what a unit of cost must be worth in gain for it to be the best point.
    pub(super) fn prices(&self) -> Vec<f64> {
        let rates: Vec<f64> = self.steps.iter().map(|s| s.gain / s.cost).collect();
        let steepest = rates.first().copied().unwrap_or(1.0);
        let before = std::iter::once(3.0 * steepest).chain(rates.iter().copied());
        let after = rates.iter().copied().chain([0.0]);
        before.zip(after).map(|(b, a)| 0.5 * (a + b)).collect()
    }

    /// The area below the edge and above the gain `floor`, between two costs: 0 left of the cheapest point, at the most
    /// gain right of the best.
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

/// The area below the highest of several edges and above the gain `floor`, between two costs. Nothing is drawn from one
/// edge to another: between them there are no networks.
pub(super) fn joint_area(edges: &[Chain], floor: f64, from: f64, to: f64) -> f64 {
    if let [one] = edges {
        return one.area(floor, from, to);
    }
    let edges: Vec<Vec<Point>> = edges.iter().map(|e| e.corners().collect()).collect();
    let costs = edges.iter().flatten().map(|p| p.cost);
    let mut costs: Vec<f64> = costs.filter(|c| *c > from && *c < to).collect();
    costs.extend([from, to]);
    costs.sort_by(f64::total_cmp);
    // How many corners of every edge lie at or left of where the sweep is.
    let mut passed = vec![0; edges.len()];
    let mut area = 0.0;
    for pair in costs.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if b <= a {
            continue;
        }
        let mut lines = Vec::with_capacity(edges.len());
        for (edge, passed) in edges.iter().zip(&mut passed) {
            while edge.get(*passed).is_some_and(|p| p.cost <= a) {
                *passed += 1;
            }
            let Some(left) = passed.checked_sub(1).map(|i| edge[i]) else {
                continue;
            };
            let rate = edge.get(*passed).map_or(0.0, |right| slope(left, *right));
            let above = |cost: f64| left.gain + rate * (cost - left.cost) - floor;
            lines.push((above(a), above(b)));
        }
        area += below_highest(&lines, b - a);
    }
    area
}

/// The area above 0 below the highest of some straight lines, each given by its heights at both ends.
fn below_highest(lines: &[(f64, f64)], width: f64) -> f64 {
    let highest = |key: fn(&(f64, f64)) -> (f64, f64)| {
        let order = |a: &&(f64, f64), b: &&(f64, f64)| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        lines.iter().max_by(order).copied()
    };
    let (Some(first), Some(last)) = (highest(|l| *l), highest(|l| (l.1, l.0))) else {
        return 0.0;
    };
    let (ahead, behind) = (first.0 - last.0, last.1 - first.1);
    if ahead <= 0.0 || behind <= 0.0 {
        let (a, b) = (first.0.max(last.0), first.1.max(last.1));
        return trapezium(a, b, width);
    }
    // They cross: the last is nowhere highest left of that, and the first nowhere right of it.
    let at = ahead / (ahead + behind);
    let there = |l: &(f64, f64)| l.0 + at * (l.1 - l.0);
    let others = |gone: (f64, f64)| lines.iter().copied().filter(move |l| *l != gone);
    let left: Vec<_> = others(last).map(|l| (l.0, there(&l))).collect();
    let right: Vec<_> = others(first).map(|l| (there(&l), l.1)).collect();
    below_highest(&left, width * at) + below_highest(&right, width * (1.0 - at))
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

    #[test]
    fn joint_areas_are_those_of_thin_slices_below_the_highest() {
        let mut rng = Seed(5).rng();
        for round in 0..80 {
            let count = 1 + round % 4;
            let chains: Vec<Chain> = (0..count)
                .map(|_| Chain::of(drawn(5, &mut rng)).unwrap())
                .collect();
            let (floor, from, to) = (-3.0, -4.5, 5.5);
            let slices = 20_000;
            let width = (to - from) / f64::from(slices);
            // Each edge by itself, by its own area of a slice.
            let height = |x: f64| {
                let of = |c: &Chain| c.area(floor, x - 0.5 * width, x + 0.5 * width) / width;
                chains.iter().map(of).fold(0.0, f64::max)
            };
            let middles = (0..slices).map(|i| from + (f64::from(i) + 0.5) * width);
            let naive: f64 = middles.map(|x| height(x) * width).sum();
            let found = joint_area(&chains, floor, from, to);
            assert!((naive - found).abs() < 0.01, "{naive} {found} {chains:?}");
        }
    }
}
