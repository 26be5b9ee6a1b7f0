//! One process that is talked to: questions to its standard input, answers from its standard output.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use blocklens_core::measurement::Failure;

use crate::{locked, processes};

/// How often a waiting thread looks for an interruption.
const POLL: Duration = Duration::from_millis(10);
/// Longest line that is an answer, in bytes.
pub(crate) const LONGEST_LINE: usize = 1 << 20;
/// How much of the error stream is kept, in bytes.
const STDERR_KEPT: usize = 2_000;
/// How much of a line is quoted in an error, in characters.
const QUOTED: usize = 120;
/// How long a process may take to end when nobody needs it any more.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same for a guard, which has as much patience and then ends what it guards.
const GUARDS_PATIENCE: Duration = Duration::from_secs(3);
/// Lines that a process may be ahead of its questions before it is made to wait.
const AHEAD: usize = 16;

/// A process that answers questions, one at a time. It ends with this value, and all that it started with it.
pub(crate) struct Conversation {
    child: Child,
    /// Questions for its standard input, written on a thread of their own: a process that does not read blocks nobody.
    questions: Option<SyncSender<Vec<u8>>>,
    /// Set when a question could not be written.
    deaf: Arc<AtomicBool>,
    pieces: Receiver<Piece>,
    /// Most bytes that may follow the next answer.
    most: Arc<AtomicU64>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Disconnected when the error stream has ended.
    stderr_end: Receiver<()>,
    guarded: bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub line: String,
    /// What followed the line.
    pub bytes: Vec<u8>,
}

/// How many bytes follow a line, as it says itself.
pub(crate) type Follows = fn(&str) -> u64;

/// What came from a process.
enum Piece {
    Whole(Answer),
    /// No answer, and why.
    Garbage(String),
    /// The end, in the middle of an answer.
    Cut {
        got: u64,
        announced: u64,
    },
}

/// Why there is no answer.
pub(crate) enum Problem {
    /// The process is gone, or cannot be talked to.
    Died {
        how: String,
        /// Its exit status; `None` where a signal ended it, or it runs on.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    Hang(Duration),
    /// It wrote something that is no line.
    Garbage(String),
    Interrupted,
}

impl Problem {
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Died { how, .. } => Failure::Crash { message: how },
            Self::Hang(limit) => Failure::Hang {
                limit_s: limit.as_secs(),
            },
            Self::Garbage(message) => Failure::Answer { message },
            Self::Interrupted => Failure::NotTried {
                message: "interrupted".into(),
            },
        }
    }
}

impl Conversation {
    /// Starts a process that answers in lines: below the guard that was lent, where one was.
    pub(crate) fn spawn(command: &[String]) -> Result<Self, Failure> {
        Self::spawn_with(command, |_| 0)
    }

    /// The same for a process whose lines say how many bytes follow them.
    pub(crate) fn spawn_with(command: &[String], follows: Follows) -> Result<Self, Failure> {
        let mut child = start(command).map_err(|e| Failure::Crash {
            message: format!("cannot start `{}`: {e}", command[0]),
        })?;
        let (sender, pieces) = mpsc::sync_channel(AHEAD);
        let most = Arc::new(AtomicU64::new(0));
        if let Some(stdout) = child.stdout.take() {
            let most = Arc::clone(&most);
            thread::spawn(move || {
                let mut stdout = BufReader::new(stdout);
                while let Some(piece) = read_piece(&mut stdout, follows, &most) {
                    if sender.send(piece).is_err() {
                        return;
                    }
                }
            });
        }
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (ended, stderr_end) = mpsc::channel();
        if let Some(stream) = child.stderr.take() {
            let kept = Arc::clone(&stderr);
            thread::spawn(move || {
                keep_end(stream, &kept);
                drop(ended);
            });
        }
        let deaf = Arc::new(AtomicBool::new(false));
        let questions = child
            .stdin
            .take()
            .map(|stdin| writer(stdin, Arc::clone(&deaf)));
        Ok(Self {
            questions,
            deaf,
            child,
            pieces,
            most,
            stderr,
            stderr_end,
            guarded: processes::lent().guard.is_some(),
        })
    }

    /// Asks a question of one line and waits for a line.
    pub(crate) fn ask(
        &mut self,
        question: &str,
        limit: Duration,
        interrupted: &AtomicBool,
    ) -> Result<String, Problem> {
        let question = format!("{question}\n").into_bytes();
        let answer = self.exchange(question, 0, limit, interrupted)?;
        Ok(answer.line)
    }

    /// Writes a question as it is and waits for an answer that no more than `most` bytes may follow.
    pub(crate) fn exchange(
        &mut self,
        question: Vec<u8>,
        most: u64,
        limit: Duration,
        interrupted: &AtomicBool,
    ) -> Result<Answer, Problem> {
        self.most.store(most, Ordering::Relaxed);
        let deadline = Instant::now() + limit;
        let mut unsent = Some(question);
        loop {
            unsent = unsent.and_then(|question| self.send(question));
            match self.pieces.recv_timeout(POLL) {
                Ok(piece) => return self.answer(piece, interrupted),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died(None, interrupted)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.deaf.load(Ordering::Relaxed) || matches!(self.child.try_wait(), Ok(Some(_))) {
                return self.last_words(interrupted);
            }
            if interrupted.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            if Instant::now() >= deadline {
                return Err(Problem::Hang(limit));
            }
        }
    }

    /// Hands a question to the writer; gives it back where the one before is not written yet, as happens with a process
    /// that answers before it reads.
    fn send(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        match self.questions.as_ref()?.try_send(question) {
            Err(TrySendError::Full(question)) => Some(question),
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
        }
    }

    fn answer(&mut self, piece: Piece, interrupted: &AtomicBool) -> Result<Answer, Problem> {
        match piece {
            Piece::Whole(answer) => Ok(answer),
            Piece::Garbage(what) => Err(Problem::Garbage(what)),
            Piece::Cut { got, announced } => {
                let when = format!("after {got} of the {announced} bytes that it announced");
                Err(self.died(Some(when), interrupted))
            }
        }
    }

    /// What a process that is gone said before. Something that it started may hold its output open for ever, so this
    /// does not wait for the end.
    fn last_words(&mut self, interrupted: &AtomicBool) -> Result<Answer, Problem> {
        match self.pieces.recv_timeout(PATIENCE) {
            Ok(piece) => self.answer(piece, interrupted),
            Err(_) => Err(self.died(None, interrupted)),
        }
    }

    /// How the process ended, and when where that is worth telling, with the end of its error stream.
    fn died(&mut self, when: Option<String>, interrupted: &AtomicBool) -> Problem {
        let status = self.wait(PATIENCE);
        if processes::was_interrupted(status, interrupted) {
            return Problem::Interrupted;
        }
        let how = match status {
            Some(status) => status.to_string(),
            None => "it closed its output".to_owned(),
        };
        let how = match when {
            Some(when) => format!("{when}: {how}"),
            None => how,
        };
        // Returns when the stream has ended, and nobody will ever send.
        let _ = self.stderr_end.recv_timeout(PATIENCE);
        let stderr = locked(&self.stderr);
        let said = String::from_utf8_lossy(&stderr);
        Problem::Died {
            how: match said.trim() {
                "" => how,
                said => format!("{how}: {said}"),
            },
            code: status.and_then(|status| status.code()),
            signal: status.and_then(signal),
        }
    }

    /// Waits for the process to end, but not for long.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
                _ => return None,
            }
        }
    }

    fn kill(&mut self) {
        // Its children too; the group may be gone already.
        processes::end_group(&self.child);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // The end of its questions: a program that reads line by line ends by itself.
        self.questions = None;
        self.wait(match self.guarded {
            true => GUARDS_PATIENCE,
            false => PATIENCE,
        });
        self.kill();
    }
}

/// Starts a process in a group of its own: Ctrl-C reaches this program only, and what hangs goes with all that it
/// started. A guard goes with this program, too, however that ends.
fn start(command: &[String]) -> std::io::Result<Child> {
    let guard = processes::lent().guard.as_ref();
    let mut process = match guard {
        Some((program, arguments)) => {
            let mut process = Command::new(program);
            process.args(arguments).args(command);
            process
        }
        None => {
            let mut process = Command::new(&command[0]);
            process.args(&command[1..]);
            process
        }
    };
    process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if guard.is_some() {
        return processes::start_apart(&mut process);
    }
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut process, 0);
    process.spawn()
}

/// Writes questions as they come, until nobody asks any more.
fn writer(mut stdin: ChildStdin, deaf: Arc<AtomicBool>) -> SyncSender<Vec<u8>> {
    let (sender, questions) = mpsc::sync_channel::<Vec<u8>>(1);
    thread::spawn(move || {
        for question in questions {
            let written = stdin.write_all(&question).and_then(|()| stdin.flush());
            if written.is_err() {
                deaf.store(true, Ordering::Relaxed);
                return;
            }
        }
    });
    sender
}

/// The signal that ended a process.
fn signal(status: ExitStatus) -> Option<i32> {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    {
        let _ = status;
        None
    }
}

/// The next line with what follows it; `None` at the end.
fn read_piece(
    stdout: &mut BufReader<impl Read>,
    follows: Follows,
    most: &AtomicU64,
) -> Option<Piece> {
    let line = match read_line(stdout)? {
        Ok(line) => line,
        Err(what) => return Some(Piece::Garbage(what)),
    };
    // Looked at after the line is there: it answers a question that was asked with this.
    let most = most.load(Ordering::Relaxed);
    let announced = if most > 0 { follows(&line) } else { 0 };
    if announced > most {
        let what =
            format!("an output of {announced} bytes where no more than {most} were asked for");
        return Some(Piece::Garbage(what));
    }
    let mut bytes = Vec::new();
    let read = stdout.take(announced).read_to_end(&mut bytes);
    let got = bytes.len() as u64;
    Some(match read {
        Ok(_) if got == announced => Piece::Whole(Answer { line, bytes }),
        _ => Piece::Cut { got, announced },
    })
}

/// The next line without its end; `None` at the end, an error for a line that is too long.
fn read_line(stdout: &mut BufReader<impl Read>) -> Option<Result<String, String>> {
    let mut line = Vec::new();
    let limit = LONGEST_LINE as u64;
    let read = stdout
        .by_ref()
        .take(limit)
        .read_until(b'\n', &mut line)
        .ok()?;
    if read == 0 {
        return None;
    }
    let text = String::from_utf8_lossy(&line);
    if read == LONGEST_LINE && !text.ends_with('\n') {
        return Some(Err(format!(
            "a line is longer than {LONGEST_LINE} bytes: {}",
            beginning(&text)
        )));
    }
    Some(Ok(text.trim_end().to_owned()))
}

fn keep_end(mut stream: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        let mut kept = locked(kept);
        kept.extend_from_slice(&piece[..read]);
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }
}

/// The beginning of a line in quotes, for errors.
pub(crate) fn beginning(line: &str) -> String {
    format!("{:?}", clip(line))
}

/// The beginning of a text.
pub(crate) fn clip(text: &str) -> String {
    let mut start: String = text.chars().take(QUOTED).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    start
}
