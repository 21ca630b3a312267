//! Where samples come from: what lies at a path, and how one picture of it is read.

mod cifar;
mod folder;
mod idx;
mod parquet;
mod raw;
mod splits;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::ImageDataError,
    part::{Part, Store},
};

/// The form of a data set on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A folder of pictures per class.
    ImageFolder,
    /// CIFAR-10's binaries.
    Cifar10,
    /// CIFAR-100's binaries, with the fine labels.
    Cifar100,
    /// IDX files, as MNIST's.
    Idx,
    /// Parquet in the layout of the Hugging Face Hub.
    Parquet,
}

/// What was found at a path. Every label is below the number of classes.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) classes: Vec<String>,
    pub(crate) train: Part,
    pub(crate) validation: Option<Part>,
    pub(crate) test: Option<Part>,
    pub(crate) warnings: Vec<String>,
}

/// Recognises what lies at `path`. A file of a set stands for its folder, a Parquet file for itself.
pub(crate) fn find(path: &Path, max_memory_bytes: u64) -> Result<Found, ImageDataError> {
    if !path.exists() {
        return Err(ImageDataError::NotFound { path: path.to_owned() });
    }
    if path.is_file() && parquet::is_table(path) {
        return parquet::find(vec![path.to_owned()], max_memory_bytes);
    }
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    if let Some(tables) = parquet::tables(folder)? {
        return parquet::find(tables, max_memory_bytes);
    }
    if let Some(files) = cifar::files(folder)? {
        return cifar::find(&files, max_memory_bytes);
    }
    if let Some(files) = idx::files(folder)? {
        return idx::find(&files, max_memory_bytes);
    }
    if path.is_file() {
        let reason = "it is neither a Parquet file nor beside CIFAR or IDX files".to_owned();
        return Err(ImageDataError::NotRecognised { path: path.to_owned(), reason });
    }
    folder::find(folder)
}

/// What lies in a folder, by name: hidden entries and those of systems left out, links checked.
struct Listing {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// How many entries were left out.
    of_systems: usize,
}

/// Entries that archives, file managers and network drives leave behind, in lower case.
const OF_SYSTEMS: [&str; 7] = [
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
    "system volume information",
];

impl Listing {
    /// Lists `folder`; links must lead to files below `root`.
    fn of(folder: &Path, root: &Root) -> Result<Self, ImageDataError> {
        let (mut files, mut folders, mut of_systems) = (Vec::new(), Vec::new(), 0);
        for entry in fs::read_dir(folder).map_err(ImageDataError::read(folder))? {
            let entry = entry.map_err(ImageDataError::read(folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(ImageDataError::read(folder))?);
            let name = entry.file_name().to_string_lossy().to_lowercase();
            if name.starts_with('.') || OF_SYSTEMS.contains(&name.as_str()) {
                of_systems += 1;
                continue;
            }
            if kind.is_symlink() {
                root.check(&path)?;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() || kind.is_symlink() {
                files.push(path);
            }
        }
        files.sort();
        folders.sort();
        Ok(Self { files, folders, of_systems })
    }
}

/// The folder that links may not leave.
struct Root(PathBuf);

impl Root {
    /// Of a data set in `folder`. In the Hub's cache the files of a snapshot are links into the repository's `blobs`.
    fn of(folder: &Path) -> Result<Self, ImageDataError> {
        let root = folder.canonicalize().map_err(ImageDataError::read(folder))?;
        let snapshots = root.ancestors().find(|ancestor| ancestor.ends_with("snapshots"));
        let repository =
            snapshots.and_then(Path::parent).filter(|repository| repository.join("blobs").is_dir());
        Ok(Self(repository.map_or(root.clone(), Path::to_owned)))
    }

    fn check(&self, link: &Path) -> Result<(), ImageDataError> {
        let target = link.canonicalize().map_err(ImageDataError::read(link))?;
        if target.starts_with(&self.0) && target.is_file() {
            return Ok(());
        }
        Err(ImageDataError::Link { path: link.to_owned(), target })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The different labels, in order: the classes where nobody named any.
fn different(labels: &[i64]) -> Vec<i64> {
    let mut values = labels.to_vec();
    values.sort_unstable();
    values.dedup();
    values
}

/// Names of classes that nobody named.
fn numbered(values: &[i64]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// The labels of a file as places in `values`, which are in order, or the first that is none of them.
fn checked_labels(path: &Path, labels: &[i64], values: &[i64]) -> Result<Vec<u32>, ImageDataError> {
    let check = |(row, label): (usize, &i64)| match values.binary_search(label) {
        Ok(class) => Ok(class as u32),
        Err(_) => Err(ImageDataError::Label {
            path: path.to_owned(),
            sample: format!("image {row}"),
            label: label.to_string(),
            allowed: match values {
                [first, .., last] if last.abs_diff(*first) as usize + 1 == values.len() => {
                    format!("{first} to {last}")
                }
                values => numbered(values).join(", "),
            },
        }),
    };
    labels.iter().enumerate().map(check).collect()
}

fn check_memory(path: &Path, bytes: u64, limit: u64) -> Result<(), ImageDataError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(ImageDataError::TooLarge { path: path.to_owned(), bytes, limit })
}
