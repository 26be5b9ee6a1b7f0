//! Reading files that somebody else wrote, and writing whole ones.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

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

/// Writes a file next to its place, then renames it: there is the old one or the new one, never a part.
///
/// # Errors
/// Those of writing and renaming.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, contents)?;
    fs::rename(&partial, path)
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
