//! Fetching the files of a data set: from where they are published, from a mirror, or from a folder.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::folder::{checked, move_into_place};
use super::{DataError, DataFolder, DataSet, FileSpec};
use crate::files;

/// Times that a transfer is tried which broke off.
const TRIES: u32 = 3;
/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// Where files are fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The addresses of the catalogue.
    Published,
    /// A base address: files are looked for as `base/set/file` and `base/file`.
    Mirror(String),
    /// A folder, in the same way, and in any folder below it.
    Folder(PathBuf),
}

/// One fetching of a set.
pub struct Fetch<'a> {
    /// Where the set belongs.
    pub folder: &'a DataFolder,
    /// Where its files come from.
    pub origin: Origin,
    /// Fetch what is here already, too.
    pub again: bool,
    /// Longest wait for an answer, and for the rest of a file.
    pub time_limit: Duration,
    /// First wait before a transfer that broke off is tried again; each further one is twice as long.
    pub pause: Duration,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// How far a transfer came.
pub(super) enum Transfer {
    /// The file is whole.
    Whole,
    /// It broke off, and may go better next time.
    Broken(String),
    /// It will go no better.
    Refused(String),
    Interrupted,
}

impl Fetch<'_> {
    /// Fetches the files of a set that are not here, or not right; returns their names. `progress` is called with the
    /// number of the set's bytes that are here.
    ///
    /// # Errors
    /// [`DataError`]; files that were whole before stay.
    pub fn run(&self, set: &DataSet, progress: &dyn Fn(u64)) -> Result<Vec<String>, DataError> {
        let mut fetched = Vec::new();
        let mut before = 0;
        for spec in &set.files {
            let place = self.folder.place(&set.name, &spec.name);
            if self.again || checked(&place, spec).is_err() {
                self.file(set, spec, &place, &|here| progress(before + here))?;
                fetched.push(spec.name.clone());
            }
            before += spec.bytes;
            progress(before);
        }
        Ok(fetched)
    }

    fn file(
        &self,
        set: &DataSet,
        spec: &FileSpec,
        place: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<(), DataError> {
        let folder = self.folder.root().join(&set.name);
        fs::create_dir_all(&folder)
            .map_err(|e| DataError::disk(format!("cannot make {}", folder.display()), &e))?;
        let part = place.with_file_name(format!(".{}.part", spec.name));
        let failed = |address: &str, reason: String| DataError::Fetch {
            name: set.name.clone(),
            file: spec.name.clone(),
            address: address.to_owned(),
            reason,
            sha256: spec.sha256.clone(),
        };
        let mut last = failed("nowhere", "no address is known".into());
        for address in self.addresses(set, spec) {
            match self.transfer(&address, spec, &part, progress) {
                Transfer::Whole => {}
                Transfer::Interrupted => return Err(DataError::Interrupted),
                Transfer::Broken(reason) | Transfer::Refused(reason) => {
                    last = failed(&address, reason);
                    continue;
                }
            }
            if let Err(error) = checked(&part, spec) {
                // Going on from wrong bytes would never end well.
                let _ = fs::remove_file(&part);
                last = failed(&address, format!("what came is another file: {error}"));
                continue;
            }
            return move_into_place(&part, place)
                .map_err(|e| DataError::disk(format!("cannot write {}", place.display()), &e));
        }
        Err(last)
    }

    /// Where a file is looked for, best first.
    fn addresses(&self, set: &DataSet, spec: &FileSpec) -> Vec<String> {
        let below = [format!("{}/{}", set.name, spec.name), spec.name.clone()];
        match &self.origin {
            Origin::Published => spec.source.iter().cloned().collect(),
            Origin::Mirror(base) => {
                let base = base.trim_end_matches('/');
                below.iter().map(|path| format!("{base}/{path}")).collect()
            }
            Origin::Folder(folder) => {
                let direct = below.iter().map(|path| folder.join(path));
                let direct: Vec<PathBuf> = direct.filter(|path| path.is_file()).collect();
                let deeper = find(folder, &spec.name, DEEPEST);
                let mut all: Vec<PathBuf> = direct.into_iter().chain(deeper).collect();
                if all.is_empty() {
                    all.push(folder.join(&below[0]));
                }
                all.into_iter().map(|p| p.display().to_string()).collect()
            }
        }
    }

    fn transfer(
        &self,
        address: &str,
        spec: &FileSpec,
        part: &Path,
        progress: &dyn Fn(u64),
    ) -> Transfer {
        if let Origin::Folder(_) = self.origin {
            return self.copy(Path::new(address), spec, part, progress);
        }
        let mut pause = self.pause;
        let mut outcome = self.download(address, spec, part, progress);
        for _ in 1..TRIES {
            if !matches!(outcome, Transfer::Broken(_)) || self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(pause);
            pause *= 2;
            outcome = self.download(address, spec, part, progress);
        }
        outcome
    }

    fn copy(&self, path: &Path, spec: &FileSpec, part: &Path, progress: &dyn Fn(u64)) -> Transfer {
        let files = File::open(path).and_then(|from| Ok((from, beginning(part)?)));
        match files {
            Ok((mut from, mut to)) => self.receive(&mut from, &mut to, 0, spec.bytes, progress),
            Err(error) => Transfer::Refused(error.to_string()),
        }
    }

    /// Reads to the end, and never more than the file should have.
    pub(super) fn receive(
        &self,
        from: &mut dyn Read,
        to: &mut File,
        already: u64,
        bytes: u64,
        progress: &dyn Fn(u64),
    ) -> Transfer {
        let mut piece = vec![0; PIECE];
        let mut here = already;
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Transfer::Interrupted;
            }
            let read = match from.read(&mut piece) {
                Ok(0) if here < bytes => {
                    return Transfer::Broken(format!("it ended after {here} of {bytes} bytes"));
                }
                Ok(0) => return Transfer::Whole,
                Ok(read) => read,
                Err(error) => return Transfer::Broken(error.to_string()),
            };
            here += read as u64;
            if here > bytes {
                return Transfer::Refused(format!("it is longer than {bytes} bytes"));
            }
            if let Err(error) = to.write_all(&piece[..read]) {
                return Transfer::Refused(format!("cannot write: {error}"));
            }
            progress(here);
        }
    }
}

/// The part of a file that is here, without its contents.
fn beginning(part: &Path) -> std::io::Result<File> {
    let file = files::beside(part)?;
    file.set_len(0)?;
    Ok(file)
}

/// How deep a folder is searched.
const DEEPEST: usize = 4;

/// Files of this name in the folders below a folder.
fn find(folder: &Path, name: &str, depth: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        found.extend(Some(folder.join(name)).filter(|path| path.is_file()));
        if depth > 0 {
            found.extend(find(&folder, name, depth - 1));
        }
    }
    found
}
