//! Fronts and what compares them, for other programs: a JSON object a line comes in, one goes out.
//!
//! In: `{"d": "lh", "a": [[1, 2], ...], "b": [...], "r": [9, 0]}` (directions, two sets, a reference point). Out:
//! `{"ranks": [...], "hv": 12.5, "eps": 0.5}`. With `--speed N`: ranks of N random points of two objectives, timed.
//! `tools/check_fronts.py` compares with moocore and pymoo.

use std::io::BufRead as _;
use std::time::Instant;

use blocklens_core::metric::Direction;
use blocklens_core::search::front::Points;
use blocklens_core::seed::Seed;
use rand::RngExt;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Case {
    d: String,
    a: Vec<Vec<f64>>,
    b: Vec<Vec<f64>>,
    r: Vec<f64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, count] = args.as_slice()
        && flag == "--speed"
    {
        speed(count.parse()?)?;
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let direction = |letter| match letter {
            'h' => Direction::HigherIsBetter,
            _ => Direction::LowerIsBetter,
        };
        let directions: Vec<Direction> = case.d.chars().map(direction).collect();
        let a = Points::of(&directions, case.a.iter().map(Vec::as_slice))?;
        let b = Points::of(&directions, case.b.iter().map(Vec::as_slice))?;
        let answer = json!({
            "ranks": a.ranks(),
            "hv": a.hypervolume(&case.r)?,
            "eps": a.additive_epsilon(&b),
        });
        println!("{answer}");
    }
    Ok(())
}

fn speed(count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut rng = Seed(1).rng();
    let mut points = Points::new(&[Direction::LowerIsBetter, Direction::HigherIsBetter]);
    for _ in 0..count {
        points.push(&[rng.random(), rng.random()])?;
    }
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let begin = Instant::now();
            let ranks = points.ranks();
            assert_eq!(ranks.len(), count);
            begin.elapsed().as_secs_f64()
        })
        .collect();
    println!("{}", json!({ "points": count, "seconds": times }));
    Ok(())
}
