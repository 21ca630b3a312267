//! `run-manifest.json`: identity, status, settings with sources, hashes, stages, artifacts, results.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    agreement::Agreement,
    evaluation::{ClassificationReport, EvaluatedModel, EvaluationReport},
    event::{EmissionsSoFar, EpochMetrics},
    platform::Job,
    problem::Problem,
    selection::SelectionSoFar,
    settings::Settings,
    tuning::TuningRecord,
};

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Configured; nobody has started it.
    NotStarted,
    /// Handed to a platform; no worker has begun.
    Queued,
    /// A worker trains it.
    Running,
    /// Every stage that was asked for is trained.
    Completed,
    /// A worker gave up; the manifest says why.
    Failed,
    /// Ended on request; can be resumed.
    Cancelled,
    /// The worker is gone without a terminal event; can be resumed.
    Interrupted,
}

impl RunStatus {
    /// Whether a worker is at work, or about to be.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Queued)
    }

    /// The status as it is written in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

impl std::fmt::Display for RunStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Version of the manifest's format that this version of greentune writes. Format 1 had absolute paths and the platform's
/// name alone.
pub const FORMAT_VERSION: u32 = 2;

/// The manifest of a run.
///
/// In memory all paths are absolute. In the file those inside the project are relative to it, so that a project's folder can
/// be moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunManifest {
    /// Version of this file's format.
    pub format_version: u32,
    /// Version of greentune that wrote it.
    pub greentune_version: String,
    /// The run's id: its folder's name.
    pub run_id: String,
    /// Name that the user gave.
    pub run_name: String,
    /// When it was configured.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When this file last changed.
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
    /// Where it stands.
    pub status: RunStatus,
    /// Where it trains, and its job there.
    pub platform: Job,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<Problem>,
    /// Process id of the worker while running.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    /// Number of the last event that this file has seen; absent in format 1 and before the first event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_seq: Option<u64>,
    /// Stages that the last start asked for; all of the project's when empty.
    #[serde(default)]
    pub requested_stages: Vec<u8>,
    /// Resolved settings.
    pub settings: Settings,
    /// Where each setting came from, by dotted key; keys left at their defaults are absent.
    pub sources: BTreeMap<String, String>,
    /// Data sets.
    pub data: RunData,
    /// Folder of the base model; of an image classifier the file of weights that it starts from, empty when
    /// they are drawn.
    pub base_model_path: PathBuf,
    /// SHA-256 of the inputs by path: data sets, and of the base model configuration, weights and tokenizer.
    pub input_hashes: BTreeMap<String, String>,
    /// Inputs that had changed when training was started or resumed, and were accepted, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub changed_inputs: Vec<ChangedInput>,
    /// Git revision of the project, when it is under git.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub git_revision: Option<String>,
    /// The trials that chose its learning rates, when it was tuned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tuning: Option<TuningRecord>,
    /// The stages.
    pub stages: Vec<StageRecord>,
    /// Files that the run made, by role, relative to the project.
    #[serde(default)]
    pub artifacts: BTreeMap<String, PathBuf>,
    /// What was exported of it, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub exports: Vec<ExportRecord>,
}

/// An export of a stage, as it was proven when it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportRecord {
    /// When it was made.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The stage.
    pub stage: u8,
    /// The form, such as `gguf`.
    pub format: String,
    /// Whether the adapters were merged into the base model.
    pub merged: bool,
    /// How weights were packed, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quantization: Option<String>,
    /// Its folder.
    pub path: PathBuf,
    /// SHA-256 of its files, by name.
    pub files: BTreeMap<String, String>,
    /// How far it answers as the trained model does, where both were asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agreement: Option<Agreement>,
}

/// An input that was not what the run was configured with any more, and that training went on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedInput {
    /// When it was accepted.
    #[schemars(with = "String")]
    pub accepted_at: Timestamp,
    /// The file or folder.
    pub path: PathBuf,
    /// Its SHA-256 until then.
    pub before: String,
    /// Its SHA-256 from then on.
    pub after: String,
}

/// The data sets of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunData {
    /// Training records of stage 1 (and of stage 2 when `stage2_train` is absent).
    pub train: PathBuf,
    /// Validation records of stage 1.
    pub validation: PathBuf,
    /// Test records.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test: Option<PathBuf>,
    /// Training records of stage 2.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stage2_train: Option<PathBuf>,
    /// Validation records of stage 2.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stage2_validation: Option<PathBuf>,
}

impl RunManifest {
    /// The base model as PEFT opens it: its id on the Hugging Face Hub, or the absolute path of its folder.
    pub fn base_model_name(&self) -> String {
        let base = &self.settings.base_model;
        if base.local_path.is_none() && !base.model_id.is_empty() {
            return base.model_id.clone();
        }
        self.base_model_path.display().to_string()
    }

    /// Calls `change` on every path of the manifest. An empty path stands for none and is left out.
    pub fn change_paths(&mut self, mut change: impl FnMut(&mut PathBuf)) {
        let Settings { base_model, vision, carbon, .. } = &mut self.settings;
        let settings = [
            &mut base_model.local_path,
            &mut vision.pretrained,
            &mut carbon.calibration_file,
            &mut carbon.equivalences_file,
        ];
        let RunData { train, validation, test, stage2_train, stage2_validation } = &mut self.data;
        let data = [test, stage2_train, stage2_validation];
        let reports = self.stages.iter_mut().flat_map(|stage| {
            let classified = stage.classification.iter_mut().map(|report| &mut report.dataset);
            stage.evaluations.iter_mut().map(|report| &mut report.dataset).chain(classified)
        });
        let problem = self.problem.iter_mut().filter_map(|problem| problem.location.as_mut()?.file.as_mut());
        settings
            .into_iter()
            .chain(data)
            .flatten()
            .chain([train, validation, &mut self.base_model_path])
            .chain(reports)
            .chain(problem)
            .chain(self.changed_inputs.iter_mut().map(|input| &mut input.path))
            .chain(self.exports.iter_mut().map(|export| &mut export.path))
            .filter(|path| !path.as_os_str().is_empty())
            .for_each(&mut change);
        let hashes = std::mem::take(&mut self.input_hashes).into_iter().map(|(path, hash)| {
            let mut path = PathBuf::from(path);
            change(&mut path);
            (path.to_string_lossy().into_owned(), hash)
        });
        self.input_hashes = hashes.collect();
    }
}

impl RunData {
    /// Training records of `stage`.
    pub fn train_of(&self, stage: u8) -> &PathBuf {
        match (stage, &self.stage2_train) {
            (2, Some(path)) => path,
            _ => &self.train,
        }
    }
    /// Validation records of `stage`.
    pub fn validation_of(&self, stage: u8) -> &PathBuf {
        match (stage, &self.stage2_validation) {
            (2, Some(path)) => path,
            _ => &self.validation,
        }
    }
}

/// Where a stage stands and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// Stage, from 1.
    pub stage: u8,
    /// Where it stands.
    pub status: RunStatus,
    /// Optimizer steps in all.
    pub total_steps: u64,
    /// Optimizer steps done.
    pub steps_done: u64,
    /// Training seconds, over all attempts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration_seconds: Option<f64>,
    /// Mean training loss of the last tenth of the steps, in nats per token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub final_train_loss: Option<f64>,
    /// Energy and emissions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions: Option<EmissionsSoFar>,
    /// Largest resident memory of the worker up to the stage's end, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_memory_bytes: Option<u64>,
    /// Evaluations at the stage's end: the base model beside it, stage 1's data for forgetting.
    #[serde(default)]
    pub evaluations: Vec<EvaluationReport>,
    /// Epochs of an image classifier.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub epochs: Vec<EpochMetrics>,
    /// What an image classifier got right and wrong at the stage's end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub classification: Option<ClassificationReport>,
    /// What was selected in the stage; absent where nothing is selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub selection: Option<SelectionSoFar>,
}

impl StageRecord {
    /// What the trained stage came to on its own validation records at its end.
    pub fn own_validation(&self) -> Option<&EvaluationReport> {
        let role = format!("stage{} validation", self.stage);
        let is_own = |report: &&EvaluationReport| {
            report.model == EvaluatedModel::Stage(self.stage) && report.dataset_role == role
        };
        self.evaluations.iter().find(is_own)
    }
}
