//! A Hub with one model and an empty cache.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use greentune_core_config::{
    Diagnostic, Problem,
    port::{TransferProgress, TransferReporter},
};
use greentune_platforms_kaggle_hf::hub::{
    FetchModel, HubError, HubSettings, Parts, Snapshot, Token, TransferControl, fetch_model,
};
use greentune_test_support::fake_hub::FakeHub;

pub const ID: &str = "org/tiny";

pub struct Place {
    folder: tempfile::TempDir,
    pub hub: FakeHub,
    pub settings: HubSettings,
}

/// Keeps what it is told, and may stop the download once so many bytes are here.
#[derive(Debug, Default)]
pub struct Ear {
    pub told: Mutex<Vec<TransferProgress>>,
    pub stop_at: Option<u64>,
    pub stopped: AtomicBool,
}

impl TransferReporter for Ear {
    fn report(&self, progress: &TransferProgress) {
        if self.stop_at.is_some_and(|bytes| progress.bytes_done >= bytes) {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.told.lock().unwrap().push(progress.clone());
    }
}

impl Place {
    /// A Hub with the repository's own base model.
    pub fn new() -> Self {
        Self::serving(&fixture("base-model"))
    }

    pub fn serving(model: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = FakeHub::serving(model, ID).unwrap();
        let mut settings = HubSettings::new(folder.path().join("hub"));
        settings.endpoint = hub.endpoint();
        settings.answer_timeout = Duration::from_secs(5);
        settings.read_timeout = Duration::from_secs(5);
        settings.retry_delay = Duration::from_millis(5);
        Self { folder, hub, settings }
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.settings.token = Token::new(token, "HF_TOKEN");
        self
    }

    pub fn fetch(&self) -> Result<Snapshot, HubError> {
        self.fetch_at("main", &Ear::default())
    }

    pub fn fetch_at(&self, revision: &str, ear: &Ear) -> Result<Snapshot, HubError> {
        let wanted = FetchModel { id: ID, revision, parts: Parts::All };
        let watch = TransferControl { what: ID, reporter: ear, cancelled: &ear.stopped };
        fetch_model(&self.settings, wanted, &watch, |config| {
            assert!(config.ends_with("config.json") && config.is_file());
            Ok(())
        })
    }

    pub fn refused(&self) -> Problem {
        self.fetch().unwrap_err().problem()
    }

    /// The model's folder in the cache.
    pub fn model(&self) -> PathBuf {
        self.settings.cache.join("models--org--tiny")
    }

    /// A folder beside the cache.
    pub fn beside(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// What is under way in the cache.
    pub fn incomplete(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.model().join("blobs")).unwrap().flatten();
        entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(".incomplete"))
    }
}

pub fn fixture(name: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap()
}
