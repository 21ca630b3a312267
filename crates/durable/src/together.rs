//! Files of one folder that are replaced together.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::sync_folder;

/// A set of new files, complete, whose way to their names was begun.
const COMMITTED: &str = ".replacing";
/// What is left of that set while it is removed: the list alone.
const REPLACED: &str = ".replaced";
/// The list of the files in it, one name a line.
const LIST: &str = ".names";
/// Locked by the process that replaces the set, or completes what another began.
const LOCK: &str = ".replacing.lock";

/// Files of `folder` that belong together, such as the splits of a data set. Of them it is always true: while the first
/// one is there, the others are those that were made with it. A process that is killed while it replaces them leaves the
/// old set, the new set, or none with the new one complete beside it, which the next call of [`FileSet::settle`] or
/// [`FileSet::lock`] brings to its names.
#[derive(Clone, Copy, Debug)]
pub struct FileSet<'a> {
    folder: &'a Path,
    /// The one without which no other is used comes first.
    names: &'a [&'a str],
}

/// A set that nobody else replaces meanwhile.
#[derive(Debug)]
pub struct LockedSet<'a> {
    set: FileSet<'a>,
    _lock: File,
}

impl<'a> FileSet<'a> {
    /// The files `names` of `folder`; nothing is looked at.
    pub fn new(folder: &'a Path, names: &'a [&'a str]) -> Self {
        Self { folder, names }
    }

    /// Waits while another process replaces the set, and completes what a killed process began. Where nothing was begun,
    /// nothing is written.
    ///
    /// Errors: the folder cannot be written, or what lies there was not left by [`LockedSet::replace`].
    pub fn settle(&self) -> io::Result<()> {
        let is_begun = [COMMITTED, REPLACED].iter().any(|name| is_folder(&self.folder.join(name)));
        if is_begun { self.lock().map(drop) } else { Ok(()) }
    }

    /// Waits until nobody else replaces the set, and completes what a killed process began.
    ///
    /// Errors: as [`FileSet::settle`].
    pub fn lock(&self) -> io::Result<LockedSet<'a>> {
        let path = self.folder.join(LOCK);
        if path.is_symlink() {
            return Err(not_ours(&path));
        }
        let lock = File::options().create(true).truncate(false).write(true).open(path)?;
        lock.lock()?;
        self.complete(&mut || Ok(()))?;
        Ok(LockedSet { set: *self, _lock: lock })
    }

    /// Brings the committed files to their names. `before_step` is asked before every change.
    fn complete(&self, before_step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let (committed, replaced) = (self.folder.join(COMMITTED), self.folder.join(REPLACED));
        remove_rest(&replaced)?;
        if !is_folder(&committed) {
            return Ok(());
        }
        let _until_it_is_done = replacing();
        self.bring_to_names(before_step)
    }

    /// The same while [`REPLACING`] is held.
    fn bring_to_names(&self, before_step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let (committed, replaced) = (self.folder.join(COMMITTED), self.folder.join(REPLACED));
        let list = fs::read_to_string(committed.join(LIST)).map_err(|_| not_ours(&committed))?;
        let is_new = |name: &str| list.lines().any(|line| line == name);
        let is_waiting = |name: &str| committed.join(name).symlink_metadata().is_ok();
        // The old ones go first, the one that makes the others count before all.
        for name in self.names.iter().filter(|name| is_waiting(name) || !is_new(name)) {
            before_step()?;
            remove_if_there(&self.folder.join(name))?;
        }
        sync_folder(self.folder)?;
        for name in self.names.iter().rev().filter(|name| is_waiting(name)) {
            before_step()?;
            fs::rename(committed.join(name), self.folder.join(name))?;
        }
        sync_folder(self.folder)?;
        before_step()?;
        // Its list marks a set that was begun, so the two must vanish at once.
        fs::rename(committed, &replaced)?;
        before_step()?;
        remove_rest(&replaced)
    }
}

impl LockedSet<'_> {
    /// The first file of the set that is there.
    pub fn existing(&self) -> Option<PathBuf> {
        let mut paths = self.set.names.iter().map(|name| self.set.folder.join(name));
        paths.find(|path| path.symlink_metadata().is_ok())
    }

    /// Replaces the set by the files in the folder `fresh`, of the same file system, which is used up. A file of the set that
    /// is not there is none afterwards. The files must have been flushed.
    ///
    /// Errors: nothing was changed yet, or the next call completes it.
    pub fn replace(&self, fresh: &Path) -> io::Result<()> {
        self.replace_in_steps(fresh, &mut || Ok(()))
    }

    fn replace_in_steps(
        &self,
        fresh: &Path,
        before_step: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let made = self.set.names.iter().filter(|name| fresh.join(name).exists());
        let list: Vec<&str> = made.flat_map(|name| [*name, "\n"]).collect();
        let mut file = File::create_new(fresh.join(LIST))?;
        file.write_all(list.concat().as_bytes())?;
        file.sync_all()?;
        sync_folder(fresh)?;
        before_step()?;
        // A process that ends removes the folder as unfinished, or finds it committed; it must not do the one while this
        // does the other.
        let _until_it_is_done = replacing();
        // From here on it is the new set that counts.
        fs::rename(fresh, self.set.folder.join(COMMITTED))?;
        sync_folder(self.set.folder)?;
        self.set.bring_to_names(before_step)
    }
}

/// Held while files are brought to their names: a process that ends in order waits for that.
static REPLACING: Mutex<()> = Mutex::new(());

pub(crate) fn replacing() -> MutexGuard<'static, ()> {
    REPLACING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `path` is a folder itself, not a link to one.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Removes what is left of a set whose files have their names.
fn remove_rest(replaced: &Path) -> io::Result<()> {
    if !is_folder(replaced) {
        return Ok(());
    }
    remove_if_there(&replaced.join(LIST))?;
    fs::remove_dir(replaced).map_err(|_| not_ours(replaced))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn not_ours(path: &Path) -> io::Error {
    let message = format!("{} was not left by greentune; remove it", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread};

    use super::*;

    const NAMES: [&str; 3] = ["train", "validation", "test"];

    /// A folder with the files of a new set, each with `content`.
    fn fresh(folder: &Path, name: &str, files: &[&str], content: &str) -> PathBuf {
        let fresh = folder.join(name);
        fs::create_dir(&fresh).unwrap();
        for name in files {
            fs::write(fresh.join(name), content).unwrap();
        }
        fresh
    }

    fn contents(folder: &Path) -> BTreeMap<&'static str, String> {
        NAMES
            .into_iter()
            .filter_map(|name| Some((name, fs::read_to_string(folder.join(name)).ok()?)))
            .collect()
    }

    fn all(files: &[&'static str], content: &str) -> BTreeMap<&'static str, String> {
        files.iter().map(|name| (*name, content.to_owned())).collect()
    }

    #[test]
    fn a_process_that_is_killed_at_any_step_leaves_one_set() {
        // Of each pair the files of the old set and those of the new one.
        let sets: [(&[&str], &[&str]); 3] =
            [(&NAMES, &NAMES), (&NAMES, &["train"]), (&["train", "test"], &["train", "validation"])];
        for (old, new) in sets {
            let mut killed_at = 0;
            loop {
                let folder = tempfile::tempdir().unwrap();
                let set = FileSet::new(folder.path(), &NAMES);
                set.lock().unwrap().replace(&fresh(folder.path(), "a", old, "old")).unwrap();
                let (mut step, prepared) = (0, fresh(folder.path(), "b", new, "new"));
                let killed = set.lock().unwrap().replace_in_steps(&prepared, &mut || {
                    step += 1;
                    if step > killed_at { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
                });
                let seen = contents(folder.path());
                let is_one = seen == all(old, "old") || seen == all(new, "new");
                assert!(is_one || !seen.contains_key("train"), "after {killed_at} steps: {seen:?}");
                set.settle().unwrap();
                let expected = if killed_at == 0 { all(old, "old") } else { all(new, "new") };
                assert_eq!(contents(folder.path()), expected, "after {killed_at} steps");
                if killed.is_ok() {
                    break;
                }
                killed_at += 1;
            }
            assert!(killed_at > 4, "there are more steps than {killed_at}");
        }
    }

    #[test]
    fn of_many_that_replace_at_once_one_set_stays_and_no_other_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        thread::scope(|scope| {
            for writer in 0..3 {
                scope.spawn(move || {
                    for round in 0..20 {
                        let content = format!("{writer}.{round}");
                        let made = fresh(path, &format!("new-{content}"), &NAMES, &content);
                        FileSet::new(path, &NAMES).lock().unwrap().replace(&made).unwrap();
                    }
                });
            }
            scope.spawn(move || {
                for _ in 0..200 {
                    let locked = FileSet::new(path, &NAMES).lock().unwrap();
                    let seen = contents(path);
                    assert!(seen.values().all(|content| Some(content) == seen.get("train")), "{seen:?}");
                    drop(locked);
                }
            });
        });
        assert_eq!(contents(path).len(), 3);
        assert!(!path.join(COMMITTED).exists());
    }

    #[test]
    fn a_process_that_is_killed_while_it_removes_the_rest_leaves_nothing_that_stops_the_next() {
        for has_list in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let set = FileSet::new(folder.path(), &NAMES);
            set.lock().unwrap().replace(&fresh(folder.path(), "a", &NAMES, "old")).unwrap();
            fs::create_dir(folder.path().join(REPLACED)).unwrap();
            if has_list {
                fs::write(folder.path().join(REPLACED).join(LIST), "train\n").unwrap();
            }
            set.settle().unwrap();
            assert!(!folder.path().join(REPLACED).exists());
            assert_eq!(contents(folder.path()), all(&NAMES, "old"));
        }
    }

    /// As while a process ends and removes what it has not finished.
    #[test]
    fn a_set_is_not_committed_while_unfinished_folders_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let prepared = fresh(folder.path(), "a", &NAMES, "new");
        thread::scope(|scope| {
            let removing = replacing();
            let replaced =
                scope.spawn(|| FileSet::new(folder.path(), &NAMES).lock().unwrap().replace(&prepared));
            while !prepared.join(LIST).exists() {
                thread::yield_now();
            }
            thread::sleep(std::time::Duration::from_millis(50));
            assert!(prepared.exists() && !folder.path().join(COMMITTED).exists());
            drop(removing);
            replaced.join().unwrap().unwrap();
        });
        assert_eq!(contents(folder.path()), all(&NAMES, "new"));
    }

    #[cfg(unix)]
    #[test]
    fn links_that_stand_in_the_way_are_replaced_or_refused_and_never_followed() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = other.path().join("precious");
        fs::write(&precious, "mine").unwrap();
        let link = |name: &str, target: &Path| {
            std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        };
        link("train", &precious);
        let set = FileSet::new(folder.path(), &NAMES);
        set.lock().unwrap().replace(&fresh(folder.path(), "a", &NAMES, "new")).unwrap();
        assert_eq!(contents(folder.path()), all(&NAMES, "new"));
        link(COMMITTED, other.path());
        assert!(set.lock().unwrap().replace(&fresh(folder.path(), "b", &NAMES, "newer")).is_err());
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        link(LOCK, &other.path().join("made"));
        assert!(set.lock().is_err());
        assert_eq!(fs::read_to_string(precious).unwrap(), "mine");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_committed_folder_of_somebody_else_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(COMMITTED)).unwrap();
        let error = FileSet::new(folder.path(), &NAMES).settle().unwrap_err();
        assert!(error.to_string().contains(".replacing"), "{error}");
    }
}
