//! The page's style sheet.

use maud::{Markup, PreEscaped, html};

const CSS: &str = include_str!("style.css");

pub(super) fn element() -> Markup {
    html! { style { (PreEscaped(CSS)) } }
}
