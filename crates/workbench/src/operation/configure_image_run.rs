//! Makes a run that trains an image classifier, from one line: a model, a data set, and whether samples are selected.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Problem, ProblemKind, Suggestion, choice, ids,
    image_defaults::ImageFacts,
    layout::{ProjectLayout, RunLayout},
    manifest::{RunData, RunStatus, StageRecord},
    platform::PlatformKind,
    resolve::{Resolved, SettingRow, Source},
    settings::{AstPolicy, Settings, VISION_MODELS},
};
use greentune_image_data::{ImageDataset, OpenOptions, Pipeline, Report, inspect, reason_against_mirroring};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use greentune_run_folder::new_record;

use crate::{
    Result, Workbench, WorkbenchError, command_line::command, inputs, new_run::NewRun, reach::Access,
    sent_before::SentRequest,
};

/// Configure a run of an image classifier.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ConfigureImageRun {
    /// Path of the project; it is made when absent there. By default in greentune's home, one for each data set.
    pub project_path: Option<PathBuf>,
    /// Where it trains; this machine when absent.
    pub platform: Option<PlatformKind>,
    /// The data set: an image folder, CIFAR binaries, IDX files or Parquet; a file or a folder.
    pub dataset: PathBuf,
    /// Architecture, such as simplecnn, resnet18, efficientnet_b0, vit_tiny.
    pub model: String,
    /// Adaptive sparse training, with these settings; its defaults when empty. When absent as the project has it.
    pub ast_config: Option<AstConfig>,
    /// Train the twin to compare with: the same run on all samples, without `ast_config`.
    pub baseline: Option<bool>,
    /// Passes over the training images.
    pub epochs: Option<u64>,
    /// Images per optimizer step.
    pub batch_size: Option<u64>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// Seed of everything that is drawn.
    pub seed: Option<u64>,
    /// Upload the model when it is trained; not available yet.
    pub auto_upload_hf: Option<bool>,
    /// Name of the run; made of model, policy and seed when absent.
    pub run_name: Option<String>,
    /// Tells this request from others: sent again with the same key, it makes no other run. Derived when absent.
    pub idempotency_key: Option<String>,
    /// Further settings for this run alone, by dotted key.
    pub override_params: Option<Map<String, Value>>,
}

/// How samples are selected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AstConfig {
    /// Share of samples that is trained on, in (0, 1].
    pub target_activation_rate: Option<f64>,
    /// Weight of entropy against loss in a sample's score, in [0, 1].
    pub entropy_weight: Option<f64>,
    /// How samples are selected.
    pub policy: Option<AstPolicy>,
    /// Epochs on all samples first.
    pub warmup_epochs: Option<u64>,
}

/// The run that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigureImageRunResponse {
    /// Id of the run.
    pub run_id: String,
    /// The project's folder.
    pub project_path: PathBuf,
    /// The run's folder.
    pub run_directory: PathBuf,
    /// Whether the same request was sent before: then this is the run that it made.
    #[serde(default)]
    pub repeated: bool,
    /// Key of the request.
    pub idempotency_key: String,
    /// What lies in the data set.
    pub dataset: Report,
    /// What is odd about it, and about the settings for it.
    pub warnings: Vec<String>,
    /// Settings that nobody set, chosen to suit architecture and data set.
    #[serde(default)]
    pub chosen: Vec<ChosenSetting>,
    /// Whether the project was made for the run.
    #[serde(skip)]
    made_project: bool,
}

/// A setting that was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChosenSetting {
    /// Dotted key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// What it suits.
    pub to_suit: String,
}

impl Workbench {
    /// Checks model, data set and settings, makes the project where there is none, and writes the run's manifest.
    ///
    /// Errors: an unknown model; another platform than this machine; a data set that cannot be learnt from (one class,
    /// no images, unreadable files); impossible settings.
    pub async fn configure_image_run(&self, request: ConfigureImageRun) -> Result<ConfigureImageRunResponse> {
        self.blocking(move |workbench| workbench.make_image_run(&with_known_model(request))).await
    }

    fn make_image_run(&self, request: &ConfigureImageRun) -> Result<ConfigureImageRunResponse> {
        check_request(request)?;
        if let Some(kind) = request.platform {
            self.platforms().get(kind)?;
        }
        // Before anything is written: what the data set is.
        let dataset = self.given_path(&request.dataset)?;
        let dataset = self.reach(&dataset, &request.dataset, Access::Read)?;
        if !dataset.exists() {
            let key = String::from("dataset");
            return Err(WorkbenchError::MissingFile { key, path: dataset, of_project: false });
        }
        let options = OpenOptions { seed: request.seed.unwrap_or_default(), ..OpenOptions::default() };
        let report = inspect(&dataset, &options).map_err(WorkbenchError::reported)?;
        let folder = match &request.project_path {
            Some(path) => self.given_path(path)?,
            None => self.config().home.join("projects").join(project_name(&dataset)),
        };
        let roots = self.allowed_roots();
        let folder = roots.reach(&folder, &folder, Access::Write)?;
        let project = ProjectLayout::new(&folder);
        roots.check_project(&project)?;
        let sent = self.sent(request, &dataset, &folder)?;
        let _lock = self.lock_requests()?;
        if let Some(run) = self.made_before(&project, &sent)? {
            return Ok(made(&project, &run, report, sent.key, true));
        }
        let is_new = !project.config().is_file();
        let mut resolved = self.usable_settings_or_new(&project, is_new, overrides(request))?;
        let facts = image_facts(&report, &resolved.settings, &options)?;
        let mut warnings = report.warnings.clone();
        warnings.extend(resolved.suit_images(&facts));
        let chosen = chosen(&resolved);
        let pretrained = resolved.settings.vision.pretrained.as_deref();
        let base_model_path =
            pretrained.map(|path| self.input_file(&project, "vision.pretrained", path)).transpose()?;
        let mut input_hashes = BTreeMap::new();
        for path in [Some(&dataset), base_model_path.as_ref()].into_iter().flatten() {
            input_hashes.insert(path.to_string_lossy().into_owned(), inputs::sha256(path)?);
        }
        if is_new {
            make_project(&project, &project_name(&dataset), request)?;
        }
        let run_name = match &request.run_name {
            Some(name) => {
                ids::check_run_name(name).map_err(|problem| {
                    WorkbenchError::all("request.invalid", "things are wrong with the request", vec![problem])
                })?;
                name.clone()
            }
            None => run_name(&resolved.settings),
        };
        let (run, _) = self.make_run(
            &project,
            NewRun {
                run_name,
                stages: stages(&resolved.settings, report.train),
                data: RunData { train: dataset.clone(), validation: dataset, ..RunData::default() },
                base_model_path: base_model_path.unwrap_or_default(),
                input_hashes,
                resolved,
            },
        )?;
        sent.keep(&run)?;
        Ok(ConfigureImageRunResponse {
            warnings,
            chosen,
            made_project: is_new,
            ..made(&project, &run, report, sent.key, false)
        })
    }

    /// What is asked for: the request with its paths as they are resolved, and the settings given beside it.
    fn sent(&self, request: &ConfigureImageRun, dataset: &Path, project: &Path) -> Result<SentRequest> {
        let arguments = self.config().arguments.iter().map(|argument| (&argument.key, &argument.text));
        let content = ConfigureImageRun {
            dataset: dataset.to_owned(),
            project_path: Some(project.to_owned()),
            idempotency_key: None,
            ..request.clone()
        };
        let content = (content, arguments.collect::<Vec<_>>());
        SentRequest::new(request.idempotency_key.as_deref(), &content)
    }

    /// Removes a run that was made and never began, and the project if it was made for it: a job that is refused leaves
    /// nothing behind. A run that has begun is left alone.
    pub async fn discard_unstarted(&self, made: &ConfigureImageRunResponse) -> Result<()> {
        let made = made.clone();
        self.blocking(move |workbench| workbench.discard(&made)).await
    }

    fn discard(&self, made: &ConfigureImageRunResponse) -> Result<()> {
        let run = self.find_run(Some(&made.project_path), &made.run_id)?;
        let is_untouched = self.status_of(&run)? == RunStatus::NotStarted && !run.events().exists();
        // A run that an earlier request made is that request's.
        if made.repeated || !is_untouched {
            return Ok(());
        }
        fs::remove_dir_all(run.folder()).map_err(WorkbenchError::file("remove", run.folder()))?;
        if made.made_project {
            let project = run.project();
            let config = project.config();
            let _ = fs::remove_file(&config);
            let _ = fs::remove_file(project.root().join(".gitignore"));
            // Folders that hold something else stay.
            for folder in
                [Some(project.runs().as_path()), config.parent(), Some(project.root())].into_iter().flatten()
            {
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(())
    }
}

fn made(
    project: &ProjectLayout,
    run: &RunLayout,
    report: Report,
    idempotency_key: String,
    repeated: bool,
) -> ConfigureImageRunResponse {
    ConfigureImageRunResponse {
        run_id: run.run_id(),
        project_path: project.root().to_owned(),
        run_directory: run.folder().to_owned(),
        repeated,
        idempotency_key,
        warnings: report.warnings.clone(),
        dataset: report,
        chosen: Vec::new(),
        made_project: false,
    }
}

/// What the defaults of the run's settings depend on.
fn image_facts(report: &Report, settings: &Settings, options: &OpenOptions) -> Result<ImageFacts> {
    let dataset = ImageDataset::open(&report.path, options).map_err(WorkbenchError::reported)?;
    let sizes = report.sizes;
    let is_square = sizes.is_uniform() && sizes.max_width == sizes.max_height;
    let side = if is_square { sizes.max_width } else { Pipeline::USUAL_SIDE };
    Ok(ImageFacts {
        images: report.train,
        side: settings.vision.image_size.map_or(side, |side| side as u32),
        against_mirroring: reason_against_mirroring(&dataset, options.seed)
            .map_err(WorkbenchError::reported)?,
    })
}

/// The settings of `resolved` that were chosen.
fn chosen(resolved: &Resolved) -> Vec<ChosenSetting> {
    let of = |row: SettingRow| match row.source {
        Source::Chosen { to_suit } => Some(ChosenSetting { key: row.key, value: row.value, to_suit }),
        _ => None,
    };
    resolved.rows().into_iter().filter_map(of).collect()
}

/// `request` with its model as it is listed, whatever case and hyphens it was written with.
fn with_known_model(mut request: ConfigureImageRun) -> ConfigureImageRun {
    if let Some(known) = choice::meant(VISION_MODELS.iter().copied(), &request.model) {
        request.model = known.to_owned();
    }
    request
}

fn check_request(request: &ConfigureImageRun) -> Result<()> {
    if request.baseline == Some(true) && request.ast_config.is_some() {
        return Err(two_runs(request));
    }
    if request.auto_upload_hf == Some(true) {
        return Err(WorkbenchError::NotAvailableYet {
            what: String::from("uploading a model when it is trained"),
            instead: String::from("train it, then upload the folder final-model of the run"),
        });
    }
    if !VISION_MODELS.contains(&request.model.as_str()) {
        return Err(WorkbenchError::InvalidValue {
            key: "model",
            found: request.model.clone(),
            allowed: format!(
                "{}; a language model is configured by generate_fine_tuning_project and configure_training_run",
                VISION_MODELS.join(", ")
            ),
        });
    }
    Ok(())
}

/// The error for a request that asks for a run and its twin, with the requests for each.
fn two_runs(request: &ConfigureImageRun) -> WorkbenchError {
    let arguments = |request: ConfigureImageRun| match serde_json::to_value(request) {
        Ok(Value::Object(given)) => given.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    };
    let train = |purpose: &str, request: ConfigureImageRun| Suggestion {
        arguments: arguments(ConfigureImageRun { idempotency_key: None, project_path: None, ..request }),
        ..Suggestion::new(purpose, "start_training")
    };
    let sparse = ConfigureImageRun { baseline: None, ..request.clone() };
    let dense = ConfigureImageRun { ast_config: None, ..request.clone() };
    let message = "a run on selected samples and its twin on all samples are two runs";
    Problem::new(ProblemKind::InvalidInput, "request.value", message)
        .at_key("baseline")
        .suggesting(train("train the first", sparse))
        .suggesting(train("then its twin", dense))
        .with_hint("a comparison finds the twin by itself")
        .into()
}

/// The request as settings of the run.
fn overrides(request: &ConfigureImageRun) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(key.to_owned(), value);
        }
    };
    put("vision.model", Some(request.model.clone().into()));
    put("vision.epochs", request.epochs.map(Value::from));
    put("vision.batch_size", request.batch_size.map(Value::from));
    put("vision.learning_rate", request.learning_rate.map(Value::from));
    put("training.seed", request.seed.map(Value::from));
    // Neither asked for: as the project has it.
    let enabled = match (request.baseline, &request.ast_config) {
        (Some(true), _) => Some(false),
        (_, Some(_)) => Some(true),
        _ => None,
    };
    put("ast.enabled", enabled.map(Value::from));
    let ast = request.ast_config.clone().unwrap_or_default();
    put("ast.target_activation_rate", ast.target_activation_rate.map(Value::from));
    put("ast.entropy_weight", ast.entropy_weight.map(Value::from));
    put("ast.policy", ast.policy.map(|policy| Value::from(policy.as_str())));
    put("ast.warmup_epochs", ast.warmup_epochs.map(Value::from));
    all.extend(request.override_params.clone().unwrap_or_default());
    all
}

/// One project for each data set, so that a run and its baseline meet in it.
fn project_name(dataset: &Path) -> String {
    let name = dataset.file_stem().unwrap_or_default().to_string_lossy();
    let kept =
        |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let name: String = name.chars().map(kept).collect();
    if name.is_empty() { String::from("images") } else { name }
}

fn run_name(settings: &Settings) -> String {
    let model = settings.vision.model.as_deref().unwrap_or_default();
    let kind = if settings.ast.enabled { settings.ast.policy.as_str() } else { "baseline" };
    format!("{model}-{kind}-seed{}", settings.training.seed)
}

/// The warm-up and the sparse phase; no record of a warm-up that there is not.
///
/// How many steps there will be where samples are selected follows from the rate that is aimed at.
fn stages(settings: &Settings, images: u64) -> Vec<StageRecord> {
    let used = [1, 2].into_iter().filter(|stage| settings.image_epochs(*stage) > 0);
    let steps = |stage| settings.image_epochs(stage) * settings.image_steps_per_epoch(stage, images);
    used.map(|stage| new_record(stage, steps(stage))).collect()
}

/// A project with the least that one needs.
fn make_project(project: &ProjectLayout, name: &str, request: &ConfigureImageRun) -> Result<()> {
    let config = project.config();
    let folder = config.parent().unwrap_or(project.root());
    fs::create_dir_all(folder).map_err(WorkbenchError::file("create", folder))?;
    let quoted = |text: &str| Value::from(text).to_string();
    let train = Suggestion::new("make a run", "configure_image_run")
        .with("platform", PlatformKind::Local.as_str())
        .with("model", "NAME")
        .with("dataset", "PATH");
    let text = format!(
        "# Runs of this project are made with `{}`.\n\
         # Every setting, its default and where it comes from: `{}`.\n\n\
         [project]\nname = {}\n\n[vision]\nmodel = {}\n",
        command(&train),
        command(&Suggestion::new("see every setting", "show_config")),
        quoted(name),
        quoted(&request.model),
    );
    let ignore = project.root().join(".gitignore");
    if !ignore.exists() {
        greentune_durable::write_atomically(&ignore, b"runs/\nlogs/\nemissions/\n")
            .map_err(WorkbenchError::file("write", &ignore))?;
    }
    // Last: it is what makes the folder a project.
    greentune_durable::write_atomically(&config, text.as_bytes())
        .map_err(WorkbenchError::file("write", &config))
}
