//! A guard beside every program that is a metric: a process of this program that outlives nothing and that nothing
//! outlives.
//!
//! A program shares its standard input with its guard, and the other end is held by whoever asks it. When that end is
//! closed, be it by a process that was killed, the guard lets the program end by itself for a moment and then ends it,
//! with all that it started. On Linux that includes processes that left the group or session: orphans become the
//! guard's children. What can get away: a process that another one starts on request (a service manager, a container,
//! another machine), and elsewhere than on Linux what leaves the process group.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, getpid, getppid};

use crate::processes::{end_with_parent, heed_signals};

/// How long a program may take to end when nobody asks it any more.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// How long its children may take to be gone when they were killed: a process that waits for a disk goes later.
const GONE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);
/// The exit status of a program that cannot be started, as in shells.
const NOT_STARTED: u8 = 127;

/// Runs a program until it ends or nobody holds the other end of standard input; what is returned is its own status.
/// `own` is this program with the arguments that lead to [`become_program`].
///
/// Signals that ask for an end are heeded from here on: whoever calls must have taken care of them.
///
/// # Errors
/// When the program cannot be started or waited for.
pub fn watch(own: &Path, arguments: &[&str], command: &[OsString]) -> io::Result<ExitCode> {
    prepare();
    let program = start(own, arguments, command)?;
    leave_outputs()?;
    thread::spawn(move || {
        if wait_until_alone().is_ok() {
            thread::sleep(PATIENCE);
            // However many there are: what is killed may have started others.
            loop {
                end_all();
                thread::sleep(POLL);
            }
        }
    });
    let status = wait_for(program)?;
    sweep();
    Ok(end_as(status))
}

fn prepare() {
    #[cfg(target_os = "linux")]
    {
        // Orphans come here. Old systems have no such thing: then the group must do.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        // Told apart from those that it guards against the end of: `pkill -9 blocklens` leaves it time to end its
        // program.
        let _ = nix::sys::prctl::set_name(c"metric-guard");
    }
}

/// Not the program itself, but this one, which becomes it: only a process itself can ask to end with its parent.
fn start(own: &Path, arguments: &[&str], command: &[OsString]) -> io::Result<Pid> {
    heed_signals()?;
    let child = Command::new(own)
        .args(arguments)
        .arg(getpid().to_string())
        .args(command)
        .spawn()?;
    Ok(Pid::from_raw(
        i32::try_from(child.id()).map_err(io::Error::other)?,
    ))
}

/// Becomes a program that ends with its guard.
///
/// # Errors
/// When it cannot be started.
pub fn become_program(guard: i32, command: &[OsString]) -> ExitCode {
    end_with_parent();
    let Some((program, arguments)) = command.split_first() else {
        return ExitCode::from(NOT_STARTED);
    };
    if getppid().as_raw() == guard {
        let error = Command::new(program).args(arguments).exec();
        eprintln!("cannot start `{}`: {error}", program.to_string_lossy());
    }
    ExitCode::from(NOT_STARTED)
}

/// The program's outputs are its own: when it closes one, whoever reads it is to know.
fn leave_outputs() -> io::Result<()> {
    let nowhere = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    Ok(())
}

/// Returns when nobody holds the other end of standard input, whether or not it was read to its end.
fn wait_until_alone() -> nix::Result<()> {
    let stdin = io::stdin();
    loop {
        let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        match poll(&mut watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Waits for a process, and takes note of the ends of orphans meanwhile.
fn wait_for(program: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(program) => return Ok(status),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends what a program leaves behind.
fn sweep() {
    let deadline = Instant::now() + GONE;
    while Instant::now() < deadline {
        end_all();
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(nix::errno::Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => thread::sleep(POLL),
            _ => {}
        }
    }
}

/// Kills all descendants. Where they cannot be listed, all of the group: the guard, too, which has nothing else to do
/// then.
fn end_all() {
    match descendants(getpid().as_raw()) {
        Some(all) => all.into_iter().for_each(|id| {
            // It may be gone already.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }),
        None => {
            let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
        }
    }
}

/// The processes that a process started, directly or not. `None` where the system does not tell.
fn descendants(ancestor: i32) -> Option<Vec<i32>> {
    let all: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((id, parent(id)?))
        })
        .collect();
    // Where processes are hidden, not even this one is there.
    all.iter().find(|(id, _)| *id == ancestor)?;
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(
            all.iter()
                .filter(|(_, parent)| *parent == one)
                .map(|(id, _)| *id),
        );
        next += 1;
    }
    found.remove(0);
    Some(found)
}

fn parent(id: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Ends as the program did, so that whoever waits for the guard sees the same.
fn end_as(status: WaitStatus) -> ExitCode {
    match status {
        WaitStatus::Exited(_, code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => {
            // The program has left what there is to look into.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            // Twice: the first SIGSEGV ends in a handler of the runtime, which steps back for the second.
            for _ in 0..2 {
                let _ = kill(getpid(), signal);
            }
            // A signal that is heeded does not end this process.
            ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
        }
        _ => ExitCode::FAILURE,
    }
}
