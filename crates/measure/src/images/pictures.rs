//! The pixels of a folder's images, from memory, from the cache on disk, or decoded now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Cache, DecodeError, ImageFolder, decode, resize_and_crop};
use crate::files;

/// Largest image file, in bytes.
const LARGEST_FILE: u64 = 256 << 20;

/// Why an image of a folder gives no pixels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct ImageError {
    /// The image: its class folder and its path there.
    pub name: String,
    /// What is wrong.
    pub reason: ImageProblem,
}

/// What is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageProblem {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(String),
    /// The file is no picture.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Square pixels (rows, columns, RGB) of an image, or why there are none.
pub type Pixels = Result<Arc<[u8]>, ImageError>;

/// The images of a folder, squared. Threads may ask at the same time.
#[derive(Debug)]
pub struct Pictures {
    folder: ImageFolder,
    cache: Option<Arc<Cache>>,
    /// Bytes that may be kept in memory.
    memory: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By index and size.
    pixels: HashMap<(usize, usize), Pixels>,
    bytes: usize,
}

impl Pictures {
    /// The images of a folder, of whose pixels up to `memory` bytes are kept in memory.
    #[must_use]
    pub fn new(folder: ImageFolder, cache: Option<Arc<Cache>>, memory: usize) -> Self {
        Self {
            folder,
            cache,
            memory,
            kept: Mutex::default(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &ImageFolder {
        &self.folder
    }

    /// The pixels of image `index` of the folder, in a square of this size.
    ///
    /// # Errors
    /// [`ImageError`] when the file cannot be read or is no picture.
    ///
    /// # Panics
    /// When the folder has no such image.
    pub fn get(&self, index: usize, size: usize) -> Pixels {
        if let Some(pixels) = self.lock().pixels.get(&(index, size)) {
            return pixels.clone();
        }
        let pixels = self.load(index, size);
        let bytes = pixels.as_ref().map_or(0, |pixels| pixels.len());
        let mut kept = self.lock();
        if kept.bytes + bytes <= self.memory {
            // Another thread may have been as fast: its pixels are equal.
            if kept.pixels.insert((index, size), pixels.clone()).is_none() {
                kept.bytes += bytes;
            }
        }
        pixels
    }

    /// Why decoded images are no longer kept, where they are not.
    #[must_use]
    pub fn cache_problem(&self) -> Option<String> {
        self.cache.as_ref()?.problem()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, index: usize, size: usize) -> Pixels {
        let file = &self.folder.files()[index];
        let problem = |reason: ImageProblem| ImageError {
            name: file.name.clone(),
            reason,
        };
        let bytes = files::read(&self.folder.path(file), LARGEST_FILE);
        let bytes = bytes.map_err(|e| problem(ImageProblem::Read(e.to_string())))?;
        let squared = || -> Result<Vec<u8>, DecodeError> {
            let image = decode(&bytes)?;
            Ok(resize_and_crop(&image, size))
        };
        let Some(cache) = &self.cache else {
            return Ok(squared().map_err(|e| problem(e.into()))?.into());
        };
        let key = Cache::key(&bytes, size);
        if let Some(pixels) = cache.get(&key, 3 * size * size) {
            return Ok(pixels.into());
        }
        let pixels = squared().map_err(|e| problem(e.into()))?;
        cache.put(&key, &pixels);
        Ok(pixels.into())
    }
}
