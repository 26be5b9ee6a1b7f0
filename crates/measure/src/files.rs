//! Reading files that somebody else wrote, and writing our own: whole ones here, growing ones in [`Log`].
//!
//! **What may be written where** is decided in this module for the whole product: a file that is not there is made, one
//! of ours is replaced or continued, somebody else's is refused and stays as it is, what is no plain file (a pipe, a
//! terminal, `/dev/null`) is written to as a stream, and what another run writes to is refused.

mod log;
mod place;

pub use log::{Line, Log, LogError};
pub(crate) use place::beside;
pub use place::{Place, place, same_file, stream};

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use blocklens_core::text;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Largest file that is looked into before it is replaced, in bytes: larger ones are none of ours.
const LARGEST_REPLACED: u64 = 1 << 30;

/// The bytes of a file that is not larger than `limit`.
///
/// # Errors
/// Those of reading, and one that says the limit.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit {
        let reason = format!("the file is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// The text of a file that is not larger than `limit`, however it was saved ([`text::read`]).
///
/// # Errors
/// Those of [`read()`], and one that says the line of what is no text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let bytes = read(path, limit)?;
    let text = text::read(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(text.into_owned())
}

/// Writes a whole file: there is the old one or the new one, never a part, and what a link leads to stays as it is.
///
/// # Errors
/// Those of writing and renaming; where there is a folder or a device.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Place::Stream = place(path)? {
        return stream(path)?.write_all(contents);
    }
    // A name that nobody could have prepared, made anew and never followed; it goes where writing fails.
    let mut partial = tempfile::Builder::new();
    partial.prefix(".blocklens-").suffix(".partial");
    #[cfg(unix)]
    partial.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut partial = partial.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    partial.as_file_mut().write_all(contents)?;
    // On disk before its name: a power cut leaves no empty file where a whole one was.
    partial.as_file().sync_all()?;
    partial.persist(path)?;
    Ok(())
}

/// Writes a whole file as [`write()`] does, in the place of nothing or of one that `is_ours`.
///
/// # Errors
/// Those of [`write()`], and [`io::ErrorKind::AlreadyExists`] where somebody else's file is there.
pub fn write_over(path: &Path, contents: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    if let Place::File = place(path)? {
        let there = read(path, LARGEST_REPLACED);
        if !there.is_ok_and(|there| there.is_empty() || there == contents || is_ours(&there)) {
            let reason = "what is there was not written by this command, and stays as it is; \
                          name another file, or move it away";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
    }
    write(path, contents)
}

/// The first of some files in a folder that are not ours: any of them, where no `mark` there says that a run of ours
/// wrote to the folder. Every JSON file that marks a folder names the program, damaged or not.
#[must_use]
pub fn foreign<'n>(
    folder: &Path,
    mark: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<PathBuf> {
    if is_ours(&folder.join(mark)) {
        return None;
    }
    let mut paths = names.into_iter().map(|name| folder.join(name));
    paths.find(|path| fs::symlink_metadata(path).is_ok_and(|about| about.len() > 0))
}

/// Whether a file names the program, as all do that it writes.
#[must_use]
pub fn is_ours(path: &Path) -> bool {
    let plain = matches!(place(path), Ok(Place::File));
    plain && read(path, LARGEST_REPLACED).is_ok_and(|bytes| contains(&bytes, "blocklens"))
}

/// Whether some bytes are in a file.
#[must_use]
pub fn contains(bytes: &[u8], what: &str) -> bool {
    bytes
        .windows(what.len())
        .any(|window| window == what.as_bytes())
}

/// Writes a value as indented JSON, as [`write()`] does.
///
/// # Errors
/// Those of [`write()`], and of what cannot be JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write(path, &text)
}

/// Removes a file, where there is one.
///
/// # Errors
/// Those of removing a file that is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// SHA-256 in lower-case hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
