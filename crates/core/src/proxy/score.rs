//! From what a graph gave to a score.

use nalgebra::DMatrix;

use crate::network::onnx::GraphOutput;

/// Why there is no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// Without activation functions there are no codes.
    #[error("the network has no activation functions, so its images have no binary codes")]
    NoActivations,
    /// The determinant is zero.
    #[error(
        "two images have the same binary code: the determinant is zero, its logarithm minus infinity"
    )]
    EqualCodes,
    /// The features are the same for both batches.
    #[error(
        "the features do not change with the image: the logarithm of the change is minus infinity"
    )]
    NoChange,
    /// An output holds NaN or infinity.
    #[error("the engine's output is not finite")]
    NotFinite,
    /// The outputs are not those of the graph.
    #[error("{found} runs were given where the proxy needs {expected}")]
    Runs {
        /// Runs needed.
        expected: usize,
        /// Runs given.
        found: usize,
    },
}

/// log det of the sum over activation functions of (units + agreements) / 2, the number of units that agree.
#[allow(clippy::cast_precision_loss)]
pub(super) fn naswot(
    images: usize,
    kinds: &[GraphOutput],
    outputs: &[Vec<f32>],
) -> Result<f64, ScoreError> {
    let mut kernel = DMatrix::<f64>::zeros(images, images);
    let mut functions = 0;
    for (kind, output) in kinds.iter().zip(outputs) {
        if !matches!(kind, GraphOutput::Code(_)) || output.len() != images * images {
            continue;
        }
        // Every image agrees with itself everywhere.
        let units = output.first().copied().map_or(0.0, f64::from);
        let agreements = output.iter().map(|&a| f64::midpoint(f64::from(a), units));
        kernel += DMatrix::from_iterator(images, images, agreements);
        functions += 1;
    }
    if functions == 0 {
        return Err(ScoreError::NoActivations);
    }
    log_determinant(kernel)
}

/// The logarithm of the determinant of a symmetric positive definite matrix.
///
/// # Errors
/// [`ScoreError::EqualCodes`] when the determinant is zero in double precision (or the matrix not
/// positive), [`ScoreError::NotFinite`] when a number in it is not finite.
pub fn log_determinant(kernel: DMatrix<f64>) -> Result<f64, ScoreError> {
    if kernel.iter().any(|x| !x.is_finite()) {
        return Err(ScoreError::NotFinite);
    }
    // The determinant itself would overflow.
    let largest = kernel.diagonal().max();
    let factor = kernel.cholesky().ok_or(ScoreError::EqualCodes)?;
    let pivots = factor.l().diagonal();
    // What is left of a pivot by rounding alone is a zero.
    if pivots.min().powi(2) <= largest * f64::EPSILON * 16.0 {
        return Err(ScoreError::EqualCodes);
    }
    Ok(2.0 * pivots.iter().map(|pivot| pivot.ln()).sum::<f64>())
}

/// log of the mean distance of features, plus the logarithms of what batch-norms divided by.
#[allow(clippy::cast_precision_loss)]
pub(super) fn zen(
    images: usize,
    kinds: &[GraphOutput],
    clean: &[Vec<f32>],
    changed: &[Vec<f32>],
) -> Result<f64, ScoreError> {
    let runs = ScoreError::Runs {
        expected: 2,
        found: 0,
    };
    let (Some(a), Some(b)) = (clean.first(), changed.first()) else {
        return Err(runs);
    };
    let length = (a.len() / images.max(1)).max(1);
    let distances = a.chunks_exact(length).zip(b.chunks_exact(length));
    let distances = distances.map(|(a, b)| distance(a, b)).sum::<f64>();
    let change = distances / images as f64;
    if change == 0.0 {
        return Err(ScoreError::NoChange);
    }
    let variances = kinds.iter().zip(clean);
    let variances = variances.filter(|(kind, _)| matches!(kind, GraphOutput::Variance(_)));
    let compensation = variances.map(|(_, v)| 0.5 * mean(v).ln()).sum::<f64>();
    let score = change.ln() + compensation;
    score
        .is_finite()
        .then_some(score)
        .ok_or(ScoreError::NotFinite)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b);
    let squares = squares.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>().sqrt()
}

#[allow(clippy::cast_precision_loss)]
fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / numbers.len() as f64
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::seed::Seed;

    /// Leibniz' sum over all permutations.
    fn naive_determinant(matrix: &DMatrix<f64>, row: usize, used: &mut Vec<usize>) -> f64 {
        let n = matrix.nrows();
        if row == n {
            let inversions = (0..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .filter(|&(i, j)| used[j] > used[i])
                .count();
            return if inversions % 2 == 0 { 1.0 } else { -1.0 };
        }
        let mut sum = 0.0;
        for column in 0..n {
            if !used.contains(&column) {
                used.push(column);
                sum += matrix[(row, column)] * naive_determinant(matrix, row + 1, used);
                used.pop();
            }
        }
        sum
    }

    /// Codes of `layers` activation functions and the agreements that a graph gives for them.
    fn codes(images: usize, layers: &[usize], seed: u64) -> (Vec<Vec<bool>>, Vec<Vec<f32>>) {
        let mut rng = Seed(seed).rng();
        let mut whole = vec![Vec::new(); images];
        let mut outputs = vec![vec![0.0; images]];
        for &units in layers {
            let layer: Vec<Vec<bool>> = (0..images)
                .map(|_| (0..units).map(|_| rng.random_bool(0.4)).collect())
                .collect();
            let signs = |a: &Vec<bool>, b: &Vec<bool>| -> f32 {
                let signs = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| if a == b { 1.0 } else { -1.0 });
                signs.sum()
            };
            let pairs = layer.iter().flat_map(|a| layer.iter().map(move |b| (a, b)));
            outputs.push(pairs.map(|(a, b)| signs(a, b)).collect());
            whole.iter_mut().zip(layer).for_each(|(w, l)| w.extend(l));
        }
        (whole, outputs)
    }

    fn kinds(functions: usize) -> Vec<GraphOutput> {
        let code = |i: usize| GraphOutput::Code(i.to_string());
        std::iter::once(GraphOutput::Network)
            .chain((0..functions).map(code))
            .collect()
    }

    #[test]
    fn the_score_is_the_determinant_of_codes_that_agree() {
        for seed in 0..20 {
            let (whole, outputs) = codes(5, &[40, 7, 100], seed);
            let agree = |i: usize, j: usize| {
                let pairs = whole[i].iter().zip(&whole[j]);
                pairs.filter(|(a, b)| a == b).count() as f64
            };
            let kernel = DMatrix::from_fn(5, 5, agree);
            let naive = naive_determinant(&kernel, 0, &mut Vec::new()).ln();
            let score = naswot(5, &kinds(3), &outputs).unwrap();
            assert!((score - naive).abs() < 1e-9 * naive, "{score} {naive}");
        }
    }

    #[test]
    fn what_has_no_determinant_is_no_score() {
        let (_, mut outputs) = codes(4, &[30], 1);
        assert_eq!(
            naswot(4, &kinds(0), &outputs),
            Err(ScoreError::NoActivations)
        );
        outputs[1] = vec![30.0; 16];
        assert_eq!(naswot(4, &kinds(1), &outputs), Err(ScoreError::EqualCodes));
        outputs[1][3] = f32::NAN;
        assert_eq!(naswot(4, &kinds(1), &outputs), Err(ScoreError::NotFinite));
    }

    #[test]
    fn zen_adds_what_batch_norms_took_away() {
        use crate::network::onnx::NormName;
        let kinds = [
            GraphOutput::Network,
            GraphOutput::Mean(NormName::Node(0)),
            GraphOutput::Variance(NormName::Node(0)),
        ];
        let clean = [vec![1.0, 2.0, 0.0, 0.0], vec![9.0; 2], vec![3.0, 5.0]];
        let changed = [vec![1.0, 5.0, 4.0, 3.0], vec![9.0; 2], vec![7.0; 2]];
        // Distances 3 and 5; the mean variance is 4.
        let score = zen(2, &kinds, &clean, &changed).unwrap();
        assert!((score - (4.0_f64.ln() + 2.0_f64.ln())).abs() < 1e-12);
        assert_eq!(zen(2, &kinds, &clean, &clean), Err(ScoreError::NoChange));
    }
}
