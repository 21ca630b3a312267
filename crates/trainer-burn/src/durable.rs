//! Files that are either whole or not there.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::error::TrainError;

/// Writes a file through a temporary one in the same folder, synchronised before it is renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let temporary = path.with_added_extension("partial");
    let result = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The write failed already; what is left of it must not be taken for a result.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(TrainError::io(path))
}
