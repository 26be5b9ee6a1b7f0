//! Bytes of an image file -> pixels, equal to those of Pillow's `Image.open(file).convert("RGB")`.
//!
//! Such a file may come from anywhere. It is told by its content, not by its name; what is damaged or cut short is an
//! error and never half a picture, and sizes are limited before memory is taken.

use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};

use libjpeg_turbo_rs::{Decoder as JpegDecoder, PixelFormat};
use png::{ColorType, Transformations};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Most pixels of an image; Pillow warns from 89 million on.
const MOST_PIXELS: u64 = 100_000_000;

/// An image of interleaved red, green and blue bytes, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 3 x `width` x `height` bytes.
    pub pixels: Vec<u8>,
}

/// Why bytes are no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another format.
    #[error("it is {found}; JPEG and PNG are read (convert it, losslessly, to PNG)")]
    Format {
        /// What it seems to be.
        found: &'static str,
    },
    /// The file is damaged or cut short.
    #[error("it is a damaged {format}: {reason}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// More pixels than an image may have.
    #[error("it has {width} x {height} pixels, more than {MOST_PIXELS} in all")]
    Large {
        /// Pixels in a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// Sixteen bits of grey, which Pillow versions convert in different ways.
    #[error(
        "it is a PNG of 16-bit grey, which libraries convert to 8 bits in different ways: convert it"
    )]
    DeepGrey,
}

/// The picture in the bytes of a JPEG or PNG file.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Rgb, DecodeError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        _ => Err(DecodeError::Format {
            found: other_format(bytes),
        }),
    }
}

fn other_format(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "an empty file",
        [b'G', b'I', b'F', b'8', ..] => "a GIF",
        [b'B', b'M', ..] => "a BMP",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF",
        [b'P', b'1'..=b'7', ..] => "a PNM (PPM, PGM)",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "a WebP",
        _ => "no known image",
    }
}

fn check_size(width: u64, height: u64) -> Result<(), DecodeError> {
    if width.saturating_mul(height) > MOST_PIXELS {
        return Err(DecodeError::Large { width, height });
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value)] // as errors come
fn damaged(format: &'static str, reason: impl ToString) -> DecodeError {
    DecodeError::Damaged {
        format,
        reason: reason.to_string(),
    }
}

/// With the arithmetic of libjpeg-turbo, which Pillow decodes with: its inverse cosine transform, upsampling and colour
/// conversion, to the bit.
fn jpeg(bytes: &[u8]) -> Result<Rgb, DecodeError> {
    const FORMAT: &str = "JPEG";
    if !ends(bytes) {
        return Err(damaged(FORMAT, "it is cut short"));
    }
    let decode = || -> Result<Rgb, DecodeError> {
        let mut decoder = JpegDecoder::new(bytes).map_err(|e| damaged(FORMAT, e))?;
        let header = decoder.header();
        let (width, height) = (usize::from(header.width), usize::from(header.height));
        check_size(width as u64, height as u64)?;
        if header.components.len() == 4 {
            return four_colour_jpeg(bytes);
        }
        decoder.set_output_format(PixelFormat::Rgb);
        let image = decoder.decode_image().map_err(|e| damaged(FORMAT, e))?;
        let pixels = image.data;
        whole(FORMAT, width, height, pixels)
    };
    // Indices of the decoder are checked, so that what it did not foresee is a panic: of this image alone.
    panic::catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(damaged(FORMAT, "the decoder gave up")))
}

/// Whether the mark of the end follows the last beginning of a scan: decoders make up what little is missing before it,
/// and Pillow refuses.
fn ends(bytes: &[u8]) -> bool {
    let last = |mark: u8| bytes.windows(2).rposition(|pair| pair == [0xff, mark]);
    last(0xd9) > last(0xda)
}

/// CMYK, inverted as Adobe writes it and Pillow assumes; 22 images of ImageNet are like this. The decoder's upsampling
/// is not libjpeg-turbo's, so that a pixel can differ by a few levels.
fn four_colour_jpeg(bytes: &[u8]) -> Result<Rgb, DecodeError> {
    const FORMAT: &str = "CMYK JPEG";
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::CMYK);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(Cursor::new(bytes), options);
    let inks = decoder.decode().map_err(|e| damaged(FORMAT, e))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if inks.len() != 4 * width * height {
        return Err(damaged(FORMAT, "pixels are missing"));
    }
    let pixels = inks
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(rgb_of_inverted_inks);
    let pixels = pixels.collect();
    whole(FORMAT, width, height, pixels)
}

/// Pillow's `cmyk2rgb`, of inks that are stored as 255 - ink.
fn rgb_of_inverted_inks(&[cyan, magenta, yellow, black]: &[u8; 4]) -> [u8; 3] {
    let light = u32::from(black);
    [cyan, magenta, yellow].map(|stored| {
        let product = u32::from(255 - stored) * light + 128;
        let dark = ((product >> 8) + product) >> 8;
        u8::try_from(light.saturating_sub(dark)).unwrap_or(u8::MAX)
    })
}

fn png(bytes: &[u8]) -> Result<Rgb, DecodeError> {
    const FORMAT: &str = "PNG";
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    // Palettes and few bits become 8 bits, of 16 bits the upper 8 are kept: as in Pillow.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let info = decoder.read_header_info().map_err(|e| damaged(FORMAT, e))?;
    let (width, height) = info.size();
    let deep = info.bit_depth == png::BitDepth::Sixteen;
    let grey = matches!(
        info.color_type,
        ColorType::Grayscale | ColorType::GrayscaleAlpha
    );
    check_size(width.into(), height.into())?;
    if deep && grey {
        return Err(DecodeError::DeepGrey);
    }
    let mut reader = decoder.read_info().map_err(|e| damaged(FORMAT, e))?;
    let size = reader.output_buffer_size();
    let mut pixels = vec![0; size.ok_or_else(|| damaged(FORMAT, "its size overflows"))?];
    let frame = reader.next_frame(&mut pixels);
    let frame = frame.map_err(|e| damaged(FORMAT, e))?;
    pixels.truncate(frame.buffer_size());
    reader.finish().map_err(|e| damaged(FORMAT, e))?;
    let (color, _) = reader.output_color_type();
    let pixels = match color {
        ColorType::Rgb => pixels,
        ColorType::Rgba => dropping_alpha(pixels.as_chunks::<4>().0, |[r, g, b, _]| [*r, *g, *b]),
        ColorType::Grayscale => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
        ColorType::GrayscaleAlpha => {
            dropping_alpha(pixels.as_chunks::<2>().0, |[grey, _]| [*grey; 3])
        }
        ColorType::Indexed => return Err(damaged(FORMAT, "its palette is missing")),
    };
    whole(FORMAT, width as usize, height as usize, pixels)
}

fn dropping_alpha<const N: usize>(pixels: &[[u8; N]], rgb: fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
    pixels.iter().flat_map(rgb).collect()
}

/// An image with at least one pixel, and with all of them.
fn whole(
    format: &'static str,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
) -> Result<Rgb, DecodeError> {
    if pixels.is_empty() || pixels.len() != 3 * width * height {
        return Err(damaged(format, "pixels are missing"));
    }
    Ok(Rgb {
        width,
        height,
        pixels,
    })
}
