//! The images that count, and those for calibrating.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::threads::Threads;
use super::{Options, SupernetError, USUAL_IMAGES, counts};
use crate::files;
use crate::images::{Cache, ImageError, ImageFile, ImageFolder, Pictures, Pixels, Role, role};

/// Bytes of pixels that stay in memory for each folder; more are read from disk again.
const MEMORY: usize = 1 << 30;
/// Longest list of classes, in bytes.
const LONGEST_LIST: u64 = 16 << 20;

/// The images that count, and those for calibrating where there are any.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) counting: Set,
    pub(super) calibrating: Option<Set>,
}

impl Sets {
    /// Lists and divides the images.
    pub(super) fn read(
        options: &Options,
        outputs: usize,
        cache: Option<&Arc<Cache>>,
    ) -> Result<Self, SupernetError> {
        let classes = options.classes.as_deref().map(read_classes).transpose()?;
        let open = |folder| Arc::new(Pictures::new(folder, cache.cloned(), MEMORY));
        let labelled = ImageFolder::read(&options.images, classes.as_deref())?;
        labelled.check_outputs(outputs)?;
        let pictures = open(labelled);
        let wanted = options.calibration.images;
        let elsewhere = options.calibration.folder.as_deref();
        let shared = wanted != Some(0) && elsewhere.is_none();
        let mut counting = Vec::new();
        let mut calibrating = Vec::new();
        for (index, file) in pictures.folder().files().iter().enumerate() {
            let (order, role) = role(options.seed, &file.name, shared);
            if role == Role::Calibrate {
                calibrating.push((order, index));
            } else if counts(options.split, role) {
                counting.push((order, index));
            }
        }
        let mut counting = first(counting, options.limit.unwrap_or(usize::MAX));
        // As a folder lists them.
        counting.sort_unstable();
        if counting.is_empty() {
            let what = match options.split.name() {
                "test" => "testing",
                _ => "selecting",
            };
            return Err(SupernetError::too_few(&options.images, what, 0, 1));
        }
        let (pictures_for_calibrating, root) = match elsewhere {
            Some(root) if wanted != Some(0) => {
                // What they are of is never asked, so that any images calibrate.
                let pictures = open(ImageFolder::unlabelled(root)?);
                let all = pictures.folder().files().iter().enumerate();
                let ordered = all.map(|(i, file)| (role(options.seed, &file.name, false).0, i));
                calibrating = ordered.collect();
                (pictures, root)
            }
            _ => (Arc::clone(&pictures), &*options.images),
        };
        let calibrating = match wanted {
            Some(0) => None,
            Some(wanted) if wanted > calibrating.len() => {
                let found = calibrating.len();
                return Err(SupernetError::too_few(root, "calibrating", found, wanted));
            }
            None if calibrating.is_empty() => {
                return Err(SupernetError::too_few(root, "calibrating", 0, 1));
            }
            _ => Some(first(calibrating, wanted.unwrap_or(USUAL_IMAGES))),
        };
        Ok(Self {
            counting: Set::new(pictures, &options.images, counting),
            calibrating: calibrating.map(|all| Set::new(pictures_for_calibrating, root, all)),
        })
    }
}

/// The indices of the first `most` by order.
fn first(mut ordered: Vec<(u64, usize)>, most: usize) -> Vec<usize> {
    ordered.sort_unstable();
    ordered
        .into_iter()
        .map(|(_, index)| index)
        .take(most)
        .collect()
}

/// The lines of a list of classes; empty ones at the end are left out.
fn read_classes(path: &Path) -> Result<Vec<String>, SupernetError> {
    let failed = |reason: String| SupernetError::Classes {
        path: path.into(),
        reason,
    };
    let text = files::read_text(path, LONGEST_LIST).map_err(|e| failed(e.to_string()))?;
    let lines = text.trim_end().lines().map(|line| line.trim().to_owned());
    Ok(lines.collect())
}

/// Some images of a folder, in the order in which they are used.
#[derive(Debug)]
pub(super) struct Set {
    pictures: Arc<Pictures>,
    root: std::path::PathBuf,
    indices: Vec<usize>,
    /// By size.
    readable: Mutex<BTreeMap<usize, Found>>,
}

/// What was found of a set at one size; `None` when it was interrupted.
type Found = Arc<OnceLock<Option<Arc<Readable>>>>;

/// Which images of a set can be read.
#[derive(Debug)]
pub(super) struct Readable {
    /// Those that can, by index in the folder.
    pub(super) whole: Arc<Vec<usize>>,
    /// Those that cannot.
    pub(super) broken: Vec<ImageError>,
}

impl Set {
    fn new(pictures: Arc<Pictures>, root: &Path, indices: Vec<usize>) -> Self {
        Self {
            pictures,
            root: root.into(),
            indices,
            readable: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &ImageFile> {
        let files = self.pictures.folder().files();
        self.indices.iter().map(|index| &files[*index])
    }

    pub(super) fn class(&self, index: usize) -> usize {
        self.pictures.folder().files()[index].class
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.pictures.folder().files()[index].name
    }

    pub(super) fn pixels(&self, index: usize, size: usize) -> Pixels {
        self.pictures.get(index, size)
    }

    pub(super) fn cache_problem(&self) -> Option<String> {
        self.pictures.cache_problem()
    }

    /// The images that were found to be broken, at whatever size.
    pub(super) fn broken(&self) -> Vec<ImageError> {
        let readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        let known = readable.values().filter_map(|cell| cell.get()?.clone());
        let first = known.into_iter().next();
        first.map_or_else(Vec::new, |readable| readable.broken.clone())
    }

    /// Reads every image once, on all threads, so that broken ones are known before a network runs and the others are
    /// decoded; `None` when interrupted.
    pub(super) fn readable(
        &self,
        size: usize,
        threads: &Threads,
        interrupted: &AtomicBool,
    ) -> Option<Arc<Readable>> {
        let all = || self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(all().entry(size).or_default());
        let found = cell.get_or_init(|| {
            let read = |(): &mut (), place: usize| -> Result<Option<ImageError>, ()> {
                Ok(self.pixels(self.indices[place], size).err())
            };
            let problems = threads.run(self.indices.len(), interrupted, &|| (), &read);
            let problems = problems.ok().flatten()?;
            let images = self.indices.iter().zip(&problems);
            let whole = images.filter(|(_, problem)| problem.is_none());
            Some(Arc::new(Readable {
                whole: Arc::new(whole.map(|(index, _)| *index).collect()),
                broken: problems.into_iter().flatten().collect(),
            }))
        });
        if found.is_none() {
            // An interruption says nothing of the images: whoever asks again reads them.
            let mut all = all();
            if all.get(&size).is_some_and(|now| Arc::ptr_eq(now, &cell)) {
                all.remove(&size);
            }
        }
        found.clone()
    }
}
