//! What was read of the runs that were looked at last, so that a look at one of them costs only what is new.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::Result;

/// Runs that are kept at most; one that is looked at again after more others is read anew.
const KEPT: usize = 64;

/// What is known of runs, by their folders. What failed, or whose reader panicked, is opened anew.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<HashMap<PathBuf, Arc<Mutex<T>>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// Brings what is known of the run in `folder` up to date, or opens it as it is now, and hands it to `of`.
    pub(crate) fn with<R>(
        &self,
        folder: &Path,
        open: impl FnOnce() -> Result<T>,
        refresh: impl Fn(&mut T) -> Result<()>,
        of: impl FnOnce(&mut T) -> R,
    ) -> Result<R> {
        if let Some(known) = self.known(folder) {
            // Others may look at other runs meanwhile.
            if let Ok(mut known) = known.lock()
                && refresh(&mut known).is_ok()
            {
                return Ok(of(&mut known));
            }
            self.forget(folder);
        }
        let mut opened = open()?;
        let seen = of(&mut opened);
        self.keep(folder, opened);
        Ok(seen)
    }

    fn known(&self, folder: &Path) -> Option<Arc<Mutex<T>>> {
        self.map(|kept| kept.get(folder).map(Arc::clone))
    }

    fn keep(&self, folder: &Path, known: T) {
        self.map(|kept| {
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(folder.to_owned(), Arc::new(Mutex::new(known)));
        });
    }

    fn forget(&self, folder: &Path) {
        self.map(|kept| {
            kept.remove(folder);
        });
    }

    fn map<R>(&self, of: impl FnOnce(&mut HashMap<PathBuf, Arc<Mutex<T>>>) -> R) -> R {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
