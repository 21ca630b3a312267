//! Where a run stands.

use std::path::PathBuf;

use greentune_core_config::{
    Problem, Suggestion,
    event::EmissionsSoFar,
    manifest::{RunManifest, RunStatus, StageRecord},
};
use greentune_run_folder::{Evaluation, RunView};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, StageProgress, Workbench, run::explain_end};

/// Ask where a run stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MonitorTrainingProgress {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Whether to report energy and emissions; true when absent.
    pub include_emissions: Option<bool>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MonitorTrainingProgressResponse {
    /// Id of the run.
    pub run_id: String,
    /// Status.
    pub status: RunStatus,
    /// Stage at work, or the last one that was.
    pub current_stage: u8,
    /// Optimizer steps done in that stage.
    pub current_iteration: u64,
    /// Optimizer steps of that stage in all.
    pub total_iterations: u64,
    /// Share of all steps of all stages that is done, in percent.
    pub progress_percentage: f64,
    /// Figures of the last step.
    pub metrics: TrainingMetrics,
    /// Emissions of the run so far, in kg CO2-equivalent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carbon_emissions_kg: Option<f64>,
    /// Energy and emissions per stage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions: Option<Vec<EmissionsSoFar>>,
    /// When training will be done at the present pace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub estimated_completion_time: Option<Timestamp>,
    /// Seconds until then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remaining_seconds: Option<f64>,
    /// Device that trains.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// The stages.
    pub stages: Vec<StageProgress>,
    /// Warnings of the run, newest last.
    pub warnings: Vec<String>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<Problem>,
    /// What to do next, when the run does not go on by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Operations that help then.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub suggestions: Vec<Suggestion>,
    /// Number of the last event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_seq: Option<u64>,
}

/// Figures of the last optimizer step and of the last evaluation: that at the stage's end, once it is completed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingMetrics {
    /// Mean loss per labelled token of the last step, in nats.
    pub train_loss: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: Option<f64>,
    /// Tokens per second of the last step; absent for images.
    pub tokens_per_second: Option<f64>,
    /// Images per second of the last step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub samples_per_second: Option<f64>,
    /// Share of validation images that are right, in `[0, 1]`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// Mean loss per labelled token of the validation records, in nats.
    pub validation_loss: Option<f64>,
    /// exp(validation_loss).
    pub perplexity: Option<f64>,
    /// Share of labelled validation tokens that are predicted right, in `[0, 1]`.
    pub token_accuracy: Option<f64>,
}

impl Workbench {
    /// Reads status, progress, metrics, emissions and the time left from the run's files.
    pub async fn monitor_training_progress(
        &self,
        request: MonitorTrainingProgress,
    ) -> Result<MonitorTrainingProgressResponse> {
        self.blocking(move |workbench| {
            let run = workbench.find_run(request.project_path.as_deref(), &request.run_id)?;
            workbench.look(&run, |view| progress_of(view, request.include_emissions.unwrap_or(true)))
        })
        .await
    }
}

/// Where `run` stands.
pub(crate) fn progress_of(run: &RunView, include_emissions: bool) -> MonitorTrainingProgressResponse {
    let summary = run.summary();
    let status = summary.status;
    let mut manifest = run.manifest().clone();
    explain_end(run.layout(), &mut manifest);
    let current = current_stage(&manifest);
    let remaining_seconds = run.remaining_seconds();
    let emissions: Vec<_> = manifest.stages.iter().filter_map(|stage| stage.emissions.clone()).collect();
    MonitorTrainingProgressResponse {
        status,
        current_stage: current.map_or(1, |stage| stage.stage),
        current_iteration: current.map_or(0, |stage| stage.steps_done),
        total_iterations: current.map_or(0, |stage| stage.total_steps),
        progress_percentage: summary.progress_percentage,
        metrics: metrics(run, current),
        carbon_emissions_kg: summary.carbon_emissions_kg.filter(|_| include_emissions),
        emissions: (include_emissions && !emissions.is_empty()).then_some(emissions),
        estimated_completion_time: remaining_seconds.and_then(from_now),
        remaining_seconds,
        device: run.device().map(str::to_owned),
        stages: summary.stages,
        warnings: run.warnings(),
        hint: explained(&manifest).and_then(|problem| problem.hint.clone()),
        suggestions: explained(&manifest)
            .map_or_else(|| suggestions(status, &summary.run_id), |problem| problem.suggestions.clone()),
        last_seq: run.last_seq(),
        problem: manifest.problem,
        run_id: summary.run_id,
    }
}

/// The stage at work, else the last one that was, else the first.
fn current_stage(manifest: &RunManifest) -> Option<&StageRecord> {
    let stages = &manifest.stages;
    let touched = stages.iter().rev().find(|stage| stage.status != RunStatus::NotStarted);
    stages.iter().find(|stage| stage.status == RunStatus::Running).or(touched).or(stages.first())
}

fn metrics(run: &RunView, current: Option<&StageRecord>) -> TrainingMetrics {
    let step = run.last_step();
    // What the stage came to is newer than the last evaluation while it was trained.
    let at_end = current.filter(|stage| stage.status == RunStatus::Completed);
    let evaluation = at_end.and_then(result_of).or_else(|| run.evaluation().cloned());
    let evaluation = evaluation.as_ref();
    let (images, tokens) = match evaluation {
        Some(evaluation) if evaluation.total_epochs.is_some() => (Some(evaluation.accuracy), None),
        Some(evaluation) => (None, Some(evaluation.accuracy)),
        None => (None, None),
    };
    TrainingMetrics {
        train_loss: step.map(|step| step.train_loss),
        learning_rate: step.map(|step| step.learning_rate),
        tokens_per_second: step.filter(|step| step.tokens > 0).map(|step| step.tokens_per_second),
        samples_per_second: step.and_then(|step| Some(step.samples.as_ref()?.per_second)),
        validation_loss: evaluation.map(|evaluation| evaluation.validation_loss),
        perplexity: evaluation.and_then(|evaluation| evaluation.perplexity),
        accuracy: images,
        token_accuracy: tokens,
    }
}

/// What `stage` came to on its validation data, where it was evaluated at its end.
fn result_of(stage: &StageRecord) -> Option<Evaluation> {
    if let Some(report) = stage.classification.as_ref().filter(|report| report.dataset_role == "validation") {
        let total_epochs = stage.epochs.last().map(|epoch| epoch.total_epochs).or(Some(0));
        return Some(Evaluation {
            validation_loss: report.loss,
            perplexity: None,
            accuracy: report.accuracy,
            total_epochs,
        });
    }
    let report = stage.own_validation()?;
    Some(Evaluation {
        validation_loss: report.loss,
        perplexity: Some(report.perplexity),
        accuracy: report.token_accuracy,
        total_epochs: None,
    })
}

/// The likely end of a worker that left no word, where it is known.
fn explained(manifest: &RunManifest) -> Option<&Problem> {
    let is_interrupted = manifest.status == RunStatus::Interrupted;
    manifest.problem.as_ref().filter(|_| is_interrupted)
}

fn suggestions(status: RunStatus, run_id: &str) -> Vec<Suggestion> {
    let (purpose, operation) = match status {
        RunStatus::NotStarted => ("start it", "start_training"),
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Interrupted => {
            ("go on from the last checkpoint", "resume_training")
        }
        RunStatus::Queued | RunStatus::Running | RunStatus::Completed => return Vec::new(),
    };
    vec![Suggestion::new(purpose, operation).with("run_id", run_id)]
}

fn from_now(seconds: f64) -> Option<Timestamp> {
    Timestamp::now().checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}
