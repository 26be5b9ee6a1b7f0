//! What is sought and how, in words: `search.json`. What a folder holds is continued only where these agree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use blocklens_core::metric::MetricInfo;
use blocklens_core::report::InputHash;
use blocklens_core::search::{Bound, Problem};
use blocklens_core::space::DesignSpace;
use serde::{Deserialize, Serialize};

use super::log::{Log, fields};
use super::{SearchError, Summary, front_csv};

/// The version of the files.
pub const SEARCH_FORMAT: u32 = 1;
/// Largest `search.json`, in bytes.
const LARGEST: u64 = 16 << 20;

/// A space, by name and content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpaceRef {
    /// Its name.
    pub name: String,
    /// Its width multiplier.
    pub width: f64,
    /// The hash of its file and width.
    pub digest: String,
}

impl SpaceRef {
    /// That of a space.
    #[must_use]
    pub fn of(space: &DesignSpace) -> Self {
        Self {
            name: space.name().to_owned(),
            width: space.width(),
            digest: space.digest().to_owned(),
        }
    }
}

/// A limit by its metric's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitText {
    /// The metric's name.
    pub metric: String,
    /// Which side is allowed.
    pub bound: Bound,
    /// The limit, in the metric's unit.
    pub value: f64,
}

/// The limits of a problem.
pub(crate) fn limit_texts(problem: &Problem<'_>) -> Vec<LimitText> {
    let limit = |limit: &blocklens_core::search::Limit| LimitText {
        metric: problem.metrics()[limit.metric].name.clone(),
        bound: limit.bound,
        value: limit.value,
    };
    problem.limits().iter().map(limit).collect()
}

/// A search in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SEARCH_FORMAT`].
    pub format: u32,
    /// The version of blocklens.
    pub blocklens: String,
    /// The command that asked.
    pub command: String,
    /// When (UTC).
    pub created: String,
    /// The space.
    pub space: SpaceRef,
    /// The resolutions that architectures may have.
    pub resolutions: Vec<u32>,
    /// Every metric that is evaluated.
    pub metrics: Vec<MetricInfo>,
    /// The names of those that are improved.
    pub objectives: Vec<String>,
    /// The fields of `evaluations.jsonl` with the values of `metrics`.
    pub fields: Vec<String>,
    /// What is allowed.
    pub limits: Vec<LimitText>,
    /// The algorithm.
    pub algorithm: String,
    /// The seed.
    pub seed: u64,
    /// Unique architectures to evaluate.
    pub budget: u64,
    /// The reference point of the hypervolume, for each objective, where one was given.
    pub reference: Option<Vec<f64>>,
    /// The files that metrics were made from.
    pub inputs: Vec<InputHash>,
}

/// What of a manifest comes from the command rather than from the problem.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The algorithm.
    pub algorithm: String,
    /// The seed.
    pub seed: u64,
    /// Unique architectures to evaluate.
    pub budget: u64,
    /// The reference point of the hypervolume, for each objective.
    pub reference: Option<Vec<f64>>,
    /// The files that metrics were made from.
    pub inputs: Vec<InputHash>,
    /// The command.
    pub command: String,
    /// Now (UTC).
    pub created: String,
}

impl Manifest {
    /// A search for `problem` as it was asked for.
    #[must_use]
    pub fn new(problem: &Problem<'_>, asked: Asked) -> Self {
        let name = |index: usize| problem.metrics()[index].name.clone();
        Self {
            format: SEARCH_FORMAT,
            blocklens: env!("CARGO_PKG_VERSION").into(),
            command: asked.command,
            created: asked.created,
            space: SpaceRef::of(problem.space()),
            resolutions: problem.resolutions().to_vec(),
            metrics: problem.metrics().to_vec(),
            objectives: problem.objectives().iter().map(|i| name(*i)).collect(),
            fields: fields(problem),
            limits: limit_texts(problem),
            algorithm: asked.algorithm,
            seed: asked.seed,
            budget: asked.budget,
            reference: asked.reference,
            inputs: asked.inputs,
        }
    }

    /// The search that a folder holds; `None` where it holds none.
    ///
    /// # Errors
    /// [`SearchError`] when what is there cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, SearchError> {
        let path = folder.join("search.json");
        let bytes = match crate::files::read(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot read", &path)(error)),
        };
        let manifest = serde_json::from_slice(&bytes);
        let manifest: Self = manifest.map_err(|error| SearchError::Manifest {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        if manifest.format != SEARCH_FORMAT {
            return Err(SearchError::Manifest {
                path,
                reason: format!(
                    "its format is {}, and this version of blocklens knows {SEARCH_FORMAT}",
                    manifest.format
                ),
            });
        }
        Ok(Some(manifest))
    }

    /// The first thing that makes another search of this one, with both sides as text. Budgets and reference points may
    /// differ.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let texts = |m: &Self| {
            let hashes: Vec<&str> = m.inputs.iter().map(|i| i.hash.as_str()).collect();
            let limit = |l: &LimitText| format!("{} {:?} {}", l.metric, l.bound, l.value);
            let limits: Vec<String> = m.limits.iter().map(limit).collect();
            [
                (
                    "the space",
                    format!("{} ({})", m.space.name, m.space.digest),
                ),
                ("the resolution", format!("{:?}", m.resolutions)),
                ("what is improved", m.objectives.join(", ")),
                ("the metrics' fields", m.fields.join(", ")),
                ("what is allowed", format!("[{}]", limits.join(", "))),
                ("the algorithm", m.algorithm.clone()),
                ("the seed", m.seed.to_string()),
                ("the metrics' files", hashes.join(", ")),
            ]
        };
        let pairs = texts(self).into_iter().zip(texts(other));
        pairs
            .into_iter()
            .find(|((_, a), (_, b))| a != b)
            .map(|((field, a), (_, b))| (field, a, b))
    }
}

/// Opens a search's folder: the log of what is known, and `search.json` as asked for now.
pub(super) fn open(
    folder: &Path,
    manifest: &Manifest,
    fresh: bool,
    problem: &Problem<'_>,
) -> Result<Log, SearchError> {
    fs::create_dir_all(folder).map_err(failed("cannot make the folder", folder))?;
    let log = folder.join("evaluations.jsonl");
    if fresh {
        for name in [
            "search.json",
            "evaluations.jsonl",
            "front.json",
            "front.csv",
        ] {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("cannot remove", &path)(error));
                }
                _ => {}
            }
        }
    }
    let path = folder.join("search.json");
    match Manifest::read(folder)? {
        Some(stored) => {
            if let Some((field, there, here)) = stored.difference(manifest) {
                return Err(SearchError::Other {
                    path,
                    field,
                    there,
                    here,
                });
            }
        }
        None if log.exists() => {
            return Err(SearchError::Manifest {
                path,
                reason: "it is missing beside evaluations.jsonl".into(),
            });
        }
        None => {}
    }
    write_json(&path, manifest)?;
    Log::open(&log, problem)
}

/// Writes what a search has found.
pub(super) fn write_results(folder: &Path, summary: &Summary) -> Result<(), SearchError> {
    write_json(&folder.join("front.json"), summary)?;
    write(&folder.join("front.csv"), front_csv(summary).as_bytes())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), SearchError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(io::Error::from)
        .map_err(failed("cannot write", path))?;
    text.push(b'\n');
    write(path, &text)
}

/// Writes a file next to its place, then renames it.
fn write(path: &Path, contents: &[u8]) -> Result<(), SearchError> {
    let mut partial = PathBuf::from(path);
    partial.set_extension("partial");
    let written = fs::write(&partial, contents).and_then(|()| fs::rename(&partial, path));
    written.map_err(failed("cannot write", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SearchError {
    let path = path.to_owned();
    move |source| SearchError::Io { what, path, source }
}
