//! Writing results: a file is complete or not there, and somebody else's stays as it is.

use std::path::Path;

use anyhow::{Context, Result, bail};
use blocklens_measure::files;

/// Writes a file of ours: readers never see half of it, and a full disk leaves the old one.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    files::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file that was named by itself, in the place of nothing or of one that `is_ours`.
pub fn write_over(path: &Path, contents: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> Result<()> {
    let written = files::write_over(path, contents, is_ours);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses a folder where files of these names are somebody else's: where no `mark` says that this command wrote to
/// it before.
pub fn claim<'n>(
    folder: &Path,
    mark: &str,
    names: impl IntoIterator<Item = &'n str>,
    command: &str,
) -> Result<()> {
    if let Some(path) = files::foreign(folder, mark, names) {
        bail!(
            "{} was not written by `blocklens {command}`, and stays as it is; give another folder with --out, \
             or move it away",
            path.display()
        );
    }
    Ok(())
}
