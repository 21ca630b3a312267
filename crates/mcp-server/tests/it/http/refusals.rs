//! What is refused before the protocol sees it, and what the protocol refuses.

use greentune_core_config::Diagnostic as _;
use serde_json::json;

use super::{
    Place, not_bound, settings,
    wire::{self, exchange, initialize_message, post, request},
};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn hosts_and_pages_that_are_not_allowed_are_refused_everywhere() {
    let place = Place::open().await;
    for target in ["POST /mcp", "GET /mcp", "GET /healthz", "GET /.well-known/oauth-protected-resource"] {
        let evil =
            exchange(place.address, request(place.address, target, &[("Host", "evil.example")], PING)).await;
        assert_eq!((evil.status, evil.code().as_str()), (403, "http.host"), "{target}");
        let page = [("Origin", "https://page.example")];
        let page = exchange(place.address, request(place.address, target, &page, PING)).await;
        assert_eq!((page.status, page.code().as_str()), (403, "http.origin"), "{target}");
        assert_eq!(page.header("access-control-allow-origin"), None);
    }
    let rebound = post(place.address, &[("Host", "evil.example")], &initialize_message("2025-11-25")).await;
    assert!(rebound.header("mcp-session-id").is_none());
    assert!(rebound.message()["hint"].as_str().unwrap().contains("--allowed-host"));
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_and_call() {
    let mut settings = settings();
    settings.allowed_origins = vec![String::from("https://page.example")];
    let (place, _) = Place::with(&[], settings, "slow").await;
    let page = ("Origin", "https://page.example");
    let asks = [page, ("Access-Control-Request-Method", "POST")];
    let asked = exchange(place.address, request(place.address, "OPTIONS /mcp", &asks, "")).await;
    assert_eq!(
        (asked.status, asked.header("access-control-allow-origin")),
        (204, Some("https://page.example"))
    );
    let called = post(place.address, &[page], &initialize_message("2025-11-25")).await;
    assert_eq!(
        (called.status, called.header("access-control-allow-origin")),
        (200, Some("https://page.example"))
    );
    let other = [("Origin", "https://other.example"), asks[1]];
    let other = exchange(place.address, request(place.address, "OPTIONS /mcp", &other, "")).await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn what_is_no_message_gets_the_error_that_json_rpc_has_for_it() {
    let place = Place::open().await;
    let batch = format!("[{PING},{PING}]");
    for (body, code, id) in [
        ("{", -32700, json!(null)),
        ("", -32700, json!(null)),
        ("no json", -32700, json!(null)),
        ("{\"jsonrpc\":\"2.0\",\"id\":\"\\ud800\"", -32700, json!(null)),
        (batch.as_str(), -32600, json!(null)),
        ("[]", -32600, json!(null)),
        ("7", -32600, json!(null)),
        ("{}", -32600, json!(null)),
        (r#"{"jsonrpc":"1.0","id":5,"method":"ping"}"#, -32600, json!(5)),
        (r#"{"id":"a"}"#, -32600, json!("a")),
    ] {
        let reply = post(place.address, &[], body).await;
        let message = reply.message();
        assert_eq!((reply.status, &message["error"]["code"]), (400, &json!(code)), "{body}: {message}");
        assert_eq!((&message["id"], &message["jsonrpc"]), (&id, &json!("2.0")), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(post(place.address, &[], &deep).await.message()["error"]["code"], -32700);
}

#[tokio::test]
async fn methods_types_and_paths_that_are_none_are_refused() {
    let place = Place::open().await;
    let status = async |target: &str, headers: &[(&str, &str)]| {
        exchange(place.address, request(place.address, target, headers, PING)).await.status
    };
    assert_eq!(status("PUT /mcp", &[]).await, 405);
    assert_eq!(status("POST /mcp", &[("Content-Type", "text/plain")]).await, 415);
    assert_eq!(status("POST /mcp", &[("Accept", "text/html")]).await, 406);
    assert_eq!(status("GET /", &[]).await, 404);
    assert_eq!(status("GET /healthz", &[]).await, 200);
    assert_eq!(status("POST /mcp", &[("Transfer-Encoding", "nonsense"), ("Content-Length", "5")]).await, 400);
    // A message outside of any session, and one in a session that is not there.
    assert_eq!(status("POST /mcp", &[]).await, 400);
    assert_eq!(status("POST /mcp", &[("Mcp-Session-Id", "none")]).await, 404);
    assert_eq!(status("DELETE /mcp", &[("Mcp-Session-Id", "none")]).await, 404);
    let stream = [("Mcp-Session-Id", "none"), ("Accept", "text/event-stream")];
    assert_eq!(status("GET /mcp", &stream).await, 404);
}

#[tokio::test]
async fn a_version_that_is_unknown_is_refused_or_answered_with_one_that_is_known() {
    let place = Place::open().await;
    let initialized = post(place.address, &[], &initialize_message("2030-01-01")).await;
    assert_eq!(initialized.message()["result"]["protocolVersion"], "2025-11-25");
    let header = post(place.address, &[("Mcp-Protocol-Version", "2030-01-01")], PING).await;
    assert_eq!(header.status, 400);
    let mut headers = wire::stateless_headers("list_runs");
    headers[0].1 = "2030-01-01";
    let body = wire::stateless_call("list_runs", &json!({})).replace("2026-07-28", "2030-01-01");
    let stateless = post(place.address, &headers, &body).await;
    let error = stateless.message()["error"].clone();
    assert_eq!((stateless.status, &error["code"]), (400, &json!(-32022)), "{error}");
    assert!(error["data"]["supported"].as_array().unwrap().contains(&json!("2026-07-28")), "{error}");
}

#[tokio::test]
async fn an_address_that_others_reach_needs_accounts() {
    let problem = async |adjust: fn(&mut greentune_http_server::HttpSettings)| {
        let mut settings = settings();
        adjust(&mut settings);
        not_bound(&settings).await.problem()
    };
    for adjust in [
        (|settings| settings.address.set_ip([0, 0, 0, 0].into()))
            as fn(&mut greentune_http_server::HttpSettings),
        |settings| settings.allowed_hosts = vec![String::from("tune.example")],
    ] {
        let problem = problem(adjust).await;
        assert_eq!(problem.code, "http.no_accounts");
        assert!(problem.hint.unwrap().contains("greentune mcp account add NAME"));
    }
    assert_eq!(
        problem(|settings| settings.allowed_origins = vec!["*".into()]).await.code,
        "http.allowed_origin"
    );
    assert_eq!(
        problem(|settings| settings.address.set_ip([192, 0, 2, 1].into())).await.code,
        "http.no_accounts"
    );
    let place = Place::open().await;
    let mut taken = settings();
    taken.address = place.address;
    let taken = not_bound(&taken).await.problem();
    assert_eq!(taken.code, "http.address");
    assert!(taken.hint.unwrap().contains("another port"));
}
