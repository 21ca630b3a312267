//! Short trials that choose a run's learning rates: what a worker is asked, and what the manifest keeps of them.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::EmissionsSoFar;

/// Try learning rates on the run in `run_folder`. Of the run's files only those of its tuning's emissions are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneTask {
    /// The run's folder.
    pub run_folder: PathBuf,
    /// Steps of a trial that is not given up before; a fifth of the stage's when absent.
    pub steps: Option<u64>,
    /// Learning rates of stage 1 to try; those around the usual one when empty.
    pub learning_rates: Vec<f64>,
    /// Batch sizes to try with the learning rate that was chosen; the run's own alone when empty.
    pub batch_sizes: Vec<u64>,
}

/// What the trials said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneFindings {
    /// Device that trained, such as `cpu (flex, 2 threads)`.
    pub device: String,
    /// The stages that were tried, in order.
    pub stages: Vec<StageTuning>,
    /// Seconds of all trials, with loading.
    pub duration_seconds: f64,
    /// Energy and emissions of them, under stage 0; absent when metering is off or impossible.
    pub emissions: Option<EmissionsSoFar>,
    /// Why they are not metered, where they should be.
    pub not_metered: Option<String>,
}

/// The trials of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTuning {
    /// Stage, from 1.
    pub stage: u8,
    /// Mean loss of the validation records before any step, in nats.
    pub first_loss: f64,
    /// Every trial, in the order in which they began.
    pub trials: Vec<Trial>,
    /// The learning rate that was chosen.
    pub learning_rate: f64,
    /// The batch size that was chosen.
    pub batch_size: u64,
}

/// A short training from the beginning of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Records per forward pass.
    pub batch_size: u64,
    /// Optimizer steps that were done.
    pub steps: u64,
    /// Optimizer steps after which it would have been over: less was done where others were ahead.
    pub of_steps: u64,
    /// Mean loss of the same validation records after them, in nats; absent when it diverged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_loss: Option<f64>,
}

/// How a run was tuned, as its manifest keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TuningRecord {
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Device that trained.
    pub device: String,
    /// The trials.
    pub stages: Vec<StageTuning>,
    /// The settings that were changed.
    pub changes: Vec<SettingChange>,
    /// Seconds of all trials, with loading.
    pub duration_seconds: f64,
    /// Energy and emissions of the trials, which are not part of the stages'; absent when they were not metered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions: Option<EmissionsSoFar>,
}

/// A setting before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// Dotted key.
    pub key: String,
    /// Its value before.
    pub before: f64,
    /// Where that came from.
    pub source_before: String,
    /// Its value now.
    pub after: f64,
}
