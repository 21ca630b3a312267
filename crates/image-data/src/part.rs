//! Samples of a data set: labels at once, pictures by id.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decode::{Header, Image},
    random::{Purpose, Random},
};

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

    /// By id, the place of the sample's class in [`ImageDataset::classes`](crate::ImageDataset::classes).
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

    /// The same samples, whose labels are what `places` has for them.
    pub(crate) fn relabelled(&self, places: &[u32]) -> Self {
        let labels = self.labels.iter().map(|&label| places[label as usize]).collect();
        Self { labels, ..self.clone() }
    }

    pub(crate) fn named<T>(&self, id: u32, result: Result<T, String>) -> Result<T, Unreadable> {
        result.map_err(|reason| Unreadable { name: self.name(id), reason })
    }

    /// Divides into what is left and what is held out of each of so many classes: the share, rounded, at least one image
    /// where there are two, and never all.
    pub(crate) fn hold_out(&self, classes: usize, share: f64, seed: u64) -> (Self, Self) {
        let mut by_class = vec![Vec::new(); classes];
        self.labels.iter().zip(0_u32..).for_each(|(&label, id)| by_class[label as usize].push(id));
        let (mut left, mut held_out) = (Vec::new(), Vec::new());
        for (class, mut ids) in by_class.into_iter().enumerate() {
            let count = (ids.len() as f64 * share).round() as usize;
            let count = count.max(1).min(ids.len().saturating_sub(1));
            Random::new(Purpose::HoldOut, seed, 0, class as u64).choose(&mut ids, count);
            left.extend_from_slice(&ids[count..]);
            held_out.extend_from_slice(&ids[..count]);
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

/// Pictures by row. A reason says what is wrong with one of them; the others are not touched by it.
pub(crate) trait Store: Send + Sync {
    fn image(&self, row: u32) -> Result<Image<'_>, String>;
    fn header(&self, row: u32) -> Result<Header, String>;
    fn name(&self, row: u32) -> String;
}

/// A sample whose picture cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unreadable {
    /// How the sample is called: a path within the data set, or a file and a number.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}
