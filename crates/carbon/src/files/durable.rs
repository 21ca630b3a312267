//! Files that are there in full or not at all, and that writers take turns at.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::CarbonError;

/// A writer holds a lock for milliseconds; one that is held for longer is stuck, and training must not wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Replaces `path` by `contents`; its folder is made where it is missing.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), CarbonError> {
    folder_of(path)?;
    greentune_durable::write_atomically(path, contents).map_err(CarbonError::file("write", path))
}

/// Waits for the other writers of `path`'s folder; the lock ends when the file is dropped, or its process dies.
///
/// The lock is on a file of its own: one on `path` would stay with the old file when `path` is replaced.
/// A file system without locks gives none, and no error either.
pub(crate) fn lock(path: &Path) -> Result<File, CarbonError> {
    let beside: PathBuf = folder_of(path)?.join(".emissions.lock");
    let error = |source| CarbonError::File { action: "lock", path: beside.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&beside).map_err(error)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) if source.kind() == io::ErrorKind::Unsupported => {
                return Ok(file);
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
            Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => {
                let held = format!("another process has held it for {} s", PATIENCE.as_secs());
                return Err(error(io::Error::new(io::ErrorKind::TimedOut, held)));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The folder of `path`, created where it is missing.
fn folder_of(path: &Path) -> Result<&Path, CarbonError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(CarbonError::file("create", folder))?;
    Ok(folder)
}
