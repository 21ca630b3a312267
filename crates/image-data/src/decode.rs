//! From the bytes of a picture to 8-bit grey or RGB.

use std::{
    borrow::Cow,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

/// Pixels of the largest picture that is decoded: where PIL begins to warn of decompression bombs.
pub(crate) const MAX_PIXELS: u64 = 89_478_485;

/// 8-bit pixels, row by row, `channels` bytes each: 1 is grey, 3 is RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// 1 or 3.
    pub channels: usize,
    /// `height · width · channels` bytes.
    pub pixels: Cow<'a, [u8]>,
}

/// What a picture's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// 1 for grey, 3 for everything else.
    pub channels: usize,
}

/// Decodes a picture; its format is told from its bytes, not from a name.
///
/// 16 bits are rounded to 8, palettes and CMYK become RGB, transparency is dropped, and the orientation that EXIF notes
/// is ignored, all as PIL's `convert("RGB")` in torchvision's loader does (but for 16-bit grey, which PIL clips). Of
/// animations and multi-page files the first picture is taken. The error says what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<Image<'static>, String> {
    guarded(|| {
        let (format, decoder) = decoder(bytes)?;
        if format == ImageFormat::Jpeg && !is_complete_jpeg(bytes) {
            return Err("the JPEG is truncated".to_owned());
        }
        let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
        let (width, height) = (image.width(), image.height());
        let (channels, pixels) = match image {
            DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
            DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_) => {
                (1, image.into_luma8().into_raw())
            }
            image => (3, image.into_rgb8().into_raw()),
        };
        Ok(Image { width, height, channels, pixels: Cow::Owned(pixels) })
    })
}

/// Reads a picture's header alone.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, String> {
    guarded(|| {
        let (_, decoder) = decoder(bytes)?;
        let (width, height) = decoder.dimensions();
        let channels = if decoder.color_type().has_color() { 3 } else { 1 };
        Ok(Header { width, height, channels })
    })
}

impl Image<'_> {
    /// The same picture with `channels` (1 or 3): grey is repeated, colour is weighed by ITU-R BT.601 in the integers
    /// that PIL uses (`Convert.c`, `L24`).
    pub fn with_channels(&self, channels: usize) -> Image<'_> {
        let pixels = match (self.channels, channels) {
            (1, 3) => Cow::Owned(self.pixels.iter().flat_map(|&grey| [grey; 3]).collect()),
            (3, 1) => Cow::Owned(self.pixels.as_chunks().0.iter().copied().map(luma).collect()),
            _ => Cow::Borrowed(&*self.pixels),
        };
        Image { width: self.width, height: self.height, channels, pixels }
    }
}

fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

fn decoder(bytes: &[u8]) -> Result<(ImageFormat, impl ImageDecoder + '_), String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format().ok_or("neither JPEG, PNG, WebP, BMP, GIF, TIFF nor PNM")?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("{width}×{height} pixels are too many: {MAX_PIXELS} are allowed"));
    }
    if width == 0 || height == 0 {
        return Err("it has no pixels".to_owned());
    }
    Ok((format, decoder))
}

/// Whether the JPEG at the beginning of `bytes` ends with its marker (ITU-T T.81, B.1.1). The decoder fills what is
/// missing with grey. What follows the end is another matter: phones append films and further pictures.
fn is_complete_jpeg(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    // Start of image, restarts and TEM stand alone; every other marker is followed by its segment's length.
    let stands_alone = |marker: u8| matches!(marker, 0x01 | 0xd0..=0xd8);
    let mut at = 0;
    while let Some(place) = next_marker(bytes, at) {
        let marker = bytes[place + 1];
        if marker == END {
            return true;
        }
        at = place + 2;
        if !stands_alone(marker) {
            let Some(length) = bytes.get(at..at + 2) else { return false };
            at += usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        if marker == SCAN {
            at = end_of_scan(bytes, at);
        }
    }
    false
}

/// Where the next marker begins from `at` on.
fn next_marker(bytes: &[u8], at: usize) -> Option<usize> {
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff);
    bytes.get(at..)?.windows(2).position(is_marker).map(|found| at + found)
}

/// Where the entropy-coded data from `at` on end: before the first marker that is no restart.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(place) = next_marker(bytes, at) {
        if !(0xd0..=0xd7).contains(&bytes[place + 1]) {
            return place;
        }
        at = place + 2;
    }
    bytes.len()
}

/// Runs a decoder, whose panics say that the bytes contradict themselves.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("its content contradicts itself".to_owned()))
}
