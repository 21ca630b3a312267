//! The handle that every front end holds.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use greentune_core_config::port::{NoReporter, Platform, TransferReporter};
use greentune_run_folder::{RunSeries, RunView};

use crate::{
    Result, WorkbenchConfig, WorkbenchError, job_store::SeenIndex, observer::Observer, platform::Platforms,
    views::Kept,
};

/// The service layer: cheap to clone. Besides its configuration it remembers which runs were looked at last, and clones of it
/// remember the same.
#[derive(Clone, Debug)]
pub struct Workbench {
    config: Arc<WorkbenchConfig>,
    observer: Arc<dyn Observer>,
    platforms: Arc<Platforms>,
    views: Arc<Kept<RunView>>,
    series: Arc<Kept<RunSeries>>,
    index: SeenIndex,
    /// What the user was told once.
    remarks: Arc<Mutex<BTreeSet<String>>>,
}

impl Workbench {
    /// A workbench with `config`; touches no file.
    pub fn new(config: WorkbenchConfig) -> Self {
        let config = Arc::new(config);
        Self {
            platforms: Arc::new(Platforms::local(Arc::clone(&config))),
            config,
            observer: Arc::new(NoReporter),
            views: Arc::default(),
            series: Arc::default(),
            index: SeenIndex::default(),
            remarks: Arc::default(),
        }
    }

    /// The same workbench, which can train on `platform` too.
    #[must_use]
    pub fn with_platform(mut self, platform: Arc<dyn Platform>) -> Self {
        self.platforms = Arc::new(self.platforms.with(platform));
        self
    }

    /// The same workbench, which tells `observer` what its operations do while they are awaited.
    #[must_use]
    pub fn reporting(&self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self.clone() }
    }

    /// The same workbench with another configuration; it goes on training with the platforms that it has.
    pub(crate) fn with_config(&self, config: WorkbenchConfig) -> Self {
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// Who is told what an operation does.
    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Tells the observer, unless this was said before.
    pub(crate) fn remark_once(&self, text: &str) {
        let is_new = self.remarks.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        if is_new {
            self.observer.remark(text);
        }
    }

    /// Who is told how far a download is.
    pub(crate) fn transfers(&self) -> &dyn TransferReporter {
        &*self.observer
    }

    /// Where runs can be trained.
    pub(crate) fn platforms(&self) -> &Platforms {
        &self.platforms
    }

    /// What is known of the index of runs.
    pub(crate) fn seen_index(&self) -> &SeenIndex {
        &self.index
    }

    /// The runs that were looked at last.
    pub(crate) fn views(&self) -> &Kept<RunView> {
        &self.views
    }

    /// The series of the runs that were looked at last.
    pub(crate) fn series(&self) -> &Kept<RunSeries> {
        &self.series
    }

    /// What it was made with.
    pub fn config(&self) -> &WorkbenchConfig {
        &self.config
    }

    /// Runs `work`, which reads and writes files, off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let workbench = self.clone();
        tokio::task::spawn_blocking(move || work(&workbench))
            .await
            .map_err(|error| WorkbenchError::Internal(format!("an operation panicked: {error}")))?
    }
}
