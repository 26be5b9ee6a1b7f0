//! What is sought and how, in words: `search.json`. What a folder holds is continued only where these agree.

use std::fs;
use std::io;
use std::path::Path;

use blocklens_core::report::InputHash;
use blocklens_core::search::Problem;
use serde::{Deserialize, Serialize};

use super::log::{Log, fields};
use super::sought::{Sought, first_difference};
use super::{SearchError, Summary, front_csv};
use crate::files;

/// The version of the files.
pub const SEARCH_FORMAT: u32 = 1;
/// Largest `search.json`, in bytes.
const LARGEST: u64 = 16 << 20;
/// What a search writes in the end.
const RESULTS: [&str; 2] = ["front.json", "front.csv"];

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
    /// The problem.
    #[serde(flatten)]
    pub sought: Sought,
    /// The fields of `evaluations.jsonl` with the values of the metrics.
    pub fields: Vec<String>,
    /// The algorithm.
    pub algorithm: String,
    /// The seed.
    pub seed: u64,
    /// Unique architectures to evaluate.
    pub budget: u64,
    /// The reference point of the hypervolume, for each objective, where one was given.
    pub reference: Option<Vec<f64>>,
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
        Self {
            format: SEARCH_FORMAT,
            blocklens: env!("CARGO_PKG_VERSION").into(),
            command: asked.command,
            created: asked.created,
            sought: Sought::new(problem, asked.inputs),
            fields: fields(problem),
            algorithm: asked.algorithm,
            seed: asked.seed,
            budget: asked.budget,
            reference: asked.reference,
        }
    }

    /// The search that a folder holds; `None` where it holds none.
    ///
    /// # Errors
    /// [`SearchError`] when what is there cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, SearchError> {
        let path = folder.join("search.json");
        let text = match files::read_text(&path, LARGEST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot read", &path)(error)),
        };
        let manifest = serde_json::from_str(&text);
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
        let decisive = |m: &Self| {
            let mut all = m.sought.decisive();
            all.push(("the metrics' fields", m.fields.join(", ")));
            all.push(("the algorithm", m.algorithm.clone()));
            all.push(("the seed", m.seed.to_string()));
            all
        };
        first_difference(decisive(self), decisive(other))
    }
}

/// Opens a search's folder: the log of what is known, and `search.json` as asked for now. A folder that is refused
/// stays as it is.
pub(super) fn open(
    folder: &Path,
    manifest: &Manifest,
    fresh: bool,
    problem: &Problem<'_>,
) -> Result<Log, SearchError> {
    fs::create_dir_all(folder).map_err(failed("cannot make the folder", folder))?;
    let path = folder.join("search.json");
    check_ours(folder)?;
    if !fresh {
        check_same(folder, manifest, &path)?;
    }
    let mut log = Log::open(&folder.join("evaluations.jsonl"), problem)?;
    if fresh {
        // Last of all `search.json` is replaced: it says whose the folder is, whenever this process is killed.
        log.clear()?;
        for name in RESULTS {
            let path = folder.join(name);
            files::remove(&path).map_err(failed("cannot remove", &path))?;
        }
    }
    log.read(problem)?;
    files::write_json(&path, manifest).map_err(failed("cannot write", &path))?;
    Ok(log)
}

/// Refuses a folder with files of these names that no search wrote: they would be lost.
fn check_ours(folder: &Path) -> Result<(), SearchError> {
    let names = RESULTS
        .into_iter()
        .chain(["search.json", "evaluations.jsonl"]);
    match files::foreign(folder, "search.json", names) {
        Some(path) => Err(SearchError::Foreign { path }),
        None => Ok(()),
    }
}

/// Refuses to go on with another search.
fn check_same(folder: &Path, manifest: &Manifest, path: &Path) -> Result<(), SearchError> {
    let Some(stored) = Manifest::read(folder)? else {
        return Ok(());
    };
    match stored.difference(manifest) {
        Some((field, there, here)) => Err(SearchError::Other {
            path: path.to_owned(),
            field,
            there,
            here,
        }),
        None => Ok(()),
    }
}

/// Writes what a search has found.
pub(super) fn write_results(folder: &Path, summary: &Summary) -> Result<(), SearchError> {
    let (json, csv) = (folder.join("front.json"), folder.join("front.csv"));
    files::write_json(&json, summary).map_err(failed("cannot write", &json))?;
    files::write(&csv, front_csv(summary).as_bytes()).map_err(failed("cannot write", &csv))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SearchError {
    let path = path.to_owned();
    move |source| SearchError::Io { what, path, source }
}
