//! What a data set is, without decoding it.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    dataset::{ImageDataset, OpenOptions, ValidationFrom},
    error::ImageDataError,
    part::{Part, Unreadable},
    source::Kind,
};

/// Headers that are read of each part, evenly over it.
const HEADERS: usize = 64;
/// From here on the largest class is called much larger than the smallest.
const IMBALANCE: f64 = 10.0;

/// What a data set is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// What was named.
    pub path: PathBuf,
    /// Its form.
    pub kind: Kind,
    /// Classes in the order of their labels.
    pub classes: Vec<ClassCounts>,
    /// Training images.
    pub train: u64,
    /// Validation images.
    pub validation: u64,
    /// Where they come from.
    pub validation_from: ValidationFrom,
    /// Test images beside them.
    pub test: u64,
    /// 1 when all pictures that were looked at are grey, else 3.
    pub channels: usize,
    /// Sizes of the pictures that were looked at.
    pub sizes: Sizes,
    /// How many pictures were looked at.
    pub sampled: u64,
    /// Those of them that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Images of the largest class of the training images over those of the smallest that has any.
    pub imbalance: f64,
    /// Warnings, in sentences.
    pub warnings: Vec<String>,
}

/// Images of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassCounts {
    /// The class.
    pub name: String,
    /// Training images.
    pub train: u64,
    /// Validation images.
    pub validation: u64,
    /// Test images.
    pub test: u64,
}

/// Sizes that were seen, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sizes {
    /// The narrowest.
    pub min_width: u32,
    /// The widest.
    pub max_width: u32,
    /// The lowest.
    pub min_height: u32,
    /// The highest.
    pub max_height: u32,
}

impl Sizes {
    /// Whether all pictures have one size.
    pub fn is_uniform(&self) -> bool {
        self.min_width == self.max_width && self.min_height == self.max_height
    }
}

/// Says what the data set at `path` is. Labels are read in full, pictures only the headers of some. An error where it
/// cannot be trained on, also when more than a tenth of those pictures cannot be read.
pub fn inspect(path: &Path, options: &OpenOptions) -> Result<Report, ImageDataError> {
    let dataset = ImageDataset::open(path, options)?;
    let mut seen = Seen { sizes: None, channels: 1, sampled: 0, unreadable: Vec::new() };
    let parts = [Some(&dataset.train), Some(&dataset.validation), dataset.test.as_ref()];
    parts.into_iter().flatten().for_each(|part| seen.look_at(part));
    let (failed, tried) = (seen.unreadable.len() as u64, seen.sampled);
    let sizes = match (seen.sizes, seen.unreadable.first()) {
        (Some(sizes), _) if failed * 10 <= tried => sizes,
        (_, Some(example)) => {
            return Err(ImageDataError::TooManyUnreadable { failed, tried, example: example.clone() });
        }
        (_, None) => return Err(ImageDataError::EmptyPart { path: path.to_owned(), part: "training" }),
    };
    let counts = |part: &Part| part.counts(dataset.classes.len());
    let (train, validation) = (counts(&dataset.train), counts(&dataset.validation));
    let test = dataset.test.as_ref().map_or(vec![0; dataset.classes.len()], counts);
    let classes = dataset.classes.iter().enumerate().map(|(class, name)| ClassCounts {
        name: name.clone(),
        train: train[class],
        validation: validation[class],
        test: test[class],
    });
    let present = || train.iter().copied().filter(|&count| count > 0);
    let imbalance = present().max().unwrap_or(1) as f64 / present().min().unwrap_or(1) as f64;
    let mut warnings = dataset.warnings.clone();
    if imbalance >= IMBALANCE {
        warnings.push(format!(
            "the largest class has {imbalance:.0} times as many training images as the smallest: judge by accuracy per \
             class"
        ));
    }
    if failed > 0 {
        warnings.push(format!("{failed} of {tried} images that were looked at cannot be read"));
    }
    Ok(Report {
        path: path.to_owned(),
        kind: dataset.kind,
        classes: classes.collect(),
        train: dataset.train.len() as u64,
        validation: dataset.validation.len() as u64,
        validation_from: dataset.validation_from,
        test: test.iter().sum(),
        channels: seen.channels,
        sizes,
        sampled: tried,
        unreadable: seen.unreadable,
        imbalance,
        warnings,
    })
}

struct Seen {
    sizes: Option<Sizes>,
    channels: usize,
    sampled: u64,
    unreadable: Vec<Unreadable>,
}

impl Seen {
    fn look_at(&mut self, part: &Part) {
        let count = part.len().min(HEADERS);
        for nth in 0..count {
            self.sampled += 1;
            let header = match part.header((nth * part.len() / count) as u32) {
                Ok(header) => header,
                Err(unreadable) => {
                    self.unreadable.push(unreadable);
                    continue;
                }
            };
            self.channels = self.channels.max(header.channels);
            let (width, height) = (header.width, header.height);
            let sizes = self.sizes.get_or_insert(Sizes {
                min_width: width,
                max_width: width,
                min_height: height,
                max_height: height,
            });
            sizes.min_width = sizes.min_width.min(width);
            sizes.max_width = sizes.max_width.max(width);
            sizes.min_height = sizes.min_height.min(height);
            sizes.max_height = sizes.max_height.max(height);
        }
    }
}
