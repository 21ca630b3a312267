//! JSON files that are there whole or not at all.

use std::{fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, WorkbenchError};

/// Writes `value` as indented JSON to `path`.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| WorkbenchError::Internal(format!("{} cannot be JSON: {error}", path.display())))?;
    bytes.push(b'\n');
    greentune_durable::write_atomically(path, &bytes).map_err(WorkbenchError::file("write", path))
}

/// Reads JSON from `path`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(WorkbenchError::file("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| WorkbenchError::Damaged { path: path.to_owned(), reason: error.to_string() })
}
