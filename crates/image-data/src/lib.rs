//! Image classification data sets: read, decoded, augmented and handed over as rows of `f32`.
//!
//! [`ImageDataset::open`] recognises what lies at a path: folders of pictures, CIFAR's binaries, IDX files (MNIST) or
//! Parquet in the layout of the Hugging Face Hub. Its [`Part`]s give labels at once and pictures by id, so that a
//! sample that is not selected is not decoded either. A [`Loader`] renders batches of ids ahead of training, in
//! threads; every random choice is a function of seed, epoch and id, never of a thread. [`inspect`] says what a data
//! set is without decoding it.
//!
//! Nothing here knows tensors: a batch is `n · height · width` rows of `channels` values (NHWC, flattened).

mod augment;
mod dataset;
mod decode;
mod error;
mod inspect;
mod loader;
mod mirror;
mod normalise;
mod part;
mod random;
mod render;
mod source;
mod statistics;

pub use augment::{Augmentation, Crop};
pub use dataset::{ImageDataset, OpenOptions, TestSet, ValidationFrom};
pub use decode::{Header, Image, decode};
pub use error::ImageDataError;
pub use inspect::{ClassCounts, Report, Sizes, inspect};
pub use loader::{Batch, Loader};
pub use mirror::{MirrorTest, reason_against_mirroring, test_mirroring};
pub use normalise::Normalisation;
pub use part::{Part, Unreadable};
pub use render::{Pipeline, Renderer, View};
pub use source::Kind;
