//! What is wrong with a base model or its data is said by name, before anything is trained.

use std::{fs, path::Path};

use greentune_core_config::{Diagnostic, Problem, ProblemKind, settings::Device};

use crate::run::Fixture;

/// The problem of a run whose base model is a changed copy of the tiny reference.
fn problem_with_model(change: impl Fn(&Path)) -> Problem {
    let mut fixture = Fixture::new();
    let copy = fixture.folder.path().join("base");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&fixture.manifest.base_model_path).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    change(&copy);
    fixture.manifest.base_model_path = copy;
    fixture.train(None).0.unwrap_err().problem()
}

fn edit_config(folder: &Path, key: &str, value: serde_json::Value) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn unknown_folder() {
    let mut fixture = Fixture::new();
    fixture.manifest.base_model_path = fixture.folder.path().join("nowhere");
    let problem = fixture.train(None).0.unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::NotFound, "model.not_found"));
}

#[test]
fn unsupported_architectures_and_features_are_named() {
    let problem = problem_with_model(|folder| {
        edit_config(folder, "model_type", "gpt2".into());
        // So that the tensors are not those of a supported architecture either.
        edit_config(folder, "tie_word_embeddings", true.into());
    });
    assert_eq!(problem.code, "model.unsupported");
    assert!(problem.message.contains("gpt2") && problem.message.contains("olmo2"), "{}", problem.message);
    let dynamic = serde_json::json!({"rope_type": "dynamic", "rope_theta": 10000.0});
    let problem = problem_with_model(|folder| edit_config(folder, "rope_parameters", dynamic.clone()));
    assert!(problem.message.contains("dynamic"), "{}", problem.message);
    let problem = problem_with_model(|folder| edit_config(folder, "num_key_value_heads", 3.into()));
    assert_eq!(problem.code, "model.config_invalid");
}

#[test]
fn broken_weights_are_named() {
    let problem = problem_with_model(|folder| fs::remove_file(folder.join("model.safetensors")).unwrap());
    assert_eq!(problem.code, "model.no_weights");
    let problem = problem_with_model(|folder| {
        let path = folder.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert_eq!(problem.code, "model.weights_invalid");
    assert!(problem.message.contains("truncated"), "{}", problem.message);
    let problem = problem_with_model(|folder| edit_config(folder, "vocab_size", 999.into()));
    assert!(
        problem.message.contains("[320, 64]") && problem.message.contains("[999, 64]"),
        "{}",
        problem.message
    );
    let problem = problem_with_model(|folder| edit_config(folder, "num_hidden_layers", 9.into()));
    assert_eq!(problem.code, "model.tensor_missing");
    assert!(problem.message.contains("model.layers.3"), "{}", problem.message);
}

#[test]
fn shards_behind_an_index() {
    let index = |folder: &Path, file: &str| {
        // Beside a single file an index is not looked at.
        fs::remove_file(folder.join("model.safetensors")).unwrap();
        let map = serde_json::json!({"weight_map": {"model.norm.weight": file}});
        fs::write(folder.join("model.safetensors.index.json"), map.to_string()).unwrap();
    };
    let problem = problem_with_model(|folder| index(folder, "model-00001-of-00002.safetensors"));
    assert_eq!(problem.code, "model.shard_missing");
    let problem = problem_with_model(|folder| index(folder, "../model.safetensors"));
    assert_eq!(problem.code, "model.index_invalid");
}

#[test]
fn empty_data_says_what_was_dropped() {
    let fixture = Fixture::new();
    fs::write(&fixture.manifest.data.train, "{}\nnot json\n").unwrap();
    let problem = fixture.train(None).0.unwrap_err().problem();
    assert_eq!(problem.code, "data.empty");
    assert!(problem.to_string().contains(":2"), "no line number in {problem}");
}

#[test]
fn an_absent_device_is_an_error_with_what_was_found() {
    let mut fixture = Fixture::new();
    fixture.manifest.settings.training.device = Device::Cuda;
    let problem = fixture.train(None).0.unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unsupported, "device.absent"));
    assert!(problem.message.contains("cuda"), "{}", problem.message);
}

#[test]
fn a_diverging_loss_ends_the_run_with_advice() {
    let mut fixture = Fixture::new();
    fixture.manifest.settings.training.stage1.learning_rate = 1e300;
    fixture.manifest.settings.training.max_grad_norm = 0.0;
    let problem = fixture.train(None).0.unwrap_err().problem();
    assert_eq!(problem.code, "training.diverged");
}
