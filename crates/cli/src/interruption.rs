//! Ctrl-C and other signals that ask for an end: heard at once, and obeyed at the next good moment.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use blocklens_measure::processes;

use crate::progress;

/// The exit status of a command that Ctrl-C ended, as shells have it: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;

static HEARD: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// What a command that looks at the flag does when it is set; `None`: nobody looks.
static OBEYED: Mutex<Option<Obedience>> = Mutex::new(None);

/// What a command does when it is interrupted.
#[derive(Clone, Copy)]
struct Obedience {
    /// In words for the user, as an answer to Ctrl-C.
    says: &'static str,
    /// After so long it is over in any case.
    within: Option<Duration>,
}

/// Listens from here on. Until a command looks at the flag, an interruption ends this process at once; a second one
/// always does.
pub fn listen() -> Result<()> {
    processes::stay_after_hangup();
    ctrlc::set_handler(hear).context("cannot listen for Ctrl-C")
}

/// The flag that an interruption sets, for a command that looks at it and says what it does then.
pub fn flag(says: &'static str) -> Arc<AtomicBool> {
    set(says, None)
}

/// The same for a command that others may keep waiting: `within` so long it is over in any case.
pub fn flag_within(says: &'static str, within: Duration) -> Arc<AtomicBool> {
    set(says, Some(within))
}

/// The flag alone: whoever only looks at it changes nothing in what an interruption does.
pub fn raised() -> Arc<AtomicBool> {
    Arc::clone(&HEARD)
}

fn set(says: &'static str, within: Option<Duration>) -> Arc<AtomicBool> {
    *OBEYED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Obedience { says, within });
    Arc::clone(&HEARD)
}

/// Whether this process was asked to end.
pub fn heard() -> bool {
    HEARD.load(Ordering::Relaxed)
}

fn hear() {
    let again = HEARD.swap(true, Ordering::Relaxed);
    let obeyed = *OBEYED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Obedience { says, within }) = obeyed.filter(|_| !again) else {
        // Whatever is recorded is on disk, and no file is ever there by half.
        process::exit(INTERRUPTED.into());
    };
    progress::say(&format!("{says} (Ctrl-C again ends at once)"));
    if let Some(within) = within {
        thread::spawn(move || {
            thread::sleep(within);
            process::exit(INTERRUPTED.into());
        });
    }
}
