//! What holds in every space: the built-in ones and one with everything that a file can say.

use std::collections::{BTreeSet, HashSet};

use num_bigint::BigUint;
use proptest::prelude::*;

use super::{Architecture, DesignSpace, Placement};
use crate::network::{CostTable, Op, cost};
use crate::seed::Seed;

/// Mixed kinds, widths that change, a unit that can be empty, lists that differ by layer.
const MIXED: &str = include_str!("../../tests/spaces/mixed.toml");

/// Every space that properties are tested on.
pub(crate) fn test_spaces() -> Vec<DesignSpace> {
    let builtin = DesignSpace::builtin_names().map(|name| DesignSpace::builtin(name, None));
    let mixed = DesignSpace::from_toml("mixed.toml", MIXED, None);
    let spaces = builtin.chain([mixed]).collect::<Result<_, _>>();
    spaces.unwrap()
}

/// A space with what mobile networks do not have.
pub(crate) fn classic_space() -> DesignSpace {
    let text = include_str!("../../tests/spaces/classic.toml");
    DesignSpace::from_toml("classic.toml", text, None).unwrap()
}

fn any_space() -> impl Strategy<Value = DesignSpace> {
    proptest::sample::select(test_spaces())
}

fn arch_of(space: &DesignSpace, seed: u64) -> Architecture {
    let resolutions = space.resolutions();
    let resolution = resolutions[usize::try_from(seed % 1009).unwrap() % resolutions.len()];
    space.sample(resolution, &mut Seed(seed).rng()).unwrap()
}

/// How many choices differ, where only one unit (or the resolution) may.
fn units_that_differ(a: &Architecture, b: &Architecture) -> usize {
    a.units().zip(b.units()).filter(|(a, b)| a != b).count()
}

proptest! {
    #[test]
    fn text_and_choices_round_trip(space in any_space(), seed: u64) {
        let arch = arch_of(&space, seed);
        prop_assert_eq!(&space.parse(&space.print(&arch)).unwrap(), &arch);
        prop_assert_eq!(&space.architecture(arch.resolution(), &arch.choices()).unwrap(), &arch);
    }

    #[test]
    fn full_names_are_read_too(space in any_space(), seed: u64) {
        let arch = arch_of(&space, seed);
        let mut text = format!("r{}", arch.resolution());
        for (u, choice) in arch.units().enumerate() {
            let names = choice.blocks.iter().enumerate().map(|(layer, id)| {
                space.block(Placement { unit: u, layer }, *id).to_string()
            });
            let names: Vec<String> = names.collect();
            let names = if names.is_empty() { "-".to_owned() } else { names.join(",") };
            let widths = space.units()[u].widths();
            let width = match widths.len() {
                0 | 1 => String::new(),
                _ => format!("c{}:", widths[usize::from(choice.width)].channels),
            };
            text += &format!("/{width}{names}");
        }
        prop_assert_eq!(space.parse(&text).unwrap(), arch);
    }

    #[test]
    fn any_text_is_an_error_or_prints_back(
        space in any_space(),
        text in "(r[0-9]{0,3})?(/?(c[0-9]{1,4}:)?(-|((e[0-9.]{1,3})?(k[0-9])?|skip|conv_k[13](_skip)?),?){0,4}){0,7}",
    ) {
        if let Ok(arch) = space.parse(&text) {
            prop_assert_eq!(space.parse(&space.print(&arch)).unwrap(), arch);
        }
    }

    #[test]
    fn conditional_samples_hold_what_was_asked(space in any_space(), seed: u64) {
        let placements: Vec<Placement> = space.placements().collect();
        let pick = |n: usize, salt: u64| usize::try_from(Seed(seed).index(salt).0 % n as u64).unwrap();
        let placement = placements[pick(placements.len(), 0)];
        let block = u8::try_from(pick(space.blocks(placement).len(), 1)).unwrap();
        let width = u8::try_from(pick(space.units()[placement.unit].width_choices(), 2)).unwrap();
        let resolution = space.default_resolution();
        let mut rng = Seed(seed).rng();
        let arch = space.sample_with(resolution, placement, block, &mut rng).unwrap();
        prop_assert_eq!(arch.block_at(placement), Some(block));
        let arch = space.sample_with_width(resolution, placement.unit, width, &mut rng).unwrap();
        prop_assert_eq!(arch.unit(placement.unit).width, width);
    }

    #[test]
    fn mutants_are_neighbours(space in any_space(), seed: u64) {
        let arch = arch_of(&space, seed);
        let resolutions = &space.resolutions()[..2];
        let mutant = space.mutate(&arch, resolutions, &mut Seed(seed).rng()).unwrap();
        prop_assert_ne!(&mutant, &arch);
        let neighbours = space.neighbours(&arch, resolutions);
        prop_assert!(neighbours.contains(&mutant));
        let unique: BTreeSet<&Architecture> = neighbours.iter().collect();
        prop_assert_eq!(unique.len(), neighbours.len());
        for neighbour in &neighbours {
            prop_assert!(space.architecture(neighbour.resolution(), &neighbour.choices()).is_ok());
            let elsewhere = usize::from(neighbour.resolution() != arch.resolution());
            prop_assert_eq!(units_that_differ(&arch, neighbour) + elsewhere, 1);
            // Every change can be taken back.
            let all = [arch.resolution(), resolutions[0], resolutions[1]];
            prop_assert!(space.neighbours(neighbour, &all).contains(&arch));
        }
    }

    #[test]
    fn children_have_units_of_their_parents(space in any_space(), seeds: (u64, u64, u64)) {
        let (a, b) = (arch_of(&space, seeds.0), arch_of(&space, seeds.1));
        let child = space.crossover(&a, &b, &mut Seed(seeds.2).rng());
        prop_assert!(space.architecture(child.resolution(), &child.choices()).is_ok());
        for ((c, a), b) in child.units().zip(a.units()).zip(b.units()) {
            prop_assert!(c == a || c == b);
        }
    }

    #[test]
    fn encodings_tell_architectures_apart(space in any_space(), seeds: (u64, u64)) {
        let (a, b) = (arch_of(&space, seeds.0), arch_of(&space, seeds.1));
        let encoding = space.encoding();
        let (x, y) = (encoding.encode(&a), encoding.encode(&b));
        prop_assert_eq!(x.len(), encoding.len());
        prop_assert_eq!(x == y, a == b);
        let names = encoding.names();
        prop_assert!(names.iter().all(|name| !name.is_empty()));
        prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}

#[test]
fn enumeration_lists_every_architecture_once() {
    let text = MIXED
        .replace("[1, 3]", "[1, 2]")
        .replace("[2, 3]", "[1, 2]");
    let space = DesignSpace::from_toml("small.toml", &text, None).unwrap();
    // Unit 1: 8 or 8 x 8, 3 widths; unit 2: nothing, 2 or 2 x 3; unit 3: 4 or 4 x 4, 2 widths.
    let expected: usize = (8 + 64) * 3 * (1 + 2 + 6) * (4 + 16) * 2;
    assert_eq!(
        space.count_per_resolution(),
        BigUint::from(u32::try_from(expected).unwrap())
    );
    let all: HashSet<Architecture> = space.enumerate(64).unwrap().collect();
    assert_eq!(all.len(), expected);
    assert_eq!(space.enumerate(64).unwrap().count(), expected);
    for seed in 0..200 {
        let arch = space.sample(64, &mut Seed(seed).rng()).unwrap();
        assert!(all.contains(&arch));
    }
    assert!(space.enumerate(65).is_err());
}

/// Everything that mutation can reach from one architecture is the whole space.
#[test]
fn neighbours_connect_the_space() {
    let text = MIXED
        .replace("[1, 3]", "[1, 2]")
        .replace("[2, 3]", "1")
        .replace("mbconv_e{1,4}_k{3,5}_se0.25", "mbconv_e4_k3");
    let space = DesignSpace::from_toml("small.toml", &text, None).unwrap();
    let mut seen = HashSet::from([space.smallest(64).unwrap()]);
    let mut front: Vec<Architecture> = seen.iter().cloned().collect();
    while let Some(arch) = front.pop() {
        for neighbour in space.neighbours(&arch, &[]) {
            if seen.insert(neighbour.clone()) {
                front.push(neighbour);
            }
        }
    }
    assert_eq!(BigUint::from(seen.len()), space.count_per_resolution());
}

#[test]
fn a_space_without_choices_cannot_be_mutated() {
    let text = r#"
format = 2
name = "fixed"
resolutions = [32]
head = ["pool", "classifier"]
[[unit]]
channels = 8
depth = 2
blocks = ["conv_k3"]
"#;
    let space = DesignSpace::from_toml("fixed.toml", text, None).unwrap();
    let only = space.smallest(32).unwrap();
    assert_eq!(space.mutate(&only, &[32], &mut Seed(0).rng()), None);
    assert!(space.neighbours(&only, &[32]).is_empty());
    assert_eq!(space.enumerate(32).unwrap().count(), 1);
    assert_eq!(space.encoding().len(), 0);
}

/// As [`blocks_of_ones_own_add_their_input_once`], in stem, `before` and head; those that keep their channels need not
/// say how many there are.
#[test]
fn blocks_of_ones_own_stand_in_stem_and_head() {
    let text = r#"
format = 2
name = "own"
classes = 7
widths = [0.5, 1.0]
default-width = 1.0
resolutions = [64, 96]
stem = ["ghost_s2_c20", "my_pool_s2"]
head = ["ghost_c36_nowidth", "pool", "classifier"]
block.my_pool = { onnx = "pool.onnx", in-channels = 11, stride = 2 }
[[unit]]
before = ["my_pool"]
channels = 24
width-choices = [0.5, 1.0]
depth = [1, 2]
blocks = [["ghost", "conv_k1"], ["my_pool", "skip"]]
[block.ghost]
onnx = "ghost.onnx"
in-channels = 10
out-channels = 14
stride = 2
sizes = { 20 = "2 * in", 40 = "4 * in", 7 = "out / 2" }
"#;
    let read = |text: &str, width| {
        let mut source = super::SpaceSource::text(text);
        let ghost = include_bytes!("../../../../examples/ghost/ghost.onnx").to_vec();
        let pool = include_bytes!("../../tests/golden/fragments/pool-kept.onnx").to_vec();
        source.files.insert("ghost.onnx".to_owned(), ghost);
        source.files.insert("pool.onnx".to_owned(), pool);
        DesignSpace::read("own.toml", &source, width)
    };
    for (width, stem, head) in [(1.0, 20, 36), (0.5, 16, 36)] {
        let space = read(text, Some(width)).unwrap();
        let arch = space.smallest(64).unwrap();
        let network = space.network(&arch);
        let own = network.nodes().iter().filter_map(|node| match &node.op {
            Op::Fragment(_) => Some(node.output.channels),
            _ => None,
        });
        let own: Vec<u32> = own.collect();
        assert_eq!([own[0], own[1], own[2]], [stem; 3], "{width}");
        assert_eq!(own.last(), Some(&head));
        for seed in 0..20 {
            let arch = space.sample(96, &mut Seed(seed).rng()).unwrap();
            let table = CostTable::new(&space, 96).unwrap();
            assert_eq!(table.cost(&arch), cost(&space.network(&arch)));
        }
    }
    let refused = |old: &str, new: &str| {
        let error = read(&text.replacen(old, new, 1), None).unwrap_err();
        error.to_string()
    };
    for (old, new, needle) in [
        ("ghost_s2_c20", "ghost_s2", "how many channels come out"),
        (
            "ghost_s2_c20",
            "ghost_k3_c20",
            "`k3` means nothing to a block of your own",
        ),
        (
            "ghost_s2_c20",
            "ghst_s2_c20",
            "the file's own blocks are ghost, my_pool",
        ),
        (
            "my_pool_s2",
            "my_pool_c30",
            "stem, layer 2: block `my_pool` (pool.onnx)",
        ),
        (
            "\"conv_k1\"",
            "\"my_pool\"",
            "unit 1, layer 1: block `my_pool` (pool.onnx)",
        ),
        (
            "ghost_c36_nowidth",
            "skip_c36",
            "head, layer 1: `skip` cannot stand",
        ),
    ] {
        assert!(
            refused(old, new).contains(needle),
            "{new}: {}",
            refused(old, new)
        );
    }
}

#[test]
fn short_codes_are_used_only_where_they_tell_blocks_apart() {
    let space = test_spaces().pop().unwrap();
    let arch = space
        .parse("r64/c16:e1k3,mbconv3_e4_k3_se0.25/skip/c40:e0.5k3,k5")
        .unwrap_err();
    assert!(arch.to_string().contains("unit 1, layer 1: e1k3"), "{arch}");
    let text = "r64/c16:e1k5,mbconv3_e4_k3_se0.25/skip/c40:e0.5k3,e0.25k5";
    let arch = space.parse(text).unwrap();
    assert_eq!(space.print(&arch), text);
}

/// A block of the user's own is one operator: the sum that its file declares with `skip` is inside it.
#[test]
fn blocks_of_ones_own_add_their_input_once() {
    let mut source =
        super::SpaceSource::text(include_str!("../../../../examples/ghost/space.toml"));
    let bytes = include_bytes!("../../../../examples/ghost/ghost.onnx").to_vec();
    source.files.insert("ghost.onnx".to_owned(), bytes);
    let space = DesignSpace::read("ghost.toml", &source, None).unwrap();
    let arch = space.parse("r96/ghost,ghost/ghost,ghost,ghost").unwrap();
    let network = space.network(&arch);
    let count = |wanted: fn(&Op) -> bool| network.nodes().iter().filter(|n| wanted(&n.op)).count();
    assert_eq!(count(|op| matches!(op, Op::Fragment(_))), 5);
    assert_eq!(count(|op| matches!(op, Op::Add)), 0);
    let table = CostTable::new(&space, 96).unwrap();
    for seed in 0..30 {
        let arch = space.sample(96, &mut Seed(seed).rng()).unwrap();
        assert_eq!(table.cost(&arch), cost(&space.network(&arch)));
    }
}
