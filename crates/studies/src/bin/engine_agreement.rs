//! Compares what `ort` and `tract` compute on random networks of both widths, and how long they take.
//!
//! ```text
//! cargo run --release -p blocklens-studies --bin engine_agreement -- [networks per width] [resolution] [seed]
//! ```
//!
//! Prints, for each width, the worst difference of the logits relative to the largest of them; then, for
//! the first few networks, the time to prepare and the median of 25 inferences on one pinned thread.

use std::error::Error;
use std::time::{Duration, Instant};

use blocklens_core::network::{Network, Weights, cost};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_measure::engine::{self, Artefact, Engine, EngineOptions, Session, host};

/// Networks of each width that are timed.
const TIMED: u64 = 4;
/// Inferences before those that count.
const WARM_UP: usize = 10;
/// Inferences that count.
const SAMPLES: usize = 25;

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let count = args.next().transpose()?.unwrap_or(50);
    let resolution = u32::try_from(args.next().transpose()?.unwrap_or(160))?;
    let seed = Seed(args.next().transpose()?.unwrap_or(1));
    let engines = [engine::by_name("ort")?, engine::by_name("tract")?];
    for engine in &engines {
        println!("{}: {:?}", engine.name(), engine.availability());
    }
    println!("pinned: {:?}", host::pin(1));
    for width in [1.0, 1.2] {
        let space = DesignSpace::builtin("ofa-mbv3", Some(width))?;
        let network = |i| -> Fallible<Network> {
            Ok(space.network(&space.sample(resolution, &mut seed.index(i).rng())?))
        };
        let worst = worst_difference(&engines, (0..count).map(network), seed)?;
        println!(
            "width {width}, r{resolution}: {count} networks, worst relative difference {worst:.2e}"
        );
        for i in 0..count.min(TIMED) {
            time(&engines, &network(i)?, seed)?;
        }
    }
    Ok(())
}

fn worst_difference(
    engines: &[Box<dyn Engine>; 2],
    networks: impl Iterator<Item = Fallible<Network>>,
    seed: Seed,
) -> Fallible<f32> {
    let mut worst = 0.0_f32;
    for (i, network) in (0..).zip(networks) {
        let network = network?;
        let input = engine::input(&network, seed.index(i));
        let [mut a, mut b] = prepare(engines, &network, seed.index(i))?;
        let (a, b) = (a.session.infer(&input)?, b.session.infer(&input)?);
        let scale = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let difference = a
            .iter()
            .zip(&b)
            .fold(0.0_f32, |m, (x, y)| m.max((x - y).abs()));
        worst = worst.max(difference / scale);
    }
    Ok(worst)
}

struct Prepared {
    session: Box<dyn Session>,
    took: Duration,
}

fn prepare(
    engines: &[Box<dyn Engine>; 2],
    network: &Network,
    seed: Seed,
) -> Fallible<[Prepared; 2]> {
    let weights = Weights::random(network, seed);
    let model = Artefact::Network {
        network,
        weights: &weights,
    };
    let one = |engine: &dyn Engine| -> Fallible<Prepared> {
        let start = Instant::now();
        let session = engine.prepare(&model, &EngineOptions::new(seed))?;
        Ok(Prepared {
            session,
            took: start.elapsed(),
        })
    };
    Ok([one(engines[0].as_ref())?, one(engines[1].as_ref())?])
}

fn time(engines: &[Box<dyn Engine>; 2], network: &Network, seed: Seed) -> Fallible<()> {
    print!("  {}:", cost(network).macs);
    for (engine, mut prepared) in engines.iter().zip(prepare(engines, network, seed)?) {
        for _ in 0..WARM_UP {
            prepared.session.run()?;
        }
        let mut times = (0..SAMPLES)
            .map(|_| Ok(prepared.session.run()?.wall))
            .collect::<Fallible<Vec<_>>>()?;
        times.sort_unstable();
        print!(
            "  {} {:.2} ms (least {:.2}, prepared in {:.0} ms)",
            engine.name(),
            times[SAMPLES / 2].as_secs_f64() * 1e3,
            times[0].as_secs_f64() * 1e3,
            prepared.took.as_secs_f64() * 1e3
        );
    }
    println!();
    Ok(())
}
