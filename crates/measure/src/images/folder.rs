//! Folders with one folder of images for every class, as torchvision's `ImageFolder` reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Endings that make a file an image in torchvision's `ImageFolder`.
const ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];
/// Folders inside folders that are followed: a link that leads back up must end.
const DEEPEST: usize = 16;

/// Why a folder is no set of images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FolderError {
    /// A folder cannot be read.
    #[error("cannot read the images in {}: {reason}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There are no classes.
    #[error(
        "{} holds no folders: images lie in one folder for every class, as in ImageNet (n01440764/..., n01443537/...)",
        path.display()
    )]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// A class has no images.
    #[error("the class {class} in {} has no images ({} are looked for)", path.display(), ENDINGS.join(", "))]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// The classes are not the network's.
    #[error(
        "{} has {found} classes, and the network tells {needed} apart: class folders stand, by name, for the network's \
         outputs in their order. When the folder holds some of them only, list the names of all {needed}, one a line \
         in the order of the outputs (--classes FILE)",
        path.display()
    )]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Classes there are.
        found: usize,
        /// Outputs of the network.
        needed: usize,
    },
    /// A class that the list does not have.
    #[error("{} has a class folder `{class}`, which is not in the list of classes", path.display())]
    UnknownClass {
        /// The folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// Two names of the list are equal.
    #[error("the list of classes has `{class}` twice")]
    TwiceListed {
        /// The class.
        class: String,
    },
}

/// An image of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Its class folder and its path in there, with `/` in between on every system.
    pub name: String,
    /// The index of its class among the network's outputs.
    pub class: usize,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A folder of images by class.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    outputs: usize,
    files: Vec<ImageFile>,
}

impl ImageFolder {
    /// Lists a folder. Classes are numbered by name, or, where `classes` are listed, as they are there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn read(root: &Path, classes: Option<&[String]>) -> Result<Self, FolderError> {
        let folders = entries(root)?.into_iter().filter(|path| path.is_dir());
        let folders: Vec<PathBuf> = folders.collect();
        if folders.is_empty() {
            return Err(FolderError::NoClasses { path: root.into() });
        }
        let mut names = BTreeSet::new();
        for class in classes.unwrap_or_default() {
            if !names.insert(class) {
                let class = class.clone();
                return Err(FolderError::TwiceListed { class });
            }
        }
        let mut files = Vec::new();
        for (index, folder) in folders.iter().enumerate() {
            let name = file_name(folder);
            let class = match classes {
                None => index,
                Some(all) => all.iter().position(|class| *class == name).ok_or_else(|| {
                    FolderError::UnknownClass {
                        path: root.into(),
                        class: name.clone(),
                    }
                })?,
            };
            let before = files.len();
            walk(folder, &name, class, DEEPEST, &mut files)?;
            if files.len() == before {
                return Err(FolderError::EmptyClass {
                    path: root.into(),
                    class: name,
                });
            }
        }
        Ok(Self {
            root: root.into(),
            outputs: classes.map_or(folders.len(), <[String]>::len),
            files,
        })
    }

    /// Lists all images in a folder and in the folders within, in whatever class: for what does not ask for labels.
    ///
    /// # Errors
    /// [`FolderError::Read`].
    pub fn unlabelled(root: &Path) -> Result<Self, FolderError> {
        let mut files = Vec::new();
        for path in entries(root)? {
            visit(&path, file_name(&path), 0, DEEPEST, &mut files)?;
        }
        Ok(Self {
            root: root.into(),
            outputs: 1,
            files,
        })
    }

    /// Refuses a network that tells another number of classes apart.
    ///
    /// # Errors
    /// [`FolderError::Classes`].
    pub fn check_outputs(&self, needed: usize) -> Result<(), FolderError> {
        if self.outputs == needed {
            return Ok(());
        }
        Err(FolderError::Classes {
            path: self.root.clone(),
            found: self.outputs,
            needed,
        })
    }

    /// The images, by class and name.
    #[must_use]
    pub fn files(&self) -> &[ImageFile] {
        &self.files
    }

    /// Where an image is.
    #[must_use]
    pub fn path(&self, file: &ImageFile) -> PathBuf {
        let parts = file.name.split('/');
        parts.fold(self.root.clone(), |path, part| path.join(part))
    }
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let unreadable = |error: std::io::Error| FolderError::Read {
        path: folder.into(),
        reason: error.to_string(),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort_by_key(|path| file_name(path));
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn walk(
    folder: &Path,
    name: &str,
    class: usize,
    deeper: usize,
    files: &mut Vec<ImageFile>,
) -> Result<(), FolderError> {
    for path in entries(folder)? {
        let name = format!("{name}/{}", file_name(&path));
        visit(&path, name, class, deeper, files)?;
    }
    Ok(())
}

/// Takes what is at a path: an image, or a folder with images.
fn visit(
    path: &Path,
    name: String,
    class: usize,
    deeper: usize,
    files: &mut Vec<ImageFile>,
) -> Result<(), FolderError> {
    let metadata = fs::metadata(path).map_err(|error| FolderError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    if metadata.is_dir() {
        if deeper > 0 {
            walk(path, &name, class, deeper - 1, files)?;
        }
    } else if is_image(path) {
        files.push(ImageFile {
            name,
            class,
            bytes: metadata.len(),
        });
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&&*ending.to_ascii_lowercase()))
}
