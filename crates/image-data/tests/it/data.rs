//! Data sets that tests write.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use greentune_core_config::Diagnostic;
use greentune_image_data::{
    Augmentation, ImageDataError, ImageDataset, Normalisation, OpenOptions, Pipeline, decode,
};
use image::{DynamicImage, ImageFormat, RgbImage};

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A picture whose pixels all differ from their neighbours.
pub fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let at = (seed.wrapping_mul(31) + y * width + x).wrapping_mul(2_654_435_761);
        image::Rgb([(at >> 24) as u8, (at >> 16) as u8, (at >> 8) as u8])
    })
}

pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(picture(width, height, seed), ImageFormat::Png)
}

pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes `count` pictures of 8 × 6 into each of the folders.
pub fn folders(root: &Path, counts: &[(&str, u32)]) {
    for (folder, count) in counts {
        fs::create_dir_all(root.join(folder)).unwrap();
        (0..*count).for_each(|n| write(&root.join(folder).join(format!("{n:03}.png")), png(8, 6, n)));
    }
}

/// An IDX file of bytes.
pub fn idx(sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let header = [0, 0, 8, sizes.len() as u8].into_iter();
    header.chain(sizes.iter().flat_map(|size| size.to_be_bytes())).chain(bytes.iter().copied()).collect()
}

/// A record of CIFAR: labels, then a plane of each colour: its number times ten, plus the column.
pub fn cifar_record(labels: &[u8]) -> Vec<u8> {
    let planes = [10_u8, 20, 30].into_iter();
    let planes =
        planes.flat_map(|base| (0..1024_u32).map(move |at| base + (at % 32) as u8 + (at / 32 % 2) as u8));
    labels.iter().copied().chain(planes).collect()
}

pub fn open(path: &Path) -> Result<ImageDataset, ImageDataError> {
    ImageDataset::open(path, &OpenOptions::default())
}

/// The code and message of the problem of opening `path`.
pub fn refusal(path: &Path) -> (String, String) {
    let problem = open(path).unwrap_err().problem();
    assert!(problem.hint.is_some(), "{problem}");
    (problem.code, problem.message)
}

pub fn pipeline(width: u32, height: u32, channels: usize, augmentation: Augmentation) -> Pipeline {
    Pipeline {
        height,
        width,
        channels,
        crop_fraction: 1.0,
        augmentation,
        normalisation: Normalisation::none(channels),
        seed: 7,
    }
}

pub fn pixels(name: &str) -> Vec<u8> {
    decode(&fs::read(fixture(name)).unwrap()).unwrap().pixels.into_owned()
}

/// Largest and mean difference of two pictures, in levels of 256.
pub fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let mean = differences().map(f64::from).sum::<f64>() / a.len() as f64;
    (differences().max().unwrap_or(0), mean)
}
