//! A run in short, as lists show it.

use std::path::PathBuf;

use greentune_core_config::{
    layout::RunLayout,
    manifest::{RunManifest, RunStatus, StageRecord},
    platform::PlatformKind,
    quantities::sum,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Id: the folder's name.
    pub run_id: String,
    /// Name that the user gave.
    pub run_name: String,
    /// The project's folder.
    pub project_path: PathBuf,
    /// Status, as derived now.
    pub status: RunStatus,
    /// Where it trains.
    pub platform: PlatformKind,
    /// When it was configured.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Share of all steps of all stages that is done, in percent.
    pub progress_percentage: f64,
    /// Emissions so far, in kg CO2-equivalent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carbon_emissions_kg: Option<f64>,
    /// The stages.
    pub stages: Vec<StageProgress>,
}

/// Where a stage stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageProgress {
    /// Stage, from 1.
    pub stage: u8,
    /// Status.
    pub status: RunStatus,
    /// Optimizer steps done.
    pub steps_done: u64,
    /// Optimizer steps in all.
    pub total_steps: u64,
    /// Mean training loss of the last tenth of the steps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub final_train_loss: Option<f64>,
    /// Token accuracy of the stage on its validation records at its end, in `[0, 1]`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token_accuracy: Option<f64>,
}

/// The run at `layout` in short, by its folded `manifest`.
pub(crate) fn of(layout: &RunLayout, manifest: &RunManifest) -> RunSummary {
    let metered = manifest.stages.iter().filter_map(|stage| stage.emissions.as_ref());
    let emissions: Vec<_> = metered.map(|emissions| emissions.emissions_kg_co2).collect();
    RunSummary {
        run_id: manifest.run_id.clone(),
        run_name: manifest.run_name.clone(),
        project_path: layout.project().root().to_owned(),
        status: manifest.status,
        platform: manifest.platform.kind,
        created_at: manifest.created_at,
        progress_percentage: progress_percentage(manifest),
        carbon_emissions_kg: (!emissions.is_empty()).then(|| sum(emissions)),
        stages: manifest.stages.iter().map(progress_of).collect(),
    }
}

/// Share of all steps of all stages that is done, in percent.
pub fn progress_percentage(manifest: &RunManifest) -> f64 {
    let done: f64 = manifest.stages.iter().map(|stage| stage.steps_done as f64).sum();
    let total: f64 = manifest.stages.iter().map(|stage| stage.total_steps as f64).sum();
    if total > 0.0 { 100.0 * done / total } else { 0.0 }
}

fn progress_of(stage: &StageRecord) -> StageProgress {
    StageProgress {
        stage: stage.stage,
        status: stage.status,
        steps_done: stage.steps_done,
        total_steps: stage.total_steps,
        final_train_loss: stage.final_train_loss,
        token_accuracy: stage.own_validation().map(|report| report.token_accuracy),
    }
}
