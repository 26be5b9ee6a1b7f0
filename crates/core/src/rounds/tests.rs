use super::*;
use crate::seed::{Rng, Seed};
use crate::stats::standard_normal;
use crate::units::Millis;

fn sample(ms: f64) -> Sample {
    Sample {
        wall: Millis::new(ms).unwrap(),
        cpu_ms: Some(ms),
        preemptions: Some(0),
    }
}

fn alone(log_ms: f64) -> Option<Reading> {
    Some(Reading {
        log_ms,
        beside: None,
    })
}

#[test]
fn the_ratio_of_pairs_does_not_see_the_machines_pace() {
    let pace = |i: u32| if i % 20 < 10 { 1.0 } else { 1.7 };
    let samples: Vec<Sample> = (0..40).map(|i| sample(6.0 * pace(i))).collect();
    let mut partner: Vec<Sample> = (0..41).map(|i| sample(2.0 * pace(i))).collect();
    let ratio = |partner: &[Sample]| log_ratio(&samples, partner, true).unwrap().exp();
    assert!((ratio(&partner) - 3.0).abs() < 1e-12);
    // One that was preempted takes its pair with it.
    partner[3].preemptions = Some(2);
    partner[3].wall = Millis::new(200.0).unwrap();
    assert!((ratio(&partner) - 3.0).abs() < 1e-12);
    // Where nearly all are, all count.
    for sample in &mut partner {
        sample.preemptions = Some(1);
    }
    assert!((ratio(&partner) - 3.0).abs() < 0.1);
    assert_eq!(log_ratio(&[], &partner, true), None);
}

/// numpy: x = log([1.02, 1.05, 0.99, 1.03, 1.04]); x.mean(), x.std(ddof=1) / sqrt(5); scipy.stats.t.ppf(1 - .015, 4)
#[test]
fn contrasts_are_those_of_the_textbook() {
    let ratios = [1.02_f64, 1.05, 0.99, 1.03, 1.04];
    let rounds: Vec<Round> = ratios
        .iter()
        .map(|r| vec![alone(3.0 + r.ln()), alone(3.0)])
        .collect();
    let found = contrast(&rounds, 0, 1, 1).unwrap();
    let logs = ratios.map(f64::ln);
    let middle = logs.iter().sum::<f64>() / 5.0;
    let squares: f64 = logs.iter().map(|x| (x - middle).powi(2)).sum();
    let expected = 3.298 * (squares / 4.0).sqrt() / 5.0_f64.sqrt();
    assert!((found.log - middle).abs() < 1e-12);
    assert!(
        (found.half_width.unwrap() - expected).abs() < 1e-4,
        "{found:?} {expected}"
    );
    let corrected = contrast(&rounds, 0, 1, 10).unwrap();
    assert!(corrected.half_width > found.half_width && corrected.log == found.log);
    let back = contrast(&rounds, 1, 0, 1).unwrap();
    assert!((back.log + found.log).abs() < 1e-12);
    assert_eq!(contrast(&rounds[..1], 0, 1, 1).unwrap().half_width, None);
    assert_eq!(contrast(&rounds, 0, 2, 1), None);
}

#[test]
fn within_a_place_turns_count_and_between_places_times() {
    let beside = |log_ms: f64, base: usize, log: f64| {
        Some(Reading {
            log_ms,
            beside: Some((base, log)),
        })
    };
    // Entry 0 is the base of 1; entry 2 is elsewhere. The pace of the round is in times, and not in turns.
    let round = vec![beside(1.0, 0, 0.0), beside(1.9, 0, 0.7), alone(3.0)];
    assert_eq!(difference(&round, 1, 0), Some(0.7));
    assert_eq!(difference(&round, 2, 0), Some(2.0));
    // By the base's time and the turns, and not by the time of a session of its own.
    assert!((difference(&round, 2, 1).unwrap() - 1.3).abs() < 1e-12);
    let (ms, _) = level(std::slice::from_ref(&round), 1).unwrap();
    assert!((ms.ln() - 1.7).abs() < 1e-12);
    // What took turns with different ones is compared by times.
    let mixed = vec![beside(1.0, 0, 0.0), alone(1.5), None];
    assert_eq!(difference(&mixed, 1, 0), Some(0.5));
    assert_eq!(difference(&mixed, 1, 2), None);
}

fn draw_rounds(count: usize, spread: &[f64], rng: &mut Rng) -> Vec<Round> {
    let mut round = || {
        let reading = |sd: &f64| alone(1.0 + sd * standard_normal(rng));
        spread.iter().map(reading).collect()
    };
    (0..count).map(|_| round()).collect()
}

/// Rounds end as a run ends them.
fn rounds_of_a_run(spread: &[f64], wanted: f64, most: usize, rng: &mut Rng) -> Vec<Round> {
    let entries: Vec<usize> = (0..spread.len()).collect();
    let all = draw_rounds(most, spread, rng);
    let enough = |n: &usize| precision(&all[..*n], &entries).is_some_and(|p| p <= wanted);
    let ended = (FEWEST_ROUNDS.min(most)..most).find(enough).unwrap_or(most);
    all[..ended].to_vec()
}

/// Networks that take equally long are told to differ in no more than 5 % of the runs, although runs end when intervals
/// are narrow, and although the fastest is chosen by looking.
#[test]
fn what_is_the_same_seldom_differs_wherever_rounds_end() {
    let mut rng = Seed(11).rng();
    for (spread, wanted, most) in [
        (vec![0.01; 2], 0.02, 30),
        (vec![0.02; 2], 0.02, 30),
        (vec![0.03; 2], 0.02, 30),
        (vec![0.02; 2], 1e-9, 4),
        (vec![0.02; 4], 0.03, 30),
        (vec![0.005, 0.03, 0.03], 0.02, 30),
    ] {
        let entries: Vec<usize> = (0..spread.len()).collect();
        let mut differs = |_: &i32| {
            let rounds = rounds_of_a_run(&spread, wanted, most, &mut rng);
            let best = fastest(&rounds, &entries).unwrap();
            entries.iter().any(|&entry| {
                let told = contrast(&rounds, entry, best, comparisons(entries.len())).unwrap();
                entry != best && told.log > told.half_width.unwrap()
            })
        };
        let found = (0..2_000).filter(&mut differs).count();
        // 5 % and twice the standard error of 2000 runs.
        assert!(found <= 120, "{found} of 2000: {spread:?} {wanted} {most}");
    }
}

#[test]
fn a_level_says_where_the_next_session_lies() {
    let mut rng = Seed(5).rng();
    let mut missed = 0;
    for _ in 0..2_000 {
        let rounds = draw_rounds(8, &[0.1], &mut rng);
        let (middle, interval) = level(&rounds[..7], 0).unwrap();
        let (low, high) = interval.unwrap();
        let next = rounds[7][0].unwrap().log_ms.exp();
        assert!(low < middle && middle < high);
        missed += usize::from(next < low || next > high);
    }
    assert!((60..140).contains(&missed), "{missed} of 2000");
    assert_eq!(level(&[vec![None]], 0), None);
    let once = level(&[vec![alone(1.0)]], 0).unwrap();
    assert_eq!(once.1, None);
}

#[test]
fn the_precision_is_that_of_the_widest_interval() {
    let mut rng = Seed(3).rng();
    let rounds = draw_rounds(12, &[0.01, 0.01, 0.2], &mut rng);
    let all = precision(&rounds, &[0, 1, 2]).unwrap();
    let two = precision(&rounds, &[0, 1]).unwrap();
    assert!(two < 0.03 && all > 0.1, "{two} {all}");
    assert_eq!(precision(&rounds, &[0]), Some(0.0));
    assert_eq!(precision(&rounds[..1], &[0, 1]), None);
    assert_eq!(precision(&[], &[]), None);
}
