//! Events as they come, to one follower and to many.

use serde_json::json;

use crate::place::Place;

#[tokio::test]
async fn a_run_is_followed_while_it_trains_to_its_end() {
    let place = Place::new("slow");
    let run = place.run().await;
    place.perform("start_training", &json!({ "run_id": run, "async_mode": true })).await;
    let target = format!("/api/v1/runs/{run}/events");
    let mut followers = Vec::new();
    for _ in 0..5 {
        let stream = place.follow(&target, &[]).await;
        followers.push(tokio::spawn(stream.rest()));
    }
    for follower in followers {
        let events = follower.await.unwrap();
        let numbers: Vec<_> = events.iter().filter_map(|(_, id, _)| *id).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "each once, in order");
        assert_eq!(events.iter().filter(|(name, _, _)| name == "step").count(), 24);
        assert!(events.iter().any(|(name, _, data)| name == "status" && data["status"] == "running"));
        let (name, _, data) = events.last().unwrap();
        assert_eq!((name.as_str(), data), ("end", &json!({ "status": "completed" })));
    }
}

#[tokio::test]
async fn a_follower_that_comes_back_gets_what_it_missed() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let target = format!("/api/v1/runs/{run}/events");
    let all: Vec<_> = place.follow(&target, &[]).await.rest().await;
    let last = all.iter().filter_map(|(_, id, _)| *id).max().unwrap();
    let rest = place.follow(&target, &[("last-event-id", &format!("{}", last - 3))]).await.rest().await;
    let numbers: Vec<_> = rest.iter().filter_map(|(_, id, _)| *id).collect();
    assert_eq!(numbers, (last - 2..=last).collect::<Vec<_>>());
    let by_address = place.follow(&format!("{target}?after={}", last - 1), &[]).await.rest().await;
    assert_eq!(by_address.iter().filter_map(|(_, id, _)| *id).collect::<Vec<_>>(), [last]);
    let request = axum::http::Request::get(&target).header("last-event-id", last.to_string());
    let nothing = place.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(nothing.status, 204, "nothing more will come");
}

#[tokio::test]
async fn a_run_that_is_deleted_while_it_is_followed_ends_its_stream() {
    let place = Place::new("slow");
    let run = place.run().await;
    place.perform("start_training", &json!({ "run_id": run, "async_mode": true })).await;
    let mut stream = place.follow(&format!("/api/v1/runs/{run}/events"), &[]).await;
    while stream.next().await.is_some_and(|(name, _, _)| name != "step") {}
    let asked = json!({ "run_id": run, "wait_seconds": 20 });
    let folder = place.root().join("health/runs").join(&run);
    std::fs::remove_dir_all(folder).unwrap();
    let rest = stream.rest().await;
    let (name, _, data) =
        rest.iter().rev().find(|(name, _, _)| name == "problem").unwrap_or(&rest[rest.len() - 1]);
    assert!(["problem", "end"].contains(&name.as_str()), "{name} {data}");
    let _ = place.post("cancel_training", &asked).await;
}

#[tokio::test]
async fn events_of_a_run_that_is_unknown_are_refused() {
    let place = Place::new("trains");
    assert_eq!(place.get("/api/v1/runs/nothing/events").await.problem(), (404, "run.unknown".into()));
    let run = place.run().await;
    for target in ["?after=x", "?after=-1", "?every=1"] {
        let reply = place.get(&format!("/api/v1/runs/{run}/events{target}")).await;
        assert_eq!(reply.status, 422, "{target}: {reply:?}");
    }
}
