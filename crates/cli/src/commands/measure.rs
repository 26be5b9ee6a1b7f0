//! `blocklens measure`: how fast networks are on devices, and which is faster, by how much.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocklens_core::model::{self, AskedShape, Inspected, ModelError};
use blocklens_core::rounds::{Ending, NetworkReport, Report, Settings, markdown};
use blocklens_core::space::{Architecture, DesignSpace};
use blocklens_core::text;
use blocklens_measure::engine;
use blocklens_measure::files::{contains, read, sha256};
use blocklens_measure::job::SpaceText;
use blocklens_measure::protocol::Protocol;
use blocklens_measure::rounds::{Event, LARGEST_MODEL, Plan, PlannedNetwork, Source, devices};
use blocklens_measure::runner::WorkerProcess;
use indicatif::ProgressBar;

use super::given::{self, Choice};
use super::profile::own_program;
use super::{Done, load_space, print_json, print_page};
use crate::args::{Format, MeasureArgs, default_engine};
use crate::{files, interruption, progress};

/// The longest text of an architecture that is a name in a table, in characters.
const LONGEST_NAME: usize = 24;
/// Names the program in what it exports.
const MARK: &str = "blocklens measure";

/// Carries out the command.
pub fn run(args: &MeasureArgs, format: Format) -> Result<Done> {
    ensure!(
        args.sampling_time <= args.time_limit as f64,
        "--sampling-time {} leaves a session no time within --time-limit {}; raise the time limit",
        args.sampling_time,
        args.time_limit
    );
    ensure!(
        args.export_markdown.is_none() || args.export_markdown != args.export_json,
        "--export-markdown and --export-json name the same file; name two"
    );
    for path in [&args.export_markdown, &args.export_json]
        .into_iter()
        .flatten()
    {
        check_export(path)?;
    }
    let plan = plan(args)?;
    let interrupted = interruption::flag("stopping; what is known until now is told");
    announce(&plan);
    let report = measure(args, &plan, &interrupted)?;
    if report.ended == Ending::Interrupted && report.numbers().is_empty() {
        eprintln!("interrupted before anything was measured");
        return Ok(Done::Interrupted);
    }
    let page = markdown(&report);
    match format {
        Format::Json => print_json(&report)?,
        Format::Text => print_page(&page)?,
    }
    export(args.export_markdown.as_deref(), page.as_bytes())?;
    if args.export_json.is_some() {
        let json = serde_json::to_vec(&report)?;
        export(args.export_json.as_deref(), &json)?;
    }
    if report.ended == Ending::Interrupted {
        return Ok(Done::Interrupted);
    }
    let failed = report
        .entries
        .iter()
        .filter(|entry| entry.failure.is_some());
    match failed.count() {
        0 => Ok(Done::Complete),
        failed => bail!("{failed} of {} gave no time", report.entries.len()),
    }
}

/// Refuses what could not be written in the end.
fn check_export(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!(
            "cannot write {}: there is no folder {}",
            path.display(),
            folder.display()
        );
    }
    ensure!(
        !path.is_dir(),
        "cannot write {}: it is a folder; name a file",
        path.display()
    );
    if path.is_file() {
        let there =
            read(path, LARGEST_MODEL).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            there.is_empty() || contains(&there, MARK),
            "{} was not written by `{MARK}`, and stays as it is; name another file, or move it away",
            path.display()
        );
    }
    Ok(())
}

fn export(path: Option<&Path>, bytes: &[u8]) -> Result<()> {
    match path {
        Some(path) => files::write_over(path, bytes, |there| contains(there, MARK)),
        None => Ok(()),
    }
}

fn plan(args: &MeasureArgs) -> Result<Plan> {
    let networks = networks(args)?;
    let asked = match args.device.as_slice() {
        [] => vec![default_engine().to_owned()],
        asked => asked.to_vec(),
    };
    let threads = usize::from(args.threads);
    let plan = Plan {
        networks,
        devices: devices(&asked, threads)?,
        settings: Settings {
            threads,
            seed: args.seed,
            precision: args.precision,
            most_rounds: usize::from(args.rounds),
            most_seconds: args.time,
        },
        protocol: Protocol {
            max_s: args.sampling_time,
            ..Protocol::default()
        },
    };
    plan.check()?;
    Ok(plan)
}

/// Every network that is given, with a name of its own.
fn networks(args: &MeasureArgs) -> Result<Vec<PlannedNetwork>> {
    let mut reader = Reader {
        args,
        space: None,
        networks: Vec::new(),
        chosen: false,
        used: vec![false; args.shape.len()],
    };
    for given in &args.networks {
        reader.take(given)?;
    }
    if !reader.chosen {
        Choice::new(&args.best, args.resolution).check_nothing(&args.networks.join(", "))?;
    }
    if let Some(place) = reader.used.iter().position(|used| !used) {
        let AskedShape { input, .. } = &args.shape[place];
        match input {
            Some(input) => bail!("--shape {input}=...: no file has an input `{input}`"),
            None => bail!(
                "--shape without an input's name is for files with one input, or with one whose shape is open; write \
                 --shape INPUT=..."
            ),
        }
    }
    let mut networks = reader.networks;
    tell_apart(&mut networks);
    Ok(networks)
}

struct Reader<'a> {
    args: &'a MeasureArgs,
    /// Read when the first architecture comes.
    space: Option<DesignSpace>,
    networks: Vec<PlannedNetwork>,
    /// Whether any file listed some to choose from.
    chosen: bool,
    /// Which of the shapes asked for are some input's.
    used: Vec<bool>,
}

impl Reader<'_> {
    fn take(&mut self, given: &str) -> Result<()> {
        if !given::is_file(given) {
            let resolution = self.args.resolution;
            let arch = given::written(self.space()?, given, resolution)?;
            return self.architecture(&arch, None);
        }
        let path = Path::new(given);
        if given == given::STANDARD_INPUT || path.is_dir() {
            return self.listed(given);
        }
        let bytes = read(path, LARGEST_MODEL).with_context(|| format!("cannot read {given}"))?;
        match model::inspect(&bytes) {
            Ok(found) => self.file(path, &bytes, &found),
            Err(ModelError::Unknown(_)) if text::read(&bytes).is_ok() => self.listed(given),
            Err(error) => Err(error).with_context(|| format!("cannot measure {given}")),
        }
    }

    fn space(&mut self) -> Result<&DesignSpace> {
        let space = match self.space.take() {
            Some(space) => space,
            None => load_space(&self.args.space)?,
        };
        Ok(self.space.insert(space))
    }

    fn file(&mut self, path: &Path, bytes: &[u8], found: &Inspected) -> Result<()> {
        let shapes = &self.args.shape;
        for (asked, used) in shapes.iter().zip(&mut self.used) {
            *used |= found.takes(asked);
        }
        let inputs = found.with_shapes(shapes);
        let inputs = inputs.with_context(|| format!("cannot measure {}", path.display()))?;
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let sha256 = sha256(bytes);
        self.networks.push(PlannedNetwork {
            report: NetworkReport {
                name: name.into_owned(),
                architecture: None,
                space: None,
                file: Some(path.display().to_string()),
                sha256: Some(sha256.clone()),
                format: Some(found.format),
                inputs: inputs.clone(),
            },
            source: Source::File {
                // Workers may be started elsewhere.
                path: std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)),
                sha256,
                format: found.format,
                inputs,
            },
        });
        Ok(())
    }

    fn listed(&mut self, given: &str) -> Result<()> {
        let args = self.args;
        let choice = Choice::new(&args.best, args.resolution);
        self.chosen = true;
        let (chosen, told) = given::choose(self.space()?, given, &choice)?;
        if !told.is_empty() {
            eprintln!("{told}");
        }
        let stem = Path::new(given)
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem
            .filter(|_| given != given::STANDARD_INPUT)
            .unwrap_or_else(|| "arch".into());
        for (number, chosen) in (1..).zip(&chosen) {
            self.architecture(&chosen.arch, Some(format!("{stem}-{number}")))?;
        }
        Ok(())
    }

    fn architecture(&mut self, arch: &Architecture, name: Option<String>) -> Result<()> {
        let number = self.networks.len() + 1;
        let space = self.space()?;
        let text = space.print(arch);
        let short = (text.chars().count() <= LONGEST_NAME).then(|| text.clone());
        let name = name.or(short).unwrap_or_else(|| format!("arch-{number}"));
        let planned = PlannedNetwork {
            report: NetworkReport {
                name,
                architecture: Some(text.clone()),
                space: Some(space.name().to_owned()),
                file: None,
                sha256: None,
                format: None,
                inputs: Vec::new(),
            },
            source: Source::Architecture {
                space: SpaceText::of(space),
                arch: text,
            },
        };
        self.networks.push(planned);
        Ok(())
    }
}

/// Gives networks of one name others: files of several folders their paths, and what is given twice a number.
fn tell_apart(networks: &mut [PlannedNetwork]) {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for NetworkReport { name, file, .. } in networks.iter().map(|network| &network.report) {
        files.entry(name.clone()).or_default().extend(file.clone());
    }
    for NetworkReport { name, file, .. } in networks.iter_mut().map(|network| &mut network.report) {
        if let Some(file) = file.as_ref().filter(|_| files[name].len() > 1) {
            name.clone_from(file);
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for network in networks {
        let before = seen.entry(network.report.name.clone()).or_default();
        *before += 1;
        if *before > 1 {
            network.report.name = format!("{} ({before})", network.report.name);
        }
    }
}

fn announce(plan: &Plan) {
    let several = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let devices: Vec<&str> = plan
        .devices
        .iter()
        .map(|device| device.name.as_str())
        .collect();
    eprintln!(
        "{} on {}, until ratios are known to {} %, in at most {}",
        several(plan.networks.len(), "network"),
        devices.join(", "),
        100.0 * plan.settings.precision,
        several(plan.settings.most_rounds, "round")
    );
}

fn measure(args: &MeasureArgs, plan: &Plan, interrupted: &Arc<AtomicBool>) -> Result<Report> {
    let runner = WorkerProcess {
        command: (own_program()?, vec!["worker".into()]),
        time_limit: Duration::from_secs(args.time_limit),
        variables: engine::for_workers(plan.devices.iter().map(|device| device.held.as_ref())),
        interrupted: Arc::clone(interrupted),
    };
    let bar = progress::bar(1, 0, args.quiet);
    let mut show = |event: &Event<'_>| show(&bar, event);
    let report = plan.run(&runner, interrupted, &mut show);
    bar.finish_and_clear();
    Ok(report)
}

fn show(bar: &ProgressBar, event: &Event<'_>) {
    bar.set_length(event.most.max(event.done) as u64);
    bar.set_position(event.done as u64);
    if let Some(precision) = event.precision {
        bar.set_message(format!(
            "at most; ratios known to {:.1} %",
            100.0 * precision
        ));
    }
    if let Some(failure) = event.failure {
        progress::say(&format!("{}: {failure}", event.entry));
    }
}
