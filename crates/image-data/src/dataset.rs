//! A data set of images: its classes and its parts.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::ImageDataError,
    part::Part,
    source::{self, Found, Kind},
};

/// Where the validation images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValidationFrom {
    /// A part of their own.
    Own,
    /// The test part, because there is no other. It no longer tests a choice that was made by its figures.
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
    /// Warnings, in sentences.
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
                let (train, held_out) = train.hold_out(classes.len(), options.held_out, options.seed);
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
        Ok(Self { part: part.relabelled(&places), is_all })
    }
}

/// Refuses a data set that cannot be trained on. A class without pictures is an error where it is an empty folder, and
/// a warning where only a list of names has it.
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
