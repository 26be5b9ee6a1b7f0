//! Which differences between arms the runs carry.

use super::{ArmResult, Question, Test};
use crate::stats::groups::{effect_size, mann_whitney};
use crate::stats::multiple::holm;

/// Every two arms that differ in one thing, at every budget; all tests are corrected together.
pub(super) fn tests(arms: &[ArmResult]) -> Vec<Test> {
    let mut tests = Vec::new();
    for (number, first) in arms.iter().enumerate() {
        for second in &arms[number + 1..] {
            let Some(question) = question(first, second) else {
                continue;
            };
            let budgets = first.standings.iter().zip(&second.standings);
            tests.extend(budgets.filter_map(|(a, b)| {
                let (x, y) = (&a.hypervolumes, &b.hypervolumes);
                Some(Test {
                    question,
                    budget: a.budget,
                    first: first.arm.clone(),
                    second: second.arm.clone(),
                    difference: a.hypervolume.mean - b.hypervolume.mean,
                    p: mann_whitney(x, y)?.p,
                    adjusted_p: 1.0,
                    effect: effect_size(x, y)?,
                })
            }));
        }
    }
    let p: Vec<f64> = tests.iter().map(|test| test.p).collect();
    let adjusted = holm(&p).into_iter();
    tests
        .iter_mut()
        .zip(adjusted)
        .for_each(|(test, p)| test.adjusted_p = p);
    tests
}

/// What two arms are compared for; nothing where they differ in both.
fn question(first: &ArmResult, second: &ArmResult) -> Option<Question> {
    let (a, b) = (&first.arm, &second.arm);
    if a.arena == b.arena {
        return Some(Question::Algorithms);
    }
    (a.algorithm == b.algorithm).then_some(Question::Spaces)
}
