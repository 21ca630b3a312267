//! A run folder as a worker leaves it.

use std::{fs, io::Write as _};

use greentune_core_config::{
    layout::{ProjectLayout, RunLayout},
    settings::Settings,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Desk {
    _folder: TempDir,
    pub layout: RunLayout,
    pub settings: Settings,
    seq: u64,
}

impl Desk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = ProjectLayout::new(folder.path().join("project")).run("demo-1");
        fs::create_dir_all(layout.folder()).unwrap();
        fs::create_dir_all(layout.project().emissions()).unwrap();
        let mut settings = Settings::default();
        settings.project.description = "x".repeat(700);
        let manifest = json!({
            "format_version": 1, "greentune_version": "0.1.0", "run_id": "demo-1", "run_name": "first",
            "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "status": "running",
            "platform": "local", "settings": settings, "sources": {}, "data": { "train": "/t", "validation": "/v" },
            "base_model_path": "/m", "input_hashes": {},
            "stages": [{ "stage": 1, "status": "running", "total_steps": 9, "steps_done": 0 }],
        });
        fs::write(layout.manifest(), manifest.to_string()).unwrap();
        fs::write(
            layout.emissions_csv(1),
            "emissions,cpu_energy,gpu_energy,ram_energy,energy_consumed\n0.1,0.1,0.1,0.1,0.3\n0.004,0.007,0.001,0.002,0.01\n",
        )
        .unwrap();
        fs::write(layout.provenance(1), "{}").unwrap();
        Self { _folder: folder, layout, settings, seq: 0 }
    }

    /// For the server at `uri`.
    pub fn for_mlflow(uri: &str) -> Self {
        let mut desk = Self::new();
        desk.settings.mlflow.enabled = true;
        uri.clone_into(&mut desk.settings.mlflow.tracking_uri);
        desk
    }

    pub fn add(&mut self, kind: &str, fields: &Value) {
        let mut event = json!({ "seq": self.seq, "at": format!("2026-01-02T03:05:05.{:06}Z", self.seq * 7), "kind": kind });
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.seq += 1;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.layout.events()).unwrap();
        writeln!(file, "{event}").unwrap();
    }

    pub fn begin(&mut self, from_step: u64) {
        self.add("started", &json!({ "pid": 1, "device": "cpu", "resumed": from_step > 0 }));
        self.add(
            "stage_started",
            &json!({ "stage": 1, "total_steps": 9, "from_step": from_step, "train_records": 5, "trainable_parameters": 7 }),
        );
    }

    pub fn steps(&mut self, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            self.add(
                "step",
                &json!({ "stage": 1, "step": step, "total_steps": 9, "train_loss": 1.0 / step as f64, "learning_rate": 0.1,
                    "gradient_norm": 2.0, "tokens": 10, "tokens_per_second": 100.0 }),
            );
        }
    }

    pub fn finish(&mut self) {
        let emissions = json!({ "stage": 1, "duration_seconds": 120.0, "energy_kwh": 0.01, "emissions_kg_co2": 0.004,
            "power_w": 5.0, "basis": "modelled" });
        self.add("emissions", &emissions);
        self.add(
            "stage_finished",
            &json!({ "stage": 1, "duration_seconds": 120.0, "final_train_loss": 0.2, "emissions": emissions }),
        );
        self.add("finished", &json!({ "duration_seconds": 120.0 }));
    }

    /// A whole run of `steps` steps.
    pub fn whole(&mut self, steps: u64) {
        self.begin(0);
        self.steps(1..=steps);
        self.finish();
    }

    pub fn events(&self) -> u64 {
        self.seq
    }
}
