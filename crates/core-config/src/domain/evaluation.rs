//! What an evaluation says about one model on one data set.

use std::{collections::BTreeMap, path::PathBuf};

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
    /// Corpus BLEU-4 of the generated responses against the expected ones, a hundredth of sacrebleu's; `None` when not
    /// generated.
    pub bleu: Option<f64>,
    /// Records whose response was generated.
    pub generated_records: u64,
    /// Every figure with its interval, those above among them, by the names of [`metric`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub figures: Vec<MetricFigure>,
    /// A few generations beside what was expected.
    #[serde(default)]
    pub samples: Vec<GenerationSample>,
    /// How choices stood behind their questions: `plain` or `chat template`; of multiple choice alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub choice_form: Option<String>,
}

impl EvaluationReport {
    /// The figure of this name.
    pub fn figure(&self, metric: &str) -> Option<&MetricFigure> {
        self.figures.iter().find(|figure| figure.metric == metric)
    }
}

/// A figure of one model on one data set, and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricFigure {
    /// Its name, one of [`metric`].
    pub metric: String,
    /// The figure: in `[0, 1]`, but for perplexity and the scores of a command.
    pub value: f64,
    /// Where it lies with 95 % confidence, were the records others of the same kind; absent with fewer than two.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<MetricInterval>,
    /// Records that it was computed on.
    pub records: u64,
}

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How it was got.
    pub method: IntervalMethod,
}

/// How an interval was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// Wilson's score interval, of a share of records.
    Wilson,
    /// Percentiles of 1000 resamples of the records, with a fixed seed.
    Bootstrap,
}

/// Names of figures.
pub mod metric {
    /// exp of the mean loss per labelled token.
    pub const PERPLEXITY: &str = "perplexity";
    /// Share of labelled tokens whose most likely prediction is right.
    pub const TOKEN_ACCURACY: &str = "token_accuracy";
    /// Share of generated responses that equal the expected ones.
    pub const EXACT_MATCH: &str = "exact_match";
    /// Corpus BLEU-4, a hundredth of sacrebleu's.
    pub const BLEU: &str = "bleu";
    /// Corpus chrF2, a hundredth of sacrebleu's.
    pub const CHRF: &str = "chrf";
    /// Mean ROUGE-L F-measure, as rouge-score's.
    pub const ROUGE_L: &str = "rouge_l";
    /// Share of generated responses that are JSON, where JSON objects are expected.
    pub const JSON_PARSED: &str = "json_parsed";
    /// Share of generated responses that are the expected JSON object.
    pub const JSON_EQUAL: &str = "json_equal";
    /// Share of the fields of expected JSON objects that the generated responses have with the same value.
    pub const FIELD_ACCURACY: &str = "field_accuracy";
    /// In front of a field's name: share of records whose response has the expected value there.
    pub const FIELD: &str = "field.";
    /// Share of questions whose right choice has the largest log-likelihood: `acc` of lm-evaluation-harness.
    pub const CHOICE_ACCURACY: &str = "choice_accuracy";
    /// The same per character of the choice: `acc_norm`.
    pub const CHOICE_ACCURACY_NORM: &str = "choice_accuracy_norm";
    /// The same per byte of the choice: `acc_bytes`.
    pub const CHOICE_ACCURACY_BYTES: &str = "choice_accuracy_bytes";
    /// Mean score that the user's command gave.
    pub const CUSTOM: &str = "custom";

    /// The name in words, such as `token accuracy`.
    pub fn in_words(name: &str) -> String {
        match name {
            BLEU => String::from("BLEU"),
            CHRF => String::from("chrF"),
            ROUGE_L => String::from("ROUGE-L"),
            JSON_PARSED => String::from("is JSON"),
            JSON_EQUAL => String::from("equal JSON"),
            CHOICE_ACCURACY => String::from("choice (acc)"),
            CHOICE_ACCURACY_NORM => String::from("choice (acc_norm)"),
            CHOICE_ACCURACY_BYTES => String::from("choice (acc_bytes)"),
            CUSTOM => String::from("custom score"),
            _ => match name.strip_prefix(FIELD) {
                Some(field) => format!("field `{field}`"),
                None => name.replace('_', " "),
            },
        }
    }

    /// Whether the figure is a share of something counted, which people read in per cent.
    pub fn is_share(name: &str) -> bool {
        !matches!(name, PERPLEXITY | BLEU | CHRF | ROUGE_L | CUSTOM)
    }

    /// A value of it in words, such as `71.2 %` or `0.341`.
    pub fn value_in_words(name: &str, value: f64) -> String {
        if is_share(name) { crate::quantities::percent(value) } else { crate::quantities::number(value) }
    }
}

/// What the models wrote for one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordOutputs {
    /// The prompt as the models saw it.
    pub prompt: String,
    /// The response in the data.
    pub reference: String,
    /// What each model wrote, by its name: `base`, `stage 1`, `stage 2`.
    pub outputs: BTreeMap<String, String>,
}

/// The generations of several models on the same records, record by record.
pub fn side_by_side<'a>(
    models: impl IntoIterator<Item = (EvaluatedModel, &'a [GenerationSample])>,
) -> Vec<RecordOutputs> {
    let mut records: Vec<RecordOutputs> = Vec::new();
    for (model, samples) in models {
        for (index, sample) in samples.iter().enumerate() {
            if index == records.len() {
                records.push(RecordOutputs {
                    prompt: sample.prompt.clone(),
                    reference: sample.expected.clone(),
                    outputs: BTreeMap::new(),
                });
            }
            records[index].outputs.insert(model.to_string(), sample.generated.clone());
        }
    }
    records
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
