//! The shape of a tensor.

/// Channels, height and width of a tensor at batch 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Channels.
    pub channels: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl Shape {
    /// A square image.
    #[must_use]
    pub fn square(channels: u32, side: u32) -> Self {
        Self {
            channels,
            height: side,
            width: side,
        }
    }

    /// A vector of `channels` numbers.
    #[must_use]
    pub fn vector(channels: u32) -> Self {
        Self::square(channels, 1)
    }

    /// How many numbers the tensor has.
    #[must_use]
    pub fn elements(self) -> u64 {
        u64::from(self.channels) * u64::from(self.height) * u64::from(self.width)
    }

    /// The shape with `channels` after a layer of this stride whose padding keeps the centre: sides are
    /// divided and rounded up.
    #[must_use]
    pub fn strided(self, channels: u32, stride: u32) -> Self {
        Self {
            channels,
            height: self.height.div_ceil(stride),
            width: self.width.div_ceil(stride),
        }
    }
}

/// Channels multiplied by a width: as they are written where the width is 1, else in multiples of 8, as the MobileNet
/// papers and the `ofa` package have them.
#[must_use]
#[allow(clippy::float_cmp)] // a width of 1 is written so
pub(crate) fn scaled_channels(channels: u32, width: f64) -> u32 {
    match width {
        1.0 => channels,
        width => make_divisible(f64::from(channels) * width),
    }
}

/// Rounds to the nearest multiple of 8, never below 90 % of `v`: `make_divisible` of the
/// MobileNet papers and of the `ofa` package.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn make_divisible(v: f64) -> u32 {
    const DIVISOR: f64 = 8.0;
    let rounded = ((v + DIVISOR / 2.0) / DIVISOR).floor() * DIVISOR;
    let rounded = rounded.max(DIVISOR);
    if rounded < 0.9 * v {
        (rounded + DIVISOR) as u32
    } else {
        rounded as u32
    }
}
