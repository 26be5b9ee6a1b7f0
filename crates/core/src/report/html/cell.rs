//! The coloured cell that every table of effects is made of, and the legend to its colours.

use maud::{Markup, Render, html};

use super::super::format;
use super::super::view::View;
use crate::metric::Direction;
use crate::profile::Estimate;

/// How sure a cell's figure is, which decides how loudly it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Differs from zero after correction for all comparisons: bold.
    Sure,
    /// Differs from zero on its own only, or no test applies.
    Plain,
    /// Cannot be told from zero: small, grey, hardly coloured.
    Unsure,
}

/// A cell of a coloured table. The number stands in it; colour only repeats what it says.
pub(super) struct Cell {
    pub number: String,
    /// A second line in small print.
    pub small: Option<String>,
    /// Shown on hover.
    pub title: Option<String>,
    /// Between -1 (worst in the table) and 1 (best).
    pub goodness: f64,
    pub weight: Weight,
}

/// Colour that is left to figures which cannot be told from zero.
const UNSURE_COLOUR: f64 = 0.35;

impl Render for Cell {
    fn render(&self) -> Markup {
        let (tone, v) = self.tone();
        let weight = match self.weight {
            Weight::Sure => "sure",
            Weight::Plain => "",
            Weight::Unsure => "unsure",
        };
        let class = format!("{tone} {weight}");
        let style = (!tone.is_empty()).then(|| format!("--v:{v:.2}"));
        html! {
            td class=[some(class.trim())] style=[style] title=[self.title.as_deref()] {
                (self.number)
                @if let Some(small) = &self.small { " " small { (small) } }
            }
        }
    }
}

impl Cell {
    fn tone(&self) -> (&'static str, f64) {
        let strength = if self.weight == Weight::Unsure {
            UNSURE_COLOUR
        } else {
            1.0
        };
        tone(self.goodness, strength)
    }
}

/// Colour grows slower than the figure, so that one large effect does not leave all others white. The
/// legend shows what a colour stands for.
const COLOUR_EXPONENT: f64 = 0.65;

/// The class that sets the hue, and the amount of it between 0 and 1.
fn tone(goodness: f64, strength: f64) -> (&'static str, f64) {
    let v = goodness.abs().min(1.0).powf(COLOUR_EXPONENT) * strength;
    // Below half a step of the two digits printed there is nothing to see.
    if !v.is_finite() || v < 0.005 {
        ("", 0.0)
    } else if goodness > 0.0 {
        ("good", v)
    } else {
        ("bad", v)
    }
}

fn some(class: &str) -> Option<&str> {
    (!class.is_empty()).then_some(class)
}

/// The cell where a table has no value.
pub(super) fn empty() -> Markup {
    html! { td.none { "\u{2013}" } }
}

/// An effect of `view` in a table whose largest is `scale`, with its interval in small print.
pub(super) fn effect_cell(view: &View<'_>, estimate: &Estimate, scale: f64, sure: Weight) -> Cell {
    Cell {
        number: format::signed(estimate.value, view.decimals),
        small: Some(format::interval(estimate, view.decimals)),
        title: None,
        goodness: relative(view.goodness(estimate.value), scale),
        weight: sure,
    }
}

/// `value` on a scale that ends at `scale`.
pub(super) fn relative(value: f64, scale: f64) -> f64 {
    if scale > 0.0 && value.is_finite() {
        (value / scale).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

/// The legend of a table of effects whose colours end at `scale` on both sides of zero.
pub(super) fn legend(view: &View<'_>, scale: f64) -> Markup {
    let (low, high) = match view.info().direction {
        Direction::LowerIsBetter => ("better", "worse"),
        Direction::HigherIsBetter => ("worse", "better"),
    };
    let steps = STEPS.map(|step| {
        let value = step * scale;
        (
            format::signed(value, view.decimals),
            relative(view.goodness(value), scale),
        )
    });
    swatches(low, high, &view.effect_unit, &steps)
}

/// Where legends show a colour, as parts of the scale.
pub(super) const STEPS: [f64; 7] = [-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0];

/// A row of colours, each with the number that it stands for.
pub(super) fn swatches(low: &str, high: &str, unit: &str, steps: &[(String, f64)]) -> Markup {
    html! {
        div.legend {
            span { (low) }
            @for (number, goodness) in steps {
                @let (tone, v) = tone(*goodness, 1.0);
                span class={ "swatch " (tone) } style=(format!("--v:{v:.2}")) { (number) }
            }
            span { (high) " (" (unit) ")" }
        }
    }
}
