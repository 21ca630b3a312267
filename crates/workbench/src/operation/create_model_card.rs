//! The model card of a run: what it does, how well, at what cost, and how to do it again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::manifest::RunStatus;
use greentune_reports::card::{Badge, CardRequest, Weights, compare, model_card};
use greentune_scaffold::CardTemplate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare_runs::twin_of;
use crate::{Result, Workbench, WorkbenchError, command_line::command, reach::Access, run::Run};

/// Write the model card of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CreateModelCard {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run, which must be completed.
    pub run_id: String,
    /// Which card; standard when absent.
    pub template: Option<CardTemplate>,
    /// What to compare with; the completed twin when absent.
    pub baseline_run_id: Option<String>,
    /// File or folder to write, such as README.md; nothing is written when absent.
    pub output_path: Option<PathBuf>,
    /// Replace a file that is there (false by default).
    pub overwrite: Option<bool>,
}

/// A model card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateModelCardResponse {
    /// The card, with the Hugging Face Hub's metadata in front.
    pub markdown: String,
    /// Badges that the run has earned, such as `energy-efficient`.
    pub badges: Vec<String>,
    /// The same badges, each with the reason why the run earned it.
    pub badge_details: Vec<Badge>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<PathBuf>,
}

impl Workbench {
    /// Writes the card of a completed run from its own files, and those of the baseline that is named.
    ///
    /// Errors: the run or the baseline is unknown or not completed; the template is unknown; the baseline is the run
    /// itself or of another kind; a file is there already; the path lies outside of where files may be.
    pub async fn create_model_card(&self, request: CreateModelCard) -> Result<CreateModelCardResponse> {
        self.blocking(move |workbench| workbench.card_now(&request)).await
    }

    fn card_now(&self, request: &CreateModelCard) -> Result<CreateModelCardResponse> {
        let template = request.template.unwrap_or_default();
        let project = request.project_path.as_deref();
        let run = self.read_run_with_files(project, &request.run_id)?;
        let stage = last_stage(&run)?;
        let named = request.baseline_run_id.as_deref();
        let named = named.map(|id| completed(self.read_run_with_files(project, id)?)).transpose()?;
        let baseline = named.or_else(|| twin_of(&run));
        let comparison = baseline.map(|baseline| compare(&run, &baseline)).transpose()?;
        // Refused before it is made, not after.
        let path = request.output_path.as_deref();
        let path =
            path.map(|path| self.card_file(&run, path, request.overwrite == Some(true))).transpose()?;
        let card = model_card(&CardRequest {
            run: &run,
            stage,
            weights: Weights::OfRun,
            template,
            comparison: comparison.as_ref(),
            command,
        })?;
        if let Some(path) = &path {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(WorkbenchError::file("create", folder))?;
            greentune_durable::write_atomically(path, card.markdown.as_bytes())
                .map_err(WorkbenchError::file("write", path))?;
            self.note_written(path);
        }
        Ok(CreateModelCardResponse {
            markdown: card.markdown,
            badges: card.badges.iter().map(|badge| badge.name.clone()).collect(),
            badge_details: card.badges,
            path,
        })
    }

    fn card_file(&self, run: &Run, path: &Path, overwrite: bool) -> Result<PathBuf> {
        let mut file = self.path_in(run.layout.project(), path, Access::Write)?;
        if file.is_dir() {
            file = self.path_in(run.layout.project(), &file.join("README.md"), Access::Write)?;
        }
        if file.exists() && !overwrite {
            return Err(WorkbenchError::InvalidValue {
                key: "output_path",
                found: format!("{}, which exists", file.display()),
                allowed: String::from("a path where nothing is, or any file with overwrite = true"),
            });
        }
        // A card is the words of whoever named the run and its project: no program is to run or obey it.
        let is_markdown = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("md"));
        if self.is_restricted() && !is_markdown {
            return Err(WorkbenchError::InvalidValue {
                key: "output_path",
                found: file.display().to_string(),
                allowed: String::from("a folder, or a file whose name ends in .md"),
            });
        }
        self.check_replaceable(&file)?;
        Ok(file)
    }
}

/// The last stage that a completed run trained.
fn last_stage(run: &Run) -> Result<u8> {
    let manifest = &run.manifest;
    let trained = manifest.stages.iter().rev().find(|stage| stage.status == RunStatus::Completed);
    match trained {
        Some(stage) if manifest.status == RunStatus::Completed => Ok(stage.stage),
        _ => Err(not_completed(run)),
    }
}

/// `run`, when it is completed.
fn completed(run: Run) -> Result<Run> {
    if run.manifest.status == RunStatus::Completed { Ok(run) } else { Err(not_completed(&run)) }
}

fn not_completed(run: &Run) -> WorkbenchError {
    WorkbenchError::NotCompleted { run_id: run.manifest.run_id.clone(), status: run.manifest.status }
}
