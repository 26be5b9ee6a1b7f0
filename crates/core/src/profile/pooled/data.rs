//! Observations as rows of a regression, and the same information in at most as many rows as there are columns.

use nalgebra::{DMatrix, DVector};

/// Rows that are multiplied at once: memory stays small however many there are.
const CHUNK: usize = 4_096;
/// Directions of the design that carry less than this share of the largest are rounding errors.
const NEGLIGIBLE: f64 = 1e-13;

/// Weighted rows, compressed where there are more of them than columns.
pub(super) struct Compressed {
    pub(super) z: DMatrix<f64>,
    pub(super) y: DVector<f64>,
    /// Sum of squares that no coefficient can explain, and its degrees of freedom.
    pub(super) rest: (f64, f64),
}

impl Compressed {
    /// Every row as it is, however many there are.
    #[cfg(test)]
    pub(super) fn whole(z: &DMatrix<f64>, y: &DVector<f64>) -> Self {
        Self {
            z: z.clone(),
            y: y.clone(),
            rest: (0.0, 0.0),
        }
    }

    /// Whether there were more observations than columns.
    pub(super) fn is_compressed(&self) -> bool {
        self.rest.1 > 0.0
    }

    /// How many observations there are.
    pub(super) fn observations(&self) -> f64 {
        self.y.len() as f64 + self.rest.1
    }

    /// Rows of `z` and numbers of `y`, each counting as `weights` (inverse noise variances, relative) says.
    ///
    /// With more rows than columns, all that the data say of the coefficients is in Z'Z and Z'y; a square root of the
    /// former takes the place of Z. Time grows linearly with the number of rows, and memory beyond `z` not at all.
    pub(super) fn new(z: &DMatrix<f64>, y: &DVector<f64>, weights: &DVector<f64>) -> Self {
        let (n, columns) = z.shape();
        let roots = weights.map(f64::sqrt);
        let y = y.component_mul(&roots);
        if n <= columns {
            return Self {
                z: scaled(z, 0, n, &roots),
                y,
                rest: (0.0, 0.0),
            };
        }
        let mut gram = DMatrix::zeros(columns, columns);
        let mut products = DVector::zeros(columns);
        for first in (0..n).step_by(CHUNK) {
            let count = CHUNK.min(n - first);
            let part = scaled(z, first, count, &roots);
            gram.gemm_tr(1.0, &part, &part, 1.0);
            products.gemv_tr(1.0, &part, &y.rows(first, count), 1.0);
        }
        let eigen = gram.symmetric_eigen();
        let largest = eigen.eigenvalues.max();
        let kept: Vec<usize> = (0..columns)
            .filter(|&i| eigen.eigenvalues[i] > NEGLIGIBLE * largest)
            .collect();
        let root = |i: usize| eigen.eigenvalues[i].sqrt();
        let rows: Vec<_> = kept
            .iter()
            .map(|&i| eigen.eigenvectors.column(i).transpose() * root(i))
            .collect();
        let rotated = DVector::from_iterator(
            kept.len(),
            kept.iter()
                .map(|&i| eigen.eigenvectors.column(i).dot(&products) / root(i)),
        );
        let rest = (y.norm_squared() - rotated.norm_squared()).max(0.0);
        Self {
            z: DMatrix::from_rows(&rows),
            y: rotated,
            rest: (rest, (n - kept.len()) as f64),
        }
    }
}

fn scaled(z: &DMatrix<f64>, first: usize, count: usize, roots: &DVector<f64>) -> DMatrix<f64> {
    let mut part = z.rows(first, count).into_owned();
    for mut column in part.column_iter_mut() {
        column.component_mul_assign(&roots.rows(first, count));
    }
    part
}
