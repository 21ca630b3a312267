//! Resumes a run that was cancelled, interrupted or failed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::start_training::StartTrainingResponse;
use crate::{
    Result, Workbench, WorkbenchError,
    launch::{Demand, Overrides},
};

/// Resume a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ResumeTraining {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Return once the worker has begun (the default), or wait for the end (false).
    pub async_mode: Option<bool>,
    /// Refuse what does not fit into memory.
    pub memory_check: Option<bool>,
    /// Train although data or base model have changed.
    pub accept_changed_inputs: Option<bool>,
    /// New carbon.budget_kg, in kg CO2e over all stages.
    pub budget_kg: Option<f64>,
    /// New carbon.budget_kwh, in kWh over all stages.
    pub budget_kwh: Option<f64>,
}

impl Workbench {
    /// Goes on from the last checkpoint, with the stages that the last start asked for.
    ///
    /// Errors: as [`Workbench::start_training`]; a run that was never started is a conflict.
    pub async fn resume_training(&self, request: ResumeTraining) -> Result<StartTrainingResponse> {
        let accept_changed_inputs = request.accept_changed_inputs.unwrap_or(false);
        let ResumeTraining { project_path, run_id, async_mode, memory_check, budget_kg, budget_kwh, .. } =
            request;
        for (key, budget) in [("budget_kg", budget_kg), ("budget_kwh", budget_kwh)] {
            if let Some(budget) = budget.filter(|budget| !budget.is_finite() || *budget <= 0.0) {
                return Err(WorkbenchError::InvalidValue {
                    key,
                    found: budget.to_string(),
                    allowed: String::from("a number above 0"),
                });
            }
        }
        let overrides =
            Overrides { memory_check, budget_kg, budget_kwh, accept_changed_inputs, ..Overrides::default() };
        self.train(project_path, run_id, Demand::Again, async_mode, overrides, None).await
    }
}
