//! `greentune data prepare`: splits a data set and reports on its quality.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::{
    Suggestion,
    preparation::{DatasetPreparation, LeakReport, PreparedSplit},
    quantities::{counted, number, percent},
};
use greentune_workbench::{command_line::command, operation::PrepareDataset};
use serde_json::Map;

use super::records;
use crate::{failure::Failure, output::Paint, progress::Transfers, session::Session};

/// Arguments of `data prepare`.
#[derive(Args, Debug)]
pub struct Prepare {
    /// JSONL, CSV or Parquet files, all of one schema
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder to write train.jsonl, validation.jsonl and test.jsonl to [default: data/processed of the project]
    #[arg(long, alias = "out", value_name = "DIR")]
    to: Option<PathBuf>,
    /// Seed of the split [default: training.seed]
    #[arg(long)]
    seed: Option<u64>,
    /// Share of records for training [default: dataset.train_split]
    #[arg(long, value_name = "SHARE")]
    train: Option<f64>,
    /// Share of records for validation [default: dataset.validation_split]
    #[arg(long, value_name = "SHARE")]
    validation: Option<f64>,
    /// Share of records for testing [default: dataset.test_split]
    #[arg(long, value_name = "SHARE")]
    test: Option<f64>,
    /// Keep records that repeat an earlier one
    #[arg(long)]
    no_dedup: bool,
    /// Replace the files of an earlier preparation
    #[arg(long)]
    force: bool,
    /// Names of columns that are called otherwise, such as instruction=question,output=answer; noted in the project
    #[arg(long, value_name = "FIELD=NAME,…")]
    columns: Option<String>,
    /// Override a setting for this preparation only, such as dataset.schema=messages
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Prepare {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = PrepareDataset {
            project_path: session.project_or_here(),
            datasets: self.files.iter().map(|file| session.input(file)).collect::<Result<_, _>>()?,
            output_dir: self.to.map(|folder| session.here(&folder)),
            seed: self.seed,
            train_split: self.train,
            validation_split: self.validation,
            test_split: self.test,
            deduplicate: Some(!self.no_dedup),
            force: Some(self.force),
            columns: self.columns,
        };
        let (transfers, workbench) = Transfers::of(&session.workbench_with(&self.set)?, session.output);
        let preparation = transfers.during(workbench.prepare_dataset(request)).await?;
        session.output.answer(&preparation, |paint| page(&preparation, paint))
    }
}

fn page(preparation: &DatasetPreparation, paint: Paint) -> String {
    let what_became = if preparation.deduplicated { "left out" } else { "kept" };
    let mut lines = vec![
        format!("records     {}, as {}", records(&preparation.counts), preparation.schema),
        format!("duplicates  {} {what_became}", preparation.duplicates),
    ];
    lines.extend(preparation.splits.iter().map(|split| line(split, preparation.tokens_counted, paint)));
    lines.push(format!("leaks       {}", leaks(&preparation.leaks)));
    lines.extend(preparation.warnings.iter().map(|warning| paint.doubtful(format!("warning: {warning}"))));
    lines.push(format!("report      {}", preparation.report.display()));
    if let [train, validation, ..] = &preparation.splits[..] {
        let data = [("train_dataset", train), ("validation_dataset", validation)];
        let data: Map<_, _> = data
            .into_iter()
            .map(|(key, split)| (key.to_owned(), split.path.to_string_lossy().into()))
            .collect();
        let next = Suggestion::new("configure a run", "configure_training_run")
            .with("run_name", "NAME")
            .with("training_data", data);
        lines.push(format!("next: {}", command(&next)));
    }
    lines.join("\n")
}

fn line(split: &PreparedSplit, has_tokens: bool, paint: Paint) -> String {
    let tokens = if has_tokens { format!(", {} on average", counted_tokens(split)) } else { String::new() };
    format!(
        "{}  {}{tokens}, {} of high quality ({} of draws)",
        paint.heading(format!("{:<10}", split.name)),
        counted(split.records, "record"),
        split.high_quality_records,
        percent(split.high_quality_draws),
    )
}

fn counted_tokens(split: &PreparedSplit) -> String {
    format!("{} tokens", number((split.tokens as f64 / split.records.max(1) as f64).round()))
}

fn leaks(leaks: &LeakReport) -> String {
    let found = [
        (leaks.same_record, "also in train"),
        (leaks.same_prompt, "with a prompt of train"),
        (leaks.near_duplicate, "nearly as in train"),
    ];
    let found: Vec<_> = found
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if found.is_empty() { "none into validation and test".to_owned() } else { found.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_are_named_where_there_are_some() {
        assert_eq!(leaks(&LeakReport::default()), "none into validation and test");
        let found = LeakReport { same_prompt: 2, near_duplicate: 1, ..LeakReport::default() };
        assert_eq!(leaks(&found), "2 with a prompt of train, 1 nearly as in train");
    }
}
