//! `blocklens evaluate`: architectures in, one line for each of them and each metric out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocklens_core::metric::Metric;
use blocklens_core::shown::{number, one_line, visible};
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_measure::evaluate::{Value, evaluate_some};
use blocklens_measure::files::{Log, LogError, Place, place, same_file, stream};
use blocklens_measure::lines::{Batches, map_lines};
use blocklens_measure::metrics::{self, Sources};
use serde::{Deserialize, Serialize};

use super::given::{self, read_arch};
use super::{Done, load_space, sources};
use crate::args::{EvaluateArgs, Format};
use crate::interruption;

/// Lines that are worked on together where a metric is cheap.
const TOGETHER: usize = 2_048;
/// Bytes that are read at once.
const READ: usize = 1 << 18;
/// Bytes that are written at once.
const WRITTEN: usize = 1 << 16;
/// How long an interruption may take: whoever reads the lines or writes the architectures may keep this program
/// waiting for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries out the command.
pub fn run(args: &EvaluateArgs, format: Format) -> Result<Done> {
    let space = load_space(&args.space)?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let interrupted =
        interruption::flag_within("stopping; every line that is written is whole", PATIENCE);
    let sources = Sources {
        images: args.images.options(threads, &interrupted),
        ..sources(threads, args.time_limit, &args.proxy, &interrupted)?
    };
    let chosen = metrics::open_all(&args.metric, &space, &sources)?;
    chosen
        .notes
        .iter()
        .for_each(|note| eprintln!("note: {note}"));
    let metrics = chosen.metrics;
    let costly = metrics.iter().any(|metric| metric.is_costly());
    let (mut output, known) = open_output(args.output.as_deref(), &args.archs)?;
    let job = Job {
        space,
        metrics,
        // A file is there to be read again.
        format: if args.output.is_some() {
            Format::Json
        } else {
            format
        },
        known,
        resolution: args.resolution,
        told: Told::default(),
    };
    let batches = Batches {
        lines: if costly { 1 } else { TOGETHER },
        threads,
    };
    let input = BufReader::with_capacity(READ, given::lines(&args.archs)?);
    let work = |lines: &[u8]| job.answer(lines);
    let complete = map_lines(input, &mut output, batches, &interrupted, &work)
        .with_context(|| format!("cannot evaluate {}", args.archs.display()))?;
    job.told.print();
    print_notes(&job.metrics);
    if !complete {
        return Ok(Done::Interrupted);
    }
    if job.told.some() {
        return Ok(Done::Complete);
    }
    match job.told.reason.get() {
        Some(reason) => bail!(
            "no line is an architecture of this space; the first: {reason}{}",
            given::beside(&args.archs)
        ),
        None => bail!(given::holds_none(&args.archs)),
    }
}

/// What the metrics have to say in the end, each thing once.
pub(super) fn print_notes(metrics: &[Box<dyn Metric>]) {
    let notes: BTreeSet<String> = metrics.iter().flat_map(|metric| metric.notes()).collect();
    notes.iter().for_each(|note| eprintln!("note: {note}"));
}

/// Where the lines go, and the values that are there already.
fn open_output(path: Option<&Path>, input: &Path) -> Result<(Output, Known)> {
    // By convention, `-` is standard output.
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let output = Output::new("standard output", Sink::Stream(Box::new(io::stdout())));
        return Ok((output, Known::default()));
    };
    let name = path.display().to_string();
    ensure!(
        !same_file(path, input),
        "{name} is where the architectures come from; name another file for their values"
    );
    let context = || format!("cannot write {name}");
    if place(path).with_context(context)? == Place::Stream {
        let stream = stream(path).with_context(context)?;
        return Ok((
            Output::new(&name, Sink::Stream(Box::new(stream))),
            Known::default(),
        ));
    }
    let mut log = Log::open(path)?;
    let known = Known::read(&mut log)?;
    Ok((Output::new(&name, Sink::Log(log)), known))
}

/// Where lines go: whole batches of them, each at once.
struct Output {
    name: String,
    sink: BufWriter<Sink>,
}

enum Sink {
    Stream(Box<dyn Write>),
    Log(Log),
}

impl Output {
    fn new(name: &str, sink: Sink) -> Self {
        Self {
            name: name.to_owned(),
            sink: BufWriter::with_capacity(WRITTEN, sink),
        }
    }

    /// An error that names the output; a reader that has enough is told apart from other errors by its kind.
    fn told(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", self.name))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes).map_err(|error| self.told(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush().map_err(|error| self.told(&error))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            // Whole, or not at all.
            Self::Log(log) => match log.append(bytes, false) {
                Ok(()) => Ok(bytes.len()),
                Err(LogError::Io { source, .. }) => Err(source),
                Err(error) => Err(io::Error::other(error)),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::Log(_) => Ok(()),
        }
    }
}

/// What is the same for every line.
struct Job {
    space: DesignSpace,
    metrics: Vec<Box<dyn Metric>>,
    format: Format,
    known: Known,
    /// Of architectures that do not say theirs.
    resolution: Option<u32>,
    told: Told,
}

/// One line of output.
#[derive(Serialize)]
struct Line<'a> {
    arch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// The failure of a line that is not an architecture.
const NOT_AN_ARCHITECTURE: &str = "not-an-architecture";

impl Job {
    /// The lines that answer some lines of input.
    fn answer(&self, lines: &[u8]) -> Vec<u8> {
        let lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
        let parsed: Vec<Result<Architecture, String>> =
            lines.iter().map(|line| self.parse(line)).collect();
        let mut archs: Vec<Architecture> = parsed.iter().flatten().cloned().collect();
        archs.retain(|arch| !self.is_known(arch));
        let values = evaluate_some(&self.metrics, &archs);
        let mut output = Vec::with_capacity(96 * archs.len() * self.metrics.len());
        let mut next = 0;
        for (line, parsed) in lines.into_iter().zip(parsed) {
            match parsed {
                Err(reason) => self.not_an_architecture(line, &reason, &mut output),
                Ok(arch) if archs.get(next) == Some(&arch) => {
                    let of_arch = values.iter().map(|of_metric| &of_metric[next]);
                    self.tell(&arch, of_arch, &mut output);
                    next += 1;
                }
                Ok(_) => Told::count(&self.told.known),
            }
        }
        output
    }

    fn parse(&self, line: &[u8]) -> Result<Architecture, String> {
        let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_owned())?;
        read_arch(&self.space, text, self.resolution).map_err(|error| format!("{error:#}"))
    }

    fn is_known(&self, arch: &Architecture) -> bool {
        !self.known.0.is_empty() && self.known.has_all(&self.space.print(arch), &self.metrics)
    }

    fn tell<'v>(
        &self,
        arch: &Architecture,
        values: impl Iterator<Item = &'v Value>,
        output: &mut Vec<u8>,
    ) {
        let arch = self.space.print(arch);
        Told::count(&self.told.architectures);
        for (metric, value) in self.metrics.iter().zip(values) {
            let info = metric.info();
            if self.known.has(&arch, &info.name) {
                continue;
            }
            let mut line = Line::of(&arch);
            line.metric = Some(&info.name);
            let message;
            match value {
                Ok(value) => {
                    line.value = Some(*value);
                    line.unit = Some(info.unit.as_str()).filter(|unit| !unit.is_empty());
                }
                Err(error) => {
                    self.told.failed(&info.name, error.kind());
                    message = error.to_string();
                    line.failure = Some(error.kind());
                    line.message = Some(&message);
                }
            }
            line.write(self.format, output);
        }
    }

    fn not_an_architecture(&self, text: &[u8], reason: &str, output: &mut Vec<u8>) {
        self.told.not_an_architecture(reason);
        let text = String::from_utf8_lossy(text);
        let mut line = Line::of(&text);
        line.failure = Some(NOT_AN_ARCHITECTURE);
        line.message = Some(reason);
        line.write(self.format, output);
    }
}

impl<'a> Line<'a> {
    fn of(arch: &'a str) -> Self {
        Self {
            arch,
            metric: None,
            value: None,
            unit: None,
            failure: None,
            message: None,
        }
    }

    fn write(&self, format: Format, output: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = match format {
            Format::Json => self.write_json(output),
            Format::Text => self.write_text(output),
        };
        output.push(b'\n');
    }

    fn write_json(&self, output: &mut Vec<u8>) -> io::Result<()> {
        let text = serde_json::to_string(self)?;
        output.write_all(visible(&text).as_bytes())
    }

    /// Architecture, metric, value and unit, separated by tabs.
    fn write_text(&self, output: &mut Vec<u8>) -> io::Result<()> {
        let (arch, metric) = (one_line(self.arch), one_line(self.metric.unwrap_or("-")));
        write!(output, "{arch}\t{metric}\t")?;
        match self.value {
            Some(value) => {
                write!(output, "{}", number(value))?;
                match self.unit {
                    Some(unit) => write!(output, "\t{}", one_line(unit)),
                    None => Ok(()),
                }
            }
            None => {
                let (kind, message) = (self.failure.unwrap_or_default(), self.message);
                let message = one_line(message.unwrap_or_default());
                write!(output, "-\t{kind}: {message}")
            }
        }
    }
}

/// (architecture, metric) that an output file holds a value of.
#[derive(Default)]
struct Known(HashSet<(String, String)>);

/// A line that an earlier run wrote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    arch: String,
    metric: Option<String>,
    value: Option<f64>,
    unit: Option<String>,
    failure: Option<String>,
    message: Option<String>,
}

impl Written {
    /// Whether it is a value, or says why there is none.
    fn is_whole(&self) -> bool {
        match self.value {
            Some(_) => self.metric.is_some() && self.unit.is_some() && self.failure.is_none(),
            None => self.failure.is_some() && self.message.is_some(),
        }
    }
}

/// What every line begins with.
const BEGINS: &str = "{\"arch\":\"";

impl Known {
    /// Reads what earlier runs wrote; a last line that they could not finish is cut off.
    fn read(log: &mut Log) -> Result<Self> {
        let mut known = HashSet::new();
        let read = log.read(BEGINS, &mut |(_, line)| {
            let written = serde_json::from_slice::<Written>(line).ok();
            let written = written
                .filter(Written::is_whole)
                .ok_or("is none of its lines")?;
            // What failed is tried again.
            let metric = written.metric.filter(|_| written.value.is_some());
            known.extend(metric.map(|metric| (written.arch, metric)));
            Ok(())
        });
        match read {
            Err(LogError::Line { path, line, reason }) => bail!(
                "{} was not written by `blocklens evaluate`, and stays as it is: line {line} {reason}; \
                 name another file",
                path.display()
            ),
            other => other?,
        }
        Ok(Self(known))
    }

    fn has(&self, arch: &str, metric: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(arch.to_owned(), metric.to_owned()))
    }

    fn has_all(&self, arch: &str, metrics: &[Box<dyn Metric>]) -> bool {
        metrics
            .iter()
            .all(|metric| self.has(arch, &metric.info().name))
    }
}

/// What the user is told at the end.
#[derive(Default)]
struct Told {
    architectures: AtomicU64,
    known: AtomicU64,
    not_architectures: AtomicU64,
    /// Why the first of them is none.
    reason: OnceLock<String>,
    /// By metric and kind of failure.
    failures: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Told {
    fn count(what: &AtomicU64) {
        what.fetch_add(1, Ordering::Relaxed);
    }

    fn not_an_architecture(&self, reason: &str) {
        Self::count(&self.not_architectures);
        let _ = self.reason.set(reason.to_owned());
    }

    /// Whether any line was an architecture.
    fn some(&self) -> bool {
        let counts = [&self.architectures, &self.known];
        counts.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    fn failed(&self, metric: &str, kind: &'static str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry((metric.to_owned(), kind)).or_default() += 1;
    }

    /// Says what did not go as it should, and nothing where everything did.
    fn print(&self) {
        let count = |what: &AtomicU64| what.load(Ordering::Relaxed);
        let (done, known) = (count(&self.architectures), count(&self.known));
        if known > 0 {
            eprintln!("{known} architectures had all their values already; {done} were evaluated");
        }
        let strange = count(&self.not_architectures);
        if strange > 0 {
            let are = if strange == 1 {
                "line is not an architecture"
            } else {
                "lines are not architectures"
            };
            eprintln!("{strange} {are} of this space");
        }
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for ((metric, kind), failed) in failures.iter() {
            eprintln!("{metric}: no value for {failed} of {done} architectures ({kind})");
        }
    }
}
