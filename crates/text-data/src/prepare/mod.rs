//! Preparing a data set: split by shares and seed, without duplicates, checked for leaks, with a report on quality.
//!
//! The files are read twice: once to see every record as the model would and decide where it goes, once to copy its
//! row there as it stands. About 500 bytes per record are kept in between, none of its text.

mod fingerprint;
mod histogram;
mod leaks;
mod output;
mod report;
mod split;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    preparation::{DatasetPreparation, LeakReport, PrepareTask, PreparedSplit, WordCount},
    settings::DatasetSchema,
    task::DatasetCounts,
};
use jiff::Timestamp;
use serde_json::Value;

use self::{
    fingerprint::Fingerprint,
    output::Output,
    split::{Candidate, SPLITS},
};
use super::{dataset, encode::Encoder, error::DataError, example::Example, record::Record, rows, schema};

/// Different words of the quality field that are counted.
const QUALITY_WORDS: usize = 20;

/// A usable record, without its text.
struct Entry {
    /// Index into the task's files.
    file: usize,
    line: u64,
    /// Number of its row over all files, from 0.
    row: usize,
    fingerprint: Fingerprint,
    high_quality: bool,
    /// NaN where the quality is no number.
    quality: f64,
    tokens: u32,
    labelled_tokens: u32,
}

/// All that the first reading finds.
#[derive(Default)]
struct Survey {
    entries: Vec<Entry>,
    counts: DatasetCounts,
    schema: Option<(usize, DatasetSchema)>,
    quality_words: Vec<WordCount>,
    duplicates: u64,
}

/// Splits the task's files and writes the splits and the report.
///
/// # Errors
/// As [`Encoder::new`] and [`super::Dataset::load`]; [`DataError::MixedSchemas`]; [`DataError::Exists`] when something
/// would be replaced without `force`; [`DataError::WritesInput`]; [`DataError::Unwritable`].
pub fn prepare(task: &PrepareTask) -> Result<DatasetPreparation, DataError> {
    let output = Output::plan(task)?;
    let encoder = |folder: &PathBuf| Encoder::new(folder, &task.settings, Timestamp::now());
    let encoder = task.base_model_path.as_ref().map(encoder).transpose()?;
    let mut survey = survey(task, encoder.as_ref())?;
    dataset::not_empty(task.datasets.first().map_or(Path::new(""), |path| path), &survey.counts)?;
    survey.leave_out_duplicates(task.deduplicate);
    let splits = assign(&survey.entries, task);
    let leaks = leaks::find(&survey.entries, &splits, &task.datasets);
    let mut split_of_row = vec![None; survey.counts.read as usize];
    for (entry, split) in survey.entries.iter().zip(&splits) {
        split_of_row[entry.row] = Some(*split);
    }
    let written = output.write_splits(task, &split_of_row)?;
    let preparation = describe(task, survey, &splits, leaks, &output);
    output.publish(written, &preparation)?;
    Ok(preparation)
}

/// Reads every record as training would.
fn survey(task: &PrepareTask, encoder: Option<&Encoder>) -> Result<Survey, DataError> {
    let mut survey = Survey::default();
    for (file, path) in task.datasets.iter().enumerate() {
        let mut counts = std::mem::take(&mut survey.counts);
        let keep = |row: u64, record: &Record, example: Example| {
            survey.add(file, row, record, &example);
            Ok(())
        };
        let (_, schema) = dataset::read(path, &task.settings, encoder, &mut counts, keep)?;
        survey.counts = counts;
        survey.settle_schema(file, schema, &task.datasets)?;
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, file: usize, row: u64, record: &Record, example: &Example) {
        self.entries.push(Entry {
            file,
            line: record.line,
            row: row as usize,
            fingerprint: Fingerprint::of(&record.body),
            high_quality: record.high_quality,
            quality: number(&record.quality).unwrap_or(f64::NAN),
            tokens: example.tokens.len() as u32,
            labelled_tokens: example.labelled_tokens() as u32,
        });
        if let Some(word) = word(&record.quality) {
            let known = self.quality_words.iter().position(|count| count.word == word);
            match known {
                Some(index) => self.quality_words[index].records += 1,
                None if self.quality_words.len() < QUALITY_WORDS => {
                    self.quality_words.push(WordCount { word, records: 1 });
                }
                None => {}
            }
        }
    }

    fn settle_schema(
        &mut self,
        file: usize,
        found: DatasetSchema,
        files: &[PathBuf],
    ) -> Result<(), DataError> {
        match self.schema {
            _ if found == DatasetSchema::Auto => Ok(()), // a file without rows
            None => {
                self.schema = Some((file, found));
                Ok(())
            }
            Some((_, schema)) if schema == found => Ok(()),
            Some((first, schema)) => Err(DataError::MixedSchemas {
                first: Box::new((files[first].clone(), schema)),
                other: Box::new((files[file].clone(), found)),
            }),
        }
    }

    /// Counts the records that repeat an earlier one and, if they are to be `left_out`, forgets them.
    fn leave_out_duplicates(&mut self, left_out: bool) {
        let mut seen = HashSet::new();
        let mut duplicates = 0;
        self.entries.retain(|entry| {
            let is_new = seen.insert(entry.fingerprint.content);
            duplicates += u64::from(!is_new);
            is_new || !left_out
        });
        self.duplicates = duplicates;
    }
}

fn assign(entries: &[Entry], task: &PrepareTask) -> Vec<usize> {
    let names = &task.settings.dataset;
    let shares = [names.train_split, names.validation_split, names.test_split];
    let candidates: Vec<_> = entries
        .iter()
        .map(|entry| Candidate { content: entry.fingerprint.content, stratum: entry.high_quality })
        .collect();
    split::assign(&candidates, shares, task.seed)
}

fn describe(
    task: &PrepareTask,
    survey: Survey,
    splits: &[usize],
    leaks: LeakReport,
    output: &Output,
) -> DatasetPreparation {
    let Survey { entries, counts, schema, quality_words, duplicates, .. } = survey;
    let multiplier = task.settings.training.quality_weight_multiplier;
    let described: Vec<PreparedSplit> = SPLITS
        .iter()
        .enumerate()
        .map(|(split, name)| {
            let members = entries.iter().zip(splits).filter(|(_, of)| **of == split).map(|(entry, _)| entry);
            prepared_split(name, output.split(split), members, multiplier)
        })
        .filter(|split| split.records > 0)
        .collect();
    let values = |value: fn(&Entry) -> f64| entries.iter().map(value).collect::<Vec<_>>();
    let quality = values(|entry| entry.quality);
    let has_numbers = quality.iter().any(|value| value.is_finite());
    let mut preparation = DatasetPreparation {
        datasets: task.datasets.clone(),
        schema: schema.map_or(task.settings.dataset.schema, |(_, schema)| schema),
        seed: task.seed,
        duplicates,
        deduplicated: task.deduplicate,
        splits: described,
        leaks,
        tokens_counted: task.base_model_path.is_some(),
        tokens: histogram::histogram(values(|entry| f64::from(entry.tokens)), 20),
        label_share: histogram::histogram(
            values(|entry| f64::from(entry.labelled_tokens) / f64::from(entry.tokens.max(1))),
            10,
        ),
        quality: has_numbers.then(|| histogram::histogram(quality, 10)),
        quality_words,
        warnings: Vec::new(),
        report: output.report(),
        report_files: output.report_files(task.base_model_path.is_some(), has_numbers),
        counts,
    };
    preparation.warnings = warnings(&preparation, &task.settings.dataset);
    preparation.warnings.extend(
        task.no_base_model.iter().map(|why| format!("the records were split without counting tokens: {why}")),
    );
    preparation
}

fn prepared_split<'a>(
    name: &str,
    path: &Path,
    members: impl Iterator<Item = &'a Entry>,
    multiplier: f64,
) -> PreparedSplit {
    let mut split = PreparedSplit {
        name: name.to_owned(),
        path: path.to_owned(),
        records: 0,
        high_quality_records: 0,
        high_quality_draws: 0.0,
        tokens: 0,
        labelled_tokens: 0,
    };
    for entry in members {
        split.records += 1;
        split.high_quality_records += u64::from(entry.high_quality);
        split.tokens += u64::from(entry.tokens);
        split.labelled_tokens += u64::from(entry.labelled_tokens);
    }
    let favoured = multiplier * split.high_quality_records as f64;
    let others = (split.records - split.high_quality_records) as f64;
    split.high_quality_draws = favoured / (favoured + others).max(f64::MIN_POSITIVE);
    split
}

/// What should be looked at before training.
fn warnings(
    preparation: &DatasetPreparation,
    names: &greentune_core_config::settings::DatasetSettings,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let shares = [names.train_split, names.validation_split, names.test_split];
    for (name, share) in SPLITS.iter().zip(shares) {
        if share > 0.0 && !preparation.splits.iter().any(|split| split.name == *name) {
            warnings.push(format!("there are too few records for the {name} split; its file is not written"));
        }
    }
    let counts = &preparation.counts;
    if counts.kept < counts.read {
        warnings.push(format!(
            "{} of {} records cannot be used and are left out",
            counts.read - counts.kept,
            counts.read
        ));
    }
    if counts.truncated > 0 {
        warnings.push(format!(
            "{} records are longer than training.max_seq_length and will be cut in training",
            counts.truncated
        ));
    }
    let leaks = &preparation.leaks;
    for (number, what) in [
        (leaks.same_record, "are also training records"),
        (leaks.same_prompt, "have the prompt of a training record"),
        (leaks.near_duplicate, "nearly repeat a training record"),
    ] {
        if number > 0 {
            warnings.push(format!(
                "{number} records of validation and test {what}; figures on them make the model look better than it is"
            ));
        }
    }
    warnings
}

fn number(quality: &Value) -> Option<f64> {
    match quality {
        Value::String(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
        other => other.as_f64(),
    }
}

fn word(quality: &Value) -> Option<String> {
    match quality {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::String(text) if !text.trim().is_empty() && number(quality).is_none() => {
            Some(text.trim().to_lowercase())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
