//! What the choices of an architecture are to a predictor: inputs of its first layer that are 1.

use std::collections::BTreeMap;

use crate::space::{Architecture, Block, BlockId, DesignSpace, Placement, Ratio};

/// Something for every choice that a space leaves open: its resolution, and in every unit its width, its depth and
/// the blocks of its layers.
#[derive(Clone, Debug)]
pub(super) struct PerChoice<T> {
    resolutions: BTreeMap<u32, T>,
    units: Vec<UnitChoices<T>>,
}

#[derive(Clone, Debug)]
struct UnitChoices<T> {
    widths: Vec<T>,
    min_depth: usize,
    depths: Vec<T>,
    /// By layer and block.
    blocks: Vec<Vec<T>>,
}

impl<T> PerChoice<T> {
    /// The same choices with `f` of what stands at each.
    pub(super) fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> PerChoice<U> {
        let resolutions = self.resolutions.iter().map(|(r, t)| (*r, f(t))).collect();
        let mut unit = |u: &UnitChoices<T>| UnitChoices {
            widths: u.widths.iter().map(&mut f).collect(),
            min_depth: u.min_depth,
            depths: u.depths.iter().map(&mut f).collect(),
            blocks: u
                .blocks
                .iter()
                .map(|layer| layer.iter().map(&mut f).collect())
                .collect(),
        };
        let units = self.units.iter().map(&mut unit).collect();
        PerChoice { resolutions, units }
    }

    /// What stands at a resolution.
    pub(super) fn resolution(&self, resolution: u32) -> Option<&T> {
        self.resolutions.get(&resolution)
    }

    /// Calls `visit` with what stands at every choice of an architecture, but for its resolution.
    pub(super) fn each<'a>(&'a self, arch: &Architecture, mut visit: impl FnMut(&'a T)) {
        for (unit, choice) in self.units.iter().zip(arch.units()) {
            if let Some(width) = unit.widths.get(usize::from(choice.width)) {
                visit(width);
            }
            if let Some(depth) = unit.depths.get(choice.blocks.len() - unit.min_depth) {
                visit(depth);
            }
            for (layer, &block) in unit.blocks.iter().zip(choice.blocks) {
                visit(&layer[usize::from(block)]);
            }
        }
    }
}

/// Indices of the inputs that a choice sets to 1.
pub(super) type Ones = Vec<usize>;

/// The inputs of a predictor, in their order.
pub(super) struct Features {
    /// How many inputs there are.
    pub inputs: usize,
    /// Those that each choice sets; resolutions that the predictor was not trained at are absent.
    pub ones: PerChoice<Ones>,
}

/// The inputs of the predictor of OFA-MobileNetV3 (`ofa.tutorial.AccuracyPredictor`): kernels of 20 layers, their
/// expansions, and resolutions from 112 in steps of 16. It was trained from 160 on.
pub(super) fn mobile(space: &DesignSpace) -> Option<Features> {
    const KERNELS: [u32; 3] = [3, 5, 7];
    const EXPANSIONS: [u32; 3] = [3, 4, 6];
    const LAYERS: usize = 20;
    const PER_UNIT: usize = 4;
    let block = |placement: Placement, block: &Block| {
        let layer = PER_UNIT * placement.unit + placement.layer;
        let kernel = KERNELS.iter().position(|k| Some(*k) == block.kernel())?;
        let expansion = block.expansion()?;
        let expansion = EXPANSIONS
            .iter()
            .position(|e| Ratio::whole(*e) == Some(expansion))?;
        Some(vec![3 * layer + kernel, 3 * (LAYERS + layer) + expansion])
    };
    let resolutions = [160, 176, 192, 208, 224].map(|r| (r, (r as usize - 112) / 16));
    Some(Features {
        inputs: 6 * LAYERS + 8,
        ones: PerChoice {
            resolutions: offered(space, &resolutions, 6 * LAYERS),
            units: units(space, &|_, _| Ones::new(), &|_, _| Ones::new(), &block)?,
        },
    })
}

/// The inputs of the predictor of OFA-ResNet50 (`ofa.nas.accuracy_predictor.ResNetArchEncoder`): the resolution,
/// whether the stem's optional layer is there, widths of both convolutions of the stem and of the stages, and
/// expansions of 18 layers.
pub(super) fn resnet(space: &DesignSpace) -> Option<Features> {
    const RESOLUTIONS: [u32; 8] = [128, 144, 160, 176, 192, 224, 240, 256];
    const WIDTHS: [f64; 3] = [0.65, 0.8, 1.0];
    const EXPANSIONS: [&str; 3] = ["0.2", "0.25", "0.35"];
    /// The stem's optional layer, and the unit with it.
    const OPTIONAL: usize = 1;
    const STEM: usize = 3;
    /// The first layer of every stage.
    const STAGES: [usize; 4] = [0, 4, 8, 14];
    const LAYERS: usize = 18;
    let stem = RESOLUTIONS.len();
    let widths = stem + 2;
    let expansions = widths + 3 * (2 + STAGES.len());
    let width = |unit: usize, multiplier: f64| {
        #[allow(clippy::float_cmp)] // both are decimals
        let index = WIDTHS.iter().position(|w| *w == multiplier);
        // The optional layer, which has no width, comes between the first two that do.
        let place = unit - usize::from(unit > OPTIONAL);
        index.map_or_else(Ones::new, |index| vec![widths + 3 * place + index])
    };
    let depth = |unit: usize, depth: usize| {
        if unit == OPTIONAL {
            vec![stem + depth]
        } else {
            Ones::new()
        }
    };
    let block = |placement: Placement, block: &Block| {
        let Some(stage) = placement.unit.checked_sub(STEM) else {
            return Some(Ones::new());
        };
        let layer = STAGES[stage] + placement.layer;
        let known = block.expansion()?.to_string();
        let index = EXPANSIONS.iter().position(|e| *e == known)?;
        Some(vec![expansions + 3 * layer + index])
    };
    let indexed: Vec<(u32, usize)> = RESOLUTIONS.into_iter().zip(0..).collect();
    Some(Features {
        inputs: expansions + 3 * LAYERS,
        ones: PerChoice {
            resolutions: offered(space, &indexed, 0),
            units: units(space, &width, &depth, &block)?,
        },
    })
}

/// The inputs of resolutions that the space has.
fn offered(space: &DesignSpace, known: &[(u32, usize)], first: usize) -> BTreeMap<u32, Ones> {
    let has = |(resolution, _): &&(u32, usize)| space.resolutions().contains(resolution);
    let known = known.iter().filter(has);
    known
        .map(|(resolution, index)| (*resolution, vec![first + index]))
        .collect()
}

/// The inputs of all choices in the units; `None` when a block is not one of the predictor's.
fn units(
    space: &DesignSpace,
    width: &dyn Fn(usize, f64) -> Ones,
    depth: &dyn Fn(usize, usize) -> Ones,
    block: &dyn Fn(Placement, &Block) -> Option<Ones>,
) -> Option<Vec<UnitChoices<Ones>>> {
    let unit = |(unit, spec): (usize, &crate::space::Unit)| {
        let layer = |layer| {
            let placement = Placement { unit, layer };
            let blocks = (0..spec.blocks(layer).len()).map(|b| BlockId::try_from(b).ok());
            blocks
                .map(|id| block(placement, space.block(placement, id?)))
                .collect::<Option<Vec<Ones>>>()
        };
        Some(UnitChoices {
            widths: spec
                .widths()
                .iter()
                .map(|w| width(unit, w.multiplier))
                .collect(),
            min_depth: spec.min_depth(),
            depths: spec.depths().map(|d| depth(unit, d)).collect(),
            blocks: (0..spec.max_depth())
                .map(layer)
                .collect::<Option<Vec<_>>>()?,
        })
    };
    space.units().iter().enumerate().map(unit).collect()
}
