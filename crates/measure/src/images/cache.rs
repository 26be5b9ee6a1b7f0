//! Decoded, resized and cropped images on disk, so that they are decoded once and not for every architecture and run.
//!
//! An entry is named by SHA-256 of the image file's bytes and everything else that its pixels depend on, and holds the
//! pixels and their own SHA-256. It is written beside its place and renamed, so that it is whole or not there. A
//! damaged entry is dropped and made again. Losing the folder costs time and nothing else.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::files;

/// To be raised when decoding or resizing gives other pixels.
pub(crate) const PIPELINE: u32 = 2;
/// Ending of an entry's name.
const ENDING: &str = "rgb";
/// Bytes of a digest.
const DIGEST: usize = 32;
/// When entries are removed, this share of the limit is left, so that the next removal is not due at once.
const LEFT: f64 = 0.9;

/// Why there is no cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep decoded images in {}: {reason}; name another folder, or none (--image-cache \
    off)", folder.display())]
pub struct CacheError {
    /// The folder.
    pub folder: PathBuf,
    /// What the system said.
    pub reason: String,
}

/// Pixels on disk, up to a number of bytes.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
    /// Entries that were used since then are not removed: a set of images larger than the limit would chase itself.
    opened: SystemTime,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of all entries, as far as this process knows.
    bytes: u64,
    /// Why nothing more is written.
    full: Option<String>,
}

impl Cache {
    /// The cache in a folder, which is made where it does not exist, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CacheError`] when the folder cannot be made or read.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, CacheError> {
        let cache = Self {
            folder: folder.into(),
            limit,
            opened: SystemTime::now(),
            state: Mutex::default(),
        };
        let failed = |error: std::io::Error| CacheError {
            folder: folder.into(),
            reason: error.to_string(),
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let entries = cache.entries().map_err(failed)?;
        cache.lock().bytes = entries.iter().map(|entry| entry.bytes).sum();
        Ok(cache)
    }

    /// The user's folder for such things; `None` when the system tells none.
    #[must_use]
    pub fn folder_of_user() -> Option<PathBuf> {
        use etcetera::BaseStrategy as _;
        let strategy = etcetera::choose_base_strategy().ok()?;
        Some(strategy.cache_dir().join("blocklens").join("images"))
    }

    /// The key of an image file's bytes at a size.
    #[must_use]
    pub fn key(bytes: &[u8], size: usize) -> String {
        let mut hasher = Sha256::new();
        hasher.update(format!("blocklens pixels {PIPELINE}, size {size}\n"));
        hasher.update(bytes);
        files::hex(&hasher.finalize())
    }

    /// The pixels under a key, `length` bytes of them; `None` when they are not there or damaged.
    #[must_use]
    pub fn get(&self, key: &str, length: usize) -> Option<Vec<u8>> {
        let path = self.path(key);
        let limit = (length + DIGEST) as u64;
        let entry = files::read(&path, limit);
        let pixels = entry.ok().and_then(|bytes| checked(bytes, length));
        match &pixels {
            Some(_) => {
                // Only its age is lost when this fails.
                let _ = File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(SystemTime::now()));
            }
            None => {
                if let Ok(metadata) = fs::metadata(&path) {
                    let _ = fs::remove_file(&path);
                    let mut state = self.lock();
                    state.bytes = state.bytes.saturating_sub(metadata.len());
                }
            }
        }
        pixels
    }

    /// Keeps pixels under a key, as far as there is room. A failure to write is told by [`Cache::problem`]: what was
    /// asked for is computed all the same.
    pub fn put(&self, key: &str, pixels: &[u8]) {
        let needed = (pixels.len() + DIGEST) as u64;
        if !self.make_room(needed) {
            return;
        }
        if let Err(error) = self.write(key, pixels) {
            let mut state = self.lock();
            state.bytes = state.bytes.saturating_sub(needed);
            state.full.get_or_insert(format!(
                "decoded images are no longer kept in {}: {error}",
                self.folder.display()
            ));
        }
    }

    /// What the user should know: why images are no longer kept.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().full.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &str) -> PathBuf {
        let (shelf, rest) = key.split_at(key.len().min(2));
        self.folder.join(shelf).join(format!("{rest}.{ENDING}"))
    }

    fn write(&self, key: &str, pixels: &[u8]) -> std::io::Result<()> {
        let path = self.path(key);
        let shelf = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(shelf)?;
        let mut file = tempfile::NamedTempFile::new_in(shelf)?;
        file.write_all(pixels)?;
        file.write_all(&Sha256::digest(pixels))?;
        file.persist(&path)?;
        Ok(())
    }

    /// Counts `needed` bytes in, after removing what has not been used for longest where they would be too many;
    /// whether they may be written.
    fn make_room(&self, needed: u64) -> bool {
        let mut state = self.lock();
        if state.full.is_some() {
            return false;
        }
        if state.bytes + needed > self.limit {
            let mut entries = self.entries().unwrap_or_default();
            entries.sort_by_key(|entry| entry.used);
            state.bytes = entries.iter().map(|entry| entry.bytes).sum();
            let aim = (self.limit as f64 * LEFT) as u64;
            for entry in entries {
                if state.bytes + needed <= aim || entry.used >= self.opened {
                    break;
                }
                if fs::remove_file(&entry.path).is_ok() {
                    state.bytes -= entry.bytes;
                }
            }
        }
        if state.bytes + needed > self.limit {
            state.full = Some(format!(
                "{} holds {:.1} GiB of decoded images, which is its limit (--image-cache-limit): further images are \
                 decoded again whenever they are needed",
                self.folder.display(),
                state.bytes as f64 / f64::from(1 << 30)
            ));
            return false;
        }
        state.bytes += needed;
        true
    }

    /// Everything that is kept, and what an interrupted process left half-written.
    fn entries(&self) -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for shelf in fs::read_dir(&self.folder)? {
            let shelf = shelf?.path();
            if !shelf.is_dir() {
                continue;
            }
            for entry in fs::read_dir(shelf)? {
                let entry = entry?;
                // Another process may have removed it.
                if let Ok(metadata) = entry.metadata() {
                    entries.push(Entry {
                        path: entry.path(),
                        bytes: metadata.len(),
                        used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    });
                }
            }
        }
        Ok(entries)
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// The pixels of an entry, unless it is damaged.
fn checked(mut bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    if bytes.len() != length + DIGEST {
        return None;
    }
    let digest = bytes.split_off(length);
    (*Sha256::digest(&bytes) == *digest).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> String {
        Cache::key(&[number], 4)
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        assert_ne!(Cache::key(b"image", 128), Cache::key(b"image", 160));
        assert_eq!(cache.get(&key(1), 48), None);
        cache.put(&key(1), &[7; 48]);
        assert_eq!(cache.get(&key(1), 48), Some(vec![7; 48]));
        assert_eq!(Cache::open(folder.path(), 1).unwrap().lock().bytes, 80);
        let path = cache.path(&key(1));
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[5] ^= 1;
        for damaged in [&flipped[..], &whole[..60], &[]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(cache.get(&key(1), 48), None);
            assert!(!path.exists());
        }
    }

    #[test]
    fn the_oldest_make_room_and_those_of_this_run_stay() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        for number in 0..10 {
            cache.put(&key(number), &[number; 68]);
        }
        let old = SystemTime::now() - std::time::Duration::from_secs(100);
        for number in 0..4 {
            let file = File::options().append(true).open(cache.path(&key(number)));
            let age = std::time::Duration::from_secs(number.into());
            file.unwrap().set_modified(old + age).unwrap();
        }
        // Ten entries of 100 bytes fill this one to the brim: room is made until 900 bytes are left.
        let cache = Cache {
            opened: SystemTime::now() - std::time::Duration::from_secs(50),
            ..Cache::open(folder.path(), 1_000).unwrap()
        };
        cache.put(&key(10), &[10; 68]);
        let there = |cache: &Cache, number: u8| cache.path(&key(number)).exists();
        assert_eq!(
            [0, 1, 2, 10].map(|n| there(&cache, n)),
            [false, false, true, true]
        );
        assert_eq!(cache.problem(), None);
        for number in 11..20 {
            cache.put(&key(number), &[number; 68]);
        }
        let bytes: u64 = cache.entries().unwrap().iter().map(|e| e.bytes).sum();
        assert!(bytes <= 1_000, "{bytes}");
        assert!((4..11).all(|number| there(&cache, number)));
        assert!(cache.problem().unwrap().contains("limit"));
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(&file.path().join("below"), 1).unwrap_err();
        assert!(error.to_string().contains("--image-cache"), "{error}");
    }
}
