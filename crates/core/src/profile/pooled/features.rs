//! The columns of the pooled model: what an architecture looks like to it.

use nalgebra::{DMatrix, DVector, RowDVector};

use super::interactions::Interactions;
use super::structure::levels;
use crate::profile::Layout;
use crate::profile::work::Work;
use crate::space::{Architecture, BlockId, DesignSpace, Placement};

/// Columns and structure of the model for one space at one resolution.
///
/// A coefficient vector holds the intercept, then the depth contrasts of every unit, then the width contrasts, then the
/// block contrasts of every placement, then the interactions. Contrasts are in orthonormal (Helmert) bases, so that B
/// blocks take B - 1 columns and are centred by construction. Every column has mean 0 over the space and over every
/// part of it that fixes one of the other choices.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) layout: Layout,
    pub(super) interactions: Interactions,
    /// First column of every unit's depth contrasts.
    depth_columns: Vec<usize>,
    /// First column of every unit's width contrasts.
    width_columns: Vec<usize>,
    /// First column of every placement's block contrasts.
    block_columns: Vec<(Placement, usize)>,
    /// First column of the interactions.
    interaction_column: usize,
    columns: usize,
    /// Directions of the coefficients by level of the structure; each level has one variance.
    levels: Vec<DMatrix<f64>>,
}

impl Features {
    pub(super) fn new(space: &DesignSpace, resolution: u32) -> Self {
        let layout = Layout::new(space);
        let work = Work::new(space, resolution, &layout);
        let interactions = Interactions::new(space, &layout, &work);
        let mut next = 1;
        let mut take = |n: usize| {
            next += n;
            next - n
        };
        let depth_columns = (0..layout.units())
            .map(|u| take(layout.depths(u).count() - 1))
            .collect();
        let width_columns = (0..layout.units())
            .map(|u| take(layout.widths(u).count() - 1))
            .collect();
        let block_columns: Vec<_> = layout
            .placements()
            .map(|p| (p, take(layout.blocks(p) - 1)))
            .collect();
        let interaction_column = take(interactions.len());
        let mut features = Self {
            layout,
            interactions,
            depth_columns,
            width_columns,
            block_columns,
            interaction_column,
            columns: next,
            levels: Vec::new(),
        };
        features.levels = levels(&features, space, &work);
        features
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The directions of every level: matrices with [`Self::columns`] rows.
    pub(super) fn levels(&self) -> &[DMatrix<f64>] {
        &self.levels
    }

    /// Indices of the levels that are interactions.
    pub(super) fn interaction_levels(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.interaction_column;
        let levels = self.levels.iter().enumerate();
        let interactions = levels.filter(move |(_, level)| {
            let rows = level.rows_range(first..);
            rows.iter().any(|x| *x != 0.0)
        });
        interactions.map(|(index, _)| index)
    }

    /// One row per architecture.
    pub(super) fn design<'a>(
        &self,
        archs: impl ExactSizeIterator<Item = &'a Architecture>,
    ) -> DMatrix<f64> {
        let bases = Bases::new(&self.layout);
        let mut transposed = DMatrix::zeros(self.columns, archs.len());
        for (mut column, arch) in transposed.column_iter_mut().zip(archs) {
            self.fill(&bases, arch, column.as_mut_slice());
        }
        transposed.transpose()
    }

    /// Writes the columns of one architecture into `row`, which is all zeros.
    fn fill(&self, bases: &Bases, arch: &Architecture, row: &mut [f64]) {
        let mut put = |column: usize, contrast: &[f64]| {
            row[column..column + contrast.len()].copy_from_slice(contrast);
        };
        put(0, &[1.0]);
        for (unit, &column) in self.depth_columns.iter().enumerate() {
            let depths = self.layout.depths(unit);
            let depth = arch.depth(unit) - depths.start();
            put(column, bases.row(depths.count(), depth));
        }
        for (unit, &column) in self.width_columns.iter().enumerate() {
            let widths = self.layout.widths(unit).count();
            put(
                column,
                bases.row(widths, usize::from(arch.unit(unit).width)),
            );
        }
        for &(placement, column) in &self.block_columns {
            if let Some(block) = arch.block_at(placement) {
                let blocks = self.layout.blocks(placement);
                put(column, bases.row(blocks, usize::from(block)));
            }
        }
        self.interactions
            .fill(arch, &mut row[self.interaction_column..]);
    }

    /// The matrix that turns coefficients into the means of [`Layout`]: conditional expectations of the
    /// columns. Contrasts have mean zero unless the condition fixes them, interactions always.
    pub(super) fn means_map(&self) -> DMatrix<f64> {
        let mut map = DMatrix::zeros(self.layout.len(), self.columns);
        map.column_mut(0).fill(1.0);
        for unit in 0..self.layout.units() {
            self.map_depths_and_widths(unit, &mut map);
            self.map_blocks(unit, &mut map);
        }
        map
    }

    fn map_depths_and_widths(&self, unit: usize, map: &mut DMatrix<f64>) {
        for depth in self.layout.depths(unit) {
            let row = self.layout.depth(unit, depth);
            put(
                map,
                row,
                self.depth_columns[unit],
                &self.depth_row(unit, depth),
            );
        }
        let widths = self.layout.widths(unit).count();
        for width in self.layout.widths(unit) {
            let row = self.layout.width(unit, width);
            let contrast = helmert(widths, usize::from(width)).transpose();
            put(map, row, self.width_columns[unit], &contrast);
        }
    }

    fn map_blocks(&self, unit: usize, map: &mut DMatrix<f64>) {
        for &(placement, column) in self.block_columns.iter().filter(|(p, _)| p.unit == unit) {
            let reaching = self.layout.depths(unit).filter(|&d| d > placement.layer);
            let count = reaching.clone().count() as f64;
            let zero = RowDVector::zeros(self.layout.depths(unit).count() - 1);
            let given_active = reaching.fold(zero, |sum, d| sum + self.depth_row(unit, d)) / count;
            let blocks = self.layout.blocks(placement);
            for id in self.layout.block_ids(placement) {
                let row = self.layout.block(placement, id);
                put(map, row, self.depth_columns[unit], &given_active);
                put(
                    map,
                    row,
                    column,
                    &helmert(blocks, usize::from(id)).transpose(),
                );
            }
        }
    }

    fn depth_row(&self, unit: usize, depth: usize) -> RowDVector<f64> {
        let depths = self.layout.depths(unit);
        helmert(depths.clone().count(), depth - depths.start()).transpose()
    }

    /// The model's value as a sum of table look-ups, for these coefficients.
    pub(super) fn tables(&self, coefficients: &DVector<f64>) -> Tables {
        let part = |column: usize, n: usize, index: usize| {
            let contrast = helmert(n, index);
            contrast.dot(&coefficients.rows(column, n - 1))
        };
        let whole = |column: usize, n: usize| (0..n).map(|i| part(column, n, i)).collect();
        let depths = |u: usize| self.layout.depths(u).count();
        let units = 0..self.layout.units();
        let mut tables = Tables {
            intercept: coefficients[0],
            depths: units
                .clone()
                .map(|u| whole(self.depth_columns[u], depths(u)))
                .collect(),
            widths: units
                .map(|u| whole(self.width_columns[u], self.layout.widths(u).count()))
                .collect(),
            layers: Vec::new(),
        };
        for &(placement, column) in &self.block_columns {
            let blocks: Vec<f64> = whole(column, self.layout.blocks(placement));
            let depths = self.layout.depths(placement.unit);
            tables.layers.push(LayerTables {
                placement,
                by_depth: depths.map(|depth| (depth, blocks.clone())).collect(),
                after: Vec::new(),
            });
        }
        let first = self.interaction_column;
        let weights = coefficients.rows(first, self.columns - first);
        self.interactions
            .add_to(weights.as_slice(), &mut tables.layers);
        tables
    }

    /// 1 for columns of blocks, 0 for all others. Contrasts are orthonormal, so a sum over columns with these weights
    /// is the same sum over the blocks' effects.
    pub(super) fn block_weights(&self) -> DVector<f64> {
        let first = self.block_columns.first().map_or(self.columns, |(_, c)| *c);
        let blocks = first..self.interaction_column;
        DVector::from_fn(
            self.columns,
            |i, _| if blocks.contains(&i) { 1.0 } else { 0.0 },
        )
    }

    /// Every (placement, block).
    pub(super) fn combinations(&self) -> impl Iterator<Item = (Placement, BlockId)> + '_ {
        self.block_columns
            .iter()
            .flat_map(|&(p, _)| self.layout.block_ids(p).map(move |b| (p, b)))
    }

    /// Functions on (placement, block) as directions of the coefficients: centred within the placement
    /// and written in the contrast basis.
    pub(super) fn block_directions(
        &self,
        count: usize,
        value: &dyn Fn(usize, Placement, BlockId) -> f64,
    ) -> DMatrix<f64> {
        let mut directions = DMatrix::zeros(self.columns, count);
        for &(placement, column) in &self.block_columns {
            let blocks = self.layout.blocks(placement);
            for id in self.layout.block_ids(placement) {
                let contrast = helmert(blocks, usize::from(id));
                for direction in 0..count {
                    let weight = value(direction, placement, id);
                    add(&mut directions, direction, column, &contrast, weight);
                }
            }
        }
        directions
    }

    /// The same for functions on (unit, depth).
    pub(super) fn depth_directions(
        &self,
        count: usize,
        value: &dyn Fn(usize, usize, usize) -> f64,
    ) -> DMatrix<f64> {
        let choices = |unit| self.layout.depths(unit).collect();
        self.unit_directions(count, &self.depth_columns, &choices, value)
    }

    /// The same for functions on (unit, index of the width).
    pub(super) fn width_directions(
        &self,
        count: usize,
        value: &dyn Fn(usize, usize, usize) -> f64,
    ) -> DMatrix<f64> {
        let choices = |unit| self.layout.widths(unit).map(usize::from).collect();
        self.unit_directions(count, &self.width_columns, &choices, value)
    }

    fn unit_directions(
        &self,
        count: usize,
        columns: &[usize],
        choices: &dyn Fn(usize) -> Vec<usize>,
        value: &dyn Fn(usize, usize, usize) -> f64,
    ) -> DMatrix<f64> {
        let mut directions = DMatrix::zeros(self.columns, count);
        for (unit, &column) in columns.iter().enumerate() {
            let choices: Vec<usize> = choices(unit);
            for (index, &choice) in choices.iter().enumerate() {
                let contrast = helmert(choices.len(), index);
                for direction in 0..count {
                    let weight = value(direction, unit, choice);
                    add(&mut directions, direction, column, &contrast, weight);
                }
            }
        }
        directions
    }

    /// Sums of interaction columns as directions: `value` is the weight of an interaction in a direction.
    pub(super) fn interaction_directions(
        &self,
        count: usize,
        value: &dyn Fn(usize, usize) -> f64,
    ) -> DMatrix<f64> {
        let first = self.interaction_column;
        DMatrix::from_fn(self.columns, count, |row, direction| {
            let interaction = row.checked_sub(first);
            interaction.map_or(0.0, |interaction| value(direction, interaction))
        })
    }
}

/// The model's value as a sum: the intercept, an entry for every unit's depth and width, and for every active layer an
/// entry for its block at this depth, and one for its block after the one before it.
pub(super) struct Tables {
    pub(super) intercept: f64,
    /// By unit, then depth, shallowest first.
    pub(super) depths: Vec<Vec<f64>>,
    /// By unit, then index of the width.
    pub(super) widths: Vec<Vec<f64>>,
    pub(super) layers: Vec<LayerTables>,
}

/// What one layer adds.
pub(super) struct LayerTables {
    pub(super) placement: Placement,
    /// For every depth of the unit, its number of layers and an entry for every block.
    pub(super) by_depth: Vec<(usize, Vec<f64>)>,
    /// By block of the layer before, then block; empty where nothing depends on the layer before.
    pub(super) after: Vec<Vec<f64>>,
}

fn put(map: &mut DMatrix<f64>, row: usize, column: usize, contrast: &RowDVector<f64>) {
    map.view_mut((row, column), (1, contrast.len()))
        .copy_from(contrast);
}

fn add(
    directions: &mut DMatrix<f64>,
    direction: usize,
    column: usize,
    contrast: &DVector<f64>,
    weight: f64,
) {
    if weight != 0.0 {
        let mut part = directions.view_mut((column, direction), (contrast.len(), 1));
        part += contrast * weight;
    }
}

/// Row `index` of the orthonormal Helmert matrix for `n` levels: n - 1 numbers. Rows of all levels sum
/// to zero, and a function with mean zero is the product of its coordinates with them.
fn helmert(n: usize, index: usize) -> DVector<f64> {
    DVector::from_fn(n - 1, |j, _| {
        let (j, norm) = (j + 1, (((j + 1) * (j + 2)) as f64).sqrt());
        match index.cmp(&j) {
            std::cmp::Ordering::Less => 1.0 / norm,
            std::cmp::Ordering::Equal => -(j as f64) / norm,
            std::cmp::Ordering::Greater => 0.0,
        }
    })
}

/// Helmert rows for every number of levels that a space has, made once.
struct Bases(Vec<Vec<Vec<f64>>>);

impl Bases {
    fn new(layout: &Layout) -> Self {
        let units = 0..layout.units();
        let depths = units.clone().map(|u| layout.depths(u).count());
        let widths = units.map(|u| layout.widths(u).count());
        let blocks = layout.placements().map(|p| layout.blocks(p));
        let most = depths.chain(widths).chain(blocks).max().unwrap_or(1);
        let rows = |n: usize| {
            (0..n)
                .map(|index| helmert(n, index).as_slice().to_vec())
                .collect()
        };
        Self((1..=most).map(rows).collect())
    }

    fn row(&self, n: usize, index: usize) -> &[f64] {
        &self.0[n - 1][index]
    }
}
