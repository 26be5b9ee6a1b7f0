//! Columns that no sum of main effects can make: what neighbouring layers are together, and blocks in deep units.
//!
//! Every term is a table over two choices from which the means of its rows and columns are taken, so that it is
//! uncorrelated with all main effects (functional ANOVA).

use nalgebra::DMatrix;

use crate::profile::{Layout, Observation};
use crate::seed::Seed;
use crate::space::{Architecture, Block, DesignSpace, Placement};

use super::Interaction;

/// Architectures that show how much a column varies over the space.
const SCALE_DRAWS: u64 = 300;

/// A table over two choices, added to a column wherever both are made.
struct Term {
    column: usize,
    first: Choice,
    second: Placement,
    /// By first choice, then by the second's block.
    table: Vec<Vec<f64>>,
}

/// The first of the two choices.
#[derive(Clone, Copy)]
enum Choice {
    /// The block at a placement; with `last`, only where it is the last active layer of its unit.
    Block { at: Placement, last: bool },
    /// The depth of the second's unit, counted from the first at which the second is active.
    Depth { from: usize },
}

/// Columns of one kind of interaction.
pub(super) struct Columns {
    terms: Vec<Term>,
    /// Columns of equal scope share one scale.
    scopes: Vec<usize>,
}

impl Columns {
    pub(super) fn new(space: &DesignSpace, layout: &Layout, kind: Interaction) -> Self {
        let mut columns = Self {
            terms: Vec::new(),
            scopes: Vec::new(),
        };
        match kind {
            Interaction::RepeatedBlock => columns.repeated(space, layout),
            Interaction::Neighbours => columns.neighbours(space, layout),
            Interaction::Depth => columns.depth(space, layout),
        }
        columns
    }

    fn column(&mut self, scope: usize) -> usize {
        self.scopes.push(scope);
        self.scopes.len() - 1
    }

    fn push(&mut self, column: usize, first: Choice, second: Placement, table: Vec<Vec<f64>>) {
        let table = centred(table);
        if table.iter().flatten().any(|x| x.abs() > 1e-12) {
            self.terms.push(Term {
                column,
                first,
                second,
                table,
            });
        }
    }

    /// A layer whose block is that of the layer before it: over the network, per unit, per layer; and the same for each
    /// block by itself, over the network and per unit, because a repeated large block may matter more than a small one.
    fn repeated(&mut self, space: &DesignSpace, layout: &Layout) {
        let mut blocks: Vec<&Block> = space.placements().flat_map(|p| space.blocks(p)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let whole = self.column(0);
        let of_blocks: Vec<usize> = blocks.iter().map(|_| self.column(3)).collect();
        for unit in 0..layout.units() {
            let of_unit = self.column(1);
            let of_unit_blocks: Vec<usize> = blocks.iter().map(|_| self.column(4)).collect();
            for (at, second) in within(layout, unit) {
                let of_pair = self.column(2);
                let table = pair_table(space, at, second, &|a, b| a == b);
                let first = Choice::Block { at, last: false };
                for column in [whole, of_unit, of_pair] {
                    self.push(column, first, second, table.clone());
                }
                for (i, block) in blocks.iter().enumerate() {
                    let table = pair_table(space, at, second, &|a, b| a == b && a == *block);
                    self.push(of_blocks[i], first, second, table.clone());
                    self.push(of_unit_blocks[i], first, second, table);
                }
            }
        }
    }

    /// Kernel after kernel, and expansion after expansion: over the network and per unit, and between units.
    fn neighbours(&mut self, space: &DesignSpace, layout: &Layout) {
        for attribute in attributes(space) {
            for before in &attribute.values {
                for after in &attribute.values {
                    let is = |a: &Block, b: &Block| {
                        (attribute.of)(a) == *before && (attribute.of)(b) == *after
                    };
                    let whole = self.column(0);
                    for unit in 0..layout.units() {
                        let of_unit = self.column(1);
                        for (at, second) in within(layout, unit) {
                            let table = pair_table(space, at, second, &is);
                            let first = Choice::Block { at, last: false };
                            self.push(whole, first, second, table.clone());
                            self.push(of_unit, first, second, table);
                        }
                        let between = self.column(1);
                        for (at, second) in across(layout, unit) {
                            let table = pair_table(space, at, second, &is);
                            let first = Choice::Block { at, last: true };
                            self.push(whole, first, second, table.clone());
                            self.push(between, first, second, table);
                        }
                    }
                }
            }
        }
    }

    /// Kernels and expansions in units of a certain depth.
    fn depth(&mut self, space: &DesignSpace, layout: &Layout) {
        for attribute in attributes(space) {
            for value in &attribute.values {
                for unit in 0..layout.units() {
                    for depth in layout.depths(unit) {
                        let column = self.column(0);
                        let here = layout
                            .placements()
                            .filter(|p| p.unit == unit && p.layer < depth);
                        for second in here {
                            let from = (second.layer + 1).max(*layout.depths(unit).start());
                            let row = |d: usize| {
                                let blocks = space.blocks(second).iter();
                                blocks
                                    .map(|b| indicator(d == depth && (attribute.of)(b) == *value))
                                    .collect()
                            };
                            let table = (from..=*layout.depths(unit).end()).map(row).collect();
                            self.push(column, Choice::Depth { from }, second, table);
                        }
                    }
                }
            }
        }
    }

    /// One row per observation. Scopes carry equal parts of a variance that is 1 over the space; columns that never
    /// vary are left out.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn design(
        &self,
        space: &DesignSpace,
        observations: &[Observation],
    ) -> Option<DMatrix<f64>> {
        let resolution = observations.first()?.draw.arch.resolution();
        let seed = Seed(0).stream("interactions");
        let sample = (0..SCALE_DRAWS)
            .filter_map(|i| space.sample(resolution, &mut seed.index(i).rng()).ok());
        let sample: Vec<Architecture> = sample.collect();
        let sampled = self.rows(sample.iter());
        let scopes = self.scopes.iter().max()? + 1;
        let mut squares = vec![0.0; scopes];
        for (column, &scope) in self.scopes.iter().enumerate() {
            squares[scope] += sampled.column(column).norm_squared() / sample.len().max(1) as f64;
        }
        let live = squares.iter().filter(|s| **s > 0.0).count() as f64;
        let mut design = self.rows(observations.iter().map(|o| &o.draw.arch));
        for (column, &scope) in self.scopes.iter().enumerate() {
            let scale = if squares[scope] > 0.0 {
                (squares[scope] * live).sqrt().recip()
            } else {
                0.0
            };
            design.column_mut(column).scale_mut(scale);
        }
        (live > 0.0).then_some(design)
    }

    fn rows<'a>(&self, archs: impl ExactSizeIterator<Item = &'a Architecture>) -> DMatrix<f64> {
        let mut rows = DMatrix::zeros(archs.len(), self.scopes.len());
        for (row, arch) in archs.enumerate() {
            for term in &self.terms {
                if let Some(value) = term.value(arch) {
                    rows[(row, term.column)] += value;
                }
            }
        }
        rows
    }
}

impl Term {
    fn value(&self, arch: &Architecture) -> Option<f64> {
        let second = usize::from(arch.block_at(self.second)?);
        let first = match self.first {
            Choice::Block { at, last } => {
                if last && arch.depth(at.unit) != at.layer + 1 {
                    return None;
                }
                usize::from(arch.block_at(at)?)
            }
            Choice::Depth { from } => arch.depth(self.second.unit).checked_sub(from)?,
        };
        self.table.get(first)?.get(second).copied()
    }
}

/// An attribute of blocks that varies over the space.
struct Attribute {
    of: fn(&Block) -> u64,
    values: Vec<u64>,
}

fn attributes(space: &DesignSpace) -> Vec<Attribute> {
    let kernel = |b: &Block| b.kernel().map_or(0, u64::from);
    // Expansions are ratios: their thousandths tell them apart.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let expansion = |b: &Block| {
        b.expansion()
            .map_or(0, |e| (e.value() * 1e3).round() as u64)
    };
    let found = |of: fn(&Block) -> u64| {
        let mut values: Vec<u64> = space
            .placements()
            .flat_map(|p| space.blocks(p))
            .map(of)
            .collect();
        values.sort_unstable();
        values.dedup();
        (values.len() > 1).then_some(Attribute { of, values })
    };
    [found(kernel), found(expansion)]
        .into_iter()
        .flatten()
        .collect()
}

/// Neighbouring placements within a unit.
fn within(layout: &Layout, unit: usize) -> Vec<(Placement, Placement)> {
    (1..*layout.depths(unit).end())
        .map(|layer| {
            (
                Placement {
                    unit,
                    layer: layer - 1,
                },
                Placement { unit, layer },
            )
        })
        .collect()
}

/// Every layer of a unit that can be its last, and the first layer of the next unit.
fn across(layout: &Layout, unit: usize) -> Vec<(Placement, Placement)> {
    if unit + 1 >= layout.units() {
        return Vec::new();
    }
    let next = Placement {
        unit: unit + 1,
        layer: 0,
    };
    let depths = layout.depths(unit).filter(|d| *d > 0);
    depths
        .map(|d| (Placement { unit, layer: d - 1 }, next))
        .collect()
}

fn pair_table(
    space: &DesignSpace,
    first: Placement,
    second: Placement,
    is: &dyn Fn(&Block, &Block) -> bool,
) -> Vec<Vec<f64>> {
    let row = |a: &Block| {
        space
            .blocks(second)
            .iter()
            .map(|b| indicator(is(a, b)))
            .collect()
    };
    space.blocks(first).iter().map(row).collect()
}

fn indicator(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// The table without the means of its rows and columns.
fn centred(mut table: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for row in &mut table {
        let mean = crate::stats::mean(row);
        row.iter_mut().for_each(|x| *x -= mean);
    }
    let width = table.first().map_or(0, Vec::len);
    for column in 0..width {
        let values: Vec<f64> = table.iter().map(|row| row[column]).collect();
        let mean = crate::stats::mean(&values);
        table.iter_mut().for_each(|row| row[column] -= mean);
    }
    table
}
