//! How fast architectures of OFA-MobileNetV3 get an accuracy and a latency: a predictor of the published size and a
//! lookup table, with made-up numbers in them.
//!
//! `cargo bench -p blocklens-measure --bench evaluate`; `tools/check_metrics.py` times `blocklens evaluate` beside the
//! `ofa` package with the published files.

use std::sync::atomic::AtomicBool;

use blocklens_core::checkpoint::{Checkpoint, Tensor};
use blocklens_core::metric::Metric;
use blocklens_core::seed::Seed;
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::surrogate::{AccuracyPredictor, LookupLatency, LookupTable, layer_keys};
use blocklens_measure::evaluate::evaluate_all;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

/// Architectures per iteration.
const ARCHITECTURES: usize = 20_000;
const RESOLUTION: u32 = 224;
const HIDDEN: usize = 400;

fn main() {
    divan::main();
}

fn tensor(name: &str, shape: &[usize]) -> (String, Tensor) {
    let numbers = 0..shape.iter().product::<usize>();
    let values = numbers.map(|i| ((i * 37 % 101) as f32 / 101.0 - 0.5) / 10.0);
    let tensor = Tensor::new(shape.to_vec(), values.collect()).expect("as many values");
    (name.to_owned(), tensor)
}

fn predictor(space: &DesignSpace) -> Box<dyn Metric> {
    let checkpoint = Checkpoint::from_tensors([
        tensor("0.weight", &[HIDDEN, 128]),
        tensor("0.bias", &[HIDDEN]),
        tensor("2.weight", &[HIDDEN, HIDDEN]),
        tensor("2.bias", &[HIDDEN]),
        tensor("4.weight", &[HIDDEN, HIDDEN]),
        tensor("4.bias", &[HIDDEN]),
        tensor("6.weight", &[1, HIDDEN]),
        tensor("6.bias", &[1]),
    ]);
    let metric = AccuracyPredictor::new("accuracy@made-up", space, &checkpoint);
    Box::new(metric.expect("a predictor of this space"))
}

fn table(space: &DesignSpace, archs: &[Architecture]) -> Box<dyn Metric> {
    let keys = archs
        .iter()
        .take(2_000)
        .flat_map(|arch| layer_keys(space, arch));
    let entries = keys.flatten().map(|key| (key, 1.0));
    let table = LookupTable::new("made up", entries).expect("latencies");
    let metric = LookupLatency::new("latency@made-up", space, &[table]);
    Box::new(metric.expect("a table of this space"))
}

fn draws(space: &DesignSpace) -> Vec<Architecture> {
    let mut rng = Seed(1).rng();
    let draw = |_| {
        space
            .sample(RESOLUTION, &mut rng)
            .expect("a resolution of the space")
    };
    (0..ARCHITECTURES).map(draw).collect()
}

fn bench(
    bencher: Bencher<'_, '_>,
    threads: usize,
    choose: impl Fn(&DesignSpace, &[Architecture]) -> Vec<Box<dyn Metric>>,
) {
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.2)).expect("a built-in space");
    let archs = draws(&space);
    let metrics = choose(&space, &archs);
    let (never, ignore) = (AtomicBool::new(false), |_| {});
    bencher
        .counter(ItemsCount::new(ARCHITECTURES))
        .bench_local(|| evaluate_all(&metrics, black_box(&archs), threads, &never, &ignore));
}

/// The accuracy predictor alone, by threads.
#[divan::bench(args = [1, 2])]
fn accuracy(bencher: Bencher<'_, '_>, threads: usize) {
    bench(bencher, threads, |space, _| vec![predictor(space)]);
}

/// The lookup table alone, by threads.
#[divan::bench(args = [1, 2])]
fn latency(bencher: Bencher<'_, '_>, threads: usize) {
    bench(bencher, threads, |space, archs| vec![table(space, archs)]);
}

/// Both together, by threads.
#[divan::bench(args = [1, 2])]
fn accuracy_and_latency(bencher: Bencher<'_, '_>, threads: usize) {
    bench(bencher, threads, |space, archs| {
        vec![predictor(space), table(space, archs)]
    });
}
