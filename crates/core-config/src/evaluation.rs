//! What an evaluation says about one model on one data set.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Validation records on which the loss is followed while training, at most.
pub const FOLLOWED_RECORDS: usize = 200;

/// Which weights were evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "model", content = "stage")]
pub enum EvaluatedModel {
    /// The base model without adapters.
    Base,
    /// The base model with the adapters of this stage.
    Stage(u8),
}

impl std::fmt::Display for EvaluatedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::Stage(stage) => write!(f, "stage {stage}"),
        }
    }
}

/// Figures of one model on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationReport {
    /// Which weights.
    #[serde(flatten)]
    pub model: EvaluatedModel,
    /// What the data set is to the run: `stage1 validation`, `stage2 validation`, `test`.
    pub dataset_role: String,
    /// The data set's file.
    pub dataset: PathBuf,
    /// Records evaluated.
    pub records: u64,
    /// Labelled (response) tokens.
    pub tokens: u64,
    /// Mean loss per labelled token, in nats.
    pub loss: f64,
    /// exp(loss).
    pub perplexity: f64,
    /// Share of response tokens whose most likely prediction is right, in `[0, 1]`.
    pub token_accuracy: f64,
    /// Share of records whose greedy generation equals the response, in `[0, 1]`; `None` when not generated.
    pub exact_match: Option<f64>,
    /// Corpus BLEU-4 of the generated responses against the expected ones, in `[0, 1]`; `None` when not generated.
    pub bleu: Option<f64>,
    /// Records whose response was generated for `exact_match` and `bleu`.
    pub generated_records: u64,
    /// A few generations beside what was expected.
    #[serde(default)]
    pub samples: Vec<GenerationSample>,
}

/// One generation beside what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GenerationSample {
    /// The prompt as the model saw it.
    pub prompt: String,
    /// The response in the data.
    pub expected: String,
    /// What the model wrote.
    pub generated: String,
}
