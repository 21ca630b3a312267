//! The cache on disk: `models--org--name/{blobs,refs,snapshots}`, as the official Python client lays it out.

use std::{
    fs::{self, DirEntry, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use greentune_core_config::ids;
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::{
    error::{HubError, Result},
    watch::TransferControl,
};

/// How long another process may hold a file without making progress.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time between two looks at a lock that is held.
const LOOK: Duration = Duration::from_millis(200);

/// The ids of the models in the cache at `root` that could be base models, in order: those of which a `config.json` is there.
pub fn cached_models(root: &Path) -> Vec<String> {
    let names = entries(root).into_iter().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<_> = names
        .filter(|name| {
            let snapshots = entries(&root.join(name).join("snapshots"));
            snapshots.iter().any(|snapshot| snapshot.path().join("config.json").is_file())
        })
        .filter_map(|name| Some(name.strip_prefix("models--")?.replacen("--", "/", 1)))
        .filter(|id| ids::check_model_id(id).is_ok())
        .collect();
    ids.sort();
    ids
}

fn entries(folder: &Path) -> Vec<DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten().collect()
}

/// One model at one revision in the cache.
#[derive(Debug)]
pub(super) struct CachedModel {
    root: PathBuf,
    repo: Repo,
    paths: CacheRepo,
}

impl CachedModel {
    /// The model `id` at `revision` in the cache at `root`, there or not.
    pub(super) fn new(root: &Path, id: &str, revision: &str) -> Self {
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let paths = Cache::new(root.to_owned()).repo(repo.clone());
        Self { root: root.to_owned(), repo, paths }
    }

    /// The commit that the revision stands for, as far as the cache knows.
    pub(super) fn commit(&self) -> Option<String> {
        let revision = self.repo.revision();
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let refs = self.root.join(self.repo.folder_name()).join("refs").join(revision);
        let commit = fs::read_to_string(refs).ok()?.trim().to_owned();
        is_commit(&commit).then_some(commit)
    }

    /// The folder with the files of `commit`.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.paths.pointer_path(commit)
    }

    /// Where the content with `etag` is kept.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join(self.repo.folder_name()).join("blobs").join(etag)
    }

    /// Keeps in mind that the revision stands for `commit`.
    pub(super) fn remember(&self, commit: &str) -> Result<()> {
        if is_commit(self.repo.revision()) || self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        self.paths.create_ref(commit).map_err(HubError::file("write to", &self.root))
    }

    /// Makes `snapshots/{commit}/{name}` point to the content with `etag`.
    pub(super) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let folder = self.snapshot(commit);
        make_folder(&folder)?;
        let pointer = folder.join(name);
        match point(&pointer, etag, &self.blob(etag)) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && pointer.is_file() => Ok(()),
            // It pointed to content that is gone.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(&pointer)
                .and_then(|()| point(&pointer, etag, &self.blob(etag)))
                .map_err(HubError::file("link", pointer)),
            result => result.map_err(HubError::file("link", pointer)),
        }
    }

    /// Holds the content with `etag` against other downloads, of the official client too, until it is dropped.
    pub(super) fn lock(&self, etag: &str, watch: &TransferControl) -> Result<File> {
        let folder = self.root.join(".locks").join(self.repo.folder_name());
        make_folder(&folder)?;
        let path = folder.join(format!("{etag}.lock"));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(HubError::file("open", &path))?;
        let mut moved = (Instant::now(), 0);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                // A file system without locks: two downloads may cost twice, and each is checked at its end.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(file);
                }
                Err(TryLockError::Error(error)) => return Err(HubError::file("lock", path)(error)),
            }
            watch.check()?;
            let size = self.size_under_way(etag);
            if size != moved.1 {
                moved = (Instant::now(), size);
            } else if moved.0.elapsed() > PATIENCE {
                return Err(HubError::Locked { lock: path });
            }
            thread::sleep(LOOK);
        }
    }

    /// Bytes of everything that is under way for `etag`; the official client adds random letters to the name.
    fn size_under_way(&self, etag: &str) -> u64 {
        let blob = self.blob(etag);
        let entries =
            blob.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(etag));
        ours.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    }
}

/// Whether `text` is a full commit id.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes `folder` and those above it.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(HubError::file("create", folder))
}

#[cfg(unix)]
fn point(pointer: &Path, etag: &str, _: &Path) -> io::Result<()> {
    // Relative, so that the cache can be moved; names are of the model's top folder alone.
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), pointer)
}

#[cfg(not(unix))]
fn point(pointer: &Path, _: &str, blob: &Path) -> io::Result<()> {
    // Links need a privilege on Windows; a second name for the same content does not.
    fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(|_| ()))
}
