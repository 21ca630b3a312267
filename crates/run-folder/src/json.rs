//! JSON files that are there whole or not at all.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, RunFolderError};

/// Bytes of a file at most. The largest are manifests, with a line per epoch.
const MOST_BYTES: u64 = 256 << 20;

/// Writes `value` as indented JSON to `path`, whole or not at all.
///
/// Errors: the file cannot be written.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| RunFolderError::Internal(format!("{} cannot be JSON: {error}", path.display())))?;
    bytes.push(b'\n');
    greentune_durable::write_atomically(path, &bytes).map_err(RunFolderError::file("write", path))
}

/// Reads JSON from `path`.
///
/// Errors: the file cannot be read ([`RunFolderError::File`]) or understood ([`RunFolderError::Damaged`]).
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(path, &read_bytes(path)?)
}

/// `bytes` of the file at `path`, understood.
/// The bytes of such a file, which somebody else may have written.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    greentune_durable::read_at_most(path, MOST_BYTES).map_err(RunFolderError::file("read", path))
}

pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| RunFolderError::Damaged { path: path.to_owned(), reason: error.to_string() })
}
