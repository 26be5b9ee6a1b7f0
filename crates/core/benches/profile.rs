//! How long a pooled fit takes, by number of measurements, and choosing what to measure next.
//!
//! `cargo bench -p blocklens-core --bench profile`; the peak memory of a fit is that of the program which this builds
//! and names: `/usr/bin/time -v target/release/deps/profile-HASH --bench --sample-count 1 'fit.*100000$'`.

use blocklens_core::metric::Metric;
use blocklens_core::profile::{Designed, Draw, Estimator, Observation, Pooled};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use blocklens_core::surrogate::{SimulatedDevice, SimulatedLatency};
use divan::{Bencher, black_box};

const RESOLUTION: u32 = 224;

fn main() {
    divan::main();
}

/// A noisy additive metric with interactions, so that no level of the structure is trivial.
fn observations(space: &DesignSpace, n: usize) -> Vec<Observation> {
    let metric = SimulatedLatency::new(
        space.clone(),
        SimulatedDevice {
            interaction: 0.3,
            ..SimulatedDevice::default()
        },
    );
    let observe = |index: usize| {
        let draw: Draw = Pooled
            .draw(space, RESOLUTION, Seed(1), index as u64)
            .expect("a resolution of the space");
        let noise = 1.0 + 0.02 * (index as f64 * 1.7).sin();
        let value = metric.evaluate(&draw.arch).expect("judges its own space") * noise;
        Observation { draw, value }
    };
    (0..n).map(observe).collect()
}

/// A fit with all its intervals.
#[divan::bench(args = [100, 1_000, 10_000, 100_000], sample_count = 5, sample_size = 1)]
fn fit(bencher: Bencher<'_, '_>, n: usize) {
    let space = DesignSpace::builtin("ofa-mbv3", None).expect("a built-in space");
    let observations = observations(&space, n);
    bencher.bench_local(|| Pooled.estimate(&space, black_box(&observations)));
}

/// The next architectures of a designed campaign, each the best of 256 candidates: 40 of them are the best of 10,240 in
/// all.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn choose_40_from_10_240(bencher: Bencher<'_, '_>) {
    let space = DesignSpace::builtin("ofa-mbv3", None).expect("a built-in space");
    bencher.bench_local(|| {
        let designed = Designed::default();
        designed.draw(&space, RESOLUTION, Seed(1), black_box(39))
    });
}
