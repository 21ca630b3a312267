//! Ends a run at the next step boundary, with a checkpoint.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use greentune_core_config::{Suggestion, layout::RunLayout, manifest::RunStatus};
use greentune_run_folder::manifest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, launch::POLL};

/// Seconds that the worker is waited for when the request does not say.
const WAIT_SECONDS: f64 = 30.0;
/// Seconds that a caller may wait at most.
const LONGEST_WAIT_SECONDS: f64 = 600.0;

/// Ask a run to end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CancelTraining {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Seconds to wait for the worker to stop; 30 when absent.
    pub wait_seconds: Option<f64>,
}

/// The result of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelTrainingResponse {
    /// Whether the run has ended.
    pub success: bool,
    /// Id of the run.
    pub run_id: String,
    /// Where the run stands now; still `running` when the worker has not reached a step boundary yet.
    pub status: RunStatus,
    /// What happened, in a sentence.
    pub message: String,
    /// What can be done next.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub suggestions: Vec<Suggestion>,
}

impl Workbench {
    /// Asks the worker to stop at the next step boundary and waits for it, for a bounded time.
    ///
    /// Errors: the run was never started, or is completed. A run that ended otherwise is left as it is.
    pub async fn cancel_training(&self, request: CancelTraining) -> Result<CancelTrainingResponse> {
        let wait = request.wait_seconds.unwrap_or(WAIT_SECONDS).clamp(0.0, LONGEST_WAIT_SECONDS);
        let layout = self.blocking(move |workbench| workbench.request_cancel(&request)).await?;
        let deadline = Instant::now() + Duration::from_secs_f64(wait);
        loop {
            let run = layout.clone();
            let status = self.blocking(move |workbench| workbench.status_of(&run)).await?;
            if !status.is_active() || Instant::now() >= deadline {
                return Ok(response(layout.run_id(), status));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn request_cancel(&self, request: &CancelTraining) -> Result<RunLayout> {
        let layout = self.find_run(request.project_path.as_deref(), &request.run_id)?;
        match self.status_of(&layout)? {
            RunStatus::NotStarted => return Err(WorkbenchError::NotStarted(layout.run_id())),
            RunStatus::Completed => return Err(WorkbenchError::AlreadyCompleted(layout.run_id())),
            status if status.is_active() => {
                let manifest = manifest::read(&layout)?;
                let platform = self.platforms().get(manifest.platform.kind)?;
                platform.cancel(&layout, &manifest)?;
            }
            _ => {}
        }
        Ok(layout)
    }
}

fn response(run_id: String, status: RunStatus) -> CancelTrainingResponse {
    let message = match status {
        RunStatus::Cancelled => format!("the run {run_id} stopped with a checkpoint"),
        status if status.is_active() => {
            format!("the run {run_id} was asked to stop and will do so at its next step boundary")
        }
        status => format!("no worker trains the run {run_id}: it is {status}"),
    };
    let resume = || Suggestion::new("go on from there", "resume_training").with("run_id", run_id.as_str());
    CancelTrainingResponse {
        success: !status.is_active(),
        suggestions: (status == RunStatus::Cancelled).then(resume).into_iter().collect(),
        run_id,
        status,
        message,
    }
}
