//! Fetched figures in a file, so that runs share them. What cannot be read counts as nothing: it is only a cache.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::service::Reading;
use crate::{CarbonError, files::durable};

const FORMAT_VERSION: u32 = 1;
/// A file that is larger was not written here.
const LARGEST_FILE: u64 = 1 << 20;
/// Threads of this program write one after the other; of two programs the later one wins.
static WRITING: Mutex<()> = Mutex::new(());

#[derive(Debug)]
pub(super) struct Cache {
    file: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Contents {
    format_version: u32,
    /// By address and query.
    readings: BTreeMap<String, Reading>,
}

impl Cache {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// The figure for `key` that can still be used.
    pub(super) fn get(&self, key: &str) -> Option<Reading> {
        self.read().remove(key)
    }

    /// Keeps `reading`, and drops those that nobody can use any more.
    pub(super) fn put(&self, key: &str, reading: &Reading) -> Result<(), CarbonError> {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut readings = self.read();
        readings.insert(key.to_owned(), reading.clone());
        let contents = Contents { format_version: FORMAT_VERSION, readings };
        let text = serde_json::to_vec_pretty(&contents)
            .map_err(|error| CarbonError::malformed(&self.file, None, error.to_string()))?;
        durable::replace(&self.file, &text)
    }

    fn read(&self) -> BTreeMap<String, Reading> {
        let small = fs::metadata(&self.file).is_ok_and(|file| file.len() <= LARGEST_FILE);
        let text = if small { fs::read(&self.file).unwrap_or_default() } else { Vec::new() };
        let contents: Contents = serde_json::from_slice(&text).unwrap_or_default();
        if contents.format_version != FORMAT_VERSION {
            return BTreeMap::new();
        }
        let now = Timestamp::now();
        contents.readings.into_iter().filter(|(_, reading)| reading.is_usable(now)).collect()
    }
}
