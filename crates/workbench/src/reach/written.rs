//! Which files greentune wrote: only these are replaced when somebody else than the user asks for it.
//!
//! A note per file lies in greentune's home, where no project from elsewhere can put one: the file's path and the SHA-256 of
//! what was written. A file that was changed since is its user's again.

use std::path::{Path, PathBuf};

use greentune_run_folder::json;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError,
    inputs::{sha256, sha256_of_text},
};

/// A file that was written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    path: PathBuf,
    sha256: String,
}

impl Workbench {
    /// Notes that the file at `path` is greentune's as it is now. A note that cannot be kept costs no more than that the
    /// file is not replaced later.
    pub(crate) fn note_written(&self, path: &Path) {
        if let Ok(sha256) = sha256(path) {
            self.note_written_as(path, sha256);
        }
    }

    /// The same for a file whose SHA-256 is known.
    pub(crate) fn note_written_as(&self, path: &Path, sha256: String) {
        let note = || {
            let file = self.note_of(path);
            std::fs::create_dir_all(file.parent()?).ok()?;
            json::write(&file, &Written { path: path.to_owned(), sha256 }).ok()
        };
        let _ = note();
    }

    /// Refuses to replace the file at `path`, a path without links, when greentune did not write it or it was changed
    /// since. A person's own shell may replace any.
    pub(crate) fn check_replaceable(&self, path: &Path) -> Result<()> {
        if !self.is_restricted() || !path.try_exists().unwrap_or(true) {
            return Ok(());
        }
        self.check_own(path)
    }

    /// Refuses to replace `folder`, a path without links, when it holds anything that greentune did not write, or that was
    /// changed since; for everybody, because a whole folder is easily named by mistake.
    pub(crate) fn check_own_folder(&self, folder: &Path) -> Result<()> {
        let failed = || WorkbenchError::file("look into", folder);
        for entry in std::fs::read_dir(folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.check_own_folder(&entry.path())?;
            } else {
                self.check_own(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Errors: greentune did not write the file, or it was changed since.
    fn check_own(&self, path: &Path) -> Result<()> {
        let known = json::read::<Written>(&self.note_of(path)).ok().filter(|known| known.path == path);
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        let is_unchanged = |known: Written| is_file && sha256(path).is_ok_and(|now| now == known.sha256);
        if known.is_some_and(is_unchanged) {
            return Ok(());
        }
        Err(WorkbenchError::NotWrittenHere { path: path.to_owned() })
    }

    fn note_of(&self, path: &Path) -> PathBuf {
        let name = format!("{}.json", sha256_of_text(&path.to_string_lossy()));
        self.config().home.join("written").join(name)
    }
}
