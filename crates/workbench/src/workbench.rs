//! The handle that every front end holds.

use std::sync::Arc;

use greentune_core_config::port::{Silent, TransferReporter};

use crate::{Result, WorkbenchConfig, WorkbenchError, observer::Observer};

/// The service layer: cheap to clone, holds no state but its configuration.
#[derive(Clone, Debug)]
pub struct Workbench {
    config: Arc<WorkbenchConfig>,
    observer: Arc<dyn Observer>,
}

impl Workbench {
    /// A workbench with `config`; touches no file.
    pub fn new(config: WorkbenchConfig) -> Self {
        Self { config: Arc::new(config), observer: Arc::new(Silent) }
    }

    /// The same workbench, which tells `observer` what its operations do while they are awaited.
    #[must_use]
    pub fn reporting(&self, observer: Arc<dyn Observer>) -> Self {
        Self { config: Arc::clone(&self.config), observer }
    }

    /// Who is told what an operation does.
    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Who is told how far a download is.
    pub(crate) fn transfers(&self) -> &dyn TransferReporter {
        &*self.observer
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
            .map_err(|error| WorkbenchError::Internal(format!("an operation broke off: {error}")))?
    }
}
