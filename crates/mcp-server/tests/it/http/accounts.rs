//! Accounts: tokens, and what one account sees of another.

use std::time::Duration;

use rmcp::model::ReadResourceRequestParams;
use serde_json::{Value, json};

use super::{
    Place, run_in, settings,
    wire::{self, call, exchange, post, request},
};

const PATH: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn without_a_token_of_an_account_nobody_is_let_in() {
    let (place, tokens) = Place::with(&["ada"], settings(), "slow").await;
    let token = tokens[0].as_str();
    let missing = call(place.address, None, "list_runs", &json!({})).await;
    assert_eq!((missing.status, missing.code().as_str()), (401, "http.token"));
    let metadata = format!("http://{}{PATH}/mcp", place.address);
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    assert_eq!(missing.header("www-authenticate"), Some(challenge.as_str()));
    for wrong in ["gt_", &token[..token.len() - 1], &format!("{token}0"), &token.to_uppercase()] {
        let reply = call(place.address, Some(wrong), "list_runs", &json!({})).await;
        assert_eq!(reply.status, 401, "{wrong}");
        assert!(reply.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    }
    let basic = [("Authorization", "Basic YTpi")];
    assert_eq!(post(place.address, &basic, "{}").await.status, 401);
    let twice = [("Authorization", format!("Bearer {token}")), ("Authorization", format!("Bearer {token}"))];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(post(place.address, &twice, "{}").await.status, 401);
    let reply = call(place.address, Some(token), "list_runs", &json!({})).await;
    assert_eq!((reply.status, &reply.message()["result"]["isError"]), (200, &json!(false)));
    for target in [PATH.to_owned(), format!("{PATH}/mcp")] {
        let said = exchange(place.address, request(place.address, &format!("GET {target}"), &[], "")).await;
        let said = said.message();
        assert_eq!(said["resource"], format!("http://{}/mcp", place.address));
        assert_eq!(said["bearer_methods_supported"], json!(["header"]));
    }
}

#[tokio::test]
async fn a_token_in_the_address_is_refused_even_if_it_is_right() {
    let (place, tokens) = Place::with(&["ada"], settings(), "slow").await;
    let authorization = format!("Bearer {}", tokens[0]);
    for name in ["access_token", "Token", "api_key"] {
        let target = format!("POST /mcp?x=1&{name}={}", tokens[0]);
        let headers = [("Authorization", authorization.as_str())];
        let reply = exchange(place.address, request(place.address, &target, &headers, "{}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "http.token_in_address"), "{name}");
        assert!(!reply.body.contains(&tokens[0]));
    }
}

#[tokio::test]
async fn an_account_sees_neither_runs_nor_files_of_another() {
    let (place, tokens) = Place::with(&["ada", "bob"], settings(), "trains").await;
    let (ada, bob) =
        (place.client(false, Some(&tokens[0])).await, place.client(true, Some(&tokens[1])).await);
    let folder = |name: &str| place.accounts.home(name).join("projects");
    let (project, run) = run_in(&ada, &folder("ada")).await;
    let mut training = json!({ "project_path": project, "run_id": run, "async_mode": false });
    let (trained, _) = ada.succeed("start_training", training.clone()).await;
    assert_eq!(trained["status"], "completed");
    let job = trained["job_id"].clone();
    assert_eq!(ada.succeed("list_runs", json!({})).await.0["runs"][0]["run_id"], run);

    assert_eq!(bob.succeed("list_runs", json!({})).await.0["runs"], json!([]));
    let short = &run.as_str().unwrap()[..8];
    let this = |name: &str, value: &Value| json!({ name: value });
    let mut codes = Vec::new();
    for (tool, arguments) in [
        ("monitor_training_progress", this("run_id", &run)),
        ("monitor_training_progress", json!({ "run_id": short })),
        ("monitor_training", this("job_id", &job)),
        ("monitor_training", this("job_id", &run)),
        ("cancel_training", this("run_id", &run)),
        ("resume_training", this("run_id", &run)),
        ("create_model_card", this("run_id", &run)),
        ("get_emissions_summary", this("run_id", &run)),
    ] {
        let (problem, text) = bob.refuse(tool, arguments).await;
        assert!(!text.contains("health"), "{tool}: {text}");
        codes.push((tool, problem["code"].as_str().unwrap().to_owned()));
    }
    assert!(codes.iter().all(|(_, code)| code == "run.unknown"), "{codes:?}");

    // Nor as resources, and work in the background is its owner's.
    for part in ["manifest", "events", "card", "charts/energy"] {
        let read = || ReadResourceRequestParams::new(format!("run://{}/{part}", run.as_str().unwrap()));
        assert!(bob.client.read_resource(read()).await.is_err(), "{part}");
        assert!(part == "charts/energy" || ada.client.read_resource(read()).await.is_ok(), "{part}");
    }
    assert!(bob.client.list_all_resources().await.unwrap().is_empty());
    let evaluation = json!({
        "run_id": run, "stage": 1, "async_mode": true,
        "test_dataset": crate::session::fixture("demo/narratives_validation.jsonl"),
    });
    ada.call("evaluate_model", evaluation).await.unwrap();
    let (tasks, _) = ada.succeed("get_task", json!({})).await;
    let task = tasks["tasks"][0]["task_id"].clone();
    assert!(task.is_string(), "{tasks}");
    assert_eq!(bob.refuse("get_task", json!({ "task_id": task })).await.0["code"], "task.unknown");
    assert_eq!(bob.succeed("get_task", json!({})).await.0["tasks"], json!([]));

    // Neither by path, nor through a project of one's own.
    let outside = json!({ "project_path": project });
    assert_eq!(bob.refuse("list_runs", outside).await.0["code"], "path.outside_roots");
    training["async_mode"] = json!(true);
    assert_eq!(bob.refuse("start_training", training).await.0["code"], "path.outside_roots");
    let mut new = bob.project_arguments();
    new["output_dir"] = json!(folder("ada"));
    assert_eq!(bob.refuse("generate_fine_tuning_project", new).await.0["code"], "path.outside_roots");
    let (own, _) = run_in(&bob, &folder("bob")).await;
    for file in [place.accounts.file(), place.root().join("home/audit/calls.jsonl")] {
        let inspect = json!({ "project_path": own, "dataset": file });
        assert_eq!(bob.refuse("inspect_dataset", inspect).await.0["code"], "path.outside_roots");
    }
}

#[tokio::test]
async fn who_has_no_account_sees_nothing_of_accounts() {
    let place = Place::open().await;
    // Added by somebody else who has not started a server.
    let other = greentune_http_server::Accounts::new(&place.root().join("home"));
    std::fs::create_dir_all(other.home("ada")).unwrap();
    let client = place.client(false, None).await;
    let (project, _) = run_in(&client, &place.root().join("open")).await;
    let home = place.root().join("home");
    let (log, task) = (home.join("audit/calls.jsonl"), home.join("tasks/evaluate_model-1/call.json"));
    for file in [other.file(), other.home("ada"), log, task] {
        let inspect = json!({ "project_path": project, "dataset": file });
        assert_eq!(client.refuse("inspect_dataset", inspect).await.0["code"], "path.refused", "{file:?}");
    }
}

#[tokio::test]
async fn a_session_belongs_to_the_account_that_began_it() {
    let (place, tokens) = Place::with(&["ada", "bob"], settings(), "slow").await;
    let id = wire::initialize(place.address, Some(&tokens[0])).await.unwrap();
    let authorization: Vec<_> = tokens.iter().map(|token| format!("Bearer {token}")).collect();
    let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    let status = async |method: &str, account: usize| {
        let headers = [
            ("Authorization", authorization[account].as_str()),
            ("Mcp-Session-Id", id.as_str()),
            ("Accept", "application/json, text/event-stream"),
        ];
        exchange(place.address, request(place.address, method, &headers, ping)).await.status
    };
    for method in ["POST /mcp", "GET /mcp", "DELETE /mcp"] {
        assert_eq!(status(method, 1).await, 404, "{method}");
    }
    assert_eq!(status("POST /mcp", 0).await, 200);
    assert_eq!(status("DELETE /mcp", 0).await, 202);
    assert_eq!(status("POST /mcp", 0).await, 404);
}

#[tokio::test]
async fn accounts_come_and_go_while_the_server_runs() {
    let (place, tokens) = Place::with(&["ada"], settings(), "slow").await;
    let status = async |token: &str, expected: u16| {
        for _ in 0..100 {
            let status = call(place.address, Some(token), "list_runs", &json!({})).await.status;
            if status == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {expected}");
    };
    status(&tokens[0], 200).await;
    let bob = place.accounts.add("bob", &[]).unwrap();
    status(&bob.token, 200).await;
    place.accounts.remove("ada").unwrap();
    status(&tokens[0], 401).await;
    // The last account's end lets nobody in.
    place.accounts.remove("bob").unwrap();
    status(&bob.token, 401).await;
    std::fs::write(place.accounts.file(), "damaged").unwrap();
    status(&bob.token, 503).await;
}

#[tokio::test]
async fn a_server_for_everybody_asks_for_tokens_once_there_is_an_account() {
    let place = Place::open().await;
    assert_eq!(call(place.address, None, "list_runs", &json!({})).await.status, 200);
    let ada = place.accounts.add("ada", &[]).unwrap();
    for _ in 0..100 {
        if call(place.address, None, "list_runs", &json!({})).await.status == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(call(place.address, None, "list_runs", &json!({})).await.status, 401);
    assert_eq!(call(place.address, Some(&ada.token), "list_runs", &json!({})).await.status, 200);
}
