//! The log of calls.

use serde_json::json;

use super::{Place, run_in, settings};

#[tokio::test]
async fn every_call_is_noted_with_who_made_it_and_without_what_it_said() {
    let (place, tokens) = Place::with(&["ada"], settings(), "slow").await;
    let ada = place.client(false, Some(&tokens[0])).await;
    let (project, run) = run_in(&ada, &place.accounts.home("ada").join("projects")).await;
    let other = place.client(true, Some(&tokens[0])).await;
    other
        .refuse("monitor_training_progress", json!({ "run_id": "canary", "include_emissions": "canary-2" }))
        .await;
    assert!(other.call("canary_tool", json!({ "secret": "canary-3" })).await.is_err());
    ada.succeed("monitor_training_progress", json!({ "project_path": project, "run_id": run })).await;
    let folder = std::sync::Arc::clone(&place.folder);
    let file = place.root().join("home/audit/calls.jsonl");
    place.close().await;
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<_> = lines
        .iter()
        .map(|line| (line["tool"].as_str().unwrap(), line["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("generate_fine_tuning_project", "ok"),
            ("configure_training_run", "ok"),
            ("monitor_training_progress", "arguments.invalid"),
            ("canary_tool", "-32602"),
            ("monitor_training_progress", "ok"),
        ]
    );
    assert!(lines.iter().all(|line| line["account"] == "ada" && line["transport"] == "http"), "{text}");
    assert_eq!((&lines[4]["run_id"], &lines[4]["project_path"]), (&run, &project));
    assert!(
        lines[0]["client"].is_string() && lines[0]["milliseconds"].is_u64() && lines[0]["time"].is_string()
    );
    for secret in ["canary-2", "canary-3", &tokens[0], "narratives_train"] {
        assert!(!text.contains(secret), "{text}");
    }
    drop(folder);
}
