//! Makes a project folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Suggestion,
    availability::unavailable,
    ids,
    lora_rate::lora_learning_rate,
    memory::ModelShape,
    quantities::plain,
    resolve::{Layers, resolve},
    settings::{BaseModelSettings, Settings},
};
use greentune_durable::read_text_at_most;
use greentune_scaffold::{GeneratedProject, ProjectSpec, generate_project};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::section::{
    BaseModelConfig, CarbonConfig, DatasetConfig, LoraConfig, OF_BOTH_STAGES, TrainingConfig,
};
use crate::{
    Result, Workbench, WorkbenchError,
    base_model::{MODEL_CONFIG_BYTES, check_folder},
    command_line::command,
    project::{check_addresses, without_links},
    reach::Access,
};

/// Make a project.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GenerateFineTuningProject {
    /// Name of the project and of its folder.
    pub project_name: String,
    /// Folder in which the project's folder is made.
    pub output_dir: PathBuf,
    /// One line on the project's purpose.
    pub description: Option<String>,
    /// What is fine-tuned.
    pub base_model_config: BaseModelConfig,
    /// Fields beside stage1 and stage2 hold for both.
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
        let parent = self.given_path(&request.output_dir)?;
        let parent = self.reach(&parent, &request.output_dir, Access::Write)?;
        let mut layers = Layers {
            run_overrides: settings_asked_for(request),
            home: self.config().user_home.clone(),
            ..Layers::default()
        };
        let mut resolved = resolve(&layers)?;
        let mut reasons = BTreeMap::new();
        if request.training_config.is_none() {
            let choices = choices_that_learn(&resolved.settings, &parent.join(&request.project_name));
            for Choice { key, value, reason } in choices {
                layers.run_overrides.insert(key.clone(), json!(value));
                reasons.insert(key, reason);
            }
            resolved = resolve(&layers)?;
        }
        let settings = resolved.settings.clone();
        let folder = parent.join(&request.project_name);
        self.check_model(&settings.base_model, &folder)?;
        check_addresses(&settings)?;
        self.check_given_addresses(&resolved)?;
        self.note_project_in(&parent);
        let project =
            generate_project(&ProjectSpec { folder, resolved, reasons }).map_err(WorkbenchError::reported)?;
        self.note_written(&project.folder.join("README.md"));
        Ok(response(request, &settings, project))
    }

    /// Refuses a folder that is no base model, and an id or a revision that the Hub cannot have; nothing is asked
    /// there yet. A folder is relative to the `project`.
    fn check_model(&self, model: &BaseModelSettings, project: &Path) -> Result<()> {
        if let Some(path) = &model.local_path {
            let folder = without_links(&project.join(path))?;
            // In the project nothing is yet.
            if !folder.starts_with(project) {
                self.check_base_folder(&folder)?;
                check_folder(&folder)?;
            }
            return Ok(());
        }
        if !model.model_id.is_empty() {
            ids::check_model_id(&model.model_id)?;
            ids::check_revision(&model.revision)?;
        }
        Ok(())
    }
}

/// Share of stage 2's records that are stage 1's; measured in `docs/benchmarks/defaults.md`.
const REPLAY_RATIO: f64 = 0.3;

/// A setting for a project that asked for no training settings.
struct Choice {
    key: String,
    value: f64,
    reason: String,
}

/// Settings with which the adapters of a new project in `folder` learn, and keep what they learnt. The built-in ones are
/// those of contracts; they hold where training settings are given and name none.
fn choices_that_learn(settings: &Settings, folder: &Path) -> Vec<Choice> {
    let local = settings.base_model.local_path.as_ref().map(|path| folder.join(path).join("config.json"));
    let config = local.and_then(|path| read_text_at_most(&path, MODEL_CONFIG_BYTES).ok());
    let width = config.and_then(|text| ModelShape::from_config(&text)).map(|shape| shape.hidden_size);
    let model = width.map_or_else(
        || String::from("a large base model, because the size of this one is not known yet"),
        |width| format!("a base model of width {width}"),
    );
    let rate = |stage: u8| {
        let steps = settings.training.stage(stage).iterations;
        let goes_on =
            if stage > 1 { ", lower than stage 1's because the adapters have learnt already" } else { "" };
        Choice {
            key: format!("training.stage{stage}.learning_rate"),
            value: lora_learning_rate(stage, &settings.training, &settings.lora, width),
            reason: format!(
                "Chosen so that adapters with alpha {} learn in {steps} steps on {model}{goes_on}; the built-in value \
                 hardly moves them. `{}` tries others on your data.",
                plain(settings.lora.alpha),
                command(&Suggestion::new("tune it", "tune_training").with("run_id", "RUN"))
            ),
        }
    };
    let replay = Choice {
        key: String::from("training.stage2.replay_ratio"),
        value: REPLAY_RATIO,
        reason: String::from(
            "Twice the built-in share: where stage 2 has other records, it then keeps most of what stage 1 learnt.",
        ),
    };
    [rate(1), rate(2), replay].into()
}

/// The settings that `request` asks for; its sections are called as those of the settings are.
fn settings_asked_for(request: &GenerateFineTuningProject) -> Map<String, Value> {
    let features = request.features.clone().unwrap_or_default();
    let other = request.integrations.clone().unwrap_or_default();
    let mut carbon = request.carbon_config.clone().unwrap_or_default().0;
    if let Some(enabled) = features.enable_carbontracking {
        carbon.insert("enabled".into(), json!(enabled));
    }
    if carbon.get("project_name").is_none_or(Value::is_null) {
        carbon.insert("project_name".into(), json!(other.codecarbon_project_name));
    }
    let mut training = for_each_stage(request.training_config.clone().unwrap_or_default().0);
    if features.enable_quality_weighting == Some(false) {
        training.insert("quality_weight_multiplier".into(), json!(1.0));
    }
    let settings = json!({
        "project": { "name": request.project_name, "description": request.description },
        "base_model": request.base_model_config,
        "training": training,
        "lora": request.lora_config,
        "dataset": request.dataset_config,
        "carbon": carbon,
        "mlflow": {
            "enabled": features.enable_mlflow.unwrap_or(other.mlflow_tracking_uri.is_some()),
            "tracking_uri": other.mlflow_tracking_uri,
        },
        "wandb": { "project": other.wandb_project },
    });
    without_nulls(settings).as_object().cloned().unwrap_or_default()
}

/// `[training]`: what is given for both stages goes into each, under what is given for that stage alone.
fn for_each_stage(mut training: Map<String, Value>) -> Map<String, Value> {
    let both = OF_BOTH_STAGES.map(|key| (key.to_owned(), training.remove(key).unwrap_or_default()));
    for stage in ["stage1", "stage2"] {
        match training.remove(stage).map_or_else(|| json!({}), without_nulls) {
            Value::Object(own) => {
                let settings: Map<_, _> = both.iter().cloned().chain(own).collect();
                training.insert(stage.to_owned(), settings.into());
            }
            // Refused when the settings are resolved.
            other => {
                training.insert(stage.to_owned(), other);
            }
        }
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
    let call = |operation: &str| Suggestion::new("go on", operation);
    let data = |name: &str| format!("data/processed/{name}.jsonl");
    for (what, step) in [
        (
            "put records into data/raw (JSONL, CSV or Parquet) and split them",
            call("prepare_dataset").with("datasets", "data/raw/FILE"),
        ),
        ("look at what the model will see of them", call("inspect_dataset").with("dataset", data("train"))),
        (
            "configure a run",
            call("configure_training_run").with("run_name", "first").with(
                "training_data",
                json!({ "train_dataset": data("train"), "validation_dataset": data("validation") }),
            ),
        ),
        ("train it", call("start_training").with("run_id", "first")),
    ] {
        steps.push(format!("{what}: {}, or `{}`", step.operation, command(&step)));
    }
    steps
}

/// Commands for a project, by what they do.
fn command_examples() -> BTreeMap<String, String> {
    let of_run = |operation: &str| Suggestion::new("go on", operation).with("run_id", "RUN");
    let data = |name: &str| format!("data/processed/{name}.jsonl");
    [
        (
            "prepare_data",
            Suggestion::new("go on", "prepare_dataset").with("datasets", "data/raw/records.jsonl"),
        ),
        ("inspect_data", Suggestion::new("go on", "inspect_dataset").with("dataset", data("train"))),
        (
            "configure_run",
            Suggestion::new("go on", "configure_training_run").with("run_name", "first").with(
                "training_data",
                json!({ "train_dataset": data("train"), "validation_dataset": data("validation") }),
            ),
        ),
        ("train", of_run("start_training")),
        ("monitor", of_run("follow_events")),
        ("evaluate", of_run("evaluate_model").with("test_dataset", data("test")).with("stage", 2)),
        (
            "export",
            of_run("export_model")
                .with("stage", 2)
                .with("export_format", "huggingface")
                .with("export_path", "exported"),
        ),
        ("emissions", of_run("get_emissions_summary")),
    ]
    .map(|(name, suggestion)| (name.to_owned(), command(&suggestion)))
    .into()
}
