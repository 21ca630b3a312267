//! How far a job is, in the few figures that a dashboard shows.

use std::path::PathBuf;

use greentune_core_config::{Basis, manifest::RunStatus, platform::PlatformKind, selection::SelectionSoFar};
use greentune_run_folder::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Ask how far a job is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MonitorTraining {
    /// Id of the job, or of its run.
    pub job_id: String,
    /// Where it trains; this machine when absent.
    pub platform: Option<PlatformKind>,
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MonitorTrainingResponse {
    /// Id of the job.
    pub job_id: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Epochs done and begun, such as 3.25; absent before the first step, and for a run that is counted in steps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<f64>,
    /// Epochs in all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub total_epochs: Option<u64>,
    /// Share of validation images (of labelled tokens, for a language model) that are right, in `[0, 1]`, when last evaluated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// Training loss of the last step, in nats.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<f64>,
    /// Share of candidates that was trained on since samples are selected; absent before that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub activation_rate: Option<f64>,
    /// Share of full training's arithmetic that was not done so far, the warm-up included; absent where nothing is selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_savings: Option<f64>,
    /// Always `compute` beside it: no energy was compared. `compare_runs` compares it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(schema_with = "greentune_core_config::basis::of_saving")]
    pub energy_savings_basis: Option<Basis>,
    /// Minutes left at the present pace; absent when the run is not training.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eta_minutes: Option<f64>,
}

impl Workbench {
    /// Reads the figures of a job from the run's files.
    ///
    /// Errors: no run and no job has that id; the job is on another platform than the request says.
    pub async fn monitor_training(&self, request: MonitorTraining) -> Result<MonitorTrainingResponse> {
        self.blocking(move |workbench| {
            let run = workbench.find_job(request.project_path.as_deref(), &request.job_id)?;
            workbench.look(&run, |view| {
                let kind = view.manifest().platform.kind;
                match request.platform.filter(|named| *named != kind) {
                    Some(other) => Err(WorkbenchError::InvalidValue {
                        key: "platform",
                        found: other.to_string(),
                        allowed: format!("{kind}, where the job is, or nothing"),
                    }),
                    None => Ok(job(view)),
                }
            })?
        })
        .await
    }
}

fn job(run: &RunView) -> MonitorTrainingResponse {
    let step = run.last_step();
    let samples = step.and_then(|step| step.samples.as_ref());
    let evaluation = run.evaluation();
    let selecting = run.manifest().stages.iter().find_map(|stage| stage.selection.as_ref());
    let savings = run.compute_savings();
    MonitorTrainingResponse {
        epoch: samples.map(|samples| samples.epoch),
        total_epochs: evaluation.and_then(|evaluation| evaluation.total_epochs),
        accuracy: evaluation.map(|evaluation| evaluation.accuracy),
        loss: step.map(|step| step.train_loss),
        activation_rate: selecting.map(SelectionSoFar::activation_rate),
        energy_savings_basis: savings.map(|_| Basis::Compute),
        energy_savings: savings,
        eta_minutes: run.remaining_seconds().map(|seconds| seconds / 60.0),
        status: run.status(),
        job_id: run.manifest().run_id.clone(),
    }
}
