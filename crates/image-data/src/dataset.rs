//! A data set of images: classes, and parts with labels at once and pictures by id.

use std::{fmt, path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decode::{Header, Image},
    error::ImageDataError,
    random::{Purpose, Random},
    source::{self, Found, Store, Unreadable},
};

/// In which form a data set lies on the disk.
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

/// Where the validation images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValidationFrom {
    /// A part of their own.
    Own,
    /// The test part, for there is no other: a choice that is made by its figures is no longer tested by it.
    Test,
    /// A share of every class of the training images.
    HeldOut,
}

/// How a data set is opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenOptions {
    /// Share of every class that is held out for validation where there is neither a validation nor a test part.
    pub held_out: f64,
    /// What is held out is a function of it.
    pub seed: u64,
    /// Bytes that one part may take in memory. Folders of pictures take none.
    pub max_memory_bytes: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { held_out: 0.1, seed: 0, max_memory_bytes: 8 << 30 }
    }
}

/// A data set of images for classification.
#[derive(Clone, Debug)]
pub struct ImageDataset {
    /// Its form.
    pub kind: Kind,
    /// Names of the classes; a label is a place in it.
    pub classes: Vec<String>,
    /// What is learnt from.
    pub train: Part,
    /// What progress is measured on.
    pub validation: Part,
    /// Where `validation` comes from.
    pub validation_from: ValidationFrom,
    /// What is kept for the end, where there is such a part beside `validation`.
    pub test: Option<Part>,
    /// What is odd and no error, in sentences.
    pub warnings: Vec<String>,
}

impl ImageDataset {
    /// Opens the data set at `path`, a file or a folder. Pictures in folders and Parquet files are not decoded yet.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, ImageDataError> {
        if !(options.held_out > 0.0 && options.held_out < 1.0) {
            let found = options.held_out.to_string();
            return Err(ImageDataError::Setting { key: "held_out", found, allowed: "between 0 and 1" });
        }
        let Found { kind, classes, train, validation, test, mut warnings } =
            source::find(path, options.max_memory_bytes)?;
        warnings.extend(check_classes(path, kind, &classes, &train)?);
        let (train, validation, validation_from, test) = match (validation, test) {
            (Some(validation), test) => (train, validation, ValidationFrom::Own, test),
            (None, Some(test)) => (train, test, ValidationFrom::Test, None),
            (None, None) => {
                let (train, held_out) = train.hold_out(classes.len(), options);
                (train, held_out, ValidationFrom::HeldOut, None)
            }
        };
        if validation.is_empty() {
            return Err(ImageDataError::EmptyPart { path: path.to_owned(), part: "validation" });
        }
        warnings.extend(absent(&classes, &validation, "validation"));
        Ok(Self { kind, classes, train, validation, validation_from, test, warnings })
    }
}

/// Images to test a classifier on.
#[derive(Clone, Debug)]
pub struct TestSet {
    /// The images; a label is a place among the classes that were asked for.
    pub part: Part,
    /// Whether they are all of the data set, which has neither a test nor a validation part.
    pub is_all: bool,
}

impl TestSet {
    /// Opens the data set at `path` for a classifier of these `classes`: its test part, else its validation part, else
    /// all of its images. A class that the classifier does not know is refused; it need not meet all that it knows.
    pub fn open(path: &Path, classes: &[String], max_memory_bytes: u64) -> Result<Self, ImageDataError> {
        let found = source::find(path, max_memory_bytes)?;
        let apart = found.test.or(found.validation);
        let is_all = apart.is_none();
        let part = apart.unwrap_or(found.train);
        if part.is_empty() {
            return Err(ImageDataError::EmptyPart { path: path.to_owned(), part: "test" });
        }
        let place = |class: &String| {
            let place = classes.iter().position(|known| known == class);
            place.map(|place| place as u32).ok_or_else(|| ImageDataError::UnknownClass {
                path: path.to_owned(),
                class: class.clone(),
                known: classes.join(", "),
            })
        };
        let places = found.classes.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let labels = part.labels.iter().map(|&label| places[label as usize]).collect();
        Ok(Self { part: Part { labels, ..part }, is_all })
    }
}

/// Refuses what cannot be learnt from. A class without a picture is a mistake where it is an empty folder, and told
/// where a list of names has it.
fn check_classes(
    path: &Path,
    kind: Kind,
    classes: &[String],
    train: &Part,
) -> Result<Option<String>, ImageDataError> {
    if train.is_empty() {
        return Err(ImageDataError::EmptyPart { path: path.to_owned(), part: "training" });
    }
    let counts = train.counts(classes.len());
    if let Some(empty) = counts.iter().position(|&count| count == 0).filter(|_| kind == Kind::ImageFolder) {
        return Err(ImageDataError::EmptyClass { class: classes[empty].clone(), path: path.to_owned() });
    }
    let mut present = classes.iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(class, _)| class);
    match (present.next(), present.next()) {
        (Some(only), None) => {
            let found = format!("images of one class (\"{only}\")");
            Err(ImageDataError::TooFewClasses { path: path.to_owned(), found })
        }
        _ => Ok(absent(classes, train, "training")),
    }
}

/// Says which classes a part has no images of.
fn absent(classes: &[String], part: &Part, name: &str) -> Option<String> {
    let counts = part.counts(classes.len());
    let absent = classes.iter().zip(counts).filter(|(_, count)| *count == 0);
    let absent: Vec<&str> = absent.map(|(class, _)| class.as_str()).collect();
    let more = if absent.len() > 5 { ", …" } else { "" };
    let named = absent.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let count = absent.len();
    (count > 0).then(|| format!("{count} of {} classes have no {name} images: {named}{more}", classes.len()))
}

/// Samples of a data set, by ids from 0. Cheap to clone.
#[derive(Clone)]
pub struct Part {
    store: Arc<dyn Store>,
    /// By id, the sample's place in the store.
    rows: Arc<[u32]>,
    labels: Arc<[u32]>,
}

impl Part {
    /// All of a store, whose samples have these labels.
    pub(crate) fn new(store: impl Store + 'static, labels: Vec<u32>) -> Self {
        Self { store: Arc::new(store), rows: (0..labels.len() as u32).collect(), labels: labels.into() }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// By id, the place of the sample's class in [`ImageDataset::classes`].
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Samples per class.
    pub fn counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// Decodes a sample's picture; one that is held in memory raw is borrowed.
    ///
    /// # Panics
    /// If `id` is not below [`Part::len`], as [`Part::name`] does.
    pub fn image(&self, id: u32) -> Result<Image<'_>, Unreadable> {
        self.named(id, self.store.image(self.rows[id as usize]))
    }

    /// Reads what a sample's header says, without decoding the picture.
    pub fn header(&self, id: u32) -> Result<Header, Unreadable> {
        self.named(id, self.store.header(self.rows[id as usize]))
    }

    /// How a sample is called: a path within the data set, or a file and a number.
    pub fn name(&self, id: u32) -> String {
        self.store.name(self.rows[id as usize])
    }

    pub(crate) fn named<T>(&self, id: u32, result: Result<T, String>) -> Result<T, Unreadable> {
        result.map_err(|reason| Unreadable { name: self.name(id), reason })
    }

    /// Divides into what is left and what is held out of every class: the share, rounded, at least one image where
    /// there are two, and never all.
    fn hold_out(self, classes: usize, options: &OpenOptions) -> (Self, Self) {
        let mut by_class = vec![Vec::new(); classes];
        self.labels.iter().zip(0_u32..).for_each(|(&label, id)| by_class[label as usize].push(id));
        let (mut left, mut held_out) = (Vec::new(), Vec::new());
        for (class, mut ids) in by_class.into_iter().enumerate() {
            let share = (ids.len() as f64 * options.held_out).round() as usize;
            let share = share.max(1).min(ids.len().saturating_sub(1));
            Random::new(Purpose::HoldOut, options.seed, 0, class as u64).choose(&mut ids, share);
            left.extend_from_slice(&ids[share..]);
            held_out.extend_from_slice(&ids[..share]);
        }
        (self.select(left), self.select(held_out))
    }

    fn select(&self, mut ids: Vec<u32>) -> Self {
        ids.sort_unstable();
        let of = |values: &[u32]| ids.iter().map(|&id| values[id as usize]).collect();
        Self { store: self.store.clone(), rows: of(&self.rows), labels: of(&self.labels) }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("samples", &self.len()).finish_non_exhaustive()
    }
}
