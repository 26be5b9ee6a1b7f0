//! Where ONNX Runtime is on this machine.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::engine::device::PYTHON_VARIABLE;

/// A library to load, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// A path, or the bare name that the system's loader knows.
    pub(super) library: PathBuf,
    /// How it was found, for people.
    pub(super) source: &'static str,
}

impl Candidate {
    /// Whether the system's loader is asked for a name, instead of a file that was seen.
    pub(super) fn is_name(&self) -> bool {
        self.library.components().count() == 1
    }
}

/// Finds the library. What the user names is taken without looking further: `library` (from the command line), else the
/// variable `ORT_DYLIB_PATH`. Otherwise the package of the Python that `BLOCKLENS_PYTHON` names, the active virtual or
/// Conda environment, the Python on the path, then whatever the system's loader knows.
pub(super) fn find(library: Option<&str>) -> Candidate {
    let named = library
        .map(|path| (PathBuf::from(path), "the command line"))
        .or_else(|| Some((variable("ORT_DYLIB_PATH")?, "ORT_DYLIB_PATH")));
    if let Some((library, source)) = named {
        let library = std::path::absolute(&library).unwrap_or(library);
        return Candidate { library, source };
    }
    in_named_python()
        .or_else(in_environments)
        .or_else(in_python)
        .unwrap_or_else(|| Candidate {
            library: system_name().into(),
            source: "the system's libraries",
        })
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn system_name() -> String {
    format!(
        "{}onnxruntime{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    )
}

fn in_environments() -> Option<Candidate> {
    [
        ("VIRTUAL_ENV", "the active virtual environment"),
        ("CONDA_PREFIX", "the active Conda environment"),
    ]
    .into_iter()
    .find_map(|(name, source)| {
        let library = in_environment(&variable(name)?)?;
        Some(Candidate { library, source })
    })
}

/// Looks where environments keep packages: `lib/python3.*/site-packages`, on Windows `Lib/site-packages`.
fn in_environment(root: &Path) -> Option<PathBuf> {
    let mut folders = vec![root.join("Lib").join("site-packages")];
    for version in sorted_entries(&root.join("lib")) {
        folders.push(version.join("site-packages"));
    }
    folders
        .iter()
        .find_map(|folder| in_package(&folder.join("onnxruntime")))
}

/// The library inside the Python package.
fn in_package(package: &Path) -> Option<PathBuf> {
    sorted_entries(&package.join("capi"))
        .into_iter()
        .find(|path| path.file_name().is_some_and(is_library) && path.is_file())
}

/// `libonnxruntime.so`, `libonnxruntime.so.1.17.0`, `libonnxruntime.1.17.0.dylib`, `onnxruntime.dll`; not
/// its neighbours, such as `libonnxruntime_providers_shared.so`.
fn is_library(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let digits_and_dots = |s: &str| s.chars().all(|c| c == '.' || c.is_ascii_digit());
    name == "onnxruntime.dll"
        || name
            .strip_prefix("libonnxruntime")
            .and_then(|rest| rest.strip_prefix(".so").or(rest.strip_suffix(".dylib")))
            .is_some_and(digits_and_dots)
}

/// The entries of a folder by name, the newest version of several last to first.
fn sorted_entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries.reverse();
    entries
}

/// How long Python may take to say where its package is.
const PYTHON_LIMIT: Duration = Duration::from_secs(5);

/// Says where the package is without importing it. The first entry of the path is the current folder,
/// where a file of the user's could be taken for the package.
const PYTHON_QUESTION: &str = "\
import sys; sys.path.pop(0)
import importlib.util
spec = importlib.util.find_spec('onnxruntime')
print(spec.submodule_search_locations[0] if spec else '')";

fn in_named_python() -> Option<Candidate> {
    in_package_of(
        &variable(PYTHON_VARIABLE)?,
        "the package of BLOCKLENS_PYTHON",
    )
}

fn in_python() -> Option<Candidate> {
    let on_path = ["python3", "python"].into_iter();
    on_path
        .map(Path::new)
        .find_map(|python| in_package_of(python, "the package of the Python on the path"))
}

fn in_package_of(python: &Path, source: &'static str) -> Option<Candidate> {
    let folder = first_line(
        Command::new(python).args(["-c", PYTHON_QUESTION]),
        PYTHON_LIMIT,
    )?;
    Some(Candidate {
        library: in_package(Path::new(&folder))?,
        source,
    })
}

/// The first line that a program prints; `None` when it cannot start, prints nothing or takes too long.
fn first_line(command: &mut Command, limit: Duration) -> Option<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(limit).ok();
    let _ = child.kill();
    let _ = child.wait();
    line.map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_their_neighbours() {
        for good in [
            "libonnxruntime.so",
            "libonnxruntime.so.1.17.3",
            "libonnxruntime.dylib",
            "libonnxruntime.1.17.3.dylib",
            "onnxruntime.dll",
        ] {
            assert!(is_library(OsStr::new(good)), "{good}");
        }
        for bad in [
            "libonnxruntime_providers_shared.so",
            "onnxruntime_pybind11_state.so",
            "libonnxruntime.so.txt",
            "libonnxruntime",
        ] {
            assert!(!is_library(OsStr::new(bad)), "{bad}");
        }
    }

    #[test]
    fn packages_of_an_environment_are_found() {
        let root = env::temp_dir().join(format!("blocklens-find-{}", std::process::id()));
        let capi = root.join("lib/python3.12/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        assert_eq!(in_environment(&root), None);
        fs::write(capi.join("libonnxruntime_providers_shared.so"), "").unwrap();
        fs::write(capi.join("libonnxruntime.so.1.20.0"), "").unwrap();
        let found = in_environment(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, Some(capi.join("libonnxruntime.so.1.20.0")));
    }

    #[test]
    #[cfg(unix)]
    fn slow_and_missing_programs_give_nothing() {
        let limit = Duration::from_millis(200);
        let start = std::time::Instant::now();
        assert_eq!(first_line(Command::new("sleep").arg("30"), limit), None);
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(
            first_line(&mut Command::new("no-such-program"), limit),
            None
        );
        assert_eq!(
            first_line(Command::new("echo").arg("a"), PYTHON_LIMIT).as_deref(),
            Some("a")
        );
    }
}
