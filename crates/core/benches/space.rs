//! How fast architectures are drawn, costed, varied, printed and read.
//!
//! `cargo bench -p blocklens-core --bench space`; the same for the `ofa` package:
//! `python crates/core/tests/golden/ofa_costs.py --speed`. `tools/compare_speed.sh` runs both, one after the
//! other, and prints the ratios.

use blocklens_core::network::{CostTable, cost};
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const SPACES: [&str; 3] = ["ofa-mbv3", "ofa-proxyless", "ofa-resnet50"];
const RESOLUTION: u32 = 224;
/// Architectures per iteration, so that the clock is read rarely.
const BATCH: usize = 1000;

fn main() {
    divan::main();
}

fn setup(name: &str) -> (DesignSpace, Rng) {
    let space = DesignSpace::builtin(name, None).expect("a built-in space");
    (space, Seed(1).rng())
}

fn draw(space: &DesignSpace, rng: &mut Rng) -> Architecture {
    space
        .sample(RESOLUTION, rng)
        .expect("a resolution of the space")
}

fn draws(space: &DesignSpace, rng: &mut Rng) -> Vec<Architecture> {
    (0..BATCH).map(|_| draw(space, rng)).collect()
}

/// Random architectures.
#[divan::bench(args = SPACES)]
fn sample(bencher: Bencher<'_, '_>, name: &str) {
    let (space, mut rng) = setup(name);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| draws(black_box(&space), &mut rng));
}

/// Costs of given architectures, from the table.
#[divan::bench(args = SPACES)]
fn table_cost(bencher: Bencher<'_, '_>, name: &str) {
    let (space, mut rng) = setup(name);
    let table = CostTable::new(&space, RESOLUTION).expect("a resolution of the space");
    let archs = draws(&space, &mut rng);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| archs.iter().map(|a| table.cost(a).macs.0).sum::<u64>());
}

/// Making the table.
#[divan::bench(args = SPACES)]
fn make_table(bencher: Bencher<'_, '_>, name: &str) {
    let (space, _) = setup(name);
    bencher.bench_local(|| CostTable::new(black_box(&space), RESOLUTION));
}

/// Network and costs of a given architecture, operator by operator.
#[divan::bench(args = SPACES)]
fn network_and_cost(bencher: Bencher<'_, '_>, name: &str) {
    let (space, mut rng) = setup(name);
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| draw(&space, &mut rng))
        .bench_local_refs(|arch| cost(&space.network(arch)));
}

/// A random change to a given architecture.
#[divan::bench(args = SPACES)]
fn mutate(bencher: Bencher<'_, '_>, name: &str) {
    let (space, mut rng) = setup(name);
    let mut arch = draw(&space, &mut rng);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        if let Some(changed) = space.mutate(&arch, &[], &mut rng) {
            arch = changed;
        }
    });
}

/// The text form of an architecture.
#[divan::bench(args = SPACES)]
fn print(bencher: Bencher<'_, '_>, name: &str) {
    let (space, mut rng) = setup(name);
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| draw(&space, &mut rng))
        .bench_local_refs(|arch| space.print(arch));
}

/// Reading the text form, checks included.
#[divan::bench(args = SPACES)]
fn parse(bencher: Bencher<'_, '_>, name: &str) {
    let (space, mut rng) = setup(name);
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| space.print(&draw(&space, &mut rng)))
        .bench_local_refs(|text| space.parse(text));
}
