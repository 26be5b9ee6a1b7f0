//! Batch-norm statistics of many batches as those of one.

/// What one batch showed at one batch-norm.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStatistics {
    /// Images in the batch.
    pub images: usize,
    /// Mean of every channel over images, rows and columns.
    pub mean: Vec<f32>,
    /// Biased variance of every channel.
    pub variance: Vec<f32>,
}

/// How batches become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Mean and variance of all activations: the mean of the variances within batches, plus the variance of the
    /// batches' means.
    #[default]
    Total,
    /// The mean of the variances within batches alone, as `set_running_statistics` of the `ofa` package takes it. It is
    /// too small by the variance between batches.
    Published,
}

/// Mean and variance of every channel over all batches, each batch as heavy as it has images. In f64, in the order
/// given.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // to the precision of weights
pub fn pooled(batches: &[BatchStatistics], pooling: Pooling) -> (Vec<f32>, Vec<f32>) {
    let images: f64 = batches.iter().map(|b| b.images as f64).sum();
    let channels = batches.iter().map(|b| b.mean.len()).min().unwrap_or(0);
    let average = |of: &dyn Fn(&BatchStatistics) -> f64| -> f64 {
        let weighted = batches.iter().map(|b| b.images as f64 * of(b));
        weighted.sum::<f64>() / images
    };
    let channel = |c: usize| {
        let mean = average(&|b| f64::from(b.mean[c]));
        let within = average(&|b| f64::from(b.variance[c]));
        let variance = match pooling {
            Pooling::Published => within,
            Pooling::Total => within + average(&|b| (f64::from(b.mean[c]) - mean).powi(2)),
        };
        (mean as f32, variance as f32)
    };
    (0..channels).map(channel).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::cast_precision_loss)]
    fn mean_and_variance(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (
            mean,
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n,
        )
    }

    /// The definition: all activations together, five for every image.
    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn total_statistics_are_those_of_all_activations() {
        let sizes = [4, 4, 1];
        let activation = |channel: usize, i: usize| {
            ((i * 37 + channel * 11) % 23) as f64 / 7.0 + (i / 20) as f64
        };
        let mut batches = Vec::new();
        let mut from = 0;
        for images in sizes {
            let of = |channel| {
                let values: Vec<f64> = (from..from + 5 * images)
                    .map(|i| activation(channel, i))
                    .collect();
                mean_and_variance(&values)
            };
            let (mean, variance): (Vec<f32>, Vec<f32>) =
                (0..2).map(of).map(|(m, v)| (m as f32, v as f32)).unzip();
            batches.push(BatchStatistics {
                images,
                mean,
                variance,
            });
            from += 5 * images;
        }
        let (mean, variance) = pooled(&batches, Pooling::Total);
        let (same_mean, within) = pooled(&batches, Pooling::Published);
        assert_eq!(mean, same_mean);
        for channel in 0..2 {
            let values: Vec<f64> = (0..from).map(|i| activation(channel, i)).collect();
            let (m, v) = mean_and_variance(&values);
            assert!((f64::from(mean[channel]) - m).abs() < 1e-6);
            assert!((f64::from(variance[channel]) - v).abs() < 1e-6);
            let average = batches
                .iter()
                .map(|b| f64::from(b.variance[channel]) * b.images as f64);
            assert!((f64::from(within[channel]) - average.sum::<f64>() / 9.0).abs() < 1e-6);
            assert!(within[channel] < variance[channel]);
        }
        assert_eq!(
            pooled(&batches[..1], Pooling::Total),
            pooled(&batches[..1], Pooling::Published)
        );
        assert_eq!(pooled(&[], Pooling::Total), (Vec::new(), Vec::new()));
    }
}
