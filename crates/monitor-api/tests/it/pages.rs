//! The pages, and the OpenAPI document.

use std::{env, fs, path::Path};

use greentune_monitor_api::{html_report, openapi_document};
use greentune_workbench::operation::OPERATIONS;

use crate::place::Place;

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_are_not_sent_twice() {
    let place = Place::new("trains");
    for target in ["/", "/dashboard.js", "/dashboard.css"] {
        let page = place.get(target).await;
        assert_eq!(page.status, 200, "{target}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let again = axum::http::Request::get(target).header("if-none-match", page.header("etag").unwrap());
        assert_eq!(place.send(again.body(axum::body::Body::empty()).unwrap()).await.status, 304);
    }
    let page = place.get("/").await;
    let elsewhere = ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "<script>", "<style>"];
    assert!(page.body.contains("dashboard.js"), "{}", page.body);
    assert!(elsewhere.iter().all(|part| !page.body.contains(part)), "{}", page.body);
}

/// `docs/openapi.json` is what programs are made from; `UPDATE_OPENAPI=1` writes it anew.
#[test]
fn the_document_that_is_checked_in_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let document = serde_json::to_string_pretty(&openapi_document()).unwrap() + "\n";
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == document,
        "docs/openapi.json is behind: UPDATE_OPENAPI=1 cargo test --release --workspace"
    );
    let paths = openapi_document()["paths"].clone();
    for entry in OPERATIONS {
        assert!(paths[format!("/api/v1/{}", entry.name)]["post"].is_object(), "{}", entry.name);
    }
}

#[tokio::test]
async fn a_report_is_one_file_with_everything_in_it() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let workbench = place.workbench();
    let page = html_report(&workbench, None, &run).await.unwrap();
    assert!(page.contains("greentune-report") && page.contains(&run));
    let elsewhere = ["src=\"http", "href=\"http", "src=\"/", "href=\"/dashboard"];
    assert!(elsewhere.iter().all(|part| !page.contains(part)));
    assert_eq!(html_report(&workbench, None, "nothing").await.unwrap_err().code, "run.unknown");
}
