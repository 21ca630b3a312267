//! Writes a stage of a run as a model that other programs read.

mod comparison;

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use greentune_core_config::{Diagnostic as _, agreement::Agreement, manifest::ExportRecord, settings::Task};
use greentune_export::{
    ClassifierRequest, ExportFormat, ExportReport, ExportRequest, ExportedFile, Quantization, ShardSize,
    StagedExport, Verification, existing_ancestor, stage, stage_classifier,
};
use greentune_platforms_kaggle_hf::hub::Publication;
use greentune_reports::card::{CardRequest, Weights, model_card};
use greentune_run_folder::{lock, manifest};
use greentune_scaffold::CardTemplate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::comparison::{Comparison, needs_copy};
use crate::{
    Result, Workbench, WorkbenchError, command_line::command, hub::CancelOnDrop,
    inputs::check_weights_are_unchanged, reach::Access, run::Run,
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
    /// Format to write.
    pub export_format: ExportFormat,
    /// Folder to write; absent or empty.
    pub export_path: PathBuf,
    /// Replace an earlier export there.
    pub force: Option<bool>,
    /// Merge the adapters into the base model (true), or write the adapters alone (false, the default).
    pub merge_adapters: Option<bool>,
    /// Type of merged weights; when absent the base model's, in gguf f16.
    pub quantization: Option<Quantization>,
    /// Such as 5GB.
    pub max_shard_size: Option<ShardSize>,
    /// Compare with the trained model (default true).
    pub compare: Option<bool>,
    /// Upload it too.
    pub upload_to_huggingface: Option<bool>,
    /// Where to: owner/name.
    pub hf_repo_id: Option<String>,
    /// For everybody to see.
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
    /// How far it answers as the trained model does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agreement: Option<Agreement>,
    /// Why that was not found out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_compared: Option<String>,
    /// What to know before it is used.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// Address on the Hugging Face Hub, when uploaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub huggingface_url: Option<String>,
    /// How to load it.
    pub usage_instructions: String,
}

/// An export that has no name yet, and the run that it is of.
struct Unpublished {
    run: Run,
    export: StagedExport,
}

impl Workbench {
    /// Exports the stage's adapters, alone or merged into the base model, or an image classifier. A worker compares the
    /// answers of a language model's export with those of the trained model. The export is uploaded when asked to.
    ///
    /// Errors: the stage is not trained; the base model to merge into is not what it was trained on; the format is unknown
    /// or cannot hold the model; the folder is not empty; the export is another model; the token may not write to the
    /// repository; the upload is cut, whose export stays.
    pub async fn export_model(&self, request: ExportModel) -> Result<ExportModelResponse> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        let (asked, stopped) = (request.clone(), guard.flag());
        let unpublished =
            self.blocking(move |workbench| workbench.export_unpublished(&asked, &stopped)).await?;
        let comparison = self.compare(&request, &unpublished).await?;
        self.blocking(move |workbench| workbench.publish(&request, unpublished, comparison, &cancelled)).await
    }

    fn export_unpublished(&self, request: &ExportModel, cancelled: &AtomicBool) -> Result<Unpublished> {
        let repository = wanted_repository(request)?;
        if let Some(repository) = repository {
            self.check_upload(repository)?;
        }
        let run = self.read_run_with_files(request.project_path.as_deref(), &request.run_id)?;
        self.check_named_files(&run.manifest)?;
        let is_classifier = is_classifier(&run);
        if is_classifier {
            check_classifier(request, &run)?;
        }
        let merge = request.merge_adapters.unwrap_or(false);
        let card = model_card(&CardRequest {
            run: &run,
            stage: request.stage,
            weights: if merge { Weights::Merged } else { Weights::Adapters },
            template: CardTemplate::Standard,
            comparison: None,
            command,
        })?;
        if merge && !is_classifier {
            check_weights_are_unchanged(&run.manifest)?;
        }
        let destination = self.path_in(run.layout.project(), &request.export_path, Access::Write)?;
        let replace = request.force.unwrap_or(false) && destination.is_dir();
        if replace {
            self.check_own_folder(&destination)?;
        }
        if let Some(repository) = repository {
            let visibility = self.visibility(request.hf_public, &run.manifest.settings);
            self.check_permission(repository, visibility, cancelled)?;
        }
        self.sweep_leftovers();
        self.note_export_in(existing_ancestor(&destination));
        let (format, model_card) = (request.export_format, Some(card.markdown));
        let export = if is_classifier {
            let classifier = run.layout.final_model();
            stage_classifier(&ClassifierRequest { classifier, format, destination, replace, model_card })
        } else {
            stage(&ExportRequest {
                base_model: run.manifest.base_model_path.clone(),
                base_model_name: Some(run.manifest.base_model_name()),
                adapters: run.layout.adapters(request.stage),
                format,
                destination,
                replace,
                merge,
                quantization: request.quantization,
                max_shard_size: request.max_shard_size,
                readable_copy: request.compare != Some(false) && needs_copy(request),
                model_card,
            })
        };
        Ok(Unpublished { run, export: export.map_err(WorkbenchError::reported)? })
    }

    fn publish(
        &self,
        request: &ExportModel,
        unpublished: Unpublished,
        comparison: Comparison,
        cancelled: &AtomicBool,
    ) -> Result<ExportModelResponse> {
        let Unpublished { run, export } = unpublished;
        let report = export.publish().map_err(WorkbenchError::reported)?;
        let warnings = comparison.warnings();
        let (agreement, not_compared) = match comparison {
            Comparison::Compared(agreement) => (Some(agreement), None),
            Comparison::NotCompared(why) => (None, Some(why)),
        };
        for file in &report.files {
            self.note_written_as(&report.destination.join(&file.name), file.sha256.clone());
        }
        let record = record(request, &report, agreement);
        if let Err(error) = note_export(&run, record) {
            let why = error.problem();
            self.observer().remark(&format!("the run's manifest does not list this export: {why}"));
        }
        let huggingface_url = wanted_repository(request)?
            .map(|repository| self.upload_export(request, &run, &report, repository, cancelled))
            .transpose()?;
        let is_weights =
            |name: &str| Path::new(name).extension().is_some_and(|end| end == "safetensors" || end == "gguf");
        let weights = report.files.iter().filter(|file| is_weights(&file.name));
        Ok(ExportModelResponse {
            success: true,
            model_size_mb: weights.map(|file| file.bytes).sum::<u64>() as f64 / 1e6,
            export_path: report.destination,
            export_format: request.export_format.to_string(),
            files: report.files,
            verification: report.verification,
            agreement,
            not_compared,
            warnings,
            huggingface_url,
            usage_instructions: report.usage_instructions,
        })
    }

    fn upload_export(
        &self,
        request: &ExportModel,
        run: &Run,
        report: &ExportReport,
        repository: &str,
        cancelled: &AtomicBool,
    ) -> Result<String> {
        let files: Vec<String> = report.files.iter().map(|file| file.name.clone()).collect();
        let publication = Publication {
            repository,
            folder: &report.destination,
            files: &files,
            visibility: self.visibility(request.hf_public, &run.manifest.settings),
            title: &format!("Stage {} of {}", request.stage, run.manifest.run_id),
        };
        Ok(self.upload(publication, cancelled)?.url)
    }
}

fn is_classifier(run: &Run) -> bool {
    run.manifest.settings.task() == Task::ImageClassification
}

/// Errors: a stage whose classifier was not kept; what language models have.
fn check_classifier(request: &ExportModel, run: &Run) -> Result<()> {
    run.trained_stage(request.stage)?;
    let last = run.manifest.stages.last().map_or(request.stage, |stage| stage.stage);
    let refuse = |key, found: String, allowed| Err(WorkbenchError::InvalidValue { key, found, allowed });
    if request.stage != last {
        let allowed = format!("{last}: of an image classifier the model of the last stage is kept");
        return refuse("stage", request.stage.to_string(), allowed);
    }
    let allowed = || String::from("nothing: an image classifier is exported as it was trained");
    if let Some(quantization) = request.quantization {
        return refuse("quantization", quantization.to_string(), allowed());
    }
    if let Some(size) = request.max_shard_size {
        return refuse("max_shard_size", size.to_string(), allowed());
    }
    Ok(())
}

fn record(request: &ExportModel, report: &ExportReport, agreement: Option<Agreement>) -> ExportRecord {
    ExportRecord {
        at: Timestamp::now(),
        stage: request.stage,
        format: request.export_format.to_string(),
        merged: request.merge_adapters.unwrap_or(false),
        quantization: request.quantization.map(|quantization| quantization.to_string()),
        path: report.destination.clone(),
        files: report.files.iter().map(|file| (file.name.clone(), file.sha256.clone())).collect(),
        agreement,
    }
}

/// Lists an export in the run's manifest.
///
/// Errors: the run is being trained; the manifest cannot be written.
fn note_export(run: &Run, record: ExportRecord) -> Result<()> {
    let _lock = lock::take(&run.layout)?;
    let mut now = manifest::read(&run.layout)?;
    now.exports.push(record);
    Ok(manifest::write(&run.layout, &mut now)?)
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
