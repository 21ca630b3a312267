//! Sends to a run's trackers what they lack.

use std::path::PathBuf;

use greentune_tracking::{SyncReport, sync};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Send what is left to MLflow, and write what is left for Weights & Biases.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SyncTracking {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
}

impl Workbench {
    /// Sends until everything has arrived or the server does not answer.
    ///
    /// Errors: the run is unknown; its settings name no tracker. What a tracker rejected is in the report.
    pub async fn sync_tracking(&self, request: SyncTracking) -> Result<SyncReport> {
        self.blocking(move |workbench| {
            let run = workbench.read_run(request.project_path.as_deref(), &request.run_id)?;
            let tracking = &workbench.config().tracking;
            sync(&run.layout, &tracking.settings(&run.manifest.settings), &tracking.credentials)
                .map_err(WorkbenchError::reported)
        })
        .await
    }
}
