//! Pixels and classes of an image folder, against torchvision and Pillow: `golden/images/make.py` says how the files
//! were made.

use std::path::PathBuf;
use std::sync::Arc;

use blocklens_measure::files;
use blocklens_measure::images::{
    Cache, DecodeError, FolderError, ImageFolder, ImageProblem, Pictures, Role, decode,
    resize_and_crop, role,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    calibrating: Vec<String>,
    testing: Vec<String>,
    images: Vec<Image>,
    tall: Vec<Tall>,
}

#[derive(Deserialize)]
struct Tall {
    name: String,
    #[serde(rename = "64")]
    small: String,
    #[serde(rename = "96")]
    large: String,
}

#[derive(Deserialize)]
struct Image {
    name: String,
    class: usize,
    #[serde(rename = "64")]
    small: String,
    #[serde(rename = "96")]
    large: String,
}

fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images")
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(golden_folder().join("images.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn folder() -> ImageFolder {
    ImageFolder::read(&golden_folder().join("folder"), None).unwrap()
}

fn odd(name: &str) -> Vec<u8> {
    std::fs::read(golden_folder().join("odd").join(name)).unwrap()
}

#[test]
fn pixels_equal_those_of_torchvision_to_the_byte() {
    let (golden, folder) = (golden(), folder());
    assert_eq!(folder.files().len(), golden.images.len());
    let cached = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(cached.path(), 1 << 30).unwrap());
    // Decoded; from memory; from disk; and decoded again without a cache.
    let first = Pictures::new(folder.clone(), Some(Arc::clone(&cache)), 1 << 30);
    let second = Pictures::new(folder.clone(), Some(cache), 0);
    let third = Pictures::new(folder.clone(), None, 100_000);
    for pictures in [&first, &first, &second, &third] {
        for (index, expected) in golden.images.iter().enumerate() {
            let file = &folder.files()[index];
            assert_eq!((&file.name, file.class), (&expected.name, expected.class));
            for (size, sha256) in [(64, &expected.small), (96, &expected.large)] {
                let pixels = pictures.get(index, size).unwrap();
                assert_eq!(files::sha256(&pixels), *sha256, "{} at {size}", file.name);
            }
        }
    }
}

/// Where images are more than twice as high as wide and shrink, Pillow 13 resizes columns before rows.
#[test]
fn tall_images_equal_those_of_pillow_to_the_byte() {
    let golden = golden();
    assert!(golden.tall.len() > 4);
    for expected in golden.tall {
        let path = golden_folder().join("tall").join(&expected.name);
        let image = decode(&std::fs::read(path).unwrap()).unwrap();
        for (size, sha256) in [(64, &expected.small), (96, &expected.large)] {
            let pixels = resize_and_crop(&image, size);
            assert_eq!(
                files::sha256(&pixels),
                *sha256,
                "{} at {size}",
                expected.name
            );
        }
    }
}

/// Nobody asks which class an image is of whose pixels only calibrate.
#[test]
fn unlabelled_images_need_no_class_folders() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    };
    let _ = ["a.jpg", "b/c.png", "b/notes.txt", "d/e/f.jpeg"].map(place);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let all = ImageFolder::unlabelled(folder.path()).unwrap();
    let names: Vec<&str> = all.files().iter().map(|file| &*file.name).collect();
    assert_eq!(names, ["a.jpg", "b/c.png", "d/e/f.jpeg"]);
    assert!(all.files().iter().all(|file| all.path(file).is_file()));
    assert!(ImageFolder::unlabelled(&folder.path().join("none")).is_err());
}

#[test]
fn roles_are_those_of_the_script() {
    let (golden, folder) = (golden(), folder());
    let mut calibrating = Vec::new();
    let mut testing = Vec::new();
    for file in folder.files() {
        match role(golden.seed, &file.name, true) {
            (order, Role::Calibrate) => calibrating.push((order, file.name.clone())),
            (_, Role::Test) => testing.push(file.name.clone()),
            (_, Role::Select) => {}
        }
    }
    calibrating.sort();
    let names = calibrating.into_iter().map(|(_, name)| name);
    let names: Vec<String> = names.take(golden.calibrating.len()).collect();
    assert_eq!(names, golden.calibrating);
    assert_eq!(testing, golden.testing);
}

/// Of four colours, the decoder's inverse transform and upsampling are other ones than libjpeg-turbo's.
#[test]
fn four_colours_are_close() {
    let (ours, theirs) = (decode(&odd("cmyk.jpg")).unwrap(), odd("cmyk.rgb"));
    assert_eq!((ours.width, ours.height), (61, 43));
    assert_eq!(ours.pixels.len(), theirs.len());
    let differences = ours.pixels.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
    assert!(differences.clone().max().unwrap() <= 5);
    let different = differences.filter(|d| *d > 0).count();
    assert!(
        different * 4 < theirs.len(),
        "{different} of {}",
        theirs.len()
    );
}

#[test]
fn what_is_no_picture_is_an_error() {
    for (name, said) in [
        ("gif.jpg", "a GIF"),
        ("bitmap.bmp", "a BMP"),
        ("text.png", "no known image"),
        ("deep-grey.png", "16-bit grey"),
    ] {
        let error = decode(&odd(name)).unwrap_err().to_string();
        assert!(error.contains(said), "{name}: {error}");
    }
    assert!(decode(&[]).unwrap_err().to_string().contains("empty"));
    for name in ["whole.jpg", "whole.png", "cmyk.jpg"] {
        let whole = odd(name);
        decode(&whole).unwrap();
        for length in (4..whole.len() - 1).step_by(1 + whole.len() / 60) {
            let cut = decode(&whole[..length]);
            assert!(
                matches!(
                    cut,
                    Err(DecodeError::Damaged { .. } | DecodeError::Format { .. })
                ),
                "{name} cut to {length} of {}: {:?}",
                whole.len(),
                cut.map(|rgb| (rgb.width, rgb.height))
            );
        }
    }
}

/// Whatever bytes say, they give a whole picture or an error.
#[test]
fn damaged_bytes_never_panic() {
    for name in ["whole.jpg", "whole.png", "cmyk.jpg"] {
        let whole = odd(name);
        for at in 0..whole.len().min(700) {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                if let Ok(rgb) = decode(&damaged) {
                    assert_eq!(rgb.pixels.len(), 3 * rgb.width * rgb.height);
                }
            }
        }
    }
}

#[test]
fn a_broken_image_is_named() {
    let root = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        std::fs::create_dir(root.path().join(class)).unwrap();
        std::fs::write(root.path().join(class).join("1.png"), odd("whole.png")).unwrap();
    }
    std::fs::write(root.path().join("b/2.jpg"), &odd("whole.jpg")[..500]).unwrap();
    std::fs::write(root.path().join("b/notes.txt"), "not looked at").unwrap();
    let folder = ImageFolder::read(root.path(), None).unwrap();
    assert_eq!(folder.files().len(), 3);
    let pictures = Pictures::new(folder, None, 1 << 20);
    assert!(pictures.get(0, 32).is_ok() && pictures.get(1, 32).is_ok());
    let error = pictures.get(2, 32).unwrap_err();
    assert_eq!(error.name, "b/2.jpg");
    assert!(
        matches!(
            error.reason,
            ImageProblem::Decode(DecodeError::Damaged { .. })
        ),
        "{error}"
    );
}

#[test]
fn folders_that_are_no_classes_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let read = |classes: Option<&[String]>| ImageFolder::read(root.path(), classes);
    assert!(matches!(read(None), Err(FolderError::NoClasses { .. })));
    std::fs::create_dir(root.path().join("cat")).unwrap();
    assert!(matches!(read(None), Err(FolderError::EmptyClass { .. })));
    std::fs::write(root.path().join("cat/1.png"), odd("whole.png")).unwrap();
    let classes = ["dog", "cat", "owl"].map(str::to_owned);
    let listed = read(Some(&classes)).unwrap();
    assert_eq!(listed.files()[0].class, 1);
    listed.check_outputs(3).unwrap();
    let error = read(None)
        .unwrap()
        .check_outputs(3)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("1 classes") && error.contains("--classes"),
        "{error}"
    );
    let error = read(Some(&["dog".to_owned()])).unwrap_err();
    assert!(error.to_string().contains("`cat`"), "{error}");
    let twice = read(Some(&["cat".to_owned(), "cat".to_owned()])).unwrap_err();
    assert!(matches!(twice, FolderError::TwiceListed { .. }));
    let missing = ImageFolder::read(&root.path().join("none"), None).unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
}
