//! Arguments are taken for what they mean, and what clients add for themselves is left out.

use serde_json::{Value, json};

use crate::session::{Session, run_arguments};

#[tokio::test]
async fn what_a_client_adds_is_ignored_and_what_is_misspelt_is_refused() {
    let session = Session::new().await;
    let added = json!({
        "random_string": "dummy", "sessionId": "s", "action": "sendMessage", "chatInput": "hi",
        "toolCallId": "call_1", "_meta": { "x": 1 }, "project_path": "",
    });
    let (content, _) = session.succeed("list_runs", added).await;
    assert_eq!(content["runs"], json!([]));
    let (problem, text) = session.refuse("list_runs", json!({ "project_pat": "/x", "sessionId": "s" })).await;
    assert_eq!(problem["location"]["key"], "project_pat");
    assert!(text.contains("did you mean project_path?"), "{text}");
    let (problem, _) = session.refuse("list_runs", json!({ "optimizer": "adam" })).await;
    assert_eq!(problem["location"]["key"], "optimizer", "what nobody is known to add is refused");
}

#[tokio::test]
async fn values_written_as_text_are_what_they_say() {
    let session = Session::new().await;
    let project = session.project().await;
    let mut arguments = run_arguments(&project);
    arguments["override_params"] = json!({ "lora.rank": "4", "training.num_stages": 1 }).to_string().into();
    arguments["training_data"] = arguments["training_data"].to_string().into();
    let (made, _) = session.succeed("configure_training_run", arguments).await;
    assert_eq!(made["configuration_summary"]["lora_rank"], 4);
    assert_eq!(made["configuration_summary"]["stages"].as_array().unwrap().len(), 1);

    let train = run_arguments(&project)["training_data"]["train_dataset"].as_str().unwrap().to_owned();
    let arguments = json!({
        "projectPath": project, "datasets": json!([train]).to_string(), "deduplicate": "true", "force": "True",
        "seed": "7", "train_split": "0.8",
    });
    let (prepared, _) = session.succeed("prepare_dataset", arguments).await;
    assert_eq!((&prepared["deduplicated"], &prepared["seed"]), (&json!(true), &json!(7)));
}

#[tokio::test]
async fn addresses_of_files_are_paths() {
    let session = Session::new().await;
    let project = session.project().await;
    let mut arguments = run_arguments(&project);
    for dataset in arguments["training_data"].as_object_mut().unwrap().values_mut() {
        *dataset = format!("file://{}", dataset.as_str().unwrap()).into();
    }
    arguments["project_path"] = format!("file://{}", project.as_str().unwrap()).into();
    session.succeed("configure_training_run", arguments).await;
}

#[tokio::test]
async fn a_run_is_named_by_its_name() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    for arguments in [json!({ "run_id": "first" }), json!({ "run_id": "fir", "project_path": project })] {
        let (seen, _) = session.succeed("monitor_training_progress", arguments).await;
        assert_eq!(seen["run_id"], run);
    }
}

#[tokio::test]
async fn a_key_is_not_said_twice_and_what_is_allowed_is_taken() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    let arguments = json!({ "project_path": project, "run_id": run, "learning_rate": 0.1 });
    let (_, text) = session.refuse("start_training", arguments).await;
    assert!(text.starts_with("learning_rate: found a value beside run_id"), "{text}");
    let arguments = json!({
        "project_path": project, "run_id": run, "stage": 1, "export_path": "out", "export_format": "onnx",
    });
    let (_, text) = session.refuse("export_model", arguments).await;
    assert!(text.contains("allowed: safetensors, huggingface, mlx, gguf"), "{text}");
    let (_, text) = session.refuse("start_training", json!({ "run_id": run, "platform": "cloud" })).await;
    assert!(text.contains("allowed: local") && !text.contains("kaggle"), "{text}");
}

#[tokio::test]
async fn a_start_with_a_key_is_answered_again_by_its_run() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    let start = json!({ "project_path": project, "run_id": run, "idempotency_key": "k" });
    let (first, _) = session.succeed("start_training", start.clone()).await;
    let (second, text) = session.succeed("start_training", start).await;
    assert_eq!((&first["repeated"], &second["repeated"]), (&json!(false), &json!(true)));
    assert_eq!(first["run_id"], second["run_id"]);
    assert!(text.starts_with("The same request was sent before"), "{text}");
    let other = json!({ "project_path": project, "run_id": run, "idempotency_key": "other" });
    let (problem, _) = session.refuse("start_training", other).await;
    assert_eq!(problem["code"], Value::from("run.already_running"));
}
