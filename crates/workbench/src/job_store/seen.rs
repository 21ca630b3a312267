//! What is known of the index's file: looking at all of it, noting a run, and opening it is not done twice while it stays as
//! it is.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use greentune_durable::Stamp;
use rusqlite::Connection;

/// Connections that wait for the next calls at most.
const MOST_KEPT: usize = 4;

/// What is known of the index's file; clones know the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenIndex(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// The file when it was found to be whole.
    whole: Option<Stamp>,
    /// The file when it had the runs in these folders.
    with: (Option<Stamp>, HashSet<PathBuf>),
    /// Connections to the whole file that nobody uses.
    kept: Vec<Connection>,
}

impl SeenIndex {
    /// Whether the file was found to be whole when it had `stamp`.
    pub(super) fn was_whole(&self, stamp: Stamp) -> bool {
        self.seen().whole == Some(stamp)
    }

    /// The file is whole, and has `stamp`; without one nothing is known of it.
    pub(super) fn is_whole(&self, stamp: Option<Stamp>) {
        let mut seen = self.seen();
        if seen.whole != stamp {
            seen.whole = stamp;
            seen.kept.clear();
        }
    }

    /// A connection to the whole file that was kept.
    pub(super) fn kept(&self) -> Option<Connection> {
        self.seen().kept.pop()
    }

    /// Keeps a connection to the file with `stamp` for the next call, if that is still the whole one.
    pub(super) fn keep(&self, stamp: Stamp, connection: Connection) {
        let mut seen = self.seen();
        if seen.whole == Some(stamp) && seen.kept.len() < MOST_KEPT {
            seen.kept.push(connection);
        }
    }

    /// Whether the file had the run in `folder` when it had `stamp`.
    pub(super) fn had(&self, stamp: Option<Stamp>, folder: &Path) -> bool {
        let with = &self.seen().with;
        stamp.is_some() && with.0 == stamp && with.1.contains(folder)
    }

    /// The file has the run in `folder`, and has `stamp`.
    pub(super) fn has(&self, stamp: Option<Stamp>, folder: &Path) {
        let with = &mut self.seen().with;
        if with.0 != stamp {
            *with = (stamp, HashSet::new());
        }
        with.1.insert(folder.to_owned());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_of_a_file_does_not_count_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = |text: &str| {
            let path = folder.path().join("file");
            std::fs::write(&path, text).unwrap();
            Stamp::of(&path).unwrap()
        };
        let (one, other) = (stamp("one"), stamp("another"));
        let (seen, run) = (SeenIndex::default(), Path::new("/p/runs/r"));
        assert!(!seen.was_whole(one) && !seen.had(Some(one), run) && !seen.had(None, run));
        seen.is_whole(Some(one));
        seen.has(Some(one), run);
        assert!(
            seen.was_whole(one) && seen.had(Some(one), run) && !seen.had(Some(one), Path::new("/p/runs/s"))
        );
        assert!(!seen.was_whole(other) && !seen.had(Some(other), run));
        seen.has(Some(other), Path::new("/p/runs/s"));
        assert!(!seen.had(Some(other), run));
        seen.has(None, run);
        assert!(!seen.had(None, run));
    }
}
