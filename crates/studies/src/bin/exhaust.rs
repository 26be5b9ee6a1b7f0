//! The best front that can be found when evaluations cost nothing: what a search with a budget is measured by.
//!
//! ```text
//! cargo run --release -p blocklens-studies --bin exhaust -- acc_predictor.pth note10/224_lookup_table.yaml 224 78 65
//! ```
//!
//! OFA-MobileNetV3 at width 1.2 with a published accuracy predictor and a latency table, within a reference point in %
//! and ms. First climbs from random architectures to the best neighbour, for many weights of one metric against the
//! other; then Pareto local search (Paquete et al. 2004) from all that these came by, until no neighbour of the front
//! is better than it. Prints the hypervolume on the way, and after all the front.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::metric::Metric;
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::surrogate::{AccuracyPredictor, LookupLatency, LookupTable};

/// Weights of accuracy against latency, in % per ms: from more than any front is steep to less.
const WEIGHTS: usize = 600;
const STEEPEST: f64 = 2.0;
const FLATTEST: f64 = 0.002;
/// Random starts for every weight.
const STARTS: usize = 2;

struct Exhaust {
    space: DesignSpace,
    accuracy: AccuracyPredictor,
    latency: LookupLatency,
    resolution: u32,
    evaluated: u64,
    front: Front,
}

/// The front so far: latency to accuracy and architecture; both rise.
#[derive(Default)]
struct Front {
    /// Keys are bits of latencies, which are positive and sort like them.
    members: BTreeMap<u64, (f64, Architecture)>,
}

impl Front {
    /// Adds what nothing dominates, and drops what it dominates.
    fn offer(&mut self, arch: &Architecture, accuracy: f64, latency: f64) {
        let key = latency.to_bits();
        let below = self.members.range(..=key).next_back();
        if below.is_some_and(|(_, (best, _))| *best >= accuracy) {
            return;
        }
        let above = self.members.range(key..);
        let worse: Vec<u64> = above
            .take_while(|(_, (other, _))| *other <= accuracy)
            .map(|(key, _)| *key)
            .collect();
        for key in worse {
            self.members.remove(&key);
        }
        self.members.insert(key, (accuracy, arch.clone()));
    }

    fn volume(&self, least: f64, most: f64) -> f64 {
        let mut volume = 0.0;
        let mut level = least;
        for (key, (accuracy, _)) in &self.members {
            let latency = f64::from_bits(*key);
            if latency < most && *accuracy > level {
                volume += (most - latency) * (accuracy - level);
                level = *accuracy;
            }
        }
        volume
    }
}

impl Exhaust {
    /// Accuracies and latencies; all are offered to the front.
    fn evaluate(&mut self, archs: &[Architecture]) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
        self.evaluated += archs.len() as u64;
        let accuracies = self.accuracy.evaluate_many(archs);
        let mut values = Vec::with_capacity(archs.len());
        for (arch, accuracy) in archs.iter().zip(accuracies) {
            let (accuracy, latency) = (accuracy?, self.latency.evaluate(arch)?);
            self.front.offer(arch, accuracy, latency);
            values.push((accuracy, latency));
        }
        Ok(values)
    }

    /// To the best neighbour, as long as there is a better one.
    fn climb(&mut self, start: Architecture, weight: f64) -> Result<(), Box<dyn Error>> {
        let value = |(accuracy, latency): &(f64, f64)| accuracy - weight * latency;
        let mut best = value(&self.evaluate(std::slice::from_ref(&start))?[0]);
        let mut here = start;
        loop {
            let neighbours = self.space.neighbours(&here, &[self.resolution]);
            let values: Vec<f64> = self.evaluate(&neighbours)?.iter().map(value).collect();
            let next = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]));
            match next.filter(|next| values[*next] > best) {
                Some(next) => (here, best) = (neighbours[next].clone(), values[next]),
                None => return Ok(()),
            }
        }
    }

    /// Neighbours of all members of the front that were not looked at; false when there were none.
    fn sweep(&mut self, expanded: &mut HashSet<Architecture>) -> Result<bool, Box<dyn Error>> {
        let members = self.front.members.values().map(|(_, arch)| arch);
        let open = members.filter(|arch| !expanded.contains(*arch));
        let open: Vec<Architecture> = open.cloned().collect();
        for arch in &open {
            let neighbours = self.space.neighbours(arch, &[self.resolution]);
            self.evaluate(&neighbours)?;
            expanded.insert(arch.clone());
        }
        Ok(!open.is_empty())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [predictor, table, resolution, least, most] = args.as_slice() else {
        return Err("PREDICTOR.pth TABLE.yaml RESOLUTION LEAST-ACCURACY MOST-LATENCY".into());
    };
    let (least, most): (f64, f64) = (least.parse()?, most.parse()?);
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.2))?;
    let checkpoint = Checkpoint::read(predictor, &std::fs::read(predictor)?)?;
    let table = LookupTable::read(table, &std::fs::read_to_string(table)?)?;
    let mut exhaust = Exhaust {
        accuracy: AccuracyPredictor::new("accuracy", &space, &checkpoint)?,
        latency: LookupLatency::new("latency", &space, &[table])?,
        space,
        resolution: resolution.parse()?,
        evaluated: 0,
        front: Front::default(),
    };
    let mut rng = Seed(1).stream("exhaust").rng();
    for number in 0..WEIGHTS {
        let share = number as f64 / (WEIGHTS - 1) as f64;
        let weight = STEEPEST * (FLATTEST / STEEPEST).powf(share);
        for _ in 0..STARTS {
            let start = exhaust.space.sample(exhaust.resolution, &mut rng)?;
            exhaust.climb(start, weight)?;
        }
    }
    let tell = |exhaust: &Exhaust, when: &str| {
        let volume = exhaust.front.volume(least, most);
        let (size, evaluated) = (exhaust.front.members.len(), exhaust.evaluated);
        eprintln!("{when}: hypervolume {volume:.3}, {size} on the front, {evaluated} evaluations");
    };
    tell(&exhaust, "climbs");
    let mut expanded = HashSet::new();
    while exhaust.sweep(&mut expanded)? {
        tell(&exhaust, "sweep");
    }
    for (key, (accuracy, arch)) in &exhaust.front.members {
        println!(
            "{},{accuracy},{}",
            f64::from_bits(*key),
            exhaust.space.print(arch)
        );
    }
    Ok(())
}
