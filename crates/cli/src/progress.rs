//! The progress bar of long work; quiet when nobody looks.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, or none when that is not a terminal or `quiet` is asked for.
pub fn bar(total: u64, already: u64, quiet: bool) -> ProgressBar {
    counting("measured", total, already, quiet)
}

/// A bar for architectures that are evaluated, with what is known so far behind it.
pub fn evaluations(total: u64, already: u64, quiet: bool) -> ProgressBar {
    counting("evaluated", total, already, quiet)
}

fn counting(what: &str, total: u64, already: u64, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(total).with_position(already);
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = format!("{{bar:32}} {{pos}}/{{len}} {what}, {{eta}} left  {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    // Work of earlier runs took no time in this one: the estimate counts from here.
    bar.reset_eta();
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// A bar for bytes that arrive.
pub fn bytes(total: u64, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
