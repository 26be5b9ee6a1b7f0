//! Lines in, lines out, on several threads and in order.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Cursor, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::text::TextReader;
use blocklens_core::{notation::Listing, text};
use serde_json::Value;

/// How often a waiting thread looks whether it is over.
const POLL: Duration = Duration::from_millis(20);
/// Batches that are under way for every thread: enough that none waits for another.
const UNDER_WAY: usize = 4;
/// Longest line, in bytes: a longer one is no architecture, and must not fill the memory.
pub const LONGEST_LINE: usize = 1 << 20;

/// Largest file that is read as a whole, in bytes.
const LARGEST_WHOLE: u64 = 512 << 20;
/// Bytes that are read at once until the first line is there.
const PIECE: usize = 1 << 13;
/// What UTF-8 may begin with.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The architectures of a file or a pipe, one a line, whatever lists them: lines pass as they come, and what is more
/// than a line (CSV, a pretty-printed dictionary, a report or a front) is taken apart. Nothing is read before the
/// first read.
pub struct Architectures(Arriving);

enum Arriving {
    Unread(Box<dyn Read + Send>),
    Begun(Box<dyn Read + Send>),
}

impl Architectures {
    /// Those that `source` holds.
    #[must_use]
    pub fn of(source: impl Read + Send + 'static) -> Self {
        Self(Arriving::Unread(Box::new(TextReader::new(source))))
    }
}

impl Read for Architectures {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Arriving::Unread(source) = &mut self.0 {
            let source = std::mem::replace(source, Box::new(io::empty()));
            self.0 = Arriving::Begun(begun(source)?);
        }
        match &mut self.0 {
            Arriving::Unread(source) | Arriving::Begun(source) => source.read(buffer),
        }
    }
}

/// Reads the first line, and everything where that line needs the others.
fn begun(mut source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let (mut start, mut piece) = (Vec::new(), [0; PIECE]);
    while first_line(&start).is_none() && start.len() < LONGEST_LINE {
        match source.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => start.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if start.starts_with(MARK) {
        start.drain(..MARK.len());
    }
    let first = first_line(&start).unwrap_or(start.trim_ascii());
    if !Listing::is_whole(&String::from_utf8_lossy(first)) {
        return Ok(Box::new(Cursor::new(start).chain(source)));
    }
    let read = source.take(LARGEST_WHOLE + 1).read_to_end(&mut start)?;
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    if read as u64 > LARGEST_WHOLE {
        return Err(wrong(format!(
            "more than {LARGEST_WHOLE} bytes, which must be read at once: give one architecture a line"
        )));
    }
    let text = text::read(&start).map_err(|error| wrong(error.to_string()))?;
    let listing = Listing::read(&text).map_err(|error| wrong(error.to_string()))?;
    let lines = listing.entries.iter().map(|entry| match &entry.arch {
        Value::String(text) if !text.contains('\n') => format!("{text}\n"),
        other => format!("{other}\n"),
    });
    Ok(Box::new(Cursor::new(
        lines.collect::<String>().into_bytes(),
    )))
}

/// The first line that is not blank, once its end is there.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let text = bytes.trim_ascii_start();
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some(&text[..end])
}

/// How many lines make a batch, and how many threads work on them.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// Most lines of a batch. What is there is taken: nobody waits for a batch to be full.
    pub lines: usize,
    /// Threads that work.
    pub threads: usize,
}

/// Whole lines, in their place among others.
type Batch = (usize, Vec<u8>);

/// Hands batches of lines to `work`, and writes what it returns in the order of the input. Returns whether the input
/// came to its end: not when `interrupted` was set, which leaves what was written whole.
///
/// # Errors
/// Those of reading and writing; of a line longer than [`LONGEST_LINE`].
pub fn map_lines(
    input: BufReader<impl Read + Send + 'static>,
    output: &mut dyn Write,
    batches: Batches,
    interrupted: &AtomicBool,
    work: &(dyn Fn(&[u8]) -> Vec<u8> + Sync),
) -> io::Result<bool> {
    let under_way = UNDER_WAY * batches.threads;
    let (tickets, ticket_end) = mpsc::sync_channel::<()>(under_way);
    let (to_work, batch_end) = mpsc::sync_channel::<io::Result<Batch>>(under_way);
    // Not joined: it may wait for input that never comes.
    thread::spawn(move || read_batches(input, batches.lines, &tickets, &to_work));
    let over = AtomicBool::new(false);
    let (batch_end, (to_write, done)) = (Mutex::new(batch_end), mpsc::channel());
    thread::scope(|scope| {
        for _ in 0..batches.threads {
            let to_write = to_write.clone();
            let (batch_end, over) = (&batch_end, &over);
            scope.spawn(move || {
                while let Some(batch) = next(batch_end, over) {
                    let result = batch.map(|(place, lines)| (place, work(&lines)));
                    if to_write.send(result).is_err() {
                        break;
                    }
                }
            });
        }
        drop(to_write);
        let ended = write_in_order(&done, &ticket_end, output, interrupted);
        over.store(true, Ordering::Relaxed);
        ended
    })
}

fn read_batches(
    mut input: BufReader<impl Read>,
    most: usize,
    tickets: &SyncSender<()>,
    to_work: &SyncSender<io::Result<Batch>>,
) {
    for place in 0.. {
        if tickets.send(()).is_err() {
            return;
        }
        let batch = match read_batch(&mut input, most) {
            Ok(lines) if lines.is_empty() => return,
            batch => batch.map(|lines| (place, lines)),
        };
        let failed = batch.is_err();
        if to_work.send(batch).is_err() || failed {
            return;
        }
    }
}

/// One line at least, and more as far as they are there already; none at the end.
fn read_batch(input: &mut BufReader<impl Read>, most: usize) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for count in 0..most {
        if count > 0 && !input.buffer().contains(&b'\n') {
            break;
        }
        let before = lines.len();
        let limit = LONGEST_LINE as u64;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut lines)?;
        if read == LONGEST_LINE && lines.last() != Some(&b'\n') {
            let text = String::from_utf8_lossy(&lines[before..before + 40]).into_owned();
            let reason = format!("a line is longer than {LONGEST_LINE} bytes: {text:?}...");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if read == 0 {
            break;
        }
    }
    Ok(lines)
}

/// The next batch; `None` when there are no more, or it is over.
fn next(
    batches: &Mutex<Receiver<io::Result<Batch>>>,
    over: &AtomicBool,
) -> Option<io::Result<Batch>> {
    while !over.load(Ordering::Relaxed) {
        let batches = batches.lock().unwrap_or_else(PoisonError::into_inner);
        match batches.recv_timeout(POLL) {
            Ok(batch) => return Some(batch),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    None
}

fn write_in_order(
    done: &Receiver<io::Result<Batch>>,
    tickets: &Receiver<()>,
    output: &mut dyn Write,
    interrupted: &AtomicBool,
) -> io::Result<bool> {
    let mut waiting: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut place = 0;
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match done.recv_timeout(POLL) {
            // What an interruption cut short would look like a failure.
            Ok(_) if interrupted.load(Ordering::Relaxed) => return Ok(false),
            Ok(batch) => {
                let (at, lines) = batch?;
                waiting.insert(at, lines);
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(true),
        }
        while let Some(lines) = waiting.remove(&place) {
            output.write_all(&lines)?;
            // Whoever waits for an answer gets it now.
            output.flush()?;
            place += 1;
            let _ = tickets.recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn arriving(text: &str) -> io::Result<String> {
        let mut lines = String::new();
        let source = Cursor::new(text.to_owned().into_bytes());
        Architectures::of(source)
            .read_to_string(&mut lines)
            .map(|_| lines)
    }

    #[test]
    fn what_lists_architectures_becomes_lines() {
        let lines = "\n r32/e1k3\nnonsense\n{\"arch\": \"r32/e1k3\"}\n";
        assert_eq!(arriving(lines).unwrap(), lines);
        assert_eq!(arriving(&format!("\u{feff}{lines}")).unwrap(), lines);
        assert_eq!(arriving("").unwrap(), "");
        let csv = "arch,macs [MMACs]\n\"r32/e1k3,e1k3\",5\nr32/e4k3,6\n";
        assert_eq!(arriving(csv).unwrap(), "r32/e1k3,e1k3\nr32/e4k3\n");
        let pretty = "{\n  \"e\": [3],\n  \"d\": [2]\n}\n{\n  \"e\": [4],\n  \"d\": [2]\n}\n";
        assert_eq!(
            arriving(pretty).unwrap(),
            "{\"d\":[2],\"e\":[3]}\n{\"d\":[2],\"e\":[4]}\n"
        );
        let report = "{\"measurement\": {\"networks\": [{\"arch\": \"r32/e1k3\", \"raw_ms\": 1}]}}";
        assert_eq!(arriving(report).unwrap(), "r32/e1k3\n");
        // What holds none comes through, and is told by whoever asks for an architecture.
        let none = "{\"profile\":{}}\n";
        assert_eq!(arriving(none).unwrap(), none);
        let error = arriving("arch,macs\nr32/e1k3,e1k3,5\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2") && error.contains("quotes"),
            "{error}"
        );
    }

    fn doubled(lines: &[u8]) -> Vec<u8> {
        // Uneven work, so that batches overtake each other.
        thread::sleep(Duration::from_micros(u64::from(lines[0] % 7) * 100));
        let lines = lines.split_inclusive(|b| *b == b'\n');
        lines.flat_map(|line| [line, line].concat()).collect()
    }

    fn run(
        input: BufReader<impl Read + Send + 'static>,
        batches: Batches,
    ) -> (io::Result<bool>, Vec<u8>) {
        let mut output = Vec::new();
        let ended = map_lines(
            input,
            &mut output,
            batches,
            &AtomicBool::new(false),
            &doubled,
        );
        (ended, output)
    }

    #[test]
    fn lines_come_out_in_the_order_in_which_they_went_in() {
        let text: String = (0..600).map(|i| format!("{} line\n", i * i)).collect();
        let expected = doubled(text.as_bytes());
        for (lines, threads) in [(1, 1), (1, 4), (64, 3), (10_000, 2)] {
            for capacity in [16, 700, 1 << 16] {
                let input = BufReader::with_capacity(capacity, Cursor::new(text.clone()));
                let (ended, output) = run(input, Batches { lines, threads });
                assert!(ended.unwrap());
                assert_eq!(output, expected, "{lines} lines, {threads} threads");
            }
        }
    }

    #[test]
    fn the_end_may_lack_its_newline_and_nothing_may_come() {
        let batches = Batches {
            lines: 8,
            threads: 2,
        };
        let (ended, output) = run(BufReader::new(Cursor::new("a\nb")), batches);
        assert!(ended.unwrap());
        assert_eq!(output, b"a\na\nbb");
        assert_eq!(run(BufReader::new(Cursor::new("")), batches).1, b"");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let input = BufReader::new(io::repeat(b'x'));
        let (ended, output) = run(
            input,
            Batches {
                lines: 8,
                threads: 2,
            },
        );
        assert!(ended.unwrap_err().to_string().contains("longer than"));
        assert!(output.is_empty());
    }

    /// A reader that gives one line and then nothing, without an end.
    struct Silent(bool);

    impl Read for Silent {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                thread::sleep(Duration::from_secs(3_600));
            }
            buffer[..2].copy_from_slice(b"q\n");
            Ok(2)
        }
    }

    #[derive(Clone)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_does_not_wait_for_the_next_question_nor_an_interruption_for_the_end() {
        let output = Shared(Arc::new(Mutex::new(Vec::new())));
        let interrupted = Arc::new(AtomicBool::new(false));
        let (mut sink, flag) = (output.clone(), Arc::clone(&interrupted));
        let running = thread::spawn(move || {
            let batches = Batches {
                lines: 100,
                threads: 2,
            };
            map_lines(
                BufReader::new(Silent(false)),
                &mut sink,
                batches,
                &flag,
                &doubled,
            )
        });
        while output.0.lock().unwrap().as_slice() != b"q\nq\n" {
            thread::sleep(POLL);
        }
        interrupted.store(true, Ordering::Relaxed);
        assert!(!running.join().unwrap().unwrap());
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_ends_it_though_input_never_ends() {
        let input = BufReader::new(Silent(false));
        let batches = Batches {
            lines: 1,
            threads: 2,
        };
        let ended = map_lines(
            input,
            &mut Closed,
            batches,
            &AtomicBool::new(false),
            &doubled,
        );
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
