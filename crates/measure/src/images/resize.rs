//! Resizing as Pillow does it, and torchvision's crop of the centre: `Resize(ceil(size / 0.875))` and
//! `CenterCrop(size)`.
//!
//! Pillow's bilinear filter grows with the factor of shrinking (it "antialiases"), weighs with integers of 22
//! fractional bits, and rounds to bytes between its two passes. The same integers are used here, and only the pixels
//! that the crop keeps are computed, so that the result is equal to the byte. The order of the passes is that of Pillow
//! 13: see [`vertical_first`].

use super::Rgb;

/// Fractional bits of Pillow's weights (`PRECISION_BITS` in `Resample.c`).
const BITS: u32 = 22;

/// The shorter side of a resized image of which a square of `size` is cut: `ceil(size / 0.875)`.
#[must_use]
pub fn resized_side(size: usize) -> usize {
    (8 * size).div_ceil(7)
}

/// The square of `size` x `size` x 3 bytes in the centre of an image whose shorter side is resized to
/// [`resized_side`].
#[must_use]
pub fn resize_and_crop(image: &Rgb, size: usize) -> Vec<u8> {
    let (width, height) = resized(image.width, image.height, resized_side(size));
    let (left, top) = (centred(width, size), centred(height, size));
    let columns = Taps::of(image.width, width, left..left + size);
    let rows = Taps::of(image.height, height, top..top + size);
    if vertical_first([image.width, image.height], [width, height]) {
        let low = rows.columns(&image.pixels, 0, 3 * image.width);
        let lines = low.chunks_exact(3 * image.width);
        return lines.flat_map(|row| columns.row(row)).collect();
    }
    let (first, last) = rows.reach();
    let narrow: Vec<u8> = image
        .pixels
        .chunks_exact(3 * image.width)
        .take(last)
        .skip(first)
        .flat_map(|row| columns.row(row))
        .collect();
    rows.columns(&narrow, first, 3 * size)
}

/// Whether Pillow 13 resizes the columns before the rows, widths and heights `from` and `to`: where the height
/// shrinks, by more than twice as many pixels as the width. Up to Pillow 12 rows always came first. Found by trying
/// 13.0.0 on some 1,360 pairs of sizes: between the passes pixels are rounded to bytes, so that the order shows.
fn vertical_first(from: [usize; 2], to: [usize; 2]) -> bool {
    // A side that grows has lost nothing.
    let lost = |side: usize| from[side].saturating_sub(to[side]);
    lost(1) > 2 * lost(0)
}

/// Width and height when the shorter side becomes `side` (torchvision's `_compute_resized_output_size`).
fn resized(width: usize, height: usize, side: usize) -> (usize, usize) {
    if width <= height {
        (side, side * height / width)
    } else {
        (side * width / height, side)
    }
}

/// Where a crop of `size` begins: Python's `round` of half the rest, which takes halves to the even neighbour.
fn centred(length: usize, size: usize) -> usize {
    let rest = length.saturating_sub(size);
    let half = rest / 2;
    half + usize::from(rest % 2 == 1 && half % 2 == 1)
}

/// For some pixels of one resized side: where the pixels that they are made of begin, and their weights.
struct Taps {
    starts: Vec<usize>,
    weights: Vec<Vec<i32>>,
}

impl Taps {
    /// Those of the pixels `wanted` of a side that goes from length `from` to length `to`; every pixel is its own when
    /// nothing changes (Pillow skips the pass).
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn of(from: usize, to: usize, wanted: std::ops::Range<usize>) -> Self {
        if from == to {
            return Self {
                weights: vec![vec![1 << BITS]; wanted.len()],
                starts: wanted.collect(),
            };
        }
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = filter_scale;
        let tap = |pixel: usize| {
            let centre = (pixel as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weight = |at: usize| {
                let distance = ((at as f64 - centre + 0.5) * (1.0 / filter_scale)).abs();
                if distance < 1.0 { 1.0 - distance } else { 0.0 }
            };
            let weights: Vec<f64> = (start..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: f64| {
                let weight = if sum == 0.0 { weight } else { weight / sum };
                (0.5 + weight * f64::from(1_u32 << BITS)) as i32
            };
            (start, weights.into_iter().map(fixed).collect())
        };
        let (starts, weights) = wanted.map(tap).unzip();
        Self { starts, weights }
    }

    /// The first pixel that is needed, and one past the last.
    fn reach(&self) -> (usize, usize) {
        let ends = self.starts.iter().zip(&self.weights);
        let last = ends.map(|(start, weights)| start + weights.len()).max();
        let first = self.starts.iter().min();
        (first.copied().unwrap_or(0), last.unwrap_or(0))
    }

    /// A row of RGB pixels, resized.
    fn row(&self, row: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 * self.starts.len());
        for (start, weights) in self.starts.iter().zip(&self.weights) {
            let mut sums = [1 << (BITS - 1); 3];
            let pixels = row[3 * start..].as_chunks::<3>().0;
            for (weight, pixel) in weights.iter().zip(pixels) {
                for (sum, byte) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(*byte);
                }
            }
            out.extend(sums.map(byte));
        }
        out
    }

    /// Rows of `stride` bytes, the first of which is row `first` of the image, resized downwards.
    fn columns(&self, rows: &[u8], first: usize, stride: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.starts.len() * stride);
        let mut sums = vec![0_i32; stride];
        for (start, weights) in self.starts.iter().zip(&self.weights) {
            sums.fill(1 << (BITS - 1));
            let rows = rows.chunks_exact(stride).skip(start - first);
            for (weight, row) in weights.iter().zip(rows) {
                for (sum, byte) in sums.iter_mut().zip(row) {
                    *sum += weight * i32::from(*byte);
                }
            }
            out.extend(sums.iter().map(|sum| byte(*sum)));
        }
        out
    }
}

/// Pillow's `clip8`.
fn byte(sum: i32) -> u8 {
    u8::try_from((sum >> BITS).clamp(0, 255)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_crops_are_those_of_torchvision() {
        assert_eq!(
            [224, 160, 128, 175, 64].map(resized_side),
            [256, 183, 147, 200, 74]
        );
        assert_eq!(resized(500, 375, 256), (341, 256));
        assert_eq!(resized(375, 500, 256), (256, 341));
        // round(0.5) = 0, round(1.5) = 2, round(2.5) = 2, round(58.5) = 58
        let halves = [1, 3, 5, 117, 4].map(|rest| centred(224 + rest, 224));
        assert_eq!(halves, [0, 2, 2, 58, 2]);
    }

    #[test]
    fn passes_come_in_the_order_of_pillow() {
        // Each tried with Pillow 13.0.0.
        for (from, to, vertical) in [
            ([161, 375], [110, 256], true),
            ([375, 161], [256, 110], false),
            ([148, 296], [74, 148], false),
            ([148, 297], [74, 148], true),
            ([64, 80], [60, 72], false),
            ([64, 80], [60, 71], true),
            ([30, 40], [60, 39], true),
            ([30, 40], [20, 41], false),
        ] {
            assert_eq!(vertical_first(from, to), vertical, "{from:?} {to:?}");
        }
    }

    /// The definition: all of the image is resized by a triangle filter in f64, then cropped.
    fn naive(image: &Rgb, size: usize) -> Vec<f64> {
        let (width, height) = resized(image.width, image.height, resized_side(size));
        let triangle =
            |at: f64, centre: f64, scale: f64| (1.0 - ((at - centre) / scale).abs()).max(0.0);
        let weights = |from: usize, to: usize, pixel: usize| -> Vec<f64> {
            let scale = from as f64 / to as f64;
            let centre = (pixel as f64 + 0.5) * scale;
            let all = (0..from).map(|at| triangle(at as f64 + 0.5, centre, scale.max(1.0)));
            let all: Vec<f64> = all.collect();
            let sum: f64 = all.iter().sum();
            all.into_iter().map(|w| w / sum).collect()
        };
        let (left, top) = (centred(width, size), centred(height, size));
        let mut out = Vec::new();
        for y in top..top + size {
            let down = weights(image.height, height, y);
            for x in left..left + size {
                let across = weights(image.width, width, x);
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for (row, w) in image.pixels.chunks_exact(3 * image.width).zip(&down) {
                        let pixels = row.iter().skip(channel).step_by(3).zip(&across);
                        sum += w * pixels.map(|(p, a)| a * f64::from(*p)).sum::<f64>();
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    #[test]
    fn resizing_is_a_triangle_filter() {
        for (width, height) in [(40, 33), (9, 70), (16, 16), (21, 24), (8, 8), (25, 61)] {
            let pixels = (0..3 * width * height).map(|i| ((i * 7_919 + i * i) % 256) as u8);
            let image = Rgb {
                width,
                height,
                pixels: pixels.collect(),
            };
            for size in [14, 7, 21] {
                let ours = resize_and_crop(&image, size);
                let naive = naive(&image, size);
                assert_eq!(ours.len(), naive.len());
                for (a, b) in ours.iter().zip(naive) {
                    // Two roundings to bytes.
                    assert!(
                        (f64::from(*a) - b).abs() < 1.01,
                        "{width}x{height} -> {size}: {a} {b}"
                    );
                }
            }
        }
    }
}
