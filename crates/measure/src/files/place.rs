//! What is at a place before something is written there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing: a file can be made.
    Free,
    /// A plain file.
    File,
    /// A pipe, a terminal, a device: what is written there goes away, and what was there cannot be read again.
    Stream,
}

/// What is at `path`, where links lead.
///
/// # Errors
/// Where nothing can be written: a folder, a disk, a socket; those of looking.
pub fn place(path: &Path) -> io::Result<Place> {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(error),
    };
    if about.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder; name a file",
        ));
    }
    if !about.is_file() {
        check_kind(about.file_type())?;
        return Ok(Place::Stream);
    }
    // `/dev/stdout` and its like: a plain file behind them was opened by whoever started this program, and is no
    // place of ours.
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let system =
        |f: &Path| (f.starts_with("/dev") && !f.starts_with("/dev/shm")) || f.starts_with("/proc");
    let system = folder.is_some_and(|folder| system(&folder));
    Ok(if system { Place::Stream } else { Place::File })
}

#[cfg(unix)]
fn check_kind(kind: fs::FileType) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let what = match (kind.is_block_device(), kind.is_socket()) {
        (true, _) => "it is a disk; name a file",
        (_, true) => "it is a socket; name a file",
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(not(unix))]
fn check_kind(_: fs::FileType) -> io::Result<()> {
    Ok(())
}

/// Opens what is no plain file for writing.
///
/// # Errors
/// Those of opening; where nobody reads from a pipe, which would keep this program waiting.
pub fn stream(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    // Without waiting for a reader, to see that there is one.
    let tried = at_once(&mut options.clone()).open(path);
    #[cfg(unix)]
    if tried
        .as_ref()
        .is_err_and(|e| e.raw_os_error() == Some(nix::libc::ENXIO))
    {
        let reason = "nobody reads from this pipe; start its reader first";
        return Err(io::Error::new(io::ErrorKind::NotConnected, reason));
    }
    // The first one stays open meanwhile, so that its reader stays too.
    let opened = options.open(path);
    drop(tried?);
    opened
}

/// Opening that waits for nobody, and never makes a terminal ours.
pub(super) fn at_once(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        options,
        nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY,
    );
    options
}

/// Opens a file of ours beside others for writing, and makes it where there is none: what it holds stays, and a link
/// is not followed.
///
/// # Errors
/// Those of opening; where there is no plain file.
pub(crate) fn beside(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_NOFOLLOW,
    );
    let file = options
        .open(path)
        .map_err(|error| match fs::symlink_metadata(path) {
            Ok(about) if about.is_symlink() => not_plain("it is a link"),
            _ => error,
        })?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(not_plain("it is no plain file"))
}

fn not_plain(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}; move it away"))
}

/// Whether two paths are of one file.
#[must_use]
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => true,
        (Ok(a), Ok(b)) => same_node(&a, &b),
        _ => false,
    }
}

#[cfg(unix)]
fn same_node(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let node = |path: &Path| fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    node(a).is_some_and(|found| Some(found) == node(b))
}

#[cfg(not(unix))]
fn same_node(_: &Path, _: &Path) -> bool {
    false
}
