//! The protocol's own client over HTTP, in both revisions.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rmcp::{
    model::{CallToolRequest, CallToolRequestParams, ClientRequest, ServerResult},
    service::PeerRequestOptions,
};
use serde_json::{Value, json};

use super::{Place, run_in, settings};

#[tokio::test]
async fn a_run_is_made_trained_and_looked_at_in_both_revisions() {
    for is_stateless in [false, true] {
        let (place, _) = Place::with(&[], settings(), "trains").await;
        let session = place.client(is_stateless, None).await;
        assert!(session.client.list_all_tools().await.unwrap().len() > 10);
        let (project, run) = run_in(&session, &place.root().join("open")).await;
        let this = json!({ "project_path": project, "run_id": run });
        let mut waiting = this.clone();
        waiting["async_mode"] = json!(false);
        let Value::Object(arguments) = waiting else { unreachable!() };
        let request = CallToolRequestParams::new("start_training").with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(request));
        // The client puts a progress token into every request.
        let options = PeerRequestOptions::default();
        let handle = session.client.send_cancellable_request(request, options).await.unwrap();
        let token = handle.progress_token.clone();
        let ServerResult::CallToolResult(result) = handle.await_response().await.unwrap() else { panic!() };
        assert_eq!(result.structured_content.unwrap()["status"], "completed", "{is_stateless}");
        let told = session.client.service().progress.lock().unwrap().clone();
        assert!(!told.is_empty() && told.iter().all(|told| told.progress_token == token), "{told:?}");
        let (monitored, _) = session.succeed("monitor_training_progress", this.clone()).await;
        assert_eq!(monitored["progress_percentage"], 100.0);
        let (problem, _) = session.refuse("start_training", this).await;
        assert_eq!(problem["code"], "run.completed", "{is_stateless}");
        session.client.cancel().await.unwrap();
        place.close().await;
    }
}

#[tokio::test]
async fn roots_of_a_client_on_this_machine_count_for_it_alone() {
    for is_stateless in [false, true] {
        let place = Place::open().await;
        let roots = vec![place.root().join("mine")];
        fs::create_dir_all(&roots[0]).unwrap();
        let mut arguments = json!({
            "project_name": "p", "output_dir": roots[0],
            "base_model_config": { "type": "olmo", "model_id": "a/b" },
        });
        let other = place.client(is_stateless, None).await;
        let refused = other.refuse("generate_fine_tuning_project", arguments.clone()).await.0;
        assert_eq!(refused["code"], "path.outside_roots", "{is_stateless}");
        let mine = place.client_with_roots(is_stateless, None, roots).await;
        mine.succeed("generate_fine_tuning_project", arguments.clone()).await;
        arguments["project_name"] = json!("q");
        let refused = other.refuse("generate_fine_tuning_project", arguments).await.0;
        assert_eq!(refused["code"], "path.outside_roots", "{is_stateless}");
    }
}

#[tokio::test]
async fn roots_of_an_account_widen_nothing() {
    for is_stateless in [false, true] {
        let (place, tokens) = Place::with(&["ada"], settings(), "slow").await;
        let roots = vec![place.root().join("mine")];
        fs::create_dir_all(&roots[0]).unwrap();
        let arguments = json!({
            "project_name": "p", "output_dir": roots[0],
            "base_model_config": { "type": "olmo", "model_id": "a/b" },
        });
        let ada = place.client_with_roots(is_stateless, Some(&tokens[0]), roots).await;
        let refused = ada.refuse("generate_fine_tuning_project", arguments).await.0;
        assert_eq!(refused["code"], "path.outside_roots", "{is_stateless}");
    }
}

#[tokio::test]
async fn a_run_goes_on_when_the_server_ends() {
    let (place, _) = Place::limited(&[], |limits| limits.grace = Duration::from_millis(100)).await;
    let folder = Arc::clone(&place.folder);
    let session = place.client(false, None).await;
    let (project, run) = run_in(&session, &place.root().join("open")).await;
    session.succeed("start_training", json!({ "project_path": project, "run_id": run })).await;
    let events =
        Path::new(project.as_str().unwrap()).join("runs").join(run.as_str().unwrap()).join("events.jsonl");
    let is_finished = || fs::read_to_string(&events).unwrap().contains(r#""kind":"finished""#);
    place.close().await;
    assert!(!is_finished(), "the server waited for it");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_finished() {
        assert!(Instant::now() < deadline, "nothing is trained any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(folder);
}
