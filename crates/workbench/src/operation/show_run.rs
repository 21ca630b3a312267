//! Everything about one run.

use std::path::PathBuf;

use greentune_core_config::{
    manifest::{RunManifest, RunStatus},
    plan::{PlanAccuracy, TrainingPlan},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, RunSummary, Workbench,
    plan::{accuracy_of, kept_plan},
    run::explain_end,
};

/// Show a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ShowRun {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShowRunResponse {
    /// The run in short, with its status as derived now.
    pub summary: RunSummary,
    /// The run's folder.
    pub run_directory: PathBuf,
    /// The worker's log.
    pub log_file: PathBuf,
    /// The manifest; its status is the derived one.
    pub manifest: RunManifest,
    /// What is damaged in the run's record.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// What the run was planned to need, when it was planned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<TrainingPlan>,
    /// How far off the plan of the run was, when it is completed and was planned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_accuracy: Option<PlanAccuracy>,
}

impl Workbench {
    /// Reads a run's manifest, with its status as derived now.
    pub async fn show_run(&self, request: ShowRun) -> Result<ShowRunResponse> {
        self.blocking(move |workbench| {
            let layout = workbench.find_run(request.project_path.as_deref(), &request.run_id)?;
            let plan = kept_plan(&layout);
            // Only this needs every event of the run, and only at its end.
            let plan_accuracy = match &plan {
                Some(_) if workbench.status_of(&layout)? == RunStatus::Completed => {
                    accuracy_of(&workbench.read_whole(layout.clone())?)
                }
                _ => None,
            };
            workbench.look(&layout, |view| {
                let mut manifest = view.manifest().clone();
                explain_end(&layout, &mut manifest);
                ShowRunResponse {
                    summary: view.summary(),
                    run_directory: layout.folder().to_owned(),
                    log_file: layout.log(),
                    plan,
                    plan_accuracy,
                    warnings: view.damage(),
                    manifest,
                }
            })
        })
        .await
    }
}
