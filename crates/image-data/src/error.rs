//! What can go wrong with a data set of images.

use std::path::{Path, PathBuf};

use greentune_core_config::{Diagnostic, FileFault, Location, Problem, ProblemKind};

use crate::part::Unreadable;

/// Why a data set cannot be used, or a batch of it cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageDataError {
    /// Nothing is there.
    #[error("{path} does not exist", path = path.display())]
    NotFound {
        /// What was named.
        path: PathBuf,
    },
    /// What is there is no data set of images.
    #[error("{path} is no data set of images: {reason}", path = path.display())]
    NotRecognised {
        /// What was named.
        path: PathBuf,
        /// What was looked for and not found.
        reason: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A link that is not followed.
    #[error("{path} is a link to {target}; only links to files inside the data set's folder are followed",
        path = path.display(), target = target.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Fewer than two classes.
    #[error("{path} has {found}; classification needs two classes at least", path = path.display())]
    TooFewClasses {
        /// The data set.
        path: PathBuf,
        /// The classes that were found, in words.
        found: String,
    },
    /// A class without training images.
    #[error("class \"{class}\" has no training images in {path}", path = path.display())]
    EmptyClass {
        /// The class.
        class: String,
        /// The data set.
        path: PathBuf,
    },
    /// A class that a classifier does not know.
    #[error("{path} has the class \"{class}\", which the classifier does not know; it knows {known}",
        path = path.display())]
    UnknownClass {
        /// The data set.
        path: PathBuf,
        /// The class.
        class: String,
        /// What the classifier knows.
        known: String,
    },
    /// A part without images.
    #[error("{path} has no {part} images", path = path.display())]
    EmptyPart {
        /// The data set.
        path: PathBuf,
        /// `training`, `validation` or `test`.
        part: &'static str,
    },
    /// A label that is none of the classes.
    #[error("{sample} in {path} has the label {label}; allowed are {allowed}", path = path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Which sample.
        sample: String,
        /// What it says.
        label: String,
        /// The labels that there are.
        allowed: String,
    },
    /// A file that is not what its name says.
    #[error("{path} is broken: {reason}", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Images that have to be held in memory and are too many.
    #[error("{path} takes {bytes} bytes in memory; the limit is {limit}", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it takes.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// More than a tenth of the samples could not be read.
    #[error("{failed} of {tried} images could not be read, more than a tenth; one of them: {example}")]
    TooManyUnreadable {
        /// Samples that could not be read.
        failed: u64,
        /// Samples that were tried.
        tried: u64,
        /// One of them.
        example: Unreadable,
    },
    /// A sample that the part does not have.
    #[error("there is no sample {id}; the part has {len}")]
    UnknownSample {
        /// What was asked for.
        id: u32,
        /// How many there are.
        len: usize,
    },
    /// A setting that makes no sense.
    #[error("{key} is {found}; allowed is {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would make sense.
        allowed: &'static str,
    },
    /// A loading thread cannot be started, or ended without a result.
    #[error("the loading threads cannot go on: {0}")]
    Thread(String),
}

impl ImageDataError {
    /// Shorthand for `map_err` on an operation of the file system.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn broken(path: &Path, reason: impl Into<String>) -> Self {
        Self::Broken { path: path.to_owned(), reason: reason.into() }
    }

    fn parts(&self) -> (ProblemKind, &'static str, Option<&Path>, &'static str) {
        use ProblemKind::{Internal, InvalidInput, NotFound, Unavailable};
        match self {
            Self::NotFound { path } => {
                (NotFound, "images.not_found", Some(path), "Check the path's spelling.")
            }
            Self::NotRecognised { path, .. } => (
                InvalidInput,
                "images.not_recognised",
                Some(path),
                "Name a folder of one sub-folder per class, or of CIFAR binaries, IDX files or Parquet files \
                 (docs/image-data.md).",
            ),
            Self::Read { path, source } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code(), Some(path), fault.hint())
            }
            Self::Link { path, .. } => {
                (InvalidInput, "images.link", Some(path), "Put the images themselves into the folder.")
            }
            Self::TooFewClasses { path, .. } => (
                InvalidInput,
                "images.too_few_classes",
                Some(path),
                "One sub-folder per class is expected, below train/ and val/ where there are such.",
            ),
            Self::EmptyClass { path, .. } => (
                InvalidInput,
                "images.empty_class",
                Some(path),
                "Add images of it (jpg, png, webp, bmp, gif, tiff) or remove the class.",
            ),
            Self::UnknownClass { path, .. } => (
                InvalidInput,
                "images.unknown_class",
                Some(path),
                "Rename it as the classifier has it (config.json beside its weights), or leave it out.",
            ),
            Self::EmptyPart { path, .. } => (
                InvalidInput,
                "images.empty_part",
                Some(path),
                "Add images, or remove the empty part so that one is held out.",
            ),
            Self::Label { path, .. } => {
                (InvalidInput, "images.label", Some(path), "Correct the label or the list of classes.")
            }
            Self::Broken { path, .. } => {
                (InvalidInput, "images.broken_file", Some(path), "Download or write the file again.")
            }
            Self::TooLarge { path, .. } => (
                InvalidInput,
                "images.too_large",
                Some(path),
                "Write the images as files, a folder per class: those are read one by one.",
            ),
            Self::TooManyUnreadable { .. } => (
                InvalidInput,
                "images.too_many_unreadable",
                None,
                "Check how the images were written or downloaded; the warnings name them.",
            ),
            Self::UnknownSample { .. } => {
                (Internal, "images.unknown_sample", None, "This is a defect of greentune: please report it.")
            }
            Self::Setting { .. } => (InvalidInput, "images.setting", None, "Correct the setting."),
            Self::Thread(_) => {
                (Unavailable, "images.thread", None, "Raise the limit on threads of this user, or use fewer.")
            }
        }
    }
}

impl Diagnostic for ImageDataError {
    fn problem(&self) -> Problem {
        let (kind, code, path, hint) = self.parts();
        let mut problem = Problem::new(kind, code, self.to_string()).with_hint(hint);
        if let Some(path) = path {
            problem = problem.at(Location { file: Some(path.to_owned()), ..Location::default() });
        }
        if let Self::Setting { key, .. } = self {
            problem = problem.at_key(*key);
        }
        problem
    }
}
