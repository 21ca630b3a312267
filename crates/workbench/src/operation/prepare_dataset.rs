//! Splits a data set into training, validation and test records, with a report on its quality.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use greentune_core_config::{
    Diagnostic, ProblemKind,
    preparation::{DatasetPreparation, PrepareTask},
    settings::Settings,
    task::{WorkerAnswer, WorkerTask},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Result, Workbench, WorkbenchError, engine::wrong_answer, hub::CancelOnDrop, project::CONFIG_BYTES,
    reach::Access,
};

/// Prepare a data set.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PrepareDataset {
    /// Path of the project.
    pub project_path: PathBuf,
    /// The files, relative to the project or absolute; all of one schema.
    pub datasets: Vec<PathBuf>,
    /// Folder for train.jsonl, validation.jsonl and test.jsonl; data/processed when absent.
    pub output_dir: Option<PathBuf>,
    /// Seed of the split; `training.seed` when absent.
    pub seed: Option<u64>,
    /// Share for training; `dataset.train_split` when absent.
    pub train_split: Option<f64>,
    /// Share for validation; `dataset.validation_split` when absent.
    pub validation_split: Option<f64>,
    /// Share for testing; `dataset.test_split` when absent.
    pub test_split: Option<f64>,
    /// Leave out records that repeat an earlier one (true when absent).
    pub deduplicate: Option<bool>,
    /// Replace the files of an earlier preparation.
    pub force: Option<bool>,
    /// Names of columns, as `instruction=question,output=answer`; noted in the project.
    pub columns: Option<String>,
}

impl Workbench {
    /// Reads the files as training would, in a worker, and writes the splits and `data/quality_reports/`.
    pub async fn prepare_dataset(&self, request: PrepareDataset) -> Result<DatasetPreparation> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        let columns = columns(request.columns.as_deref())?;
        let config = self.open_project(&request.project_path)?.config();
        let task = self.blocking(move |workbench| workbench.prepare_task(&request, &cancelled)).await?;
        self.note_preparation_in(&task.out);
        match self.ask_worker(&WorkerTask::Prepare(Box::new(task))).await? {
            WorkerAnswer::Prepared(preparation) => {
                note_columns(&config, &columns)?;
                self.blocking(move |workbench| {
                    let splits = preparation.splits.iter().map(|split| &split.path);
                    splits.chain(&preparation.report_files).for_each(|file| workbench.note_written(file));
                    Ok(*preparation)
                })
                .await
            }
            _ => Err(wrong_answer("prepare")),
        }
    }

    fn prepare_task(&self, request: &PrepareDataset, cancelled: &AtomicBool) -> Result<PrepareTask> {
        if request.datasets.is_empty() {
            return Err(WorkbenchError::InvalidValue {
                key: "datasets",
                found: String::from("no file"),
                allowed: String::from("one file or more"),
            });
        }
        let project = self.open_project(&request.project_path)?;
        let settings = self.usable_settings(&project, Some(settings_of(request)?))?.settings;
        let input = |path: &PathBuf| self.input_file(&project, "datasets", path);
        let out = match &request.output_dir {
            Some(folder) => self.path_in(&project, folder, Access::Write)?,
            // The folder may be a link that leads elsewhere.
            None => self.path_in(&project, &project.processed_data(), Access::Write)?,
        };
        let (base_model_path, no_base_model) = self.model_to_count_with(&settings, cancelled)?;
        let task = PrepareTask {
            base_model_path,
            no_base_model,
            datasets: request.datasets.iter().map(input).collect::<Result<_>>()?,
            out,
            reports: self.path_in(&project, &project.quality_reports(), Access::Write)?,
            seed: request.seed.unwrap_or(settings.training.seed),
            deduplicate: request.deduplicate.unwrap_or(true),
            force: request.force.unwrap_or(false),
            settings,
        };
        if task.force {
            task.outputs().iter().try_for_each(|file| self.check_replaceable(file))?;
        }
        Ok(task)
    }
}

impl Workbench {
    /// The folder whose tokenizer counts tokens; where there is none, why: records are split without it too.
    fn model_to_count_with(
        &self,
        settings: &Settings,
        cancelled: &AtomicBool,
    ) -> Result<(Option<PathBuf>, Option<String>)> {
        match self.tokenizer_folder(settings, cancelled) {
            Ok(folder) => Ok((Some(folder), None)),
            Err(error) => {
                use ProblemKind::{Credentials, NotFound, RateLimited, Unavailable};
                let problem = error.problem();
                let is_absent = matches!(problem.kind, NotFound | Unavailable | Credentials | RateLimited);
                if is_absent { Ok((None, Some(problem.to_string()))) } else { Err(error) }
            }
        }
    }
}

/// Shares and columns of the request, as settings.
fn settings_of(request: &PrepareDataset) -> Result<Map<String, Value>> {
    let shares = [
        ("dataset.train_split", request.train_split),
        ("dataset.validation_split", request.validation_split),
        ("dataset.test_split", request.test_split),
    ];
    let shares = shares.into_iter().filter_map(|(key, share)| Some((key.to_owned(), Value::from(share?))));
    let columns = columns(request.columns.as_deref())?.into_iter();
    Ok(shares.chain(columns.map(|(key, name)| (key.to_owned(), Value::from(name)))).collect())
}

/// The settings that the pairs in `columns` stand for, with their values.
fn columns(columns: Option<&str>) -> Result<Vec<(&'static str, String)>> {
    let pairs = columns.unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let (field, name) = pair.split_once('=').unwrap_or((pair, ""));
            let key = match field.trim() {
                "instruction" => "dataset.instruction_field",
                "input" => "dataset.input_field",
                "output" => "dataset.output_field",
                "quality" => "dataset.quality_field",
                _ => "",
            };
            if key.is_empty() || name.trim().is_empty() {
                return Err(WorkbenchError::InvalidValue {
                    key: "columns",
                    found: format!("`{pair}`"),
                    allowed: String::from(
                        "instruction=NAME, input=NAME, output=NAME, quality=NAME, parted by commas",
                    ),
                });
            }
            Ok((key, name.trim().to_owned()))
        })
        .collect()
}

/// Writes the names of columns into the project's settings, so that training reads the same.
fn note_columns(config: &Path, columns: &[(&'static str, String)]) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let text = greentune_durable::read_text_at_most(config, CONFIG_BYTES)
        .map_err(WorkbenchError::file("read", config))?;
    let changed = greentune_scaffold::with_settings(&text, columns).map_err(WorkbenchError::reported)?;
    greentune_durable::write_atomically(config, changed.as_bytes())
        .map_err(WorkbenchError::file("write", config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_pairs_of_known_fields() {
        let parsed = columns(Some("instruction=Question, output=The answer")).unwrap();
        assert_eq!(
            parsed,
            [
                ("dataset.instruction_field", "Question".to_owned()),
                ("dataset.output_field", "The answer".to_owned())
            ]
        );
        assert!(columns(None).unwrap().is_empty());
        for wrong in ["question", "prompt=question", "output="] {
            assert!(columns(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
