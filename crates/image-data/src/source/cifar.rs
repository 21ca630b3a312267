//! CIFAR-10 and CIFAR-100 in their binary version (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of one or
//! two label bytes and 3072 bytes of 32 × 32 pixels, the red ones first, then green, then blue.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Found, Kind, Listing, Root, check_memory, checked_labels, file_name, numbered, raw::Raw};
use crate::{decode::Header, error::ImageDataError, part::Part};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// CIFAR-10's files of training images.
const TENS: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];

/// The files of one of the two data sets.
pub(super) struct Files {
    kind: Kind,
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
    names: Option<PathBuf>,
}

/// The files in `folder` or in the sub-folder that the archives unpack to; none if it is no CIFAR.
pub(super) fn files(folder: &Path) -> Result<Option<Files>, ImageDataError> {
    let candidates = ["", "cifar-10-batches-bin", "cifar-100-binary"].map(|name| folder.join(name));
    for folder in candidates.iter().filter(|folder| folder.is_dir()) {
        let Ok(entries) = Listing::of(folder, &Root::of(folder)?) else { continue };
        let with = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<PathBuf> {
            entries.files.iter().filter(|path| is_wanted(&file_name(path))).cloned().collect()
        };
        let tens = with(&|name| TENS.contains(&name));
        if !tens.is_empty() {
            let (test, names) =
                (with(&|name| name == "test_batch.bin"), with(&|name| name == "batches.meta.txt"));
            return Ok(Some(Files {
                kind: Kind::Cifar10,
                train: tens,
                test,
                names: names.into_iter().next(),
            }));
        }
        let hundreds = with(&|name| name == "train.bin");
        if !hundreds.is_empty() {
            let (test, names) =
                (with(&|name| name == "test.bin"), with(&|name| name == "fine_label_names.txt"));
            let names = names.into_iter().next();
            return Ok(Some(Files { kind: Kind::Cifar100, train: hundreds, test, names }));
        }
    }
    Ok(None)
}

pub(super) fn find(files: &Files, max_memory_bytes: u64) -> Result<Found, ImageDataError> {
    let (label_bytes, classes) = if files.kind == Kind::Cifar10 { (1, 10) } else { (2, 100) };
    let values: Vec<i64> = (0..).take(classes).collect();
    let classes = match &files.names {
        None => numbered(&values),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(ImageDataError::read(path))?;
            let names: Vec<String> =
                text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            if names.len() != classes {
                let reason = format!("it names {} classes; {classes} are expected", names.len());
                return Err(ImageDataError::broken(path, reason));
            }
            names
        }
    };
    let read = |paths| part(paths, label_bytes, &values, max_memory_bytes);
    let mut warnings = Vec::new();
    if files.kind == Kind::Cifar10 && files.train.len() != TENS.len() {
        warnings.push(format!("{} of {} training files are there", files.train.len(), TENS.len()));
    }
    let test = if files.test.is_empty() { None } else { Some(read(&files.test)?) };
    Ok(Found { kind: files.kind, train: read(&files.train)?, validation: None, test, classes, warnings })
}

/// Reads files of records; the last label byte is the finest.
fn part(
    paths: &[PathBuf],
    label_bytes: usize,
    values: &[i64],
    max_memory_bytes: u64,
) -> Result<Part, ImageDataError> {
    let mut raw = Raw::new(Header { width: SIDE as u32, height: SIDE as u32, channels: 3 });
    let (mut labels, record) = (Vec::new(), label_bytes + 3 * PIXELS);
    for path in paths {
        let len = fs::metadata(path).map_err(ImageDataError::read(path))?.len();
        check_memory(path, raw.pixels.len() as u64 + len, max_memory_bytes)?;
        let bytes = fs::read(path).map_err(ImageDataError::read(path))?;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let reason = format!(
                "it has {} bytes, which is no whole number of records of {record} bytes: it is truncated or of another \
                 version",
                bytes.len()
            );
            return Err(ImageDataError::broken(path, reason));
        }
        let mut of_file = Vec::with_capacity(bytes.len() / record);
        raw.pixels.reserve(bytes.len());
        for record in bytes.chunks_exact(record) {
            of_file.push(i64::from(record[label_bytes - 1]));
            let planes = &record[label_bytes..];
            raw.pixels
                .extend((0..PIXELS).flat_map(|at| [0, 1, 2].map(|channel| planes[channel * PIXELS + at])));
        }
        raw.came_from(path, of_file.len());
        labels.extend(checked_labels(path, &of_file, values)?);
    }
    Ok(Part::new(raw, labels))
}
