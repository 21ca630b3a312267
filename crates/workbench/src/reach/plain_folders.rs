//! Folders that have neither links nor devices in them, and need not be looked through again while they stay as they are.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

/// Folders that are remembered at most.
const MOST: usize = 10_000;

/// When the entries of a folder changed last. A program can set the time of a change, but not this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entries {
    device: u64,
    inode: u64,
    /// Seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

/// A folder without links and devices.
struct Plain {
    entries: Entries,
    folders: Arc<[PathBuf]>,
}

fn remembered() -> MutexGuard<'static, HashMap<PathBuf, Plain>> {
    static REMEMBERED: LazyLock<Mutex<HashMap<PathBuf, Plain>>> = LazyLock::new(Mutex::default);
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entries {
    /// The entries of `folder` as they are now; `None` where nothing tells when they change.
    #[cfg(unix)]
    pub(super) fn of(folder: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = folder.symlink_metadata().ok().filter(std::fs::Metadata::is_dir)?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Self { device: found.dev(), inode: found.ino(), changed })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_folder: &Path) -> Option<Self> {
        None
    }

    /// Whether the next change is sure to have another time.
    fn are_settled(&self) -> bool {
        jiff::Timestamp::now().as_second() - self.changed.0 > 2
    }
}

/// The folders in `folder`, if it was found to be plain when it had `entries`.
pub(super) fn folders_in(folder: &Path, entries: Entries) -> Option<Arc<[PathBuf]>> {
    let known = remembered();
    let plain = known.get(folder).filter(|plain| plain.entries == entries)?;
    Some(Arc::clone(&plain.folders))
}

/// Notes that `folder` has neither links nor devices in it, and these `folders`; `entries` were asked for before.
pub(super) fn is_plain(folder: &Path, entries: Entries, folders: &[PathBuf]) {
    if !entries.are_settled() {
        return;
    }
    let mut known = remembered();
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(folder.to_owned(), Plain { entries, folders: folders.into() });
}
