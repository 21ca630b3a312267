//! What is published or replaced: only with the user's consent.

use std::path::PathBuf;

use greentune_mcp_server::Preset;
use greentune_test_support::fake_hub::{FakeHub, WRITE_TOKEN};
use greentune_workbench::{Token, WorkbenchConfig};
use rmcp::model::ElicitationAction;
use serde_json::{Value, json};

use crate::session::{Listener, Session, fixture};

const REPOSITORY: &str = "ada/model";

/// A client with an export to upload, whose user says `user` to every question; one without elicitation when nothing.
async fn author(hub: &FakeHub, user: Option<ElicitationAction>, is_stateless: bool) -> (Session, Value) {
    let listener = Listener { user, ..Listener::default() };
    let adjust = |config: &mut WorkbenchConfig| {
        config.hub.endpoint = hub.endpoint();
        config.hub.token = Token::new(WRITE_TOKEN, "HF_TOKEN");
    };
    let session = Session::of(listener, is_stateless, adjust, Preset::All).await;
    let (project, run) = session.trained().await;
    let folder = PathBuf::from(project.as_str().unwrap()).join("runs").join(run.as_str().unwrap());
    let folder = folder.join("stage1/adapters");
    (session, json!({ "to": "huggingface", "model_path": folder, "hf_repo": REPOSITORY }))
}

fn hub() -> FakeHub {
    FakeHub::serving(&fixture("reference/olmo2-tiny"), "org/tiny").unwrap()
}

fn was_uploaded(hub: &FakeHub) -> bool {
    hub.repository(REPOSITORY).is_some_and(|repository| !repository.files.is_empty())
}

#[tokio::test]
async fn a_client_that_cannot_ask_confirms() {
    let hub = hub();
    let (session, upload) = author(&hub, None, false).await;
    let (planned, words) = session.succeed("sync_model", with(&upload, "dry_run", true.into())).await;
    assert_eq!((&planned["dry_run"], &planned["is_public"]), (&json!(true), &json!(false)));
    assert!(
        words.starts_with("Nothing was uploaded.") && words.contains("adapter_model.safetensors"),
        "{words}"
    );
    let (problem, words) = session.refuse("sync_model", upload.clone()).await;
    assert_eq!(problem["code"], "consent.needed");
    assert!(words.contains("to the repository ada/model") && words.contains("confirm = true"), "{words}");
    assert!(!was_uploaded(&hub));
    session.succeed("sync_model", with(&upload, "confirm", "true".into())).await;
    assert!(was_uploaded(&hub));
}

fn with(arguments: &Value, name: &str, value: Value) -> Value {
    let mut arguments = arguments.clone();
    arguments[name] = value;
    arguments
}

#[tokio::test]
async fn a_client_with_a_user_asks_whatever_the_model_confirms() {
    for is_stateless in [false, true] {
        for refusal in [ElicitationAction::Decline, ElicitationAction::Cancel] {
            let hub = hub();
            let (session, upload) = author(&hub, Some(refusal), is_stateless).await;
            let (problem, _) = session.refuse("sync_model", with(&upload, "confirm", true.into())).await;
            assert_eq!(problem["code"], "consent.refused");
            assert!(!was_uploaded(&hub));
        }
        let hub = hub();
        let (session, upload) = author(&hub, Some(ElicitationAction::Accept), is_stateless).await;
        session.succeed("sync_model", upload).await;
        assert!(was_uploaded(&hub));
        let questions = session.client.service().questions.lock().unwrap().clone();
        assert_eq!(questions.len(), 1, "{questions:?}");
        assert!(
            questions[0].contains("upload the model in") && questions[0].contains("private"),
            "{questions:?}"
        );
    }
}

#[tokio::test]
async fn the_user_is_asked_before_files_are_replaced() {
    let hub = hub();
    let (session, _) = author(&hub, Some(ElicitationAction::Decline), true).await;
    let (runs, _) = session.succeed("list_runs", json!({})).await;
    let project = runs["runs"][0]["project_path"].clone();
    let request = json!({
        "datasets": [fixture("demo/narratives_train.jsonl")], "project_path": project, "force": true,
    });
    let (problem, _) = session.refuse("prepare_dataset", request).await;
    assert_eq!(problem["code"], "consent.refused");
    let questions = session.client.service().questions.lock().unwrap().clone();
    assert!(questions[0].contains("replace the splits"), "{questions:?}");
}
