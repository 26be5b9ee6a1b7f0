//! The progress bar of long work, with the time that is left; quiet when nobody looks.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::style::ProgressTracker;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, WeakProgressBar};

/// The bar that is on the screen.
static SHOWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// A bar on standard error, or none when that is not a terminal or `quiet` is asked for.
pub fn bar(total: u64, already: u64, quiet: bool) -> ProgressBar {
    counting("measured", total, already, quiet)
}

/// A bar for architectures that are evaluated, with what is known so far behind it.
pub fn evaluations(total: u64, already: u64, quiet: bool) -> ProgressBar {
    counting("evaluated", total, already, quiet)
}

/// What is done now that has no steps to count, such as estimating; cleared by whoever asked for it.
pub fn stage(what: &'static str, quiet: bool) -> ProgressBar {
    let bar = shown(ProgressBar::new_spinner(), quiet);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    bar
}

/// A bar for bytes that arrive.
pub fn bytes(total: u64, quiet: bool) -> ProgressBar {
    let bar = shown(ProgressBar::new(total), quiet);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}, {left}") {
        bar.set_style(style.with_key("left", Pace::default()));
    }
    bar
}

/// Advances a bar of work that was `begun` then. What is told at once was done by earlier runs, and took no time in
/// this one.
pub fn advance(bar: &ProgressBar, begun: Instant, steps: u64) {
    bar.inc(steps);
    if begun.elapsed() < AT_ONCE {
        bar.reset_elapsed();
    }
}

/// Tells the user something above the bar, so that it stays on the screen.
pub fn say(text: &str) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown.and_then(|bar| bar.upgrade()) {
        Some(bar) => bar.suspend(|| eprintln!("{text}")),
        None => eprintln!("{text}"),
    }
}

/// Columns below which a bar is short, so that what it says fits beside it.
const NARROW: u16 = 80;
const AT_ONCE: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_millis(500);

fn counting(what: &str, total: u64, already: u64, quiet: bool) -> ProgressBar {
    let bar = shown(ProgressBar::new(total).with_position(already), quiet);
    let (_, columns) = Term::stderr().size();
    let width = if columns < NARROW { 8 } else { 32 };
    let template = format!("{{bar:{width}}} {{pos}}/{{len}} {what}, {{left}}  {{wide_msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.with_key("left", Pace::default()));
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn shown(bar: ProgressBar, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    bar
}

/// How long steps took lately, and all of them so far: what the time that is left is told from. Where the two differ,
/// so do the times, and both are told: nobody knows whether a busy machine stays busy.
#[derive(Clone, Debug, Default)]
struct Pace {
    /// When the work began, and with how many steps done before.
    began: Option<(Instant, u64)>,
    /// The latest advances, the oldest first: when, and steps done then.
    recent: VecDeque<(Instant, u64)>,
}

/// Advances that are recent.
const RECENT: usize = 10;
/// Advances from which the time that is left is told.
const FEWEST: usize = 3;

impl Pace {
    fn begin(&mut self, now: Instant, done: u64) {
        *self = Self {
            began: Some((now, done)),
            recent: VecDeque::from([(now, done)]),
        };
    }

    fn note(&mut self, now: Instant, done: u64) {
        let Some((_, last)) = self
            .recent
            .back()
            .copied()
            .filter(|(_, last)| *last <= done)
        else {
            return self.begin(now, done);
        };
        if done > last {
            self.recent.push_back((now, done));
            if self.recent.len() > RECENT + 1 {
                self.recent.pop_front();
            }
        }
    }

    /// Seconds that `steps` take at the recent pace and at that of the whole, the shorter first.
    fn left(&self, steps: u64) -> Option<(f64, f64)> {
        let (last, done) = *self.recent.back()?;
        let (recently, before) = *self.recent.front()?;
        let (began, first) = self.began?;
        if self.recent.len() <= FEWEST {
            return None;
        }
        let each = |since: Instant, from: u64| {
            let seconds = last.saturating_duration_since(since).as_secs_f64();
            (done > from).then(|| seconds / (done - from) as f64 * steps as f64)
        };
        let (recent, whole) = (each(recently, before)?, each(began, first)?);
        Some((recent.min(whole), recent.max(whole)))
    }
}

/// `about 4 min left`, or `4 to 9 min left` where the pace has changed by more than a third.
fn left(range: Option<(f64, f64)>) -> String {
    let Some((short, long)) = range else {
        return "time left unknown yet".into();
    };
    let (unit, seconds) = match long {
        long if long < 90.0 => ("s", 1.0),
        long if long < 5_400.0 => ("min", 60.0),
        _ => ("h", 3_600.0),
    };
    let number = |value: f64| match value / seconds {
        few if few < 9.5 && seconds > 1.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    };
    let (short, long, apart) = (number(short), number(long), long > 4.0 / 3.0 * short);
    match apart && short != long {
        true => format!("{short} to {long} {unit} left"),
        false => format!("about {long} {unit} left"),
    }
}

impl ProgressTracker for Pace {
    fn clone_box(&self) -> Box<dyn ProgressTracker> {
        Box::new(self.clone())
    }

    fn tick(&mut self, state: &ProgressState, now: Instant) {
        let started = now.checked_sub(state.elapsed());
        match (started, self.began) {
            // The bar was told that the work begins only now.
            (Some(started), Some((began, _))) if started > began => self.begin(now, state.pos()),
            _ => self.note(now, state.pos()),
        }
    }

    fn reset(&mut self, state: &ProgressState, now: Instant) {
        self.begin(now, state.pos());
    }

    fn write(&self, state: &ProgressState, w: &mut dyn Write) {
        let steps = state.len().unwrap_or_default().saturating_sub(state.pos());
        let written: fmt::Result = w.write_str(&left(self.left(steps)));
        // A bar that cannot be written is not looked at.
        let _ = written;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: &[f64], more: u64) -> String {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        pace.begin(now, 100);
        for (done, seconds) in (101..).zip(steps) {
            now += Duration::from_secs_f64(*seconds);
            pace.note(now, done);
            // A tick without an advance says nothing.
            pace.note(now + Duration::from_millis(300), done);
        }
        left(pace.left(more))
    }

    #[test]
    fn the_time_left_follows_the_recent_pace_and_says_what_is_not_known() {
        assert_eq!(after(&[2.0; 2], 50), "time left unknown yet");
        assert_eq!(after(&[2.0; 3], 20), "about 40 s left");
        assert_eq!(after(&[2.0; 30], 60), "about 2.0 min left");
        // The machine gets busy: at first both are told, then the recent pace is far away.
        let mut steps = vec![2.0; 20];
        steps.extend([6.0; 10]);
        assert_eq!(after(&steps, 100), "5.6 to 10 min left");
        // And it calms down again: hours of before are no promise.
        steps.extend([2.0; 10]);
        assert_eq!(after(&steps, 100), "3.3 to 5.0 min left");
        assert_eq!(after(&[600.0; 5], 30), "about 5.0 h left");
    }

    #[test]
    fn work_of_earlier_runs_counts_for_nothing() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.note(now, 0);
        // A bar that jumps back begins anew.
        pace.note(now, 40);
        pace.note(now, 3);
        assert_eq!(pace.left(10), None);
    }
}
