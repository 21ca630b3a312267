//! Folders in which something is made before it gets its name.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::together::replacing;

/// File inside a staging folder that its process holds locked as long as it works there.
const LOCK: &str = ".in-use";
/// Names that are tried before giving up: who looks for abandoned folders may take a new one for such.
const ATTEMPTS: usize = 100;

/// The staging folders of this process.
static LIVE: Mutex<Live> = Mutex::new(Live { folders: BTreeSet::new(), is_ending: false });

struct Live {
    folders: BTreeSet<PathBuf>,
    /// No folder is made any more.
    is_ending: bool,
}

/// A new folder that vanishes with all that is in it when it is dropped. What a killed process left is known by its free
/// lock: [`abandoned`] lists it, [`sweep_abandoned`] removes it.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    lock: Option<File>,
}

impl Staging {
    /// A folder in `parent`, which must exist; its name begins with `prefix`. Only its owner may look into it.
    ///
    /// Errors: it cannot be made, or this process is about to end ([`remove_own_staging`]).
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        let mut attempt = 0;
        loop {
            let folder = noted_folder(parent, prefix)?;
            match claim(&folder) {
                Ok(lock) => return Ok(Self { folder, lock }),
                Err(error) => {
                    live(|live| live.folders.remove(&folder));
                    let _ = fs::remove_dir_all(&folder);
                    if attempt >= ATTEMPTS || !is_of_sweeper(error.kind()) {
                        return Err(error);
                    }
                }
            }
            attempt += 1;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        live(|live| live.folders.remove(&self.folder));
        // Some systems remove no file that is open.
        drop(self.lock.take());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folders in `parent` whose names begin with `prefix` and in which no process works any more.
pub fn abandoned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    // A link is not followed: what it leads to is somebody else's.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let named = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let mut found: Vec<_> =
        named.map(|entry| entry.path()).filter(|path| free_lock(path).is_some()).collect();
    found.sort();
    found
}

/// Removes the [`abandoned`] folders and says which. One that cannot be removed is left.
pub fn sweep_abandoned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let remove = |folder: &PathBuf| {
        // Held while the folder is removed, so that a process that has just made it sees that it is gone.
        let held = free_lock(folder);
        held.is_some() && fs::remove_dir_all(folder).is_ok()
    };
    abandoned(parent, prefix).into_iter().filter(remove).collect()
}

/// Removes the staging folders of this process, which is about to end without dropping them. A set of files that is being
/// replaced is replaced before that, and no other is afterwards; no staging folder is made either.
pub fn remove_own_staging() {
    std::mem::forget(replacing());
    live(remove_all);
}

fn remove_all(live: &mut Live) {
    live.is_ending = true;
    for folder in std::mem::take(&mut live.folders) {
        // A thread may still write there.
        (0..ATTEMPTS).find(|_| fs::remove_dir_all(&folder).is_ok() || !folder.exists());
    }
}

/// Gives what was `made` in a staging folder its name, never while [`remove_own_staging`] removes that folder: half of it
/// would be removed under the new name.
///
/// Errors: it cannot be renamed, or this process is about to end.
pub fn publish(made: &Path, name: &Path) -> io::Result<()> {
    live(|live| if live.is_ending { Err(ending()) } else { fs::rename(made, name) })
}

/// Gives the folder that was `made` in a staging folder the `name` of another one, which takes its place there and vanishes
/// with it. On Linux there is no moment without either of them under the name; elsewhere a short one.
///
/// Errors: as for [`publish`].
pub fn exchange(made: &Path, name: &Path) -> io::Result<()> {
    live(|live| if live.is_ending { Err(ending()) } else { swap(made, name) })
}

#[cfg(target_os = "linux")]
fn swap(made: &Path, name: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, made, CWD, name, RenameFlags::EXCHANGE) {
        // A file system that does not know how.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => swap_by_steps(made, name),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn swap(made: &Path, name: &Path) -> io::Result<()> {
    swap_by_steps(made, name)
}

fn swap_by_steps(made: &Path, name: &Path) -> io::Result<()> {
    let aside = made.with_added_extension("replaced");
    fs::rename(name, &aside)?;
    // The old one is brought back when the new one cannot take its place.
    fs::rename(made, name).inspect_err(|_| drop(fs::rename(&aside, name)))
}

fn ending() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "this process is about to end")
}

/// A new folder that [`remove_own_staging`] knows of from its first moment.
fn noted_folder(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    live(|live| {
        if live.is_ending {
            return Err(ending());
        }
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?.keep();
        live.folders.insert(folder.clone());
        Ok(folder)
    })
}

/// Bytes of all files under `folder`; links are not followed.
pub fn bytes_under(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    });
    bytes.sum()
}

/// Marks the new `folder` as in use; there is no lock where the file system has none.
fn claim(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = File::create_new(&path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // A sweeper may have been here between the two.
        Ok(()) if !path.exists() => Err(io::ErrorKind::NotFound.into()),
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Whether [`claim`] failed as it does when somebody takes the new folder for an abandoned one: they hold its lock, made
/// it first, or have removed it or the folder.
fn is_of_sweeper(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound)
}

/// The lock of `folder`, when nobody else holds it.
fn free_lock(folder: &Path) -> Option<File> {
    let path = folder.join(LOCK);
    if path.is_symlink() {
        return None;
    }
    // A process that was killed right after it made the folder left it without the file.
    let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
    file.try_lock().is_ok().then_some(file)
}

fn live<T>(of: impl FnOnce(&mut Live) -> T) -> T {
    of(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staging_folder_vanishes_with_what_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::new(parent.path(), ".making-").unwrap();
        fs::write(staging.path().join("half"), "of it").unwrap();
        assert_eq!(bytes_under(parent.path()), 5);
        drop(staging);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_is_noted_from_its_first_moment_and_none_is_made_when_the_process_ends() {
        let parent = tempfile::tempdir().unwrap();
        let folder = noted_folder(parent.path(), ".making-").unwrap();
        assert!(live(|live| live.folders.contains(&folder)));
        let mut own = Live {
            folders: live(|live| BTreeSet::from([live.folders.take(&folder).unwrap()])),
            is_ending: false,
        };
        remove_all(&mut own);
        assert!(own.is_ending && own.folders.is_empty() && !folder.exists());
    }

    #[test]
    fn two_folders_exchange_their_names() {
        let parent = tempfile::tempdir().unwrap();
        for exchange in [exchange, swap_by_steps] {
            let staging = Staging::new(parent.path(), ".making-").unwrap();
            let (made, name) = (staging.path().join("made"), parent.path().join("name"));
            for (folder, file) in [(&made, "new"), (&name, "old")] {
                fs::create_dir_all(folder).unwrap();
                fs::write(folder.join(file), "").unwrap();
            }
            exchange(&made, &name).unwrap();
            assert!(name.join("new").is_file() && !name.join("old").exists());
            drop(staging);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
            fs::remove_dir_all(&name).unwrap();
        }
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at_work = Staging::new(parent.path(), ".making-").unwrap();
        for name in [".making-killed", ".making-early", "mine"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        fs::write(parent.path().join(".making-killed/.in-use"), "").unwrap();
        fs::write(parent.path().join(".making-file"), "").unwrap();
        let left = [".making-early", ".making-killed"].map(|name| parent.path().join(name));
        assert_eq!(abandoned(parent.path(), ".making-"), left);
        assert_eq!(sweep_abandoned(parent.path(), ".making-"), left);
        assert_eq!(abandoned(parent.path(), ".making-"), Vec::<PathBuf>::new());
        assert!(at_work.path().is_dir() && parent.path().join("mine").is_dir());
        assert!(parent.path().join(".making-file").is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_staging_folder() {
        let (parent, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("precious"), "mine").unwrap();
        std::os::unix::fs::symlink(other.path(), parent.path().join(".making-link")).unwrap();
        assert_eq!(sweep_abandoned(parent.path(), ".making-"), Vec::<PathBuf>::new());
        assert!(other.path().join("precious").is_file());
    }

    #[test]
    fn sweepers_never_take_a_folder_that_is_in_use() {
        let parent = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let staging = Staging::new(parent.path(), ".making-").unwrap();
                        fs::write(staging.path().join("file"), "here").unwrap();
                        thread::yield_now();
                        assert_eq!(fs::read_to_string(staging.path().join("file")).unwrap(), "here");
                    }
                });
                scope.spawn(|| (0..300).for_each(|_| drop(sweep_abandoned(parent.path(), ".making-"))));
            }
        });
        sweep_abandoned(parent.path(), ".making-");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
