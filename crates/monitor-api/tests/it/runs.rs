//! Runs: the list, one run, its series and its log; operations with arguments in the body and in the address.

use serde_json::json;

use crate::place::Place;

#[tokio::test]
async fn a_run_is_made_trained_and_looked_at() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let page = place.read("/api/v1/runs?losses=10").await;
    assert_eq!((&page["runs"][0]["run_id"], &page["next"]), (&json!(run), &json!(null)));
    let losses = page["losses"][&run].as_array().unwrap();
    assert!(losses.len() > 3 && losses[0] == json!([1, 1.0]), "{losses:?}");
    let shown = place.read(&format!("/api/v1/runs/{run}")).await;
    assert_eq!(shown["run"]["manifest"]["status"], "completed");
    assert_eq!(shown["progress"]["progress_percentage"], 100.0);
    let by_name = place.read("/api/v1/runs/first").await;
    assert_eq!(by_name["progress"]["run_id"], json!(run));

    let series = place.read(&format!("/api/v1/runs/{run}/series")).await;
    let loss = &series["series"]["train_loss"];
    assert_eq!(loss["x"], json!((1..=24).collect::<Vec<_>>()));
    assert_eq!((&loss["mean"][1], &loss["min"][1], &loss["count"][1]), (&json!(0.5), &json!(0.5), &json!(1)));
    assert_eq!(series["stages"][1], json!({ "stage": 2, "first": 12, "total_steps": 12 }));
    let few = place.read(&format!("/api/v1/runs/{run}/series?names=train_loss,learning_rate&points=5")).await;
    assert_eq!(few["series"].as_object().unwrap().len(), 2);
    assert!(few["series"]["train_loss"]["x"].as_array().unwrap().len() <= 5);
    let part = place.read(&format!("/api/v1/runs/{run}/series?from=3&to=5&names=train_loss")).await;
    assert_eq!(part["series"]["train_loss"]["x"], json!([3, 4, 5]));
    let none = place.read(&format!("/api/v1/runs/{run}/series?after={}", series["last_seq"])).await;
    assert_eq!((&none["appended"], &none["series"]), (&json!(true), &json!({})));

    let log = place.read(&format!("/api/v1/runs/{run}/log?lines=3")).await;
    assert!(log["lines"].as_array().is_some_and(|lines| lines.len() <= 3), "{log}");
}

#[tokio::test]
async fn pages_follow_each_other_and_are_filtered() {
    let place = Place::new("trains");
    let first = place.run().await;
    let project = json!(place.root().join("health"));
    let mut made = vec![first];
    for number in 2..=5 {
        made.push(place.run_of(&project, &format!("run-{number}")).await);
    }
    let mut seen = Vec::new();
    let mut target = String::from("/api/v1/runs?limit=2");
    loop {
        let page = place.read(&target).await;
        seen.extend(page["runs"].as_array().unwrap().iter().map(|run| run["run_id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/api/v1/runs?limit=2&after={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(made.iter().all(|run| seen.contains(&json!(run))));
    let found = place.read("/api/v1/runs?search=RUN%2D3&status=not_started,running").await;
    assert_eq!(found["runs"].as_array().unwrap().len(), 1);
    assert_eq!(place.read("/api/v1/runs?status=failed").await["runs"], json!([]));
}

#[tokio::test]
async fn an_operation_that_reads_takes_its_arguments_in_the_address() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let in_body =
        place.perform("get_series", &json!({ "run_id": run, "names": ["train_loss"], "points": 4 })).await;
    let in_address = place.read(&format!("/api/v1/get_series?run_id={run}&names=train_loss&points=4")).await;
    assert_eq!(in_body, in_address);
    let board = place.read("/api/v1/energy_leaderboard").await;
    assert_eq!(board["left_out"][0]["run_id"], json!(run), "the fake worker meters nothing: {board}");
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let place = Place::new("trains");
    let run = place.run().await;
    let target = format!("/api/v1/runs/{run}/series");
    let first = place.get(&target).await;
    let tag = first.header("etag").unwrap().to_owned();
    let request = axum::http::Request::get(&target).header("if-none-match", &tag);
    let again = place.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let place = Place::new("trains");
    let run = place.trained().await;
    let page = place.get("/metrics").await;
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(page.body.contains("greentune_runs{status=\"completed\"} 1\n"), "{}", page.body);
    let progress = format!("greentune_run_progress_ratio{{run_id=\"{run}\",run_name=\"first\",");
    assert!(
        page.body.lines().any(|line| line.starts_with(&progress) && line.ends_with(" 1")),
        "{}",
        page.body
    );
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
