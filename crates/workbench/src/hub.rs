//! Base models of the Hugging Face Hub: brought into the cache before a run is configured.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use greentune_core_config::settings::{BaseModelSettings, Settings};
use greentune_platforms_kaggle_hf::hub::{self, FetchModel, HubError, Parts, Snapshot, TransferControl};

use crate::{Result, Workbench, WorkbenchError, base_model};

/// Stops the downloads of an operation when the operation's future is dropped.
#[derive(Debug, Default)]
pub(crate) struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// The flag, for the thread that downloads.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl From<HubError> for WorkbenchError {
    fn from(error: HubError) -> Self {
        Self::reported(error)
    }
}

impl Workbench {
    /// Brings `parts` of the model that `settings` name on the Hub into the cache.
    ///
    /// Errors: no model is named; what the Hub or the network says; an architecture that cannot be trained, which is
    /// seen before weights are fetched.
    pub(crate) fn fetch_from_hub(
        &self,
        settings: &Settings,
        parts: Parts,
        cancelled: &AtomicBool,
    ) -> Result<Snapshot> {
        let wanted = wanted(&settings.base_model, parts)?;
        let watch = TransferControl { what: wanted.id, reporter: self.transfers(), cancelled };
        hub::fetch_model(&self.config().hub, wanted, &watch, base_model::check_config)
    }

    /// The ids of models of the Hub that are in its cache and could be base models. The network is not used.
    ///
    /// Errors: a defect alone; a cache that cannot be read has none.
    pub async fn cached_models(&self) -> Result<Vec<String>> {
        self.blocking(|workbench| Ok(hub::cached_models(&workbench.config().hub.cache))).await
    }

    /// The model that `settings` name on the Hub, when it is complete in the cache.
    pub(crate) fn cached_from_hub(&self, settings: &Settings) -> Result<Option<Snapshot>> {
        Ok(hub::cached(&self.config().hub, wanted(&settings.base_model, Parts::All)?))
    }
}

fn wanted(settings: &BaseModelSettings, parts: Parts) -> Result<FetchModel<'_>> {
    let BaseModelSettings { model_id: id, revision, .. } = settings;
    if id.is_empty() {
        return Err(WorkbenchError::BaseModelMissing {
            path: PathBuf::new(),
            reason: String::from("neither base_model.local_path nor base_model.model_id is set"),
        });
    }
    Ok(FetchModel { id, revision, parts })
}
