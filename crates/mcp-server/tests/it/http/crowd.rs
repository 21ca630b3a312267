//! Many clients, clients that go away in the middle, and clients that want the same.

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use super::{
    Place, run_in,
    wire::{self, call, exchange, post, request},
};

#[tokio::test]
async fn two_hundred_clients_are_served_at_once() {
    let place = Place::open().await;
    let session = place.client(false, None).await;
    let (project, run) = run_in(&session, &place.root().join("open")).await;
    let this = json!({ "project_path": project, "run_id": run });
    let address = place.address;
    let mut clients = JoinSet::new();
    for number in 0..200 {
        let this = this.clone();
        clients.spawn(async move {
            if number % 2 == 0 {
                let reply = call(address, None, "monitor_training_progress", &this).await;
                return (reply.status, reply.message()["result"]["structuredContent"]["status"].clone());
            }
            let id = wire::initialize(address, None).await.unwrap();
            let headers = [("Mcp-Session-Id", id.as_str())];
            let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
            assert_eq!(post(address, &headers, initialized).await.status, 202);
            let params = json!({ "name": "monitor_training_progress", "arguments": this });
            let body = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
            let reply = post(address, &headers, &body.to_string()).await;
            (reply.status, reply.message()["result"]["structuredContent"]["status"].clone())
        });
    }
    let answers = clients.join_all().await;
    assert_eq!(answers.len(), 200);
    assert!(answers.iter().all(|answer| *answer == (200, json!("not_started"))), "{answers:?}");
}

#[tokio::test]
async fn clients_that_go_away_in_the_middle_harm_nobody() {
    let place = Place::open().await;
    let session = place.client(false, None).await;
    let (project, run) = run_in(&session, &place.root().join("open")).await;
    let monitor = json!({ "project_path": project, "run_id": run });
    let train = json!({ "project_path": project, "run_id": run, "async_mode": false });
    for (tool, arguments) in [("monitor_training_progress", &monitor), ("start_training", &train)] {
        let headers = wire::stateless_headers(tool);
        let body = wire::stateless_call(tool, arguments);
        let text = request(place.address, "POST /mcp", &headers, &body);
        for share in [1, 3, 9, 10] {
            let mut stream = TcpStream::connect(place.address).await.unwrap();
            stream.write_all(&text.as_bytes()[..text.len() * share / 10]).await.unwrap();
            if share == 10 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            drop(stream);
        }
    }
    let healthy = exchange(place.address, request(place.address, "GET /healthz", &[], "")).await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    let (seen, _) = session.succeed("monitor_training_progress", monitor.clone()).await;
    // The call was cut off, and what it began goes on.
    assert_eq!(seen["status"], "running");
    session.succeed("cancel_training", monitor).await;
}

#[tokio::test]
async fn of_two_clients_that_start_one_run_one_is_refused() {
    let place = Place::open().await;
    let session = place.client(false, None).await;
    for _ in 0..3 {
        let folder = tempfile::tempdir_in(place.root()).unwrap();
        let open = place.root().join("open").join(folder.path().file_name().unwrap());
        std::fs::create_dir_all(&open).unwrap();
        let (project, run) = run_in(&session, &open).await;
        let this = json!({ "project_path": project, "run_id": run });
        let start = || call(place.address, None, "start_training", &this);
        let (one, two) = tokio::join!(start(), start());
        let results = [one, two].map(|reply| reply.message()["result"].clone());
        let refused: Vec<_> = results.iter().filter(|result| result["isError"] == true).collect();
        assert_eq!(refused.len(), 1, "{results:?}");
        assert_eq!(refused[0]["structuredContent"]["code"], "run.already_running", "{results:?}");
        session.succeed("cancel_training", this.clone()).await;
    }
}
