//! How long a subnet's evaluation takes, for `tools/compare_supernet_speed.py`, which asks for it between other
//! programs' turns.
//!
//!     supernet_speed CHECKPOINT IMAGES CLASSES ENGINE THREADS CALIBRATE ARCH
//!
//! Decodes all images once, evaluates the subnet once, prints `ready` and the class of every image that it names; then,
//! for every line on standard input, evaluates it again from its slice to its logits and prints the seconds that this
//! took.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use blocklens_core::checkpoint::Checkpoint;
use blocklens_core::network::Pooling;
use blocklens_core::space::DesignSpace;
use blocklens_measure::supernet::{Calibration, Options, Split, Supernet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [
        checkpoint,
        images,
        classes,
        engine,
        threads,
        calibrate,
        arch,
    ] = &arguments[..]
    else {
        return Err(
            "seven arguments: CHECKPOINT IMAGES CLASSES ENGINE THREADS CALIBRATE ARCH".into(),
        );
    };
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.2))?;
    let arch = space.from_ofa(&serde_json::from_str(arch)?)?;
    let weights = Checkpoint::read(checkpoint, &std::fs::read(checkpoint)?)?;
    let options = Options {
        images: images.into(),
        classes: Some(classes.into()),
        split: Split::All,
        limit: None,
        calibration: Calibration {
            images: Some(calibrate.parse()?),
            batch: 32,
            pooling: Pooling::Total,
            folder: Some(Path::new(images).to_owned()),
        },
        seed: 1,
        skip_broken: false,
        engine: Some(engine.clone()),
        threads: threads.parse()?,
        cache: None,
        interrupted: Arc::new(AtomicBool::new(false)),
    };
    let supernet = Supernet::open(&space, weights, checkpoint, "", options)?;
    let logits = supernet.logits(&arch)?;
    let class = |row: &[f32]| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().position(|x| *x == largest).unwrap_or(0)
    };
    let named: Vec<(&str, usize)> = logits
        .iter()
        .map(|(name, row)| (&**name, class(row)))
        .collect();
    println!("ready {}", serde_json::to_string(&named)?);
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        supernet.logits(&arch)?;
        println!("{}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
