//! The paths of a project's and a run's files. This is the only place that spells their names.

use std::path::{Path, PathBuf};

/// File name of the project configuration, relative to the project.
pub const CONFIG_FILE: &str = "config/fine_tuning_config.toml";

/// The splits of a prepared data set. While the first is there, the others are those of the same preparation.
pub const SPLIT_FILES: [&str; 3] = ["train.jsonl", "validation.jsonl", "test.jsonl"];

/// How the name of a folder begins in which splits are written before they get their names.
pub const PREPARING: &str = ".preparing-";

/// How the name of a folder begins in which an export is written before it gets its name.
pub const EXPORTING: &str = ".greentune-export-";

/// How the name of a folder begins in which a project is written before it gets its name.
pub const GENERATING: &str = ".greentune-new-";

/// How the name of a folder begins in which a run is configured before it gets its name.
pub const CONFIGURING: &str = ".configuring-";

/// How the name of a folder begins in which a checkpoint is written before it gets its name.
pub const CHECKPOINTING: &str = ".checkpointing-";

/// A project folder and the paths inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectLayout {
    root: PathBuf,
}

impl ProjectLayout {
    /// The project at `root`; nothing is checked or created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The project that contains `folder`: the nearest ancestor with a configuration file.
    pub fn find_around(folder: &Path) -> Option<Self> {
        folder.ancestors().find(|ancestor| ancestor.join(CONFIG_FILE).is_file()).map(Self::new)
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// `config/fine_tuning_config.toml`.
    pub fn config(&self) -> PathBuf {
        self.root.join(CONFIG_FILE)
    }
    /// `config/model_config.json`: what was detected of the base model.
    pub fn model_config(&self) -> PathBuf {
        self.root.join("config/model_config.json")
    }
    /// `data/processed/`: the splits of prepared data sets.
    pub fn processed_data(&self) -> PathBuf {
        self.root.join("data/processed")
    }
    /// `data/quality_reports/`.
    pub fn quality_reports(&self) -> PathBuf {
        self.root.join("data/quality_reports")
    }
    /// `runs/`.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }
    /// `emissions/`.
    pub fn emissions(&self) -> PathBuf {
        self.root.join("emissions")
    }
    /// `logs/`.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
    /// The folder of the run `run_id`.
    pub fn run(&self, run_id: &str) -> RunLayout {
        RunLayout { project: self.clone(), folder: self.runs().join(run_id) }
    }
}

/// A run folder and the paths inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLayout {
    project: ProjectLayout,
    folder: PathBuf,
}

impl RunLayout {
    /// The run at `folder`, which lies at `{project}/runs/{run_id}`; `None` when it has no such ancestors.
    pub fn at(folder: impl Into<PathBuf>) -> Option<Self> {
        let folder = folder.into();
        let project = ProjectLayout::new(folder.parent()?.parent()?);
        Some(Self { project, folder })
    }

    /// The project that the run belongs to.
    pub fn project(&self) -> &ProjectLayout {
        &self.project
    }
    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
    /// The run's id: its folder's name.
    pub fn run_id(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
    /// `run-manifest.json`.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("run-manifest.json")
    }
    /// `events.jsonl`.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }
    /// `worker.lock`: locked by the process that trains the run.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("worker.lock")
    }
    /// `plan.json`: what training will need, as it was planned.
    pub fn plan(&self) -> PathBuf {
        self.folder.join("plan.json")
    }
    /// `heartbeat.json`: rewritten by the worker every few seconds.
    pub fn heartbeat(&self) -> PathBuf {
        self.folder.join("heartbeat.json")
    }
    /// `cancel`: its presence asks the worker to stop at the next step boundary.
    pub fn cancel_request(&self) -> PathBuf {
        self.folder.join("cancel")
    }
    /// `logs/{run_id}.log` in the project: standard error of the worker.
    pub fn log(&self) -> PathBuf {
        self.project.logs().join(format!("{}.log", self.run_id()))
    }
    /// `stage{N}/`.
    pub fn stage(&self, stage: u8) -> PathBuf {
        self.folder.join(format!("stage{stage}"))
    }
    /// `stage{N}/adapters/`, in PEFT's layout.
    pub fn adapters(&self, stage: u8) -> PathBuf {
        self.stage(stage).join("adapters")
    }
    /// `stage{N}/checkpoints/`.
    pub fn checkpoints(&self, stage: u8) -> PathBuf {
        self.stage(stage).join("checkpoints")
    }
    /// `stage{N}/training-data/`: what was read, kept and dropped.
    pub fn training_data(&self, stage: u8) -> PathBuf {
        self.stage(stage).join("training-data")
    }
    /// `stage{N}/evaluation/`.
    pub fn evaluation(&self, stage: u8) -> PathBuf {
        self.stage(stage).join("evaluation")
    }
    /// `final-model/`: the adapters of the last stage, or an image classifier.
    pub fn final_model(&self) -> PathBuf {
        self.folder.join("final-model")
    }
    /// `emissions/{run_id}_stage{N}_emissions.csv` in the project: CodeCarbon's 38 columns.
    pub fn emissions_csv(&self, stage: u8) -> PathBuf {
        self.project.emissions().join(format!("{}_stage{stage}_emissions.csv", self.run_id()))
    }
    /// `emissions/{run_id}_tune_emissions.csv` in the project: the trials before the run, which are none of its stages.
    pub fn tuning_emissions_csv(&self) -> PathBuf {
        self.project.emissions().join(format!("{}_tune_emissions.csv", self.run_id()))
    }
    /// `emissions/{run_id}_tune_provenance.json` in the project.
    pub fn tuning_provenance(&self) -> PathBuf {
        self.project.emissions().join(format!("{}_tune_provenance.json", self.run_id()))
    }
    /// `emissions/{run_id}_stage{N}_provenance.json` in the project.
    pub fn provenance(&self, stage: u8) -> PathBuf {
        self.project.emissions().join(format!("{}_stage{stage}_provenance.json", self.run_id()))
    }
}
