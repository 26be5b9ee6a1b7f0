//! Files that grow by lines and are continued by the next run.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use super::place::at_once;

/// Longest line of a log, in bytes: what is longer is none of ours.
const LONGEST_LINE: u64 = 64 << 20;

/// Why a log cannot be continued. It stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The log.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There is something else.
    #[error("{} is no plain file", path.display())]
    NotPlain {
        /// The place.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error("another run of blocklens writes to {}; wait for its end, or name another file", path.display())]
    Locked {
        /// The log.
        path: PathBuf,
    },
    /// A line is none of a log's.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// A line of a log without its end, and its number, counted from 1.
pub type Line<'a> = (usize, &'a [u8]);

/// A log that is open for appending, by this process alone. It holds whole lines only.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// The bytes of its whole lines.
    bytes: u64,
}

impl Log {
    /// Opens a log, or begins one. No other process has it open from here on.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut options = OpenOptions::new();
        let options = options.create(true).read(true).append(true);
        let file = at_once(options).open(path);
        let file = file.map_err(failed("cannot open", path))?;
        let about = file.metadata().map_err(failed("cannot look at", path))?;
        if !about.is_file() {
            return Err(LogError::NotPlain { path: path.into() });
        }
        // Some file systems have no locks: their errors are no other runs.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(LogError::Locked { path: path.into() });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes: about.len(),
        })
    }

    /// Hands every line that an earlier run wrote to `read`, which says what is wrong with one that it did not write. A
    /// last line that it could not finish is cut off, if it begins as all lines do: with `begins`.
    ///
    /// # Errors
    /// [`LogError::Io`]; [`LogError::Line`] for the first line that is none of ours.
    pub fn read(
        &mut self,
        begins: &str,
        read: &mut dyn FnMut(Line<'_>) -> Result<(), String>,
    ) -> Result<(), LogError> {
        self.file
            .rewind()
            .map_err(failed("cannot read", &self.path))?;
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut whole, mut number) = (Vec::new(), 0_u64, 0_usize);
        loop {
            line.clear();
            let mut limited = reader.by_ref().take(LONGEST_LINE);
            let length = limited.read_until(b'\n', &mut line);
            if length.map_err(failed("cannot read", &self.path))? == 0 {
                return Ok(());
            }
            number += 1;
            let length = line.len() as u64;
            let ended = line.pop_if(|last| *last == b'\n').is_some();
            match read((number, &line)) {
                Ok(()) if ended => whole += length,
                // Everything but its end: nothing is lost.
                Ok(()) => {
                    self.bytes = whole + length;
                    return self.append(b"\n", false);
                }
                Err(_) if !ended && is_beginning(&line, begins) => return self.cut(whole),
                Err(reason) => {
                    let path = self.path.clone();
                    return Err(LogError::Line {
                        path,
                        line: number,
                        reason,
                    });
                }
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets all lines.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn clear(&mut self) -> Result<(), LogError> {
        self.cut(0)
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends whole lines, and waits until they are on disk if `safe`. Where that fails, none of them is there.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn append(&mut self, lines: &[u8], safe: bool) -> Result<(), LogError> {
        let written = self.file.write_all(lines).and_then(|()| match safe {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        if written.is_err() {
            // The error to report is that of writing.
            let _ = self.file.set_len(self.bytes);
        } else {
            self.bytes += lines.len() as u64;
        }
        written.map_err(failed("cannot write", &self.path))
    }

    fn cut(&mut self, whole: u64) -> Result<(), LogError> {
        self.bytes = whole;
        let cut = self.file.set_len(whole);
        cut.map_err(failed("cannot write", &self.path))
    }
}

/// Whether a line that was not finished can be one of ours.
fn is_beginning(line: &[u8], begins: &str) -> bool {
    let common = line.len().min(begins.len());
    line[..common] == begins.as_bytes()[..common]
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Reads numbers in brackets.
    fn read(path: &Path) -> Result<Vec<String>, LogError> {
        let mut lines = Vec::new();
        Log::open(path)?.read("[", &mut |(_, line)| {
            let text = String::from_utf8_lossy(line).into_owned();
            let ours = text.starts_with('[') && text.ends_with(']');
            lines.push(text);
            ours.then_some(()).ok_or_else(|| "no brackets".into())
        })?;
        Ok(lines)
    }

    #[test]
    fn what_is_ours_goes_on_and_what_is_not_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (before, after) in [
            ("", Some("")),
            ("[1]\n[2]\n", Some("[1]\n[2]\n")),
            ("[1]\n[2", Some("[1]\n")),
            ("[", Some("")),
            ("[1]\n[2]", Some("[1]\n[2]\n")),
            ("precious notes", None),
            ("[1]\nprecious notes", None),
            ("precious\n[1]\n", None),
            ("\n", None),
        ] {
            fs::write(&path, before).unwrap();
            let read = read(&path);
            assert_eq!(read.is_ok(), after.is_some(), "{before:?}: {read:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), after.unwrap_or(before));
        }
    }

    #[test]
    fn one_run_at_a_time_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut first = Log::open(&path).unwrap();
        assert!(matches!(Log::open(&path), Err(LogError::Locked { .. })));
        first.append(b"[1]\n", true).unwrap();
        drop(first);
        assert_eq!(read(&path).unwrap(), ["[1]"]);
        assert!(matches!(read(folder.path()), Err(LogError::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_not_read() {
        assert!(matches!(
            Log::open(Path::new("/dev/zero")),
            Err(LogError::NotPlain { .. })
        ));
    }
}
