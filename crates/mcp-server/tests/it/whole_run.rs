//! From a project to a trained run, with a worker that only reports.

use std::path::Path;

use rmcp::{
    model::{CallToolRequest, CallToolRequestParams, ClientRequest, ServerResult},
    service::PeerRequestOptions,
};
use serde_json::{Value, json};

use crate::session::{Session, fixture, run_arguments};

#[tokio::test]
async fn a_project_is_made_and_described() {
    let session = Session::new().await;
    let (content, text) = session.succeed("generate_fine_tuning_project", session.project_arguments()).await;
    let project = content["project_path"].as_str().unwrap();
    assert!(Path::new(project).join("config/fine_tuning_config.toml").is_file());
    assert_eq!(content["carbon_tracking_configured"], true);
    assert!(text.starts_with(&format!("Made the project {project} (")), "{text}");
    assert!(text.contains("emissions will be metered. Next: "), "{text}");
}

#[tokio::test]
async fn a_run_is_configured_and_described() {
    let session = Session::new().await;
    let mut arguments = run_arguments(&session.project().await);
    arguments["override_params"] = json!({ "lora.rank": 4, "training.stage1.learning_rate": 1e-3 });
    let (content, text) = session.succeed("configure_training_run", arguments).await;
    assert!(Path::new(content["manifest_path"].as_str().unwrap()).is_file());
    assert_eq!(content["configuration_summary"]["lora_rank"], 4);
    assert!(text.contains("LoRA of rank 4 on q_proj, v_proj of the olmo2 model"), "{text}");
    assert!(text.contains("stage 1 12 steps of 4 records at 0.001"), "{text}");
}

#[tokio::test]
async fn training_goes_on_in_the_background_until_it_is_cancelled_and_resumed() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    let this = json!({ "project_path": project, "run_id": run });

    let (started, text) = session.succeed("start_training", this.clone()).await;
    assert_eq!((&started["training_started"], &started["status"]), (&json!(true), &json!("running")));
    assert!(text.contains("is running on local"), "{text}");
    let (problem, _) = session.refuse("start_training", this.clone()).await;
    assert_eq!(problem["code"], "run.already_running");

    let (cancelled, _) = session.succeed("cancel_training", this.clone()).await;
    assert_eq!(cancelled["status"], "cancelled");
    let (monitored, text) = session.succeed("monitor_training_progress", this.clone()).await;
    assert_eq!((&monitored["status"], &monitored["current_stage"]), (&json!("cancelled"), &json!(1)));
    assert!(text.contains("is cancelled: stage 1, step "), "{text}");

    let mut waiting = this.clone();
    waiting["async_mode"] = json!(false);
    let (resumed, text) = session.succeed("resume_training", waiting).await;
    assert_eq!((&resumed["status"], &resumed["resumed"]), (&json!("completed"), &json!(true)));
    assert!(text.contains("from its last checkpoint"), "{text}");

    let (listed, text) = session.succeed("list_runs", json!({})).await;
    assert_eq!(listed["runs"][0]["run_id"], run);
    assert!(text.starts_with("1 run\n") && text.contains("completed, 100 %"), "{text}");
}

#[tokio::test]
async fn a_client_that_waits_for_the_end_is_told_of_the_steps() {
    for session in [Session::new().await, Session::stateless().await] {
        let (project, run) = session.run().await;
        let Value::Object(arguments) = json!({ "project_path": project, "run_id": run, "async_mode": false })
        else {
            unreachable!()
        };
        let request = CallToolRequestParams::new("start_training").with_arguments(arguments);
        // The client puts a progress token into every request.
        let handle = session
            .client
            .send_cancellable_request(
                ClientRequest::CallToolRequest(CallToolRequest::new(request)),
                PeerRequestOptions::default(),
            )
            .await
            .unwrap();
        let token = handle.progress_token.clone();
        let ServerResult::CallToolResult(result) = handle.await_response().await.unwrap() else { panic!() };
        assert_eq!(result.structured_content.unwrap()["status"], "completed");

        let told = session.client.service().progress.lock().unwrap().clone();
        assert!(told.len() >= 2, "{told:?}");
        assert!(told.iter().all(|told| told.progress_token == token && told.total == Some(24.0)), "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0].progress < pair[1].progress), "{told:?}");
        let last = told.last().unwrap();
        assert!((last.progress - 24.0).abs() < 1e-9, "{last:?}");
        let message = last.message.as_deref();
        assert_eq!(message, Some("stage 2, step 12 of 12, loss 0.08333, 100 tokens/s"));
    }
}

#[tokio::test]
async fn a_data_set_is_inspected() {
    let session = Session::new().await;
    let arguments =
        json!({ "project_path": session.project().await, "dataset": fixture("demo/narratives_train.jsonl") });
    let (content, text) = session.succeed("inspect_dataset", arguments).await;
    assert_eq!(content["counts"]["kept"], 9);
    assert!(text.starts_with("9 of 10 records (jsonl, as alpaca) are used; dropped: 1 too long. "), "{text}");
}

#[tokio::test]
async fn a_data_set_is_prepared() {
    let session = Session::new().await;
    let arguments = json!({ "project_path": session.project().await, "datasets": [fixture("demo/narratives_train.jsonl")] });
    let (content, text) = session.succeed("prepare_dataset", arguments).await;
    assert_eq!((&content["duplicates"], &content["deduplicated"]), (&json!(1), &json!(true)));
    assert!(text.starts_with("9 records in ") && text.contains("1 duplicate left out."), "{text}");
    assert!(text.contains("Warning: a warning.") && text.ends_with("raw.md."), "{text}");
}

#[tokio::test]
async fn what_is_not_trained_is_neither_evaluated_nor_exported_nor_metered() {
    let session = Session::new().await;
    let (project, run) = session.run().await;
    let test = fixture("demo/narratives_test.jsonl");
    let evaluate = json!({ "project_path": project, "run_id": run, "test_dataset": test, "stage": 1 });
    assert_eq!(session.refuse("evaluate_model", evaluate).await.0["code"], "run.stage_not_trained");
    let folder = session.root().join("export");
    let export = json!({
        "project_path": project, "run_id": run, "stage": 1, "export_format": "safetensors", "export_path": folder,
    });
    assert_eq!(session.refuse("export_model", export).await.0["code"], "run.stage_not_trained");
    let summary = json!({ "project_path": project, "run_id": run });
    assert_eq!(session.refuse("get_emissions_summary", summary).await.0["kind"], "not_found");
}
