//! Folders of labelled images, and their pixels as the evaluation of the `ofa` package sees them.
//!
//! | step | where |
//! |---|---|
//! | which images there are, and of which class | [`ImageFolder`] |
//! | which of them are for calibrating, selecting and testing | [`Role`] |
//! | bytes of a file -> RGB, as Pillow decodes them | [`decode()`] |
//! | RGB -> square of the network's size, as torchvision resizes and crops | [`resize_and_crop`] |
//! | kept between runs | [`Cache`] |
//! | all of it for one folder and size | [`Pictures`] |
//! | pixels -> what the network reads | [`normalised`] |

mod cache;
mod decode;
mod folder;
mod pictures;
mod resize;
mod role;

pub(crate) use cache::PIPELINE;
pub use cache::{Cache, CacheError};
pub use decode::{DecodeError, Rgb, decode};
pub use folder::{FolderError, ImageFile, ImageFolder};
pub use pictures::{ImageError, ImageProblem, Pictures, Pixels};
pub use resize::{resize_and_crop, resized_side};
pub use role::{Role, role};

/// Mean of ImageNet's red, green and blue, of pixels between 0 and 1.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviations.
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Appends what a network reads of an image of interleaved RGB bytes: channels, rows, columns, scaled to 0..1, minus
/// the mean of ImageNet, divided by its deviation (torchvision's `ToTensor` and `Normalize`, in their order and
/// precision).
pub fn normalised(rgb: &[u8], into: &mut Vec<f32>) {
    into.reserve(rgb.len());
    for channel in 0..3 {
        let table: Vec<f32> = (0..=u8::MAX)
            .map(|byte| (f32::from(byte) / 255.0 - MEAN[channel]) / DEVIATION[channel])
            .collect();
        let bytes = rgb.iter().skip(channel).step_by(3);
        into.extend(bytes.map(|byte| table[usize::from(*byte)]));
    }
}
