//! Axes, ticks and markers: the little that inline SVG needs to be a plot.

use maud::{Markup, html};

/// A linear axis with round ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

/// Ticks that an axis aims at.
const TICKS: f64 = 6.0;

impl Axis {
    /// The axis that covers the values with some room; values that are not finite are passed over.
    pub(super) fn covering(values: impl IntoIterator<Item = f64>) -> Self {
        let finite = values.into_iter().filter(|v| v.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            return Self::rounded(0.0, 1.0);
        }
        let room = (high - low) * 0.04;
        // A single value still needs an axis around it.
        let room = if room > 0.0 {
            room
        } else {
            low.abs().max(1.0) * 0.05
        };
        Self::rounded(low - room, high + room)
    }

    fn rounded(low: f64, high: f64) -> Self {
        let step = round_step((high - low) / TICKS);
        Self { low, high, step }
    }

    /// The round values to mark.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step).ceil() as i64;
        let last = (self.high / self.step).floor() as i64;
        (first..=last.min(first.saturating_add(30)))
            .map(|i| i as f64 * self.step)
            .collect()
    }

    /// The place of `value` between `from` (the low end) and `to`.
    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.5
        };
        from + share * (to - from)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn label(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        super::super::format::plain(tick, decimals)
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn round_step(rough: f64) -> f64 {
    if !rough.is_finite() || rough <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    let factor = factors.into_iter().find(|f| f * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// The drawing area of a plot with its two axes.
pub(super) struct Frame {
    pub width: f64,
    pub height: f64,
    pub x: Axis,
    pub y: Axis,
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

impl Frame {
    pub(super) fn x(&self, value: f64) -> f64 {
        self.x.place(value, LEFT, self.width - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.y.place(value, self.height - BOTTOM, TOP)
    }

    /// The four edges of the area: left, right, top, bottom.
    pub(super) fn edges(&self) -> [f64; 4] {
        [LEFT, self.width - RIGHT, TOP, self.height - BOTTOM]
    }

    pub(super) fn view_box(&self) -> String {
        format!("0 0 {} {}", self.width, self.height)
    }

    /// Grid lines, tick labels and axis names.
    pub(super) fn axes(&self, x_name: &str, y_name: &str) -> Markup {
        let [left, right, top, bottom] = self.edges();
        let middle = px(f64::midpoint(top, bottom));
        html! {
            @for tick in self.x.ticks() {
                line.grid x1=(px(self.x(tick))) x2=(px(self.x(tick))) y1=(px(top)) y2=(px(bottom)) {}
                text x=(px(self.x(tick))) y=(px(bottom + 16.0)) text-anchor="middle" { (self.x.label(tick)) }
            }
            @for tick in self.y.ticks() {
                line.grid x1=(px(left)) x2=(px(right)) y1=(px(self.y(tick))) y2=(px(self.y(tick))) {}
                text x=(px(left - 7.0)) y=(px(self.y(tick) + 4.0)) text-anchor="end" { (self.y.label(tick)) }
            }
            text.name x=(px(f64::midpoint(left, right))) y=(px(self.height - 8.0)) text-anchor="middle" { (x_name) }
            text.name x="14" y=(middle) text-anchor="middle" transform={ "rotate(-90 14 " (middle) ")" } { (y_name) }
        }
    }

    /// Lines through zero, where the area holds them.
    pub(super) fn zero_lines(&self) -> Markup {
        let [left, right, top, bottom] = self.edges();
        html! {
            @if self.x.low < 0.0 && self.x.high > 0.0 {
                line.zero x1=(px(self.x(0.0))) x2=(px(self.x(0.0))) y1=(px(top)) y2=(px(bottom)) {}
            }
            @if self.y.low < 0.0 && self.y.high > 0.0 {
                line.zero x1=(px(left)) x2=(px(right)) y1=(px(self.y(0.0))) y2=(px(self.y(0.0))) {}
            }
        }
    }
}

/// A coordinate with one digit after the point.
pub(super) fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// The outline of the marker of the `kind`-th group around (x, y).
pub(super) fn marker(kind: usize, x: f64, y: f64) -> String {
    let (x, y) = (px(x), px(y));
    let shape = match kind % 7 {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        1 => "m-3.6-3.6h7.2v7.2h-7.2z",
        2 => "m0-5l5 5l-5 5l-5-5z",
        3 => "m0-4.9l4.6 8.1h-9.2z",
        4 => "m0 4.9l4.6-8.1h-9.2z",
        5 => "m-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
        _ => "m-4.6 0l2.3-4h4.6l2.3 4l-2.3 4h-4.6z",
    };
    format!("M{x} {y}{shape}")
}

/// The colour class of the `kind`-th group.
pub(super) fn colour(kind: usize) -> String {
    format!("u{}", kind % 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::covering([-0.31, 0.62]);
        assert_eq!(axis.step, 0.2);
        let ticks = axis.ticks();
        assert!(ticks.iter().all(|t| (axis.low..=axis.high).contains(t)));
        assert!(ticks.contains(&0.0) && (4..=8).contains(&ticks.len()));
        assert_eq!(axis.label(-0.2), "\u{2212}0.2");
    }

    #[test]
    fn degenerate_data_still_make_an_axis() {
        for values in [vec![], vec![f64::NAN], vec![3.0], vec![0.0, 0.0]] {
            let axis = Axis::covering(values);
            assert!(axis.low < axis.high && axis.step > 0.0);
            assert!(!axis.ticks().is_empty());
            assert!(axis.place(f64::NAN, 0.0, 1.0).is_finite());
        }
    }
}
