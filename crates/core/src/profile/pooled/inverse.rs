//! The inverse of a covariance matrix, which every update of the variances needs.

use nalgebra::{Cholesky, DMatrix, DMatrixViewMut, Dyn};

/// Triangles of at most so many rows are solved column by column.
const SMALL: usize = 32;

/// The inverse of a positive definite matrix from its factor L: that of L by halves, so that most of the work is
/// products of matrices (several times faster than solving for one column after the other), then L^-T L^-1.
pub(super) fn inverse(factored: &Cholesky<f64, Dyn>) -> DMatrix<f64> {
    let mut root = factored.l();
    invert(root.as_view_mut());
    root.tr_mul(&root)
}

/// Puts the inverse in the place of a lower triangular matrix without zeros on its diagonal.
fn invert(mut lower: DMatrixViewMut<'_, f64>) {
    let n = lower.nrows();
    if n <= SMALL {
        let mut inverse = DMatrix::identity(n, n);
        lower.solve_lower_triangular_unchecked_mut(&mut inverse);
        lower.copy_from(&inverse);
        return;
    }
    let (half, rest) = (n / 2, n - n / 2);
    invert(lower.view_mut((0, 0), (half, half)));
    invert(lower.view_mut((half, half), (rest, rest)));
    let product = lower.view((half, half), (rest, rest)) * lower.view((half, 0), (rest, half));
    let product = product * lower.view((0, 0), (half, half));
    lower.view_mut((half, 0), (rest, half)).copy_from(&-product);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_solving_for_every_column() {
        for n in [1, 2, 31, 32, 33, 65, 150] {
            let a = DMatrix::from_fn(n, n, |i, j| ((i * 7 + j * 13) as f64 * 0.37).sin());
            let h = &a * a.transpose() + DMatrix::identity(n, n);
            let factored = Cholesky::new(h).unwrap();
            let (found, naive) = (inverse(&factored), factored.inverse());
            assert!((&found - &naive).norm() < 1e-12 * naive.norm(), "{n}");
        }
    }
}
