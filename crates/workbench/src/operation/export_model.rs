//! Writes a stage of a run as a model that other programs read.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use greentune_export::{
    ExportFormat, ExportRequest, ExportedFile, Quantization, Verification, existing_ancestor, export,
};
use greentune_reports::card::{CardRequest, Weights, model_card};
use greentune_scaffold::CardTemplate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError, command_line::command, hub::CancelOnDrop,
    inputs::check_weights_are_unchanged, reach::Access, run::require_language_model, upload::Upload,
};

/// Export a stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExportModel {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Stage to export: 1 or 2.
    pub stage: u8,
    /// Format to write; mlx is not available yet.
    pub export_format: ExportFormat,
    /// Folder to write; must be absent or empty.
    pub export_path: PathBuf,
    /// Merge the adapters into the base model (true), or write the adapters alone (false, the default).
    pub merge_adapters: Option<bool>,
    /// How weights are packed; for gguf alone, where it is f16 when absent.
    pub quantization: Option<Quantization>,
    /// Upload the export to the Hugging Face Hub.
    pub upload_to_huggingface: Option<bool>,
    /// Repository there, as owner/name.
    pub hf_repo_id: Option<String>,
    /// Whether everybody may see it (default: private).
    pub hf_public: Option<bool>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportModelResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Folder that was written.
    pub export_path: PathBuf,
    /// Format that was written.
    pub export_format: String,
    /// Size of the weights, in MB of 10^6 bytes.
    pub model_size_mb: f64,
    /// The files in it.
    pub files: Vec<ExportedFile>,
    /// What was proven after reading everything back.
    pub verification: Verification,
    /// Address on the Hugging Face Hub, when uploaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub huggingface_url: Option<String>,
    /// How to load it.
    pub usage_instructions: String,
}

impl Workbench {
    /// Exports the stage's adapters, alone or merged into the base model, and uploads the export when asked to.
    ///
    /// Errors: the stage is not trained; the base model to merge into is not what it was trained on; the format is unknown
    /// or not available yet; the folder is not empty; the upload cannot be made, whose export stays.
    pub async fn export_model(&self, request: ExportModel) -> Result<ExportModelResponse> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        self.blocking(move |workbench| workbench.export_now(&request, &cancelled)).await
    }

    fn export_now(&self, request: &ExportModel, cancelled: &AtomicBool) -> Result<ExportModelResponse> {
        let repository = wanted_repository(request)?;
        if let Some(repository) = repository {
            self.check_upload(repository)?;
        }
        let format = request.export_format;
        let run = self.read_run_with_files(request.project_path.as_deref(), &request.run_id)?;
        let run = require_language_model(
            run,
            "exporting",
            "final-model/model.safetensors of the run has the names and shapes of torchvision (ViT: timm), config.json beside it the rest",
        )?;
        self.check_named_files(&run.manifest)?;
        let merge = request.merge_adapters.unwrap_or(false);
        let weights = if merge { Weights::Merged } else { Weights::Adapters };
        let card = model_card(&CardRequest {
            run: &run,
            stage: request.stage,
            weights,
            template: CardTemplate::Standard,
            comparison: None,
            command,
        })?;
        if merge {
            check_weights_are_unchanged(&run.manifest)?;
        }
        let destination = self.path_in(run.layout.project(), &request.export_path, Access::Write)?;
        self.sweep_leftovers();
        self.note_export_in(existing_ancestor(&destination));
        let report = export(&ExportRequest {
            base_model: run.manifest.base_model_path.clone(),
            base_model_name: Some(run.manifest.base_model_name()),
            adapters: run.layout.adapters(request.stage),
            format,
            destination,
            merge,
            quantization: request.quantization,
            model_card: Some(card.markdown),
        })
        .map_err(WorkbenchError::reported)?;
        let is_weights =
            |name: &str| Path::new(name).extension().is_some_and(|end| end == "safetensors" || end == "gguf");
        let weights = report.files.iter().filter(|file| is_weights(&file.name));
        let huggingface_url = match repository {
            Some(repository) => {
                let visibility = self.visibility(request.hf_public, &run.manifest.settings);
                let files: Vec<String> = report.files.iter().map(|file| file.name.clone()).collect();
                let upload = Upload {
                    folder: &report.destination,
                    files: &files,
                    repository,
                    visibility,
                    title: &format!("Stage {} of {}", request.stage, request.run_id),
                };
                Some(self.upload(&upload, cancelled)?.url)
            }
            None => None,
        };
        Ok(ExportModelResponse {
            success: true,
            model_size_mb: weights.map(|file| file.bytes).sum::<u64>() as f64 / 1e6,
            export_path: report.destination,
            export_format: format.to_string(),
            files: report.files,
            verification: report.verification,
            huggingface_url,
            usage_instructions: report.usage_instructions,
        })
    }
}

/// The repository to upload to, where that is asked for.
///
/// Errors: an upload without a repository, or a repository without an upload.
fn wanted_repository(request: &ExportModel) -> Result<Option<&str>> {
    match (request.upload_to_huggingface.unwrap_or(false), request.hf_repo_id.as_deref()) {
        (true, None) => Err(WorkbenchError::InvalidValue {
            key: "hf_repo_id",
            found: String::from("nothing"),
            allowed: String::from(
                "the owner and the name of a repository to upload to, such as ada/my-model",
            ),
        }),
        (false, Some(_)) => Err(WorkbenchError::InvalidValue {
            key: "upload_to_huggingface",
            found: String::from("false, beside a repository"),
            allowed: String::from("true, or no hf_repo_id"),
        }),
        (_, repository) => Ok(repository),
    }
}
