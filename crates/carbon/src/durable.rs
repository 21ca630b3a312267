//! Files that are there in full or not at all, and that writers take turns at.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::CarbonError;

/// A writer holds a lock for milliseconds; one that is held for longer is stuck, and training must not wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Replaces `path` by `contents`: a temporary file beside it, flushed to the disk, then renamed.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), CarbonError> {
    // Two threads of one process share its id.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let folder = folder_of(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}.{number}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(folder));
    if written.is_err() {
        // The write's own error is the one to report; what is left behind is only clutter.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(CarbonError::file("write", path))
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

/// Makes a rename inside `folder` survive a power cut. Only Unix lets a folder be opened for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_replace_one_file_leave_one_of_their_texts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let texts: Vec<String> = (0..8).map(|n| n.to_string().repeat(10_000)).collect();
        thread::scope(|scope| {
            for text in &texts {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| replace(path, text.as_bytes()).unwrap()));
            }
        });
        assert!(texts.contains(&fs::read_to_string(&path).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
