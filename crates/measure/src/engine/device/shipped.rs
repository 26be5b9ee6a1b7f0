//! Adapters that come with the program: small files in Python, one for each engine that Python can call.

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::Kind;

/// What all adapters share.
const COMMON: (&str, &str) = (
    "blocklens_device.py",
    include_str!("../../../adapters/blocklens_device.py"),
);

/// An adapter.
#[derive(Debug)]
pub(super) struct Shipped {
    /// The engine's name on the command line.
    pub name: &'static str,
    /// Where its times come from.
    pub kind: Kind,
    /// What to install for it.
    pub packages: &'static str,
    file: &'static str,
    text: &'static str,
}

macro_rules! shipped {
    ($name:literal, $packages:literal, $file:literal) => {
        shipped!($name, Kind::Measured, $packages, $file)
    };
    ($name:literal, $kind:expr, $packages:literal, $file:literal) => {
        Shipped {
            name: $name,
            kind: $kind,
            packages: $packages,
            file: $file,
            text: include_str!(concat!("../../../adapters/", $file)),
        }
    };
}

/// All of them, in the order in which they are listed.
pub(super) const SHIPPED: [Shipped; 8] = [
    shipped!("onnxruntime", "onnxruntime numpy", "onnxruntime.py"),
    shipped!("openvino", "openvino numpy", "openvino.py"),
    shipped!("ncnn", "--no-deps ncnn pnnx numpy", "ncnn.py"),
    shipped!("mnn", "MNN numpy", "mnn.py"),
    shipped!("litert", "ai-edge-litert numpy", "litert.py"),
    shipped!(
        "ethos-u55",
        Kind::Estimated,
        "ethos-u-vela numpy",
        "vela.py"
    ),
    shipped!(
        "ethos-u65",
        Kind::Estimated,
        "ethos-u-vela numpy",
        "vela.py"
    ),
    shipped!(
        "ethos-u85",
        Kind::Estimated,
        "ethos-u-vela numpy",
        "vela.py"
    ),
];

/// The adapter of this name.
pub(super) fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

impl Shipped {
    /// Writes the adapter's files into a folder; returns the one to start.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn unpack(&self, folder: &Path) -> io::Result<PathBuf> {
        std::fs::write(folder.join(COMMON.0), COMMON.1)?;
        // Not by its own name, which may be the package's.
        let path = folder.join(format!("adapter_{}", self.file));
        std::fs::write(&path, self.text)?;
        Ok(path)
    }
}
