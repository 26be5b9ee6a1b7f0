//! Processes that this one starts: out of its terminal's reach from their first instant, and gone when it is.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// What a program that uses this library lends it for the processes that it starts.
#[derive(Debug, Default)]
pub struct Lent {
    /// The program and its first arguments that run another one and end it, with all that it started, when nobody asks
    /// it any more; it must call `guard::watch`.
    pub guard: Option<(PathBuf, Vec<String>)>,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
}

static LENT: OnceLock<Lent> = OnceLock::new();

/// Lends these for as long as this process lives; what was lent before stays.
pub fn lend(lent: Lent) {
    let _ = LENT.set(lent);
}

/// What was lent: nothing, in tests and programs that never did.
pub(crate) fn lent() -> &'static Lent {
    LENT.get_or_init(Lent::default)
}

/// How long an interruption that ended a process may take to be known here: on a busy machine signals are slow.
const KNOWN: Duration = Duration::from_millis(100);
/// The same where the process ended by such a signal.
const KNOWN_FOR_SURE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// Starts this program anew in a process group of its own. A signal to this process's group may come at any instant,
/// and reaches the new process before it is out of it: what asks a process to end is held back there, until it calls
/// [`heed_signals`].
///
/// # Errors
/// Those of starting.
pub(crate) fn start_apart(command: &mut Command) -> io::Result<Child> {
    #[cfg(unix)]
    {
        use nix::sys::signal::SigmaskHow;
        std::os::unix::process::CommandExt::process_group(command, 0);
        let before = endings().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let child = command.spawn();
        before.thread_set_mask()?;
        child
    }
    #[cfg(not(unix))]
    command.spawn()
}

/// Ends a process that leads a group, and all of the group.
pub(crate) fn end_group(leader: &Child) {
    #[cfg(unix)]
    if let Ok(id) = i32::try_from(leader.id()) {
        let group = nix::unistd::Pid::from_raw(id);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    #[cfg(not(unix))]
    let _ = leader;
}

/// The signals that ask a process to end.
#[cfg(unix)]
fn endings() -> nix::sys::signal::SigSet {
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
    [SIGINT, SIGTERM, SIGHUP].into_iter().collect()
}

/// Lets this thread, and what it starts, have the signals again that [`start_apart`] held back.
#[cfg(unix)]
pub(crate) fn heed_signals() -> io::Result<()> {
    Ok(endings().thread_unblock()?)
}

/// Has a file that may not grow any more tell so, as a full disk does, in place of ending the process that writes. To
/// be called before any thread begins; what is started from here on does the same.
pub fn survive_file_limits() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigSet, Signal};
        let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
    }
}

/// Keeps the end of a terminal from this process where whoever started it did so, as `nohup` does: a handler for what
/// asks for an end would undo that. To be called before any thread begins.
pub fn stay_after_hangup() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::signal::{SigSet, Signal};
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // Signal 1 is the lowest bit.
        if ignored.unwrap_or_default() & 1 == 1 {
            let _ = SigSet::from(Signal::SIGHUP).thread_block();
        }
    }
}

/// Has the system end this process when the one that started it ends, however that ends. Where the system has no such
/// thing, others must look after it.
pub(crate) fn end_with_parent() {
    #[cfg(target_os = "linux")]
    // Without it, the end of input is still seen.
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}

/// Whether this process was interrupted when another ended with this status: the same signal may have reached both, and
/// is known a moment later here.
pub(crate) fn was_interrupted(status: Option<ExitStatus>, interrupted: &AtomicBool) -> bool {
    let patience = match status.is_some_and(asked_to_end) {
        true => KNOWN_FOR_SURE,
        false => KNOWN,
    };
    let deadline = Instant::now() + patience;
    while !interrupted.load(Ordering::Relaxed) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Whether a process ended by a signal that asks for its end, or as one does that heeds it.
fn asked_to_end(status: ExitStatus) -> bool {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    // SIGHUP, SIGINT, SIGTERM; shells add 128.
    let signal = signal.or_else(|| status.code().map(|code| code - 128));
    matches!(signal, Some(1 | 2 | 15))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A process that is hit before it is out of reach.
    #[test]
    fn what_asks_for_an_end_is_held_back() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -INT $$; kill -TERM $$; kill -HUP $$; exit 3"]);
        let status = start_apart(&mut command).unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(3));
        let mut usual = Command::new("sh");
        usual.args(["-c", "kill -TERM $$; exit 3"]);
        assert_eq!(usual.status().unwrap().code(), None, "and only there");
    }

    #[test]
    fn an_end_is_an_interruption_where_one_is_known_soon() {
        let status = |script: &str| Command::new("sh").args(["-c", script]).status().ok();
        let interrupted = Arc::new(AtomicBool::new(false));
        assert!(!was_interrupted(status("exit 1"), &interrupted));
        let flag = Arc::clone(&interrupted);
        let late = thread::spawn(move || {
            thread::sleep(3 * KNOWN);
            flag.store(true, Ordering::Relaxed);
        });
        assert!(was_interrupted(status("kill -TERM $$"), &interrupted));
        late.join().unwrap();
        assert!(was_interrupted(None, &interrupted));
    }
}
