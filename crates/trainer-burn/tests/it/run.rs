//! Whole runs through the public entry, with a reporter that remembers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use greentune_carbon::MeterEnvironment;
use greentune_core_config::{
    Problem, ProblemKind,
    evaluation::EvaluatedModel,
    event::EventKind,
    layout::{ProjectLayout, RunLayout},
    manifest::{RunData, RunManifest, RunStatus},
    port::RunReporter,
    settings::{Device, Scheduler, Settings},
};
use greentune_trainer_burn::{Outcome, TrainError, train};

/// Remembers events, and asks to stop once a number of steps is done.
#[derive(Default)]
pub struct Recorder {
    pub events: Vec<EventKind>,
    pub cancel_after: Option<usize>,
}

impl RunReporter for Recorder {
    fn report(&mut self, event: EventKind) -> Result<(), Problem> {
        self.events.push(event);
        Ok(())
    }
    fn cancel_requested(&self) -> bool {
        let steps = self.events.iter().filter(|event| matches!(event, EventKind::Step(_))).count();
        self.cancel_after.is_some_and(|limit| steps >= limit)
    }
}

/// A project with a run over small data sets on the tiny reference model.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub manifest: RunManifest,
    pub layout: RunLayout,
}

pub fn records(count: usize, first: usize) -> String {
    (first..first + count)
        .map(|i| {
            let quality = if i % 3 == 0 { 0.9 } else { 0.4 };
            format!(
                r#"{{"instruction": "say {} and {}", "output": "{} {}", "quality": {quality}}}"#,
                i % 7,
                i % 5,
                i % 7,
                i % 5
            ) + "\n"
        })
        .collect()
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let data = RunData {
            train: write("train.jsonl", &records(40, 0)),
            validation: write("validation.jsonl", &records(6, 1000)),
            test: None,
            stage2_train: Some(write("train2.jsonl", &records(30, 100))),
            stage2_validation: Some(write("validation2.jsonl", &records(5, 2000))),
        };
        let layout = ProjectLayout::new(folder.path()).run("test-20261122-000000");
        fs::create_dir_all(layout.folder()).unwrap();
        fs::create_dir_all(layout.project().emissions()).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let manifest = RunManifest {
            format_version: 1,
            greentune_version: String::from("test"),
            run_id: layout.run_id(),
            run_name: String::from("test"),
            created_at: now,
            updated_at: now,
            status: RunStatus::Running,
            platform: greentune_core_config::platform::Job::default(),
            last_seq: None,
            problem: None,
            pid: None,
            requested_stages: Vec::new(),
            settings: settings(),
            sources: BTreeMap::new(),
            data,
            base_model_path: PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("../../fixtures/reference/olmo2-tiny"),
            input_hashes: BTreeMap::new(),
            changed_inputs: Vec::new(),
            git_revision: None,
            tuning: None,
            stages: Vec::new(),
            artifacts: BTreeMap::new(),
            exports: Vec::new(),
        };
        Self { folder, manifest, layout }
    }

    pub fn train(&self, cancel_after: Option<usize>) -> (Result<Outcome, TrainError>, Vec<EventKind>) {
        let mut recorder = Recorder { cancel_after, ..Recorder::default() };
        let outcome =
            train(&self.manifest, &self.layout, &[1, 2], &MeterEnvironment::default(), &mut recorder);
        (outcome, recorder.events)
    }

    pub fn train_stages(&self, stages: &[u8]) -> (Result<Outcome, TrainError>, Vec<EventKind>) {
        let mut recorder = Recorder::default();
        let outcome =
            train(&self.manifest, &self.layout, stages, &MeterEnvironment::default(), &mut recorder);
        (outcome, recorder.events)
    }

    fn adapters(&self, stage: u8) -> Vec<u8> {
        fs::read(self.layout.adapters(stage).join("adapter_model.safetensors")).unwrap()
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    let training = &mut settings.training;
    training.device = Device::Cpu;
    training.save_steps = 3;
    training.eval_steps = 4;
    training.max_seq_length = 96;
    training.stage1.iterations = 8;
    training.stage1.learning_rate = 5e-3;
    training.stage1.warmup_steps = 2;
    training.stage1.gradient_accumulation = 2;
    training.stage2.iterations = 7;
    training.stage2.learning_rate = 5e-3;
    training.stage2.warmup_steps = 1;
    training.stage2.scheduler = Scheduler::Cosine;
    training.stage2.replay_ratio = 0.25;
    settings.lora.dropout = 0.1;
    settings.evaluation.generate_records = 2;
    settings
}

#[test]
fn two_stages_leave_adapters_evaluations_and_emissions() {
    let fixture = Fixture::new();
    let (outcome, events) = fixture.train(None);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    let steps: Vec<_> =
        events.iter().filter_map(|e| if let EventKind::Step(step) = e { Some(step) } else { None }).collect();
    assert_eq!(steps.len(), 15);
    assert!(steps[0].learning_rate.abs() < 1e-12 && (steps[2].learning_rate - 5e-3).abs() < 1e-12);
    assert!(steps[7].train_loss < steps[0].train_loss, "the loss does not fall");
    let compared: Vec<(EvaluatedModel, String)> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::ModelsEvaluated { stage: 2, reports } => Some(reports),
            _ => None,
        })
        .flatten()
        .map(|report| (report.model, report.dataset_role.clone()))
        .collect();
    let expected = [
        (EvaluatedModel::Base, "stage2 validation"),
        (EvaluatedModel::Stage(1), "stage2 validation"),
        (EvaluatedModel::Stage(2), "stage2 validation"),
        (EvaluatedModel::Stage(2), "stage1 validation"),
    ];
    assert_eq!(compared, expected.map(|(model, role)| (model, role.to_owned())));
    assert_ne!(fixture.adapters(1), fixture.adapters(2));
    for stage in [1, 2] {
        assert!(fixture.layout.emissions_csv(stage).is_file() && fixture.layout.provenance(stage).is_file());
        assert!(fixture.layout.training_data(stage).join("summary.json").is_file());
    }
    assert!(fixture.layout.final_model().join("adapter_config.json").is_file());
}

#[test]
fn a_run_that_is_stopped_and_resumed_ends_bit_identical() {
    let undisturbed = Fixture::new();
    undisturbed.train(None).0.unwrap();
    let stopped = Fixture::new();
    let mut cancels = 0;
    loop {
        match stopped.train(Some(2)).0.unwrap() {
            Outcome::Finished => break,
            Outcome::Cancelled { .. } => cancels += 1,
        }
    }
    assert!(cancels >= 6, "only {cancels} cancels");
    for stage in [1, 2] {
        assert_eq!(undisturbed.adapters(stage), stopped.adapters(stage), "stage {stage}");
    }
}

/// Leaves without a checkpoint after some steps, as a kill or a full disk would make it.
struct Dies(usize);

impl RunReporter for Dies {
    fn report(&mut self, event: EventKind) -> Result<(), Problem> {
        self.0 -= usize::from(matches!(event, EventKind::Step(_)));
        if self.0 > 0 {
            return Ok(());
        }
        Err(Problem::new(ProblemKind::Unavailable, "disk.full", "no space"))
    }
    fn cancel_requested(&self) -> bool {
        false
    }
}

#[test]
fn a_worker_that_dies_between_checkpoints_ends_bit_identical() {
    let undisturbed = Fixture::new();
    undisturbed.train(None).0.unwrap();
    let killed = Fixture::new();
    for steps in [2, 5, 4, 3, 6] {
        let error =
            train(&killed.manifest, &killed.layout, &[1, 2], &MeterEnvironment::default(), &mut Dies(steps));
        assert!(error.is_err() || steps > 3);
    }
    killed.train(None).0.unwrap();
    assert_eq!(undisturbed.adapters(2), killed.adapters(2));
}

#[test]
fn a_broken_checkpoint_is_passed_over_for_the_one_before_and_said() {
    let undisturbed = Fixture::new();
    undisturbed.train(None).0.unwrap();
    for file in ["adapter_model.safetensors", "optimizer.safetensors", "state.json", "adapter_config.json"] {
        for is_there in [true, false] {
            let fixture = Fixture::new();
            fixture.train(Some(7)).0.unwrap();
            let (folder, newest) = (fixture.layout.checkpoints(1), "step-000007");
            assert!(folder.join(newest).is_dir() && folder.join("step-000006").is_dir());
            let damaged = folder.join(newest).join(file);
            let bytes = fs::read(&damaged).unwrap();
            if is_there {
                fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
            } else {
                fs::remove_file(&damaged).unwrap();
            }
            let (outcome, events) = fixture.train(None);
            outcome.unwrap();
            let said = events.iter().find_map(|event| match event {
                EventKind::Warning { code, message } if code == "checkpoint.broken" => Some(message),
                _ => None,
            });
            let said = said.unwrap_or_else(|| panic!("{file}: nothing was said"));
            assert!(said.contains(newest) && said.contains("goes on from step-000006"), "{said}");
            assert!(folder.join("step-000007.broken").is_dir(), "it is kept for a look");
            assert_eq!(undisturbed.adapters(2), fixture.adapters(2), "{file}");
        }
    }
}

#[test]
fn checkpoints_that_are_all_broken_are_refused_and_left_as_they_are() {
    let fixture = Fixture::new();
    fixture.train(Some(7)).0.unwrap();
    let folder = fixture.layout.checkpoints(1);
    for step in ["step-000006", "step-000007"] {
        fs::write(folder.join(step).join("state.json"), "{").unwrap();
    }
    let error = fixture.train(None).0.unwrap_err();
    assert!(error.to_string().contains("step-000007"), "{error}");
    assert!(folder.join("step-000006").is_dir() && folder.join("step-000007").is_dir());
}

#[test]
fn old_checkpoints_go_and_the_newest_stay() {
    let fixture = Fixture::new();
    fixture.train(None).0.unwrap();
    let mut names: Vec<String> = fs::read_dir(fixture.layout.checkpoints(1))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["step-000006", "step-000008"]);
}

#[test]
fn overlap_and_dropped_records_are_warned_of() {
    let fixture = Fixture::new();
    let path: &Path = &fixture.manifest.data.validation;
    fs::write(path, records(3, 0) + "not json\n").unwrap();
    let (_, events) = fixture.train(Some(1));
    let codes: Vec<&str> = events
        .iter()
        .filter_map(
            |event| if let EventKind::Warning { code, .. } = event { Some(code.as_str()) } else { None },
        )
        .collect();
    assert_eq!(codes, ["data.dropped", "data.overlap"]);
}

#[test]
fn a_meter_that_cannot_write_warns_once_and_training_goes_on() {
    let fixture = Fixture::new();
    // A folder where the file belongs cannot be replaced.
    fs::create_dir_all(fixture.layout.provenance(1).join("in the way")).unwrap();
    let (outcome, events) = fixture.train(None);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    let is_trouble =
        |event: &&EventKind| matches!(event, EventKind::Warning { code, .. } if code == "file.io");
    assert_eq!(events.iter().filter(is_trouble).count(), 1, "{events:#?}");
    let emissions = events.iter().filter_map(|event| match event {
        EventKind::StageFinished { emissions, .. } => emissions.as_ref(),
        _ => None,
    });
    assert_eq!(emissions.filter(|emissions| emissions.energy_kwh > 0.0).count(), 2, "the figures are known");
    assert!(fixture.layout.provenance(2).is_file());
}

#[test]
fn a_stage_that_fails_leaves_what_it_used() {
    let fixture = Fixture::new();
    let outcome =
        train(&fixture.manifest, &fixture.layout, &[1, 2], &MeterEnvironment::default(), &mut Dies(2));
    outcome.unwrap_err();
    let row = greentune_carbon::codecarbon::last(&fixture.layout.emissions_csv(1)).unwrap();
    assert!(row.is_some_and(|row| row.energy_consumed > 0.0), "no checkpoint was reached");
    assert!(fixture.layout.provenance(1).is_file());
}
