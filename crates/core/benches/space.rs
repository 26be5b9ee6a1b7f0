//! How fast architectures are drawn, costed, printed and read.
//!
//! `cargo bench -p blocklens-core --bench space`; the same for the `ofa` package:
//! `python crates/core/tests/golden/ofa_mbv3_costs.py --speed`.

use blocklens_core::network::cost;
use blocklens_core::seed::{Rng, Seed};
use blocklens_core::space::{Architecture, DesignSpace};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const RESOLUTION: u32 = 224;

fn main() {
    divan::main();
}

fn setup() -> (DesignSpace, Rng) {
    let space = DesignSpace::builtin("ofa-mbv3", Some(1.2)).expect("a built-in space");
    (space, Seed(1).rng())
}

fn draw(space: &DesignSpace, rng: &mut Rng) -> Architecture {
    space
        .sample(RESOLUTION, rng)
        .expect("a resolution of the space")
}

/// One random architecture.
#[divan::bench]
fn sample(bencher: Bencher<'_, '_>) {
    let (space, mut rng) = setup();
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| draw(black_box(&space), &mut rng));
}

/// Network and costs of a given architecture.
#[divan::bench]
fn network_and_cost(bencher: Bencher<'_, '_>) {
    let (space, mut rng) = setup();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| draw(&space, &mut rng))
        .bench_local_refs(|arch| cost(&space.network(arch)));
}

/// What a search pays per candidate: draw, build, count.
#[divan::bench]
fn sample_network_and_cost(bencher: Bencher<'_, '_>) {
    let (space, mut rng) = setup();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        let arch = draw(black_box(&space), &mut rng);
        cost(&space.network(&arch))
    });
}

/// The text form of an architecture.
#[divan::bench]
fn print(bencher: Bencher<'_, '_>) {
    let (space, mut rng) = setup();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| draw(&space, &mut rng))
        .bench_local_refs(|arch| space.print(arch));
}

/// Reading the text form, checks included.
#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let (space, mut rng) = setup();
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| space.print(&draw(&space, &mut rng)))
        .bench_local_refs(|text| space.parse(text));
}
