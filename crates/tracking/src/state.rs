//! `tracking/{tracker}.json` of a run: what a tracker has, so that nothing is sent twice.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use greentune_core_config::layout::RunLayout;
use serde::{Serialize, de::DeserializeOwned};

use crate::TrackingError;

/// How long to wait for a lock before it is tried again.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// `runs/{run_id}/tracking/`.
pub(crate) fn folder(layout: &RunLayout) -> PathBuf {
    layout.folder().join("tracking")
}

/// Takes the right to send the run; it is given back when the file is dropped.
pub(crate) fn lock(layout: &RunLayout) -> Result<File, TrackingError> {
    let folder = folder(layout);
    fs::create_dir_all(&folder).map_err(TrackingError::file("create", &folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(TrackingError::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(TrackingError::Busy(layout.run_id())),
        Err(fs::TryLockError::Error(source)) => Err(TrackingError::file("lock", &path)(source)),
    }
}

/// The same, when another process gives it back within `patience`: a worker sends the rest of a run that has just ended.
pub(crate) fn lock_within(layout: &RunLayout, patience: Duration) -> Result<File, TrackingError> {
    let begin = Instant::now();
    loop {
        match lock(layout) {
            Err(TrackingError::Busy(_)) if begin.elapsed() < patience => thread::sleep(BETWEEN_TRIES),
            locked_or_not => return locked_or_not,
        }
    }
}

/// The JSON in `path`; the default when there is no such file.
pub(crate) fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, TrackingError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| TrackingError::damaged(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(source) => Err(TrackingError::file("read", path)(source)),
    }
}

/// Replaces `path` by `value` as JSON: whole or not at all.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), TrackingError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| TrackingError::damaged(path, error))?;
    greentune_durable::write_atomically(path, &bytes).map_err(TrackingError::file("write", path))
}
