//! An engine of this program as a device: device/1 on standard input and output, with files inline, so that whoever
//! asks may sit at another machine (`docs/device-protocol.md`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use serde_json::{Value, json};

use super::artefact::{Artefact, Input, SentFile, Values};
use super::device::bytes;
use super::device::message::{
    AnnouncedTensor, Failed, FailedKind, Files, Hello, Loaded, Order, PROTOCOL, Times, Turned,
};
use super::{Availability, Engine, EngineError, EngineOptions, Kind, Session, Timing, host};
use crate::conversation::{LONGEST_LINE, beginning};

/// The largest file that is taken: no ONNX or TFLite file can be larger.
const LARGEST_FILE: u64 = 2 << 30;
/// Most inferences that one request may ask for: their times fill no more than a line.
const MOST_INFERENCES: u64 = 10_000;

/// Why an engine is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What came is no request, or no whole one.
    #[error(
        "standard input holds no requests of {PROTOCOL}: {0}; docs/device-protocol.md has them"
    )]
    Input(String),
    /// Nobody takes the answers.
    #[error("an answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Serves an engine until standard input ends, and ends this process where nobody is left to answer to. Standard
/// output is for answers alone from here on: what engines print goes to the error stream.
///
/// # Errors
/// [`ServeError`].
pub fn serve(engine: &dyn Engine) -> Result<(), ServeError> {
    let mut answers = answers()?;
    let requests = requests(answers.try_clone()?);
    let mut server = Server {
        engine,
        sessions: BTreeMap::new(),
        pinned: None,
    };
    for request in requests {
        let request = request.map_err(ServeError::Input)?;
        let (answer, outputs) = server.answer(request);
        let mut message = format!("{answer}\n").into_bytes();
        message.extend(outputs);
        answers.write_all(&message)?;
    }
    Ok(())
}

/// Standard output under a descriptor that engines do not know; theirs is the error stream.
#[cfg(unix)]
fn answers() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    let answers = io::stdout().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(io::stderr())?;
    Ok(answers.into())
}

#[cfg(not(unix))]
fn answers() -> io::Result<File> {
    Err(io::Error::other("devices are served on Unix only"))
}

/// A request, with the files that followed it; or why it cannot be carried out.
struct Request {
    id: u64,
    what: Result<(Order, Vec<Vec<u8>>), Failed>,
}

/// Reads requests on a thread of its own, which sees the end of input while an inference runs.
fn requests(answers: File) -> Receiver<Result<Request, String>> {
    let (sender, requests) = mpsc::sync_channel(1);
    thread::spawn(move || {
        send_all(&mut BufReader::new(io::stdin()), &sender);
        drop(sender);
        // Who asked and is gone waits for nothing; who only closed this end is answered.
        wait_until_unread(&answers);
        std::process::exit(0);
    });
    requests
}

fn send_all(input: &mut impl BufRead, sender: &SyncSender<Result<Request, String>>) {
    loop {
        let request = match read_request(input) {
            Ok(None) => return,
            Ok(Some(request)) => Ok(request),
            Err(problem) => Err(problem),
        };
        let over = request.is_err();
        if sender.send(request).is_err() || over {
            return;
        }
    }
}

/// Returns when nobody holds the other end of an output.
#[cfg(unix)]
fn wait_until_unread(output: &File) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    loop {
        let mut watched = [PollFd::new(output.as_fd(), PollFlags::empty())];
        match poll(&mut watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            _ => return,
        }
    }
}

#[cfg(not(unix))]
fn wait_until_unread(_: &File) {
    thread::park();
}

/// The next request; `None` at the end.
fn read_request(input: &mut impl BufRead) -> Result<Option<Request>, String> {
    let mut line = Vec::new();
    let limit = LONGEST_LINE as u64;
    let read = input.take(limit).read_until(b'\n', &mut line);
    if read.map_err(|e| e.to_string())? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    let unknown = || format!("a line that is no request: {}", beginning(text.trim_end()));
    let value: Value = serde_json::from_str(&text).map_err(|_| unknown())?;
    let id = value
        .get("id")
        .and_then(Value::as_u64)
        .ok_or_else(unknown)?;
    let files = read_files(input, &value)?;
    let order = serde_json::from_value(value).map_err(|e| Failed {
        kind: FailedKind::Unsupported,
        message: format!("no request that is known here: {e}"),
        remedy: Some("files follow the line that speaks of them".into()),
    });
    Ok(Some(Request {
        id,
        what: order.and_then(|order| Ok((order, files?))),
    }))
}

/// The files that follow a request's line. A file that cannot be taken is read past, so that the next line is one.
fn read_files(
    input: &mut impl BufRead,
    request: &Value,
) -> Result<Result<Vec<Vec<u8>>, Failed>, String> {
    let mut files = Vec::new();
    let mut problem = None;
    for (name, bytes) in announced(request) {
        match room(name, bytes) {
            Ok(mut file) => {
                let read = input.take(bytes).read_to_end(&mut file);
                whole(name, bytes, read.map(|read| read as u64))?;
                files.push(file);
            }
            Err(failed) => {
                whole(
                    name,
                    bytes,
                    io::copy(&mut input.take(bytes), &mut io::sink()),
                )?;
                problem = Some(failed);
            }
        }
    }
    Ok(problem.map_or(Ok(files), Err))
}

/// The files that a request speaks of, in the order in which they follow it.
fn announced(request: &Value) -> impl Iterator<Item = (&str, u64)> {
    let bytes = |file: &Value| file.get("bytes")?.as_u64();
    let model = request.get("model").and_then(bytes);
    let inputs = request.get("inputs").and_then(Value::as_array);
    let inputs = inputs.into_iter().flatten();
    let inputs = inputs.filter_map(move |input| Some(("an input", bytes(input.get("file")?)?)));
    model
        .map(|bytes| ("model", bytes))
        .into_iter()
        .chain(inputs)
}

/// Room for a file, where there is.
fn room(name: &str, bytes: u64) -> Result<Vec<u8>, Failed> {
    let failed = |message: String| Failed {
        kind: FailedKind::Memory,
        message,
        remedy: None,
    };
    if bytes > LARGEST_FILE {
        let message = format!("{name} has {bytes} bytes; {LARGEST_FILE} are the most");
        return Err(failed(message));
    }
    let mut file = Vec::new();
    // No more than 2 GiB, so that it fits.
    match file.try_reserve_exact(bytes as usize) {
        Ok(()) => Ok(file),
        Err(e) => Err(failed(format!("no room for {name} of {bytes} bytes: {e}"))),
    }
}

fn whole(name: &str, announced: u64, read: io::Result<u64>) -> Result<(), String> {
    match read {
        Ok(read) if read == announced => Ok(()),
        Ok(read) => Err(format!(
            "it ended after {read} of the {announced} bytes of {name}"
        )),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

/// An engine with its sessions.
struct Server<'a> {
    engine: &'a dyn Engine,
    sessions: BTreeMap<u64, Prepared>,
    /// For how many threads this process was pinned, and why it could not be.
    pinned: Option<(usize, Option<String>)>,
}

/// A session, and the inputs that it is timed on.
struct Prepared {
    session: Box<dyn Session>,
    inputs: Vec<Input>,
}

impl Server<'_> {
    /// The line that answers a request, and what follows it.
    fn answer(&mut self, Request { id, what }: Request) -> (Value, Vec<u8>) {
        let done = what.and_then(|(order, files)| self.carry_out(order, &files));
        match done {
            Ok((ok, outputs)) => (json!({ "id": id, "ok": ok }), outputs),
            Err(failed) => (json!({ "id": id, "failed": failed }), Vec::new()),
        }
    }

    fn carry_out(&mut self, order: Order, files: &[Vec<u8>]) -> Result<(Value, Vec<u8>), Failed> {
        let plain = |value: Value| Ok((value, Vec::new()));
        match order {
            Order::Hello { protocol, options } => plain(json!(self.hello(&protocol, &options)?)),
            Order::Load { .. } => plain(json!(self.load(&order, files)?)),
            Order::Turns { sessions, count } => plain(json!(self.turns(&sessions, count)?)),
            Order::Infer { session, inputs } => {
                let outputs = outputs(self.session(session)?, &read_inputs(&inputs, files)?)?;
                let outputs = bytes(&outputs);
                Ok((json!({ "output": { "bytes": outputs.len() } }), outputs))
            }
            Order::Release { session } => {
                self.sessions.remove(&session);
                plain(json!({}))
            }
        }
    }

    fn hello(&self, protocol: &str, options: &BTreeMap<String, String>) -> Result<Hello, Failed> {
        if protocol != PROTOCOL {
            let message = format!("this device speaks {PROTOCOL}, and not {protocol}");
            return Err(unsupported(message));
        }
        if let Some(option) = options.keys().next() {
            let message =
                format!("there is no option {option}: they stand behind the engine's name");
            return Err(unsupported(message));
        }
        let version = match self.engine.availability() {
            Availability::Available { version, .. } => version,
            Availability::Unavailable { reason, remedy } => {
                return Err(Failed {
                    kind: FailedKind::Unavailable,
                    message: reason,
                    remedy: Some(remedy),
                });
            }
        };
        let machine = self.engine.machine();
        let machine = machine.unwrap_or_else(|| host::this(self.engine));
        Ok(Hello {
            name: self.engine.name().to_owned(),
            version,
            precision: self.engine.precision(),
            format: self.engine.format(),
            kind: self.engine.kind(),
            files: Files::Inline,
            most_bytes: Some(LARGEST_FILE),
            most_threads: self.engine.most_threads(),
            chip: machine.chip,
            host: Some(machine.host),
            cpus: machine.cpus,
            system: machine.system,
            governor: machine.governor,
        })
    }

    fn load(&mut self, order: &Order, files: &[Vec<u8>]) -> Result<Loaded, Failed> {
        let Order::Load {
            session,
            model,
            inputs,
            outputs,
            threads,
            simulation,
        } = order
        else {
            return Err(unsupported("no network".into()));
        };
        let [file, tensors @ ..] = files else {
            return Err(unsupported("a network comes with its inputs".into()));
        };
        let not_pinned = self.pin(*threads);
        let seed = blocklens_core::seed::Seed(0);
        let options = EngineOptions {
            threads: *threads,
            ..EngineOptions::new(simulation.map_or(seed, |simulation| simulation.seed))
        };
        let sent = SentFile {
            name: Cow::Borrowed(&model.name),
            file: Cow::Borrowed(file),
            inputs: read_inputs(inputs, tensors)?,
            outputs: *outputs,
            simulation: *simulation,
        };
        let prepared = self.engine.prepare(&Artefact::Sent(&sent), &options);
        let prepared = Prepared {
            session: prepared.map_err(failed)?,
            inputs: sent.inputs,
        };
        self.sessions.insert(*session, prepared);
        Ok(Loaded {
            not_pinned,
            ..Loaded::default()
        })
    }

    /// Pins this process for the first network; returns why it is not pinned, where it is not.
    fn pin(&mut self, threads: usize) -> Option<String> {
        if self.engine.kind() != Kind::Measured {
            return None;
        }
        let pin = || (threads, host::pin(threads).err().map(|e| e.to_string()));
        let (pinned, reason) = self.pinned.get_or_insert_with(pin);
        match *pinned == threads {
            true => reason.clone(),
            false => Some(format!("it is pinned for {pinned} threads already")),
        }
    }

    fn session(&mut self, name: u64) -> Result<&mut Prepared, Failed> {
        let session = self.sessions.get_mut(&name);
        session.ok_or_else(|| unsupported(format!("there is no session {name}")))
    }

    fn turns(&mut self, names: &[u64], count: u32) -> Result<Turned, Failed> {
        let inferences = names.len() as u64 * u64::from(count);
        if inferences > MOST_INFERENCES {
            let message =
                format!("{inferences} inferences at once; {MOST_INFERENCES} are the most");
            return Err(unsupported(message));
        }
        let mut turns = vec![Times::default(); names.len()];
        for _ in 0..count {
            for (&name, times) in names.iter().zip(&mut turns) {
                add(times, self.session(name)?.session.run().map_err(failed)?);
            }
        }
        Ok(Turned { turns })
    }
}

fn add(times: &mut Times, timing: Timing) {
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    times.wall_ns.push(ns(timing.wall));
    times.cpu_ns.extend(timing.cpu.map(ns));
    times.preemptions.extend(timing.preemptions);
}

/// Inputs with the numbers that followed the line, where they are as many as each has.
fn read_inputs(announced: &[AnnouncedTensor], files: &[Vec<u8>]) -> Result<Vec<Input>, Failed> {
    if announced.len() != files.len() {
        return Err(unsupported(
            "inputs follow the line that speaks of them".into(),
        ));
    }
    let read = |(tensor, bytes): (&AnnouncedTensor, &Vec<u8>)| {
        let spec = tensor.spec.clone();
        match Values::read(&spec, bytes) {
            Some(values) => Ok(Input { spec, values }),
            None => Err(unsupported(format!(
                "`{}` of {} bytes, where its type and shape {:?} have another number",
                spec.name,
                bytes.len(),
                spec.shape
            ))),
        }
    };
    announced.iter().zip(files).map(read).collect()
}

/// What comes of inputs. Others than one of float32 numbers are those that the session was loaded with, on which it is
/// timed.
fn outputs(session: &mut Prepared, inputs: &[Input]) -> Result<Vec<f32>, Failed> {
    match inputs {
        [
            Input {
                values: Values::Float32(image),
                ..
            },
        ] => session.session.infer(image).map_err(failed),
        inputs if inputs == session.inputs => {
            session.session.run().map_err(failed)?;
            Ok(session.session.output().to_vec())
        }
        _ => Err(unsupported(
            "outputs of these inputs are computed for those of the session alone".into(),
        )),
    }
}

fn unsupported(message: String) -> Failed {
    Failed {
        kind: FailedKind::Unsupported,
        message,
        remedy: None,
    }
}

/// What an engine did not do, without its name, which whoever asks knows.
fn failed(error: EngineError) -> Failed {
    let told = error.to_string();
    let (kind, message) = match error {
        EngineError::Unavailable { reason, .. } => (FailedKind::Unavailable, reason),
        EngineError::Room { message, .. } => (FailedKind::Room, message),
        EngineError::Memory { message, .. } => (FailedKind::Memory, message),
        EngineError::Prepare { message, .. } => (FailedKind::Load, message),
        EngineError::Run { message, .. } => (FailedKind::Run, message),
        EngineError::Lost { .. } | EngineError::OutputLength { .. } => (FailedKind::Run, told),
        EngineError::Threads { .. }
        | EngineError::NoGraphs { .. }
        | EngineError::Format { .. }
        | EngineError::Inputs { .. }
        | EngineError::InputLength { .. } => (FailedKind::Unsupported, told),
    };
    Failed {
        kind,
        message,
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<Option<Request>, String> {
        read_request(&mut BufReader::new(input))
    }

    #[test]
    fn files_follow_the_line_that_speaks_of_them() {
        let lines =
            b"{\"id\": 1, \"op\": \"infer\", \"session\": 1, \"inputs\": [{\"name\": \"x\", \
                      \"type\": \"uint8\", \"shape\": [5], \"file\": {\"bytes\": 5}}]}\n\
                      ab\ncd{\"id\": 2, \"op\": \"release\", \"session\": 1}\n";
        let mut input = BufReader::new(&lines[..]);
        let first = read_request(&mut input).unwrap().unwrap();
        let (order, files) = first.what.unwrap();
        assert!(matches!(order, Order::Infer { session: 1, .. }));
        assert_eq!(files, [b"ab\ncd"]);
        let second = read_request(&mut input).unwrap().unwrap();
        assert_eq!(second.id, 2);
        assert!(read_request(&mut input).unwrap().is_none());
    }

    #[test]
    fn what_is_cut_or_no_request_is_refused() {
        let cut = b"{\"id\": 1, \"op\": \"infer\", \"inputs\": [{\"file\": {\"bytes\": 5}}]}\nabc";
        let error = read(cut).err().unwrap();
        assert!(
            error.contains("after 3 of the 5 bytes of an input"),
            "{error}"
        );
        for rubbish in ["hello\n", "[1]\n", "{}\n", "{\"id\": -1}\n", "\n"] {
            let error = read(rubbish.as_bytes()).err().unwrap();
            assert!(error.contains("no request"), "{rubbish}: {error}");
        }
    }

    /// A failure of one request, and the next one is read.
    #[test]
    fn what_cannot_be_taken_is_read_past() {
        let unknown = b"{\"id\": 3, \"op\": \"dance\", \"model\": {\"bytes\": 2}}\nxy{\"id\": 4, \"op\": \"release\", \
                        \"session\": 1}\n";
        let mut input = BufReader::new(&unknown[..]);
        let first = read_request(&mut input).unwrap().unwrap();
        let failed = first.what.err().unwrap();
        assert!(failed.message.contains("dance"), "{failed:?}");
        assert_eq!(read_request(&mut input).unwrap().unwrap().id, 4);
        let by_path =
            br#"{"id": 1, "op": "infer", "session": 1, "inputs": [{"name": "x", "file": "/tmp/x"}]}"#;
        let failed = read(by_path).unwrap().unwrap().what.err().unwrap();
        assert!(failed.remedy.unwrap().contains("follow"));
        let huge = room("model", LARGEST_FILE + 1).unwrap_err();
        assert_eq!(huge.kind, FailedKind::Memory);
    }
}
