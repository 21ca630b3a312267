//! How much callers may ask for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Place, run_in,
    wire::{self, call, exchange, post, request},
};

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_and_without_its_length() {
    let (place, _) = Place::limited(&[], |limits| limits.body_bytes = 10_000).await;
    let long = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "x": "y".repeat(10_000) } });
    let long = long.to_string();
    let reply = post(place.address, &[], &long).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "http.too_large"));
    let chunked = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let headers = [("Transfer-Encoding", "chunked")];
    let text = request(place.address, "POST /mcp", &headers, &chunked);
    let without_length: String =
        text.split_inclusive("\r\n").filter(|line| !line.starts_with("Content-Length")).collect();
    assert_eq!(exchange(place.address, without_length).await.status, 413);
    let short = wire::initialize(place.address, None).await;
    assert!(short.is_ok(), "{short:?}");
}

#[tokio::test]
async fn an_account_that_asks_too_often_is_told_when_to_ask_again() {
    let adjust = |limits: &mut greentune_http_server::Limits| {
        (limits.requests_per_second, limits.burst) = (2, 5);
    };
    let (place, tokens) = Place::limited(&["ada", "bob"], adjust).await;
    let ask = |token: Option<String>| async move {
        call(place.address, token.as_deref(), "list_runs", &json!({})).await
    };
    let mut refused = 0;
    let mut last = None;
    for _ in 0..12 {
        let reply = ask(Some(tokens[0].clone())).await;
        if reply.status == 429 {
            assert_eq!(reply.code(), "http.too_many");
            refused += 1;
            last = Some(reply);
        }
    }
    assert!(refused > 0);
    let wait: u64 = last.unwrap().header("retry-after").unwrap().parse().unwrap();
    assert_eq!(ask(Some(tokens[1].clone())).await.status, 200, "others are not counted");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(ask(Some(tokens[0].clone())).await.status, 200);
    // Who has no token is counted by the address, and so does not keep those away who have one.
    let mut wrong = Vec::new();
    for _ in 0..12 {
        wrong.push(ask(Some(String::from("gt_wrong"))).await.status);
    }
    assert!(wrong.contains(&401) && wrong.contains(&429), "{wrong:?}");
    assert_eq!(ask(Some(tokens[1].clone())).await.status, 200);
}

#[tokio::test]
async fn so_many_sessions_are_kept_and_idle_ones_end() {
    let (place, _) = Place::limited(&[], |limits| {
        limits.sessions = 2;
        limits.session_idle = Duration::from_millis(1500);
    })
    .await;
    let first = wire::initialize(place.address, None).await.unwrap();
    wire::initialize(place.address, None).await.unwrap();
    let refused = wire::initialize(place.address, None).await.unwrap_err();
    assert_eq!((refused.status, refused.code().as_str()), (503, "http.sessions"));
    // Calls without a session are served all the same.
    assert_eq!(call(place.address, None, "list_runs", &json!({})).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    assert_eq!(post(place.address, &[("Mcp-Session-Id", &first)], ping).await.status, 404);
    assert!(wire::initialize(place.address, None).await.is_ok());
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_and_are_refused_if_that_lasts() {
    let (place, _) = Place::limited(&[], |limits| {
        limits.calls_at_once = 1;
        limits.patience = Duration::from_millis(300);
    })
    .await;
    let session = place.client(false, None).await;
    let (project, run) = run_in(&session, &place.root().join("open")).await;
    let this = json!({ "project_path": project, "run_id": run, "async_mode": false });
    let address = place.address;
    let long = tokio::spawn(async move { call(address, None, "start_training", &this).await });
    let mut refused = Value::Null;
    for _ in 0..50 {
        let reply = call(place.address, None, "list_runs", &json!({})).await.message();
        if reply["result"]["isError"] == true {
            refused = reply["result"]["structuredContent"].clone();
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("calls.too_many"), &json!(true)));
    long.abort();
}

#[tokio::test]
async fn a_slow_client_is_let_go() {
    let (place, _) = Place::limited(&[], |limits| limits.read_time = Duration::from_millis(500)).await;
    let begun = Instant::now();
    // A head that never ends, a byte at a time.
    let mut slow = TcpStream::connect(place.address).await.unwrap();
    slow.write_all(b"POST /mcp HTTP/1.1\r\n").await.unwrap();
    let (mut read, mut write) = slow.into_split();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"X").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(Duration::from_secs(10), read.read_to_end(&mut answer)).await.expect("let go");
    dripping.abort();
    assert!(begun.elapsed() < Duration::from_secs(5));
    // A body that does not come.
    let headers = [("Content-Length", "1000")];
    let reply = exchange(place.address, request(place.address, "POST /mcp", &headers, "{")).await;
    assert_eq!((reply.status, reply.code().as_str()), (408, "http.slow"));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let (place, _) = Place::limited(&[], |limits| limits.connections = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(place.address).await.unwrap());
    }
    let full = exchange(place.address, request(place.address, "GET /healthz", &[], "")).await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    held.clear();
    for _ in 0..50 {
        if exchange(place.address, request(place.address, "GET /healthz", &[], "")).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the places are not free again");
}
