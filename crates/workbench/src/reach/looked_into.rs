//! What is in a folder besides files. A folder with nothing but files and folders in it is remembered, and not read again
//! while it stays as it is.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use super::is_special;

/// Folders that are remembered at most.
const MOST: usize = 10_000;

/// What is in a folder besides files.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub folders: Arc<[PathBuf]>,
    /// Links, named pipes, devices, sockets, and what cannot be told.
    pub others: Vec<PathBuf>,
}

/// When the entries of a folder changed last. A program can set the time of a change, but not this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entries {
    device: u64,
    inode: u64,
    /// Seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

/// Looks into `folder`; `None` when it is not there, or cannot be read.
pub(super) fn looked_into(folder: &Path) -> Option<Looked> {
    let as_it_is = Entries::of(folder);
    if let Some(entries) = as_it_is
        && let Some((known, folders)) = remembered().get(folder)
        && *known == entries
    {
        return Some(Looked { folders: Arc::clone(folders), others: Vec::new() });
    }
    let (mut folders, mut others) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).ok()? {
        let Ok(entry) = entry else {
            others.push(folder.to_owned());
            continue;
        };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => folders.push(entry.path()),
            Ok(kind) if !kind.is_symlink() && !is_special(kind) => {}
            _ => others.push(entry.path()),
        }
    }
    let folders: Arc<[PathBuf]> = folders.into();
    if let Some(entries) = as_it_is.filter(|entries| others.is_empty() && entries.are_settled()) {
        let mut known = remembered();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(folder.to_owned(), (entries, Arc::clone(&folders)));
    }
    Some(Looked { folders, others })
}

type Remembered = HashMap<PathBuf, (Entries, Arc<[PathBuf]>)>;

fn remembered() -> MutexGuard<'static, Remembered> {
    static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entries {
    /// The entries of `folder` as they are now; `None` where nothing tells when they change.
    #[cfg(unix)]
    fn of(folder: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = folder.symlink_metadata().ok().filter(fs::Metadata::is_dir)?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Self { device: found.dev(), inode: found.ino(), changed })
    }

    #[cfg(not(unix))]
    fn of(_folder: &Path) -> Option<Self> {
        None
    }

    /// Whether the next change is sure to have another time.
    fn are_settled(&self) -> bool {
        jiff::Timestamp::now().as_second() - self.changed.0 > 2
    }
}
