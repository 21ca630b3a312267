//! Projects and the configuration of runs: what is accepted, what is refused, and that nothing is left behind.

use std::fs;

use greentune_core_config::ProblemKind;
use greentune_workbench::operation::{
    BaseModelConfig, ConfigureTrainingRun, LoraConfig, ProjectFeatures, ShowConfig, TrainingConfig,
};
use serde_json::json;

use crate::sandbox::{Sandbox, manifest, overrides, problem, project_request, write_base_model};

#[tokio::test]
async fn a_project_that_was_made_can_be_configured() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = sandbox.request();
    request.training_data.test_dataset = Some("data/processed/validation.jsonl".into());
    let response = sandbox.workbench.configure_training_run(request).await.unwrap();
    assert!(response.run_id.starts_with("first-20"), "{}", response.run_id);
    assert_eq!(response.manifest_path, response.run_directory.join("run-manifest.json"));
    let summary = &response.configuration_summary;
    assert_eq!((summary.architecture.as_str(), summary.stages.len()), ("olmo2", 2));
    assert_eq!(summary.sources["training.stage1.iterations"], "run override");
    assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);

    let run = sandbox.project.run(&response.run_id);
    let manifest = manifest(&run);
    assert_eq!(manifest.stages.iter().map(|stage| stage.total_steps).collect::<Vec<_>>(), [5, 5]);
    assert_eq!(
        manifest.input_hashes.len(),
        5,
        "train, validation (which is test too), and of the base config, tokenizer, weights"
    );
    assert!(sandbox.project.model_config().is_file());
}

#[tokio::test]
async fn what_is_asked_for_is_in_the_project_and_what_is_not_available_is_said() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = project_request(&sandbox.root(), "asked");
    request.training_config = Some(TrainingConfig::from([
        ("iterations", json!(30)),
        ("learning_rate", json!(1e-4)),
        ("stage2", json!({ "iterations": 7, "warmup_steps": 2, "replay_ratio": 0.3 })),
    ]));
    request.lora_config = Some(LoraConfig::from([("rank", json!(4))]));
    request.features = Some(ProjectFeatures {
        enable_carbontracking: Some(false),
        enable_quality_weighting: Some(false),
        enable_mlx_optimization: Some(true),
        enable_mlflow: Some(true),
        ..ProjectFeatures::default()
    });
    let response = sandbox.workbench.generate_fine_tuning_project(request).await.unwrap();
    assert!(!response.features_enabled.mlx_optimization && response.features_enabled.mlflow_tracking);
    assert!(!response.carbon_tracking_configured && !response.features_enabled.quality_weighting);
    assert_eq!(response.not_available_yet.len(), 1, "{:?}", response.not_available_yet);

    let project_path = Some(response.project_path);
    let config =
        sandbox.workbench.show_config(ShowConfig { project_path, override_params: None }).await.unwrap();
    let training = &config.settings.training;
    assert_eq!((training.stage1.iterations, training.stage2.iterations), (30, 7));
    assert!((training.stage2.learning_rate - 1e-4).abs() < 1e-12);
    assert!((training.stage2.replay_ratio - 0.3).abs() < 1e-12);
    assert_eq!(config.settings.lora.rank, 4);
    assert!(config.not_available_yet.is_empty());
    let rank = config.rows.iter().find(|row| row.key == "lora.rank").unwrap();
    assert!(rank.source.to_string().contains("fine_tuning_config.toml:"), "{}", rank.source);
}

#[tokio::test]
async fn impossible_settings_make_no_project_and_are_all_named() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = project_request(&sandbox.root(), "impossible");
    request.lora_config = Some(LoraConfig::from([("rank", json!(0))]));
    request.training_config =
        Some(TrainingConfig::from([("num_stages", json!(3)), ("learning_rate", json!(-1.0))]));
    let error = problem(sandbox.workbench.generate_fine_tuning_project(request).await.unwrap_err());
    assert_eq!(error.kind, ProblemKind::InvalidInput);
    let text = error.to_string();
    for key in
        ["lora.rank", "training.num_stages", "training.stage1.learning_rate", "training.stage2.learning_rate"]
    {
        assert!(text.contains(key), "{key} in {text}");
    }
    assert!(!sandbox.root().join("impossible").exists());
}

#[tokio::test]
async fn unknown_settings_and_wrong_types_in_a_section_are_all_named() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = project_request(&sandbox.root(), "unknown");
    request.lora_config = Some(LoraConfig::from([("rnak", json!(4))]));
    request.training_config =
        Some(TrainingConfig::from([("seed", json!("many")), ("stage1", json!("short"))]));
    let text =
        problem(sandbox.workbench.generate_fine_tuning_project(request).await.unwrap_err()).to_string();
    for words in ["lora.rnak", "lora.rank", "training.seed", "training.stage1"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(!sandbox.root().join("unknown").exists());
}

#[tokio::test]
async fn a_folder_that_is_not_empty_stays_as_it_is() {
    let sandbox = Sandbox::new("trains").await;
    let before = fs::read_to_string(sandbox.project.config()).unwrap();
    let request = project_request(&sandbox.root(), "health");
    let error = problem(sandbox.workbench.generate_fine_tuning_project(request).await.unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Conflict, "project.exists"));
    assert_eq!(fs::read_to_string(sandbox.project.config()).unwrap(), before);
}

#[tokio::test]
async fn everything_wrong_with_a_request_is_said_at_once() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = sandbox.request();
    request.run_name = "../up".into();
    request.training_data.train_dataset = "data/nowhere.jsonl".into();
    request.training_data.stage2_train_dataset = Some("data".into());
    let error = refused(&sandbox, request).await;
    let codes: Vec<_> = error.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["name.invalid", "data.missing", "data.missing"]);
    assert_eq!(fs::read_dir(sandbox.project.runs()).unwrap().count(), 1, "nothing but .gitkeep");
}

#[tokio::test]
async fn paths_that_leave_the_project_are_refused() {
    let sandbox = Sandbox::new("trains").await;
    let outside = sandbox.root().join("outside.jsonl");
    fs::write(&outside, "{}\n").unwrap();
    std::os::unix::fs::symlink(&outside, sandbox.project.root().join("data/link.jsonl")).unwrap();
    std::os::unix::fs::symlink(sandbox.root(), sandbox.project.root().join("data/folder")).unwrap();
    for path in [
        "../outside.jsonl",
        "data/../../outside.jsonl",
        "data/link.jsonl",
        "data/folder/outside.jsonl",
        "data/folder/../outside.jsonl",
    ] {
        let mut request = sandbox.request();
        request.training_data.train_dataset = path.into();
        let error = refused(&sandbox, request).await;
        assert!(["path.outside_project", "data.missing"].contains(&error.code.as_str()), "{path}: {error:?}");
    }
    let mut request = sandbox.request();
    request.training_data.train_dataset = sandbox.project.root().join("data/link.jsonl");
    assert_eq!(refused(&sandbox, request).await.code, "path.outside_project");

    let mut request = sandbox.request();
    request.training_data.train_dataset = outside;
    sandbox.workbench.configure_training_run(request).await.expect("an absolute path outside is meant so");
}

#[tokio::test]
async fn with_allowed_roots_no_path_lies_elsewhere() {
    let sandbox = Sandbox::new("trains").await;
    let mut config = sandbox.config("trains");
    config.allowed_roots = Some(vec![sandbox.project.root().to_owned(), sandbox.root().join("base")]);
    let workbench = greentune_workbench::Workbench::new(config);
    workbench.configure_training_run(sandbox.request()).await.expect("everything lies in the roots");

    let outside = sandbox.root().join("outside.jsonl");
    fs::write(&outside, "{}\n").unwrap();
    let mut request = sandbox.request();
    request.training_data.train_dataset = outside;
    let error = problem(workbench.configure_training_run(request).await.unwrap_err());
    assert_eq!(error.code, "path.outside_roots");
    let request = project_request(&sandbox.root(), "elsewhere");
    let error = problem(workbench.generate_fine_tuning_project(request).await.unwrap_err());
    assert_eq!(error.code, "path.outside_roots");
}

#[tokio::test]
async fn base_models_that_cannot_be_trained_are_named() {
    let sandbox = Sandbox::new("trains").await;
    let configure = async |model: &str| {
        let mut request = sandbox.request();
        request.override_params = overrides(json!({ "base_model.local_path": sandbox.root().join(model) }));
        refused(&sandbox, request).await
    };
    assert_eq!(configure("nowhere").await.code, "model.missing");
    write_base_model(&sandbox.root().join("other"), "gpt_neox");
    let error = configure("other").await;
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Unsupported, "model.unsupported"));
    assert!(error.message.contains("gpt_neox") && error.message.contains("olmo2"), "{}", error.message);
    let mut request = sandbox.request();
    request.override_params = overrides(json!({ "base_model.type": "llama" }));
    let error = refused(&sandbox, request).await;
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::InvalidInput, "model.family"));
    assert!(error.message.contains("llama") && error.message.contains("olmo2"), "{}", error.message);
    fs::remove_file(sandbox.root().join("base/tokenizer.json")).unwrap();
    assert!(configure("base").await.message.contains("tokenizer.json"));
}

#[tokio::test]
async fn a_base_model_is_looked_at_when_its_project_is_made() {
    let sandbox = Sandbox::new("trains").await;
    let make = async |folder: &str| {
        let mut request = project_request(&sandbox.root(), "second");
        request.base_model_config = BaseModelConfig::from([
            ("type", json!("custom")),
            ("model_id", json!("")),
            ("local_path", json!(sandbox.root().join(folder))),
        ]);
        problem(sandbox.workbench.generate_fine_tuning_project(request).await.unwrap_err())
    };
    assert_eq!(make("nowhere").await.code, "model.missing");
    fs::create_dir(sandbox.root().join("empty")).unwrap();
    assert!(make("empty").await.message.contains("config.json"));
    let config = sandbox.root().join("base/config.json");
    let mut quantised: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    quantised["quantization_config"] = json!({ "quant_method": "bitsandbytes", "load_in_4bit": true });
    fs::write(&config, quantised.to_string()).unwrap();
    fs::remove_file(sandbox.root().join("base/model.safetensors")).unwrap();
    for error in [make("base").await, refused(&sandbox, sandbox.request()).await] {
        assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Unsupported, "model.quantised"));
        assert!(error.message.contains("bitsandbytes"), "{}", error.message);
        assert_eq!(error.hint.as_deref(), Some("use the model from before it was quantised"));
    }
    assert!(!sandbox.root().join("second").exists());
}

#[tokio::test]
async fn weights_that_do_not_belong_to_the_model_are_refused_before_there_is_a_run() {
    let sandbox = Sandbox::new("trains").await;
    let change = |key: &str, value: serde_json::Value| {
        let path = sandbox.root().join("base/config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[key] = value;
        fs::write(path, config.to_string()).unwrap();
    };
    change("num_hidden_layers", json!(2));
    let error = refused(&sandbox, sandbox.request()).await;
    assert_eq!(error.code, "model.tensor_missing");
    assert!(error.message.contains("model.layers.1."), "{}", error.message);
    change("num_hidden_layers", json!(1));
    change("vocab_size", json!(17));
    assert_eq!(refused(&sandbox, sandbox.request()).await.code, "model.weights_invalid");
    change("vocab_size", json!(16));
    let index = sandbox.root().join("base/model.safetensors.index.json");
    fs::write(&index, json!({ "weight_map": { "lm_head.weight": "gone.safetensors" } }).to_string()).unwrap();
    let made = sandbox.workbench.configure_training_run(sandbox.request()).await.unwrap();
    let [warning] = made.configuration_summary.warnings.as_slice() else { panic!("{made:?}") };
    assert!(warning.contains("model.safetensors is taken"), "{warning}");
    fs::remove_file(sandbox.root().join("base/model.safetensors")).unwrap();
    let error = refused(&sandbox, sandbox.request()).await;
    assert_eq!(error.code, "model.shard_missing");
    assert!(error.message.contains("gone.safetensors"), "{}", error.message);
}

#[tokio::test]
async fn features_without_an_engine_are_refused_together() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = sandbox.request();
    request.override_params =
        overrides(json!({ "huggingface.enabled": true, "ast.enabled": true, "training.packing": true }));
    let error = refused(&sandbox, request).await;
    assert_eq!((error.kind, error.problems.len()), (ProblemKind::Unsupported, 2));
}

#[tokio::test]
async fn places_without_a_figure_addresses_with_credentials_and_unreadable_files_are_refused() {
    let sandbox = Sandbox::new("trains").await;
    fs::write(sandbox.root().join("wall.json"), "{}").unwrap();
    for (settings, code, words) in [
        (json!({ "carbon.country_iso_code": "GER" }), "carbon.unknown_country", "GEO (Georgia)"),
        (json!({ "carbon.region": "califronia" }), "carbon.unknown_region", "california"),
        (
            json!({ "carbon.emissions_endpoint": "https://ada:secret@example.org/v3" }),
            "carbon.live_intensity",
            "without user and query",
        ),
        (
            json!({ "mlflow.tracking_uri": "https://ada:secret@example.org" }),
            "tracking.setting",
            "without user, password or query",
        ),
        (
            json!({ "mlflow.tracking_uri": "https://example.org/?token=secret", "mlflow.enabled": true }),
            "tracking.setting",
            "without user, password or query",
        ),
        (json!({ "carbon.cloud_provider": "aws" }), "request.value", "carbon.cloud_provider"),
        (
            json!({ "carbon.cloud_provider": "gcp", "carbon.cloud_region": "europe-west99" }),
            "carbon.unknown_cloud_region",
            "europe-west",
        ),
        (
            json!({ "carbon.calibration_file": sandbox.root().join("wall.json") }),
            "carbon.malformed_file",
            "calibration",
        ),
        (json!({ "carbon.equivalences_file": "nowhere.toml" }), "file.missing", "nowhere.toml"),
    ] {
        let mut request = sandbox.request();
        request.override_params = overrides(settings.clone());
        let error = refused(&sandbox, request).await;
        assert_eq!(error.code, code, "{settings}: {error}");
        let all = format!("{} {}", error.message, error.hint.unwrap_or_default());
        assert!(all.contains(words) && !all.contains("secret"), "{settings}: {all}");
    }
    let mut request = sandbox.request();
    request.override_params =
        overrides(json!({ "carbon.cloud_provider": "gcp", "carbon.cloud_region": "europe-west1" }));
    sandbox.workbench.configure_training_run(request).await.unwrap();
}

#[tokio::test]
async fn a_project_with_credentials_in_an_address_is_not_made() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = project_request(&sandbox.root(), "leaky");
    request.integrations = Some(
        serde_json::from_value(json!({ "mlflow_tracking_uri": "https://ada:secret@example.org" })).unwrap(),
    );
    let error = problem(sandbox.workbench.generate_fine_tuning_project(request).await.unwrap_err());
    assert_eq!(error.code, "tracking.setting");
    assert!(!error.to_string().contains("secret"));
    assert!(!sandbox.root().join("leaky").exists());
}

#[tokio::test]
async fn runs_of_the_same_second_have_different_ids() {
    let sandbox = Sandbox::new("trains").await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..4 {
        ids.insert(sandbox.configured().await.run_id());
    }
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn validating_on_training_records_is_warned_of() {
    let sandbox = Sandbox::new("trains").await;
    let mut request = sandbox.request();
    request.training_data.validation_dataset = request.training_data.train_dataset.clone();
    let response = sandbox.workbench.configure_training_run(request).await.unwrap();
    assert_eq!(response.configuration_summary.warnings.len(), 2);
}

#[tokio::test]
async fn data_that_cannot_be_trained_on_makes_no_run() {
    let sandbox = Sandbox::new("refuses-data").await;
    let error = refused(&sandbox, sandbox.request()).await;
    assert_eq!((error.code.as_str(), error.problems.len()), ("data.unusable", 2));
    let mut runs = fs::read_dir(sandbox.project.root().join("runs")).unwrap();
    assert!(runs.all(|entry| !entry.unwrap().path().is_dir()));
}

async fn refused(sandbox: &Sandbox, request: ConfigureTrainingRun) -> greentune_core_config::Problem {
    problem(sandbox.workbench.configure_training_run(request).await.unwrap_err())
}

#[tokio::test]
async fn a_project_without_training_settings_learns_and_named_ones_stay_and_are_warned_of() {
    let sandbox = Sandbox::new("trains").await;
    let rates = async |request| {
        let path = sandbox.workbench.generate_fine_tuning_project(request).await.unwrap().project_path;
        let readme = fs::read_to_string(path.join("README.md")).unwrap();
        let request = ShowConfig { project_path: Some(path), override_params: None };
        let training = sandbox.workbench.show_config(request).await.unwrap().settings.training;
        let rates = [training.stage1.learning_rate, training.stage2.learning_rate];
        (rates.map(|rate| format!("{rate:e}")), readme.contains("adapters hardly move"))
    };
    // The base is very narrow, so that the highest rate holds.
    let learns = rates(project_request(&sandbox.root(), "learns")).await;
    assert_eq!(learns, (["5e-3", "5e-3"].map(str::to_owned), false));
    let mut request = project_request(&sandbox.root(), "seeds");
    request.training_config = Some(TrainingConfig::from([("save_steps", json!(20))]));
    assert_eq!(rates(request).await, (["2e-5", "1e-6"].map(str::to_owned), true));

    let mut request = sandbox.request();
    request.override_params = overrides(json!({ "training.stage1.learning_rate": 2e-5 }));
    let summary = sandbox.workbench.configure_training_run(request).await.unwrap().configuration_summary;
    assert_eq!(summary.warnings.len(), 1, "{:?}", summary.warnings);
    assert!(
        summary.warnings[0].starts_with("stage 1 trains at a learning rate of 0.00002"),
        "{:?}",
        summary.warnings
    );
}
