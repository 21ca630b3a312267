//! Makes a run: checks everything that can be checked without training, and writes its manifest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use greentune_core_config::{
    Diagnostic, Suggestion, ids,
    layout::ProjectLayout,
    lora_rate::{learns_little, lora_learning_rate},
    manifest::{RunData, RunManifest, StageRecord},
    quantities::{counted, plain},
    resolve::Resolved,
    settings::{AstSettings, Settings},
};
use greentune_run_folder::{json, new_record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError, base_model::BaseModel, command_line::command, hub::CancelOnDrop,
    inputs::sha256, new_run::NewRun,
};

/// Configure a run of a project.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ConfigureTrainingRun {
    /// Path of the project.
    pub project_path: PathBuf,
    /// Name of the run: letters, digits, `.`, `_` and `-`, at most 64.
    pub run_name: String,
    /// Data sets, relative to the project or absolute.
    pub training_data: TrainingData,
    /// Settings for this run alone, by dotted key or nested: `{"training.stage1.iterations": 20}`.
    pub override_params: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Data sets of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingData {
    /// Training records.
    pub train_dataset: PathBuf,
    /// Validation records.
    pub validation_dataset: PathBuf,
    /// Test records.
    pub test_dataset: Option<PathBuf>,
    /// Training records of stage 2; `train_dataset` when absent.
    pub stage2_train_dataset: Option<PathBuf>,
    /// Validation records of stage 2; `validation_dataset` when absent.
    pub stage2_validation_dataset: Option<PathBuf>,
}

/// The run that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigureTrainingRunResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Id of the run.
    pub run_id: String,
    /// The run's folder.
    pub run_directory: PathBuf,
    /// The run's manifest.
    pub manifest_path: PathBuf,
    /// What will be trained, and how.
    pub configuration_summary: ConfigurationSummary,
}

/// What will be trained, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationSummary {
    /// Folder of the base model.
    pub base_model: PathBuf,
    /// Its id on the Hugging Face Hub, when it came from there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_id: Option<String>,
    /// Its commit there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// Its architecture, such as `olmo2`.
    pub architecture: String,
    /// Device that was asked for.
    pub device: String,
    /// How frozen weights are kept in memory: `f32`, `bf16`, `f16`, `q8` or `q4`.
    pub frozen_weights: String,
    /// What is trained, such as `LoRA of rank 8`.
    pub adapters: String,
    /// LoRA rank.
    pub lora_rank: u64,
    /// Projections that get an adapter.
    pub target_modules: Vec<String>,
    /// What is trained on, such as `40 % of the samples, by policy ast`; everything when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub selection: Option<String>,
    /// The stages.
    pub stages: Vec<StageSummary>,
    /// Where each setting that is not a default came from, by dotted key.
    pub sources: BTreeMap<String, String>,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

/// A stage in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageSummary {
    /// Stage, from 1.
    pub stage: u8,
    /// Optimizer steps.
    pub iterations: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Records per optimizer step.
    pub records_per_step: u64,
    /// Training records' file.
    pub train_dataset: PathBuf,
    /// Validation records' file.
    pub validation_dataset: PathBuf,
}

/// A run that is checked but for its data, and not written yet.
struct PreparedRun {
    project: ProjectLayout,
    run_name: String,
    data: RunData,
    resolved: Resolved,
    base_model: BaseModel,
}

impl Workbench {
    /// Checks name, data, settings and base model, the data by reading its beginning in a worker, and writes `runs/{run_id}/run-manifest.json`.
    ///
    /// Errors: everything that is wrong with name and data at once, or with the settings at once; data sets of which no
    /// record can be used; features that are not available yet; a base model that is missing, of an unsupported architecture, or that the Hub does not give.
    /// A base model of the Hub is downloaded first; that stops when the future is dropped, and goes on where it was
    /// when the run is configured again.
    pub async fn configure_training_run(
        &self,
        request: ConfigureTrainingRun,
    ) -> Result<ConfigureTrainingRunResponse> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        let prepared = self.blocking(move |workbench| workbench.prepare_run(request, &cancelled)).await?;
        let base = &prepared.base_model.folder;
        let warnings = self.check_data(&prepared.resolved.settings, base, &prepared.data).await?;
        self.blocking(move |workbench| workbench.write_run(prepared, warnings)).await
    }

    /// All that can be checked without reading the data.
    fn prepare_run(&self, request: ConfigureTrainingRun, cancelled: &AtomicBool) -> Result<PreparedRun> {
        let project = self.open_project(&request.project_path)?;
        let data = self.check_request(&project, &request)?;
        let mut resolved = self.usable_settings(&project, request.override_params)?;
        let base_model = self.base_model(&resolved.settings, cancelled)?;
        // A branch moves; the run keeps what it was trained on.
        resolved.settings.base_model.revision =
            base_model.commit.clone().unwrap_or(resolved.settings.base_model.revision);
        Ok(PreparedRun { project, run_name: request.run_name, data, resolved, base_model })
    }

    fn write_run(
        &self,
        prepared: PreparedRun,
        data_warnings: Vec<String>,
    ) -> Result<ConfigureTrainingRunResponse> {
        let PreparedRun { project, run_name, data, resolved, base_model } = prepared;
        json::write(&project.model_config(), &base_model.description())?;
        let (run, manifest) = self.make_run(
            &project,
            NewRun {
                run_name,
                stages: stages(&resolved.settings),
                input_hashes: input_hashes(&data, &base_model)?,
                base_model_path: base_model.folder.clone(),
                resolved,
                data,
            },
        )?;
        let mut configuration_summary = summary(&manifest, &base_model);
        configuration_summary.warnings.extend(data_warnings);
        Ok(ConfigureTrainingRunResponse {
            success: true,
            run_id: run.run_id(),
            run_directory: run.folder().to_owned(),
            manifest_path: run.manifest(),
            configuration_summary,
        })
    }

    /// Checks name and data sets, and reports everything that is wrong with them at once.
    fn check_request(&self, project: &ProjectLayout, request: &ConfigureTrainingRun) -> Result<RunData> {
        let mut problems: Vec<_> = ids::check_run_name(&request.run_name).err().into_iter().collect();
        let mut file = |key: &str, path: &Path| {
            let found = self.input_file(project, &format!("training_data.{key}"), path);
            found.map_err(|error| problems.push(error.problem())).ok()
        };
        let given = &request.training_data;
        let train = file("train_dataset", &given.train_dataset);
        let validation = file("validation_dataset", &given.validation_dataset);
        let mut optional = |key: &str, path: &Option<PathBuf>| path.as_ref().and_then(|path| file(key, path));
        let data = RunData {
            test: optional("test_dataset", &given.test_dataset),
            stage2_train: optional("stage2_train_dataset", &given.stage2_train_dataset),
            stage2_validation: optional("stage2_validation_dataset", &given.stage2_validation_dataset),
            train: train.unwrap_or_default(),
            validation: validation.unwrap_or_default(),
        };
        if problems.is_empty() {
            return Ok(data);
        }
        Err(WorkbenchError::all("request.invalid", "things are wrong with the request", problems))
    }
}

fn input_hashes(data: &RunData, base_model: &BaseModel) -> Result<BTreeMap<String, String>> {
    let optional = [&data.test, &data.stage2_train, &data.stage2_validation].into_iter().flatten().cloned();
    let records = [data.train.clone(), data.validation.clone()].into_iter().chain(optional);
    let files: BTreeSet<_> = records.chain(base_model.files()).collect();
    files.into_iter().map(|file| Ok((file.to_string_lossy().into_owned(), sha256(&file)?))).collect()
}

fn stages(settings: &Settings) -> Vec<StageRecord> {
    let stages = 1..=settings.training.num_stages;
    stages.map(|stage| new_record(stage, settings.training.stage(stage).iterations)).collect()
}

fn summary(manifest: &RunManifest, base_model: &BaseModel) -> ConfigurationSummary {
    let settings = &manifest.settings;
    ConfigurationSummary {
        base_model: manifest.base_model_path.clone(),
        model_id: base_model.commit.as_ref().map(|_| settings.base_model.model_id.clone()),
        commit: base_model.commit.clone(),
        architecture: base_model.architecture.to_owned(),
        device: settings.training.device.to_string(),
        frozen_weights: settings.frozen_weights().to_owned(),
        adapters: settings.lora.describe(),
        lora_rank: settings.lora.rank,
        target_modules: settings.lora.targets(),
        selection: settings.ast.enabled.then(|| {
            let AstSettings { target_activation_rate, policy, unit, .. } = &settings.ast;
            format!("{:.0} % of the {}, by policy {policy}", 100.0 * target_activation_rate, unit.noun())
        }),
        stages: manifest.stages.iter().map(|stage| stage_summary(manifest, stage.stage)).collect(),
        sources: manifest.sources.clone(),
        warnings: warnings(manifest, base_model),
    }
}

fn stage_summary(manifest: &RunManifest, stage: u8) -> StageSummary {
    let settings = manifest.settings.training.stage(stage);
    StageSummary {
        stage,
        iterations: settings.iterations,
        learning_rate: settings.learning_rate,
        records_per_step: settings.records_per_step(),
        train_dataset: manifest.data.train_of(stage).clone(),
        validation_dataset: manifest.data.validation_of(stage).clone(),
    }
}

/// The stages whose learning rates hardly move adapters in their steps.
fn low_rates(manifest: &RunManifest, base_model: &BaseModel) -> Vec<String> {
    let settings = &manifest.settings;
    let training = &settings.training;
    let low =
        manifest.stages.iter().map(|record| record.stage).filter(|stage| learns_little(training, *stage));
    let words = |stage: u8| {
        let now = training.stage(stage);
        let usual = lora_learning_rate(stage, training, &settings.lora, base_model.hidden_size());
        format!(
            "stage {stage} trains at a learning rate of {}, which hardly moves adapters in {}: about {} suits them \
             (training.stage{stage}.learning_rate), and tune_training (`{}`) tries a few",
            plain(now.learning_rate),
            counted(now.iterations, "step"),
            plain(usual),
            command(&Suggestion::new("try", "tune_training").with("run_id", &*manifest.run_id)),
        )
    };
    low.map(words).collect()
}

fn warnings(manifest: &RunManifest, base_model: &BaseModel) -> Vec<String> {
    let hash = |path: &PathBuf| manifest.input_hashes.get(&*path.to_string_lossy());
    let same = |a: &PathBuf, b: &PathBuf| hash(a).is_some() && hash(a) == hash(b);
    let data = &manifest.data;
    let mut warnings = base_model.notes.clone();
    warnings.extend(low_rates(manifest, base_model));
    if base_model.recognised_by_tensors {
        warnings.push(format!(
            "config.json names no supported architecture; the tensors are those of {}, and it is trained as one: \
             compare the base model's evaluation with what you expect",
            base_model.architecture
        ));
    }
    for stage in manifest.stages.iter().map(|stage| stage.stage) {
        if same(data.train_of(stage), data.validation_of(stage)) {
            warnings.push(format!(
                "stage {stage} validates on its own training records: its figures will say nothing about new ones"
            ));
        }
    }
    if data
        .test
        .as_ref()
        .is_some_and(|test| manifest.stages.iter().any(|stage| same(data.train_of(stage.stage), test)))
    {
        warnings.push(String::from("the test records are training records"));
    }
    warnings
}
