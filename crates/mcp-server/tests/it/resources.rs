//! Resources, prompts and completions.

use std::fs;

use greentune_mcp_server::Preset;
use rmcp::{
    ServiceError,
    model::{
        ArgumentInfo, CompleteRequestParams, GetPromptRequestParams, PaginatedRequestParams,
        ReadResourceRequestParams, Reference,
    },
};
use serde_json::{Value, json};

use crate::session::{Listener, Session};

async fn read(session: &Session, uri: &str) -> Result<Value, ServiceError> {
    let result = session.client.read_resource(ReadResourceRequestParams::new(uri)).await?;
    let mut result = serde_json::to_value(result).unwrap();
    Ok(result["contents"][0].take())
}

#[tokio::test]
async fn the_files_of_a_run_are_read_as_resources() {
    let session = Session::of(Listener::default(), true, |_| {}, Preset::All).await;
    let (project, run) = session.trained().await;
    let run = run.as_str().unwrap();
    let listed = session.client.list_all_resources().await.unwrap();
    let uris: Vec<_> = listed.iter().map(|resource| resource.uri.as_str()).collect();
    for part in ["manifest", "events", "emissions", "card", "charts/energy"] {
        assert!(uris.contains(&format!("run://{run}/{part}").as_str()), "{part}: {uris:?}");
    }
    let manifest = read(&session, &format!("run://{run}/manifest")).await.unwrap();
    assert_eq!(manifest["mimeType"], "application/json");
    let manifest: Value = serde_json::from_str(manifest["text"].as_str().unwrap()).unwrap();
    assert_eq!((&manifest["run_id"], &manifest["status"]), (&json!(run), &json!("completed")));
    let events = read(&session, &format!("run://{run}/events")).await.unwrap();
    let events: Vec<Value> =
        events["text"].as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["seq"], events.last().unwrap()["kind"].as_str()), (&json!(0), Some("finished")));
    let card = read(&session, &format!("run://{run}/card")).await.unwrap();
    assert!(card["text"].as_str().unwrap().starts_with("---\n"));
    let runs = read(&session, &format!("project://{}/runs", project.as_str().unwrap())).await.unwrap();
    assert!(runs["text"].as_str().unwrap().contains(run));
    let encoded = project.as_str().unwrap().replace('/', "%2F");
    let config = read(&session, &format!("project://{encoded}/config")).await.unwrap();
    assert!(config["text"].as_str().unwrap().contains("training.stage1.iterations"));
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_refused_with_what_there_is() {
    let session = Session::new().await;
    let project = session.project().await;
    for (uri, code) in [
        ("run://nothing/manifest", -32002),
        ("run://nothing/events", -32002),
        ("run://nothing/charts/energy", -32002),
        ("file:///etc/passwd", -32002),
        ("run://../../etc/passwd", -32002),
        ("project:///etc/config", -32002),
        (&format!("project://{}/secrets", project.as_str().unwrap()), -32002),
        (&format!("run://{}/manifest", "x".repeat(100_000)), -32602),
    ] {
        let Err(ServiceError::McpError(error)) = read(&session, uri).await else { panic!("{uri} is read") };
        assert_eq!(error.code.0, code, "{}: {}", &uri[..uri.len().min(100)], error.message);
        assert!(error.message.len() < 1000, "{}", error.message.len());
    }
}

#[tokio::test]
async fn many_runs_are_listed_page_by_page() {
    let session = Session::new().await;
    let project = session.project().await;
    for _ in 0..27 {
        session.succeed("configure_training_run", crate::session::run_arguments(&project)).await;
    }
    let (listed, words) = session.succeed("list_runs", json!({ "limit": 2 })).await;
    assert_eq!((listed["runs"].as_array().unwrap().len(), &listed["more"]), (2, &json!(25)));
    assert!(words.starts_with("2 runs, the newest of 27\n"), "{words}");
    let first = session.client.list_resources(None).await.unwrap();
    assert_eq!(first.resources.len(), 25);
    let page = PaginatedRequestParams::default().with_cursor(first.next_cursor);
    let second = session.client.list_resources(Some(page)).await.unwrap();
    assert_eq!((second.resources.len(), second.next_cursor), (2, None));
    let page = PaginatedRequestParams::default().with_cursor(Some("nothing".into()));
    assert!(session.client.list_resources(Some(page)).await.is_err());
    let templates = session.client.list_all_resource_templates().await.unwrap();
    assert_eq!(templates.len(), 7);
}

#[tokio::test]
async fn prompts_are_listed_and_filled() {
    let session = Session::new().await;
    let prompts = session.client.list_all_prompts().await.unwrap();
    assert_eq!(prompts.len(), 3);
    let mut request = GetPromptRequestParams::new("compare_sparse_training");
    request.arguments = json!({ "dataset": "/data/digits" }).as_object().cloned();
    let prompt = serde_json::to_value(session.client.get_prompt(request).await.unwrap()).unwrap();
    let words = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(words.contains("for simplecnn on /data/digits (platform local)"), "{words}");
    // What a prompt tells a model to call is there.
    let tools = session.client.list_all_tools().await.unwrap();
    for prompt in ["fine_tune_a_model", "compare_sparse_training", "publish_a_model"] {
        let mut request = GetPromptRequestParams::new(prompt);
        let arguments = json!({ "dataset": "d", "run_id": "r", "repository": "a/b" });
        let known = prompts.iter().find(|known| known.name == prompt).unwrap().arguments.clone().unwrap();
        let taken = known
            .iter()
            .filter_map(|argument| Some((argument.name.clone(), arguments.get(&argument.name)?.clone())));
        request.arguments = Some(taken.collect());
        let text = serde_json::to_string(&session.client.get_prompt(request).await.unwrap()).unwrap();
        let called = tools.iter().filter(|tool| text.contains(tool.name.as_ref())).count();
        assert!(called >= 3, "{prompt}: {text}");
    }
}

#[tokio::test]
async fn arguments_are_completed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_owned();
    for (model, file) in [("org--tiny", "config.json"), ("tiny", "config.json"), ("org--card", "README.md")] {
        let snapshot = cache.join(format!("models--{model}/snapshots/{}", "0".repeat(40)));
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(snapshot.join(file), "{}").unwrap();
    }
    let session =
        Session::of(Listener::default(), false, |config| config.hub.cache = cache, Preset::All).await;
    let (_, run) = session.run().await;
    let complete = async |reference: Reference, name: &str, value: &str| {
        let request = CompleteRequestParams::new(reference, ArgumentInfo::new(name, value));
        session.client.complete(request).await.unwrap().completion.values
    };
    let publish = || Reference::for_prompt("publish_a_model");
    assert_eq!(complete(publish(), "run_id", "fir").await, [run.as_str().unwrap()]);
    assert!(complete(publish(), "run_id", "zzz").await.is_empty());
    let sparse = || Reference::for_prompt("compare_sparse_training");
    assert!(complete(sparse(), "model", "res").await.contains(&"resnet18".to_owned()));
    assert_eq!(complete(sparse(), "platform", "").await, ["local"]);
    let tune = || Reference::for_prompt("fine_tune_a_model");
    assert_eq!(complete(tune(), "model", "").await, ["org/tiny", "tiny"]);
    assert_eq!(complete(tune(), "model", "ORG/").await, ["org/tiny"]);
    let chart = Reference::for_resource("run://{run_id}/charts/{chart}");
    assert_eq!(complete(chart, "chart", "p").await, ["power"]);
}
