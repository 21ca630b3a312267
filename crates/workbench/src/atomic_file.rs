//! Files that are there whole or not at all: temporary file in the same folder, fsync, rename.

use std::{fs, io::Write, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, WorkbenchError};

/// Beginning of a temporary file's name.
const TEMPORARY: &str = ".writing-";

/// Removes the temporary files that a killed process left in `folder`, in which nobody else writes now.
pub(crate) fn sweep(folder: &Path) {
    let is_left = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(TEMPORARY);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_left(&entry.file_name())) {
        let _ = fs::remove_file(entry.path());
    }
}

/// Writes `value` as indented JSON to `path`.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| WorkbenchError::Internal(format!("{} cannot be JSON: {error}", path.display())))?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Reads JSON from `path`.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(WorkbenchError::file("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| WorkbenchError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Writes `bytes` to `path`; its folder must exist.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = || WorkbenchError::file("write", path);
    let mut file = new_temporary(folder).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    sync_folder(folder);
    Ok(())
}

fn new_temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; what stays behind should follow the umask.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

// Not every system lets folders be opened; the rename is durable there at the next checkpoint of the file system.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}
