//! Files that are there whole or not at all: one ([`write_atomically`], [`write_private`]), several that belong together
//! ([`FileSet`]), and folders that are made before they get their names ([`Staging`]). And files that are read no further
//! than allowed ([`read_at_most`]), or not again while they are the same ([`Stamp`]).

mod limited;
mod staging;
mod stamp;
mod together;

pub use limited::{read_at_most, read_text_at_most};
pub use staging::{Staging, abandoned, bytes_under, exchange, publish, remove_own_staging, sweep_abandoned};
pub use stamp::Stamp;
pub use together::{FileSet, LockedSet};

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Beginning of a temporary file's name. Its process holds it locked.
const TEMPORARY: &str = ".writing-";
/// Temporary files that are tried before giving up: a sweeper may take a new one for abandoned.
const ATTEMPTS: usize = 100;

/// The folders that this process has swept.
static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Replaces `path` by `bytes`, or leaves it as it was: a temporary file beside it, flushed to the disk, then renamed, and
/// the folder flushed. Of several writers the last one's file stays, whole. The folder must exist. The first write of a
/// process into a folder removes the temporary files that killed processes left there.
///
/// Errors: the file cannot be written or flushed; no temporary file is left behind then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, Readers::ByUmask)
}

/// The same of a file that this user alone may read and write, on Unix.
///
/// Errors: as [`write_atomically`].
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, Readers::Owner)
}

/// Who may read a new file.
#[derive(Clone, Copy)]
enum Readers {
    /// Whom the umask lets.
    ByUmask,
    /// Its owner.
    Owner,
}

fn write(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = folder_of(path);
    if SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned()) {
        sweep(folder);
    }
    persist(new_temporary(folder, readers)?, path, bytes)
}

/// The same for a file of another program, in a folder that is not ours: nothing else is removed there, and the file has
/// `permissions`, or when there are none those of a new file.
///
/// Errors: as [`write_atomically`], and the permissions cannot be given.
pub fn replace_in_place(path: &Path, bytes: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let file = new_temporary(folder_of(path), Readers::ByUmask)?;
    // Before a byte is written: what the former file kept from others is kept from them all the time.
    permissions.map_or(Ok(()), |permissions| file.as_file().set_permissions(permissions))?;
    persist(file, path, bytes)
}

fn persist(mut file: tempfile::NamedTempFile, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder_of(path))
}

/// Whether a file can be made beside `path`, which is not made.
///
/// Errors: why not.
pub fn check_writable(path: &Path) -> io::Result<()> {
    new_temporary(folder_of(path), Readers::ByUmask).map(drop)
}

/// Removes the temporary files that killed processes left in `folder`. Those that are being written stay.
pub fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with(TEMPORARY)) {
        let Ok(opened) = File::options().write(true).open(file.path()) else { continue };
        // Held while the file is removed, so that a process that has just made it sees that it is gone.
        if opened.try_lock().is_ok() {
            let _ = fs::remove_file(file.path());
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A temporary file that no sweeper takes for abandoned.
fn new_temporary(folder: &Path, readers: Readers) -> io::Result<tempfile::NamedTempFile> {
    for _ in 0..ATTEMPTS {
        let file = temporary(folder, readers)?;
        match file.as_file().try_lock() {
            Err(TryLockError::WouldBlock) => {}
            // A sweeper may have been here before the lock was.
            Ok(()) if !file.path().exists() => {}
            // Without locks nothing is swept either.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

fn temporary(folder: &Path, readers: Readers) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // Temporary files are private by default.
    #[cfg(unix)]
    if let Readers::ByUmask = readers {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = readers;
    builder.tempfile_in(folder)
}

/// Makes a rename inside `folder` survive a power cut. Only Unix lets a folder be opened for that, and not every file
/// system flushes one.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_that_replace_one_file_leave_one_of_their_texts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let texts: Vec<String> = (0..8).map(|n| n.to_string().repeat(10_000)).collect();
        thread::scope(|scope| {
            for text in &texts {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_atomically(path, text.as_bytes()).unwrap()));
            }
        });
        assert!(texts.contains(&fs::read_to_string(&path).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write_atomically(&path, b"new").is_err());
        assert!(path.join("full").is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("missing/file"), b"new").is_err());
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".writing-1a2b", "file", ".hidden"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(folder.path());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".hidden", "file"]);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_swept() {
        let folder = tempfile::tempdir().unwrap();
        let mut at_work = new_temporary(folder.path(), Readers::ByUmask).unwrap();
        sweep(folder.path());
        at_work.write_all(b"here").unwrap();
        at_work.persist(folder.path().join("file")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "here");
        thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let path = folder.path().join(name);
                scope.spawn(move || (0..50).for_each(|_| write_atomically(&path, b"text").unwrap()));
                scope.spawn(|| (0..500).for_each(|_| sweep(folder.path())));
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn the_next_write_into_a_folder_removes_what_a_killed_writer_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".writing-killed"), "half").unwrap();
        write_atomically(&folder.path().join("file"), b"whole").unwrap();
        assert!(!folder.path().join(".writing-killed").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_another_program_keeps_its_permissions_and_its_neighbours() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (path, neighbour) = (folder.path().join("settings"), folder.path().join(".writing-by-others"));
        fs::write(&path, "old").unwrap();
        fs::write(&neighbour, "theirs").unwrap();
        let private = fs::Permissions::from_mode(0o600);
        replace_in_place(&path, b"new", Some(private)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(neighbour.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_may_be_read_by_whom_a_plain_one_may_and_a_private_one_by_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [ours, plain, private] = ["ours", "plain", "private"].map(|name| folder.path().join(name));
        write_atomically(&ours, b"").unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
        write_private(&private, b"").unwrap();
        assert_eq!(mode(&private) & 0o777, 0o600);
    }
}
