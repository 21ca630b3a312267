//! A home, a base model, a project and a workbench in a temporary folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Diagnostic, Problem,
    event::{Event, EventKind},
    layout::{ProjectLayout, RunLayout},
    manifest::{RunManifest, RunStatus},
    model::ModelConfig,
};
use greentune_test_support::fake_worker;
use greentune_workbench::{
    Workbench, WorkbenchConfig, WorkbenchError,
    operation::{
        BaseModelConfig, ConfigureTrainingRun, FollowEvents, GenerateFineTuningProject, StartTraining,
        StartTrainingResponse, TrainingData,
    },
};
use serde_json::{Map, Value, json};

/// Steps of each stage in the sandbox's runs.
pub const STEPS: u64 = 5;

pub struct Sandbox {
    folder: tempfile::TempDir,
    pub workbench: Workbench,
    pub project: ProjectLayout,
}

impl Sandbox {
    /// A project whose workers act out `mode` (see `fake_worker`).
    pub async fn new(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        write_base_model(&root.join("base"), "olmo2");
        let workbench = Workbench::new(config(&root, mode));
        let project = new_project(&workbench, &root, "health").await;
        Self { workbench, project: ProjectLayout::new(project), folder }
    }

    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// The same place with workers that act out `mode`.
    pub fn with_mode(&self, mode: &str) -> Workbench {
        Workbench::new(config(&self.root(), mode))
    }

    pub fn config(&self, mode: &str) -> WorkbenchConfig {
        config(&self.root(), mode)
    }

    pub fn request(&self) -> ConfigureTrainingRun {
        ConfigureTrainingRun {
            project_path: self.project.root().to_owned(),
            run_name: "first".into(),
            training_data: TrainingData {
                train_dataset: "data/processed/train.jsonl".into(),
                validation_dataset: "data/processed/validation.jsonl".into(),
                ..TrainingData::default()
            },
            override_params: overrides(json!({
                "training.stage1.iterations": STEPS, "training.stage1.warmup_steps": 0, "training.stage2": { "iterations": STEPS, "warmup_steps": 0 },
            })),
        }
    }

    pub async fn configured(&self) -> RunLayout {
        self.configured_with(json!({})).await
    }

    /// A run with further settings.
    pub async fn configured_with(&self, settings: Value) -> RunLayout {
        let mut request = self.request();
        request.override_params.get_or_insert_default().extend(overrides(settings).unwrap_or_default());
        let response = self.workbench.configure_training_run(request).await.unwrap();
        RunLayout::at(response.run_directory).unwrap()
    }

    pub async fn start(&self, run: &RunLayout, wait: bool) -> Result<StartTrainingResponse, WorkbenchError> {
        start(&self.workbench, run, wait).await
    }

    /// Everything up to the end of the run.
    pub async fn follow(&self, run: &RunLayout) -> (Vec<Event>, RunStatus) {
        let mut events = Vec::new();
        let mut after_seq = None;
        loop {
            let request = FollowEvents {
                run_id: run.run_id(),
                after_seq,
                wait_seconds: Some(20.0),
                limit: Some(3),
                ..FollowEvents::default()
            };
            let response = self.workbench.follow_events(request).await.unwrap();
            events.extend(response.events);
            after_seq = response.last_seq;
            if response.ended {
                return (events, response.status);
            }
        }
    }
}

pub async fn start(
    workbench: &Workbench,
    run: &RunLayout,
    wait: bool,
) -> Result<StartTrainingResponse, WorkbenchError> {
    let request = StartTraining { async_mode: Some(!wait), ..StartTraining::of(run.run_id()) };
    workbench.start_training(request).await
}

pub async fn new_project(workbench: &Workbench, root: &Path, name: &str) -> PathBuf {
    let request = project_request(root, name);
    let path = workbench.generate_fine_tuning_project(request).await.unwrap().project_path;
    fs::write(path.join("data/processed/train.jsonl"), "{\"instruction\":\"a\",\"output\":\"b\"}\n").unwrap();
    fs::write(path.join("data/processed/validation.jsonl"), "{\"instruction\":\"c\",\"output\":\"d\"}\n")
        .unwrap();
    path
}

pub fn project_request(root: &Path, name: &str) -> GenerateFineTuningProject {
    GenerateFineTuningProject {
        project_name: name.into(),
        output_dir: root.to_owned(),
        base_model_config: BaseModelConfig::from([
            ("type", json!("olmo")),
            ("model_id", json!("allenai/OLMo-2-0425-1B")),
            ("local_path", json!(root.join("base"))),
        ]),
        ..GenerateFineTuningProject::default()
    }
}

#[allow(clippy::needless_pass_by_value)] // reads best with `json!` in the call
pub fn overrides(value: Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

pub fn manifest(run: &RunLayout) -> RunManifest {
    serde_json::from_slice(&fs::read(run.manifest()).unwrap()).unwrap()
}

pub fn kinds(events: &[Event]) -> Vec<&'static str> {
    let name = |event: &Event| match event.kind {
        EventKind::Started { .. } => "started",
        EventKind::StageStarted { .. } => "stage_started",
        EventKind::Step(_) => "step",
        EventKind::StageFinished { .. } => "stage_finished",
        EventKind::Finished { .. } => "finished",
        EventKind::Failed { .. } => "failed",
        EventKind::Cancelled { .. } => "cancelled",
        _ => "other",
    };
    let mut names: Vec<_> = events.iter().map(name).collect();
    names.dedup();
    names
}

#[allow(clippy::needless_pass_by_value)] // the shape that `map_err` wants
pub fn problem(error: impl Diagnostic) -> Problem {
    error.problem()
}

/// A base model of one layer, 4 wide, with zeros for weights.
pub fn write_base_model(folder: &Path, model_type: &str) {
    fs::create_dir_all(folder).unwrap();
    let config = json!({
        "model_type": model_type, "architectures": ["Olmo2ForCausalLM"], "hidden_size": 4, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 16, "max_position_embeddings": 32,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    let mut trainable = config;
    trainable["model_type"] = json!("olmo2");
    let tensors = ModelConfig::parse(&trainable.to_string(), None).unwrap().tensors();
    // An architecture of its own has a tensor of its own.
    let further = (model_type != "olmo2").then(|| (String::from("model.further.weight"), vec![4, 4]));
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in tensors.into_iter().chain(further) {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    }
    let header = Value::from(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + end, 0);
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

fn config(root: &Path, mode: &str) -> WorkbenchConfig {
    WorkbenchConfig::new(root.join("home"), fake_worker::command(mode).unwrap())
}
