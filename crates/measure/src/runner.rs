//! Where a job is carried out: in this process, or in one that may crash, hang or be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use blocklens_core::measurement::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine;
use crate::job::{Job, Outcome};
use crate::processes;
use crate::rounds::SessionJob;

/// How often a waiting parent looks for an interruption.
const POLL: Duration = Duration::from_millis(20);
/// How much of a crashed worker's error stream is kept, in bytes.
const STDERR_KEPT: usize = 2_000;

/// Someone who carries out jobs.
pub trait Runner {
    /// Carries out one job; `None` when it was interrupted and nothing may be recorded.
    fn run(&self, job: &Job) -> Option<Outcome>;
}

/// Carries jobs out in this process: for tests and engines that cannot fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Runner for InProcess {
    fn run(&self, job: &Job) -> Option<Outcome> {
        Some(job.run())
    }
}

/// Carries every job out in a fresh process, whose crash, hang or death is a typed failure of that job.
#[derive(Clone, Debug)]
pub struct WorkerProcess {
    /// The program and its first arguments; it must call [`worker_main`].
    pub command: (PathBuf, Vec<String>),
    /// After this time a job has hung.
    pub time_limit: Duration,
    /// What workers find in their environment besides: [`crate::engine::Engine::for_workers`].
    pub variables: Vec<(String, String)>,
    /// Set by Ctrl-C: the running job is given up.
    pub interrupted: Arc<AtomicBool>,
}

impl Runner for WorkerProcess {
    fn run(&self, job: &Job) -> Option<Outcome> {
        self.carry::<Outcome>(job)
            .map(|answer| answer.and_then(|outcome| outcome))
    }
}

impl WorkerProcess {
    /// Has a fresh process carry out an order and returns its answer; `None` when it was interrupted.
    pub(crate) fn carry<T: DeserializeOwned>(
        &self,
        order: &impl Serialize,
    ) -> Option<Result<T, Failure>> {
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(e) => return Some(Err(crash(format!("cannot start a worker process: {e}")))),
        };
        let ended = self.converse(&mut child, order);
        // Whatever happened, no worker outlives its job, nor does what it started.
        processes::end_group(&child);
        let _ = child.kill();
        let status = child.wait().ok();
        engine::sweep();
        let answer = match ended {
            Conversation::Interrupted => return None,
            Conversation::TimedOut => Err(Failure::Hang {
                limit_s: self.time_limit.as_secs(),
            }),
            Conversation::Ended { stdout, stderr } => read_answer(&stdout, &stderr, status),
        };
        // What ended the worker may be what interrupts this process.
        match answer {
            Err(Failure::Crash { .. } | Failure::OutOfMemory { .. })
                if processes::was_interrupted(status, &self.interrupted) =>
            {
                None
            }
            other => Some(other),
        }
    }
}

enum Conversation {
    Interrupted,
    TimedOut,
    Ended { stdout: String, stderr: String },
}

impl WorkerProcess {
    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.command.0);
        command
            .args(&self.command.1)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C reaches the parent only, which decides what is kept.
        processes::start_apart(&mut command)
    }

    fn converse(&self, child: &mut Child, order: &impl Serialize) -> Conversation {
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        // Held open until the end: its closing tells the worker that nobody waits any more.
        let mut stdin = child.stdin.take();
        if let (Some(pipe), Ok(order)) = (stdin.as_mut(), serde_json::to_string(order)) {
            // A worker that is dead already shows in its exit status.
            let _ = writeln!(pipe, "{order}").and_then(|()| pipe.flush());
        }
        let deadline = Instant::now() + self.time_limit;
        loop {
            match stdout.recv_timeout(POLL) {
                Ok(stdout) => {
                    let stderr = stderr
                        .recv_timeout(Duration::from_secs(1))
                        .unwrap_or_default();
                    return Conversation::Ended { stdout, stderr };
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Conversation::Ended {
                        stdout: String::new(),
                        stderr: String::new(),
                    };
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Conversation::Interrupted;
            }
            if Instant::now() >= deadline {
                return Conversation::TimedOut;
            }
        }
    }
}

/// Reads a stream to its end on a thread of its own. The worker writes its result as one line, so
/// everything up to the end of the stream is the answer.
fn drain(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn crash(message: String) -> Failure {
    Failure::Crash { message }
}

/// Marks the line that holds a worker's answer: engines may print on their own.
const ANSWER: &str = "blocklens-outcome ";

fn read_answer<T: DeserializeOwned>(
    stdout: &str,
    stderr: &str,
    status: Option<ExitStatus>,
) -> Result<T, Failure> {
    let answer = stdout
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(ANSWER));
    match answer.map(serde_json::from_str::<T>) {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(e)) => Err(crash(format!("the worker's answer does not parse: {e}"))),
        None => Err(death(stderr, status)),
    }
}

fn death(stderr: &str, status: Option<ExitStatus>) -> Failure {
    let how = status.map_or_else(|| "unknown exit status".to_owned(), |s| s.to_string());
    let text = stderr.trim();
    let start = text.len().saturating_sub(STDERR_KEPT);
    let tail = (start..text.len())
        .find_map(|i| text.get(i..))
        .unwrap_or_default();
    let message = if tail.is_empty() {
        how
    } else {
        format!("{how}: {tail}")
    };
    // Rust's allocator says so before it aborts; C++ engines throw bad_alloc.
    let allocation_failed = stderr.contains("memory allocation of") || stderr.contains("bad_alloc");
    if allocation_failed || killed_by_system(status) {
        Failure::OutOfMemory { message }
    } else {
        crash(message)
    }
}

/// SIGKILL that this program did not send is what the kernel's out-of-memory killer sends.
fn killed_by_system(status: Option<ExitStatus>) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        status.and_then(|s| s.signal()) == Some(9)
    }
    #[cfg(not(unix))]
    {
        let _ = status;
        false
    }
}

/// What a worker is told to do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Order {
    /// A measurement of a campaign.
    Job(Box<Job>),
    /// A session of a round.
    Session(Box<SessionJob>),
}

impl Order {
    /// Carries it out; returns the answer as JSON.
    fn carry_out(&self) -> Result<String, String> {
        let text = match self {
            Self::Job(job) => {
                if let Some(mib) = job.memory_limit_mib {
                    crate::limits::limit_memory(mib)?;
                }
                serde_json::to_string(&job.run())
            }
            Self::Session(job) => serde_json::to_string(&job.run()),
        };
        text.map_err(|e| e.to_string())
    }
}

/// The worker's side: reads one job from standard input, carries it out, prints its outcome.
///
/// The process ends at once when standard input closes or its parent ends, so that a worker never outlives a parent
/// that was killed, and never disturbs the measurements of the next one. What asks for its end, such as Ctrl-C, is its
/// parent's business.
///
/// # Errors
/// When standard input does not hold a job.
pub fn worker_main() -> Result<(), String> {
    processes::end_with_parent();
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    input
        .read_line(&mut line)
        .map_err(|e| format!("cannot read a job: {e}"))?;
    let order: Order =
        serde_json::from_str(&line).map_err(|e| format!("standard input is not a job: {e}"))?;
    thread::spawn(move || {
        let mut rest = [0u8; 64];
        while input.read(&mut rest).is_ok_and(|n| n > 0) {}
        std::process::exit(3);
    });
    println!("{ANSWER}{}", order.carry_out()?);
    Ok(())
}
