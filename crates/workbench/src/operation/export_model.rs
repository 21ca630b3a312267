//! Writes a stage of a run as a model that other programs read.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use greentune_core_config::{
    Diagnostic as _, Problem, ProblemKind,
    agreement::{Agreement, AgreementFindings, AgreementTask},
    generation::{GeneratingModel, ModelVariant},
    manifest::ExportRecord,
    quantities::number,
    settings::{Quantization as BaseQuantization, Task},
    task::{WorkerAnswer, WorkerTask},
};
use greentune_export::{
    ClassifierRequest, ExportFormat, ExportReport, ExportRequest, ExportedFile, Quantization, ShardSize,
    StagedExport, Verification, existing_ancestor, stage, stage_classifier,
};
use greentune_reports::card::{CardRequest, Weights, model_card};
use greentune_run_folder::{lock, manifest};
use greentune_scaffold::CardTemplate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError, command_line::command, engine::wrong_answer, hub::CancelOnDrop,
    inputs::check_weights_are_unchanged, reach::Access, run::Run, upload::Upload,
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
    /// Address on the Hugging Face Hub, when uploaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub huggingface_url: Option<String>,
    /// How to load it.
    pub usage_instructions: String,
}

/// What both models are asked before an export gets its name.
const PROMPTS: [&str; 3] = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Add 2 and 3. Answer with the number.",
];
/// Tokens that both write behind each prompt, at most.
const WRITTEN: u64 = 24;
/// Divergence, in nats, beyond which an export that keeps its weights in 16 bits or more is another model. Rounding to
/// bfloat16 stays below a hundredth of it.
const ANOTHER_MODEL: f64 = 0.1;

/// The same for one that packs its weights, whose divergence says how much was lost: a worker answers so where logits are no
/// numbers.
const NO_MODEL: f64 = 1e300;

/// An export that has no name yet, and the run that it is of.
struct Unpublished {
    run: Run,
    export: StagedExport,
}

/// Whether an export answers as the trained model does.
enum Comparison {
    Compared(Agreement),
    /// Why nobody knows.
    NotCompared(String),
}

impl Workbench {
    /// Exports the stage's adapters, alone or merged into the base model, or an image classifier; has a worker compare its answers with the trained
    /// model's, and uploads the export when asked to.
    ///
    /// Errors: the stage is not trained; the base model to merge into is not what it was trained on; the format is unknown
    /// or cannot hold the model; the folder is not empty; the export is another model; the upload cannot be made, whose export
    /// stays.
    pub async fn export_model(&self, request: ExportModel) -> Result<ExportModelResponse> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        let asked = request.clone();
        let unpublished = self.blocking(move |workbench| workbench.export_unpublished(&asked)).await?;
        let comparison = self.compare(&request, &unpublished).await?;
        self.blocking(move |workbench| workbench.publish(&request, unpublished, comparison, &cancelled)).await
    }

    fn export_unpublished(&self, request: &ExportModel) -> Result<Unpublished> {
        if let Some(repository) = wanted_repository(request)? {
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

    /// Has a worker read fixed prompts with the trained model and with its export.
    ///
    /// Errors: the export reads other tokens, or is another model; the worker's.
    async fn compare(&self, request: &ExportModel, unpublished: &Unpublished) -> Result<Comparison> {
        if request.compare == Some(false) {
            return Ok(Comparison::NotCompared(String::from("it was not asked for")));
        }
        if is_classifier(&unpublished.run) {
            let why = "an image classifier has the weights that the run left, byte for byte";
            return Ok(Comparison::NotCompared(String::from(why)));
        }
        let Some(task) = agreement_task(request, unpublished) else {
            let format = request.export_format;
            let why = if request.merge_adapters == Some(true) {
                String::from("the disk has no room for a copy of the weights in F32")
            } else {
                format!("greentune does not load adapters of the format {format}")
            };
            return Ok(Comparison::NotCompared(why));
        };
        match self.ask_worker(&WorkerTask::Agree(Box::new(task))).await? {
            WorkerAnswer::Agreed(AgreementFindings::Compared(agreement)) => {
                check_agreement(&agreement, is_packed(request.quantization))?;
                Ok(Comparison::Compared(agreement))
            }
            WorkerAnswer::Agreed(AgreementFindings::TooLarge { needed_bytes, free_bytes }) => {
                let gigabytes = |bytes: u64| number(bytes as f64 / 1e9);
                Ok(Comparison::NotCompared(format!(
                    "it takes about {} GB of memory, and {} GB are free",
                    gigabytes(needed_bytes),
                    gigabytes(free_bytes)
                )))
            }
            _ => Err(wrong_answer("agree")),
        }
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
        let upload = Upload {
            folder: &report.destination,
            files: &files,
            repository,
            visibility: self.visibility(request.hf_public, &run.manifest.settings),
            title: &format!("Stage {} of {}", request.stage, run.manifest.run_id),
        };
        Ok(self.upload(&upload, cancelled)?.url)
    }
}

/// What a worker is to compare; nothing for a format that the engine does not load.
fn agreement_task(request: &ExportModel, unpublished: &Unpublished) -> Option<AgreementTask> {
    let Unpublished { run, export } = unpublished;
    let staged = export.folder().to_owned();
    let merge = request.merge_adapters.unwrap_or(false);
    let mut settings = run.manifest.settings.clone();
    // Merged weights are made of the base as it is, not as it was packed for training.
    settings.base_model.quantization = BaseQuantization::None;
    let model = |folder: PathBuf, adapters: Option<PathBuf>| GeneratingModel {
        folder,
        settings: settings.clone(),
        at: run.manifest.created_at,
        variants: vec![ModelVariant { name: String::from("model"), adapters }],
    };
    let base = || run.manifest.base_model_path.clone();
    let exported = match (request.export_format, merge) {
        (ExportFormat::Huggingface | ExportFormat::Safetensors, true) => model(staged, None),
        (ExportFormat::Huggingface | ExportFormat::Safetensors, false) => model(base(), Some(staged)),
        (ExportFormat::Mlx, true) if !is_packed(request.quantization) => model(staged, None),
        (ExportFormat::Gguf | ExportFormat::Mlx, _) => model(export.readable_copy()?.to_owned(), None),
    };
    Some(AgreementTask {
        trained: model(base(), Some(run.layout.adapters(request.stage))),
        exported,
        prompts: PROMPTS.map(String::from).to_vec(),
        max_tokens: WRITTEN,
    })
}

/// Whether greentune reads the export in a copy alone.
fn needs_copy(request: &ExportModel) -> bool {
    match request.export_format {
        ExportFormat::Gguf => true,
        ExportFormat::Mlx => is_packed(request.quantization),
        ExportFormat::Huggingface | ExportFormat::Safetensors => false,
    }
}

fn is_packed(quantization: Option<Quantization>) -> bool {
    quantization.is_some_and(|asked| !asked.is_float())
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

/// Errors: the export reads other tokens than the trained model, or is another model.
fn check_agreement(agreement: &Agreement, is_packed: bool) -> Result<()> {
    let Agreement { prompts, same_prompts, kl_nats, .. } = *agreement;
    let why = if same_prompts < prompts {
        format!("it reads {} of {prompts} prompts as other tokens", prompts - same_prompts)
    } else if kl_nats > if is_packed { NO_MODEL } else { ANOTHER_MODEL } {
        format!("its next-token distributions are {} nats from the trained model's", number(kl_nats))
    } else {
        return Ok(());
    };
    let message = format!("the export does not answer as the trained model does: {why}");
    Err(Problem::new(ProblemKind::Internal, "export.another_model", message)
        .with_hint(
            "nothing was written; this is a defect of greentune: please report it with the base model's id",
        )
        .into())
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
