//! Writing results: a file is complete or not there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file next to its place, then renames it: readers never see half of it, and a full disk
/// leaves the old one.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let name = path
        .file_name()
        .with_context(|| format!("{} is not a file name", path.display()))?;
    let partial = path.with_file_name(format!(".{}.partial", name.to_string_lossy()));
    let written = fs::write(&partial, contents).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // The error to report is that of writing.
        let _ = fs::remove_file(&partial);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
