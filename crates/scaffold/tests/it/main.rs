//! Projects on disk: complete, valid, and never over something that is there.

use std::{collections::BTreeMap, fs, path::Path};

use greentune_core_config::{
    Diagnostic,
    resolve::{ConfigText, Layers, Resolved, resolve},
};
use greentune_scaffold::{ProjectSpec, ScaffoldError, generate_project};
use proptest::prelude::*;
use serde_json::{Value, json};

fn resolved(overrides: Value) -> Resolved {
    let Value::Object(run_overrides) = overrides else { panic!("overrides are an object") };
    resolve(&Layers { run_overrides, ..Layers::default() }).unwrap()
}

fn generated(folder: &Path, overrides: Value) -> Resolved {
    let resolved = resolved(overrides);
    generate_project(&ProjectSpec {
        folder: folder.to_owned(),
        resolved: resolved.clone(),
        reasons: BTreeMap::new(),
    })
    .unwrap();
    resolved
}

fn read_back(folder: &Path) -> Resolved {
    let path = folder.join("config/fine_tuning_config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let project_file = Some(ConfigText { path, text: text.clone() });
    resolve(&Layers { project_file, ..Layers::default() })
        .unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

#[test]
fn everything_that_is_listed_is_there() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deeper/health");
    let spec =
        ProjectSpec { folder: folder.clone(), resolved: resolved(json!({})), reasons: BTreeMap::new() };
    let project = generate_project(&spec).unwrap();
    for entry in &project.entries {
        assert!(folder.join(entry).exists(), "{entry}");
    }
    assert!(project.entries.contains(&String::from("config/fine_tuning_config.toml")));
    assert!(project.entries.contains(&String::from("data/processed/")));
    let around: Vec<_> =
        fs::read_dir(folder.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(around, ["health"], "nothing else is left behind");
}

#[test]
fn what_a_killed_process_left_of_a_project_is_removed_by_the_next_one() {
    let parent = tempfile::tempdir().unwrap();
    let left = parent.path().join(".greentune-new-killed/project/config");
    fs::create_dir_all(&left).unwrap();
    generated(&parent.path().join("p"), json!({}));
    let around: Vec<_> =
        fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(around, ["p"]);
}

#[test]
fn the_configuration_reads_back_as_it_was_asked_for() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("p");
    let asked = generated(
        &folder,
        json!({
            "project.name": "health", "training.stage1.learning_rate": 1e-5, "lora.rank": 16, "lora.alpha": 32.0,
            "lora.target_modules": ["q_proj", "up_proj"], "carbon.country_iso_code": "DEU",
            "base_model.local_path": "../models/olmo", "training.seed": 7,
        }),
    );
    let found = read_back(&folder);
    assert_eq!(found.settings, asked.settings);
    assert!(found.sources.contains_key("carbon.country_iso_code"));
}

#[test]
fn what_differs_from_person_to_person_is_left_to_them() {
    let parent = tempfile::tempdir().unwrap();
    generated(&parent.path().join("p"), json!({}));
    let found = read_back(&parent.path().join("p"));
    assert!(found.sources.contains_key("training.stage1.iterations"));
    assert!(!found.sources.contains_key("training.device"));
    assert!(!found.sources.contains_key("carbon.country_iso_code"));
}

#[test]
fn every_section_is_in_the_file() {
    let parent = tempfile::tempdir().unwrap();
    generated(&parent.path().join("p"), json!({}));
    let text = fs::read_to_string(parent.path().join("p/config/fine_tuning_config.toml")).unwrap();
    for section in [
        "project",
        "base_model",
        "training",
        "training.stage1",
        "training.stage2",
        "lora",
        "dataset",
        "ast",
        "carbon",
        "carbon.alerts",
        "mlflow",
        "wandb",
        "huggingface",
        "evaluation",
    ] {
        assert!(text.contains(&format!("\n[{section}]\n")), "{section}\n{text}");
    }
}

#[test]
fn something_that_is_there_stays_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("p");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine.txt"), "mine").unwrap();
    let spec =
        ProjectSpec { folder: folder.clone(), resolved: resolved(json!({})), reasons: BTreeMap::new() };
    let error = generate_project(&spec).unwrap_err();
    assert!(matches!(error, ScaffoldError::Exists(_)));
    assert_eq!(error.problem().code, "project.exists");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_folder_is_used() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("p");
    fs::create_dir(&folder).unwrap();
    generated(&folder, json!({}));
    assert!(folder.join("README.md").is_file());
}

#[cfg(unix)]
#[test]
fn scripts_can_be_executed_and_parse() {
    use std::{os::unix::fs::PermissionsExt, process::Command};
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("p");
    generated(&folder, json!({}));
    for script in [
        "scripts/prepare.sh",
        "scripts/train.sh",
        "scripts/monitor.sh",
        "scripts/evaluate.sh",
        "scripts/export.sh",
        "tests/check_project.sh",
    ] {
        let path = folder.join(script);
        assert!(fs::metadata(&path).unwrap().permissions().mode() & 0o100 != 0, "{script}");
        assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success(), "{script}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_text_is_safe_in_the_configuration(
        description in any::<String>(), template in any::<String>(), field in "[\\PC\"'\\\\#\\[\\]= ]{1,20}",
    ) {
        let parent = tempfile::tempdir().unwrap();
        let overrides = json!({
            "project.description": description, "dataset.prompt_template": template, "dataset.output_field": field,
        });
        let Value::Object(run_overrides) = overrides else { unreachable!() };
        let Ok(resolved) = resolve(&Layers { run_overrides, ..Layers::default() }) else { return Ok(()) };
        let folder = parent.path().join("p");
        generate_project(&ProjectSpec { folder: folder.clone(), resolved: resolved.clone(), reasons: BTreeMap::new() }).unwrap();
        prop_assert_eq!(read_back(&folder).settings, resolved.settings);
        let heading = fs::read_to_string(folder.join("README.md")).unwrap();
        prop_assert_eq!(heading.lines().next(), Some("# fine-tuning"));
    }
}
