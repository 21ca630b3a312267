//! What a worker process is asked to do besides training, and what it answers: JSON files both.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::counts::DatasetCounts;
use crate::{
    agreement::{AgreementFindings, AgreementTask},
    evaluation::{ClassificationReport, EvaluationReport, RecordOutputs},
    generation::{GenerateTask, GeneratedText},
    memory::{MemoryInputs, ModelShape},
    preparation::{DatasetPreparation, PrepareTask},
    problem::Problem,
    settings::{DatasetFormat, DatasetSchema, Settings},
    tuning::{TuneFindings, TuneTask},
};

/// A task for `greentune worker --task FILE`; the answer is written to `--answer FILE`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum WorkerTask {
    /// Evaluate a stage's adapters (and the base model beside it).
    Evaluate(EvaluateTask),
    /// Have models answer prompts.
    Generate(Box<GenerateTask>),
    /// Say how far an exported model agrees with the trained one.
    Agree(Box<AgreementTask>),
    /// Show what the model will see of a data set.
    Inspect(Box<InspectTask>),
    /// Say whether data sets can be trained on.
    CheckData(Box<CheckDataTask>),
    /// Split a data set and report on its quality.
    Prepare(Box<PrepareTask>),
    /// Find out what training a run will need.
    Plan(PlanTask),
    /// Try learning rates.
    Tune(TuneTask),
    /// Say which devices this binary can train on here.
    ProbeDevices,
}

/// The answer to a [`WorkerTask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum WorkerAnswer {
    /// To [`WorkerTask::Evaluate`]: the stage first, then the base model.
    Evaluated {
        /// One report per model.
        reports: Vec<EvaluationReport>,
        /// All that the models wrote, record by record.
        #[serde(default)]
        outputs: Vec<RecordOutputs>,
    },
    /// To [`WorkerTask::Evaluate`] of an image classifier.
    Classified {
        /// Its report.
        report: Box<ClassificationReport>,
    },
    /// To [`WorkerTask::Generate`].
    Generated {
        /// For each prompt in turn what each model wrote.
        texts: Vec<Vec<GeneratedText>>,
    },
    /// To [`WorkerTask::Agree`].
    Agreed(AgreementFindings),
    /// To [`WorkerTask::Inspect`].
    Inspected(DatasetInspection),
    /// To [`WorkerTask::CheckData`].
    DataChecked {
        /// One per data set of the task, in its order.
        datasets: Vec<CheckedDataset>,
    },
    /// To [`WorkerTask::Prepare`].
    Prepared(Box<DatasetPreparation>),
    /// To [`WorkerTask::Plan`].
    Planned(Box<PlanFindings>),
    /// To [`WorkerTask::Tune`].
    Tuned(Box<TuneFindings>),
    /// To [`WorkerTask::ProbeDevices`].
    Devices {
        /// Every device kind of greentune.
        devices: Vec<DeviceReport>,
    },
    /// The task failed.
    Failed {
        /// Why.
        problem: Problem,
    },
}

/// Evaluate `stage` of the run in `run_folder` on `dataset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateTask {
    /// The run's folder.
    pub run_folder: PathBuf,
    /// Stage whose adapters are evaluated.
    pub stage: u8,
    /// The data set's file.
    pub dataset: PathBuf,
    /// Records for which a response is generated, at most (the first ones).
    pub generate_records: usize,
    /// Whether the base model is evaluated beside it.
    pub with_base: bool,
    /// Whether choices are asked in the chat template; as the run's records are written when absent.
    #[serde(default)]
    pub chat_template: Option<bool>,
}

/// Find out what training the run in `run_folder` will need. Nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTask {
    /// The run's folder.
    pub run_folder: PathBuf,
    /// Whether to do a few steps, when they fit into memory.
    pub measure: bool,
}

/// What training a run will need, as far as the engine is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFindings {
    /// Device that will train, such as `cpu (flex, 2 threads)`.
    pub device: String,
    /// Whether the device is the processor, whose memory is the machine's.
    pub on_cpu: bool,
    /// The base model's sizes.
    pub shape: ModelShape,
    /// What memory depends on, with the largest batch of all stages.
    pub memory: MemoryInputs,
    /// Stage with the largest batch.
    pub largest_stage: u8,
    /// The data of each stage.
    pub stages: Vec<PlanStage>,
    /// What was measured; absent when it was not asked for or does not fit into memory.
    pub measured: Option<PlanMeasurement>,
}

/// The work of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanStage {
    /// Stage, from 1.
    pub stage: u8,
    /// Tokens of all its steps.
    pub tokens: u64,
    /// Tokens of its largest micro-batch.
    pub largest_batch_tokens: u64,
    /// Tokens of the evaluations between steps and of the scoring for the reports at its end.
    pub evaluation_tokens: u64,
    /// Records of the same.
    pub evaluation_records: u64,
    /// Records for which its reports write text.
    pub generated_records: u64,
    /// Tokens generated for them, if each response is as long as it may become.
    pub generated_tokens: u64,
}

/// What a few steps took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanMeasurement {
    /// Seconds to load model and data.
    pub loading_seconds: f64,
    /// Tokens per second of each counted step, by stage.
    pub step_tokens_per_second: Vec<(u8, Vec<f64>)>,
    /// Tokens per second of an evaluation, forward pass alone.
    pub evaluation_tokens_per_second: f64,
    /// Tokens per second when text is written.
    pub generation_tokens_per_second: Option<f64>,
    /// Mean power while it was measured, in W, PUE included; absent when metering is off or impossible.
    pub power_w: Option<f64>,
    /// How the power was got: `measured`, `modelled` or `mixed`.
    pub power_basis: String,
    /// Distance of the farther end of the meter's interval, as a fraction.
    pub power_uncertainty: f64,
    /// Ends of the meter's interval as factors of the power, such as `[0.5, 3.0]`; symmetric when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub power_factors: Option<[f64; 2]>,
}

/// Show what the model will see of `dataset` under `settings`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InspectTask {
    /// Resolved settings of the project.
    pub settings: Settings,
    /// Absolute folder of the base model (its tokenizer and chat template are used).
    pub base_model_path: PathBuf,
    /// The data set's file.
    pub dataset: PathBuf,
    /// Records that are shown in full, at most.
    pub show: usize,
}

/// Say whether `datasets` can be trained on under `settings`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDataTask {
    /// Resolved settings of the run.
    pub settings: Settings,
    /// Absolute folder of the base model (its tokenizer and chat template are used).
    pub base_model_path: PathBuf,
    /// The data sets' files.
    pub datasets: Vec<PathBuf>,
    /// Records that are read of each at most; more while none of them can be used.
    pub records: u64,
}

/// What a look at a data set says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedDataset {
    /// The data set's file.
    pub dataset: PathBuf,
    /// Whether all of it was read.
    pub is_complete: bool,
    /// What was kept and dropped of what was read.
    pub counts: DatasetCounts,
    /// Why it cannot be trained on.
    pub problem: Option<Problem>,
}

/// What the model will see of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetInspection {
    /// The data set's file.
    pub dataset: PathBuf,
    /// The file's format.
    pub format: DatasetFormat,
    /// What its records look like, as declared or as recognised by the first one.
    pub schema: DatasetSchema,
    /// Where the prompt's form comes from: `chat template of the model`, `settings`, `instruction/response`; `none`
    /// for plain text.
    pub template_source: String,
    /// What was kept and dropped.
    pub counts: DatasetCounts,
    /// Records that the quality weighting favours.
    pub high_quality_records: u64,
    /// Tokens per kept record: minimum, median, 95th percentile, maximum.
    pub tokens_per_record: [u64; 4],
    /// Labelled (response) tokens over all kept records.
    pub labelled_tokens: u64,
    /// All tokens over all kept records.
    pub total_tokens: u64,
    /// Control tokens that are spelled out in the records' own texts, the most frequent first.
    #[serde(default)]
    pub control_tokens: Vec<ControlTokenCount>,
    /// The first records in full.
    pub records: Vec<InspectedRecord>,
}

/// How often a control token of the tokenizer, such as `<|endoftext|>`, is spelled out in what records say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlTokenCount {
    /// The token.
    pub token: String,
    /// Kept records that hold it.
    pub records: u64,
    /// Line of the first.
    pub first_line: u64,
}

/// A record as the model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InspectedRecord {
    /// Line in the file, from 1.
    pub line: u64,
    /// Sampling weight.
    pub weight: f64,
    /// Pieces of text in order; labelled ones are what the loss is computed on.
    pub pieces: Vec<InspectedPiece>,
    /// Tokens in all.
    pub tokens: u64,
    /// Whether it was truncated.
    pub truncated: bool,
}

/// A piece of a record's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InspectedPiece {
    /// The text, special tokens spelled out.
    pub text: String,
    /// Whether the loss is computed on it.
    pub labelled: bool,
}

/// A device kind, and whether this binary can train on it here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceReport {
    /// `cpu`, `wgpu`, `cuda`, `metal`.
    pub device: String,
    /// Whether training on it is possible here.
    pub available: bool,
    /// What was found, or why it cannot be used.
    pub detail: String,
}
