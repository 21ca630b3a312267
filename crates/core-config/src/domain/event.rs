//! The numbered events of a run: `events.jsonl`, append-only, exactly one terminal event.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    evaluation::{ClassificationReport, EvaluationReport},
    problem::Problem,
    selection::SelectionSoFar,
};

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Number of the event in its run, from 0, without gaps.
    pub seq: u64,
    /// When it was written.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// A worker began, or went on after an interruption or a cancel.
    Started {
        /// Process id of the worker.
        pid: u32,
        /// Device that trains, such as `cpu (flex, 2 threads)`.
        device: String,
        /// Whether it continues from a checkpoint.
        resumed: bool,
    },
    /// A stage began or was taken up again.
    StageStarted {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps that the stage has in all.
        total_steps: u64,
        /// Step from which it goes on (0 for a fresh stage).
        from_step: u64,
        /// Training records kept, after filtering.
        train_records: u64,
        /// Parameters that are trained.
        trainable_parameters: u64,
    },
    /// An optimizer step ended.
    Step(StepMetrics),
    /// The model was evaluated on the validation records.
    Evaluated {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps done.
        step: u64,
        /// Mean loss per labelled token of the validation records, in nats.
        validation_loss: f64,
        /// exp(validation_loss).
        perplexity: f64,
        /// Share of labelled tokens whose most likely prediction is right, in `[0, 1]`.
        token_accuracy: f64,
    },
    /// An epoch of an image classifier ended, and it was evaluated on the validation images.
    EpochFinished(EpochMetrics),
    /// A checkpoint was written and is complete.
    CheckpointSaved {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps done.
        step: u64,
        /// Its folder, relative to the run.
        path: String,
    },
    /// Energy and emissions of the stage so far.
    Emissions(EmissionsSoFar),
    /// Something that the user should know and that did not end the run.
    Warning {
        /// Stable code `area.reason`.
        code: String,
        /// What happened.
        message: String,
    },
    /// A stage ended.
    StageFinished {
        /// Stage, from 1.
        stage: u8,
        /// Training seconds, over all attempts.
        duration_seconds: f64,
        /// Mean training loss of the last tenth of the steps, in nats per token.
        final_train_loss: f64,
        /// Energy and emissions of the stage.
        emissions: Option<EmissionsSoFar>,
        /// Largest resident memory of the worker so far, in bytes; absent where the system does not tell.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        peak_memory_bytes: Option<u64>,
    },
    /// Models were compared on the validation records: base, and the stages so far.
    ModelsEvaluated {
        /// Stage, from 1.
        stage: u8,
        /// One report per model and data set.
        reports: Vec<EvaluationReport>,
    },
    /// An image classifier was evaluated in full at the end of its stage.
    Classified {
        /// Stage, from 1.
        stage: u8,
        /// What it got right and wrong.
        report: ClassificationReport,
    },
    /// Terminal: every stage that was asked for is trained.
    Finished {
        /// Seconds of this attempt.
        duration_seconds: f64,
    },
    /// Terminal: the run failed.
    Failed {
        /// Why.
        problem: Problem,
    },
    /// Terminal: the run ended on request or with its budget, at a step boundary, with a checkpoint.
    Cancelled {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps done in it.
        step: u64,
        /// Why, when nobody asked for it, such as a budget that is spent.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
}

impl EventKind {
    /// Whether this event ends a run.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. } | Self::Cancelled { .. })
    }

    /// Whether its times, energies and emissions can be: [`is_possible`].
    pub fn is_possible(&self) -> bool {
        match self {
            Self::Emissions(emissions) => emissions.is_possible(),
            Self::EpochFinished(epoch) => {
                is_possible(epoch.seconds) && is_possible(epoch.energy_kwh.unwrap_or_default())
            }
            Self::StageFinished { duration_seconds, emissions, .. } => {
                is_possible(*duration_seconds) && emissions.as_ref().is_none_or(EmissionsSoFar::is_possible)
            }
            Self::Finished { duration_seconds } => is_possible(*duration_seconds),
            _ => true,
        }
    }
}

/// The greatest number of seconds, kWh, kg or W that is read. It is far above what there can be (in kWh thirty times what
/// mankind uses of electricity in a year), and sums of such numbers are finite.
pub const HIGHEST_FIGURE: f64 = 1e15;

/// Whether a number of seconds, kWh, kg or W can be: it is from 0 to [`HIGHEST_FIGURE`].
pub fn is_possible(figure: f64) -> bool {
    (0.0..=HIGHEST_FIGURE).contains(&figure)
}

impl EmissionsSoFar {
    /// Whether every figure can be.
    pub fn is_possible(&self) -> bool {
        let figures = [self.duration_seconds, self.energy_kwh, self.emissions_kg_co2, self.power_w];
        let power = self.power.map_or([0.0; 3], |power| [power.cpu_w, power.gpu_w, power.ram_w]);
        figures.into_iter().chain(power).all(is_possible)
    }
}

/// Figures of one optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepMetrics {
    /// Stage, from 1.
    pub stage: u8,
    /// Optimizer steps done, this one included.
    pub step: u64,
    /// Optimizer steps of the stage in all.
    pub total_steps: u64,
    /// Mean loss per labelled token, in nats.
    pub train_loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens of the step that were not padding; 0 for images.
    pub tokens: u64,
    /// Tokens per second of the step; 0 for images.
    pub tokens_per_second: f64,
    /// The step in samples: of an image classifier, and where samples are selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub samples: Option<SampleMetrics>,
}

/// An optimizer step, counted in samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleMetrics {
    /// Samples that the step trained on.
    pub trained: u64,
    /// Trained samples per second; the time includes scoring and skipping since the step before.
    pub per_second: f64,
    /// Epochs done, with the share of the current one, such as 3.25: of a language model in this stage, else over both
    /// stages.
    pub epoch: f64,
    /// What was selected in the stage so far; absent where nothing is selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub selection: Option<SelectionSoFar>,
}

/// Figures of one epoch of an image classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EpochMetrics {
    /// Stage, from 1.
    pub stage: u8,
    /// Optimizer steps done in the stage.
    pub step: u64,
    /// Epochs done, over both stages.
    pub epoch: u64,
    /// Epochs of both stages in all.
    pub total_epochs: u64,
    /// Mean loss of the images that were trained on, in nats.
    pub train_loss: f64,
    /// Mean loss of the validation images, in nats.
    pub validation_loss: f64,
    /// Share of validation images whose most likely class is right, in `[0, 1]`.
    pub accuracy: f64,
    /// Share whose class is among the five most likely; absent with fewer than six classes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub top5_accuracy: Option<f64>,
    /// Seconds since the stage began, over all attempts: training, scoring and evaluation.
    pub seconds: f64,
    /// Energy of the run so far in kWh; absent when it is not metered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_kwh: Option<f64>,
    /// What was selected in this epoch; absent where nothing is selected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub selection: Option<SelectionSoFar>,
}

/// Energy and emissions of a stage so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmissionsSoFar {
    /// Stage, from 1.
    pub stage: u8,
    /// Metered seconds, over all attempts.
    pub duration_seconds: f64,
    /// Energy in kWh.
    pub energy_kwh: f64,
    /// Emissions in kg CO2-equivalent.
    pub emissions_kg_co2: f64,
    /// Power at the last sample, in W.
    pub power_w: f64,
    /// The same by component; absent in events of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub power: Option<ComponentPower>,
    /// How the energy was got: `measured`, `modelled` or `mixed`.
    pub basis: String,
}

/// Power by component, in W without PUE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentPower {
    /// The processor.
    pub cpu_w: f64,
    /// All GPUs.
    pub gpu_w: f64,
    /// Memory.
    pub ram_w: f64,
}
