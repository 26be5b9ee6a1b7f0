//! What is compared and how, in words: `compare.json`. What a folder holds is continued only where these agree.

use std::fs;
use std::io;
use std::path::Path;

use blocklens_core::report::InputHash;
use blocklens_core::search::Problem;
use serde::{Deserialize, Serialize};

use super::ContestRunError;
use crate::files;
use crate::search::{Sought, SpaceRef, first_difference};

/// The version of the files.
pub const CONTEST_FORMAT: u32 = 1;
/// Largest `compare.json`, in bytes.
const LARGEST: u64 = 16 << 20;
/// The log of finished runs.
const LOG: &str = "runs.jsonl";
/// What a comparison writes in the end.
const RESULTS: [&str; 3] = ["comparison.json", "comparison.csv", "comparison.html"];

/// A comparison in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContestManifest {
    /// [`CONTEST_FORMAT`].
    pub format: u32,
    /// The version of blocklens.
    pub blocklens: String,
    /// The command that asked.
    pub command: String,
    /// When (UTC).
    pub created: String,
    /// The problem in the whole space.
    #[serde(flatten)]
    pub sought: Sought,
    /// The parts of the space that are compared with it, by name.
    pub reduced: Vec<SpaceRef>,
    /// How many random parts stand for each of these.
    pub random_reductions: u64,
    /// The algorithms.
    pub algorithms: Vec<String>,
    /// When snapshots are taken, in unique architectures, ascending.
    pub budgets: Vec<u64>,
    /// Runs of every arm, with the seeds 1, 2, ...
    pub seeds: u64,
}

/// What of a manifest comes from the command rather than from the problem.
#[derive(Clone, Debug)]
pub struct AskedContest {
    /// The parts of the space, by name.
    pub reduced: Vec<SpaceRef>,
    /// Random parts for each of these.
    pub random_reductions: u64,
    /// The algorithms.
    pub algorithms: Vec<String>,
    /// When snapshots are taken.
    pub budgets: Vec<u64>,
    /// Runs of every arm.
    pub seeds: u64,
    /// The files that metrics were made from.
    pub inputs: Vec<InputHash>,
    /// The command.
    pub command: String,
    /// Now (UTC).
    pub created: String,
}

impl ContestManifest {
    /// A comparison for `problem`, that of the whole space, as it was asked for.
    #[must_use]
    pub fn new(problem: &Problem<'_>, asked: AskedContest) -> Self {
        Self {
            format: CONTEST_FORMAT,
            blocklens: env!("CARGO_PKG_VERSION").into(),
            command: asked.command,
            created: asked.created,
            sought: Sought::new(problem, asked.inputs),
            reduced: asked.reduced,
            random_reductions: asked.random_reductions,
            algorithms: asked.algorithms,
            budgets: asked.budgets,
            seeds: asked.seeds,
        }
    }

    /// The first thing that makes runs of this one useless for another, with both sides as text. Algorithms, parts of
    /// the space, seeds and the reference point may differ: runs of others are added.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let decisive = |m: &Self| {
            let mut all = m.sought.decisive();
            all.push(("the list of budgets", format!("{:?}", m.budgets)));
            all
        };
        first_difference(decisive(self), decisive(other))
    }
}

/// Makes a comparison's folder ready for what is asked, and opens its log. A folder that is refused stays as it is.
pub(super) fn open(
    folder: &Path,
    asked: &ContestManifest,
    fresh: bool,
) -> Result<files::Log, ContestRunError> {
    fs::create_dir_all(folder).map_err(failed("cannot make the folder", folder))?;
    let path = folder.join("compare.json");
    let names = RESULTS.into_iter().chain(["compare.json", LOG]);
    if let Some(path) = files::foreign(folder, "compare.json", names) {
        return Err(ContestRunError::Foreign { path });
    }
    if !fresh {
        check_same(&path, asked)?;
    }
    let mut log = files::Log::open(&folder.join(LOG))?;
    if fresh {
        // Last of all `compare.json` is replaced: it says whose the folder is, whenever this process is killed.
        log.clear()?;
        for name in RESULTS {
            let path = folder.join(name);
            files::remove(&path).map_err(failed("cannot remove", &path))?;
        }
    }
    write_json(&path, asked)?;
    Ok(log)
}

/// Refuses to go on with another comparison.
fn check_same(path: &Path, asked: &ContestManifest) -> Result<(), ContestRunError> {
    let stored = read(path)?;
    match stored.and_then(|stored| stored.difference(asked)) {
        Some((field, there, here)) => Err(ContestRunError::Other {
            path: path.to_owned(),
            field,
            there,
            here,
        }),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<ContestManifest>, ContestRunError> {
    let text = match files::read_text(path, LARGEST) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot read", path)(error)),
    };
    let malformed = |reason: String| ContestRunError::Malformed {
        path: path.to_owned(),
        line: None,
        reason,
    };
    let manifest: ContestManifest =
        serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if manifest.format != CONTEST_FORMAT {
        return Err(malformed(format!(
            "its format is {}, and this version of blocklens knows {CONTEST_FORMAT}",
            manifest.format
        )));
    }
    Ok(Some(manifest))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ContestRunError> {
    files::write_json(path, value).map_err(failed("cannot write", path))
}

pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), ContestRunError> {
    files::write(path, contents).map_err(failed("cannot write", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ContestRunError {
    let path = path.to_owned();
    move |source| ContestRunError::Io { what, path, source }
}
