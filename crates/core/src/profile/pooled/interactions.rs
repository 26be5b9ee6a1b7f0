//! What neighbouring layers do to each other, and what a unit's depth does to the blocks in it.
//!
//! Every column is a pure interaction: its mean is 0 given either of the choices that enter it. So it never bends the
//! effects, which are means over everything else; it only takes out of the noise what it explains.

use super::features::LayerTables;
use super::structure::{NUMERIC, numeric};
use crate::profile::Layout;
use crate::profile::work::{MACS, Work};
use crate::space::{Architecture, BlockId, DesignSpace, Placement};

/// Interactions of a layer with the one before it: the same block, the same block by its work, and products of both
/// layers' kernels, expansions and work.
const NEIGHBOURS: usize = 2 + PRODUCTS;
/// Numeric attributes whose products are taken: kernel, expansion and work.
const PRODUCTS: usize = NUMERIC + 1;

/// One column for every unit and kind of interaction.
#[derive(Debug)]
pub(super) struct Interactions {
    columns: Vec<Column>,
}

/// The sum of one kind of interaction over the layers of a unit.
#[derive(Debug)]
struct Column {
    kind: usize,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    placement: Placement,
    term: Term,
}

#[derive(Debug)]
enum Term {
    /// By block of the layer before, then block of this layer.
    Pair(Vec<Vec<f64>>),
    /// The block's value, times how much deeper than on average the unit is.
    Depth { values: Vec<f64>, average: f64 },
}

impl Interactions {
    pub(super) fn new(space: &DesignSpace, layout: &Layout, work: &Work) -> Self {
        let [kernels, expansions] = numeric(layout, space);
        let macs = work.kind(MACS).to_vec();
        let attributes = [kernels, expansions, macs];
        let parts = Parts {
            space,
            layout,
            attributes: &attributes,
        };
        let kinds = NEIGHBOURS + PRODUCTS;
        let columns = (0..layout.units())
            .flat_map(|unit| (0..kinds).map(move |kind| (unit, kind)))
            .filter_map(|(unit, kind)| parts.column(unit, kind))
            .collect();
        Self { columns }
    }

    /// Number of columns.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Number of kinds.
    pub(super) fn kinds(&self) -> usize {
        NEIGHBOURS + PRODUCTS
    }

    /// The kind of a column.
    pub(super) fn kind(&self, column: usize) -> usize {
        self.columns[column].kind
    }

    /// Writes the columns of an architecture.
    pub(super) fn fill(&self, arch: &Architecture, row: &mut [f64]) {
        for (value, column) in row.iter_mut().zip(&self.columns) {
            *value = column.layers.iter().map(|layer| layer.value(arch)).sum();
        }
    }
}

impl Interactions {
    /// Adds the columns, each times its weight, to the tables of the layers.
    pub(super) fn add_to(&self, weights: &[f64], tables: &mut [LayerTables]) {
        for (weight, column) in weights.iter().zip(&self.columns) {
            for layer in &column.layers {
                let of_layer = |t: &&mut LayerTables| t.placement == layer.placement;
                if let Some(table) = tables.iter_mut().find(of_layer) {
                    layer.add_to(*weight, table);
                }
            }
        }
    }
}

impl Layer {
    fn add_to(&self, weight: f64, table: &mut LayerTables) {
        match &self.term {
            Term::Pair(pairs) => {
                if table.after.is_empty() {
                    table.after = pairs.iter().map(|row| vec![0.0; row.len()]).collect();
                }
                let sums = table.after.iter_mut().flatten();
                sums.zip(pairs.iter().flatten())
                    .for_each(|(s, v)| *s += weight * v);
            }
            Term::Depth { values, average } => {
                for (depth, sums) in &mut table.by_depth {
                    let factor = weight * (*depth as f64 - average);
                    sums.iter_mut()
                        .zip(values)
                        .for_each(|(s, v)| *s += factor * v);
                }
            }
        }
    }

    fn value(&self, arch: &Architecture) -> f64 {
        let Some(block) = arch.block_at(self.placement) else {
            return 0.0;
        };
        match &self.term {
            Term::Pair(table) => {
                let before = Placement {
                    layer: self.placement.layer - 1,
                    ..self.placement
                };
                let before = arch.block_at(before).unwrap_or(0);
                table[usize::from(before)][usize::from(block)]
            }
            Term::Depth { values, average } => {
                (arch.depth(self.placement.unit) as f64 - average) * values[usize::from(block)]
            }
        }
    }

    /// Its variance over architectures in which the layer is active, `depths` being those of its unit that reach it.
    fn variance(&self, depths: &[f64]) -> f64 {
        let mean_square =
            |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64;
        match &self.term {
            Term::Pair(table) => {
                let rows: Vec<f64> = table.iter().map(|row| mean_square(row)).collect();
                crate::stats::mean(&rows)
            }
            Term::Depth { values, average } => {
                let deviations: Vec<f64> = depths.iter().map(|d| d - average).collect();
                mean_square(values) * mean_square(&deviations)
            }
        }
    }

    fn scale(&mut self, factor: f64) {
        match &mut self.term {
            Term::Pair(table) => table.iter_mut().flatten().for_each(|v| *v *= factor),
            Term::Depth { values, .. } => values.iter_mut().for_each(|v| *v *= factor),
        }
    }
}

/// What columns are made from.
struct Parts<'a> {
    space: &'a DesignSpace,
    layout: &'a Layout,
    /// By attribute, then by layout index: centred within placements.
    attributes: &'a [Vec<f64>; PRODUCTS],
}

impl Parts<'_> {
    /// The column of a unit and kind, scaled to unit variance over the space; `None` where it never varies.
    fn column(&self, unit: usize, kind: usize) -> Option<Column> {
        let placements = self.layout.placements().filter(|p| p.unit == unit);
        let layers: Vec<Layer> = placements.filter_map(|p| self.layer(p, kind)).collect();
        let variance: f64 = layers
            .iter()
            .map(|layer| {
                let active = self.layout.active_probability(layer.placement);
                active * layer.variance(&self.reaching(layer.placement))
            })
            .sum();
        let mut column = Column { kind, layers };
        let factor = variance.sqrt().recip();
        column
            .layers
            .iter_mut()
            .for_each(|layer| layer.scale(factor));
        (variance > 1e-12).then_some(column)
    }

    fn layer(&self, placement: Placement, kind: usize) -> Option<Layer> {
        let term = match kind.checked_sub(NEIGHBOURS) {
            None => self.pair(placement, kind)?,
            Some(attribute) => self.depth(placement, attribute),
        };
        Some(Layer { placement, term })
    }

    /// The depths of the unit at which a layer is active.
    fn reaching(&self, placement: Placement) -> Vec<f64> {
        let depths = self.layout.depths(placement.unit);
        depths
            .filter(|&d| d > placement.layer)
            .map(|d| d as f64)
            .collect()
    }

    fn depth(&self, placement: Placement, attribute: usize) -> Term {
        let value = |b: BlockId| self.attribute(attribute, placement, b);
        Term::Depth {
            values: self.layout.block_ids(placement).map(value).collect(),
            average: crate::stats::mean(&self.reaching(placement)),
        }
    }

    fn pair(&self, placement: Placement, kind: usize) -> Option<Term> {
        let before = Placement {
            layer: placement.layer.checked_sub(1)?,
            ..placement
        };
        let value = |b: BlockId, a: BlockId| {
            let same = f64::from(u8::from(
                self.space.block(before, b) == self.space.block(placement, a),
            ));
            let at = |attribute: usize, p, id| self.attribute(attribute, p, id);
            match kind {
                0 => same,
                1 => same * at(PRODUCTS - 1, placement, a),
                _ => at(kind - 2, before, b) * at(kind - 2, placement, a),
            }
        };
        let row = |b| {
            self.layout
                .block_ids(placement)
                .map(|a| value(b, a))
                .collect()
        };
        let mut table: Vec<Vec<f64>> = self.layout.block_ids(before).map(row).collect();
        centre_twice(&mut table);
        Some(Term::Pair(table))
    }

    fn attribute(&self, attribute: usize, placement: Placement, block: BlockId) -> f64 {
        self.attributes[attribute][self.layout.block(placement, block)]
    }
}

/// Takes the means of rows and columns out of a table: what is left is the interaction of both.
fn centre_twice(table: &mut [Vec<f64>]) {
    for row in table.iter_mut() {
        let mean = crate::stats::mean(row);
        row.iter_mut().for_each(|v| *v -= mean);
    }
    let columns = table.first().map_or(0, Vec::len);
    for column in 0..columns {
        let values: Vec<f64> = table.iter().map(|row| row[column]).collect();
        let mean = crate::stats::mean(&values);
        table.iter_mut().for_each(|row| row[column] -= mean);
    }
}
