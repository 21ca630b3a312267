//! What is refused, and how.

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::place::Place;

#[tokio::test]
async fn what_was_sent_is_refused_with_its_place() {
    let place = Place::new("trains");
    let run = place.run().await;
    let wrong = place.post("get_series", &json!({ "run_id": run, "points": "many", "colour": 1 })).await;
    assert_eq!(wrong.status, 422);
    let text = wrong.body.clone();
    assert!(text.contains("points") && text.contains("colour"), "all at once: {text}");
    assert_eq!(place.get("/api/v1/runs?limit=many").await.status, 422);
    assert_eq!(place.get("/api/v1/runs?status=asleep").await.status, 422);
    let unknown = place.get("/api/v1/runs?colour=red").await;
    assert_eq!(unknown.problem(), (422, "arguments.unknown".into()));
    assert_eq!(unknown.json()["location"]["key"], "colour");
}

#[tokio::test]
async fn paths_methods_and_kinds_that_are_none_are_refused() {
    let place = Place::new("trains");
    place.run().await;
    for (target, code) in [
        ("/api/v1/nothing", "http.operation"),
        ("/api/v2/runs", "http.path"),
        ("/emissions", "http.path"),
        ("/api/v1/runs/..%2f..%2fetc%2fpasswd", "run.id_invalid"),
        ("/api/v1/runs/%2e%2e", "run.id_invalid"),
        ("/api/v1/runs/nothing", "run.unknown"),
    ] {
        let reply = place.get(target).await;
        let found = reply.problem();
        assert!([404, 422].contains(&found.0), "{target}: {reply:?}");
        if code != "run.id_invalid" {
            assert_eq!(found.1, code, "{target}");
        }
    }
    assert_eq!(place.get("/api/v1/start_training?run_id=x").await.problem(), (405, "http.method".into()));
    let put = Request::put("/api/v1/runs").body(Body::empty()).unwrap();
    assert_eq!(place.send(put).await.problem(), (405, "http.method".into()));
    let put = Request::put("/api/v1/start_training").body(Body::empty()).unwrap();
    assert_eq!(place.send(put).await.header("allow"), Some("POST"));
    // What a form of another page can send without being asked.
    let form = Request::post("/api/v1/start_training").header("content-type", "text/plain");
    let reply = place.send(form.body(Body::from("{\"run_id\": \"first\"}")).unwrap()).await;
    assert_eq!(reply.problem(), (415, "http.media_type".into()));
    for (body, code) in [("{", "http.no_json"), ("[1]", "http.no_object"), ("3", "http.no_object")] {
        let request = Request::post("/api/v1/list_runs").header("content-type", "application/json");
        let reply = place.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.problem(), (400, code.into()), "{body}");
    }
    let long = "x".repeat(5 << 20);
    let reply = place.post("list_runs", &json!({ "search": long })).await;
    assert_eq!(reply.problem(), (413, "http.too_large".into()));
}

#[tokio::test]
async fn a_name_with_markup_is_refused_as_the_text_that_it_is() {
    let place = Place::new("trains");
    place.run().await;
    let name = "<img src=x onerror=alert(1)>";
    let project = json!(place.root().join("health"));
    let refused = place
        .post(
            "configure_training_run",
            &json!({ "project_path": project, "run_name": name, "training_data": { "train_dataset": "x", "validation_dataset": "y" } }),
        )
        .await;
    assert_eq!(refused.problem().0, 422);
    let found = refused.json();
    let problems = found["problems"].as_array().unwrap();
    let of_name = problems.iter().find(|problem| problem["code"] == "name.invalid").unwrap();
    assert!(of_name["message"].as_str().unwrap().contains(name), "{of_name}");
}
