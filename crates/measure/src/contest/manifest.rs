//! What is compared and how, in words: `compare.json`. What a folder holds is continued only where these agree.

use std::fs;
use std::io;
use std::path::Path;

use blocklens_core::metric::MetricInfo;
use blocklens_core::report::InputHash;
use blocklens_core::search::Problem;
use serde::{Deserialize, Serialize};

use super::ContestRunError;
use crate::search::{LimitText, SpaceRef, limit_texts};

/// The version of the files.
pub const CONTEST_FORMAT: u32 = 1;
/// Largest `compare.json`, in bytes.
const LARGEST: u64 = 16 << 20;
/// What a comparison writes besides.
const FILES: [&str; 5] = [
    "compare.json",
    "runs.jsonl",
    "comparison.json",
    "comparison.csv",
    "comparison.html",
];

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
    /// The whole space.
    pub space: SpaceRef,
    /// Its parts that are compared with it, by name.
    pub reduced: Vec<SpaceRef>,
    /// How many random parts stand for each of these.
    pub random_reductions: u64,
    /// The resolutions that architectures may have.
    pub resolutions: Vec<u32>,
    /// Every metric that is evaluated.
    pub metrics: Vec<MetricInfo>,
    /// The names of those that are improved.
    pub objectives: Vec<String>,
    /// What is allowed.
    pub limits: Vec<LimitText>,
    /// The algorithms.
    pub algorithms: Vec<String>,
    /// When snapshots are taken, in unique architectures, ascending.
    pub budgets: Vec<u64>,
    /// Runs of every arm, with the seeds 1, 2, ...
    pub seeds: u64,
    /// The files that metrics were made from.
    pub inputs: Vec<InputHash>,
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
        let name = |index: &usize| problem.metrics()[*index].name.clone();
        Self {
            format: CONTEST_FORMAT,
            blocklens: env!("CARGO_PKG_VERSION").into(),
            command: asked.command,
            created: asked.created,
            space: SpaceRef::of(problem.space()),
            reduced: asked.reduced,
            random_reductions: asked.random_reductions,
            resolutions: problem.resolutions().to_vec(),
            metrics: problem.metrics().to_vec(),
            objectives: problem.objectives().iter().map(name).collect(),
            limits: limit_texts(problem),
            algorithms: asked.algorithms,
            budgets: asked.budgets,
            seeds: asked.seeds,
            inputs: asked.inputs,
        }
    }

    /// The first thing that makes runs of this one useless for another, with both sides as text. Algorithms, parts of the space,
    /// seeds and the reference point may differ: runs of others are added.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let texts = |m: &Self| {
            let hashes: Vec<&str> = m.inputs.iter().map(|i| i.hash.as_str()).collect();
            let names: Vec<&str> = m.metrics.iter().map(|info| info.name.as_str()).collect();
            let limit = |l: &LimitText| format!("{} {:?} {}", l.metric, l.bound, l.value);
            let limits: Vec<String> = m.limits.iter().map(limit).collect();
            [
                (
                    "the space",
                    format!("{} ({})", m.space.name, m.space.digest),
                ),
                ("the resolution", format!("{:?}", m.resolutions)),
                ("what is improved", m.objectives.join(", ")),
                ("what is evaluated", names.join(", ")),
                ("what is allowed", format!("[{}]", limits.join(", "))),
                ("the list of budgets", format!("{:?}", m.budgets)),
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

/// Makes a comparison's folder ready for what is asked.
pub(super) fn open(
    folder: &Path,
    asked: &ContestManifest,
    fresh: bool,
) -> Result<(), ContestRunError> {
    fs::create_dir_all(folder).map_err(failed("cannot make the folder", folder))?;
    if fresh {
        for name in FILES {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("cannot remove", &path)(error));
                }
                _ => {}
            }
        }
    }
    let path = folder.join("compare.json");
    if let Some(stored) = read(&path)?
        && let Some((field, there, here)) = stored.difference(asked)
    {
        return Err(ContestRunError::Other {
            path,
            field,
            there,
            here,
        });
    }
    write_json(&path, asked)
}

fn read(path: &Path) -> Result<Option<ContestManifest>, ContestRunError> {
    let bytes = match crate::files::read(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot read", path)(error)),
    };
    let malformed = |reason: String| ContestRunError::Malformed {
        path: path.to_owned(),
        line: None,
        reason,
    };
    let manifest: ContestManifest =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    if manifest.format != CONTEST_FORMAT {
        return Err(malformed(format!(
            "its format is {}, and this version of blocklens knows {CONTEST_FORMAT}",
            manifest.format
        )));
    }
    Ok(Some(manifest))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ContestRunError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(io::Error::from)
        .map_err(failed("cannot write", path))?;
    text.push(b'\n');
    write(path, &text)
}

/// Writes a file next to its place, then renames it.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), ContestRunError> {
    let mut partial = path.to_owned();
    partial.set_extension("partial");
    let written = fs::write(&partial, contents).and_then(|()| fs::rename(&partial, path));
    written.map_err(failed("cannot write", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ContestRunError {
    let path = path.to_owned();
    move |source| ContestRunError::Io { what, path, source }
}
