//! Writing beside the destination, and the one rename that makes it appear.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use greentune_core_config::layout::EXPORTING;
use sha2::{Digest, Sha256};

use crate::error::ExportError;

/// Room for directories and the file system's own bookkeeping.
const SPARE_BYTES: u64 = 1 << 20;

/// A hidden folder that becomes the destination, or vanishes when it is dropped before.
pub(crate) struct Staging {
    holder: greentune_durable::Staging,
    folder: PathBuf,
    destination: PathBuf,
    replace: bool,
    needed_bytes: u64,
}

impl Staging {
    /// Refuses a destination that is taken, unless it is a folder that is to be replaced (`replace`), or whose disk has fewer
    /// than `needed_bytes` free. What killed exports left there is removed first.
    pub(crate) fn begin(destination: &Path, replace: bool, needed_bytes: u64) -> Result<Self, ExportError> {
        // A destination that is a link to a folder is filled, not replaced.
        let destination = destination.canonicalize().unwrap_or_else(|_| destination.into());
        let replace = replace && destination.is_dir();
        if !replace {
            refuse_taken(&destination)?;
        }
        let ancestor = existing_ancestor(&destination);
        greentune_durable::sweep_abandoned(ancestor, EXPORTING);
        let needed_bytes = needed_bytes.saturating_add(SPARE_BYTES);
        if let Some(available_bytes) = free_bytes(ancestor)?
            && available_bytes < needed_bytes
        {
            return Err(ExportError::NoSpace { path: destination, needed_bytes, available_bytes });
        }
        let holder = greentune_durable::Staging::new(ancestor, EXPORTING)
            .map_err(ExportError::io("create a folder in", ancestor))?;
        // The holder is private to its owner; the folder inside has ordinary permissions and is what gets renamed.
        let folder = holder.path().join("export");
        fs::create_dir(&folder).map_err(ExportError::io("create", &folder))?;
        Ok(Self { holder, folder, destination, replace, needed_bytes })
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new folder beside the files, which vanishes with the staging folder.
    pub(crate) fn beside(&self, name: &str) -> Result<PathBuf, ExportError> {
        let folder = self.holder.path().join(name);
        fs::create_dir(&folder).map_err(ExportError::io("create", &folder))?;
        Ok(folder)
    }

    /// Whether the disk has `bytes` free, as far as that can be known.
    pub(crate) fn has_room_for(&self, bytes: u64) -> Result<bool, ExportError> {
        let free = free_bytes(self.holder.path())?;
        Ok(free.is_none_or(|free| free >= bytes.saturating_add(SPARE_BYTES)))
    }

    /// Where the file `name` is written and read back.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the file `name`, waits until the disk has it and returns what `write` does.
    pub(crate) fn write<T>(
        &self,
        name: &str,
        write: impl FnOnce(&mut Output) -> Result<T, ExportError>,
    ) -> Result<T, ExportError> {
        let mut output = Output::create(&self.path(name))?;
        let result = write(&mut output)?;
        output.file.sync_all().map_err(ExportError::io("write", &output.path))?;
        Ok(result)
    }

    /// Turns a full disk, met while writing, into the error that says how much is needed.
    pub(crate) fn explain(&self, error: ExportError) -> ExportError {
        if !error.is_disk_full() {
            return error;
        }
        let available_bytes = free_bytes(self.holder.path()).ok().flatten().unwrap_or(0);
        ExportError::NoSpace {
            path: self.destination.clone(),
            needed_bytes: self.needed_bytes,
            available_bytes,
        }
    }

    /// Renames the folder to the destination. What is replaced vanishes with the staging folder.
    pub(crate) fn publish(self) -> Result<PathBuf, ExportError> {
        let Self { holder, folder, destination, replace, .. } = self;
        let parent = parent_of(&destination);
        fs::create_dir_all(parent).map_err(ExportError::io("create", parent))?;
        sync_folder(&folder)?;
        if cfg!(not(unix)) {
            // Only Unix renames onto an empty folder. One that was filled meanwhile is not removed.
            let _ = fs::remove_dir(&destination);
        }
        let publish = if replace { greentune_durable::exchange } else { greentune_durable::publish };
        publish(&folder, &destination).map_err(|source| match source.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                ExportError::DestinationTaken { path: destination.clone() }
            }
            _ => {
                ExportError::Io { action: "rename the finished export to", path: destination.clone(), source }
            }
        })?;
        sync_folder(parent)?;
        drop(holder);
        Ok(destination)
    }
}

/// A file being written; its errors name it.
pub(crate) struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    /// The new file at `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, ExportError> {
        let file = File::create_new(path).map_err(ExportError::io("create", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends `bytes`.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.file.write_all(bytes).map_err(ExportError::io("write", self.path.as_path()))
    }

    /// Appends everything in `source`.
    pub(crate) fn append_file(&mut self, source: &Path) -> Result<(), ExportError> {
        let mut input = File::open(source).map_err(ExportError::io("read", source))?;
        std::io::copy(&mut input, &mut self.file)
            .map(drop)
            .map_err(ExportError::io("write", self.path.as_path()))
    }
}

/// SHA-256 of a file in hexadecimal, and its length in bytes.
pub(crate) fn sha256_of(path: &Path) -> Result<(String, u64), ExportError> {
    let mut file = File::open(path).map_err(ExportError::io("read", path))?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(ExportError::io("read", path))? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
    let hexadecimal =
        hasher.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Ok((hexadecimal, bytes))
}

fn refuse_taken(destination: &Path) -> Result<(), ExportError> {
    let taken = match fs::read_dir(destination) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) if error.kind() == ErrorKind::NotADirectory => true,
        Err(source) => {
            return Err(ExportError::Io { action: "look into", path: destination.into(), source });
        }
    };
    if taken { Err(ExportError::DestinationTaken { path: destination.into() }) } else { Ok(()) }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The nearest folder above `path` that exists, where its export is made: nothing else is created until it is finished.
pub fn existing_ancestor(path: &Path) -> &Path {
    let mut ancestor = parent_of(path);
    while !ancestor.is_dir() && ancestor != parent_of(ancestor) {
        ancestor = parent_of(ancestor);
    }
    ancestor
}

/// Bytes that are free on the disk of `folder`.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Result<Option<u64>, ExportError> {
    let stats = rustix::fs::statvfs(folder)
        .map_err(|error| ExportError::io("measure the free space of", folder)(error.into()))?;
    Ok(Some(stats.f_bavail.saturating_mul(stats.f_frsize)))
}

/// Unknown on this system: an export that does not fit fails while it is written, and leaves nothing behind.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn free_bytes(_folder: &Path) -> Result<Option<u64>, ExportError> {
    Ok(None)
}

/// Makes a rename inside `folder` survive a power cut. Only Unix lets a folder be opened for that.
fn sync_folder(folder: &Path) -> Result<(), ExportError> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ExportError::io("write", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpublished_export_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::begin(&dir.path().join("deep/export"), false, 1).unwrap();
        staging.write("file", |output| output.append(b"abc")).unwrap();
        assert_eq!(sha256_of(&staging.path("file")).unwrap().1, 3);
        drop(staging);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_export_left_is_removed_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let killed = dir.path().join(".greentune-export-killed/export");
        fs::create_dir_all(&killed).unwrap();
        fs::write(killed.join("model.safetensors"), "gigabytes").unwrap();
        let other = Staging::begin(&dir.path().join("other"), false, 1).unwrap();
        assert!(!killed.exists());
        drop(Staging::begin(&dir.path().join("export"), false, 1).unwrap());
        other.write("file", |output| output.append(b"abc")).unwrap();
        assert_eq!(other.publish().unwrap(), dir.path().join("other"));
    }

    #[test]
    fn a_destination_that_is_filled_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("export");
        let staging = Staging::begin(&destination, false, 1).unwrap();
        fs::create_dir(&destination).unwrap();
        fs::write(destination.join("precious"), "mine").unwrap();
        assert!(matches!(staging.publish(), Err(ExportError::DestinationTaken { .. })));
        assert_eq!(fs::read_to_string(destination.join("precious")).unwrap(), "mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_replaced_is_never_half_of_each() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("export");
        fs::create_dir(&destination).unwrap();
        fs::write(destination.join("old"), "old").unwrap();
        let staging = Staging::begin(&destination, true, 1).unwrap();
        staging.write("new", |output| output.append(b"new")).unwrap();
        assert!(destination.join("old").is_file());
        assert_eq!(staging.publish().unwrap(), destination);
        assert!(destination.join("new").is_file() && !destination.join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(matches!(Staging::begin(&file, true, 1), Err(ExportError::DestinationTaken { .. })));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_fills_up_meanwhile_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::begin(&dir.path().join("export"), false, 1000).unwrap();
        let file = File::options().write(true).open("/dev/full").unwrap();
        let error = Output { file, path: "/dev/full".into() }.append(b"abc").unwrap_err();
        match staging.explain(error) {
            ExportError::NoSpace { path, needed_bytes, .. } => {
                assert_eq!((path, needed_bytes), (dir.path().join("export"), 1000 + SPARE_BYTES));
            }
            error => panic!("{error}"),
        }
    }
}
