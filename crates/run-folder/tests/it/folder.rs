//! A run's folder to try things on.

use std::{cell::RefCell, fs, path::Path};

use greentune_core_config::{
    Problem,
    event::{Event, EventKind, StepMetrics},
    layout::{ProjectLayout, RunLayout},
    manifest::{FORMAT_VERSION, RunManifest},
    platform::JobState,
    settings::Settings,
};
use greentune_run_folder::{Liveness, MemoryBeat, RunWriter, manifest};
use serde_json::json;

/// A project in a temporary folder with one run of two stages.
pub struct Folder {
    _temporary: tempfile::TempDir,
    pub run: RunLayout,
}

impl Folder {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temporary.path()).unwrap().join("project");
        let run = ProjectLayout::new(root).run("first-20260101-000000");
        fs::create_dir_all(run.folder()).unwrap();
        manifest::write(&run, &mut new_manifest(&run)).unwrap();
        Self { _temporary: temporary, run }
    }

    pub fn writer(&self) -> RunWriter {
        RunWriter::begin(self.run.folder(), MemoryBeat::default).unwrap().0
    }

    pub fn events(&self) -> String {
        fs::read_to_string(self.run.events()).unwrap()
    }

    /// Changes the manifest behind everybody's back.
    pub fn change(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut manifest = serde_json::from_slice(&fs::read(self.run.manifest()).unwrap()).unwrap();
        change(&mut manifest);
        fs::write(self.run.manifest(), manifest.to_string()).unwrap();
    }
}

pub fn new_manifest(run: &RunLayout) -> RunManifest {
    let root = run.project().root();
    let stage = |stage| json!({"stage": stage, "status": "not_started", "total_steps": 4, "steps_done": 0});
    let hashed = root.join("data/train.jsonl").to_string_lossy().into_owned();
    serde_json::from_value(json!({
        "format_version": FORMAT_VERSION,
        "greentune_version": "0.1.0",
        "run_id": run.run_id(),
        "run_name": "first",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "status": "not_started",
        "platform": {"kind": "local"},
        "settings": Settings::default(),
        "sources": {"training.seed": format!("{}:7", root.join("config/fine_tuning_config.toml").display())},
        "data": {"train": root.join("data/train.jsonl"), "validation": "/elsewhere/validation.jsonl"},
        "base_model_path": root.join("base"),
        "input_hashes": {hashed: "00"},
        "stages": [stage(1), stage(2)],
    }))
    .unwrap()
}

pub fn started() -> EventKind {
    EventKind::Started { pid: 7, device: "fake".into(), resumed: false }
}

pub fn stage_started(stage: u8) -> EventKind {
    EventKind::StageStarted { stage, total_steps: 4, from_step: 0, train_records: 9, trainable_parameters: 8 }
}

pub fn step(stage: u8, step: u64) -> EventKind {
    EventKind::Step(StepMetrics {
        stage,
        step,
        total_steps: 4,
        train_loss: 1.0 / step as f64,
        learning_rate: 1e-4,
        gradient_norm: 1.0,
        tokens: 10,
        tokens_per_second: 100.0,
        samples: None,
    })
}

pub fn stage_finished(stage: u8) -> EventKind {
    EventKind::StageFinished {
        stage,
        duration_seconds: 2.0,
        final_train_loss: 0.5,
        emissions: None,
        peak_memory_bytes: None,
    }
}

/// Everything that a run of two stages says.
pub fn whole_run() -> Vec<EventKind> {
    let mut events = vec![started()];
    for stage in [1, 2] {
        events.push(stage_started(stage));
        events.extend((1..=4).map(|number| step(stage, number)));
        events.push(EventKind::Evaluated {
            stage,
            step: 4,
            validation_loss: 0.7,
            perplexity: 2.0,
            token_accuracy: 0.5 + 0.1 * f64::from(stage),
        });
        events.push(stage_finished(stage));
    }
    events.push(EventKind::Warning { code: "test.warning".into(), message: "mind the gap".into() });
    events.push(EventKind::Finished { duration_seconds: 4.0 });
    events
}

/// A platform that says what it is told to.
pub struct Says(pub RefCell<Result<JobState, Problem>>);

impl Says {
    pub fn new(answer: Result<JobState, Problem>) -> Self {
        Self(RefCell::new(answer))
    }
}

impl Liveness for Says {
    fn job_state(&self, _: &RunLayout, _: &RunManifest) -> Result<JobState, Problem> {
        self.0.borrow().clone()
    }
}

pub fn append_line(path: &Path, event: &Event) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    writeln!(file, "{}", serde_json::to_string(event).unwrap()).unwrap();
}
