//! Shows what the model will see of a data set: template, mask, token counts.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use greentune_core_config::task::{DatasetInspection, InspectTask, WorkerAnswer, WorkerTask};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, engine::wrong_answer, hub::CancelOnDrop};

/// Records that are shown when the request does not say.
const SHOW: usize = 3;

/// Look at a data set.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct InspectDataset {
    /// Path of the project.
    pub project_path: PathBuf,
    /// The data set, relative to the project or absolute.
    pub dataset: PathBuf,
    /// Records to show in full; 3 when absent.
    pub show: Option<usize>,
    /// Settings on top, by dotted key.
    pub override_params: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Workbench {
    /// Reads the data set as training would, in a worker.
    pub async fn inspect_dataset(&self, request: InspectDataset) -> Result<DatasetInspection> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        let task = self.blocking(move |workbench| workbench.inspect_task(request, &cancelled)).await?;
        match self.ask_worker(&WorkerTask::Inspect(Box::new(task))).await? {
            WorkerAnswer::Inspected(inspection) => Ok(inspection),
            _ => Err(wrong_answer("inspect")),
        }
    }

    fn inspect_task(&self, request: InspectDataset, cancelled: &AtomicBool) -> Result<InspectTask> {
        let project = self.open_project(&request.project_path)?;
        let settings = self.usable_settings(&project, request.override_params)?.settings;
        Ok(InspectTask {
            base_model_path: self.tokenizer_folder(&settings, cancelled)?,
            dataset: self.input_file(&project, "dataset", &request.dataset)?,
            show: request.show.unwrap_or(SHOW),
            settings,
        })
    }
}
