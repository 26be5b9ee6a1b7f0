//! The columns of the pooled model, and the structure that its coefficients are shrunk towards.

use std::collections::BTreeSet;

use nalgebra::{DMatrix, DVector};

use crate::profile::work::{KINDS, block_work};
use crate::profile::{Layout, Observation};
use crate::space::{Architecture, Block, BlockId, DesignSpace, Placement};

/// Columns and structure of the model for one space.
///
/// A coefficient vector holds the intercept, then the depth contrasts of every unit, then the block
/// contrasts of every placement. Contrasts are in orthonormal (Helmert) bases, so that B blocks take B - 1
/// columns and are centred by construction.
pub(super) struct Features {
    pub(super) layout: Layout,
    /// First column of every unit's depth contrasts.
    depth_columns: Vec<usize>,
    /// First column of every unit's width contrasts.
    width_columns: Vec<usize>,
    /// First column of every placement's block contrasts.
    block_columns: Vec<(Placement, usize)>,
    columns: usize,
    /// Directions of the block coefficients by level of the structure; each level has one variance.
    levels: Vec<DMatrix<f64>>,
}

impl Features {
    pub(super) fn new(space: &DesignSpace, observations: &[Observation]) -> Self {
        let layout = Layout::new(space);
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
        let resolution = observations
            .first()
            .map_or(space.default_resolution(), |o| o.draw.arch.resolution());
        let mut features = Self {
            layout,
            depth_columns,
            width_columns,
            block_columns,
            columns: next,
            levels: Vec::new(),
        };
        features.levels = features.structure(space, resolution);
        features
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Number of columns that are not shrunk: intercept, depths and widths.
    pub(super) fn fixed(&self) -> usize {
        self.block_columns
            .first()
            .map_or(self.columns, |(_, column)| *column)
    }

    /// The directions of every level: matrices with [`Self::columns`] rows.
    pub(super) fn levels(&self) -> &[DMatrix<f64>] {
        &self.levels
    }

    /// One row per architecture.
    pub(super) fn design<'a>(
        &self,
        archs: impl ExactSizeIterator<Item = &'a Architecture>,
    ) -> DMatrix<f64> {
        let mut z = DMatrix::zeros(archs.len(), self.columns);
        for (row, arch) in archs.enumerate() {
            z[(row, 0)] = 1.0;
            for (unit, &column) in self.depth_columns.iter().enumerate() {
                let depths = self.layout.depths(unit);
                let contrast = helmert(depths.clone().count(), arch.depth(unit) - depths.start());
                z.view_mut((row, column), (1, contrast.len()))
                    .copy_from(&contrast.transpose());
            }
            for (unit, &column) in self.width_columns.iter().enumerate() {
                let widths = self.layout.widths(unit).count();
                let contrast = helmert(widths, usize::from(arch.unit(unit).width));
                z.view_mut((row, column), (1, contrast.len()))
                    .copy_from(&contrast.transpose());
            }
            for &(placement, column) in &self.block_columns {
                if let Some(block) = arch.block_at(placement) {
                    let contrast = helmert(self.layout.blocks(placement), usize::from(block));
                    z.view_mut((row, column), (1, contrast.len()))
                        .copy_from(&contrast.transpose());
                }
            }
        }
        z
    }

    /// The matrix that turns coefficients into the means of [`Layout`]: conditional expectations of the
    /// columns. Contrasts have mean zero unless the condition fixes them.
    pub(super) fn means_map(&self) -> DMatrix<f64> {
        let mut map = DMatrix::zeros(self.layout.len(), self.columns);
        map.column_mut(0).fill(1.0);
        for (unit, &column) in self.depth_columns.iter().enumerate() {
            let depths = self.layout.depths(unit);
            let contrast =
                |d: usize| helmert(depths.clone().count(), d - depths.start()).transpose();
            for depth in depths.clone() {
                let (row, contrast) = (self.layout.depth(unit, depth), contrast(depth));
                map.view_mut((row, column), (1, contrast.len()))
                    .copy_from(&contrast);
            }
            let (column_of_width, widths) =
                (self.width_columns[unit], self.layout.widths(unit).count());
            for width in self.layout.widths(unit) {
                let row = self.layout.width(unit, width);
                let contrast = helmert(widths, usize::from(width)).transpose();
                map.view_mut((row, column_of_width), (1, contrast.len()))
                    .copy_from(&contrast);
            }
            for &(placement, block_column) in
                self.block_columns.iter().filter(|(p, _)| p.unit == unit)
            {
                let reaching = depths.clone().filter(|&d| d > placement.layer);
                let count = reaching.clone().count() as f64;
                let width = depths.clone().count() - 1;
                let given_active = reaching.fold(nalgebra::RowDVector::zeros(width), |sum, d| {
                    sum + contrast(d)
                }) / count;
                for block in 0..self.layout.blocks(placement) {
                    let row = self
                        .layout
                        .block(placement, BlockId::try_from(block).unwrap_or(BlockId::MAX));
                    map.view_mut((row, column), (1, width))
                        .copy_from(&given_active);
                    let contrast = helmert(self.layout.blocks(placement), block).transpose();
                    map.view_mut((row, block_column), (1, contrast.len()))
                        .copy_from(&contrast);
                }
            }
        }
        map
    }

    /// The levels of the structure, from the whole network down to the single block at a placement.
    fn structure(&self, space: &DesignSpace, resolution: u32) -> Vec<DMatrix<f64>> {
        let work = Work::new(space, resolution);
        let kernel = |p: Placement, b: BlockId| u64::from(space.block(p, b).kernel().unwrap_or(0));
        let expansions = distinct(space, Block::expansion);
        let expansion =
            |p: Placement, b: BlockId| index_of(&expansions, &space.block(p, b).expansion());
        let styles = distinct(space, style);
        let style = |p: Placement, b: BlockId| index_of(&styles, &style(space.block(p, b)));
        let all = distinct(space, Block::clone);
        let block = |p: Placement, b: BlockId| index_of(&all, space.block(p, b));
        let whole = |_: Placement| 0_usize;
        let unit = |p: Placement| 1 + p.unit;
        let place = |p: Placement| (p.unit << 16) + p.layer;
        let first = |p: Placement| 2 * p.unit + usize::from(p.layer == 0);
        let mut levels = Vec::new();
        for scope in [&whole as &dyn Fn(Placement) -> usize, &unit, &place] {
            levels.push(self.indicator_level(scope, &kernel));
            levels.push(self.indicator_level(scope, &expansion));
            levels.push(self.indicator_level(scope, &style));
            levels.push(self.indicator_level(scope, &block));
        }
        for scope in [&whole as &dyn Fn(Placement) -> usize, &unit, &first] {
            levels.push(self.work_level(scope, &work));
        }
        // What does not vary within any placement (the one kernel of all blocks, say) is no level.
        levels.retain(|level| level.iter().any(|x| x.abs() > 1e-12));
        levels
    }

    /// One direction for every (scope, attribute value) that occurs.
    fn indicator_level(
        &self,
        scope: &dyn Fn(Placement) -> usize,
        attribute: &dyn Fn(Placement, BlockId) -> u64,
    ) -> DMatrix<f64> {
        let mut keys: Vec<(usize, u64)> = self
            .combinations()
            .map(|(p, b)| (scope(p), attribute(p, b)))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let key = |p, b| (scope(p), attribute(p, b));
        self.directions(keys.len(), &|column, p, b| {
            if keys[column] == key(p, b) { 1.0 } else { 0.0 }
        })
    }

    /// One direction for every (scope, kind of work), scaled to unit spread over all combinations.
    fn work_level(&self, scope: &dyn Fn(Placement) -> usize, work: &Work) -> DMatrix<f64> {
        let mut scopes: Vec<usize> = self.combinations().map(|(p, _)| scope(p)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        self.directions(scopes.len() * KINDS, &|column, p, b| {
            if scopes[column / KINDS] == scope(p) {
                work.scaled(column % KINDS, p, b)
            } else {
                0.0
            }
        })
    }

    fn combinations(&self) -> impl Iterator<Item = (Placement, BlockId)> + '_ {
        self.block_columns.iter().flat_map(|&(p, _)| {
            (0..self.layout.blocks(p)).filter_map(move |b| Some((p, BlockId::try_from(b).ok()?)))
        })
    }

    /// Functions on (placement, block) as directions of the coefficients: centred within the placement
    /// and written in the contrast basis.
    fn directions(
        &self,
        count: usize,
        value: &dyn Fn(usize, Placement, BlockId) -> f64,
    ) -> DMatrix<f64> {
        let mut directions = DMatrix::zeros(self.columns, count);
        for &(placement, column) in &self.block_columns {
            let blocks = self.layout.blocks(placement);
            for block in 0..blocks {
                let contrast = helmert(blocks, block);
                let id = BlockId::try_from(block).unwrap_or(BlockId::MAX);
                for direction in 0..count {
                    let weight = value(direction, placement, id);
                    if weight != 0.0 {
                        let mut part =
                            directions.view_mut((column, direction), (contrast.len(), 1));
                        part += &contrast * weight;
                    }
                }
            }
        }
        directions
    }
}

/// The different values of an attribute of the space's blocks.
fn distinct<T: Ord>(space: &DesignSpace, attribute: impl Fn(&Block) -> T) -> Vec<T> {
    let blocks = space.placements().flat_map(|p| space.blocks(p));
    let values: BTreeSet<T> = blocks.map(attribute).collect();
    values.into_iter().collect()
}

fn index_of<T: Ord>(values: &[T], value: &T) -> u64 {
    values.binary_search(value).unwrap_or(0) as u64
}

/// A block without kernel and expansion: its kind, non-linearity, squeeze-and-excitation and flags.
fn style(block: &Block) -> Block {
    block.with_sizes(None, None)
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

/// [`block_work`], scaled for regression.
struct Work {
    layout: Layout,
    /// By kind of work, then by layout index.
    scaled: Vec<Vec<f64>>,
}

impl Work {
    fn new(space: &DesignSpace, resolution: u32) -> Self {
        let layout = Layout::new(space);
        let work = block_work(space, resolution, &layout);
        let scaled = (0..KINDS)
            .map(|kind| unit_spread(&layout, work.iter().map(|w| w[kind]).collect()))
            .collect();
        Self { layout, scaled }
    }

    fn scaled(&self, kind: usize, placement: Placement, block: BlockId) -> f64 {
        self.scaled[kind][self.layout.block(placement, block)]
    }
}

/// Centres within placements and scales to a root mean square of 1, so that all levels' variances
/// have one meaning.
fn unit_spread(layout: &Layout, mut costs: Vec<f64>) -> Vec<f64> {
    let rows = |p: Placement| {
        (0..layout.blocks(p))
            .map(move |b| layout.block(p, BlockId::try_from(b).unwrap_or(BlockId::MAX)))
    };
    let (mut squares, mut count) = (0.0, 0.0);
    for placement in layout.placements() {
        let here: Vec<f64> = rows(placement).map(|i| costs[i]).collect();
        let center = crate::stats::mean(&here);
        for i in rows(placement) {
            costs[i] -= center;
            squares += costs[i] * costs[i];
            count += 1.0;
        }
    }
    let scale = f64::sqrt(squares / count);
    if scale > 0.0 {
        costs.iter_mut().for_each(|c| *c /= scale);
    }
    costs
}
