//! Has models answer prompts: the base of a run and its stages side by side, or any model in a folder.

use std::path::{Path, PathBuf};

use greentune_core_config::{
    generation::{GenerateTask, GeneratedText, GeneratingModel, ModelVariant},
    settings::ModelType,
    task::{WorkerAnswer, WorkerTask},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError,
    base_model::BaseModel,
    engine::wrong_answer,
    inputs::check_base_is_unchanged,
    reach::Access,
    run::{Run, require_language_model},
};

/// Tokens of an answer at most, where nobody says.
const USUAL_TOKENS: u64 = 256;
/// Tokens of an answer at most, whoever says.
const MOST_TOKENS: u64 = 131_072;
/// Prompts of a request, at most.
const MOST_PROMPTS: usize = 64;

/// Have models answer prompts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GenerateText {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run; may be absent where `model_path` is given.
    pub run_id: Option<String>,
    /// Folder of a whole model, to answer beside the run or alone.
    pub model_path: Option<PathBuf>,
    /// What to ask.
    pub prompts: Vec<String>,
    /// A system message before each prompt.
    pub system: Option<String>,
    /// Stage that answers; each trained stage when absent.
    pub stage: Option<u8>,
    /// Whether the base model answers too (default true).
    pub with_base: Option<bool>,
    /// Tokens of an answer at most (default 256).
    pub max_tokens: Option<u64>,
    /// Whether prompts are continued as they stand (default false).
    pub raw: Option<bool>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GenerateTextResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// The answers to each prompt.
    pub generations: Vec<Generation>,
}

/// The answers to a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generation {
    /// The prompt.
    pub prompt: String,
    /// What each model wrote: the most likely next token each time.
    pub answers: Vec<GeneratedText>,
}

impl Workbench {
    /// Has each model answer each prompt in a worker, greedily, in the form of the records that it was trained on. The
    /// observer hears text while it is written.
    ///
    /// Errors: neither a run nor a folder is named; the run trains an image classifier, or has no trained stage; the base
    /// model changed since it was trained; the folder holds no whole model; a prompt fills the context.
    pub async fn generate_text(&self, request: GenerateText) -> Result<GenerateTextResponse> {
        check(&request)?;
        let asked = request.clone();
        let models = self.blocking(move |workbench| workbench.generating_models(&asked)).await?;
        let task = GenerateTask {
            models,
            prompts: request.prompts.clone(),
            system: request.system,
            raw: request.raw.unwrap_or(false),
            max_tokens: request.max_tokens.unwrap_or(USUAL_TOKENS),
        };
        match self.ask_worker(&WorkerTask::Generate(Box::new(task))).await? {
            WorkerAnswer::Generated { texts } => {
                let generations = request.prompts.into_iter().zip(texts);
                let generations = generations.map(|(prompt, answers)| Generation { prompt, answers });
                Ok(GenerateTextResponse { success: true, generations: generations.collect() })
            }
            _ => Err(wrong_answer("generate")),
        }
    }

    fn generating_models(&self, request: &GenerateText) -> Result<Vec<GeneratingModel>> {
        let mut models = Vec::new();
        if let Some(run_id) = &request.run_id {
            let run = self.read_run_with_files(request.project_path.as_deref(), run_id)?;
            let instead = "evaluate it on pictures";
            let run = require_language_model(run, "writing text with", instead)?;
            self.check_named_files(&run.manifest)?;
            check_base_is_unchanged(&run.manifest)?;
            models.push(of_run(&run, request)?);
        }
        if let Some(folder) = &request.model_path {
            models.push(self.of_folder(folder)?);
        }
        Ok(models)
    }

    fn of_folder(&self, given: &Path) -> Result<GeneratingModel> {
        let folder = self.reach(&self.given_path(given)?, given, Access::Read)?;
        self.check_base_folder(&folder)?;
        if folder.join("adapter_config.json").is_file() && !folder.join("config.json").is_file() {
            let allowed = "the folder of a whole model; adapters can be merged when they are exported, or name their run";
            return Err(refused("model_path", format!("adapters alone in {}", given.display()), allowed));
        }
        BaseModel::detect(&folder, ModelType::Custom)?;
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(GeneratingModel {
            folder,
            settings: self.user_settings()?.settings,
            at: Timestamp::now(),
            variants: vec![ModelVariant { name, adapters: None }],
        })
    }
}

fn check(request: &GenerateText) -> Result<()> {
    if request.run_id.is_none() && request.model_path.is_none() {
        return Err(refused(
            "run_id",
            String::from("neither a run nor a model"),
            "a run, the folder of a model, or both",
        ));
    }
    if request.prompts.is_empty() || request.prompts.len() > MOST_PROMPTS {
        return Err(refused("prompts", format!("{} of them", request.prompts.len()), "1 to 64 prompts"));
    }
    if request.prompts.iter().any(String::is_empty) {
        return Err(refused("prompts", String::from("an empty prompt"), "prompts with text"));
    }
    match request.max_tokens {
        Some(tokens) if tokens == 0 || tokens > MOST_TOKENS => {
            Err(refused("max_tokens", tokens.to_string(), "a whole number from 1 to 131072"))
        }
        _ => Ok(()),
    }
}

fn refused(key: &'static str, found: String, allowed: &str) -> WorkbenchError {
    WorkbenchError::InvalidValue { key, found, allowed: allowed.to_owned() }
}

/// The base model of a run and its stages, as far as they are asked for.
fn of_run(run: &Run, request: &GenerateText) -> Result<GeneratingModel> {
    let manifest = &run.manifest;
    let stages = asked_stages(run, request.stage)?;
    let base = ModelVariant { name: String::from("base"), adapters: None };
    let of_stage = |stage: u8| ModelVariant {
        name: format!("stage {stage}"),
        adapters: Some(run.layout.adapters(stage)),
    };
    let with_base = request.with_base.unwrap_or(true).then_some(base);
    Ok(GeneratingModel {
        folder: manifest.base_model_path.clone(),
        settings: manifest.settings.clone(),
        at: manifest.created_at,
        variants: with_base.into_iter().chain(stages.into_iter().map(of_stage)).collect(),
    })
}

/// The stage that is asked for, or every trained one; an error where there is none.
fn asked_stages(run: &Run, stage: Option<u8>) -> Result<Vec<u8>> {
    if let Some(stage) = stage {
        return Ok(vec![run.trained_stage(stage)?.stage]);
    }
    let all = run.manifest.stages.iter().map(|record| record.stage);
    let trained: Vec<u8> = all.filter(|stage| run.trained_stage(*stage).is_ok()).collect();
    if trained.is_empty() {
        // Says how far the first one is.
        run.trained_stage(1)?;
    }
    Ok(trained)
}
