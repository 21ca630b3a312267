//! What is refused, and how.

use rmcp::{ServiceError, model::ErrorCode};
use serde_json::{Value, json};

use crate::session::{Session, run_arguments};

#[tokio::test]
async fn an_unknown_argument_is_named_with_the_allowed_ones() {
    let session = Session::new().await;
    let (problem, text) =
        session.refuse("list_runs", json!({ "project_path": "/nowhere", "projekt": "x" })).await;
    assert_eq!(problem["code"], "arguments.invalid");
    assert_eq!(problem["location"]["key"], "projekt");
    assert!(text.starts_with("projekt: no such argument; allowed: "), "{text}");
    assert!(text.contains("project_path") && text.contains("\nHint: "), "{text}");
}

#[tokio::test]
async fn every_unknown_and_missing_argument_is_named_at_once_however_deep() {
    let session = Session::new().await;
    let arguments = json!({
        "project_name": "health",
        "base_model_config": { "type": "olmo", "model": "x" },
        "training_config": { "stage1": { "iteration": 5 } },
    });
    let (problem, text) = session.refuse("generate_fine_tuning_project", arguments).await;
    let keys: Vec<&Value> =
        problem["problems"].as_array().unwrap().iter().map(|problem| &problem["location"]["key"]).collect();
    let expected = [
        "base_model_config.model",
        "base_model_config.model_id",
        "training_config.stage1.iteration",
        "output_dir",
    ];
    assert_eq!(keys, expected);
    assert!(text.contains("output_dir: missing, and required"), "{text}");
    assert!(
        text.contains("training_config.stage1.iteration: no such argument; allowed: iterations,"),
        "{text}"
    );
}

#[tokio::test]
async fn an_argument_of_the_wrong_type_is_named_with_what_was_found() {
    let session = Session::new().await;
    let mut arguments = session.project_arguments();
    arguments["training_config"]["stage1"] = json!({ "iterations": "many" });
    let (problem, text) = session.refuse("generate_fine_tuning_project", arguments).await;
    assert_eq!(problem["location"]["key"], "training_config.stage1.iterations");
    assert!(text.contains("\"many\""), "{text}");

    let mut arguments = session.project_arguments();
    arguments["base_model_config"]["type"] = json!("gpt");
    let (problem, text) = session.refuse("generate_fine_tuning_project", arguments).await;
    assert_eq!(problem["location"]["key"], "base_model_config.type");
    assert!(text.contains("gpt") && text.contains("mistral"), "{text}");
}

#[tokio::test]
async fn an_optional_argument_may_be_null() {
    let session = Session::new().await;
    let (content, text) = session.succeed("list_runs", json!({ "project_path": null })).await;
    assert_eq!(content["runs"], json!([]));
    assert_eq!(text, "0 runs");
}

#[tokio::test]
async fn an_unknown_run_is_refused_with_the_nearest_ones() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    let almost = format!("{}x", run.as_str().unwrap());
    for arguments in [json!({ "run_id": almost }), json!({ "run_id": almost, "project_path": project })] {
        let (problem, text) = session.refuse("monitor_training_progress", arguments).await;
        assert_eq!(problem["code"], "run.unknown");
        assert!(text.replace(&almost, "").contains(run.as_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn a_project_that_is_there_already_is_a_conflict() {
    let session = Session::new().await;
    session.project().await;
    let (problem, _) = session.refuse("generate_fine_tuning_project", session.project_arguments()).await;
    assert_eq!(problem["kind"], "conflict");
}

#[tokio::test]
async fn wrong_settings_and_missing_data_are_refused_before_anything_runs() {
    let session = Session::new().await;
    let project = session.project().await;
    let mut arguments = run_arguments(&project);
    arguments["override_params"] = json!({ "lora.rank": 0 });
    let (problem, text) = session.refuse("configure_training_run", arguments).await;
    assert_eq!(problem["kind"], "invalid_input");
    assert!(text.contains("lora.rank"), "{text}");

    let mut arguments = run_arguments(&project);
    arguments["training_data"]["train_dataset"] = json!("data/none.jsonl");
    let (problem, text) = session.refuse("configure_training_run", arguments).await;
    assert_eq!(problem["kind"], "not_found");
    assert!(text.contains("none.jsonl"), "{text}");
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error_that_names_the_tools() {
    let session = Session::new().await;
    let error = protocol_error(session.call("train_model", json!({})).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    assert!(error.message.contains("start_training"), "{}", error.message);
}

#[tokio::test]
async fn a_defect_is_a_protocol_error_without_internals() {
    let session = Session::with_workers("dies-at-once").await;
    let (project, run) = session.run().await;
    let arguments = json!({ "run_id": run, "project_path": project });
    let error = protocol_error(session.call("plan_training", arguments).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::INTERNAL_ERROR);
    assert_eq!(error.data, Some(json!({ "code": "worker.died" })));
    assert!(!error.message.contains(session.root().to_str().unwrap()), "{}", error.message);
}

#[tokio::test]
async fn a_damaged_record_of_a_run_is_refused_and_named() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    let folder = std::path::Path::new(project.as_str().unwrap()).join("runs").join(run.as_str().unwrap());
    let manifest = folder.join("run-manifest.json");
    let good = std::fs::read_to_string(&manifest).unwrap();
    let steps = good.replacen("\"batch_size\": ", "\"batch_size\": 1099511627776", 1);
    assert_ne!(steps, good);
    for damaged in ["{ damaged", steps.as_str()] {
        std::fs::write(&manifest, damaged).unwrap();
        let arguments = json!({ "run_id": run, "project_path": project });
        let (problem, text) = session.refuse("monitor_training_progress", arguments).await;
        assert_eq!(problem["code"], "file.damaged");
        assert!(text.contains("run-manifest.json") && text.contains("Hint: put back a copy"), "{text}");
    }
}

fn protocol_error(error: ServiceError) -> rmcp::ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_line_that_is_no_message_is_answered_and_the_connection_goes_on() {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let config = greentune_workbench::WorkbenchConfig::new(folder.path(), Vec::new());
    let server = greentune_mcp_server::Server::new(&greentune_workbench::Workbench::new(config));
    let (client, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    let serving = tokio::spawn(greentune_mcp_server::serve_lines(server, input, output));
    let (from, mut to) = tokio::io::split(client);
    let mut answers = tokio::io::BufReader::new(from).lines();
    let opening = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } },
    });
    let sent = [
        String::from("{nope"),
        opening.to_string(),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string(),
        String::from(r#"[{"jsonrpc":"2.0","id":2,"method":"ping"}]"#),
        String::from(r#"{"jsonrpc":"2.0","id":3}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":4,"method":"ping","params":{{"_meta":{{"x":"{}"}}}}}}"#,
            "x".repeat(10_000_000)
        ),
    ];
    let mut got = Vec::new();
    for line in sent {
        let is_notification = line.contains("notifications/");
        to.write_all((line + "\n").as_bytes()).await.unwrap();
        if !is_notification {
            let answer: Value = serde_json::from_str(&answers.next_line().await.unwrap().unwrap()).unwrap();
            got.push((answer["id"].clone(), answer["error"]["code"].clone()));
        }
    }
    let none = Value::Null;
    let expected = [
        (none.clone(), json!(-32700)),
        (json!(1), none.clone()),
        (none.clone(), json!(-32600)),
        (json!(3), json!(-32600)),
        (json!(4), none),
    ];
    assert_eq!(got, expected);
    to.shutdown().await.unwrap();
    drop((to, answers));
    serving.await.unwrap().unwrap();
}
