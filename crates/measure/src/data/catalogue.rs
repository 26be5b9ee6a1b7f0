//! The data sets that blocklens knows: what they are, where they are published, and how their files are recognised.

use serde::{Deserialize, Serialize};

/// A file of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Its name in the set's folder: one path component.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its contents, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The address that it is published at; `None` for files of the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A data set as described by the catalogue or by the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSet {
    /// The name that metrics use.
    pub name: String,
    /// What it is and what it is for.
    pub note: String,
    /// What is known about its licence.
    pub licence: String,
    /// Its files, none of them twice.
    pub files: Vec<FileSpec>,
}

impl DataSet {
    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileSpec> {
        self.files.iter().find(|f| f.name == name)
    }

    /// The size of all files together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, f| sum.saturating_add(f.bytes))
    }
}

/// The data sets that can be fetched by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The sets, none of them twice.
    pub sets: Vec<DataSet>,
}

const FILES: &str = "https://raw.githubusercontent.com/han-cai/files/master";

const OFA_LICENCE: &str =
    "none is stated with the files; the ofa package, which fetches them, is under the MIT licence";

impl Catalogue {
    /// The published data sets that the `ofa` package (mit-han-lab/once-for-all) works with.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            sets: vec![ofa(), ofa_resnet50(), note10(), pixel()],
        }
    }

    /// The set of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&DataSet> {
        self.sets.iter().find(|s| s.name == name)
    }
}

fn set(name: &str, note: &str, files: Vec<FileSpec>) -> DataSet {
    DataSet {
        name: name.into(),
        note: note.into(),
        licence: OFA_LICENCE.into(),
        files,
    }
}

/// A file whose name is the last part of its path below [`FILES`].
fn file(path: &str, bytes: u64, sha256: &str) -> FileSpec {
    FileSpec {
        name: path.rsplit('/').next().unwrap_or(path).into(),
        bytes,
        sha256: sha256.into(),
        source: Some(format!("{FILES}/{path}")),
    }
}

fn ofa() -> DataSet {
    set(
        "ofa",
        "accuracy predictor of OFA-MobileNetV3, width 1.2 (ImageNet)",
        vec![file(
            "ofa/acc_predictor.pth",
            1_492_497,
            "48685122a3540636b06699af66cd816456b25f29b69563e2fda9bed4018eeba0",
        )],
    )
}

fn ofa_resnet50() -> DataSet {
    set(
        "ofa-resnet50",
        "accuracy predictor of OFA-ResNet50 (ImageNet)",
        // The package's tutorial names another address, at hanlab.mit.edu.
        vec![file(
            "ofa/ofa_resnet50_acc_predictor.pth",
            1_419_207,
            "68912b4b4be38feb504c5b773dc847af23a637984d5eaabf548de72cd0f79529",
        )],
    )
}

fn note10() -> DataSet {
    let tables = [
        (
            160,
            15088,
            "a2671a45e9400542679ed03de946b45d6a35010f9ab21834af3e7ba8341d36d1",
        ),
        (
            176,
            15047,
            "34223ae037d5719a5f33261bdfd9341f590a2999edf520f174309605dc06307c",
        ),
        (
            192,
            15076,
            "0ff5ca0649e56ad34a42d6a8a6f20adb5121c8d12d135299397b310472db79e2",
        ),
        (
            208,
            15083,
            "41aa63af766a8298354e6aa5ae69d512ac68656a6e7d0a4fa5dc725c8d438633",
        ),
        (
            224,
            15007,
            "c13a9bcb3f4becae844bce4897129c4e42975984c1029cbd5acb48c970136530",
        ),
    ];
    set(
        "note10",
        "latency of OFA-MobileNetV3, width 1.2, on a Samsung Note10: lookup tables for 160 to 224 pixels",
        tables
            .iter()
            .map(|(pixels, bytes, sha256)| {
                file(
                    &format!("ofa/note10/{pixels}_lookup_table.yaml"),
                    *bytes,
                    sha256,
                )
            })
            .collect(),
    )
}

fn pixel() -> DataSet {
    set(
        "pixel",
        "latency of MobileNet blocks, width 1.0, on a Google Pixel 1: lookup table of ProxylessNAS",
        vec![file(
            "proxylessnas/mobile_trim.yaml",
            10_504,
            "087e855ea77f9b257e72f3637333a3e0938f6df77f579520f16d057ac45380aa",
        )],
    )
}
