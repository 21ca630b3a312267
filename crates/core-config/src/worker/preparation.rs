//! Preparing a data set: the task and its result.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counts::DatasetCounts;
use crate::settings::{DatasetSchema, Settings};

/// Split `datasets` into training, validation and test records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrepareTask {
    /// Resolved settings of the project; `dataset.*_split` are the shares.
    pub settings: Settings,
    /// Absolute folder of the base model (its tokenizer and chat template are used); without one the records are split,
    /// and their tokens are not counted.
    pub base_model_path: Option<PathBuf>,
    /// Why there is no base model.
    #[serde(default)]
    pub no_base_model: Option<String>,
    /// The files, all of one schema.
    pub datasets: Vec<PathBuf>,
    /// Folder that gets a file per split.
    pub out: PathBuf,
    /// Folder that gets the quality report.
    pub reports: PathBuf,
    /// Seed of the split.
    pub seed: u64,
    /// Whether records that repeat an earlier one are left out.
    pub deduplicate: bool,
    /// Whether files of an earlier preparation are replaced.
    pub force: bool,
}

impl PrepareTask {
    /// Every file that the preparation may write: the splits, and the report named after the first data set.
    pub fn outputs(&self) -> Vec<PathBuf> {
        let stem = self.datasets.first().and_then(|path| path.file_stem()).unwrap_or_default();
        let mut name = stem.to_string_lossy().into_owned();
        if self.datasets.len() > 1 {
            name = format!("{name}-and-{}-more", self.datasets.len() - 1);
        }
        let splits = ["train", "validation", "test"].map(|split| self.out.join(format!("{split}.jsonl")));
        let report = [".md", ".json", "-tokens.svg", "-labels.svg", "-quality.svg"]
            .map(|ending| self.reports.join(format!("{name}{ending}")));
        splits.into_iter().chain(report).collect()
    }
}

/// The result of a preparation; also the quality report's JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetPreparation {
    /// The files that were read.
    pub datasets: Vec<PathBuf>,
    /// What their records look like.
    pub schema: DatasetSchema,
    /// Seed of the split.
    pub seed: u64,
    /// What was kept and dropped, before duplicates were left out.
    pub counts: DatasetCounts,
    /// Records that repeat an earlier one but for case and white space.
    pub duplicates: u64,
    /// Whether those were left out.
    pub deduplicated: bool,
    /// The splits that have records.
    pub splits: Vec<PreparedSplit>,
    /// What the splits have in common.
    pub leaks: LeakReport,
    /// Whether tokens were counted, which needs a base model; without one every figure of tokens is 0.
    #[serde(default = "yes")]
    pub tokens_counted: bool,
    /// Tokens per record.
    pub tokens: Histogram,
    /// Share of a record's tokens that the loss is computed on.
    pub label_share: Histogram,
    /// Values of the quality field, where they are numbers.
    pub quality: Option<Histogram>,
    /// Values of the quality field, where they are words or flags, and how often each occurs.
    pub quality_words: Vec<WordCount>,
    /// What should be looked at before training.
    pub warnings: Vec<String>,
    /// The report for people.
    pub report: PathBuf,
    /// The files of the report, its histograms among them.
    pub report_files: Vec<PathBuf>,
}

fn yes() -> bool {
    true
}

/// A split and its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreparedSplit {
    /// `train`, `validation` or `test`.
    pub name: String,
    /// The file: one JSON object per line, with every field of the record.
    pub path: PathBuf,
    /// Records.
    pub records: u64,
    /// Records that the quality weighting favours.
    pub high_quality_records: u64,
    /// Share of draws that go to those when they are drawn as often as `training.quality_weight_multiplier` says, in
    /// `[0, 1]`.
    pub high_quality_draws: f64,
    /// Tokens as the model sees them.
    pub tokens: u64,
    /// Tokens that the loss is computed on.
    pub labelled_tokens: u64,
}

/// Records of validation and test that also occur, or nearly occur, in training.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakReport {
    /// Records that are also training records but for case and white space.
    pub same_record: u64,
    /// Others whose prompt is also that of a training record.
    pub same_prompt: u64,
    /// Others that share about four fifths or more of their three-word sequences with a training record, as
    /// estimated by MinHash.
    pub near_duplicate: u64,
    /// The first of them.
    pub examples: Vec<Leak>,
}

/// A record outside training and the training record that it resembles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// What they share: `same_record`, `same_prompt` or `near_duplicate`.
    pub kind: String,
    /// The split of the record.
    pub split: String,
    /// Where the record stands: file and line.
    pub record: String,
    /// Where the training record stands.
    pub train_record: String,
}

/// How often a word occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WordCount {
    /// The word.
    pub word: String,
    /// Records that have it.
    pub records: u64,
}

/// How many values fall into each of some ranges of equal width.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// Where the first range begins.
    pub from: f64,
    /// Width of a range.
    pub width: f64,
    /// Values per range; the last one holds its upper end too.
    pub counts: Vec<u64>,
    /// Least value.
    pub least: f64,
    /// The value in the middle.
    pub median: f64,
    /// The value that 95 of 100 do not exceed.
    pub p95: f64,
    /// Greatest value.
    pub most: f64,
}
