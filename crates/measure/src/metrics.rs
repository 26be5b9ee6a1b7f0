//! Metrics by the names that people type: `macs`, `accuracy`, or a quantity and where it comes from (a data set or
//! files), such as `latency@note10` or `accuracy@acc_predictor.pth`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blocklens_core::checkpoint::{Checkpoint, CheckpointError};
use blocklens_core::metric::{self, Guarded, Metric, MetricError, MetricInfo};
use blocklens_core::ofa;
use blocklens_core::proxy::Proxy;
use blocklens_core::quantity::{self, Nature};
use blocklens_core::report::InputHash;
use blocklens_core::space::DesignSpace;
use blocklens_core::surrogate::{
    AccuracyPredictor, BlockModel, BlockModelError, LookupLatency, LookupTable, LookupTableError,
    ModelMetric,
};
use blocklens_core::values::{Account, ValueTable, ValueTableError, Wanted};

use crate::data::{DataError, DataFile, DataFolder};
use crate::engine::ComputingError;
use crate::files;
use crate::program::{self, ProgramError};
use crate::proxies::{self, ProxyMetric};
use crate::source::Kind;
use crate::supernet::{Options, Supernet, SupernetError};

/// Largest file that a metric is read from, in bytes: supernets have hundreds of megabytes.
const LARGEST_FILE: u64 = 4 << 30;

/// Why there is no such metric.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name means nothing.
    #[error(
        "there is no metric `{name}`{}; there are latency (timed by `profile` alone), {}, the training-free proxies \
         {}, and those with a source, such as latency@note10, accuracy@FILE.pth or COLUMN@FILE.csv (commas separate \
         metrics, \
         but for those in the path of a file that is there)",
        if name == "latency" { " here" } else { "" },
        metric::COMPUTED.join(", "), Proxy::ALL.map(Proxy::name).join(" and ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("metric `{name}`: cannot read {}: {reason}", path.display())]
    Read {
        /// What was asked for.
        name: String,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The data set is unknown, not here or damaged.
    #[error("metric `{name}`: {problem}")]
    Data {
        /// What was asked for.
        name: String,
        /// What is wrong.
        problem: Box<DataError>,
    },
    /// The source gives something else.
    #[error(
        "metric `{name}`: {source_name} is {what}, which gives {gives}; write {gives}@{source_name}"
    )]
    Quantity {
        /// What was asked for.
        name: String,
        /// The part behind the `@`.
        source_name: String,
        /// What is there.
        what: &'static str,
        /// The quantity that it gives.
        gives: &'static str,
    },
    /// The file is no model.
    #[error("metric `{name}`: {problem}")]
    Model {
        /// What was asked for.
        name: String,
        /// What is wrong.
        problem: Box<BlockModelError>,
    },
    /// The model is of something else.
    #[error("metric `{name}`: {source_name} is a model of {gives}; write {gives}@{source_name}")]
    Learnt {
        /// What was asked for.
        name: String,
        /// The part behind the `@`.
        source_name: String,
        /// What it is a model of.
        gives: String,
    },
    /// The files are nothing that a metric is made from.
    #[error(
        "metric `{name}`: nothing is known to do with {found}; a source is one or more latency tables (YAML, JSON), an \
         accuracy predictor or a supernet (PyTorch, safetensors), a model learnt from measurements (model.json), a \
         table of values (CSV, JSON lines, Parquet) or program:COMMAND"
    )]
    Kind {
        /// What was asked for.
        name: String,
        /// What is there.
        found: String,
    },
    /// The way that values improve, or their unit, was said of something that says it itself.
    #[error(
        "metric `{name}`: unit and direction are said of the columns of tables (such as fps:higher@board.csv), and \
         {source_name} is {what}"
    )]
    Said {
        /// What was asked for.
        name: String,
        /// The part behind the `@`.
        source_name: String,
        /// What is there.
        what: &'static str,
    },
    /// A file is not a latency table.
    #[error("metric `{name}`: {problem}")]
    Table {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        problem: LookupTableError,
    },
    /// A file is not a checkpoint.
    #[error("metric `{name}`: {problem}")]
    Checkpoint {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        problem: CheckpointError,
    },
    /// A file is not a table of values for this space.
    #[error("metric `{name}`: {problem}")]
    Values {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        problem: Box<ValueTableError>,
    },
    /// A training-free proxy cannot be computed here.
    #[error("metric `{name}`: {problem}")]
    Proxy {
        /// What was asked for.
        name: String,
        /// Why not.
        problem: ComputingError,
    },
    /// A supernet cannot be evaluated.
    #[error("metric `{name}`: {problem}")]
    Supernet {
        /// What was asked for.
        name: String,
        /// What is wrong.
        problem: Box<SupernetError>,
    },
    /// A program gives no such metric.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Two metrics cannot be told apart in a report.
    #[error(
        "`{name}` would be called `{called}`, and so is another metric: give its file another name"
    )]
    SameName {
        /// What both would be called.
        called: String,
        /// The second of them.
        name: String,
    },
    /// The metric is not for this space.
    #[error(transparent)]
    Metric(#[from] MetricError),
}

/// Metrics and the files that they were made from.
#[derive(Default)]
pub struct Chosen {
    /// The metrics.
    pub metrics: Vec<Box<dyn Metric>>,
    /// Their files.
    pub inputs: Vec<InputHash>,
    /// What the user should know about them, one sentence or more each.
    pub notes: Vec<String>,
    /// What became of the rows of those that are tables of values, by the metric's name.
    pub tables: Vec<(String, Account)>,
}

impl Chosen {
    /// These metrics and others.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.metrics.extend(other.metrics);
        self.inputs.extend(other.inputs);
        self.notes.extend(other.notes);
        self.tables.extend(other.tables);
        self
    }
}

/// What metrics with a source are made from.
#[derive(Debug)]
pub struct Sources {
    /// The data sets.
    pub data: DataFolder,
    /// How programs are run.
    pub programs: program::Options,
    /// How training-free proxies are computed.
    pub proxies: proxies::Options,
    /// The images on which the subnets of supernets are evaluated, and how; `None` where none are named.
    pub images: Option<Options>,
}

/// Supernets that are open, by what they were asked for as: their quantities share what is computed.
type Supernets = Vec<(String, Arc<Supernet>)>;

/// The metrics with these names, for architectures of `space`; a name that is given twice counts once.
///
/// # Errors
/// [`OpenError`].
pub fn open_all(
    names: &[String],
    space: &DesignSpace,
    sources: &Sources,
) -> Result<Chosen, OpenError> {
    let mut chosen = Chosen::default();
    let mut commands: Vec<&str> = Vec::new();
    let mut supernets = Supernets::new();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            continue;
        }
        let opened = match command(name) {
            Some(command) if commands.contains(&command) => continue,
            Some(command) => {
                commands.push(command);
                open_program(command, names, space, &sources.programs)?
            }
            None => open(name, space, sources, &mut supernets)?,
        };
        for metric in &opened.metrics {
            let called = &metric.info().name;
            if chosen.metrics.iter().any(|m| m.info().name == *called) {
                return Err(OpenError::SameName {
                    called: called.clone(),
                    name: name.clone(),
                });
            }
        }
        chosen = chosen.and(opened);
    }
    // Whoever tells a value, it comes in through one door.
    let guarded = |metric| Box::new(Guarded::new(metric)) as Box<dyn Metric>;
    chosen.metrics = chosen.metrics.into_iter().map(guarded).collect();
    Ok(chosen)
}

/// Whether a metric of this name says itself how long something takes, or has values for a list of networks that
/// somebody measured: then no clock of this machine is to be started for it.
///
/// # Errors
/// [`OpenError`] where its files cannot be read.
pub fn brings_its_own(
    name: &str,
    space: &DesignSpace,
    sources: &Sources,
) -> Result<bool, OpenError> {
    if is_program(name) || Proxy::by_name(name).is_some() {
        return Ok(true);
    }
    let Some((typed, source)) = name.split_once('@') else {
        return Ok(false);
    };
    let quantity = quantity::Asked::read(typed);
    if quantity.called() == "latency" {
        return Ok(true);
    }
    let asked = Asked {
        name,
        quantity,
        source,
        space,
        data: &sources.data,
        images: None,
    };
    let files = asked.files()?;
    let kinds = files.iter().filter_map(|file| Kind::of(&file.bytes).ok());
    Ok(kinds.into_iter().any(Kind::is_values))
}

/// The names in what was typed: they are separated by commas, but not by those inside the quotes of a program's command
/// (`energy@program:meter 'a,b',macs` are two).
///
/// A comma that is part of a path belongs to it where there is such a file or folder: `latency@a,b.csv,macs` are two
/// where `a,b.csv` is.
#[must_use]
pub fn names(typed: &[String]) -> Vec<String> {
    names_among(typed, &|name| {
        let parts = name.split_once('@');
        let source = parts.filter(|(quantity, _)| !quantity.contains(','));
        let path = source.map(|(_, source)| source.strip_prefix("model:").unwrap_or(source));
        !is_program(name) && path.is_some_and(|path| Path::new(path).exists())
    })
}

/// The names in what was typed, where a name with a comma in it counts if it is known.
#[must_use]
pub fn names_among(typed: &[String], known: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut names = Vec::new();
    for text in typed {
        let parts = split(text);
        let mut rest = parts.as_slice();
        while !rest.is_empty() {
            let joined = (2..=rest.len())
                .rev()
                .find(|end| known(&rest[..*end].join(",")));
            let (name, after) = rest.split_at(joined.unwrap_or(1));
            names.push(name.join(","));
            rest = after;
        }
    }
    names
}

fn split(text: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let (mut quote, mut escaped) = (None, false);
    for c in text.chars() {
        // Elsewhere, quotes may be part of a file's name.
        let shell = is_program(&name);
        let plain = !escaped && quote.is_none();
        if c == ',' && plain {
            names.push(std::mem::take(&mut name));
            continue;
        }
        if shell && !escaped {
            match (quote, c) {
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                _ => {}
            }
        }
        escaped = shell && c == '\\' && !escaped && quote != Some('\'');
        name.push(c);
    }
    names.push(name);
    names
}

/// What the metric of this name is called: `energy@meter.sh` for `energy@program:sh tools/meter.sh`.
#[must_use]
pub fn called_as(name: &str) -> String {
    match (command(name), name.split_once('@')) {
        (Some(command), Some((quantity, _))) => called(quantity, command),
        (_, Some((quantity, source))) => called(&quantity::Asked::read(quantity).called(), source),
        _ => name.to_owned(),
    }
}

/// What a metric of this name counts: `latency` of `lat(us)@phone.csv`.
#[must_use]
pub fn quantity_of(name: &str) -> String {
    let typed = name.split('@').next().unwrap_or_default();
    match is_program(name) {
        true => typed.to_owned(),
        false => quantity::Asked::read(typed).called(),
    }
}

/// Whether a metric of this name is a program.
#[must_use]
pub fn is_program(name: &str) -> bool {
    command(name).is_some()
}

/// The command of a name such as `energy@program:./meter --fast`.
fn command(name: &str) -> Option<&str> {
    name.split_once('@')?.1.strip_prefix("program:")
}

/// All metrics of one program that are asked for: they share its answers.
fn open_program(
    wanted: &str,
    names: &[String],
    space: &DesignSpace,
    options: &program::Options,
) -> Result<Chosen, OpenError> {
    let mut quantities: Vec<&str> = Vec::new();
    for name in names.iter().filter(|name| command(name) == Some(wanted)) {
        let quantity = name.split('@').next().unwrap_or_default();
        if !quantities.contains(&quantity) {
            quantities.push(quantity);
        }
    }
    let called: Vec<String> = quantities.iter().map(|q| called(q, wanted)).collect();
    let pairs: Vec<(&str, &str)> = quantities
        .into_iter()
        .zip(called.iter().map(String::as_str))
        .collect();
    let metrics = program::metrics(wanted, &pairs, space, options.clone())?;
    let boxed = |metric| Box::new(metric) as Box<dyn Metric>;
    Ok(Chosen {
        metrics: metrics.into_iter().map(boxed).collect(),
        ..Chosen::default()
    })
}

/// A file as it was read.
struct Input {
    path: PathBuf,
    bytes: Vec<u8>,
}

fn open(
    name: &str,
    space: &DesignSpace,
    sources: &Sources,
    supernets: &mut Supernets,
) -> Result<Chosen, OpenError> {
    if let Some(metric) = metric::computed(name, space)? {
        return Ok(alone(metric));
    }
    if let Some(proxy) = Proxy::by_name(name) {
        let metric = ProxyMetric::new(proxy, space, &sources.proxies);
        let metric = metric.map_err(|problem| OpenError::Proxy {
            name: name.to_owned(),
            problem,
        })?;
        return Ok(Chosen {
            notes: vec![format!("{name}: {}", metric.info().about)],
            ..alone(Box::new(metric))
        });
    }
    let unknown = || OpenError::Unknown {
        name: name.to_owned(),
    };
    let (typed, source) = name.split_once('@').ok_or_else(unknown)?;
    let quantity = quantity::Asked::read(typed);
    if quantity.column.is_empty() || source.is_empty() {
        return Err(unknown());
    }
    let asked = Asked {
        name,
        quantity,
        source,
        space,
        data: &sources.data,
        images: sources.images.as_ref(),
    };
    if let Some((_, supernet)) = supernets.iter().find(|(known, _)| known == source) {
        return asked.quantity_of(supernet);
    }
    let files = asked.files()?;
    let mut chosen = asked.metric(&files, supernets)?;
    chosen.inputs = files.iter().map(hash).collect();
    Ok(chosen)
}

/// A name taken apart.
struct Asked<'a> {
    name: &'a str,
    quantity: quantity::Asked<'a>,
    source: &'a str,
    space: &'a DesignSpace,
    data: &'a DataFolder,
    images: Option<&'a Options>,
}

impl Asked<'_> {
    fn called(&self) -> String {
        called(&self.quantity.called(), self.source)
    }

    /// The files that the source names: a data set's, or those on disk.
    fn files(&self) -> Result<Vec<Input>, OpenError> {
        if let Some(path) = self.source.strip_prefix("model:") {
            return Ok(vec![self.read(PathBuf::from(path))?]);
        }
        let path = Path::new(self.source);
        // A set's name has neither dots nor slashes; one that is not known may still be a folder here.
        let plain = !self.source.contains(['.', '/', '\\']);
        if plain && (self.data.knows(self.source) || !path.exists()) {
            let files = self.data.files(self.source);
            let files = files.map_err(|problem| OpenError::Data {
                name: self.name.to_owned(),
                problem: Box::new(problem),
            })?;
            let input = |file: DataFile| Input {
                path: file.path,
                bytes: file.bytes,
            };
            return Ok(files.into_iter().map(input).collect());
        }
        let paths = if path.is_dir() {
            self.folder(path)?
        } else {
            vec![path.to_owned()]
        };
        paths.into_iter().map(|path| self.read(path)).collect()
    }

    /// The files of a folder, by name.
    fn folder(&self, folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
        let unreadable = |error: std::io::Error| self.unreadable(folder, &error.to_string());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn read(&self, path: PathBuf) -> Result<Input, OpenError> {
        let bytes = files::read(&path, LARGEST_FILE);
        let bytes = bytes.map_err(|error| self.unreadable(&path, &error.to_string()))?;
        Ok(Input { path, bytes })
    }

    fn unreadable(&self, path: &Path, reason: &str) -> OpenError {
        OpenError::Read {
            name: self.name.to_owned(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn metric(&self, files: &[Input], supernets: &mut Supernets) -> Result<Chosen, OpenError> {
        let kinds = files.iter().map(|file| self.kind(file));
        let kinds = kinds.collect::<Result<Vec<Kind>, _>>()?;
        match (files, kinds.as_slice()) {
            ([_, ..], all) if all.iter().all(|kind| *kind == Kind::Lookup) => {
                self.check_quantity("a latency table", "latency")?;
                self.lookup(files)
            }
            ([file], [Kind::Checkpoint]) => self.checkpoint(file, supernets),
            ([file], [Kind::Model]) => self.model(file),
            ([file], [kind]) => self.values(file, *kind),
            ([], _) => Err(self.no_source(format!("the empty folder {}", self.source))),
            _ => {
                let names = files.iter().map(|f| f.path.display().to_string());
                Err(self.no_source(names.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// What a file is by what it holds.
    fn kind(&self, file: &Input) -> Result<Kind, OpenError> {
        let kind = Kind::of(&file.bytes);
        kind.map_err(|what| self.no_source(format!("{}, which is {what}", file.path.display())))
    }

    fn no_source(&self, found: String) -> OpenError {
        OpenError::Kind {
            name: self.name.to_owned(),
            found,
        }
    }

    /// Weights: of a supernet, or else of a predictor.
    fn checkpoint(&self, file: &Input, supernets: &mut Supernets) -> Result<Chosen, OpenError> {
        let name = file.path.display().to_string();
        let checkpoint = Checkpoint::read(&name, &file.bytes);
        let checkpoint = checkpoint.map_err(|problem| OpenError::Checkpoint {
            name: self.name.to_owned(),
            problem,
        })?;
        if ofa::Supernet::is_in(&checkpoint) {
            self.check_unsaid("a supernet")?;
            return self.supernet(file, checkpoint, supernets);
        }
        self.check_quantity("an accuracy predictor", "accuracy")?;
        Ok(alone(self.predictor(&checkpoint)?))
    }

    fn check_quantity(&self, what: &'static str, gives: &'static str) -> Result<(), OpenError> {
        if self.quantity.called() == gives {
            return self.check_unsaid(what);
        }
        Err(OpenError::Quantity {
            name: self.name.to_owned(),
            source_name: self.source.to_owned(),
            what,
            gives,
        })
    }

    /// Only of a column may it be said what its unit is and which way it improves.
    fn check_unsaid(&self, what: &'static str) -> Result<(), OpenError> {
        if (self.quantity.unit, self.quantity.direction) == (None, None) {
            return Ok(());
        }
        Err(OpenError::Said {
            name: self.name.to_owned(),
            source_name: self.source.to_owned(),
            what,
        })
    }

    /// A table of values, with an account of its rows where not all of them are used.
    fn values(&self, file: &Input, kind: Kind) -> Result<Chosen, OpenError> {
        let (name, called) = (file.path.display().to_string(), self.called());
        let wanted = Wanted {
            metric: &called,
            column: self.quantity.column,
            unit: self.quantity.unit,
            direction: self.quantity.direction,
        };
        let read = match kind {
            Kind::Parquet => ValueTable::read_parquet,
            Kind::Json => ValueTable::read_jsonl,
            _ => ValueTable::read_csv,
        };
        let table = read(&name, &file.bytes, &wanted, self.space);
        let table = table.map_err(|problem| OpenError::Values {
            name: self.name.to_owned(),
            problem: Box::new(problem),
        })?;
        let account = table.account().clone();
        let note = (!account.is_complete()).then(|| account.to_string());
        let notes = note.into_iter().chain(self.unit_note(table.info()));
        Ok(Chosen {
            notes: notes.collect(),
            tables: vec![(called, account)],
            ..alone(Box::new(table))
        })
    }

    /// What is said where nothing tells the unit of something that has one.
    fn unit_note(&self, info: &MetricInfo) -> Option<String> {
        let has_one = info.nature() != Nature::Any && info.unit.is_empty();
        has_one.then(|| {
            format!(
                "nothing says in which unit {} is; say it behind the name, as {}:UNIT@{}",
                info.name, self.quantity.column, self.source
            )
        })
    }

    /// A model that was learnt from measurements.
    fn model(&self, file: &Input) -> Result<Chosen, OpenError> {
        let name = file.path.display().to_string();
        let problem = |problem: BlockModelError| OpenError::Model {
            name: self.name.to_owned(),
            problem: Box::new(problem),
        };
        let model = BlockModel::read(&name, &file.bytes).map_err(problem)?;
        self.check_unsaid("a model")?;
        if self.quantity.called() != model.metric.quantity() {
            return Err(OpenError::Learnt {
                name: self.name.to_owned(),
                source_name: self.source.to_owned(),
                gives: model.metric.quantity().to_owned(),
            });
        }
        let metric = ModelMetric::new(&self.called(), self.space, &model)?;
        Ok(alone(Box::new(metric)))
    }

    fn lookup(&self, files: &[Input]) -> Result<Chosen, OpenError> {
        let table = |file: &Input| LookupTable::read(&file.path.display().to_string(), &file.bytes);
        let tables = files.iter().map(table).collect::<Result<Vec<_>, _>>();
        let tables = tables.map_err(|problem| OpenError::Table {
            name: self.name.to_owned(),
            problem,
        })?;
        let metric = LookupLatency::new(&self.called(), self.space, &tables)?;
        Ok(Chosen {
            notes: tables.iter().filter_map(LookupTable::note).collect(),
            ..alone(Box::new(metric))
        })
    }

    fn predictor(&self, checkpoint: &Checkpoint) -> Result<Box<dyn Metric>, OpenError> {
        Ok(Box::new(AccuracyPredictor::new(
            &self.called(),
            self.space,
            checkpoint,
        )?))
    }

    /// Subnets of a supernet, evaluated on the images that were named.
    fn supernet(
        &self,
        file: &Input,
        checkpoint: Checkpoint,
        supernets: &mut Supernets,
    ) -> Result<Chosen, OpenError> {
        let images = self.images.ok_or(SupernetError::NoImages);
        let opened = images.and_then(|options| {
            let (called, hash) = (last(self.source), files::sha256(&file.bytes));
            Supernet::open(self.space, checkpoint, &called, &hash, options.clone())
        });
        let supernet = Arc::new(opened.map_err(|problem| self.supernet_error(problem))?);
        supernets.push((self.source.to_owned(), Arc::clone(&supernet)));
        let mut chosen = self.quantity_of(&supernet)?;
        chosen
            .notes
            .push(format!("{}: {}", self.source, supernet.describe()));
        Ok(chosen)
    }

    fn quantity_of(&self, supernet: &Arc<Supernet>) -> Result<Chosen, OpenError> {
        let metric = supernet.metric(&self.quantity.called());
        let metric = metric.map_err(|problem| self.supernet_error(problem))?;
        Ok(alone(Box::new(metric)))
    }

    fn supernet_error(&self, problem: SupernetError) -> OpenError {
        OpenError::Supernet {
            name: self.name.to_owned(),
            problem: Box::new(problem),
        }
    }
}

/// What a metric is called: of a path or a command, the last part is enough.
fn called(quantity: &str, source: &str) -> String {
    format!("{quantity}@{}", last(source))
}

fn last(source: &str) -> String {
    let last = Path::new(source).file_name();
    last.map_or(source.into(), |last| last.to_string_lossy().into_owned())
}

fn alone(metric: Box<dyn Metric>) -> Chosen {
    Chosen {
        metrics: vec![metric],
        ..Chosen::default()
    }
}

fn hash(file: &Input) -> InputHash {
    InputHash {
        name: file.path.display().to_string(),
        hash: format!("sha256:{}", files::sha256(&file.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::{called_as, names, quantity_of};

    #[test]
    fn names_say_what_is_counted_however_it_is_written() {
        for (name, called, quantity) in [
            ("latency_ms@a/phone.csv", "latency@phone.csv", "latency"),
            ("lat(us)@phone.csv", "latency@phone.csv", "latency"),
            ("fps:higher@board.csv", "fps@board.csv", "fps"),
            ("acc@ofa", "accuracy@ofa", "accuracy"),
            ("macs", "macs", "macs"),
            ("t_ms@program:sh a/m.sh", "t_ms@m.sh", "t_ms"),
        ] {
            assert_eq!(called_as(name), called, "{name}");
            assert_eq!(quantity_of(name), quantity, "{name}");
        }
    }

    #[test]
    fn commas_inside_quotes_of_commands_separate_nothing() {
        let names = |typed: &[&str]| {
            let typed: Vec<String> = typed.iter().map(|t| (*t).to_owned()).collect();
            names(&typed)
        };
        assert_eq!(
            names(&["accuracy,macs", "params"]),
            ["accuracy", "macs", "params"]
        );
        assert_eq!(
            names(&[
                "e@program:meter 'a,b' \"c,\\\",d\",macs",
                "f@program:m x\\,y"
            ]),
            [
                "e@program:meter 'a,b' \"c,\\\",d\"",
                "macs",
                "f@program:m x\\,y"
            ]
        );
        assert_eq!(
            names(&["latency@it's.csv,macs"]),
            ["latency@it's.csv", "macs"]
        );
        // What does not end is one name: the error of the command says so.
        assert_eq!(names(&["e@program:m 'a,b"]), ["e@program:m 'a,b"]);
        assert_eq!(names(&["a,"]), ["a", ""]);
    }
}
