//! From runs to what they come to.

use super::tests_of_runs::tests;
use super::{
    ArmResult, Attainment, Contender, Contest, ContestError, Member, RunOf, Spread, Standing,
};
use crate::metric::{Direction, MetricInfo};
use crate::search::front::{Points, attainment_surface};
use crate::stats::{mean, quantile, variance};

impl Contest {
    /// Compares runs. `reference` is the reference point of the hypervolumes; without one, it is the worst value that
    /// any front has in each objective.
    ///
    /// # Errors
    /// [`ContestError`].
    pub fn new(
        objectives: &[MetricInfo],
        reference: Option<&[f64]>,
        budgets: &[u64],
        contenders: &[Contender],
    ) -> Result<Self, ContestError> {
        contenders.iter().try_for_each(|c| complete(c, budgets))?;
        let directions: Vec<Direction> = objectives.iter().map(|o| o.direction).collect();
        let best_front = best_known(&directions, contenders).ok_or(ContestError::Nothing)?;
        let reference = match reference {
            Some(reference) => reference.to_vec(),
            None => worst(&directions, contenders),
        };
        let best = points(&directions, &best_front);
        let judge = Judge {
            directions: &directions,
            reference: &reference,
            best: &best,
            scale: ranges(&best),
        };
        let best_hypervolume = best.hypervolume(&reference);
        let arms: Vec<ArmResult> = contenders.iter().map(|c| judge.arm(c, budgets)).collect();
        Ok(Self {
            objectives: objectives.to_vec(),
            best_hypervolume: best_hypervolume.map_err(|_| ContestError::Reference)?,
            tests: tests(&arms),
            budgets: budgets.to_vec(),
            reference,
            best_front,
            arms,
        })
    }
}

fn complete(contender: &Contender, budgets: &[u64]) -> Result<(), ContestError> {
    let whole = |run: &RunOf| {
        let of_run = run.snapshots.iter().map(|s| s.budget);
        of_run.eq(budgets.iter().copied())
    };
    if !budgets.is_empty() && !contender.runs.is_empty() && contender.runs.iter().all(whole) {
        return Ok(());
    }
    Err(ContestError::Incomplete {
        algorithm: contender.arm.algorithm.clone(),
        arena: contender.arm.arena.to_string(),
    })
}

fn members(contenders: &[Contender]) -> impl Iterator<Item = &Member> {
    let runs = contenders.iter().flat_map(|c| &c.runs);
    runs.flat_map(|run| &run.snapshots).flat_map(|s| &s.front)
}

fn points(directions: &[Direction], members: &[Member]) -> Points {
    let mut points = Points::new(directions);
    for member in members {
        // What is on a front has finite values.
        let _ = points.push(&member.values);
    }
    points
}

/// The front of all fronts, each architecture once, best first in the first objective.
fn best_known(directions: &[Direction], contenders: &[Contender]) -> Option<Vec<Member>> {
    let mut all: Vec<&Member> = members(contenders).collect();
    all.sort_by(|a, b| a.arch.cmp(&b.arch));
    all.dedup_by(|a, b| a.arch == b.arch);
    let all: Vec<Member> = all.into_iter().cloned().collect();
    let points = points(directions, &all);
    let mut front: Vec<(Vec<f64>, Member)> = points
        .front()
        .into_iter()
        .map(|i| {
            (
                points.as_costs(&all[i].values).unwrap_or_default(),
                all[i].clone(),
            )
        })
        .collect();
    front.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    let front: Vec<Member> = front.into_iter().map(|(_, member)| member).collect();
    (!front.is_empty()).then_some(front)
}

fn worst(directions: &[Direction], contenders: &[Contender]) -> Vec<f64> {
    let worst = |(objective, direction): (usize, &Direction)| {
        let values = members(contenders).map(|m| m.values[objective]);
        let worst = values.reduce(match direction {
            Direction::LowerIsBetter => f64::max,
            Direction::HigherIsBetter => f64::min,
        });
        worst.unwrap_or_default()
    };
    directions.iter().enumerate().map(worst).collect()
}

/// The range of every objective; 1 where there is none.
fn ranges(points: &Points) -> Vec<f64> {
    let range = |objective: usize| {
        let costs = points.costs().map(|c| c[objective]);
        let (least, most) = costs.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), c| {
            (a.min(c), b.max(c))
        });
        if most > least { most - least } else { 1.0 }
    };
    (0..points.objectives()).map(range).collect()
}

struct Judge<'a> {
    directions: &'a [Direction],
    reference: &'a [f64],
    best: &'a Points,
    /// The range of every objective on the best known front.
    scale: Vec<f64>,
}

impl Judge<'_> {
    fn arm(&self, contender: &Contender, budgets: &[u64]) -> ArmResult {
        let standing = |(at, budget): (usize, &u64)| self.standing(contender, at, *budget);
        let standings: Vec<Standing> = budgets.iter().enumerate().map(standing).collect();
        let last = standings.last().map_or(&[][..], |s| &s.hypervolumes);
        let mut order: Vec<usize> = (0..contender.runs.len()).collect();
        order.sort_by(|a, b| last[*a].total_cmp(&last[*b]));
        let median = &contender.runs[order[(order.len() - 1) / 2]];
        ArmResult {
            arm: contender.arm.clone(),
            seeds: contender.runs.iter().map(|run| run.seed).collect(),
            median_seed: median.seed,
            median_front: median
                .snapshots
                .last()
                .map(|s| s.front.clone())
                .unwrap_or_default(),
            standings,
        }
    }

    fn standing(&self, contender: &Contender, at: usize, budget: u64) -> Standing {
        let front = |run: &RunOf| points(self.directions, &run.snapshots[at].front);
        let fronts: Vec<Points> = contender.runs.iter().map(front).collect();
        let volume = |front: &Points| front.hypervolume(self.reference).unwrap_or_default();
        let hypervolumes: Vec<f64> = fronts.iter().map(volume).collect();
        let epsilons: Vec<Option<f64>> = fronts.iter().map(|f| self.epsilon(f)).collect();
        let known: Vec<f64> = epsilons.iter().flatten().copied().collect();
        Standing {
            budget,
            hypervolume: Spread::of(&hypervolumes),
            hypervolumes,
            epsilon: (!known.is_empty()).then(|| Spread::of(&known)),
            epsilons,
            attainment: attainment(&fronts),
        }
    }

    fn epsilon(&self, front: &Points) -> Option<f64> {
        self.scaled(front).additive_epsilon(&self.scaled(self.best))
    }

    /// Costs in shares of the best known front's range.
    fn scaled(&self, points: &Points) -> Points {
        let mut scaled = Points::new(&vec![Direction::LowerIsBetter; points.objectives()]);
        for costs in points.costs() {
            let shares = costs.iter().zip(&self.scale).map(|(c, range)| c / range);
            // Shares of finite numbers in finite ranges are finite.
            let _ = scaled.push(&shares.collect::<Vec<_>>());
        }
        scaled
    }
}

/// `None` for other numbers of objectives than two.
fn attainment(fronts: &[Points]) -> Option<Attainment> {
    let surface = |share: usize| {
        let level = (share * fronts.len()).div_ceil(4).max(1);
        attainment_surface(fronts, level).ok()
    };
    Some(Attainment {
        best_quarter: surface(1)?,
        median: surface(2)?,
        three_quarters: surface(3)?,
    })
}

impl Spread {
    /// That of some numbers; all 0 for none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let at = |q: f64| quantile(values, q).unwrap_or_default();
        Self {
            mean: if values.is_empty() { 0.0 } else { mean(values) },
            sd: if values.len() > 1 {
                variance(values).sqrt()
            } else {
                0.0
            },
            least: at(0.0),
            lower_quartile: at(0.25),
            median: at(0.5),
            upper_quartile: at(0.75),
            most: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Origin;
    use crate::search::contest::{Arena, Arm, Question, Snapshot};

    fn info(name: &str, direction: Direction) -> MetricInfo {
        MetricInfo {
            name: name.into(),
            unit: "u".into(),
            direction,
            origin: Origin::Counted,
            about: String::new(),
        }
    }

    fn objectives() -> Vec<MetricInfo> {
        vec![
            info("good", Direction::HigherIsBetter),
            info("bad", Direction::LowerIsBetter),
        ]
    }

    /// Fronts of one point each.
    fn contender(algorithm: &str, arena: &Arena, points: &[[f64; 2]]) -> Contender {
        let run = |(seed, point): (usize, &[f64; 2])| RunOf {
            seed: seed as u64 + 1,
            snapshots: vec![Snapshot {
                budget: 10,
                evaluated: 10,
                failures: 0,
                front: vec![Member {
                    arch: format!("{algorithm}{arena}{seed}"),
                    values: point.to_vec(),
                }],
            }],
        };
        Contender {
            arm: Arm {
                algorithm: algorithm.into(),
                arena: arena.clone(),
            },
            runs: points.iter().enumerate().map(run).collect(),
        }
    }

    #[test]
    fn a_contest_by_hand() {
        let good = contender("a", &Arena::Full, &[[5.0, 2.0], [6.0, 2.0], [7.0, 3.0]]);
        let poor = contender("b", &Arena::Full, &[[1.0, 8.0], [2.0, 8.0], [3.0, 8.0]]);
        let part = Arena::Reduced("part".into());
        let reduced = contender("a", &part, &[[8.0, 2.0], [8.0, 1.0], [9.0, 2.0]]);
        let contenders = [good, poor, reduced];
        let contest = Contest::new(&objectives(), Some(&[0.0, 11.0]), &[10], &contenders).unwrap();
        assert_eq!(
            contest.arms[0].standings[0].hypervolumes,
            [45.0, 54.0, 56.0]
        );
        // [9, 2] and [8, 1].
        assert_eq!(contest.best_front.len(), 2);
        assert_eq!(contest.best_hypervolume, 9.0 * 9.0 + 8.0);
        assert_eq!(contest.best_front[0].values, [9.0, 2.0]);
        assert_eq!(contest.arms[0].median_seed, 2);
        assert_eq!(contest.arms[0].median_front[0].values, [6.0, 2.0]);
        // Ranges of 1 and 1: [6, 2] is 3 short of [9, 2], [5, 2] is 4 short.
        let epsilons = &contest.arms[0].standings[0].epsilons;
        assert_eq!(epsilons, &[Some(4.0), Some(3.0), Some(2.0)]);
        let attainment = contest.arms[0].standings[0].attainment.as_ref().unwrap();
        // Two of three runs have 6 at 3, and 5 at 2.
        assert_eq!(attainment.median, [[6.0, 3.0], [5.0, 2.0]]);
        // Two algorithms in the full space, two spaces with one algorithm.
        let questions: Vec<Question> = contest.tests.iter().map(|t| t.question).collect();
        assert_eq!(questions, [Question::Algorithms, Question::Spaces]);
        for test in &contest.tests {
            assert!((test.p - 0.1).abs() < 1e-12);
            assert!((test.adjusted_p - 0.2).abs() < 1e-12);
        }
        assert_eq!(contest.tests[0].effect.a12, 1.0);
        assert_eq!(contest.tests[1].effect.a12, 0.0);
        // Without a reference, the worst of all fronts.
        let contest = Contest::new(&objectives(), None, &[10], &contenders).unwrap();
        assert_eq!(contest.reference, [1.0, 8.0]);
    }

    #[test]
    fn what_is_not_complete_is_refused() {
        let one = contender("a", &Arena::Full, &[[5.0, 2.0]]);
        let new = |budgets: &[u64], contenders: &[Contender]| {
            Contest::new(&objectives(), None, budgets, contenders).err()
        };
        assert!(matches!(
            new(&[10, 20], std::slice::from_ref(&one)),
            Some(ContestError::Incomplete { .. })
        ));
        let mut empty = one;
        empty.runs[0].snapshots[0].front.clear();
        assert_eq!(new(&[10], &[empty]), Some(ContestError::Nothing));
    }
}
