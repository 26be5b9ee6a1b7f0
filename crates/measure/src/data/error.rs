//! What can be wrong with a data set.

use std::path::PathBuf;

/// Why a data set cannot be used, fetched or added.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No such set.
    #[error("there is no data set `{name}`; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The sets that there are.
        known: Vec<String>,
    },
    /// The set is known, but its files are not here.
    #[error(
        "the data set `{name}` is not here ({} is missing): fetch it with `blocklens data fetch {name}`, or bring its \
         files with `blocklens data add {name} FILE...`",
        path.display()
    )]
    Absent {
        /// The set.
        name: String,
        /// The first file that is missing.
        path: PathBuf,
    },
    /// A file is not what the catalogue, or the set's own manifest, says.
    #[error("{}: {reason}{remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
        /// What to do, where there is something.
        remedy: String,
    },
    /// A name that cannot be a set's.
    #[error(
        "`{name}` cannot be the name of a data set: use a-z, 0-9 and -, at most 64 of them, such as my-board"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Files that do not make the set.
    #[error("{0}")]
    Files(String),
    /// The disk, or the user's folder, cannot be used.
    #[error("{what}: {reason}")]
    Disk {
        /// What was tried.
        what: String,
        /// Why it failed.
        reason: String,
    },
    /// A file could not be had from where it was looked for.
    #[error(
        "cannot fetch {file} from {address}: {reason}. With the file from elsewhere (SHA-256 {sha256}), `blocklens \
         data add {name} FILE` puts it in its place; `--from` takes a mirror or a folder"
    )]
    Fetch {
        /// The set.
        name: String,
        /// The file.
        file: String,
        /// Where it was looked for.
        address: String,
        /// Why it could not be had.
        reason: String,
        /// What the file is recognised by.
        sha256: String,
    },
    /// Ctrl-C; what was fetched is kept.
    #[error("interrupted; what was fetched is kept, and the same command goes on from there")]
    Interrupted,
}

impl DataError {
    pub(super) fn disk(what: String, error: &std::io::Error) -> Self {
        Self::Disk {
            what,
            reason: error.to_string(),
        }
    }
}
