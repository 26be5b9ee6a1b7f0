//! The user's folder of data sets: one folder for each set, with its files as they were published.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Catalogue, DataError, DataSet, FileSpec};
use crate::files::{self, sha256};
use crate::source;
use etcetera::BaseStrategy as _;

/// The variable that names another folder.
const VARIABLE: &str = "BLOCKLENS_DATA";
/// Describes a set of the user's own, in its folder.
const MANIFEST: &str = "data-set.json";
/// Largest manifest that is read, in bytes.
const LARGEST_MANIFEST: u64 = 1 << 20;
/// Largest file of a set of the user's own, in bytes.
const LARGEST_FILE: u64 = 1 << 30;
/// Longest name of a set.
const LONGEST_NAME: usize = 64;

/// Where fetched and added data sets are kept.
#[derive(Clone, Debug)]
pub struct DataFolder {
    root: PathBuf,
    catalogue: Catalogue,
}

/// A file of a set, whose contents were checked.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Whether a set can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All files are here and right.
    Here,
    /// None is here.
    Absent,
    /// Some are here.
    Partly,
    /// A file is not what it should be: which, and why.
    Damaged(String),
}

/// What [`DataFolder::add`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Names of the files that were put in their place.
    pub files: Vec<String>,
    /// Names of the set's files that are still missing.
    pub missing: Vec<String>,
}

impl DataFolder {
    /// The user's folder: what `BLOCKLENS_DATA` names, else `blocklens` in the platform's folder for data.
    ///
    /// # Errors
    /// [`DataError::Disk`] when the system tells no home folder.
    pub fn of_user() -> Result<Self, DataError> {
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return Ok(Self::new(PathBuf::from(path), Catalogue::builtin()));
        }
        let strategy = etcetera::choose_base_strategy().map_err(|e| DataError::Disk {
            what: "cannot find your folder for data".into(),
            reason: format!("{e}; name one in {VARIABLE}"),
        })?;
        let root = strategy.data_dir().join("blocklens");
        Ok(Self::new(root, Catalogue::builtin()))
    }

    /// A folder with the sets of a catalogue; it need not exist.
    #[must_use]
    pub fn new(root: PathBuf, catalogue: Catalogue) -> Self {
        Self { root, catalogue }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every set: those of the catalogue, then the user's own by name. A manifest that cannot be read is left out.
    #[must_use]
    pub fn sets(&self) -> Vec<DataSet> {
        let mut own: Vec<DataSet> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| self.catalogue.get(name).is_none())
            .filter_map(|name| self.own(&name).ok().flatten())
            .collect();
        own.sort_by(|a, b| a.name.cmp(&b.name));
        self.catalogue.sets.iter().cloned().chain(own).collect()
    }

    /// Whether there is a set of this name, here or not.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.set(name).is_ok()
    }

    /// The set of this name.
    ///
    /// # Errors
    /// [`DataError::Unknown`], or what is wrong with the manifest of a set of the user's own.
    pub fn set(&self, name: &str) -> Result<DataSet, DataError> {
        if let Some(set) = self.catalogue.get(name) {
            return Ok(set.clone());
        }
        let own = if is_name(name) { self.own(name)? } else { None };
        own.ok_or_else(|| DataError::Unknown {
            name: name.to_owned(),
            known: self.sets().into_iter().map(|set| set.name).collect(),
        })
    }

    /// Where a file of a set belongs.
    #[must_use]
    pub fn place(&self, set: &str, file: &str) -> PathBuf {
        self.root.join(set).join(file)
    }

    /// The files of a set, each checked against its size and SHA-256.
    ///
    /// # Errors
    /// [`DataError`] when a file is missing or not what it should be.
    pub fn files(&self, name: &str) -> Result<Vec<DataFile>, DataError> {
        let set = self.set(name)?;
        let read = |spec: &FileSpec| {
            let path = self.place(name, &spec.name);
            if !path.exists() {
                let name = name.to_owned();
                return Err(DataError::Absent { name, path });
            }
            let bytes = checked(&path, spec).map_err(|error| self.with_remedy(error, name))?;
            Ok(DataFile { path, bytes })
        };
        set.files.iter().map(read).collect()
    }

    /// Whether a set can be used.
    #[must_use]
    pub fn state(&self, set: &DataSet) -> State {
        let here = |spec: &&FileSpec| self.place(&set.name, &spec.name).exists();
        match set.files.iter().filter(here).count() {
            0 => State::Absent,
            n if n < set.files.len() => State::Partly,
            _ => match self.files(&set.name) {
                Ok(_) => State::Here,
                Err(error) => State::Damaged(error.to_string()),
            },
        }
    }

    /// Brings files into a set of the catalogue, where each is recognised by its contents.
    ///
    /// # Errors
    /// [`DataError::Files`] for a file that is none of the set's; nothing is changed then.
    pub fn add(&self, set: &DataSet, paths: &[PathBuf]) -> Result<Added, DataError> {
        let mut found: Vec<(&FileSpec, Vec<u8>)> = Vec::new();
        for path in expand(paths)? {
            let bytes = read(&path, LARGEST_FILE)?;
            let digest = sha256(&bytes);
            let spec = set.files.iter().find(|spec| spec.sha256 == digest);
            let spec = spec.ok_or_else(|| not_of(set, &path, &digest))?;
            found.push((spec, bytes));
        }
        for (spec, bytes) in &found {
            self.write(&set.name, &spec.name, bytes)?;
        }
        let absent = |spec: &&FileSpec| !self.place(&set.name, &spec.name).exists();
        let missing = set.files.iter().filter(absent);
        Ok(Added {
            files: found.iter().map(|(spec, _)| spec.name.clone()).collect(),
            missing: missing.map(|spec| spec.name.clone()).collect(),
        })
    }

    /// Whether the catalogue has a set of this name.
    #[must_use]
    pub fn is_published(&self, name: &str) -> bool {
        self.catalogue.get(name).is_some()
    }

    /// Makes a set of the user's own from files; one of the same name is replaced, and stays as it is on an error.
    ///
    /// # Errors
    /// [`DataError`] for a name that the catalogue has or that is none, and for files that cannot be read or that no
    /// metric can be made from.
    pub fn add_own(
        &self,
        name: &str,
        note: &str,
        licence: &str,
        paths: &[PathBuf],
    ) -> Result<DataSet, DataError> {
        if !is_name(name) || self.is_published(name) {
            let name = name.to_owned();
            return Err(DataError::Name { name });
        }
        let mut set = DataSet {
            name: name.to_owned(),
            note: note.to_owned(),
            licence: licence.to_owned(),
            files: Vec::new(),
        };
        let mut contents = Vec::new();
        for path in expand(paths)? {
            let bytes = read(&path, LARGEST_FILE)?;
            let file = path.file_name().map(|f| f.to_string_lossy().into_owned());
            let file = file.filter(|file| is_file_name(file)).ok_or_else(|| {
                DataError::Files(format!("{} has no name that a set can use", path.display()))
            })?;
            if set.file(&file).is_some() {
                return Err(DataError::Files(format!(
                    "two of the files are called {file}"
                )));
            }
            set.files.push(FileSpec {
                name: file,
                bytes: bytes.len() as u64,
                sha256: sha256(&bytes),
                source: None,
            });
            contents.push(bytes);
        }
        if set.files.is_empty() {
            return Err(DataError::Files("a set needs at least one file".into()));
        }
        let named = set.files.iter().zip(&contents);
        let named: Vec<(String, &[u8])> =
            named.map(|(f, b)| (f.name.clone(), b.as_slice())).collect();
        source::check_set(&named).map_err(DataError::Files)?;
        for (file, bytes) in set.files.iter().zip(&contents) {
            self.write(name, &file.name, bytes)?;
        }
        let manifest = serde_json::to_vec_pretty(&set).unwrap_or_default();
        self.write(name, MANIFEST, &manifest)?;
        Ok(set)
    }

    /// The set of the user's own that a folder describes; `None` where there is none.
    fn own(&self, name: &str) -> Result<Option<DataSet>, DataError> {
        let path = self.place(name, MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |reason: String| DataError::Damaged {
            path: path.clone(),
            reason,
            remedy: format!("; make the set again with `blocklens data add {name} FILE...`"),
        };
        let text = files::read_text(&path, LARGEST_MANIFEST)
            .map_err(|e| DataError::disk(format!("cannot read {}", path.display()), &e))?;
        let set: DataSet = serde_json::from_str(&text)
            .map_err(|e| damaged(format!("it does not describe a data set: {e}")))?;
        if set.name != name {
            return Err(damaged(format!("it describes `{}`", set.name)));
        }
        if let Some(file) = set.files.iter().find(|f| !is_file_name(&f.name)) {
            return Err(damaged(format!(
                "{:?} is not the name of a file",
                file.name
            )));
        }
        Ok(Some(set))
    }

    /// Writes a file of a set: complete, or not at all.
    fn write(&self, set: &str, file: &str, bytes: &[u8]) -> Result<(), DataError> {
        let place = self.place(set, file);
        let failed =
            |e: std::io::Error| DataError::disk(format!("cannot write {}", place.display()), &e);
        fs::create_dir_all(self.root.join(set)).map_err(failed)?;
        files::write(&place, bytes).map_err(failed)
    }

    fn with_remedy(&self, error: DataError, set: &str) -> DataError {
        match error {
            DataError::Damaged { path, reason, .. } => DataError::Damaged {
                path,
                reason,
                remedy: if self.is_published(set) {
                    format!("; `blocklens data fetch {set}` repairs it")
                } else {
                    format!("; make the set again with `blocklens data add {set} FILE...`")
                },
            },
            other => other,
        }
    }
}

/// Puts a complete file in its place, on disk before its name.
pub(super) fn move_into_place(partial: &Path, place: &Path) -> std::io::Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, place)
}

/// The contents of a file that is as its set says.
pub(super) fn checked(path: &Path, spec: &FileSpec) -> Result<Vec<u8>, DataError> {
    let damaged = |reason: String| DataError::Damaged {
        path: path.to_owned(),
        reason,
        remedy: String::new(),
    };
    let bytes = read(path, LARGEST_FILE)?;
    if bytes.len() as u64 != spec.bytes {
        let found = bytes.len();
        return Err(damaged(format!(
            "it has {found} bytes instead of {}",
            spec.bytes
        )));
    }
    let digest = sha256(&bytes);
    if digest != spec.sha256 {
        return Err(damaged(format!(
            "its SHA-256 is {digest} instead of {}",
            spec.sha256
        )));
    }
    Ok(bytes)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    files::read(path, limit)
        .map_err(|e| DataError::disk(format!("cannot read {}", path.display()), &e))
}

/// Files as they are, and those in folders.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path)
            .map_err(|e| DataError::disk(format!("cannot read {}", path.display()), &e))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        inside.retain(|path| path.is_file());
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn not_of(set: &DataSet, path: &Path, digest: &str) -> DataError {
    let files = set.files.iter();
    let known: Vec<String> = files
        .map(|f| format!("{} ({})", f.name, f.sha256))
        .collect();
    DataError::Files(format!(
        "{} is no file of the data set `{}`: its SHA-256 is {digest}; the set has {}",
        path.display(),
        set.name,
        known.join(", ")
    ))
}

fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// One component of a path, and not the manifest nor hidden.
fn is_file_name(name: &str) -> bool {
    let path = Path::new(name);
    let alone = path
        .file_name()
        .is_some_and(|last| last == path.as_os_str());
    alone && !name.starts_with('.') && name != MANIFEST && !name.contains('\\')
}
