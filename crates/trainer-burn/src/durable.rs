//! Files that are either whole or not there.

use std::path::Path;

use crate::error::TrainError;

/// Writes a file through a temporary one in the same folder, synchronised before it is renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    greentune_durable::write_atomically(path, bytes).map_err(TrainError::io(path))
}
