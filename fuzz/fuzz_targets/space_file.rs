//! Space files: any text is an error, or a space whose architectures print, parse and cost.
#![no_main]

use blocklens_core::network::{CostTable, cost};
use blocklens_core::seed::Seed;
use blocklens_core::space::DesignSpace;
use libfuzzer_sys::fuzz_target;

/// Larger spaces are legal, but take longer than a fuzzing run has for one input.
const MOST_COMBINATIONS: usize = 400;

fuzz_target!(|text: &str| {
    let Ok(space) = DesignSpace::from_toml("fuzz.toml", text, None) else {
        return;
    };
    if space.combinations() > MOST_COMBINATIONS {
        return;
    }
    let resolution = space.default_resolution();
    let arch = space.sample(resolution, &mut Seed(1).rng()).expect("its own resolution");
    assert_eq!(space.parse(&space.print(&arch)).as_ref(), Ok(&arch));
    let network = space.network(&arch);
    let widths: usize = space.units().iter().map(|unit| unit.width_choices()).max().unwrap_or(1);
    if widths <= 4 {
        let table = CostTable::new(&space, resolution).expect("its own resolution");
        assert_eq!(table.cost(&arch), cost(&network));
    }
    if let Some(mutant) = space.mutate(&arch, space.resolutions(), &mut Seed(2).rng()) {
        assert_eq!(space.architecture(mutant.resolution(), &mutant.choices()), Ok(mutant));
    }
    let _ = space.count().to_string();
});
