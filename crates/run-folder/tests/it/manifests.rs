//! `run-manifest.json` over time and space.

use std::{fs, path::Path};

use greentune_core_config::{
    Diagnostic as _, ProblemKind,
    layout::ProjectLayout,
    manifest::FORMAT_VERSION,
    platform::{Job, PlatformKind},
};
use greentune_run_folder::{
    LocalLiveness, RunView, manifest, overall_pace, records_per_step, remaining_seconds,
};
use serde_json::{Value, json};

use crate::folder::Folder;

#[test]
fn paths_inside_the_project_are_relative_to_it_and_the_folder_can_be_moved() {
    let folder = Folder::new();
    let text = fs::read_to_string(folder.run.manifest()).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        written["data"],
        json!({"train": "data/train.jsonl", "validation": "/elsewhere/validation.jsonl"})
    );
    assert_eq!(written["base_model_path"], "base");
    assert_eq!(written["input_hashes"], json!({"data/train.jsonl": "00"}));
    assert_eq!(written["sources"], json!({"training.seed": "config/fine_tuning_config.toml:7"}));
    let root = folder.run.project().root();
    assert!(!text.contains(&*root.to_string_lossy()), "{text}");

    let moved = root.with_file_name("moved");
    fs::rename(root, &moved).unwrap();
    let run = ProjectLayout::new(&moved).run(&folder.run.run_id());
    let read = manifest::read(&run).unwrap();
    assert_eq!(read.data.train, moved.join("data/train.jsonl"));
    assert_eq!(read.data.validation, Path::new("/elsewhere/validation.jsonl"));
    assert_eq!(read.base_model_path, moved.join("base"));
    assert_eq!(
        read.input_hashes.keys().collect::<Vec<_>>(),
        [&*moved.join("data/train.jsonl").to_string_lossy()]
    );
    // Nothing grows when it is written again.
    manifest::write(&run, &mut manifest::read(&run).unwrap()).unwrap();
    assert_eq!(manifest::read(&run).unwrap().data, read.data);
}

#[test]
fn an_empty_path_stays_empty_and_the_project_itself_is_a_path() {
    let folder = Folder::new();
    let mut changed = manifest::read(&folder.run).unwrap();
    changed.base_model_path = "".into();
    changed.settings.base_model.local_path = Some(folder.run.project().root().to_owned());
    manifest::write(&folder.run, &mut changed).unwrap();
    let read = manifest::read(&folder.run).unwrap();
    assert_eq!(read.base_model_path, Path::new(""));
    assert_eq!(read.settings.base_model.local_path.as_deref(), Some(folder.run.project().root()));
}

#[test]
fn a_manifest_of_format_1_is_read_and_written_as_the_present_format() {
    let folder = Folder::new();
    let root = folder.run.project().root().to_owned();
    folder.change(|manifest| {
        manifest["format_version"] = json!(1);
        manifest["platform"] = json!("local");
        manifest["data"]["train"] = json!(root.join("data/train.jsonl"));
    });
    let mut read = manifest::read(&folder.run).unwrap();
    assert_eq!(read.platform, Job::on(PlatformKind::Local));
    assert_eq!(read.data.train, root.join("data/train.jsonl"));
    manifest::write(&folder.run, &mut read).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(folder.run.manifest()).unwrap()).unwrap();
    assert_eq!(written["format_version"], FORMAT_VERSION);
    assert_eq!(written["platform"], json!({"kind": "local"}));
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    let folder = Folder::new();
    folder.change(|manifest| {
        *manifest =
            json!({"format_version": 99, "greentune_version": "9.1.0", "status": {"of": "another kind"}});
    });
    let problem = RunView::open(folder.run.clone(), &LocalLiveness).unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unsupported, "run.newer_format"));
    assert!(problem.message.contains("format 99, written by greentune 9.1.0"), "{problem}");
    assert_eq!(problem.hint.as_deref(), Some("use greentune 9.1.0 or newer for this run"));
}

#[test]
fn counts_that_no_run_has_are_never_wrapped_into_small_ones() {
    let folder = Folder::new();
    folder.change(|manifest| {
        for stage in manifest["stages"].as_array_mut().unwrap() {
            stage["total_steps"] = json!(u64::MAX);
            stage["steps_done"] = json!(u64::MAX / 2 + 1);
            stage["duration_seconds"] = json!(1.0);
        }
    });
    let view = RunView::open(folder.run.clone(), &LocalLiveness).unwrap();
    assert!((view.summary().progress_percentage - 50.0).abs() < 1e-9);
    let mut manifest = view.manifest().clone();
    manifest.settings.training.stage1.batch_size = u64::MAX;
    manifest.settings.training.stage1.gradient_accumulation = 2;
    assert!(overall_pace(&manifest).unwrap() < 1e-30);
    assert!(remaining_seconds(&manifest, 1.0) > 1e38);
    assert_eq!(records_per_step(&manifest, 1), u64::MAX);
    // In a file such settings are refused.
    folder.change(|manifest| manifest["settings"]["training"]["stage1"]["batch_size"] = json!(u64::MAX));
    let error = RunView::open(folder.run.clone(), &LocalLiveness).map(drop).unwrap_err();
    assert!(error.to_string().contains("settings.training.stage1.batch_size"), "{error}");
}
