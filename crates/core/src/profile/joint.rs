//! The joint covariance of a profile's estimates, in a compact form for its document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::means::Contrast;
use super::{Means, Uncertainty};

/// The joint covariance of: the mean over the space, then the effects of the blocks, of the depths and of the widths,
/// in the order of the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joint {
    /// What it describes.
    pub uncertainty: Uncertainty,
    /// Degrees of freedom of Student's t; `None` where the normal distribution is meant.
    pub degrees_of_freedom: Option<f64>,
    /// The same for statements about many estimates at once, whose extremes feel most that variances are estimates;
    /// `None` in documents of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_degrees_of_freedom: Option<f64>,
    /// Number of estimates.
    pub size: usize,
    /// The lower triangle row by row: 32-bit little-endian floats in base64.
    pub covariance: String,
}

/// The lower triangle row by row.
fn encoded(joint: &DMatrix<f64>) -> String {
    let triangle = (0..joint.nrows()).flat_map(|row| (0..=row).map(move |c| (row, c)));
    #[allow(clippy::cast_possible_truncation)]
    let bytes: Vec<u8> = triangle
        .flat_map(|at| (joint[at] as f32).to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

impl Joint {
    pub(super) fn new(means: &Means, contrasts: &[Contrast]) -> Self {
        Self {
            uncertainty: means.uncertainty,
            degrees_of_freedom: Some(means.degrees_of_freedom).filter(|d| d.is_finite()),
            family_degrees_of_freedom: Some(means.joint_degrees_of_freedom)
                .filter(|d| d.is_finite()),
            size: contrasts.len(),
            covariance: encoded(&means.joint(contrasts)),
        }
    }

    /// The covariance where all `values` may also be off by one common factor, known to `relative` (a standard
    /// deviation). A damaged one stays as it is.
    pub(super) fn with_uncertain_level(mut self, values: &[f64], relative: f64) -> Self {
        if let Some(matrix) = self.matrix().filter(|m| m.nrows() == values.len()) {
            let values = DVector::from_column_slice(values);
            let level = &values * values.transpose() * (relative * relative);
            self.covariance = encoded(&(matrix + level));
        }
        self
    }

    /// The covariance as a symmetric matrix; `None` when the text is damaged.
    #[must_use]
    pub fn matrix(&self) -> Option<DMatrix<f64>> {
        let bytes = STANDARD.decode(&self.covariance).ok()?;
        let expected = self
            .size
            .checked_mul(self.size.checked_add(1)?)?
            .checked_mul(2)?;
        if bytes.len() != expected {
            return None;
        }
        let mut numbers = bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        let mut matrix = DMatrix::zeros(self.size, self.size);
        for row in 0..self.size {
            for column in 0..=row {
                let number = numbers.next().filter(|x| x.is_finite())?;
                matrix[(row, column)] = number;
                matrix[(column, row)] = number;
            }
        }
        Some(matrix)
    }

    /// Degrees of freedom as a number.
    #[must_use]
    pub fn degrees(&self) -> f64 {
        self.degrees_of_freedom.unwrap_or(f64::INFINITY)
    }

    /// Degrees of freedom of statements about many estimates at once, as a number.
    #[must_use]
    pub fn family_degrees(&self) -> f64 {
        self.family_degrees_of_freedom
            .unwrap_or_else(|| self.degrees())
    }
}
