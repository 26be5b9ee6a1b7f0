//! What is evaluated, on which images, and how.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use blocklens_core::network::Pooling;
use blocklens_core::ofa::SliceError;

use crate::engine::ComputingError;
use crate::images::{CacheError, FolderError};

/// Which images an accuracy is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// Those by which architectures are compared.
    #[default]
    Select,
    /// Those by which what was selected is judged.
    Test,
    /// Both.
    All,
}

impl Split {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Test => "test",
            Self::All => "all",
        }
    }
}

/// How batch-norm statistics are found for a subnet.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Images to take them from: as many as there are up to [`USUAL_IMAGES`] when not given; with none, they are the
    /// supernet's.
    pub images: Option<usize>,
    /// Images that are run together.
    pub batch: usize,
    /// How batches become one.
    pub pooling: Pooling,
    /// Where the images are (class folders, as for evaluating); a part of those for evaluating when not given.
    pub folder: Option<PathBuf>,
}

/// Images that statistics are taken from by default, as in the published evaluations.
pub const USUAL_IMAGES: usize = 2_000;

/// Where decoded images are kept.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// The folder.
    pub folder: PathBuf,
    /// Most bytes in it.
    pub limit: u64,
}

/// Everything but the checkpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of images, one folder in it for every class.
    pub images: PathBuf,
    /// A file with the names of the classes in the order of the network's outputs, one a line.
    pub classes: Option<PathBuf>,
    /// Which images count.
    pub split: Split,
    /// Most of them to take.
    pub limit: Option<usize>,
    /// Where batch-norm statistics come from.
    pub calibration: Calibration,
    /// Decides which image is for what.
    pub seed: u64,
    /// Whether images that cannot be read are left out, instead of being a failure.
    pub skip_broken: bool,
    /// The engine, as [`crate::engine::by_name`] takes it; `ort` where it is found, else `tract`, when not given.
    pub engine: Option<String>,
    /// Threads, all together.
    pub threads: usize,
    /// Where decoded images are kept.
    pub cache: Option<CacheOptions>,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
}

/// Why a checkpoint gives no accuracy.
#[derive(Debug, thiserror::Error)]
pub enum SupernetError {
    /// No images were named.
    #[error(
        "it is a supernet, whose subnets are evaluated on images: name a folder of them, one folder in it for every \
         class (--images FOLDER)"
    )]
    NoImages,
    /// What was asked for is none of what an evaluation gives.
    #[error("a supernet gives accuracy (top-1), top5 and loss, not `{0}`")]
    Quantity(String),
    /// A tensor holds NaN or infinity.
    #[error("`{0}` holds NaN or infinite numbers: the checkpoint is broken")]
    NotFinite(String),
    /// It is another space's.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// The images cannot be listed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The list of classes cannot be read.
    #[error("cannot read the list of classes {}: {reason}", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There are too few images for something.
    #[error("{} has {found} images for {what}, and {needed} are needed; {remedy}", folder.display())]
    TooFew {
        /// The folder.
        folder: PathBuf,
        /// What for.
        what: &'static str,
        /// Those there are.
        found: usize,
        /// Those needed.
        needed: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// Decoded images cannot be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No engine computes here, or not the one that was asked for.
    #[error(transparent)]
    Engine(#[from] ComputingError),
}

impl SupernetError {
    /// Too few images, with what to do about it.
    pub(super) fn too_few(folder: &Path, what: &'static str, found: usize, needed: usize) -> Self {
        Self::TooFew {
            folder: folder.into(),
            what,
            found,
            needed,
            remedy: match what {
                "calibrating" => {
                    "calibrate on fewer (--calibrate N; 0 keeps the supernet's statistics), or on another folder \
                     (--calibration-images FOLDER)"
                }
                _ => "take another part of them (--split)",
            },
        }
    }
}
