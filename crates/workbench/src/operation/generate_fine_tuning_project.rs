//! Makes a project folder.

use std::{collections::BTreeMap, path::PathBuf};

use greentune_core_config::{
    availability::unavailable,
    ids,
    resolve::{Layers, resolve},
    settings::{
        BaseModelSettings, DatasetFormat, DatasetSchema, Device, ModelType, Quantization, Scheduler, Settings,
    },
};
use greentune_scaffold::{GeneratedProject, ProjectSpec, generate_project};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Result, Workbench, WorkbenchError,
    project::{check_addresses, without_links},
};

/// Make a project.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GenerateFineTuningProject {
    /// Name of the project and of its folder.
    pub project_name: String,
    /// Folder in which the project's folder is made.
    pub output_dir: PathBuf,
    /// One line on the project's purpose.
    pub description: Option<String>,
    /// What is fine-tuned.
    pub base_model_config: BaseModelConfig,
    /// How it is trained.
    pub training_config: Option<TrainingConfig>,
    /// The adapters.
    pub lora_config: Option<LoraConfig>,
    /// How records are read.
    pub dataset_config: Option<DatasetConfig>,
    /// Which features are on.
    pub features: Option<ProjectFeatures>,
    /// Metering.
    pub carbon_config: Option<CarbonConfig>,
    /// Other systems.
    pub integrations: Option<Integrations>,
}

/// What is fine-tuned.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BaseModelConfig {
    /// Family: olmo, llama, mistral or custom.
    pub r#type: ModelType,
    /// Identifier on the Hugging Face Hub, such as `allenai/OLMo-2-0425-1B`; downloaded when there is no `local_path`.
    pub model_id: String,
    /// Branch, tag or commit of `model_id`; main when absent.
    pub revision: Option<String>,
    /// Folder with `config.json`, `*.safetensors` and `tokenizer.json`.
    pub local_path: Option<PathBuf>,
    /// How frozen weights are kept: none, q8 or q4.
    pub quantization: Option<Quantization>,
}

/// How it is trained; fields beside `stage1` and `stage2` hold for both stages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrainingConfig {
    /// Stages: 1 or 2.
    pub num_stages: Option<u8>,
    /// Optimizer steps of each stage.
    pub iterations: Option<u64>,
    /// Peak learning rate of each stage.
    pub learning_rate: Option<f64>,
    /// Records per forward pass of each stage.
    pub batch_size: Option<u64>,
    /// How many times as often a record of high quality is drawn.
    pub quality_weight_multiplier: Option<f64>,
    /// Optimizer steps between checkpoints.
    pub save_steps: Option<u64>,
    /// Optimizer steps between evaluations.
    pub eval_steps: Option<u64>,
    /// Tokens per record at most.
    pub max_seq_length: Option<u64>,
    /// Seed of everything that is drawn.
    pub seed: Option<u64>,
    /// Device that trains.
    pub device: Option<Device>,
    /// Stage 1 alone.
    pub stage1: Option<StageConfig>,
    /// Stage 2 alone.
    pub stage2: Option<StageConfig>,
}

/// One stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StageConfig {
    /// Optimizer steps.
    pub iterations: Option<u64>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// Records per forward pass.
    pub batch_size: Option<u64>,
    /// Forward passes per optimizer step.
    pub gradient_accumulation: Option<u64>,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: Option<u64>,
    /// Course of the learning rate after warm-up.
    pub scheduler: Option<Scheduler>,
    /// Share of the drawn records that comes from stage 1 (stage 2 only).
    pub replay_ratio: Option<f64>,
}

/// The adapters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LoraConfig {
    /// Rank of the update.
    pub rank: Option<u64>,
    /// The update is scaled by alpha / rank.
    pub alpha: Option<f64>,
    /// Share of the adapter's inputs that is zeroed in training.
    pub dropout: Option<f64>,
    /// Projections that get an adapter.
    pub target_modules: Option<Vec<String>>,
}

/// How records are read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DatasetConfig {
    /// Format of the files.
    pub format: Option<DatasetFormat>,
    /// What a record looks like.
    pub schema: Option<DatasetSchema>,
    /// Field with the instruction.
    pub instruction_field: Option<String>,
    /// Field with further input.
    pub input_field: Option<String>,
    /// Field with the response.
    pub output_field: Option<String>,
    /// Field with the quality.
    pub quality_field: Option<String>,
    /// Prompt template in minijinja's syntax.
    pub prompt_template: Option<String>,
}

/// Which features are on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProjectFeatures {
    /// Python trainer for Apple silicon; not available yet.
    pub enable_mlx_optimization: Option<bool>,
    /// Draw records of high quality more often; true when absent.
    pub enable_quality_weighting: Option<bool>,
    /// Meter energy and emissions; true when absent.
    pub enable_carbontracking: Option<bool>,
    /// Log runs to MLflow; true when absent and a tracking URI is given.
    pub enable_mlflow: Option<bool>,
    /// Upload finished models; not available yet.
    pub enable_huggingface_upload: Option<bool>,
    /// Evaluate at the end of each stage; always on.
    pub enable_evaluation: Option<bool>,
}

/// Metering.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CarbonConfig {
    /// Name in the emissions files.
    pub project_name: Option<String>,
    /// Country whose grid is used, ISO 3166-1 alpha-3.
    pub country_iso_code: Option<String>,
    /// State, province or zone in that country.
    pub region: Option<String>,
    /// Never ask a service for live carbon intensity.
    pub offline_mode: Option<bool>,
    /// Service for live carbon intensity.
    pub emissions_endpoint: Option<String>,
}

/// Other systems.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Integrations {
    /// Where the MLflow tracking server is.
    pub mlflow_tracking_uri: Option<String>,
    /// Name in the emissions files, when `carbon_config.project_name` is absent.
    pub codecarbon_project_name: Option<String>,
    /// Project at Weights & Biases; `wandb sync` sends its runs.
    pub wandb_project: Option<String>,
}

/// The project that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GenerateFineTuningProjectResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// The project's folder.
    pub project_path: PathBuf,
    /// Files and folders that were made, relative to the project; folders end in `/`.
    pub project_structure: Vec<String>,
    /// Which features are on.
    pub features_enabled: FeaturesEnabled,
    /// Whether energy and emissions will be metered.
    pub carbon_tracking_configured: bool,
    /// What was asked for and is not available in this version.
    pub not_available_yet: Vec<String>,
    /// What to do next.
    pub next_steps: Vec<String>,
    /// Commands, by what they do.
    pub command_examples: BTreeMap<String, String>,
}

/// Which features are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeaturesEnabled {
    /// Python trainer for Apple silicon.
    pub mlx_optimization: bool,
    /// Records of high quality are drawn more often.
    pub quality_weighting: bool,
    /// Energy and emissions are metered.
    pub carbon_tracking: bool,
    /// Runs are logged to MLflow.
    pub mlflow_tracking: bool,
    /// Finished models are uploaded.
    pub huggingface_upload: bool,
}

impl Workbench {
    /// Makes `{output_dir}/{project_name}`; a folder that is not empty is a conflict and stays untouched.
    ///
    /// Features that are not available yet are left off and named in `not_available_yet`. Settings that are not
    /// possible are all reported at once.
    pub async fn generate_fine_tuning_project(
        &self,
        request: GenerateFineTuningProject,
    ) -> Result<GenerateFineTuningProjectResponse> {
        self.blocking(move |workbench| workbench.generate(&request)).await
    }

    fn generate(&self, request: &GenerateFineTuningProject) -> Result<GenerateFineTuningProjectResponse> {
        ids::check_project_name(&request.project_name)?;
        let parent = without_links(&request.output_dir)?;
        self.check_roots(&parent, &request.output_dir)?;
        let layers = Layers {
            run_overrides: settings_asked_for(request)?,
            home: self.config().user_home.clone(),
            ..Layers::default()
        };
        let resolved = resolve(&layers)?;
        let settings = resolved.settings.clone();
        check_model(&settings.base_model)?;
        check_addresses(&settings)?;
        let folder = parent.join(&request.project_name);
        let project =
            generate_project(&ProjectSpec { folder, resolved }).map_err(WorkbenchError::reported)?;
        Ok(response(request, &settings, project))
    }
}

/// Refuses an id or a revision that the Hub cannot have; nothing is asked there yet.
fn check_model(model: &BaseModelSettings) -> Result<()> {
    if model.local_path.is_none() && !model.model_id.is_empty() {
        ids::check_model_id(&model.model_id)?;
        ids::check_revision(&model.revision)?;
    }
    Ok(())
}

/// The settings that `request` asks for; its fields are called as the settings are.
fn settings_asked_for(request: &GenerateFineTuningProject) -> Result<Map<String, Value>> {
    let given = serde_json::to_value(request)
        .map_err(|error| WorkbenchError::Internal(format!("a request cannot be JSON: {error}")))?;
    let features = request.features.clone().unwrap_or_default();
    let other = request.integrations.clone().unwrap_or_default();
    let mut carbon = given["carbon_config"].as_object().cloned().unwrap_or_default();
    carbon.insert("enabled".into(), json!(features.enable_carbontracking));
    if carbon.get("project_name").is_none_or(Value::is_null) {
        carbon.insert("project_name".into(), json!(other.codecarbon_project_name));
    }
    let mut training = training_asked_for(&given["training_config"]);
    if features.enable_quality_weighting == Some(false) {
        training.insert("quality_weight_multiplier".into(), json!(1.0));
    }
    let settings = json!({
        "project": { "name": request.project_name, "description": request.description },
        "base_model": given["base_model_config"],
        "training": training,
        "lora": given["lora_config"],
        "dataset": given["dataset_config"],
        "carbon": carbon,
        "mlflow": {
            "enabled": features.enable_mlflow.unwrap_or(other.mlflow_tracking_uri.is_some()),
            "tracking_uri": other.mlflow_tracking_uri,
        },
        "wandb": { "project": other.wandb_project },
    });
    Ok(without_nulls(settings).as_object().cloned().unwrap_or_default())
}

/// `[training]`: what is given for both stages goes into each, under what is given for that stage alone.
fn training_asked_for(given: &Value) -> Map<String, Value> {
    const BOTH: [&str; 3] = ["iterations", "learning_rate", "batch_size"];
    let mut training = given.as_object().cloned().unwrap_or_default();
    let both = BOTH.map(|key| (key.to_owned(), training.remove(key).unwrap_or_default()));
    for stage in ["stage1", "stage2"] {
        let mut settings = Map::from_iter(both.clone());
        let own = training.remove(stage).map(without_nulls);
        settings.extend(own.as_ref().and_then(Value::as_object).cloned().unwrap_or_default());
        training.insert(stage.to_owned(), Value::Object(settings));
    }
    training
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}

fn response(
    request: &GenerateFineTuningProject,
    settings: &Settings,
    project: GeneratedProject,
) -> GenerateFineTuningProjectResponse {
    let features = request.features.clone().unwrap_or_default();
    let features_enabled = FeaturesEnabled {
        quality_weighting: settings.training.quality_weight_multiplier > 1.0,
        carbon_tracking: settings.carbon.enabled,
        mlflow_tracking: settings.mlflow.enabled,
        ..FeaturesEnabled::default()
    };
    let mut not_available_yet: Vec<_> =
        unavailable(settings).into_iter().map(|problem| problem.message).collect();
    for (asked, feature) in [
        (features.enable_mlx_optimization == Some(true), "MLX trainer: left off"),
        (features.enable_huggingface_upload == Some(true), "uploading to the Hugging Face Hub: left off"),
    ] {
        if asked {
            not_available_yet.push(feature.to_owned());
        }
    }
    GenerateFineTuningProjectResponse {
        success: true,
        carbon_tracking_configured: settings.carbon.enabled,
        features_enabled,
        next_steps: next_steps(settings, &not_available_yet),
        not_available_yet,
        command_examples: command_examples(),
        project_structure: project.entries,
        project_path: project.folder,
    }
}

fn next_steps(settings: &Settings, not_available_yet: &[String]) -> Vec<String> {
    let mut steps = Vec::new();
    let model = &settings.base_model;
    if model.local_path.is_none() {
        steps.push(if model.model_id.is_empty() {
            String::from(
                "set base_model.model_id in config/fine_tuning_config.toml to a model of the Hugging Face Hub, or \
                 base_model.local_path to a model's folder",
            )
        } else {
            format!("nothing to do for the base model {}: configuring a run downloads it", model.model_id)
        });
    }
    if !not_available_yet.is_empty() {
        steps.push(String::from("look at not_available_yet: a run that needs one of these is refused"));
    }
    steps.extend(
        [
            "put records into data/raw (JSONL, CSV or Parquet) and split them: prepare_dataset, or `greentune data prepare`",
            "look at what the model will see of them: inspect_dataset, or `greentune data inspect`",
            "configure a run: configure_training_run, or `greentune runs new`",
            "train it: start_training, or `greentune train`",
        ]
        .map(String::from),
    );
    steps
}

fn command_examples() -> BTreeMap<String, String> {
    [
        ("prepare_data", "greentune data prepare data/raw/records.jsonl"),
        ("inspect_data", "greentune data inspect data/processed/train.jsonl"),
        (
            "configure_run",
            "greentune runs new --name first --train data/processed/train.jsonl --validation data/processed/validation.jsonl",
        ),
        ("train", "greentune train RUN"),
        ("monitor", "greentune monitor RUN --follow"),
        ("evaluate", "greentune evaluate RUN --test data/processed/test.jsonl --stage 2"),
        ("export", "greentune export RUN --stage 2 --format huggingface --to exported"),
        ("emissions", "greentune emissions summary RUN"),
    ]
    .map(|(name, command)| (name.to_owned(), command.to_owned()))
    .into()
}
