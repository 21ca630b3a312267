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

/// Figures of an image classifier on one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassificationReport {
    /// What the images are to the run: `validation` or `test`.
    pub dataset_role: String,
    /// Where they lie.
    pub dataset: PathBuf,
    /// Images evaluated.
    pub images: u64,
    /// Images that could not be decoded, and are in no figure.
    pub skipped: u64,
    /// Mean cross-entropy per image, in nats.
    pub loss: f64,
    /// Share of images whose most likely class is right, in `[0, 1]`.
    pub accuracy: f64,
    /// Share whose class is among the five most likely; absent with fewer than six classes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub top5_accuracy: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// `confusion[actual][predicted]`: images.
    pub confusion: Vec<Vec<u64>>,
}

/// What a classifier got right and wrong of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Images of the class.
    pub images: u64,
    /// Share of the images of this class that were predicted as it, in `[0, 1]`; absent when there are none.
    pub recall: Option<f64>,
    /// Share of the images predicted as this class that belong to it, in `[0, 1]`; absent when none was predicted.
    pub precision: Option<f64>,
}

impl ClassificationReport {
    /// Figures of each class, from the confusion matrix.
    pub fn per_class(&self) -> Vec<ClassFigures> {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        self.classes
            .iter()
            .enumerate()
            .map(|(class, name)| {
                let images = self.confusion[class].iter().sum();
                let predicted = self.confusion.iter().map(|row| row[class]).sum();
                let right = self.confusion[class][class];
                ClassFigures {
                    class: name.clone(),
                    images,
                    recall: share(right, images),
                    precision: share(right, predicted),
                }
            })
            .collect()
    }
}
