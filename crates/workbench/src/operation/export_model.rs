//! Writes a stage of a run as a model that other programs read.

use std::path::{Path, PathBuf};

use greentune_export::{
    ExportFormat, ExportRequest, ExportedFile, Quantization, Verification, existing_ancestor, export,
};
use greentune_reports::card::{CardRequest, Weights, model_card};
use greentune_scaffold::CardTemplate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError, command_line::command, inputs::check_weights_are_unchanged,
    reach::Access, run::require_language_model,
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
    /// Not available yet.
    pub upload_to_huggingface: Option<bool>,
    /// Repository on the Hugging Face Hub.
    pub hf_repo_id: Option<String>,
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
    /// Exports the stage's adapters, alone or merged into the base model.
    ///
    /// Errors: the stage is not trained; the base model to merge into is not what it was trained on; the format is unknown or not available yet; the folder is not empty; uploading
    /// is not available yet.
    pub async fn export_model(&self, request: ExportModel) -> Result<ExportModelResponse> {
        self.blocking(move |workbench| workbench.export_now(&request)).await
    }

    fn export_now(&self, request: &ExportModel) -> Result<ExportModelResponse> {
        if request.upload_to_huggingface == Some(true) {
            return Err(WorkbenchError::NotAvailableYet {
                what: String::from("uploading to the Hugging Face Hub"),
                instead: String::from(
                    "export with export_format = huggingface and upload the folder yourself",
                ),
            });
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
        Ok(ExportModelResponse {
            success: true,
            model_size_mb: weights.map(|file| file.bytes).sum::<u64>() as f64 / 1e6,
            export_path: report.destination,
            export_format: format.to_string(),
            files: report.files,
            verification: report.verification,
            huggingface_url: None,
            usage_instructions: report.usage_instructions,
        })
    }
}
