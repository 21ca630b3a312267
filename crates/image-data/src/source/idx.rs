//! IDX files, as MNIST's: big-endian sizes, then bytes (<http://yann.lecun.com/exdb/mnist/>), plain or gzipped.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::{
    Found, Kind, Listing, Root, check_memory, checked_labels, different, file_name, numbered, raw::Raw,
};
use crate::{decode::Header, error::ImageDataError, part::Part};

/// Images and labels of the parts.
pub(super) struct Files {
    train: Pair,
    test: Option<Pair>,
}

struct Pair {
    images: PathBuf,
    labels: PathBuf,
}

/// The files in `folder`, or where torchvision unpacks them; none if there are none of images for training.
pub(super) fn files(folder: &Path) -> Result<Option<Files>, ImageDataError> {
    let candidates = ["", "raw", "MNIST/raw", "FashionMNIST/raw"].map(|name| folder.join(name));
    for folder in candidates.iter().filter(|folder| folder.is_dir()) {
        let Ok(entries) = Listing::of(folder, &Root::of(folder)?) else { continue };
        let images = |is_wanted: &dyn Fn(&str) -> bool| {
            let is_wanted = |name: &str| name.contains("images") && name.contains("idx") && is_wanted(name);
            pair(
                folder,
                entries.files.iter().filter(|path| is_wanted(&file_name(path))).collect(),
                &entries.files,
            )
        };
        let train = images(&|name| name.contains("train"))?;
        let test =
            images(&|name| !name.contains("train") && (name.contains("t10k") || name.contains("test")))?;
        if let Some(train) = train {
            return Ok(Some(Files { train, test }));
        }
    }
    Ok(None)
}

/// The one file of images and its labels. A file beside its gzipped self is one.
fn pair(folder: &Path, mut images: Vec<&PathBuf>, files: &[PathBuf]) -> Result<Option<Pair>, ImageDataError> {
    images.dedup_by_key(|path| plain_name(path));
    let images = match images[..] {
        [] => return Ok(None),
        [images] => images,
        [first, second, ..] => {
            let reason =
                format!("{} and {} both hold images of one part", file_name(first), file_name(second));
            return Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
        }
    };
    let name = plain_name(images).replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let Some(labels) = files.iter().find(|path| plain_name(path) == name) else {
        let reason = format!("beside {} there is no {name}", file_name(images));
        return Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
    };
    Ok(Some(Pair { images: images.clone(), labels: labels.clone() }))
}

fn plain_name(path: &Path) -> String {
    let name = file_name(path);
    name.strip_suffix(".gz").unwrap_or(&name).to_owned()
}

pub(super) fn find(files: &Files, max_memory_bytes: u64) -> Result<Found, ImageDataError> {
    let (train, train_labels) = read(&files.train, max_memory_bytes)?;
    let values = different(&train_labels);
    let part = |raw, labels: &[i64], path: &Path| {
        Ok::<_, ImageDataError>(Part::new(raw, checked_labels(path, labels, &values)?))
    };
    let test = match &files.test {
        None => None,
        Some(pair) => {
            let (raw, labels) = read(pair, max_memory_bytes)?;
            Some(part(raw, &labels, &pair.labels)?)
        }
    };
    let train = part(train, &train_labels, &files.train.labels)?;
    let classes = numbered(&values);
    Ok(Found { kind: Kind::Idx, classes, train, validation: None, test, warnings: Vec::new() })
}

fn read(pair: &Pair, max_memory_bytes: u64) -> Result<(Raw, Vec<i64>), ImageDataError> {
    let (sizes, pixels) = read_file(&pair.images, max_memory_bytes)?;
    let (width, height, channels) = match sizes[1..] {
        [height, width] => (width, height, 1),
        [height, width, channels @ (1 | 3)] => (width, height, channels as usize),
        _ => {
            let reason = format!("its sizes are {sizes:?}; images × height × width (× 1 or 3) are expected");
            return Err(ImageDataError::broken(&pair.images, reason));
        }
    };
    if width == 0 || height == 0 {
        return Err(ImageDataError::broken(&pair.images, format!("its images are {width}×{height} pixels")));
    }
    let (label_sizes, labels) = read_file(&pair.labels, max_memory_bytes)?;
    if label_sizes != [sizes[0]] {
        let reason = format!("it has labels of sizes {label_sizes:?} for {} images", sizes[0]);
        return Err(ImageDataError::broken(&pair.labels, reason));
    }
    let mut raw = Raw::new(Header { width, height, channels });
    raw.pixels = pixels;
    raw.came_from(&pair.images, labels.len());
    Ok((raw, labels.into_iter().map(i64::from).collect()))
}

/// Sizes and bytes of a file. No more is unpacked than its header announces.
fn read_file(path: &Path, max_memory_bytes: u64) -> Result<(Vec<u32>, Vec<u8>), ImageDataError> {
    let file = BufReader::new(File::open(path).map_err(ImageDataError::read(path))?);
    let mut file: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut word = || -> Result<[u8; 4], ImageDataError> {
        let mut word = [0; 4];
        file.read_exact(&mut word)
            .map_err(|error| ImageDataError::broken(path, format!("no IDX header: {error}")))?;
        Ok(word)
    };
    let [0, 0, 0x08, dimensions @ 1..=4] = word()? else {
        return Err(ImageDataError::broken(path, "it does not begin like an IDX file of unsigned bytes"));
    };
    let sizes: Vec<u32> =
        (0..dimensions).map(|_| word().map(u32::from_be_bytes)).collect::<Result<_, _>>()?;
    let announced = sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(u64::from(size)));
    check_memory(path, announced, max_memory_bytes)?;
    let mut bytes = Vec::new();
    file.take(announced.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| ImageDataError::broken(path, error.to_string()))?;
    if bytes.len() as u64 != announced {
        let found = if bytes.len() as u64 > announced { "more" } else { &format!("only {}", bytes.len()) };
        let reason = format!("its header announces {announced} bytes of sizes {sizes:?}, and it has {found}");
        return Err(ImageDataError::broken(path, reason));
    }
    Ok((sizes, bytes))
}
