//! Who may do what.

use greentune_monitor_api::Access;
use serde_json::json;

use crate::{place::Place, seed::metered};

#[tokio::test]
async fn a_server_that_only_lets_look_changes_nothing() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let looking = place.with(Access::ReadOnly);
    let server = looking.read("/api/v1/server").await;
    assert_eq!(server["read_only"], true);
    let allowed: Vec<_> =
        server["operations"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(allowed.contains(&"list_runs") && !allowed.contains(&"start_training"));
    for entry in greentune_workbench::operation::OPERATIONS {
        let reply = looking.post(entry.name, &json!({ "run_id": run })).await;
        assert_eq!(reply.status == 403, !allowed.contains(&entry.name), "{}: {reply:?}", entry.name);
        if reply.status == 403 {
            assert_eq!(reply.problem().1, "http.read_only");
        }
    }
    for target in ["", "/series", "/log"] {
        looking.read(&format!("/api/v1/runs/{run}{target}")).await;
    }
    let public = place.with(Access::Public);
    public.read(&format!("/api/v1/runs/{run}/series")).await;
    assert_eq!(
        public.get(&format!("/api/v1/runs/{run}/log")).await.problem(),
        (403, "http.read_only".into())
    );
}

#[tokio::test]
async fn what_replaces_files_needs_the_users_consent() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let card = place.root().join("health/CARD.md");
    let mut arguments = json!({ "run_id": run, "output_path": card });
    place.perform("create_model_card", &arguments).await;
    arguments["overwrite"] = true.into();
    let asked = place.post("create_model_card", &arguments).await;
    assert_eq!(asked.problem(), (409, "consent.needed".into()));
    assert!(asked.json()["detail"].as_str().unwrap().contains("replace the card"));
    arguments["confirm"] = true.into();
    place.perform("create_model_card", &arguments).await;
}

#[tokio::test]
async fn calls_that_change_something_are_noted_with_what_became_of_them() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let mut card = json!({ "run_id": run, "output_path": place.root().join("health/CARD.md") });
    place.perform("create_model_card", &card).await;
    card["overwrite"] = true.into();
    place.post("create_model_card", &card).await;
    place.post("cancel_training", &json!({ "run_id": "nobody-20260101-000000" })).await;
    place.read("/api/v1/runs").await;
    let seen: Vec<_> = place
        .noted()
        .iter()
        .map(|call| ["account", "transport", "tool", "outcome", "run_id"].map(|name| call[name].clone()))
        .filter(|[_, _, tool, ..]| tool == "create_model_card" || tool == "cancel_training")
        .collect();
    assert_eq!(
        seen,
        [
            [json!("local"), json!("api"), json!("create_model_card"), json!("ok"), json!(run)],
            [json!("local"), json!("api"), json!("create_model_card"), json!("consent.needed"), json!(run)],
            [
                json!("local"),
                json!("api"),
                json!("cancel_training"),
                json!("run.unknown"),
                json!("nobody-20260101-000000")
            ],
        ]
    );
}

#[tokio::test]
async fn an_account_sees_neither_the_runs_nor_the_project_of_the_user_who_serves() {
    let place = Place::new("trains");
    let run = metered(&place).await;
    assert_eq!(place.read("/emissions/aggregate").await["total_runs"], 1);
    let ada = place.of_account("ada", &[]);
    assert_eq!(ada.read("/api/v1/runs").await["runs"], json!([]));
    // What the server was started in is not meant where an account names no project.
    assert_eq!(ada.get(&format!("/emissions/{run}/current")).await.status, 404);
    assert_eq!(ada.read("/emissions/aggregate").await["total_runs"], 0);
    // One that may use the user's project has its runs from there.
    let bob = place.of_account("bob", &[place.root().join("health")]);
    assert_eq!(bob.read("/emissions/aggregate").await["total_runs"], 1);
}
